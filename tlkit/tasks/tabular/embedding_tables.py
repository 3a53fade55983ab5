"""Learned entity embeddings as plain tables: one row a category, one column a dimension."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tlkit.errors import ConfigError, ModelError, ProjectError, check_choice
from tlkit.inputs.files.records import read_columns
from tlkit.separated import separated_writer

if TYPE_CHECKING:
    import pandas as pd

    from tlkit.inputs.row.preprocessing import TablePreprocessing

TableForm = Literal["csv", "parquet"]
MANIFEST = "embeddings.json"
_FORMAT = 1


def embedding_tables(task: Any) -> dict[str, pd.DataFrame]:
    """Give what a tabular task has learned about each category (Guo & Berkhahn 2016, arXiv 1604.06737).

    Example:
        >>> embedding_tables(task)["carrier"].head(3)
                value        v1        v2
        0   (unknown) -0.011204  0.023870
        1   (missing)  0.031150 -0.004417
        2          9E  0.312044 -0.118921

    Args:
        task: of kind `"tabular"`.

    Returns:
        A DataFrame for each code column, by its name: a categorical column's own, or such as `"day month"` for a part
        of a date. `value` is text, first `"(unknown)"` and `"(missing)"`, then the categories; v1 to vn are float32.
        `attrs` says where the values come from: `column`, `part` (of a date, else None), `dtype`, `hash_buckets` and
        the texts that count as `missing`.

    Raises:
        ConfigError: the task is not one of tables.
        ModelError: it has no embeddings, as boosted trees alone, or its network has none of that name or one of
            another size.
    """
    import pandas as pd

    from tlkit.tasks.tabular.blend import is_boosting_alone

    if task.kind != "tabular":
        raise ConfigError(
            "only tasks on tables have embeddings of categories", received=task.kind, allowed=("tabular",)
        )
    if is_boosting_alone(task):
        raise ModelError(
            "boosted trees have no embeddings of categories",
            fix='train with model.kind = "blend", "network" or "tabm"',
        )
    layers = {layer.name: layer for layer in task.model._flatten_layers()}
    tables = {}
    for number, code in enumerate(task.preprocessing.codes):
        name = f"embedding_{number}"
        if name not in layers:
            raise ModelError(f"the network has no layer {name!r}, the embedding of {code.name!r}")
        vectors = np.asarray(layers[name].get_weights()[0], np.float32)
        if len(vectors) != code.size:
            raise ModelError(
                f"{name!r} is not the embedding of {code.name!r}", received=f"{len(vectors)} rows", allowed=code.size
            )
        columns = {f"v{i + 1}": vectors[:, i] for i in range(vectors.shape[1])}
        table = pd.DataFrame({"value": pd.Series(code.labels, dtype="str"), **columns})
        table.attrs.update(_origin(task.preprocessing, code))
        tables[code.name] = table
    return tables


def write_embedding_tables(
    task: Any, folder: str | Path, form: TableForm = "csv", *, overwrite: bool = False
) -> list[Path]:
    """Write each table to a file, and `embeddings.json`, from which `EmbeddingFeatures` knows what they are of.

    Example:
        >>> write_embedding_tables(task, "embeddings")
        [PosixPath('embeddings/carrier.csv'), PosixPath('embeddings/day_month.csv')]

    Args:
        task: of kind `"tabular"`.
        folder: a new or an empty folder. It appears with all files or not at all.
        form: `"csv"` (UTF-8, float32 exact) or `"parquet"`.
        overwrite: replace the tables of an earlier call; a folder with other files in it is never touched.

    Returns:
        The files of the tables, in the order of `task.preprocessing.codes`.

    Raises:
        ConfigError: the form is unknown, or the task is not one of tables.
        ProjectError: the folder has files in it that would be lost.
    """
    check_choice("form of the tables", form, get_args(TableForm))
    folder = Path(folder)
    _check_folder(folder, overwrite)
    tables = embedding_tables(task)
    files = _file_names(tables, form)
    entries = [{"name": name, "file": files[name], **table.attrs} for name, table in tables.items()]
    numbers = [column.name for column in task.preprocessing.columns if not column.codes and column.numbers]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its goal, since a rename is atomic only within one file system.
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary, old = (folder.parent / f".{kind}-{folder.name}-{mark}" for kind in ("tmp", "old"))
    try:
        temporary.mkdir()
        for name, table in tables.items():
            _write_table(table, temporary / files[name])
        manifest = {"format": _FORMAT, "form": form, "tables": entries, "numbers": numbers}
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        for file in temporary.iterdir():
            _to_disk(file)
        _swap(temporary, folder, old)
    finally:
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
    return [folder / files[name] for name in tables]


def read_embedding_tables(folder: str | Path) -> dict[str, pd.DataFrame]:
    """Read what `write_embedding_tables` wrote; the same tables as `embedding_tables` gives.

    Raises:
        ProjectError: the folder does not hold such tables.
    """
    folder = Path(folder)
    tables = {}
    for entry in read_manifest(folder)["tables"]:
        entry = dict(entry)
        name, path = entry.pop("name"), folder / entry.pop("file")
        try:
            table = _read_table(path)
        except (OSError, ValueError) as error:
            raise ProjectError(f"{path} cannot be read: {error}", fix="write the tables again") from error
        table.attrs.update(entry)
        tables[name] = table
    return tables


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the `embeddings.json` of a folder: `form`, `tables` and the names of the `numbers` beside them.

    Raises:
        ProjectError: there is none, or it is of another kind.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProjectError(
            f"{folder} contains no written embeddings: {error}", fix="write them with `write_embedding_tables`"
        ) from error
    if not isinstance(manifest, Mapping) or manifest.get("format") != _FORMAT:
        raise ProjectError(f"{path} is of another format", allowed=_FORMAT)
    return dict(manifest)


def _origin(preprocessing: TablePreprocessing, code: Any) -> dict[str, Any]:
    """Give what is needed to turn a cell of the table into one of the labels."""
    column = next(column for column in preprocessing.columns if column.name == code.column)
    own = [one.name for one in column.codes]
    parts = getattr(column, "code_parts", None)
    return {
        "column": column.name,
        "part": None if parts is None else parts[own.index(code.name)],
        "dtype": column.dtype,
        "hash_buckets": getattr(column, "hash_buckets", 0),
        "missing": [*preprocessing.missing, *getattr(column, "missing", ())],
        "form": getattr(column, "form", ""),
        "boolean": getattr(column, "boolean", False),
    }


def _file_names(tables: Mapping[str, Any], form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in tables:
        stem = plain = re.sub(r"[^\w-]+", "_", name)[:80].strip("_") or "column"
        number = 1
        while stem.casefold() in taken:  # some file systems take "Day" and "day" for one
            number += 1
            stem = f"{plain}_{number}"
        taken.add(stem.casefold())
        found[name] = f"{stem}.{form}"
    return found


def _write_table(table: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        bare = table.copy(deep=False)
        bare.attrs = {}
        bare.to_parquet(path, index=False)
        return
    columns = [table[name].to_numpy() for name in table.columns]  # float32 is written with the digits that it has
    with path.open("w", encoding="utf-8", newline="") as file:
        write = separated_writer(file)
        write(list(table.columns))
        for row in zip(*columns, strict=True):
            write(row)


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(read_columns(path).values)
    if list(table.columns) != ["value", *(f"v{i + 1}" for i in range(table.shape[1] - 1))] or len(table) < 2:
        raise ValueError(f"its columns are {', '.join(map(str, table.columns))} and its rows {len(table)}")
    return table.astype({"value": "str", **dict.fromkeys(table.columns[1:], "float32")})


def _check_folder(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ProjectError(f"{folder} is not a folder")
    present = {file.name for file in folder.iterdir()}
    if not present:
        return
    if not overwrite:
        raise ProjectError(f"{folder} is not empty", fix="name another folder, or overwrite the tables in it")
    ours = {MANIFEST, *(entry["file"] for entry in read_manifest(folder)["tables"])}
    if present - ours:
        raise ProjectError(
            f"{folder} holds other files than embeddings",
            received=sorted(present - ours)[:3],
            fix="name another folder",
        )


def _to_disk(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(temporary: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        folder.replace(old)
    try:
        temporary.replace(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            old.replace(folder)
        raise
