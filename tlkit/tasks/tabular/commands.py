"""Projects that predict columns of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tlkit.errors import ConfigError, TrainingError
from tlkit.inputs.row.commands import RowCommands, fitted_parts
from tlkit.tasks.commands import Asked, Code, TaskCommands

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing
    from tlkit.models.task import Task

SHOWN = 5  # wrong rows


class TabularCommands(RowCommands, TaskCommands):
    """Rows of a table: values or classes of some columns are predicted from the others."""

    data_forms = "a .csv, .tsv or .parquet table, or a folder with train.csv"
    suffixes = (".csv", ".tsv", ".gz", ".parquet")
    put_data = "train.csv"

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> Callable[[Path], None] | None:
        """Look at the columns of the table; what each is taken for goes into the project's config.toml."""
        if data is None:
            return None
        from tlkit.tasks.tabular.findings import look_at

        found = look_at(answers, data, asked.ask, asked.force_columns, asked.survival, asked.columns[1:])

        def finish(project: Path) -> None:
            config = project / "config.toml"
            config.write_text(found.into(config.read_text(encoding="utf-8")), encoding="utf-8")

        return finish

    def further(self, asked: Asked) -> list[tuple[str, str, Any]]:
        """A survival target takes the place of the column to predict."""
        return [("target", "columns", [])] if asked.survival is not None else []

    def check(self, config: Any) -> None:
        """Take every network: each can be made of a table."""

    def check_training(self, config: Any) -> None:
        """Refuse embeddings to start from that are not there; once trained, the network needs them no more."""
        if config.start_from is not None and not config.start_from.is_dir():
            raise ConfigError(
                "no embeddings found at model.start_from",
                received=config.model.start_from,
                allowed="a folder written by `tlkit embeddings export`, or a project in which it was run",
            )

    def unused(self, config: Any, learn: Any) -> str:
        """Find a train.py of an earlier release, which trains a network whatever `model.kind` is."""
        from tlkit.tasks.tabular.boosted import facts_of

        kind, survival = config.model.kind, config.target.survival is not None
        if learn is None or kind not in ("boosting", "blend") or survival or "boosting" in facts_of(learn.task):
            return ""
        return (
            f'model.kind = "{kind}" was not used: train.py trained the network alone; '
            "call tlkit.with_boosting in it, as a new project does"
        )

    def build_task(self, code: Code, config: Any, data: Any) -> Task:
        """Make a fresh network for data."""
        task: Task = code.model.build_task(config, data.preprocessing, data.targets)
        return task

    def rebuild_task(self, code: Code, config: Any, trained: Mapping[str, Any]) -> Task:
        """Make the network of a training: columns and targets are those that it was fitted on."""
        from tlkit.tasks.tabular.blend import restored_trees

        preprocessing, targets = fitted_parts(trained)
        if config.start_from is not None and "embedding_sizes" in trained:
            # The other project may have moved, or have been trained again with embeddings of another width.
            own = {"start_from": "", "freeze_embeddings": False, "embedding_sizes": trained["embedding_sizes"]}
            config = config.model_copy(update={"model": config.model.model_copy(update=own)})
        # What was trained may have been said by --set.
        members, boosting = trained.get("members", 0), trained.get("boosting")
        own = {"kind": "tabm", "members": members} if members else {"kind": "network"}
        config = config.model_copy(update={"model": config.model.model_copy(update=own)})
        task: Task = code.model.build_task(config, preprocessing, targets)
        return task if boosting is None else restored_trees(task, boosting)

    def check_data(self, trained: Mapping[str, Any], data: Any) -> None:
        """Refuse a table whose columns are encoded otherwise than in the training."""
        now, before = data.preprocessing.to_dict(), trained["preprocessing"]
        if "forms" not in before:  # release 0.1.0 did not know them, and had one list of missing marks
            now = {**now, "missing": before["missing"]}
            del now["forms"]
        if "unreadable" not in before:  # it compared booleans as they stood
            now = {**now, "columns": [_as_before(column, before["columns"]) for column in now["columns"]]}
            del now["unreadable"]
        if now == before:
            return
        columns = [{column["name"]: column for column in side["columns"]} for side in (now, before)]
        names = dict.fromkeys([*columns[0], *columns[1]])
        other = [name for name in names if columns[0].get(name) != columns[1].get(name)]
        raise TrainingError(
            "the model was trained on a table with a different encoding",
            received=f"column {other[0]!r} differs" if other else "numbers or missing values are read differently",
            fix="restore the data, and config.toml with what `tlkit train --set` changed, or run `tlkit train` again; "
            "`tlkit evaluate --data` measures other rows",
        )

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other rows with their targets, and encode them as the training did."""
        from tlkit.inputs.row.evaluating import table_to_evaluate

        options = config.reading
        if config.data.events:  # which look back into the days before these rows
            options["history"] = config.data_path
        return table_to_evaluate(
            path, cast("TablePreprocessing", task.preprocessing), targets_of(task, config), **options
        )

    def target_name(self, config: Any, kind: str) -> str:
        """Return the name of the only target; see `name_of_target`."""
        return name_of_target(kind, config)

    def measure(self, learn: Any, split: str) -> tuple[Any, list[Any]]:
        """Give the metrics and the most wrong rows."""
        from tlkit.targets.wrong_items import most_wrong_items

        data: Any = learn.data
        outputs = learn.logits(split)
        answers = learn.task.objective.probabilities(outputs).numpy()
        wrong = most_wrong_items(answers, data.labels(split), data.targets, n=SHOWN)
        places = data.places(split, [row.row for row in wrong])
        several = len(data.targets) > 1
        errors = [
            {
                "true": list(row.true) if several else row.true[0],
                "predicted": list(row.predicted) if several else row.predicted[0],
                "loss": row.loss,
                "place": place,
            }
            for row, place in zip(wrong, places, strict=True)
        ]
        return learn.measure(outputs, split), errors


def _as_before(column: Mapping[str, Any], trained: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Describe a boolean column as release 0.1.0 did: false and true had the same codes, in their own spelling."""
    from tlkit.inputs.row.columns import FALSE_SPELLINGS, TRUE_SPELLINGS

    old = next((one for one in trained if one["name"] == column["name"]), {})
    values = old.get("values", [])
    if not column.get("boolean") or len(values) != 2:
        return column
    return old if values[0] in FALSE_SPELLINGS and values[1] in TRUE_SPELLINGS else column


def targets_of(task: Task, config: Any) -> tuple[Any, ...]:
    """Give what a network predicts, with classes and scales."""

    return tuple(
        target if target.name else dataclasses.replace(target, name=name_of_target(target.kind, config))
        for target in task.objective.targets
    )


def name_of_target(kind: str, config: Any) -> str:
    """Name the target of a project that has one; the columns of several labels make one that is called after none."""
    from tlkit.inputs.row.targets import MULTI_LABEL_NAME

    return MULTI_LABEL_NAME if kind == "multi_label" else str(config.target_names[0])
