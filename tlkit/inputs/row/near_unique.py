"""Text columns with almost one value a row: ids, amounts that are not read as numbers, or texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.inputs.row.columns import ColumnKind
from tlkit.inputs.row.unread_texts import describe_unread

if TYPE_CHECKING:
    import pandas as pd

_MOST = 0.9  # of the values
_SPACE = r"[ \u00a0\u202f]?"
_SIGN = r"[$€£¥₹₽₩₺₪฿₫₴₱%‰°]"
# Digits in groups of three, or with one decimal separator: 1.234.567 is a number, 10.0.0.1 is none.
_DIGITS = r"(\d{1,3}([.,'\u2019 \u00a0\u202f]\d{3})+([.,]\d+)?|\d+([.,]\d+)?)"
_SEPARATED = rf"[+-]?{_DIGITS}(?<=[.,' ]\d\d\d)|[+-]?\d+[.,]\d+"
_AMOUNT = (
    rf"[+-]?{_SIGN}{_SPACE}[+-]?{_DIGITS}|[+-]?{_DIGITS}{_SPACE}{_SIGN}|[+-]?[^\W\d_]{{2,4}}{_SPACE}\d+[.,]\d+"
    rf"|[+-]?{_DIGITS}[ \u00a0\u202f][^\W\d_]{{1,4}}\.?[²³23]?|\d+[.,]\d+[^\W\d_]{{1,4}}|{_SEPARATED}"
)
_WITH_DIGITS = r"\S*\d\S*"
_HASH = r"\{?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?|[0-9a-fA-F]{16,}"


def describe_near_unique(texts: pd.Series) -> tuple[ColumnKind, str]:
    """Return the kind of a text column that has almost one value a row, and the reason in one line.

    | values | kind | reason |
    |---|---|---|
    | UUIDs, hashes, codes with digits and without spaces, codes of one length | id | useless, and it leaks |
    | `$8.84`, `1,234.50`, `12 %`, `75 kg`, `85.3k` | ignore | amounts that are not read as numbers |
    | `13:05`, `20. Mai 2014`, `2014-W34` | ignore | times, dates or weeks that are not read |
    | names, sentences, anything else | id | it would be learned by heart |

    Example:
        >>> describe_near_unique(pandas.Series(["c81e728d", "eccbc87e", "a87ff679"]))[0]
        'id'

    Args:
        texts: the different values.
    """
    own = texts.astype("str").str.strip()
    unread = describe_unread(dict.fromkeys(own, 1))
    if unread:
        return "ignore", f"almost one value per row, {unread}"

    def most(pattern: str) -> bool:
        return bool(own.str.fullmatch(pattern).mean() >= _MOST)

    if most(_AMOUNT):
        return "ignore", (
            f"almost one value per row, amounts such as {str(own.iloc[0])[:20]!r} that are not read as numbers: write "
            "plain numbers"
        )
    lengths = own.str.len()
    one_length = bool(lengths.nunique() == 1 and lengths.iloc[0] >= 4) and most(r"[A-Za-z0-9_.:/-]+")
    if most(_WITH_DIGITS) or most(_HASH) or one_length:
        return "id", "almost one value per row, ids: useless as an input, and they leak the order of the table"
    if lengths.mean() > 40:
        return "id", "free text, almost one text per row: the model would memorize it"
    return "id", "almost one text per row: the model would memorize it"
