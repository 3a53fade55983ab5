"""A linear probe on frozen features: its regularisation chosen by cross-validation, solved until it converges."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import keras

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # of C, on standardised features; from strong to weak
WITHOUT_FOLDS = 1e-2  # where there are too few examples to choose one
_FOLDS = 5
_MOST_ROWS = 5000  # for the choice; the probe itself is fitted on all
_RARE = 0.1  # share of the examples that may be of classes with fewer than one a fold
_PATIENCE = 2  # strengths that may be worse than the best one before the search ends


Fold = tuple[np.ndarray, np.ndarray]  # training rows and held-out rows


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Logistic regression on features, as the kernel and bias of a dense layer.

    Attributes:
        kernel: float32 [F, k], of features as they are: the standardisation is folded in.
        bias: float32 [k].
        strength: C of the regularisation (its inverse); the larger, the weaker.
        rows: int [m], the rows whose predictions were made out of fold; empty where there were too few examples.
        logits: float32 [m, k], the predictions out of fold of `rows`.
        folds: how many; 0 where there were too few examples.
        note: what was done instead of cross-validation, or empty.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    rows: np.ndarray
    logits: np.ndarray
    folds: int
    note: str = ""

    def install(self, head: keras.Model) -> None:
        """Put kernel and bias into the dense layer of a head; see `dense_of`."""
        layer = dense_of(head)
        if layer is None:
            raise ValueError("the head is not a single dense layer")
        layer.kernel.assign(self.kernel)
        layer.bias.assign(self.bias)

    def softened(self, targets: np.ndarray, smoothing: float, multi_label: bool = False) -> Probe:
        """Return a probe that is no surer than smoothed labels ask for; what it answers stays the same.

        A fine-tuning with label smoothing that starts from a surer one spends its first steps on that alone, and
        distorts the features meanwhile.

        Args:
            targets: of the examples that it was fitted on, [n, k].
            smoothing: of the labels, 0 up to 1.
            multi_label: as in `fit_probe`.
        """
        if not self.folds or not smoothing:
            return self
        smooth = targets[self.rows] * (1 - smoothing) + smoothing / (2 if multi_label else targets.shape[1])
        scales = np.exp(np.linspace(np.log(0.05), 0.0, 41))
        losses = [float(log_losses(self.logits * scale, smooth, multi_label).mean()) for scale in scales]
        scale = np.float32(scales[int(np.argmin(losses))])
        return dataclasses.replace(self, kernel=self.kernel * scale, bias=self.bias * scale, logits=self.logits * scale)


def dense_of(head: keras.Model) -> Any:
    """Return the dense layer of a head that is dropout and one linear dense layer with a bias; None for any other."""
    import keras

    rest = [layer for layer in head.layers if not isinstance(layer, keras.layers.InputLayer | keras.layers.Dropout)]
    if len(rest) != 1 or not isinstance(rest[0], keras.layers.Dense):
        return None
    dense = rest[0]
    return dense if dense.use_bias and dense.activation is keras.activations.linear else None


def fit_probe(
    features: np.ndarray,
    targets: np.ndarray,
    *,
    multi_label: bool = False,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Probe:
    """Fit a linear probe (Alain & Bengio 2016, arXiv 1610.01644) and choose its regularisation.

    Features are standardised, and turned into the space that their rows span: where there are fewer rows than
    features, the regression has a hundred unknowns instead of thousands, and the same answers, since an L2 penalty
    does not see a rotation. The strength with the lowest log loss out of fold wins.

    Args:
        features: float [n, F].
        targets: one-hot float [n, k], or with `multi_label` 0/1 for each label.
        multi_label: several labels can be true at once: each has a regression of its own.
        weights: float [n], of the examples in the loss.
        groups: a value for each row, [n]; rows that share one (copies, photos of one patient) stay in one fold.
        strengths: C to choose from, rising.
        seed: of the folds.

    Returns:
        The probe. Its predictions out of fold are those of `strength`.
    """
    targets = np.asarray(targets)
    return cross_validated(
        features,
        targets,
        lambda rows: _Solver(rows, targets, weights, multi_label),
        width=targets.shape[1],
        loose=multi_label,
        groups=groups,
        strengths=strengths,
        seed=seed,
        examples="examples of a class",
    )


def out_of_fold(
    features: np.ndarray, targets: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0
) -> np.ndarray | None:
    """Predict every row by a logistic regression that has not seen it.

    The regularisation is chosen as for `fit_probe`, on at most 5,000 rows; the predictions are of all rows.

    Args:
        features: float [n, F].
        targets: one-hot float [n, k].
        groups: a value for each row; rows that share one stay in one fold.
        seed: of the folds.

    Returns:
        Logits, float64 [n, k], or None where there are too few examples of a class.
    """
    _, _, space = _standardised(features)
    solver = _Solver(space.rows, targets, None, False)
    kept, folds = _cut(targets, groups, False, seed)
    if not folds:
        return None
    with one_thread_each():
        strength, outputs = _chosen(solver, targets.shape[1], kept, folds, STRENGTHS)
        if len(kept) == len(targets):
            return outputs
        outputs = np.zeros((len(targets), targets.shape[1]))
        for train, held in cut_folds(targets, groups, False, seed):
            outputs[held] = solver.outputs(held, *solver.solve(train, strength))
    return outputs


class Solver(Protocol):
    """Solves a regression on rows of one matrix."""

    def solve(self, chosen: np.ndarray, strength: float, key: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel [R, K] and bias [K]; with a key, begin where the last call of that key ended."""
        ...

    def outputs(self, chosen: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return what a solution answers about some rows, float [m, K]."""
        ...

    def score(self, kept: np.ndarray, folds: Sequence[Fold], outputs: np.ndarray) -> float:
        """Return the loss of outputs out of fold; lower is better."""
        ...


def cross_validated(
    features: np.ndarray,
    targets: np.ndarray,
    make: Callable[[np.ndarray], Solver],
    *,
    width: int,
    loose: bool,
    groups: np.ndarray | None,
    strengths: Sequence[float],
    seed: int,
    examples: str,
) -> Probe:
    """Fit a linear map of features whose regularisation has the lowest loss out of fold.

    Args:
        features: float [n, F].
        targets: what is learned, [n, T].
        make: rows in the space that they span -> what solves the regression on them.
        width: outputs of the map.
        loose: folds are drawn without looking at the targets.
        groups, strengths, seed: as for `fit_probe`.
        examples: what there may be too few of, for the note.
    """
    center, scale, space = _standardised(features)
    solver = make(space.rows)
    kept, folds = _cut(targets, groups, loose, seed)
    with one_thread_each():
        if folds:
            strength, outputs = _chosen(solver, width, kept, folds, strengths)
            rows, note = kept, ""
        else:
            strength, rows, outputs = WITHOUT_FOLDS, np.zeros(0, np.int64), np.zeros((0, width), np.float32)
            note = f"too few different {examples} for cross-validation: using the default regularisation"
        kernel, bias = solver.solve(np.arange(len(targets)), strength)
    kernel = space.back(kernel) / scale[:, None]
    return Probe(
        kernel.astype(np.float32),
        (bias - center @ kernel).astype(np.float32),
        strength,
        rows,
        outputs.astype(np.float32),
        len(folds),
        note,
    )


def log_losses(logits: np.ndarray, targets: np.ndarray, multi_label: bool = False) -> np.ndarray:
    """Return the log loss of each row of logits float [n, k], float64 [n]; of several labels their sum.

    Targets may be smoothed ones.
    """
    from scipy.special import logsumexp

    if multi_label:
        return (np.logaddexp(0, logits) - logits * targets).sum(1)
    return logsumexp(logits, axis=1) - (logits * targets).sum(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let BLAS compute in the thread that calls it: on matrices of this size, its own threads cost more than they give.

    `tools/bench_probe.py` prints the ratio. Warnings are caught here, since that is not safe in threads.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


class _Space:
    """Rows in the space that they span, and the way back."""

    def __init__(self, rows: np.ndarray, basis: np.ndarray | None):
        self.rows, self._basis = rows, basis

    def back(self, kernel: np.ndarray) -> np.ndarray:
        return kernel if self._basis is None else self._basis @ kernel


def _rotated(rows: np.ndarray) -> _Space:
    """Return rows in the space that they span: fewer unknowns where there are fewer rows than features."""
    if len(rows) >= rows.shape[1]:
        return _Space(rows, None)
    basis, triangle = np.linalg.qr(rows.T)  # rows = triangle.T @ basis.T
    return _Space(np.ascontiguousarray(triangle.T), basis)


def _standardised(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, _Space]:
    """Return mean and spread of each feature, and the standardised rows in the space that they span."""
    center, scale = _standard(features)
    return center, scale, _rotated((features.astype(np.float64) - center) / scale)


def _cut(targets: np.ndarray, groups: np.ndarray | None, loose: bool, seed: int) -> tuple[np.ndarray, list[Fold]]:
    """Return the rows that the regularisation is chosen on, and their folds."""
    kept = _subset(targets, loose, seed)
    return kept, cut_folds(targets[kept], None if groups is None else np.asarray(groups)[kept], loose, seed)


def _standard(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and spread of each feature, float64 [F] each; 1 for a feature that never changes."""
    center = features.mean(0, dtype=np.float64)
    spread = features.std(0, dtype=np.float64)
    floor = 1e-6 * max(float(spread.max(initial=0.0)), float(np.finfo(np.float32).tiny))
    return center, np.where(spread > floor, spread, 1.0)  # a feature that never changes is only a bias


class _Solver:
    """Solves the regression on rows of one matrix; several labels are regressions of their own."""

    def __init__(self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, multi_label: bool):
        self._rows, self._weights = rows, weights
        self.targets, self.multi_label = targets, multi_label
        self._last: dict[Any, Any] = {}

    def solve(self, chosen: np.ndarray, strength: float, key: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel [R, k] and bias [k]; with a key, begin where the last call of that key ended."""
        if not self.multi_label:
            return self._one(chosen, self.targets[chosen].argmax(1), self.targets.shape[1], strength, (key, -1))
        parts = [
            self._one(chosen, (self.targets[chosen, label] > 0).astype(int), 2, strength, (key, label))
            for label in range(self.targets.shape[1])
        ]
        # Of a label that is always or never true there is nothing to learn but that.
        return np.stack([w[:, 1] - w[:, 0] for w, _ in parts], 1), np.array([b[1] - b[0] for _, b in parts])

    def outputs(self, chosen: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return self._rows[chosen] @ kernel + bias

    def score(self, kept: np.ndarray, folds: Sequence[Fold], outputs: np.ndarray) -> float:
        return float(log_losses(outputs, self.targets[kept], self.multi_label).mean())

    def _one(
        self, chosen: np.ndarray, numbers: np.ndarray, count: int, strength: float, key: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.linear_model import LogisticRegression

        kernel, bias = np.zeros((self._rows.shape[1], count)), np.full(count, -20.0)
        present = np.unique(numbers)
        if len(present) < 2:
            bias[present] = 0.0
            return kernel, bias
        model = self._last.get(key) or LogisticRegression(C=strength, max_iter=1000, warm_start=True)
        model.C = strength
        model.fit(self._rows[chosen], numbers, None if self._weights is None else self._weights[chosen])
        if key[0] is not None:
            self._last[key] = model
        if len(present) == 2:  # one column: split it evenly
            kernel[:, present] = np.stack([-model.coef_[0] / 2, model.coef_[0] / 2], 1)
            bias[present] = np.array([-0.5, 0.5]) * model.intercept_[0]
        else:
            kernel[:, present], bias[present] = model.coef_.T, model.intercept_
        return kernel, bias


def _subset(targets: np.ndarray, multi_label: bool, seed: int) -> np.ndarray:
    """Return the rows that the regularisation is chosen on, rising: all, or as many of each class as its share."""
    if len(targets) <= _MOST_ROWS:
        return np.arange(len(targets))
    order = np.random.default_rng(seed).permutation(len(targets))
    if not multi_label:  # an even step through the classes takes the same share of each
        order = order[np.argsort(targets[order].argmax(1), kind="stable")]
    return np.sort(order[np.linspace(0, len(order) - 1, _MOST_ROWS).round().astype(int)])


def cut_folds(
    targets: np.ndarray, groups: np.ndarray | None, multi_label: bool, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut rows into folds, those of a group into one: (training rows, held-out rows) of each.

    There are none where classes could not be on both sides, except for few examples of rare ones. The arguments are
    those of `fit_probe`.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

    # Of several labels, any combination may be rare: their folds are drawn without looking at them.
    numbers = np.zeros(len(targets), int) if multi_label else targets.argmax(1)
    sizes = np.unique(numbers, return_counts=True)[1]
    rare = sizes < _FOLDS
    count = _FOLDS if sizes[rare].sum() <= _RARE * len(targets) else int(sizes.min())
    if count == _FOLDS and rare.all():
        return []
    if len(targets) < 4 or count < 2:
        return []
    if groups is not None and len(np.unique(groups)) < len(groups):
        count = min(count, len(np.unique(groups)))
        if count < 2:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class with fewer groups than folds
            splitter: Any = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
            return [(a, b) for a, b in splitter.split(numbers, numbers, groups) if len(b)]
    splitter = (KFold if multi_label else StratifiedKFold)(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class with fewer examples than folds
        return list(splitter.split(numbers, numbers))


def _chosen(
    solver: Solver, width: int, kept: np.ndarray, folds: Sequence[Fold], strengths: Sequence[float]
) -> tuple[float, np.ndarray]:
    """Return the best strength and its outputs out of fold."""
    best: tuple[float, float, np.ndarray] | None = None
    worse = 0

    def predict(number: int) -> np.ndarray:
        train, held = folds[number]
        return solver.outputs(kept[held], *solver.solve(kept[train], strength, number))

    with ThreadPoolExecutor(min(len(folds), os.cpu_count() or 1)) as threads:
        for strength in strengths:
            outputs = np.zeros((len(kept), width))
            for (_, held), predicted in zip(folds, threads.map(predict, range(len(folds))), strict=True):
                outputs[held] = predicted
            loss = solver.score(kept, folds, outputs)
            if best is None or loss < best[0]:
                best, worse = (loss, strength, outputs), 0
            else:
                worse += 1
                if worse == _PATIENCE:
                    break
    assert best is not None  # there is at least one strength
    return best[1], best[2]
