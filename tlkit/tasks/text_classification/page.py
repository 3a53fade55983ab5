"""The report on a text classifier as one HTML file: figures, confusions, telling texts, data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.report.calibration import CalibrationCurve
from tlkit.report.charts import calibration_chart
from tlkit.report.html import render_page, write_page
from tlkit.report.metrics import ClassificationMetrics
from tlkit.report.multi_label import MultiLabelMetrics
from tlkit.report.per_class import HEADINGS
from tlkit.report.ranking import shown as shown_figure
from tlkit.report.summary import NO_SECTIONS, class_counts, commonest_confusions, confusion_cells, other_facts
from tlkit.tasks.text_classification.confident import JudgedText

if TYPE_CHECKING:  # loads TensorFlow, which a page does not need
    from tlkit.tasks.text_classification.attribution import TokenAttribution

SHOWN = 1500  # characters of a text
# Parts of the strongest value of a text from which a word is drawn as weak, clear or strong.
_STEPS = (0.12, 0.35, 0.7)
_NAMES = {
    "n": "texts",
    "auc": "AUC",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "subset_accuracy": "exact match",
}


def write_text_report(
    path: str | Path,
    *,
    title: str,
    metrics: ClassificationMetrics | MultiLabelMetrics,
    wrong: Sequence[JudgedText] = (),
    right: Sequence[JudgedText] = (),
    attributions: Mapping[int, TokenAttribution] | None = None,
    summary: Mapping[str, Any] | None = None,
    calibration: CalibrationCurve | None = None,
    sections: Mapping[str, Any] = NO_SECTIONS,
) -> Path:
    """Write one self-contained page: it loads nothing, follows light and dark, and reads well on a phone.

    Example:
        >>> wrong = most_confident_errors(probabilities, data.labels("test"), texts, task.class_names)
        >>> explained = attribute(task, [item.text for item in wrong], target=[item.target for item in wrong])
        >>> by_row = {item.row: one for item, one in zip(wrong, explained)}
        >>> write_text_report("report.html", title="Reviews", metrics=metrics, wrong=wrong, attributions=by_row)

    Args:
        path: a file ending in .html; folders are made.
        title: heading of the page.
        metrics: of the split that is reported on.
        wrong: what `most_confident_errors` gives.
        right: what `most_confident_hits` gives.
        attributions: for the texts that are to be coloured, by their `row`.
        summary: what `data.summary()` gives; its `counts` by split and class become a table, the rest a list.
        calibration: of the probabilities.
        sections: what `Evidence.sections` gives.

    Returns:
        The path. It holds the old report or all of the new one, never a part.

    Raises:
        ConfigError: the path does not end in .html.
    """
    explained = attributions or {}
    page = render_page(
        "text_report.html.j2",
        title=title,
        figures=_figures(metrics),
        headings=[(key, HEADINGS[key]) for key in next(iter(metrics.per_class.values()), {}) if key != "n"],
        metrics=metrics,
        several=isinstance(metrics, MultiLabelMetrics),
        matrix=confusion_cells(metrics),
        pairs=commonest_confusions(metrics),
        groups=[
            ("wrong", "Most confident errors", [_shown(item, explained.get(item.row)) for item in wrong]),
            ("right", "Most confident correct predictions", [_shown(item, explained.get(item.row)) for item in right]),
        ],
        coloured=any(item.row in explained for item in [*wrong, *right]),
        counts=class_counts(summary or {}),
        facts=other_facts(summary or {}),
        calibrations=[] if calibration is None else [("", calibration, calibration_chart(calibration))],
        **sections,
    )
    return write_page(path, page)


# Figures


def _figures(metrics: ClassificationMetrics | MultiLabelMetrics) -> list[tuple[str, str]]:
    values = dict(metrics.to_dict()["metrics"])
    loss = values.pop("loss")
    values.pop("log_loss")  # the same
    shown = [(_name(name), shown_figure(value)) for name, value in values.items()]
    return [*shown, ("loss", f"{loss:.3f}"), ("texts", f"{metrics.n:,}")]


def _name(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " "))


# Texts


@dataclasses.dataclass(frozen=True)
class _Word:
    text: str
    space: str
    kind: str  # "plain", "for", "against" or "unread"
    strength: int  # 1 weak, 2 clear, 3 strong
    value: float


@dataclasses.dataclass(frozen=True)
class _Shown:
    item: JudgedText
    words: list[_Word]
    left_out: int  # characters
    explained: TokenAttribution | None
    strongest: list[tuple[str, float]]


def _shown(item: JudgedText, explained: TokenAttribution | None) -> _Shown:
    if explained is None:
        words = [_Word(item.text[:SHOWN], "", "plain", 0, 0.0)]
        return _Shown(item, words, max(0, len(item.text) - SHOWN), None, [])
    words, left = [], SHOWN
    highest = max((abs(piece.value) for piece in explained.pieces), default=0.0)
    for piece in explained.pieces:
        bare = piece.text.rstrip()
        strength = sum(abs(piece.value) > step * highest for step in _STEPS)
        kind = "plain" if not strength else "for" if piece.value > 0 else "against"
        if not piece.read:
            kind = "unread"
        words.append(_Word(bare[: max(left, 0)], piece.text[len(bare) :], kind, strength, piece.value))
        left -= len(piece.text)
        if left <= 0:
            break
    strongest = [(piece.text.strip(), piece.value) for piece in explained.strongest(8)]
    return _Shown(item, words, max(0, -left) + _rest(explained, len(words)), explained, strongest)


def _rest(explained: TokenAttribution, shown: int) -> int:
    return sum(len(piece.text) for piece in explained.pieces[shown:])
