"""Rows as a client of a server sends them; NumPy alone, as every client has it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.row.columns import column_from_dict
from tlkit.inputs.row.given import check_row, checked_value
from tlkit.inputs.wire import ABSENT, argument_names, as_held


class SentRows:
    """Turns rows into the inputs of a signature.

    Args:
        inputs: dtype and shape of each input of the signature.
        columns: of the export's preprocessing as plain data. They are known by their names in the table, and their
            values are checked as `SavedModelPredictor` checks them. Without them a row names the inputs, or the columns
            from which the kit made their names.
        is_own: it is an export of the kit, which has a value for what is missing.
        array_of: values, their name for messages, dtype and shape -> an array.
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        columns: Sequence[Mapping[str, Any]] | None,
        is_own: bool,
        array_of: Callable[[Any, str, Any], np.ndarray],
    ):
        self._inputs, self._is_own, self._array_of = inputs, is_own, array_of
        self._columns = None if columns is None else [column_from_dict(column) for column in columns]

    def arrays(self, rows: Sequence[Any]) -> dict[str, np.ndarray]:
        """Return an array [n] for each input.

        Args:
            rows: mappings from column to value; without it, or with None, it is missing. Other keys are left aside.

        Raises:
            DataError: a row is no mapping, has none of the columns, lacks one that has to be there, or holds a value of
                another type; the message names row (from 1) and column.
        """
        names = [column.name for column in self._columns] if self._columns else list(self._inputs)
        checked = []
        for number, row in enumerate(rows, 1):
            if self._columns is None and isinstance(row, Mapping):
                row = self._by_input(row)
            check_row(row, number, names)
            checked.append(row)
        if self._columns is not None:
            return {
                column.argument: self._column(
                    [checked_value(row.get(column.name), column, at) for at, row in enumerate(checked, 1)],
                    self._inputs[column.argument],
                )
                for column in self._columns
            }
        return {
            name: self._column([self._plain(row.get(name), at, name, info) for at, row in enumerate(checked, 1)], info)
            for name, info in self._inputs.items()
        }

    def _by_input(self, row: Mapping[Any, Any]) -> dict[Any, Any]:
        """Know columns by the names of the inputs that the kit made of them."""
        arguments = argument_names(map(str, row))
        return {key if key in self._inputs else arguments[str(key)]: value for key, value in row.items()}

    def _plain(self, value: Any, number: int, name: str, info: Any) -> Any:
        """Check a value of which the dtype alone is known."""
        value = value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value
        if value is None or (isinstance(value, float) and value != value and info.dtype != "float64"):
            if self._is_own:
                return None
            raise DataError(
                f"row {number} has no {name!r}",
                fix="the server does not publish its missing values; pass the export's manifest",
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        kind = "string" if info.dtype == "string" else np.dtype(info.dtype.replace("bfloat16", "float32")).kind
        if isinstance(value, list | tuple | np.ndarray):
            return value  # a model may take several values for an input
        if kind == "f" and is_number:
            return value
        if kind in "iu" and is_number and math.isfinite(value) and value == int(value):
            return int(value)
        if kind == "b" and isinstance(value, bool):
            return value
        if kind == "string" and isinstance(value, bool):
            return "true" if value else "false"
        if kind == "string" and isinstance(value, datetime.date):
            return value.isoformat().removesuffix("T00:00:00")
        if kind == "string" and isinstance(value, str | bytes):
            return value
        raise DataError(
            f"row {number}, column {name!r} has a value of the wrong type",
            received=value,
            allowed="a string" if kind == "string" else info.dtype,
        )

    def _column(self, values: list[Any], info: Any) -> np.ndarray:
        absent = as_held(ABSENT[info.dtype], info.dtype) if info.dtype in ABSENT else None
        filled = [absent if value is None else value for value in values]
        if info.dtype == "float32":
            with np.errstate(over="ignore"):  # beyond float32 a value arrives as infinity, and so counts as missing
                return np.array(filled, np.float64).astype(np.float32)
        return self._array_of(filled, "row", info)
