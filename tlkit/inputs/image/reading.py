"""Labelled images as batches: found, checked, split, decoded once where they fit in memory, streamed where not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import Advice, DataError
from tlkit.inputs.class_names import composed
from tlkit.inputs.image.augment import Augmentation
from tlkit.inputs.image.copies import warn_of_copies
from tlkit.inputs.image.data import ImageData, OnDamage, OnError
from tlkit.inputs.image.listing import Listing, list_folder, list_table
from tlkit.inputs.image.options import ImageOptions, ImageReadOptions, ImageSplitOptions, LabelOptions
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.labelled import ClassWeight
from tlkit.inputs.options import grouped, with_fields_of
from tlkit.inputs.sampling import Sampling

if TYPE_CHECKING:
    import pandas as pd

_BATCHES = ("batch_size", "seed", "class_weight", "sampling")
_MEASURED = (
    "preprocessing", "multi_label", "batch_size", "on_error", "augmentation", "damaged", "trained_on",
)  # fmt: skip


@with_fields_of(ImageOptions)
def images_from_folder(
    path: str | Path,
    *,
    images: ImageOptions | None = None,
    batch_size: int = 32,
    val_fraction: float = 0.2,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    exclude: str | Path | None = None,
    **options: Any,
) -> ImageData:
    """Load images from `FOLDER/class/image` or `FOLDER/{train,val,test}/class/image`.

    Every image is decoded once to find unreadable images before training.

    Example:
        >>> data = images_from_folder("photos", size=224, augment="side_on", max_zoom=1.1)
        >>> data.class_names
        ['ants', 'bees']

    Args:
        path: the folder.
        images: how images are decoded, resized, augmented and cached.
        batch_size: images per batch.
        val_fraction: fraction of the images for validation, if the folder has no val/ folder.
        seed: of split, order and augmentation.
        class_weight: `"balanced"` weights the loss so that all classes have the same weight.
        sampling: `"shuffle"` uses every training image once per epoch; `"balanced"` draws them with replacement, so
            that every class comes equally often. Not together with `class_weight`.
        exclude: a list of images that are left out, as `tlkit check --fix` writes it.
        **options: the fields of `ImageOptions`, such as `size` and `augment`, instead of the object.

    Returns:
        An `ImageData`.

    Raises:
        DataError: the folder or an image cannot be used.
        ConfigError: an argument is invalid, or an object and one of its fields are both given.
    """
    others = (*_BATCHES, "val_fraction", "exclude")
    (images,) = grouped("images_from_folder", options, {"images": (ImageOptions, images)}, others)
    arguments = images.for_data()
    return ImageData(
        list_folder(path),
        **arguments,
        batch_size=batch_size,
        val_fraction=val_fraction,
        seed=seed,
        class_weight=class_weight,
        sampling=sampling,
        exclude=exclude,
    )


@with_fields_of(ImageReadOptions, LabelOptions, ImageOptions, ImageSplitOptions)
def images_from_table(
    table: str | Path | pd.DataFrame,
    *,
    read: ImageReadOptions | None = None,
    labels: LabelOptions | None = None,
    images: ImageOptions | None = None,
    split: ImageSplitOptions | None = None,
    batch_size: int = 32,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    **options: Any,
) -> ImageData:
    """Load the images listed in a CSV file, a Parquet file or a DataFrame.

    Example:
        >>> data = images_from_table("photos.csv", path_column="file", label_column="species", group_column="site")

    Args:
        table: rows with a path and a label.
        read: where the paths are, and how the file is written.
        labels: where the classes or labels are.
        images: how images are decoded, resized, augmented and cached.
        split: how the images are divided.
        batch_size, seed, class_weight, sampling: as in `images_from_folder`.
        **options: the fields of `ImageReadOptions`, `LabelOptions`, `ImageOptions` and `ImageSplitOptions`, instead of
            the objects.

    Returns:
        An `ImageData`.

    Raises:
        DataError: the table, a column or an image cannot be used.
        ConfigError: an argument is invalid, or an object and one of its fields are both given.
    """
    groups = {
        "read": (ImageReadOptions, read),
        "labels": (LabelOptions, labels),
        "images": (ImageOptions, images),
        "split": (ImageSplitOptions, split),
    }
    read, labels, images, split = grouped("images_from_table", options, groups, _BATCHES)
    arguments = images.for_data()
    listing = _listed(table, read, labels, group_column=split.group_column, split_column=split.split_column)
    return ImageData(
        listing,
        **arguments,
        batch_size=batch_size,
        val_fraction=split.val_fraction,
        seed=seed,
        class_weight=class_weight,
        sampling=sampling,
        exclude=split.exclude,
    )


def _listed(table: Any, read: ImageReadOptions, labels: LabelOptions, **options: Any) -> Listing:
    return list_table(
        table,
        path_column=read.path_column,
        root=read.root,
        separator=read.separator or "",
        encoding=read.encoding,
        label_column=labels.label_column,
        label_separator=labels.label_separator,
        label_columns=labels.label_columns,
        **options,
    )


@with_fields_of(ImageReadOptions, LabelOptions)
def images_to_evaluate(
    path: str | Path,
    class_names: list[str] | tuple[str, ...],
    *,
    preprocessing: ImagePreprocessing,
    multi_label: bool = False,
    batch_size: int = 32,
    on_error: OnError = "fail",
    augmentation: Augmentation | None = None,
    damaged: OnDamage = "keep",
    trained_on: Sequence[Path] = (),
    read: ImageReadOptions | None = None,
    labels: LabelOptions | None = None,
    **options: Any,
) -> ImageData:
    """Read labelled photos only to measure a model on them; they become the `test` split.

    Args:
        path: a folder or table as for the functions above. Of a folder with train/, val/ and test/, the test photos
            are taken, or else the validation photos.
        class_names: the classes of the model, in its order; the photos may show fewer of them.
        preprocessing: that of the model.
        multi_label: whether the model may give a photo several labels, or none.
        batch_size, on_error: as above.
        augmentation: what the views of test-time augmentation are drawn from; none when left out.
        damaged: as above.
        trained_on: the training images; a warning tells how many of the images are copies of them.
        read, labels: of a table, as for `images_from_table`.
        **options: the fields of `ImageReadOptions` and `LabelOptions`, instead of the objects.

    Returns:
        An `ImageData` whose only split is `test`. Rows without a label are left out; its `dropped` counts them.

    Raises:
        DataError: the photos show a class that the model does not know, or cannot be used.
    """
    groups = {"read": (ImageReadOptions, read), "labels": (LabelOptions, labels)}
    read, labels = grouped("images_to_evaluate", options, groups, _MEASURED)
    if Path(path).suffix.lower() in (".csv", ".parquet"):
        listing = _listed(path, read, labels, leave_unlabelled=True)
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
