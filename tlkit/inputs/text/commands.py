"""Texts as the commands see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.inputs.commands import Gathered, InputCommands

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing


class TextCommands(InputCommands):
    """Texts: words of a command line, or fields of a table."""

    items = "texts"
    example_input = '"SOME TEXT"'
    has_views = False

    def gathered(self, words: Sequence[str]) -> Gathered:
        """Return the words that are texts, beside those that are not."""
        found = Gathered([], [])
        for number, word in enumerate(words, 1):
            if any("\ud800" <= letter <= "\udfff" for letter in word):  # bytes that the terminal could not decode
                found.failed.append((self.called(number), f"is not valid UTF-8; received: {word!a}"))
            else:
                found.items.append(word)
        return found

    def prepared(self, preprocessing: TextPreprocessing, items: Sequence[str]) -> Any:
        """Return texts tokenized: int32 [B, T]."""
        import tensorflow as tf

        return preprocessing.batch(tf.constant([item.encode() for item in items]))

    def column(self, config: Any) -> str:
        """Return the name of the column of texts."""
        return str(config.data.text_column)

    def table_options(self, config: Any) -> dict[str, Any]:
        """Return how the tables of the training data are read."""
        data = config.data
        return {"encoding": data.encoding, "quoting": data.quoting, "separator": data.separator}

    def item(self, value: object, place: str, column: str, folder: Path) -> str:
        """Return the text, which may be empty."""
        from tlkit.inputs.files.table_files import MAX_FIELD_BYTES
        from tlkit.inputs.text.listing import checked_text

        return checked_text(value, place, column, MAX_FIELD_BYTES)
