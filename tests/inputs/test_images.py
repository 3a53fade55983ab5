"""Image bytes -> pixels, against PIL."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from photos import encode, photo
from PIL import Image, ImageOps

from tlkit.errors import ConfigError
from tlkit.inputs.image.header import FORMATS, read_header
from tlkit.inputs.image.preprocessing import ImagePreprocessing

SIZE = 32


@functools.cache
def _compiled(resize: str):
    preprocessing = ImagePreprocessing(size=SIZE, resize=resize)
    return tf.function(preprocessing.__call__, input_signature=[tf.TensorSpec([], tf.string)])


def pixels(content: bytes, resize: str = "crop") -> np.ndarray:
    return _compiled(resize)(content).numpy().astype(int)


def with_orientation(image: Image.Image, orientation: int, prefix: bytes = b"") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(image, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())
    return content[:2] + prefix + content[2:]


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_pil_does(orientation, resize):
    content = with_orientation(photo(1, width=91, height=60), orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    difference = np.abs(pixels(content, resize=resize) - pixels(encode(upright), resize=resize))
    assert difference.mean() < 1.5
    assert (orientation == 1) == (
        np.abs(pixels(content) - pixels(with_orientation(photo(1, width=91, height=60), 1))).mean() < 1
    )


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_exif_is_found_behind_other_segments_in_either_byte_order(byte_order):
    little = byte_order == "little"
    order = "little" if little else "big"
    entry = (0x0112).to_bytes(2, order) + (3).to_bytes(2, order) + (1).to_bytes(4, order)
    entry += (6).to_bytes(2, order) + b"\0\0"
    tiff = (b"II*\0" if little else b"MM\0*") + (8).to_bytes(4, order) + (1).to_bytes(2, order) + entry + bytes(4)
    exif = b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff
    comment = b"\xff\xfe" + (300).to_bytes(2, "big") + bytes(298)
    plain = encode(photo(2), "JPEG")
    content = plain[:20] + comment + exif + plain[20:]  # after SOI and JFIF
    assert int(read_header(tf.constant(content)).orientation) == 6
    assert int(read_header(tf.constant(plain)).orientation) == 1


@pytest.mark.parametrize("broken", [b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\xff\xff", b"", b"MM"])
def test_broken_exif_means_upright(broken):
    exif = b"\xff\xe1" + (len(broken) + 8).to_bytes(2, "big") + b"Exif\0\0" + broken
    plain = encode(photo(2), "JPEG")
    assert int(read_header(tf.constant(plain[:2] + exif + plain[2:])).orientation) == 1


@pytest.mark.parametrize(
    ("mode", "kind", "options", "tolerance"),
    [
        ("RGB", "BMP", {}, 0.1),
        ("L", "BMP", {}, 0.1),
        ("P", "BMP", {}, 0.1),
        ("RGB", "WEBP", {"lossless": True}, 0.1),
        ("RGBA", "WEBP", {"lossless": True}, 0.1),
        ("L", "JPEG", {"quality": 95}, 2.5),
        ("CMYK", "JPEG", {"quality": 95}, 4.0),
        ("L", "PNG", {}, 0.1),
        ("LA", "PNG", {}, 0.1),
        ("RGBA", "PNG", {}, 0.1),
        ("P", "PNG", {}, 0.1),
        ("1", "PNG", {}, 0.1),
        ("P", "GIF", {}, 0.1),
    ],
)
def test_every_format_and_mode_becomes_rgb(mode, kind, options, tolerance):
    image = photo(3).convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = encode(image, kind, **options)
    expected = pixels(encode(Image.open(io.BytesIO(content)).convert("RGB")))
    assert np.abs(pixels(content) - expected).mean() <= tolerance


def test_a_moving_gif_gives_its_first_frame():
    first = photo(4).convert("P")
    moving = encode(first, "GIF", save_all=True, append_images=[photo(9, hue=1)])
    np.testing.assert_array_equal(pixels(moving), pixels(encode(first, "GIF")))


def test_an_animated_webp_is_refused_before_it_is_decoded():
    content = encode(photo(4), "WEBP", save_all=True, append_images=[photo(9, hue=1)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="an animated WebP is not supported; save"):
        pixels(content)


def test_crop_pad_and_squash_keep_what_they_say():
    wide = Image.new("RGB", (100, 50), (0, 0, 0))
    wide.paste((255, 255, 255), (25, 0, 75, 50))  # the centre square
    content = encode(wide)
    assert pixels(content, resize="crop").min() == 255
    padded = pixels(content, resize="pad")
    assert padded[0].max() == 0
    assert padded[SIZE // 2, SIZE // 2].min() == 255
    squashed = pixels(content, resize="squash")
    assert squashed[0, SIZE // 2].min() == 255
    assert squashed[0, 0].max() == 0


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((SIZE * 3, SIZE * 3, 3), np.uint8)
    stripes[:, ::3] = 240
    np.testing.assert_allclose(pixels(encode(Image.fromarray(stripes))), 80, atol=1)


def test_large_jpegs_take_the_decoders_own_reduction_and_look_the_same():
    large = photo(5, width=SIZE * 9, height=SIZE * 9)
    exact = pixels(encode(large))
    assert np.abs(pixels(encode(large, "JPEG", quality=97, subsampling=0)) - exact).mean() < 2


def test_enlarging_is_smooth():
    tiny = pixels(encode(photo(6, width=8, height=8)))
    assert np.abs(np.diff(tiny, axis=0)).max() < 90


def test_batch_rows_equal_single_images():
    contents = [encode(photo(n, width=30 + 9 * n, height=50), "JPEG") for n in range(3)]
    batch = tf.function(ImagePreprocessing(size=SIZE).batch)(tf.constant(contents)).numpy()
    for row, content in zip(batch, contents, strict=True):
        np.testing.assert_array_equal(row, pixels(content))


def _png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0"


def _bmp_header(width: int, height: int) -> bytes:
    head = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    return head + width.to_bytes(4, "little") + height.to_bytes(4, "little", signed=True) + b"\1\0\x18\0" + bytes(60)


@pytest.mark.parametrize(
    "bomb",
    [_png_header(60000, 60000), _bmp_header(60000, 60000), _bmp_header(60000, -60000), b"GIF89a" + b"\x60\xea" * 2],
)
def test_a_decompression_bomb_is_refused_by_its_header(bomb):
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 40000000 pixels"):
        pixels(bomb)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\xff\xd8\xff", encode(photo(), "TIFF"), encode(photo(), "JPEG")[:400], encode(photo())[:400]],
    ids=["empty", "text", "start of a JPEG", "TIFF", "truncated JPEG", "truncated PNG"],
)
def test_junk_raises_invalid_argument(content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        pixels(content)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_header_gives_format_and_size(kind, options):
    header = read_header(tf.constant(encode(photo(width=37, height=21), kind, **options)))
    assert FORMATS[int(header.format)] == kind.lower()
    assert (int(header.height), int(header.width)) == (21, 37)


def test_header_of_an_extended_webp():
    image = photo(width=37, height=21).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = encode(image, "WEBP")
    assert content[12:16] == b"VP8X"
    header = read_header(tf.constant(content))
    assert (int(header.height), int(header.width)) == (21, 37)


def test_unusable_settings_are_named():
    with pytest.raises(ConfigError, match="image size is invalid; received: 0"):
        ImagePreprocessing(size=0)
    with pytest.raises(ConfigError, match="did you mean 'squash'"):
        ImagePreprocessing(resize="squish")
