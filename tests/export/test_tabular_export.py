"""Rows of tables as an export: named columns, tf.Examples and encoded rows; what is refused, and how it is verified."""

import copy
import dataclasses
import datetime
import functools
import http.client
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny
import tiny_table
from exports import checks_of, export_of
from tensorflow_serving.apis import prediction_log_pb2

from tlkit.errors import ConfigError, DataError, ExportError, VerificationError
from tlkit.export import hostile, saved_model
from tlkit.export.interface import InputColumn, Interface, Output, interface_of
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.saved_model import export_task
from tlkit.export.verify import CheckResult, verify_export
from tlkit.export.verify_answers import Answers, CheckError, Facts, apart
from tlkit.inputs.image.augment import Augmentation
from tlkit.inputs.row import hostile as hostile_row
from tlkit.inputs.row import signature as row_signature
from tlkit.inputs.row.columns import Categorical, Continuous
from tlkit.inputs.row.given import frame_of_rows
from tlkit.inputs.row.golden import example_of, golden, strange_row
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.wire import ABSENT
from tlkit.serving.background import BackgroundServer
from tlkit.targets.objective import Objective
from tlkit.targets.regression import Regression
from tlkit.targets.single_label import SingleLabel

KINDS = ("single_label", "multi_label", "regression", "several")
EXAMPLES = {"single_label": "classify", "multi_label": "classify", "regression": "regress", "several": ""}
# Column by column: plain, absent, unseen, wrong case, padded, broken bytes, endless, infinite, at the limits.
TORTURE = {
    "colour": [b"red", b"", b"purple", b"RED", b" red\t", b"caf\xe9\xff", b"x" * 100_000, "żółty".encode(), b"a\0b"],
    "rooms": [3, -(2**63), 77, 2**63 - 1, 1 - 2**63, 0, -1, 4, 1],
    "area__m__": [80.0, np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0, 12.5],
    "garden": [b"true", b"", b"yes", b"True", b"false ", b"\xff", b"1", b"null", b"false"],
    "built": [
        b"2013-03-31", b"", b"0001-01-01", b"9999-12-31T23:59:59", b"2013-02-30", b"yesterday", b"10000-01-01",
        b"2012-12-31 08:30", b"2014-01-01T00:00:00Z",
    ],
    "distance": [3.0, np.nan, -1.0, 1e30, np.inf, 20.0, 0.0, 6.5, 1.0],
}  # fmt: skip
DTYPES = {"rooms": tf.int64, "area__m__": tf.float32, "distance": tf.float32}


@functools.cache
def task_of(kind):
    return tiny_table.tiny_table_task(kind)


@pytest.fixture(scope="module")
def exported():
    """A function that gives the export of a kind of task."""
    return export_of


@pytest.fixture
def unverified(monkeypatch):
    monkeypatch.setattr(saved_model, "verify_export", lambda path: [CheckResult("all", True, "")])


def columns(rows=slice(None), **changes):
    values = {name: column[rows] for name, column in TORTURE.items()} | changes
    return {name: tf.constant(column, DTYPES.get(name, tf.string)) for name, column in values.items()}


def examples(values):
    """Serialized tf.Examples of columns; what is absent is left out, as a client would."""
    names = list(values)
    rows = zip(*(values[name].numpy().tolist() for name in names), strict=True)
    absent = {"string": b"", "int64": -(2**63)}
    found = []
    for row in rows:
        given = dict(zip(names, row, strict=True))
        kept = {n: v for n, v in given.items() if v == v and v != absent.get(values[n].dtype.name)}
        found.append(example_of(kept))
    return tf.constant(found)


@functools.cache
def loaded(export):
    return tf.saved_model.load(str(export))


def call(export, name, **inputs):
    return {key: value.numpy() for key, value in loaded(export).signatures[name](**inputs).items()}


def answers_of(task, encoded):
    return task.objective.probabilities(task.model(encoded, training=False)).numpy()


def check_outputs(answer, outputs, expected):
    """Compare what a signature names with answers in the order of the labels."""
    assert set(answer) == {name for o in outputs for name in (o.value, o.classes, o.scores) if name}
    first = 0
    for output in outputs:
        part = expected[:, first : first + output.width]
        first += output.width
        if output.value:
            np.testing.assert_allclose(answer[output.value], part[:, 0], rtol=1e-5, atol=1e-5)
            continue
        order = np.argsort(-part, axis=1, kind="stable")
        np.testing.assert_allclose(answer[output.scores], np.take_along_axis(part, order, 1), atol=1e-5)
        assert [[name.decode() for name in row] for row in answer[output.classes]] == np.array(output.class_names)[
            order
        ].tolist()
    assert first == expected.shape[1]


def failures(export):
    return {check.name: check.reason for check in verify_export(export) if not check.ok}


def private_copy(exported, target):
    return Path(shutil.copytree(exported, target / "1"))


# The answers


@pytest.mark.parametrize(
    "kind", [kind if kind == "several" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_every_check_passes(kind):
    checks = checks_of(kind)
    assert [check.reason for check in checks.values() if not check.ok] == []
    assert checks["golden_parity"].reason.startswith("6 rows")
    assert "encoded" in checks["signature_lint"].reason


@pytest.mark.parametrize(
    "kind", [kind if kind == "several" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_torture_rows_are_answered_as_by_keras(exported, kind):
    task, export = task_of(kind), exported(kind)
    encoded = task.preprocessing.encode(columns())
    expected = answers_of(task, encoded)
    assert np.isfinite(expected).all()
    assert len(np.unique(encoded, axis=0)) == 9
    assert len(np.unique(expected.astype(np.float64).round(3), axis=0)) >= 3  # a classifier is sure of the strangest
    interface = Manifest.read(export).interface
    check_outputs(call(export, "serving_default", **columns()), interface.outputs, expected)
    check_outputs(call(export, "encoded", encoded=encoded), interface.outputs, expected)
    assert interface.answers == ("predictions" if kind in ("regression", "several") else "probabilities")
    numbers = call(export, interface.answers, **columns())[interface.answers]
    np.testing.assert_allclose(numbers, expected, rtol=1e-5, atol=1e-5)
    embedding = call(export, "embedding", **columns())["embedding"]
    np.testing.assert_allclose(embedding, task.features(encoded, training=False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_tf_examples_are_answered_as_named_columns(exported, kind):
    export = exported(kind)
    name = EXAMPLES[kind]
    assert Manifest.read(export).interface.example_signature == name
    assert {"classify", "regress"} & set(loaded(export).signatures) == ({name} if name else set())
    if not name:
        return
    named = call(export, "serving_default", **columns())
    answer = call(export, name, inputs=examples(columns()))
    if kind == "regression":
        assert answer["outputs"].shape == (9, 1)
        np.testing.assert_allclose(answer["outputs"][:, 0], named["price"], rtol=1e-6)
    else:
        np.testing.assert_allclose(answer["scores"], named["scores"], atol=1e-6)
        np.testing.assert_array_equal(answer["classes"], named["classes"])


def test_a_row_answers_alone_as_among_others(exported):
    together = call(exported("regression"), "serving_default", **columns())["price"]
    for row in range(9):
        alone = call(exported("regression"), "serving_default", **columns(slice(row, row + 1)))["price"]
        np.testing.assert_allclose(alone, together[row : row + 1], rtol=1e-5)


def test_absent_is_absent_in_every_form(exported):
    export = exported("single_label")
    nothing = {column.argument: column.absent_value for column in Manifest.read(export).interface.columns}
    expected = call(export, "classify", inputs=tf.constant([b""]))["scores"]
    sentinels = columns(slice(0), **{name: [value] for name, value in nothing.items()})
    np.testing.assert_array_equal(call(export, "serving_default", **sentinels)["scores"], expected)
    for change in ({"area__m__": [np.inf]}, {"distance": [-np.inf]}, {"colour": [b"NA"]}, {"built": [b"never"]}):
        other = {**sentinels, **{name: columns(**change)[name] for name in change}}
        np.testing.assert_array_equal(call(export, "serving_default", **other)["scores"], expected)
    given = {**sentinels, "rooms": tf.constant([3], tf.int64)}
    assert np.abs(call(export, "serving_default", **given)["scores"] - expected).max() > 1e-3


# What is stored


def test_the_manifest_says_what_clients_send_and_get(exported):
    manifest = Manifest.read(exported("several"))
    assert (manifest.kind, manifest.objective) == ("tabular", "several")
    assert manifest.labels == ["rent in €", "sold=no", "sold=yes", "sold=maybe", "price"]
    assert manifest.interface == Interface(
        content="row",
        input="",
        feature="",
        raw_signature="encoded",
        raw_input="encoded",
        raw_dtype="float32",
        raw_shape=(None, 15),
        columns=(
            InputColumn(name="colour", argument="colour", dtype="string", kind="categorical", absent=""),
            InputColumn(name="rooms", argument="rooms", dtype="int64", kind="categorical", absent=-(2**63)),
            InputColumn(name="area (m²)", argument="area__m__", dtype="float32", kind="continuous", absent="NaN"),
            InputColumn(name="garden", argument="garden", dtype="string", kind="categorical", absent=""),
            InputColumn(name="built", argument="built", dtype="string", kind="date", absent=""),
            InputColumn(name="distance", argument="distance", dtype="float32", kind="continuous", absent="NaN"),
        ),
        outputs=(
            Output(target="rent in €", kind="regression", value="rent_in__"),
            Output(
                target="sold",
                kind="single_label",
                class_names=tiny_table.SOLD,
                classes="sold_classes",
                scores="sold_scores",
            ),
            Output(target="price", kind="regression", value="price"),
        ),
        answers="predictions",
        example_signature="",
        code_sizes=(6, 6, 4, 5, 14, 9),
    )
    shown = manifest.signatures["serving_default"]
    assert {key: (info.dtype, info.shape) for key, info in shown.inputs.items()} == {
        column.argument: (column.dtype, (None,)) for column in manifest.interface.columns
    }
    assert {key: info.shape for key, info in shown.outputs.items()} == {
        "rent_in__": (None,), "price": (None,), "sold_classes": (None, 3), "sold_scores": (None, 3),
    }  # fmt: skip


def test_the_marks_of_absent_values_are_those_of_the_preprocessing():
    marks = TablePreprocessing.sentinels
    assert set(ABSENT) == set(marks)
    assert (ABSENT["string"].encode(), ABSENT["int64"]) == (marks["string"], marks["int64"])
    assert np.isnan(marks["float32"])
    assert np.isnan(float(ABSENT["float32"]))


def test_the_manifest_alone_makes_the_preprocessing_again(exported):
    text = (exported("regression") / "manifest.json").read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    plain = json.loads(text, parse_constant=refuse)
    assert TablePreprocessing.from_dict(plain["preprocessing"]) == task_of("regression").preprocessing


@pytest.mark.parametrize("kind", KINDS)
def test_stock_servers_find_the_method_of_tf_examples(exported, kind):
    found = {name: info.method for name, info in Manifest.read(exported(kind)).signatures.items()}
    name = EXAMPLES[kind]
    assert found.pop(name, "") == (f"tensorflow/serving/{name}" if name else "")
    assert set(found.values()) == {"tensorflow/serving/predict"}


def test_manifests_from_before_tables_still_load(tmp_path):
    export = tiny.copy_export(tmp_path)
    path = export / "manifest.json"
    raw = json.loads(path.read_text())
    expected = Manifest.read(export)
    for key in ("columns", "outputs", "answers", "example_signature", "code_sizes"):
        del raw["interface"][key]
    path.write_text(json.dumps(raw))
    assert Manifest.read(export) == expected
    assert expected.schema_version == 3
    facts = Facts(export)
    assert facts.error == ""
    assert facts.interface["answers"] == "probabilities"
    assert [output["scores"] for output in facts.outputs] == ["scores"]


def test_outputs_of_several_targets_have_names_of_their_own():
    targets = (
        SingleLabel("a", ("x", "y")),
        Regression("a_scores"),
        Regression("a b"),
        Regression("a_b"),
        Regression("predictions"),
        Regression("größe"),
    )
    task = SimpleNamespace(
        kind="tabular",
        preprocessing=tiny_table.tiny_preprocessing(),
        objective=Objective(targets),
        class_names=("a=x", "a=y", "a_scores", "a b", "a_b", "predictions", "größe"),
    )
    outputs = interface_of(task).outputs
    assert (outputs[0].classes, outputs[0].scores) == ("a_classes", "a_scores")
    names = [output.value for output in outputs[1:]]
    assert names == ["a_scores_2", "a_b_2", "a_b", "predictions_2", "gr__e"]


def test_golden_rows_are_the_users_and_two_made_up_ones(exported, unverified, tmp_path):
    contents = [example.content_bytes() for example in Manifest.read(exported("regression")).golden]
    preprocessing = task_of("regression").preprocessing
    assert contents[:4] == preprocessing.to_examples(tiny_table.tiny_frame(8))[:4]
    assert contents[4] == b""
    strange = strange_row(preprocessing.columns)
    assert contents[5] == example_of(strange)
    assert set(strange) == {column.argument for column in preprocessing.columns}
    encoded = preprocessing.batch(tf.constant([contents[5]])).numpy()[0]
    sizes = [code.size for code in preprocessing.codes]
    assert encoded[0] == encoded[1] == 0  # an unseen colour and number of rooms
    assert 5 < np.abs(encoded[len(sizes) :]).max() < 1e4
    assert golden([], preprocessing) == contents[4:]
    assert len(Manifest.read(export_task(task_of("regression"), tmp_path / "m", max_batch=1)).golden) == 2


def test_warm_up_covers_every_signature_and_size(exported):
    for kind in KINDS:
        export = exported(kind)
        seen = {}
        for record in tf.compat.v1.io.tf_record_iterator(str(export / "assets.extra" / "tf_serving_warmup_requests")):
            log = prediction_log_pb2.PredictionLog.FromString(record)
            asked = log.WhichOneof("log_type")
            request = getattr(log, asked).request
            if asked == "predict_log":
                sizes = {proto.tensor_shape.dim[0].size for proto in request.inputs.values()}
                assert len(sizes) == 1
                size = sizes.pop()
            else:
                assert asked == f"{EXAMPLES[kind]}_log"
                size = len(request.input.example_list.examples)
                assert "rooms" in request.input.example_list.examples[0].features.feature
            seen.setdefault(request.model_spec.signature_name, []).append(size)
        assert seen == {name: [1, 2, 3] for name in Manifest.read(export).signatures}


# What is refused and what is answered


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("regression", "several") else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_hostile_rows_are_part_of_the_checks(kind):
    interface = interface_of(task_of(kind)).model_dump()
    values = hostile.bad_values(hostile_row, [b"", b""], interface, (None, 15))
    odd = len(hostile_row.odd_contents(interface))
    reason = checks_of(kind)["bad_inputs"].reason
    assert reason.startswith(f"{len(values)} invalid inputs rejected, {odd} unusual ones predicted")
    assert any(name == EXAMPLES[kind] for _, name, _ in values) == bool(EXAMPLES[kind])
    assert odd > 25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rooms": [1, 2]}, r"the columns differ in length:\] \[colour rooms .*\] \[9 2 9"),
        ({"colour": []}, "the columns differ in length"),
        ({name: [] for name in TORTURE}, "the batch is empty"),
        ({"area__m__": [[1.0]] * 9}, "9,1"),
        ({"garden": b"true"}, "Shape"),
    ],
)
def test_columns_that_do_not_fit_are_refused(exported, change, message):
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        call(exported("single_label"), "serving_default", **columns(**change))


def test_a_column_left_out_is_refused(exported):
    left = columns()
    del left["rooms"]
    with pytest.raises(TypeError, match="rooms"):
        call(exported("single_label"), "serving_default", **left)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 0.5, "category codes are whole numbers"),
        (0, -1, "not below its size"),
        (5, 9, "not below its size"),
        (0, np.nan, "finite numbers only"),
        (14, np.nan, "finite numbers only"),
        (14, -np.inf, "finite numbers only"),
    ],
)
def test_encoded_rows_that_no_table_gives_are_refused(exported, place, value, message):
    rows = np.zeros([2, 15], np.float32)
    assert call(exported("single_label"), "encoded", encoded=tf.constant(rows))["scores"].shape == (2, 3)
    rows[1, place] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(exported("single_label"), "encoded", encoded=tf.constant(rows))


def test_views_of_photos_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="needs an image model"):
        export_task(task_of("regression"), tmp_path / "m", tta=2, augmentation=Augmentation("side_on"))
    assert list(tmp_path.iterdir()) == []


# Damage that the checks must find


class Forgetful(TablePreprocessing):
    """Wrong on purpose: tf.Examples lose a column."""

    def batch(self, contents):
        features = {c.argument: tf.io.FixedLenFeature([], c.dtype, self.sentinels[c.dtype]) for c in self.columns}
        parsed = tf.io.parse_example(contents, features)
        return self.encode({**parsed, "rooms": tf.fill(tf.shape(contents), tf.constant(3, tf.int64))})


class Sociable(TablePreprocessing):
    """Wrong on purpose: a row is scaled by the others of its batch."""

    def encode(self, columns):
        encoded = super().encode(columns)
        return tf.concat([encoded[:, :-1], encoded[:, -1:] - tf.reduce_mean(encoded[:, -1:])], axis=1)


class Squeamish(TablePreprocessing):
    """Wrong on purpose: refuses what it should take for missing."""

    def encode(self, columns):
        tf.debugging.assert_less(tf.strings.length(columns["colour"]), 900_000, message="too long for me")
        return super().encode(columns)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Forgetful, r"golden_parity \(predictions: differs from the Keras model's answers"),
        pytest.param(Sociable, r"rows_independent \(a row alone and in a batch differ", marks=pytest.mark.real),
        pytest.param(Squeamish, r"strings of 1,000,000 characters: rejected", marks=pytest.mark.real),
    ],
)
def test_preprocessing_that_is_wrong_is_not_published(tmp_path, kind, message):
    task = task_of("regression")
    plain = task.preprocessing
    wrong = dataclasses.replace(task, preprocessing=kind(plain.columns, plain.missing))
    golden = plain.to_examples(tiny_table.tiny_frame(3))
    with pytest.raises(VerificationError, match=message):
        export_task(wrong, tmp_path / "m", golden=golden, max_batch=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "accepted"),
    [
        (row_signature, "raw_checks", "NaN in an encoded row"),
        pytest.param(row_signature.tf.debugging, "assert_positive", "an empty batch", marks=pytest.mark.real),
    ],
)
def test_an_export_that_checks_too_little_is_not_published(tmp_path, monkeypatch, module, name, accepted):
    monkeypatch.setattr(module, name, lambda *args, **options: tf.no_op() if options else [])
    with pytest.raises(VerificationError, match=rf"bad_inputs \(accepted without an error: .*{accepted}"):
        export_task(task_of("single_label"), tmp_path / "m", max_batch=1)


@pytest.mark.slow
def test_other_answers_fail_golden_parity(exported, tmp_path):
    export = private_copy(exported("several"), tmp_path)
    golden = json.loads((export / "manifest.json").read_text())["golden"]
    worse = copy.deepcopy(golden)
    worse[0]["outputs"]["predictions"]["predictions"][4] *= 1.0001  # the price
    tiny.edit_manifest(export, golden=worse)
    found = failures(export)
    assert set(found) == {"golden_parity"}
    assert "predictions: differs from the Keras model's answers" in found["golden_parity"]


@pytest.mark.slow
def test_an_interface_that_is_not_the_graphs_fails(exported, tmp_path):
    export = private_copy(exported("single_label"), tmp_path)
    interface = json.loads((export / "manifest.json").read_text())["interface"]
    changed = copy.deepcopy(interface)
    changed["columns"][1]["dtype"] = "float32"
    tiny.edit_manifest(export, interface=changed)
    assert "input rooms is int64, not float32" in failures(export)["signature_lint"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ranking"}, "an output of kind 'ranking'"),
        ({"value": "x"}, "has no matching names"),
        ({"scores": ""}, "has no matching names"),
        ({"class_names": ["no", "yes"]}, "do not match the 3 labels"),
    ],
)
def test_outputs_that_are_not_the_labels_are_unusable(exported, tmp_path, change, message):
    shutil.copy(exported("single_label") / "manifest.json", tmp_path)
    assert Facts(tmp_path).error == ""
    interface = json.loads((tmp_path / "manifest.json").read_text())["interface"]
    interface["outputs"][0] |= change
    tiny.edit_manifest(tmp_path, interface=interface)
    assert message in Facts(tmp_path).error


def test_values_are_compared_by_their_scale():
    assert apart(np.array([0.5]), np.array([0.25])) == 0.25
    assert apart(np.array([101_000.0]), np.array([100_000.0])) == pytest.approx(0.01)
    assert apart(np.array([-101.0]), np.array([-100.0])) == pytest.approx(0.01)
    assert apart(np.array([np.nan]), np.array([1.0])) == np.inf
    assert apart(np.array([np.inf]), np.array([1.0])) == np.inf
    assert apart(np.zeros([0, 2]), np.zeros([0, 2])) == 0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0, 0.5, 0.6, 0.0, 2.0]], "do not add up to 1"),
        ([[np.nan, 0.5, 0.5, 0.0, 2.0]], "not finite"),
        ([[1.0, 0.5, 0.5, 0.0, np.inf]], "not finite"),
        ([[1.0, 0.5, 0.5, 0.0]], "shape"),
    ],
)
def test_answers_are_checked_target_by_target(exported, scores, message):
    answers = Answers(Facts(exported("several")), {}, (None, 15), hostile_row, hostile, Path(), print)
    answers.check_scores("x", np.array([[-300.0, 0.5, 0.25, 0.25, 1e9]]), 1)
    with pytest.raises(CheckError, match=message):
        answers.check_scores("x", np.array(scores), 1)


# Prediction


ROWS = [
    {"colour": "red", "rooms": 3, "area (m²)": 80, "garden": True, "built": "2013-03-31", "distance": 3.0},
    {"colour": None, "rooms": np.int64(4), "built": datetime.date(2013, 3, 31), "distance": np.float32(3.0)},
    {"garden": "false", "built": pd.Timestamp("2014-02-01"), "area (m²)": float("nan"), "owner": object()},
    {},
    {"rooms": 2.0, "garden": np.bool_(True), "built": datetime.datetime(2012, 1, 2, 8), "colour": pd.NA},
]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_predicted_in_the_order_given(exported, kind):
    task, export = task_of(kind), exported(kind)
    frame = pd.DataFrame(
        {
            "colour": ["red", None, None, None, None],
            "rooms": pd.Series([3, 4, None, None, 2], dtype="Int64"),
            "area (m²)": [80.0, None, None, None, None],
            "garden": ["true", None, "false", None, "true"],
            "built": ["2013-03-31", "2013-03-31", "2014-02-01", None, "2012-01-02T08:00:00"],
            "distance": [3.0, 3.0, None, None, None],
        }
    )
    expected = answers_of(task, task.preprocessing.encode_frame(frame))
    answers = SavedModelPredictor(export, batch_size=2).predict(ROWS)
    assert [answer["input"] for answer in answers[:1]] == ROWS[:1]
    assert answers[3]["input"] == {}
    keys = {"regression": {"predictions"}, "several": {"predictions", "classes", "scores"}}
    for row, answer in enumerate(answers):
        assert set(answer) == {"input", *keys.get(kind, {"classes", "scores"})}
        if kind == "regression":
            assert answer["predictions"] == pytest.approx({"price": expected[row, 0]}, rel=1e-5)
        elif kind == "several":
            values = {"rent in €": expected[row, 0], "price": expected[row, 4]}
            assert answer["predictions"] == pytest.approx(values, rel=1e-5)
            best = tiny_table.SOLD[int(expected[row, 1:4].argmax())]
            assert answer["classes"]["sold"][0] == best
            assert answer["scores"]["sold"] == pytest.approx(sorted(expected[row, 1:4], reverse=True), abs=1e-5)
        else:
            assert answer["classes"][0] == task.class_names[int(expected[row].argmax())]
            assert answer["scores"] == pytest.approx(sorted(expected[row], reverse=True), abs=1e-5)
    assert json.dumps(answers[0])
    assert SavedModelPredictor(export).predict([]) == []


def test_the_best_classes_alone(exported):
    answer = SavedModelPredictor(exported("single_label")).predict(ROWS[:1], top=2)[0]
    assert (len(answer["classes"]), len(answer["scores"])) == (2, 2)
    several = SavedModelPredictor(exported("several")).predict(ROWS[:1], top=1)[0]
    assert len(several["classes"]["sold"]) == len(several["scores"]["sold"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_answered_in_pieces(exported, kind):
    task, export = task_of(kind), exported(kind)
    frame = tiny_table.tiny_frame(11)
    expected = answers_of(task, task.preprocessing.encode_frame(frame))
    predictor = SavedModelPredictor(export)
    found = predictor.predict_frame(frame, rows_at_once=4)
    interface = predictor.manifest.interface
    np.testing.assert_allclose(found.pop(interface.answers), expected, rtol=1e-5, atol=1e-5)
    encoded = {
        key: np.vectorize(str.encode, otypes=[object])(value) if value.dtype == object else value
        for key, value in found.items()
    }
    check_outputs(encoded, interface.outputs, expected)
    empty = predictor.predict_frame(frame[:0])
    assert {key: len(value) for key, value in empty.items()} == dict.fromkeys([interface.answers, *found], 0)


def test_a_frame_that_does_not_fit_is_refused(exported):
    predictor = SavedModelPredictor(exported("single_label"))
    with pytest.raises(DataError, match="'rooms' is missing"):
        predictor.predict_frame(tiny_table.tiny_frame(3).drop(columns="rooms"))
    with pytest.raises(DataError, match="rows_at_once must be positive"):
        predictor.predict_frame(tiny_table.tiny_frame(3), rows_at_once=0)
    with pytest.raises(DataError, match="has no table input; received: 'image'"):
        SavedModelPredictor(tiny.shared_export()).predict_frame(tiny_table.tiny_frame(3))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"rooms": "3"}, "row 2, column 'rooms' has a value of the wrong type; received: '3'; allowed: a whole number"),
        ({"rooms": 3.5}, "column 'rooms' .*received: 3.5"),
        ({"rooms": True}, "column 'rooms' .*received: True"),
        ({"rooms": 2**63}, "column 'rooms' .*received: 9223372036854775808"),
        ({"rooms": float("inf")}, "column 'rooms' .*received: inf"),
        ({"area (m²)": "80"}, r"row 2, column 'area \(m²\)' .*received: '80'; allowed: a number or None"),
        ({"distance": False}, "column 'distance' .*received: False"),
        ({"colour": 3}, "column 'colour' .*received: 3; allowed: a string or None"),
        ({"colour": b"red"}, "column 'colour' .*received: b'red'"),
        ({"colour": ["red"]}, "column 'colour' .*received: "),
        ({"colour": "\ud800"}, "row 2, column 'colour' is not valid Unicode: surrogates not allowed"),
        ({"garden": 1}, "column 'garden' .*received: 1; allowed: true, false, a string such as yes, or None"),
        ({"built": 20130331}, "column 'built' .*allowed: a string, a date or None"),
        ({"color": "red"}, "row 2 has none of the columns; received: .*did you mean 'colour'"),
        (["red"], "row 2 is not a mapping from column to value; received: 'list'"),
        (None, "row 2 is not a mapping"),
    ],
)
def test_what_is_no_row_is_refused_by_row_and_column(exported, row, message):
    with pytest.raises(DataError, match=message):
        SavedModelPredictor(exported("single_label")).predict([{"rooms": 1}, row])


def test_one_row_is_not_a_list_of_rows(exported):
    with pytest.raises(DataError, match="needs a list of inputs; received: 'dict'"):
        SavedModelPredictor(exported("single_label")).predict({"rooms": 1})


def test_numbers_as_categories_are_written_as_in_training():
    known = (Categorical("size", "size", "string", ("0.5", "36.0")), Categorical("id", "id", "string", (), 8))
    frame = frame_of_rows([{"size": 36, "id": 7}, {"size": 0.50, "id": "x"}, {"size": "36.0", "id": None}], known)
    assert frame["size"].tolist() == ["36.0", "0.5", "36.0"]
    assert frame["id"].tolist() == ["7.0", "x", None]
    big = frame_of_rows([{"x": 10**400}, {"x": -(10**400)}], (Continuous("x", "x"),))
    assert big["x"].tolist() == [np.inf, -np.inf]


# Serving


@pytest.fixture(scope="module")
def served(exported):
    with BackgroundServer(exported("several"), name="houses") as server:
        yield server


def post(server, document):
    """Give the status and the JSON of an answer."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request("POST", "/v1/models/houses:predict", document.encode())
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_json_rows_and_columns_come_back_as_answers(exported, served):
    rows = [
        '{"colour": "red", "rooms": 3, "area__m__": 80.5, "garden": "true", "built": "2013-03-31", "distance": 3}',
        '{"colour": "", "rooms": -9223372036854775808, "area__m__": NaN, "garden": "", "built": "", "distance": NaN}',
    ]
    answer = post(served, '{"instances": [' + ", ".join(rows) + "]}")[1]["predictions"]
    predicted = SavedModelPredictor(exported("several")).predict([ROWS[0] | {"area (m²)": 80.5}, {}])
    for got, expected in zip(answer, predicted, strict=True):
        assert got["price"] == pytest.approx(expected["predictions"]["price"], rel=1e-5)
        assert got["rent_in__"] == pytest.approx(expected["predictions"]["rent in €"], rel=1e-5)
        assert got["sold_classes"] == expected["classes"]["sold"]
        assert got["sold_scores"] == pytest.approx(expected["scores"]["sold"], abs=1e-5)
    plain = {
        "colour": ["red", ""], "rooms": [3, -(2**63)], "area__m__": [80.5, float("nan")], "garden": ["true", ""],
        "built": ["2013-03-31", ""], "distance": [3, float("nan")],
    }  # fmt: skip
    outputs = post(served, json.dumps({"inputs": plain}))[1]["outputs"]
    assert outputs["price"] == [row["price"] for row in answer]
    numbers = post(served, json.dumps({"signature_name": "predictions", "inputs": plain}))[1]["outputs"]
    assert [row[4] for row in numbers] == pytest.approx(outputs["price"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rooms": [3, 4]}, "the columns differ in length"),
        ({"rooms": ["3"]}, "is not of expected type: int64"),
        ({"garden": [True]}, "is not of expected type: string"),
        ({"area__m__": [None]}, "is not of expected type: float"),
        ({"rooms": None}, "Missing named input: rooms"),
    ],
)
def test_json_that_does_not_fit_is_refused(served, change, message):
    good = {"colour": ["a"], "rooms": [1], "area__m__": [1.0], "garden": ["true"], "built": [""], "distance": [1.0]}
    inputs = {key: value for key, value in (good | change).items() if value is not None}
    status, answer = post(served, json.dumps({"inputs": inputs}))
    assert status == 400
    assert message in answer["error"]


def test_rows_are_predicted_and_served_without_keras(exported):
    code = """
        import json, sys
        for name in ("keras", "keras_hub", "tensorflow_text"):
            sys.modules[name] = None
        from tlkit.export.predictor import SavedModelPredictor
        from tlkit.serving.servable import Servable
        from tlkit.serving.warmup_replay import warm_up

        warm_up(Servable(sys.argv[1]))
        print(json.dumps(SavedModelPredictor(sys.argv[1]).predict([{"rooms": 3}])[0]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(exported("regression"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = SavedModelPredictor(exported("regression")).predict([{"rooms": 3}])[0]
    assert json.loads(done.stdout.splitlines()[-1])["predictions"] == pytest.approx(expected["predictions"])


def test_a_kind_without_an_export_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(
        ExportError, match="allowed: image_classification, image_regression, recommender, tabular, text_classification"
    ):
        export_task(dataclasses.replace(task_of("regression"), kind="sound"), tmp_path / "m")
