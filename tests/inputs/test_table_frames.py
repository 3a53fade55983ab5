"""Frames as pandas holds them: every dtype, and what is refused."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tlkit.errors import DataError
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.inputs.row.frames import values_of
from tlkit.inputs.row.preprocessing import TablePreprocessing

TEXT = Categorical("a", "a", "string", ("x", "y"))
FLAG = Categorical("a", "a", "string", ("false", "true"))
WHOLE = Categorical("a", "a", "int64", ("1", "2"))
DOSE = Categorical("a", "a", "string", ("1.0", "2.5", "1e-07"))
MEASURE = Continuous("a", "a", median=-1.0)
DATE = Date("a", "a", parts=("year", "month"), years=(2015,))
DAYS = ["2015-06-19", "2014-01-01", None]


def arrow(values: list, kind: pa.DataType) -> pd.Series:
    return pd.Series(values, dtype=pd.ArrowDtype(kind))


@pytest.mark.parametrize(
    ("column", "series", "wanted"),
    [
        (TEXT, pd.Series(["x", None, "z"], dtype="str"), [2, 1, 0]),
        (TEXT, pd.Series(["x", None, "z"], dtype=object), [2, 1, 0]),
        (TEXT, pd.Series(["x", pd.NA, "z"], dtype="string"), [2, 1, 0]),
        (TEXT, pd.Series(["x", None, "z"], dtype="category"), [2, 1, 0]),
        (TEXT, pd.Series(["x", None, " y "], dtype=pd.CategoricalDtype(["q", " y ", "x"])), [2, 1, 3]),
        (TEXT, arrow(["x", None, "z"], pa.string()), [2, 1, 0]),
        (TEXT, arrow(["x", None, "z"], pa.large_string()), [2, 1, 0]),
        (TEXT, arrow(["x", None, "z"], pa.dictionary(pa.int8(), pa.string())), [2, 1, 0]),
        (TEXT, pd.Series([np.nan, np.nan]), [1, 1]),
        (TEXT, pd.Series([None, None], dtype=object), [1, 1]),
        (TEXT, pd.Series([None, None], dtype=pd.CategoricalDtype([1, 2])), [1, 1]),
        (FLAG, pd.Series([True, False]), [3, 2]),
        (FLAG, pd.Series([True, None, False], dtype=object), [3, 1, 2]),
        (FLAG, pd.Series([True, None, False], dtype="boolean"), [3, 1, 2]),
        (FLAG, arrow([True, None, False], pa.bool_()), [3, 1, 2]),
        (FLAG, pd.Series([True, False], dtype="category"), [3, 2]),
        (FLAG, pd.Series(["true", "True"], dtype="str"), [3, 0]),
        (WHOLE, pd.Series([1, 2, 3], dtype="int8"), [2, 3, 0]),
        (WHOLE, pd.Series([1, 2, 3], dtype="uint64"), [2, 3, 0]),
        (WHOLE, pd.Series([1.0, 2.0, np.nan, np.inf, 1e15]), [2, 3, 1, 1, 0]),
        (WHOLE, pd.Series([1, None, 3], dtype="Int64"), [2, 1, 0]),
        (WHOLE, pd.Series([1, None, 2**62], dtype=object), [2, 1, 0]),
        (WHOLE, pd.Series([1, 2, 1], dtype="category"), [2, 3, 2]),
        (WHOLE, arrow([1, None, 3], pa.int32()), [2, 1, 0]),
        (DOSE, pd.Series([1, 2.5, 1e-7, np.nan, 3]), [2, 3, 4, 1, 0]),
        (DOSE, pd.Series([1, 3]), [2, 0]),
        (DOSE, pd.Series([2.5, None], dtype="Float64"), [3, 1]),
        (MEASURE, pd.Series([1, 2], dtype="uint8"), [1, 2]),
        (MEASURE, pd.Series([True, False]), [1, 0]),
        (MEASURE, pd.Series([1.5, None], dtype="Float32"), [1.5, -1]),
        (MEASURE, pd.Series([1, None], dtype="Int64"), [1, -1]),
        (MEASURE, pd.Series([1, None, 2.5], dtype=object), [1, -1, 2.5]),
        (MEASURE, pd.Series([1, pd.NA, 2.5], dtype=object), [1, -1, 2.5]),
        (MEASURE, pd.Series([Decimal("1.5"), None], dtype=object), [1.5, -1]),
        (MEASURE, arrow([1.5, None], pa.float64()), [1.5, -1]),
        (MEASURE, arrow([Decimal("1.5"), None], pa.decimal128(5, 2)), [1.5, -1]),
        (MEASURE, pd.Series([2, 1, 2], dtype="category"), [2, 1, 2]),
        (DATE, pd.Series(DAYS, dtype="str"), [2, 0, 1]),
        (DATE, pd.Series(pd.to_datetime(DAYS)), [2, 0, 1]),
        (DATE, pd.Series(pd.to_datetime(DAYS)).astype("datetime64[ns]"), [2, 0, 1]),
        (DATE, pd.Series(pd.to_datetime(DAYS)).dt.tz_localize("US/Hawaii"), [2, 0, 1]),
        (DATE, pd.Series([dt.date(2015, 6, 19), dt.date(9999, 12, 31), None], dtype=object), [2, 0, 1]),
        (DATE, pd.Series(pd.to_datetime(DAYS)).astype("category"), [2, 0, 1]),
        (DATE, arrow([dt.date(2015, 6, 19), dt.date(1, 1, 1), None], pa.date32()), [2, 0, 1]),
        (DATE, arrow([dt.datetime(2015, 6, 19), dt.datetime(1, 1, 1), None], pa.timestamp("us")), [2, 0, 1]),
        (DATE, pd.Series(np.array(["2015-12-31T23:59:59.9", "10000-01-01", "NaT"], "M8[ms]")), [2, 1, 1]),
    ],
)  # fmt: skip
def test_every_dtype_of_pandas_is_encoded(column, series, wanted):
    frame = pd.DataFrame({"a": series, "other": "z"}, index=range(5, 5 + len(series)))
    frame["a"] = series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array
    preprocessing = TablePreprocessing((column,))
    encoded = preprocessing.encode_frame(frame)
    assert encoded.dtype == np.float32
    assert encoded[:, 0].tolist() == wanted
    np.testing.assert_array_equal(preprocessing.encode(preprocessing.to_arguments(frame)), encoded)


def test_the_local_hour_of_a_time_zone_is_sent():
    moments = pd.Series(pd.to_datetime(["2015-06-19 23:30", None])).dt.tz_localize("US/Hawaii")
    sent = TablePreprocessing((DATE,)).to_arguments(pd.DataFrame({"a": moments}))["a"]
    assert sent.tolist() == [b"2015-06-19T23:30:00", b""]


def test_what_a_client_sends_of_missing_values():
    frame = pd.DataFrame({"t": ["x", None], "w": pd.Series([1, None], dtype="Int64"), "m": [0.5, np.nan]})
    columns = (
        Categorical("t", "t", "string", ("x",)),
        Categorical("w", "w", "int64", ("1",)),
        Continuous("m", "m"),
    )
    sent = TablePreprocessing(columns).to_arguments(frame)
    assert sent["t"].tolist() == [b"x", b""]
    assert sent["w"].tolist() == [1, -(2**63)]
    np.testing.assert_array_equal(sent["m"], np.array([0.5, np.nan], np.float32))


@pytest.mark.parametrize(
    ("column", "series", "message"),
    [
        (TEXT, pd.Series([1, 2]), r"'a' has another value type.*whole numbers \(int64\).*allowed: text"),
        (TEXT, pd.Series([1.5, 2]), r"received: .numbers \(float64\).*allowed: text"),
        (TEXT, pd.Series([True]), r"received: .true/false \(bool\)"),
        (TEXT, pd.Series([1, "x"], dtype=object), r"received: .mixed-integer \(object\)"),
        (TEXT, pd.Series([["x"]], dtype=object), r"received: .mixed \(object\)"),
        (FLAG, pd.Series([1, 0]), "'a' has another value type.*whole numbers.*allowed: true/false or text"),
        (WHOLE, pd.Series(["1", "2"], dtype="str"), r"received: .text \(str\).*allowed: whole numbers or numbers"),
        (WHOLE, pd.Series([True, False]), "received: .true/false"),
        (WHOLE, pd.Series([1.0, 2.5]), "'a' has another value type.*received: 2.5; allowed: whole numbers"),
        (WHOLE, pd.Series([1.0, 1e17]), "received: 1e.17; allowed: whole numbers"),
        (WHOLE, pd.Series([1, 2**64 - 1], dtype="uint64"), "'a' holds a number beyond int64.*18446744073709551615"),
        (MEASURE, pd.Series(["1", "2"], dtype="str"), "received: .text.*allowed: numbers or whole numbers"),
        (MEASURE, pd.Series(pd.to_datetime(DAYS)), "received: .dates"),
        (DATE, pd.Series([20150619]), "received: .whole numbers.*allowed: dates or text"),
        (DATE, pd.Series([pd.Timedelta(1)]), "received: .timedelta"),
    ],
)
def test_another_kind_of_values_is_refused(column, series, message):
    with pytest.raises(DataError, match=message):
        TablePreprocessing((column,)).encode_frame(pd.DataFrame({"a": series}))


def test_a_missing_column_is_named_with_those_there():
    with pytest.raises(DataError, match="'area' is missing; allowed: available columns: Area, b; did you mean 'Area'"):
        TablePreprocessing((Continuous("area", "area"),)).check_frame(pd.DataFrame({"Area": [1.0], "b": [2.0]}))


def test_a_column_that_is_there_twice_is_refused():
    frame = pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])
    with pytest.raises(DataError, match="'a' occurs 2 times"):
        TablePreprocessing((MEASURE,)).check_frame(frame)


def test_nothing_is_told_from_text():
    assert values_of(pd.Series([], dtype=object)) == values_of(pd.Series([np.nan])) == "nothing"
    assert values_of(pd.Series([None, "x"], dtype=object)) == "text"
