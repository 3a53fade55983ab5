from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import logging

import numpy as np
import pytest
from catalogue import onnx_bytes
from catalogue.hf_folder import SPECIAL, WORDS, make_encoder_wheel, numpy_bert, write_bert_folder

from tlkit.catalogue import encoder_folder, encoders, text
from tlkit.catalogue.encoders import build_encoder, load_tokenizer, save_encoder
from tlkit.errors import ModelError, WeightsError

TINY = "bert-tiny-en-uncased"
# One small architecture a family; the ones of the table would take gigabytes.
SMALL = {
    row.family: dataclasses.replace(row, width=16, layers=3, heads=2, intermediate=32, positions=24)
    for row in reversed(list(text.TABLE.values()))
}


def _outputs(model, ids: np.ndarray) -> np.ndarray:
    inputs = {name: np.zeros_like(ids) for name in model.input}
    inputs.update(token_ids=ids, padding_mask=np.ones_like(ids))
    out = model(inputs, training=False)
    return np.asarray(out["sequence_output"] if isinstance(out, dict) else out)


def _cut(tokenizer, texts: list[str]) -> list[list[str]]:
    return [[tokenizer.id_to_token(int(one)) for one in row] for row in tokenizer(texts)]


def test_random_weights_need_no_files_and_are_the_same_every_time(caplog):
    with caplog.at_level(logging.WARNING, logger="tlkit"):
        first, second = (build_encoder(TINY, weights="none", max_tokens=512) for _ in range(2))
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [f"{TINY} starts from random weights (weights='none'): it is not pretrained"] * 2
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    kernel = first.model.transformer_layers[0]._feedforward_intermediate_dense.kernel
    assert kernel.shape == (128, 512)
    assert 0.015 < np.std(kernel) < 0.02
    assert not np.array_equal(*(layer.get_weights()[0] for layer in first.model.transformer_layers))
    assert (first.weights_source, first.pooled, first.positions) == ("none", "mean", 512)
    assert first.row is text.get(TINY)
    vocabulary = first.tokenizer.get_vocabulary()
    assert first.model.vocabulary_size == len(vocabulary) == first.tokenizer.vocabulary_size()
    special = first.special
    ids = (special.pad, special.unknown, special.start, special.end, special.mask)
    assert [vocabulary[one] for one in ids] == list(SPECIAL)


def test_the_built_in_vocabulary_spells_latin_text():
    uncased = load_tokenizer(TINY, weights="none")
    assert _cut(uncased, ["Né ~1"]) == [["n", "##e", "~", "1"]]
    cased = load_tokenizer("bert-base-en", weights="none")
    assert _cut(cased, ["Né ß", "日"]) == [["N", "##é", "ß"], ["[UNK]"]]
    assert len(set(uncased.get_vocabulary())) == uncased.vocabulary_size()


@pytest.mark.parametrize("family", SMALL)
def test_every_family_builds_and_its_groups_hold_what_is_used_once(family):
    built = build_encoder(SMALL[family], weights="none")
    names = [name for name, _ in built.groups]
    assert names == (["embeddings", "upper"] if family == "albert" else list(encoders.GROUP_NAMES))
    grouped = [id(variable) for _, layers in built.groups for layer in layers for variable in layer.weights]
    pooled = {
        id(variable) for layer in built.model.layers if layer.name == "pooled_dense" for variable in layer.weights
    }
    assert len(grouped) == len(set(grouped))
    assert set(grouped) | pooled == {id(variable) for variable in built.model.weights}
    assert not set(grouped) & pooled
    ids = np.array([[built.special.start, 9, 12, built.special.end]], np.int32)
    assert _outputs(built.model, ids).shape == (1, 4, 16)
    assert built.model.token_embedding.input_dim == built.tokenizer.vocabulary_size()


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [(1, (0, 0, 1)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (1, 2, 1)), (6, (2, 2, 2)), (8, (3, 2, 3)), (12, (4, 4, 4))],
)
def test_blocks_are_parted_into_thirds(blocks, parts):
    row = dataclasses.replace(SMALL["distil_bert"], layers=blocks, width=4, intermediate=4)
    groups = dict(build_encoder(row, weights="none").groups)
    assert tuple(len(groups.get(name, ())) for name in ("lower", "middle", "upper")) == parts
    ordered = [layer.name for name in ("lower", "middle", "upper") for layer in groups.get(name, ())]
    assert ordered == [f"transformer_layer_{number}" for number in range(blocks)]
    assert () not in groups.values()


@pytest.mark.parametrize("exact", [False, True])
def test_a_hugging_face_folder_gives_what_its_numbers_say(tmp_path, exact):
    weights = write_bert_folder(tmp_path / "f", layers=3, heads=4)
    built = build_encoder(str(tmp_path / "f"))
    assert (built.weights_source, built.positions, built.row.name) == ("folder:f", 64, "f")
    assert built.row.params == built.model.count_params() == sum(value.size for value in weights.values())
    ids = [2, 5, 6, 8, 3]
    ours = _outputs(built.model, np.array([ids], np.int32))[0]
    # KerasHub takes BERT's GELU by its tanh form, whatever config.json says; the exact one is near, not equal.
    np.testing.assert_allclose(ours, numpy_bert(weights, ids, heads=4, exact=exact), atol=2e-2 if exact else 1e-4)


def test_a_wheel_with_integers_gives_what_its_numbers_stand_for(tmp_path):
    original = write_bert_folder(tmp_path / "f", layers=2, heads=4)
    (tmp_path / "f" / "model.safetensors").unlink()
    content, exact = onnx_bytes.quantized_bert(original)
    (tmp_path / "f" / "model.onnx").write_bytes(content)
    (tmp_path / "mirror").mkdir()
    record = dataclasses.replace(make_encoder_wheel(tmp_path / "mirror", tmp_path / "f"), onnx="model.onnx")
    row = dataclasses.replace(
        text.get("bge-small-en-v1.5"),
        width=32,
        layers=2,
        heads=4,
        intermediate=64,
        vocabulary=len(SPECIAL) + len(WORDS),
        wheel=record,
    )
    built = build_encoder(row, weights=tmp_path / "mirror", cache_dir=tmp_path / "cache")
    assert (built.pooled, built.normalized, built.weights_source) == ("cls", True, "pypi:tlkit-test-encoder==0.1.0")
    ids = [2, 5, 6, 8, 3]
    ours = _outputs(built.model, np.array([ids], np.int32))[0]
    np.testing.assert_allclose(ours, numpy_bert(exact, ids, heads=4), atol=1e-4)
    assert not any(value.any() for value in built.model.pooled_dense.get_weights())


def test_padding_is_masked_and_does_not_change_the_rest(tmp_path):
    write_bert_folder(tmp_path / "f")
    model = build_encoder(tmp_path / "f").model
    short = np.array([[2, 5, 3]], np.int32)
    padded = np.array([[2, 5, 3, 0, 0]], np.int32)
    inputs = {"token_ids": padded, "segment_ids": padded * 0, "padding_mask": (padded != 0).astype(np.int32)}
    out = np.asarray(model(inputs)["sequence_output"])
    np.testing.assert_allclose(out[:, :3], _outputs(model, short), atol=1e-5)


@pytest.mark.parametrize(
    ("cleaning", "tokens"),
    [
        ({"do_lower_case": True, "strip_accents": None}, ["cafe", "good"]),
        ({"do_lower_case": True, "strip_accents": False}, ["café", "good"]),
        ({"do_lower_case": False, "strip_accents": None}, ["café", "Good"]),
    ],
)
def test_the_tokenizer_cleans_as_hugging_faces_config_says(tmp_path, cleaning, tokens):
    write_bert_folder(tmp_path / "f", tokenizer=cleaning)
    assert _cut(load_tokenizer(tmp_path / "f"), ["café Good"]) == [tokens]


def test_a_tokenizer_is_loaded_without_the_weights(tmp_path, monkeypatch):
    write_bert_folder(tmp_path / "f")
    (tmp_path / "f" / "model.safetensors").write_bytes(b"not weights")
    assert _cut(load_tokenizer(tmp_path / "f"), ["films!"]) == [["film", "##s", "!"]]
    monkeypatch.setattr(encoders, "_load", lambda *_: pytest.fail("read the weights"))
    load_tokenizer(str(tmp_path / "f"))


def test_an_encoder_saved_comes_back_with_its_tokenizer(tmp_path):
    write_bert_folder(tmp_path / "f", tokenizer={"do_lower_case": False, "tokenize_chinese_chars": False})
    first = build_encoder(tmp_path / "f")
    assert save_encoder(first.model, first.tokenizer, tmp_path / "mine") == tmp_path / "mine"
    second = build_encoder(tmp_path / "mine")
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert second.tokenizer.get_config() == first.tokenizer.get_config() | {"name": second.tokenizer.name}
    assert second.tokenizer.get_vocabulary() == first.tokenizer.get_vocabulary()
    assert (second.tokenizer.split_on_cjk, second.tokenizer.strip_accents, second.row.cased) == (False, False, True)
    assert second.special == first.special


@pytest.mark.parametrize(("pooled", "normalized"), [("mean", False), ("cls", False), ("mean", True), ("cls", True)])
def test_pooling_and_scaling_come_back_with_a_saved_encoder(tmp_path, pooled, normalized):
    built = build_encoder(SMALL["bert"], weights="none")
    save_encoder(built.model, built.tokenizer, tmp_path / "mine", pooled, normalized)
    again = build_encoder(tmp_path / "mine")
    assert (again.pooled, again.normalized) == (again.row.pooling, again.row.normalize) == (pooled, normalized)


def test_modules_of_hugging_face_folders_stay_unread_and_damaged_ones_are_named(tmp_path):
    write_bert_folder(tmp_path / "f")
    encoder_folder.write_pooling(tmp_path / "f", "cls", True)
    built = build_encoder(tmp_path / "f")
    assert (built.pooled, built.normalized) == ("cls", False)  # as in projects that version 0.1.0 trained
    save_encoder(built.model, built.tokenizer, tmp_path / "mine")
    (tmp_path / "mine" / "modules.json").write_text('[{"idx": 0}]')
    with pytest.raises(WeightsError, match=r"mine/modules\.json is not a module list of sentence-transformers"):
        build_encoder(tmp_path / "mine")


def test_a_saved_random_encoder_is_an_encoder_of_its_own(tmp_path):
    built = build_encoder(TINY, weights="none")
    save_encoder(built.model, built.tokenizer, tmp_path / "mine")
    again = build_encoder(tmp_path / "mine", max_tokens=100)
    assert again.tokenizer.lowercase
    assert again.tokenizer.strip_accents
    ids = np.array([[2, 30, 31, 3]], np.int32)
    np.testing.assert_array_equal(_outputs(again.model, ids), _outputs(built.model, ids))
    with pytest.raises(WeightsError, match=r"another encoder than bert-tiny.*: vocabulary \d+ instead of 30522"):
        build_encoder(TINY, weights=tmp_path / "mine")


def test_keras_hubs_presets_of_uncased_encoders_lose_accents(tmp_path):
    import keras_hub

    built = build_encoder(SMALL["electra"], weights="none")
    vocabulary = built.tokenizer.get_vocabulary()
    forgetful = keras_hub.models.ElectraTokenizer(vocabulary=vocabulary, lowercase=True)
    save_encoder(built.model, forgetful, tmp_path / "mine")
    row = dataclasses.replace(SMALL["electra"], vocabulary=len(vocabulary))
    assert load_tokenizer(row, tmp_path / "mine").strip_accents
    assert not load_tokenizer(tmp_path / "mine").strip_accents


@pytest.mark.parametrize("length", [0, 2, 65, 1.5, True, "128"])
def test_lengths_beyond_the_positions_are_refused_before_anything_is_loaded(tmp_path, monkeypatch, length):
    write_bert_folder(tmp_path / "f", positions=64)
    monkeypatch.setattr(encoders, "_load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ModelError, match="f cannot take sequences of that length; received: .*; allowed: 3 to 64 tok"):
        build_encoder(tmp_path / "f", max_tokens=length)


@pytest.mark.parametrize("load", [build_encoder, load_tokenizer])
def test_the_vocabulary_of_another_encoder_is_refused(tmp_path, load):
    write_bert_folder(tmp_path / "f")
    (tmp_path / "f" / "vocab.txt").write_text("\n".join([*SPECIAL, "other"]))
    rows = len(SPECIAL) + len(WORDS)
    with pytest.raises(
        WeightsError, match=rf"f/vocab\.txt is not the tokenizer of .*: it has 6 tokens, the embedding table {rows}"
    ):
        load(tmp_path / "f")
    (tmp_path / "f" / "vocab.txt").write_text("a\n" * rows)
    with pytest.raises(WeightsError, match=r"f/vocab\.txt is not the vocabulary of .*: it has no \[PAD\]"):
        load(tmp_path / "f")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be loaded: SafetensorError"),
        (lambda path: path.write_bytes(b""), "cannot be loaded"),
    ],
)
def test_broken_weights_are_named(tmp_path, damage, message):
    write_bert_folder(tmp_path / "f")
    damage(tmp_path / "f" / "model.safetensors")
    with pytest.raises(WeightsError, match=f"the weights in .*f {message}"):
        build_encoder(tmp_path / "f")


def test_weights_of_another_shape_than_the_config_are_named(tmp_path):
    write_bert_folder(tmp_path / "f", config={"intermediate_size": 128})
    with pytest.raises(WeightsError, match="cannot be loaded: ValueError.*shape"):
        build_encoder(tmp_path / "f")


def test_broken_weights_of_keras_hub_are_named(tmp_path):
    built = build_encoder(SMALL["bert"], weights="none")
    save_encoder(built.model, built.tokenizer, tmp_path / "mine")
    file = tmp_path / "mine" / "model.weights.h5"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(WeightsError, match="the weights in .*mine cannot be loaded: OSError"):
        build_encoder(tmp_path / "mine")
    file.unlink()
    with pytest.raises(WeightsError, match=r"has no model\.weights\.h5"):
        build_encoder(tmp_path / "mine")


def test_a_preset_without_its_tokenizer_is_named(tmp_path):
    built = build_encoder(SMALL["bert"], weights="none")
    built.model.save_to_preset(str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match=r"has no tokenizer\.json; save the tokenizer to this folder too"):
        build_encoder(tmp_path / "mine")
    (tmp_path / "mine" / "tokenizer.json").write_text(json.dumps({"registered_name": "keras_hub>GPT2Tokenizer"}))
    with pytest.raises(WeightsError, match="contains no known tokenizer; received: 'GPT2Tokenizer'"):
        build_encoder(tmp_path / "mine")


def test_a_missing_safetensors_is_told_with_what_to_do(tmp_path, monkeypatch):
    write_bert_folder(tmp_path / "f")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "safetensors" else real(name))
    with pytest.raises(WeightsError, match="safetensors is not installed; pip install safetensors"):
        build_encoder(tmp_path / "f")
    assert load_tokenizer(tmp_path / "f").vocabulary_size() == len(SPECIAL) + len(WORDS)


def test_unknown_names_and_no_sources_are_refused():
    with pytest.raises(ModelError, match="unknown text encoder 'bert-tiny'"):
        build_encoder("bert-tiny")
    with pytest.raises(WeightsError, match="no weight source given"):
        build_encoder(TINY, weights=[])


def test_a_bert_with_a_sentencepiece_vocabulary_reads_texts_as_xlm_roberta_does(tmp_path):
    """multilingual-e5: config.json says bert, and the tokenizer is the one of XLM-RoBERTa."""
    import sentencepiece

    model = io.BytesIO()
    train = sentencepiece.SentencePieceTrainer.train
    train(sentence_iterator=iter(["a good film"] * 9), model_writer=model, vocab_size=12, minloglevel=2)
    write_bert_folder(tmp_path, vocabulary=[f"piece {number}" for number in range(12 + 2)])
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    built = build_encoder(tmp_path)
    assert type(built.tokenizer).__name__ == "XLMRobertaTokenizer"
    assert load_tokenizer(tmp_path)(["a good film"]) == built.tokenizer(["a good film"])
    assert (built.special.start, built.special.pad, built.special.end, built.special.unknown) == (0, 1, 2, 3)
    assert built.row.serves
