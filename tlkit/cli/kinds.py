"""What the commands must know of each kind of project: photos, texts or tables. Nowhere else do they ask which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from tlkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tlkit.cli.project import Code
    from tlkit.inputs.image.walk import Tally
    from tlkit.models.task import Task
    from tlkit.targets.survival_columns import SurvivalColumns
    from tlkit.training.learner import Learner


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


class Asked(NamedTuple):
    """What `tlkit new` was asked for beside the answers to a template.

    Attributes:
        force_columns: leave out columns that cannot be used, with the reason, where they are refused otherwise.
        settings: keys of config.toml that are set, by `SECTION.KEY`.
    """

    force_columns: bool = False
    settings: Mapping[str, Any] = {}

    @property
    def label_columns(self) -> Sequence[str]:
        """One for each label, where config.toml is to name them."""
        return self.settings.get("data.label_columns", ())

    @property
    def survival(self) -> SurvivalColumns | None:
        """The columns of times and events, where a survival target is asked for.

        Raises:
            ConfigError: a column is not named.
        """
        from tlkit.targets.survival_columns import SurvivalColumns

        if self.settings.get("target.kind") != "survival":
            return None
        for key in ("target.time", "target.event"):
            if not self.settings.get(key):
                raise ConfigError(
                    "a survival target needs a column of times and a column of events",
                    fix=f"add --set {key}=COLUMN",
                )
        return SurvivalColumns(self.settings["target.time"], self.settings["target.event"])


class Kind(ABC):
    """One kind of project.

    Attributes:
        items: what it classifies, in the plural.
        data_forms: what `--data` takes.
        suffixes: of the tables that `tlkit new` takes.
        put_data: what to put into data/, where no data was named.
        example_input: what stands behind `tlkit predict` in an example.
        has_views: whether there is test-time augmentation.
        has_report: whether `tlkit report` writes a page.
        has_rows: whether `tlkit predict` takes one table whose rows are the items.
    """

    items: ClassVar[str]
    data_forms: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    put_data: ClassVar[str]
    example_input: ClassVar[str]
    has_views: ClassVar[bool]
    has_report: ClassVar[bool]
    has_rows: ClassVar[bool] = False

    # Making a project

    @abstractmethod
    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> Callable[[Path], None] | None:
        """Fill in answers that follow from others, and refuse data that lacks what they name.

        Args:
            answers: to the template's questions; is changed.
            data: the folder or table that exists, or None where none was named.
            asked: what else the command line says.

        Returns:
            What is to be done to the new project's folder before it gets its place, or None.
        """

    def further(self, asked: Asked) -> list[tuple[str, str, Any]]:
        """Return further changes of config.toml, SECTION, KEY and value, that follow from what was asked for."""
        return []

    # Before TensorFlow loads

    @abstractmethod
    def check(self, config: Any) -> None:
        """Refuse a network that there is not, or that cannot take such inputs."""

    @abstractmethod
    def check_training(self, config: Any) -> None:
        """Refuse what could be trained but not be exported afterwards."""

    def check_views(self) -> None:
        """Refuse test-time augmentation where there is none."""
        if not self.has_views:
            raise ConfigError(f"test-time augmentation is not available for {self.items}", fix="remove --tta")

    def check_report(self) -> None:
        """Refuse `tlkit report` where there is none."""
        if not self.has_report:
            raise ConfigError(
                f"`tlkit report` is not available for {self.items}",
                fix="run `tlkit evaluate`; `tlkit train` writes its plots to reports/",
            )

    # A network from the project's model.py

    def build_task(self, code: Code, config: Any, data: Any) -> Task:
        """Make a fresh network for data."""
        task: Task = code.model.build_task(config, data.class_names)
        return task

    def rebuild_task(self, code: Code, config: Any, trained: Mapping[str, Any]) -> Task:
        """Make the network of a training, whose identity is given, without its data."""
        task: Task = code.model.build_task(config, tuple(trained["classes"]))
        return task

    def check_data(self, trained: Mapping[str, Any], data: Any) -> None:  # noqa: B027 - most kinds have no more to check
        """Refuse data that is not encoded as it was in the training whose identity is given."""

    # Predicting

    def unused(self, config: Any, learn: Learner | None) -> str:
        """Say which key of config.toml the project's train.py did not use; empty for none."""
        return ""

    @abstractmethod
    def inputs(self, words: Sequence[str]) -> list[Any]:
        """Give what the words of a command line stand for."""

    def gathered(self, words: Sequence[str]) -> Gathered:
        """Give what the words of a command line stand for, beside what cannot be used."""
        return Gathered(self.inputs(words), [])

    def called(self, number: int) -> str:
        """Return what an input is called that has no name of its own."""
        return f"{self.items.removesuffix('s')} number {number}"

    @abstractmethod
    def prepared(self, task: Task, items: Sequence[Any]) -> Any:
        """Give a batch of inputs of `task.model`."""

    @abstractmethod
    def column(self, config: Any) -> str:
        """Name the column that `tlkit predict --file` reads."""

    @abstractmethod
    def table_options(self, config: Any) -> dict[str, Any]:
        """Say how a table is read: arguments of `TableStream`."""

    @abstractmethod
    def item(self, value: object, place: str, column: str, folder: Path) -> Any:
        """Give what a field of a table stands for; refuses a field that holds no such thing.

        Args:
            value: the field.
            place: where it stands, for messages.
            column: the name of the column.
            folder: the table's.
        """

    # Measuring

    @abstractmethod
    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other labelled data as the `test` split."""

    def counted(self, data: Any) -> dict[str, Any] | None:
        """Give how many entries the data had and what was left out of them; None where nothing is counted."""
        return None

    @abstractmethod
    def measure(self, learn: Learner, split: str) -> tuple[Any, list[Any] | None]:
        """Give the metrics of a split, and the most confident mistakes where this kind shows them."""


def kind_of(task: str) -> Kind:
    """Give the kind of project that has this `task` in its config.toml."""
    from tlkit.lazy import loaded
    from tlkit.tasks.base import spec_of

    found: Kind = loaded(spec_of(task).commands)()
    return found
