"""Encoded rows against a plain computation, row by row, in Python: frames, arguments and tf.Examples alike."""

import dataclasses
import datetime as dt
import json
import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.errors import ConfigError
from tlkit.inputs.row import lookup
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.inputs.row.preprocessing import MISSING_STRINGS, TablePreprocessing

LIMIT = 2**63
PARTS = ("year", "month", "week", "day", "day_of_week", "hour", "day_of_year", "month_end", "quarter_start", "elapsed")
COLUMNS = (
    Continuous("Fläche m²", "Fl_che_m_", median=2.5, center=2.0, scale=0.5, flag=True),
    Categorical("city", "city", "string", ("Köln", "Paris", "\udcff", "x" * 100_000, "paris")),
    Date("sold", "sold", parts=PARTS, cyclic=True, elapsed_center=16_600.5, elapsed_scale=211.0, years=(1, 2014, 2015)),
    Categorical("shop", "shop", "int64", ("-9223372036854775807", "-1", "0", "7", "9223372036854775807")),
    Continuous("rank", "rank", median=3.0, quantiles=(1.0, 2.0, 2.0, 2.0, 5.0, 9.0, 9.0)),
    Categorical("promo", "promo", "string", ("false", "true")),
    Categorical("user", "user", "string", hash_buckets=1000),
    Categorical("item", "item", "int64", hash_buckets=50),
    Date("built", "built", parts=("month", "year_end"), years=()),
    Categorical("dose", "dose", "string", ("0.0", "0.1", "1e-07", "2.5")),
)
PREPROCESSING = TablePreprocessing(COLUMNS)
SOME = TablePreprocessing(tuple(c for c in COLUMNS if c.name in ("city", "sold", "shop", "Fläche m²", "user")))

NORMAL = {
    "Fläche m²": 3.0, "city": "Paris", "sold": "2015-06-19", "shop": 7, "rank": 4.0, "promo": True, "user": "u1",
    "item": 5, "built": pd.Timestamp("1999-12-31"), "dose": 0.1,
}  # fmt: skip
TORTURE = {
    "Fläche m²": [np.nan, None, pd.NA, np.inf, -np.inf, 1e38, -1e38, 1e300, 0, -0.0, 1e-45, 16_777_217],
    "city": [
        None, np.nan, pd.NA, "", "?", " NA ", "nan", "null", "\t\n\v\f\r", "PARIS", "paris", " Paris\n", "Köln",
        "Ko\u0308ln", "\u00a0Paris", "Par is", "日本", "Paris\0", b"\xff", b" \xff\t", b"\xfe", "\udcff",
        "\ud800", "x" * 100_000, "x" * 99_999,
    ],
    "sold": [
        None, pd.NaT, "", "?", "no date", "2014-01-01", "2015-06-19 13:05", "2015-06-19T13:05:00Z", " 2015-06-19 ",
        "2015-06-19T23:05:00-11:00", "0001-01-01", "9999-12-31", "1900-02-29", "2000-02-29", "2016-02-29", "2015-12-31",
        "2016-01-01", "2018-12-31", "2015-04-01", "2015-02-28", dt.date(2014, 5, 4), dt.datetime(2015, 1, 2, 3, 4, 5),
        pd.Timestamp("2015-03-29 01:30", tz="Europe/Berlin"), b"2015-06-19", "1970-01-01", "9" * 100_000,
    ],
    "shop": [None, pd.NA, np.nan, 0, -1, 1, 8, LIMIT - 1, 1 - LIMIT, -LIMIT],
    "rank": [np.nan, 0.5, 1, 1.5, 2, 3, 5, 7, 8.9999, 9, 9.5, np.inf, -1e38, 1e38],
    "promo": [True, False, None, np.nan, pd.NA],
    "user": [None, "", "u2", " u1 ", "?", "ü" * 5000, b"\xff\0\xff"],
    "item": [None, 0, -7, LIMIT - 1, -LIMIT],
    "built": [None, pd.NaT, pd.Timestamp("1677-09-22"), dt.datetime(9999, 12, 31), dt.date(1, 1, 1)],
    "dose": [None, 0.0, -0.0, 0.1, 0.1 + 1e-9, 1e-7, 2.5, 25, np.inf],
}  # fmt: skip


FAMILIES = {
    "text": (str, "2015-06-19", "1999-12-31", "Paris", "u1"),
    "bytes": (bytes, b"2015-06-19", b"1999-12-31", b"Paris", b"u1"),
    "days": (dt.date, dt.date(2015, 6, 19), dt.date(1999, 12, 31), "Paris", "u1"),
    "moments": (dt.datetime, pd.Timestamp("2015-06-19"), pd.Timestamp("1999-12-31"), "Paris", "u1"),
}


def torture_frame(family: str) -> pd.DataFrame:
    """Give ordinary rows, each with one value of `TORTURE` in it; texts and dates are of one type throughout."""
    kind, sold, built, city, user = FAMILIES[family]
    normal = {**NORMAL, "sold": sold, "built": built, "city": city, "user": user}
    rows = [normal]
    for name, values in TORTURE.items():
        for value in values:
            if type(normal[name]) not in {option[0] for option in FAMILIES.values()} | {pd.Timestamp}:
                fits = True
            elif isinstance(value, str | bytes | dt.date) and value is not pd.NaT:
                fits = isinstance(value, kind) and (kind is not dt.date or not isinstance(value, dt.datetime))
            else:
                fits = value is not pd.NaT or kind is dt.datetime
            rows += [{**normal, name: value}] * fits
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in normal})


@pytest.fixture(params=FAMILIES)
def torture(request) -> pd.DataFrame:
    return torture_frame(request.param)


# The oracle: one value at a time, without TensorFlow and without anything of tlkit but the columns' descriptions.


def code_of(column: Categorical, value: object) -> int:
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return 1
    if column.dtype == "int64":
        sent = str(int(value)).encode()
        if int(value) == -LIMIT:
            return 1
    else:
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, int | float):
            value = repr(float(value) + 0.0)
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass" if value == "\ud800" else "surrogateescape")
        sent = value.strip(b" \t\n\v\f\r")
        if sent in [text.encode() for text in MISSING_STRINGS]:
            return 1
    if column.hash_buckets:
        return 2 + int(tf.strings.to_hash_bucket_fast([sent], column.hash_buckets)[0])
    known = [text.encode("utf-8", "surrogateescape") for text in column.values]
    return 2 + known.index(sent) if sent in known else 0


def moment_of(value: object) -> dt.datetime | None:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if value is None or value is pd.NaT:
        return None
    time = value.hour if isinstance(value, dt.datetime) else 0
    return dt.datetime(value.year, value.month, value.day, time)


def parts_of(column: Date, value: object) -> tuple[list[float], list[float]]:
    moment = moment_of(value)
    if moment is None:
        return [1.0] * len(column.codes), [0.0] * len(column.numbers)
    year, month, day, hour = moment.year, moment.month, moment.day, moment.hour
    next_month = dt.date(year + month // 12, month % 12 + 1, 1) if (year, month) != (9999, 12) else None
    length = (next_month - dt.date(year, month, 1)).days if next_month else 31
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    of_year, weekday = moment.timetuple().tm_yday, moment.weekday()
    codes = {
        "year": 2 + column.years.index(year) if year in column.years else 0,
        "month": 1 + month, "week": 1 + moment.isocalendar()[1], "day": 1 + day, "day_of_week": 2 + weekday,
        "hour": 2 + hour,
    }  # fmt: skip
    numbers = {
        "day_of_year": (of_year - 183.5) / 105.65, "month_end": day == length,
        "quarter_start": day == 1 and month in (1, 4, 7, 10), "year_end": (month, day) == (12, 31),
        "elapsed": (moment.toordinal() - 719163 - column.elapsed_center) / column.elapsed_scale,
    }  # fmt: skip
    turns = {
        "month": (month - 1) / 12, "day": (day - 1) / length, "day_of_week": weekday / 7, "hour": hour / 24,
        "day_of_year": (of_year - 1) / (365 + leap),
    }  # fmt: skip
    waves = [turns[part] * 2 * math.pi for part in column.parts if column.cyclic and part in turns]
    return (
        [codes[part] for part in column.parts if part in codes],
        [float(numbers[part]) for part in column.parts if part in numbers]
        + [wave(angle) for angle in waves for wave in (math.sin, math.cos)],
    )


def numbers_of(column: Continuous, value: object) -> list[float]:
    with np.errstate(over="ignore"):
        given = np.nan if value is None or value is pd.NA else float(np.float32(value))
    absent = not math.isfinite(given)
    x = column.median if absent else given
    if column.quantiles:
        # The middle of the ranks that a value fills.
        points = np.array(column.quantiles)
        ranks = np.arange(len(points)) / (len(points) - 1)
        same = ranks[points == x]
        rank = same.mean() if len(same) else np.interp(x, points, ranks)
        scaled = -5.199337582605575 if rank == 0 else 5.199337582605575 if rank == 1 else NormalDist().inv_cdf(rank)
    else:
        scaled = min(max((x - column.center) / column.scale, -1e6), 1e6)
    return [scaled, float(absent)] if column.flag else [scaled]


def oracle(columns: tuple, frame: pd.DataFrame) -> np.ndarray:
    rows = []
    for _, row in frame.iterrows():
        codes, numbers = [], []
        for column in columns:
            value = row[column.name]
            if isinstance(column, Date):
                more_codes, more_numbers = parts_of(column, value)
                codes += more_codes
                numbers += more_numbers
            elif isinstance(column, Categorical):
                codes.append(code_of(column, value))
            else:
                numbers += numbers_of(column, value)
        rows.append(codes + numbers)
    return np.array(rows, np.float32)


def assert_close(found: np.ndarray, wanted: np.ndarray, preprocessing: TablePreprocessing = PREPROCESSING) -> None:
    codes = len(preprocessing.codes)
    np.testing.assert_array_equal(found[:, :codes], wanted[:, :codes])
    np.testing.assert_allclose(found[:, codes:], wanted[:, codes:], rtol=1e-6, atol=1e-6)


# Parity


def test_every_torture_value_is_in_a_frame():
    seen = {id(value) for family in FAMILIES for column in torture_frame(family).items() for value in column[1]}
    assert all(id(value) in seen for values in TORTURE.values() for value in values)


def test_a_frame_is_encoded_as_the_oracle_says(torture):
    assert_close(PREPROCESSING.encode_frame(torture), oracle(COLUMNS, torture))


def test_arguments_are_encoded_as_the_frame_is(torture):
    wanted = PREPROCESSING.encode_frame(torture)
    arguments = PREPROCESSING.to_arguments(torture)
    for column in COLUMNS:
        assert arguments[column.argument].dtype == {"string": object}.get(column.dtype, column.dtype)
    np.testing.assert_array_equal(PREPROCESSING.encode(arguments), wanted)


def test_examples_are_encoded_as_the_frame_is(torture):
    examples = tf.constant(PREPROCESSING.to_examples(torture))
    np.testing.assert_array_equal(PREPROCESSING.batch(examples), PREPROCESSING.encode_frame(torture))


@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_the_size_of_the_chunks_changes_nothing(chunk):
    frame = torture_frame("text")
    np.testing.assert_array_equal(PREPROCESSING.encode_frame(frame, chunk), PREPROCESSING.encode_frame(frame))


def test_a_row_does_not_depend_on_its_batch(torture):
    arguments = PREPROCESSING.to_arguments(torture)
    together = PREPROCESSING.encode(arguments).numpy()
    for row in range(0, len(torture), 7):
        alone = PREPROCESSING.encode({name: values[row : row + 1] for name, values in arguments.items()})
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-6, atol=1e-7)


def test_a_second_frame_makes_no_new_graphs():
    frame = torture_frame("text")
    PREPROCESSING.encode_frame(frame)
    graphs = [group.flat for group in PREPROCESSING._groups]
    PREPROCESSING.encode_frame(frame[:5])
    assert all(group.flat is graph for group, graph in zip(PREPROCESSING._groups, graphs, strict=True))
    assert all(graph.experimental_get_tracing_count() == 1 for graph in graphs)


def test_a_wide_table_is_traced_once_for_each_kind_of_column():
    frame = torture_frame("text")
    wide = pd.concat({str(copy): frame for copy in range(30)}, axis=1)
    wide.columns = [f"{name} {copy}" for copy, name in wide.columns]
    columns = tuple(
        dataclasses.replace(column, name=f"{column.name} {copy}", argument=f"{column.argument}_{copy}")
        for copy in range(30)
        for column in COLUMNS
    )
    preprocessing = TablePreprocessing(columns)
    found = preprocessing.encode_frame(wide)
    assert len(preprocessing._groups) == 4
    assert [group.flat.experimental_get_tracing_count() for group in preprocessing._groups] == [1] * 4
    wanted = PREPROCESSING.encode_frame(frame)
    codes = len(PREPROCESSING.codes)
    np.testing.assert_array_equal(found, np.hstack([np.tile(wanted[:, :codes], 30), np.tile(wanted[:, codes:], 30)]))


def test_no_rows_give_no_rows():
    empty = torture_frame("text")[:0]
    assert PREPROCESSING.encode_frame(empty).shape == (0, PREPROCESSING.width)
    assert PREPROCESSING.to_examples(empty) == []
    assert PREPROCESSING.batch(tf.zeros([0], tf.string)).shape == (0, PREPROCESSING.width)


def test_an_example_without_features_is_a_row_of_missing_values():
    found = PREPROCESSING.batch(tf.constant([tf.train.Example().SerializeToString()]))
    nothing = pd.DataFrame({name: pd.Series([None], dtype=object) for name in NORMAL})
    np.testing.assert_array_equal(found, PREPROCESSING.encode_frame(nothing))
    assert found[0, : len(PREPROCESSING.codes)].numpy().tolist() == [1.0] * len(PREPROCESSING.codes)


def test_every_number_is_finite_and_every_code_below_its_size(torture):
    encoded = PREPROCESSING.encode_frame(torture)
    assert np.isfinite(encoded).all()
    for place, code in enumerate(PREPROCESSING.codes):
        assert 0 <= encoded[:, place].min() <= encoded[:, place].max() < code.size


TEXTS = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["Köln", " Paris ", "paris", "NA", "2015-12-31", "true"])
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(TEXTS, st.one_of(TEXTS, st.dates().map(str)), st.integers(-LIMIT, LIMIT - 1), st.floats(width=32)),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_any_rows_are_encoded_as_the_oracle_says(rows):
    texts, days, shops, areas = zip(*rows, strict=True)
    # fromisoformat reads more than the graph does, such as 20150619: only the forms of the graph are compared here.
    days = [day if day is None or day[4:5] == "-" else f"no {day}" for day in days]
    objects = {"city": texts, "user": texts[::-1], "sold": days, "shop": shops}
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in objects.items()})
    frame["Fläche m²"] = np.array(areas, np.float32)
    wanted = oracle(SOME.columns, frame)
    assert_close(SOME.encode_frame(frame), wanted, SOME)
    assert_close(SOME.batch(tf.constant(SOME.to_examples(frame))).numpy(), wanted, SOME)


# What comes out


def test_the_outputs_are_named_and_all_different():
    clash = TablePreprocessing(
        (
            Continuous("a is missing", "b"),
            Continuous("a", "a", flag=True),
            Date("d", "d", parts=("month",)),
            Categorical("d month", "e", "string", ("x",)),
        )
    )
    assert clash.numbers == ("a is missing", "a", "a is missing (2)")
    assert [code.name for code in clash.codes] == ["d month", "d month (2)"]
    assert clash.width == 5
    found = clash.encode({"b": [1.0], "a": [float("nan")], "d": ["2015-06-19"], "e": ["x"]})
    assert found.numpy().tolist() == [[7.0, 2.0, 1.0, 0.0, 1.0]]


def test_scaled_numbers_are_centred_before_digits_are_lost():
    column = Continuous("seconds", "seconds", center=1_700_000_001.0, scale=128.0)
    found = TablePreprocessing((column,)).encode({"seconds": np.array([1_700_000_000, 1_700_000_128], np.float32)})
    np.testing.assert_allclose(found[:, 0], [-1 / 128, 1 - 1 / 128], rtol=1e-6)


def test_known_values_that_share_a_fingerprint_are_still_told_apart(monkeypatch):
    values = tuple(f"value {number}" for number in range(40))
    preprocessing = TablePreprocessing(
        (Categorical("a", "a", "string", values), Categorical("b", "b", "string", values))
    )
    monkeypatch.setattr(lookup, "_MOST", 600)  # few enough that 600 does not do, and a smaller one must
    assert lookup.distinct_modulus([[value.encode() for value in values]]) < 600
    found = preprocessing.encode({"a": values, "b": values[::-1]}).numpy()
    np.testing.assert_array_equal(found, np.stack([np.arange(2, 42), np.arange(41, 1, -1)], axis=1))


def test_keys_of_two_columns_that_meet_are_moved_apart(monkeypatch):
    monkeypatch.setattr(lookup, "_STEP", 1)  # 7 in the first column and 6 in the second would have one key
    table = lookup.Lookup([{7: 2, 8: 3}, {6: 4, -(2**63): 1}])
    found = table(tf.constant([[7, 8, 6, 5], [6, 7, -(2**63), 8]], tf.int64))
    assert found.numpy().tolist() == [[2, 3, 0, 0], [4, 0, 1, 0]]


# Graphs


def test_a_saved_model_keeps_it_though_it_refers_to_nothing(tmp_path):
    frame = torture_frame("text")
    preprocessing = TablePreprocessing.from_dict(PREPROCESSING.to_dict())
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.string)
    module.batch = tf.function(preprocessing.batch, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"batch": module.batch})
    wanted = preprocessing.encode_frame(frame)
    examples = tf.constant(preprocessing.to_examples(frame))
    del module, preprocessing
    found = tf.saved_model.load(str(tmp_path / "saved")).signatures["batch"](examples)
    np.testing.assert_array_equal(next(iter(found.values())), wanted)


def test_the_graph_has_core_operations_only():
    definition = PREPROCESSING._in_graph.graph.as_graph_def()
    used = {node.op for node in definition.node}
    assert not {op for op in used if "PyFunc" in op or "Table" in op}
    assert len(used) > 20


def test_it_runs_inside_a_data_pipeline():
    frame = torture_frame("text")
    preprocessing = TablePreprocessing.from_dict(PREPROCESSING.to_dict())  # first met inside of a graph
    data = tf.data.Dataset.from_tensor_slices(preprocessing.to_examples(frame)).batch(16).map(preprocessing.batch)
    np.testing.assert_allclose(
        np.concatenate(list(data.as_numpy_iterator())), PREPROCESSING.encode_frame(frame), rtol=1e-6
    )


# As plain values, and what is refused


def test_it_comes_back_from_json():
    again = TablePreprocessing.from_dict(json.loads(json.dumps(PREPROCESSING.to_dict())))
    assert again == PREPROCESSING
    assert hash(again) == hash(PREPROCESSING)
    assert again != TablePreprocessing(COLUMNS, missing=("",))


def test_what_counts_as_missing_can_be_chosen():
    column = Categorical("a", "a", "string", ("?", "b"))
    found = TablePreprocessing((column,), missing=(" none ",)).encode({"a": ["?", "none", "", "NA", " none"]})
    assert found[:, 0].numpy().tolist() == [2, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TablePreprocessing(()), "a table needs at least one input column"),
        (lambda: TablePreprocessing((Continuous("a", "a"), Continuous("a", "b"))), "two columns share the name.*'a'"),
        (lambda: TablePreprocessing((Continuous("a", "x"), Continuous("b", "x"))), "two columns share the argument"),
        (lambda: TablePreprocessing((Categorical("a", "a", "string", (" b",)),)), "can never occur.*' b'"),
        (lambda: TablePreprocessing((Categorical("a", "a", "string", ("NA",)),)), "can never occur.*'NA'"),
        (lambda: TablePreprocessing.from_dict({"columns": []}), "no preprocessing of a table.*missing"),
        (lambda: PREPROCESSING.encode({"cty": ["Paris"]}), "is missing.*Fl_che_m_"),
        (lambda: PREPROCESSING.encode({**PREPROCESSING.to_arguments(torture_frame("text")), "shp": [1]}),
         "'shp' is unknown.*did you mean 'shop'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
