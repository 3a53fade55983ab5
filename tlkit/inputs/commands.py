"""What the commands must know of each input: how its items are named on a command line and in tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from tlkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tlkit.inputs.image.walk import Tally


class Gathered(NamedTuple):
    """What the words of a command line stand for.

    Attributes:
        items: to predict on, in order.
        failed: what cannot even be given to a model: its name, and why, as a clause that goes on where the name ends.
        tally: what was found in folders; None where the words are the items.
        has_folder: whether a folder was named.
    """

    items: list[Any]
    failed: list[tuple[str, str]]
    tally: Tally | None = None
    has_folder: bool = False

    def check(self, strict: bool) -> None:
        """Refuse what cannot be used before a model loads: all of it with `strict`, else a single input that was named.

        Raises:
            DataError: naming the first.
        """
        if self.failed and (strict or (len(self.failed) == 1 and not self.items and not self.has_folder)):
            name, reason = self.failed[0]
            raise DataError(f"{name} {reason}")


class InputCommands(ABC):
    """One input as the commands see it. Importing it loads neither TensorFlow nor pandas.

    Attributes:
        items: its examples, in the plural.
        example_input: what stands behind `tlkit predict` in an example.
        has_views: whether there is test-time augmentation.
        has_rows: whether `tlkit predict` takes one table whose rows are the items.
    """

    items: ClassVar[str]
    example_input: ClassVar[str]
    has_views: ClassVar[bool]
    has_rows: ClassVar[bool] = False

    def check_views(self) -> None:
        """Refuse test-time augmentation where there is none."""
        if not self.has_views:
            raise ConfigError(f"test-time augmentation is not available for {self.items}", fix="remove --tta")

    @abstractmethod
    def gathered(self, words: Sequence[str]) -> Gathered:
        """Return what the words of a command line stand for, beside what cannot be used."""

    def called(self, number: int) -> str:
        """Return what an input is called that has no name of its own."""
        return f"{self.items.removesuffix('s')} number {number}"

    @abstractmethod
    def prepared(self, preprocessing: Any, items: Sequence[Any]) -> Any:
        """Return a batch of a network's input, made by the preprocessing of its task."""

    @abstractmethod
    def column(self, config: Any) -> str:
        """Return the name of the column that `tlkit predict --file` reads."""

    @abstractmethod
    def table_options(self, config: Any) -> dict[str, Any]:
        """Return how a table is read: arguments of `TableStream`."""

    @abstractmethod
    def item(self, value: object, place: str, column: str, folder: Path) -> Any:
        """Return what a field of a table stands for; refuses a field that holds no such thing.

        Args:
            value: the field.
            place: where it stands, for messages.
            column: the name of the column.
            folder: the table's.
        """
