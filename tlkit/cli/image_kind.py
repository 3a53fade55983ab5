"""Projects that classify photos."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tlkit.cli.kinds import Asked, Gathered, Kind
from tlkit.errors import ConfigError, DataError, missing_column

_NAMED = 10  # classes, in a message
_log = logging.getLogger("tlkit")

if TYPE_CHECKING:
    from tlkit.cli.project import Code
    from tlkit.models.task import Task
    from tlkit.training.learner import Learner

ACCEPTED = "JPEG, PNG, BMP, GIF and WebP, with any file name"


class ImageKind(Kind):
    """Photos: files, in folders or listed in a table."""

    items = "photos"
    data_forms = "a folder of photos, or a CSV or Parquet table"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".parquet")
    put_data = "one folder of photos per class"
    example_input = "SOME.jpg"
    has_views = True
    has_report = False

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> None:
        """Refuse a table without a named column; say what is found in a folder; a backbone brings its size."""
        from tlkit.inputs.files.records import TableStream

        named = [answers[name] for name in ("path_column", "label_column") if name in answers]
        named += asked.label_columns
        if data is not None and data.is_file() and named:
            encoding, separator = answers.get("encoding", "utf-8"), answers.get("separator", "")
            columns = TableStream(data, encoding=encoding, separator=separator).columns
            for column in named:
                if column not in columns:
                    raise missing_column(column, columns, str(data))
        _add_size(answers)
        if data is not None and data.is_dir():
            _say_what_is_in(data)

    def check(self, config: Any) -> None:
        """Refuse an unknown backbone, one that cannot see so small a picture, or labels that a folder cannot hold."""
        if config.data.multi_label and config.data_path.resolve().is_dir():  # before the project is there, too
            raise ConfigError(
                "multi-label classification needs a table: a photo in a class folder has one label",
                received=config.data.path,
                allowed=f"a table ({', '.join(self.suffixes)}) with label_separator or label_columns",
            )
        self._check_backbone(config)

    def _check_backbone(self, config: Any) -> None:
        from tlkit.catalogue import image

        row = image.get(config.model.backbone)
        if config.model.image_size < row.min_size:
            raise ConfigError(
                f"model.image_size is too small for {row.name}",
                received=config.model.image_size,
                allowed=f"at least {row.min_size} pixels",
            )

    def check_training(self, config: Any) -> None:
        """Every backbone can be exported."""

    def inputs(self, words: Sequence[str]) -> list[Path]:
        """Give the files named, and those in the folders named, in order; refuses those that cannot be used.

        Raises:
            DataError: naming the first of them.
        """
        gathered = self.gathered(words)
        for path, reason in gathered.failed:
            raise DataError(f"{path} {reason}")
        return gathered.items

    def gathered(self, words: Sequence[str]) -> Gathered:
        """Give the files named, and those in the folders named, in order, beside those that cannot be used."""
        from tlkit.inputs.image.walk import Tally, look_at, walk

        items: list[Path] = []
        failed: list[tuple[str, str]] = []
        tally = Tally()
        for word in map(Path, words):
            if not word.is_dir():
                if len(words) == 1 and not os.path.lexists(word):
                    raise DataError(f"{word} does not exist")
                entry = look_at(word)
                tally.add(entry)
                if entry.use == "image":
                    items.append(word)
                else:
                    failed.append((str(word), entry.problem))
                continue
            had = len(items) + len(failed)
            for entry in walk(word):
                tally.add(entry, str(word))
                if entry.use == "image":
                    items.append(word / entry.name)
                elif entry.use == "unusable":
                    failed.append((str(word / entry.name), entry.problem))
            if had == len(items) + len(failed):
                if len(words) == 1:
                    raise DataError(f"no photo found in {word}", received=str(tally), allowed=ACCEPTED)
                failed.append((str(word), "is a folder without photos"))
        return Gathered(items, failed, tally, any(Path(word).is_dir() for word in words))

    def prepared(self, task: Task, items: Sequence[Path]) -> Any:
        """Read and decode photos: float32 [B, S, S, 3]."""
        import tensorflow as tf

        from tlkit.inputs.image import items as files

        preprocessing: Any = task.preprocessing
        pixels = []
        for at, file in enumerate(items):
            content = files.content(file)
            try:
                pixels.append(preprocessing(tf.constant(content)))
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
                raise files.refusal(file, at, data=content, max_pixels=preprocessing.max_pixels) from None
        return tf.cast(tf.stack(pixels), tf.float32)

    def column(self, config: Any) -> str:
        """Name the column of paths."""
        return str(config.data.path_column)

    def table_options(self, config: Any) -> dict[str, Any]:
        """Read tables as the training data."""
        return {"encoding": config.data.encoding, "separator": config.data.separator}

    def item(self, value: object, place: str, column: str, folder: Path) -> Path:
        """Give the file that a path, relative to the table, leads to."""
        if not isinstance(value, str) or not value:
            raise DataError(f"{place} has no path in column {column!r}", received=value)
        path = folder / Path(value).expanduser()
        if not path.is_file():
            raise DataError(f"{place}: the photo {path} does not exist")
        return path

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other labelled photos."""
        from tlkit.inputs.image.augment import Augmentation
        from tlkit.inputs.image.reading import images_to_evaluate

        preprocessing: Any = task.preprocessing
        of_split = ("group_column", "split_column")
        columns = {name: value for name, value in config.data.columns.items() if name not in of_split}
        return images_to_evaluate(
            path,
            task.class_names,
            preprocessing=preprocessing,
            multi_label=task.objective.is_multi_label,
            batch_size=config.data.batch_size,
            on_error=config.data.on_error,
            **columns,
            augmentation=Augmentation(config.data.augment, max_zoom=config.data.max_zoom),
            damaged=config.data.damaged,
            trained_on=_training_images(config),
        )

    def measure(self, learn: Learner, split: str) -> tuple[Any, None]:
        """Give the metrics; mistakes on photos are not shown."""
        return learn.evaluate(split), None

    def counted(self, data: Any) -> dict[str, Any]:
        """Give the entries found, used and left out, and how many photos are damaged."""
        return {**data.tally.to_dict(), "damaged": len(data.damaged)}


class ImageValuesKind(ImageKind):
    """Photos that a table gives values, risks or several targets."""

    data_forms = "a .csv, .tsv or .parquet table of paths and labels"
    suffixes = (".csv", ".tsv", ".gz", ".parquet")
    put_data = "the photos, and images.csv, a table of their paths and labels,"

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> None:
        """Refuse a table that lacks a named column, or labels that cannot be used; say what is found in it."""
        _add_size(answers)
        if data is None:
            return
        if data.is_dir():
            raise DataError("image regression needs a table", received=str(data), allowed=self.data_forms)
        from tlkit.cli.image_findings import look_at

        look_at(answers, data, asked)

    def further(self, asked: Asked) -> list[tuple[str, str, Any]]:
        """A survival target takes the place of the column to predict."""
        return [("target", "columns", [])] if asked.survival is not None else []

    def check(self, config: Any) -> None:
        """Refuse an unknown backbone, or one that cannot see so small a picture."""
        self._check_backbone(config)

    def build_task(self, code: Code, config: Any, data: Any) -> Task:
        """Make a fresh network for data."""
        task: Task = code.model.build_task(config, data.targets)
        return task

    def rebuild_task(self, code: Code, config: Any, trained: Mapping[str, Any]) -> Task:
        """Make the network of a training: targets are those that it was fitted on."""
        from tlkit.targets.base import Target

        task: Task = code.model.build_task(config, tuple(Target.from_dict(plain) for plain in trained["targets"]))
        return task

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other photos with their labels."""
        from tlkit.inputs.image.augment import Augmentation
        from tlkit.inputs.image.target_data import images_to_measure

        preprocessing: Any = task.preprocessing
        return images_to_measure(
            path,
            task.objective.targets,
            preprocessing=preprocessing,
            batch_size=config.data.batch_size,
            on_error=config.data.on_error,
            **config.reading,
            augmentation=Augmentation(config.data.augment, max_zoom=config.data.max_zoom),
            damaged=config.data.damaged,
            trained_on=_training_images_of_values(config),
        )


def _add_size(answers: dict[str, str]) -> None:
    """Let a backbone that was chosen bring its size."""
    from tlkit.catalogue import image

    if "backbone" in answers:
        answers.setdefault("image_size", str(image.get(answers["backbone"]).size))


def _training_images_of_values(config: Any) -> list[Path]:
    """List the photos that the project trains on; none where they are not there now."""
    from tlkit.inputs.image.target_data import training_photos

    try:
        return training_photos(config.data_path, config.targets, **config.table_options)
    except DataError as error:
        _log.info("not checked for duplicates of training photos, which cannot be listed: %s", error)
        return []


def _say_what_is_in(data: Path) -> None:
    """Say on stderr which classes and photos `tlkit train` will find in a folder, or what it will refuse."""
    from tlkit.inputs.image.listing import list_folder

    try:
        listing = list_folder(data)
    except DataError as error:
        _log.warning("training will stop with an error on this folder: %s", error)
        return
    for remark in listing.remarks:
        _log.warning("%s", remark)
    names = listing.class_names
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    _log.info("%s: %d classes (%s), %d photos", data, len(names), shown, len(listing.paths) - len(listing.unusable))
    if listing.unusable:
        first = next(iter(listing.unusable.items()))
        _log.warning(
            'cannot be used: %d photos, such as %s, which %s; set on_error = "skip" in config.toml to skip them',
            len(listing.unusable), listing.paths[first[0]], first[1].problem,
        )  # fmt: skip
    _log.info("%s", listing.tally)


def _training_images(config: Any) -> list[Path]:
    """List the photos that the project trains on, as `tlkit train` splits them; none where they are not there now."""
    import numpy as np

    from tlkit.inputs.image.copies import assign_splits, copy_numbers
    from tlkit.inputs.image.listing import list_folder, list_table

    data = config.data
    try:
        if config.data_path.suffix.lower() in ImageKind.suffixes:
            listing = list_table(config.data_path, **data.columns)
        else:
            listing = list_folder(config.data_path)
        usable = np.array([row for row in range(len(listing.paths)) if row not in listing.unusable], np.int64)
        copies = copy_numbers(listing.paths, listing.sizes)
        rows = assign_splits(listing, copies, data.val_fraction, data.seed, usable)
    except DataError as error:
        _log.info("not checked for duplicates of training photos, which cannot be listed: %s", error)
        return []
    return [listing.paths[row] for row in rows.get("train", [])]
