"""Texts as an export: the tokenizer in the graph, what is refused and what is answered, and how it is verified."""

import dataclasses
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_text
from exports import checks_of, export_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from tlkit.errors import ConfigError, DataError, ExportError, VerificationError
from tlkit.export import hostile, saved_model
from tlkit.export.interface import Interface, interface_of
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.saved_model import export_task
from tlkit.export.verify import CheckResult, verify_export
from tlkit.export.verify_answers import Answers, CheckError, Facts
from tlkit.inputs.image.augment import Augmentation
from tlkit.inputs.text import hostile as hostile_text
from tlkit.inputs.text.preprocessing import TextPreprocessing

GOLDEN = [sentence.encode() for sentence in tiny_text.SENTENCES]
TORTURE = [
    "",
    "  \t\n ",
    "The FILM was great!",
    "Ünïcödé é́ ﬁ ＡＢＣ",
    "电影很好看,film很好",
    "فيلم \u200fجيد\u200e סרט טוב \u202egood\u202c",
    "👩‍👩‍👧‍👦 good 🏳️‍🌈bad👍🏽",
    "e" + "\u0301" * 300 + " good",
    "a\x00b\x07c\x7f good\u0085bad\u2028plot\u00a0film",
    "soft\u00adhyphen zero\u200bwidth \ufeffbom",
    "[CLS] good [SEP] [PAD] [MASK] ##a",
    "x" * 100_000,
    "good film, " * 9_091,
    b"caf\xe9 \xff\xfe good \xc3( \xe2\x82 \xed\xa0\x80 \xf0\x9f\x98",
    bytes(range(256)),
]


@pytest.fixture(scope="module")
def task():
    return tiny_text.tiny_text_task()


@pytest.fixture(scope="module")
def exported():
    return export_of("texts")


@pytest.fixture(scope="module")
def many():
    return tiny_text.windows_task()


@pytest.fixture(scope="module")
def exported_many():
    return export_of("windows")


@pytest.fixture
def unverified(monkeypatch):
    monkeypatch.setattr(saved_model, "verify_export", lambda path: [CheckResult("all", True, "")])


def call(export, name, values):
    signature = tf.saved_model.load(str(export)).signatures[name]
    (key,) = signature.structured_input_signature[1]
    return {key: value.numpy() for key, value in signature(**{key: tf.constant(values)}).items()}


def failures(export):
    return {check.name: check.reason for check in verify_export(export) if not check.ok}


def private_copy(exported, target):
    return Path(shutil.copytree(exported, target / "1"))


def softmax(logits):
    raised = np.exp(np.asarray(logits, np.float64))
    return raised / raised.sum(axis=1, keepdims=True)


def python_ids(task, text):
    """Token ids by KerasHub's tokenizer outside of any graph: plain Python. Cleaning has seen to case and accents."""
    (clean,) = task.preprocessing.clean(tf.constant([text])).numpy()
    tokenizer = task.preprocessing.tokenizer
    plain = type(tokenizer)(vocabulary=tokenizer.get_vocabulary(), lowercase=False, strip_accents=False)
    ids = np.asarray(plain.tokenize(clean.decode("utf-8")), np.int32)
    body = ids[: task.preprocessing.max_tokens - 2]
    return np.array([[task.preprocessing.start_id, *body, task.preprocessing.end_id]], np.int32)


# The answers


def test_every_check_passes_on_an_export_of_texts():
    checks = checks_of("texts")
    assert [check.reason for check in checks.values() if not check.ok] == []
    assert checks["golden_parity"].reason.startswith("6 texts")
    assert "tokens" in checks["signature_lint"].reason


def test_the_signatures_answer_like_the_task(task, exported):
    texts = ["The film was great!", "dull, boring and bad.", ""]
    ids = task.preprocessing.batch(tf.constant(texts))
    expected = softmax(task.model(ids, training=False))
    assert np.abs(expected[0] - expected[1]).max() > 0.05
    ranked = call(exported, "serving_default", texts)
    order = np.argsort(-expected, axis=1)
    assert ranked["classes"].tolist() == [[b"bad", b"good"][::step] for step in 1 - 2 * order[:, 0]]
    np.testing.assert_allclose(ranked["scores"], np.take_along_axis(expected, order, 1), atol=1e-5)
    answers = call(exported, "probabilities", texts)["probabilities"]
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    embedding = call(exported, "embedding", texts)["embedding"]
    np.testing.assert_allclose(embedding, task.features(ids, training=False), atol=1e-5)
    np.testing.assert_allclose(call(exported, "tokens", ids)["scores"], ranked["scores"], atol=1e-5)
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))}
            )
        ).SerializeToString()
        for text in texts
    ]
    classified = call(exported, "classify", examples)
    np.testing.assert_array_equal(classified["classes"], ranked["classes"])
    np.testing.assert_allclose(classified["scores"], ranked["scores"], atol=1e-6)


@pytest.mark.parametrize("text", TORTURE, ids=lambda text: repr(text[:12]))
def test_tokens_in_the_graph_are_those_of_plain_python(task, exported, text):
    expected = softmax(task.model(python_ids(task, text), training=False))
    alone = call(exported, "probabilities", [text])["probabilities"]
    np.testing.assert_allclose(alone, expected, atol=1e-5)


@pytest.mark.slow
def test_all_of_them_in_one_batch_answer_as_alone(task, exported):
    batch = [text if isinstance(text, bytes) else text.encode() for text in TORTURE]
    expected = np.concatenate([softmax(task.model(python_ids(task, text), training=False)) for text in batch])
    together = call(exported, "probabilities", batch)["probabilities"]
    np.testing.assert_allclose(together, expected, atol=1e-5)
    assert len(np.unique(expected.round(4), axis=0)) > 8


def test_any_bytes_are_answered(exported):
    model = tf.saved_model.load(str(exported))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), min_size=1, max_size=3))
    def check(texts):
        scores = model.signatures["serving_default"](text=tf.constant(texts, tf.string))["scores"].numpy()
        assert scores.shape == (len(texts), 2)
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)

    check()


@pytest.mark.slow
def test_several_labels_have_scores_of_their_own(many, exported_many):
    export, checks = exported_many, checks_of("windows")
    assert [check.reason for check in checks.values() if not check.ok] == []
    long = "good " * 14 + "bad " * 20 + "boring plot " * 30
    ids = many.preprocessing.batch(tf.constant(["great film", long]))
    assert ids.shape == (2, 64)
    expected = 1 / (1 + np.exp(-many.model(ids, training=False).numpy().astype(np.float64)))
    assert np.abs(expected.sum(axis=1) - 1).max() > 0.1
    got = call(export, "probabilities", ["great film", long])["probabilities"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    scores = call(export, "serving_default", ["great film", long])["scores"]
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1), atol=1e-5)
    assert Manifest.read(export).objective == "multi_label"
    assert np.abs(got[1] - call(export, "probabilities", [long[:60]])["probabilities"][0]).max() > 1e-3


@pytest.mark.slow
def test_a_single_yes_or_no_label_exports(tmp_path, unverified):
    alone = tiny_text.tiny_text_task(("spam",), multi_label=True)
    answer = call(export_task(alone, tmp_path / "m", max_batch=1), "serving_default", ["good film"])
    assert answer["classes"].tolist() == [[b"spam"]]
    assert 0 < answer["scores"][0, 0] < 1


# What is stored


def test_the_manifest_says_what_clients_send(task, exported):
    manifest = Manifest.read(exported)
    assert manifest.kind == "text_classification"
    assert manifest.objective == "single_label"
    assert manifest.interface == Interface(
        content="text",
        input="text",
        feature="text",
        raw_signature="tokens",
        raw_input="token_ids",
        raw_dtype="int32",
        raw_shape=(None, None),
        vocabulary=task.preprocessing.vocabulary_size,
        max_tokens=16,
        max_windows=1,
    )
    assert manifest.preprocessing == task.preprocessing.to_dict()
    assert manifest.signatures["tokens"].inputs["token_ids"].shape == (None, None)
    contents = [example.content_bytes() for example in manifest.golden]
    assert contents[:4] == GOLDEN
    assert contents[5] == b""
    assert len(contents[4].decode()) > 1000


def test_windows_count_in_the_interface(many):
    assert (interface_of(many).max_tokens, interface_of(many).max_windows) == (16, 4)


def test_tokenizer_and_network_are_in_the_graph_once(exported):
    proto = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    ops = [node.op for function in proto.meta_graphs[0].graph_def.library.function for node in function.node_def]
    assert ops.count("FastWordpieceTokenizeWithOffsets") == 1
    assert "PyFunc" not in ops


@pytest.mark.slow
def test_sentences_are_made_up_where_none_are_given(task, tmp_path, unverified):
    golden = Manifest.read(export_task(task, tmp_path / "m", max_batch=1)).golden
    contents = [example.content_bytes() for example in golden]
    assert b"" in contents
    assert len(contents) == len(set(contents)) == 5


def test_warm_up_covers_signatures_sizes_and_lengths(exported):
    seen = {}
    for record in tf.compat.v1.io.tf_record_iterator(str(exported / "assets.extra" / "tf_serving_warmup_requests")):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "classify_log":
            examples = log.classify_log.request.input.example_list.examples
            (text,) = examples[0].features.feature["text"].bytes_list.value
            seen.setdefault("classify", set()).add((len(examples), len(text) // 2 + 2))
            continue
        request = log.predict_log.request
        (value,) = (tf.make_ndarray(proto) for proto in request.inputs.values())
        length = value.shape[1] if value.ndim == 2 else len(value[0]) // 2 + 2
        seen.setdefault(request.model_spec.signature_name, set()).add((len(value), length))
    sizes_and_lengths = {(1, 8), (2, 8), (3, 8), (1, 12), (3, 12), (1, 16), (3, 16)}
    assert seen == dict.fromkeys(
        ("serving_default", "probabilities", "embedding", "tokens", "classify"), sizes_and_lengths
    )


# What is refused and what is answered


@pytest.mark.parametrize("kind", ["texts", pytest.param("windows", marks=pytest.mark.slow)])
def test_hostile_texts_are_part_of_the_checks(task, many, kind):
    one = {"texts": task, "windows": many}[kind]
    values = hostile.bad_values(hostile_text, GOLDEN[:2], interface_of(one).model_dump(), (None, None))
    odd = len(hostile_text.odd_contents())
    reason = checks_of(kind)["bad_inputs"].reason
    assert reason.startswith(f"{len(values)} invalid inputs rejected, {odd} unusual ones predicted")


def test_texts_in_windows_have_a_bad_input_of_their_own(task, many):
    for one, count in ((task, 0), (many, 1)):
        values = hostile.bad_values(hostile_text, GOLDEN[:2], interface_of(one).model_dump(), (None, None))
        assert sum("windows" in what for what, _, _ in values) == count


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[2, 5, -1, 3]], "token ids must not be negative"),
        ([[2, 5, 100_000, 3]], "the vocabulary has"),
        (np.zeros([1, 0], np.int32), "the texts have no tokens"),
        (np.zeros([0, 4], np.int32), "the batch is empty"),
        ([[2] * 17], "at most 16 tokens"),
    ],
)
def test_token_ids_that_the_encoder_has_not_are_refused(exported, ids, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(exported, "tokens", np.array(ids, np.int32))


def test_token_ids_must_be_whole_windows(exported_many):
    with pytest.raises(tf.errors.InvalidArgumentError, match="windows of 16 tokens"):
        call(exported_many, "tokens", np.ones([1, 24], np.int32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 64 tokens"):
        call(exported_many, "tokens", np.ones([1, 80], np.int32))
    assert call(exported_many, "tokens", np.ones([1, 32], np.int32))["scores"].shape == (1, 3)


def byte_pair_task(task):
    import keras_hub

    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "b": 6, "ab": 7}
    tokenizer = keras_hub.tokenizers.RobertaTokenizer(vocabulary=vocabulary, merges=["a b"])
    return dataclasses.replace(task, preprocessing=TextPreprocessing(tokenizer), backbone_name="roberta")


def test_an_encoder_that_cannot_serve_is_refused_before_anything_is_written(task, tmp_path):
    other = byte_pair_task(task)
    with pytest.raises(ExportError, match="roberta cannot be exported: .*byte-pair.*WordPiece"):
        export_task(other, tmp_path / "m")
    with pytest.raises(ExportError, match="cannot be exported; received: 'table_regression'; allowed: image_class"):
        export_task(dataclasses.replace(task, kind="table_regression"), tmp_path / "m")
    with pytest.raises(ConfigError, match="needs an image model"):
        export_task(task, tmp_path / "m", tta=2, augmentation=Augmentation("side_on"))
    assert list(tmp_path.iterdir()) == []


# Damage that the checks must find


class PaddedWithWords(TextPreprocessing):
    """Wrong on purpose: the encoder takes the padding for text."""

    def pad(self, ragged):
        return ragged.to_tensor(default_value=7)


class AfraidOfLongTexts(TextPreprocessing):
    """Wrong on purpose: refuses what it should cut."""

    def clean(self, texts):
        tf.debugging.assert_less(tf.strings.length(texts), 900_000, message="too long for me")
        return super().clean(texts)


def with_preprocessing(task, kind):
    settings_of = {
        field.name: getattr(task.preprocessing, field.name) for field in dataclasses.fields(TextPreprocessing)
    }
    return dataclasses.replace(task, preprocessing=kind(**settings_of))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (PaddedWithWords, r"rows_independent \(a text alone and in a batch differ"),
        pytest.param(AfraidOfLongTexts, r"bad_inputs \(a word of 1,000,000 letters: rejected", marks=pytest.mark.real),
    ],
)
def test_preprocessing_that_is_wrong_is_not_published(task, tmp_path, kind, message):
    with pytest.raises(VerificationError, match=message):
        export_task(with_preprocessing(task, kind), tmp_path / "m", golden=GOLDEN, max_batch=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_an_export_that_takes_any_token_ids_is_not_published(task, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.inputs.text.signature.raw_checks", lambda raw, wire: [])
    with pytest.raises(VerificationError, match=r"bad_inputs \(accepted without an error: rows without token ids"):
        export_task(task, tmp_path / "m", max_batch=1)


@pytest.mark.real
def test_scores_must_be_what_the_manifest_says_they_are(exported_many, tmp_path):
    export = private_copy(exported_many, tmp_path)
    tiny.edit_manifest(export, objective="single_label")
    found = failures(export)
    assert set(found) == {"batch_sizes", "bad_inputs"}
    assert "do not add up to 1" in found["batch_sizes"]


@pytest.mark.real
def test_an_interface_that_is_not_the_graphs_fails(exported, tmp_path):
    export = private_copy(exported, tmp_path)
    manifest = json.loads((export / "manifest.json").read_text())
    tiny.edit_manifest(export, interface={**manifest["interface"], "raw_dtype": "int64"})
    assert "input token_ids is int32, not int64" in failures(export)["signature_lint"]
    tiny.edit_manifest(export, interface={**manifest["interface"], "vocabulary": None, "content": "table"})
    assert "manifest.json has an unknown content type" in failures(export)["loads_v1_session"]
    with pytest.raises(ExportError, match="does not support; received: 'table'; allowed: image, text, row"):
        SavedModelPredictor(export)


@pytest.mark.real
def test_other_answers_fail_golden_parity(exported, tmp_path):
    export = private_copy(exported, tmp_path)
    golden = json.loads((export / "manifest.json").read_text())["golden"]
    golden[0]["content"], golden[1]["content"] = golden[1]["content"], golden[0]["content"]
    tiny.edit_manifest(export, golden=golden)
    assert set(failures(export)) == {"golden_parity"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interface": {}}, "KeyError: 'content'"),
        ({"objective": "both"}, "KeyError: 'both'"),
        ({"objective": "regression"}, "no outputs for the objective 'regression'"),
        ({"golden": 3}, "TypeErr"),
    ],
)
def test_a_manifest_without_the_interface_is_unusable(exported, tmp_path, change, message):
    shutil.copy(exported / "manifest.json", tmp_path)
    assert Facts(tmp_path).error == ""
    tiny.edit_manifest(tmp_path, **change)
    facts = Facts(tmp_path)
    assert message in facts.error
    assert facts.golden == []


@pytest.mark.parametrize(
    ("multi_label", "scores", "message"),
    [
        (False, [[0.5, 0.5], [0.2, 0.7]], "do not add up to 1"),
        (False, [[np.nan, 0.5], [0.3, 0.7]], "not finite"),
        (True, [[0.5, 0.9], [np.inf, 0.7]], "not finite"),
        (True, [[0.5, 0.9], [1.1, 0.7]], "not between 0 and 1"),
        (True, [[-0.1, 0.9], [0.3, 0.7]], "not between 0 and 1"),
        (True, [[0.1, 0.9]], "shape"),
    ],
)
def test_scores_are_checked_by_the_objective(exported, multi_label, scores, message):
    facts = Facts(exported)
    facts.objective = "multi_label" if multi_label else "single_label"
    answers = Answers(facts, {}, (None, None), hostile_text, hostile, exported, print)
    answers.check_scores("x", np.array([[0.5, 0.5], [0.3, 0.7]]), 2)
    with pytest.raises(CheckError, match=message):
        answers.check_scores("x", np.array(scores), 2)


# Prediction


def test_predictions_come_in_the_order_given(exported):
    texts = ["bad " * n + "film" for n in (9, 0, 4, 2, 7)]
    answers = SavedModelPredictor(exported, batch_size=2).predict(texts)
    assert [answer["input"] for answer in answers] == texts
    expected = call(exported, "serving_default", texts)
    np.testing.assert_allclose([answer["scores"] for answer in answers], expected["scores"], atol=1e-5)
    assert len({round(answer["scores"][0], 4) for answer in answers}) == 5
    assert [answer["classes"][0].encode() for answer in answers] == expected["classes"][:, 0].tolist()
    assert SavedModelPredictor(exported).predict([]) == []
    assert SavedModelPredictor(exported).predict(iter(texts[:1]), top=1)[0]["classes"] == answers[0]["classes"][:1]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["good", 3], "input 2 is not a text; received: 3; allowed: strings"),
        (["good", "bad", None], "input 3 is not a text"),
        ([b"good"], "input 1 is not a text"),
        ([Path("good")], "input 1 is not a text"),
        ([float("nan")], "input 1 is not a text; received: nan"),
        (["\ud800"], "input 1 is not valid Unicode: surrogates not allowed"),
        ("good", "needs a list of inputs; received: 'str'; pass a list"),
    ],
)
def test_what_is_no_text_is_refused_by_its_position(exported, inputs, message):
    with pytest.raises(DataError, match=message):
        SavedModelPredictor(exported).predict(inputs)


def test_what_is_no_path_is_refused_for_photos():
    predictor = SavedModelPredictor(tiny.shared_export())
    with pytest.raises(DataError, match="input 1 is not the path of a file; received: 3"):
        predictor.predict([3])
    with pytest.raises(DataError, match="predict needs a list of inputs"):
        predictor.predict("bee.jpg")


@pytest.mark.slow
def test_no_keras_is_needed_but_text_operations_are(exported):
    code = """
        import importlib.util, json, sys
        for name in ("keras", "keras_hub"):
            sys.modules[name] = None
        from tlkit.errors import ExportError
        from tlkit.export.predictor import SavedModelPredictor
        from tlkit.serving.servable import Servable
        from tlkit.serving.warmup_replay import warm_up

        said, find = [], importlib.util.find_spec
        importlib.util.find_spec = lambda name: None
        for kind in (SavedModelPredictor, Servable):
            try:
                kind(sys.argv[1])
            except ExportError as error:
                said.append(str(error))
        importlib.util.find_spec = find
        servable = Servable(sys.argv[1])
        warm_up(servable)
        import numpy as np
        served = servable.run("serving_default", {"text": np.array([b"good film"], object)})["scores"]
        predicted = SavedModelPredictor(sys.argv[1]).predict(["good film"])[0]["scores"]
        print(json.dumps({"said": said, "served": served[0].tolist(), "predicted": predicted}))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert len(answer["said"]) == 2
    assert all(
        "needs operations of TensorFlow Text" in said and "install tensorflow-text" in said for said in answer["said"]
    )
    expected = call(exported, "serving_default", ["good film"])["scores"][0]
    np.testing.assert_allclose(answer["served"], expected, atol=1e-6)
    np.testing.assert_allclose(answer["predicted"], expected, atol=1e-6)
