"""scikit-learn's histogram gradient boosting on what an objective learns: a model for each target or label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tlkit.targets.objective import Objective

FEW = 1000  # training rows: of fewer, a tenth is not enough for early stopping
ABSENT = -16.0  # logit of a class that no training row has
FOLDS = 3  # of fewer than FEW rows, by which the number of trees is chosen
_FEWEST = 30  # rows that can be divided into folds
_ENDS = 1e-6  # how near predictions may come to the ends of a target's range, as a fraction of it


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
    """What one model learns.

    Attributes:
        outputs: places of its outputs among those of the objective; two classes have a model that gives the logit of
            the second one.
        labels: values float [n], or class numbers int [n].
        known: rows that have a label, bool [n].
        classes: how many there are; 0 for values.
        otherwise: the value of outputs that the model does not give.
    """

    outputs: list[int]
    labels: np.ndarray
    known: np.ndarray
    classes: int
    otherwise: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class FittedModel:
    """A fitted model.

    Attributes:
        learned: what it learned.
        model: of scikit-learn; None where all rows have the same class.
        present: the classes of the training rows; `[0]` for values.
    """

    learned: Learned
    model: Any
    present: list[int]

    @property
    def constant(self) -> list[float]:
        """The outputs without a model: of the classes in `present`, or of the only output of a label."""
        if len(self.learned.outputs) == 1:
            return [-ABSENT if self.present == [1] else ABSENT]
        return [0.0] * len(self.present)

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs of rows float64 [n, F]: float64 [n, len(learned.outputs)]."""
        learned = self.learned
        found = np.full((len(inputs), len(learned.outputs)), learned.otherwise)
        places = [0] if len(learned.outputs) == 1 else self.present
        if self.model is None:
            found[:, places] = self.constant
        elif not learned.classes:
            found[:, 0] = self.model.predict(inputs)
        else:
            raw = self.model.decision_function(inputs).reshape(len(inputs), -1)
            found[:, places] = 0.0
            found[:, places[-raw.shape[1] :]] = raw
        return found


def learned_of(objective: Objective, true: np.ndarray) -> Iterator[Learned]:
    """Yield what the models of an objective learn.

    Args:
        objective: the targets.
        true: what `objective.encode` makes of labels, float32 [n, T]; NaN where a label is missing.
    """
    output = column = 0
    for target in objective.targets:
        own = true[:, column : column + target.true_width]
        known = np.isfinite(own[:, 0])
        if target.kind == "regression":
            yield Learned([output], _outputs_of(target, own[:, 0].astype(np.float64)), known, 0)
        elif target.kind == "multi_label":
            for number in range(target.width):
                yield Learned([output + number], (own[:, number] > 0.5).astype(np.int64), known, 2)
        else:
            labels = np.where(known, np.nan_to_num(own).argmax(1), 0)
            yield Learned([*range(output, output + target.width)], labels, known, target.width, ABSENT)
        output, column = output + target.width, column + target.true_width


def fit_model(
    inputs: np.ndarray,
    learned: Learned,
    arguments: Mapping[str, Any],
    *,
    weights: np.ndarray | None = None,
    threads: int = 1,
    refit: bool = False,
) -> FittedModel:
    """Fit a model.

    Args:
        inputs: of all rows, float64 [n, F]; NaN where a value is missing.
        learned: its labels.
        arguments: of scikit-learn's HistGradientBoosting.
        weights: how much each row counts, float32 [n].
        threads: that it uses. Several threads that share a busy core take many times as long as one.
        refit: after early stopping, fit as many trees to all rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    known = learned.known
    labels, own = learned.labels[known], None if weights is None else weights[known]
    present = [0]
    if not learned.classes:
        model: Any = HistGradientBoostingRegressor(**arguments)
    else:
        present, counts = (part.tolist() for part in np.unique(labels, return_counts=True))
        if len(present) < 2:
            return FittedModel(learned, None, present)
        # Early stopping splits by class, which a class of one row does not allow.
        stops = arguments["early_stopping"] and min(counts) > 1
        model = HistGradientBoostingClassifier(**{**arguments, "early_stopping": stops})
    with threadpool_limits(threads, user_api="openmp"):
        model.fit(inputs[known], labels, sample_weight=own)
        if refit and model.do_early_stopping_:  # the rows that decided when to stop are learned from, too
            model.set_params(max_iter=model.n_iter_, early_stopping=False)
            model.fit(inputs[known], labels, sample_weight=own)
    return FittedModel(learned, model, present)


def iterations_by_folds(
    inputs: np.ndarray,
    learned: Learned,
    arguments: Mapping[str, Any],
    *,
    most: int,
    weights: np.ndarray | None = None,
    threads: int = 1,
) -> int | None:
    """Return the number of trees with the lowest mean loss over three folds of few rows.

    Args:
        inputs: of all rows, float64 [n, F].
        learned: their labels.
        arguments: of scikit-learn's HistGradientBoosting; `n_iter_no_change` ends a fold that becomes no better.
        most: most trees.
        weights: how much each row counts, float32 [n].
        threads: that it uses.

    Returns:
        The number; None where there are fewer than 30 rows, or a class has a single one.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, StratifiedKFold
    from threadpoolctl import threadpool_limits

    rows, labels = inputs[learned.known], learned.labels[learned.known]
    own = None if weights is None else weights[learned.known]
    folds = FOLDS
    if learned.classes:
        present, counts = np.unique(labels, return_counts=True)
        folds = min(FOLDS, int(counts.min()))
        if len(present) < 2:
            return None
    if len(labels) < _FEWEST or folds < 2:
        return None
    seed = arguments["random_state"]
    split = (StratifiedKFold if learned.classes else KFold)(folds, shuffle=True, random_state=seed)
    maker: Any = HistGradientBoostingClassifier if learned.classes else HistGradientBoostingRegressor
    curves = np.full((folds, most + 1), np.nan)
    for number, (train, held) in enumerate(split.split(rows, labels)):
        model = maker(**{**arguments, "early_stopping": True, "max_iter": most, "scoring": "loss"})
        with threadpool_limits(threads, user_api="openmp"):
            model.fit(
                rows[train], labels[train], sample_weight=None if own is None else own[train],
                X_val=rows[held], y_val=labels[held], sample_weight_val=None if own is None else own[held],
            )  # fmt: skip
        scores = np.asarray(model.validation_score_)
        curves[number, : len(scores)] = scores
        curves[number, len(scores) :] = scores[-1]  # it ended there
    return max(int(curves.mean(axis=0).argmax()), 1)


def _outputs_of(target: Any, scaled: np.ndarray) -> np.ndarray:
    """Return the outputs that stand for scaled values: with a range, those before its sigmoid."""
    if target.low is None:
        return scaled
    low, high = (float(target.scaled(np.float32(end))) for end in (-np.inf, np.inf))
    part = np.clip((scaled - low) / (high - low), _ENDS, 1 - _ENDS)
    return np.log(part) - np.log1p(-part)
