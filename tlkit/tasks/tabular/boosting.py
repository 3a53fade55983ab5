"""A network beside gradient boosting on the same split, and gradient boosting on the network's embeddings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.report.regression import figure
from tlkit.report.several import FIGURE_HEADINGS, SeveralMetrics, TableMetrics
from tlkit.targets.objective import Objective, measure_answers
from tlkit.tasks.tabular.cells import cell_texts, date_parts
from tlkit.tasks.tabular.hist_boosting import FEW, fit_model, learned_of
from tlkit.tasks.tabular.tree_columns import MOST_CATEGORIES

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.row.preprocessing import TablePreprocessing

NET, RAW, EMBEDDED = "network", "boosting on raw columns", "boosting on embeddings"
_COMPARED = {
    "regression": ("rmse", "mae", "rmspe", "r2"),
    "binary": ("auc", "average_precision", "log_loss", "accuracy"),
    "classes": ("log_loss", "accuracy", "macro_f1", "auc"),
    "multi_label": ("auc", "mean_average_precision", "log_loss", "subset_accuracy"),
}
_SMALLER_IS_BETTER = frozenset({"rmse", "mae", "rmspe", "log_loss"})
# What is nearer than that is called equal: parts of 1 of a figure that ends at 1, parts of the better one of others.
_EQUAL_POINTS, _EQUAL_PART = 0.002, 0.005


@dataclasses.dataclass(frozen=True, eq=False)
class Contender:
    """One of the models that are compared.

    Attributes:
        name: `"network"` or what else the model is, `"boosting on raw columns"` or `"boosting on embeddings"`.
        metrics: on the split that they are compared on.
        seconds: of training; None where it was not measured.
    """

    name: str
    metrics: TableMetrics
    seconds: float | None

    def figure(self, target: str, key: str) -> float | None:
        """Give one figure of one target."""
        of = self.metrics.by_target[target] if isinstance(self.metrics, SeveralMetrics) else self.metrics
        value: float | None = getattr(of, key)
        return value


@dataclasses.dataclass(frozen=True, eq=False)
class BoostingComparison:
    """Who predicts best.

    Attributes:
        contenders: the model first, then its parts where it has them.
        figures: for each target, the names of the figures that are compared, the deciding one first.
        rows: training rows that boosting has seen.
        of_rows: training rows that there are.
        split: what they are compared on.
    """

    contenders: tuple[Contender, ...]
    figures: dict[str, tuple[str, ...]]
    rows: int
    of_rows: int
    split: str = "val"

    def best(self, target: str, key: str) -> Contender | None:
        """Give who has the best figure; None where it is undefined."""
        found = [(one.figure(target, key), one) for one in self.contenders]
        known = [(value, one) for value, one in found if value is not None]
        if not known:
            return None
        pick = min if key in _SMALLER_IS_BETTER else max
        return pick(known, key=lambda pair: pair[0])[1]

    @property
    def winner(self) -> str:
        """Name of the one with the best deciding figure of the first target."""
        target, keys = next(iter(self.figures.items()))
        best = self.best(target, keys[0])
        return "" if best is None else best.name

    @property
    def verdict(self) -> str:
        """Say in plain words who wins, by which figures another one would, and what favours the network."""
        said = [self._verdict(target, keys) for target, keys in self.figures.items()]
        if self.rows < self.of_rows:
            said.append(f"Boosting saw only {self.rows:,} of the {self.of_rows:,} training rows.")
        if self.split == "val":
            said.append("If the best epoch was kept, it was chosen on these rows, which slightly favours the network.")
        return " ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON: `contenders` (name, seconds, metrics), `winner`, `verdict`, `rows`, `of_rows`,
        `split`."""
        return {
            "contenders": [
                {"name": one.name, "seconds": one.seconds, "metrics": one.metrics.to_dict()["metrics"]}
                for one in self.contenders
            ],
            "winner": self.winner,
            "verdict": self.verdict,
            "rows": self.rows,
            "of_rows": self.of_rows,
            "split": self.split,
        }

    def table(self) -> Any:
        """Give the figures as a rich renderable."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title="on the same split", caption=Text(self.verdict))
        table.add_column("model")
        for target, keys in self.figures.items():
            for key in keys:
                name = FIGURE_HEADINGS[key] if len(self.figures) == 1 else f"{target} {FIGURE_HEADINGS[key]}"
                table.add_column(Text(name), justify="right")
        table.add_column("seconds", justify="right")
        for one in self.contenders:
            cells = [figure(one.figure(target, key)) for target, keys in self.figures.items() for key in keys]
            table.add_row(one.name, *cells, "-" if one.seconds is None else f"{one.seconds:.1f}")
        return table

    def __str__(self) -> str:
        lines = [self.verdict]
        for one in self.contenders:
            cells = [
                f"{FIGURE_HEADINGS[key]} {figure(one.figure(target, key))}"
                for target, keys in self.figures.items()
                for key in keys
            ]
            seconds = [] if one.seconds is None else [f"{one.seconds:.1f} s"]
            lines.append("   ".join([f"  {one.name}:", *cells, *seconds]))
        return "\n".join(lines)

    def _verdict(self, target: str, keys: Sequence[str]) -> str:
        of = f" of {target}" if len(self.figures) > 1 else ""
        best = self.best(target, keys[0])
        if best is None:
            return f"{FIGURE_HEADINGS[keys[0]]}{of} is undefined on this split."
        value = best.figure(target, keys[0])
        others = [one for one in self.contenders if one is not best]
        equal = [one.name for one in others if _equal(keys[0], value, one.figure(target, keys[0]))]
        against = ", ".join(f"{one.name} {figure(one.figure(target, keys[0]))}" for one in others)
        verb = f"is as good as {' and '.join(equal)}" if equal else "wins"
        said = f"By {FIGURE_HEADINGS[keys[0]]}{of}, the {best.name} {verb}: {figure(value)}; {against}."
        said = said.replace("the boosting", "boosting")
        differing: dict[str, list[str]] = {}
        for key in keys[1:]:
            other = self.best(target, key)
            if other is None or other is best:
                continue
            if not _equal(key, other.figure(target, key), best.figure(target, key)):
                differing.setdefault(other.name, []).append(FIGURE_HEADINGS[key])
        return " ".join([said, *(f"By {' and '.join(names)}{of} it is {name}." for name, names in differing.items())])


def compare_with_boosting(
    data: Any,
    net_answers: npt.ArrayLike,
    *,
    split: str = "val",
    tables: Mapping[str, pd.DataFrame] | None = None,
    net_seconds: float | None = None,
    name: str = NET,
    parts: Mapping[str, npt.ArrayLike] | None = None,
    max_rows: int | None = None,
    iterations: int = 300,
    threads: int = 1,
    seed: int = 0,
) -> BoostingComparison:
    """Train scikit-learn's histogram gradient boosting on the training split and measure all on another one.

    On raw columns boosting gets categories as categories (of more than 255 the most frequent ones by name, the others
    as one), numbers as they are with missing ones missing, and dates as year, month, week, day, day of week, hour, day
    of the year and elapsed days. On embeddings it gets the vectors instead of the categories, as Guo & Berkhahn (2016,
    arXiv 1604.06737) do. It learns the same transform of a target as the network. From 1,000 training rows on it stops
    early by a tenth of them, never by `split`; with fewer it grows at most 100 trees.

    Example:
        >>> print(compare_with_boosting(data, answers, split="test", tables=embedding_tables(task)))
        By AUC, boosting on raw columns wins: 0.926; network 0.914, boosting on embeddings 0.919.

    Args:
        data: a `TabularData`: `frame(split)`, `labels(split)`, `targets` and `preprocessing`.
        net_answers: what the network says of `split`, float [n, K]: values and probabilities, targets side by side.
        split: on which to compare.
        tables: what `embedding_tables(task)` gives; without it there is no boosting on embeddings.
        net_seconds: how long the network was trained.
        name: of the model whose answers these are.
        parts: answers of what the model consists of, by name.
        max_rows: most training rows that boosting sees, chosen at random; all when left out.
        iterations: most trees of each model (of each class, where there are several).
        threads: that boosting uses. More than one help on a machine that has nothing else to do; on a busy one they
            wait for each other and take many times as long.
        seed: of boosting and of that choice.

    Returns:
        A `BoostingComparison`.

    Raises:
        ConfigError: an argument is not usable.
        DataError: the answers do not fit the split.
    """
    for option, value in (("iterations", iterations), ("max_rows", max_rows), ("threads", threads)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"{option} of boosting", received=value, allowed="a whole number from 1")
    frame, rows = data.frame("train"), data.frame(split)
    labels, truth = np.asarray(data.labels("train")), np.asarray(data.labels(split))
    if len(np.asarray(net_answers)) != len(rows):
        raise DataError("the network's answers are of other rows", received=len(np.asarray(net_answers)),
                        allowed=f"{len(rows)}, the rows of {split!r}")  # fmt: skip
    of_rows = len(frame)
    if max_rows is not None and of_rows > max_rows:
        chosen = np.sort(np.random.default_rng(seed).permutation(of_rows)[:max_rows])
        frame, labels = frame.iloc[chosen], labels[chosen]
    contenders = [Contender(name, measure_answers(net_answers, truth, data.targets), net_seconds)]
    contenders += [
        Contender(part, measure_answers(own, truth, data.targets), None) for part, own in (parts or {}).items()
    ]
    makers: list[tuple[str, Any]] = [(RAW, _Raw(data.preprocessing))]
    if tables is not None:
        makers.append((EMBEDDED, _Embedded(data.preprocessing, tables)))
    for method, maker in makers:
        start = time.perf_counter()
        X, categories = maker.fit(frame), maker.categories
        asked = maker.transform(rows)
        arguments = {"max_iter": iterations, "random_state": seed}
        answers = _boosted(X, labels, asked, categories, data.targets, arguments, threads)
        seconds = time.perf_counter() - start
        contenders.append(Contender(method, measure_answers(answers, truth, data.targets), seconds))
    figures: dict[str, tuple[str, ...]] = {target.name: _COMPARED[_kind(target)] for target in data.targets}
    return BoostingComparison(tuple(contenders), figures, len(frame), of_rows, split)


def _kind(target: Any) -> str:
    if target.kind == "single_label":
        return "binary" if len(target.class_names) == 2 else "classes"
    return str(target.kind)


def _equal(key: str, value: float | None, other: float | None) -> bool:
    if value is None or other is None:
        return False
    if key in _SMALLER_IS_BETTER:
        return abs(value - other) <= _EQUAL_PART * min(abs(value), abs(other))
    return abs(value - other) <= _EQUAL_POINTS


# What boosting sees


class _Raw:
    """Raw columns as one matrix: codes of categories, numbers, parts of dates."""

    def __init__(self, preprocessing: TablePreprocessing):
        self.columns = preprocessing.columns
        self.missing = set(preprocessing.missing)
        self.known: dict[str, dict[str, int]] = {}
        self.categories: list[bool] = []

    def fit(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        for column in self.columns:
            if isinstance(column, Categorical):
                numbers, texts = cell_texts(
                    frame[column.name], dtype=column.dtype, missing=self.missing.union(column.missing)
                )
                counts = np.bincount(numbers[numbers >= 0], minlength=len(texts))
                # The last code is for all others, also for those that come later.
                often = np.argsort(-counts, kind="stable")[: MOST_CATEGORIES - 1]
                self.known[column.name] = {texts[place]: code for code, place in enumerate(often)}
        return self.transform(frame)

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        parts: list[npt.NDArray[np.float64]] = []
        self.categories = []
        for column in self.columns:
            cells = frame[column.name]
            if isinstance(column, Categorical):
                known = self.known[column.name]
                numbers, texts = cell_texts(cells, dtype=column.dtype, missing=self.missing.union(column.missing))
                codes = np.array([*(known.get(text, len(known)) for text in texts), np.nan], np.float64)
                parts.append(codes[numbers][:, None])
            elif isinstance(column, Date):
                parts.append(date_parts(cells, column.form).to_numpy(np.float64))
            else:
                parts.append(_numbers(cells)[:, None])
            self.categories += [isinstance(column, Categorical)] * parts[-1].shape[1]
        return np.concatenate(parts, axis=1)


class _Embedded:
    """The vectors of categories and of parts of dates, and the numbers."""

    def __init__(self, preprocessing: TablePreprocessing, tables: Mapping[str, pd.DataFrame]):
        from tlkit.tasks.tabular.embedding_features import EmbeddingFeatures

        numbers = [column.name for column in preprocessing.columns if isinstance(column, Continuous)]
        self.dates = {column.name: column.form for column in preprocessing.columns if isinstance(column, Date)}
        self.features = EmbeddingFeatures(tables, numbers=numbers, fill="keep")
        self.categories: list[bool] | None = None

    def fit(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        self.features.fit(frame)
        return self.transform(frame)

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        vectors = self.features.transform(frame).to_numpy(np.float64)
        # What a date has beside its codes, as numbers: both boostings know the same.
        parts = [date_parts(frame[name], form) for name, form in self.dates.items()]
        elapsed = [part[["day_of_year", "elapsed"]].to_numpy(np.float64) for part in parts]
        return np.concatenate([vectors, *elapsed], axis=1)


def _numbers(cells: pd.Series[Any]) -> npt.NDArray[np.float64]:
    import pandas as pd

    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _boosted(
    inputs: npt.NDArray[np.float64],
    labels: npt.NDArray[Any],
    asked: npt.NDArray[np.float64],
    categories: list[bool] | None,
    targets: Sequence[Any],
    arguments: Mapping[str, Any],
    threads: int,
) -> npt.NDArray[Any]:
    """Fit a model to each target (a label, where several can be true) and return its predictions, float [n, K]."""
    objective = Objective(targets)
    outputs = np.zeros((len(asked), objective.width))
    for learned in learned_of(objective, objective.encode(labels)):
        stops = int(learned.known.sum()) >= FEW
        own = {
            **arguments, "categorical_features": categories, "early_stopping": stops,
            "max_iter": arguments["max_iter"] if stops else min(arguments["max_iter"], 100),
        }  # fmt: skip
        outputs[:, learned.outputs] = fit_model(inputs, learned, own, threads=threads).outputs(asked)
    answers: npt.NDArray[Any] = objective.probabilities(outputs.astype(np.float32)).numpy()
    return answers
