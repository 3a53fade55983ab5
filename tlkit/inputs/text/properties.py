"""Properties of a text that a person understands: its script, its language, how it was decoded."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from typing import Any

_LETTERS = 200  # looked at for the script
_FEWEST_LETTERS, _MOST_LETTERS = 40, 400  # for the language
_SURE = 0.9  # probability of a language
_BROKEN = re.compile("\ufffd|[\u0080-\u009f]|Ã[\u0080-\u00bf]|â€|Â[\u00a0-\u00bf]")


def script_of(text: str) -> str:
    """Return the script that most letters of a text are in; empty for a text without letters.

    >>> script_of("Good film"), script_of("Хороший film фильм"), script_of("42")
    ('LATIN', 'CYRILLIC', '')
    """
    letters = [letter for letter in text[: 4 * _LETTERS] if letter.isalpha()][:_LETTERS]
    if all(letter.isascii() for letter in letters):
        return "LATIN" if letters else ""
    counts = Counter(unicodedata.name(letter, "?").split()[0] for letter in letters)
    return counts.most_common(1)[0][0]


def language_of(text: str) -> str:
    """Return the language of a text as an ISO 639-1 code; empty where it is short, or not clear.

    >>> language_of("Das ist ein sehr guter Film, den ich gern noch einmal sehen würde."), language_of("42")
    ('de', '')
    """
    if len(text) < _FEWEST_LETTERS:
        return ""
    code, probability = _languages().classify(text[:_MOST_LETTERS])
    return str(code) if probability >= _SURE else ""


@functools.cache
def _languages() -> Any:
    """Load py3langid's model of languages."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def encoding_of(text: str) -> str:
    """Return what a text's characters suggest of how it was decoded: `"plain"`, `"other"` or `"broken"`.

    >>> encoding_of("naive"), encoding_of("naïve"), encoding_of("naÃ¯ve")
    ('plain', 'other', 'broken')
    """
    if text.isascii():
        return "plain"
    return "broken" if _BROKEN.search(text) else "other"
