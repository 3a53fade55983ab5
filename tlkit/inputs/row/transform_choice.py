"""Which transform of a numeric target predicts best in its own unit."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tlkit.errors import DataError
from tlkit.inputs.row.column_kinds import Finding
from tlkit.targets.regression import Regression, Transform, fit_target

if TYPE_CHECKING:
    from tlkit.inputs.row.data import TabularData

MOST_ROWS = 10_000  # training rows that are looked at
FOLDS = 5
_FEWEST = 30  # training rows, from which on folds say something
_MOST_CATEGORIES = 255  # of a column, that scikit-learn's boosting takes
_log = logging.getLogger("tlkit")


@dataclasses.dataclass(frozen=True)
class TransformChoice:
    """A transform, and what it was chosen by.

    Attributes:
        target: name of the target.
        transform: what was chosen.
        losses: by transform the RMSE of each fold, in the target's own unit; empty with too few rows.
    """

    target: str
    transform: Transform
    losses: dict[str, tuple[float, ...]]

    def __str__(self) -> str:
        chosen = f'transform = "{self.transform}"'
        if not self.losses:
            return f"{chosen}: fewer than {_FEWEST} training rows are too few to compare transforms"
        said = ", ".join(f"{name} {np.mean(own):.4g}" for name, own in self.losses.items())
        return f"{chosen}, by the RMSE of boosted trees in {FOLDS} folds of training rows: {said}"


def choose_transforms(data: TabularData, names: list[str]) -> TabularData:
    """Return the same data, with the best transform of each of these targets.

    Boosted trees (scikit-learn's HistGradientBoosting) learn from four fifths of the training rows, with each transform
    that the values allow, and predict the others, five times. The transform with the lowest mean RMSE in the target's
    own unit is taken if it beats no transform by more than the standard error of the difference; else none is. Of more
    than 10,000 training rows so many are looked at. The choice is logged, and a finding of the data.

    Args:
        data: its targets have no transform yet.
        names: the regression targets.
    """
    targets, findings = list(data.targets), []
    for number, target in enumerate(targets):
        if target.name not in names:
            continue
        assert isinstance(target, Regression)  # narrows the type
        choice = _choose(data, number, target)
        _log.info("%s: %s", target.name, choice)
        findings.append(Finding(target.name, "continuous", str(choice)))
        if choice.transform != "none":
            values = data.labels("train")[:, number]
            bounds = None if target.low is None or target.high is None else (target.low, target.high)
            chosen = fit_target(
                target.name, values[np.isfinite(values)], transform=choice.transform, y_range=bounds,
                weight=target.weight,
            )  # fmt: skip
            targets[number] = dataclasses.replace(chosen, unit=target.unit)
    return data.with_targets(targets, findings)


def _choose(data: TabularData, number: int, target: Regression) -> TransformChoice:
    values = data.labels("train")[:, number]
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < _FEWEST:
        return TransformChoice(target.name, "none", {})
    draw = np.random.default_rng(data.seed)
    rows = draw.permutation(known)[:MOST_ROWS]
    others = [data.labels(split)[:, number] for split in data.splits]
    lows = [] if target.low is None else [np.array([target.low])]
    least = float(np.nanmin(np.concatenate([*others, *lows])))  # no transform may be undefined for any of them
    inputs, categories = _inputs(data, rows)
    values = values[rows]
    fold = np.arange(len(rows)) % FOLDS
    losses: dict[str, tuple[float, ...]] = {}
    for transform in get_args(Transform):
        if (transform == "log" and least <= 0) or (transform == "log1p" and least < 0):
            continue
        try:
            losses[transform] = tuple(
                _rmse(inputs, values, fold == held, categories, transform, target, data.seed) for held in range(FOLDS)
            )
        except DataError:  # a fold's values are too close to each other after it
            continue
    plain = np.array(losses.get("none", ()))
    best = min(losses, key=lambda name: float(np.mean(losses[name])), default="none")
    if len(plain) and best != "none":
        gain = plain - losses[best]
        if gain.mean() <= gain.std(ddof=1) / np.sqrt(FOLDS):
            best = "none"
    return TransformChoice(target.name, best, losses)  # type: ignore[arg-type]


def _inputs(data: TabularData, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return encoded rows with few enough categories, float64 [n, D], and which columns are categories, bool [D]."""
    inputs = data.encoded("train")[rows].astype(np.float64)
    categories = np.zeros(inputs.shape[1], bool)
    for place in range(len(data.preprocessing.codes)):
        seen, codes = np.unique(inputs[:, place], return_inverse=True)
        if len(seen) <= _MOST_CATEGORIES:
            inputs[:, place], categories[place] = codes, True
    return inputs, categories


def _rmse(
    inputs: np.ndarray,
    values: np.ndarray,
    held: np.ndarray,
    categories: np.ndarray,
    transform: Transform,
    target: Regression,
    seed: int,
) -> float:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    own = fit_target(target.name, values[~held], transform=transform)
    model: Any = HistGradientBoostingRegressor(categorical_features=categories, early_stopping=False, random_state=seed)
    with threadpool_limits(1, user_api="openmp"):
        model.fit(inputs[~held], own.forward(values[~held])[:, 0])
        outputs = model.predict(inputs[held])
    predicted = own.answers(outputs[:, None].astype(np.float32)).numpy()[:, 0].astype(np.float64)
    return float(np.sqrt(np.mean((predicted - values[held]) ** 2)))
