"""Tables as training data: batches, epochs, targets, what evaluation sees."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from batches import assert_same, collect

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.row.evaluating import table_to_evaluate
from tlkit.inputs.row.events import event_features
from tlkit.inputs.row.number_forms import NumberForm
from tlkit.inputs.row.preprocessing import TablePreprocessing
from tlkit.inputs.row.reading import table_from_file

N = 120


def houses(seed=0, count=N):
    random = np.random.default_rng(seed)
    town = random.choice(["Ulm", "Bonn", "Kiel"], count)
    area = random.normal(100, 20, count).round(1)
    day = pd.Timestamp("2015-01-01") + pd.to_timedelta(random.integers(0, 200, count), unit="D")
    price = area * 10 + (town == "Bonn") * 500 + random.normal(0, 50, count)
    return pd.DataFrame(
        {
            "town": town,
            "area": np.where(random.random(count) < 0.1, np.nan, area),
            "day": day.strftime("%Y-%m-%d"),
            "new": random.choice([True, False], count),
            "fair": random.choice([0, 0, 0, 1], count),
            "price": price.round(2),
            "sold": np.where(price + random.normal(0, 200, count) > 1100, "yes", "no"),
            "a": random.integers(0, 2, count),
            "b": random.integers(0, 2, count),
        }
    )


INPUTS = ["town", "area", "day", "new", "fair"]


def load(targets="price", frame=None, **options):
    return table_from_file(
        houses() if frame is None else frame, targets, **{"batch_size": 16, "select": INPUTS, **options}
    )


# Batches and epochs


def test_ordered_batches_are_the_encoded_rows_in_order():
    data = load(unknown_rate=0.5)
    for split in ("train", "val"):
        batches = collect(data.ordered(split))
        assert [len(inputs) for inputs, _ in batches][:-1] == [16] * (len(batches) - 1)
        np.testing.assert_array_equal(np.concatenate([one for one, _ in batches]), data.encoded(split))
        np.testing.assert_array_equal(data.preprocessing.encode_frame(data.frame(split)), data.encoded(split))
        learned = np.concatenate([two for _, two in batches])
        np.testing.assert_allclose(learned, data.targets[0].forward(data.labels(split)[:, 0]), atol=1e-5)
    assert data.val.element_spec[0] == tf.TensorSpec([None, data.preprocessing.width], tf.float32)
    assert data.train.element_spec[0].shape.as_list() == [None, data.preprocessing.width]
    assert data.train.element_spec[1].shape.as_list() == [None, 1]


def test_what_is_fitted_is_fitted_on_training_rows_alone():
    frame = houses()
    frame["part"] = ["train"] * 90 + ["val"] * 30
    other = frame.copy()
    other.loc[90:, "area"] = 1e6
    other.loc[90:, "town"] = "Rom"
    other.loc[90:, "price"] = 1.0
    one, two = (load(frame=it, split_column="part", transform="log") for it in (frame, other))
    assert one.preprocessing == two.preprocessing
    assert one.targets == two.targets
    assert "part" not in one.frame("train").columns or one.kinds["part"] == "ignore"
    assert two.encoded("val")[:, 0].tolist() == [0.0] * 30


def test_epoch_three_is_the_same_whatever_ran_before():
    data = load(unknown_rate=0.2)
    number = tf.Variable(0, dtype=tf.int64)
    moving = data.epoch(number)
    seen = []
    for epoch in range(4):
        number.assign(epoch)
        seen.append(collect(moving))
    assert len(seen[3]) == data.steps_per_epoch == int(moving.cardinality())
    assert not np.array_equal(seen[2][0][0], seen[3][0][0])
    assert_same(collect(data.epoch(3)), seen[3])
    assert_same(collect(data.epoch(3).skip(2)), seen[3][2:])
    assert_same(collect(data.epochs(2).take(2 * data.steps_per_epoch)), seen[2] + seen[3])
    assert_same(collect(load(unknown_rate=0.2).epoch(3)), seen[3])
    assert not np.array_equal(collect(load(unknown_rate=0.2, seed=1).epoch(3))[0][0], seen[3][0][0])


def test_an_epoch_shows_every_row_once_in_epoch_order():
    data = load(unknown_rate=0.0)
    batches = collect(data.epoch(5))
    order = data.epoch_order(5).numpy()
    assert sorted(order) == list(range(len(data.labels("train"))))
    np.testing.assert_array_equal(np.concatenate([one for one, _ in batches]), data.encoded("train")[order])
    np.testing.assert_allclose(
        np.concatenate([two for _, two in batches])[:, 0],
        data.targets[0].forward(data.labels("train")[order][:, 0])[:, 0],
        atol=1e-5,
    )


def changed(data, epoch):
    order = data.epoch_order(epoch).numpy()
    shown = np.concatenate([batch[0].numpy() for batch in data.epoch(epoch)])
    plain = data.encoded("train")[order]
    back = np.argsort(order, kind="stable")
    return (shown != plain)[back], shown[back]


def test_some_codes_are_shown_as_unknown_and_nothing_else_changes():
    frame = pd.concat([houses(seed) for seed in range(30)], ignore_index=True)
    data = load(frame=frame, unknown_rate=0.02)
    codes = len(data.preprocessing.codes)
    differs, shown = changed(data, 0)
    assert not differs[:, codes:].any()
    assert (shown[differs] == 0).all()
    rate = differs[:, :codes].mean(0)
    # 2,880 rows: five standard deviations of a share of 0.02 are 0.013.
    assert (abs(rate - 0.02) < 0.013).all(), rate
    assert (differs.sum(1) <= 1).all()
    # Another epoch shows others; the same epoch the same rows whatever the batches.
    assert (changed(data, 1)[0] != differs).any()
    np.testing.assert_array_equal(changed(load(frame=frame, unknown_rate=0.02, batch_size=100), 0)[0], differs)


@pytest.mark.slow
def test_codes_whose_unknown_is_trained_otherwise_are_left_alone():
    frame = pd.concat([houses(seed) for seed in range(5)], ignore_index=True)
    assert not changed(load(frame=frame, unknown_rate=0.0), 0)[0].any()
    names = [code.column for code in load().preprocessing.codes]
    # Towns that come once train the 0 of towns; the other columns have nothing rare, whatever min_count is.
    frame["town"] = np.where(frame.index % 9 == 0, [f"t{row}" for row in range(len(frame))], frame["town"])
    rare = changed(load(frame=frame, unknown_rate=0.05, min_count=2), 0)[0].any(0)
    assert [name for name, hit in zip(names, rare, strict=False) if hit] == [name for name in names if name != "town"]
    hashed = changed(load(frame=frame, unknown_rate=0.05, hash_buckets={"town": 8}), 0)[0].any(0)
    assert not hashed[names.index("town")]
    assert hashed[names.index("fair")]


def test_a_high_rate_still_shows_half_of_the_rows_as_they_are():
    differs, _ = changed(load(frame=pd.concat([houses(seed) for seed in range(9)]), unknown_rate=0.9), 0)
    assert 0.4 < differs.any(1).mean() < 0.6


# Targets


def test_a_regression():
    data = load(transform="log")
    target = data.targets[0]
    assert (target.name, target.kind, target.transform) == ("price", "regression", "log")
    assert data.class_names == ["price"]
    assert not data.multi_label
    assert data.labels("val").dtype == np.float64
    assert data.labels("val").shape == (24, 1)
    np.testing.assert_allclose(data.labels("val")[:, 0], data.frame("val")["price"], rtol=1e-6)
    learned = np.concatenate([batch[1] for batch in collect(data.ordered("train"))])
    assert abs(learned.mean()) < 1e-5
    assert abs(learned.std() - 1) < 1e-4


def test_a_class():
    data = load("sold")
    assert data.class_names == ["no", "yes"]
    assert data.labels("train").dtype == np.int32
    names = [data.class_names[number] for number in data.labels("val")]
    assert names == data.frame("val")["sold"].tolist()
    targets = np.concatenate([batch[1] for batch in collect(data.ordered("val"))])
    np.testing.assert_array_equal(targets, np.eye(2, dtype=np.float32)[data.labels("val")])


def test_labels():
    data = load(["a", "b"], target_kinds={"a": "multi_label", "b": "multi_label"})
    assert data.multi_label
    assert data.class_names == ["a", "b"]
    assert [target.name for target in data.targets] == ["labels"]
    np.testing.assert_array_equal(data.labels("val"), data.frame("val")[["a", "b"]].to_numpy(np.float32))
    np.testing.assert_array_equal(np.concatenate([b[1] for b in collect(data.ordered("val"))]), data.labels("val"))


def test_several_targets():
    data = load(["sold", "price", "a"], loss_weights={"price": 2.0}, transform={"price": "yeo_johnson"})
    assert [target.kind for target in data.targets] == ["single_label", "regression", "single_label"]
    assert [target.weight for target in data.targets] == [1.0, 2.0, 1.0]
    assert data.class_names == ["sold=no", "sold=yes", "price", "a=0", "a=1"]
    labels = data.labels("val")
    assert (labels.dtype, labels.shape) == (np.float64, (24, 3))
    frame = data.frame("val")
    np.testing.assert_array_equal(labels[:, 0], (frame["sold"] == "yes").astype(float))
    np.testing.assert_allclose(labels[:, 1], frame["price"], rtol=1e-6)
    batch = next(iter(data.ordered("val")))[1].numpy()
    wanted = [
        target.forward(labels[:16, number].astype(int) if target.kind == "single_label" else labels[:16, number])
        for number, target in enumerate(data.targets)
    ]
    np.testing.assert_allclose(batch, np.concatenate(wanted, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        (np.arange(N) % 21, "regression", ()),
        (np.arange(N) % 11 - 3, "single_label", tuple(str(number) for number in range(-3, 8))),
        (np.arange(N) % 2 == 0, "single_label", ("false", "true")),
        (np.arange(N) % 3 / 2, "regression", ()),
        (np.arange(N) % 2 + 1.0, "single_label", ("1", "2")),
        (np.where(np.arange(N) % 3 == 2, np.nan, np.arange(N) % 3 + 1.0), "single_label", ("1", "2")),
        (np.arange(N) % 21 * 1.0, "regression", ()),
        (np.arange(N) % 2 * 2.0**60, "regression", ()),
        (pd.array([1, 2, None] * (N // 3), "Int64"), "single_label", ("1", "2")),
    ],
)
def test_what_kind_a_target_is_taken_for(values, kind, classes):
    data = load("t", frame=houses().assign(t=values))
    assert (data.targets[0].kind, data.targets[0].class_names) == (kind, classes)


def test_the_kind_of_a_target_may_be_said():
    data = load("t", frame=houses().assign(t=np.arange(N) % 3 / 2), target_kinds={"t": "single_label"})
    assert data.targets[0].class_names == ("0", "0.5", "1")
    whole = houses().assign(t=np.arange(N) % 2)
    for frame in (whole, whole.assign(t=whole["t"] * 1.0)):
        test = table_to_evaluate(frame, data.preprocessing, data.targets)
        assert test.labels("test").tolist() == (2 * whole["t"]).tolist()
    data = load("a", target_kinds={"a": "regression"}, y_range=(0, 1))
    assert (data.targets[0].kind, data.targets[0].low, data.targets[0].high) == ("regression", 0, 1)


def test_classes_can_be_balanced():
    data = load("sold", class_weight="balanced")
    counts = np.bincount(data.labels("train"))
    _, targets, weights = next(iter(data.train))
    np.testing.assert_allclose(weights, (len(data.labels("train")) / 2 / counts)[targets.numpy().argmax(1)], rtol=1e-6)
    data = load("sold", sampling="balanced", frame=houses().assign(sold=["no"] * 110 + ["yes"] * 10), select=["area"])
    shown = np.concatenate([batch[1] for epoch in range(9) for batch in collect(data.epoch(epoch))])
    assert 0.4 < shown[:, 1].mean() < 0.6
    with pytest.raises(ConfigError, match="classes can be balanced only for a single target"):
        load("price", class_weight="balanced")


def test_rows_without_a_target_are_counted_and_left_out():
    frame = houses()
    frame.loc[[3, 5], "price"] = np.nan
    frame.loc[[5, 7], "sold"] = None
    data = load(["price", "sold"], frame=frame, where=["area > 90 or area != area"])
    kept = frame[(frame["area"] > 90) | frame["area"].isna()]
    assert data.summary()["dropped_rows"] == {
        "where": N - len(kept),
        "missing_target": int(kept[["price", "sold"]].isna().any(axis=1).sum()),
    }
    assert sum(data.summary()["rows"].values()) == len(kept.dropna(subset=["price", "sold"]))


@pytest.mark.parametrize(
    ("targets", "options", "error", "said"),
    [
        ("cost", {}, DataError, "no column 'cost'"),
        ("same", {}, DataError, "the target 'same' is constant"),
        ("none", {}, DataError, "has no value in any row"),
        ("infinite", {}, DataError, "data row 8: column 'infinite' is infinite"),
        (
            "town",
            {"target_kinds": {"town": "regression"}},
            DataError,
            "data rows 1, 2 and 3 .120 such rows.: the target 'town' is not a number",
        ),
        ("price", {"target_kinds": {"prize": "regression"}}, ConfigError, "did you mean 'price'"),
        ("price", {"target_kinds": {"price": "number"}}, ConfigError, "unknown kind of target"),
        (["a", "price"], {"target_kinds": {"a": "multi_label"}}, ConfigError, "two or more columns of 0 and 1"),
        (
            ["a", "price"],
            {"target_kinds": {"a": "multi_label", "price": "multi_label"}},
            DataError,
            "label column 'price' has no 0 or 1",
        ),
        ("sold", {"transform": "log"}, ConfigError, "transform needs a regression target"),
        ("price", {"transform": "root"}, ConfigError, "unknown transform"),
        ("price", {"y_range": (1,)}, ConfigError, "the range of price is invalid"),
        ("price", {"loss_weights": {"town": 1}}, ConfigError, "loss_weights names an unknown target"),
        ("price", {"select": ["town", "price"]}, ConfigError, "a target cannot be an input"),
        ("price", {"select": ["twon"]}, DataError, "no column 'twon'.*did you mean 'town'"),
        ("price", {"select": ["same"]}, DataError, "no column that can be an input.*same .always 'x'."),
        ("price", {"kinds": {"twon": "categorical"}}, DataError, "has no column 'twon'"),
        (
            "price",
            {"hash_buckets": {"area": 5}},
            ConfigError,
            "hash_buckets names a column that is not a categorical column",
        ),
        ("price", {"cyclic": ["town"]}, ConfigError, "cyclic names a column that is not a date column"),
        ("price", {"group_column": "shop"}, DataError, "no column 'shop'"),
        ("price", {"unknown_rate": 1}, ConfigError, "unknown_rate is invalid"),
        ("price", {"batch_size": 0}, ConfigError, "batch_size is invalid"),
        ("price", {"scaling": "minmax"}, ConfigError, "scaling"),
        ("price", {"min_count": 0}, ConfigError, "min_count"),
        ("price", {"select": ["twice"]}, DataError, "'twice' has the same order as the target"),
    ],
)
def test_what_cannot_be_used_is_said(targets, options, error, said):
    frame = houses().assign(same="x", none=None, infinite=np.where(np.arange(N) == 7, np.inf, 1.5))
    frame["twice"] = 2 * frame["price"]
    with pytest.raises(error, match=said) as caught:
        load(targets, frame=frame, **options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_class_that_training_lacks_is_said():
    frame = houses().assign(part=["train"] * 100 + ["val"] * 20)
    frame.loc[110, "sold"] = "perhaps"
    with pytest.raises(DataError, match="no training row has this class of 'sold', which 1 other row has.*'perhaps'"):
        load("sold", frame=frame, split_column="part")


# What is told


def test_the_summary_is_plain_and_complete():
    data = load("sold", frame=houses().assign(key=[f"k{row}" for row in range(N)], part=np.arange(N) % 24), select=None)
    summary = data.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["rows"] == {"train": 96, "val": 24}
    assert sum(summary["counts"]["val"].values()) == 24
    assert summary["columns"]["key"] == "id"
    assert any(finding.startswith("key: almost one value per row") for finding in summary["found"])
    assert summary["questions"] == {"part": "24 whole numbers: categorical or continuous?"}
    assert "key" not in [column.name for column in data.preprocessing.columns]
    numbers = load().summary()
    assert numbers["counts"] == {}
    assert numbers["targets"]["price"]["values"]["train"]["max"] == pytest.approx(load().labels("train").max())
    assert json.loads(json.dumps(numbers)) == numbers


def test_samples_are_rows_as_a_client_would_send_them():
    data = load()
    samples = data.samples("val", 5)
    assert len(samples) == 5
    assert all(isinstance(sample, bytes) for sample in samples)
    rows = data.encoded("val")[:: 24 // 5][:5]
    np.testing.assert_allclose(data.preprocessing.batch(tf.constant(samples)).numpy(), rows, atol=1e-6)
    assert len(data.samples("val", 1000)) == 24


def test_the_fingerprint_is_that_of_the_rows(tmp_path):
    one = load().fingerprint()
    assert one == load(batch_size=3, scaling="robust").fingerprint()
    houses().to_csv(tmp_path / "a.csv", index=False)
    assert table_from_file(tmp_path / "a.csv", "price", select=INPUTS).fingerprint() == one
    other = houses()
    other.loc[0, "town"] = "Rom"
    assert load(frame=other).fingerprint() != one
    assert load(seed=1).fingerprint() != one
    assert load(select=INPUTS[:-1]).fingerprint() != one


def test_rows_and_places_lead_back_to_the_file(tmp_path):
    houses().to_csv(tmp_path / "a.csv", index=False)
    data = table_from_file(tmp_path / "a.csv", "price", where=["town != 'Ulm'"])
    frame = pd.read_csv(tmp_path / "a.csv")
    place = data.places("val", [1])[0]
    number = int(place.rpartition(" ")[2])
    assert place == f"{tmp_path / 'a.csv'} row {number}"
    assert frame["price"][number - 2] == data.frame("val")["price"].iloc[1]
    assert len(data.places("val")) == len(data.rows("val")) == len(data.labels("val"))


def test_a_group_is_no_input_unless_it_is_said():
    frame = houses().assign(shop=np.arange(N) % 10)
    assert load(frame=frame, group_column="shop", select=None).kinds["shop"] == "ignore"
    assert not load(frame=frame, group_column="shop").findings
    data = load(frame=frame, group_column="shop", kinds={"shop": "categorical"}, select=None)
    assert data.kinds["shop"] == "categorical"
    found = [finding.why for finding in data.findings if finding.column == "shop"]
    assert found == ["is an input, but the held-out groups do not occur in training"]


def test_a_split_column_is_never_an_input():
    frame = houses().assign(part=["train"] * 90 + ["val"] * 30)
    data = load(frame=frame, split_column="part", kinds={"part": "categorical"}, select=None)
    assert data.kinds["part"] == "ignore"
    assert "part" not in [column.name for column in data.preprocessing.columns]


@pytest.mark.parametrize(("option", "by"), [("group_column", "in whole groups of part"), ("split_column", "by part")])
def test_a_time_column_that_does_not_split_is_reported(option, by):
    frame = houses().assign(part=["train"] * 90 + ["val"] * 30)
    data = load(frame=frame, time_column="day", **{option: "part"})
    assert [(finding.column, finding.why) for finding in data.findings] == [
        ("day", f"is not used for the split: rows are held out {by}")
    ]
    assert not load(frame=frame, time_column="day").findings
    assert not load(frame=frame, time_column="day", events=["fair"], **{option: "part"}).findings


# Events


def test_events_are_made_before_rows_go_and_do_not_look_past_the_split():
    frame = houses().sort_values("day").reset_index(drop=True)
    options = {
        "where": ["fair == 0"],
        "time_column": "day",
        "events": ["fair"],
        "select": None,
        "kinds": {"a": "ignore"},
    }
    data = load(frame=frame, **options)
    border = data.frame("val")["day"].min()
    wanted = event_features(frame, date="day", events=["fair"], known_from=[border])
    for split in ("train", "val"):
        own = data.frame(split)
        rows = wanted.loc[[int(place.rpartition(" ")[2]) - 1 for place in data.places(split)]]
        pd.testing.assert_frame_equal(own.reset_index(drop=True), rows.reset_index(drop=True))
    assert data.frame("train")["fair last 28 days"].max() > 0
    assert data.kinds["fair days since"] == "continuous"
    other = frame.assign(fair=np.where(frame["day"] >= border, 1 - frame["fair"], frame["fair"]))
    changed = load(frame=other, val_from=border, **options)
    np.testing.assert_array_equal(changed.frame("train")["fair days until"], data.frame("train")["fair days until"])


def test_the_day_of_events_is_found_or_asked_for():
    assert "fair last 28 days" in load(events=["fair"], select=None).frame("val").columns
    with pytest.raises(ConfigError, match="pass time_column"):
        load(events=["fair"], frame=houses().drop(columns="day"), select=["town", "area"])
    with pytest.raises(ConfigError, match=r"\['day', 'built'\].*pass time_column"):
        load(events=["fair"], frame=houses().assign(built=houses()["day"]), select=None)


# Evaluation


def test_evaluation_sees_every_row_through_the_preprocessing_of_training(tmp_path):
    data = load(["price", "sold"])
    new = houses(seed=5)
    new.to_csv(tmp_path / "new.csv", index=False)
    test = table_to_evaluate(tmp_path / "new.csv", data.preprocessing, data.targets, batch_size=16)
    assert list(test.splits) == ["test"]
    np.testing.assert_array_equal(test.encoded("test"), data.preprocessing.encode_frame(new))
    assert test.class_names == data.class_names
    np.testing.assert_allclose(test.labels("test")[:, 0], new["price"], rtol=1e-6)
    batch = next(iter(test.ordered("test")))
    np.testing.assert_allclose(batch[1][:, 0], data.targets[0].forward(new["price"][:16].to_numpy())[:, 0], rtol=1e-5)
    json.dumps(test.summary())


def test_evaluation_takes_the_held_out_part(tmp_path):
    data = load("sold")
    parts = {"train": houses(3), "val": houses(4).iloc[:10], "test": houses(5).iloc[:20]}
    assert len(table_to_evaluate(parts, data.preprocessing, data.targets).labels("test")) == 20
    del parts["test"]
    test = table_to_evaluate(parts, data.preprocessing, data.targets)
    assert test.frame("test")["price"].tolist() == parts["val"]["price"].tolist()
    assert test.labels("test").tolist() == (parts["val"]["sold"] == "yes").astype(int).tolist()


def test_evaluation_refuses_other_columns_types_and_classes():
    data = load("sold")
    for frame, said in (
        (houses().drop(columns="town"), "column 'town' is missing"),
        (houses().drop(columns="sold"), "no column 'sold'"),
        (houses().assign(area="wide"), "column 'area' has a value that is not a number of its format.*'wide'"),
        (
            houses().assign(sold="perhaps"),
            "data rows 1, 2 and 3 .120 such rows.: target 'sold' has a class that the mo",
        ),
    ):
        with pytest.raises(DataError, match=said):
            table_to_evaluate(frame, data.preprocessing, data.targets)
    # Fewer classes than the model knows are fine.
    assert set(table_to_evaluate(houses().assign(sold="yes"), data.preprocessing, data.targets).labels("test")) == {1}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("day", "19/06/2015", "column 'day' has a value that is not a date.*19/06/2015"),
        ("day", "2015-06-19T18", "column 'day' has a value that is not a date"),
        ("area", np.inf, "column 'area' is infinite"),
    ],
)
def test_rows_for_a_given_preprocessing_are_looked_at_too(column, value, said):
    data = load()
    frame = houses().assign(part=["train"] * 90 + ["test"] * 30)
    frame.loc[100, column] = value
    with pytest.raises(DataError, match=f"data row 101: {said}"):
        load(frame=frame, preprocessing=data.preprocessing, target_specs=data.targets)
    parts = {name: frame[frame["part"] == name] for name in ("train", "test")}
    with pytest.raises(DataError, match=f"data row 11: {said}"):
        table_to_evaluate(parts["test"], data.preprocessing, data.targets)
    # Where only the other part is measured nothing is wrong.
    parts = {"train": parts["test"], "test": parts["train"]}
    assert len(table_to_evaluate(parts, data.preprocessing, data.targets).labels("test")) == 90


def test_columns_without_a_value_can_be_evaluated():
    data = load()
    test = table_to_evaluate(houses().assign(day=None, area="", town=None), data.preprocessing, data.targets)
    numbers = [number for number, code in enumerate(data.preprocessing.codes) if code.column in ("day", "town")]
    assert (test.encoded("test")[:, numbers] == 1).all()


def test_text_that_looks_like_numbers_is_still_text_when_evaluated(tmp_path):
    frame = houses().assign(zip=[["0123", "99", "7a"][row % 3] for row in range(N)])
    data = load(frame=frame, select=["zip", "new", "area"])
    frame[frame["zip"] == "99"].to_csv(tmp_path / "new.csv", index=False)
    test = table_to_evaluate(tmp_path / "new.csv", data.preprocessing, data.targets)
    assert set(test.frame("test")["zip"]) == {"99"}
    np.testing.assert_array_equal(test.encoded("test"), data.preprocessing.encode_frame(frame[frame["zip"] == "99"]))
    assert set(np.unique(test.encoded("test")[:, 0])) == {2.0, 3.0}  # false and true


def test_evaluated_events_may_look_back_into_the_past():
    frame = houses().sort_values("day", ignore_index=True)
    border = frame["day"][90]
    old, new = frame[frame["day"] < border], frame[frame["day"] >= border]
    data = load(frame=frame, events=["fair"], time_column="day", select=None, val_from=border, kinds={"a": "ignore"})
    options = {"events": ["fair"], "time_column": "day"}
    alone = table_to_evaluate(new, data.preprocessing, data.targets, **options)
    behind = table_to_evaluate(new, data.preprocessing, data.targets, history=old, **options)
    wanted = data.frame("val").set_index("price")["fair last 28 days"]
    assert behind.frame("test").set_index("price")["fair last 28 days"].equals(wanted.loc[new["price"]])
    assert alone.frame("test")["fair last 28 days"].sum() < behind.frame("test")["fair last 28 days"].sum()
    np.testing.assert_array_equal(np.sort(behind.encoded("test"), 0), np.sort(data.encoded("val"), 0))


# Numbers as people write them


MESSY = ["$1,200.50", "($3.00)", "$7", "-", "$12.25"]


def test_every_reader_reads_numbers_alike(tmp_path):
    from tlkit.inputs.row.row_file import RowFile
    from tlkit.inputs.row.typed_rows import typed

    rng, first = np.random.default_rng(0), 1234567890123456781
    rows = [
        f'"{MESSY[number % 5]}",{rng.integers(1, 99)} %,{rng.choice(["NA", "b", "c"])},'
        f"{rng.choice(['007', '12'])},{first + number % 3 if number % 4 else ''},{rng.normal() * 9:.2f} kg"
        for number in range(120)
    ]
    path = tmp_path / "a.csv"
    path.write_text("price,share,town,code,acct,y\n" + "\n".join(rows) + "\n")
    data = table_from_file(path, "y", kinds={"acct": "categorical"})
    fitted = data.preprocessing
    assert fitted.forms["price"] == NumberForm(".", ",", "$", brackets=True, missing=("-",))
    assert data.targets[0].unit == "kg"
    assert data.summary()["targets"]["y"]["unit"] == "kg"
    found = {finding.column: finding.why for finding in (*data.findings, *data.questions)}
    assert "24 x '-'" in found["price"]
    columns = {column.name: column for column in fitted.columns}
    assert columns["town"].values == ("NA", "b", "c")
    assert columns["acct"].values == tuple(str(first + number) for number in range(3))
    assert TablePreprocessing.from_dict(fitted.to_dict()) == fitted
    test = table_to_evaluate(path, fitted, data.targets)
    chunk = list(RowFile(path))
    frame = typed(chunk, fitted.columns, fitted.missing, fitted.forms)
    np.testing.assert_array_equal(fitted.encode_frame(frame), test.encoded("test"))
    order = np.argsort(np.concatenate([data.rows(name) for name in data.splits]))
    encoded = np.concatenate([data.encoded(name) for name in data.splits])[order]
    np.testing.assert_array_equal(encoded, test.encoded("test"))
    # A single row is read as it would be among the others.
    (tmp_path / "b.csv").write_text('price,share,town,code,acct,y\n"($3)",5%,NULL,007,,1 kg\n')
    alone = table_to_evaluate(tmp_path / "b.csv", fitted, data.targets)
    assert alone.frame("test").iloc[0][["price", "share", "code"]].tolist() == [-3, 5, "007"]
    (tmp_path / "c.csv").write_text('price,share,town,code,acct,y\n"€3",5%,b,007,,1 kg\n')
    with pytest.raises(DataError, match=r"row 2: column 'price' has a value that is not a number of its format.*€3"):
        table_to_evaluate(tmp_path / "c.csv", fitted, data.targets)
    chunk = list(RowFile(tmp_path / "c.csv"))
    with pytest.raises(DataError, match=r"row 2, column 'price' has another type than in training.*€3.*unit \"\$\""):
        typed(chunk, fitted.columns, fitted.missing, fitted.forms)


def test_missing_marks_of_one_column_and_of_all(tmp_path):
    some = [("a", "c")[n % 2] if n % 3 == 0 else "None" for n in range(90)]
    texts = [(own, "None" if n % 2 else "b", "x" if n % 5 else "?") for n, own in enumerate(some)]
    rows = "".join(f"{','.join(row)}\n" for row in texts)
    (tmp_path / "a.csv").write_text("s,t,y\n" + rows)
    data = table_from_file(tmp_path / "a.csv", "y", formats={"s": {"missing": ["None"]}})
    columns = {column.name: column for column in data.preprocessing.columns}
    assert (columns["s"].values, columns["s"].missing) == (("a", "c"), ("None",))
    assert columns["t"].values == ("None", "b")
    assert data.class_names == ["?", "x"]
    sent = data.preprocessing.encode({"s": tf.constant(["None", "a"]), "t": tf.constant(["None", ""])})
    assert sent.numpy().tolist() == [[1, 2], [2, 1]]
    assert any("'?' is a class of y (18 of 90 rows)" in finding.why for finding in data.questions)
    test = table_to_evaluate(tmp_path / "a.csv", data.preprocessing, data.targets)
    assert len(test.labels("test")) == 90
