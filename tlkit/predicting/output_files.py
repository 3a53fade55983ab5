"""The files of a prediction: a table of results, and beside it one of the items that failed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkit.files import atomic_write
from tlkit.predicting.bad_items import BadItem, errors_path
from tlkit.predicting.table_writer import CellRules, TableWriter, is_binary


class OutputFiles:
    """Write results and failures; both files appear when the block ends well, or nothing does.

    Example:
        with OutputFiles(Path("scored.csv"), ["text", "predicted"]) as files:
            files.write({"text": "what a film", "predicted": "good"}, "reviews.csv row 2")

    Args:
        out: the table of results; `errors_path` says where failures are listed.
        columns: of the results.
        schema: returns an Arrow schema of them; only called for Parquet.
        rules: for the cells of a CSV or TSV.
        errors: the table of failures; by default the one that `errors_path` names.
    """

    def __init__(
        self,
        out: Path,
        columns: Sequence[str],
        schema: Callable[[], Any] = dict,
        rules: CellRules | None = None,
        errors: Path | None = None,
    ):
        self.out, self.errors = out, errors or errors_path(out)
        self._columns, self._schema, self._rules = columns, schema, rules
        self._stack = contextlib.ExitStack()
        self._failures: TableWriter | None = None

    def __enter__(self) -> OutputFiles:
        with contextlib.ExitStack() as stack:
            self._results = self._open(stack, self.out, self._columns, self._schema, self._rules)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            try:
                for table in (self._results, self._failures):
                    if table is not None:
                        table.close()
            except BaseException:
                self._stack.__exit__(*sys.exc_info())
                raise
        # The failures, opened last, get their place first: when the results are there, everything is.
        self._stack.__exit__(*error)
        if error[0] is None and self._failures is None:
            self.errors.unlink(missing_ok=True)

    def discard(self) -> None:
        """Write nothing: what was at the places of the files stays."""
        error = InterruptedError("discarded")
        self._stack.__exit__(type(error), error, None)

    def write(self, fields: Mapping[str, Any], place: str) -> None:
        """Write the row of an item that was predicted.

        Raises:
            DataError: this kind of file cannot hold it.
        """
        self._results.write(fields, place)

    def fail(self, bad: BadItem) -> None:
        """List an item that failed."""
        if self._failures is None:
            rules = CellRules(escape_formulas=self._rules is not None and self._rules.escape_formulas)
            self._failures = self._open(self._stack, self.errors, BadItem._fields, BadItem.schema, rules)
        self._failures.write(bad._asdict(), bad.place)

    @staticmethod
    def _open(
        stack: contextlib.ExitStack,
        path: Path,
        columns: Sequence[str],
        schema: Callable[[], Any],
        rules: CellRules | None,
    ) -> TableWriter:
        file = stack.enter_context(atomic_write(path, binary=is_binary(path)))
        return stack.enter_context(TableWriter(path, file, columns, schema, rules))
