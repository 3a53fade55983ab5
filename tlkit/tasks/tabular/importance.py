"""How much worse a model gets when one column of the table is shuffled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tlkit.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[["pd.DataFrame"], npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class ColumnImportance:
    """What a column is worth to a model.

    Attributes:
        column: its name in the table.
        mean: mean increase of the loss when the column is shuffled; at or below 0 the model does without it.
        spread: standard deviation over the repeats.
        increases: the increase in each repeat.
    """

    column: str
    mean: float
    spread: float
    increases: tuple[float, ...]


def permutation_importance(
    predict: Predict,
    frame: pd.DataFrame,
    score: Callable[[npt.NDArray[Any]], float],
    *,
    columns: Sequence[str] | None = None,
    repeats: int = 3,
    seed: int = 0,
) -> list[ColumnImportance]:
    """Shuffle one column of the table after another and see how the loss grows (Breiman 2001; Fisher et al. 2019).

    A column is shuffled as it stands in the table: what is made of it, such as the parts of a date, goes along. Columns
    that say the same stand in for each other, so that each looks less important than both are.

    Example:
        >>> found = permutation_importance(predict, frame, lambda answers: np.square(answers[:, 0] - truth).mean())
        >>> found[0].column, found[0].mean
        ('distance', 12.7)

    Args:
        predict: raw rows -> answers, [n, K] or [n].
        frame: raw rows; some thousands are enough.
        score: answers to all rows of `frame`, in order -> loss, the smaller the better.
        columns: which columns; all of them when left out.
        repeats: how often each is shuffled.
        seed: of the shuffling.

    Returns:
        One `ColumnImportance` for each column, the most important first.

    Raises:
        ConfigError: there is no such column, or no repeat.
        DataError: there are fewer than two rows.
    """
    import pandas as pd

    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ConfigError("repeats of the shuffling", received=repeats, allowed="a whole number from 1")
    chosen = list(frame.columns) if columns is None else list(columns)
    for column in chosen:
        if column not in frame.columns:
            raise ConfigError("there is no such column", received=column, allowed=list(frame.columns),
                              fix=did_you_mean(str(column), map(str, frame.columns)) or None)  # fmt: skip
    if len(frame) < 2:
        raise DataError("importance needs rows to shuffle", received=f"{len(frame)} rows", allowed="at least 2")
    rows = len(frame)
    base = float(score(np.asarray(predict(frame))))
    # One long table for all repeats: a model's answer to it costs less than several answers.
    stacked = pd.concat([frame] * repeats, ignore_index=True)
    found = []
    for column in chosen:
        # Each column has a stream of its own: its figures do not depend on which others are asked for before it.
        rng = np.random.default_rng([seed, *str(column).encode()])
        order = np.concatenate([rng.permutation(rows) for _ in range(repeats)])
        shuffled = stacked.copy(deep=False)
        shuffled[column] = frame[column].take(order).set_axis(stacked.index)
        answers = np.split(np.asarray(predict(shuffled)), repeats)
        increases = tuple(float(score(part)) - base for part in answers)
        found.append(ColumnImportance(str(column), float(np.mean(increases)), float(np.std(increases)), increases))
    return sorted(found, key=lambda one: -one.mean)
