"""The network: a pretrained encoder and a new head."""

import keras

import tlkit
from tlkit.config import TextConfig


def head(embedding: keras.KerasTensor, num_classes: int, dropout: float, seed: int) -> keras.KerasTensor:
    """Return one logit per class, [B, num_classes], for text embeddings [B, F].

    Change the classifier here, for example add a hidden layer:
        embedding = keras.layers.Dense(256, activation="relu")(embedding)
    """
    embedding = keras.layers.Dropout(dropout, seed=seed)(embedding)
    # Zeros are safe for a single layer and give every run the same start.
    return keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name="logits")(embedding)


def build_task(config: TextConfig, class_names: tuple[str, ...]) -> tlkit.Task:
    """Build the task from tokenizer, encoder and head; `task.model` is a keras.Model of token ids."""
    return tlkit.text_classifier(
        config.encoder,
        class_names,
        weights=config.weights,
        max_tokens=config.model.max_tokens,
        long_texts=config.model.long_texts,
        strip_html=config.data.strip_html,
        pooling=None if config.model.pooling == "auto" else config.model.pooling,
        layers=config.model.layers,
        encoder_dropout=config.model.encoder_dropout,
        multi_label=config.data.multi_label,
        seed=config.data.seed,
        head=lambda embedding, classes: head(embedding, classes, config.model.dropout, config.data.seed),
    )
