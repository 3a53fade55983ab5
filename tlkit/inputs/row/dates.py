"""Strings, or whole numbers since 1970 -> the parts of a date, by TensorFlow's whole-number arithmetic alone.

The proleptic Gregorian calendar of Python's `datetime`, years 1 to 9999; weeks after ISO 8601.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tlkit.inputs.row.date_form import DATE_FORM, EPOCHS, MONTHS, PIVOT, DateForm, date_form

_READ = 16  # bytes: up to the hour
_TENS = np.zeros([_READ, 4], np.float32)  # digits -> year, month, day, hour
for _part, _places in enumerate(((0, 1, 2, 3), (5, 6), (8, 9), (11, 12))):
    for _power, _place in enumerate(reversed(_places)):
        _TENS[_place, _part] = 10**_power
_BEFORE = np.cumsum([0, 0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int32)  # by month, 0 to 13
# How far round the circle each month, hour and so on stands; days of months of 28 to 31 and of years of 365 and 366.
_TURNS = {
    "month": [np.arange(12) / 12],
    "day_of_week": [np.arange(7) / 7],
    "hour": [np.arange(24) / 24],
    "day": [np.arange(31) / length for length in (28, 29, 30, 31)],
    "day_of_year": [np.arange(366) / length for length in (365, 366)],
}
_DAY = 86_400.0  # seconds
_EPOCH = 719162  # days from 0001-01-01 to 1970-01-01
_LAST = 2932896  # days from 1970-01-01 to 9999-12-31


@dataclasses.dataclass(frozen=True)
class Dates:
    """Dates as whole numbers, all int32 of one shape; where `valid` is false they mean nothing.

    Args:
        year: 1 to 9999.
        month: 1 to 12.
        day: 1 to 31.
        hour: 0 to 23, as written; 0 where no time is given.
        leap: 1 in leap years, else 0.
        days: days since 1970-01-01.
        valid: bool, whether it is a date.
        seconds: float64, of the day; None where the form is ISO 8601, whose elapsed days are whole.
    """

    year: tf.Tensor
    month: tf.Tensor
    day: tf.Tensor
    hour: tf.Tensor
    leap: tf.Tensor
    days: tf.Tensor
    valid: tf.Tensor
    seconds: tf.Tensor | None = None

    @property
    def elapsed(self) -> tf.Tensor:
        """Days since 1970-01-01, float64, with the time of day where the form has one."""
        days = tf.cast(self.days, tf.float64)
        return days if self.seconds is None else days + self.seconds / _DAY

    @property
    def day_of_year(self) -> tf.Tensor:
        """1 to 366."""
        return _days_before(self.month, self.leap) + self.day

    @property
    def day_of_week(self) -> tf.Tensor:
        """0 (Monday) to 6 (Sunday)."""
        return tf.math.floormod(self.days + 3, 7)

    @property
    def days_in_month(self) -> tf.Tensor:
        """28 to 31."""
        return _days_before(self.month + 1, self.leap) - _days_before(self.month, self.leap)

    @property
    def week(self) -> tf.Tensor:
        """1 to 53: the week of its Thursday (ISO 8601)."""
        week = (self.day_of_year - self.day_of_week + 9) // 7
        late = tf.where(week > _weeks_of(self.year), 1, week)
        return tf.where(week < 1, _weeks_of(self.year - 1), late)

    def part(self, name: str) -> tf.Tensor:
        """Give a part of the date: a number of `CODE_PARTS`, 0 or 1 for starts and ends, `elapsed` in days.

        Args:
            name: a `DatePart`, or a cyclic one with `_sin` or `_cos` behind it.

        Returns:
            int32, float32 for sines and cosines, of the shape of the fields.
        """
        if name.endswith(("_sin", "_cos")):
            part, _, wave = name.rpartition("_")
            wave_of = np.sin if wave == "sin" else np.cos
            # From a table: TensorFlow's own sine differs in the last digit with the size of the batch.
            return tf.gather(wave_of(2 * np.pi * np.concatenate(_TURNS[part])).astype(np.float32), self._turn(part))
        if name == "elapsed":
            return self.days
        if not name.endswith(("_start", "_end")):
            return getattr(self, name)
        unit, _, side = name.rpartition("_")
        months = {"month": 1, "quarter": 3, "year": 12}[unit]
        edge = self.day == (1 if side == "start" else self.days_in_month)
        return tf.cast(edge & ((self.month - (side == "start")) % months == 0), tf.int32)

    def _turn(self, part: str) -> tf.Tensor:
        if part == "day":
            return 31 * (self.days_in_month - 28) + self.day - 1
        if part == "day_of_year":
            return 366 * self.leap + self.day_of_year - 1
        return self.month - 1 if part == "month" else getattr(self, part)


def read_dates(texts: tf.Tensor, form: str = "") -> Dates:
    """Read dates.

    Example:
        >>> read_dates(tf.constant(["2015-06-19", "2015-06-19T13:05:00+02:00", "1900-02-29"])).hour
        <tf.Tensor: shape=(3,), dtype=int32, numpy=array([ 0, 13,  0], dtype=int32)>

    Args:
        texts: string [N], without white space around; int64 [N] where the form is one of `EPOCHS`.
        form: `""` for ISO 8601, a format of `strptime`, or one of `EPOCHS`.

    Returns:
        The dates, fields of shape [N]; `valid` is false for what is no date, such as 1900-02-29.
    """
    if form in EPOCHS:
        return _of_epoch(texts, EPOCHS[form])
    return _of_form(texts, date_form(form)) if form else _of_iso(texts)


def _of_iso(texts: tf.Tensor) -> Dates:
    fits = tf.strings.regex_full_match(texts, DATE_FORM)
    # What has not the form is read as a date nonetheless, so that no number below leaves its range.
    texts = tf.where(fits, texts, "1970-01-01")
    raw = tf.io.decode_raw(texts, tf.uint8, fixed_length=_READ)
    digits = tf.math.floormod(tf.cast(raw, tf.float32), 48.0)  # "0" is 48, "9" is 57, nothing is 0
    year, month, day, hour = tf.unstack(tf.cast(tf.matmul(digits, _TENS), tf.int32), axis=1)
    return _assembled(year, month, day, hour, fits)


def _of_form(texts: tf.Tensor, form: DateForm) -> Dates:
    fits = tf.strings.regex_full_match(texts, form.pattern)

    def field(name: str, absent: int) -> tf.Tensor:
        if name not in form.fields:
            return tf.fill(tf.shape(texts), absent)
        return tf.strings.to_number(tf.where(fits, group(name), str(absent)), tf.int32)

    def group(name: str) -> tf.Tensor:
        return tf.strings.regex_replace(texts, f"^(?:{form.pattern})$", rf"\{form.fields.index(name) + 1}")

    if "short_year" in form.fields:
        short = field("short_year", 70)
        year = short + tf.where(short >= PIVOT, 1900, 2000)
    else:
        year = field("year", 1970)
    if "month_name" in form.fields:
        start = tf.strings.substr(tf.strings.lower(tf.where(fits, group("month_name"), MONTHS[0])), 0, 3)
        named = start[:, None] == tf.constant([month[:3] for month in MONTHS])
        month = tf.argmax(tf.cast(named, tf.int32), axis=1, output_type=tf.int32) + 1
    else:
        month = field("month", 1)
    hour = field("hour", 0)
    if "half" in form.fields:
        after_noon = tf.strings.regex_full_match(tf.where(fits, group("half"), "am"), "[Pp].*")
        hour = hour % 12 + tf.where(after_noon, 12, 0)
    seconds = (hour * 60 + field("minute", 0)) * 60 + field("second", 0)
    return _assembled(year, month, field("day", 1), hour, fits, tf.cast(seconds, tf.float64))


def _of_epoch(values: tf.Tensor, unit: int) -> Dates:
    values = tf.cast(values, tf.int64)
    days = tf.math.floordiv(values, unit * int(_DAY))
    fits = (days >= -_EPOCH) & (days <= _LAST)
    seconds = tf.cast(tf.where(fits, values - days * unit * int(_DAY), 0), tf.float64) / unit
    days = tf.cast(tf.where(fits, days, 0), tf.int32)
    # The civil calendar from days, in eras of 400 years that begin on 1 March (Hinnant 2013).
    shifted = days + 719468
    era = shifted // 146097
    of_era = shifted - era * 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = tf.where(shifted_month < 10, shifted_month + 3, shifted_month - 9)
    year = year_of_era + era * 400 + tf.where(month <= 2, 1, 0)
    return _assembled(year, month, day, tf.cast(seconds, tf.int32) // 3600, fits, seconds)


def _assembled(
    year: tf.Tensor,
    month: tf.Tensor,
    day: tf.Tensor,
    hour: tf.Tensor,
    fits: tf.Tensor,
    seconds: tf.Tensor | None = None,
) -> Dates:
    leap = tf.cast(_is_leap(year), tf.int32)
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 + _days_before(month, leap) + day - 1 - _EPOCH
    last = _days_before(month + 1, leap) - _days_before(month, leap)
    return Dates(year, month, day, hour, leap, days, fits & (day <= last) & (year > 0), seconds)


def _is_leap(year: tf.Tensor) -> tf.Tensor:
    return (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))


def _days_before(month: tf.Tensor, leap: tf.Tensor) -> tf.Tensor:
    return tf.gather(_BEFORE, month) + tf.where(month > 2, leap, 0)


def _weeks_of(year: tf.Tensor) -> tf.Tensor:
    # A year has 53 weeks when it ends on a Thursday or the one before ended on a Wednesday.
    def last_weekday(y: tf.Tensor) -> tf.Tensor:
        return (y + y // 4 - y // 100 + y // 400) % 7

    return 52 + tf.cast((last_weekday(year) == 4) | (last_weekday(year - 1) == 3), tf.int32)
