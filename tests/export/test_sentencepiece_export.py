"""Encoders with a SentencePiece tokenizer: the export answers as the model does."""

import io

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
import tiny_text

import tlkit
from tlkit.catalogue.encoders import save_encoder
from tlkit.export.manifest import Manifest
from tlkit.export.predictor import SavedModelPredictor
from tlkit.export.saved_model import export_task

TEXTS = [*tiny_text.SENTENCES[:2], "Größe, ñandú, café", "电影很好看", "می\u200cخواهم", "фильм был хороший 👩‍👩‍👧 ok"]
STRANGE = ["", " \t\n", "<s> </s> <pad> <unk> <mask> [CLS]", "▁▁ ▁", "ﬁ ＡＢＣ e\u0301", "\ufffd\x00\u200b", "a" * 5000]
FAMILIES = {"xlm_roberta": "XLMRoberta", "albert": "Albert", "deberta_v3": "DebertaV3"}


def proto(family):
    """A SentencePiece model of a few dozen pieces, with the special pieces of a family."""
    out = io.BytesIO()
    own = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}
    own |= {"pad_piece": "<pad>" if family == "albert" else "[PAD]", "unk_piece": "<unk>"}
    own |= {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "user_defined_symbols": "[MASK]"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=out,
        vocab_size=150,
        hard_vocab_limit=False,
        minloglevel=2,
        **({} if family == "xlm_roberta" else own),
    )
    return out.getvalue()


def folder_of(family, path):
    """A tiny encoder of a family with random weights, as KerasHub saves it."""
    import keras_hub

    tokenizer = getattr(keras_hub.tokenizers, f"{FAMILIES[family]}Tokenizer")(proto=proto(family))
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 64}
    if family == "albert":
        sizes["embedding_dim"] = 8
    backbone = getattr(keras_hub.models, f"{FAMILIES[family]}Backbone")
    return save_encoder(backbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes), tokenizer, path)


def trained_task(path):
    """A few steps of everything, so that nothing is as it was initialised."""
    task = tlkit.text_classifier(str(path), ["bad", "good"], max_tokens=16)
    tokens = task.preprocessing.batch(tf.constant(TEXTS))
    task.freeze_to(0)
    task.model.compile("adam", "mse", jit_compile=False)
    task.model.fit(tokens, np.eye(2)[[0, 1] * 3] * 3, epochs=2, verbose=0)
    return task


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_answers_as_the_model(family, tmp_path):
    task = trained_task(folder_of(family, tmp_path / family))
    # Verified in a fresh process before it is published: golden examples, hostile texts, TF 1 sessions.
    path = export_task(task, tmp_path / "reviews", golden=[text.encode() for text in TEXTS], max_batch=3)
    assert Manifest.read(path).preprocessing["tokenizer"] == f"{FAMILIES[family]}Tokenizer"
    labels = list(task.class_names)
    for content in (*TEXTS, *STRANGE):
        logits = task.model(task.preprocessing.batch(tf.constant([content])), training=False)
        expected = task.objective.probabilities(logits).numpy()[0]
        (answer,) = SavedModelPredictor(path).predict([content])
        np.testing.assert_allclose(answer["scores"], [expected[labels.index(c)] for c in answer["classes"]], atol=1e-5)


def test_tokens_in_a_graph_are_those_of_sentencepiece(tmp_path):
    path = folder_of("xlm_roberta", tmp_path / "encoder")
    preprocessing = tlkit.text_classifier(str(path), ["bad", "good"], max_tokens=32).preprocessing
    pieces = sentencepiece.SentencePieceProcessor(model_proto=proto("xlm_roberta"))
    for text in TEXTS:
        # fairseq's vocabulary: <s> 0, <pad> 1, </s> 2, <unk> 3, and every other piece moved up by one.
        expected = [0, *((number + 1 if number else 3) for number in pieces.encode(text)), 2]
        assert preprocessing.batch(tf.constant([text])).numpy().tolist() == [expected]
