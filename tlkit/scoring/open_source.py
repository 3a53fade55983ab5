"""Which items an input has: what the export takes decides."""

from __future__ import annotations

from pathlib import Path

from tlkit.data.text_files import missing_column
from tlkit.errors import Advice, ConfigError, DataError, did_you_mean
from tlkit.export.manifest import Manifest
from tlkit.image_files.formats import ACCEPTED
from tlkit.scoring.items import Source
from tlkit.scoring.line_table import LineTable
from tlkit.scoring.parquet_table import ParquetTable
from tlkit.scoring.photo_folder import PhotoFolder

_LINES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".ndjson")


def open_source(
    path: Path, manifest: Manifest, *, text: str | None = None, separator: str = "", encoding: str = "utf-8"
) -> Source:
    """Look at an input.

    Example:
        >>> open_source(Path("reviews.csv"), Manifest.read("saved_models/reviews/1"), text="text").columns
        ('text', 'label')

    Args:
        path: a folder of photos, a table of rows, or a table or .txt of texts.
        manifest: of the export that will answer.
        text: the column of the texts; "text" when left out.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        encoding: of a text file.

    Raises:
        ConfigError: an option does not go with what the export takes.
        DataError: there is no such input, it is of another kind, or lacks a column that the export reads.
    """
    content = manifest.interface.content
    path = path.expanduser()
    if not path.exists():
        near = did_you_mean(path.name, [item.name for item in path.parent.glob("*")] if path.parent.is_dir() else [])
        raise DataError("there is no such input", received=str(path), fix=near or None)
    if text is not None and content != "text":
        raise ConfigError(f"--text is for exports that take texts; this one takes {content}s", received=text)
    if content == "image":
        if not path.is_dir():
            raise DataError("the export takes photos: name their folder", received=str(path), allowed="a folder")
        return PhotoFolder(path)
    suffixes = (*_LINES, ".parquet", *((".txt", ".txt.gz") if content == "text" else ()))
    if path.is_dir() or not path.name.lower().endswith(suffixes):
        raise DataError(f"the export takes {content}s: name a table of them", received=str(path), allowed=suffixes)
    is_plain = path.name.lower().endswith((".txt", ".txt.gz"))
    column = (text or "text") if content == "text" else ""
    if text is not None and is_plain:
        raise ConfigError("a .txt has no columns: every line is a text", received=text, fix="leave out --text")
    table: Source
    if path.suffix.lower() == ".parquet":
        table = ParquetTable.of(path, column=column)
    else:
        table = LineTable.of(path, column=column, separator=separator, encoding=encoding)
    if not table.columns:
        raise DataError("the table has no rows", received=str(path))
    if column and column not in table.columns:
        error = missing_column(column, table.columns, str(path))
        if text is not None or error.advice is not None:
            raise error
        raise DataError(str(error), fix=Advice("or, to name the column of the texts, {}", "text", "COLUMN"))
    lacking = [one.name for one in manifest.interface.columns if one.name not in table.columns]
    if lacking:
        raise DataError(
            f"{path} lacks column {lacking[0]!r}, which the network reads",
            received=f"columns {', '.join(table.columns)}",
            fix=f"{len(lacking)} columns are lacking: {', '.join(lacking)}; columns of joined tables and about events "
            "are not looked up here: write them with `tlkit predict --out`, or join them first",
        )
    return table


def nothing_in(path: Path, content: str) -> DataError:
    """Make the error that an input holds no item."""
    if content == "image":
        return DataError("there is no photo in the folder", received=str(path), allowed=ACCEPTED)
    return DataError("the table has no rows" if content == "row" else "there are no texts", received=str(path))
