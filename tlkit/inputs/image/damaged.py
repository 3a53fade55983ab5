"""Find JPEG files that decode but are damaged: what libjpeg complains of, image by image.

libjpeg repairs what it can (missing data become grey, stray bytes are passed over) and says so in a line on file
descriptor 2, without a name and without an error that a program could catch. Here that line is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tlkit.inputs.image.formats import HEAD, MAX_PIXELS, format_of, partly_missing, size_of

#: What libjpeg writes: its warnings, and the errors that TensorFlow turns into exceptions.
LIBJPEG = re.compile(
    r"(Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression|Unknown Adobe color|"
    r"Warning: unknown JFIF|Application transferred too|Input file read error|Not a JPEG file|Unsupported marker type|"
    r"Unsupported JPEG|Bogus |Invalid JPEG|JPEG datastream|Empty (input file|JPEG image)|Improper call to JPEG|"
    r"Quantization table 0x|Huffman table 0x|Invalid (component|crop|progressive|scan)|Maximum supported image|"
    r"Sampling factors too|Insufficient memory \(case|Didn't expect more than one scan|Requested feature was omitted)"
)
# An odd version number, colour code, scan header or colour profile: the picture is whole.
_HARMLESS = re.compile(
    r"Warning: unknown JFIF|Unknown Adobe color|Invalid SOS parameters|Corrupt JPEG data: bad ICC|Application transf"
)
_EXTRA = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_LOCK = threading.RLock()


class LibjpegLines:
    """Takes libjpeg's lines off file descriptor 2 while it is open; what else is written there is passed on.

    One thread at a time can have it open. Python's own `sys.stderr` goes on writing to where it did.

    Example:
        with LibjpegLines() as lines:
            tf.io.decode_jpeg(content)
            print(lines.take())
    """

    def __enter__(self) -> LibjpegLines:
        _LOCK.acquire()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        self._stack = contextlib.ExitStack()
        self._file = self._stack.enter_context(tempfile.TemporaryFile(buffering=0))
        self._read, self._rest = 0, b""
        try:
            self._kept: int | None = os.dup(2)
        except OSError:  # there is none
            self._kept = None
        self._python, self._own = sys.stderr, None
        if self._kept is not None and _descriptor(sys.stderr) == 2:
            self._own = os.fdopen(os.dup(self._kept), "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace")
            sys.stderr = self._own
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._kept is None:
                os.close(2)
            else:
                os.dup2(self._kept, 2)
            self.take()
            if self._rest:
                self._pass_on(self._rest)
            if self._own is not None:
                if sys.stderr is self._own:
                    sys.stderr = self._python
                self._own.close()
            if self._kept is not None:
                os.close(self._kept)
            self._stack.close()
        finally:
            _LOCK.release()

    def take(self) -> list[str]:
        """Return libjpeg's lines since the last call, and pass on the others."""
        new = os.pread(self._file.fileno(), 1 << 30, self._read)
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        found = []
        for line in lines:
            text = line.decode("utf-8", "replace")
            match = LIBJPEG.search(text)  # it may follow on a line that another library has not ended
            if match is None:
                self._pass_on(line + b"\n")
                continue
            found.append(text[match.start() :])
            if match.start():
                self._pass_on(text[: match.start()].encode() + b"\n")
        return found

    def _pass_on(self, line: bytes) -> None:
        if self._kept is not None:
            with contextlib.suppress(OSError):
                os.write(self._kept, line)


def damage_of(content: bytes, lines: LibjpegLines) -> str:
    """Decode one image and say how it is damaged; "" where it is whole, or cannot be decoded at all.

    Args:
        content: the file.
        lines: open.

    Returns:
        A clause, such as "premature end of data segment".
    """
    if format_of(content[:HEAD]) != "JPEG":
        return partly_missing(content)
    lines.take()
    if not _decode(content):
        lines.take()
        return ""
    found = [line for line in lines.take() if not _HARMLESS.match(line) and not _is_padding(line, content)]
    return found[0].removeprefix("Corrupt JPEG data: ").strip() if found else ""


def find_damaged(contents: Sequence[bytes], *, max_pixels: int = MAX_PIXELS) -> dict[int, str]:
    """Find the images that decode although they are damaged.

    All are decoded once, at an eighth of their size; where libjpeg complains, one after the other again.

    Example:
        >>> find_damaged([intact, damaged])
        {1: 'premature end of data segment'}

    Args:
        contents: image files.
        max_pixels: larger ones are not looked at.

    Returns:
        Place in `contents` -> what is wrong.
    """
    jpegs = []
    found = {}
    for place, content in enumerate(contents):
        if format_of(content[:HEAD]) == "JPEG":
            width, height = size_of(content) or (0, 0)
            if 0 < width * height <= max_pixels:
                jpegs.append(place)
        elif problem := partly_missing(content):
            found[place] = problem
    if jpegs:
        with LibjpegLines() as lines:
            for place in jpegs:
                _decode(contents[place])
            if lines.take():
                for place in jpegs:
                    # Twice: another thread may have decoded a damaged image meanwhile.
                    if damage_of(contents[place], lines) and (problem := damage_of(contents[place], lines)):
                        found[place] = problem
    return dict(sorted(found.items()))


def damaged_files(paths: Sequence[str | Path], *, decoder: bool = True) -> dict[int, str]:
    """Find the images that were predicted although they are damaged.

    Args:
        paths: of images that the model has decoded.
        decoder: load TensorFlow; its decoder finds more damage than the bytes alone show.

    Returns:
        Place in `paths` -> what is wrong.
    """
    contents = [Path(path).read_bytes() for path in paths]
    if decoder:
        return find_damaged(contents, max_pixels=sys.maxsize)  # the model has decoded them all
    return {place: problem for place, content in enumerate(contents) if (problem := partly_missing(content))}


def _decode(content: bytes) -> bool:
    import tensorflow as tf

    try:
        tf.io.decode_jpeg(content, channels=3, ratio=8)
    except tf.errors.OpError:
        return False
    return True


def _is_padding(line: str, content: bytes) -> bool:
    """Return whether the stray bytes before the end marker are zeros, with which some cameras fill up."""
    match = _EXTRA.match(line)
    if not match:
        return False
    count = int(match[1])
    at = content.rfind(b"\xff\xd9")
    while at > 0:
        if at >= count and not content[at - count : at].strip(b"\0\xff"):
            return True
        at = content.rfind(b"\xff\xd9", 0, at)
        if len(content) - at > 1 << 20:
            break
    return False


def _descriptor(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return -1
