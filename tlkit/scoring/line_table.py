"""CSV, TSV, JSONL and TXT files as items: read from any shard's first byte on, one record at a time."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tlkit.errors import DataError
from tlkit.files import sha256_of
from tlkit.inputs.files import frames as frame_files
from tlkit.inputs.files.table_files import (
    MAX_FIELD_BYTES,
    OTHER_ENCODING,
    check_encoding,
    check_header,
    check_is_text,
    gzip_errors,
    no_character,
    open_bytes,
    unusable,
)
from tlkit.inputs.files.text_records import long_fields
from tlkit.inputs.items import Item, Shard, cut

_CODECS = {"utf-8", "ascii", "iso8859-1", "cp1252"}  # a line break is one byte and nothing else holds that byte
_TYPED_AT_ONCE = 4096  # rows


@dataclasses.dataclass(frozen=True)
class LineTable:
    """A text file whose records begin at a byte that can be returned to.

    What is wrong with one record (too many fields, no JSON, bytes that cannot be decoded) is that item's problem; what
    hides where the next record begins (a quote that is never closed) is an error.

    Example:
        >>> table = LineTable.of(Path("reviews.csv"), column="text")
        >>> [item.content for shard in table.shards(100) for item in table.read(shard)][:1]
        ['what a film']

    Args:
        path: a .csv, .tsv, .csv.gz, .tsv.gz, .jsonl, .ndjson or .txt file.
        column: the one that holds the texts; empty where the items are rows.
        delimiter: between fields; empty for JSONL and TXT.
        quoted: whether fields can stand in double quotes.
        spaced: whether a space follows each delimiter.
        encoding: of the file; a line break must be one byte in it.
        columns: of the table.
        origin: what messages call it, `path` itself when empty.
        begin: where the first record begins, in bytes, and `records`, how many (the header) come before it.
    """

    path: Path
    column: str
    delimiter: str
    quoted: bool
    spaced: bool
    encoding: str
    columns: tuple[str, ...] = ()
    begin: int = 0
    records: int = 0
    origin: str = ""

    @classmethod
    def of(cls, path: Path, *, column: str = "", separator: str = "", encoding: str = "utf-8") -> LineTable:
        """Look at a file: its kind by the suffix, its columns by the header, or by all records of a JSONL.

        Raises:
            ConfigError: there is no such encoding.
            DataError: the file is empty or no text, or its header cannot be read.
        """
        check_encoding(encoding)
        if codecs.lookup(encoding).name not in _CODECS:
            raise DataError("unsupported encoding", received=encoding, allowed=sorted(_CODECS))
        suffixes = path.name.lower()
        is_packed = suffixes.endswith(".gz")
        if not is_packed:
            check_is_text(path, encoding, single_bytes=True)
        kind = next((kind for kind in ("csv", "tsv", "txt") if f".{kind}" in suffixes.removesuffix(".gz")[-4:]), "json")
        delimiter = {"csv": separator or ",", "tsv": separator or "\t"}.get(kind, "")
        table = cls(path, column, delimiter, kind == "csv" or not column, False, encoding)
        if delimiter:
            return table._with_header()
        if kind == "txt":
            return dataclasses.replace(table, column="text", columns=("text",))
        names: dict[str, None] = {}
        for item in table._items(0, 0, 0):
            names |= dict.fromkeys(item.fields)
        return dataclasses.replace(table, columns=tuple(names))

    def placed(self, folder: Path) -> LineTable:
        """Name the file by its absolute path; nothing needs to be kept."""
        return dataclasses.replace(self, path=self.path.absolute(), origin=str(self.path))

    def digest(self) -> str:
        """Hash the file."""
        return sha256_of(self.path)

    def types(self) -> dict[str, Any]:
        """Give what all values of a JSON column go into."""
        import pyarrow as pa

        if self.delimiter or self._is_plain:
            return {}
        found = pa.schema([])
        rows: list[dict[str, Any]] = []

        def widen() -> None:
            nonlocal found
            part = pa.table({name: [row.get(name) for row in rows] for name in self.columns})
            found = pa.unify_schemas([found, part.schema], promote_options="permissive")
            rows.clear()

        try:
            for item in self._items(0, 0, 0):
                if not item.problem:
                    rows.append(item.fields)
                if len(rows) == _TYPED_AT_ONCE:
                    widen()
            widen()
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"the rows do not fit a Parquet file: {error}", fix="write .csv or .jsonl") from error
        return {field.name: field.type for field in found if not pa.types.is_null(field.type)}

    def shards(self, size: int) -> Iterator[Shard]:
        """Divide the file; see `Source`."""
        yield from cut(((start, before) for start, before, _ in self._walk(self.begin, self.records)), size)

    def read(self, shard: Shard) -> Iterator[Item]:
        """Give the items of a shard."""
        found = self._items(shard.offset, shard.row, shard.begin)
        for _ in range(shard.items):
            yield next(found)

    # Records

    @property
    def _is_plain(self) -> bool:
        return self.path.name.lower().endswith((".txt", ".txt.gz"))

    def _items(self, offset: int, records: int, number: int) -> Iterator[Item]:
        for at, (_, before, record) in enumerate(self._walk(offset, records), number):
            place = f"{self.origin or self.path} {'row' if self.delimiter else 'line'} {before + 1}"
            fields, problem = self._fields(record)
            if not problem:
                problem = unusable(fields, self.encoding)
            content = None
            if self.column and not problem:
                content = fields.get(self.column)
                if not isinstance(content, str):
                    problem = f"column {self.column!r} contains no text"
            if problem:
                fields, content = {}, record if isinstance(record, str) else self.delimiter.join(record)
            yield Item(at, place, content, fields, problem)

    def _fields(self, record: str | list[str]) -> tuple[dict[str, Any], str]:
        if isinstance(record, list):
            if len(record) != len(self.columns):
                return {}, f"{len(record)} fields where the header has {len(self.columns)}"
            return dict(zip(self.columns, record, strict=True)), ""
        if self._is_plain:
            return {"text": record}, ""
        try:
            value = json.loads(record)
        except (ValueError, RecursionError) as error:
            return {}, f"no JSON: {error}"
        return (value, "") if isinstance(value, dict) else ({}, "no JSON object")

    def _walk(self, offset: int, records: int) -> Iterator[tuple[int, int, str | list[str]]]:
        """Give the records from an offset on: where each begins, how many come before it, and itself."""
        with gzip_errors(str(self.path)), open_bytes(self.path) as stream:
            stream.seek(offset)
            lines = _Lines(stream, self.encoding, offset, str(self.path))
            if not self.delimiter:
                for line in lines:
                    if line.strip() or self._is_plain:  # an empty text is a text
                        yield lines.before, records, line.removesuffix("\n").removesuffix("\r")
                    records += 1
                return
            reader = self._reader(lines)
            while True:
                start = lines.offset
                try:
                    with long_fields():
                        fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise DataError(
                        f"{self.path} row {records + 1} cannot be read: {error}",
                        fix="check for a quote that is never closed",
                    ) from error
                if fields:  # an empty line is no row
                    yield start, records, fields
                records += 1

    def _with_header(self) -> LineTable:
        table = self
        names: list[str] = []
        fields: list[str] = []
        if not self.column:  # as the table was read in training
            with gzip_errors(str(self.path)):  # rows below the header may hold what cannot be decoded
                names, spaced = frame_files.csv_header(
                    self.path, str(self.path), self.delimiter, self.encoding, errors="replace"
                )
            table = dataclasses.replace(self, spaced=spaced)
        with gzip_errors(str(self.path)), open_bytes(self.path) as stream:
            lines = _Lines(stream, self.encoding, 0, str(self.path))
            reader = table._reader(lines)
            while not fields:
                try:
                    with long_fields():
                        fields = next(reader)
                except StopIteration:
                    raise DataError("the table is empty", received=str(self.path)) from None
                except csv.Error as error:
                    raise DataError(f"the header of {self.path} cannot be read: {error}") from error
            if broken := no_character("".join(fields), self.encoding):
                raise DataError(f"the header of {self.path} contains {broken}", fix=OTHER_ENCODING)
            if self.column:
                names = fields
            check_header(names, str(self.path))
            # Training counts rows from the header on, whatever empty lines come before it.
            return dataclasses.replace(table, columns=tuple(names), begin=lines.offset, records=1)

    def _reader(self, lines: _Lines) -> Any:
        options: dict[str, Any] = {} if self.quoted else {"quoting": csv.QUOTE_NONE}
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.spaced, strict=True, **options)


class _Lines:
    """Decoded lines; bytes that cannot be decoded come as lone surrogates, and are that record's own problem."""

    def __init__(self, stream: IO[bytes], encoding: str, offset: int, origin: str):
        self._stream, self._encoding, self._origin = stream, encoding, origin
        self.before = self.offset = offset

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_FIELD_BYTES + 2)
        if not line:
            raise StopIteration
        if len(line) > MAX_FIELD_BYTES and not line.endswith(b"\n"):
            raise DataError(f"{self._origin} has a line of more than {MAX_FIELD_BYTES:,} bytes", allowed="shorter ones")
        self.before, self.offset = self.offset, self.offset + len(line)
        text = line.decode(self._encoding, "surrogateescape")
        return text if self.before else text.removeprefix("\ufeff")
