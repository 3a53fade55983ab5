"""The network: vectors of users and items whose product is the rating."""

from collections.abc import Sequence

import tlkit
from tlkit.config import RecommenderConfig
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.targets.base import Target


def build_task(
    config: RecommenderConfig, preprocessing: TablePreprocessing, targets: Sequence[Target], entries: int
) -> tlkit.Task:
    """Put vectors and biases together; `task.model` is a plain keras.Model of encoded rows.

    `entries` is the number of ratings that the export keeps, to leave out what a user has already rated.
    """
    return tlkit.recommender_model(
        preprocessing,
        targets,
        **config.sides,
        factors=config.model.factors,
        members=config.model.members,
        hidden=config.model.hidden,
        dropout=config.model.dropout,
        entries=entries,
        seed=config.data.seed,
    )
