"""Signatures beyond the standard ones, made from the embedding and the outputs of a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from tlkit.errors import ConfigError
from tlkit.export.interface import Interface, region_prefixes

if TYPE_CHECKING:
    from tlkit.models.task import Task

#: embedding float32 [B, F] and outputs of the network float32 [B, K] -> tensors [B, ...] by name
Further = Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


_LEVEL = 0.9  # of conformal predictions, where none is asked for


def conformal_level(task: Task, level: float | None) -> float:
    """Return the level of an export's conformal predictions.

    Args:
        task: what is exported.
        level: the one that is asked for; None takes 0.9.

    Raises:
        ConfigError: a level is asked for that is not usable, or of a task without conformal predictions.
    """
    if level is None:
        return _LEVEL
    calibration = task.objective.calibration
    if calibration is None or not calibration.limits:
        what = "this model is not calibrated" if calibration is None else "the targets of this model have none"
        raise ConfigError(
            f"a level (--level) is for models with conformal predictions, and {what}",
            received=level,
            fix="set train.calibrate = true and train again, or leave out the level",
        )
    calibration.limits_at(level)
    return level


def further_signatures(task: Task, interface: Interface, level: float) -> dict[str, Further]:
    """Return the further signatures of a task, by name; none where `Learner.calibrate` was not called.

    Args:
        task: what is exported.
        interface: of the export; it names the outputs.
        level: of the conformal predictions, as `conformal_level` returns it.

    Returns:
        logits: the outputs of the network before their calibration, float32 [B, K], where that changes them.
        conformal: the answers that are possible at the level. `in_set` int32 [B, k], 1 for each possible class in the
        order of the labels, or `lower` and `upper` [B] of a value; after the name of the target where there are
        several.
        trust: `distance` float32 [B] to the training data, and `outlier` int32 [B], 1 where it is above the threshold.
    """
    calibration, novelty = task.objective.calibration, task.novelty
    found: dict[str, Further] = {}
    if novelty is not None:

        def trust(embedding: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
            distance = novelty(embedding)
            return {"distance": distance, "outlier": tf.cast(distance > novelty.threshold, tf.int32)}

        found["trust"] = trust
    if calibration is None:
        return found
    if calibration.moves:
        found["logits"] = lambda embedding, outputs: {"logits": outputs}
    if calibration.limits:
        prefixes = region_prefixes(interface.outputs)

        def conformal(embedding: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
            regions = task.objective.regions(outputs, level)
            return {
                prefix + key: part for prefix, own in zip(prefixes, regions, strict=True) for key, part in own.items()
            }

        found["conformal"] = conformal
    return found
