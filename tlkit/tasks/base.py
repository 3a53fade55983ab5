"""What a task declares of itself, and the table of tasks; imports neither TensorFlow nor Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlkit.errors import ConfigError, did_you_mean
from tlkit.lazy import loaded

#: Name -> module and object of its `TaskSpec`; loaded on first use.
TASKS: Mapping[str, str] = {
    "image_classification": "tlkit.tasks.image_classification.spec:SPEC",
    "image_regression": "tlkit.tasks.image_regression.spec:SPEC",
    "text_classification": "tlkit.tasks.text_classification.spec:SPEC",
    "tabular": "tlkit.tasks.tabular.spec:SPEC",
    "recommender": "tlkit.tasks.recommender.spec:SPEC",
}
#: What a config.toml without `task` is for.
DEFAULT_TASK = "image_classification"


@dataclasses.dataclass(frozen=True)
class AskCommand:
    """A command of its own that asks a signature of `TaskSpec.queries` about ids, and lists items with scores.

    Attributes:
        name: of the command.
        signature: what it asks. Its first input are the ids, another one is `k`.
        argument: what an id is called, in capitals.
        argument_help, help, example: for `--help`.
        flag: an option, such as `--seen`; empty for none.
        flag_input: the boolean input that it sets.
        flag_inverts: the option sets the input to false.
        flag_help: what it does.
    """

    name: str
    signature: str
    argument: str
    argument_help: str
    help: str
    example: str
    flag: str = ""
    flag_input: str = ""
    flag_inverts: bool = False
    flag_help: str = ""


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """One application. What is named by "module:object" loads on first use.

    Attributes:
        name: a key of `TASKS`; `task` in [project] of a config.toml.
        input: what one example is: `"image"`, `"text"` or `"row"`.
        config: the class of its config.toml.
        commands: the class that tells the commands about its projects; see `tlkit.tasks.commands.TaskCommands`.
        page: a function of Learner, path, title, split and `Evidence` that writes its report; empty for none.
        explain: a function of Learner, split and wrong items that gives the pictures that explain each answer; empty
            where items are explained otherwise.
        source: a function of the name of a backbone that gives what is known of its weights; empty where nothing is.
        hub_tags: what Hugging Face calls such models: those that predict `classes`, and `values`.
        facts: a function of a task that gives what identifies a run beyond what all tasks have; empty for nothing.
        embeddings: a function of a trained task, folder, form, overwrite and maps that writes what it has learned about
            categories and returns the files; empty where it has none.
        queries: a function of a trained task -> signatures of its exports with inputs of their own, by name, as
            `tlkit.models.query.Query`; empty where there are none.
        ask_commands: commands that ask these signatures.
    """

    name: str
    input: str
    config: str
    commands: str
    page: str = ""
    explain: str = ""
    source: str = ""
    hub_tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: str = ""
    embeddings: str = ""
    queries: str = ""
    ask_commands: tuple[AskCommand, ...] = ()

    def report(self, learn: Any, path: str | Path, *, title: str, split: str, check: str | Path | None = None) -> Path:
        """Write the report of a Learner's present weights; see `Learner.report`.

        Raises:
            ConfigError: this task has none.
        """
        if not self.page:
            allowed = [name for name in TASKS if spec_of(name).page]
            raise ConfigError("this type of task has no report", received=self.name, allowed=allowed)
        evidence = self.measured(learn, split, check=check)
        written: Path = loaded(self.page)(learn, path, title=title, split=split, evidence=evidence)
        return written

    def measured(self, learn: Any, split: str, *, check: str | Path | None = None) -> Any:
        """Return what reports and cards say about a split, a `tlkit.tasks.common.evidence.Evidence`."""
        return loaded("tlkit.tasks.common.evidence:gather")(learn, split, check=check)

    def calibrations_of(self, learn: Any, split: str) -> dict[str, Any]:
        """Return the `CalibrationCurve` of each target that has classes, with intervals."""
        found: dict[str, Any] = loaded("tlkit.tasks.common.evidence:calibrations_of")(learn, split)
        return found

    def source_of(self, task: Any) -> dict[str, Any]:
        """Return what is known of a task's source weights: name, licence, hash and paper; nothing where none are used.

        What is not known is left out.
        """
        found: dict[str, Any] = loaded(self.source)(task.backbone_name) if self.source else {}
        return found

    def hub_tag(self, task: Any) -> str:
        """Return the tag of a task's models on Hugging Face; empty where there is none."""
        return self.hub_tags.get("classes" if task.objective.targets[0].class_names else "values", "")

    def queries_of(self, task: Any) -> dict[str, Any]:
        """Return the signatures of a task's exports with inputs of their own, by name."""
        found: dict[str, Any] = loaded(self.queries)(task) if self.queries else {}
        return found

    def facts_of(self, task: Any) -> dict[str, Any]:
        """Return what identifies a run of a task beyond what all tasks have."""
        found: dict[str, Any] = loaded(self.facts)(task) if self.facts else {}
        return found


def spec_of(name: str) -> TaskSpec:
    """Return the spec of a task.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError("unknown task", received=name, allowed=list(TASKS), fix=did_you_mean(name, TASKS) or None)
    found: TaskSpec = loaded(TASKS[name])
    return found
