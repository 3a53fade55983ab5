"""The rows of a table whose column holds what is predicted: texts, or paths of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tlkit.errors import DataError, missing_column
from tlkit.inputs.files.records import TableStream
from tlkit.inputs.items import Item


class ContentTable:
    """A table whose rows are items; it is read again whenever it is iterated.

    Args:
        file: a .csv, .tsv, .jsonl, .ndjson or .parquet table.
        column: what is predicted.
        content: a field and its place -> the content of an item; it raises a `DataError` for a field that has none.
        lenient: give rows that cannot be read with their problem instead of raising the first one.
        options: how the table is read, arguments of `TableStream`.

    Raises:
        DataError: the file is missing or of another kind, or its header cannot be read.
    """

    def __init__(
        self, file: Path, column: str, content: Callable[[object, str], Any], *, lenient: bool, **options: Any
    ):
        self._stream = TableStream(file, **options, lenient=lenient)
        self._column, self._content, self._lenient = column, content, lenient

    def survey(self) -> tuple[list[str], int]:
        """Read it once; return the columns and the number of rows, those that cannot be read included.

        Raises:
            DataError: the column is missing, there are no rows, or, where it is not lenient, one cannot be used.
        """
        total = self._stream.survey(self._column, None if self._lenient else self._content)
        return self._stream.columns, total

    def __iter__(self) -> Iterator[Item]:
        """Yield the rows."""
        for number, row in enumerate(self._stream):
            content, problem = None, row.problem
            try:
                if not problem:
                    if self._column not in row.fields:
                        raise missing_column(self._column, row.fields, row.place)
                    content = self._content(row.fields[self._column], row.place)
            except DataError as error:
                problem = str(error)
            yield Item(number, row.place, content, row.fields, problem)
