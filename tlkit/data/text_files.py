"""Columns of a CSV, TSV, JSONL or Parquet file: every field as it stands, in bounded memory, errors with their row."""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, NoReturn, get_args

from tlkit.errors import ConfigError, DataError, check_choice, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Quoting = Literal["auto", "minimal", "none"]
MAX_FIELD_BYTES = 10_000_000
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_MAGIC = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls)"),
    (b"\x1f\x8b", "packed with gzip"),
    (b"BZh", "packed with bzip2"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd"),
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

    Returns:
        The columns, one value a row.

    Raises:
        ConfigError: there is no such codec or way of quoting.
        DataError: the file is missing, of another kind, cannot be decoded, or a row or column is wrong.
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
        raise DataError("unknown kind of table", received=str(file), allowed=SUFFIXES)
    if suffix == ".parquet":
        return _read_parquet(path, wanted)
    check_is_text(path, encoding)
    separated = suffix in (".csv", ".tsv")
    delimiter = "\t" if suffix == ".tsv" else ","
    plain = quoting == "none" or (quoting == "auto" and suffix == ".tsv")

    def rows(errors: str) -> Iterator[_Row]:
        # Without newline translation: a carriage return inside a quoted field stays one.
        with path.open("r", encoding=text_codec(encoding), errors=errors, newline="" if separated else "\n") as stream:
            lines = _Lines(stream, str(file), max_field_bytes, "row" if separated else "line")
            if separated:
                yield from _separated(lines, delimiter, csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)
            else:
                yield from _json_objects(lines)

    try:
        return _collect(rows("strict"), wanted, str(file), "row" if separated else "line")
    except UnicodeDecodeError as error:
        _explain_undecodable(rows("surrogateescape"), f"{file} {'row' if separated else 'line'}", encoding, error)


def check_is_text(path: Path, encoding: str) -> None:
    """Refuse a file that begins as an image, an archive or a spreadsheet does, or in another Unicode encoding.

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
            raise DataError(
                f"the file is in {name}, not in {encoding}", received=str(path), fix=f'pass encoding="{name}"'
            )


def missing_column(column: str, have: Iterable[object], origin: str) -> DataError:
    """Make the error that says which columns there are."""
    names = [str(name) for name in have]
    fix = did_you_mean(column, names) or None
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and mark in names[0]:
            fix = f"its fields are separated by {name}: write it with commas, or with tabs as .tsv"
    return DataError(f"{origin} has no column {column!r}", allowed=names, fix=fix)


class _Row(NamedTuple):
    number: int
    line: int
    fields: dict[str, object]


class _Lines:
    """Lines of a stream, one bounded piece at a time; knows the row that it is in."""

    def __init__(self, stream: IO[str], origin: str, limit: int, word: str):
        self._stream, self._limit, self._word = stream, limit, word
        self.origin = origin
        self.row = 1
        self.line = 0
        self._first = 1
        self._held = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        most = self._limit + 2  # the line break is not part of the text
        piece = self._stream.readline(most + 1)
        if not piece:
            raise StopIteration
        self.line += 1
        self._held += len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))
        if self._held > most:
            fix = "is the quote that it opens ever closed?" if self.line > self._first else None
            raise DataError(f"{self.place} is longer than {self._limit:,} bytes", allowed="shorter texts", fix=fix)
        if "\0" in piece:
            raise DataError(f"{self.place} holds NUL bytes: the file is not text", fix="or is it UTF-16? pass encoding")
        return piece

    @property
    def place(self) -> str:
        """Where the row that is being read stands."""
        apart = self._word == "row" and (self._first != self.row or self.line > self._first)
        lines = f" (lines {self._first} to {max(self.line, self._first)})" if apart else ""
        return f"{self.origin} {self._word} {self.row}{lines}"

    def next_row(self) -> None:
        """Begin the next row: its bytes count from zero."""
        self.row += 1
        self._first = self.line + 1
        self._held = 0


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Let Python's csv module read fields of more than 128 kB; `_Lines` holds the real limit."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _separated(lines: _Lines, delimiter: str, quoting: Literal[0, 3]) -> Iterator[_Row]:
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] = []
    while True:
        try:
            with _long_fields():
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(f"the quote that {lines.place} opens is never closed") from error
            raise DataError(
                f"{lines.place} cannot be read: {error}",
                fix='a quote inside a quoted field is written twice (""); quoting="none" takes quotes as they are',
            ) from error
        if not header:
            if fields:
                header = fields
                _check_header(header, lines.origin)
                yield _Row(lines.row, lines.line, dict.fromkeys(header))
        elif fields:  # an empty line is no row
            if len(fields) != len(header):
                raise DataError(
                    f"{lines.place} has {len(fields)} fields where the header has {len(header)}",
                    fix=f"a text that holds {delimiter!r} or a line break must be quoted"
                    if quoting == csv.QUOTE_MINIMAL
                    else f"a text cannot hold {delimiter!r} or a line break without quotes",
                )
            yield _Row(lines.row, lines.line, dict(zip(header, fields, strict=True)))
        lines.next_row()


def _json_objects(lines: _Lines) -> Iterator[_Row]:
    started = False
    for line in lines:
        if line.strip():
            try:
                value = json.loads(line.removeprefix("\ufeff"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{lines.place} is not JSON: {error}") from error
            if not isinstance(value, dict):
                raise DataError(f"{lines.place} is not a JSON object", received=line.strip()[:60])
            if not started:
                started = True
                yield _Row(0, 0, dict.fromkeys(value))
            yield _Row(lines.row, lines.line, value)
        lines.next_row()


def _collect(rows: Iterator[_Row], wanted: Sequence[str], origin: str, word: str) -> Columns:
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


def _explain_undecodable(rows: Iterator[_Row], place: str, encoding: str, error: UnicodeDecodeError) -> NoReturn:
    """Read once more, undecodable bytes as lone surrogates, to say in which row the first of them is."""
    fix = 'pass encoding="latin-1", "cp1252" or what the file was written in'
    try:
        for row in rows:
            for value in (*row.fields, *row.fields.values()):
                byte = undecodable_byte(str(value))
                if byte is not None:
                    line = f" (ends in line {row.line})" if row.line not in (0, row.number) else ""
                    raise DataError(
                        f"{place} {max(row.number, 1)}{line} holds a byte that is not {encoding}",
                        received=f"0x{byte:02x}",
                        fix=fix,
                    ) from error
    except UnicodeDecodeError:  # a codec of several bytes a character, whose errors have no stand-in
        pass
    raise DataError(f"{place.rpartition(' ')[0]} is not {encoding}: {error.reason}", fix=fix) from error


def undecodable_byte(text: str) -> int | None:
    """Give the first byte that `errors="surrogateescape"` has kept in a text, or None."""
    return next((ord(char) - 0xDC00 for char in text if "\udc80" <= char <= "\udcff"), None)


def _read_parquet(path: Path, wanted: Sequence[str]) -> Columns:
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        _check_header(names, str(path))
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
    _check_header(names, origin)
    if len(frame) == 0:
        raise DataError("the table has no rows", received=origin)
    values = {column: list(frame.iloc[:, names.index(column)].tolist()) for column in wanted}
    return Columns(values, [f"{origin} data row {number}" for number in range(1, len(frame) + 1)])


def _check_header(names: Sequence[str], origin: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{origin} has several columns of one name", received=twice[0], allowed="different names")


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


def text_codec(encoding: str) -> str:
    """Give the codec to open a file with: for UTF-8 the one that passes over a byte order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
