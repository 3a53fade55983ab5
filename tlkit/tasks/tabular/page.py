"""The report on a model of tables as one HTML file: figures, boosting beside it, what it looks at, maps, data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.report.calibration import CalibrationCurve
from tlkit.report.charts import Chart, calibration_chart
from tlkit.report.html import render_page, write_page
from tlkit.report.regression import figure
from tlkit.report.several import FIGURE_HEADINGS, SeveralMetrics, TableMetrics
from tlkit.report.summary import NO_SECTIONS, class_counts, other_facts
from tlkit.report.target_parts import target_part
from tlkit.targets.wrong_items import WrongItem
from tlkit.tasks.tabular.boosting import BoostingComparison
from tlkit.tasks.tabular.charts import dependence_chart
from tlkit.tasks.tabular.embedding_maps import HEIGHT, WIDTH, EmbeddingMap
from tlkit.tasks.tabular.importance import ColumnImportance
from tlkit.tasks.tabular.partial_dependence import PartialDependence

if TYPE_CHECKING:
    import pandas as pd

_BARS = 30  # columns whose importance is shown
_CELL = 40  # characters of a cell


@dataclasses.dataclass(frozen=True)
class ShownDependence:
    """A partial dependence on the page.

    Attributes:
        found: what `partial_dependence` gives.
        output: which of the answers is drawn.
        of: what that answer is, such as `"probability of “yes”"`.
    """

    found: PartialDependence
    output: int
    of: str


def write_table_report(
    path: str | Path,
    *,
    title: str,
    metrics: TableMetrics,
    target_names: Sequence[str],
    comparison: BoostingComparison | None = None,
    comparison_note: str = "",
    importances: Sequence[ColumnImportance] = (),
    importance_note: str = "",
    dependences: Sequence[ShownDependence] = (),
    dependence_note: str = "",
    calibrations: Mapping[str, CalibrationCurve] | None = None,
    wrong: Sequence[WrongItem] = (),
    frame: pd.DataFrame | None = None,
    columns: Sequence[str] = (),
    maps: Mapping[str, EmbeddingMap] | None = None,
    summary: Mapping[str, Any] | None = None,
    sections: Mapping[str, Any] = NO_SECTIONS,
) -> Path:
    """Write one self-contained page: it loads nothing, follows light and dark, and reads well on a phone.

    Example:
        >>> write_table_report("report.html", title="Houses", metrics=metrics, target_names=["price"])

    Args:
        path: a file ending in .html; folders are made.
        title: heading of the page.
        metrics: of the split that is reported on.
        target_names: the targets, in the order of the answers.
        comparison: what `compare_with_boosting` gives.
        comparison_note: why there is none.
        importances: what `permutation_importance` gives, the most important first.
        importance_note: of which rows and which loss they are.
        dependences: charts of the columns that matter most.
        dependence_note: of which rows they are.
        calibrations: what `calibration_curve` gives, by target.
        wrong: what `most_wrong_items` gives.
        frame: the rows of the split, in order; those that are wrong are shown from it.
        columns: which of its columns, in this order.
        maps: what `map_of` gives, by the name of the embedding.
        summary: what `data.summary()` gives; its `counts` by split and class become a table, the rest a list.
        sections: what `Evidence.sections` gives.

    Returns:
        The path. It holds the old report or all of the new one, never a part.

    Raises:
        ConfigError: the path does not end in .html.
    """
    parts = metrics.by_target if isinstance(metrics, SeveralMetrics) else {target_names[0]: metrics}
    plain = _rounded(summary or {})
    page = render_page(
        "table_report.html.j2",
        title=title,
        parts=[target_part(name, part, _unit_of(plain, name)) for name, part in parts.items()],
        several=len(parts) > 1,
        comparison=None if comparison is None else _compared(comparison),
        comparison_note=comparison_note,
        bars=_bars(importances),
        bars_left=max(0, len(importances) - _BARS),
        importance_note=importance_note,
        dependences=[_Figure(_dependence_title(one), dependence_chart(one.found, one.output)) for one in dependences],
        dependence_note=dependence_note,
        calibrations=[(name, curve, calibration_chart(curve)) for name, curve in (calibrations or {}).items()],
        target_names=list(target_names),
        columns=[str(name) for name in columns],
        wrong=_wrong(wrong, frame, columns),
        maps=list((maps or {}).items()),
        map_size=(WIDTH, HEIGHT),
        counts=class_counts(plain),
        facts=other_facts(plain),
        **sections,
    )
    return write_page(path, page)


@dataclasses.dataclass(frozen=True)
class _Figure:
    title: str
    chart: Chart


def _unit_of(summary: Mapping[str, Any], target: str) -> str:
    return str((summary.get("targets") or {}).get(target, {}).get("unit", ""))


def _compared(comparison: BoostingComparison) -> dict[str, Any]:
    keys = [(target, key) for target, own in comparison.figures.items() for key in own]
    one = len(comparison.figures) == 1
    rows = [
        (
            contender.name,
            [(figure(contender.figure(*pair)), comparison.best(*pair) is contender) for pair in keys],
            "-" if contender.seconds is None else f"{contender.seconds:.1f}",
        )
        for contender in comparison.contenders
    ]
    return {
        "verdict": comparison.verdict,
        "headings": [FIGURE_HEADINGS[key] if one else f"{target}: {FIGURE_HEADINGS[key]}" for target, key in keys],
        "rows": rows,
        "seen": comparison.rows,
        "there": comparison.of_rows,
    }


def _bars(importances: Sequence[ColumnImportance]) -> list[tuple[str, str, str, float]]:
    """Give column, mean, spread and the length of the bar, 0..1."""
    longest = max((one.mean for one in importances), default=0.0)
    # All with the decimals that the largest needs.
    decimals = int(np.clip(3 - np.floor(np.log10(longest)), 0, 9)) if longest > 0 else 4
    return [
        (
            one.column,
            f"{one.mean:+,.{decimals}f}".replace("-", "−"),
            f"{one.spread:,.{decimals}f}",
            max(0.0, one.mean) / longest if longest > 0 else 0.0,
        )
        for one in importances[:_BARS]
    ]


def _dependence_title(one: ShownDependence) -> str:
    moved = {"month": ", by month", "weekday": ", by day of the week", "hour": ", by hour"}
    return f"{one.found.column}{moved.get(one.found.kind, '')}: {one.of}"


def _wrong(
    wrong: Sequence[WrongItem], frame: pd.DataFrame | None, columns: Sequence[str]
) -> list[tuple[WrongItem, list[str]]]:
    if frame is None:
        return [(row, []) for row in wrong]
    shown = frame[list(columns)].iloc[[row.row for row in wrong]]
    return [(row, [_cell(value) for value in cells]) for row, cells in zip(wrong, shown.to_numpy(object), strict=True)]


def _cell(value: Any) -> str:
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT or value != value:  # NaN alone differs from itself
        return ""
    if isinstance(value, pd.Timestamp):
        return value.isoformat(" ") if value != value.normalize() else value.date().isoformat()
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"


def _rounded(value: Any) -> Any:
    """Write the floats of a summary with four digits."""
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return figure(value) if isinstance(value, float) else value
