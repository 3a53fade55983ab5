"""Ask a server of models over REST or gRPC, without TensorFlow: any that speaks TensorFlow Serving's protocols."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tlkit.errors import ConfigError, DataError, ServerError, check_choice
from tlkit.export.graph_messages import plain_message
from tlkit.export.manifest import Manifest, SignatureInfo
from tlkit.serving.call import DEFAULT_SIGNATURE
from tlkit.serving.client_arrays import arrays_of, example_of, rows_of
from tlkit.serving.client_records import RecordAsker
from tlkit.serving.connect import connect
from tlkit.serving.status import Code
from tlkit.serving.transport import ClassScore, ModelMetadata, ModelVersion, TransportError, with_retries

_NOT_YET = ("UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION")
_POLL = 0.1  # seconds between two looks at a server that is not ready
# Tests put their own clock here.
_now = time.monotonic
_sleep = time.sleep

T = TypeVar("T")


class ServingClient:
    """Send requests to a model on TensorFlow Serving, or on a server with its REST or gRPC API.

    Inputs and outputs of the model are read from the server. Connections are reused, and several threads can share a
    client. Requests that were not run (the server is unreachable, restarting, or at its limit) are retried until the
    timeout. Other errors are not retried.

    Example:
        >>> client = ServingClient("http://127.0.0.1:8501", "photos")
        >>> client.predict_files(["bee.jpg"], top=1)
        [{'input': 'bee.jpg', 'classes': ['bees'], 'scores': [0.98]}]
        >>> with ServingClient("grpc://127.0.0.1:8500", "half_plus_two") as client:
        ...     client.predict({"x": [1.0, 2.0]})
        {'y': array([2.5, 3. ], dtype=float32)}

    Args:
        url_or_target: http:// or https:// for REST (a path is kept, for servers behind one), grpc:// or grpcs:// (TLS)
            for gRPC.
        model: its name on the server; "default", which is TensorFlow Serving's own, by default.
        version: version to use; by default the server's choice, the newest.
        label: label of the version to use.
        timeout: seconds per request, including retries.
        retries: number of retries.
        batch_size: maximum rows per request; more rows are split into several requests if the signature allows it.
        manifest: manifest of the served export, or its version folder. Records then use the table's columns and
            targets.
        headers: sent with every request, such as {"Authorization": "Bearer …"}.
        ca_file: PEM certificates to trust instead of the system's.
        client_cert, client_key: PEM files of the client certificate.

    Raises:
        ConfigError: an argument is invalid, or gRPC is needed and not installed.
        ExportError: there is no manifest.
    """

    def __init__(
        self,
        url_or_target: str,
        model: str | None = None,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        batch_size: int = 32,
        manifest: Manifest | str | Path | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | Path | None = None,
        client_cert: str | Path | None = None,
        client_key: str | Path | None = None,
    ):
        if version is not None and label is not None:
            raise ConfigError("version and label cannot be combined", fix="remove one of them")
        for name, value, least in (("retries", retries, 0), ("batch_size", batch_size, 1), ("version", version, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be a whole number of at least {least}", received=value)
        if not timeout > 0:
            raise ConfigError("timeout must be a positive number of seconds", received=timeout)
        self.model = model or "default"
        self.target = url_or_target.rstrip("/")
        self.timeout, self.retries, self.batch_size = float(timeout), retries, batch_size
        self.manifest = manifest if isinstance(manifest, Manifest | None) else Manifest.read(manifest)
        self._metadata: ModelMetadata | None = None
        self._transport = connect(
            self.target, self.model, version=version, label=label, headers=headers, ca_file=ca_file,
            client_cert=client_cert, client_key=client_key,
        )  # fmt: skip

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # About the model

    def metadata(self) -> ModelMetadata:
        """Return name, version and signatures of the model.

        Raises:
            ServerError: there is no answer, or an error.
        """
        self._metadata = self._ask(self._transport.metadata)
        return self._metadata

    def status(self) -> list[ModelVersion]:
        """Return the states of the versions.

        Raises:
            ServerError: there is no answer, or an error, as for a model that the server does not know.
        """
        return self._ask(self._transport.status)

    def wait_until_ready(self, timeout: float = 60.0) -> ModelMetadata:
        """Wait until the model is available.

        Args:
            timeout: seconds.

        Returns:
            The metadata, which a server gives as soon as a version is loaded.

        Raises:
            ServerError: it does not answer within that time, or with an error that waiting does not mend.
        """
        end = _now() + timeout
        while True:
            left = end - _now()
            try:
                self._metadata = self._once(self._transport.metadata, max(min(left, self.timeout), _POLL))
            except ServerError as error:
                if error.code not in _NOT_YET:
                    raise
                if end - _now() <= _POLL:
                    raise ServerError(f"not ready within {timeout:g} s: {error}", code=error.code) from error
                _sleep(_POLL)
            else:
                return self._metadata

    # Tensors

    def predict(
        self,
        inputs: Any,
        signature_name: str = DEFAULT_SIGNATURE,
        output_filter: Iterable[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run a signature.

        Args:
            inputs: a mapping from input to values; or the values alone where the signature has one input. Values are
                arrays or nested lists; strings may be str or bytes.
            signature_name: the signature.
            output_filter: the outputs to give; all by default.

        Returns:
            Arrays by output as the server gives them: floats bit for bit, strings as objects of bytes, bfloat16 as
            float32. Many rows are sent in several requests and come back in order.

        Raises:
            ConfigError: there is no such signature or output.
            DataError: an input is unknown or of another type.
            ServerError: there is no answer, or an error.
        """
        signature = self._signature(signature_name)
        wanted = [] if output_filter is None else list(dict.fromkeys(output_filter))
        for name in wanted:
            check_choice("output", name, signature.outputs)
        arrays = arrays_of(inputs, signature_name, signature)
        rows = rows_of(arrays, signature, wanted or list(signature.outputs))
        if rows is None or rows <= self.batch_size:
            return self._run(signature_name, signature, arrays, wanted)
        parts = []
        for start in range(0, rows, self.batch_size):
            piece = {name: array[start : start + self.batch_size] for name, array in arrays.items()}
            found = self._run(signature_name, signature, piece, wanted)
            self._check_rows(found.values(), min(self.batch_size, rows - start))
            parts.append(found)
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except ValueError as error:
            raise ServerError(
                f"{self.target}: the outputs of the rows have different shapes: {error}",
                code="INTERNAL",
                fix=f"send them in one request with batch_size={rows}",
            ) from None

    def classify(
        self, examples: Iterable[Any], signature_name: str | None = None, *, context: Any = None
    ) -> list[list[ClassScore]]:
        """Classify tf.Examples.

        Args:
            examples: mappings from feature to value or values, or serialized tf.Examples.
            signature_name: the signature; by default, the only one that classifies.
            context: a further one, whose features each of the examples gets.

        Returns:
            For each example labels and scores, in the order of the server.

        Raises:
            ConfigError: there is no such signature, or several.
            DataError: an example is none.
            ServerError: there is no answer, or an error.
        """
        name, messages, shared = self._examples("classify", examples, signature_name, context)
        answers: list[list[ClassScore]] = []
        for part in self._parts(messages):
            found = self._ask(partial(self._transport.classify, name, part, shared))
            self._check_rows([found], len(part))
            answers += found
        return answers

    def regress(self, examples: Iterable[Any], signature_name: str | None = None, *, context: Any = None) -> np.ndarray:
        """Return a value per tf.Example, float32 [n]. Arguments and errors are those of `classify`."""
        name, messages, shared = self._examples("regress", examples, signature_name, context)
        answers = [np.zeros([0], np.float32)]
        for part in self._parts(messages):
            found = self._ask(partial(self._transport.regress, name, part, shared))
            self._check_rows([found], len(part))
            answers.append(found)
        return np.concatenate(answers)

    # Records

    def predict_files(self, paths: Iterable[str | Path], *, top: int | None = None) -> list[dict[str, Any]]:
        """Predict files, such as images, from their bytes.

        Args:
            paths: the files.
            top: how many of the best classes to keep; None keeps all.

        Returns:
            One dictionary per file, in the order given: input (the path), and classes (best first) and scores, or
            predictions by output.

        Raises:
            DataError: a file cannot be read, or the model does not take it; the message names it.
            ServerError: there is no answer, or an error.
        """
        return self._asker().files(_listed(paths), top)

    def predict_texts(self, texts: Iterable[str], *, top: int | None = None) -> list[dict[str, Any]]:
        """Predict texts; see `predict_files`.

        Texts of similar length are sent together, because a batch costs what its longest text costs.
        """
        return self._asker().texts(_listed(texts), top)

    def predict_rows(self, rows: Iterable[Mapping[str, Any]], *, top: int | None = None) -> list[dict[str, Any]]:
        """Predict rows of a table.

        Args:
            rows: mappings from column to value; what is left out or None is missing, other keys are left aside. Columns
                are the manifest's, or else the inputs of serving_default.
            top: how many of the best classes to keep; None keeps all.

        Returns:
            One dictionary per row, in the order given: input (the row), predictions, value by target, and classes and
            scores, by target where there are several.

        Raises:
            DataError: a row does not fit the columns.
            ServerError: there is no answer, or an error.
        """
        return self._asker().rows(_listed(rows), top)

    # Requests

    def _known(self) -> ModelMetadata:
        return self._metadata or self.metadata()

    def _signature(self, name: str) -> SignatureInfo:
        signatures = self._known().signatures
        check_choice("signature", name, signatures)
        return signatures[name]

    def _run(
        self, name: str, signature: SignatureInfo, arrays: dict[str, np.ndarray], wanted: Sequence[str]
    ) -> dict[str, np.ndarray]:
        return self._ask(partial(self._transport.predict, name, signature, arrays, wanted))

    def _asker(self) -> RecordAsker:
        signature = self._signature(DEFAULT_SIGNATURE)

        def run(arrays: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
            outputs = self._run(DEFAULT_SIGNATURE, signature, arrays, [])
            self._check_rows(outputs.values(), rows)
            return outputs

        return RecordAsker(
            f"{self.target}: the model {self.model!r}", self._known().signatures, self.manifest, self.batch_size, run
        )

    def _examples(
        self, method: str, examples: Iterable[Any], name: str | None, context: Any
    ) -> tuple[str, list[Any], Any]:
        messages = [example_of(example, f"example {at + 1}") for at, example in enumerate(_listed(examples))]
        shared = None if context is None else example_of(context, "the context")
        if name is None:
            found = self._known().signatures
            fitting = [key for key, one in found.items() if one.method == f"tensorflow/serving/{method}"]
            if len(fitting) > 1:
                raise ConfigError(f"several signatures support {method}", allowed=fitting, fix="pass the name of one")
            if not fitting:
                raise ConfigError(f"no signature of the model {self.model!r} supports {method}", received=sorted(found))
            name = fitting[0]
        return name, messages, shared

    def _parts(self, messages: list[Any]) -> Iterable[list[Any]]:
        return (messages[at : at + self.batch_size] for at in range(0, len(messages), self.batch_size))

    def _check_rows(self, answers: Iterable[Any], rows: int) -> None:
        for answer in answers:
            if np.ndim(answer) == 0 and not isinstance(answer, list):
                got = "a single value"
            elif len(answer) == rows:
                continue
            else:
                got = f"{len(answer)} outputs"
            raise ServerError(f"{self.target}: {got} for {rows} rows", code="INTERNAL")

    def _ask(self, call: Callable[[float], T]) -> T:
        try:
            return with_retries(call, timeout=self.timeout, retries=self.retries)
        except TransportError as error:
            raise self._explained(error) from None

    def _once(self, call: Callable[[float], T], timeout: float) -> T:
        try:
            return call(timeout)
        except TransportError as error:
            raise self._explained(error) from None

    def _explained(self, error: TransportError) -> ServerError:
        if error.code in (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.NOT_FOUND):
            self._metadata = None  # another version may be served by now, which takes other things
        if error.answered:
            return ServerError(f"{self.target} returned an error: {plain_message(error.message)}", code=error.code.name)
        if error.code == Code.INVALID_ARGUMENT:
            return ServerError(plain_message(error.message), code=error.code.name)
        fix = (
            None
            if error.code == Code.DEADLINE_EXCEEDED
            else "check that a server with this protocol runs at this address"
        )
        return ServerError(f"{self.target} does not respond: {error.message}", code=error.code.name, fix=fix)


def _listed(items: Any) -> list[Any]:
    if isinstance(items, str | bytes | Path | Mapping):
        raise DataError("a list of inputs is expected", received=type(items).__name__, fix="pass a list")
    return list(items)
