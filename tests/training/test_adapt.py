from __future__ import annotations

import functools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tiny_text

from tlkit.catalogue.encoders import build_encoder, load_tokenizer, save_encoder
from tlkit.errors import ConfigError, DataError, ModelError, TrainingError
from tlkit.inputs.text.preprocessing import TextPreprocessing
from tlkit.models.text import text_classifier
from tlkit.tasks.text_classification import adapt
from tlkit.tasks.text_classification.adapt import RECORD, adapt_encoder
from tlkit.tasks.text_classification.masked_model import masked_language_task
from tlkit.tasks.text_classification.masked_texts import MaskedTexts
from tlkit.tasks.text_classification.masking import MaskingRule

# A text says one word again and again: what is hidden follows from the rest.
WORDS = ["good", "bad", "film", "plot", "dull", "great", "movie", "acting"]
CORPUS = [" ".join([word] * length) for word in WORDS for length in range(5, 13)]
IDS = np.array([[2, 10, 11, 12, 3, 0], [2, 20, 3, 0, 0, 0]], np.int32)
QUICK = {"lr": 1e-2, "head_lr": 1e-2, "batch_size": 8, "max_tokens": 16, "val_fraction": 0.2, "verbose": False}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    tokenizer = tiny_text.tiny_tokenizer()
    network = keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=32,
    )
    for variable in network.trainable_variables:  # BERT's small initial weights learn slowly
        if variable.ndim > 1:
            variable.assign(8 * variable.numpy())
    return save_encoder(network, tokenizer, tmp_path_factory.mktemp("encoder") / "tiny", "cls", True)


@pytest.fixture(scope="module")
def adapted(encoder, tmp_path_factory):
    return adapt_encoder(CORPUS, encoder, to=tmp_path_factory.mktemp("adapted") / "mine", epochs=12, **QUICK)


@pytest.fixture(scope="module")
def once(encoder, tmp_path_factory):
    """A run of one epoch, and the vectors of the model before it was saved."""
    live = []

    def spy(model, *rest):
        live.append(vectors(model, IDS))
        return save_encoder(model, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt, "save_encoder", spy)
        result = adapt_encoder(CORPUS, encoder, to=tmp_path_factory.mktemp("once") / "mine", **QUICK)
    return result, live[0]


@functools.cache
def built_once(encoder):
    return build_encoder(encoder)


def parts(encoder, texts=CORPUS, **options):
    built = built_once(encoder)
    special = built.special
    preprocessing = TextPreprocessing(built.tokenizer, max_tokens=16, long_texts="windows", max_windows=100)
    ids = tuple(sorted({special.start, special.end, special.pad, special.unknown, special.mask}))
    rule = MaskingRule(special.mask, ids, preprocessing.vocabulary_size)
    settings = {"batch_size": 8, "val_fraction": 0.2, "passes": 3, "seed": 0, **options}
    return built, preprocessing, MaskedTexts(texts, preprocessing, rule, **settings)


def listed(dataset):
    return [(inputs["token_ids"].numpy(), inputs["places"].numpy(), targets.numpy()) for inputs, targets in dataset]


def restored_rows(batches):
    """The rows as they were before anything was hidden."""
    rows = []
    for ids, places, targets in batches:
        flat = ids.ravel().copy()
        flat[places] = targets
        rows += [tuple(row[row != 0].tolist()) for row in flat.reshape(ids.shape)]
    return rows


def vectors(network, ids):
    mask = (ids != 0).astype(np.int32)
    given = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
    return network(given, training=False)["sequence_output"].numpy()


# The whole


@pytest.mark.real
def test_the_loss_on_held_out_texts_falls(adapted):
    assert adapted.loss_after < 0.5 * adapted.loss_before
    assert adapted.loss_before < adapted.loss_at_start
    assert adapted.loss_at_start == pytest.approx(math.log(len(WORDS)), abs=0.3)
    assert adapted.pseudo_perplexity == pytest.approx(math.exp(adapted.loss_after))
    assert (adapted.texts, adapted.empty, adapted.tokens) == (64, 0, len(WORDS) * sum(range(5, 13)))
    assert adapted.steps == 12 * 7  # 51 texts in batches of 8


def test_the_folder_holds_the_encoder_and_how_it_came_about(once, encoder):
    adapted, _ = once
    record = json.loads((adapted.folder / RECORD).read_text())
    assert record == adapted.to_dict()
    assert record["encoder"] == str(encoder)
    assert not [path for path in adapted.folder.parent.iterdir() if path != adapted.folder]
    before, after = build_encoder(encoder), build_encoder(adapted.folder)
    assert (after.pooled, after.normalized) == (before.pooled, before.normalized) == ("cls", True)
    assert after.tokenizer.get_vocabulary() == before.tokenizer.get_vocabulary()
    assert after.model.get_config()["dtype"] == before.model.get_config()["dtype"]
    for name, layers in after.groups:
        own = dict(before.groups)[name]
        changed = [
            not np.array_equal(a, b)
            for one, other in zip(layers, own, strict=True)
            for a, b in zip(one.get_weights(), other.get_weights(), strict=True)
        ]
        assert any(changed), name
    for a, b in zip(
        after.model.pooled_dense.get_weights(), before.model.pooled_dense.get_weights(), strict=True
    ):  # no hidden token reaches it
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_what_is_saved_gives_the_same_vectors_to_the_bit(once):
    result, live = once
    loaded = build_encoder(result.folder).model
    np.testing.assert_array_equal(vectors(loaded, IDS), live)
    assert all(layer.trainable for layer in loaded.layers)


def test_a_classifier_is_built_on_the_folder(once):
    adapted, _ = once
    task = text_classifier(str(adapted.folder), ["bad", "good"], max_tokens=16)
    assert task.model(task.preprocessing.batch(tf.constant(["a good film"]))).shape == (1, 2)
    assert task.weights_source == f"folder:{adapted.folder.name}"


@pytest.mark.real
def test_a_run_repeats_exactly_and_measuring_the_precision_changes_nothing(encoder, once, tmp_path, monkeypatch):
    monkeypatch.setattr(adapt.formats, "candidates", lambda: ("float32",))
    again = adapt_encoder(CORPUS, encoder, to=tmp_path / "again", precision="auto", **QUICK)
    for name in ("loss_at_start", "loss_before", "loss_after", "precision"):
        assert getattr(again, name) == getattr(once[0], name)
    weights = zip(build_encoder(once[0].folder).model.weights, build_encoder(again.folder).model.weights, strict=True)
    for a, b in weights:
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.real
def test_another_seed_is_another_run_and_verbose_prints_a_line_an_epoch(encoder, once, tmp_path, capsys):
    other = adapt_encoder(CORPUS, encoder, to=tmp_path / "other", seed=4, **{**QUICK, "verbose": True})
    assert other.loss_after != once[0].loss_after
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("1/1")


@pytest.mark.real
def test_reduced_precision_trains_and_saves_float32(encoder, tmp_path):
    result = adapt_encoder(CORPUS, encoder, to=tmp_path / "mine", precision="mixed_bfloat16", **QUICK)
    assert result.precision == "mixed_bfloat16"
    assert np.isfinite(result.loss_after)
    assert {layer.dtype_policy.name for layer in build_encoder(result.folder).model.layers} == {"float32"}


@pytest.mark.real
def test_texts_may_come_from_a_generator(encoder, once, tmp_path, capsys):
    result = adapt_encoder((text for text in [*CORPUS, "", "  "]), encoder, to=tmp_path / "mine", **QUICK)
    assert (result.texts, result.empty) == (64, 2)
    assert result.loss_after == once[0].loss_after
    assert capsys.readouterr().out == ""


# The data


def test_an_epoch_shows_every_training_row_once_in_batches_of_like_length(encoder):
    _, _, data = parts(encoder, batch_size=4)
    first, second = (listed(data.training(number, data.steps_per_epoch)) for number in (0, 1))
    assert len(first) == data.steps_per_epoch == 13
    assert sorted(restored_rows(first)) == sorted(restored_rows(second))
    assert restored_rows(first) != restored_rows(second)
    assert len(set(restored_rows(first))) == 51
    padding = np.mean([np.mean(ids == 0) for ids, _, _ in first])
    assert padding < 0.08
    held_out = set(restored_rows(listed(data.validation())))
    assert len(held_out) == 13
    assert not held_out & set(restored_rows(first))


def test_hidden_tokens_follow_from_seed_pass_and_step_alone(encoder):
    _, _, data = parts(encoder)
    _, _, again = parts(encoder)
    _, _, other = parts(encoder, seed=1)
    straight = listed(data.training(0, 2 * data.steps_per_epoch))
    second = listed(again.training(tf.Variable(1, dtype=tf.int64), data.steps_per_epoch))
    for (ids, places, targets), (ids_2, places_2, targets_2) in zip(
        straight[data.steps_per_epoch :], second, strict=True
    ):
        np.testing.assert_array_equal(ids, ids_2)
        np.testing.assert_array_equal(places, places_2)
        np.testing.assert_array_equal(targets, targets_2)
    assert restored_rows(straight) != restored_rows(listed(other.training(0, 2 * data.steps_per_epoch)))


def test_each_batch_of_each_pass_hides_other_places(encoder):
    texts = [" ".join([one] * 7 + [other] * 7) for one in WORDS for other in WORDS]
    _, _, data = parts(encoder, texts, val_fraction=0.25, passes=2)
    batches = listed(data.training(0, 2 * data.steps_per_epoch)) + listed(data.validation())
    assert {ids.shape for ids, _, _ in batches} == {(8, 16)}
    assert len({tuple(places.tolist()) for _, places, _ in batches}) == len(batches) == 2 * 6 + 2 * 8


def test_validation_hides_the_same_each_time_and_a_small_part_several_times_over(encoder):
    _, preprocessing, data = parts(encoder)
    once, again = listed(data.validation()), listed(data.validation())
    for one, other in zip(once, again, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    mask = preprocessing.tokenizer.mask_token_id
    assert all((ids.ravel()[places] == mask).all() for ids, places, _ in once)
    rows = restored_rows(once)
    assert len(rows) == 8 * len(set(rows))
    assert any(not np.array_equal(once[0][1], batch[1]) for batch in once[2::2])  # another round hides others


def test_copies_stay_on_one_side_and_long_texts_are_read_to_the_end(encoder):
    long = " ".join(["good"] * 40)  # 14 + 14 + 12 tokens
    _, _, data = parts(encoder, [long, *["bad film"] * 30, *["dull plot"] * 30], val_fraction=0.34)
    shown = restored_rows(listed(data.training(0, data.steps_per_epoch)))
    held_out = restored_rows(listed(data.validation()))
    assert not set(shown) & set(held_out)
    lengths = sorted(len(row) for row in set(shown) | set(held_out))
    assert lengths == [4, 4, 14, 16]
    assert sorted(map(len, (row for row in shown + held_out if len(row) > 4)))[-1] == 16
    assert data.counts == {"texts": 61, "empty": 0, "rows": 63, "tokens": 40 + 120}


def test_frequencies_are_those_of_the_training_texts(encoder):
    _, preprocessing, data = parts(encoder)
    rows = restored_rows(listed(data.training(0, data.steps_per_epoch)))
    counts = np.bincount(np.concatenate([row[1:-1] for row in rows]), minlength=preprocessing.vocabulary_size)
    np.testing.assert_array_equal(data.frequencies, counts)


# The model


def test_the_fresh_head_answers_how_often_each_token_stands_in_the_texts(encoder):
    built, preprocessing, data = parts(encoder)
    task = masked_language_task(built, preprocessing, data.frequencies, seed=0)
    inputs, _ = next(iter(data.training(0, 1)))
    share = (data.frequencies + 0.1) / (data.frequencies + 0.1).sum()
    logits = task.model(inputs).numpy()
    assert logits.shape == (len(inputs["places"]), preprocessing.vocabulary_size)
    np.testing.assert_allclose(logits, np.broadcast_to(np.log(share), logits.shape), rtol=1e-5)


def test_logits_are_the_tied_head_over_the_hidden_places_alone(encoder):
    built, preprocessing, data = parts(encoder)
    task = masked_language_task(built, preprocessing, data.frequencies, seed=0)
    task.head.get_layer("norm").gamma.assign(np.linspace(0.5, 1.5, 16))
    inputs, _ = next(iter(data.training(0, 1)))
    ids, places = inputs["token_ids"].numpy(), inputs["places"].numpy()
    hidden = vectors(built.model, ids).reshape(-1, 16)[places]
    table = built.model.token_embedding.embeddings.numpy()
    bias = task.model.get_layer("offset").bias.numpy()
    expected = task.head(hidden).numpy() @ table.T + bias
    np.testing.assert_allclose(task.model(inputs).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_head_is_trained_alone_without_the_embedding_it_is_tied_to(encoder):
    built, preprocessing, data = parts(encoder)
    task = masked_language_task(built, preprocessing, data.frequencies, seed=0)
    task.freeze_to(-1)
    assert len(task.model.trainable_variables) == 5  # dense 2, norm 2, offset 1
    task.freeze_to(0)
    grouped = [id(variable) for group in task.groups for variable in group.variables]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(variable) for variable in task.model.trainable_variables}
    assert id(built.model.token_embedding.embeddings) in {id(v) for v in task.groups[0].variables}


@pytest.mark.real
def test_the_validation_loss_is_the_mean_over_all_hidden_tokens(encoder, tmp_path, monkeypatch):
    seen = []
    train = adapt._train

    def spy(task, engine, data, *rest):
        losses = train(task, engine, data, *rest)
        for inputs, targets in data.validation():
            seen.append(
                tf.nn.sparse_softmax_cross_entropy_with_logits(targets, task.model(inputs, training=False)).numpy()
            )
        return losses

    monkeypatch.setattr(adapt, "_train", spy)
    result = adapt_encoder(CORPUS, encoder, to=tmp_path / "mine", mask_fraction=0.5, **QUICK)
    assert len({len(batch) for batch in seen}) > 1
    assert result.loss_after == pytest.approx(float(np.concatenate(seen).mean()), rel=1e-5)


# Bad input


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no texts given"),
        (["", " \n", "\x00"], "all 3 texts are empty"),
        (["good film", None], r"text number 2 is not a string"),
        (["good film", b"bytes"], r"text number 2 is not a string; received: b'bytes'"),
        ([3.5], r"text number 1 is not a string; received: 3.5"),
        (["good film", "good  film"], "at least two different texts"),
        ("good film", r"must be a list of strings; received: 'str'"),
        (Path("texts.txt"), "must be a list of strings"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(encoder, tmp_path, texts, message):
    with pytest.raises(DataError, match=message):
        adapt_encoder(texts, encoder, to=tmp_path / "mine", **QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0}, "learning rate must be a number above 0"),
        ({"lr": float("nan")}, "learning rate must be a number above 0"),
        ({"head_lr": -1.0}, "head's learning rate must be a number above 0"),
        ({"epochs": 0}, "epochs must be a whole number, 1 or more"),
        ({"batch_size": 1.5}, "batch_size must be a whole number, 1 or more"),
        ({"mask_fraction": 1.0}, "mask_fraction is invalid"),
        ({"val_fraction": 0}, "val_fraction is invalid"),
        ({"seed": -1}, "seed must be a whole number, 0 or more"),
        ({"precision": "float8"}, "unknown precision"),
    ],
)
def test_arguments_are_refused_before_the_encoder_loads(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(adapt, "build_encoder", lambda *_, **__: pytest.fail("the encoder was loaded"))
    with pytest.raises(ConfigError, match=message):
        adapt_encoder(CORPUS, to=tmp_path / "mine", **{**QUICK, **changes})


def test_sequences_beyond_the_encoder_are_refused(encoder, tmp_path):
    with pytest.raises(ModelError, match="cannot take sequences of that length"):
        adapt_encoder(CORPUS, encoder, to=tmp_path / "mine", **{**QUICK, "max_tokens": 33})


def test_an_encoder_without_a_mask_token_is_refused(encoder, tmp_path, monkeypatch):
    import dataclasses

    built = build_encoder(encoder)
    special = dataclasses.replace(built.special, mask=None)
    monkeypatch.setattr(adapt, "build_encoder", lambda *_, **__: dataclasses.replace(built, special=special))
    with pytest.raises(ModelError, match="has no mask token"):
        adapt_encoder(CORPUS, encoder, to=tmp_path / "mine", **QUICK)


def test_a_folder_is_not_overwritten_unasked(encoder, tmp_path, monkeypatch):
    there = tmp_path / "mine"
    there.mkdir()
    (there / "notes.txt").write_text("dear")
    with monkeypatch.context() as patch:
        patch.setattr(adapt, "build_encoder", lambda *_, **__: pytest.fail("the encoder was loaded"))
        with pytest.raises(ConfigError, match=r"the folder exists.*overwrite=True"):
            adapt_encoder(CORPUS, to=there, **QUICK)
        with pytest.raises(ConfigError, match="only a folder with an encoder can be overwritten"):
            adapt_encoder(CORPUS, to=there, overwrite=True, **QUICK)
    assert (there / "notes.txt").read_text() == "dear"


@pytest.mark.real
def test_an_encoder_is_replaced_when_asked_even_by_its_own_child(once, tmp_path):
    there = tmp_path / "mine"
    shutil.copytree(once[0].folder, there)
    second = adapt_encoder(CORPUS, there, to=there, overwrite=True, **QUICK)
    assert json.loads((there / RECORD).read_text())["encoder"] == str(there)
    assert second.loss_after < once[0].loss_after
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.real
def test_a_loss_that_is_lost_is_an_error_and_leaves_nothing(encoder, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is no longer finite.*nothing was written"):
        adapt_encoder(CORPUS, encoder, to=tmp_path / "mine", **{**QUICK, "lr": 1e30})
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_before_training(encoder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(adapt, "_train", lambda *_: pytest.fail("trained"))
    with pytest.raises(TrainingError, match="the folder cannot be written"):
        adapt_encoder(CORPUS, encoder, to=tmp_path / "file" / "mine", **QUICK)


@pytest.mark.real
def test_minilm_learns_the_language_of_reviews(tmp_path):
    rows = Path(__file__).resolve().parents[3] / "shared" / "data" / "sst2" / "train.tsv"
    lines = rows.read_text(encoding="utf-8").split("\n")[1:801]
    texts = [line.split("\t")[0] for line in lines]
    result = adapt_encoder(texts, "all-minilm-l6-v2", to=tmp_path / "mine", epochs=2, val_fraction=0.1, verbose=False)
    assert result.loss_after < result.loss_before < result.loss_at_start
    assert load_tokenizer(result.folder)(["A café!"]) == load_tokenizer("all-minilm-l6-v2")(["A café!"])
