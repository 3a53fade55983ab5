from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.columns import Categorical, Continuous, Date
from tlkit.targets.multi_label import MultiLabel
from tlkit.targets.regression import Regression
from tlkit.targets.single_label import SingleLabel
from tlkit.tasks.tabular.boosting import compare_with_boosting
from tlkit.tasks.tabular.cells import as_dates, cell_texts, date_parts
from tlkit.tasks.tabular.importance import permutation_importance
from tlkit.tasks.tabular.partial_dependence import partial_dependence


def frame_of(n=300, seed=0):
    rng = np.random.default_rng(seed)
    days = pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    return pd.DataFrame(
        {
            "size": rng.normal(50, 10, n),
            "rooms": rng.integers(1, 6, n),
            "kind": rng.choice(["flat", "house", None], n, p=[0.5, 0.4, 0.1]),
            "day": days.strftime("%Y-%m-%d").astype(object),
            "noise": rng.normal(size=n),
        },
        index=rng.permutation(n) + 1000,
    )


def answer(frame):
    """Twice the size, ten for a house, and the month."""
    month = as_dates(frame["day"]).dt.month.to_numpy()
    return np.asarray(2 * frame["size"] + 10 * (frame["kind"] == "house") + month)[:, None]


def test_importance_is_the_increase_of_the_loss():
    frame = frame_of()
    truth = answer(frame)
    found = permutation_importance(answer, frame, lambda said: 7 + float(np.square(said - truth).mean()), repeats=5)
    assert [one.column for one in found[:3]] == ["size", "kind", "day"]
    # A shuffled term is as wrong as two independent draws of it: twice its variance.
    assert found[0].mean == pytest.approx(2 * np.var(2 * frame["size"]), rel=0.2)
    by_name = {one.column: one for one in found}
    assert by_name["noise"].increases == (0.0,) * 5
    assert by_name["size"].spread == pytest.approx(np.std(by_name["size"].increases))


def test_importance_does_not_depend_on_the_other_columns_and_leaves_the_frame_alone():
    frame = frame_of(50)
    before = frame.copy()

    def score(said):
        return float(np.abs(said - answer(frame)).mean())

    whole = {one.column: one for one in permutation_importance(answer, frame, score)}
    alone = permutation_importance(answer, frame, score, columns=["kind"])
    assert alone == [whole["kind"]]
    pd.testing.assert_frame_equal(frame, before)
    assert permutation_importance(answer, frame, score, columns=["kind"], seed=1) != alone


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": ["sizes"]}, ConfigError, "there is no such column.*did you mean 'size'"),
        ({"repeats": 0}, ConfigError, "repeats of the shuffling"),
    ],
)
def test_importance_refuses(options, error, message):
    with pytest.raises(error, match=message):
        permutation_importance(answer, frame_of(5), lambda said: 0.0, **options)
    with pytest.raises(DataError, match="at least 2"):
        permutation_importance(answer, frame_of(1), lambda said: 0.0)


def test_dependence_on_a_number():
    frame = frame_of()
    found = partial_dependence(answer, frame, "size", points=7, rows=10_000)
    rest = (answer(frame)[:, 0] - 2 * frame["size"]).mean()
    assert found.kind == "number"
    assert len(found.labels) == 7
    assert found.means[:, 0] == pytest.approx(2 * found.positions + rest)
    assert found.positions[[0, -1]] == pytest.approx(np.quantile(frame["size"], (0.01, 0.99)))
    assert (found.low <= found.means).all()
    assert list(found.to_frame().columns) == ["value", "mean", "low", "high"]


def test_dependence_on_whole_numbers_and_categories():
    frame = frame_of()
    rooms = partial_dependence(lambda rows: np.asarray(rows["rooms"], float), frame, "rooms")
    assert rooms.labels == ("1", "2", "3", "4", "5")
    assert rooms.means[:, 0].tolist() == [1, 2, 3, 4, 5]
    kind = partial_dependence(answer, frame, "kind", rows=100, points=3)
    assert kind.labels == ("flat", "house", "(missing)")
    assert kind.means[1, 0] - kind.means[0, 0] == pytest.approx(10)
    assert kind.means[2, 0] == pytest.approx(kind.means[0, 0])
    assert kind.rows == 100
    assert partial_dependence(answer, frame, "kind", points=2).labels == ("flat", "house")
    days = partial_dependence(lambda rows: np.asarray(rows["rooms"], float), frame, "rooms", kind="category")
    assert days.labels == ("1", "2", "3", "4", "5")


@pytest.mark.parametrize("form", ["text", "datetime", "zone"])
def test_dependence_on_a_date(form):
    frame = frame_of()
    if form != "text":
        frame["day"] = pd.to_datetime(frame["day"])
    if form == "zone":
        frame["day"] = frame["day"].dt.tz_localize("Europe/Warsaw")
    seen = []

    def predict(rows):
        seen.append(rows["day"].dtype)
        return answer(rows)

    month = partial_dependence(predict, frame, "day", kind="month")
    assert seen == [frame["day"].dtype]
    assert month.labels[:2] == ("Jan", "Feb")
    assert np.diff(month.means[:, 0]) == pytest.approx(np.ones(11))
    week = partial_dependence(
        lambda rows: as_dates(rows["day"]).dt.dayofweek.to_numpy(float), frame, "day", kind="weekday"
    )
    assert week.means[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_dependence_on_the_hour_and_on_the_ends_of_months():
    frame = pd.DataFrame({"at": ["2013-01-31T05:30:00", "2013-03-31T23:15:00", None]})
    hour = partial_dependence(lambda rows: as_dates(rows["at"]).dt.hour.to_numpy(float), frame, "at", kind="hour")
    assert hour.means[:, 0].tolist() == list(range(24))
    assert hour.rows == 2
    day = partial_dependence(lambda rows: as_dates(rows["at"]).dt.day.to_numpy(float), frame, "at", kind="month")
    assert day.means[:, 0].tolist() == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


@pytest.mark.parametrize(
    ("column", "options", "error", "message"),
    [
        ("siz", {}, ConfigError, "no such column.*did you mean 'size'"),
        ("size", {"points": 1}, ConfigError, "points of a partial dependence.*from 2"),
        ("size", {"rows": 0}, ConfigError, "rows of a partial dependence"),
        ("size", {"kind": "years"}, ConfigError, "unknown kind of dependence"),
        ("kind", {"kind": "month"}, DataError, "'kind' has no dates"),
        ("empty", {}, DataError, "'empty' has no values"),
    ],
)
def test_dependence_refuses(column, options, error, message):
    with pytest.raises(error, match=message):
        partial_dependence(answer, frame_of(20).assign(empty=np.nan), column, **options)


# Cells


@pytest.mark.parametrize(
    ("cells", "dtype", "texts"),
    [
        ([" a\t", "a", "?", "", None, "B"], "string", ["a", "a", None, None, None, "B"]),
        ([3.0, None, 5.0, np.inf], "int64", ["3", None, "5", None]),
        (pd.Series([3, None], dtype="Int64"), "int64", ["3", None]),
        ([0.5, -0.0, np.nan, 2.0], "string", ["0.5", "0.0", None, "2.0"]),
        ([True, False, None], "string", ["true", "false", None]),
        (pd.to_datetime(["2013-01-05", None]), "string", ["2013-01-05", None]),
        (pd.Categorical(["x", "y", None]), "string", ["x", "y", None]),
    ],
)
def test_cells_become_the_text_of_their_category(cells, dtype, texts):
    numbers, found = cell_texts(pd.Series(cells), dtype=dtype, missing={"?"})
    assert [None if number < 0 else found[number] for number in numbers] == texts
    assert len(set(found)) == len(found)


def test_dates_are_read_as_they_are_written():
    cells = pd.Series(
        ["2013-07-01T23:30:00+05:00", " 2014-12-29 ", "9999-12-31", "0001-01-01", "2013-02-30", "2013", None]
    )
    parts = date_parts(cells)
    assert parts["hour"].tolist()[:2] == [23, 0]
    assert parts["week"].tolist()[1] == 1
    assert parts["year"].tolist()[2:4] == [9999, 1]
    assert parts.iloc[4:].isna().all(axis=None)
    assert parts["elapsed"].tolist()[1] == (pd.Timestamp("2014-12-29") - pd.Timestamp("1970-01-01")).days


# Boosting

COLUMNS = (
    Categorical("kind", "kind", "string", ("flat", "house")),
    Categorical("rooms", "rooms", "int64", ("1", "2", "3", "4", "5")),
    Continuous("size", "size"),
    Date("day", "day", years=(2013, 2014)),
)


def data_of(targets, labels, n=400):
    frames = {"train": frame_of(n), "val": frame_of(200, 1)}
    return types.SimpleNamespace(
        targets=targets,
        preprocessing=types.SimpleNamespace(columns=COLUMNS, missing=("?",)),
        frame=frames.__getitem__,
        labels=lambda split: labels(frames[split]),
    )


def test_boosting_beats_a_net_that_knows_nothing():
    data = data_of((Regression("price"),), answer)
    found = compare_with_boosting(data, np.full((200, 1), answer(frame_of(400)).mean()), net_seconds=12.0)
    assert [one.name for one in found.contenders] == ["network", "boosting on raw columns"]
    assert found.winner == "boosting on raw columns"
    assert found.contenders[1].metrics.r2 > 0.9
    assert found.verdict.startswith("By RMSE, boosting on raw columns wins: ")
    assert "network" in found.verdict
    assert found.to_dict()["contenders"][0]["seconds"] == 12.0
    assert found.table().row_count == 2
    assert (found.rows, found.of_rows) == (400, 400)
    assert "Boosting saw" not in found.verdict


def test_a_perfect_net_wins_and_says_so():
    data = data_of((Regression("price"),), answer)
    found = compare_with_boosting(data, answer(data.frame("val")), max_rows=100)
    assert found.winner == "network"
    assert found.verdict.startswith("By RMSE, the network wins: 0.000; boosting on raw columns ")
    assert (found.rows, found.of_rows) == (100, 400)
    assert "Boosting saw only 100 of the 400 training rows." in found.verdict
    assert found.contenders[1].seconds > 0


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_verdict_says_that_the_best_epoch_was_chosen_by_the_validation_rows(split):
    data = data_of((Regression("price"),), answer)
    frames = {"train": data.frame("train"), split: data.frame("val")}
    data.frame, data.labels = frames.__getitem__, lambda name: answer(frames[name])
    found = compare_with_boosting(data, answer(frames[split]), split=split, iterations=5)
    assert ("If the best epoch was kept, it was chosen on" in found.verdict) == (split == "val")
    assert found.to_dict()["split"] == split


def test_embeddings_stand_for_their_categories():
    def table(values, column):
        frame = pd.DataFrame({"value": ["(unknown)", "(missing)", *values]})
        frame["v1"] = np.arange(len(frame), dtype="float32")
        frame.attrs.update({"column": column})
        return frame

    tables = {"kind": table(["flat", "house"], "kind"), "rooms": table(list("12345"), "rooms")}
    data = data_of((Regression("price"),), answer)
    found = compare_with_boosting(data, np.zeros((200, 1)), tables=tables)
    assert [one.name for one in found.contenders][-1] == "boosting on embeddings"
    assert found.contenders[-1].metrics.r2 > 0.9


def test_boosting_on_classes_labels_and_several_targets():
    big = SingleLabel("big", ("no", "yes"))
    data = data_of((big,), lambda frame: (frame["size"] > 50).to_numpy(np.int32))
    found = compare_with_boosting(data, np.full((200, 2), 0.5))
    assert found.contenders[1].metrics.accuracy > 0.95
    assert found.figures == {"big": ("auc", "average_precision", "log_loss", "accuracy")}
    data = data_of((big,), lambda frame: (frame["rooms"] > 2).to_numpy(np.int32))
    equal = compare_with_boosting(data, np.eye(2)[data.labels("val")] * 0.98 + 0.01)
    assert "as good as" in equal.verdict
    tags = data_of((MultiLabel("tags", ("a", "b")),), lambda frame: np.stack(
        [frame["size"] > 50, frame["rooms"] > 9], axis=1).astype(np.float32))  # fmt: skip
    labels = compare_with_boosting(tags, np.full((200, 2), 0.4))
    assert labels.contenders[1].metrics.subset_accuracy > 0.95
    both = data_of((Regression("price", transform="log"), big), lambda frame: np.stack(
        [answer(frame)[:, 0], frame["size"] > 50], axis=1).astype(np.float32))  # fmt: skip
    several = compare_with_boosting(both, np.concatenate([answer(both.frame("val")), np.full((200, 2), 0.5)], axis=1))
    assert several.best("price", "rmse").name == "network"
    assert several.best("big", "auc").name == "boosting on raw columns"
    assert "of price" in several.verdict
    assert "of big" in several.verdict


def test_more_categories_than_boosting_takes_and_a_class_that_training_lacks():
    n = 700
    names = np.array([f"c{i % 350}" for i in range(n)])
    frame = pd.DataFrame({"kind": names, "size": np.arange(n, dtype=float)})
    data = types.SimpleNamespace(
        targets=(SingleLabel("y", ("a", "b", "c")),),
        preprocessing=types.SimpleNamespace(
            columns=(Categorical("kind", "kind", "string", tuple(sorted(set(names)))), Continuous("size", "size")),
            missing=(),
        ),
        frame=lambda split: frame,
        labels=lambda split: (np.arange(n) % 2).astype(np.int32),
    )
    found = compare_with_boosting(data, np.full((n, 3), 1 / 3), iterations=5)
    assert found.contenders[1].metrics.n == n
    with pytest.raises(DataError, match="other rows"):
        compare_with_boosting(data, np.zeros((3, 3)))
    with pytest.raises(ConfigError, match="iterations of boosting"):
        compare_with_boosting(data, np.full((n, 3), 1 / 3), iterations=0)
