from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_text import SENTENCES, tiny_text_task, tiny_tokenizer

from tlkit.errors import ConfigError, ModelError
from tlkit.inputs.text.preprocessing import TextPreprocessing
from tlkit.models import text
from tlkit.models.ensemble import ensemble
from tlkit.models.text import text_classifier
from tlkit.models.text_layers import TokenPooling, TokenWindows

QUICK = {"weights": "none", "max_tokens": 24}


@pytest.fixture(scope="module")
def task():
    return text_classifier("bert-tiny-en-uncased", ["bad", "good"], **QUICK)


def test_a_fresh_task_is_frozen_and_starts_from_even_odds(task):
    assert task.kind == "text_classification"
    assert [group.name for group in task.groups] == ["embeddings", "lower", "upper", "head"]
    assert task.backbone_is_frozen
    logits = task.model(task.preprocessing.batch(list(SENTENCES)))
    np.testing.assert_array_equal(logits, np.zeros((len(SENTENCES), 2)))


QUICKEST = {("mean", "windows"), ("meanmax", "head"), ("cls", "head_tail")}


def test_every_weight_that_reaches_the_answer_is_in_one_group_and_nothing_else():
    task = text_classifier("bert-tiny-en-uncased", ["bad", "good"], **QUICK)
    task.freeze_to(0)
    grouped = [id(variable) for group in task.groups for variable in group.variables]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(variable) for variable in task.model.trainable_variables}
    assert not [variable.path for variable in task.model.trainable_variables if "pooled_dense" in variable.path]


@pytest.mark.parametrize(
    ("pooling", "long_texts"),
    [
        pytest.param(pooling, long_texts, marks=() if (pooling, long_texts) in QUICKEST else pytest.mark.slow)
        for pooling in ("mean", "cls", "max", "meanmax")
        for long_texts in ("head", "head_tail", "windows")
    ],
)
def test_an_answer_does_not_depend_on_the_padding(long_texts, pooling):
    task = tiny_text_task(long_texts=long_texts, pooling=pooling)
    together = task.model(task.preprocessing.batch(list(SENTENCES)), training=False).numpy()
    alone = [task.model(task.preprocessing.batch([text]), training=False).numpy()[0] for text in SENTENCES]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together[:, 0]) > 0.1


def test_windows_are_pooled_as_if_each_was_read_alone():
    task = tiny_text_task(long_texts="windows", max_tokens=6)
    ids = task.preprocessing.batch(["the film was very very good but boring"]).numpy()
    assert ids.shape == (1, 12)
    encoder = task.backbone

    def vectors(part):
        inputs = {"token_ids": part, "segment_ids": 0 * part, "padding_mask": part != 0}
        return encoder(inputs, training=False).numpy()[0][part[0] != 0]

    mean = np.concatenate([vectors(ids[:, :6]), vectors(ids[:, 6:])]).mean(axis=0)
    np.testing.assert_allclose(task.features(ids, training=False).numpy()[0], mean, atol=1e-5)


def test_model_saves_loads_and_ensembles(tmp_path):
    task = tiny_text_task(long_texts="windows", max_tokens=6)
    ids = task.preprocessing.batch(list(SENTENCES))
    task.model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(ids), task.model(ids))
    weights = [variable.numpy() for variable in task.model.variables]
    twice = [1.1 * value if value.dtype == np.float32 else value for value in weights]
    members = [task.objective.probabilities(task.model(ids))]
    mean = ensemble(task, [weights, twice])
    for variable, value in zip(task.model.variables, twice, strict=True):
        variable.assign(value)
    members.append(task.objective.probabilities(task.model(ids)))
    np.testing.assert_allclose(task.objective.probabilities(mean.model(ids)), np.mean(members, axis=0), atol=1e-6)


def test_an_ensemble_of_several_labels_averages_each_label():
    task = tiny_text_task(("a", "b", "c"), multi_label=True)
    ids = task.preprocessing.batch(list(SENTENCES))
    weights = [variable.numpy() for variable in task.model.variables]
    other = [0.5 * value if value.dtype == np.float32 else value for value in weights]
    mean = ensemble(task, [weights, other])
    members = [task.objective.probabilities(task.model(ids))]
    for variable, value in zip(task.model.variables, other, strict=True):
        variable.assign(value)
    members.append(task.objective.probabilities(task.model(ids)))
    got = task.objective.probabilities(mean.model(ids)).numpy()
    np.testing.assert_allclose(got, np.mean(members, axis=0), atol=1e-6)
    assert np.abs(got.sum(axis=1) - 1).max() > 0.05


@pytest.mark.slow
def test_weights_and_dropout_repeat_for_a_seed_and_differ_between_layers():
    def run(seed):
        task = text_classifier("bert-tiny-en-uncased", ["a", "b"], seed=seed, encoder_dropout=0.5, **QUICK)
        weights = [np.array(weight) for weight in task.backbone.weights]
        return task.features(task.preprocessing.batch(list(SENTENCES)), training=True).numpy(), weights

    (first, weights), (again, same), (other, others) = run(3), run(3), run(4)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    for one, two, three in zip(weights, same, others, strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.array_equal(one, three) == (one.std() == 0)


def test_precision_of_the_encoder_goes_and_comes_back(task):
    ids = task.preprocessing.batch(list(SENTENCES))
    before = task.features(ids, training=False).numpy()
    task.set_precision("mixed_bfloat16")
    reduced = task.features(ids, training=False)
    assert reduced.dtype == "float32"
    assert 0 < np.abs(reduced.numpy() - before).max() < 0.2
    task.set_precision("float32")
    np.testing.assert_array_equal(task.features(ids, training=False), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "all-minilm"}, "did you mean 'all-minilm-l6-v2'"),
        ({"class_names": ["one"]}, "at least two classes"),
        ({"dropout": 1.0}, "^dropout is invalid"),
        ({"encoder_dropout": -0.1}, "encoder_dropout is invalid"),
        ({"max_tokens": 1000}, "1000"),
        ({"pooling": "first"}, "unknown pooling"),
        ({"long_texts": "tail"}, "unknown long_texts"),
        ({"layers": 3}, "layers is invalid; received: 3; allowed: a whole number from 1 to 2"),
        ({"layers": 0}, "layers is invalid"),
        ({"head": lambda embedding, classes: embedding}, "the head must return one logit per class"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    given = {"encoder": "bert-tiny-en-uncased", "class_names": ["a", "b"], **QUICK, **arguments}
    with pytest.raises((ConfigError, ModelError), match=message):
        text_classifier(given.pop("encoder"), given.pop("class_names"), **given)


def test_an_encoder_that_cannot_be_served_is_refused_before_training():
    with pytest.raises(ModelError, match=r"roberta.* cannot be exported.*must_serve=False"):
        text_classifier("roberta-base-en", ["a", "b"], weights="none")


def test_the_tokenizer_of_another_encoder_is_refused():
    preprocessing = TextPreprocessing(tiny_tokenizer(), max_tokens=16)
    with pytest.raises(ConfigError, match="tokenizer of another encoder"):
        text_classifier("bert-tiny-en-uncased", ["a", "b"], weights="none", preprocessing=preprocessing)


def test_one_yes_or_no_label_is_enough_when_labels_are_independent():
    task = text_classifier("bert-tiny-en-uncased", ["toxic"], multi_label=True, **QUICK)
    assert task.objective.is_multi_label
    assert task.model.output_shape == (None, 1)


@pytest.mark.parametrize(
    "pooling", ["mean", "meanmax", *[pytest.param(pooling, marks=pytest.mark.slow) for pooling in ("cls", "max")]]
)
def test_scaled_vectors_have_length_one_for_each_block_and_pool(pooling, tmp_path):
    plain, scaled = (
        tiny_text_task(pooling=pooling, layers=2, long_texts="windows", max_tokens=6, normalize=normalize)
        for normalize in (False, True)
    )
    ids = plain.preprocessing.batch(list(SENTENCES))
    before, after = (task.features(ids, training=False).numpy() for task in (plain, scaled))
    parts = before.reshape(len(SENTENCES), -1, 16)
    expected = parts / np.linalg.norm(parts, axis=-1, keepdims=True)
    np.testing.assert_allclose(after.reshape(parts.shape), expected, atol=1e-6)
    assert scaled.features.output_shape == plain.features.output_shape == (None, after.shape[1])
    scaled.model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(ids), scaled.model(ids))


def test_scaling_follows_the_encoder_unless_it_is_asked_for(monkeypatch):
    real = text.build_encoder
    for card, asked, expected in ((False, None, False), (True, None, True), (True, False, False), (False, True, True)):

        def built(*arguments, card=card, **options):
            return dataclasses.replace(real(*arguments, **options), pooled="cls", normalized=card)

        monkeypatch.setattr(text, "build_encoder", built)
        task = text_classifier("bert-tiny-en-uncased", ["a", "b"], normalize=asked, **QUICK)
        layer = task.features.get_layer("pooling")
        assert (layer.mode, layer.normalize) == ("cls", expected)


def test_a_scaled_vector_is_differentiable_also_where_nothing_is_pooled():
    layer = TokenPooling("mean", normalize=True)
    sequence = tf.Variable(np.stack([np.ones((2, 4)), np.zeros((2, 4))]).astype(np.float32))
    with tf.GradientTape() as tape:
        pooled = layer([sequence, tf.constant([[True, True], [False, False]]), tf.ones((2, 2), tf.int32)])
        loss = tf.reduce_sum(pooled[:, 0])
    np.testing.assert_allclose(pooled, [[0.5] * 4, [0.0] * 4], atol=1e-6)
    gradient = tape.gradient(loss, sequence).numpy()
    np.testing.assert_allclose(gradient[0], [[0.1875, -0.0625, -0.0625, -0.0625]] * 2, atol=1e-6)
    assert np.isfinite(gradient).all()


def test_head_and_encoder_learn_on_scaled_vectors():
    task = tiny_text_task(normalize=True)
    texts = [
        f"the {noun} was {word}" for noun in ("film", "plot", "acting") for word in ("good", "bad", "great", "dull")
    ]
    labels = tf.constant([0, 1] * 6)
    ids = task.preprocessing.batch(texts)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits = task.head.get_layer("logits")
    logits.kernel.assign(tf.zeros_like(logits.kernel))
    vectors = task.features(ids, training=False)
    optimizer = keras.optimizers.Adam(0.2)
    for _ in range(150):
        with tf.GradientTape() as tape:
            value = loss(labels, task.head(vectors, training=False))
        optimizer.apply(tape.gradient(value, task.head.trainable_variables), task.head.trainable_variables)
    assert float(value) < 0.5 * np.log(2)
    assert np.array_equal(tf.argmax(task.head(vectors), axis=1), labels)
    task.freeze_to(0)
    variables = task.model.trainable_variables
    with tf.GradientTape() as tape:
        value = loss(labels, task.model(ids, training=False))
    gradients = tape.gradient(value, variables)
    sizes = {
        one.path: float(tf.norm(tf.convert_to_tensor(each))) for one, each in zip(variables, gradients, strict=True)
    }
    assert all(np.isfinite(size) for size in sizes.values())
    assert min(size for path, size in sizes.items() if path.endswith("kernel") and "key" not in path) > 1e-5
    keras.optimizers.Adam(1e-4).apply(gradients, variables)
    assert float(loss(labels, task.model(ids, training=False))) < float(value)


def test_models_saved_before_there_was_scaling_load_without_it():
    config = TokenPooling("cls").get_config()
    assert config.pop("normalize") is False
    assert TokenPooling.from_config(config).normalize is False


def test_layers_are_rebuilt_from_their_config():
    assert TokenPooling.from_config(TokenPooling("cls", normalize=True).get_config()).normalize is True
    assert TokenWindows.from_config(TokenWindows(7).get_config()).max_tokens == 7
    assert TokenPooling.from_config(TokenPooling("cls").get_config()).mode == "cls"


def test_the_last_blocks_stand_side_by_side():
    both, last = (tiny_text_task(layers=count) for count in (2, 1))
    ids = both.preprocessing.batch(list(SENTENCES))
    embedding = both.features(ids, training=False).numpy()
    assert embedding.shape == (len(SENTENCES), 32)
    np.testing.assert_allclose(embedding[:, 16:], last.features(ids, training=False), atol=1e-6)
    assert np.abs(embedding[:, :16] - embedding[:, 16:]).max() > 0.1
