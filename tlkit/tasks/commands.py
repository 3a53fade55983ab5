"""What the commands must know of each task's projects, and what they hand to it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from tlkit.errors import ConfigError
from tlkit.inputs.commands import InputCommands
from tlkit.lazy import loaded
from tlkit.tasks.base import spec_of

if TYPE_CHECKING:
    from types import ModuleType

    from tlkit.models.task import Task
    from tlkit.targets.survival_columns import SurvivalColumns

#: A question, the default answer and those that are allowed -> the answer of a person.
Ask = Callable[[str, str, Sequence[str]], str]


class Code(NamedTuple):
    """A project's own modules.

    Attributes:
        model: model.py, with `build_task`.
        train: train.py, with `load_data(config)` and `main(config, resume)`.
    """

    model: ModuleType
    train: ModuleType


class Asked(NamedTuple):
    """What `tlkit new` was asked for beside the answers to a template.

    Attributes:
        force_columns: leave out columns that cannot be used, with the reason, where they are refused otherwise.
        settings: keys of config.toml that are set, by `SECTION.KEY`.
        ask: asks a person; None where nobody is there to answer, and what is open is said.
    """

    force_columns: bool = False
    settings: Mapping[str, Any] = {}
    ask: Ask | None = None

    @property
    def label_columns(self) -> Sequence[str]:
        """One for each label, where config.toml is to name them."""
        return self.settings.get("data.label_columns") or (self.columns if len(self.columns) > 1 else ())

    @property
    def columns(self) -> list[str]:
        """The columns to predict, where `target.columns` is set."""
        given = self.settings.get("target.columns") or []
        return [given] if isinstance(given, str) else list(given)

    def target_answers(self, questions: Mapping[str, Any]) -> dict[str, str]:
        """Return the answer to a template's question for the column to predict, where `target.columns` names one."""
        question = next((name for name in ("target", "label_column") if name in questions), "")
        if not question or not self.columns or (question == "label_column" and len(self.columns) > 1):
            return {}
        return {question: self.columns[0]}

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


class TaskCommands(InputCommands):
    """One task's projects as the commands see them; a task mixes the `InputCommands` of its input in.

    Attributes:
        data_forms: what `--data` takes.
        suffixes: of the tables that `tlkit new` takes.
        put_data: what to put into data/, where no data was named.
    """

    data_forms: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    put_data: ClassVar[str]

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

    def check_training(self, config: Any) -> None:
        """Refuse what could be trained but not be exported afterwards."""

    # A network from the project's model.py

    def build_task(self, code: Code, config: Any, data: Any) -> Task:
        """Make a fresh network for data."""
        task: Task = code.model.build_task(config, data.class_names)
        return task

    def rebuild_task(self, code: Code, config: Any, trained: Mapping[str, Any]) -> Task:
        """Make the network of a training, whose identity is given, without its data."""
        task: Task = code.model.build_task(config, tuple(trained["classes"]))
        return task

    def check_data(self, trained: Mapping[str, Any], data: Any) -> None:
        """Refuse data that is not encoded as it was in the training whose identity is given."""

    def unused(self, config: Any, learn: Any) -> str:
        """Say which key of config.toml the project's train.py did not use; empty for none.

        Args:
            config: the project's.
            learn: the Learner that train.py returned, or None.
        """
        return ""

    # Measuring

    @abstractmethod
    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other labelled data as the `test` split."""

    def target_name(self, config: Any, kind: str) -> str:
        """Return the name of the only target where an export does not name it; empty where it has no name."""
        return ""

    def counted(self, data: Any) -> dict[str, Any] | None:
        """Give how many entries the data had and what was left out of them; None where nothing is counted."""
        return None

    @abstractmethod
    def measure(self, learn: Any, split: str) -> tuple[Any, list[Any] | None]:
        """Return the metrics of a Learner on a split, and the most confident errors where the task shows them.

        An error has `true`, `predicted` and `place`.
        """

    def error_line(self, error: Mapping[str, Any], more: str = "") -> str:
        """Return an error of `measure` as a line for a terminal, with more behind what was predicted."""
        true, predicted = (
            said if isinstance(said, str) else " + ".join(said) or "nothing"
            for said in (error["true"], error["predicted"])
        )
        return f"  {true}, predicted {predicted}{more}  [{error['place']}]"


def commands_of(task: str) -> TaskCommands:
    """Return what the commands must know of a task, by the name of the task."""
    found: TaskCommands = loaded(spec_of(task).commands)()
    return found
