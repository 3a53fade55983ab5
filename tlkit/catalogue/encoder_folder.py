"""Read the properties of a text encoder from the small files of its folder, without TensorFlow, Keras or weights.

Two layouts are known: Hugging Face's (config.json with a `model_type`, vocabulary, model.safetensors) and
KerasHub's (what `backbone.save_to_preset` and `tokenizer.save_to_preset` write).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tlkit.catalogue.text_records import TextEncoder
from tlkit.errors import WeightsError

# Hugging Face's model_type -> the family, and the type of those that KerasHub's loader has no converter for.
_HUGGING_FACE = {
    "bert": "bert",
    "distilbert": "distil_bert",
    "roberta": "roberta",
    "xlm-roberta": "xlm_roberta",
    "albert": "albert",
}
_NO_CONVERTER = {"electra": "ELECTRA", "deberta-v2": "DeBERTa-V3"}
_KERAS_HUB = {
    "BertBackbone": "bert",
    "DistilBertBackbone": "distil_bert",
    "ElectraBackbone": "electra",
    "RobertaBackbone": "roberta",
    "DebertaV3Backbone": "deberta_v3",
    "AlbertBackbone": "albert",
    "XLMRobertaBackbone": "xlm_roberta",
}
_TOKENIZER_OF = {
    "bert": "wordpiece",
    "distil_bert": "wordpiece",
    "electra": "wordpiece",
    "roberta": "bpe",
    "deberta_v3": "sentencepiece",
    "albert": "sentencepiece",
    "xlm_roberta": "sentencepiece",
}
# What KerasHub builds whatever config.json says: (activations, epsilon of layer normalization).
_FIXED = {
    "bert": (("gelu", "gelu_new", "gelu_pytorch_tanh"), 1e-12),
    "distil_bert": (("gelu",), 1e-12),
    "roberta": (("gelu",), 1e-5),
    "xlm_roberta": (("gelu",), 1e-5),
    "albert": (("gelu", "gelu_new", "gelu_pytorch_tanh"), 1e-12),
}
_SIZES = ("vocabulary", "width", "layers", "heads", "intermediate", "positions")
_HF_NAMES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
_DISTIL_NAMES = ("vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings")
_KERAS_NAMES = (
    "vocabulary_size",
    "hidden_dim",
    "num_layers",
    "num_heads",
    "intermediate_dim",
    "max_sequence_length",
)


@dataclass(frozen=True)
class EncoderFolder:
    """An encoder on disk.

    Attributes:
        path: the folder.
        layout: "huggingface" or "keras_hub".
        family: as in `TextEncoder`.
        sizes: vocabulary, width, layers, heads, intermediate, positions, and embedding_width where it has one.
        tokenizer: "wordpiece", "sentencepiece" or "bpe".
        tokenizer_file: the file with the vocabulary.
        pooling: "mean" or "cls" as a sentence-transformers folder says, else None.
        normalize: whether the encoder's vectors are scaled to length 1, as `write_pooling` noted it. Only a folder in
            KerasHub's layout says so: modules.json in Hugging Face's layout was never read, and projects that were
            trained on such a folder have to stay as they are.
    """

    path: Path
    layout: str
    family: str
    sizes: Mapping[str, int]
    tokenizer: str
    tokenizer_file: Path
    pooling: Literal["mean", "cls"] | None
    normalize: bool = False

    def check_against(self, row: TextEncoder) -> None:
        """Raise an error if the encoder is not the one of a row.

        Raises:
            WeightsError: the architecture differs; the message says in what.
        """
        found = {"family": self.family, **{name: self.sizes[name] for name in _SIZES}}
        compared = ("family", "width", "layers", "intermediate", "vocabulary")
        different = [
            f"{name} {found[name]} instead of {getattr(row, name)}"
            for name in compared
            if found[name] != getattr(row, name)
        ]
        if different:
            raise WeightsError(
                f"{self.path} holds another encoder than {row.name}: {', '.join(different)}",
                fix="pass the name of this encoder, or pass the folder as the encoder",
            )


def is_encoder_folder(path: Path) -> bool:
    """Return whether a folder can have an encoder: it has a config.json."""
    return (path / "config.json").is_file()


def read(path: Path) -> EncoderFolder:
    """Read the properties of the encoder in a folder, without its weights.

    Example:
        >>> read(Path("all-MiniLM-L6-v2")).sizes["width"]
        384

    Args:
        path: the folder.

    Returns:
        What it holds.

    Raises:
        WeightsError: a file is missing or damaged, or the encoder is of a kind that cannot be loaded faithfully.
    """
    if not is_encoder_folder(path):
        raise WeightsError(f"{path} is not a folder with an encoder: it has no config.json")
    config = read_json(path / "config.json")
    if "registered_name" in config:
        return _read_keras_hub(path, config)
    if "model_type" in config:
        return _read_hugging_face(path, config)
    raise WeightsError(
        f"{path / 'config.json'} is neither Hugging Face's nor KerasHub's: it has no model_type and no registered_name"
    )


def read_sizes(path: Path) -> dict[str, int]:
    """Read the sizes of a BERT from Hugging Face's config.json; the weights need not exist yet.

    Args:
        path: the folder with the config.json.

    Returns:
        vocabulary, width, layers, heads, intermediate and positions.

    Raises:
        WeightsError: the file is missing or damaged, or a size is no positive integer.
    """
    return _sizes(path, read_json(path / "config.json"), _HF_NAMES)


def write_pooling(path: Path, pooling: Literal["mean", "cls"], normalize: bool) -> None:
    """Write the pooling of an encoder into the files that sentence-transformers uses.

    Args:
        path: the folder of an encoder.
        pooling: "mean" or "cls"; the mean, which is the default, is not written.
        normalize: whether the vector is scaled to length 1.
    """
    if pooling == "cls":
        (path / "1_Pooling").mkdir(exist_ok=True)
        modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        (path / "1_Pooling" / "config.json").write_text(json.dumps(modes, indent=4), encoding="utf-8")
    if normalize:
        parts = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
        modules = [
            {"idx": number, "name": str(number), "path": folder, "type": f"sentence_transformers.models.{kind}"}
            for number, (folder, kind) in enumerate(parts)
        ]
        (path / "modules.json").write_text(json.dumps(modules, indent=4), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        WeightsError: the file is missing or holds something else; the message names it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path} contains no JSON object")
    return value


def _read_hugging_face(path: Path, config: Mapping[str, Any]) -> EncoderFolder:
    kind = config["model_type"]
    if kind in _NO_CONVERTER:
        raise WeightsError(
            f"KerasHub cannot convert Hugging Face's {_NO_CONVERTER[kind]}",
            fix="use a folder in KerasHub's own layout, or the source 'keras'",
        )
    family = _HUGGING_FACE.get(kind)
    if family is None:
        raise WeightsError(f"{path} contains no known text encoder", received=kind, allowed=_HUGGING_FACE)
    names = _DISTIL_NAMES if family == "distil_bert" else _HF_NAMES
    sizes = _sizes(path, config, names)
    if family in ("roberta", "xlm_roberta"):
        sizes["positions"] -= 2  # the first two rows are never used
    if family == "albert":
        sizes["embedding_width"] = _number(path, config, "embedding_size")
    _check_faithful(path, family, config)
    if not any((path / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise WeightsError(
            f"{path} has no model.safetensors", fix="other formats are not read, because they can run code"
        )
    tokenizer, file = _hugging_face_tokenizer(path, family)
    return EncoderFolder(path, "huggingface", family, MappingProxyType(sizes), tokenizer, file, _pooling(path))


def _check_faithful(path: Path, family: str, config: Mapping[str, Any]) -> None:
    """Raise an error for settings that KerasHub would silently ignore."""
    activations, epsilon = _FIXED[family]
    activation = config.get("activation" if family == "distil_bert" else "hidden_act", "gelu")
    given = config.get("layer_norm_eps", epsilon)
    places = config.get("position_embedding_type", "absolute")
    wrong = [
        text
        for text, bad in (
            (f"hidden_act {activation!r} (supported: {activations[0]!r})", activation not in activations),
            (f"layer_norm_eps {given!r} (supported: {epsilon!r})", given != epsilon),
            (f"position_embedding_type {places!r} (supported: 'absolute')", places not in ("absolute", None)),
        )
        if bad
    ]
    if wrong:
        raise WeightsError(
            f"{path / 'config.json'} has settings that KerasHub's {family} does not support: {', '.join(wrong)}"
        )


def _hugging_face_tokenizer(path: Path, family: str) -> tuple[str, Path]:
    kind = _TOKENIZER_OF[family]
    if family == "bert" and not (path / "vocab.txt").is_file() and (path / "sentencepiece.bpe.model").is_file():
        kind, wanted = "sentencepiece", ["sentencepiece.bpe.model"]  # such as multilingual-e5
    elif kind == "wordpiece":
        wanted = ["vocab.txt", "tokenizer.json"]
    elif kind == "bpe":
        wanted = ["vocab.json"]
        if not (path / "merges.txt").is_file():
            raise WeightsError(f"{path} has no merges.txt")
    else:
        wanted = ["spiece.model"] if family == "albert" else ["sentencepiece.bpe.model"]
    return kind, _first(path, wanted)


def _read_keras_hub(path: Path, config: Mapping[str, Any]) -> EncoderFolder:
    class_name = str(config["registered_name"]).rpartition(">")[2]
    family, inner = _KERAS_HUB.get(class_name), config.get("config")
    if family is None or not isinstance(inner, dict):
        raise WeightsError(f"{path} contains no known text encoder", received=class_name, allowed=_KERAS_HUB)
    names = ("vocab_size", *_KERAS_NAMES[1:]) if family == "electra" else _KERAS_NAMES
    sizes = _sizes(path, inner, names)
    if family in ("electra", "albert"):
        sizes["embedding_width"] = _number(path, inner, "embedding_dim")
    _first(path, ["model.weights.h5", "model.weights.json"])
    if not (path / "tokenizer.json").is_file():
        raise WeightsError(f"{path} has no tokenizer.json", fix="save the tokenizer to this folder too")
    name = str(read_json(path / "tokenizer.json").get("registered_name")).rpartition(">")[2]
    found = {f"{cls.removesuffix('Backbone')}Tokenizer": _TOKENIZER_OF[own] for cls, own in _KERAS_HUB.items()}
    if name not in found:
        raise WeightsError(f"{path / 'tokenizer.json'} contains no known tokenizer", received=name, allowed=found)
    asset = {"wordpiece": "vocabulary.txt", "bpe": "vocabulary.json", "sentencepiece": "vocabulary.spm"}[found[name]]
    file = _first(path, [f"assets/tokenizer/{asset}"])
    frozen, normalize = MappingProxyType(sizes), _normalizes(path)
    return EncoderFolder(path, "keras_hub", family, frozen, found[name], file, _pooling(path), normalize)


def _pooling(path: Path) -> Literal["mean", "cls"] | None:
    file = path / "1_Pooling" / "config.json"
    if not file.is_file():
        return None
    config = read_json(file)
    return "cls" if config.get("pooling_mode_cls_token") else "mean"


def _normalizes(path: Path) -> bool:
    file = path / "modules.json"
    if not file.is_file():
        return False
    try:
        modules = json.loads(file.read_text(encoding="utf-8"))
        return any(str(module["type"]).endswith(".Normalize") for module in modules)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{file} is not a module list of sentence-transformers: {error!r}") from error


def _sizes(path: Path, config: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, int]:
    return {ours: _number(path, config, theirs) for ours, theirs in zip(_SIZES, names, strict=True)}


def _number(path: Path, config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WeightsError(f"{path / 'config.json'}: {name} is not a positive integer", received=value)
    return value


def _first(path: Path, names: list[str]) -> Path:
    for name in names:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"{path} has no {' and no '.join(names)}")
