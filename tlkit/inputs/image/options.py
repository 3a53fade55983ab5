"""Options of the functions that read images: their table, their labels, how they are read, and how they are split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlkit.inputs.image.augment import Augmentation, Mix, Preset
from tlkit.inputs.image.data import CacheMode, OnDamage, OnDuplicate, OnError
from tlkit.inputs.image.formats import MAX_PIXELS
from tlkit.inputs.image.preprocessing import ImagePreprocessing, ResizeMode


@dataclasses.dataclass(frozen=True)
class ImageReadOptions:
    """Where a table has the paths of the images, and how its file is written.

    Args:
        path_column: file of each image, absolute or relative to `root`.
        root: folder that relative paths start from; the table's own folder by default.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        encoding: of a text file, any codec that Python has.
    """

    path_column: str = "path"
    root: str | Path | None = None
    separator: str | None = None
    encoding: str = "utf-8"


@dataclasses.dataclass(frozen=True)
class LabelOptions:
    """Where a table has the classes of its images.

    Args:
        label_column: class of each image.
        label_separator: what stands between the labels of a row, such as `";"`, if an image may have several; nothing
            in the field means none of them.
        label_columns: columns of 0 and 1, one per label, instead of `label_column`.
    """

    label_column: str = "label"
    label_separator: str | None = None
    label_columns: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class ImageSplitOptions:
    """How the images of a table are divided.

    Args:
        group_column: rows with the same value (patient, scene, camera) are kept in one split.
        split_column: `train`, `val` or `test` for each row. Otherwise images for validation are drawn at random,
            stratified by class; of values, by the first class, by whether the event was seen, or by the decile.
        val_fraction: fraction of the images for validation, if the data has no val split.
        exclude: a list of images that are left out, as `tlkit check --fix` writes it.
    """

    group_column: str | None = None
    split_column: str | None = None
    val_fraction: float = 0.2
    exclude: str | Path | None = None


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """How images are decoded, resized, augmented and cached.

    Args:
        size: side of the square images, in pixels.
        resize: `"crop"`, `"pad"` or `"squash"`; see `ImagePreprocessing`.
        augment: `"none"`, `"side_on"`, `"top_down"` or `"strong"`; see `Augmentation`. It must not change the labels:
            `"side_on"` mirrors and rotates images, which changes an angle.
        max_zoom: largest random magnification.
        mix: `"none"`, `"mixup"` or `"cutmix"`.
        on_error: `"fail"` lists unreadable images and stops, `"skip"` skips and counts them.
        cache: `"memory"` keeps decoded images, `"off"` decodes them again in each epoch, `"auto"` keeps them if they
            fit into half of the free memory.
        on_duplicate: exact copies of an image stay in one split if validation images are split off. `"report"` counts
            copies; `"drop"` removes repeated images from training, and those that are in val or test too.
        damaged: a JPEG that decodes although its data are damaged: `"keep"` uses and names it, `"refuse"` treats it as
            unreadable.
        max_pixels: the largest width x height that is decoded, here and in the exported model.
    """

    size: int = 224
    resize: ResizeMode = "crop"
    augment: Preset = "none"
    max_zoom: float = 1.1
    mix: Mix = "none"
    on_error: OnError = "fail"
    cache: CacheMode = "auto"
    on_duplicate: OnDuplicate = "report"
    damaged: OnDamage = "keep"
    max_pixels: int = MAX_PIXELS

    def for_data(self) -> dict[str, Any]:
        """Return the arguments of `ImageData` that these options stand for.

        Raises:
            ConfigError: a value is invalid.
        """
        return {
            "preprocessing": ImagePreprocessing(size=self.size, resize=self.resize, max_pixels=self.max_pixels),
            "augmentation": Augmentation(self.augment, max_zoom=self.max_zoom, mix=self.mix),
            "on_error": self.on_error,
            "cache": self.cache,
            "on_duplicate": self.on_duplicate,
            "damaged": self.damaged,
        }
