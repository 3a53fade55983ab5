"""Parquet files that are read row group by row group."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from batches import assert_same, collect

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.files.row_groups import RowGroups
from tlkit.inputs.row.fitting import fit_table
from tlkit.inputs.row.large_tables import table_from_row_groups

N = 600


def frame():
    random = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "town": random.choice([f"t{number}" for number in range(60)], N),
            "shop": pd.array(random.integers(0, 12, N), "Int64"),
            "area": random.normal(100, 20, N),
            "day": (pd.Timestamp("2015-01-01") + pd.to_timedelta(random.integers(0, 900, N), unit="D")).strftime(
                "%Y-%m-%d"
            ),
            "price": random.normal(size=N),
        }
    )
    made.loc[made.index[-90:-50], ["shop", "area"]] = None
    made.loc[5, "price"] = np.nan
    return made


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("groups") / "a.parquet"
    frame().to_parquet(file, row_group_size=100)
    return file


def load(path, **options):
    return table_from_row_groups(
        path,
        "price",
        **{"batch_size": 16, "kinds": {"shop": "categorical"}, "min_count": 1, "transform": "yeo_johnson", **options},
    )


def test_groups_are_read_alike_whether_values_are_missing_or_not(path):
    groups = RowGroups(path)
    assert groups.sizes == [100] * 6
    assert len(groups) == 6
    assert groups.starts.tolist() == [0, 100, 200, 300, 400, 500, 600]
    assert {str(groups.read(number)["shop"].dtype) for number in range(6)} <= {"int64", "Int64"}


def test_vocabularies_are_those_of_all_training_rows(path):
    data = load(path, sample_rows=100)
    train = pd.concat(data.frames("train"))
    whole = fit_table(train, {"town": "categorical", "shop": "categorical", "area": "continuous", "day": "date"})
    for name in ("town", "shop"):
        own, wanted = (
            next(column for column in one.columns if column.name == name) for one in (data.preprocessing, whole)
        )
        assert own == wanted
    day = next(column for column in data.preprocessing.columns if column.name == "day")
    assert day.years == (2015, 2016, 2017)
    area = next(column for column in data.preprocessing.columns if column.name == "area")
    assert area.flag
    rare = load(path, min_count=8).preprocessing.columns[0].values
    counts = train["town"].value_counts()
    assert rare == tuple(sorted(counts[counts >= 8].index))


def test_ordered_batches_are_the_rows_of_the_file(path):
    data = load(path)
    for split in ("train", "val"):
        rows = pd.concat(data.frames(split))
        batches = collect(data.ordered(split))
        np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), data.preprocessing.encode_frame(rows))
        np.testing.assert_allclose(data.labels(split)[:, 0], rows["price"], rtol=1e-6)
        learned = data.targets[0].forward(data.labels(split)[:, 0])
        np.testing.assert_allclose(np.concatenate([b[1] for b in batches]), learned, atol=1e-5)
        assert {len(batch[0]) for batch in batches[:-1]} == {16}
    assert sum(map(len, data.splits.values())) == N - 1
    assert data.summary()["dropped_rows"] == data.dropped == {"missing_target": 1}


@pytest.mark.slow
def test_epochs_are_decided_by_their_number(path):
    data = load(path)
    number = tf.Variable(0, dtype=tf.int64)
    moving = data.epoch(number)
    seen = []
    for epoch in range(3):
        number.assign(epoch)
        seen.append(collect(moving))
    assert len(seen[2]) == data.steps_per_epoch == int(moving.cardinality())
    assert_same(collect(data.epoch(2)), seen[2])
    assert_same(collect(data.epoch(2).skip(3)), seen[2][3:])
    assert_same(collect(load(path).epochs(1).take(2 * data.steps_per_epoch)), seen[1] + seen[2])
    assert not np.array_equal(seen[1][0][0], seen[2][0][0])
    order = data.epoch_order(2).numpy()
    assert sorted(order) == list(range(len(data.labels("train"))))
    plain = np.concatenate([batch[0] for batch in collect(data.ordered("train"))])
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in seen[2]]), plain[order])


def test_what_is_told(path):
    data = load(path)
    assert json.loads(json.dumps(data.summary())) == data.summary()
    assert data.fingerprint() == load(path, batch_size=3).fingerprint() != load(path, seed=1).fingerprint()
    samples = data.samples("val", 3)
    rows = next(data.frames("val"))
    rows = rows.iloc[:: len(rows) // 3][:3]
    np.testing.assert_allclose(
        data.preprocessing.batch(tf.constant(samples)).numpy(), data.preprocessing.encode_frame(rows), atol=1e-6
    )


def test_rows_have_places_but_no_frame_as_a_whole(path):
    data = load(path)
    places = data.places("val")
    prices = [frame()["price"][int(place.rpartition(" ")[2]) - 1] for place in places]
    np.testing.assert_allclose(prices, data.labels("val")[:, 0], rtol=1e-6)
    assert places[0].startswith(f"{path} data row ")
    assert data.places("val", [2, 0]) == [places[2], places[0]]
    with pytest.raises(ConfigError, match=r"never in memory as a whole.*'val'.*frames\(split\)"):
        data.frame("val")
    with pytest.raises(ConfigError, match="test"):
        data.frame("test")


def test_bad_files_and_options_are_said(path, tmp_path):
    with pytest.raises(DataError, match="no column 'cost'"):
        table_from_row_groups(path, "cost")
    with pytest.raises(ConfigError, match="val_fraction is invalid"):
        load(path, val_fraction=0.0)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="the table cannot be read"):
        RowGroups(tmp_path / "a.parquet")
    made = frame()
    made.loc[577, "area"] = np.inf
    made.to_parquet(tmp_path / "b.parquet", row_group_size=100)
    with pytest.raises(DataError, match="data row 578.*'area' is infinite"):
        load(tmp_path / "b.parquet", sample_rows=50)
    made = frame()
    made.loc[[577, 578], "day"] = ["19/06/2015", None]
    made.to_parquet(tmp_path / "c.parquet", row_group_size=100)
    with pytest.raises(
        DataError, match="c.parquet data row 578: column 'day' has a value that is not a date.*19/06/2015"
    ):
        load(tmp_path / "c.parquet", sample_rows=50)
