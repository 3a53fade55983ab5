"""The layers of a tabular network that Keras does not have."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tlkit")
class CodesAndNumbers(keras.layers.Layer):
    """Splits an encoded row: float32 [B, D] -> category codes, int32 [B] each, then the numbers float32 [B, D - n].

    Args:
        codes: how many of the columns are codes, n; they come first.
    """

    def __init__(self, codes: int, **options: Any):
        super().__init__(**options)
        self.codes = codes

    def call(self, encoded: Any) -> list[Any]:
        """See the class."""
        numbers = encoded[:, self.codes :]
        if not self.codes:
            return [numbers]
        return [*ops.unstack(ops.cast(encoded[:, : self.codes], "int32"), self.codes, axis=1), numbers]

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "codes": self.codes}


@keras.saving.register_keras_serializable("tlkit")
class PiecewiseLinear(keras.layers.Layer):
    """Spreads each number over bins: float32 [B, N] -> [B, N * bins], how far each bin is filled, 0 to 1.

    A dense layer on top can then learn any piecewise linear function of the number, bends and jumps as boosting finds
    them, where on the number itself it would start from a straight line (Gorishniy et al. 2022, arXiv 2203.05556). The
    bins are of equal width between -3 and 3, which suits normal scores and standardised numbers. What lies beyond
    counts as the end, as it does for trees: nothing was learnt there, and a line that goes on answers wildly.

    Args:
        bins: for each number, from 2.
    """

    def __init__(self, bins: int, **options: Any):
        super().__init__(**options)
        self.bins = bins

    def call(self, numbers: Any) -> Any:
        """See the class."""
        width = 6.0 / self.bins
        filled = (ops.expand_dims(numbers, -1) + 3.0) / width - ops.arange(self.bins, dtype="float32")
        return ops.reshape(ops.clip(filled, 0.0, 1.0), (-1, numbers.shape[-1] * self.bins))

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "bins": self.bins}
