"""Walk the segments of a JPEG file (ITU-T T.81): its frame header, and whether its parts are all there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, all with Huffman codes
_BETWEEN_SCANS = frozenset({0xC4, 0xDB, 0xDC, 0xDD, 0xDA, 0xD9, 0xFE, *range(0xE0, 0xF0)})
_MARKER = re.compile(rb"\xff+([^\x00\xff])")  # in a scan, a byte 0xff is followed by 0x00 unless it begins a marker


class Frame(NamedTuple):
    """The frame header: what kind of JPEG it is, and the size of the image in pixels."""

    marker: int
    precision: int
    width: int
    height: int


class Segment(NamedTuple):
    """A marker, and where the bytes after its length field begin and end; `begin` is `end` where it has none."""

    marker: int
    begin: int
    end: int


def segments(content: bytes) -> Iterator[Segment]:
    """Give the segments from the start of the image to its end marker; a scan's data are passed over.

    Markers that may not stand in a scan are given as they are found there. Ends early where the file does.
    """
    at = 2
    while found := _MARKER.search(content, at):
        marker = found[1][0]
        at = found.end()
        if marker == _EOI or 0xD0 <= marker <= _SOI or marker == 0x01:
            yield Segment(marker, at, at)
            if marker == _EOI:
                return
            continue
        size = int.from_bytes(content[at : at + 2], "big")
        end = at + max(size, 2)
        if end > len(content):
            return
        yield Segment(marker, at + 2, end)
        at = end


def frame_of(content: bytes) -> Frame | None:
    """Return the frame header; None where there is none."""
    for segment in segments(content):
        if segment.marker in _FRAMES:
            data = content[segment.begin : segment.end]
            if len(data) < 6:
                return None
            return Frame(segment.marker, data[0], int.from_bytes(data[3:5], "big"), int.from_bytes(data[1:3], "big"))
        if segment.marker in (_SOS, _EOI):
            return None
    return None


def unusual(content: bytes) -> str:
    """Say in one clause that a JPEG is of a kind that decoders rarely know; "" for common ones."""
    frame = frame_of(content)
    if frame is None or (frame.marker in _DECODED_FRAMES and frame.precision == 8):
        return ""
    kind = "lossless" if frame.marker in (0xC3, 0xC7, 0xCB, 0xCF) else "hierarchical or arithmetic-coded"
    kind = f"{frame.precision}-bit" if frame.marker in _DECODED_FRAMES else kind
    return f"is a {kind} JPEG, which is not supported; save it as an ordinary 8-bit JPEG or as PNG"


def broken(content: bytes) -> str:
    """Say what is missing of a JPEG; "" where all parts are there."""
    has_scan = False
    for segment in segments(content):
        has_scan = has_scan or segment.marker == _SOS
        if segment.marker == _EOI:
            return "" if has_scan else "it contains no image data"
    return "the file ends before the image does"


def misplaced_marker(content: bytes) -> str:
    """Say that a marker stands where none may: inside the data of a scan, or out of turn; "" where all is well."""
    in_scan, interval, turn = False, 0, 0
    for segment in segments(content):
        marker = segment.marker
        if marker == _DRI:
            interval = int.from_bytes(content[segment.begin : segment.begin + 2], "big")
        if marker == _SOS:
            in_scan, turn = True, 0
        elif in_scan and 0xD0 <= marker <= 0xD7:
            if not interval or marker != 0xD0 + turn:
                return "a restart marker in its image data is out of order"
            turn = (turn + 1) % 8
        elif in_scan and marker not in _BETWEEN_SCANS:
            return f"a marker (0x{marker:02x}) is in the middle of its image data"
    return ""
