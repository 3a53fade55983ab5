"""Projects that classify photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.cli.kinds import Kind
from tlkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tlkit.models.task import Task
    from tlkit.training.learner import Learner

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


class ImageKind(Kind):
    """Photos: files, in folders or listed in a table."""

    items = "photos"
    data_forms = "a folder of photos, or a CSV or Parquet table"
    suffixes = (".csv", ".parquet")
    put_data = "one folder of photos per class"
    example_input = "SOME.jpg"
    has_views = True
    has_report = False

    def complete(self, answers: dict[str, str], data: Path | None) -> None:
        """A backbone brings the size that it was trained with."""
        from tlkit.catalogue import image

        if "backbone" in answers:
            answers.setdefault("image_size", str(image.get(answers["backbone"]).size))

    def check(self, config: Any) -> None:
        """Refuse an unknown backbone, or one that cannot see so small a picture."""
        from tlkit.catalogue import image

        row = image.get(config.model.backbone)
        if config.model.image_size < row.min_size:
            raise ConfigError(
                f"model.image_size is too small for {row.name}",
                received=config.model.image_size,
                allowed=f"{row.min_size} pixels and more",
            )

    def check_training(self, config: Any) -> None:
        """Every backbone can be exported."""

    def inputs(self, words: Sequence[str], first: int = 1) -> list[Path]:
        """Give the files named, and those in the folders named, in order."""
        files: list[Path] = []
        for item in map(Path, words):
            if item.is_dir():
                inside = sorted(p for p in item.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
                if not inside:
                    raise DataError(f"there is no photo in {item}", allowed=SUFFIXES)
                files += inside
            elif item.is_file():
                files.append(item)
            else:
                raise DataError(f"there is no {item}")
        return files

    def prepared(self, task: Task, items: Sequence[Path]) -> Any:
        """Read and decode photos: float32 [B, S, S, 3]."""
        import tensorflow as tf

        preprocessing: Any = task.preprocessing
        pixels = []
        for file in items:
            try:
                pixels.append(preprocessing(tf.constant(file.read_bytes())))
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
                raise DataError(f"{file} is not a photo that can be read: {error.message.splitlines()[0]}") from None
        return tf.cast(tf.stack(pixels), tf.float32)

    def column(self, config: Any) -> str:
        """Name the column of paths."""
        return str(config.data.path_column)

    def table_options(self, config: Any) -> dict[str, Any]:
        """Tables of photos are in UTF-8."""
        return {}

    def item(self, value: object, place: str, column: str, folder: Path) -> Path:
        """Give the file that a path, relative to the table, leads to."""
        if not isinstance(value, str) or not value:
            raise DataError(f"{place} has no path in column {column!r}", received=value)
        path = folder / Path(value).expanduser()
        if not path.is_file():
            raise DataError(f"{place}: there is no photo {path}")
        return path

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other labelled photos."""
        from tlkit.data.images import images_to_evaluate
        from tlkit.preprocessing.augment import Augmentation

        preprocessing: Any = task.preprocessing
        return images_to_evaluate(
            path,
            task.class_names,
            preprocessing=preprocessing,
            batch_size=config.data.batch_size,
            on_error=config.data.on_error,
            path_column=config.data.path_column,
            label_column=config.data.label_column,
            augmentation=Augmentation(config.data.augment, max_zoom=config.data.max_zoom),
        )

    def measure(self, learn: Learner, split: str) -> tuple[Any, None]:
        """Give the metrics; mistakes on photos are not shown."""
        return learn.evaluate(split), None
