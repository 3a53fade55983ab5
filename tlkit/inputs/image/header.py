"""What an image file's first bytes promise: format, size and EXIF orientation, read by TensorFlow operations.

Reading the header costs microseconds and lets the caller refuse a decompression bomb before it is decoded. The
layouts follow ITU-T T.81 (JPEG), CIPA DC-008 (EXIF), W3C PNG, GIF89a, the Windows bitmap header and RFC 9649 (WebP).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

FORMATS = ("jpeg", "png", "gif", "bmp", "webp")
_UNKNOWN = len(FORMATS)
_HEADER_BYTES = 64
_EXIF = b"Exif\x00\x00"


class ImageHeader(NamedTuple):
    """Scalars of an image header.

    Attributes:
        format: int32, index into `FORMATS`; `len(FORMATS)` when the bytes are none of them.
        height: int32, as stored (before the EXIF orientation is applied); 1 when unknown.
        width: int32, likewise.
        orientation: int32, 1 to 8; 1 unless a JPEG file says otherwise.
    """

    format: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    orientation: tf.Tensor


@tf.autograph.experimental.do_not_convert
def read_header(image_bytes: tf.Tensor) -> ImageHeader:
    """Read format, size and orientation of an image file.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        An `ImageHeader` of scalar int32 tensors.

    Raises:
        tf.errors.InvalidArgumentError: when run, if a JPEG header is broken.
    """
    head = tf.cast(tf.io.decode_raw(image_bytes, tf.uint8, fixed_length=_HEADER_BYTES), tf.int32)

    def starts_with(magic: bytes, at: int = 0) -> tf.Tensor:
        return tf.reduce_all(head[at : at + len(magic)] == tf.constant(list(magic)))

    is_format = [
        starts_with(b"\xff\xd8\xff"),
        starts_with(b"\x89PNG\r\n\x1a\n"),
        starts_with(b"GIF8"),
        starts_with(b"BM"),
        starts_with(b"RIFF") & starts_with(b"WEBP", at=8),
        tf.constant(True),
    ]
    kind = tf.cast(tf.argmax(tf.stack(is_format)), tf.int32)

    def jpeg() -> tuple[tf.Tensor, ...]:
        shape = tf.image.extract_jpeg_shape(image_bytes)
        orientation = tf.cond(_may_hold_exif(head), lambda: _exif_orientation(image_bytes), lambda: tf.constant(1))
        return shape[0], shape[1], orientation

    def upright(height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return height, width, tf.constant(1)

    one = tf.constant(1)
    height, width, orientation = tf.switch_case(
        kind,
        [
            jpeg,
            lambda: upright(number_of(head[20:24], "big"), number_of(head[16:20], "big")),
            lambda: upright(number_of(head[8:10]), number_of(head[6:8])),
            lambda: upright(*_bmp_size(head)),
            lambda: upright(*_webp_size(head)),
            lambda: upright(one, one),
        ],
    )
    return ImageHeader(kind, height, width, orientation)


def _bmp_size(head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # A negative height means that rows are stored from the top down.
    return tf.abs(number_of(head[22:26])), number_of(head[18:22])


def _webp_size(head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    lossy = number_of(head[28:30]) & 0x3FFF, number_of(head[26:28]) & 0x3FFF
    packed = number_of(head[21:25])
    lossless = (tf.bitwise.right_shift(packed, 14) & 0x3FFF) + 1, (packed & 0x3FFF) + 1
    extended = number_of(head[27:30]) + 1, number_of(head[24:27]) + 1
    variant = head[15]
    return (
        tf.where(variant == ord("X"), extended[0], tf.where(variant == ord("L"), lossless[0], lossy[0])),
        tf.where(variant == ord("X"), extended[1], tf.where(variant == ord("L"), lossless[1], lossy[1])),
    )


def _may_hold_exif(head: tf.Tensor) -> tf.Tensor:
    """Rule out the common file with one short APP0 (JFIF) segment and no other metadata without walking it."""
    after_jfif = 20
    jfif_alone = (head[3] == 0xE0) & (number_of(head[4:6], "big") == after_jfif - 4)
    marker = head[after_jfif + 1]
    return ~(jfif_alone & (head[after_jfif] == 0xFF) & ((marker & 0xF0) != 0xE0) & (marker != 0xFE))


def _exif_orientation(image_bytes: tf.Tensor) -> tf.Tensor:
    """Walk the JPEG segments up to the first EXIF block and read the orientation out of it; 1 when there is none."""
    length = tf.strings.length(image_bytes)

    def in_metadata(position: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        del found
        marker = bytes_at(image_bytes, position, 2)
        is_application_or_comment = ((marker[1] & 0xF0) == 0xE0) | (marker[1] == 0xFE)
        return (position + 4 <= length) & (marker[0] == 0xFF) & is_application_or_comment

    def keep_looking(position: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return (found == 0) & in_metadata(position, found)

    def next_segment(position: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        segment = bytes_at(image_bytes, position, 4 + len(_EXIF))
        size = number_of(segment[2:4], "big")
        is_exif = (segment[1] == 0xE1) & tf.reduce_all(segment[4:] == tf.constant(list(_EXIF)))
        found = tf.where(is_exif, position + 4 + len(_EXIF), 0)
        return position + 2 + tf.maximum(size, 2), found

    _, tiff = tf.while_loop(keep_looking, next_segment, [tf.constant(2), tf.constant(0)], parallel_iterations=1)
    return tf.cond(tiff > 0, lambda: _orientation_of_tiff(image_bytes, tiff), lambda: tf.constant(1))


def _orientation_of_tiff(image_bytes: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Read tag 0x0112 of the first image file directory of the TIFF block at `start`."""
    preamble = bytes_at(image_bytes, start, 8)
    little = preamble[0] == ord("I")

    def number(data: tf.Tensor) -> tf.Tensor:
        return tf.where(little, number_of(data), number_of(data, "big"))

    offset = tf.clip_by_value(number(preamble[4:8]), 8, 65_535)
    directory = start + offset
    count = tf.minimum(number(bytes_at(image_bytes, directory, 2)), 512)
    entries = bytes_at(image_bytes, directory + 2, 12 * 512)
    entries = tf.reshape(entries, [512, 12])[:count]
    tags = number(entries[:, 0:2])
    values = number(entries[:, 8:10])
    orientation = tf.reduce_max(tf.where(tags == 0x0112, values, 0))
    return tf.where((orientation >= 1) & (orientation <= 8), orientation, 1)


def bytes_at(image_bytes: tf.Tensor, position: tf.Tensor | int, size: int) -> tf.Tensor:
    """int32 [size]: bytes from `position` on, zeros past the end."""
    position = tf.minimum(tf.convert_to_tensor(position), tf.strings.length(image_bytes))
    part = tf.io.decode_raw(tf.strings.substr(image_bytes, position, size), tf.uint8)
    part = tf.pad(part, [[0, size - tf.size(part)]])
    return tf.cast(tf.ensure_shape(part, [size]), tf.int32)


def number_of(data: tf.Tensor, byte_order: str = "little") -> tf.Tensor:
    """Unsigned integer of the last axis of int32 bytes [..., n]; n = 4 wraps to negative above 2**31."""
    n = data.shape[-1]
    shifts = [8 * i for i in range(n)]
    if byte_order == "big":
        shifts.reverse()
    return tf.reduce_sum(tf.bitwise.left_shift(data, tf.constant(shifts)), axis=-1)
