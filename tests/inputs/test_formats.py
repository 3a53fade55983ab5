"""Why an image cannot be decoded, by its bytes alone."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
from photos import encode, photo
from PIL import Image

from tlkit.inputs.image.formats import format_of, partly_missing, refused, size_of, why_not

JPEG, PNG, GIF, BMP, WEBP = (encode(photo(), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"))
INTACT = {
    "jpeg": JPEG,
    "progressive": encode(photo(width=90), "JPEG", progressive=True),
    "restarts": encode(photo(width=90), "JPEG", restart_marker_blocks=3),
    "cmyk": encode(photo().convert("CMYK"), "JPEG"),
    "grey": encode(photo().convert("L"), "JPEG"),
    "thumbnail": encode(photo(), "JPEG", exif=b"Exif\0\0" + JPEG),
    "after the end": JPEG + JPEG + bytes(99),
    "padded": JPEG[:-2] + b"\xff\xff\xff\xd9",
    "png": PNG,
    "palette": encode(photo().convert("P"), "PNG"),
    "16 bits": encode(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "PNG"),
    "gif": GIF,
    "moving gif": encode(photo(), "GIF", save_all=True, append_images=[photo(1)]),
    "bmp": BMP,
    "bmp palette": encode(photo().convert("P"), "BMP"),
    "webp": WEBP,
    "lossless webp": encode(photo(), "WEBP", lossless=True),
    "webp with alpha": encode(photo().convert("RGBA"), "WEBP"),
}


@pytest.mark.parametrize("name", INTACT)
def test_there_is_no_reason_against_an_intact_image(name):
    content = INTACT[name]
    assert why_not(content) is None
    assert partly_missing(content) == ""
    import io

    assert size_of(content) == Image.open(io.BytesIO(content)).size


def _large_png(width: int, height: int) -> bytes:
    return PNG[:16] + struct.pack(">II", width, height) + PNG[24:]


REASONS = [
    (b"", r"is empty \(0 bytes\)"),
    (b"hello", "is not an image but text"),
    (bytes(range(256)), r"is not an image \(known formats: JPEG, PNG, GIF, BMP, WebP\)"),
    (b"%PDF-1.4", "is not an image but PDF"),
    (b"PK\x03\x04....", "is not an image but ZIP"),
    (b"\0\0\0\x18ftypisom", "is not an image but video"),
    (encode(photo(), "TIFF"), "is TIFF, which the exported model cannot decode; convert it first"),
    (b"\0\0\0\x18ftypavif" + bytes(9), "is AVIF"),
    (b"\0\0\0\x18ftypmif1" + bytes(9), "is HEIC"),
    (
        encode(photo(), "WEBP", save_all=True, append_images=[photo(1)]),
        "is an animated WebP, which is not supported; save",
    ),
    (
        _large_png(10_000, 5_000),
        r"has 50,000,000 pixels \(10000 x 5000\); allowed: 40,000,000; shrink it, or raise max_",
    ),
    (JPEG[:-2], r"is truncated or corrupt \(JPEG\): the file ends before the image does"),
    (JPEG[: len(JPEG) // 2], r"truncated or corrupt \(JPEG\)"),
    (JPEG[:20], r"truncated or corrupt \(JPEG\): its header is incomplete"),
    (PNG[: len(PNG) // 2], r"truncated or corrupt \(PNG\): the file ends"),
    (PNG[:-20] + b"\0" + PNG[-19:], r"truncated or corrupt \(PNG\): the checksum of a part \(IDAT\) is wrong"),
    (GIF[: len(GIF) // 2], r"truncated or corrupt \(GIF\): the file ends"),
    (BMP[:-99], r"truncated or corrupt \(BMP\): the file ends"),
    (BMP[:28] + b"\4\0" + BMP[30:], r"is a BMP that is not supported \(4 bits a pixel"),
    (WEBP[:-99], r"truncated or corrupt \(WebP\): the file ends"),
    (JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), "arithmetic-coded JPEG, which is not supported"),
    (JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", 1), "12-bit JPEG, which is not supported"),
]


@pytest.mark.parametrize(("content", "reason"), REASONS, ids=[reason[:40] for _, reason in REASONS])
def test_the_reason_is_named(content, reason):
    import re

    assert re.search(reason, why_not(content) or "")
    assert refused(content) == why_not(content)


def test_a_larger_limit_lets_a_large_image_pass():
    assert "allowed: 49,999,999" in (why_not(_large_png(10_000, 5_000), max_pixels=49_999_999) or "")
    assert "checksum" in (why_not(_large_png(10_000, 5_000), max_pixels=50_000_000) or "")  # the header was changed


def test_an_image_without_a_visible_fault_is_corrupt_where_the_decoder_refuses_it():
    assert refused(JPEG) == "is truncated or corrupt (JPEG): the decoder cannot read it"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("in/scan.tif", "`magick scan.tif scan.jpg`"),
        ("scan.jpg", "`magick tiff:scan.jpg scan-converted.jpg`"),
        ("my scan.jpg", "`magick 'tiff:my scan.jpg' 'my scan-converted.jpg'`"),
        ("scan", "`magick tiff:scan scan-converted.jpg`"),
    ],
)
def test_the_advice_never_writes_over_the_original(name, advice):
    assert advice in (why_not(encode(photo(), "TIFF"), name=name) or "")


def test_markers_inside_the_image_data_are_damage():
    start = JPEG.index(b"\xff\xda") + 40
    assert "0xc5" in partly_missing(JPEG[:start] + b"\xff\xc5\x00\x04ab" + JPEG[start + 6 :])
    assert "restart marker" in partly_missing(JPEG[:start] + b"\xff\xd3" + JPEG[start + 2 :])
    assert partly_missing(GIF[: len(GIF) // 2]) == "the file ends before the image does"


def test_formats_are_told_by_content_and_need_no_tensorflow():
    assert format_of(b"BM" + bytes(12) + b"\x28\0\0\0") == "BMP"
    assert format_of(b"BMW and others") == "text"
    assert format_of("żółw".encode()) == "text"
    code = (
        "import sys, tlkit.inputs.image.formats, tlkit.inputs.image.walk; "
        "print({'tensorflow', 'numpy', 'PIL'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
