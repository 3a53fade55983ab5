"""Columns of a CSV, TSV, JSONL or Parquet file: every field as it stands, in bounded memory, errors with their row."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from tlkit.errors import Advice, ConfigError, DataError, check_choice, did_you_mean
from tlkit.inputs.files.records import Quoting, Row, TableRows, check_header

if TYPE_CHECKING:
    import pandas as pd

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


class Columns(NamedTuple):
    """The wanted columns of a table.

    Attributes:
        values: column name -> one value a row; text for CSV and TSV, any JSON or Parquet value otherwise.
        places: where each row stands, for messages: "reviews.csv row 17", where the header is row 1.
    """

    values: dict[str, list[object]]
    places: list[str]


def read_columns(
    file: str | Path,
    wanted: Sequence[str],
    *,
    encoding: str = "utf-8",
    quoting: Quoting = "auto",
    max_field_bytes: int = MAX_FIELD_BYTES,
    separator: str = "",
) -> Columns:
    r"""Read some columns of a .csv, .tsv, .jsonl, .ndjson or .parquet file.

    A field keeps every character that is in it: a quoted line break as well as NEL (U+0085), U+2028 or \x0b, which
    many programs take for the end of a line. CSV follows RFC 4180, strictly: a stray quote is an error, not a guess.

    Example:
        >>> read_columns("reviews.csv", ["text", "label"]).values["label"][:2]
        ['good', 'bad']

    Args:
        file: the file; its suffix says what it is.
        wanted: names of the columns to keep.
        encoding: of a text file, any codec that Python has; a byte order mark is passed over.
        quoting: `"minimal"` reads "…" as one field, `"none"` leaves quotes as they are, `"auto"` is `"minimal"` for
            CSV and `"none"` for TSV, whose texts often hold single quotes of their own.
        max_field_bytes: a row with more than this (in UTF-8) is refused before it is read to its end.
        separator: between the fields of a CSV or TSV; by the suffix when empty.

    Returns:
        The columns, one value a row.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, of another kind, cannot be decoded, or a row or column is wrong.
    """
    path = check_table(file, encoding, quoting)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, wanted)
    rows = TableRows(path, str(file), encoding, quoting, max_field_bytes, separator=separator)
    return _collect(iter(rows), wanted, str(file), rows.word)


def check_table(file: str | Path, encoding: str, quoting: Quoting) -> Path:
    """Give the path of a table that can be opened and is what its suffix says.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, or of another kind.
    """
    path = Path(file).expanduser()
    check_choice("quoting", quoting, get_args(Quoting))
    check_encoding(encoding)
    if not path.is_file():
        near = did_you_mean(path.name, [item.name for item in path.parent.glob("*")] if path.parent.is_dir() else [])
        what = "the table is a folder" if path.is_dir() else "there is no such table"
        raise DataError(what, received=str(file), fix=near or None)
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


def missing_column(column: str, have: Iterable[object], origin: str) -> DataError:
    """Make the error that says which columns there are."""
    names = [str(name) for name in have]
    fix: str | Advice | None = did_you_mean(column, names) or None
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(names) == 1 and mark in names[0]:
            fix = Advice(f"its fields are separated by {name}: {{}}", "separator", mark)
    return DataError(f"{origin} has no column {column!r}", allowed=names, fix=fix)


def _collect(rows: Iterator[Row], wanted: Sequence[str], origin: str, word: str) -> Columns:
    """Keep the wanted columns; the first of the rows is the header."""
    header = next(rows, None)
    if header is None:
        raise DataError("the table is empty", received=origin)
    for column in wanted:
        if column not in header.fields:
            raise missing_column(column, header.fields, origin)
    values: dict[str, list[object]] = {column: [] for column in wanted}
    places: list[str] = []
    for row in rows:
        for column, kept in values.items():
            if column not in row.fields:
                raise missing_column(column, row.fields, f"{origin} {word} {row.number}")
            kept.append(row.fields[column])
        places.append(f"{origin} {word} {row.number}")
    if not places:
        raise DataError("the table has a header and no rows", received=origin)
    return Columns(values, places)


def _read_parquet(path: Path, wanted: Sequence[str]) -> Columns:
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        check_header(names, str(path))
        for column in wanted:
            if column not in names:
                raise missing_column(column, names, str(path))
        frame = pd.read_parquet(path, columns=list(wanted))
    except DataError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's parse errors are ValueErrors
        reason = (str(error).split("\n") or [""])[0]
        raise DataError(f"the table cannot be read: {reason}", received=str(path)) from error
    return frame_columns(frame, wanted, str(path))


def frame_columns(frame: pd.DataFrame, wanted: Sequence[str], origin: str) -> Columns:
    """Give the wanted columns of a DataFrame; its rows are counted from 1.

    Raises:
        DataError: a column is missing or there twice, or there are no rows.
    """
    names = [str(name) for name in frame.columns]
    for column in wanted:
        if column not in names:
            raise missing_column(column, names, origin)
    check_header(names, origin)
    if len(frame) == 0:
        raise DataError("the table has no rows", received=origin)
    values = {column: list(frame.iloc[:, names.index(column)].tolist()) for column in wanted}
    return Columns(values, [f"{origin} data row {number}" for number in range(1, len(frame) + 1)])


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
