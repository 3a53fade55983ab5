"""Serialized requests of PredictionService against the codes and texts of TensorFlow Serving's implementation."""

import numpy as np
import plain_models
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tlkit.serving import grpc_calls
from tlkit.serving.batching import as_serving_error
from tlkit.serving.grpc_calls import _to_array as to_array
from tlkit.serving.servable import Servable
from tlkit.serving.status import Code, ServingError
from tlkit.serving.tensor_proto import MAX_FILL_BYTES, UnsupportedTypeError, to_proto

CLASSES = {
    "predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "classify": (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    "regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    "multi_inference": (inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse),
    "metadata": (get_model_metadata_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataResponse),
}
ROW = 'features { feature { key: "row" value { int64_list { value: 1 } } } }'
VALUE = 'features { feature { key: "v" value { float_list { value: 0.5 } } } }'
BOTH = f"example_list {{ examples {{ {ROW} }} examples {{ {ROW} }} }}"
TASK = 'tasks { model_spec { name: "m" signature_name: "%s" } method_name: "tensorflow/serving/%s" }'


@pytest.fixture(scope="module")
def servable():
    model = Servable(plain_models.shared_model(), "m", version=7)
    yield model
    model.close()


def ask(servable, method, text):
    kind, answer = CLASSES[method]
    body = text_format.Parse(text, kind()).SerializeToString()
    try:
        call = grpc_calls.prepare(servable, method, body)
        return answer.FromString(call.finish(servable.execute(call.feeds, call.fetches)))
    except (ServingError, tf.errors.OpError) as error:
        raise as_serving_error(error) from None


def spec(signature=""):
    return f'model_spec {{ name: "m" signature_name: "{signature}" }} '


def tensor(text):
    return text_format.Parse(text, tensor_pb2.TensorProto())


def test_predict_answers_in_typed_fields(servable):
    response = ask(
        servable,
        "predict",
        spec() + 'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } }'
        " float_val: [1, 2] } }",
    )
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 7)
    assert response.model_spec.signature_name == "serving_default"
    assert response.outputs["y"] == tensor(
        "dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: [3, 5]"
    )
    assert response.outputs["total"] == tensor("dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: 3")


def test_the_output_filter_is_honoured(servable):
    request = spec() + 'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } } } '
    assert list(ask(servable, "predict", request + 'output_filter: "total"').outputs) == ["total"]
    assert sorted(ask(servable, "predict", request + 'output_filter: ["total", "y"]').outputs) == ["total", "y"]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (spec("nope"), Code.FAILED_PRECONDITION, 'Serving signature key "nope" not found.'),
        (spec(), Code.INVALID_ARGUMENT, r"match signature: 0!=1 len\({}\) != len\({x}\).*required: {x}\."),
        (spec() + "inputs { key: 'a' } inputs { key: 'b' }", Code.INVALID_ARGUMENT, "Sent extra: {a,b}"),
        (spec() + "inputs { key: 'a' }", Code.INVALID_ARGUMENT, r"input alias: x\(feed name: .*in the request {a}"),
        (
            spec() + "inputs { key: 'x' value { dtype: DT_BOOL bool_val: true } }",
            Code.INVALID_ARGUMENT,
            r"Expects arg\[0\] to be float but bool is provided",
        ),
        (
            spec() + "inputs { key: 'x' value { dtype: DT_FLOAT } } output_filter: 'z'",
            Code.INVALID_ARGUMENT,
            "alias not found in signature: z Outputs expected to be in the set {total,y}",
        ),
        (
            spec() + "inputs { key: 'x' value { dtype: DT_FLOAT } } output_filter: ['y', 'y']",
            Code.INVALID_ARGUMENT,
            "duplicate output tensor alias: y",
        ),
        (
            spec("checked")
            + "inputs { key: 'x' value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: -1 } }",
            Code.INVALID_ARGUMENT,
            "a negative row",
        ),
    ],
)
def test_predict_errors(servable, text, code, message):
    with pytest.raises(ServingError, match=message) as caught:
        ask(servable, "predict", text)
    assert caught.value.code == code


def test_defaults_of_a_signature_fill_what_is_left_out(servable):
    servable.signatures["same"].defaults["n"].CopyFrom(tensor("dtype: DT_INT64 int64_val: 9"))
    try:
        request = spec("same") + "inputs { key: 'a' value { dtype: DT_FLOAT } } "
        response = ask(servable, "predict", request + "inputs { key: 's' value { dtype: DT_STRING } }")
        assert response.outputs["n"].int64_val == [9]
        with pytest.raises(ServingError, match="alias: s.*default input alias set: n"):
            ask(servable, "predict", request)
        with pytest.raises(ServingError, match="Inputs contains invalid name"):
            ask(servable, "predict", request + "inputs { key: 's' value { dtype: DT_STRING } } inputs { key: 'q' }")
    finally:
        servable.signatures["same"].defaults.clear()


@pytest.mark.parametrize(
    "text",
    [
        "dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: 'abc'",
        "dtype: DT_FLOAT tensor_shape { dim { size: 1000000000000 } } float_val: 1",
        "dtype: DT_STRING tensor_shape { dim { size: 1000000000000 } } string_val: 'x'",
        "dtype: DT_STRING tensor_shape { dim { size: 1000000000000 } } tensor_content: 'x'",
        "dtype: DT_FLOAT tensor_shape { dim { size: 4294967296 } dim { size: 4294967296 } dim { size: 4294967296 } }",
        "dtype: DT_FLOAT tensor_shape { dim { size: 0 } dim { size: 9223372036854775807 } dim { size: 8 } }",
        "dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { unknown_rank: true }",
        "dtype: DT_FLOAT tensor_shape { " + "dim { size: 1 } " * 300 + "}",
        "dtype: DT_INVALID",
        "dtype: DT_FLOAT_REF",
        "dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: '\\005\\001abc'",
        "dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: '\\377\\377\\377\\377\\377\\377'",
    ],
)
def test_hostile_tensors_are_refused_without_allocating(servable, text):
    with pytest.raises(ServingError, match="tensor parsing error: x: ") as caught:
        ask(servable, "predict", spec() + f"inputs {{ key: 'x' value {{ {text} }} }}")
    assert caught.value.code == Code.INVALID_ARGUMENT


def test_unknown_types_and_junk(servable):
    odd = tensor_pb2.TensorProto.FromString(b"\x08\xe7\x07")
    with pytest.raises(ServingError, match="DT_999 is not an array") as unknown:
        to_array(odd, "x")
    assert unknown.value.code == Code.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="DT_VARIANT is not an array") as unsupported:
        to_array(tensor("dtype: DT_VARIANT"), "x")
    assert unsupported.value.code == Code.UNIMPLEMENTED
    with pytest.raises(UnsupportedTypeError, match="type datetime64"):
        to_proto(np.zeros(1, "M8[s]"), into=tensor_pb2.TensorProto(), by_value=True)
    for method, (kind, _) in CLASSES.items():
        with pytest.raises(ServingError, match=f"not a tensorflow.serving.{kind.__name__}"):
            grpc_calls.prepare(servable, method, b"\xff\xff")
    with pytest.raises(ServingError, match="Unknown method: x"):
        grpc_calls.prepare(servable, "x", b"")


def test_a_short_list_of_values_goes_on_with_its_last():
    shape = "tensor_shape { dim { size: 4 } }"
    assert to_array(tensor(f"dtype: DT_INT32 {shape} int_val: [1, 2]"), "x").tolist() == [1, 2, 2, 2]
    assert to_array(tensor(f"dtype: DT_FLOAT {shape}"), "x").tolist() == [0, 0, 0, 0]
    assert to_array(tensor(f"dtype: DT_STRING {shape}"), "x").tolist() == [b""] * 4
    assert to_array(tensor(f"dtype: DT_INT64 {shape} int64_val: [1, 2, 3, 4, 5]"), "x").tolist() == [1, 2, 3, 4]
    most = MAX_FILL_BYTES // 8
    assert to_array(tensor(f"dtype: DT_DOUBLE tensor_shape {{ dim {{ size: {most} }} }}"), "x").size == most
    with pytest.raises(ServingError, match="tensor parsing error"):
        to_array(tensor(f"dtype: DT_DOUBLE tensor_shape {{ dim {{ size: {most + 1} }} }}"), "x")


@pytest.mark.parametrize(
    "dtype",
    [
        *("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "bool", "complex64"),
    ],
)
def test_arrays_there_and_back_by_both_ways(dtype):
    array = np.array([[0, 1, 100], [3, 0, 1]]).astype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    proto = tensor_pb2.TensorProto()
    to_proto(array, into=proto, by_value=True)
    assert not proto.tensor_content
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    for message in (proto, tf.make_tensor_proto(array)):
        got = to_array(message, "x")
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_strings_and_negative_numbers_there_and_back():
    for array in (np.array([[b"a\x00", b""], [b"\xff", b"d"]], object), np.array([-1, -128], np.int8)):
        proto = tensor_pb2.TensorProto()
        to_proto(array, into=proto, by_value=True)
        assert to_array(proto, "x").tolist() == array.tolist()
    packed = tensor("dtype: DT_STRING tensor_shape { dim { size: 2 } } tensor_content: '\\002\\001aab'")
    assert to_array(packed, "x").tolist() == [b"aa", b"b"]


def test_classify_with_and_without_context(servable):
    response = ask(servable, "classify", spec("classify") + f"input {{ {BOTH} }}")
    assert response.model_spec.signature_name == "classify"
    rows = [[(entry.label, round(entry.score, 6)) for entry in row.classes] for row in response.result.classifications]
    assert rows == [[("car", 0.7), ("bike", 0.1), ("bus", 0.2)]] * 2
    bias = 'features { feature { key: "bias" value { float_list { value: 1 } } } }'
    source = f"input {{ example_list_with_context {{ context {{ {bias} }} examples {{ {ROW} }} }} }}"
    response = ask(servable, "classify", spec("classify") + source)
    assert round(response.result.classifications[0].classes[0].score, 6) == 1.7


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_example_errors(servable, method):
    for text, message in (
        ("", "Missing ModelSpec"),
        (spec("nope"), "No signature was found with the name: nope"),
        (spec(method), "Input is empty"),
        (spec(method) + "input { example_list { } }", "Input is empty"),
        (spec(method) + "input { example_list_with_context { context { } } }", "Input is empty"),
    ):
        with pytest.raises(ServingError, match=message) as caught:
            ask(servable, method, text)
        assert caught.value.code == Code.INVALID_ARGUMENT


def test_regress(servable):
    response = ask(servable, "regress", spec("regress") + f"input {{ example_list {{ examples {{ {VALUE} }} }} }}")
    assert [round(entry.value, 6) for entry in response.result.regressions] == [5]
    assert response.model_spec.signature_name == "regress"


def test_multi_inference_runs_once_for_all_tasks(servable):
    both = ROW.removesuffix("}") + VALUE.removeprefix("features {")
    request = f"input {{ example_list {{ examples {{ {both} }} }} }} " + TASK % ("classify", "classify")
    response = ask(servable, "multi_inference", request + TASK % ("regress", "regress"))
    first, second = response.results
    assert first.model_spec.signature_name == "classify"
    assert first.classification_result.classifications[0].classes[0].label == "car"
    assert [round(entry.value, 6) for entry in second.regression_result.regressions] == [5]
    assert second.model_spec.version.value == 7


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("tasks { }", Code.INVALID_ARGUMENT, "Found ModelSpec with an empty model name."),
        (TASK % ("nope", "regress"), Code.INVALID_ARGUMENT, "signature not found in model graph: nope"),
        (TASK % ("regress", "regress") * 2, Code.INVALID_ARGUMENT, "Duplicate evaluation of signature: regress"),
        (TASK % ("regress", "predict"), Code.UNIMPLEMENTED, "signature method_name: tensorflow/serving/predict"),
        (
            TASK % ("regress", "regress") + (TASK % ("classify", "classify")).replace('"m"', '"n"'),
            Code.INVALID_ARGUMENT,
            "must access the same model name",
        ),
        (TASK % ("regress", "regress"), Code.INVALID_ARGUMENT, "Input is empty"),
        ("", Code.INVALID_ARGUMENT, "Input is empty"),
    ],
)
def test_multi_inference_errors(servable, text, code, message):
    with pytest.raises(ServingError, match=message) as caught:
        ask(servable, "multi_inference", text)
    assert caught.value.code == code


def test_metadata(servable):
    response = ask(servable, "metadata", spec() + "metadata_field: 'signature_def'")
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 7)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == set(servable.signatures)
    for text, message in ((spec(), "at least one metadata_field"), (spec() + "metadata_field: 'x'", "field x is not")):
        with pytest.raises(ServingError, match=message):
            ask(servable, "metadata", text)
