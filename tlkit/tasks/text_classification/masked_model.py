"""A language-model encoder with a head that guesses hidden tokens, as a Task that the engine trains."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.catalogue.encoders import BuiltEncoder
from tlkit.inputs.text.preprocessing import TextPreprocessing
from tlkit.models.task import LayerGroup, Task
from tlkit.models.text import encoder_inputs, groups_within, token_vectors
from tlkit.models.text_layers import set_dropout
from tlkit.targets.objective import Objective
from tlkit.targets.single_label import SingleLabel


class HiddenTokens(Objective):
    """The right token out of all, by its number."""

    def __init__(self) -> None:
        super().__init__([SingleLabel("token")])

    def loss(self, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Make the cross-entropy of logits [N, V] and token ids [N], in nats a token."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def accuracy(self) -> keras.metrics.Metric:
        """Make the part of the hidden tokens that were guessed."""
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


@keras.saving.register_keras_serializable("tlkit")
class Offset(keras.layers.Layer):
    """Adds a learned number to each logit: float [N, V] -> float32 [N, V].

    Args:
        initial: float [V], what it begins with.
    """

    def __init__(self, initial: Any, **options: Any):
        super().__init__(**options)
        self.initial = np.asarray(initial, np.float32)

    def build(self, input_shape: Any) -> None:
        """Make the numbers."""
        self.bias = self.add_weight(name="bias", shape=self.initial.shape, initializer="zeros")
        self.bias.assign(self.initial)

    def call(self, logits: Any) -> Any:
        """See the class."""
        return logits + self.bias

    def get_config(self) -> dict[str, Any]:
        """Give the arguments."""
        return {**super().get_config(), "initial": self.initial.tolist()}


def masked_language_task(
    built: BuiltEncoder, preprocessing: TextPreprocessing, frequencies: np.ndarray, *, seed: int
) -> Task:
    """Put a fresh head for masked language modelling on an encoder.

    The head is BERT's (Devlin et al. 2018, arXiv 1810.04805): dense, GELU, layer normalisation, and the transposed
    token embedding (Press & Wolf 2016, arXiv 1608.05859) with an offset for each token. It works on the hidden places
    alone, so that no logits for other tokens are computed. The offsets begin at the logarithm of how often each token
    stands in the texts, and the rest at zero: the head's first answer is that, and what it has to learn is only what
    the context adds.

    Args:
        built: the encoder, which is trained in place.
        preprocessing: made of its tokenizer.
        frequencies: how often each token stands in the training texts, [V].
        seed: of the head's weights and of all dropouts.

    Returns:
        A `Task` whose model takes `{"places": int32 [N], "token_ids": int32 [B, T]}`, places in the flattened batch,
        and gives logits float32 [N, V]; its last group is the head.
    """
    # KerasHub's MaskedLMHead would do the same, but owns the embedding that it is tied to: the two could not be frozen
    # apart, nor have different rates.
    network = built.model
    encoder = keras.Model(network.input, token_vectors(network), name="encoder")
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    vectors = encoder(encoder_inputs(network, token_ids, preprocessing.pad_id))
    width = vectors.shape[-1]
    features = keras.Model(token_ids, vectors, name="features")

    embedding = network.token_embedding
    found = keras.Input((width,), name="found")
    dense = keras.layers.Dense(
        embedding.output_dim,
        activation="gelu",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
        name="dense",
    )(found)
    transformed = keras.layers.LayerNormalization(epsilon=1e-12, gamma_initializer="zeros", name="norm")(dense)
    transform = keras.Model(found, transformed, name="transform")

    places = keras.Input((), dtype="int32", name="places")
    hidden = ops.take(ops.reshape(vectors, (-1, width)), places, axis=0)
    logits = embedding(transform(hidden), reverse=True)
    offset = Offset(_log_share(frequencies), name="offset", dtype="float32")
    model = keras.Model({"places": places, "token_ids": token_ids}, offset(logits), name="masked_language_model")

    set_dropout(network, seed)
    return Task(
        kind="masked_language_model",
        model=model,
        features=features,
        head=transform,
        backbone=encoder,
        preprocessing=preprocessing,
        class_names=(),
        groups=(*groups_within(encoder, built.groups), LayerGroup("head", (transform, offset))),
        backbone_name=built.row.name,
        weights_source=built.weights_source,
        objective=HiddenTokens(),
    )


def _log_share(frequencies: np.ndarray) -> np.ndarray:
    smoothed = np.asarray(frequencies, np.float64) + 0.1  # a token that was never seen is rare, not impossible
    return np.log(smoothed / smoothed.sum())
