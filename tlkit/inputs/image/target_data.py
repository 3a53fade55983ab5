"""Photos that a table gives values, risks or several targets."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.inputs.files.source import FrameSource, read_source
from tlkit.inputs.image.augment import Augmentation
from tlkit.inputs.image.copies import Draw, assign_splits, copy_numbers, warn_of_copies
from tlkit.inputs.image.data import ImageData, OnDamage, OnError
from tlkit.inputs.image.listing import SPLIT_FOLDERS, Listing, check_paths, files_of
from tlkit.inputs.image.options import ImageOptions, ImageReadOptions, ImageSplitOptions
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.label_sets import class_text
from tlkit.inputs.options import NumberOptions, TargetOptions, grouped, with_fields_of
from tlkit.inputs.row.data import statistics
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.inputs.row.splits import bins_of, whole_groups
from tlkit.inputs.row.target_kinds import are_texts
from tlkit.inputs.row.targets import (
    TargetValues,
    fit_targets,
    names_of,
    read_known_targets,
    read_survival,
    read_targets,
)
from tlkit.inputs.splits import split_with_copies, train_val_split
from tlkit.targets.base import Target, TargetKind
from tlkit.targets.objective import Objective
from tlkit.targets.survival_columns import SurvivalColumns

if TYPE_CHECKING:
    import pandas as pd

_MEASURED = ("preprocessing", "batch_size", "on_error", "augmentation", "damaged", "trained_on")
_log = logging.getLogger("tlkit")


@with_fields_of(ImageReadOptions, NumberOptions, TargetOptions, ImageOptions, ImageSplitOptions)
def images_with_targets(
    table: str | Path | pd.DataFrame,
    targets: str | Sequence[str] | SurvivalColumns,
    *,
    read: ImageReadOptions | None = None,
    numbers: NumberOptions | None = None,
    target: TargetOptions | None = None,
    images: ImageOptions | None = None,
    split: ImageSplitOptions | None = None,
    batch_size: int = 32,
    seed: int = 0,
    **options: Any,
) -> ImageTargetData:
    """Load images with regression, survival or several targets from a table.

    Rows without a label are left out and counted. With several targets a row counts for those that it has. What is
    fitted (transforms, scales, intervals of times) is fitted on the training rows alone.

    Example:
        >>> data = images_with_targets("angles.csv", "angle", path_column="file", size=224)
        >>> data.targets[0].kind
        'regression'

    Args:
        table: a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file or a DataFrame, with a path and labels in each row.
        targets: the column to predict, or several; or the columns of times and events of a survival target.
        read: where the paths of the images are, and how the file is written.
        numbers: how numbers are written, and what is missing.
        target: kinds, transforms, ranges and loss weights of the targets; `"auto"` transforms and several labels are
            not for images.
        images: how images are decoded, resized, augmented and cached.
        split: how the images are divided.
        batch_size, seed: as in `tlkit.images_from_folder`.
        **options: the fields of `ImageReadOptions`, `NumberOptions`, `TargetOptions`, `ImageOptions` and
            `ImageSplitOptions`, instead of the objects.

    Returns:
        An `ImageTargetData`.

    Raises:
        DataError: the table, a column, a label or a photo cannot be used.
        ConfigError: an argument is invalid.
    """
    groups = {
        "read": (ImageReadOptions, read),
        "numbers": (NumberOptions, numbers),
        "target": (TargetOptions, target),
        "images": (ImageOptions, images),
        "split": (ImageSplitOptions, split),
    }
    read, numbers, target, images, split = grouped("images_with_targets", options, groups, ("batch_size", "seed"))
    arguments = images.for_data()
    survival = targets if isinstance(targets, SurvivalColumns) else None
    names = names_of(targets)
    if not names:
        raise ConfigError("no target column given", received=targets)
    if survival and images.mix != "none":
        raise ConfigError(
            "mix cannot be combined with a survival target", received=images.mix, allowed="none, with a survival target"
        )
    kinds = dict(target.target_kinds or {})
    if survival and (kinds or target.loss_weights):
        raise ConfigError(
            "target_kinds and loss_weights cannot be combined with a survival target",
            received=kinds or target.loss_weights,
        )
    for name in kinds:
        if name not in names:
            raise ConfigError("target_kinds names a column that is not a target", received=name, allowed=names)
    if "multi_label" in kinds.values():
        raise ConfigError(
            "multi-label targets are not supported here",
            received=kinds,
            fix="use images_from_table(label_columns=...) and image_classifier(multi_label=True)",
        )
    source, listing, values = _read(table, targets, kinds, read, numbers, split)
    return ImageTargetData(
        listing,
        values=values,
        fit={
            "transform": target.transform,
            "y_range": target.y_range,
            "loss_weights": target.loss_weights,
            "units": {name: form.unit for name, form in source.forms.items()},
        },
        **arguments,
        batch_size=batch_size,
        val_fraction=split.val_fraction,
        seed=seed,
        exclude=split.exclude,
    )


@with_fields_of(ImageReadOptions, NumberOptions)
def images_to_measure(
    table: str | Path | pd.DataFrame,
    targets: Sequence[Target],
    *,
    preprocessing: ImagePreprocessing,
    batch_size: int = 32,
    on_error: OnError = "fail",
    augmentation: Augmentation | None = None,
    damaged: OnDamage = "keep",
    trained_on: Sequence[Path] = (),
    read: ImageReadOptions | None = None,
    numbers: NumberOptions | None = None,
    **options: Any,
) -> ImageTargetData:
    """Read photos with their labels only to measure a model on them; they become the `test` split.

    Args:
        table: as for `images_with_targets`.
        targets: those of the model.
        preprocessing: that of the model.
        augmentation: what the views of test-time augmentation are drawn from; none when left out.
        trained_on: the training images; a warning tells how many of the images are copies of them.
        batch_size, on_error, damaged, read, numbers: as for `images_with_targets`.
        **options: the fields of `ImageReadOptions` and `NumberOptions`, instead of the objects.

    Raises:
        DataError: the photos or their labels cannot be used, or a class is none of the model's.
    """
    names = [column for target in targets for column in target.columns]
    groups = {"read": (ImageReadOptions, read), "numbers": (NumberOptions, numbers)}
    read, numbers = grouped("images_to_measure", options, groups, _MEASURED)
    kinds = {target.columns[0]: "continuous" for target in targets if not target.class_names}
    reading = numbers.reading(kinds)
    # As in training: classes that are texts stay texts, numbers and booleans are read as such.
    classes = {target.name for target in targets if target.class_names and are_texts(target.class_names)}
    reading = reading.changed(text_columns=reading.text_columns | {read.path_column} | classes)
    source = read_source(table, separator=read.separator, encoding=read.encoding, reading=reading)
    rows = _Rows(source, names, all_of=any(target.is_alone for target in targets))
    values = [rows.read_known(target, source.forms) for target in targets]
    listing = rows.listing(read, ImageSplitOptions(), _start(table, read.root), values)
    warn_of_copies(listing.paths, trained_on)
    return ImageTargetData(
        dataclasses.replace(listing, splits=["test"] * len(listing.paths)),
        values=values,
        targets=targets,
        preprocessing=preprocessing,
        augmentation=augmentation or Augmentation(),
        batch_size=batch_size,
        val_fraction=0.5,
        seed=0,
        on_error=on_error,
        cache="off",
        damaged=damaged,
    )


def training_photos(
    table: str | Path,
    targets: str | Sequence[str] | SurvivalColumns,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    **options: Any,
) -> list[Path]:
    """List the photos that `images_with_targets` would train on, without decoding any.

    Args:
        table, targets, val_fraction, seed: as for `images_with_targets`.
        **options: target_kinds, and the fields of `ImageReadOptions`, `NumberOptions` and `ImageSplitOptions`.
    """
    kinds = options.pop("target_kinds", None)
    parts = {"read": (ImageReadOptions, None), "numbers": (NumberOptions, None), "split": (ImageSplitOptions, None)}
    read, numbers, split = grouped("training_photos", options, parts, ("target_kinds", "val_fraction", "seed"))
    _, listing, values = _read(table, targets, kinds, read, numbers, split)
    usable = np.array([row for row in range(len(listing.paths)) if row not in listing.unusable], np.int64)
    copies = copy_numbers(listing.paths, listing.sizes)
    rows = assign_splits(listing, copies, val_fraction, seed, usable, _draw_by(values[0], val_fraction, seed))
    return [listing.paths[row] for row in rows.get("train", [])]


def _read(
    table: str | Path | pd.DataFrame,
    targets: str | Sequence[str] | SurvivalColumns,
    target_kinds: Mapping[str, TargetKind] | None,
    read: ImageReadOptions,
    numbers: NumberOptions,
    split: ImageSplitOptions,
) -> tuple[FrameSource, Listing, list[TargetValues]]:
    """Read a table: its images, and what is to be predicted from them."""
    kinds = dict(target_kinds or {})
    known = {name: "continuous" for name, kind in kinds.items() if kind == "regression"}
    if isinstance(targets, SurvivalColumns):
        known[targets.time] = "continuous"
    reading = numbers.reading(known)
    texts = {read.path_column, *(name for name in (split.group_column, split.split_column) if name)}
    reading = reading.changed(text_columns=reading.text_columns | texts)
    source = read_source(table, separator=read.separator, encoding=read.encoding, reading=reading)
    names = names_of(targets)
    rows = _Rows(source, names, all_of=isinstance(targets, SurvivalColumns))
    if isinstance(targets, SurvivalColumns):
        values = [read_survival(rows.frame, targets, rows.place)]
    else:
        values = [rows.read(name, kinds) for name in names]
    return source, rows.listing(read, split, _start(table, read.root), values), values


def _draw_by(first: TargetValues, val_fraction: float, seed: int) -> Draw:
    """Return what draws validation photos so that both sides are alike in a target."""

    def draw(rows: np.ndarray, copies: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        own = first.strata
        strata = bins_of(first.values[rows], len(rows)) if own is None else np.nan_to_num(own[rows], nan=-1)
        strata = strata.astype(np.int64)
        items = np.unique(copies, return_index=True)[1]
        if len(items) < 2:
            raise DataError("too few different photos to split", received=len(items), allowed="2 or more")
        if np.unique(strata[items], return_counts=True)[1].min() < 2:
            strata = np.zeros(len(rows), np.int64)
        if groups is None:
            return split_with_copies(strata, copies, val_fraction, seed)
        return whole_groups(groups, val_fraction, seed) if own is None else train_val_split(
            strata, val_fraction, seed, groups
        )  # fmt: skip

    return draw


class ImageTargetData(ImageData):
    """Images with regression, survival or several targets, with a train, a val and optionally a test split.

    Made by `images_with_targets`. It is an `ImageData` whose `labels` are float64: a column a target (its value, or the
    number of its class), or time and event; NaN where one of several is missing.

    Attributes:
        targets: the targets.
        class_names: names of the numbers of an answer, such as `angle`.
    """

    def __init__(
        self,
        listing: Listing,
        *,
        values: Sequence[TargetValues],
        targets: Sequence[Target] | None = None,
        fit: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        self._values, self._fit = list(values), dict(fit or {})
        self.targets = tuple(targets or ())
        super().__init__(listing, class_names=[""], class_weight="none", **options)

    def _divide(
        self, listing: Listing, copies: np.ndarray, val_fraction: float, usable: np.ndarray
    ) -> dict[str, np.ndarray]:
        draw = _draw_by(self._values[0], val_fraction, self.seed)
        return assign_splits(listing, copies, val_fraction, self.seed, usable, draw)

    def _read_labels(self, listing: Listing, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        if not self.targets:
            self.targets = fit_targets(self._values, rows, **self._fit)
        objective = Objective(self.targets)
        self._encode = objective.encode
        self.class_names = list(objective.output_names)
        labels = np.concatenate([_flat(one.values) for one in self._values], axis=1)
        gone = {one.name: int((~np.isfinite(_flat(one.values)).all(1)).sum()) for one in self._values}
        if any(gone.values()):
            listed = ", ".join(f"{name} {count}" for name, count in gone.items() if count)
            _log.info("photos without a label for some targets, used for the others: %s", listed)
        for target in self.targets:
            for name, own in rows.items():
                target.check_split(labels[own], name)
        self._values, self._fit = [], {}  # labels and targets hold them from here on
        return labels

    def _count(self, labels: np.ndarray) -> Any:
        found: dict[str, dict[str, Any]] = {}
        start = 0
        for target in self.targets:
            own = labels[:, start : start + target.label_width]
            start += target.label_width
            known = own[np.isfinite(own).all(1)]
            found[target.name] = {"labels": len(known)}
            if target.class_names:
                counts = np.bincount(known[:, 0].astype(np.int64), minlength=len(target.class_names))
                found[target.name] |= {"classes": dict(zip(target.class_names, counts.tolist(), strict=True))}
            elif len(known):
                found[target.name] |= statistics(known[:, 0])
            if target.label_width == 2:
                found[target.name] |= {"events": int(known[:, 1].sum())}
        return found

    def _words(self, label: Any) -> list[str]:
        return [repr(float(value)) for value in label]

    def _absent(self, split: str) -> list[str]:
        return []

    def summary(self) -> dict[str, Any]:
        """Return counts, targets, settings, and a fingerprint of the file list, as plain values."""
        return super().summary() | {
            "targets": {target.name: target.describe() for target in self.targets},
            "dropped_rows": dict(self.dropped),
        }

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split.labels)}" for name, split in self.splits.items())
        names = ", ".join(target.name for target in self.targets)
        return f"ImageTargetData({names}; {sizes}, {self.preprocessing.size} px)"


class _Rows:
    """The rows of a table that have a label."""

    def __init__(self, source: FrameSource, names: Sequence[str], all_of: bool):
        for name in names:
            if name not in source.frame.columns:
                raise missing_column(name, source.frame.columns, source.origin)
        if len(set(names)) < len(names):
            raise ConfigError("a column is named twice among the targets", received=list(names))
        given = source.frame[list(names)].notna().to_numpy(bool)
        kept = given.all(1) if all_of or len(names) == 1 else given.any(1)
        if not kept.any():
            raise DataError(f"no row of {source.origin} has a label", received=list(names))
        self._rows = np.flatnonzero(kept)
        self._source, self._alone = source, all_of or len(names) == 1
        self.frame = source.frame.iloc[self._rows].reset_index(drop=True)
        self.dropped = int((~kept).sum())

    def place(self, rows: np.ndarray | Sequence[int]) -> str:
        """Say where some of the rows stand."""
        return self._source.place(self._rows[np.asarray(rows, np.int64)])

    def read(self, name: str, kinds: Mapping[str, TargetKind]) -> TargetValues:
        """Read one target; values of the other rows are NaN."""
        known, frame, place = self._known(name)
        if not len(known):
            raise self._without(name)
        own = {name: kinds[name]} if name in kinds else {}
        return _spread(read_targets(frame, [name], place, target_kinds=own)[0], known, len(self.frame))

    def read_known(self, target: Target, forms: Mapping[str, NumberForm]) -> TargetValues:
        """Read a target that a model has."""
        known, frame, place = self._known(*target.columns)
        if not len(known) and self._alone:
            raise self._without(target.columns[0])
        if not len(known):  # it is not measured, and the other targets are
            return TargetValues(target.name, target.kind, np.full(len(self.frame), np.nan), target.class_names)
        return _spread(read_known_targets(frame, [target], place, forms=forms)[0], known, len(self.frame))

    def _without(self, name: str) -> DataError:
        return DataError(f"no row of {self._source.origin} has a value in {name!r}")

    def _known(self, *names: str) -> tuple[np.ndarray, pd.DataFrame, Any]:
        known = np.flatnonzero(self.frame[list(names)].notna().all(axis=1).to_numpy(bool))
        return known, self.frame.iloc[known], lambda rows: self.place(known[np.asarray(rows, np.int64)])

    def listing(
        self,
        read: ImageReadOptions,
        split: ImageSplitOptions,
        start: Path,
        values: Sequence[TargetValues],
    ) -> Listing:
        """List the photos; what a row is to say stands in its label as text."""
        path_column, group_column, split_column = read.path_column, split.group_column, split.split_column
        for column in (path_column, group_column, split_column):
            if column and column not in self.frame.columns:
                raise missing_column(column, self.frame.columns, self._source.origin)
            if column:
                gone = np.flatnonzero(self.frame[column].isna().to_numpy(bool))
                if len(gone):
                    raise DataError(f"{self.place(gone)}: column {column!r} is empty")
        paths = [start.expanduser() / str(value) for value in self.frame[path_column]]
        check_paths(paths, start)
        splits: list[str | None] = [None] * len(paths)
        if split_column:
            splits = [SPLIT_FOLDERS.get(str(value).strip().lower()) for value in self.frame[split_column]]
            bad = [row for row, split in enumerate(splits) if split is None]
            if bad:
                raise DataError(
                    f"{self.place(bad)}: unknown value in column {split_column!r}",
                    received=str(self.frame[split_column].iloc[bad[0]]),
                    allowed="train, val, test",
                )
            if "train" not in splits:
                raise DataError(
                    f"column {split_column!r} names no training rows", received=sorted(set(map(str, splits)))
                )
            if "val" not in splits:
                splits = [None if split == "train" else split for split in splits]
        groups = [class_text(value) for value in self.frame[group_column]] if group_column else None
        labels = [
            ", ".join(f"{value:g}" for value in row)
            for row in np.concatenate([_flat(one.values) for one in values], axis=1)
        ]
        return Listing(
            paths=paths,
            labels=labels,
            splits=splits,
            groups=groups,
            origin=self._source.origin,
            unlabelled=self.dropped,
            **files_of(paths),
        )


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float64)


def _spread(one: TargetValues, known: np.ndarray, count: int) -> TargetValues:
    """Put the values of some rows at their places among all; those without a value are NaN."""
    if len(known) == count:
        return dataclasses.replace(one, values=one.values.astype(np.float64))
    values = np.full((count, *one.values.shape[1:]), np.nan)
    values[known] = one.values
    return dataclasses.replace(one, values=values)


def _start(table: Any, root: str | Path | None) -> Path:
    """Return the folder that relative paths start from."""
    if root is not None:
        return Path(root)
    return Path(table).expanduser().parent if isinstance(table, str | Path) else Path()
