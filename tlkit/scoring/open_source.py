"""Which items an input has: what the export takes decides."""

from __future__ import annotations

from pathlib import Path

from tlkit.errors import Advice, ConfigError, DataError, did_you_mean, missing_column
from tlkit.export.manifest import Manifest
from tlkit.inputs.base import INPUTS, input_spec
from tlkit.inputs.items import Source
from tlkit.lazy import loaded
from tlkit.scoring.line_table import LineTable
from tlkit.scoring.parquet_table import ParquetTable

_LINES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".ndjson")


def open_source(
    path: Path,
    manifest: Manifest,
    *,
    text: str | None = None,
    path_column: str | None = None,
    label: str | None = None,
    separator: str = "",
    encoding: str = "utf-8",
) -> Source:
    """Look at an input.

    Example:
        >>> open_source(Path("reviews.csv"), Manifest.read("saved_models/reviews/1"), text="text").columns
        ('text', 'label')

    Args:
        path: a folder of photos or a table of their paths, a table of rows, or a table or .txt of texts.
        manifest: of the export that will answer.
        text: the column of the texts; "text" when left out.
        path_column: the column of the paths of photos; "path" when left out.
        label: the column of classes, if the table has one: it must be there, and is copied like every other.
        separator: between the fields of a CSV or TSV; by the suffix when empty.
        encoding: of a text file.

    Raises:
        ConfigError: an option does not go with what the export takes.
        DataError: there is no such input, it is of another kind, or lacks a column that the export reads.
    """
    spec = input_spec(manifest.interface.content)
    files = spec.files
    path = path.expanduser()
    if not path.exists():
        near = did_you_mean(path.name, [item.name for item in path.parent.glob("*")] if path.parent.is_dir() else [])
        raise DataError("the input does not exist", received=str(path), fix=near or None)
    named = {"--text": text, "--path-column": path_column}
    for option, given, takes in (
        *((option, given, lambda one, option=option: one.option == option) for option, given in named.items()),
        ("--label", label, lambda one: one.has_labels),
    ):
        if given is not None and not takes(files):
            takers = " or ".join(f"{name}s" for name in INPUTS if takes(input_spec(name).files))
            said = f"{option} is an option for exports that take {takers}; this export takes {spec.name}s"
            raise ConfigError(said, received=given)
    if files.folder and path.is_dir():
        for option, given in (*named.items(), ("--label", label)):
            if given is not None:
                raise ConfigError(f"{option} needs a table", received=given, fix=f"remove {option} for a folder")
        folder: Source = loaded(files.folder)(path)
        return folder
    suffixes = (*_LINES, ".parquet", *((".txt", ".txt.gz") if files.lines else ()))
    if path.is_dir() or not path.name.lower().endswith(suffixes):
        whole = "pass a folder of them, or a table with their paths" if files.folder else "pass a table of them"
        raise DataError(f"the export takes {spec.name}s: {whole}", received=str(path), allowed=suffixes)
    is_plain = path.name.lower().endswith((".txt", ".txt.gz"))
    own = named.get(files.option)
    column = own or files.column
    for option, given in ((files.option, own), ("--label", label)):
        if given is not None and is_plain:
            raise ConfigError(
                "a .txt file has no columns: every line is a text", received=given, fix=f"remove {option}"
            )
    table: Source
    if path.suffix.lower() == ".parquet":
        table = ParquetTable.of(path, column=column)
    else:
        table = LineTable.of(path, column=column, separator=separator, encoding=encoding)
    if not table.columns:
        raise DataError("the table has no rows", received=str(path))
    if column and column not in table.columns:
        error = missing_column(column, table.columns, str(path))
        if own is not None or error.advice is not None:
            raise error
        advice = Advice(f"or, to choose the column of the {files.items}, {{}}", files.key, "COLUMN")
        raise DataError(str(error), fix=advice)
    if label is not None and label not in table.columns:
        raise missing_column(label, table.columns, str(path))
    if files.wrapped:
        wrapped: Source = loaded(files.wrapped)(table, path.parent, column)
        return wrapped
    lacking = [one.name for one in manifest.interface.columns if one.name not in table.columns]
    if lacking:
        raise DataError(
            f"{path} has no column {lacking[0]!r}, which the model needs",
            received=f"columns {', '.join(table.columns)}",
            fix=f"{len(lacking)} columns are missing: {', '.join(lacking)}; joined columns and event columns "
            "are not computed by `tlkit score`: use `tlkit predict --out`, or join them first",
        )
    return table
