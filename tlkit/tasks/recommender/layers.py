"""The layers of a recommender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tlkit")
class SideVectors(keras.layers.Layer):
    """Vectors of users or items: encoded rows float32 [B, D] -> [B, M, F + 2].

    The embeddings of the id and of every other category are added, and so is a linear map of the numbers, as in LightFM
    (Kula 2015, arXiv 1507.08439): an id that was never seen still has the vector of its columns. The last two numbers
    are the bias and 1, in the other order for items, so that the product of both sides holds both biases.

    Args:
        codes: place in the encoded row and number of codes, for the id and then for each further category.
        numbers: places of the numbers.
        factors: F, length of a vector without its bias.
        members: M, members of the ensemble; each has vectors of its own.
        is_item: of items.
        seed: of the initial vectors.
    """

    def __init__(
        self,
        codes: Sequence[Sequence[int]],
        numbers: Sequence[int],
        factors: int,
        members: int,
        *,
        is_item: bool,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(**options)
        self.codes, self.numbers = [[int(part) for part in code] for code in codes], [int(place) for place in numbers]
        self.factors, self.members, self.is_item, self.seed = factors, members, is_item, seed

    def build(self, input_shape: Any) -> None:
        """Make a table for each category, float32 [codes, M (F + 1)], and a kernel for the numbers."""
        width = self.members * (self.factors + 1)
        self.tables = [
            self.add_weight(
                shape=(size, width),
                initializer=_Small(self.members, self.seed + number),
                name="ids" if number == 0 else f"category_{number}",
            )
            for number, (_, size) in enumerate(self.codes)
        ]
        self.kernel = None
        if self.numbers:
            self.kernel = self.add_weight(shape=(len(self.numbers), width), initializer="zeros", name="kernel")

    def call(self, encoded: Any) -> Any:
        """See the class."""
        total = sum(
            ops.take(table, ops.cast(encoded[:, place], "int32"), axis=0)
            for (place, _), table in zip(self.codes, self.tables, strict=True)
        )
        if self.kernel is not None:
            total = total + ops.matmul(ops.take(encoded, self.numbers, axis=1), self.kernel)
        apart = ops.reshape(total, (-1, self.members, self.factors + 1))
        vector, bias = apart[..., :-1], apart[..., -1:]
        last = [bias, ops.ones_like(bias)] if self.is_item else [ops.ones_like(bias), bias]
        return ops.concatenate([vector, *last], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int, int]:
        """Give [B, M, F + 2]."""
        return input_shape[0], self.members, self.factors + 2

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        own = {name: getattr(self, name) for name in ("codes", "numbers", "factors", "members", "is_item", "seed")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tlkit")
class _Small(keras.initializers.Initializer):
    """Small random vectors, and biases of zero."""

    def __init__(self, members: int, seed: int):
        self.members, self.seed = members, seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        size, width = shape
        drawn = np.random.default_rng(self.seed).normal(0, 0.01, (size, self.members, width // self.members))
        drawn[..., -1] = 0
        return ops.convert_to_tensor(drawn.reshape(shape).astype(np.float32), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"members": self.members, "seed": self.seed}


@keras.saving.register_keras_serializable("tlkit")
class PairScores(keras.layers.Layer):
    """Scores of pairs: users and items side by side, float32 [B, 2 M (F + 2)] -> [B, M, 1].

    The product of both vectors, each factor times a weight that begins with 1 (generalized matrix factorization, He et
    al. 2017, arXiv 1708.05031).

    Args:
        members: M.
        offset: what every score begins with: that of the mean rating.
    """

    def __init__(self, members: int, offset: float = 0.0, **options: Any):
        super().__init__(**options)
        self.members, self.offset = members, offset

    def build(self, input_shape: Any) -> None:
        """Make the weights of the factors, float32 [M, F + 2], and offsets, [M, 1]."""
        width = input_shape[-1] // (2 * self.members)
        self.scale = self.add_weight(shape=(self.members, width), initializer="ones", name="scale_bias")
        start = keras.initializers.Constant(self.offset)
        self.shift = self.add_weight(shape=(self.members, 1), initializer=start, name="bias")

    def call(self, pairs: Any) -> Any:
        """See the class."""
        apart = ops.reshape(pairs, (-1, 2, self.members, pairs.shape[-1] // (2 * self.members)))
        return ops.sum(apart[:, 0] * apart[:, 1] * self.scale, axis=-1, keepdims=True) + self.shift

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int, int]:
        """Give [B, M, 1]."""
        return input_shape[0], self.members, 1

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "members": self.members, "offset": self.offset}


@keras.saving.register_keras_serializable("tlkit")
class Catalogue(keras.layers.Layer):
    """Keeps what recommendations need beside the network; encoded rows float32 [B, D] pass through unchanged.

    Its arrays are weights that are not trained, so that checkpoints and exports hold them: the encoded columns of every
    user and item, and what each user has in the training data.

    Args:
        users, items: number of codes.
        user_width, item_width: numbers of an encoded row that belong to a user, and to an item.
        entries: users' items in the training data, of all users together.
    """

    def __init__(self, users: int, items: int, user_width: int, item_width: int, entries: int, **options: Any):
        super().__init__(**options)
        self.users, self.items, self.entries = users, items, entries
        self.user_width, self.item_width = user_width, item_width

    def build(self, input_shape: Any) -> None:
        """Make the arrays: `user_rows` [U, Du], `item_rows` [N, Di], `begins` int32 [U + 1], `seen` int32 [E]."""

        def kept(name: str, shape: tuple[int, ...], dtype: str) -> Any:
            return self.add_weight(shape=shape, dtype=dtype, initializer="zeros", trainable=False, name=name)

        self.user_rows = kept("user_rows", (self.users, self.user_width), "float32")
        self.item_rows = kept("item_rows", (self.items, self.item_width), "float32")
        self.begins = kept("begins", (self.users + 1,), "int32")
        self.seen = kept("seen", (self.entries,), "int32")

    def call(self, encoded: Any) -> Any:
        """See the class."""
        return encoded

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        names = ("users", "items", "user_width", "item_width", "entries")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
