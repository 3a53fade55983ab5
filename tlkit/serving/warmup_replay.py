"""Requests that a version answers before its first client asks: recorded ones, or an example of its manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tlkit.export.manifest import MANIFEST_NAME, WARMUP_PATH, Manifest
from tlkit.serving import grpc_calls
from tlkit.serving.servable import Servable
from tlkit.serving.status import Code, ServingError

#: TensorFlow Serving refuses to load a version with more.
MAX_RECORDS = 1000


Part = Literal["all", "first", "rest"]


class WarmUp(NamedTuple):
    """How many requests were run, and how many are left."""

    run: int
    left: int


def warm_up(servable: Servable, part: Part = "all", stop: Callable[[], bool] = lambda: False) -> WarmUp:
    """Run a version's warm-up requests.

    Example:
        >>> warm_up(Servable("saved_models/photos"))
        WarmUp(run=30, left=0)

    Args:
        servable: the loaded version.
        part: `"first"` runs the smallest request of each signature, which optimizes its graph; `"rest"` the others.
        stop: asked before each recorded request; none is run after it has said True.

    Returns:
        What was run of assets.extra/tf_serving_warmup_requests; without that file, the first golden example of a
        manifest is a request, and without a manifest there is none.

    Raises:
        ServingError: a record cannot be read or answered, or there are too many.
        tf.errors.OpError: the graph failed.
    """
    if (servable.export / WARMUP_PATH).is_file():
        return _replay(servable, part, stop)
    if (servable.export / MANIFEST_NAME).is_file() and part != "rest":
        return WarmUp(_run_example(servable), 0)
    return WarmUp(0, 0)


def _replay(servable: Servable, part: Part, stop: Callable[[], bool]) -> WarmUp:
    first: set[int] = set()
    if part != "all":
        smallest: dict[tuple[str | None, str], tuple[int, int]] = {}
        for number, log in _records(servable):
            size = _size(log)
            key = (log.WhichOneof("log_type"), _request(log).model_spec.signature_name if size else "")
            smallest[key] = min(smallest.get(key, (size, number)), (size, number))
        first = {number for _, number in smallest.values()}
    run = left = 0
    for number, log in _records(servable):
        if stop():
            break
        if part == "all" or (number in first) == (part == "first"):
            with contextlib.suppress(tf.errors.DeadlineExceededError):  # no client would wait for it, nor do we
                _run_record(servable, log)
            run += 1
        else:
            left += 1
    return WarmUp(run, left if part == "first" else 0)


def _records(servable: Servable) -> Iterator[tuple[int, prediction_log_pb2.PredictionLog]]:
    """Read the records one by one.

    Raises:
        ServingError: one cannot be read, or there are too many.
    """
    path = servable.export / WARMUP_PATH
    try:
        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(path)), 1):
            if count > MAX_RECORDS:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}",
                )
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError:
                raise ServingError(
                    Code.INVALID_ARGUMENT, f"Failed to parse warmup record {count} from {path}"
                ) from None
            yield count, log
    except tf.errors.DataLossError as error:
        message = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise ServingError(Code.DATA_LOSS, message) from error


def _request(log: prediction_log_pb2.PredictionLog) -> Any:
    return getattr(log, str(log.WhichOneof("log_type"))).request


def _size(log: prediction_log_pb2.PredictionLog) -> int:
    """Count the examples of a request; 0 for one that cannot be told."""
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        shapes = [tensor.tensor_shape.dim for tensor in log.predict_log.request.inputs.values()]
        return max((shape[0].size for shape in shapes if len(shape)), default=1)
    if kind in ("classify_log", "regress_log"):
        inputs = _request(log).input
        return max(len(inputs.example_list.examples), len(inputs.example_list_with_context.examples))
    return 0


def _run_record(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    makers: dict[str, Any] = {
        "predict_log": grpc_calls.predict,
        "classify_log": grpc_calls.classify,
        "regress_log": grpc_calls.regress,
        "multi_inference_log": grpc_calls.multi_inference,
    }
    if kind is None:
        return  # as in TensorFlow Serving, an empty record is none
    if kind not in makers:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    call = makers[kind](servable, getattr(log, kind).request)
    call.finish(servable.execute(call.feeds, call.fetches))


def _run_example(servable: Servable) -> int:
    manifest = Manifest.read(servable.export)
    inputs = {  # a row without any value is a row too
        column.argument: np.array([column.absent_value], object if column.dtype == "string" else column.dtype)
        for column in manifest.interface.columns
    }
    if not inputs:
        inputs = {manifest.interface.input: np.array([manifest.golden[0].content_bytes()], object)}
    with contextlib.suppress(tf.errors.DeadlineExceededError):
        servable.run("serving_default", inputs)
    return 1
