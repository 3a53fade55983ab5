"""What a caller gives to a client, as arrays of the types that a signature takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from tlkit.errors import DataError, did_you_mean
from tlkit.export.manifest import SignatureInfo, TensorInfo
from tlkit.serving import protos


def arrays_of(inputs: Any, name: str, signature: SignatureInfo) -> dict[str, np.ndarray]:
    """Make the arrays that a signature takes.

    Example:
        >>> arrays_of([1, 2], "serving_default", signature)
        {'x': array([1., 2.], dtype=float32)}

    Args:
        inputs: a mapping from input to values; or the values alone where the signature has one input. Values are
            anything that NumPy makes an array of, strings str or bytes.
        name: of the signature, for messages.
        signature: what it takes.

    Returns:
        Arrays of the signature's types; strings as objects of bytes. An input that is left out is left out: the
        server may have a value for it.

    Raises:
        DataError: an input is unknown, or a value does not go into its type without loss.
    """
    if not isinstance(inputs, Mapping):
        if len(signature.inputs) != 1:
            raise DataError(
                f"signature {name!r} has several inputs, which must be passed by name", allowed=sorted(signature.inputs)
            )
        inputs = {next(iter(signature.inputs)): inputs}
    unknown = [key for key in inputs if key not in signature.inputs]
    if unknown:
        raise DataError(
            f"signature {name!r} has no input with this name",
            received=unknown[0],
            allowed=sorted(signature.inputs),
            fix=did_you_mean(str(unknown[0]), signature.inputs) or None,
        )
    return {key: array_of(value, key, signature.inputs[key]) for key, value in inputs.items()}


def array_of(value: Any, name: str, info: TensorInfo) -> np.ndarray:
    """Make one input's array; floats become float32 silently, everything else without loss or not at all."""
    if info.dtype == "string":
        return _strings(value, name)
    wanted = np.dtype(np.float32 if info.dtype == "bfloat16" else info.dtype)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"input {name!r} is not an array: {error}") from None
    if array.dtype == wanted:
        return array
    allowed = {"f": "fiu", "i": "iu", "u": "iu", "b": "b", "c": "cfiu"}[wanted.kind]
    if array.size and array.dtype.kind not in allowed:
        raise DataError(f"input {name!r} has values of another type", received=array.dtype.name, allowed=info.dtype)
    with np.errstate(over="ignore"):
        cast = array.astype(wanted)
    lost = not np.array_equal(cast, array) if wanted.kind in "iu" else bool(np.any(np.isinf(cast) & np.isfinite(array)))
    if lost:
        raise DataError(f"input {name!r} has a value out of the range of {info.dtype}")
    return cast


def rows_of(arrays: Mapping[str, np.ndarray], signature: SignatureInfo, outputs: Sequence[str]) -> int | None:
    """Return how many rows there are, where a signature can be run on some of them at a time; None where it cannot.

    That takes a free first dimension of every input and output, and the same number of rows everywhere.
    """
    infos = [signature.inputs[name] for name in arrays] + [signature.outputs[name] for name in outputs]
    if not all(info.shape and info.shape[0] is None for info in infos):
        return None
    sizes = {array.shape[0] if array.ndim else None for array in arrays.values()}
    return sizes.pop() if len(sizes) == 1 else None


def example_of(example: Any, what: str) -> Any:
    """Make a tf.Example.

    Args:
        example: a mapping from feature to value or list of values (str, bytes, int, float; a bool is a whole number);
            or the bytes of a serialized tf.Example; or a message.
        what: its place, for messages.

    Returns:
        A message of `tlkit.serving.protos`.

    Raises:
        DataError: it is none of these, or a feature mixes types.
    """
    if hasattr(example, "SerializeToString"):
        example = example.SerializeToString()
    if isinstance(example, bytes):
        try:
            return protos.Example.FromString(example)
        except DecodeError as error:
            raise DataError(f"{what} is not a tf.Example: {error}") from None
    if not isinstance(example, Mapping):
        raise DataError(f"{what} is not a tf.Example", received=type(example).__name__, allowed="a mapping, or bytes")
    message = protos.Example()
    message.features.SetInParent()
    for name, value in example.items():
        _fill(message.features.feature[name], value, f"{what}, feature {name!r}")
    return message


def _fill(feature: Any, value: Any, what: str) -> None:
    values = value.ravel().tolist() if isinstance(value, np.ndarray) else value
    values = list(values) if isinstance(values, list | tuple) else [values]
    values = [item.item() if isinstance(item, np.generic) else item for item in values]
    if all(isinstance(item, str | bytes) for item in values):
        feature.bytes_list.value.extend(_bytes(item, what) for item in values)
    elif all(isinstance(item, int) for item in values):
        try:
            feature.int64_list.value.extend(map(int, values))
        except ValueError:
            raise DataError(f"{what} has a whole number out of the range of int64") from None
    elif all(isinstance(item, int | float) and not isinstance(item, bool) for item in values):
        feature.float_list.value.extend(map(float, values))
    else:
        kinds = sorted({type(item).__name__ for item in values})
        raise DataError(f"{what} is not all strings or all numbers", received=kinds)


def _strings(value: Any, name: str) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else np.array(value, object)
    flat = np.empty(array.size, object)
    flat[:] = [_bytes(item, f"input {name!r}") for item in array.astype(object).flat]
    return flat.reshape(array.shape)


def _bytes(item: Any, what: str) -> bytes:
    if isinstance(item, bytes):
        return bytes(item)
    if isinstance(item, str):
        try:
            return item.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{what} is not valid Unicode: {error.reason}") from None
    if isinstance(item, list | tuple):
        raise DataError(f"{what} is ragged: its lists differ in length")
    raise DataError(f"{what} contains no string", received=item)
