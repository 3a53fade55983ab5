"""Ensembles inside one network: members that are trained with a loss each, and answer with their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tlkit.targets.base import Target
from tlkit.targets.objective import Objective


@keras.saving.register_keras_serializable("tlkit")
class MembersAveraged(keras.layers.Layer):
    """Averages what the members answer: outputs float32 [B, M, K] -> those of the ensemble, [B, K].

    Probabilities of classes are averaged, and values after the target's transform. In training the outputs stay apart,
    for each member has a loss of its own.

    Args:
        targets: what `to_dict` of each target gives.
    """

    def __init__(self, targets: Sequence[Mapping[str, Any]], **options: Any):
        options.setdefault("dtype", "float32")
        super().__init__(**options)
        self.targets = [dict(plain) for plain in targets]
        self._objective = Objective([Target.from_dict(plain) for plain in targets])

    def call(self, outputs: Any, training: bool | None = None) -> Any:
        """See the class."""
        return outputs if training else self._objective.averaged(ops.unstack(outputs, axis=1))

    def compute_output_spec(self, outputs: Any, training: bool | None = None) -> Any:
        """Give [B, K]."""
        return keras.KerasTensor((outputs.shape[0], outputs.shape[-1]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "targets": self.targets}


class MemberObjective(Objective):
    """An objective whose loss is the mean of those of the members, where outputs have them: float32 [B, M, K]."""

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the loss."""
        return _MemberLoss(super().loss(label_smoothing), of_batches=self.name == "survival")

    def accuracy(self) -> keras.metrics.Metric | None:
        """Make the accuracy of an epoch: in training, of the mean of the members' outputs."""
        plain = super().accuracy()
        return None if plain is None else _MemberAccuracy(plain)


class _MemberLoss(keras.losses.Loss):
    def __init__(self, plain: keras.losses.Loss, of_batches: bool):
        super().__init__(name="loss")
        self._plain = plain
        self._of_batches = of_batches  # a loss of a batch as a whole cannot be taken of all members at once

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if len(y_pred.shape) == 2:
            return self._plain.call(y_true, y_pred)
        members = y_pred.shape[1]
        if self._of_batches:
            return ops.mean(ops.stack([self._plain.call(y_true, own) for own in ops.unstack(y_pred, axis=1)]), axis=0)
        each = self._plain.call(ops.repeat(y_true, members, axis=0), ops.reshape(y_pred, (-1, y_pred.shape[-1])))
        return ops.mean(ops.reshape(each, (-1, members)), axis=1)


class _MemberAccuracy(keras.metrics.Metric):
    def __init__(self, plain: keras.metrics.Metric):
        super().__init__(name=plain.name)
        self._plain = plain

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = ops.mean(y_pred, axis=1) if len(y_pred.shape) == 3 else y_pred
        self._plain.update_state(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        return self._plain.result()

    def reset_state(self) -> None:
        self._plain.reset_state()
