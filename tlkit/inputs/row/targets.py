"""The columns that a table's model learns to predict: what kind each is, its values, its classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tlkit.errors import ConfigError, DataError, check_choice, did_you_mean
from tlkit.inputs.class_names import composed, log_near_names
from tlkit.inputs.row.check import check_finite
from tlkit.inputs.row.columns import FALSE_SPELLINGS, TRUE_SPELLINGS
from tlkit.inputs.row.mixed_columns import mixed_types
from tlkit.inputs.row.number_forms import PLAIN, USUAL_MISSING, NumberForm
from tlkit.inputs.row.number_inference import find_form
from tlkit.inputs.row.problems import Problems
from tlkit.inputs.row.target_kinds import check_varies, classes_of, guess_target, or_regression
from tlkit.targets.base import Target, TargetKind
from tlkit.targets.multi_label import MultiLabel
from tlkit.targets.regression import Transform, fit_target
from tlkit.targets.single_label import SingleLabel
from tlkit.targets.survival import NAME, Survival, fit_survival
from tlkit.targets.survival_columns import SurvivalColumns

if TYPE_CHECKING:
    import pandas as pd

COLUMN_KINDS = ("regression", "single_label", "multi_label")  # what `target_kinds` may say of a column
MULTI_LABEL_NAME = "labels"  # what the one target is called that several 0/1 columns make


Place = Callable[[np.ndarray], str]


@dataclasses.dataclass(frozen=True, eq=False)
class TargetValues:
    """What the rows say about one target.

    Attributes:
        name: of the target: its column, or `"labels"` for several 0/1 columns.
        kind: what kind of target.
        values: float64 [n], class numbers int32 [n], 0/1 labels float32 [n, k], or times and events float64 [n, 2].
        class_names: the classes or labels; empty for what has none.
        survival: the columns of times and events, where it is a survival target.
    """

    name: str
    kind: TargetKind
    values: np.ndarray
    class_names: tuple[str, ...]
    survival: SurvivalColumns | None = None

    def only(self, rows: np.ndarray) -> TargetValues:
        """Give some of the rows."""
        return dataclasses.replace(self, values=self.values[rows])

    @property
    def strata(self) -> np.ndarray | None:
        """What a random split is stratified by, where that are classes: int [n], or 0/1 labels [n, k]."""
        if self.kind == "survival":
            return self.values[:, 1].astype(np.int32)
        return None if self.kind == "regression" else self.values


def target_columns(targets: Sequence[Target]) -> list[str]:
    """Name the table's columns that hold the targets."""
    return [column for target in targets for column in target.columns]


def names_of(targets: str | Sequence[str] | SurvivalColumns) -> list[str]:
    """Return the columns that hold the labels."""
    if isinstance(targets, SurvivalColumns):
        return targets.names
    return [targets] if isinstance(targets, str) else list(targets)


def strata_of(values: Sequence[TargetValues]) -> dict[str, np.ndarray | None]:
    """Return what a random split is stratified by: the first classes there are, or else the first number."""
    for target in values:
        if target.strata is not None:
            return {"labels": target.strata, "values": None}
    return {"labels": None, "values": values[0].values}


def read_targets(
    frame: pd.DataFrame,
    columns: Sequence[str],
    place: Place,
    *,
    target_kinds: Mapping[str, TargetKind] | None = None,
    problems: Problems | None = None,
) -> list[TargetValues]:
    """Read the targets of rows that have them all.

    Numbers with a fraction and whole numbers with more than 20 values are regressions; text, true and false, and few
    whole numbers (1.0 is one) are classes. Several columns of 0 and 1 are labels of one target only where
    `target_kinds` says so.

    Args:
        frame: the rows; no target is missing.
        columns: of the targets.
        place: says where rows stand, for messages.
        target_kinds: column -> kind, where it is not to be inferred.
        problems: collects targets that cannot be used, which are then left out; all of them are raised together where
            it is left out.

    Raises:
        ConfigError: `target_kinds` is not usable.
        DataError: a target is constant, infinite, of mixed types, or of another kind than was said.
    """
    kinds = dict(target_kinds or {})
    for name, kind in kinds.items():
        check_choice(f"kind of target {name!r}", kind, COLUMN_KINDS)
        if name not in columns:
            raise ConfigError(
                "target_kinds names a column that is not a target",
                received=name,
                allowed=columns,
                fix=did_you_mean(name, columns),
            )
    marked = [name for name in columns if kinds.get(name) == "multi_label"]
    if marked:
        if len(marked) < len(columns) or len(marked) < 2:
            raise ConfigError(
                "multi_label needs two or more columns of 0 and 1, and no other target",
                received={name: kinds.get(name) for name in columns},
                fix='use a separate target for each with "single_label"',
            )
        values = np.stack([_zero_one(frame[name], name, place) for name in columns], axis=1)
        return [TargetValues(MULTI_LABEL_NAME, "multi_label", values, tuple(columns))]
    found = []
    wrong = Problems() if problems is None else problems
    for name in columns:
        with wrong.of(name):
            column = frame[name]
            kind = kinds.get(name) or guess_target(column, name, place).kind
            check_varies(column, name)
            if kind == "regression":
                found.append(TargetValues(name, kind, _numbers(column, name, place), ()))
            else:
                codes, names = classes_of(column)
                log_near_names(dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True)))
                found.append(TargetValues(name, kind, codes, names))
    if problems is None:
        wrong.raise_all()
    return found


def read_survival(frame: pd.DataFrame, columns: SurvivalColumns, place: Place) -> TargetValues:
    """Read times and events of rows that have both.

    Args:
        frame: the rows.
        columns: which they are.
        place: says where rows stand, for messages.

    Raises:
        DataError: a time is no number, infinite, or not above 0; an event is neither 0 nor 1, false nor true.
    """
    if frame[columns.time].dtype.kind == "b":
        raise DataError(f"time {columns.time!r} has true and false", allowed="times above 0")
    time = _numbers(frame[columns.time], columns.time, place)
    bad = np.flatnonzero(time <= 0)
    if len(bad):
        raise DataError(
            f"{place(bad)}: time {columns.time!r} is {'0' if time[bad[0]] == 0 else 'negative'}",
            received=float(time[bad[0]]),
            allowed="times above 0",
            fix="remove or correct these rows: an event at time 0 has no information about a later risk",
        )
    return TargetValues(
        NAME, "survival", np.stack([time, _event(frame[columns.event], columns.event, place)], axis=1), (), columns
    )


def _event(column: pd.Series, name: str, place: Place) -> np.ndarray:
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype) or column.dtype == object:
        words = column.astype("str").str.strip().str.lower()
        known = words.isin([*TRUE_SPELLINGS, *FALSE_SPELLINGS])
        if known.all():
            return words.isin(TRUE_SPELLINGS).to_numpy(np.float64)
        bad = np.flatnonzero(~known)
        raise DataError(
            f"{place(bad)}: event column {name!r} has a value that means neither event nor censored",
            received=str(column.iloc[bad[0]])[:60],
            allowed="1 and 0, or true and false",
        )
    return _zero_one(column, name, place, "event column").astype(np.float64)


def read_known_targets(
    frame: pd.DataFrame,
    targets: Sequence[Target],
    place: Place,
    *,
    forms: Mapping[str, NumberForm] | None = None,
    problems: Problems | None = None,
) -> list[TargetValues]:
    """Read the targets that a model has; rows may show fewer classes than it knows.

    Args:
        frame: the rows; no target is missing.
        targets: of the model.
        place: says where rows stand, for messages.
        forms: column -> how its numbers are written in files; columns of plain numbers are left out.
        problems: collects targets that cannot be used, which are then left out; all of them are raised together where
            it is left out.

    Raises:
        DataError: a value is of another kind, or a class that the model does not know.
    """
    found = []
    wrong = Problems() if problems is None else problems
    for target in targets:
        with wrong.of(target.name):
            if isinstance(target, Survival):
                found.append(read_survival(frame, target.source, place))
                continue
            if target.kind == "multi_label":
                values = np.stack([_zero_one(frame[name], name, place) for name in target.class_names], axis=1)
            elif target.kind == "regression":
                form = (forms or {}).get(target.name, PLAIN)
                values = _numbers(frame[target.name], target.name, place, form)
            else:
                values = _known_classes(frame[target.name], target, place)
            found.append(TargetValues(target.name, target.kind, values, target.class_names))
    if problems is None:
        wrong.raise_all()
    return found


def _known_classes(column: pd.Series, target: Target, place: Place) -> np.ndarray:
    own, names = classes_of(column)
    numbers = {composed(name): number for number, name in enumerate(target.class_names)}
    of_class = np.array([numbers.get(name, -1) for name in names], np.int32)
    values: np.ndarray = of_class[own]
    bad = np.flatnonzero(values < 0)
    if len(bad):
        raise DataError(
            f"{place(bad)}: target {target.name!r} has a class that the model was not trained on",
            received=names[own[bad[0]]],
            allowed=target.class_names,
        )
    return values


def fit_targets(
    values: Sequence[TargetValues],
    rows: Mapping[str, np.ndarray],
    *,
    transform: Transform | Mapping[str, Transform] = "none",
    y_range: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    loss_weights: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[Target, ...]:
    """Make the targets from their training rows.

    Args:
        values: of all rows.
        rows: split -> row numbers.
        transform: of regressions: one for all, or target -> transform.
        y_range: lowest and highest answer: of the only regression, or target -> range.
        loss_weights: target -> weight.
        units: column -> unit of its numbers in the files.

    Raises:
        ConfigError: an option names what is no such target.
        DataError: training lacks a class that another split has, or a regression cannot be fitted.
    """
    if transform == "auto" or (isinstance(transform, Mapping) and "auto" in transform.values()):
        raise ConfigError(
            'transform = "auto" compares transforms on a table in memory; this data is not one', received=transform,
            allowed=get_args(Transform),
        )  # fmt: skip
    names = [target.name for target in values]
    numeric = [target.name for target in values if target.kind == "regression"]
    transforms = _per_target("transform", transform, numeric, transform != "none")
    ranges = _per_target("y_range", y_range, numeric, y_range is not None)
    if isinstance(y_range, Sequence) and len(numeric) > 1:
        raise ConfigError(
            "y_range is ambiguous with several targets", received=list(y_range), allowed="target -> (lowest, highest)"
        )
    for name, bounds in ranges.items():
        if bounds is not None and (isinstance(bounds, str) or len(bounds) != 2):
            raise ConfigError(f"the range of {name} is invalid", received=bounds, allowed="a lower, a higher")
    weights = _per_target("loss_weights", loss_weights or {}, names, bool(loss_weights))
    found: list[Target] = []
    for target in values:
        weight = weights.get(target.name, 1.0)
        own = target.values[rows["train"]]
        if own.dtype.kind == "f" and own.ndim == 1 and np.isnan(own).any():  # a label of one of several is missing
            own = own[~np.isnan(own)]
        if not len(own):
            raise DataError(f"no training row has a value of the target {target.name!r}")
        if target.survival is not None:
            found.append(fit_survival(target.survival, own))
            continue
        if target.kind == "regression":
            bad = np.flatnonzero(target.values <= 0)
            negative = np.flatnonzero(target.values < 0)
            if transforms.get(target.name) == "log1p" and len(negative) and (own >= 0).all():
                raise DataError(
                    f"log1p of {target.name} needs values from 0, in validation and test rows too",
                    received=f"{float(target.values[negative[0]]):g} in {len(negative)} rows",
                    fix='use transform = "yeo_johnson", which also takes negative values',
                )
            if transforms.get(target.name) == "log" and len(bad) and (own > 0).all():  # else fit_target says it
                raise DataError(
                    f"the logarithm of {target.name} needs values above 0, in validation and test rows too",
                    received=f"{float(target.values[bad[0]]):g} in {len(bad)} rows",
                    fix='use transform = "yeo_johnson", which also takes zero and negative values',
                )
            fitted = fit_target(
                target.name,
                own,
                transform=transforms.get(target.name, "none"),
                y_range=ranges.get(target.name),
                weight=weight,
            )
            found.append(dataclasses.replace(fitted, unit=(units or {}).get(target.name, "")))
            continue
        counts = (
            own.sum(0)
            if target.kind == "multi_label"
            else np.bincount(own.astype(np.int64), minlength=len(target.class_names))
        )
        for label, count in zip(target.class_names, counts, strict=True):
            if not count:
                place = target.class_names.index(label)
                marked = target.values[:, place] if target.kind == "multi_label" else target.values == place
                others = int(np.sum(marked))
                rows_have = f"{others} other row{' has' if others == 1 else 's have'}"
                raise DataError(
                    f"no training row has this class of {target.name!r}, which {rows_have}",
                    received=label,
                    fix=f"change the split, or remove its rows{or_regression(target.name, target.class_names)}",
                )
        make = MultiLabel if target.kind == "multi_label" else SingleLabel
        found.append(make(target.name, target.class_names, weight=weight))
    return tuple(found)


def _per_target(option: str, value: Any, names: Sequence[str], is_set: bool) -> dict[str, Any]:
    if not is_set:
        return {}
    if not names:
        raise ConfigError(f"{option} needs a regression target", received=value)
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise ConfigError(f"{option} names an unknown target", received=name, allowed=names)
    return dict(value)


def _numbers(column: pd.Series, name: str, place: Place, form: NumberForm | None = None) -> np.ndarray:
    """Return a target as numbers; `form` is how files write them, found from the column where it is left out."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype):
        if form is None:
            texts = column if isinstance(column.dtype, pd.StringDtype) else column.iloc[:0].astype("str")
            found = find_form({str(text): count for text, count in texts.value_counts().items()})
            form = found.form if found is not None else PLAIN
        bad = np.flatnonzero([not _is_number(value, form) for value in column])
        if column.dtype == object or not len(bad):
            raise mixed_types(column, name, place, is_target=True)
        real = [row for row in bad.tolist() if str(column.iloc[row]).strip() not in USUAL_MISSING]
        bad = np.array(real, np.int64) if real else bad
        words = form.describe()
        raise DataError(
            f"{place(bad)}: the target {name!r} is not a number",
            received=str(column.iloc[bad[0]])[:60],
            allowed=f"numbers ({words})" if words else "numbers",
        )
    check_finite(column, name, place)
    return column.to_numpy(np.float64)


def _is_number(value: object, form: NumberForm) -> bool:
    try:
        return isinstance(value, str) and form.read(value) is not None
    except ValueError:
        return False


def _zero_one(column: pd.Series, name: str, place: Place, what: str = "label column") -> np.ndarray:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(np.float32)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isin(numbers, (0.0, 1.0)))
    if len(bad):
        raise DataError(
            f"{place(bad)}: {what} {name!r} has no 0 or 1", received=str(column.iloc[bad[0]])[:60], allowed="0, 1"
        )
    return numbers.astype(np.float32)
