"""Rows that are copies of others: what they are taken for, where they go, what is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import tlkit
from tlkit.errors import DataError
from tlkit.inputs.row.check import find_leaks
from tlkit.inputs.row.copies import find_copies

RANDOM = np.random.default_rng(4)
N = 120


def rows(count=N):
    frame = pd.DataFrame({"noise": RANDOM.normal(size=count), "temp": RANDOM.normal(size=count).round(2)})
    return frame.assign(town=RANDOM.choice(["a", "b", "c"], count), y=frame["temp"] + RANDOM.normal(size=count))


def load(frame, target="y", **options):
    return tlkit.table_from_file(frame, target, batch_size=32, **options)


def sides(data):
    return [set(map(tuple, data.frame(split).astype(str).to_numpy())) for split in ("train", "val")]


@pytest.mark.parametrize("times", [2, 6])
@pytest.mark.parametrize("target", ["y", "kind", "labels"])
def test_a_table_with_every_row_several_times_trains_and_keeps_copies_in_one_split(times, target, caplog):
    frame = rows().assign(kind=RANDOM.choice(["x", "y"], N), one=RANDOM.integers(0, 2, N), two=RANDOM.integers(0, 2, N))
    frame = pd.concat([frame] * times, ignore_index=True).assign(number=np.arange(N * times))
    kinds = dict.fromkeys(("one", "two"), "multi_label")
    options = {"target_kinds": kinds} if target == "labels" else {}
    with caplog.at_level("INFO", logger="tlkit"):
        data = load(frame, ["one", "two"] if target == "labels" else target, **options)
    train, val = ({row[:-1] for row in side} for side in sides(data))
    assert not train & val
    assert len(data.rows("val")) / len(frame) == pytest.approx(0.2, abs=0.04)
    assert data.copies["repeated"] == N * (times - 1)
    assert data.copies["in_train_and_val"] == data.copies["conflicting"] == 0
    assert f"{N * (times - 1)} rows are duplicates of earlier rows and are kept in the same split: " in caplog.text
    assert f"row {N + 1} = " in caplog.text
    assert data.summary()["copies"] == data.copies


def test_a_recoding_of_the_target_is_refused_in_such_a_table_too():
    frame = rows().assign(kind=RANDOM.choice(["x", "y", "z"], N))
    frame = frame.assign(code=frame["kind"].map({"x": 7, "y": 1, "z": 4}), double=2 * frame["y"])
    frame = pd.concat([frame] * 2, ignore_index=True)
    with pytest.raises(DataError, match="column 'code' is a recoding of the target 'kind'"):
        load(frame, "kind", kinds={"code": "categorical"})
    with pytest.raises(DataError, match="column 'double' has the same order as the target 'y'"):
        load(frame)


def test_without_copies_a_split_is_what_it_was():
    frame = rows()
    data = load(frame)
    assert data.copies == {"repeated": 0, "conflicting": 0, "by_chance": False, "in_train_and_val": 0}
    assert find_copies(frame, ["noise"], ["y"]).to_keep_together is None
    with_one = pd.concat([frame, frame.iloc[[5]]], ignore_index=True)
    copies = find_copies(with_one, ["noise", "temp", "town"], ["y"])
    assert copies.repeated.tolist() == [N]
    assert copies.to_keep_together[[5, N]].tolist() == [5, 5]


def test_conflicting_rows_are_said_with_their_count_and_places(caplog):
    frame = rows()
    other = frame.iloc[[3, 8]].assign(y=99.0)
    frame = pd.concat([frame, other, other], ignore_index=True)
    data = load(frame)
    assert data.copies["conflicting"] == data.copies["repeated"] == 2
    assert "2 rows have the same inputs as an earlier row but other targets: " in caplog.text
    assert f"row {N + 1} = " in caplog.text


def test_missing_values_are_values_of_copies():
    frame = rows()
    frame.loc[[0, 1], "town"] = None
    frame.loc[1, ["noise", "temp", "y"]] = frame.loc[0, ["noise", "temp", "y"]]
    assert find_copies(frame, ["noise", "temp", "town"], ["y"]).repeated.tolist() == [1]
    # Equal values in other columns make no copy.
    swapped = pd.DataFrame({"a": [1, 2], "b": [2, 1], "y": [0, 0]})
    assert not len(find_copies(swapped, ["a", "b"], ["y"]).repeated)


@pytest.mark.parametrize("way", ["given", "time", "group"])
def test_copies_across_splits_that_the_user_made_are_said(way, caplog):
    frame = rows().assign(day=np.arange(N), part=np.where(np.arange(N) < 90, "train", "val"))
    frame.loc[100:109, ["noise", "temp", "town", "y"]] = frame.loc[0:9, ["noise", "temp", "town", "y"]].to_numpy()
    options = {
        "given": {"split_column": "part"},
        "time": {"time_column": "day", "val_from": 90},
        "group": {"group_column": "part", "val_fraction": 0.25},
    }[way]
    data = load(frame, kinds={"day": "ignore", "part": "ignore"}, **options)
    assert data.copies["in_train_and_val"] == 10
    assert "10 of the val rows are also in the training set, for example " in caplog.text
    assert "and are kept in the same split" not in caplog.text


def test_rows_of_few_different_values_agree_by_chance_and_are_split_one_by_one(caplog):
    frame = pd.DataFrame({name: RANDOM.choice(list("abcd"), 600) for name in ("p", "q", "r")})
    frame = frame.assign(y=RANDOM.choice(["x", "y"], 600))
    with caplog.at_level("INFO", logger="tlkit"):
        data = load(frame)
    assert data.copies["by_chance"]
    assert data.copies["in_train_and_val"] > 60
    assert "different rows these are treated as coincidences and split one by one" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    # Columns that follow from each other make rows no copies either.
    town = RANDOM.integers(0, 100, 5000)
    frame = pd.DataFrame({"town": town, "state": town // 5, "region": town // 20, "y": RANDOM.integers(0, 3, 5000)})
    assert find_copies(frame, ["town", "state", "region"], ["y"]).by_chance


def test_noise_in_a_table_of_copies_names_nothing():
    frame = rows()[["noise", "y"]]
    frame = pd.concat([frame] * 2, ignore_index=True)
    kinds = {"noise": "continuous"}
    assert find_leaks(frame, kinds, ["y"], (), find_copies(frame, ["noise"], ["y"]).numbers) == ()
    with pytest.raises(DataError, match="a recoding"):
        find_leaks(frame, kinds, ["y"], ())


def test_a_class_of_copies_is_named_with_its_counts():
    frame = rows().assign(stars=RANDOM.choice([1, 2], N))
    rare = frame.iloc[[0]].assign(noise=7.0, stars=5)
    frame = pd.concat([frame, rare, rare], ignore_index=True)
    with pytest.raises(
        DataError,
        match=r"class '5' has 1 row that is not a copy of another \(2 rows with copies\); .*2 of each class; add rows.*"
        r'or predict it as a number: kinds = \{ stars = "regression" \} under \[target\] of config.toml',
    ):
        load(frame, "stars")
    assert load(frame, "stars", target_kinds={"stars": "regression"}).targets[0].kind == "regression"
