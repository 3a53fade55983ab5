"""What a recommender has learned, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import ConfigError
from tlkit.inputs.row.columns import FIRST
from tlkit.report.html import render_page, write_page
from tlkit.report.regression import figure, regression_metrics
from tlkit.report.summary import NO_SECTIONS
from tlkit.tasks.recommender.catalogue import Vectors, scores_of, vectors_of
from tlkit.tasks.recommender.measure import NOT_RANKED, RecommenderMetrics, with_lists
from tlkit.tasks.recommender.model import columns_of, sides_of
from tlkit.tasks.recommender.ranking import (
    Pairs,
    bias_ratings,
    item_knn_scores,
    model_scores,
    pairs_of,
    popularity_scores,
    ranking_metrics,
    top_items,
)

BIASED, EXAMPLES, LISTED, NEIGHBOURS = 10, 5, 8, 5
_ENOUGH = 20  # ratings of an item whose bias is shown; fewer where no item has as many


def report_on_ratings(learn: Any, path: str | Path, *, title: str, split: str, evidence: Any = None) -> Path:
    """Write the page; see `Learner.report`."""
    if learn.task.kind != "recommender":
        raise ConfigError("this report needs a recommender", received=learn.task.kind, allowed=("recommender",))
    columns = columns_of(learn.task)
    data: Any = learn.data
    names = _labels(learn.task, columns["item"])
    found = RecommenderMetrics(
        learn.measure(learn.logits(split), split) if evidence is None else evidence.metrics, None, NOT_RANKED
    )
    values: dict[str, Any] = {"baselines": [], "lists": [], "users": [], "biased": [], "neighbours": []}
    if "train" in data.splits:
        vectors, pairs = vectors_of(learn.task), pairs_of(learn.task, data, split)
        found = with_lists(found.ratings, pairs, model_scores(learn.task, vectors))
        user, item = (side[0] for side in sides_of(data.preprocessing, **_sides(columns)))
        biases = regression_metrics(
            bias_ratings(data, user, item, split), np.asarray(data.labels(split)).reshape(-1), found.ratings.name
        )
        mean = float(np.asarray(data.labels("train"), np.float64).mean())
        constant = regression_metrics(np.full(found.ratings.n, mean), found.ratings.values, found.ratings.name)
        values["baselines"] = [
            (name, figure(metrics.rmse), figure(metrics.mae))
            for name, metrics in (
                ("this model", found.ratings),
                ("biases of users and items", biases),
                ("the mean rating", constant),
            )
        ]
        if found.ranking is not None:
            values["lists"] = [("this model", found.ranking)] + [
                (name, ranking_metrics(scores, pairs, found.ranking.k))
                for name, scores in (
                    ("most rated items", popularity_scores(pairs)),
                    ("similar items (item-kNN)", item_knn_scores(pairs)),
                )
            ]
        values |= _examples(learn, vectors, pairs, names, _labels(learn.task, columns["user"]))
    page = render_page(
        "recommender_report.html.j2",
        title=title,
        split=split,
        figures=[
            ("RMSE", figure(found.ratings.rmse)),
            ("MAE", figure(found.ratings.mae)),
            *([] if found.ranking is None else _list_figures(found.ranking)),
            ("ratings", f"{found.ratings.n:,}"),
        ],
        note=found.note,
        summary=data.summary(),
        **(NO_SECTIONS if evidence is None else evidence.sections()),
        **values,
    )
    return write_page(path, page)


def _list_figures(ranking: Any) -> list[tuple[str, str]]:
    k = ranking.k
    return [(f"recall@{k}", f"{ranking.recall:.3f}"), (f"nDCG@{k}", f"{ranking.ndcg:.3f}")]


def _sides(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: columns[name] for name in ("user", "item", "item_columns")}


def _labels(task: Any, column: str) -> tuple[str, ...]:
    found: tuple[str, ...] = next(code.labels for code in task.preprocessing.codes if code.column == column)
    return found


def _examples(
    learn: Any, vectors: Vectors, pairs: Pairs, items: tuple[str, ...], users: tuple[str, ...]
) -> dict[str, Any]:
    """Return recommendations of some users, the items with the largest biases, and the neighbours of popular items."""
    counts = np.bincount(pairs.train.items, minlength=pairs.items)
    width = learn.task.features.get_layer("items").factors + 2
    bias = vectors.items.reshape(pairs.items, -1, width)[:, :, -2].mean(1)
    enough = np.flatnonzero(counts[FIRST:] >= min(_ENOUGH, int(counts[FIRST:].max()))) + FIRST
    order = enough[np.argsort(-bias[enough], kind="stable")]
    ends = list(zip(order[:BIASED], order[::-1][:BIASED], strict=True))
    active = np.argsort(-np.diff(pairs.train.begins)[FIRST:], kind="stable") + FIRST
    chosen = active[np.linspace(0, max(len(active) // 2 - 1, 0), min(EXAMPLES, len(active))).astype(int)]
    k = min(LISTED, pairs.items - FIRST)
    best = top_items(scores_of(learn.task, vectors.users[chosen], vectors.items).astype(float), chosen, pairs.train, k)
    popular = np.argsort(-counts, kind="stable")[: 2 * EXAMPLES]
    near = neighbours_of(vectors.items, popular, min(NEIGHBOURS, pairs.items - FIRST - 1))
    return {
        "biased": [
            (items[high], int(counts[high]), float(bias[high]), items[low], int(counts[low]), float(bias[low]))
            for high, low in ends
        ],
        "users": [
            (users[user], int(np.diff(pairs.train.begins)[user]), [items[item] for item in row if item >= 0])
            for user, row in zip(chosen, best, strict=True)
        ],
        "neighbours": [
            (items[item], int(counts[item]), [items[other] for other in row])
            for item, row in zip(popular, near, strict=True)
            if item >= FIRST
        ],
    }


def neighbours_of(vectors: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """Return the items with the most similar vectors by their cosine, int64 [n, k], most similar first.

    Args:
        vectors: of all items, float32 [N, W]; the first two stand for no item.
        chosen: codes of items, [n].
        k: how many.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similar = unit[chosen] @ unit.T
    similar[:, :FIRST] = -np.inf
    similar[np.arange(len(chosen)), chosen] = -np.inf
    return np.argsort(-similar, axis=1, kind="stable")[:, :k]
