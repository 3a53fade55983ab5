"""Weights at the ends of cycles: kept for ensembles and averaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, TrainingError
from tlkit.files import atomic_write


class Snapshots:
    """Full sets of weights, in memory or, with a directory, one file each.

    Args:
        directory: made when the first snapshot is taken; None keeps them in memory.
    """

    def __init__(self, directory: Path | None):
        self._directory = directory
        self._kept: list[list[np.ndarray]] = []
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> list[str]:
        """What each was saved as, in the order of the cycles."""
        return list(self._names)

    def check(self) -> None:
        """Refuse a directory that cannot be written, before hours of training depend on it.

        Raises:
            TrainingError: it cannot be made or written.
        """
        if self._directory is None:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            probe = self._directory / f".tmp-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise TrainingError(f"snapshots cannot be written: {reason}", received=str(self._directory)) from error

    def take(self, name: str, model: keras.Model) -> None:
        """Keep the present weights; the same name again takes its place."""
        weights = [variable.numpy() for variable in model.variables]
        if name in self._names:
            place = self._names.index(name)
        else:
            place = len(self._names)
            self._names.append(name)
            self._kept.append([])
        if self._directory is None:
            self._kept[place] = weights
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path(name), binary=True) as file:
                np.savez(file, *weights)
        except OSError as error:
            raise TrainingError(f"the snapshot cannot be written: {error}", received=str(self._directory)) from error

    def adopt(self, names: Sequence[str]) -> None:
        """Take over what an interrupted run left in the directory.

        Raises:
            TrainingError: one of them is missing.
        """
        for name in names:
            if self._directory is None or not self._path(name).is_file():
                raise TrainingError("a snapshot of the run to resume is missing", received=name)
            if name not in self._names:
                self._names.append(name)
                self._kept.append([])

    def load(self, last: int | None = None) -> list[list[np.ndarray]]:
        """Give the weights of the newest `last` snapshots (all when left out), oldest first.

        Raises:
            ConfigError: there are not so many.
            TrainingError: a file cannot be read.
        """
        if not self._names:
            raise ConfigError("no snapshots found", fix="use fit(..., cycle_len=..., snapshots=True)")
        if last is not None and not 1 <= last <= len(self._names):
            raise ConfigError("too many snapshots requested", received=last, allowed=f"1 to {len(self._names)}")
        first = 0 if last is None else len(self._names) - last
        return [self._load(place) for place in range(first, len(self._names))]

    def _load(self, place: int) -> list[np.ndarray]:
        if self._directory is None:
            return self._kept[place]
        path = self._path(self._names[place])
        try:
            with np.load(path) as stored:
                return [stored[key] for key in stored.files]
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"a snapshot cannot be read: {error}", received=str(path)) from error

    def _path(self, name: str) -> Path:
        assert self._directory is not None  # callers have looked
        return self._directory / f"{name}.npz"


def average_weights(snapshots: Sequence[Sequence[np.ndarray]], variables: Sequence[Any]) -> None:
    """Put the mean of several sets of weights into the model's variables.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407); afterwards batch-normalisation statistics that
    were trained along must be estimated anew: see `reestimate_batch_norm`. Whole numbers (seeds) are left alone.

    Args:
        snapshots: sets of arrays, in the order of `variables`.
        variables: of the model.
    """
    for number, variable in enumerate(variables):
        arrays = [snapshot[number] for snapshot in snapshots]
        if np.issubdtype(arrays[0].dtype, np.floating):
            variable.assign(np.mean(np.stack(arrays).astype(np.float64), axis=0).astype(arrays[0].dtype))


def reestimate_batch_norm(model: keras.Model, dataset: tf.data.Dataset) -> int:
    """Estimate anew the statistics of those batch-normalisation layers that training updates.

    Layers that keep the statistics of the pretraining are left alone: the network was trained around them.

    Args:
        model: its inputs are the first part of each element.
        dataset: finite; one pass is taken.

    Returns:
        Number of layers that were estimated anew.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    before = [variable.numpy() for variable in statistics]
    momenta = [layer.momentum for layer in layers]
    seeds = [(v, v.numpy()) for v in model.non_trainable_variables if "seed" in v.name]
    sums = [np.zeros(value.shape, np.float64) for value in before]
    count = 0
    for layer in layers:
        layer.momentum = 0.0  # so that what a layer keeps is this batch's own
    try:
        forward = tf.function(lambda inputs: model(inputs, training=True), jit_compile=False, autograph=False)
        for batch in dataset:
            forward(batch[0])
            count += 1
            for total, variable in zip(sums, statistics, strict=True):
                total += variable.numpy()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in [*zip(statistics, before, strict=True), *seeds]:
            variable.assign(value)
    if not count:
        return 0
    changed = 0
    for number in range(len(layers)):
        pair = range(2 * number, 2 * number + 2)
        # A frozen layer ran in inference mode: what was summed up is what it had.
        if all(np.allclose(sums[i] / count, before[i], rtol=1e-6, atol=0) for i in pair):
            continue
        changed += 1
        for i in pair:
            statistics[i].assign((sums[i] / count).astype(before[i].dtype))
    return changed
