"""A small text classifier with random weights: a one-block BERT of KerasHub and a vocabulary of a few words."""

from __future__ import annotations

import numpy as np

WORDS = [
    "a",
    "the",
    "film",
    "movie",
    "was",
    "is",
    "not",
    "very",
    "good",
    "great",
    "fine",
    "bad",
    "awful",
    "dull",
    "boring",
    "plot",
    "acting",
    "and",
    "but",
    "it",
    "i",
    "loved",
    "hated",
    ",",
    ".",
    "!",
    "?",
]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789'"
SENTENCES = (
    "The film was great!",
    "a dull and boring plot, bad acting.",
    "",
    "I loved it, but the movie was very very very very very very very very very very very very long.",
)


def tiny_tokenizer():
    """WordPiece over a few words and all letters."""
    import keras_hub

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*WORDS, *(letter for letter in LETTERS if letter not in WORDS), *(f"##{letter}" for letter in LETTERS)]
    return keras_hub.tokenizers.BertTokenizer(vocabulary=special + pieces, lowercase=True, strip_accents=True)


def tiny_text_task(
    labels=("bad", "good"),
    *,
    multi_label=False,
    max_tokens=16,
    long_texts="head",
    strip_html=False,
    seed=0,
    pooling="mean",
    layers=1,
    normalize=False,
):
    """A Task over texts that answers at once and tells them apart."""
    import keras
    import keras_hub

    from tlkit.inputs.text.preprocessing import TextPreprocessing
    from tlkit.models.head import build_head
    from tlkit.models.text import assemble
    from tlkit.targets.objective import classification

    keras.utils.set_random_seed(seed)
    preprocessing = TextPreprocessing(
        tiny_tokenizer(), max_tokens=max_tokens, long_texts=long_texts, strip_html=strip_html, max_windows=4
    )
    network = keras_hub.models.BertBackbone(
        vocabulary_size=preprocessing.vocabulary_size,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=32,
    )
    for variable in network.trainable_variables:  # BERT's small initial weights make all texts nearly alike
        if variable.ndim > 1:
            variable.assign(8 * variable.numpy())
    embeddings = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm")
    task = assemble(
        network,
        [
            ("embeddings", [network.get_layer(name) for name in embeddings]),
            ("lower", [network.get_layer("transformer_layer_0")]),
            ("upper", [network.get_layer("transformer_layer_1")]),
        ],
        preprocessing,
        tuple(labels),
        pooling=pooling,
        layers=layers,
        normalize=normalize,
        head=build_head(None, 0.1, seed),
        objective=classification(tuple(labels), multi_label),
        name="tiny-bert",
        weights_source="none",
    )
    kernel = task.head.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(seed).normal(size=kernel.shape))
    return task


def windows_task():
    """Several labels at once over long texts read in windows, on vectors of [CLS] that are scaled to length 1."""
    task = tiny_text_task(
        ("funny", "sad", "long"), multi_label=True, long_texts="windows", pooling="cls", normalize=True
    )
    kernel = task.head.get_layer("logits").kernel
    kernel.assign(4 * kernel.numpy())  # vectors of length 1 give small logits
    return task
