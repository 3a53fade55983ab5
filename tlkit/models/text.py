"""Text classification on a pretrained language-model encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.catalogue.encoders import build_encoder
from tlkit.errors import ConfigError, ModelError
from tlkit.inputs.text.preprocessing import LongTexts, TextPreprocessing, sha256_of
from tlkit.models.head import HeadBuilder, build_head, check_dropout
from tlkit.models.seeding import follows_seed
from tlkit.models.task import LayerGroup, Precision, Task, check_class_names
from tlkit.models.text_layers import Pooling, TokenMask, TokenPooling, TokenWindows, set_dropout
from tlkit.targets.objective import Objective, classification


@follows_seed
def text_classifier(
    encoder: str,
    class_names: Sequence[str],
    *,
    preprocessing: TextPreprocessing | None = None,
    max_tokens: int = 128,
    long_texts: LongTexts = "head",
    strip_html: bool = False,
    weights: Any = "auto",
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    layers: int = 1,
    dropout: float = 0.1,
    encoder_dropout: float = 0.1,
    head: HeadBuilder | None = None,
    multi_label: bool = False,
    precision: Precision = "float32",
    must_serve: bool = True,
    seed: int = 0,
) -> Task:
    """Put a new head on a pretrained text encoder.

    Example:
        >>> task = text_classifier("all-minilm-l6-v2", ["negative", "positive"])
        >>> task.model(task.preprocessing.batch(["What a fine film."])).shape
        TensorShape([1, 2])

    Args:
        encoder: a name of the catalogue, such as `"all-minilm-l6-v2"` or `"bert-base-en-uncased"`, or a folder with an
            encoder in Hugging Face's or KerasHub's form.
        class_names: the labels, in the order of the outputs.
        preprocessing: `data.preprocessing`; by default created from the next three arguments.
        max_tokens, long_texts, strip_html: see `TextPreprocessing`.
        weights: `"auto"` tries the configured sources, `"none"` starts from random weights and logs it, a path or a
            list of sources names them; see `tlkit.catalogue.encoders`.
        pooling: how the vectors of the tokens become one for the text: `"mean"`, `"cls"` (that of the start token),
            `"max"`, or `"meanmax"` (both, concatenated). Default: the pooling of the encoder.
        normalize: scale what is pooled of each block to length 1 (L2), in training, prediction and export alike; what
            the encoder's model card says by default.
        layers: pool the last so many blocks and put them side by side. What a frozen encoder knows is spread over its
            last blocks: four suit a head alone (Devlin et al. 2018, arXiv 1810.04805, section 5.3). Encoders whose
            blocks are one and the same layer (ALBERT) have one.
        dropout: dropout rate of the embedding, in [0, 1). Unused with `head`.
        encoder_dropout: likewise inside the encoder, once it is unfrozen.
        head: builds logits from the embedding: `head(embedding [B, F], num_classes) -> logits [B, num_classes]`.
        multi_label: whether an example can have several labels, or none.
        precision: dtype policy of the encoder; see `Task.set_precision`.
        must_serve: raise an error for an encoder that cannot be exported.
        seed: random seed of initial weights, dropout and the random numbers of `head`.

    Returns:
        A `Task` whose encoder is frozen. Its layer groups are embeddings, lower, middle and upper third of the blocks,
        and head.

    Raises:
        ModelError: the encoder is unknown, cannot take so many tokens, or cannot be exported.
        ConfigError: another argument is invalid, or the preprocessing is another encoder's.
        WeightsError: no source has the weights.
    """
    names = check_class_names(class_names, least=1 if multi_label else 2)
    check_dropout("dropout", dropout)
    check_dropout("encoder_dropout", encoder_dropout)
    built = build_encoder(
        encoder,
        weights=weights,
        max_tokens=max_tokens if preprocessing is None else preprocessing.max_tokens,
        seed=seed,
    )
    if preprocessing is None:
        preprocessing = TextPreprocessing(
            built.tokenizer, max_tokens=max_tokens, long_texts=long_texts, strip_html=strip_html
        )
    elif preprocessing.tokenizer_sha256 != sha256_of(built.tokenizer):
        raise ConfigError(
            "the preprocessing has the tokenizer of another encoder",
            received=preprocessing.tokenizer_sha256[:12],
            fix=f"create the data with encoder={encoder!r}",
        )
    why_not = built.row.why_not or preprocessing.why_not
    if must_serve and why_not:
        raise ModelError(
            f"{encoder} cannot be exported: {why_not}",
            fix="choose an encoder that can be served (`tlkit weights list`), or pass must_serve=False",
        )
    set_dropout(built.model, seed, rate=encoder_dropout)
    task = assemble(
        built.model,
        built.groups,
        preprocessing,
        names,
        pooling=pooling or built.pooled,
        normalize=built.normalized if normalize is None else normalize,
        layers=layers,
        head=build_head(head, dropout, seed),
        objective=classification(names, multi_label),
        name=built.row.name,
        weights_source=built.weights_source,
    )
    task.set_precision(precision)
    return task


def assemble(
    network: keras.Model,
    groups: Sequence[tuple[str, Sequence[keras.layers.Layer]]],
    preprocessing: TextPreprocessing,
    class_names: tuple[str, ...],
    *,
    pooling: Pooling,
    layers: int,
    head: HeadBuilder,
    objective: Objective,
    name: str,
    weights_source: str,
    normalize: bool = False,
) -> Task:
    """Combine windows, encoder, pooling and head into a model.

    Args:
        network: a KerasHub backbone: inputs `token_ids` and `padding_mask`, and `segment_ids` where it has them.
        groups: its layers by group, from the input to the output.
        preprocessing: makes the token ids.
        class_names: the labels.
        pooling: see `TokenPooling`.
        layers: number of last blocks that are pooled.
        head: builds logits from the embedding.
        objective: what the logits mean.
        name: of the encoder.
        weights_source: where its weights came from.
        normalize: see `TokenPooling`.

    Returns:
        A frozen `Task`. What the encoder has beyond the vectors of the tokens, such as BERT's pooler, is left out.
    """
    encoder = keras.Model(network.input, _outputs(network, groups, layers), name="encoder")
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    windows = TokenWindows(preprocessing.max_tokens, name="windows")(token_ids)
    given = encoder_inputs(network, windows, preprocessing.pad_id)
    vectors = encoder(given)
    vectors = vectors if isinstance(vectors, list) else [vectors]  # Keras unpacks a list of one
    pool = TokenPooling(pooling, normalize, name="pooling", dtype="float32")
    embedding = pool([*vectors, given["padding_mask"], token_ids])
    features = keras.Model(token_ids, embedding, name="features")

    embedding_input = keras.Input(features.output_shape[1:], name="embedding")
    head_model = keras.Model(embedding_input, head(embedding_input, len(class_names)), name="head")
    model = keras.Model(token_ids, head_model(features(token_ids)), name="text_classifier")
    task = Task(
        kind="text_classification",
        model=model,
        features=features,
        head=head_model,
        backbone=encoder,
        preprocessing=preprocessing,
        class_names=class_names,
        groups=(*groups_within(encoder, groups), LayerGroup("head", (head_model,))),
        backbone_name=name,
        weights_source=weights_source,
        objective=objective,
    )
    task.freeze_to(-1)
    return task


def _outputs(
    network: keras.Model, groups: Sequence[tuple[str, Sequence[keras.layers.Layer]]], layers: int
) -> list[Any]:
    """Return the outputs of the last blocks for each token; the last one as the network returns it."""
    # A layer that is called several times has no single output.
    blocks = [layer for _, members in groups[1:] for layer in members if len(layer._inbound_nodes) == 1]
    most = max(1, len(blocks))
    if isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= most:
        raise ConfigError("layers is invalid", received=layers, allowed=f"a whole number from 1 to {most}")
    return [*(block.output for block in blocks[most - layers : -1]), token_vectors(network)]


def token_vectors(network: keras.Model) -> Any:
    """Return the output of a KerasHub backbone that has a vector for each token, [B, T, width]."""
    return network.output["sequence_output"] if isinstance(network.output, dict) else network.output


def encoder_inputs(network: keras.Model, token_ids: Any, pad_id: int) -> dict[str, Any]:
    """Return the inputs of a KerasHub backbone for padded token ids, int32 [B, T]: one segment, padding masked."""
    given = {"token_ids": token_ids, "padding_mask": TokenMask(pad_id, name="mask")(token_ids)}
    if "segment_ids" in network.input:
        given["segment_ids"] = keras.ops.zeros_like(token_ids)
    return given


def groups_within(
    encoder: keras.Model, groups: Sequence[tuple[str, Sequence[keras.layers.Layer]]]
) -> tuple[LayerGroup, ...]:
    """Return the layer groups without layers that a network does not use, such as the pooler of BERT."""
    in_use = {id(layer) for layer in encoder._flatten_layers()}
    return tuple(LayerGroup(name, tuple(layer for layer in members if id(layer) in in_use)) for name, members in groups)
