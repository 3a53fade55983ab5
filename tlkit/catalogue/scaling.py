"""Scale pixels in the graph as in the pretraining of a backbone."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.catalogue.records import SCALINGS
from tlkit.errors import ConfigError

IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
IMAGENET_STDDEV_RGB = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="tlkit")
class PixelScaling(keras.layers.Layer):
    """Scale RGB pixels as one family of backbones expects them; the part of a network that clients never have
    to know.

    It computes in float32 under any dtype policy: three bits of a pixel would be lost in bfloat16.

    Example:
        >>> PixelScaling("tf")(np.array([[[[0.0, 127.5, 255.0]]]]))
        [[[[-1., 0., 1.]]]]

    Args:
        kind: "none" (the network rescales itself), "tf" (x / 127.5 - 1), "torch" (ImageNet mean and standard
            deviation), "caffe" (BGR minus the ImageNet mean) or "lite" ((x - 127) / 128).
        **kwargs: what every Keras layer takes.

    Input and output: float32 [B, H, W, 3]; the input holds RGB values from 0 to 255.

    Raises:
        ConfigError: `kind` is none of these.

    Source: `keras.applications.imagenet_utils.preprocess_input`; for "lite" the EfficientNet-Lite builder of
    TensorFlow's
        TPU models.
    """

    def __init__(self, kind: str, **kwargs: Any):
        if kind not in SCALINGS:
            raise ConfigError("unknown pixel scaling", received=kind, allowed=SCALINGS)
        kwargs.setdefault("dtype", "float32")
        kwargs.setdefault("trainable", False)
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, pixels: Any) -> Any:
        """Scale `pixels`, float32 [B, H, W, 3], to float32 [B, H, W, 3]."""
        x = ops.cast(pixels, "float32")
        if self.kind == "tf":
            return x / 127.5 - 1.0
        if self.kind == "torch":
            return (x / 255.0 - _constant(IMAGENET_MEAN_RGB)) / _constant(IMAGENET_STDDEV_RGB)
        if self.kind == "caffe":
            return ops.flip(x, axis=-1) - _constant(_CAFFE_MEAN_BGR)
        if self.kind == "lite":
            return (x - 127.0) / 128.0
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return `input_shape`: scaling keeps it."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments for `from_config`."""
        return {**super().get_config(), "kind": self.kind}


def _constant(values: tuple[float, ...]) -> Any:
    return ops.convert_to_tensor(values, dtype="float32")
