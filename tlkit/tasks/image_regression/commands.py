"""Projects that predict values, risks or several targets from images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tlkit.errors import DataError
from tlkit.inputs.image.commands import ImageCommands
from tlkit.tasks.commands import Asked, Code, TaskCommands

if TYPE_CHECKING:
    from tlkit.inputs.image.preprocessing import ImagePreprocessing
    from tlkit.models.task import Task

_log = logging.getLogger("tlkit")


class ImageRegressionCommands(ImageCommands, TaskCommands):
    """Images that a table gives values, risks or several targets."""

    data_forms = "a .csv, .tsv or .parquet table of paths and labels"
    suffixes = (".csv", ".tsv", ".gz", ".parquet")
    put_data = "the photos, and images.csv, a table of their paths and labels,"

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> None:
        """Refuse a table that lacks a named column, or labels that cannot be used; say what is found in it."""
        self.add_size(answers)
        if data is None:
            return
        if data.is_dir():
            raise DataError("image regression needs a table", received=str(data), allowed=self.data_forms)
        from tlkit.tasks.image_regression.findings import look_at

        look_at(answers, data, asked)

    def further(self, asked: Asked) -> list[tuple[str, str, Any]]:
        """A survival target takes the place of the column to predict."""
        return [("target", "columns", [])] if asked.survival is not None else []

    def check(self, config: Any) -> None:
        """Refuse an unknown backbone, or one that cannot see so small a picture."""
        self.check_backbone(config)

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

        return images_to_measure(
            path,
            task.objective.targets,
            preprocessing=cast("ImagePreprocessing", task.preprocessing),
            batch_size=config.data.batch_size,
            on_error=config.data.on_error,
            **config.reading,
            augmentation=Augmentation(config.data.augment, max_zoom=config.data.max_zoom),
            damaged=config.data.damaged,
            trained_on=_training_images(config),
        )

    def measure(self, learn: Any, split: str) -> tuple[Any, None]:
        """Return the metrics; mistakes on photos are not shown."""
        return learn.evaluate(split), None


def _training_images(config: Any) -> list[Path]:
    """List the photos that the project trains on; none where they are not there now."""
    from tlkit.inputs.image.target_data import training_photos

    try:
        return training_photos(config.data_path, config.targets, **config.table_options)
    except DataError as error:
        _log.info("not checked for duplicates of training photos, which cannot be listed: %s", error)
        return []
