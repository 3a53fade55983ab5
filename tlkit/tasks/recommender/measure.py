"""The metrics of a recommender: of its ratings, and of its lists."""

from __future__ import annotations

import dataclasses
from typing import Any

from tlkit.errors import DataError
from tlkit.inputs.row.columns import FIRST
from tlkit.report.regression import RegressionMetrics
from tlkit.tasks.recommender.ranking import Pairs, RankingMetrics, Scorer, model_scores, pairs_of, ranking_metrics

K = 10
NOT_RANKED = "no ranking: this data has no training ratings"


@dataclasses.dataclass(frozen=True, eq=False)
class RecommenderMetrics:
    """Metrics of ratings, and of the first ten recommendations.

    Attributes:
        ratings: the errors of predicted ratings.
        ranking: the lists; None where no known user has held-out items that the training data has.
        note: why there is no ranking.
    """

    ratings: RegressionMetrics
    ranking: RankingMetrics | None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.ratings}\n{self.ranking or self.note}"

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values: `metrics` holds both kinds."""
        plain = self.ratings.to_dict()
        lists = {} if self.ranking is None else self.ranking.to_dict()
        return plain | {"metrics": plain["metrics"] | lists}

    def table(self) -> Any:
        """Return the metrics as a rich renderable."""
        from rich.console import Group
        from rich.text import Text

        return Group(self.ratings.table(), Text(str(self.ranking or self.note)))


def measure_ratings(learn: Any, split: str = "val", k: int = K) -> RecommenderMetrics:
    """Measure the ratings and the ranked lists of a trained network.

    Args:
        learn: a `tlkit.Learner` of a recommender.
        split: held-out data that was encoded with the training data.
        k: length of the lists.
    """
    ratings = learn.measure(learn.logits(split), split)
    if "train" not in learn.data.splits:
        return RecommenderMetrics(ratings, None, NOT_RANKED)
    return with_lists(ratings, pairs_of(learn.task, learn.data, split), model_scores(learn.task), k)


def with_lists(ratings: RegressionMetrics, pairs: Pairs, scores: Scorer, k: int = K) -> RecommenderMetrics:
    """Return the metrics of ratings together with those of the lists that scores give.

    Args:
        ratings: the errors of predicted ratings.
        pairs: who has what.
        scores: of all items, for users.
        k: length of the lists; of fewer items, all are listed.
    """
    try:
        return RecommenderMetrics(ratings, ranking_metrics(scores, pairs, min(k, pairs.items - FIRST)))
    except DataError as error:
        return RecommenderMetrics(ratings, None, f"no ranking: {error}")
