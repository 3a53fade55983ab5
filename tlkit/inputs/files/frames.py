"""Tables from files: CSV, TSV (plain or gzip) and Parquet as DataFrames, with what is wrong said by row."""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlkit.errors import Advice, ConfigError, DataError
from tlkit.inputs.files.fields import Reading
from tlkit.inputs.files.table_files import (
    OTHER_ENCODING,
    check_encoding,
    check_header,
    check_is_text,
    existing_table,
    gzip_errors,
    open_bytes,
    open_text,
    parquet_errors,
    text_codec,
)
from tlkit.inputs.row.number_inference import Zeros

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
_BYTE_CODECS = {"utf-8", "ascii", "iso8859-1", "cp1252"}  # a separator is one byte and nothing else holds that byte
_CHUNK_ROWS = 100_000
_BLOCK = 1 << 22  # bytes
_LONGEST_MARK = 64  # bytes of a field that are looked at again at the border of two blocks


class OtherSeparatorError(DataError):
    """The fields of a table are separated by another character, `separator`."""

    separator = ""


class FrameFile(NamedTuple):
    """A table that was read.

    Attributes:
        frame: its rows; missing values as pandas marks them.
        numbers: int64 [n], the row of the file that each came from (the header is row 1), or from 1 for Parquet.
        word: what messages call a row.
        kept_as_text: columns of numbers such as 007 and 38.10, whose zeros would have been lost.
        raw: columns whose fields stand as in the file, which `tlkit.inputs.files.fields.settle` makes values of.
    """

    frame: pd.DataFrame
    numbers: np.ndarray
    word: str
    kept_as_text: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()


def table_suffix(path: Path) -> str | None:
    """Give which of `TABLE_SUFFIXES` a file has, or None."""
    name = path.name.lower()
    return next((suffix for suffix in reversed(TABLE_SUFFIXES) if name.endswith(suffix)), None)


def read_frame(
    file: str | Path,
    *,
    separator: str | None = None,
    encoding: str = "utf-8",
    reading: Reading | None = None,
    as_text: Collection[str] = (),
) -> FrameFile:
    """Read a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file as a whole.

    A table separated by a comma and a space (as those of the UCI archive) is read without the spaces. A column of
    numbers with zeros that belong to them (007, 38.10) stays text. Columns that pandas cannot read exactly are given as
    they stand in the file: text, numbers with a unit, whole numbers beyond 2**53 beside blanks.

    Example:
        >>> read_frame("houses.csv").frame.shape
        (1460, 81)

    Args:
        file: the file; its suffix says what it is.
        separator: between fields, one character; by the suffix where it is left out.
        encoding: of a text file, any codec that Python has.
        reading: how fields are read; see `tlkit.inputs.files.fields.Reading`.
        as_text: further columns that are given as they stand in the file.

    Raises:
        ConfigError: an argument is not usable.
        DataError: the file is missing, empty, of another kind, or a row of it is wrong.
    """
    path = existing_table(file)
    suffix = table_suffix(path)
    if suffix is None:
        raise DataError("unknown table format", received=str(file), allowed=TABLE_SUFFIXES)
    if suffix == ".parquet":
        return _read_parquet(path, str(file))
    if separator is not None and (not isinstance(separator, str) or len(separator) != 1):
        raise ConfigError("separator is invalid", received=separator, allowed='one character, such as ";"')
    check_encoding(encoding)
    separator = separator or ("\t" if ".tsv" in suffix else ",")
    return _read_csv(path, str(file), separator, encoding, reading or Reading(), as_text)


def _read_csv(
    path: Path, origin: str, separator: str, encoding: str, reading: Reading, as_text: Collection[str]
) -> FrameFile:
    import pandas as pd

    if path.suffix.lower() != ".gz":
        check_is_text(path, encoding)
    try:
        with gzip_errors(origin):
            header, spaced = csv_header(path, origin, separator, encoding)
            numbers = _check_rows(path, origin, separator, encoding, len(header), spaced)
    except UnicodeDecodeError as error:
        raise undecodable(path, origin, encoding) from error
    texts = [name for name in header if name in {*as_text, *reading.text_columns, *reading.formats}]
    marks = [mark for mark in (*reading.usual, *reading.missing) if mark]

    def parse(as_text: Sequence[str], **options: Any) -> Any:
        return pd.read_csv(
            path,
            sep=separator,
            encoding=text_codec(encoding),
            compression="gzip" if path.suffix.lower() == ".gz" else None,
            header=0,
            names=header,
            index_col=False,
            skipinitialspace=spaced,
            decimal=reading.decimal,
            keep_default_na=False,
            na_values={name: [""] if name in as_text else ["", *marks] for name in options.get("usecols", header)},
            low_memory=False,  # else one column can be numbers in one part and text in another
            dtype=dict.fromkeys(as_text, str),
            **options,
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            # A field too many in the first row: pandas would leave it out.
            warnings.filterwarnings("error", "Length of header", pd.errors.ParserWarning)
            frame = parse(texts)
            marked = _holds(path, encoding, _mark_pattern(marks, separator))
            raw = [name for name in header if name not in texts and _to_read_again(frame[name], marked)]
            if raw:
                frame[raw] = parse(raw, usecols=raw)
            plain = [name for name in header if name not in (*texts, *raw) and frame[name].dtype.kind in "iuf"]
            zeros = []
            plain = [name for name in plain if name not in reading.number_columns]
            if plain and _holds(path, encoding, _zeros_pattern(separator)):
                zeros = _with_zeros(parse(plain, usecols=plain, chunksize=_CHUNK_ROWS), plain, reading)
            if zeros:
                frame[zeros] = parse(zeros, usecols=zeros)
    except UnicodeDecodeError as error:
        raise undecodable(path, origin, encoding) from error
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:  # pandas' parse errors are ValueErrors
        _row_numbers(path, origin, separator, encoding, len(header), spaced)  # says it better where it can
        raise DataError(f"{origin} cannot be read: {str(error).strip().splitlines()[0]}") from error
    if len(frame) == 0:
        raise DataError("the table has a header and no rows", received=origin)
    if numbers is None:
        numbers = np.arange(2, len(frame) + 2)
    words = [name for name in header if isinstance(frame[name].dtype, pd.StringDtype) and name not in zeros]
    return FrameFile(frame, numbers, "row", tuple(zeros), tuple(words))


def _holds(path: Path, encoding: str, pattern: re.Pattern[bytes]) -> bool:
    """Look for a pattern in the bytes of a file: reading columns again takes far longer."""
    if codecs.lookup(encoding).name not in _BYTE_CODECS:
        return True
    end = b"\n"
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK):
            if pattern.search(end + block):
                return True
            end = (end + block)[-_LONGEST_MARK:]
    return bool(pattern.search(end + b"\n"))


def _mark_pattern(marks: Sequence[str], separator: str) -> re.Pattern[bytes]:
    """Find a field that is one of the missing marks."""
    edge = rb"[\s\"" + re.escape(separator.encode()) + rb"]"
    return re.compile(edge + rb"(?:" + b"|".join(re.escape(mark.encode()) for mark in marks) + rb")" + edge)


def _zeros_pattern(separator: str) -> re.Pattern[bytes]:
    """Find a field that begins with 0 and another digit, or ends with 0 behind another decimal."""
    edge = rb"[\s\"" + re.escape(separator.encode()) + rb"]"
    return re.compile(edge + rb"0[0-9]|[.,][0-9]{1,30}0" + edge)


def _to_read_again(column: pd.Series, marked: bool) -> bool:
    """Whether pandas has not read a column as it stands: marks became blanks, whole numbers beyond 2**53 floats."""
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        return marked
    if column.dtype == object:  # true, false and blanks; or whole numbers beyond 64 bits
        return not column.dropna().map(lambda value: isinstance(value, bool)).all()
    if column.dtype.kind == "u":
        return bool((column >= 2**63).any())
    if column.dtype.kind != "f":
        return False
    values = column.to_numpy()
    gaps = np.isnan(values)
    return bool((marked and gaps.any()) or (np.abs(values[~gaps]) >= 2.0**53).any())


def _with_zeros(parts: Iterable[pd.DataFrame], names: Sequence[str], reading: Reading) -> list[str]:
    """Name the columns, read as text part by part, whose zeros belong to them; see `Zeros`."""
    zeros = {name: Zeros() for name in names}
    gone = {*reading.usual, *reading.missing}
    for part in parts:
        for name, found in zeros.items():
            if found.are_numbers:
                values = part[name].dropna()
                found.add(text.replace(reading.decimal, ".") for text in values.tolist() if text not in gone)
    return [name for name in names if zeros[name].belong]


def csv_records(stream: IO[str], separator: str, spaced: bool) -> Iterator[list[str]]:
    """Read records strictly: a quote that is never closed is an error. `spaced`: a space follows each separator."""
    return csv.reader(stream, delimiter=separator, skipinitialspace=spaced, strict=True)


def csv_header(
    path: Path, origin: str, separator: str, encoding: str, errors: str = "strict"
) -> tuple[list[str], bool]:
    """Give the names of the columns, and whether a space follows each separator; `errors` as of `open`."""
    with open_bytes(path) as stream:
        start = stream.read(1 << 16)
    if not start.strip():
        raise DataError("the table is empty", received=origin)
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    if errors == "strict" and b"\0" in start and not wide:
        raise DataError("the file is not text: it contains NUL bytes", received=origin, allowed=TABLE_SUFFIXES)
    with open_text(path, encoding, errors) as text:
        lines = [line for line in (text.readline() for _ in range(20)) if line.strip()]
    if lines and (found := re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0].lstrip("\ufeff"))):
        raise DataError(
            f"the first line of {origin} is not a header: Excel's {lines[0].strip()!r} names the separator",
            fix=Advice("remove the line, then {}", "separator", found[1]),
        )
    try:
        with open_text(path, encoding, errors) as text:
            names = next(row for row in csv_records(text, separator, spaced=False) if row)
    except csv.Error as error:
        raise DataError(f"the header of {origin} cannot be read: {error}", received=lines[0][:60]) from error
    _check_separator(lines, names, separator, origin)
    spaced = len(names) > 1 and all(name.startswith(" ") for name in names[1:])
    names = [name.strip() if spaced else name for name in names]
    names = [name or f"Unnamed: {number}" for number, name in enumerate(names)]
    check_header(names, origin)
    return names, spaced


def _check_separator(lines: list[str], names: list[str], separator: str, origin: str) -> None:
    """Refuse a table whose first lines are divided better by another character."""
    for other, word in SEPARATORS.items():
        counts = {line.count(other) for line in lines}
        if other != separator and len(counts) == 1 and counts.pop() >= max(len(names), 1):
            if len(names) > 1 and len({line.count(separator) for line in lines}) == 1:
                continue
            error = OtherSeparatorError(
                f"the fields of {origin} are separated by {word}, not by {SEPARATORS.get(separator, repr(separator))}",
                received=lines[0].strip()[:60],
                fix=Advice("{}" if other != "\t" else "{}, or rename it to .tsv", "separator", other),
            )
            error.separator = other
            raise error


def _check_rows(path: Path, origin: str, separator: str, encoding: str, width: int, spaced: bool) -> np.ndarray | None:
    """Refuse rows with more or fewer fields than the header; give row numbers where empty lines move them."""
    if codecs.lookup(encoding).name in _BYTE_CODECS and _plainly_even(path, separator, width):
        return None
    return _row_numbers(path, origin, separator, encoding, width, spaced)


def _row_numbers(path: Path, origin: str, separator: str, encoding: str, width: int, spaced: bool) -> np.ndarray:
    """Read all rows, refuse uneven ones, and give the number of each that is not empty."""
    numbers, number = [], 1
    with open_text(path, encoding) as stream:
        rows = csv_records(stream, separator, spaced)
        next(row for row in rows if row)
        try:
            for number, fields in enumerate(rows, start=2):
                if fields:
                    if len(fields) != width:
                        raise DataError(
                            f"{origin} row {number} has {len(fields)} fields where the header has {width}",
                            received=_as_line(fields, separator)[:60],
                            fix=f"a value that holds {separator!r} or a line break must be quoted",
                        )
                    numbers.append(number)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(f"the quote that {origin} row {number + 1} opens is never closed") from error
            raise DataError(f"{origin} row {number + 1} cannot be read: {error}") from error
    return np.array(numbers, np.int64)


def _as_line(fields: Sequence[str], separator: str) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow(fields)
    return line.getvalue()


def _plainly_even(path: Path, separator: str, width: int) -> bool:
    """Whether there are no quotes and as many separators as even rows have; pandas refuses rows that are too long."""
    lines = separators = 0
    last = b"\n"
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK):
            if b'"' in block:
                return False
            if b"\0" in block:
                raise DataError("the file is not text: it contains NUL bytes", received=str(path))
            lines += block.count(b"\n")
            separators += block.count(separator.encode())
            last = block[-1:]
    lines += last != b"\n"
    return lines > 1 and width > 1 and separators == lines * (width - 1)


def undecodable(path: Path, origin: str, encoding: str) -> DataError:
    """Give the error that names the line and byte which are not in this encoding."""
    fix = OTHER_ENCODING
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(text_codec(encoding))
            except UnicodeDecodeError as error:
                byte = f"0x{line[error.start]:02x}"
                return DataError(
                    f"{origin} line {number} contains a byte that is not {encoding}", received=byte, fix=fix
                )
    return DataError(f"{origin} is not {encoding}", fix=fix)


def _read_parquet(path: Path, origin: str) -> FrameFile:
    import pandas as pd
    import pyarrow.parquet as pq

    with parquet_errors(origin):
        check_header([str(name) for name in pq.read_schema(path).names], origin)
        frame = pd.read_parquet(path)
        _exact(frame, path)
    if frame.index.names != [None]:  # what was an index when it was written is a column like any other
        frame = frame.reset_index()
    if len(frame) == 0:
        raise DataError("the table has no rows", received=origin)
    return FrameFile(frame, np.arange(1, len(frame) + 1), "data row")


def _exact(frame: pd.DataFrame, path: Path) -> None:
    """Read whole numbers with gaps again, as Int64: pandas makes floats of them, which lose digits beyond 2**53."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    gaps = [
        field.name
        for field in schema
        if pa.types.is_integer(field.type) and field.name in frame.columns and frame[field.name].dtype.kind == "f"
    ]
    for name in gaps:
        kind: Any = "UInt64" if pa.types.is_unsigned_integer(schema.field(name).type) else "Int64"
        exact = pd.Series(pq.read_table(path, columns=[name])[name], dtype=pd.ArrowDtype(schema.field(name).type))
        frame[name] = exact.astype(kind).set_axis(frame.index)
