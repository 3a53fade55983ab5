"""Fit computed numbers to the training rows of a table; means of a target are cross-fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf

from tlkit.errors import ConfigError, did_you_mean
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.inputs.row.features import DateDifference, Feature, OfCategory, Ratio, check_features, raw_values, scale_of

if TYPE_CHECKING:
    from tlkit.inputs.row.data import TabularData

FOLDS = 5
SMOOTHING = 20.0  # rows with the mean of all that are added to each category
_MOST_OUTPUTS = 20
_Names = Sequence[str] | Literal["all"]


@dataclasses.dataclass(frozen=True)
class FeatureOptions:
    """Which numbers are computed from the columns of a table.

    Args:
        counts: columns of categories, or "all": the logarithm of how many training rows have the category.
        target_means: columns of categories, or "all": the mean of each target over the training rows of the category.
        ratios: pairs of columns of numbers: the first one divided by the second one.
        date_differences: pairs of columns of dates: days from the second one to the first one.
    """

    counts: _Names = ()
    target_means: _Names = ()
    ratios: Sequence[Sequence[str]] = ()
    date_differences: Sequence[Sequence[str]] = ()

    def __bool__(self) -> bool:
        return bool(self.counts or self.target_means or self.ratios or self.date_differences)


def with_features(data: TabularData, options: FeatureOptions) -> TabularData:
    """Return the same data with computed numbers at the end of its encoded rows.

    All of it is fitted to the training rows. The mean of a target is smoothed with 20 rows of the mean of all
    (Micci-Barreca 2001, SIGKDD Explorations 3). The training rows themselves get means of the four fifths of the rows
    that they are not among: a row never sees its own label, so that a column of random categories does not look
    informative. All other rows get those of all training rows.

    Args:
        data: without such numbers.
        options: which.

    Raises:
        ConfigError: a column is unknown or not of the kind that is needed, or the target has no mean.
    """
    made = _made(data, options)
    check_features(made.features, data.preprocessing.columns)
    preprocessing = dataclasses.replace(data.preprocessing, features=tuple(made.features))
    inputs = {}
    for split in data.splits:
        own = data.encoded(split)
        more = preprocessing.features_of_frame(data.frame(split), own)
        if split == "train":
            for place, values in made.cross_fitted.items():
                more[:, place] = values
        inputs[split] = np.concatenate([own, more], axis=1)
    return data.with_inputs(preprocessing, inputs)


@dataclasses.dataclass
class _Made:
    features: list[Feature] = dataclasses.field(default_factory=list)
    cross_fitted: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)


def _made(data: TabularData, options: FeatureOptions) -> _Made:
    preprocessing, made = data.preprocessing, _Made()
    by_name = {column.name: column for column in preprocessing.columns}
    categories = [column.name for column in preprocessing.columns if isinstance(column, Categorical)]
    encoded = data.encoded("train")
    places = {code.column: place for place, code in enumerate(preprocessing.codes) if code.column in categories}
    for name in _chosen("counts", options.counts, categories):
        column: Any = by_name[name]
        counts = np.bincount(encoded[:, places[name]].astype(np.int64), minlength=column.size)
        made.features.append(OfCategory(f"count of {name}", name, _scaled(np.log1p(counts), counts)))
    means = _chosen("target_means", options.target_means, categories)
    if means:
        for name in means:
            codes = encoded[:, places[name]].astype(np.int64)
            size: Any = by_name[name]
            for output, learned in _outputs(data).items():
                table, own = _target_mean(codes, size.size, learned, data.seed)
                center, scale = float(own.mean()), float(own.std()) or 1.0
                made.cross_fitted[len(made.features)] = ((own - center) / scale).astype(np.float32)
                values = tuple(((table - center) / scale).tolist())
                made.features.append(OfCategory(f"mean {output} of {name}", name, values))
    frame = data.frame("train")
    for option, kind, pairs, make in (
        ("ratios", Continuous, options.ratios, lambda a, b: Ratio(f"{a} / {b}", a, b)),
        ("date_differences", Date, options.date_differences, lambda a, b: DateDifference(f"{a} - {b}", a, b)),
    ):
        usable = [column.name for column in preprocessing.columns if isinstance(column, kind)]
        for pair in pairs:
            if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
                raise ConfigError(f"{option} are pairs of different columns", received=pair)
            first, second = _chosen(option, pair, usable)
            feature: Any = make(first, second)
            arguments = preprocessing.arguments_of(frame, [first, second])
            values, given = raw_values(feature, by_name, {name: tf.constant(own) for name, own in arguments.items()})
            center, scale = scale_of(values.numpy()[given.numpy()])
            made.features.append(dataclasses.replace(feature, center=center, scale=scale))
    return made


def _chosen(option: str, names: _Names, usable: Sequence[str]) -> list[str]:
    if names == "all":
        return list(usable)
    for name in names:
        if name not in usable:
            raise ConfigError(
                f"features.{option} names a column that cannot be used", received=name,
                allowed=usable or "no column of this kind", fix=did_you_mean(name, list(usable)) or None,
            )  # fmt: skip
    return list(names)


def _outputs(data: TabularData) -> Mapping[str, np.ndarray]:
    """Return what means are taken of, float [n] by name: values after their transform, and 0 or 1 for a class."""
    found: dict[str, np.ndarray] = {}
    true = data.learned("train")
    column = 0
    for target in data.targets:
        own = true[:, column : column + target.true_width]
        column += target.true_width
        if target.kind == "survival":
            raise ConfigError("features.target_means needs a target with a mean", received=target.kind)
        if target.kind == "regression":
            found[target.name] = own[:, 0]
        elif target.kind == "single_label" and target.width == 2:
            found[f"{target.name}={target.class_names[1]}"] = own[:, 1]
        else:
            found |= {f"{target.name}={name}": own[:, place] for place, name in enumerate(target.class_names)}
    if len(found) > _MOST_OUTPUTS:
        raise ConfigError(
            "features.target_means would add a number for each class", received=f"{len(found)} classes and values",
            allowed=f"up to {_MOST_OUTPUTS}",
        )  # fmt: skip
    return found


def _target_mean(codes: np.ndarray, size: int, learned: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the smoothed mean of each code, float64 [size], and those of the rows without their own fold, [n]."""
    known = np.isfinite(learned)
    prior = float(learned[known].mean()) if known.any() else 0.0
    fold = np.random.default_rng(seed).permutation(len(codes)) % FOLDS

    def table(rows: np.ndarray) -> np.ndarray:
        counts = np.bincount(codes[rows], minlength=size)
        sums = np.bincount(codes[rows], weights=learned[rows], minlength=size)
        return np.asarray((sums + SMOOTHING * prior) / (counts + SMOOTHING), np.float64)

    own = np.empty(len(codes))
    for number in range(FOLDS):
        held = fold == number
        own[held] = table(known & ~held)[codes[held]]
    return table(known), own


def _scaled(values: np.ndarray, weights: np.ndarray) -> tuple[float, ...]:
    center = float(np.average(values, weights=weights))
    scale = float(np.sqrt(np.average((values - center) ** 2, weights=weights))) or 1.0
    return tuple(((values - center) / scale).tolist())
