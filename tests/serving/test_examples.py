"""The JSON of :classify and :regress, against the bodies that TensorFlow Serving's documents describe."""

import json
import math

import numpy as np
import plain_models
import pytest
import tensorflow as tf

from tlkit.serving import rest_calls
from tlkit.serving.example_results import Classification
from tlkit.serving.examples import classification_json, regression_json, to_examples
from tlkit.serving.json_document import BadRequestError, parse
from tlkit.serving.servable import Servable
from tlkit.serving.status import ServingError


@pytest.fixture(scope="module")
def servable():
    model = Servable(plain_models.shared_model())
    yield model
    model.close()


def features(document):
    found = []
    for example in to_examples(parse(json.dumps(document).encode())):
        feature = tf.train.Example.FromString(example).features.feature
        found.append({name: list(getattr(value, value.WhichOneof("kind")).value) for name, value in feature.items()})
    return found


def ask(servable, method, document):
    call = rest_calls.prepare(servable, method, json.dumps(document).encode())
    return json.loads(call.finish(servable.execute(call.feeds, call.fetches)))


def test_features_take_the_type_of_their_values():
    examples = [
        {"names": ["foo", {"b64": "aGVsbG8="}], "ratings": [8.0, math.inf], "age": 20, "mixed": [1, True, False]},
        {"names": "é", "ratings": -6.5, "huge": 2**64, "none": []},
    ]
    got = features({"examples": [examples[0]]})
    assert got == [{"names": [b"foo", b"hello"], "ratings": [8.0, math.inf], "age": [20], "mixed": [1, 1, 0]}]
    parsed = tf.train.Example.FromString(to_examples(parse(json.dumps({"examples": examples}).encode()))[1])
    assert parsed.features.feature["names"].bytes_list.value == ["é".encode()]
    assert parsed.features.feature["ratings"].float_list.value == [-6.5]
    assert parsed.features.feature["huge"].float_list.value == [2.0**64]
    assert parsed.features.feature["none"].WhichOneof("kind") is None


def test_the_context_is_added_and_the_example_wins():
    got = features({"context": {"a": [1, 2], "b": "x"}, "examples": [{"a": 3}, {}]})
    assert got == [{"a": [3], "b": [b"x"]}, {"a": [1, 2], "b": [b"x"]}]


def test_of_a_feature_given_twice_the_later_one_counts():
    body = b'{"context": {"b": 1, "b": "x"}, "examples": [{"a": [1, 2], "c": 0.5, "a": 3}], "examples": []}'
    example = tf.train.Example.FromString(to_examples(parse(body))[0]).features.feature
    assert (example["a"].int64_list.value, example["b"].bytes_list.value) == ([3], [b"x"])
    with pytest.raises(BadRequestError, match="a has element with unexpected JSON type: Null"):
        to_examples(parse(b'{"examples": [{"a": null, "a": 3}]}'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"context": [{"a": 1}], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        ('{"context": {}}', "key 'examples' is expected and was not found"),
        ('{"examples": {"a": 1}}', "'examples' value to be an list/array"),
        ('{"examples": []}', "'examples' value is an empty array"),
        ('{"examples": [[{"a": 1}]]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"a": [10, null]}]}', "Feature: a has element with unexpected JSON type: Null"),
        ('{"examples": [{"a": [10, {"t": 1}]}]}', "a has element with unexpected JSON type: Object"),
        ('{"examples": [{"a": [[10], 20]}]}', "a has element with unexpected JSON type: Array"),
        ('{"examples": [{"a": [10, 10.0]}]}', "Unexpected element type in feature: a expecting type: int64"),
        ('{"examples": [{"a": ["x", 1]}]}', "in feature: a expecting type: bytes"),
        ('{"examples": [{"a": [0.5, 1]}]}', "in feature: a expecting type: float"),
        ('{"examples": [{"a": [20, 18446744073709551603]}]}', "a has uint64_t element. Only int64_t is supported."),
        ('{"examples": [{"a": 1e400}]}', "Number too big to be stored in double"),
        ('{"examples": [{"a": {"b64": "!"}}]}', "Unable to base64 decode"),
        ('{"examples": [{"\\ud800": 1}]}', "surrogate pair"),
        ('{"examples": [{"a": ' + "[" * 9000 + "]" * 9000 + "}]}", "a has element with unexpected JSON type: Array"),
    ],
)
def test_bad_examples(text, message):
    with pytest.raises(BadRequestError, match=message):
        to_examples(parse(text.encode()))


def test_classify_and_regress(servable):
    document = {"signature_name": "classify", "context": {"bias": 0.5}, "examples": [{"row": 0}, {"row": 1}]}
    results = ask(servable, "classify", document)["results"]
    assert [[label for label, _ in row] for row in results] == [["car", "bike", "bus"]] * 2
    np.testing.assert_allclose([[score for _, score in row] for row in results], [[0.7, 1.2, 0.6], [1.2, 0.6, 0.7]])
    document = {"signature_name": "regress", "examples": [{"v": 0.25}, {"v": [-1.0]}]}
    assert ask(servable, "regress", document) == {"results": [2.5, -10.0]}
    document = {"signature_name": "labels_only", "examples": [{}]}
    assert ask(servable, "classify", document) == {"results": [[["a", 0.0], ["b", 0.0]]]}
    document = {"signature_name": "scores_only", "examples": [{}]}
    assert ask(servable, "classify", document) == {"results": [[["", 0.0], ["", 0.5]]]}


@pytest.mark.parametrize(
    ("method", "signature", "message"),
    [
        ("classify", "none", "No signature was found with the name: none"),
        ("classify", "", "No classification inputs found in SignatureDef: inputs"),
        ("classify", "spin", "Expected one input Tensor."),
        ("classify", "nothing", 'at least one of "classes" or "scores"'),
        ("classify", "scores_flat", r"shape: \[batch_size num_classes\] but got \[1\]"),
        ("classify", "scores_double", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("classify", "unequal_classes", r"should match in dim_size\(1\). Got 2 vs. 1"),
        ("regress", "none", "No signature was found with the name: none"),
        ("regress", "serving_default", "Expected one output Tensor."),
        ("regress", "checked", "No regression inputs found in SignatureDef"),
        ("regress", "scores_only", "No regression outputs found in SignatureDef"),
        ("regress", "values_wide", r"either \[batch_size\] or \[batch_size, 1\] but got \[1,2\]"),
    ],
)
def test_signatures_that_do_not_fit(servable, method, signature, message):
    with pytest.raises(ServingError, match=message):
        ask(servable, method, {"signature_name": signature, "examples": [{}]})
    if signature in ("labels_only", "scores_only"):
        with pytest.raises(ServingError, match="output batch size of 2. Got: 1"):
            ask(servable, "classify", {"signature_name": signature, "examples": [{}, {}]})


def test_the_feature_s_type_is_checked_by_the_graph(servable):
    with pytest.raises(tf.errors.InvalidArgumentError, match="row"):
        ask(servable, "classify", {"signature_name": "classify", "examples": [{"row": 0.5}]})


def test_results_are_written_short_and_may_be_infinite():
    got = regression_json(np.float32([0.2, math.inf, 1, -math.inf, math.nan]))
    assert got == b'{"results": [0.2, Infinity, 1.0, -Infinity, NaN]}'
    result = Classification(1, 1, np.array([[b"caf\xc3\xa9"]], object), np.float32([[0.1]]))
    assert classification_json(result) == '{"results": [[["café", 0.1]]]}'.encode()
    with pytest.raises(BadRequestError, match="empty RegressionResults"):
        regression_json(np.float32([]))
    with pytest.raises(BadRequestError, match="empty ClassificationResults"):
        classification_json(Classification(0, 3, None, np.zeros([0, 3], np.float32)))
