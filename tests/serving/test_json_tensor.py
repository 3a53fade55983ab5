import json
import math

import numpy as np
import pytest

from tlkit.serving.json_tensor import BadRequestError, from_arrays, parse_body, to_arrays

TWO = {"a": "float32", "b": "float32"}


def arrays(text, dtypes):
    return to_arrays(parse_body(text.encode()), dtypes)


def test_rows_and_columns_of_one_input():
    for text in (
        '{"instances": [[1, 2], [3, 4]]}',
        '{"inputs": [[1, 2], [3, 4]]}',
        '{"inputs": {"x": [[1, 2], [3, 4]]}}',
    ):
        got = arrays(text, {"x": "float32"})["x"]
        assert got.dtype == np.float32
        assert got.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_rows_and_columns_of_several_inputs():
    rows = arrays('{"instances": [{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}]}', TWO)
    columns = arrays('{"inputs": {"a": [1, 2], "b": [[1, 2], [3, 4]], "ignored": "?"}}', TWO)
    for name in TWO:
        np.testing.assert_array_equal(rows[name], columns[name])


def test_strings_and_base64():
    got = arrays('{"instances": ["é", {"b64": "AP/+gA=="}, {"b64": ""}]}', {"x": "string"})["x"]
    assert got.tolist() == ["é".encode(), b"\x00\xff\xfe\x80", b""]
    named = arrays('{"instances": [{"x": {"b64": "aGk="}}]}', {"x": "string"})["x"]
    assert named.tolist() == [b"hi"]


def test_non_finite_numbers_both_ways():
    got = arrays('{"instances": [[NaN, Infinity], [3, -Infinity]]}', {"x": "float32"})["x"]
    back = json.loads(from_arrays({"y": got}, "instances"))["predictions"]
    assert math.isnan(back[0][0])
    assert back[0][1] == math.inf
    assert back[1] == [3.0, -math.inf]


def test_text_after_the_document_and_later_duplicates_are_ignored():
    assert parse_body(b'{"instances": [2.0], "instances": [4.0]} junk').content == [2.0]
    assert parse_body(b'{"instances": [1], "signature_name": "s"}').signature_name == "s"
    assert parse_body(b'{"instances": [1], "signature_name": ""}').signature_name == "serving_default"


@pytest.mark.parametrize(
    ("text", "dtypes", "message"),
    [
        ("", TWO, "The document is empty"),
        ('{"instances": [1.0', {"x": "float32"}, "JSON Parse error"),
        ("[1.0]", {"x": "float32"}, "Is not object"),
        ("{}", TWO, "Missing 'inputs' or 'instances' key"),
        ('{"inputs": 1, "instances": [1]}', TWO, "not both"),
        ('{"instances": []}', {"x": "float32"}, "No values"),
        ('{"instances": {"a": 1}}', {"x": "float32"}, "list/array"),
        ('{"instances": [1], "signature_name": 3}', {"x": "float32"}, "must be a string"),
        ('{"instances": [[1,2],[3,4],[5,6,7]]}', {"x": "int32"}, "Expecting tensor size"),
        ('{"instances": [[1,2],[3,4],[[5,6]]]}', {"x": "int32"}, "Expecting shape"),
        ('{"instances": [[[1,2],[3]],[[3,4],[5,6]]]}', {"x": "int32"}, "size"),
        ('{"inputs": [[1,2],[3]]}', {"x": "int32"}, "Encountered list at unexpected size"),
        ('{"inputs": [[1,2],3]}', {"x": "int32"}, "Encountered list at unexpected size"),
        ('{"instances": [[1,2],["a","b"]]}', {"x": "int32"}, "not of expected type"),
        ('{"inputs": [1.0]}', {"x": "int32"}, "is not of expected type: int32"),
        ('{"inputs": [2147483648]}', {"x": "int32"}, "is not of expected type: int32"),
        ('{"inputs": [-1]}', {"x": "uint8"}, "is not of expected type: uint8"),
        ('{"inputs": [1]}', {"x": "bool"}, "is not of expected type: bool"),
        ('{"inputs": [true]}', {"x": "float32"}, "is not of expected type: float"),
        ('{"inputs": [1]}', {"x": "string"}, "is not of expected type: string"),
        ('{"inputs": [null]}', {"x": "float32"}, "is not of expected type: float"),
        ('{"inputs": [{"b64": "!!!"}]}', {"x": "string"}, "Unable to base64 decode"),
        ('{"instances": [1e400]}', {"x": "float32"}, "JSON Parse error"),
        ('{"instances": [{"a": 1}]}', TWO, "keys must be equal to: a,b"),
        ('{"instances": [{"a": 1, "b": 2, "c": 3}]}', TWO, "does not have named input: c"),
        ('{"instances": [1.0]}', TWO, "instances is a plain list, but expecting list of objects"),
        ('{"inputs": {"a": [1.0]}}', TWO, "Missing named input: b in 'inputs' object."),
        ('{"inputs": [1]}', TWO, "inputs is a plain value"),
        ('{"instances": ' + "[" * 100000 + "]" * 100000 + "}", {"x": "float32"}, "nested too deeply"),
    ],
)
def test_bad_bodies(text, dtypes, message):
    with pytest.raises(BadRequestError, match=message):
        arrays(text, dtypes)


def test_answers_by_form():
    scores = np.array([[0.1, 1.0], [0.25, 3.0]], np.float32)
    names = np.array([[b"a", b"b"], [b"c", "d\u00e9".encode()]], object)
    assert json.loads(from_arrays({"s": scores}, "inputs")) == {"outputs": [[0.1, 1.0], [0.25, 3.0]]}
    assert json.loads(from_arrays({"n": names, "s": scores}, "instances")) == {
        "predictions": [{"n": ["a", "b"], "s": [0.1, 1.0]}, {"n": ["c", "dé"], "s": [0.25, 3.0]}]
    }
    assert json.loads(from_arrays({"n_bytes": names[:1, :1]}, "inputs")) == {"outputs": [[{"b64": "YQ=="}]]}
    assert from_arrays({"s": np.array([1.0], np.float32)}, "inputs") == b'{"outputs": [1.0]}'


def test_row_answers_need_one_batch_size():
    with pytest.raises(BadRequestError, match="no shape information"):
        from_arrays({"y": np.float32(1)}, "instances")
    with pytest.raises(BadRequestError, match="inconsistent batch size"):
        from_arrays({"y": np.zeros(2), "z": np.zeros(3)}, "instances")
    assert json.loads(from_arrays({"y": np.zeros([0, 2])}, "instances")) == {"predictions": []}
