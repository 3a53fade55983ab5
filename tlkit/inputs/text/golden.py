"""Examples of texts that are recorded with an export, and that it is warmed up with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tlkit.inputs.base import WarmupExample

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing

_SENTENCES = (
    "A quiet film that stays with you.",
    "No.",
    "The first hour drags, the jokes fall flat, and yet the ending - which I will not give away - made up for it.",
)
# Many scripts, signs made of several characters and what no keyboard types: longer than any window but one.
_MIXED = (
    "Ça c'est de l’ÉTÉ! 👩‍👩‍👧‍👦🏳️‍🌈 电影很好看 映画です 영화 فيلم رائع "
    "סרט ประทับใจ e\u0301a\u0308 ﬁn\u00adal\tx\u200by\ufeff\u0007 "
)

ALWAYS = ((_MIXED * 20).encode("utf-8"), b"")


def golden(given: Sequence[bytes], preprocessing: TextPreprocessing | None = None) -> list[bytes]:
    """Return the texts that were given, or sentences; then a long text of many scripts, and the empty one."""
    return [*(given or [text.encode("utf-8") for text in _SENTENCES]), *ALWAYS]


def warmup(preprocessing: TextPreprocessing, contents: Sequence[bytes], wire: Mapping[str, Any]) -> list[WarmupExample]:
    """Return up to three texts: a short one, a middling one, and one as long as the encoder reads at once.

    Where it reads windows, the last one fills two of them.
    """
    most, windows = wire["max_tokens"], wire["max_windows"]
    lengths = sorted({min(8, most), min(8 + most // 4, most), most * min(2, windows)})
    # One letter is one token, known or unknown; the start and the end of a text are two more.
    texts = [b"a " * (length - 2) for length in lengths]
    ids = [preprocessing.batch(tf.constant([text])).numpy() for text in texts]
    return [WarmupExample(text, row.shape[1:], int(row[0, 0])) for text, row in zip(texts, ids, strict=True)]
