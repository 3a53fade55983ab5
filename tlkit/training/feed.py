"""What a Learner's stages are fed with: the data, or features of a frozen backbone that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.export.averaged_views import AveragedViews
from tlkit.models.task import Task
from tlkit.training import features
from tlkit.training.data import Data
from tlkit.training.linear_probe import fit_linear_probe
from tlkit.training.probe import Probe, fit_probe

#: Functions that are called with data, each new probe of classes for all of its training items, and their features.
PROBE_WATCHERS: list[Callable[[Data, Probe, np.ndarray], None]] = []


class Feed:
    """Batches of data or of features, for one task and one data set.

    Args:
        task: its frozen part computes the features.
        data: the photos or texts.
        number: of the present epoch; whoever trains sets it, and each new iterator reads it.
    """

    def __init__(self, task: Task, data: Data, number: tf.Variable):
        self._task = task
        self._data = data
        self._number = number
        self._features = features.FeatureCache(task.features, data.ordered)
        self._probed: np.ndarray | None = None  # the features that the probes are of
        self._probes: dict[bytes, Probe] = {}

    def epoch(self, precompute: bool) -> tf.data.Dataset:
        """One epoch of training batches."""
        if not precompute:
            return self._data.epoch(self._number)
        return features.feature_epoch(**self._options(), number=self._number)

    def stream(self, precompute: bool) -> tf.data.Dataset:
        """Training batches without end."""
        return features.feature_epochs(**self._options()) if precompute else self._data.epochs(0)

    def validation(self, precompute: bool) -> tf.data.Dataset:
        """The validation batches."""
        if not precompute:
            return self._data.ordered("val")
        return tf.data.Dataset.from_tensors((self._features["val"], self._targets("val")))

    def training_features(self) -> np.ndarray:
        """Features of the training data, float32 [n, F]."""
        return self._features["train"]

    def features(self, split: str) -> np.ndarray:
        """Features of a split, float32 [n, F]; `logits` of the split need no further pass then."""
        return self._features[split]

    def keep_former(self, keep: bool) -> None:
        """Whether to keep features of the weights before the present ones; see `FeatureCache`."""
        self._features.keep_former = keep

    @property
    def seconds(self) -> float:
        """How long the frozen network took for the features of an example."""
        return self._features.seconds

    def fit_probe(self, rows: np.ndarray | None = None, smoothing: float = 0.0) -> Probe:
        """Fit a linear probe on features of the training data.

        Args:
            rows: those of the training data to fit it on; its own `rows` are places among these. All when left out.
            smoothing: of the labels that a fine-tuning from it would see; see `Probe.softened`.
        """
        inputs = self._features["train"]
        if inputs is not self._probed:
            self._probed, self._probes = inputs, {}
        every = np.arange(len(inputs)) if rows is None else rows
        targets = self._targets("train")[every]
        key = every.tobytes()
        if key not in self._probes:
            weights = self._data.example_weights()
            groups, seed = self._data.training_groups()[every], self._data.seed  # copies stay in one fold
            objective = self._task.objective
            if objective.classes is None:
                self._probes[key] = fit_linear_probe(inputs[every], targets, objective, groups=groups, seed=seed)
            else:
                self._probes[key] = fit_probe(
                    inputs[every],
                    targets,
                    multi_label=objective.is_multi_label,
                    weights=None if weights is None else weights[every],
                    groups=groups,
                    seed=seed,
                )
                for watch in PROBE_WATCHERS if rows is None else ():
                    watch(self._data, self._probes[key], inputs)
        if self._task.objective.classes is None:
            return self._probes[key]
        return self._probes[key].softened(targets, smoothing, self._data.multi_label)

    def measure_probe(self, found: Probe) -> dict[str, list[float]]:
        """Measure a probe of all training data, as a history of one epoch.

        loss, accuracy: on the training data; val_loss, val_accuracy; fold_loss, fold_accuracy: out of fold, where there
        are enough examples for folds; strength: C of the regularisation. Values and risks have no accuracy.
        """
        targets, inputs = self._targets("train"), self._features["train"]

        def measured(logits: np.ndarray, own: np.ndarray, prefix: str) -> dict[str, list[float]]:
            accuracy: Any = self._task.objective.accuracy()
            loss = float(self._task.objective.loss()(own, logits))
            if accuracy is None:
                return {f"{prefix}loss": [loss]}
            accuracy.update_state(own, logits)
            return {f"{prefix}loss": [loss], f"{prefix}accuracy": [float(accuracy.result())]}

        def predicted(rows: np.ndarray) -> np.ndarray:
            return rows @ found.kernel + found.bias

        history = measured(predicted(inputs), targets, "")
        history |= measured(predicted(self._features["val"]), self._targets("val"), "val_")
        if found.folds:
            history |= measured(found.logits, targets[found.rows], "fold_")
        return history | {"strength": [found.strength]}

    def logits(self, split: str) -> np.ndarray:
        """What the model says of a split with its present weights, float32 [n, k]."""
        if split in self._features:
            return self._task.head(self._features[split], training=False).numpy()
        return features.run(self._task.model, self._data.ordered(split))

    def scores_with_views(self, split: str, averaged: AveragedViews) -> np.ndarray:
        """Probabilities float32 [n, k]: the plain ones mixed with their mean over augmented views."""
        photos: Any = self._data
        views = [photos.views(split, number) for number in range(1, averaged.n + 1)]
        forward = features.fast_forward(self._task.model)

        def scores(dataset: tf.data.Dataset) -> np.ndarray:
            return self._task.objective.probabilities(features.collect(forward, dataset)).numpy()

        mean = np.mean([scores(view) for view in views], axis=0)
        beta = averaged.beta
        return (beta * scores(self._data.ordered(split)) + (1 - beta) * mean).astype(np.float32)

    def _options(self) -> dict[str, Any]:
        class_weights = self._data.class_weights
        return {
            "features": self._features["train"],
            "targets": self._targets("train"),
            "weights": None if class_weights is None else class_weights[self._data.labels("train")],
            "batch_size": self._data.batch_size,
            "order": self._data.epoch_order,
        }

    def _targets(self, split: str) -> np.ndarray:
        return self._task.objective.encode(self._data.labels(split))
