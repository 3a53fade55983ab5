"""Gradient boosting on encoded rows: scikit-learn fits the trees, and they become arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tlkit.errors import ConfigError, ModelError, check_choice, did_you_mean
from tlkit.inputs.row.columns import Continuous
from tlkit.inputs.row.features import needed_columns
from tlkit.targets.objective import Objective
from tlkit.tasks.tabular.hist_boosting import FEW, FittedModel, fit_model, iterations_by_folds, learned_of
from tlkit.tasks.tabular.tree_columns import TreeColumns, fit_tree_columns
from tlkit.tasks.tabular.trees import MOST_LEAVES, BoostedTrees, Tree, compile_trees

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing

Direction = Literal["increasing", "decreasing"]
MOST_BAGS = 100
MOST_OF_FEW = 300  # trees of each output with fewer than 1,000 rows


@dataclasses.dataclass(frozen=True)
class BoostingOptions:
    """How boosting is fitted: arguments of scikit-learn's HistGradientBoosting.

    Args:
        iterations: most trees of each output.
        learning_rate: of each tree.
        max_features: part of the columns that each split may choose from.
        leaves: most leaves of a tree, 2 to 32.
        patience: iterations without a better loss on held-out rows after which boosting ends. From 1,000 rows on, a
            tenth is held out, and so many trees are then fitted to all rows. With fewer rows, the number of trees with
            the lowest mean loss over three folds, up to 300, is fitted to all rows. 0 grows all trees.
        few_iterations: trees of each output with fewer than 1,000 rows where folds do not decide: with `patience` 0,
            fewer than 30 rows, or a class of a single row.
        l2: penalty of the leaves' values.
        threads: that it uses. More than one help on a machine that has nothing else to do; on a busy one they wait for
            each other and take many times as long.
        bags: models of each output, with seeds of their own; their mean is taken. Each takes as long as one.
        seed: of that tenth and of the columns.
        monotonic: column of numbers -> whether predictions never fall (`"increasing"`) or never rise (`"decreasing"`)
            where its value rises and all else stays. Of two classes the probability of the second one is meant, of
            several labels that of each.

    Raises:
        ConfigError: one of them is not usable.
    """

    iterations: int = 1000
    learning_rate: float = 0.05
    max_features: float = 0.5
    leaves: int = 31
    patience: int = 20
    few_iterations: int = 100
    l2: float = 1.0
    threads: int = 1
    bags: int = 1
    seed: int = 0
    monotonic: Mapping[str, Direction] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        wholes = {"iterations": (1, 100_000), "few_iterations": (1, 100_000), "leaves": (2, MOST_LEAVES),
                  "patience": (0, 10**6), "threads": (1, 1024), "bags": (1, MOST_BAGS)}  # fmt: skip
        for name, (least, most) in wholes.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(f"{name} of boosting is invalid", received=value, allowed=f"{least} to {most}")
        for name in ("learning_rate", "max_features"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
                raise ConfigError(f"{name} of boosting is invalid", received=value, allowed="above 0, at most 1")
        for name, direction in self.monotonic.items():
            check_choice(f"monotonic constraint of column {name!r}", direction, get_args(Direction))

    def for_rows(self, rows: int) -> dict[str, Any]:
        """Return scikit-learn's arguments for so many training rows."""
        few = rows < FEW
        return {
            "max_iter": min(self.few_iterations, self.iterations) if few else self.iterations,
            "learning_rate": self.learning_rate,
            "max_features": self.max_features,
            "max_leaf_nodes": self.leaves,
            "l2_regularization": self.l2,
            "early_stopping": not few and self.patience > 0,
            "n_iter_no_change": max(self.patience, 1),
            "random_state": self.seed,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class FittedTrees:
    """What boosting has learned.

    Attributes:
        trees: as arrays.
        columns: what they split on.
        iterations: trees of each output.
    """

    trees: BoostedTrees
    columns: TreeColumns
    iterations: tuple[int, ...]


def check_boosting(objective: Objective) -> None:
    """Refuse what boosting cannot learn.

    Raises:
        ConfigError: the target is a risk.
    """
    for target in objective.targets:
        if target.kind == "survival":
            raise ConfigError(
                "boosting cannot learn a survival target: scikit-learn's has no loss for censored times",
                received=target.name,
                fix='set model.kind = "network" or "tabm"',
            )


def check_monotonic(
    monotonic: Mapping[str, Direction], preprocessing: TablePreprocessing, objective: Objective
) -> None:
    """Refuse monotonic constraints that boosting cannot keep.

    Args:
        monotonic: see `BoostingOptions`.
        preprocessing: the `TablePreprocessing` of the rows.
        objective: the targets.

    Raises:
        ConfigError: a column is unknown or does not hold numbers, or a target has more than two classes.
    """
    numbers = [column.name for column in preprocessing.columns if isinstance(column, Continuous)]
    names = [column.name for column in preprocessing.columns]
    for name in monotonic:
        if name not in names:
            raise ConfigError(
                "model.monotonic names a column that is not an input", received=name, allowed=numbers,
                fix=did_you_mean(name, numbers) or None,
            )  # fmt: skip
        if name not in numbers:
            raise ConfigError(
                f"model.monotonic needs a column of numbers; {name!r} has categories or dates", received=name,
                allowed=numbers, fix=f"remove it, or set columns.{name} to \"continuous\"",
            )  # fmt: skip
    for feature in preprocessing.features if monotonic else ():
        used = {name for name in needed_columns([feature]) if name in monotonic}
        if used:
            raise ConfigError(
                f"the constraint of model.monotonic cannot be kept: {feature.name!r} is computed from the column",
                received=sorted(used)[0], fix="remove the ratio, or the constraint",
            )  # fmt: skip
    for target in objective.targets if monotonic else ():
        if target.kind == "single_label" and target.width > 2:
            raise ConfigError(
                "model.monotonic needs a value, two classes or several labels as the target",
                received=f"{target.name}: {target.width} classes",
                fix="remove model.monotonic",
            )


def fit_trees(
    encoded: np.ndarray,
    true: np.ndarray,
    preprocessing: TablePreprocessing,
    objective: Objective,
    *,
    weights: np.ndarray | None = None,
    options: BoostingOptions | None = None,
    verbose: bool = True,
) -> FittedTrees:
    """Fit scikit-learn's histogram gradient boosting to encoded training rows, a model for each target.

    It learns what the network learns: values after the target's transform, logits of classes. Codes of categories are
    categories, and what a flag calls missing is missing.

    Args:
        encoded: training rows, float32 [n, D].
        true: what `objective.encode` makes of their labels, float32 [n, T]; NaN where a label is missing.
        preprocessing: the `TablePreprocessing` that encoded the rows.
        objective: the targets.
        weights: how much each row counts, float32 [n].
        options: how it is fitted.
        verbose: warn of columns with more than 255 categories.

    Raises:
        ConfigError: the target is a risk, or a monotonic constraint cannot be kept.
    """
    check_boosting(objective)
    options = options or BoostingOptions()
    check_monotonic(options.monotonic, preprocessing, objective)
    columns = fit_tree_columns(preprocessing, encoded, verbose=verbose)
    inputs = columns.transform(encoded)
    baseline, trees, iterations = np.zeros(objective.width), list[Tree](), list[int]()
    for learned in learned_of(objective, true):
        arguments = options.for_rows(int(learned.known.sum())) | _of_columns(columns, options)
        if int(learned.known.sum()) < FEW and options.patience:
            arguments["max_iter"] = (
                iterations_by_folds(
                    inputs,
                    learned,
                    arguments,
                    most=min(options.iterations, MOST_OF_FEW),
                    weights=weights,
                    threads=options.threads,
                )
                or arguments["max_iter"]
            )
        found = []
        for bag in range(options.bags):
            own = arguments | {"random_state": options.seed + bag}
            found.append(_parts(fit_model(inputs, learned, own, weights=weights, threads=options.threads, refit=True)))
        baseline[learned.outputs] = learned.otherwise
        places = [learned.outputs[place] for place in found[0].places]
        baseline[places] = np.mean([parts.baseline for parts in found], axis=0)
        for tree in (tree for parts in found for tree in parts.trees):
            nodes = tree.nodes.copy()
            nodes["value"] /= options.bags
            trees.append(dataclasses.replace(tree, nodes=nodes, output=learned.outputs[tree.output]))
        iterations.append(sum(parts.iterations for parts in found))
    return FittedTrees(compile_trees(columns, trees, baseline, encoded.shape[1]), columns, tuple(iterations))


def _of_columns(columns: TreeColumns, options: BoostingOptions) -> dict[str, Any]:
    """Return scikit-learn's arguments about the columns."""
    is_category = columns.is_category
    found: dict[str, Any] = {"categorical_features": is_category}
    if options.monotonic:
        signs = {"increasing": 1, "decreasing": -1}
        found["monotonic_cst"] = [
            0 if category or name not in options.monotonic else signs[options.monotonic[name]]
            for name, category in zip(columns.names, is_category.tolist(), strict=True)
        ]
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """A model as trees; places are among the outputs that it learned."""

    trees: list[Tree]
    places: list[int]
    baseline: list[float]
    iterations: int


def _parts(fitted: FittedModel) -> _Parts:
    learned, present = fitted.learned, fitted.present
    single = len(learned.outputs) == 1
    if fitted.model is None:
        return _Parts([], [0] if single else present, fitted.constant, 0)
    rounds, baseline = parts_of(fitted.model)
    if learned.classes and len(baseline) == 1:  # the logit of the later class; that of the other one is 0
        places = [0] if single else present
        levels = baseline if single else [0.0, *baseline]
        of_column = [places[-1]]
    else:
        places = of_column = present
        levels = baseline
    trees = [Tree(nodes, bits, of_column[number]) for row in rounds for number, (nodes, bits) in enumerate(row)]
    return _Parts(trees, places, levels, len(rounds))


def parts_of(model: Any) -> tuple[list[list[tuple[np.ndarray, np.ndarray]]], list[float]]:
    """Return the trees of a fitted HistGradientBoosting by iteration and output, and what they are added to.

    scikit-learn has no public way to them: this is the one place that reads its private attributes.

    Returns:
        For each iteration and output the nodes and the bits of categories that go left; the baselines.

    Raises:
        ModelError: this version of scikit-learn keeps them in another way.
    """
    try:
        rounds = [[(tree.nodes, tree.raw_left_cat_bitsets) for tree in row] for row in model._predictors]
        baseline = np.asarray(model._baseline_prediction, np.float64).reshape(-1).tolist()
        missing = {"value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf",
                   "is_categorical", "bitset_idx"} - set(rounds[0][0][0].dtype.names or ())  # fmt: skip
    except (AttributeError, IndexError, TypeError) as error:
        raise _unknown_version(str(error)) from error
    if missing:
        raise _unknown_version(f"a tree has no {sorted(missing)[0]}")
    return rounds, baseline


def _unknown_version(reason: str) -> ModelError:
    import sklearn

    return ModelError(
        f"the trees of scikit-learn cannot be read: {reason}", received=f"scikit-learn {sklearn.__version__}",
        allowed="1.9", fix="pip install 'scikit-learn~=1.9'",
    )  # fmt: skip
