"""Rows of tables as the commands see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tlkit.errors import ConfigError
from tlkit.inputs.commands import InputCommands

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing
    from tlkit.targets.base import Target


def fitted_parts(trained: Mapping[str, Any]) -> tuple[TablePreprocessing, tuple[Target, ...]]:
    """Return the preprocessing and the targets that a training was fitted on.

    Args:
        trained: identity of the training.
    """
    from tlkit.inputs.row.preprocessing import TablePreprocessing
    from tlkit.targets.base import Target

    targets = tuple(Target.from_dict(plain) for plain in trained["targets"])
    return TablePreprocessing.from_dict(trained["preprocessing"]), targets


class RowCommands(InputCommands):
    """Rows, which come as one table."""

    items = "rows"
    example_input = "ROWS.csv --out SCORED.csv"
    has_views = False
    has_rows = True

    def gathered(self, words: Sequence[str]) -> NoReturn:
        """Rows come as a table."""
        raise ConfigError(
            "rows are read from one table", received=list(words), fix=f"tlkit predict {self.example_input}"
        )

    def prepared(self, preprocessing: TablePreprocessing, items: Sequence[Any]) -> Any:
        """Return serialized tf.Examples encoded: float32 [B, D]."""
        import tensorflow as tf

        return preprocessing.batch(tf.constant(list(items), tf.string))

    def column(self, config: Any) -> NoReturn:
        """A row is all its columns."""
        raise ConfigError("--text-column is not an option for tables")

    def table_options(self, config: Any) -> dict[str, Any]:
        """Return how the tables of the training data are read."""
        return {"encoding": config.data.encoding}

    def item(self, value: object, place: str, column: str, folder: Path) -> NoReturn:
        """A row is all its columns."""
        raise ConfigError("a row is not a single field", received=place)
