"""Projects that classify images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tlkit.errors import ConfigError, DataError, missing_column
from tlkit.inputs.image.commands import ImageCommands
from tlkit.tasks.commands import Asked, TaskCommands

if TYPE_CHECKING:
    from tlkit.inputs.image.preprocessing import ImagePreprocessing
    from tlkit.models.task import Task

_NAMED = 10  # classes, in a message
_log = logging.getLogger("tlkit")


class ImageClassificationCommands(ImageCommands, TaskCommands):
    """Images in class folders, or with the labels that a table gives them."""

    data_forms = "a folder of photos, or a CSV or Parquet table"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".parquet")
    put_data = "one folder of photos per class"

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> None:
        """Refuse a table without paths or labels; say what is found in a folder; a backbone brings its size."""
        from tlkit.inputs.files.records import TableStream

        labels = asked.label_columns or [answers.get("label_column", "label")]
        if data is not None and data.is_file():
            encoding, separator = answers.get("encoding", "utf-8"), answers.get("separator", "")
            columns = TableStream(data, encoding=encoding, separator=separator).columns
            for column in (answers.get("path_column", "path"), *labels):
                if column not in columns:
                    raise missing_column(column, columns, str(data))
        self.add_size(answers)
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
        self.check_backbone(config)

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other labelled photos."""
        from tlkit.inputs.image.augment import Augmentation
        from tlkit.inputs.image.reading import images_to_evaluate

        of_split = ("group_column", "split_column")
        columns = {name: value for name, value in config.data.columns.items() if name not in of_split}
        return images_to_evaluate(
            path,
            task.class_names,
            preprocessing=cast("ImagePreprocessing", task.preprocessing),
            multi_label=task.objective.is_multi_label,
            batch_size=config.data.batch_size,
            on_error=config.data.on_error,
            **columns,
            augmentation=Augmentation(config.data.augment, max_zoom=config.data.max_zoom),
            damaged=config.data.damaged,
            trained_on=_training_images(config, self.suffixes),
        )

    def measure(self, learn: Any, split: str) -> tuple[Any, None]:
        """Return the metrics; mistakes on photos are not shown."""
        return learn.evaluate(split), None


def _say_what_is_in(data: Path) -> None:
    """Say on stderr which classes and photos `tlkit train` will find in a folder, or what it will refuse."""
    from tlkit.inputs.image.listing import list_folder
    from tlkit.inputs.image.walk import shown as name_of

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
    for row, entry in listing.unusable.items():
        listing.tally.leave_out(entry.reason, name_of(listing.paths[row]))
    _log.info("%s", listing.tally)


def _training_images(config: Any, suffixes: Sequence[str]) -> list[Path]:
    """List the photos that the project trains on, as `tlkit train` splits them; none where they are not there now."""
    import numpy as np

    from tlkit.inputs.image.copies import assign_splits, copy_numbers
    from tlkit.inputs.image.listing import list_folder, list_table

    data = config.data
    try:
        if config.data_path.suffix.lower() in suffixes:
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
