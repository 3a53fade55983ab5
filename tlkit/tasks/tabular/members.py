"""TabM: members of an ensemble that share the weights of one network (Gorishniy et al. 2024, arXiv 2410.24210)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.errors import ConfigError
from tlkit.models.members import MembersAveraged
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
