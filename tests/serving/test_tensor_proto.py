"""Arrays as TensorProtos and back, against TensorFlow's own conversion."""

import numpy as np
import pytest

from tlkit.serving import protos
from tlkit.serving.tensor_proto import TensorError, dtype_name, from_proto, to_proto

NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def array_of(dtype, shape, seed=0):
    draw = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return draw.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    array = draw.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array.flat[:2] = [limits.min, limits.max]
    return array


def strings(*items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


@pytest.fixture(scope="module")
def tf():
    import tensorflow

    return tensorflow


def real(proto):
    """The same bytes as TensorFlow's own message."""
    from tensorflow.core.framework import tensor_pb2

    return tensor_pb2.TensorProto.FromString(proto.SerializeToString())


def own(proto):
    return protos.TensorProto.FromString(proto.SerializeToString())


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0), (1, 1, 1, 2)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_go_both_ways(tf, dtype, shape):
    array = array_of(dtype, (2, 3))[:1].ravel()[0] if shape == () else array_of(dtype, (*shape[:-1], max(shape[-1], 2)))
    array = np.asarray(array)[..., : shape[-1]] if shape else np.asarray(array)
    for proto in (to_proto(array), own(tf.make_tensor_proto(array))):
        back = from_proto(proto)
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert np.array_equal(back, array)
    assert np.array_equal(tf.make_ndarray(real(to_proto(array))), array)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "complex128"])
def test_other_types_go_both_ways(tf, dtype):
    array = np.array([[1, 0], [2 + 3j if dtype != "bool" else 1, 0]]).astype(dtype)
    assert np.array_equal(tf.make_ndarray(real(to_proto(array))), array)
    for proto in (to_proto(array), own(tf.make_tensor_proto(array))):
        back = from_proto(proto)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


def test_strings_are_bytes_that_keep_their_zeros(tf):
    array = strings(b"", b"a\0b\0", "żółw".encode(), bytes(range(256))).reshape(2, 2)
    assert from_proto(to_proto(array)).tolist() == array.tolist()
    assert tf.make_ndarray(real(to_proto(array))).tolist() == array.tolist()
    assert from_proto(own(tf.make_tensor_proto(array))).tolist() == array.tolist()
    assert from_proto(to_proto(np.array(b"one", object))).item() == b"one"
    with pytest.raises(TensorError, match="object array of bytes"):
        to_proto(np.array(["text"], object))


def test_what_is_no_number_survives_bit_for_bit():
    array = np.array([np.nan, np.inf, -np.inf, -0.0, np.float32(0.1), np.finfo(np.float32).tiny], np.float32)
    assert from_proto(to_proto(array)).tobytes() == array.tobytes()


def test_bfloat16_is_rounded_as_tensorflow_rounds(tf):
    draw = np.random.default_rng(1)
    wide = (draw.normal(size=1000) * 10.0 ** draw.integers(-30, 30, 1000)).astype(np.float32)
    wide[:6] = [np.nan, np.inf, -np.inf, -0.0, 1.00390625, 1.01171875]  # the last two lie between two bfloat16s
    expected = tf.cast(wide, tf.bfloat16)
    proto = to_proto(wide, "bfloat16")
    assert dtype_name(proto.dtype) == "bfloat16"
    assert np.array_equal(from_proto(proto), tf.cast(expected, tf.float32).numpy(), equal_nan=True)
    sent = own(tf.make_tensor_proto(expected))
    assert np.array_equal(from_proto(sent), tf.cast(expected, tf.float32).numpy(), equal_nan=True)


@pytest.mark.parametrize(
    ("field", "dtype", "values", "expected"),
    [
        ("float_val", "DT_FLOAT", [1.5, 2.5], [1.5, 2.5, 2.5, 2.5]),
        ("float_val", "DT_FLOAT", [], [0, 0, 0, 0]),
        ("int_val", "DT_UINT8", [255], [255] * 4),
        ("int_val", "DT_INT8", [-1, -128], [-1, -128, -128, -128]),
        ("half_val", "DT_HALF", [0x3C00, 0xC000], [1, -2, -2, -2]),
        ("half_val", "DT_BFLOAT16", [0x3F80, 0xC000], [1, -2, -2, -2]),
        ("scomplex_val", "DT_COMPLEX64", [1, 2], [1 + 2j] * 4),
        ("bool_val", "DT_BOOL", [True, False], [True, False, False, False]),
        ("string_val", "DT_STRING", [b"x"], [b"x"] * 4),
        ("uint64_val", "DT_UINT64", [2**64 - 1], [2**64 - 1] * 4),
    ],
)
def test_a_short_list_goes_on_with_its_last_value(tf, field, dtype, values, expected):
    proto = protos.TensorProto(dtype=protos.DataType.Value(dtype), **{field: values})
    proto.tensor_shape.dim.add(size=4)
    assert from_proto(proto).tolist() == expected
    if values:
        assert tf.make_ndarray(real(proto)).tolist() == expected


def broken(dtype, shape, **fields):
    proto = protos.TensorProto(dtype=protos.DataType.Value(dtype), **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (broken("DT_FLOAT", [2], tensor_content=b"12345"), r"5 bytes are not a float32 tensor of shape \[2\]"),
        (broken("DT_FLOAT", [1], float_val=[1, 2]), "2 values are too many"),
        (broken("DT_FLOAT", [-1], float_val=[1]), "shape of a tensor is not known"),
        (broken("DT_RESOURCE", [1]), "DT_RESOURCE is not an array"),
        (broken("DT_COMPLEX64", [1], scomplex_val=[1]), "half of a complex number"),
        (protos.TensorProto(dtype=1, tensor_shape=protos.TensorShapeProto(unknown_rank=True)), "not known"),
        (protos.TensorProto(dtype=999), "DT_999 is not an array"),
    ],
)
def test_a_tensor_that_does_not_fit_together_is_refused(proto, message):
    with pytest.raises(TensorError, match=message):
        from_proto(proto)


def test_a_type_that_no_tensor_has_is_refused():
    with pytest.raises(TensorError, match="tensors of type datetime64"):
        to_proto(np.array(["2020-01-01"], "M8[D]"))


def test_names_are_tensorflows(tf):
    for number in set(protos.DataType.values()) - {0}:
        name = tf.dtypes.as_dtype(number).name
        assert dtype_name(number) in (name, protos.DataType.Name(number))
        if name in NUMBERS:
            assert dtype_name(number) == name
