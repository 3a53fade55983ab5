"""Which region of an image an answer rests on: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, ModelError
from tlkit.models.task import Task

_BATCH = 8  # images whose activations are kept at once


def grad_cam(task: Task, pixels: Any, chosen: Sequence[int] | np.ndarray, target: int = 0) -> np.ndarray:
    """Return for each image how much each region raises the chosen answer.

    The last feature map before pooling is weighted by the mean gradient of the answer's number: of a class the logit
    minus the mean of all logits, of a label its logit, of a value the output. For classes and labels only regions count
    that raise it; for values and risks the size of the effect counts.

    Example:
        >>> pixels = tf.stack([task.preprocessing(content) for content in contents])
        >>> grad_cam(task, pixels, chosen=[0, 1]).shape
        (2, 7, 7)

    Args:
        task: with a network that pools a feature map [B, h, w, C]: every backbone of the catalogue, and ensembles.
        pixels: float32 [B, S, S, 3] in 0..255, as `task.model` takes them.
        chosen: for each image the number of the class or label to explain; not used for values and risks.
        target: number of the target to explain.

    Returns:
        float32 [B, h, w], the highest of each image 1; all 0 for an image in which nothing raises the answer.

    Raises:
        ConfigError: there is no such target, or an image has no chosen number.
        ModelError: the network pools no feature map.
    """
    targets = task.objective.targets
    if not 0 <= target < len(targets):
        raise ConfigError("there is no such target", received=target, allowed=f"0 to {len(targets) - 1}")
    if len(chosen) != len(pixels):
        raise ConfigError("each image needs the number of an answer", received=len(chosen), allowed=len(pixels))
    parts = []
    for start in range(0, len(pixels), _BATCH):
        end = start + _BATCH
        parts.append(_heat(task, tf.cast(pixels[start:end], tf.float32), np.asarray(chosen)[start:end], target))
    return np.concatenate(parts) if parts else np.zeros((0, 1, 1), np.float32)


def _heat(task: Task, pixels: tf.Tensor, chosen: np.ndarray, target: int) -> np.ndarray:
    maps: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        embedding = _run(task.features, pixels, maps, tape)
        if not maps:
            raise ModelError(
                f"{task.backbone_name} pools no feature map, so that regions cannot be explained",
                allowed="a network with a feature map [B, h, w, C] before its pooling",
            )
        outputs = tf.cast(task.head(embedding, training=False), tf.float32)
        own, part = list(task.objective.parts(task.objective.calibrated(outputs)))[target]
        score = tf.reduce_sum(own.explained(part, chosen))
    gradients = tape.gradient(score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    heats = []
    for feature_map, gradient in zip(maps, gradients, strict=True):
        weights = tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(1, 2), keepdims=True)
        heats.append(tf.reduce_sum(weights * tf.cast(feature_map, tf.float32), axis=-1))
    heat = np.asarray(tf.add_n(heats))
    heat = np.maximum(heat, 0.0) if own.class_names else np.abs(heat)
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0), np.float32)


def _run(network: Any, inputs: Any, maps: list[tf.Tensor], tape: tf.GradientTape) -> tf.Tensor:
    """Run a network in inference mode, and collect and watch the feature maps that it pools."""
    size = inputs.shape[1]

    def operation(layer: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            given: Any = arguments[0] if arguments else None
            if tf.is_tensor(given) and given.shape.rank == 4 and _rank(layer) != 4:
                if hasattr(layer, "_run_through_graph"):  # a network inside, such as the member of an ensemble
                    return _run(layer, given, maps, tape)
                if given.shape[1] < size:  # an image is no feature map
                    tape.watch(given)
                    maps.append(given)
            if getattr(layer, "_call_has_training_arg", False):
                options["training"] = False
            return layer(*arguments, **options)

        return call

    return network._run_through_graph(inputs, operation_fn=operation)


def _rank(layer: Any) -> int | None:
    shape = getattr(layer.output, "shape", None)
    return None if shape is None else len(shape)
