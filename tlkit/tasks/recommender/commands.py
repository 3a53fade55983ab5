"""Projects that recommend items to users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tlkit.errors import ConfigError, TrainingError, missing_column
from tlkit.inputs.row.commands import RowCommands, fitted_parts
from tlkit.tasks.commands import Asked, Code, TaskCommands

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing
    from tlkit.models.task import Task

SHOWN = 5  # wrong ratings
#: Names of columns by what they hold, without case, spaces and underscores; the first that a file has is taken.
USUAL = {
    "user": ("user", "userid", "customer", "customerid", "account", "accountid", "reader", "readerid"),
    "item": ("item", "itemid", "movie", "movieid", "film", "filmid", "product", "productid", "book", "bookid", "song"),
    "rating": ("rating", "ratings", "score", "stars"),
    "time": ("time", "timestamp", "date", "datetime", "ratedat"),
}


class RecommenderCommands(RowCommands, TaskCommands):
    """Ratings of items by users."""

    data_forms = "a .csv, .tsv or .parquet table with a row for each rating"
    suffixes = (".csv", ".tsv", ".gz", ".parquet")
    put_data = "ratings.csv"
    example_input = "PAIRS.csv --out RATED.csv"

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> Callable[[Path], None] | None:
        """Find the columns of users, items, ratings and times by their usual names where the file lacks those named."""
        if data is None:
            return None
        if data.is_dir():
            raise ConfigError("ratings are read from one table", received=str(data), allowed=self.data_forms)
        from tlkit.inputs.files.source import read_source

        separator = answers.get("separator") or None
        names = list(read_source(data, separator=separator, encoding=answers.get("encoding") or "utf-8").frame.columns)
        taken = {answers[key] for key in USUAL if answers.get(key) in names}
        for key, usual in USUAL.items():
            if answers.get(key) in names:
                continue
            found = usual_name(usual, [name for name in names if name not in taken])
            if found is None and key != "time":
                raise missing_column(answers.get(key, key), names, str(data))
            answers[key] = found or ""
            taken.add(answers[key])
        return None

    def check(self, config: Any) -> None:
        """Take every network: each can be made of ratings."""

    def build_task(self, code: Code, config: Any, data: Any) -> Task:
        """Make a fresh network for data."""
        from tlkit.tasks.recommender.catalogue import catalogue_entries

        entries = catalogue_entries(data, **config.sides)
        task: Task = code.model.build_task(config, data.preprocessing, data.targets, entries)
        return task

    def rebuild_task(self, code: Code, config: Any, trained: Mapping[str, Any]) -> Task:
        """Make the network of a training: its columns, sizes and targets are those that it was fitted on."""
        preprocessing, targets = fitted_parts(trained)
        # The identity of a run leaves empty lists out.
        sizes = {"factors": trained["factors"], "members": trained["members"], "hidden": trained.get("hidden", [])}
        columns = {
            "user": trained["user"],
            "item": trained["item"],
            "item_columns": trained.get("item_columns", []),
        }
        config = config.model_copy(
            update={
                "model": config.model.model_copy(update=sizes),
                "data": config.data.model_copy(update=columns),
            }
        )
        task: Task = code.model.build_task(config, preprocessing, targets, trained.get("entries", 0))
        return task

    def check_data(self, trained: Mapping[str, Any], data: Any) -> None:
        """Refuse ratings whose users or items are encoded otherwise than in the training."""
        if data.preprocessing.to_dict() != trained["preprocessing"]:
            raise TrainingError(
                "the model was trained on other users, items or columns",
                fix="restore data and config.toml, or run `tlkit train` again; use --data to evaluate on other ratings",
            )

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other ratings, and encode them as the training did."""
        from tlkit.inputs.row.evaluating import table_to_evaluate

        preprocessing = cast("TablePreprocessing", task.preprocessing)
        return table_to_evaluate(path, preprocessing, task.objective.targets, **config.reading)

    def measure(self, learn: Any, split: str) -> tuple[Any, list[Any]]:
        """Return the metrics of the ratings and of ranked lists, and the ratings that are most wrong."""
        import numpy as np

        from tlkit.tasks.recommender.measure import measure_ratings

        found = measure_ratings(learn, split)
        errors = np.abs(found.ratings.predictions - found.ratings.values)
        worst = np.argsort(-errors, kind="stable")[:SHOWN].tolist()
        places = learn.data.places(split, worst)
        return found, [
            {
                "true": f"{found.ratings.values[row]:g}",
                "predicted": f"{found.ratings.predictions[row]:.2f}",
                "loss": float(errors[row]),
                "place": place,
            }
            for row, place in zip(worst, places, strict=True)
        ]


def usual_name(usual: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first column that has one of the usual names.

    >>> usual_name(("user", "userid"), ["movieId", "User_ID"])
    'User_ID'
    """
    plain = {name.lower().replace("_", "").replace(" ", "").replace("-", ""): name for name in reversed(names)}
    return next((plain[name] for name in usual if name in plain), None)
