"""TabM: members of an ensemble that share the weights of one network (Gorishniy et al. 2024, arXiv 2410.24210)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tlkit.errors import ConfigError
from tlkit.targets.base import Target
from tlkit.targets.objective import Objective

MOST_MEMBERS = 256


@keras.saving.register_keras_serializable("tlkit")
class SharedDense(keras.layers.Layer):
    """A dense layer whose kernel all members share: float32 [B, D] or [B, M, D] -> [B, M, units].

    Member m computes `((x * r_m) W) * s_m + b_m`: the adapters r and s of BatchEnsemble (Wen et al. 2020, arXiv
    2002.06715) make of one kernel W another one for each member.

    Args:
        members: M.
        units: outputs of each member.
        signs: r begins with random signs, by which the members differ from the start; with ones otherwise.
        seed: of kernel and signs.
    """

    def __init__(self, members: int, units: int, *, signs: bool = False, seed: int = 0, **options: Any):
        super().__init__(**options)
        self.members, self.units, self.signs, self.seed = members, units, signs, seed

    def build(self, input_shape: Any) -> None:
        """Make the kernel, float32 [D, units], and for each member its scales and biases."""
        width = input_shape[-1]
        he = keras.initializers.HeUniform(seed=self.seed)
        signs: Any = _Signs(self.seed + 1) if self.signs else "ones"
        self.kernel = self.add_weight(shape=(width, self.units), initializer=he, name="kernel")
        self.input_scale = self.add_weight(shape=(self.members, width), initializer=signs, name="input_scale")
        self.output_scale = self.add_weight(shape=(self.members, self.units), initializer="ones", name="output_scale")
        self.bias = self.add_weight(shape=(self.members, self.units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """See the class."""
        each = ops.expand_dims(inputs, 1) if len(inputs.shape) == 2 else inputs
        return ops.matmul(each * self.input_scale, self.kernel) * self.output_scale + self.bias

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int, int]:
        """Give [B, M, units]."""
        return input_shape[0], self.members, self.units

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        own = {"members": self.members, "units": self.units, "signs": self.signs, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tlkit")
class _Signs(keras.initializers.Initializer):
    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return ops.sign(keras.random.uniform(shape, -1.0, 1.0, dtype=dtype or "float32", seed=self.seed))

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


@keras.saving.register_keras_serializable("tlkit")
class MemberDense(keras.layers.Layer):
    """A dense layer of its own for each member: float32 [B, M, D] -> [B, M, units]. It begins with zeros.

    Args:
        units: outputs of each member.
    """

    def __init__(self, units: int, **options: Any):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: Any) -> None:
        """Make kernels, float32 [M, D, units], and biases, [M, units]."""
        _, members, width = input_shape
        self.kernel = self.add_weight(shape=(members, width, self.units), initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(members, self.units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """See the class."""
        return ops.einsum("bmd,mdu->bmu", inputs, self.kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "units": self.units}


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


def check_members(members: object, head: object) -> None:
    """Refuse a number of members that is none, and a head of one's own, which would be that of a single network.

    Raises:
        ConfigError: either of them.
    """
    if isinstance(members, bool) or not isinstance(members, int) or (members != 0 and not 2 <= members <= MOST_MEMBERS):
        raise ConfigError("members is invalid", received=members, allowed=f"0, or 2 to {MOST_MEMBERS}")
    if members and head is not None:
        raise ConfigError(
            "a head of your own is for a single network; each member of TabM has its own last layer",
            received=f"members={members}",
            fix="leave out head, or members",
        )


def member_layers(place: int, units: int, members: int, seed: int) -> list[keras.layers.Layer]:
    """Return the layers of a hidden layer of TabM, number `place` from 1."""
    dense = SharedDense(members, units, signs=place == 1, seed=seed, name=f"dense_{place}")
    return [dense, keras.layers.ReLU(name=f"relu_{place}")]


def members_of(network: keras.Model) -> int:
    """Return how many members the hidden layers of a network have; 0 where it is a single one."""
    return next((layer.members for layer in network._flatten_layers() if isinstance(layer, SharedDense)), 0)


def member_head(embedding: Any, members: int, objective: Objective) -> Any:
    """Return the outputs of an ensemble, float32 [B, K], from its members' last layers side by side, [B, M * F]."""
    apart = keras.layers.Reshape((members, embedding.shape[-1] // members), name="apart")(embedding)
    logits = MemberDense(objective.width, dtype="float32", name="logits")(apart)
    return MembersAveraged([target.to_dict() for target in objective.targets], name="average")(logits)


def member_embedding(embedding: Any, members: int) -> keras.Model:
    """Return what averages the members' last layers, float32 [B, M * F] -> [B, F]: the embedding of a row."""
    apart = keras.layers.Reshape((members, embedding.shape[-1] // members))(embedding)
    return keras.Model(embedding, ops.mean(apart, axis=1), name="member_embedding")


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
