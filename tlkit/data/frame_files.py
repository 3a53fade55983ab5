"""Tables from files: CSV, TSV (plain or gzip) and Parquet as DataFrames, with what is wrong said by row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlkit.data.table_rows import check_header, text_codec
from tlkit.data.text_files import check_encoding, check_is_text
from tlkit.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
_BYTE_CODECS = {"utf-8", "ascii", "iso8859-1", "cp1252"}  # a separator is one byte and nothing else holds that byte
_CHUNK_ROWS = 100_000
_BLOCK = 1 << 22  # bytes


class FrameFile(NamedTuple):
    """A table that was read.

    Attributes:
        frame: its rows; missing values as pandas marks them.
        numbers: int64 [n], the row of the file that each came from (the header is row 1), or from 1 for Parquet.
        word: what messages call a row.
        kept_as_text: columns of numbers such as 007, whose zeros would have been lost.
    """

    frame: pd.DataFrame
    numbers: np.ndarray
    word: str
    kept_as_text: tuple[str, ...] = ()


def table_suffix(path: Path) -> str | None:
    """Give which of `TABLE_SUFFIXES` a file has, or None."""
    name = path.name.lower()
    return next((suffix for suffix in reversed(TABLE_SUFFIXES) if name.endswith(suffix)), None)


def read_frame(
    file: str | Path,
    *,
    separator: str | None = None,
    encoding: str = "utf-8",
    missing: Sequence[str] = MISSING,
    text_columns: Collection[str] = (),
) -> FrameFile:
    """Read a .csv, .tsv, .csv.gz, .tsv.gz or .parquet file as a whole.

    A table separated by a comma and a space (as those of the UCI archive) is read without the spaces. A column of
    numbers with leading zeros stays text.

    Example:
        >>> read_frame("houses.csv").frame.shape
        (1460, 81)

    Args:
        file: the file; its suffix says what it is.
        separator: between fields, one character; by the suffix where it is left out.
        encoding: of a text file, any codec that Python has.
        missing: what stands for a missing value in a text file.
        text_columns: columns that are text even where they look like numbers.

    Raises:
        ConfigError: an argument is not usable.
        DataError: the file is missing, empty, of another kind, or a row of it is wrong.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        near = did_you_mean(path.name, [item.name for item in path.parent.glob("*")] if path.parent.is_dir() else [])
        what = "the table is a folder" if path.is_dir() else "there is no such table"
        raise DataError(what, received=str(file), fix=near or None)
    suffix = table_suffix(path)
    if suffix is None:
        raise DataError("unknown kind of table", received=str(file), allowed=TABLE_SUFFIXES)
    if suffix == ".parquet":
        return _read_parquet(path, str(file))
    if separator is not None and (not isinstance(separator, str) or len(separator) != 1):
        raise ConfigError("separator is not usable", received=separator, allowed='one character, such as ";"')
    check_encoding(encoding)
    return _read_csv(path, str(file), separator or ("\t" if ".tsv" in suffix else ","), encoding, missing, text_columns)


def _read_csv(
    path: Path, origin: str, separator: str, encoding: str, missing: Sequence[str], text_columns: Collection[str]
) -> FrameFile:
    import pandas as pd

    if path.suffix.lower() != ".gz":
        check_is_text(path, encoding)
    try:
        header, spaced = csv_header(path, origin, separator, encoding)
        numbers = _check_rows(path, origin, separator, encoding, len(header), spaced)
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"the table cannot be unpacked: {error}", received=origin) from error
    except UnicodeDecodeError as error:
        raise undecodable(path, origin, encoding) from error
    texts = [name for name in header if name in text_columns]

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
            keep_default_na=False,
            na_values=list(missing),
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
            whole = [name for name in header if _is_whole(frame[name])]
            zeros = []
            if whole and _may_have_leading_zeros(path, separator, encoding):
                zeros = _with_leading_zeros(parse(whole, usecols=whole, chunksize=_CHUNK_ROWS), whole)
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
    return FrameFile(frame, numbers, "row", tuple(zeros))


def _may_have_leading_zeros(path: Path, separator: str, encoding: str) -> bool:
    """Look for a field that begins with 0 and another digit in the bytes: reading columns again takes far longer."""
    if codecs.lookup(encoding).name not in _BYTE_CODECS:
        return True
    begin = re.compile(rb"[\s\"" + re.escape(separator.encode()) + rb"]0[0-9]")
    end = b"\n"
    with _open(path) as stream:
        while block := end + stream.read(_BLOCK - len(end)):
            if begin.search(block):
                return True
            if len(block) == len(end):
                return False
            end = block[-2:]
    return False


def _is_whole(column: pd.Series) -> bool:
    """Whether pandas made whole numbers of a column: floats where values are missing."""
    if column.dtype.kind != "f":
        return column.dtype.kind in "iu"
    values = column.to_numpy()
    present = values[~np.isnan(values)]
    return len(present) > 0 and bool(np.isfinite(present).all() and (present == np.floor(present)).all())


def _with_leading_zeros(parts: Iterable[pd.DataFrame], names: Sequence[str]) -> list[str]:
    """Name the columns, read as text part by part, that hold nothing but digits and somewhere a 0 before others."""
    digits, zeros = list(names), set()
    for part in parts:
        values = {name: part[name].dropna() for name in digits}
        digits = [name for name in digits if values[name].str.fullmatch(r"\d+", flags=re.ASCII).all()]
        zeros |= {name for name in digits if values[name].str.fullmatch(r"0\d+", flags=re.ASCII).any()}
    return [name for name in digits if name in zeros]


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def csv_text(path: Path, encoding: str, errors: str = "strict") -> IO[str]:
    """Open a plain or gzipped file as text in which line breaks inside fields stay as they are."""
    return io.TextIOWrapper(_open(path), encoding=text_codec(encoding), errors=errors, newline="")


def csv_records(stream: IO[str], separator: str, spaced: bool) -> Iterator[list[str]]:
    """Read records strictly: a quote that is never closed is an error. `spaced`: a space follows each separator."""
    return csv.reader(stream, delimiter=separator, skipinitialspace=spaced, strict=True)


def csv_header(
    path: Path, origin: str, separator: str, encoding: str, errors: str = "strict"
) -> tuple[list[str], bool]:
    """Give the names of the columns, and whether a space follows each separator; `errors` as of `open`."""
    with _open(path) as stream:
        start = stream.read(1 << 16)
    if not start.strip():
        raise DataError("the table is empty", received=origin)
    if b"\0" in start and not codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        raise DataError("the file is not text: it holds NUL bytes", received=origin, allowed=TABLE_SUFFIXES)
    with csv_text(path, encoding, errors) as text:
        lines = [line for line in (text.readline() for _ in range(20)) if line.strip()]
    try:
        with csv_text(path, encoding, errors) as text:
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
            raise DataError(
                f"the fields of {origin} are separated by {word}, not by {SEPARATORS.get(separator, repr(separator))}",
                received=lines[0].strip()[:60],
                fix=f'pass separator="{other}"' if other != "\t" else r'pass separator="\t", or call it .tsv',
            )


def _check_rows(path: Path, origin: str, separator: str, encoding: str, width: int, spaced: bool) -> np.ndarray | None:
    """Refuse rows with more or fewer fields than the header; give row numbers where empty lines move them."""
    if codecs.lookup(encoding).name in _BYTE_CODECS and _plainly_even(path, separator, width):
        return None
    return _row_numbers(path, origin, separator, encoding, width, spaced)


def _row_numbers(path: Path, origin: str, separator: str, encoding: str, width: int, spaced: bool) -> np.ndarray:
    """Read all rows, refuse uneven ones, and give the number of each that is not empty."""
    numbers, number = [], 1
    with csv_text(path, encoding) as stream:
        rows = csv_records(stream, separator, spaced)
        next(row for row in rows if row)
        try:
            for number, fields in enumerate(rows, start=2):
                if fields:
                    if len(fields) != width:
                        raise DataError(
                            f"{origin} row {number} has {len(fields)} fields where the header has {width}",
                            received=separator.join(fields)[:60],
                            fix=f"a value that holds {separator!r} or a line break must be quoted",
                        )
                    numbers.append(number)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(f"the quote that {origin} row {number + 1} opens is never closed") from error
            raise DataError(f"{origin} row {number + 1} cannot be read: {error}") from error
    return np.array(numbers, np.int64)


def _plainly_even(path: Path, separator: str, width: int) -> bool:
    """Whether there are no quotes and as many separators as even rows have; pandas refuses rows that are too long."""
    lines = separators = 0
    last = b"\n"
    with _open(path) as stream:
        while block := stream.read(_BLOCK):
            if b'"' in block:
                return False
            if b"\0" in block:
                raise DataError("the file is not text: it holds NUL bytes", received=str(path))
            lines += block.count(b"\n")
            separators += block.count(separator.encode())
            last = block[-1:]
    lines += last != b"\n"
    return lines > 1 and width > 1 and separators == lines * (width - 1)


def undecodable(path: Path, origin: str, encoding: str) -> DataError:
    """Give the error that names the line and byte which are not in this encoding."""
    fix = 'pass encoding="latin-1", "cp1252" or what the file was written in'
    with _open(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(text_codec(encoding))
            except UnicodeDecodeError as error:
                byte = f"0x{line[error.start]:02x}"
                return DataError(f"{origin} line {number} holds a byte that is not {encoding}", received=byte, fix=fix)
    return DataError(f"{origin} is not {encoding}", fix=fix)


def _read_parquet(path: Path, origin: str) -> FrameFile:
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        check_header([str(name) for name in pq.read_schema(path).names], origin)
        frame = pd.read_parquet(path)
    except DataError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's parse errors are ValueErrors
        reason = (str(error).split("\n") or [""])[0]
        raise DataError(f"the table cannot be read: {reason}", received=origin) from error
    if frame.index.names != [None]:  # what was an index when it was written is a column like any other
        frame = frame.reset_index()
    if len(frame) == 0:
        raise DataError("the table has no rows", received=origin)
    return FrameFile(frame, np.arange(1, len(frame) + 1), "data row")
