"""Labelled texts as batches: read, checked, split, tokenized once, padded to the longest of each batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import Advice, DataError
from tlkit.inputs.class_names import composed
from tlkit.inputs.files.table_files import Quoting
from tlkit.inputs.labelled import ClassWeight
from tlkit.inputs.sampling import Sampling
from tlkit.inputs.text.data import OnDuplicate, TextData, check_text_options
from tlkit.inputs.text.folder import list_folder
from tlkit.inputs.text.listing import list_table
from tlkit.inputs.text.preprocessing import LongTexts, TextPreprocessing

if TYPE_CHECKING:
    import pandas as pd


def texts_from_table(
    table: str | Path | pd.DataFrame | Mapping[str, str | Path],
    *,
    encoder: str = "all-minilm-l6-v2",
    weights: str = "auto",
    preprocessing: TextPreprocessing | None = None,
    text_column: str = "text",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    time_column: str | None = None,
    encoding: str = "utf-8",
    separator: str = "",
    quoting: Quoting = "auto",
    strip_html: bool = False,
    max_tokens: int = 128,
    long_texts: LongTexts = "head",
    batch_size: int = 32,
    val_fraction: float = 0.2,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    on_duplicate: OnDuplicate = "report",
    exclude: str | Path | None = None,
) -> TextData:
    """Read labelled texts from a CSV, TSV, JSONL or Parquet file, a DataFrame, or a file for each split.

    If tlkit makes the validation split, duplicates of a text (ignoring case and white space) are kept in one split,
    unless `group_column` or `time_column` sets the split. Otherwise the metrics would be too good.

    Example:
        >>> data = texts_from_table("reviews.csv", label_column="sentiment", group_column="film")
        >>> data.class_names
        ['bad', 'good']

    Args:
        table: a file; a DataFrame; `{"train": file, "val": file, "test": file}`; or a folder that holds train.csv,
            val.csv and test.csv (or .tsv, .jsonl, .ndjson, .parquet).
        encoder: name in the catalogue, or a folder of weights; its tokenizer is taken.
        weights: where the tokenizer comes from, as for the encoder.
        preprocessing: strings -> token ids, in place of `encoder`, `weights`, `strip_html`, `max_tokens`, `long_texts`.
        text_column: the text of each row.
        label_column: its class: any value, taken as text; or a list of labels (JSONL, Parquet).
        label_separator: separator of the labels of a multi-label text, such as `"|"`.
        label_columns: columns of 0 and 1, one per label, instead of `label_column`.
        group_column: rows with the same value (author, product) are kept in one split.
        split_column: `train`, `val` or `test` for each row.
        time_column: a date or number for each row; the newest become the validation part.
        encoding: of the file, any codec that Python has.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        quoting: `"minimal"` reads "…" as one field, `"none"` takes quotes as they are, `"auto"` is `"minimal"` for
            CSV and `"none"` for TSV.
        strip_html: remove HTML tags and comments, in training and in the exported model.
        max_tokens: maximum number of tokens per text or window.
        long_texts: `"head"`, `"head_tail"` or `"windows"`; see `TextPreprocessing`.
        batch_size: texts per batch.
        val_fraction: fraction of the texts for validation, if there is no val split.
        seed: of split and order.
        class_weight: `"balanced"` weights the loss so that all classes have the same weight.
        sampling: `"shuffle"` uses every training text once per epoch; `"balanced"` draws them with replacement, so
            that every class comes equally often. Not together with `class_weight`.
        on_duplicate: `"report"` counts duplicates; `"drop"` drops duplicates from training, including those in
            val or test too.
        exclude: a list of texts that are left out, as `tlkit check --fix` writes it.

    Returns:
        A `TextData`.

    Raises:
        DataError: the table, a column or a row cannot be used.
        ConfigError: an argument is invalid.
        ModelError: the encoder is unknown.
        WeightsError: its tokenizer cannot be loaded.
    """
    check_text_options(batch_size, seed, class_weight, sampling, on_duplicate, multi_label=False)
    listing = list_table(
        table,
        text_column=text_column,
        label_column=label_column,
        label_separator=label_separator,
        label_columns=label_columns,
        group_column=group_column,
        split_column=split_column,
        time_column=time_column,
        encoding=encoding,
        separator=separator,
        quoting=quoting,
    )
    listing.check_trainable()
    return TextData(
        listing,
        preprocessing=preprocessing or _preprocessing(encoder, weights, max_tokens, long_texts, strip_html),
        batch_size=batch_size,
        val_fraction=val_fraction,
        seed=seed,
        class_weight=class_weight,
        sampling=sampling,
        on_duplicate=on_duplicate,
        exclude=exclude,
    )


def texts_from_folder(
    path: str | Path,
    *,
    encoder: str = "all-minilm-l6-v2",
    weights: str = "auto",
    preprocessing: TextPreprocessing | None = None,
    encoding: str = "utf-8",
    strip_html: bool = False,
    max_tokens: int = 128,
    long_texts: LongTexts = "head",
    batch_size: int = 32,
    val_fraction: float = 0.2,
    seed: int = 0,
    class_weight: ClassWeight = "none",
    sampling: Sampling = "shuffle",
    on_duplicate: OnDuplicate = "report",
    exclude: str | Path | None = None,
) -> TextData:
    """Read texts from `FOLDER/class/*.txt` or `FOLDER/{train,val,test}/class/*.txt`, as in aclImdb.

    Example:
        >>> data = texts_from_folder("aclImdb", strip_html=True, max_tokens=256, long_texts="head_tail")
        >>> data.class_names
        ['neg', 'pos']

    Args:
        path: the folder; its folder of unlabelled texts (`unsup`) is skipped.
        encoder, weights, preprocessing, encoding, strip_html, max_tokens, long_texts, batch_size, val_fraction, seed,
            class_weight, sampling, on_duplicate: as in `texts_from_table`.

    Returns:
        A `TextData`.

    Raises:
        DataError: the folder or a file cannot be used.
        ConfigError: an argument is invalid.
        ModelError: the encoder is unknown.
        WeightsError: its tokenizer cannot be loaded.
    """
    check_text_options(batch_size, seed, class_weight, sampling, on_duplicate, multi_label=False)
    listing = list_folder(path, encoding=encoding)
    listing.check_trainable()
    return TextData(
        listing,
        preprocessing=preprocessing or _preprocessing(encoder, weights, max_tokens, long_texts, strip_html),
        batch_size=batch_size,
        val_fraction=val_fraction,
        seed=seed,
        class_weight=class_weight,
        sampling=sampling,
        on_duplicate=on_duplicate,
        exclude=exclude,
    )


def texts_to_evaluate(
    path: str | Path | pd.DataFrame | Mapping[str, str | Path],
    class_names: list[str] | tuple[str, ...],
    *,
    preprocessing: TextPreprocessing,
    multi_label: bool = False,
    batch_size: int = 32,
    text_column: str = "text",
    label_column: str = "label",
    label_separator: str | None = None,
    label_columns: Sequence[str] | None = None,
    split_column: str | None = None,
    encoding: str = "utf-8",
    separator: str = "",
    quoting: Quoting = "auto",
) -> TextData:
    """Read labelled texts only to measure a model on them; they become the `test` split.

    Args:
        path: a folder or table as for the functions above. Of data in parts, the test texts are taken, or else the
            validation texts.
        class_names: the classes of the model, in its order; the texts may show fewer of them.
        preprocessing: that of the model.
        multi_label: whether the model gives a text any number of labels.
        batch_size, text_column, label_column, label_separator, label_columns, split_column, encoding, separator,
            quoting: as above.

    Returns:
        A `TextData` whose only split is `test`. Rows without a label are left out; its `dropped` counts them.

    Raises:
        DataError: the texts show a class that the model does not know, have one label where the model gives several or
            the other way round, or cannot be used.
        ConfigError: an argument is not usable.
    """
    if isinstance(path, str | Path) and _is_folder_of_classes(Path(path).expanduser()):
        listing = list_folder(path, encoding=encoding)
    else:
        listing = list_table(
            path,
            text_column=text_column,
            label_column=label_column,
            label_separator=label_separator,
            label_columns=label_columns,
            split_column=split_column,
            encoding=encoding,
            separator=separator,
            quoting=quoting,
            leave_unlabelled=True,
        )
    advice = Advice("{}, or name label_columns", "label_separator", "|")
    listing.check_fits(multi_label, "a text", listing.origin, advice)
    held_out = next((name for name in ("test", "val") if name in listing.splits), None)
    rows = [row for row, split in enumerate(listing.splits) if split == held_out]
    known = set(map(composed, class_names))
    for row in rows:
        unknown = sorted(listing.seen([row]) - known)
        if unknown:
            raise DataError(
                f"the data has a class that the model was not trained on ({listing.places[row]})",
                received=unknown[0],
                allowed=class_names,
            )
    return TextData(
        listing.only(rows, "test"),
        class_names=list(class_names),
        preprocessing=preprocessing,
        batch_size=batch_size,
        val_fraction=0.5,
        seed=0,
        class_weight="none",
    )


def _is_folder_of_classes(path: Path) -> bool:
    return path.is_dir() and any(item.is_dir() and not item.name.startswith(".") for item in path.iterdir())


def _preprocessing(
    encoder: str, weights: str, max_tokens: int, long_texts: LongTexts, strip_html: bool
) -> TextPreprocessing:
    from tlkit.catalogue.encoders import load_tokenizer

    tokenizer: Any = load_tokenizer(encoder, weights)
    return TextPreprocessing(tokenizer, max_tokens=max_tokens, long_texts=long_texts, strip_html=strip_html)
