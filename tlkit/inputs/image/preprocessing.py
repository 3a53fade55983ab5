"""Image bytes -> upright RGB pixels of one size, by TensorFlow operations alone.

The data pipeline, the evaluation and the exported SavedModel all call the same `ImagePreprocessing` object, so
an image looks the same to the network wherever it comes from. Nothing here needs Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import tensorflow as tf

from tlkit.errors import ConfigError, check_choice
from tlkit.inputs.image.formats import MAX_PIXELS
from tlkit.inputs.image.header import FORMATS, ImageHeader, bytes_at, number_of, read_header

ResizeMode = Literal["crop", "pad", "squash"]
JPEG_RATIOS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class ImagePreprocessing:
    """Decode, turn upright, resize: the one way from image bytes to pixels.

    JPEG, PNG, BMP, GIF (first frame) and WebP (stills) are decoded; grey, CMYK and palette images become
    RGB, and an alpha channel is dropped as PIL's `convert("RGB")` drops it. The EXIF orientation of JPEG files is
    applied. A header that promises more than `max_pixels` is refused before anything is decoded.

    JPEG files at least twice as large as needed are decoded at 1/2, 1/4 or 1/8 by the decoder itself
    (`decode_jpeg(ratio=...)`); what remains is averaged over the area that each new pixel covers, so that nothing
    aliases. The result is rounded to uint8.

    Example:
        >>> preprocessing = ImagePreprocessing(size=224)
        >>> pixels = preprocessing(tf.io.read_file("photo.jpg"))  # uint8 [224, 224, 3]

    Args:
        size: side of the square output, in pixels.
        resize: `"crop"` scales the short side to `size` and cuts the centre, `"pad"` scales the long side and fills
            with black, `"squash"` scales both sides and changes the aspect ratio.
        max_pixels: the largest width x height that will be decoded.

    Raises:
        ConfigError: `size`, `resize` or `max_pixels` is not usable.
    """

    size: int = 224
    resize: ResizeMode = "crop"
    max_pixels: int = MAX_PIXELS

    why_not: ClassVar[str] = ""  # a stock TensorFlow Serving has all of its operations
    tables: ClassVar[tuple[Any, ...]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 16 <= self.size <= 2048:
            raise ConfigError("the image size is invalid", received=self.size, allowed="whole pixels from 16 to 2048")
        if isinstance(self.max_pixels, bool) or not isinstance(self.max_pixels, int) or not self.max_pixels > 0:
            raise ConfigError("max_pixels is invalid", received=self.max_pixels, allowed="a whole number, 1 or more")
        check_choice("resize mode", self.resize, get_args(ResizeMode))

    @tf.autograph.experimental.do_not_convert
    def __call__(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Decode one image.

        Args:
            image_bytes: scalar string tensor, the content of an image file.

        Returns:
            uint8 tensor [size, size, 3], RGB.

        Raises:
            tf.errors.InvalidArgumentError: when run, if the bytes are no image, broken or too large.
        """
        header = read_header(image_bytes)
        pixels = tf.cast(header.height, tf.int64) * tf.cast(header.width, tf.int64)
        checks = [
            _refuse_unless(pixels > 0, "the image header contains no usable size"),
            _refuse_unless(pixels <= self.max_pixels, f"the image has more than {self.max_pixels} pixels"),
        ]
        with tf.control_dependencies(checks):
            halvings = self._halvings(header.height, header.width)
        # The square result is turned instead of the large original: the two commute and this moves fewer pixels.
        branch = tf.where(header.format == 0, halvings, header.format + len(JPEG_RATIOS) - 1)
        image = tf.switch_case(branch, _decoders(image_bytes))
        image = self._to_square(image, header)
        image = tf.cond(header.orientation > 1, lambda: _turn_upright(image, header.orientation), lambda: image)
        return tf.ensure_shape(image, [self.size, self.size, 3])

    @tf.autograph.experimental.do_not_convert
    def batch(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Decode a batch; what the exported graph runs.

        Args:
            image_bytes: string tensor [B].

        Returns:
            uint8 tensor [B, size, size, 3]. A row does not depend on its neighbours; one broken row fails the batch.
        """
        image_bytes = tf.ensure_shape(image_bytes, [None])
        spec = tf.TensorSpec([self.size, self.size, 3], tf.uint8)
        return tf.map_fn(self, image_bytes, fn_output_signature=spec, parallel_iterations=16)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for manifests and fingerprints."""
        return {**dataclasses.asdict(self), "formats": list(FORMATS), "color": "RGB", "exif_orientation": "applied"}

    def _halvings(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Count how often the JPEG decoder may halve the image and still leave at least `size` pixels: 0 to 3."""
        if self.resize == "pad":
            side = tf.maximum(height, width)
        else:
            side = tf.minimum(height, width)
        spare = side // self.size
        return tf.where(spare >= 8, 3, tf.where(spare >= 4, 2, tf.where(spare >= 2, 1, 0)))

    def _to_square(self, image: tf.Tensor, header: ImageHeader) -> tf.Tensor:
        """uint8 [H, W, 3] -> uint8 [size, size, 3]; H and W are those of the header, or a half and so on of them."""
        height, width = tf.unstack(tf.shape(image)[:2])
        if self.resize == "squash":
            return _resize(image, self.size, self.size)
        if self.resize == "crop":
            # One pixel more where that makes the margins equal: a turned photo must give the turned square.
            side = tf.minimum(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return _resize(image[top : height - top, left : width - left], self.size, self.size)
        stored = tf.cast(tf.stack([header.height, header.width]), tf.float32)
        margins = tf.cast(tf.round((self.size - self.size * stored / tf.reduce_max(stored)) / 2), tf.int32)
        top, left = tf.unstack(tf.minimum(margins, (self.size - 1) // 2))
        image = _resize(image, self.size - 2 * top, self.size - 2 * left)
        return tf.pad(image, [[top, top], [left, left], [0, 0]])


def _resize(image: tf.Tensor, height: tf.Tensor | int, width: tf.Tensor | int) -> tf.Tensor:
    """Shrink by averaging the area that a pixel covers (so nothing aliases), enlarge bilinearly; uint8 in and out."""
    size = tf.stack([height, width])
    shrinks = tf.reduce_all(tf.shape(image)[:2] >= size)
    resized = tf.cond(
        shrinks,
        lambda: tf.raw_ops.ResizeArea(images=image[tf.newaxis], size=size),
        lambda: tf.raw_ops.ResizeBilinear(images=image[tf.newaxis], size=size, half_pixel_centers=True),
    )
    return tf.cast(tf.round(resized[0]), tf.uint8)


def _refuse_unless(condition: tf.Tensor, message: str) -> tf.Operation:
    return tf.raw_ops.Assert(condition=condition, data=[message])


def _decoders(image_bytes: tf.Tensor) -> list[Callable[[], tf.Tensor]]:
    """List one decoder for each JPEG ratio, then one for each further format, in the order of `FORMATS`."""

    def jpeg(ratio: int) -> Callable[[], tf.Tensor]:
        return lambda: tf.io.decode_jpeg(image_bytes, channels=3, ratio=ratio)

    def png() -> tf.Tensor:
        return tf.io.decode_png(image_bytes, channels=3)

    def gif() -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_image(image_bytes, channels=3, expand_animations=False), [None, None, 3])

    def bmp() -> tf.Tensor:
        head = bytes_at(image_bytes, 0, 34)
        bits, compression = number_of(head[28:30]), number_of(head[30:34])
        usable = ((bits == 8) | (bits == 24) | (bits == 32)) & ((compression == 0) | (compression == 3))
        advice = "this kind of BMP is not supported; save it with 8, 24 or 32 bits and no compression"
        with tf.control_dependencies([_refuse_unless(usable, advice)]):
            image = tf.io.decode_bmp(image_bytes)
        return tf.cond(bits == 8, lambda: _look_up_palette(image, image_bytes), lambda: image[..., :3])

    def webp() -> tf.Tensor:
        # Decoding an animated WebP corrupts the heap in TensorFlow 2.21 and takes the process down.
        animated = (bytes_at(image_bytes, 15, 1)[0] == ord("X")) & (bytes_at(image_bytes, 20, 1)[0] & 2 > 0)
        advice = "an animated WebP is not supported; save one frame as PNG or JPEG"
        with tf.control_dependencies([_refuse_unless(~animated, advice)]):
            return tf.io.decode_webp(image_bytes)[0, ..., :3]

    def unknown() -> tf.Tensor:
        message = f"not an image that can be decoded; known formats are {', '.join(FORMATS)}"
        with tf.control_dependencies([_refuse_unless(tf.constant(False), message)]):
            return tf.zeros([1, 1, 3], tf.uint8)

    by_format: dict[str, Callable[[], tf.Tensor]] = {"png": png, "gif": gif, "bmp": bmp, "webp": webp}
    return [jpeg(ratio) for ratio in JPEG_RATIOS] + [by_format[name] for name in FORMATS[1:]] + [unknown]


def _look_up_palette(indices: tf.Tensor, image_bytes: tf.Tensor) -> tf.Tensor:
    """Colour an 8-bit BMP: `decode_bmp` gives palette indices (uint8 [H, W, 1]) and calls them grey."""
    start = 14 + number_of(bytes_at(image_bytes, 14, 4))
    palette = tf.reshape(bytes_at(image_bytes, start, 4 * 256), [256, 4])
    return tf.cast(tf.gather(palette[:, 2::-1], tf.cast(indices[..., 0], tf.int32)), tf.uint8)


def _turn_upright(square: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undo an EXIF orientation (2 to 8; CIPA DC-008, tag 0x0112) of a uint8 [S, S, 3] image."""

    def is_one_of(*values: int) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(values))

    square = tf.cond(orientation >= 5, lambda: tf.transpose(square, [1, 0, 2]), lambda: square)
    square = tf.cond(is_one_of(2, 3, 6, 7), lambda: square[:, ::-1], lambda: square)
    return tf.cond(is_one_of(3, 4, 7, 8), lambda: square[::-1], lambda: square)
