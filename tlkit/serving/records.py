"""What a server's outputs are about, and rows as a signature takes them; NumPy alone, as every client has it.

What a manifest says about the answers is used where there is one; otherwise the names of the outputs say it:
`classes` and `scores`, or `<target>_classes` and `<target>_scores`, belong together, and every other output is a value.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tlkit.errors import DataError
from tlkit.export.manifest import Manifest, SignatureInfo, TensorInfo
from tlkit.inputs.row.columns import column_from_dict
from tlkit.inputs.row.given import check_row, checked_value
from tlkit.inputs.wire import ABSENT, argument_names, as_held
from tlkit.serving.client_arrays import array_of


class NamedOutput(NamedTuple):
    """What is answered about one target, by names of outputs.

    Attributes:
        target: what the record calls it.
        value: the output of a value; empty where there are classes.
        classes, scores: the outputs of a classification, best first; empty where there is a value.
        curve: the output of a survival curve, and `times` its times; empty where there is none.
    """

    target: str
    value: str = ""
    classes: str = ""
    scores: str = ""
    curve: str = ""
    times: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs that are about it."""
        return tuple(filter(None, (self.value, self.curve, self.classes, self.scores)))


def answers_of(signature: SignatureInfo, manifest: Manifest | None) -> list[NamedOutput]:
    """Say what the outputs of serving_default are about."""
    if manifest is not None:
        outputs = manifest.interface.outputs_or(manifest.labels, manifest.objective)
        return [NamedOutput(one.target, one.value, one.classes, one.scores, one.curve, one.times) for one in outputs]
    answers, used = [], set()
    for name in signature.outputs:
        stem = "" if name == "classes" else name.removesuffix("_classes")
        scores = f"{stem}_scores" if stem else "scores"
        if name.endswith("classes") and stem != name and scores in signature.outputs:
            answers.append(NamedOutput(stem, classes=name, scores=scores))
            used |= {name, scores}
    return answers + [NamedOutput(name, value=name) for name in signature.outputs if name not in used]


class Rows:
    """Turns rows into the inputs of a signature.

    Args:
        signatures: those of the server.
        name: the signature that takes the rows.
        manifest: of the export; its columns are known by their names in the table then, and their values are checked as
            `SavedModelPredictor` checks them. Without one a row names the inputs, or the columns from which the kit
            made their names, and only the kit's own exports have a value for what is missing.

    Raises:
        DataError: the manifest's export takes no rows.
    """

    def __init__(self, signatures: Mapping[str, SignatureInfo], name: str, manifest: Manifest | None):
        self._inputs = signatures[name].inputs
        self._columns = None
        if manifest is not None:
            if not manifest.interface.columns:
                raise DataError("this export has no table input", received=manifest.interface.content)
            self._columns = [column_from_dict(column) for column in manifest.preprocessing["columns"]]
        embedding = signatures.get("embedding")
        self._is_own = "encoded" in signatures and embedding is not None and set(embedding.inputs) == set(self._inputs)

    def arrays(self, rows: Sequence[Any]) -> dict[str, np.ndarray]:
        """Give an array [n] for each input.

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

    def _plain(self, value: Any, number: int, name: str, info: TensorInfo) -> Any:
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

    @staticmethod
    def _column(values: list[Any], info: TensorInfo) -> np.ndarray:
        absent = as_held(ABSENT[info.dtype], info.dtype) if info.dtype in ABSENT else None
        filled = [absent if value is None else value for value in values]
        if info.dtype == "float32":
            with np.errstate(over="ignore"):  # beyond float32 a value arrives as infinity, and so counts as missing
                return np.array(filled, np.float64).astype(np.float32)
        return array_of(filled, "row", info)
