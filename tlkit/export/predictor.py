"""Predict on files, texts or rows with an export alone: the same graph that a server runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tlkit.errors import DataError, ExportError
from tlkit.export.contents import predict_contents
from tlkit.export.graph_errors import graph_errors
from tlkit.export.manifest import Manifest, not_calibrated, resolve_export
from tlkit.export.records import add_trust, named_arrays, records_of
from tlkit.export.text_ops import FIX, provide_ops
from tlkit.inputs.base import INPUTS, EncodesRows, input_spec
from tlkit.lazy import loaded

if TYPE_CHECKING:
    import pandas as pd


class SavedModelPredictor:
    """A loaded export that answers about image files, texts or rows of a table, as its manifest says.

    Example:
        >>> SavedModelPredictor("saved_models/photos").predict(["bee.jpg"])
        [{'input': 'bee.jpg', 'classes': ['bees', 'ants'], 'scores': [0.98, 0.02]}]
        >>> SavedModelPredictor("saved_models/reviews").predict(["what a film"], top=1)
        [{'input': 'what a film', 'classes': ['positive'], 'scores': [0.97]}]
        >>> SavedModelPredictor("saved_models/houses").predict([{"area": 80, "heating": "gas"}])
        [{'input': {'area': 80, 'heating': 'gas'}, 'predictions': {'price': 160400.0}}]

    Args:
        path: a version folder, or a model's base path (then its newest version).
        batch_size: images, texts or rows that are run together.
        trust: `predict` also gives `conformal`, what is possible at the level of the export, and `distance` and
            `outlier`, of the distance to the training data. The network runs three times.

    Raises:
        ExportError: with `trust`, the model was not calibrated.
            There is no export, it cannot be loaded, or it needs TF Text, which is not installed.
    """

    def __init__(self, path: str | Path, *, batch_size: int = 32, trust: bool = False):
        if batch_size < 1:
            raise ExportError("batch_size must be positive", received=batch_size)
        self.export = resolve_export(path)
        self.manifest = Manifest.read(self.export)
        self.batch_size = batch_size
        if self.manifest.interface.content not in INPUTS:
            raise ExportError(
                f"{self.export} has an input type that this version of tlkit does not support",
                received=self.manifest.interface.content,
                allowed=list(INPUTS),
                fix="upgrade tlkit",
            )
        self._input = input_spec(self.manifest.interface.content)
        self._trust = [name for name in ("conformal", "trust") if name in self.manifest.signatures] if trust else []
        if trust and not self._trust:
            raise not_calibrated(self.export)
        try:
            missing = provide_ops(self.export)
            if missing:
                raise ExportError(f"{self.export} needs operations of TensorFlow Text", received=missing[0], fix=FIX)
            self._model = tf.saved_model.load(str(self.export))  # owns the variables that the signature uses
            self._model.signatures["serving_default"]
        except ExportError:
            raise
        except Exception as error:  # a damaged protobuf has an error of its own
            raise ExportError(
                f"{self.export} cannot be loaded: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                fix="run `tlkit verify`, or export the model again",
            ) from error

    def predict(
        self, inputs: Iterable[str | Path | Mapping[str, Any]], *, top: int | None = None
    ) -> list[dict[str, Any]]:
        """Answer about image files, texts or rows.

        Texts of similar length are run together, because a batch costs what its longest text costs.

        Args:
            inputs: paths of image files; or the texts themselves as strings; or rows, each a mapping from the table's
                column names to values, where what is left out or None is missing and other names are left aside.
            top: how many of the best classes to keep; None keeps all.

        Returns:
            One dictionary per input, in the order given: input (a string, or the row), classes (best first) and scores.
            Of a regression: input and predictions, value by target; of a risk also survival, by time. Of several
            targets: predictions as well as classes and scores, the latter also by target.

        Raises:
            DataError: an input is not of the kind that the export takes, or a file cannot be read or is no image that
                it decodes; the message names the file or the position.
        """
        if isinstance(inputs, str | bytes | Path | Mapping):
            raise DataError("predict needs a list of inputs", received=type(inputs).__name__, fix="pass a list")
        items: list[Any] = list(inputs)
        if self._input.table:
            return self._predict_rows(items, top)
        about = self.manifest.interface.outputs_or(self.manifest.labels, self.manifest.objective)

        def predict(names: list[str], contents: np.ndarray) -> list[dict[str, Any]]:
            arguments = {self.manifest.interface.input: contents}
            records = records_of(names, self.run("serving_default", arguments), about, top)
            for name in self._trust:
                add_trust(records, self.run(name, arguments), about, self._level)
            return records

        pixels = self.manifest.preprocessing.get("max_pixels")
        return predict_contents(items, self._input, self.batch_size, predict, _refusal, pixels)

    def predict_frame(self, frame: pd.DataFrame, *, rows_at_once: int = 4096) -> dict[str, np.ndarray]:
        """Answer about the rows of a table, many at a time.

        Args:
            frame: has all the columns that the export takes; others are left aside.
            rows_at_once: rows that are run together; what is needed beside the frame grows with it.

        Returns:
            Arrays by name as serving_default gives them: values [n] under the names of their targets, a risk [n] and
            its survival [n, T]; classes (str, dtype object) and scores float32 [n, k], best first. And under the name
            of `manifest.interface.answers` all numbers [n, K] in the order of the labels.

        Raises:
            DataError: the export takes no rows, a column is missing, or holds values of another type; or a date or
                boolean cannot be read.
        """
        interface = self.manifest.interface
        if not self._input.table:
            raise DataError("this export has no table input", received=interface.content, fix="use predict")
        if rows_at_once < 1:
            raise DataError("rows_at_once must be positive", received=rows_at_once)
        found = [np.zeros([0, len(self.manifest.labels)], np.float32)]
        for start in range(0, len(frame), rows_at_once):
            part = frame.iloc[start : start + rows_at_once]
            found.append(self._answer(interface.answers, part, start)[interface.answers])
        answers = np.concatenate(found)
        return {interface.answers: answers} | named_arrays(answers, interface.outputs)

    def run(self, signature: str, arguments: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a signature that takes what serving_default takes.

        Args:
            signature: its name.
            arguments: [n] by argument, bytes objects or numbers; see `tlkit.export.arguments`.

        Returns:
            Arrays by the names of the outputs.

        Raises:
            tf.errors.InvalidArgumentError: the graph refuses one of the inputs.
        """
        definition = self._model.signatures[signature]
        _, specs = definition.structured_input_signature
        with graph_errors():
            answer = definition(**{name: tf.constant(arguments[name], spec.dtype) for name, spec in specs.items()})
        return {name: value.numpy() for name, value in answer.items()}

    def trust_of_frame(self, frame: pd.DataFrame, *, rows_at_once: int = 4096) -> list[dict[str, Any]]:
        """Return what `predict` adds to the records of rows with `trust`; see `predict_frame`."""
        found: list[dict[str, Any]] = [{} for _ in range(len(frame))]
        for name in self._trust:
            for start in range(0, len(frame), rows_at_once):
                end = start + rows_at_once
                outputs = self._answer(name, frame.iloc[start:end], start)
                add_trust(found[start:end], outputs, self.manifest.interface.outputs, self._level)
        return found

    def _predict_rows(self, rows: Sequence[Mapping[str, Any]], top: int | None) -> list[dict[str, Any]]:
        frame = self._table.frame_of(rows)
        about = self.manifest.interface.outputs
        answers: list[dict[str, Any]] = []
        for start in range(0, len(rows), self.batch_size):
            part = rows[start : start + self.batch_size]
            own = frame.iloc[start : start + self.batch_size]
            records = records_of([dict(row) for row in part], self._answer("serving_default", own, start), about, top)
            for name in self._trust:
                add_trust(records, self._answer(name, own, start), about, self._level)
            answers += records
        return answers

    def _answer(self, signature: str, frame: pd.DataFrame, begin: int) -> dict[str, np.ndarray]:
        """Run a signature on rows that `begin` others come before."""
        columns = self._tensors(self._table.to_arguments(frame))
        try:
            with graph_errors():
                answer = self._model.signatures[signature](**columns)
        except tf.errors.InvalidArgumentError as error:
            for row, unread in self._table.unreadable_values(frame).items():
                raise DataError(
                    f"row {begin + row + 1}, column {unread.column!r} has a value that cannot be read",
                    received=unread.value,
                    allowed=unread.allowed,
                ) from error
            raise
        return {key: value.numpy() for key, value in answer.items()}

    @cached_property
    def _table(self) -> EncodesRows:
        found: EncodesRows = loaded(self._input.table).from_dict(self.manifest.preprocessing)
        return found

    def _tensors(self, columns: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
        return {
            column.argument: tf.constant(columns[column.argument], column.dtype)
            for column in self.manifest.interface.columns
        }

    @property
    def _level(self) -> float:
        return float((self.manifest.calibration or {}).get("level", 0.0))


def _refusal(error: Exception) -> str | None:
    """Return what the graph says of an input that it refuses."""
    refused = isinstance(error, tf.errors.InvalidArgumentError | tf.errors.UnimplementedError)
    return str(error) if refused else None
