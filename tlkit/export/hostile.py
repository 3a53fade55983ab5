"""Wrong, broken and hostile inputs for `tlkit verify` (standalone: run by path, without tlkit)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def bad_values(good: list[bytes], size: int, optional: Sequence[str] = ()) -> list[tuple[str, str, np.ndarray]]:
    """List what an export must refuse.

    Args:
        good: two encoded images that are fine.
        size: side of the network's input, in pixels.
        optional: further signatures that take encoded images as serving_default does, and get the same of them.

    Returns:
        What it is, the signature it goes to, and the value to feed.
    """

    y, x = np.mgrid[0:64, 0:64]
    photo = np.stack([x * 4, y * 4, (x * y) % 256], axis=-1).astype(np.uint8)
    jpeg, png = tf.io.encode_jpeg(photo).numpy(), tf.io.encode_png(photo).numpy()
    values = [
        (what, "serving_default", np.array([image], object))
        for what, image in {
            "junk bytes": bytes(range(256)) * 8,
            "no bytes": b"",
            "a text": b"not an image",
            "a truncated JPEG": jpeg[: len(jpeg) // 2],
            "the start of a JPEG": jpeg[:20],
            "a truncated PNG": png[: len(png) // 2],
            "a 60000 x 60000 PNG": png_bomb(60000),
            "a 60000 x 60000 JPEG": jpeg_bomb(jpeg, 60000),
            "a 60000 x 60000 GIF": b"GIF89a" + struct.pack("<HH", 60000, 60000) + b"\xf0\x00\x00" + bytes(64),
            "a 60000 x 60000 BMP": bmp_bomb(60000),
        }.items()
    ]
    values += [
        ("one bad image among good ones", "serving_default", np.array([*good, b"junk"], object)),
        ("a scalar", "serving_default", np.array(good[0], object)),
        ("a matrix of strings", "serving_default", np.array([list(good)], object)),
        ("an empty batch", "serving_default", np.array([], object)),
        ("numbers for strings", "serving_default", np.ones([1], np.float32)),
    ]
    values += [(what, name, value) for name in optional for what, _, value in values]
    values += [
        ("pixels without a batch", "pixels", np.zeros([size, size, 3], np.float32)),
        ("pixels of rank 2", "pixels", np.zeros([1, 3], np.float32)),
        ("pixels of another size", "pixels", np.zeros([1, size + 1, size, 3], np.float32)),
        ("pixels with four channels", "pixels", np.zeros([1, size, size, 4], np.float32)),
        ("pixels of dtype float64", "pixels", np.zeros([1, size, size, 3], np.float64)),
        ("strings for pixels", "pixels", np.array([b"x"], object)),
        ("an empty batch of pixels", "pixels", np.zeros([0, size, size, 3], np.float32)),
        ("no tf.Example", "classify", np.array([b"junk"], object)),
        ("a tf.Example without the image", "classify", np.array([b""], object)),
    ]
    return values


def png_bomb(side: int) -> bytes:
    """Return a PNG of a few bytes whose header promises side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_bomb(jpeg: bytes, side: int) -> bytes:
    """Return a JPEG whose start-of-frame header promises side x side pixels."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", side, side) + jpeg[at + 4 :]


def bmp_bomb(side: int) -> bytes:
    """Return a BMP header that promises side x side pixels of 24 bits."""
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + info + bytes(64)
