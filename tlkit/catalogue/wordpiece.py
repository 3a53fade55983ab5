"""The vocabulary and the settings of a WordPiece tokenizer, read from files; no TensorFlow and no Keras."""

from __future__ import annotations

import string
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.catalogue.encoder_folder import EncoderFolder, read_json
from tlkit.catalogue.text_records import TextEncoder
from tlkit.errors import WeightsError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class WordPieceSettings:
    """How text is cleaned before WordPiece (Devlin et al. 2018, arXiv:1810.04805) splits it.

    Attributes:
        lowercase: whether letters are made small.
        strip_accents: whether "é" becomes "e".
        split_on_cjk: whether every Chinese character is a word.
    """

    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool = True


def characters() -> list[str]:
    """Return a vocabulary that needs no file: special tokens, and ASCII and Latin-1 characters, each also as "##x".

    >>> characters()[:6], "##z" in characters(), "é" in characters()
    (['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '0'], True, True)
    """
    latin = [chr(code) for code in range(0xA1, 0x100) if chr(code).isalpha()]
    single = [*string.digits, *string.ascii_letters, *string.punctuation, *latin]
    return [*SPECIAL, *single, *(f"##{one}" for one in single)]


def settings(folder: EncoderFolder, row: TextEncoder | None) -> WordPieceSettings:
    """Return how text was cleaned when the encoder of a folder was trained.

    In Hugging Face's tokenizer_config.json, `strip_accents` null means "as do_lower_case"; KerasHub's converter
    forgets it. Where that file does not say, tokenizer.json is asked, then the row.

    Args:
        folder: a folder with a WordPiece encoder.
        row: its row in the catalogue, or None.

    Raises:
        WeightsError: nothing says whether letters are made small.
    """
    if folder.layout == "keras_hub":
        config = read_json(folder.path / "tokenizer.json").get("config") or {}
        lowercase = bool(config.get("lowercase"))
        # An uncased BERT was trained without accents, although some published presets keep them.
        published = row is not None and bool(row.preset) and not row.cased
        strip = bool(config.get("strip_accents")) or (lowercase and published)
        return WordPieceSettings(lowercase, strip, bool(config.get("split_on_cjk", True)))
    given, fast = folder.path / "tokenizer_config.json", folder.path / "tokenizer.json"
    config = read_json(given) if given.is_file() else {}
    if config.get("do_lower_case") is None and fast.is_file():
        normalizer = read_json(fast).get("normalizer") or {}
        if normalizer.get("type") == "BertNormalizer":
            config = {
                "do_lower_case": normalizer.get("lowercase"),
                "strip_accents": normalizer.get("strip_accents"),
                "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
            }
    lower = config.get("do_lower_case")
    if lower is None and row is not None:
        lower = not row.cased
    if not isinstance(lower, bool):
        raise WeightsError(
            f"{given} does not specify lower-casing",
            received=lower,
            allowed="do_lower_case true or false",
        )
    accents = config.get("strip_accents")
    return WordPieceSettings(lower, lower if accents is None else bool(accents), _chinese(config))


def vocabulary(path: Path) -> list[str]:
    """Read a vocabulary: one token a line, or the tokenizer.json of Hugging Face.

    Args:
        path: the file.

    Returns:
        The tokens; the place of each is its id.

    Raises:
        WeightsError: the file is not text, a special token is missing, or a token stands there twice.
    """
    try:
        tokens = _fast_vocabulary(path) if path.suffix == ".json" else path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} cannot be read as a vocabulary: {error}") from error
    while tokens and not tokens[-1]:
        tokens.pop()
    missing = [token for token in SPECIAL if token not in tokens]
    if missing:
        raise WeightsError(f"{path} is not the vocabulary of a WordPiece encoder: it has no {' and no '.join(missing)}")
    if len(set(tokens)) < len(tokens):
        twice, count = Counter(tokens).most_common(1)[0]
        raise WeightsError(f"{path} has the token {twice!r} {count} times")
    return tokens


def _chinese(config: dict[str, Any]) -> bool:
    return bool(config.get("tokenize_chinese_chars", True))


def _fast_vocabulary(path: Path) -> list[str]:
    model = read_json(path).get("model") or {}
    known = model.get("vocab")
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(known, dict):
        raise WeightsError(f"{path} contains no WordPiece vocabulary", received=model.get("type"))
    tokens = sorted(known, key=lambda token: known[token])
    if [known[token] for token in tokens] != list(range(len(tokens))):
        raise WeightsError(f"{path} has a vocabulary with gaps: its ids are not 0 to {len(tokens) - 1}")
    return tokens
