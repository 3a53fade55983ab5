"""The rows of a table that `tlkit predict` reads, as they stand in the file."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlkit.errors import DataError
from tlkit.inputs.items import Item

_TYPED_AT_ONCE = 4096  # rows


@dataclasses.dataclass(frozen=True)
class RowFile:
    """A table whose rows are items; it is read again whenever it is iterated.

    Args:
        path: a .csv, .tsv, .csv.gz, .tsv.gz, .jsonl, .ndjson or .parquet file.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        encoding: of a text file.
        lenient: give rows that cannot be read with their problem instead of raising the first one.

    Raises:
        DataError: while it is iterated, or asked for its columns: the file is missing, of another kind, or a row of it
            is wrong. With `lenient`, what hides where the next row begins is raised all the same.
    """

    path: Path
    separator: str = ""
    encoding: str = "utf-8"
    lenient: bool = False

    def survey(self) -> tuple[list[str], int]:
        """Read it once; returns the columns and the number of rows, those that cannot be read included."""
        columns: dict[str, None] = {}
        count, bad = 0, ""
        for fields, place, problem in self._rows():
            columns |= dict.fromkeys(fields)
            count += 1
            if problem and not bad:
                bad = problem if problem.startswith(place) else f"{place}: {problem}"
        if not count:
            raise DataError("the table has no rows", received=str(self.path))
        if not columns:
            raise DataError(f"no row of the table can be read: {bad}", received=str(self.path))
        return list(columns), count

    def __iter__(self) -> Iterator[Item]:
        """Yield the rows."""
        for number, (fields, place, problem) in enumerate(self._rows()):
            yield Item(number, place, None, fields, problem)

    def types(self) -> Any:
        """Say what columns hold, as an Arrow schema: in JSON what all values go into; what is not named holds text."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.path.suffix.lower() == ".parquet":
            return pq.read_schema(self.path.expanduser()).remove_metadata()
        if self._suffix is not None:
            return pa.schema([])
        found = pa.schema([])
        try:
            rows = iter(self)
            while some := [item.fields for item in itertools.islice(rows, _TYPED_AT_ONCE)]:
                names = dict.fromkeys(name for fields in some for name in fields)
                part = pa.table({name: [fields.get(name) for fields in some] for name in names})
                found = pa.unify_schemas([found, part.schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"the rows do not fit a Parquet file: {error}", fix="write .csv or .jsonl") from error
        return pa.schema([(part.name, pa.string() if pa.types.is_null(part.type) else part.type) for part in found])

    @property
    def _suffix(self) -> str | None:
        """Of a CSV or TSV, packed or not."""
        from tlkit.inputs.files.frames import table_suffix

        suffix = table_suffix(self.path)
        return None if suffix == ".parquet" else suffix

    def _rows(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Yield the fields of each row, its place, and why it cannot be used."""
        if self._suffix is not None:
            yield from self._separated(self._suffix)
            return
        from tlkit.inputs.files.records import TableStream

        for row in TableStream(self.path, encoding=self.encoding, lenient=self.lenient):
            yield ({} if row.problem else dict(row.fields)), row.place, row.problem

    def _separated(self, suffix: str) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Yield the rows of a CSV or TSV, as they are read in training."""
        from tlkit.inputs.files.frames import csv_header, undecodable
        from tlkit.inputs.files.table_files import (
            MAX_FIELD_BYTES,
            check_encoding,
            check_table,
            gzip_errors,
            no_character,
        )
        from tlkit.inputs.files.text_records import TextRecords

        path, origin = self.path.expanduser(), str(self.path)
        if suffix.endswith(".gz") and path.is_file():
            check_encoding(self.encoding)
        else:
            check_table(path, self.encoding, "minimal")
        separator = self.separator or ("\t" if ".tsv" in suffix else ",")
        with gzip_errors(origin):
            try:
                errors = "surrogateescape" if self.lenient else "strict"
                names, spaced = csv_header(path, origin, separator, self.encoding, errors)
            except UnicodeDecodeError as error:
                raise undecodable(path, origin, self.encoding) from error
            if broken := no_character("".join(names), self.encoding):
                raise DataError(f"the header of {origin} contains {broken}")
            rows = TextRecords(
                path, origin, self.encoding, "minimal", MAX_FIELD_BYTES, self.lenient, separator, spaced, tuple(names)
            )
            for row in itertools.islice(rows, 1, None):
                yield row.fields, row.place, row.problem
