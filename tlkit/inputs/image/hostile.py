"""Hostile photos for `tlkit verify` (standalone: run by path, without tlkit)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def bad_contents() -> list[tuple[str, bytes]]:
    """List what must be refused as a photo: what it is, and its bytes; the first is the plainest."""
    y, x = np.mgrid[0:64, 0:64]
    photo = np.stack([x * 4, y * 4, (x * y) % 256], axis=-1).astype(np.uint8)
    jpeg, png = tf.io.encode_jpeg(photo).numpy(), tf.io.encode_png(photo).numpy()
    return [
        ("junk bytes", bytes(range(256)) * 8),
        ("no bytes", b""),
        ("a text", b"not an image"),
        ("a truncated JPEG", jpeg[: len(jpeg) // 2]),
        ("the start of a JPEG", jpeg[:20]),
        ("a truncated PNG", png[: len(png) // 2]),
        ("a 60000 x 60000 PNG", png_bomb(60000)),
        ("a 60000 x 60000 JPEG", jpeg_bomb(jpeg, 60000)),
        ("a 60000 x 60000 GIF", b"GIF89a" + struct.pack("<HH", 60000, 60000) + b"\xf0\x00\x00" + bytes(64)),
        ("a 60000 x 60000 BMP", bmp_bomb(60000)),
        ("a 60000 x 60000 WebP", webp_head(60000)),
        ("an animated WebP", webp_head(64, animated=True)),
    ]


def bad_examples(interface: dict[str, Any]) -> list[tuple[str, bytes]]:
    """List what must be refused as a tf.Example: what it is, and its bytes."""
    return [("no tf.Example", b"junk"), ("a tf.Example without the image", b"")]


def odd_contents(interface: dict[str, Any] | None = None) -> list[tuple[str, bytes]]:
    """List what is strange and must be answered all the same: no photo is."""
    return []


def neighbours(interface: dict[str, Any]) -> list[bytes]:
    """List what could disturb the other rows of its batch: all photos have one size, so none does."""
    return []


def raw_batch(size: int, interface: dict[str, Any], shape: Sequence[int | None]) -> np.ndarray:
    """Make `size` random images: float32 [size, S, S, 3] in 0..255."""
    side = shape[1] or 0
    return np.random.default_rng(0).uniform(0, 255, (size, side, side, 3)).astype(np.float32)


def bad_raw(interface: dict[str, Any], shape: Sequence[int | None]) -> list[tuple[str, np.ndarray]]:
    """List what must be refused as pixels."""
    size = shape[1] or 0
    return [
        ("pixels without a batch", np.zeros([size, size, 3], np.float32)),
        ("pixels of rank 2", np.zeros([1, 3], np.float32)),
        ("pixels of another size", np.zeros([1, size + 1, size, 3], np.float32)),
        ("pixels with four channels", np.zeros([1, size, size, 4], np.float32)),
        ("pixels of dtype float64", np.zeros([1, size, size, 3], np.float64)),
        ("strings for pixels", np.array([b"x"], object)),
        ("an empty batch of pixels", np.zeros([0, size, size, 3], np.float32)),
    ]


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


def webp_head(side: int, *, animated: bool = False) -> bytes:
    """Return a WebP (RFC 9649) of little more than its header, which promises side x side pixels, or frames of them."""
    sides = (side - 1).to_bytes(3, "little") * 2
    chunks = b"VP8X" + struct.pack("<II", 10, 2 if animated else 0) + sides
    if animated:
        chunks += b"ANIM" + struct.pack("<IIH", 6, 0, 0) + b"ANMF" + struct.pack("<I", 16) + bytes(16)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
