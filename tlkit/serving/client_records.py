"""Answers of a server about files, texts and rows, some at a time, as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.errors import DataError, ServerError
from tlkit.export.contents import predict_contents
from tlkit.export.manifest import Manifest, SignatureInfo
from tlkit.export.records import records_of
from tlkit.inputs.base import InputSpec, input_spec
from tlkit.lazy import loaded
from tlkit.serving.call import DEFAULT_SIGNATURE
from tlkit.serving.client_arrays import array_of
from tlkit.serving.records import answers_of

_REFUSED = ("INVALID_ARGUMENT", "UNIMPLEMENTED")


class RecordAsker:
    """Asks serving_default about files, texts or rows; the records are those of `SavedModelPredictor.predict`.

    Example:
        >>> RecordAsker("the model 'reviews'", signatures, None, 32, run).texts(["what a film"], top=1)
        [{'input': 'what a film', 'classes': ['positive'], 'scores': [0.97]}]

    Args:
        about: what messages call the model: the server, and its name there.
        signatures: those of the server.
        manifest: of the export that is served, if there is one.
        batch_size: items that are sent together.
        run: takes the inputs of serving_default and the number of their rows; gives its outputs, a row for each.
    """

    def __init__(
        self,
        about: str,
        signatures: Mapping[str, SignatureInfo],
        manifest: Manifest | None,
        batch_size: int,
        run: Callable[[dict[str, np.ndarray], int], dict[str, np.ndarray]],
    ):
        self._about, self._signatures, self._manifest = about, signatures, manifest
        self._batch_size, self._run = batch_size, run
        self._signature = signatures[DEFAULT_SIGNATURE]
        self._answers = answers_of(self._signature, manifest)

    def files(self, items: Sequence[Any], top: int | None) -> list[dict[str, Any]]:
        """Return records of the bytes of files; see `ServingClient.predict_files`."""
        return self._contents(items, input_spec("image"), top)

    def texts(self, items: Sequence[Any], top: int | None) -> list[dict[str, Any]]:
        """Return records of texts, those of similar length together; see `ServingClient.predict_texts`."""
        return self._contents(items, input_spec("text"), top)

    def rows(self, items: Sequence[Any], top: int | None) -> list[dict[str, Any]]:
        """Return records of rows of a table; see `ServingClient.predict_rows`."""
        arrays = self._rows().arrays(items)
        found: list[dict[str, Any]] = []
        for start in range(0, len(items), self._batch_size):
            part = [dict(row) for row in items[start : start + self._batch_size]]
            piece = {name: array[start : start + self._batch_size] for name, array in arrays.items()}
            found += self._records(part, piece, top)
        return found

    def _rows(self) -> Any:
        inputs, manifest, embedding = self._signature.inputs, self._manifest, self._signatures.get("embedding")
        if manifest is not None and not manifest.interface.columns:
            raise DataError("this export has no table input", received=manifest.interface.content)
        columns = None if manifest is None else manifest.preprocessing["columns"]
        is_own = "encoded" in self._signatures and embedding is not None and set(embedding.inputs) == set(inputs)
        return loaded(input_spec("row").sent)(inputs, columns, is_own, array_of)

    def _contents(self, items: Sequence[Any], spec: InputSpec, top: int | None) -> list[dict[str, Any]]:
        inputs = self._signature.inputs
        if [info.dtype for info in inputs.values()] != ["string"]:
            raise DataError(
                f"{self._about} does not have a single {spec.name} input",
                received={name: info.dtype for name, info in inputs.items()},
                allowed="one input of strings",
                fix="use predict or predict_rows",
            )
        (name,) = inputs

        def predict(names: list[str], contents: np.ndarray) -> list[dict[str, Any]]:
            return self._records(names, {name: contents}, top)

        pixels = self._manifest.preprocessing.get("max_pixels") if self._manifest else None
        return predict_contents(items, spec, self._batch_size, predict, _refusal, pixels)

    def _records(self, given: Sequence[Any], arrays: dict[str, np.ndarray], top: int | None) -> list[dict[str, Any]]:
        outputs = self._run(arrays, len(given))
        lacking = {name for one in self._answers for name in one.names} - outputs.keys()
        if lacking:
            raise ServerError(
                f"the outputs of {self._about} do not match the manifest",
                code="FAILED_PRECONDITION", received=sorted(outputs), allowed=sorted(lacking),
            )  # fmt: skip
        return records_of(given, outputs, self._answers, top)


def _refusal(error: Exception) -> str | None:
    """Return what a server says of an item that it refuses."""
    return str(error) if isinstance(error, ServerError) and error.code in _REFUSED else None
