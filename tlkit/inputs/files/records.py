"""The rows of a CSV, TSV or JSONL file: every field as it stands, in bounded memory, errors with their row."""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple, NoReturn

from tlkit.errors import Advice, DataError

Quoting = Literal["auto", "minimal", "none"]
OTHER_ENCODING = Advice('{}, or "cp1252", or the encoding of the file', "encoding", "latin-1")


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        number: its number; the header is row 1.
        line: the line that it ends in.
        fields: by column.
        problem: why it cannot be used; empty where it can.
    """

    number: int
    line: int
    fields: dict[str, object]
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class TableRows:
    """Reads a table row by row, as often as it is iterated; the first row is the header, whose values mean nothing.

    Example:
        >>> header, *rows = TableRows(Path("reviews.csv"), "reviews.csv", "utf-8", "auto", 10_000_000)
        >>> rows[0].number, rows[0].fields["label"]
        (2, 'good')

    Args:
        path: a .csv, .tsv, .jsonl or .ndjson file.
        origin: what messages call it.
        encoding: any codec that Python has; a byte order mark is passed over.
        quoting: as for `tlkit.inputs.files.columns.read_columns`.
        max_field_bytes: a row with more than this (in UTF-8) is refused before it is read to its end.
        lenient: give a row that is wrong with its problem and without fields, and go on. What hides where the next
            row begins, such as a quote that is never closed, is raised all the same.
        separator: between the fields of a CSV or TSV; by the suffix when empty.

    Raises:
        DataError: while it is iterated: bytes that cannot be decoded, or a row that is wrong.
    """

    path: Path
    origin: str
    encoding: str
    quoting: Quoting
    max_field_bytes: int
    lenient: bool = False
    separator: str = ""

    @property
    def delimiter(self) -> str | None:
        """What stands between fields; None for JSON."""
        usual = {".csv": ",", ".tsv": "\t"}.get(self.path.suffix.lower())
        return usual and (self.separator or usual)

    @property
    def word(self) -> str:
        """What messages call a row."""
        return "row" if self.delimiter else "line"

    def __iter__(self) -> Iterator[Row]:
        """Give the header and then the rows."""
        try:
            if not self.lenient:
                yield from self._decoded("strict")
                return
            for at, row in enumerate(self._decoded("surrogateescape")):
                problem = row.problem or unusable(row.fields, self.encoding)
                if problem and not at:
                    raise DataError(f"the header of {self.origin} cannot be used: {problem}")
                yield row._replace(fields={}, problem=problem) if problem else row
        except UnicodeDecodeError as error:
            _explain_undecodable(self._decoded("surrogateescape"), f"{self.origin} {self.word}", self.encoding, error)

    def _decoded(self, errors: str) -> Iterator[Row]:
        # Without newline translation: a carriage return inside a quoted field stays one.
        newline = "" if self.delimiter else "\n"
        with self.path.open("r", encoding=text_codec(self.encoding), errors=errors, newline=newline) as stream:
            lines = _Lines(stream, self.origin, self.max_field_bytes, self.word, self.lenient)
            if self.delimiter is None:
                yield from _json_objects(lines, self.lenient)
                return
            plain = self.quoting == "none" or (self.quoting == "auto" and self.path.suffix.lower() == ".tsv")
            yield from _separated(lines, self.delimiter, csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL, self.lenient)


class _Lines:
    """Lines of a stream, one bounded piece at a time; knows the row that it is in."""

    def __init__(self, stream: IO[str], origin: str, limit: int, word: str, lenient: bool):
        self._stream, self._limit, self._word, self._lenient = stream, limit, word, lenient
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
            fix = "check for a quote that is never closed" if self.line > self._first else None
            raise DataError(f"{self.place} is longer than {self._limit:,} bytes", allowed="shorter texts", fix=fix)
        if "\0" in piece and not self._lenient:
            raise DataError(
                f"{self.place} contains NUL bytes: the file is not text",
                fix=Advice("if it is UTF-16, {}", "encoding", "utf-16"),
            )
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


def _separated(lines: _Lines, delimiter: str, quoting: Literal[0, 3], lenient: bool) -> Iterator[Row]:
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
                fix=Advice(
                    'write a quote inside a quoted field twice (""); to read quotes as plain characters, {}',
                    "quoting",
                    "none",
                ),
            ) from error
        if not header:
            if fields:
                header = fields
                check_header(header, lines.origin)
                yield Row(lines.row, lines.line, dict.fromkeys(header))
        elif fields:  # an empty line is no row
            if len(fields) != len(header):
                problem = f"{len(fields)} fields where the header has {len(header)}"
                if lenient:
                    yield Row(lines.row, lines.line, {}, problem)
                    lines.next_row()
                    continue
                raise DataError(
                    f"{lines.place} has {problem}",
                    fix=f"a text that holds {delimiter!r} or a line break must be quoted"
                    if quoting == csv.QUOTE_MINIMAL
                    else f"a text cannot hold {delimiter!r} or a line break without quotes",
                )
            yield Row(lines.row, lines.line, dict(zip(header, fields, strict=True)))
        lines.next_row()


def _json_objects(lines: _Lines, lenient: bool) -> Iterator[Row]:
    started = False
    before: list[Row] = []  # problems above the first object, whose keys are the header
    for line in lines:
        if line.strip():
            try:
                row = Row(lines.row, lines.line, _json_object(line, lines.place))
            except DataError as error:
                if not lenient:
                    raise
                row = Row(lines.row, lines.line, {}, str(error))
            if started:
                yield row
            elif row.problem:
                before.append(row)
            else:
                started = True
                yield Row(0, 0, dict.fromkeys(row.fields))
                yield from before
                yield row
        lines.next_row()
    if before and not started:
        raise DataError(before[0].problem)


def _json_object(line: str, place: str) -> dict[str, object]:
    try:
        value = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{place} is not a JSON object", received=line.strip()[:60])
    return value


def _explain_undecodable(rows: Iterator[Row], place: str, encoding: str, error: UnicodeDecodeError) -> NoReturn:
    """Read once more, undecodable bytes as lone surrogates, to say in which row the first of them is."""
    fix = OTHER_ENCODING
    try:
        for row in rows:
            for value in (*row.fields, *row.fields.values()):
                byte = undecodable_byte(str(value))
                if byte is not None:
                    line = f" (ends in line {row.line})" if row.line not in (0, row.number) else ""
                    raise DataError(
                        f"{place} {max(row.number, 1)}{line} contains a byte that is not {encoding}",
                        received=f"0x{byte:02x}",
                        fix=fix,
                    ) from error
    except UnicodeDecodeError:  # a codec of several bytes a character, whose errors have no stand-in
        pass
    raise DataError(f"{place.rpartition(' ')[0]} is not {encoding}: {error.reason}", fix=fix) from error


def undecodable_byte(text: str) -> int | None:
    """Give the first byte that `errors="surrogateescape"` has kept in a text, or None."""
    return next((ord(char) - 0xDC00 for char in text if "\udc80" <= char <= "\udcff"), None)


def unusable(fields: Mapping[str, object], encoding: str) -> str:
    """Return why the texts of a row cannot be used, or nothing: NUL, undecodable bytes, halves of surrogate pairs.

    Args:
        fields: by column; bytes that could not be decoded as `errors="surrogateescape"` keeps them.
        encoding: what the file was to be in.
    """
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
