"""Images as the commands see them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.commands import Gathered, InputCommands

if TYPE_CHECKING:
    from tlkit.inputs.image.preprocessing import ImagePreprocessing

ACCEPTED = "JPEG, PNG, BMP, GIF and WebP, with any file name"


class ImageCommands(InputCommands):
    """Images: files, in folders or listed in a table."""

    items = "photos"
    example_input = "SOME.jpg"
    has_views = True

    def gathered(self, words: Sequence[str]) -> Gathered:
        """Return the files named, and those in the folders named, in order, beside those that cannot be used."""
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

    def prepared(self, preprocessing: ImagePreprocessing, items: Sequence[Path]) -> Any:
        """Return photos read and decoded: float32 [B, S, S, 3]."""
        import tensorflow as tf

        from tlkit.inputs.image import items as files

        pixels = []
        for at, file in enumerate(items):
            content = files.content(file)
            try:
                pixels.append(preprocessing(tf.constant(content)))
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
                raise files.refusal(file, at, data=content, max_pixels=preprocessing.max_pixels) from None
        return tf.cast(tf.stack(pixels), tf.float32)

    def column(self, config: Any) -> str:
        """Return the name of the column of paths."""
        return str(config.data.path_column)

    def table_options(self, config: Any) -> dict[str, Any]:
        """Return how the tables of the training data are read."""
        return {"encoding": config.data.encoding, "separator": config.data.separator}

    def item(self, value: object, place: str, column: str, folder: Path) -> Path:
        """Return the file that a path, relative to the table, leads to."""
        if not isinstance(value, str) or not value:
            raise DataError(f"{place} has no path in column {column!r}", received=value)
        path = folder / Path(value).expanduser()
        if not path.is_file():
            raise DataError(f"{place}: the photo {path} does not exist")
        return path

    # What all tasks on images share

    def add_size(self, answers: dict[str, str]) -> None:
        """Let a backbone that was chosen bring its size."""
        from tlkit.catalogue import image

        if "backbone" in answers:
            answers.setdefault("image_size", str(image.get(answers["backbone"]).size))

    def check_backbone(self, config: Any) -> None:
        """Refuse an unknown backbone, or one that cannot see so small a picture."""
        from tlkit.catalogue import image

        row = image.get(config.model.backbone)
        if config.model.image_size < row.min_size:
            raise ConfigError(
                f"model.image_size is too small for {row.name}",
                received=config.model.image_size,
                allowed=f"at least {row.min_size} pixels",
            )

    def counted(self, data: Any) -> dict[str, Any]:
        """Return the entries found, used and left out, and how many photos are damaged."""
        return {**data.tally.to_dict(), "damaged": len(data.damaged)}
