"""Check the files of tables: what they are, their encoding, their header, their characters."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, get_args

from tlkit.errors import Advice, ConfigError, DataError, check_choice, did_you_mean

Quoting = Literal["auto", "minimal", "none"]
OTHER_ENCODING = Advice('{}, or "cp1252", or the encoding of the file', "encoding", "latin-1")
MAX_FIELD_BYTES = 10_000_000
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_MAGIC = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls)"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
)
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def existing_table(file: str | Path) -> Path:
    """Return the path of a table, which must be a file.

    Raises:
        DataError: there is no such file; the nearest names are given.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        near = did_you_mean(path.name, [item.name for item in path.parent.glob("*")] if path.parent.is_dir() else [])
        what = "the table is a folder" if path.is_dir() else "there is no such table"
        raise DataError(what, received=str(file), fix=near or None)
    return path


def check_table(file: str | Path, encoding: str, quoting: Quoting) -> Path:
    """Return the path of a table that can be opened and is what its suffix says.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, or of another type.
    """
    check_choice("quoting", quoting, get_args(Quoting))
    check_encoding(encoding)
    path = existing_table(file)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError("unknown table format", received=str(file), allowed=SUFFIXES)
    if suffix != ".parquet":
        check_is_text(path, encoding)
    return path


def check_is_text(path: Path, encoding: str, *, single_bytes: bool = False) -> None:
    """Refuse a file that begins as an image, an archive or a spreadsheet does, or in another Unicode encoding.

    Args:
        path: the file.
        encoding: what it is to be in.
        single_bytes: whether its reader takes only encodings in which a line break is one byte.

    Raises:
        DataError: the file is not text in this encoding.
    """
    with path.open("rb") as stream:
        start = stream.read(16)
    for magic, name in _MAGIC:
        if start.startswith(magic):
            raise DataError(f"the file is not text: it is {name}", received=str(path), allowed=SUFFIXES)
    for mark, name in _MARKS:
        if start.startswith(mark) and not codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            fix = "save it as UTF-8" if single_bytes else Advice("{}", "encoding", name)
            raise DataError(f"the file is in {name}, not in {encoding}", received=str(path), fix=fix)


def check_encoding(encoding: str) -> None:
    """Refuse what is no codec between text and bytes.

    Raises:
        ConfigError: there is no such codec.
    """
    try:
        b"a".decode(encoding)
    except UnicodeError:  # a codec of two or four bytes a character
        pass
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            "unknown encoding", received=encoding, allowed="a text codec of Python, such as utf-8, latin-1 or cp1252"
        ) from error


def open_bytes(path: Path) -> IO[bytes]:
    """Open a plain or gzipped file."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def open_text(path: Path, encoding: str, errors: str = "strict", newline: str = "") -> IO[str]:
    """Open a plain or gzipped file as text; line breaks inside fields stay as they are."""
    return io.TextIOWrapper(open_bytes(path), encoding=text_codec(encoding), errors=errors, newline=newline)


@contextlib.contextmanager
def gzip_errors(origin: str) -> Iterator[None]:
    """Turn what is raised about a compressed file into one clear line.

    Raises:
        DataError: the file cannot be decompressed.
    """
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"the table cannot be decompressed: {error}", received=origin) from error


def check_header(names: Sequence[str], origin: str) -> None:
    """Refuse a header that names a column twice.

    Raises:
        DataError: with the name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{origin} has several columns of one name", received=twice[0], allowed="different names")


def text_codec(encoding: str) -> str:
    """Give the codec to open a file with: for UTF-8 the one that passes over a byte order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def undecodable_byte(text: str) -> int | None:
    """Give the first byte that `errors="surrogateescape"` has kept in a text, or None."""
    return next((ord(char) - 0xDC00 for char in text if "\udc80" <= char <= "\udcff"), None)


def unusable(fields: Mapping[str, object], encoding: str) -> str:
    """Return why the texts of a row cannot be used, or nothing: NUL, undecodable bytes, halves of surrogate pairs.

    Args:
        fields: by column; bytes that could not be decoded as `errors="surrogateescape"` keeps them.
        encoding: what the file was to be in.
    """
    try:  # most rows are texts without any of it
        everything = "".join([*fields, *fields.values()])  # type: ignore[list-item]
        everything.isascii() or everything.encode("utf-8")
        if "\0" not in everything:
            return ""
    except (TypeError, UnicodeEncodeError):
        pass
    for name, value in fields.items():
        if isinstance(value, str) and "\0" in value:
            return f"column {name!r} contains NUL bytes"
        if broken := no_character(name, encoding):
            return f"the name of a column contains {broken}"
        texts = (value,) if isinstance(value, str) else _texts(value)
        if broken := next(filter(None, (no_character(text, encoding) for text in texts)), ""):
            return f"column {name!r} contains {broken}"
    return ""


def _texts(value: object) -> Iterator[str]:
    """Yield all texts of a JSON value."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one


def no_character(text: str, encoding: str) -> str:
    """Return what of a text is no character, or nothing."""
    try:
        text.isascii() or text.encode("utf-8")
    except UnicodeEncodeError:
        byte = undecodable_byte(text)
        return "half of a surrogate pair" if byte is None else f"a byte that is not {encoding}: 0x{byte:02x}"
    return ""


@contextlib.contextmanager
def parquet_errors(origin: str) -> Iterator[None]:
    """Turn what pandas and pyarrow raise about a file into one clear line.

    Args:
        origin: what messages call the file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        yield
    except DataError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's parse errors are ValueErrors
        reason = (str(error).split("\n") or [""])[0]
        raise DataError(f"the table cannot be read: {reason}", received=origin) from error
