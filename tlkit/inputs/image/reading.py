"""Labelled photos as batches: found, checked, split, decoded once where they fit in memory, streamed where not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.errors import Advice, DataError
from tlkit.inputs.class_names import composed
from tlkit.inputs.image.augment import Augmentation, Mix, Preset
from tlkit.inputs.image.copies import warn_of_copies
from tlkit.inputs.image.data import CacheMode, ImageData, OnDamage, OnDuplicate, OnError
from tlkit.inputs.image.formats import MAX_PIXELS
from tlkit.inputs.image.listing import list_folder, list_table
from tlkit.inputs.image.preprocessing import ImagePreprocessing, ResizeMode
from tlkit.inputs.labelled import ClassWeight
from tlkit.inputs.sampling import Sampling

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("tlkit")


def images_from_folder(
    path: str | Path,
    *,
    size: int = 224,
    resize: ResizeMode = "crop",
    augment: Preset = "none",
    max_zoom: float = 1.1,
    mix: Mix = "none",
    batch_size: int = 32,
    val_fraction: float = 0.2,
    seed: int = 0,
    on_error: OnError = "fail",
    cache: CacheMode = "auto",
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    on_duplicate: OnDuplicate = "report",
    damaged: OnDamage = "keep",
    max_pixels: int = MAX_PIXELS,
    exclude: str | Path | None = None,
) -> ImageData:
    """Load images from `FOLDER/class/image` or `FOLDER/{train,val,test}/class/image`.

    Every image is decoded once to find unreadable images before training.

    Example:
        >>> data = images_from_folder("photos", size=224, augment="side_on", max_zoom=1.1)
        >>> data.class_names
        ['ants', 'bees']

    Args:
        path: the folder.
        size: side of the square images, in pixels.
        resize: `"crop"`, `"pad"` or `"squash"`; see `ImagePreprocessing`.
        augment: `"none"`, `"side_on"`, `"top_down"` or `"strong"`; see `Augmentation`.
        max_zoom: largest random magnification.
        mix: `"none"`, `"mixup"` or `"cutmix"`.
        batch_size: images per batch.
        val_fraction: fraction of the images for validation, if the folder has no val/ folder.
        seed: of split, order and augmentation.
        on_error: `"fail"` lists unreadable images and stops, `"skip"` skips and counts them.
        cache: `"memory"` keeps decoded photos, `"off"` decodes them again in each epoch, `"auto"` keeps them when
            they fit into half of the free memory.
        class_weight: `"balanced"` weights the loss so that all classes have the same weight.
        sampling: `"shuffle"` uses every training image once per epoch; `"balanced"` draws them with replacement, so
            that every class comes equally often. Not together with `class_weight`.
        on_duplicate: exact copies of a photo stay on one side where validation photos are split off. `"report"` counts
            copies; `"drop"` takes repeated photos out of training, and those that are in val or test too.
        damaged: a JPEG that decodes although its data are damaged: `"keep"` uses and names it, `"refuse"` takes it for
            one that cannot be read.
        max_pixels: the largest width x height that is decoded, here and in the exported model.

    Returns:
        An `ImageData`.

    Raises:
        DataError: the folder or a photo cannot be used.
        ConfigError: an argument is invalid.
    """
    preprocessing = ImagePreprocessing(size=size, resize=resize, max_pixels=max_pixels)
    augmentation = Augmentation(augment, max_zoom=max_zoom, mix=mix)
    return ImageData(
        list_folder(path),
        preprocessing=preprocessing,
        augmentation=augmentation,
        batch_size=batch_size,
        val_fraction=val_fraction,
        seed=seed,
        on_error=on_error,
        cache=cache,
        class_weight=class_weight,
        sampling=sampling,
        on_duplicate=on_duplicate,
        damaged=damaged,
        exclude=exclude,
    )


def images_from_table(
    table: str | Path | pd.DataFrame,
    *,
    path_column: str = "path",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    root: str | Path | None = None,
    separator: str = "",
    encoding: str = "utf-8",
    size: int = 224,
    resize: ResizeMode = "crop",
    augment: Preset = "none",
    max_zoom: float = 1.1,
    mix: Mix = "none",
    batch_size: int = 32,
    val_fraction: float = 0.2,
    seed: int = 0,
    on_error: OnError = "fail",
    cache: CacheMode = "auto",
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    on_duplicate: OnDuplicate = "report",
    damaged: OnDamage = "keep",
    max_pixels: int = MAX_PIXELS,
    exclude: str | Path | None = None,
) -> ImageData:
    """Load the images listed in a CSV file, a Parquet file or a DataFrame.

    Example:
        >>> data = images_from_table("photos.csv", path_column="file", label_column="species", group_column="site")

    Args:
        table: rows with a path and a label.
        path_column: file of each photo, absolute or relative to `root`.
        label_column: class of each photo.
        label_separator: what stands between the labels of a row, such as `";"`, where a photo may have several; nothing
            in the field means none of them.
        label_columns: columns of 0 and 1, one per label, instead of `label_column`.
        group_column: rows with the same value (patient, scene, camera) are kept in one split.
        split_column: `train`, `val` or `test` for each row.
        root: folder that relative paths start from; the table's own folder by default.
        separator: between the fields of a CSV; a comma when empty.
        encoding: of a CSV, any codec that Python has.
        size, resize, augment, max_zoom, mix, batch_size, val_fraction, seed, on_error, cache, class_weight, sampling,
            on_duplicate, damaged, max_pixels, exclude: as in `images_from_folder`.

    Returns:
        An `ImageData`.

    Raises:
        DataError: the table, a column or a photo cannot be used.
        ConfigError: an argument is invalid.
    """
    preprocessing = ImagePreprocessing(size=size, resize=resize, max_pixels=max_pixels)
    augmentation = Augmentation(augment, max_zoom=max_zoom, mix=mix)
    listing = list_table(
        table,
        path_column=path_column,
        label_column=label_column,
        label_separator=label_separator,
        label_columns=label_columns,
        group_column=group_column,
        split_column=split_column,
        root=root,
        separator=separator,
        encoding=encoding,
    )
    return ImageData(
        listing,
        preprocessing=preprocessing,
        augmentation=augmentation,
        batch_size=batch_size,
        val_fraction=val_fraction,
        seed=seed,
        on_error=on_error,
        cache=cache,
        class_weight=class_weight,
        sampling=sampling,
        on_duplicate=on_duplicate,
        damaged=damaged,
        exclude=exclude,
    )


def images_to_evaluate(
    path: str | Path,
    class_names: list[str] | tuple[str, ...],
    *,
    preprocessing: ImagePreprocessing,
    multi_label: bool = False,
    batch_size: int = 32,
    on_error: OnError = "fail",
    path_column: str = "path",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] | None = None,
    root: str | Path | None = None,
    separator: str = "",
    encoding: str = "utf-8",
    augmentation: Augmentation | None = None,
    damaged: OnDamage = "keep",
    trained_on: Sequence[Path] = (),
) -> ImageData:
    """Read labelled photos only to measure a model on them; they become the `test` split.

    Args:
        path: a folder or table as for the functions above. Of a folder with train/, val/ and test/, the test photos
            are taken, or else the validation photos.
        class_names: the classes of the model, in its order; the photos may show fewer of them.
        preprocessing: that of the model.
        multi_label: whether the model may give a photo several labels, or none.
        batch_size, on_error, path_column, label_column, label_separator, label_columns, root, separator, encoding: as
            above.
        augmentation: what the views of test-time augmentation are drawn from; none when left out.
        damaged: as above.
        trained_on: the training photos; how many of the photos are copies of them is said in a warning.

    Returns:
        An `ImageData` whose only split is `test`. Rows without a label are left out; its `dropped` counts them.

    Raises:
        DataError: the photos show a class that the model does not know, or cannot be used.
    """
    if Path(path).suffix.lower() in (".csv", ".parquet"):
        listing = list_table(
            path,
            path_column=path_column,
            label_column=label_column,
            label_separator=label_separator,
            label_columns=label_columns,
            root=root,
            separator=separator,
            encoding=encoding,
            leave_unlabelled=True,
        )
    else:
        listing = list_folder(path)
    advice = Advice("use a table, and {}, or name label_columns", "label_separator", ";")
    listing.check_fits(multi_label, "a photo", listing.origin, advice)
    held_out = next((name for name in ("test", "val") if name in listing.splits), None)
    rows = [row for row, split in enumerate(listing.splits) if split == held_out]
    unknown = sorted(listing.seen(rows) - set(map(composed, class_names)))
    if unknown:
        raise DataError(
            "the data has a class that the model was not trained on", received=unknown[0], allowed=class_names
        )
    picked = listing.only(rows, "test")
    warn_of_copies(picked.paths, trained_on)
    return ImageData(
        picked,
        class_names=list(class_names),
        preprocessing=preprocessing,
        augmentation=augmentation or Augmentation(),
        batch_size=batch_size,
        val_fraction=0.5,
        seed=0,
        on_error=on_error,
        cache="off",
        class_weight="none",
        damaged=damaged,
    )
