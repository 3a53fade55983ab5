"""What a trained model of tables does, as one page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tlkit.errors import ConfigError, ModelError
from tlkit.inputs.row.columns import Categorical, Date
from tlkit.report.calibration import CalibrationCurve, calibration_curve
from tlkit.report.summary import NO_SECTIONS
from tlkit.targets.objective import measure_answers
from tlkit.targets.wrong_items import most_wrong_items
from tlkit.tasks.tabular.blend import is_boosting_alone, set_shares, shares_of
from tlkit.tasks.tabular.boosting import NET, compare_with_boosting
from tlkit.tasks.tabular.embedding_maps import EmbeddingMap, map_of
from tlkit.tasks.tabular.embedding_tables import embedding_tables
from tlkit.tasks.tabular.importance import permutation_importance
from tlkit.tasks.tabular.page import ShownDependence, write_table_report
from tlkit.tasks.tabular.partial_dependence import DependenceKind, PartialDependence, partial_dependence

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.row.preprocessing import TablePreprocessing


WRONG = 20  # rows on the page
DEPENDENCES, POINTS, AVERAGED = 6, 20, 500  # columns, values of each, rows
SHUFFLED, REPEATS = 2000, 3  # rows of the importances
MAPS = 8
BOOSTED = 100_000  # training rows that boosting sees
_BATCH = 8192  # rows that the network answers at once
_KNOWN = 4  # known categories from which on a map says something
_log = logging.getLogger("tlkit")


def report_on_tables(learn: Any, path: str | Path, *, title: str, split: str, evidence: Any = None) -> Path:
    """Write the page; see `Learner.report`."""
    if learn.task.kind != "tabular":
        raise ConfigError("this report needs a model for tables", received=learn.task.kind, allowed=("tabular",))
    data: Any = learn.data
    preprocessing = cast("TablePreprocessing", learn.task.preprocessing)
    frame = preprocessing.with_moments(data.frame(split))
    labels, targets = np.asarray(data.labels(split)), data.targets
    outputs = learn.logits(split) if evidence is None else evidence.outputs
    answers = learn.task.objective.probabilities(outputs).numpy()
    predict = predictor(learn.task)
    try:
        tables = None if is_boosting_alone(learn.task) else embedding_tables(learn.task)
    except ModelError as error:  # a network of the user's own, or an ensemble
        _log.warning("the page has neither maps nor boosting on embeddings: %s", error)
        tables = None
    names = [column.name for column in preprocessing.columns]
    chosen = np.sort(np.random.default_rng(0).permutation(len(frame))[:SHUFFLED])
    score, loss_name = _score(labels[chosen], targets)
    importances = (
        permutation_importance(predict, frame.iloc[chosen], score, columns=names, repeats=REPEATS)
        if len(frame) > 1
        else []
    )
    comparison, notes = None, [_measured_on(split, data.splits)]
    if targets[0].kind == "survival":
        notes.append("No comparison with gradient boosting: it has no loss for censored times.")
    elif "train" not in data.splits:
        notes.append("No comparison with gradient boosting: this data has no training rows.")
    else:
        comparison = compare_with_boosting(
            data, answers, split=split, tables=tables, max_rows=BOOSTED, name=_name_of(learn.task),
            parts=_answers_of_parts(learn, split),
        )  # fmt: skip
    ordered = [one.column for one in importances] or names
    dependences = _dependences(predict, frame, preprocessing, targets, ordered[:DEPENDENCES])
    return write_table_report(
        path,
        title=title,
        metrics=learn.measure(outputs, split),
        target_names=[target.name for target in targets],
        comparison=comparison,
        comparison_note=" ".join(notes),
        importances=importances,
        importance_note=f"Increase of the {loss_name} after shuffling a column: mean and spread of {REPEATS} "
        f"times, {_rows(len(chosen), len(frame))}. Correlated columns share their importance.",
        dependences=dependences,
        dependence_note="The mean prediction if a column has the same value in all rows and the others are "
        "unchanged; shaded or thin: "
        f"the middle half of the rows. {_rows(min(AVERAGED, len(frame)), len(frame)).capitalize()}.",
        calibrations=_calibrations(answers, labels, targets) if evidence is None else evidence.calibrations,
        wrong=most_wrong_items(answers, labels, targets, WRONG),
        frame=frame,
        columns=ordered,
        maps=_maps(tables or {}, ordered),
        summary=data.summary(),
        sections=NO_SECTIONS if evidence is None else evidence.sections(),
    )


def _name_of(task: Any) -> str:
    if shares_of(task):
        return "blend"
    return "boosting in the model" if is_boosting_alone(task) else NET


def _answers_of_parts(learn: Any, split: str) -> dict[str, np.ndarray]:
    """Return what the network and the trees of a blend answer alone; nothing for other models."""
    task = learn.task
    shares = [*shares_of(task).values()]
    found = {}
    try:
        for name, share in (("network of the blend", 0.0), ("trees of the blend", 1.0)) if shares else ():
            set_shares(task, [share] * len(shares))
            found[name] = task.objective.probabilities(learn.logits(split)).numpy()
    finally:
        if shares:
            set_shares(task, shares)
    return found


def predictor(task: Any) -> Callable[[pd.DataFrame], np.ndarray]:
    """Give the function raw rows -> answers float32 [n, K] of a tabular task."""

    def predict(frame: pd.DataFrame) -> np.ndarray:
        # The graph of all columns is traced once; `encode_frame` would trace those of single columns at every call.
        arguments = task.preprocessing.to_arguments(frame)
        parts = []
        for begin in range(0, len(frame), _BATCH):
            encoded = task.preprocessing.encode({name: own[begin : begin + _BATCH] for name, own in arguments.items()})
            parts.append(task.objective.probabilities(task.model(encoded, training=False)).numpy())
        return np.concatenate(parts)

    return predict


def _score(labels: np.ndarray, targets: Sequence[Any]) -> tuple[Callable[[np.ndarray], float], str]:
    """Give the loss that importances are measured by, and its name."""
    if targets[0].kind == "survival":
        return lambda answers: _disorder(measure_answers(answers, labels, targets).concordance), "1 - C-index"
    if len(targets) == 1:
        key, name = ("rmse", "RMSE") if targets[0].kind == "regression" else ("log_loss", "log-loss")
        return lambda answers: float(getattr(measure_answers(answers, labels, targets), key)), name
    spreads = [float(labels[:, i].std()) or 1.0 for i in range(len(targets))]

    def weighted(answers: np.ndarray) -> float:
        found: Any = measure_answers(answers, labels, targets)
        losses = [
            found[target.name].rmse / spread if target.kind == "regression" else found[target.name].log_loss
            for target, spread in zip(targets, spreads, strict=True)
        ]
        return float(sum(target.weight * loss for target, loss in zip(targets, losses, strict=True)))

    return weighted, "weighted sum of the targets' losses (RMSE in standard deviations, log-loss)"


def _disorder(concordance: float | None) -> float:
    return 0.5 if concordance is None else 1.0 - concordance


def _dependences(
    predict: Callable[[pd.DataFrame], np.ndarray],
    frame: pd.DataFrame,
    preprocessing: TablePreprocessing,
    targets: Sequence[Any],
    names: Sequence[str],
) -> list[ShownDependence]:
    by_name = {column.name: column for column in preprocessing.columns}
    shown = []
    for name in names:
        kind: DependenceKind | None = "number"
        if isinstance(by_name[name], Categorical):
            kind = "category"
        elif isinstance(by_name[name], Date):
            kind = "month" if _months(frame[name]) > 2 else "weekday"
        elif not frame[name].notna().any():
            continue
        if kind in ("month", "weekday") and not _months(frame[name]):
            continue
        found = partial_dependence(predict, frame, name, kind=kind, points=POINTS, rows=AVERAGED)
        shown += [ShownDependence(found, output, of) for output, of in _outputs(found, targets)]
    return shown


def _months(column: pd.Series[Any]) -> int:
    from tlkit.tasks.tabular.cells import as_dates

    return int(as_dates(column).dt.month.nunique())


def _outputs(found: PartialDependence, targets: Sequence[Any]) -> list[tuple[int, str]]:
    """Give for each target the answer to draw: of several classes the one that changes most."""
    first, drawn = 0, []
    for target in targets:
        if not target.class_names:
            drawn.append((first, target.name))
        else:
            own = found.means[:, first : first + target.width]
            best = 1 if target.width == 2 and target.kind == "single_label" else int(np.ptp(own, axis=0).argmax())
            of = f" of {target.name}" if len(targets) > 1 else ""
            drawn.append((first + best, f"probability of “{target.class_names[best]}”{of}"))
        first += len(target.output_names)
    return drawn


def _calibrations(answers: np.ndarray, labels: np.ndarray, targets: Sequence[Any]) -> dict[str, CalibrationCurve]:
    found, first = {}, 0
    for number, target in enumerate(targets):
        own = answers[:, first : first + target.width]
        if target.class_names:
            true = labels if len(targets) == 1 else labels[:, number].astype(np.int64)
            found[target.name] = calibration_curve(own, true, target.class_names)
        first += target.width
    return found


def _maps(tables: dict[str, pd.DataFrame], ordered: Sequence[str]) -> dict[str, EmbeddingMap]:
    """Lay out the embeddings of the most important columns; what is hashed has no names to show."""
    telling = [
        name for name, table in tables.items() if len(table) >= _KNOWN + 2 and not table.attrs.get("hash_buckets")
    ]
    telling.sort(key=lambda name: ordered.index(tables[name].attrs["column"]))
    return {name: map_of(tables[name]) for name in telling[:MAPS]}


def _measured_on(split: str, splits: Container[str]) -> str:
    """Say which rows the figures are of, and what training has already learned from them."""
    if split == "test":
        return "All metrics are for the test set, which was not used for any choice."
    if split != "val":
        return f"All metrics are for the {split} rows."
    said = (
        "All metrics are for the validation set. If the best epoch was kept, it was chosen on these "
        "rows: results on new rows may "
    )
    said += "be slightly worse."
    return f"{said} Use `tlkit evaluate --split test` for an unbiased result." if "test" in splits else said


def _rows(some: int, of: int) -> str:
    return f"all {of:,} rows" if some == of else f"{some:,} of the {of:,} rows, chosen at random"
