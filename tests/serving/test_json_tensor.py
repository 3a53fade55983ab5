import json
import math
import re

import numpy as np
import pytest

from tlkit.export.short_floats import short_floats
from tlkit.serving import json_document
from tlkit.serving.json_document import parse, signature_name
from tlkit.serving.json_tensor import BadRequestError, from_arrays, predict_body, to_arrays
from tlkit.serving.status import Code, ServingError

TWO = {"a": "float32", "b": "float32"}


def arrays(text, dtypes):
    return to_arrays(body_of(text), dtypes)


def body_of(text):
    document = parse(text.encode())
    return predict_body(document, signature_name(document) or "serving_default")


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
    assert body_of('{"instances": [2.0], "instances": [4.0]} junk').content == [2.0]
    assert body_of('{"instances": [1], "signature_name": "s"}').signature_name == "s"
    assert body_of('{"instances": [1], "signature_name": ""}').signature_name == "serving_default"


@pytest.mark.parametrize(
    ("text", "dtypes", "message"),
    [
        ("", TWO, "The document is empty"),
        ('{"instances": [1.0', {"x": "float32"}, "JSON Parse error"),
        ("[1.0]", {"x": "float32"}, "Is not object"),
        ("{}", TWO, "Missing 'inputs' or 'instances' key"),
        ('{"inputs": 1, "instances": [1]}', TWO, "expecting only one of 'inputs' or 'instances' keys to exist "),
        ('{"instances": []}', {"x": "float32"}, "No values"),
        ('{"instances": {"a": 1}}', {"x": "float32"}, "Expecting 'instances' to be an list/array"),
        ('{"instances": null}', {"x": "float32"}, "Expecting 'instances' to be an list/array"),
        ('{"instances": [1], "signature_name": 3}', {"x": "float32"}, "'signature_name' key must be a string value"),
        ('{"instances": [[1,2],[3,4],[5,6,7]]}', {"x": "int32"}, "Expecting tensor size"),
        ('{"instances": [[1,2],[3,4],[[5,6]]]}', {"x": "int32"}, "Expecting shape"),
        ('{"instances": [[[1,2],[3]],[[3,4],[5,6]]]}', {"x": "int32"}, "size"),
        ('{"inputs": [[1,2],[3]]}', {"x": "int32"}, "Encountered list at unexpected size"),
        ('{"inputs": [[1,2],3]}', {"x": "int32"}, "JSON Value: 3 found at incorrect level: 2 .* Expected at level: 2"),
        ('{"inputs": [1,[2]]}', {"x": "int32"}, "Encountered list at unexpected level: 1 expected < 1"),
        ('{"instances": [1, [1]]}', {"x": "int32"}, r"element: 1 of .*Expecting shape \[\] but got: \[1\]"),
        ('{"instances": [{"x": 1}, [2]]}', {"x": "int32"}, "Expecting object but got list at item 1"),
        ('{"instances": [[2], {"x": 1}]}', {"x": "int32"}, "Expecting value/list but got object at item 1"),
        ('{"instances": [{"a": [[1], [2]], "b": 0}, {"a": [[1, 2]], "b": 0}]}', TWO, "key: a of .*Expecting shape"),
        ('{"instances": [{"a": [1], "b": 0}, {"a": [1, 2], "b": 0}]}', TWO, "Expecting tensor size: 1 but got: 2"),
        ('{"inputs": [{"a": "b"}]}', {"x": "string"}, "not formatted correctly for base64 data"),
        ('{"inputs": [{"b64": "YQ=="}]}', {"x": "float32"}, "Type: Object is not of expected type: float"),
        ('{"inputs": [{"a": 1, "a": 2}]}', {"x": "float32"}, "Type: Object is not of expected type: float"),
        ('{"inputs": ["x"]}', {"x": "float64"}, 'JSON Value: "x" Type: String is not of expected type: double'),
        ('{"inputs": [18446744073709551616]}', {"x": "uint64"}, "is not of expected type: uint64"),
        ('{"inputs": ["\\ud800"]}', {"x": "string"}, "surrogate pair"),
        ('{"inputs": [1' + "0" * 400 + "]}", {"x": "float32"}, "Number too big to be stored in double"),
        ('{"inputs": [1' + "0" * 5000 + "]}", {"x": "float32"}, "Number too big to be stored in double.$"),
        ('{"instances": [' + "9" * 100_000 + "]}", {"x": "int64"}, "Number too big to be stored in double.$"),
        ('{"no": {"a": -' + "9" * 100_000 + '}, "inputs": 1}', {"x": "int64"}, "Number too big to be stored in dou"),
        ("instances = [1, 2]", {"x": "float32"}, "JSON Parse error: Expecting value at offset: 0"),
        ('{"instances": [1]}', {}, "Failed to get input map for signature: DEFAULT"),
        ('{"inputs": ' + "[" * 65 + "1" + "]" * 65 + "}", {"x": "float32"}, "unexpected level: 64"),
        ('{"inputs": {"x": ' + "[" * 9000 + "]" * 9000 + "}}", {"x": "float32"}, "nested too deeply"),
        ('{"instances": [[1,2],["a","b"]]}', {"x": "int32"}, "not of expected type"),
        ('{"inputs": [1.0]}', {"x": "int32"}, "is not of expected type: int32"),
        ('{"inputs": [2147483648]}', {"x": "int32"}, "is not of expected type: int32"),
        ('{"inputs": [-1]}', {"x": "uint32"}, "is not of expected type: uint32"),
        ('{"inputs": [2147483648]}', {"x": "uint8"}, "is not of expected type: uint8"),
        ('{"instances": [-2147483649]}', {"x": "int8"}, "is not of expected type: int8"),
        ('{"inputs": [{"b64": "YQ==", "b64": "YQ=="}]}', {"x": "string"}, "not formatted correctly for base64 data"),
        ('{"instances": [{"b64": "YQ==", "b64": "YQ=="}]}', {"x": "string"}, "does not have named input: b64"),
        ('{"inputs": [1]}', {"x": "bool"}, "is not of expected type: bool"),
        ('{"inputs": [true]}', {"x": "float32"}, "is not of expected type: float"),
        ('{"inputs": [1]}', {"x": "string"}, "is not of expected type: string"),
        ('{"inputs": [null]}', {"x": "float32"}, "is not of expected type: float"),
        ('{"inputs": [{"b64": "!!!"}]}', {"x": "string"}, "Unable to base64 decode"),
        (
            '{"instances": [{"b64": "!!!"}]}',
            {"x": "string"},
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode",
        ),
        (
            '{"instances": ["a", {"b64": "YQ=="}, {"b64": "Y=Q"}, {"b64": "!"}]}',
            {"x": "string"},
            "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode",
        ),
        (
            '{"instances": [{"b": "", "a": {"b64": "YQ=="}}, {"b": {"b64": "?"}, "a": "x"}]}',
            dict.fromkeys("ab", "string"),
            "Failed to process element: 1 key: b of 'instances' list. Error: INVALID_ARGUMENT: Unable to base64 decode",
        ),
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


DEEP = "[" * 300_000 + "]" * 300_000


def test_a_deep_value_under_an_ignored_key_is_skipped():
    body = body_of(f'{{"nested": {DEEP}, "instances": [1], "instances": [2], "more": {{"a": {DEEP}}}}} junk')
    assert body.content == [1]
    assert body_of(f'{{"instances": [3], "n": {DEEP} }}').content == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{{"signature_name": {DEEP}, "instances": [1]}}', "'signature_name' key must be a string value"),
        (f'{{"n": {DEEP}], "instances": [1]}}', "Expecting ',' delimiter in a value of more than 256 levels"),
        (f'{{"n": {DEEP[:-1]}, "instances": [1]}}', "JSON Parse error"),
        (f'{{"n": {DEEP} "instances": [1]}}', "JSON Parse error: Expecting ',' delimiter"),
        (f'{{"n": {DEEP}, instances: [1]}}', "JSON Parse error: Expecting property name"),
        (f'{{"n": {DEEP}, "instances" [1]}}', "JSON Parse error: Expecting ':' delimiter"),
        (f'{{"n": {DEEP}', "JSON Parse error"),
        ('{"n": ' + '{"a":' * 5000 + "1 2" + "}" * 5000 + "}", "JSON Parse error: Expecting ',' delimiter"),
        ('{"n": ' + '[{"a":' * 5000 + "}]" * 5000 + "}", "JSON Parse error: Expecting value"),
        (DEEP, "Is not object"),
        ('{"instances": ' + DEEP + "}", "nested too deeply"),
        ('{"n": ' + "[" * 300_000 + '"\n["' + "]" * 9 + "}", "JSON Parse error: Invalid string at offset: 300006"),
        ('{"n": ' + "[" * 255 + f"{DEEP}, 1, {DEEP} 2" + "]" * 255 + "}", "JSON Parse error: Expecting ',' delimiter"),
        ('{"n": ' + "[" * 255 + "[{]}" * 900 + DEEP + "]" * 255 + "}", "JSON Parse error: Expecting property name"),
    ],
    ids=range(14),
)
def test_deep_values_are_still_checked(text, message):
    with pytest.raises(BadRequestError, match=message):
        arrays(text, {"x": "float32"})


@pytest.mark.parametrize("depth", [1, 254, 255, 256, 257, 511, 512, 513, 2000])
def test_values_around_the_limit_of_a_layer_are_understood(depth):
    text = '{"inputs": 7, "n": ' + "[" * depth + "[1], {}, [[2]]" + "]" * depth + '}, "inputs": 8'
    want = parse(text.encode()) if depth < 900 else None
    found, end = json_document._in_layers(text)
    assert end == len(text) - len(', "inputs": 8')
    assert found["inputs"] == 7
    if depth < 254:
        assert found == want.members


def test_deep_values_of_every_kind_are_understood():
    inner = '"\\u00e9\\"{[", -1.5e-3, NaN, -Infinity, true, null, {}, [], {"k": [ ]}'
    text = '{"n": ' + '[ {"a" : ' * 3000 + f"[{inner}]" + "} ] " * 3000 + ', "inputs": 7}'
    assert body_of(text).content == 7


def test_what_tensorflow_serving_accepts():
    assert arrays('\ufeff {"inputs": 1}', {"x": "float32"})["x"].tolist() == 1
    for text in ("aGVsbG8", "aGVs bG8=", "aGVs\\nbG8=", "aGVsbG8."):
        assert arrays(f'{{"inputs": {{"b64": "{text}"}}}}', {"x": "string"})["x"][()] == b"hello"
    assert arrays('{"inputs": [1435774380, 1e300, -1e300]}', {"x": "float32"})["x"].tolist() == [
        1435774336.0,
        math.inf,
        -math.inf,
    ]
    assert arrays('{"inputs": ["1e400", "Infinity"]}', {"x": "string"})["x"].tolist() == [b"1e400", b"Infinity"]
    assert arrays('{"inputs": {"a": [Infinity], "b": "1e400"}}', {"a": "float32", "b": "string"})["a"] == [math.inf]
    assert arrays('{"inputs": [[], []]}', {"x": "int32"})["x"].shape == (2, 0)
    assert arrays('{"inputs": [18446744073709551615]}', {"x": "uint64"})["x"].tolist() == [2**64 - 1]


def test_small_integers_are_cut_to_their_bits():
    for dtype, sent, got in (
        ("uint8", [-1, 256, 300], [255, 0, 44]),
        ("int8", [128, -129], [-128, 127]),
        ("int16", [32768, 2147483647], [-32768, -1]),
    ):
        for form in ("inputs", "instances"):
            array = arrays(json.dumps({form: sent}), {"x": dtype})["x"]
            assert (array.dtype, array.tolist()) == (np.dtype(dtype), got)


def test_rapidjson_s_words_for_numbers_that_are_not_finite():
    got = arrays('{"n": "Inf", "inputs": [Inf, -Inf, -NaN, Infinity, -Infinity, NaN, 1]} Inf', {"x": "float32"})["x"]
    assert got.tolist()[:2] == [math.inf, -math.inf]
    assert np.isnan(got).tolist() == [False, False, True, False, False, True, False]
    strings = arrays('{"m": Inf, "inputs": ["Inf", "\\"-NaN", "Infinity"]}', {"x": "string"})["x"]
    assert strings.tolist() == [b"Inf", b'"-NaN', b"Infinity"]
    deep = DEEP.replace("[]", "[-Inf]")
    assert body_of(f'{{"n": {deep}, "inputs": Inf}}').content == math.inf
    with pytest.raises(BadRequestError, match="Number too big"):
        arrays('{"inputs": [Inf, 1e400]}', {"x": "float32"})
    for text in ("Infi", "-Infinit", "Nan", "nan", "inf", "+Inf", "-", "-Na"):
        for body in (f'{{"inputs": [{text}]}}', f'{{"inputs": [Inf, {text}]}}'):
            with pytest.raises(BadRequestError, match="JSON Parse error: Expecting value"):
                body_of(body)


def test_half_a_surrogate_pair_is_refused_wherever_it_stands():
    pair, low, high = "\\ud83d\\uDE00", "\\uDe00", "\\uD83d"
    assert arrays(f'{{"inputs": "{pair}{pair}\\\\ud800"}} "{high}"', {"x": "string"})["x"][()] == "😀😀\\ud800".encode()
    for text in (low, high, pair + low, high + pair, high + "\\u0041", "\\\\" + high, high + "\\n" + low):
        for body in (
            f'{{"inputs": 1, "n": "{text}"}}',
            f'{{"{text}": 1, "inputs": 1}}',
            f'{{"n": {DEEP}, "m": "{text}"}}',
            f'["{text}"]',
        ):
            with pytest.raises(BadRequestError, match="JSON Parse error: The surrogate pair in string is invalid."):
                body_of(body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"inputs": [1 2]}', "Expecting ',' delimiter at offset: 14"),
        ('{"inputs": [1', "Expecting ',' delimiter at offset: 13"),
        ('{"inputs": [{"a": "]"}, [2], "[" 3]}', "Expecting ',' delimiter at offset: 33"),
        ('{"inputs": [01]}', "Expecting ',' delimiter at offset: 13"),
        ('{"inputs": [1]', "Expecting ',' delimiter at offset: 14"),
        ('{"inputs": [{"a]": "}", "b": 1 "c": 2}]}', "Expecting ',' delimiter at offset: 31"),
        ('{"inputs": [1.]}', "Expecting ',' delimiter at offset: 13"),
        ('{"inputs": [1e]}', "Expecting ',' delimiter at offset: 13"),
        ('{"inputs": [2.5E+]}', "Expecting ',' delimiter at offset: 15"),
        ('{"inputs": ["\\u12g4"]}', "Invalid \\uXXXX escape at offset: 14"),
        ('{"inputs": ["\\x"]}', "Invalid \\escape"),
        ('{"inputs": ["a', "Unterminated string starting at at offset: 12"),
        ('{"inputs": [1,]}', ""),  # Python 3.13 has another message
        ("{inputs: 1}", "Expecting property name enclosed in double quotes at offset: 1"),
        ('{"inputs" 1}', "Expecting ':' delimiter at offset: 10"),
        ('{"inputs": [Inf 1]}', "Expecting ',' delimiter at offset: "),
    ],
)
def test_parse_errors_say_what_and_where(text, message):
    with pytest.raises(BadRequestError) as caught:
        body_of(text)
    assert caught.value.message.startswith(f"JSON Parse error: {message}")
    assert re.search(r" at offset: \d+$", caught.value.message)


def test_types_that_json_does_not_carry():
    for dtype, name in (("float16", "half"), ("uint16", "uint16"), ("complex64", "complex64")):
        with pytest.raises(ServingError, match=f"Conversion of JSON Value: 1 to type: {name}") as caught:
            arrays('{"inputs": [1]}', {"x": dtype})
        assert caught.value.code == Code.UNIMPLEMENTED
        with pytest.raises(BadRequestError, match=f"Error: UNIMPLEMENTED: Conversion of JSON Value: 1 to type: {name}"):
            arrays('{"instances": [1]}', {"x": dtype})
        with pytest.raises(BadRequestError, match=f"Failed to write JSON value for tensor type: {name}"):
            from_arrays({"y": np.ones(2, dtype)}, "inputs")
    with pytest.raises(BadRequestError, match="empty tensor map"):
        from_arrays({}, "instances")


def test_messages_stay_short_for_any_value():
    with pytest.raises(BadRequestError) as caught:
        body_of(json.dumps({"signature_name": ["x" * 1000] * 1000}))
    assert len(caught.value.message) < 400
    body = '{"signature_name": ' + "[" * 900 + "]" * 900 + "}"
    with pytest.raises(BadRequestError, match="must be a string"):
        body_of(body)


def test_many_floats_are_written_as_short_as_few():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    edge = np.array([0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3.4028235e38, 9e6, 0.1, 1 / 3, 123456.7], np.float32)
    values = np.concatenate([bits, edge, rng.random(20_000, np.float32), rng.normal(size=20_000).astype(np.float32)])
    expected = values.astype(str).astype(np.float64)
    np.testing.assert_array_equal(short_floats(values), expected)
    np.testing.assert_array_equal(short_floats(values.reshape(-1, 1)[:7]), expected[:7, None])
    assert short_floats(np.float32([[0.1]])).tolist() == [[0.1]]
