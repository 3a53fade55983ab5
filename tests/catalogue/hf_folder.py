"""Writes tiny BERT folders in Hugging Face's layout, wheels around them, and computes BERT in plain NumPy."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tlkit.catalogue.text_records import WheelFolder

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("a", "good", "bad", "film", "cafe", "café", "##s", "##ing", "!", ".", "very", "the", "was", "Good")


def bert_weights(vocabulary: int, layers: int, width: int, positions: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights by Hugging Face's names; the feed-forward layer is twice as wide."""
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return rng.normal(0.0, 0.3, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": random(vocabulary, width),
        "embeddings.position_embeddings.weight": random(positions, width),
        "embeddings.token_type_embeddings.weight": random(2, width),
        "pooler.dense.weight": random(width, width),
        "pooler.dense.bias": random(width),
    }
    dense = [("attention.self.query", width, width), ("attention.self.key", width, width)]
    dense += [("attention.self.value", width, width), ("attention.output.dense", width, width)]
    dense += [("intermediate.dense", 2 * width, width), ("output.dense", width, 2 * width)]
    norms = ["embeddings.LayerNorm"]
    for layer in range(layers):
        for name, outputs, inputs in dense:
            weights[f"encoder.layer.{layer}.{name}.weight"] = random(outputs, inputs)
            weights[f"encoder.layer.{layer}.{name}.bias"] = random(outputs)
        norms += [f"encoder.layer.{layer}.{part}.LayerNorm" for part in ("attention.output", "output")]
    for norm in norms:
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = 1.0 + random(width), random(width)
    return weights


def write_bert_folder(
    path: Path,
    layers: int = 2,
    width: int = 32,
    vocabulary: Sequence[str] = (*SPECIAL, *WORDS),
    *,
    heads: int = 2,
    positions: int = 64,
    config: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Write config.json, vocab.txt, tokenizer_config.json and model.safetensors; return the weights.

    `config` and `tokenizer` replace or add entries of the two JSON files.
    """
    path.mkdir(parents=True, exist_ok=True)
    weights = bert_weights(len(vocabulary), layers, width, positions, seed)
    facts = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": positions,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "vocab_size": len(vocabulary),
        **(config or {}),
    }
    cleaning = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True, **(tokenizer or {})}
    (path / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(cleaning), encoding="utf-8")
    (path / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return weights


def make_encoder_wheel(folder: Path, encoder: Path, package: str = "tlkit-test-encoder") -> WheelFolder:
    """Write a wheel that pip accepts around the files of an encoder, and return the record of it.

    It has files of the same name one level down, a file that the record does not name, and a dependency that does
    not exist.
    """
    module = package.replace("-", "_")
    info, inside = f"{module}-0.1.0.dist-info", f"{module}/model"
    path = folder / f"{module}-0.1.0-py3-none-any.whl"
    contents = {file.name: file.read_bytes() for file in sorted(encoder.iterdir()) if file.is_file()}
    contents["1_Pooling/config.json"] = json.dumps({"pooling_mode_cls_token": True}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('code from a wheel of weights was run')\n")
        for name, content in contents.items():
            archive.writestr(f"{inside}/{name}", content)
        archive.writestr(f"{inside}/pytorch_model.bin", b"not to be read")
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\nRequires-Dist: no-such-package-at-all\n",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    members = tuple((name, hashlib.sha256(content).hexdigest()) for name, content in contents.items())
    return WheelFolder(package, "0.1.0", digest, inside, members)


def numpy_bert(weights: Mapping[str, np.ndarray], ids: Sequence[int], heads: int, exact: bool = False) -> np.ndarray:
    """Devlin et al. 2018 for one unpadded sequence: token ids [T] to float64 [T, width].

    `exact` takes GELU by the error function, as Hugging Face does; else by the hyperbolic tangent, as Google's BERT
    and KerasHub do (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2).
    """
    values = {name: value.astype(np.float64) for name, value in weights.items()}
    layers = 1 + max(int(name.split(".")[2]) for name in values if name.startswith("encoder.layer."))

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ values[f"{name}.weight"].T + values[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * values[f"{name}.weight"] + values[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        if exact:
            return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), heads, -1).transpose(1, 0, 2)

    x = values["embeddings.word_embeddings.weight"][list(ids)]
    x = x + values["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + values["embeddings.token_type_embeddings.weight"][0])
    for number in range(layers):
        prefix = f"encoder.layer.{number}"
        query, key, value = (split(dense(f"{prefix}.attention.self.{part}", x)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        mixed = dense(f"{prefix}.attention.output.dense", mixed.transpose(1, 0, 2).reshape(len(ids), -1))
        x = norm(f"{prefix}.attention.output.LayerNorm", x + mixed)
        inner = dense(f"{prefix}.output.dense", gelu(dense(f"{prefix}.intermediate.dense", x)))
        x = norm(f"{prefix}.output.LayerNorm", x + inner)
    return x
