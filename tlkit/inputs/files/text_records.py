"""The records of text files: CSV and TSV rows and JSON objects, every field as it is in the file."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple, NoReturn

from tlkit.errors import Advice, DataError
from tlkit.inputs.files.table_files import (
    OTHER_ENCODING,
    Quoting,
    check_header,
    open_text,
    undecodable_byte,
    unusable,
)

LONGEST = 2**31 - 1  # characters of a field, for the csv module; `_Lines` holds the real limit


class Record(NamedTuple):
    """One row of a table.

    Attributes:
        place: its location, for messages: "reviews.csv row 17", where the header is row 1.
        fields: column name -> value; text for CSV and TSV, any JSON or Parquet value otherwise.
        problem: why the row cannot be used; empty if it can.
        number: of the row.
        line: the line that it ends in.
    """

    place: str
    fields: dict[str, object]
    problem: str = ""
    number: int = 0
    line: int = 0


@dataclasses.dataclass(frozen=True)
class TextRecords:
    """Read a text file record by record, as often as it is iterated. The first record is the header, without values.

    Example:
        >>> header, *rows = TextRecords(Path("reviews.csv"), "reviews.csv", "utf-8", "auto", 10_000_000)
        >>> rows[0].place, rows[0].fields["label"]
        ('reviews.csv row 2', 'good')

    Args:
        path: a .csv, .tsv, .jsonl or .ndjson file.
        origin: what messages call it.
        encoding: any codec that Python has; a byte order mark is passed over.
        quoting: as for `tlkit.inputs.files.records.read_columns`.
        max_field_bytes: a row with more than this (in UTF-8) is refused before it is read to its end.
        lenient: give a row that is wrong with its problem and without fields, and go on. What hides where the next
            row begins, such as a quote that is never closed, is raised all the same.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        spaced: whether a space follows each separator.
        names: of the columns, if they are known; the header is read in any case.

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
    spaced: bool = False
    names: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """Of the file, without that of its compression."""
        return Path(self.path.name.lower().removesuffix(".gz")).suffix

    @property
    def delimiter(self) -> str | None:
        """What stands between fields; None for JSON."""
        usual = {".csv": ",", ".tsv": "\t"}.get(self.suffix)
        return usual and (self.separator or usual)

    @property
    def word(self) -> str:
        """What messages call a row."""
        return "row" if self.delimiter else "line"

    def __iter__(self) -> Iterator[Record]:
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
            _explain_undecodable(self._decoded("surrogateescape"), self.origin, self.word, self.encoding, error)

    def _decoded(self, errors: str) -> Iterator[Record]:
        # Without newline translation: a carriage return inside a quoted field stays one.
        newline = "" if self.delimiter else "\n"
        with open_text(self.path, self.encoding, errors, newline) as stream:
            lines = _Lines(stream, self.origin, self.max_field_bytes, self.word, self.lenient)
            if self.delimiter is None:
                yield from _json_objects(lines, self.lenient)
                return
            plain = self.quoting == "none" or (self.quoting == "auto" and self.suffix == ".tsv")
            quoting: Literal[0, 3] = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
            reader = csv.reader(
                lines, delimiter=self.delimiter, quoting=quoting, skipinitialspace=self.spaced, strict=True
            )
            yield from _separated(lines, reader, self.delimiter, quoting == csv.QUOTE_MINIMAL, self.names, self.lenient)


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
            if self.row > 1:
                raise DataError(f"{self.place} contains NUL bytes, which no text has", fix="remove them, or the row")
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

    def record(self, fields: dict[str, object], problem: str = "") -> Record:
        """Return the row that was read."""
        return Record(f"{self.origin} {self._word} {self.row}", fields, problem, self.row, self.line)

    def next_row(self) -> None:
        """Begin the next row: its bytes count from zero."""
        self.row += 1
        self._first = self.line + 1
        self._held = 0


@contextlib.contextmanager
def long_fields() -> Iterator[None]:
    """Let Python's csv module read fields of more than 128 kB; whoever gives it the lines has the real limit."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _separated(
    lines: _Lines, reader: Iterator[list[str]], delimiter: str, quoted: bool, names: Sequence[str], lenient: bool
) -> Iterator[Record]:
    header: Sequence[str] = ()
    while True:
        before = csv.field_size_limit(LONGEST)  # as in `long_fields`, which takes longer than reading a row
        try:
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
        finally:
            csv.field_size_limit(before)
        if not header:
            if fields:
                header = names or fields
                check_header(header, lines.origin)
                lines.row = 1  # whatever empty lines come before it
                yield lines.record(dict.fromkeys(header))
        elif fields:  # an empty line is no row
            if len(fields) != len(header):
                problem = f"{len(fields)} fields where the header has {len(header)}"
                if lenient:
                    yield lines.record({}, problem)
                    lines.next_row()
                    continue
                raise DataError(
                    f"{lines.place} has {problem}",
                    fix=f"a value that holds {delimiter!r} or a line break must be quoted"
                    if quoted
                    else f"a text cannot hold {delimiter!r} or a line break without quotes",
                )
            yield lines.record(dict(zip(header, fields, strict=True)))
        lines.next_row()


def _json_objects(lines: _Lines, lenient: bool) -> Iterator[Record]:
    started = False
    before: list[Record] = []  # problems above the first object, whose keys are the header
    for line in lines:
        if line.strip():
            try:
                row = lines.record(json_object(line, lines.place))
            except DataError as error:
                if not lenient:
                    raise
                row = lines.record({}, str(error))
            if started:
                yield row
            elif row.problem:
                before.append(row)
            else:
                started = True
                yield Record(lines.origin, dict.fromkeys(row.fields))
                yield from before
                yield row
        lines.next_row()
    if before and not started:
        raise DataError(before[0].problem)


def json_object(line: str, place: str) -> dict[str, object]:
    """Read one line of a JSONL file.

    Raises:
        DataError: it is not a JSON object; the message begins with `place`.
    """
    try:
        value = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{place} is not a JSON object", received=line.strip()[:60])
    return value


def _explain_undecodable(
    rows: Iterator[Record], origin: str, word: str, encoding: str, error: UnicodeDecodeError
) -> NoReturn:
    """Read once more, undecodable bytes as lone surrogates, to say in which row the first of them is."""
    fix = OTHER_ENCODING
    try:
        for row in rows:
            for value in (*row.fields, *row.fields.values()):
                byte = undecodable_byte(str(value))
                if byte is not None:
                    line = f" (ends in line {row.line})" if row.line not in (0, row.number) else ""
                    raise DataError(
                        f"{origin} {word} {max(row.number, 1)}{line} contains a byte that is not {encoding}",
                        received=f"0x{byte:02x}",
                        fix=fix,
                    ) from error
    except UnicodeDecodeError:  # a codec of several bytes a character, whose errors have no stand-in
        pass
    raise DataError(f"{origin} is not {encoding}: {error.reason}", fix=fix) from error
