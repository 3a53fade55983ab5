"""Read from an image file's bytes alone what it is and why it cannot be decoded; needs neither TensorFlow nor Pillow.

Layouts follow ITU-T T.81 (JPEG), W3C PNG, GIF89a, the Windows bitmap header and RFC 9649 (WebP).
"""

from __future__ import annotations

import shlex
import struct
import zlib
from pathlib import PurePath

from tlkit.inputs.image import jpeg

HEAD = 64  # bytes that `format_of` looks at
MAX_PIXELS = 40_000_000  # what is decoded where nothing else is configured
ACCEPTED = ("JPEG", "PNG", "GIF", "BMP", "WebP")
UNSUPPORTED = ("TIFF", "HEIC", "AVIF", "JPEG XL", "JPEG 2000", "Photoshop", "SVG", "icon")
#: A file of such a name is meant to be an image, whatever it holds.
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp",
    ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".ico",
    ".dng", ".cr2", ".nef", ".arw", ".orf", ".rw2",
})  # fmt: skip
_MAGIC = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"\x00\x00\x01\x00", "icon"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"PAR1", "Parquet"),
    (0, b"\x89HDF\r\n", "HDF5"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"
)
_BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def format_of(head: bytes) -> str:
    """Return the format of a file by its first bytes, never by its name.

    Example:
        >>> format_of(b"GIF89a")
        'GIF'

    Args:
        head: the first `HEAD` bytes, fewer where the file is shorter.

    Returns:
        A name of `ACCEPTED` or `UNSUPPORTED` for images, another name such as "PDF", "text" or "video", or "" where
        the bytes are not known.
    """
    for at, magic, name in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    if head and head.translate(None, b"\0\1\2\3\4\5\6\7\x0b\x0e\x0f\x7f") == head:
        return "text"
    return ""


def size_of(content: bytes) -> tuple[int, int] | None:
    """Return width and height as the header states them, or None where there is no usable header."""
    kind = format_of(content[:HEAD])
    if kind == "JPEG":
        frame = jpeg.frame_of(content)
        return None if frame is None else (frame.width, frame.height)
    try:
        if kind == "PNG":
            return struct.unpack_from(">II", content, 16)
        if kind == "GIF":
            return struct.unpack_from("<HH", content, 6)
        if kind == "BMP":
            width, height = struct.unpack_from("<HH" if content[14] == 12 else "<ii", content, 18)
            return width, abs(height)
        if kind == "WebP":
            return _size_of_webp(content)
    except (struct.error, IndexError):
        pass
    return None


def why_not(content: bytes, *, max_pixels: int = MAX_PIXELS, name: str = "") -> str | None:
    """Say in one clause why an image cannot be decoded, or return None where its bytes show no reason.

    Example:
        >>> why_not(b"")
        'is empty (0 bytes)'

    Args:
        content: the whole file.
        max_pixels: the largest width x height that is decoded.
        name: of the file, for the advice how to convert it.
    """
    if not content:
        return "is empty (0 bytes)"
    kind = format_of(content[:HEAD])
    if kind not in ACCEPTED:
        return not_accepted(kind, name)
    if kind == "WebP" and _is_animated(content):
        return "is an animated WebP, which is not supported; save one frame as PNG or JPEG"
    if kind == "BMP" and (reason := _bmp_reason(content)):
        return reason
    if kind == "JPEG" and (reason := jpeg.unusual(content)):
        return reason
    size = size_of(content)
    if size is None:
        return f"is truncated or corrupt ({kind}): its header is incomplete"
    if not size[0] * size[1]:
        return f"is truncated or corrupt ({kind}): its header contains no usable size"
    if size[0] * size[1] > max_pixels:
        return too_large(size, max_pixels)
    broken = {"JPEG": jpeg.broken, "PNG": _broken_png, "GIF": _broken_gif, "BMP": _broken_bmp}
    reason = broken.get(kind, _broken_webp)(content)
    return f"is truncated or corrupt ({kind}): {reason}" if reason else None


def refused(content: bytes, *, max_pixels: int = MAX_PIXELS, name: str = "") -> str:
    """Say in one clause why the decoder refused an image: `why_not`, or that it is corrupt where the bytes look whole.

    Args:
        content, max_pixels, name: as for `why_not`.
    """
    reason = why_not(content, max_pixels=max_pixels, name=name)
    return reason or f"is truncated or corrupt ({format_of(content[:HEAD])}): the decoder cannot read it"


def not_accepted(kind: str, name: str = "") -> str:
    """Say in one clause that a format is not decoded.

    Args:
        kind: what `format_of` returned, not one of `ACCEPTED`.
        name: of the file, for the advice how to convert it.
    """
    if kind in UNSUPPORTED:
        return f"is {kind}, which the exported model cannot decode; {_convert(kind, name)}"
    return f"is not an image{f' but {kind}' if kind else ''} (known formats: {', '.join(ACCEPTED)})"


def too_large(size: tuple[int, int], max_pixels: int) -> str:
    """Say in one clause that an image has more pixels than are decoded."""
    width, height = size
    return (
        f"has {width * height:,} pixels ({width} x {height}); allowed: {max_pixels:,}; "
        "shrink it, or raise max_pixels ([data] in config.toml) and train and export with it"
    )


def partly_missing(content: bytes) -> str:
    """Say how the bytes show that an image is damaged although it may decode; "" where they show nothing.

    This finds less than a decoder does: in a JPEG only markers where none may stand. `tlkit.inputs.image.damaged` asks
    the decoder.
    """
    kind = format_of(content[:HEAD])
    if kind == "JPEG":
        return jpeg.misplaced_marker(content)
    return _broken_gif(content) if kind == "GIF" else ""


def _convert(kind: str, name: str) -> str:
    """Advise how to convert a file, without writing over it or over its likely neighbour."""
    path = PurePath(name or f"FILE.{kind.lower().replace(' ', '')}")
    is_misnamed = format_of_suffix(path.suffix) != kind
    source = f"{kind.lower()}:{path.name}" if is_misnamed and kind in ("TIFF", "HEIC", "AVIF") else path.name
    target = f"{path.stem}-converted.jpg" if is_misnamed else f"{path.stem}.jpg"
    return f"convert it first, for example with `magick {shlex.quote(source)} {shlex.quote(target)}`"


def format_of_suffix(suffix: str) -> str:
    """Return the format that a file's ending promises, or ""."""
    return {
        ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP",
        ".dib": "BMP", ".webp": "WebP", ".tif": "TIFF", ".tiff": "TIFF", ".heic": "HEIC", ".heif": "HEIC",
        ".dng": "TIFF", ".cr2": "TIFF", ".nef": "TIFF", ".arw": "TIFF", ".avif": "AVIF", ".jxl": "JPEG XL",
        ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".psd": "Photoshop", ".svg": "SVG", ".ico": "icon",
    }.get(suffix.lower(), "")  # fmt: skip


def _is_animated(content: bytes) -> bool:
    return content[15:16] == b"X" and len(content) > 20 and bool(content[20] & 2)


def _size_of_webp(content: bytes) -> tuple[int, int]:
    variant = content[15]
    if variant == ord("X"):
        return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
    if variant == ord("L"):
        packed = struct.unpack_from("<I", content, 21)[0]
        return (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bmp_reason(content: bytes) -> str:
    if len(content) < 34 or content[14] == 12:
        bits, compression = int.from_bytes(content[24:26], "little"), 0
        usable = False
    else:
        bits, compression = struct.unpack_from("<HI", content, 28)
        usable = bits in (8, 24, 32) and compression in (0, 3)
    if usable:
        return ""
    return (
        f"is a BMP that is not supported ({bits} bits a pixel, compression {compression}); "
        "save it with 8, 24 or 32 bits and no compression"
    )


def _broken_png(content: bytes) -> str:
    at = 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            break
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(content[at + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            return f"the checksum of a part ({kind.decode('ascii', 'replace')}) is wrong"
        if kind == b"IEND":
            return ""
        at = end
    return "the file ends before the image does"


def _broken_gif(content: bytes) -> str:
    """Walk the blocks up to the end of the first image, which is the frame that is used."""
    cut = "the file ends before the image does"
    if len(content) < 13:
        return cut
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while at < len(content):
        block = content[at]
        if block == 0x3B:
            return "it contains no image"
        if block == 0x21:  # an extension: its label, then sub-blocks
            at += 2
        elif block == 0x2C and at + 11 <= len(content):
            colours = content[at + 9]
            at += 11 + (3 << (colours & 7) + 1 if colours & 0x80 else 0)
        else:
            return cut if block == 0x2C else f"a block of an unknown kind (0x{block:02x})"
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
        if at > len(content):
            return cut
        if block == 0x2C:
            return ""
    return cut


def _broken_bmp(content: bytes) -> str:
    start, width, height, bits = (
        struct.unpack_from("<I", content, 10)[0],
        *struct.unpack_from("<ii", content, 18),
        struct.unpack_from("<H", content, 28)[0],
    )
    needed = start + (width * bits + 31) // 32 * 4 * abs(height)
    return "the file ends before the image does" if len(content) < needed else ""


def _broken_webp(content: bytes) -> str:
    promised = struct.unpack_from("<I", content, 4)[0] + 8
    return "the file ends before the image does" if len(content) < promised - 1 else ""
