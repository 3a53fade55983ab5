"""Where the rows of a table come from: one file, a file for each split, or DataFrames; joins and conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.errors import ConfigError, DataError, did_you_mean, missing_column
from tlkit.inputs.files.fields import FormNote, Reading, settle
from tlkit.inputs.files.frames import TABLE_SUFFIXES, FrameFile, read_frame, table_suffix
from tlkit.inputs.files.table_files import check_header
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.inputs.text.listing import SPLIT_NAMES

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSource:
    """Rows of a table, each with its place.

    Attributes:
        frame: the rows; its index counts from 0.
        origin: what messages call the table.
        splits: object [n], `"train"`, `"val"` or `"test"` of each row where the table came in parts, or None.
        parts: for each part what messages call it, and where its rows begin in `frame`.
        numbers: int64 [n], the row of the file.
        notes: what was done while reading, for the findings.
        forms: column -> how its numbers are written in the files; columns of plain numbers are left out.
        form_notes: forms that were inferred.
        marks: column of text -> usual missing marks that are values there, with their counts.
    """

    frame: pd.DataFrame
    origin: str
    splits: np.ndarray | None
    parts: tuple[tuple[str, int], ...]
    numbers: np.ndarray
    notes: tuple[str, ...] = ()
    forms: Mapping[str, NumberForm] = dataclasses.field(default_factory=dict)
    form_notes: tuple[FormNote, ...] = ()
    marks: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    def place(self, rows: np.ndarray | Sequence[int], most: int = 3) -> str:
        """Say where some rows stand: "train.csv rows 3, 17 and 41 (12 such rows)"."""
        chosen = np.asarray(rows, np.int64)
        begins = [begin for _, begin in self.parts]
        part = int(np.searchsorted(begins, chosen[0], side="right")) - 1
        end = begins[part + 1] if part + 1 < len(begins) else len(self.frame)
        shown = self.numbers[chosen[(chosen >= begins[part]) & (chosen < end)][:most]].tolist()
        numbers = ", ".join(map(str, shown[:-1])) + (" and " if len(shown) > 1 else "") + str(shown[-1])
        count = f" ({len(chosen)} such rows)" if len(chosen) > len(shown) else ""
        return f"{self.parts[part][0]}{'s' if len(shown) > 1 else ''} {numbers}{count}"

    def replaced(self, frame: pd.DataFrame, *notes: str) -> FrameSource:
        """Give the same rows with other columns."""
        return dataclasses.replace(self, frame=frame, notes=(*self.notes, *notes))


def read_source(
    data: str | Path | pd.DataFrame | Mapping[str, Any],
    *,
    separator: str | None = None,
    encoding: str = "utf-8",
    reading: Reading | None = None,
) -> FrameSource:
    """Read a table whatever it is given as.

    Example:
        >>> source = read_source({"train": "old.csv", "test": "new.csv"})
        >>> source.place([0])
        'old.csv row 2'

    Args:
        data: a file; a folder with train.csv, and val.csv and test.csv where there are (or another suffix); a
            DataFrame; or a mapping from split to file or DataFrame.
        separator, encoding, reading: as for `tlkit.inputs.files.frames.read_frame`.

    Raises:
        ConfigError: an argument is not usable.
        DataError: a table cannot be read, or the parts differ in their columns.
    """
    import pandas as pd

    reading = reading or Reading()
    tables = _tables(data)
    frames, numbers, parts, notes = [], [], [], []
    kept: dict[str, object] = {}
    begin = 0
    options: dict[str, Any] = {"separator": separator, "encoding": encoding, "reading": reading}
    files = _read_alike({name: table for name, table in tables.items() if not isinstance(table, pd.DataFrame)}, options)
    for split, table in tables.items():
        if isinstance(table, pd.DataFrame):
            check_header([str(name) for name in table.columns], "the table")
            if len(table) == 0:
                raise DataError("the table has no rows", received="a DataFrame")
            # The values are not copied until one side changes them.
            frame, own, name = table.copy(deep=False), np.arange(1, len(table) + 1), "data row"
        else:
            read = files[split]
            frame, own, name = read.frame, read.numbers, f"{table} {read.word}"
            kept |= dict.fromkeys(read.kept_as_text, table)
        frame.columns = pd.Index([str(column) for column in frame.columns])
        frames.append(frame)
        numbers.append(own)
        parts.append((name, begin))
        begin += len(frame)
    _check_same_columns(frames, list(tables))
    splits = None
    if None not in tables:
        splits = np.repeat(np.array(list(tables), object), [len(frame) for frame in frames])
    # Each part by itself first: floats, and whole numbers beyond 2**53 in another part, would become floats together.
    frames = [tidy(frame) for frame in frames]
    whole = frames[0] if len(frames) == 1 else pd.concat(frames)
    whole = tidy(whole.reset_index(drop=True))
    raw = {column for read in files.values() for column in read.raw}

    def again(names: Sequence[str]) -> pd.DataFrame | None:
        """Read columns of numbers as they stand; not those of a DataFrame or of Parquet, whose numbers are numbers."""
        texts = [
            None if isinstance(table, pd.DataFrame) or table_suffix(Path(table)) == ".parquet"
            else read_frame(table, as_text=names, **options).frame[list(names)]
            for table in tables.values()
        ]  # fmt: skip
        return None if any(text is None for text in texts) else pd.concat(texts, ignore_index=True)

    found = settle(whole, reading, raw, again)
    for column in found.kept_as_text:
        kept.setdefault(column, next(iter(tables.values())))
    notes += [
        f"{table}: column {column!r} has leading or trailing zeros and is kept as text"
        for column, table in kept.items()
    ]
    origin = ", ".join("a DataFrame" if isinstance(table, pd.DataFrame) else str(table) for table in tables.values())
    return FrameSource(
        tidy(found.frame), origin, splits, tuple(parts), np.concatenate(numbers), tuple(notes),
        found.forms, found.notes, found.marks,
    )  # fmt: skip


def _read_alike(tables: Mapping[str | None, Any], options: Mapping[str, Any]) -> dict[str | None, FrameFile]:
    """Read files; a column that is text in one of them is given as it stands in all."""
    read = {split: read_frame(table, **options) for split, table in tables.items()}
    for split, own in read.items():
        texts = {*own.raw, *own.kept_as_text}
        others = {name for other in read.values() for name in (*other.raw, *other.kept_as_text)} - texts
        again = [name for name in others if name in own.frame.columns and own.word == "row"]
        if again:
            read[split] = read_frame(tables[split], as_text=again, **options)
    return read


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring columns that mean the same to the same type, whatever the table was read from.

    Whole numbers with gaps become Int64 (pandas reads them as floats), categories and Arrow's types the type of their
    values, objects what their values are, empty texts become missing. Whole numbers that no int64 holds become text. A
    column of mixed values stays as it is.

    Args:
        frame: is not changed.
    """
    tidied = {}
    for name in frame.columns:
        column = _tidy_column(frame[name])
        if column is not frame[name]:
            tidied[name] = column
    if not tidied:
        return frame
    frame = frame.copy(deep=False)  # not assign(**...): a column may be called "self"
    for name, column in tidied.items():
        frame[name] = column
    return frame


def _tidy_column(column: pd.Series) -> pd.Series:
    import pandas as pd

    types = pd.api.types
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype) if len(column.cat.categories) else column.astype(float)
    if isinstance(column.dtype, pd.ArrowDtype):
        column = without_arrow(column)
    if column.dtype == object:
        column = _tidy_objects(column)
    if isinstance(column.dtype, pd.StringDtype):
        gone = column.isin([""])
        if gone.any():
            column = column.mask(gone)
        return column.astype("str")
    if types.is_float_dtype(column.dtype):
        values = column.to_numpy(np.float64, na_value=np.nan)
        present = values[~np.isnan(values)]
        whole = 0 < len(present) < len(values) and np.isfinite(present).all() and (np.abs(present) < 2**53).all()
        if whole and (present == np.floor(present)).all():
            return column.astype("Int64")
        return column.astype(np.float64) if types.is_extension_array_dtype(column.dtype) else column
    if types.is_unsigned_integer_dtype(column.dtype) and (column >= 2**63).any():
        return column.astype("str")
    if types.is_integer_dtype(column.dtype) and not isinstance(column.dtype, np.dtype):
        return column.astype("int64") if not column.isna().any() else column.astype("Int64")
    return column


def without_arrow(column: pd.Series) -> pd.Series:
    """Give a column of an Arrow type as pandas' own type of the same values, exactly."""
    import pandas as pd
    import pyarrow as pa

    kind = column.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if pa.types.is_dictionary(kind):
        return without_arrow(column.astype(pd.ArrowDtype(kind.value_type)))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.astype("str")
    if pa.types.is_boolean(kind):
        return column.astype("boolean") if column.isna().any() else column.astype(bool)
    if pa.types.is_unsigned_integer(kind):
        return column.astype("UInt64")
    if pa.types.is_integer(kind):
        return column.astype("Int64")
    if pa.types.is_floating(kind):
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), index=column.index, name=column.name)
    if pa.types.is_timestamp(kind):
        zone = f", {kind.tz}" if kind.tz else ""
        moments: Any = f"datetime64[{'us' if kind.unit == 's' else kind.unit}{zone}]"
        return column.astype(moments)
    if pa.types.is_date(kind):
        return column.astype("datetime64[us]")
    return column.astype(object)


def _tidy_objects(column: pd.Series) -> pd.Series:
    import pandas as pd

    found = pd.api.types.infer_dtype(column, skipna=True)
    if found == "string":
        return column.astype("str")
    if found == "boolean":
        return column.astype("boolean") if column.isna().any() else column.astype(bool)
    if found == "decimal" and (column.dropna() % 1 == 0).all() and column.notna().any():
        whole = [None if missing else int(value) for value, missing in zip(column, column.isna(), strict=True)]
        column, found = pd.Series(np.array(whole, object), index=column.index, name=column.name), "integer"
    if found in ("floating", "mixed-integer-float", "decimal", "empty"):
        return column.astype(float)
    if found == "integer":
        if column.dropna().between(-(2**63) + 1, 2**63 - 1).all():
            return column.astype("Int64")
        return column.map(str, na_action="ignore").astype("str")  # beyond 64 bits
    if found in ("date", "datetime", "datetime64"):
        return pd.to_datetime(column, errors="coerce")
    return column


def join_tables(
    source: FrameSource,
    joins: Sequence[tuple[Any, str | Sequence[str]]],
    *,
    separator: str | None = None,
    encoding: str = "utf-8",
    reading: Reading | None = None,
) -> FrameSource:
    """Add the columns of further tables to the rows that they belong to (a left join).

    Example:
        >>> source = join_tables(source, [("store.csv", "Store")])

    Args:
        source: every row stays, once, and in its order.
        joins: `(file or DataFrame, column or columns that both have)`.
        separator, encoding, reading: as for `read_frame`, of the further tables.

    Raises:
        ConfigError: `joins` is not usable.
        DataError: a table cannot be read or joined.
    """
    for entry in joins:
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise ConfigError("an entry of join is invalid", received=entry, allowed="(table, column)")
        table, on = entry
        keys = [on] if isinstance(on, str) else list(on)
        other = read_source(table, separator=separator, encoding=encoding, reading=reading)
        source = _join(source, other, keys)
    return source


def _join(source: FrameSource, other: FrameSource, keys: list[str]) -> FrameSource:
    frame = source.frame
    for key in keys:
        for side, columns in ((source.origin, frame.columns), (other.origin, other.frame.columns)):
            if key not in columns:
                raise missing_column(key, columns, side)
        have, got = _family(frame[key].dtype), _family(other.frame[key].dtype)
        if have != got:
            raise DataError(
                f"column {key!r} of {source.origin} and of {other.origin} cannot be joined", received=(have, got)
            )
    common = [name for name in other.frame.columns if name in frame.columns and name not in keys]
    if common:
        raise DataError(
            f"{other.origin} has columns that {source.origin} already has", received=common, fix="rename or remove them"
        )
    twice = np.flatnonzero(other.frame.duplicated(keys))
    if len(twice):
        raise DataError(
            f"{other.place(twice)}: a join needs one row for each value of {', '.join(keys)}",
            received=str(other.frame[keys[0]].iloc[twice[0]]),
        )
    # Rows without a match must not make floats of whole numbers, which lose digits beyond 2**53.
    whole = [name for name in other.frame.columns if other.frame[name].dtype.kind == "i" and name not in keys]
    joined = frame.merge(
        other.frame.astype(dict.fromkeys(whole, "Int64")),
        on=keys,
        how="left",
        validate="m:1",
        indicator="_tlkit_joined",
    )
    alone = int((joined.pop("_tlkit_joined") != "both").sum())
    note = [f"{alone} rows have no match in {other.origin}"] if alone else []
    return dataclasses.replace(
        source.replaced(tidy(joined), *note),
        forms={**other.forms, **source.forms},
        form_notes=(*source.form_notes, *(one for one in other.form_notes if one.column not in keys)),
        marks={**other.marks, **source.marks},
    )


def _family(dtype: Any) -> str:
    import pandas as pd

    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    return "numbers" if pd.api.types.is_numeric_dtype(dtype) else str(dtype)


def rows_where(source: FrameSource, where: Sequence[str]) -> np.ndarray:
    """Find the rows that meet all conditions.

    Example:
        >>> rows_where(source, ["Open == 1", "Sales > 0"]).sum()
        844338

    Args:
        source: the rows.
        where: conditions as `pandas.DataFrame.query` reads them; a name with a space stands in backticks. They see
            the columns alone: no variables, no functions.

    Returns:
        bool [n].

    Raises:
        ConfigError: a condition cannot be read.
        DataError: no row meets them.
    """
    if isinstance(where, str) or not all(isinstance(item, str) for item in where):
        raise ConfigError("where is invalid", received=where, allowed='a list of conditions such as "Sales > 0"')
    kept = np.ones(len(source.frame), bool)
    for condition in where:
        if "@" in condition or _calls(condition):
            raise ConfigError("a condition may only compare columns", received=condition, allowed='"Sales > 0"')
        try:
            found: Any = source.frame.eval(condition, engine="python", local_dict={}, global_dict={})
        except Exception as error:  # whatever pandas' parser and operators raise
            name = str(error).partition("'")[2].partition("'")[0]
            near = did_you_mean(name, source.frame.columns) if name else ""
            raise ConfigError(
                f"a condition cannot be used: {str(error).strip().splitlines()[0] if str(error).strip() else 'syntax'}",
                received=condition,
                fix=near or 'write it like "Sales > 0"; put a name with a space in backticks',
            ) from error
        if getattr(found, "shape", None) != (len(kept),) or str(found.dtype) not in ("bool", "boolean"):
            raise ConfigError("a condition must be true or false for each row", received=condition)
        kept &= found.fillna(False).to_numpy(bool)
        if not kept.any():
            raise DataError(f"no row of {source.origin} meets the conditions", received=list(where))
    return kept


def _calls(condition: str) -> bool:
    """Whether a name that is no operator stands right before a bracket."""
    import re

    plain = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", "x", condition)
    before = re.findall(r"([A-Za-z_]\w*)\s*\(", plain)
    return any(word not in ("and", "or", "not", "in") for word in before)


def _tables(data: Any) -> dict[str | None, Any]:
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return {None: data}
    if isinstance(data, Mapping):
        named = [(str(name), table) for name, table in data.items()]
    elif not isinstance(data, str | Path):
        raise ConfigError(
            "the data is not a table", received=type(data).__name__, allowed="a path, a DataFrame, or a table per split"
        )
    elif Path(data).expanduser().is_dir():
        files = sorted(file for file in Path(data).expanduser().iterdir() if file.is_file() and table_suffix(file))
        named = [(file.name[: -len(str(table_suffix(file)))], file) for file in files]
        named = [(name, file) for name, file in named if name.lower() in SPLIT_NAMES]
    else:
        return {None: data}
    found: dict[str | None, Any] = {}
    for name, table in named:
        split = SPLIT_NAMES.get(name.lower())
        if split is None:
            raise DataError("unknown split", received=name, allowed="train, val, test")
        if split in found:
            raise DataError(f"there are two tables for the {split} split", received=str(table))
        found[split] = table
    if not found:
        raise DataError(
            "the folder contains no table", received=str(data), allowed=f"train with one of {', '.join(TABLE_SUFFIXES)}"
        )
    return {name: found[name] for name in ("train", "val", "test") if name in found}


def _check_same_columns(frames: Sequence[pd.DataFrame], names: Sequence[str | None]) -> None:
    for frame, name in zip(frames[1:], names[1:], strict=True):
        for column in frames[0].columns:
            if column not in frame.columns:
                raise missing_column(column, frame.columns, f"the {name} split")
