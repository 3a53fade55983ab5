"""Token ids -> words as the reader wrote them."""

from __future__ import annotations

import dataclasses
import html
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Joining = Literal["wordpiece", "sentencepiece", "bytepair"]
# What `strip_html` of the text preprocessing takes out and reads.
_MARKUP = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>|<![A-Za-z][^<>]*>", re.DOTALL)
_ENTITY = re.compile(r"&(nbsp|lt|gt|quot|apos|amp|#160|#60|#62|#34|#39|#x27|#38);", re.IGNORECASE)
_SPACE = {"wordpiece": "", "sentencepiece": "▁", "bytepair": "Ġ"}


@dataclasses.dataclass(frozen=True)
class Piece:
    """A word of a text and what it is worth.

    Attributes:
        text: the word and the space behind it; all pieces of a text, put together, are the text.
        value: sum of the values of its tokens; 0 for what was not read.
        read: whether the model saw it; False for what lies beyond its limit of tokens.
    """

    text: str
    value: float
    read: bool = True


def pieces_of(
    text: str, ids: Sequence[int], values: npt.ArrayLike, tokenizer: Any, *, markup: bool = False
) -> tuple[Piece, ...]:
    """Join tokens into words, add up their values and find the words in the text.

    A tokenizer lowers case, strips accents and drops spaces; this looks for each word in the text where it should
    come next, from the beginning and, where tokens were left out of the middle, from the end.

    Example:
        >>> pieces_of("What a Film!", tokenizer.tokenize("What a Film!"), [0.1, 0.0, 0.5, 0.2], tokenizer)
        (Piece('What ', 0.1), Piece('a ', 0.0), Piece('Film', 0.5), Piece('!', 0.2))

    Args:
        text: the text as it was written.
        ids: its token ids, int [t], without start, end and padding tokens.
        values: float [t].
        tokenizer: a KerasHub tokenizer.
        markup: whether HTML tags were taken out and entities read before the text was tokenized.

    Returns:
        Pieces in the order of the text. A word that is not found in it stands there as the tokenizer writes it.
    """
    numbers, scores = np.asarray(ids), np.asarray(values, np.float64)
    words: list[str] = []
    totals: list[float] = []
    for group in _words([tokenizer.id_to_token(int(number)) for number in ids], _joining(tokenizer)):
        word, value = _decode(numbers[group], tokenizer), float(scores[group].sum())
        if words and not any(map(_fold, word)):  # a lone accent or space has no place of its own
            totals[-1] += value
        else:
            words.append(word)
            totals.append(value)
    unknown = getattr(tokenizer, "unk_token", None) or "[UNK]"
    folds = _folds(text, markup)
    return _lay_out(text, folds, words, totals, _find(text, folds, words, unknown))


def _joining(tokenizer: Any) -> Joining:
    names = " ".join(base.__name__ for base in type(tokenizer).__mro__)
    if "WordPiece" in names:
        return "wordpiece"
    return "sentencepiece" if "SentencePiece" in names else "bytepair"


def _words(tokens: Sequence[str], joining: Joining) -> list[list[int]]:
    """Group the places of tokens that make up one word."""
    groups: list[list[int]] = []
    for place, token in enumerate(tokens):
        if joining == "wordpiece":
            goes_on = token.startswith("##") and place > 0
        else:
            space, before = _SPACE[joining], tokens[place - 1] if place else ""
            # A lone space belongs to what follows; scripts without spaces and punctuation are not glued together.
            # Half a character, in bytes, goes with the other half.
            ends = (before[-1:], token[:1])
            glued = all(_is_letter(end) or (joining == "bytepair" and not end.isascii()) for end in ends)
            goes_on = place > 0 and not token.startswith(space) and (before == space or glued)
        if goes_on:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _decode(ids: npt.NDArray[Any], tokenizer: Any) -> str:
    if _joining(tokenizer) == "bytepair":  # its tokens are bytes in disguise, so one alone may be no text
        spoken = tokenizer.detokenize(ids)
        spoken = spoken.numpy() if hasattr(spoken, "numpy") else spoken
        spoken = spoken.decode("utf-8", "replace") if isinstance(spoken, bytes) else str(spoken)
        return spoken.strip()
    tokens = [tokenizer.id_to_token(int(number)) for number in ids]
    return "".join(token.removeprefix("##").replace("▁", "") for token in tokens)


def _fold(character: str) -> str:
    """Lower case without accents; nothing for spaces and what is invisible."""
    if character.isascii():
        return "" if character.isspace() or not character.isprintable() else character.lower()
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(c for c in parts if unicodedata.category(c) not in {"Mn", "Cc", "Cf"} and not c.isspace())


def _folds(text: str, markup: bool) -> list[str | None]:
    """Fold each character; None for those of a tag. All of an entity stands at its first character."""
    folds: list[str | None] = [_fold(character) for character in text]
    if markup:
        for found in _MARKUP.finditer(text):
            folds[found.start() : found.end()] = [None] * len(found.group())
        for found in _ENTITY.finditer(text):
            read = "".join(_fold(character) for character in html.unescape(found.group()))
            folds[found.start() : found.end()] = [read, *[""] * (len(found.group()) - 1)]
    return folds


def _find(text: str, folds: Sequence[str | None], words: Sequence[str], unknown: str) -> list[tuple[int, int] | None]:
    """Give the place of each word in `text`, [start, end), or None."""
    source = "".join(fold or "" for fold in folds)
    places = [place for place, fold in enumerate(folds) for _ in fold or ""]
    cells = _cells(text)
    folded = ["".join(_fold(character) for character in word) for word in words]
    spans: list[tuple[int, int] | None] = [None] * len(words)
    first, last = 0, len(source)  # what is still free of `source`

    def size_of(number: int, free: Sequence[int]) -> int:
        if words[number] != unknown or not free:
            return len(folded[number])
        return sum(1 for _ in itertools.takewhile(lambda place: cells[place] == cells[free[0]], free))

    def take(number: int, start: int, end: int) -> None:
        spans[number] = (places[start], places[end - 1] + 1) if end > start else None

    number = 0
    while number < len(words):
        size = size_of(number, places[first:last])
        if words[number] != unknown and not source.startswith(folded[number], first):
            break
        take(number, first, first + size)
        first, number = first + size, number + 1
    for back in range(len(words) - 1, number - 1, -1):
        size = size_of(back, places[first:last][::-1])
        if last - size < first or (words[back] != unknown and not source.endswith(folded[back], first, last)):
            break
        take(back, last - size, last)
        last -= size
    return spans


def _cells(text: str) -> list[int]:
    """Number the runs of characters that a tokenizer never takes apart before it looks into its vocabulary."""
    cells, cell = [], 0
    for place, character in enumerate(text):
        apart = not _is_letter(character) and not _is_symbol(character)
        before = text[place - 1] if place else " "
        cell += apart or not (_is_letter(before) or _is_symbol(before))
        cells.append(cell)
    return cells


def _is_letter(character: str) -> bool:
    """Whether it can be in the middle of a word: no punctuation, no space, and no script that writes none."""
    if character.isascii():
        return character.isalnum()
    if unicodedata.category(character)[0] not in "LMN":
        return False
    return not unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER"))


def _is_symbol(character: str) -> bool:
    """Whether it is like an emoji: neither letter nor punctuation, and part of the word beside it."""
    return not character.isascii() and unicodedata.category(character)[0] == "S"


def _lay_out(
    text: str,
    folds: Sequence[str | None],
    words: Sequence[str],
    values: Sequence[float],
    spans: Sequence[tuple[int, int] | None],
) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    lost: list[Piece] = []  # words that were not found, since the last one that was
    at = 0

    def reach(until: int) -> None:
        gap = text[at:until]
        solid = next((place for place, fold in enumerate(folds[at:until]) if fold != ""), len(gap))
        _append(pieces, gap[:solid])
        if lost:
            _append(pieces, "" if not pieces or pieces[-1].text.endswith(" ") else " ")
            pieces.extend(lost)
            lost.clear()
        elif gap[solid:]:
            pieces.append(Piece(gap[solid:], 0.0, read=False))

    for word, value, span in zip(words, values, spans, strict=True):
        if span is None:
            lost.append(Piece(f"{word} ", value))
        else:
            reach(span[0])
            pieces.append(Piece(text[max(at, span[0]) : span[1]], value))
            at = max(at, span[1])
    reach(len(text))
    return tuple(pieces)


def _append(pieces: list[Piece], text: str) -> None:
    if pieces and text:
        pieces[-1] = dataclasses.replace(pieces[-1], text=pieces[-1].text + text)
