"""Layers around a text encoder: split long texts into windows, and pool tokens into one embedding."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import ops

from tlkit.errors import check_choice

Pooling = Literal["mean", "cls", "max", "meanmax"]


@keras.saving.register_keras_serializable("tlkit")
class TokenWindows(keras.layers.Layer):
    """Reshape rows of several windows to one row per window.

    token_ids int32 [B, T] -> int32 [B * W, T / W], where W is 1 up to `max_tokens` tokens; longer rows are a multiple
    of it.

    Args:
        max_tokens: length of a window in tokens.
    """

    def __init__(self, max_tokens: int, **options: Any):
        super().__init__(**options)
        self.max_tokens = max_tokens

    def call(self, token_ids: Any) -> Any:
        """See the class."""
        width = ops.minimum(ops.shape(token_ids)[1], self.max_tokens)
        return ops.reshape(token_ids, ops.stack([-1, width]) if not isinstance(width, int) else (-1, width))

    def compute_output_spec(self, token_ids: Any) -> Any:
        """The number of windows and their length follow from the batch."""
        return keras.KerasTensor((None, None), dtype=token_ids.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "max_tokens": self.max_tokens}


@keras.saving.register_keras_serializable("tlkit")
class TokenPooling(keras.layers.Layer):
    """Pool the encoder's outputs for tokens into one vector per text, without padding.

    Takes `[sequence [B * W, t, H], ..., mask bool [B * W, t], token_ids int32 [B, T]]`, any number n of sequences, and
    gives float32 [B, n * H], or twice that for `"meanmax"`.

    Args:
        mode: `"mean"` over the tokens of all windows; `"max"` likewise; `"meanmax"` both side by side, after ULMFiT's
            concat pooling (Howard & Ruder 2018, arXiv 1801.06146); `"cls"` the vector of the start token, averaged over
            the windows.
        normalize: scale what is pooled of each sequence to length 1 (L2 norm).
    """

    def __init__(self, mode: Pooling, normalize: bool = False, **options: Any):
        check_choice("pooling", mode, get_args(Pooling))
        super().__init__(**options)
        self.mode = mode
        self.normalize = normalize

    def call(self, inputs: Any) -> Any:
        """See the class."""
        *sequences, mask, token_ids = inputs
        sequence = ops.concatenate([ops.cast(part, "float32") for part in sequences], axis=-1)
        mask = ops.cast(mask, "float32")
        if self.mode == "cls":  # only the first token of each window counts
            sequence, mask = sequence[:, :1], mask[:, :1]
        rows, width = ops.shape(token_ids)[0], ops.shape(sequence)[-1]
        # Back to one row per text, with its windows side by side.
        sequence = ops.reshape(sequence, (rows, -1, width))
        mask = ops.reshape(mask, (rows, -1, 1))
        pools = []
        if self.mode != "max":
            pools.append(ops.sum(sequence * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0))
        if self.mode in ("max", "meanmax"):
            pools.append(ops.max(ops.where(mask > 0, sequence, -1e9), axis=1))
        if self.normalize:
            parts = [ops.reshape(pool, (rows, len(sequences), -1)) for pool in pools]
            pools = [ops.reshape(ops.normalize(part, axis=-1, order=2), (rows, width)) for part in parts]
        return pools[0] if len(pools) == 1 else ops.concatenate(pools, axis=-1)

    def compute_output_spec(self, inputs: Any) -> Any:
        """One vector for each text."""
        *sequences, _, token_ids = inputs
        width = sum(part.shape[-1] for part in sequences) * (2 if self.mode == "meanmax" else 1)
        return keras.KerasTensor((token_ids.shape[0], width), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "mode": self.mode, "normalize": self.normalize}


@keras.saving.register_keras_serializable("tlkit")
class TokenMask(keras.layers.Layer):
    """Return True for tokens and False for padding: ids int32 [N, t] -> bool [N, t].

    Args:
        pad_id: the padding token.
    """

    def __init__(self, pad_id: int, **options: Any):
        super().__init__(**options)
        self.pad_id = pad_id

    def call(self, token_ids: Any) -> Any:
        """See the class."""
        return ops.not_equal(token_ids, self.pad_id)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "pad_id": self.pad_id}


def set_dropout(network: keras.Model, seed: int, *, rate: float | None = None) -> None:
    """Seed the dropouts of an encoder, each with a stream of its own, and set their rate.

    KerasHub draws new seeds in each process. With one seed for all, every block would drop the same units.

    Args:
        network: a KerasHub backbone.
        seed: the same seed drops the same.
        rate: 0 up to (not including) 1; None leaves it. A dropout that was built with rate 0 stays off, since Keras
            gave it no seed; ALBERT's are.
    """
    dropouts = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    for number, layer in enumerate(layer for layer in dropouts if hasattr(layer, "seed_generator")):
        if rate is not None:
            layer.rate = rate
        layer.seed_generator.state.assign([(seed * 1000 + number) % 2**32, 0])
