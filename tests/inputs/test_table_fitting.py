"""Fitting to training rows: statistics, known values, rare values, options."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.inputs.row.fitting import fit_table


def only(series: pd.Series, kind: str, **options):
    (column,) = fit_table(pd.DataFrame({"a": series}), {"a": kind}, **options).columns
    return column


def encoded(series: pd.Series, new: pd.Series | None = None, kind: str = "continuous", **options) -> np.ndarray:
    fitted = fit_table(pd.DataFrame({"a": series}), {"a": kind}, **options)
    return fitted.encode_frame(pd.DataFrame({"a": series if new is None else new}))


@pytest.fixture
def measures() -> pd.Series:
    values = np.random.default_rng(0).lognormal(3, 1, 3000)
    return pd.Series(np.append(values, [np.nan, np.inf, -np.inf, 1e300]))


def given(series: pd.Series) -> np.ndarray:
    return series.to_numpy()[:3000, None].astype(np.float32).astype(np.float64)


def test_standard_scaling_is_that_of_scikit_learn(measures):
    wanted = StandardScaler().fit_transform(given(measures))
    np.testing.assert_allclose(encoded(measures)[:3000, :1], wanted, rtol=1e-5, atol=1e-6)


def test_robust_scaling_is_that_of_scikit_learn(measures):
    wanted = RobustScaler().fit_transform(given(measures))
    np.testing.assert_allclose(encoded(measures, scaling="robust")[:3000, :1], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decimals", [6, 1])  # with one decimal, many rows share a value and several quantiles too
def test_quantile_scaling_is_that_of_scikit_learn(measures, decimals):
    measures = measures.round(decimals)
    new = pd.Series(np.random.default_rng(1).lognormal(3, 1.5, 2000).round(decimals))
    known = QuantileTransformer(n_quantiles=1000, output_distribution="normal", subsample=None).fit(given(measures))
    wanted = known.transform(given(new))
    found = encoded(measures, new, scaling="quantile")[:, :1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert (found.min(), found.max()) == pytest.approx((-5.199337582605575, 5.199337582605575))


def test_a_value_of_most_rows_keeps_the_middle_of_their_ranks():
    found = encoded(pd.Series([0.0] * 80 + [5.0] * 20), pd.Series([0.0, 5.0, -1.0, 6.0]), scaling="quantile")[:, 0]
    assert found == pytest.approx([-0.253, 1.282, -5.2, 5.2], abs=0.03)  # normal scores of ranks 0.4, 0.9, 0 and 1


def test_missing_values_become_the_median_and_a_flag(measures):
    found = encoded(measures)
    column = only(measures, "continuous")
    assert column.flag
    assert column.median == pytest.approx(np.median(given(measures)))
    np.testing.assert_allclose(found[3000:, 0], (column.median - column.center) / column.scale, rtol=1e-5)
    assert found[:3000, 1].sum() == 0
    assert found[3000:, 1].tolist() == [1, 1, 1, 1]
    assert not only(measures[:3000], "continuous").flag


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("value", [0.1, -1e38, 1_700_000_000, 0])
def test_a_constant_column_has_scale_one_and_becomes_zero(scaling, value):
    series = pd.Series([value] * 7)
    assert only(series, "continuous", scaling=scaling).scale == 1.0
    np.testing.assert_allclose(encoded(series, scaling=scaling)[:, 0], 0, atol=1e-6)


def test_where_the_middle_half_is_one_value_robust_takes_the_standard_deviation():
    series = pd.Series([0.0] * 9 + [1000.0])
    column = only(series, "continuous", scaling="robust")
    assert (column.center, column.scale) == (0.0, pytest.approx(300.0))


def test_the_statistics_are_those_of_what_a_client_can_send():
    seconds = pd.Series([1_700_000_000, 1_700_000_010, 1_704_086_400])
    sent = seconds.to_numpy().astype(np.float32).astype(np.float64)
    column = only(seconds, "continuous")
    assert (column.center, column.scale) == (pytest.approx(sent.mean(), abs=1e-3), pytest.approx(sent.std()))
    assert column.dtype == "float32"


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_a_column_that_needs_more_digits_travels_as_float64(scaling):
    seconds = pd.Series(1_700_000_000 + np.arange(60.0))
    column = only(seconds, "continuous", scaling=scaling)
    assert column.dtype == "float64"
    found = encoded(seconds, scaling=scaling)[:, 0]
    assert (np.diff(found) > 0).all()
    if scaling == "standard":
        np.testing.assert_allclose(found, (np.arange(60.0) - 29.5) / np.arange(60.0).std(), rtol=1e-5)
    with_one_far = pd.concat([seconds, pd.Series([0.0])], ignore_index=True)
    assert only(with_one_far, "continuous").dtype == "float64"


def test_known_values_are_those_of_the_rows_in_their_order():
    values = pd.Series(["b", " a", "a ", None, "?", "B", "ä"])
    assert only(values, "categorical").values == ("?", "B", "a", "b", "ä")
    assert only(values, "categorical", missing=("?",)).values == ("B", "a", "b", "ä")
    assert only(values, "categorical", column_missing={"a": ["?"]}).values == ("B", "a", "b", "ä")
    whole = only(pd.Series([10, 9, -1, 10]), "categorical")
    assert (whole.dtype, whole.values) == ("int64", ("-1", "9", "10"))
    with_missing = only(pd.Series([10.0, np.nan, 9.0, np.inf]), "categorical")
    assert (with_missing.dtype, with_missing.values) == ("int64", ("9", "10"))
    floats = only(pd.Series([0.1, -0.0, 0.0, 1e-7, np.nan]), "categorical")
    assert (floats.dtype, floats.values) == ("string", ("0.0", "0.1", "1e-07"))
    assert only(pd.Series(["a", "b"]).astype(pd.CategoricalDtype(["c", "b", "a"])), "categorical").values == ("a", "b")


def test_booleans_are_false_and_true():
    assert only(pd.Series([True, True]), "boolean").values == ("false", "true")
    assert only(pd.Series([True, None, True], dtype=object), "boolean").values == ("false", "true")
    spellings = [["yes", "no"], [" Y", "n", "NO", None], [0, 1, 1], [1.0, np.nan], ["On", "oFF", "?"], ["1", "0.0"]]
    for spelled in spellings:
        column = only(pd.Series(spelled), "boolean", min_count=5)
        assert (column.values, column.dtype, column.boolean) == (("false", "true"), "string", True)
    assert only(pd.Series([True, None], dtype=object), "boolean").boolean
    two = only(pd.Series(["left", "right"]), "boolean")
    assert (two.values, two.boolean) == (("left", "right"), False)
    assert only(pd.Series([1, 2, 2]), "boolean").dtype == "int64"


def test_rare_values_share_the_code_of_unknown_ones():
    series = pd.Series(["a"] * 5 + ["b"] * 3 + [" b"] + ["c"] * 3 + [None] * 2)
    assert only(series, "categorical", min_count=4).values == ("a", "b")
    new = pd.Series(["a", "b", "c", "never", None])
    assert encoded(series, new, "categorical", min_count=4)[:, 0].tolist() == [2, 3, 0, 0, 1]


def test_hashed_columns_have_buckets_and_no_values():
    column = only(pd.Series(["u1", "u2"]), "categorical", hash_buckets={"a": 10})
    assert (column.size, column.values) == (12, ())
    found = encoded(
        pd.Series(["u"]), pd.Series([f"u{n}" for n in range(500)] + [None]), "categorical", hash_buckets={"a": 10}
    )
    assert set(found[:-1, 0]) == set(range(2, 12))
    assert found[-1, 0] == 1
    assert only(pd.Series([5, 6]), "categorical", hash_buckets={"a": 10}).dtype == "int64"
    assert only(pd.Series([5, None]), "categorical", hash_buckets={"a": 10}).dtype == "int64"


def test_numbers_with_a_fraction_are_not_hashed():
    with pytest.raises(ConfigError, match=r"column 'a', which holds numbers with a fraction.*make it continuous"):
        only(pd.Series([0.5, 6]), "categorical", hash_buckets={"a": 10})


def test_dates_learn_their_years_and_whether_hours_vary():
    days = pd.Series(["2014-12-31", "2013-01-01", "2013-01-02", "", "not a date"])
    column = only(days, "date", cyclic=["a"])
    assert column.years == (2013, 2014)
    assert column.cyclic
    assert "hour" not in column.parts
    counted = np.array([16435, 15706, 15707])
    assert (column.elapsed_center, column.elapsed_scale) == pytest.approx((counted.mean(), counted.std()))
    assert "hour" in only(pd.Series(["2013-01-01T05:00", "2013-01-01T06:00"]), "date").parts
    assert only(days, "date", date_parts={"a": ["month"]}).parts == ("month",)
    assert only(pd.Series(["2013-01-01"]), "date").elapsed_scale == 1.0


def test_a_new_year_is_unknown_and_days_beyond_training_count_as_its_ends():
    fitted = fit_table(pd.DataFrame({"a": ["2013-01-01", "2014-01-01"]}), {"a": "date"})
    found = fitted.encode_frame(pd.DataFrame({"a": ["2014-01-01", "2015-01-01", "2012-12-31", "2013-07-02"]}))
    elapsed = len(fitted.codes) + fitted.numbers.index("a elapsed")
    assert found[:, 0].tolist() == [3, 0, 0, 2]
    assert found[:, elapsed].tolist() == pytest.approx([1.0, 1.0, -1.0, -1 / 365], abs=1e-5)


def test_columns_keep_the_order_of_the_kinds_and_ids_are_left_out():
    frame = pd.DataFrame(
        {"id": [1, 2], "x 1": [1.0, 2.0], "x_1": ["a", "b"], "d": pd.to_datetime(["2015-01-01"] * 2), "z": 0}
    )
    fitted = fit_table(frame, {"d": "date", "x_1": "categorical", "id": "id", "x 1": "continuous", "z": "ignore"})
    assert [type(column) for column in fitted.columns] == [Date, Categorical, Continuous]
    assert [column.argument for column in fitted.columns] == ["d", "x_1", "x_1_2"]


def test_fitting_looks_at_the_training_rows_alone():
    frame = pd.DataFrame({"c": ["a", "b", "z"], "x": [1.0, 3.0, 1e6], "d": ["2013-01-01", "2013-01-02", "2019-01-01"]})
    fitted = fit_table(frame[:2], {"c": "categorical", "x": "continuous", "d": "date"})
    category, measure, date = fitted.columns
    assert (category.values, measure.center, date.years) == (("a", "b"), 2.0, (2013,))


FRAME = pd.DataFrame({"c": ["a", "b", "c"], "x": [1.0, 2.0, 3.0], "none": [None] * 3, "words": ["p", "q", "r"]})


@pytest.mark.parametrize(
    ("kinds", "options", "error", "message"),
    [
        ({"x": "number"}, {}, ConfigError, "unknown kind of column 'x'"),
        ({"x": "continuous"}, {"scaling": "minmax"}, ConfigError, "unknown scaling"),
        ({"c": "categorical"}, {"min_count": 0}, ConfigError, "min_count is invalid"),
        ({"c": "categorical"}, {"hash_buckets": {"c": 0}}, ConfigError, "hash_buckets of column 'c' is invalid"),
        (
            {"c": "categorical"},
            {"hash_buckets": {"x": 5}},
            ConfigError,
            "hash_buckets names a column that is not categorical",
        ),
        (
            {"c": "categorical"},
            {"cyclic": ["c"]},
            ConfigError,
            "cyclic names a column that is not date.*no column is date",
        ),
        ({"c": "id"}, {}, ConfigError, "a table needs at least one input column"),
        (
            {"colour": "categorical"},
            {},
            DataError,
            "'colour' is missing; allowed: available columns: c, x, none, words",
        ),
        ({"none": "categorical"}, {}, DataError, "'none' has no value in the training rows"),
        ({"none": "continuous"}, {}, DataError, "'none' has no value in the training rows"),
        ({"none": "date"}, {}, DataError, "'none' has no date in the training rows"),
        ({"words": "date"}, {}, DataError, r"'words' has no date.*\['p', 'q', 'r'\].*2015-06-19"),
        ({"words": "continuous"}, {}, DataError, "'words' cannot be continuous.*received: 'text'"),
        ({"words": "boolean"}, {}, DataError, r"'words' is not a boolean.*two different values"),
        ({"x": "date"}, {}, DataError, "'x' cannot be date.*received: 'numbers'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(kinds, options, error, message):
    with pytest.raises(error, match=message):
        fit_table(FRAME, kinds, **options)


def test_mixed_values_and_doubled_columns_are_refused():
    with pytest.raises(DataError, match="'a' cannot be categorical.*mixed-integer"):
        only(pd.Series([1, "x"], dtype=object), "categorical")
    with pytest.raises(DataError, match="'a' occurs 2 times"):
        fit_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), {"a": "continuous"})
