"""The columns of a table as plain data: what each was fitted to be, without TensorFlow and without pandas.

`tlkit.inputs.row.preprocessing.TablePreprocessing` turns rows into numbers after these descriptions; a manifest or a
`config.toml` can hold them as they are.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from tlkit.errors import ConfigError, check_choice
from tlkit.inputs.row.date_form import EPOCHS, check_date_form

ColumnKind = Literal["categorical", "continuous", "date", "boolean", "id", "ignore"]
Dtype = Literal["string", "int64", "float32", "float64"]
Unreadable = Literal["error", "missing"]
DatePart = Literal[
    "year", "month", "week", "day", "day_of_week", "hour", "day_of_year",
    "month_start", "month_end", "quarter_start", "quarter_end", "year_start", "year_end", "elapsed",
]  # fmt: skip

UNKNOWN, MISSING, FIRST = 0, 1, 2  # codes: never seen or rare; not given; the first of the known values
UNKNOWN_LABEL, MISSING_LABEL = "(unknown)", "(missing)"
MOST_CODES = 2**24  # beyond it float32 no longer holds every whole number
# First and last number of the parts that become codes; the years of a column are those it was fitted on.
CODE_PARTS: dict[str, tuple[int, int]] = {
    "month": (1, 12), "week": (1, 53), "day": (1, 31), "day_of_week": (0, 6), "hour": (0, 23),
}  # fmt: skip
CYCLIC_PARTS = ("month", "day", "day_of_week", "hour", "day_of_year")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# What booleans may look like, in any case and with white space around; the first of each is the category.
FALSE_SPELLINGS = ("false", "f", "no", "n", "off", "0", "0.0")
TRUE_SPELLINGS = ("true", "t", "yes", "y", "on", "1", "1.0")
BOOLEANS = (FALSE_SPELLINGS[0], TRUE_SPELLINGS[0])


@dataclasses.dataclass(frozen=True)
class Code:
    """One column of category codes in the encoded rows.

    Args:
        name: what it is called, such as `"carrier"` or `"flown month"`.
        size: number of different codes; an embedding has this many rows.
        column: the table's column it comes from.
        labels: what each code stands for, `size` of them: `"(unknown)"`, `"(missing)"`, then the values.
    """

    name: str
    size: int
    column: str
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A column whose values stand for themselves: names, kinds, numbers of shops, true and false.

    Example:
        >>> Categorical("carrier", "carrier", "string", ("AA", "UA")).size
        4

    Args:
        name: the table's column.
        argument: its name in signatures and in tf.Examples.
        dtype: what a client sends: `"string"`, or `"int64"` for whole numbers, which `values` hold in decimals.
        values: the known values; the first has code 2.
        hash_buckets: above 0, values are told apart by their fingerprint modulo this number, and `values` is empty.
        missing: strings that stand for no value in this column, besides those of the whole table.
        boolean: the values are `"false"` and `"true"`, and are read in any of `FALSE_SPELLINGS` and `TRUE_SPELLINGS`.

    Raises:
        ConfigError: the values are not usable.
    """

    name: str
    argument: str
    dtype: Dtype
    values: tuple[str, ...] = ()
    hash_buckets: int = 0
    missing: tuple[str, ...] = ()
    boolean: bool = False

    def __post_init__(self) -> None:
        check_choice("dtype of a categorical column", self.dtype, ("string", "int64"))
        if self.hash_buckets < 0 or self.size > MOST_CODES:
            raise ConfigError(
                f"column {self.name!r} cannot have {self.size - FIRST} codes", allowed=f"0 to {MOST_CODES - FIRST}"
            )
        if self.boolean and (self.dtype, self.values) != ("string", BOOLEANS):
            raise ConfigError(f"column {self.name!r} is not a boolean", received=self.values[:3], allowed=BOOLEANS)
        if self.hash_buckets and self.values:
            raise ConfigError(
                f"column {self.name!r} is hashed and cannot have a list of values", received=self.values[:3]
            )
        if len(set(self.values)) < len(self.values):
            raise ConfigError(f"column {self.name!r} lists a value twice")
        if self.dtype == "int64" and (bad := [value for value in self.values if not _is_int64(value)]):
            raise ConfigError(f"column {self.name!r} is int64", received=bad[0], allowed="whole numbers in decimals")

    @property
    def size(self) -> int:
        """Number of codes, unknown and missing included."""
        return FIRST + (self.hash_buckets or len(self.values))

    @property
    def codes(self) -> tuple[Code, ...]:
        """The code column it becomes."""
        known = self.values or tuple(f"bucket {number}" for number in range(self.hash_buckets))
        return (Code(self.name, self.size, self.name, (UNKNOWN_LABEL, MISSING_LABEL, *known)),)

    @property
    def numbers(self) -> tuple[str, ...]:
        """No numbers."""
        return ()


@dataclasses.dataclass(frozen=True)
class Continuous:
    """A column of measures.

    A float32 keeps seven digits. A column that needs more, such as seconds since 1970, travels as float64.

    Example:
        >>> Continuous("area", "area", median=80.0, center=92.5, scale=31.0, flag=True).numbers
        ('area', 'area is missing')

    Args:
        name: the table's column.
        argument: its name in signatures and in tf.Examples.
        dtype: `"float32"` or `"float64"`.
        median: in its own unit; stands in for a missing value.
        center: in its own unit; subtracted.
        scale: in its own unit, above 0; divided by.
        quantiles: rising, in its own unit, evenly spaced in rank; where given, a value becomes the normal score of its
            rank in them and `center` and `scale` are not used.
        flag: add a number that is 1 where the value is missing and else 0.

    Raises:
        ConfigError: a statistic is not usable.
    """

    name: str
    argument: str
    dtype: Dtype = "float32"
    median: float = 0.0
    center: float = 0.0
    scale: float = 1.0
    quantiles: tuple[float, ...] = ()
    flag: bool = False

    def __post_init__(self) -> None:
        check_choice("dtype of a continuous column", self.dtype, ("float32", "float64"))
        if not all(map(math.isfinite, (self.median, self.center, self.scale, *self.quantiles))) or self.scale <= 0:
            raise ConfigError(
                f"the statistics of column {self.name!r} are invalid",
                received=(self.median, self.center, self.scale),
                allowed="finite numbers, the scale above 0",
            )
        if list(self.quantiles) != sorted(self.quantiles):
            raise ConfigError(f"the quantiles of column {self.name!r} are not increasing")

    @property
    def codes(self) -> tuple[Code, ...]:
        """No codes."""
        return ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers it becomes."""
        return (self.name, f"{self.name} is missing") if self.flag else (self.name,)


@dataclasses.dataclass(frozen=True)
class Date:
    """A column of days or of moments, sent as strings, or as whole numbers since 1970.

    The date and the hour count as they are written; an offset from UTC is read and left aside, since it is the
    local day and hour that shops, flights and people go by. Of a missing date the codes are 1, the numbers 0. Years
    that were not seen in training have code 0. Days before the first or after the last of training count as that
    one in `elapsed`, as they do for trees: a network that draws a trend on beyond what it saw answers wildly.

    Example:
        >>> date = Date("day", "day", parts=("year", "month", "elapsed"), years=(2013, 2014), elapsed_scale=211.0)
        >>> [code.size for code in date.codes], date.numbers
        ([4, 14], ('day elapsed',))

    Args:
        name: the table's column.
        argument: its name in signatures and in tf.Examples.
        dtype: `"string"`; `"int64"` for seconds and milliseconds since 1970.
        parts: what is read from it. Year, month, (ISO) week, day, day of week and hour are codes; the day of the year,
            the starts and ends of month, quarter and year (0 or 1) and the elapsed days are numbers.
        cyclic: add sine and cosine of month, day, day of week, hour and day of year, as far as they are among `parts`.
        elapsed_center: days since 1970-01-01, subtracted from `elapsed`.
        elapsed_scale: days, above 0; `elapsed` is divided by it.
        first_day, last_day: days since 1970-01-01 between which `elapsed` is kept.
        years: the years of the training rows, rising.
        form: how dates are written: `""` for ISO 8601, a format of `strptime` such as `"%m/%d/%Y"`, `"epoch seconds"`
            or `"epoch milliseconds"`. Other forms than ISO count the time of day in `elapsed`.
        missing: strings that stand for no date in this column, besides those of the whole table.

    Raises:
        ConfigError: parts, years, scale or form are not usable.
    """

    name: str
    argument: str
    dtype: Dtype = "string"
    parts: tuple[DatePart, ...] = tuple(part for part in get_args(DatePart) if part != "hour")
    cyclic: bool = False
    elapsed_center: float = 0.0
    elapsed_scale: float = 1.0
    first_day: float = -(10**7)
    last_day: float = 10**7
    years: tuple[int, ...] = ()
    form: str = ""
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_date_form(self.form)
        check_choice("dtype of a date column", self.dtype, ("int64",) if self.form in EPOCHS else ("string",))
        for part in self.parts:
            check_choice(f"part of date column {self.name!r}", part, get_args(DatePart))
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise ConfigError(f"date column {self.name!r} needs parts without repetition", received=self.parts)
        if list(self.years) != sorted(set(self.years)):
            raise ConfigError(f"the years of column {self.name!r} are not increasing", received=self.years)
        if not (math.isfinite(self.elapsed_center) and math.isfinite(self.elapsed_scale) and self.elapsed_scale > 0):
            raise ConfigError(
                f"column {self.name!r}: elapsed days cannot be scaled",
                received=(self.elapsed_center, self.elapsed_scale),
                allowed="finite numbers, the scale above 0",
            )

    @property
    def code_parts(self) -> tuple[str, ...]:
        """The parts that are codes."""
        return tuple(part for part in self.parts if part == "year" or part in CODE_PARTS)

    @property
    def number_parts(self) -> tuple[str, ...]:
        """The parts that are numbers, with `month_sin`, `month_cos` and the like at the end where `cyclic`."""
        plain = tuple(part for part in self.parts if part not in self.code_parts)
        cyclic = (part for part in self.parts if self.cyclic and part in CYCLIC_PARTS)
        return plain + tuple(f"{part}_{wave}" for part in cyclic for wave in ("sin", "cos"))

    @property
    def codes(self) -> tuple[Code, ...]:
        """The code columns it becomes."""
        found = []
        for part in self.code_parts:
            first, last = CODE_PARTS.get(part, (0, -1))
            values = self.years if part == "year" else range(first, last + 1)
            known = WEEKDAYS if part == "day_of_week" else tuple(map(str, values))
            labels = (UNKNOWN_LABEL, MISSING_LABEL, *known)
            found.append(Code(f"{self.name} {_spaced(part)}", len(labels), self.name, labels))
        return tuple(found)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers it becomes."""
        return tuple(f"{self.name} {_spaced(part)}" for part in self.number_parts)


Column = Categorical | Continuous | Date
_KINDS: dict[str, Any] = {"categorical": Categorical, "continuous": Continuous, "date": Date}


def column_to_dict(column: Column) -> dict[str, Any]:
    """Give a column as plain values, with its `kind`."""
    kind = next(kind for kind, cls in _KINDS.items() if isinstance(column, cls))
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(column).items()}
    for key in ("missing", "boolean", "form"):  # as release 0.1.0 wrote it, which did not have them
        if not values.get(key, True):
            del values[key]
    return {"kind": kind, **values}


def column_from_dict(values: Mapping[str, Any]) -> Column:
    """Make the column that `column_to_dict` described.

    Raises:
        ConfigError: the kind is unknown, a field is unknown or not usable.
    """
    kind = values.get("kind")
    check_choice("kind of column", kind, _KINDS)
    cls = _KINDS[str(kind)]
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := set(values) - known - {"kind"}:
        raise ConfigError(f"unknown fields of a {kind} column", received=sorted(unknown), allowed=sorted(known))
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key != "kind"}
    try:
        return cls(**given)
    except TypeError as error:
        raise ConfigError(f"a {kind} column cannot be read: {error}") from None


def sample_of(column: Column) -> str:
    """Give a value that a boolean or date column can read, as its clients write it; empty for other columns.

    >>> sample_of(Date("sold", "sold", form="%m/%d/%Y"))
    '06/19/2015'
    """
    if isinstance(column, Categorical):
        return BOOLEANS[1] if column.boolean else ""
    if isinstance(column, Continuous):
        return ""
    moment = datetime.datetime(2015, 6, 19, 13, 5, tzinfo=datetime.UTC)
    if column.form in EPOCHS:
        return str(int(moment.timestamp()) * EPOCHS[column.form])
    return moment.strftime(column.form) if column.form else "2015-06-19"


def _is_int64(text: str) -> bool:
    return bool(re.fullmatch(r"0|-?[1-9][0-9]*", text)) and -(2**63) <= int(text) < 2**63


def _spaced(part: str) -> str:
    return part.replace("_", " ")


def kinds_of(columns: Iterable[Column]) -> dict[str, ColumnKind]:
    """Return the kind of each column of a preprocessing."""

    def kind(column: object) -> ColumnKind:
        if isinstance(column, Categorical):
            return "boolean" if column.boolean else "categorical"
        return "date" if isinstance(column, Date) else "continuous"

    return {column.name: kind(column) for column in columns}
