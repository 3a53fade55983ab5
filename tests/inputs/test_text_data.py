from __future__ import annotations

import logging
import zlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.text.data import TextData
from tlkit.inputs.text.findings import copy_numbers, normalized
from tlkit.inputs.text.listing import list_table
from tlkit.inputs.text.reading import texts_from_folder, texts_from_table, texts_to_evaluate
from tlkit.inputs.text.tokens import tokenize
from tlkit.training.probe import out_of_fold
from tlkit.trust.check.rules import RULES
from tlkit.trust.check.run import check, examine, questions_of

START, END, PAD = 1, 2, 0


def ids(text: str) -> list[int]:
    return [START, *(zlib.crc32(word.encode()) % 1000 + 3 for word in text.split()), END]


class Words:
    """Numbers for words: what the data asks of a `TextPreprocessing`, and no more."""

    def ragged(self, texts):
        return tf.ragged.constant([ids(text.decode()) for text in texts.numpy()], tf.int32, row_splits_dtype=tf.int64)

    def pad(self, ragged):
        return ragged.to_tensor(default_value=PAD)

    def to_dict(self):
        return {"tokenizer": "words"}


def frame(count: int = 100, seed: int = 0, classes=("bad", "fine", "good")) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    texts = [
        f"t{row} " + " ".join("abcdefgh"[i] for i in random.integers(0, 8, random.integers(0, 30)))
        for row in range(count)
    ]
    return pd.DataFrame({"text": texts, "label": [classes[row % len(classes)] for row in range(count)]})


def make(table=None, **options) -> TextData:
    return texts_from_table(frame() if table is None else table, preprocessing=Words(), **{"batch_size": 8, **options})


def shown(dataset) -> list[tuple[list[list[int]], list]]:
    """Batches as plain lists, padding taken off."""
    found = []
    for token_ids, targets, *weights in dataset:
        rows = [[number for number in row if number != PAD] for row in token_ids.numpy().tolist()]
        found.append((rows, targets.numpy().tolist(), *(w.numpy().tolist() for w in weights)))
    return found


# Batches


def test_batches_hold_the_texts_padded_to_the_longest_of_each():
    data = make()
    seen = 0
    for token_ids, targets in data.val:
        assert token_ids.dtype == tf.int32
        assert targets.dtype == tf.float32
        texts = data.texts("val")[seen : seen + 8]
        wanted = [ids(text) for text in texts]
        assert token_ids.shape == (len(texts), max(map(len, wanted)))
        for row, own in zip(token_ids.numpy().tolist(), wanted, strict=True):
            assert row == own + [PAD] * (len(row) - len(own))
        numbers = data.labels("val")[seen : seen + 8]
        np.testing.assert_array_equal(targets, np.eye(3, dtype=np.float32)[numbers])
        seen += len(texts)
    assert seen == len(data.labels("val")) == 20
    assert data.val.element_spec[0].shape.as_list() == [None, None]


def test_a_split_stands_in_the_order_of_its_tokens_and_everything_follows_it():
    table = frame()
    data = make(table)
    for split in ("train", "val"):
        lengths = [len(ids(text)) for text in data.texts(split)]
        assert lengths == sorted(lengths)
        rows = data.rows(split)
        assert data.texts(split) == table["text"].iloc[rows].tolist()
        assert [data.class_names[number] for number in data.labels(split)] == table["label"].iloc[rows].tolist()
        assert data.places(split) == [f"the table data row {row + 1}" for row in rows]
        ties = [rows[at] < rows[at + 1] for at in range(len(rows) - 1) if lengths[at] == lengths[at + 1]]
        assert ties
        assert all(ties)
    assert sorted([*data.rows("train"), *data.rows("val")]) == list(range(100))
    assert data.class_names == ["bad", "fine", "good"]


def test_an_epoch_is_its_stretch_of_the_stream():
    data = make()
    steps = data.steps_per_epoch
    assert steps == 10
    stream = shown(data.epochs().take(3 * steps))
    number = tf.Variable(0, dtype=tf.int64)
    by_variable = data.epoch(number)
    for epoch in range(3):
        own = stream[epoch * steps : (epoch + 1) * steps]
        assert shown(data.epoch(epoch)) == own
        assert shown(data.epochs(epoch).take(steps)) == own
        number.assign(epoch)
        assert shown(by_variable) == own
        texts = sorted(tuple(row) for rows, _ in own for row in rows)
        assert texts == sorted(tuple(ids(text)) for text in data.texts("train"))
    assert stream[:steps] != stream[steps : 2 * steps]
    assert int(by_variable.cardinality()) == steps
    assert shown(data.epoch(1).skip(4)) == stream[steps + 4 : 2 * steps]


def test_targets_go_with_their_texts_in_every_batch():
    data = make()
    label_of = {
        tuple(ids(text)): number for text, number in zip(data.texts("train"), data.labels("train"), strict=True)
    }
    for rows, targets in shown(data.epoch(3)):
        assert [int(np.argmax(target)) for target in targets] == [label_of[tuple(row)] for row in rows]


def test_fit_on_train_sees_another_order_each_time():
    data = make()
    first, second = shown(data.train), shown(data.train)
    assert len(first) == len(second) == data.steps_per_epoch == int(data.train.cardinality())
    dataset = data.train
    assert shown(dataset) != shown(dataset)


def test_the_plain_order_shows_every_row():
    data = make()
    order = data.epoch_order(4).numpy()
    assert sorted(order) == list(range(80))
    np.testing.assert_array_equal(order, make().epoch_order(4))
    assert not np.array_equal(order, data.epoch_order(5))


def test_padding_is_little():
    data = make(frame(2000), batch_size=16)
    real = padded = 0
    for token_ids, _ in data.epoch(0):
        real += int(tf.math.count_nonzero(token_ids))
        padded += int(tf.size(token_ids))
    assert real / padded > 0.93


def test_class_weights_and_balanced_sampling():
    table = pd.DataFrame({"text": [f"text {row}" for row in range(50)], "label": ["rare"] * 10 + ["usual"] * 40})
    data = make(table, class_weight="balanced")
    np.testing.assert_allclose(data.class_weights, [40 / 16, 40 / 64])
    for _, targets, weights in shown(data.epoch(0)):
        np.testing.assert_allclose(weights, [data.class_weights[int(np.argmax(target))] for target in targets])
    drawn = sum(
        target[0]
        for epoch in range(5)
        for _, ts in shown(make(table, sampling="balanced").epoch(epoch))
        for target in ts
    )
    assert 70 < drawn < 130  # of 200; 40 without


def test_a_text_may_have_several_labels():
    table = frame(60)
    table["label"] = ["a|b" if row % 3 == 0 else "" if row % 3 == 1 else "c" for row in range(60)]
    data = make(table, label_separator="|")
    assert data.multi_label
    assert data.class_names == ["a", "b", "c"]
    assert data.labels("train").dtype == np.float32
    assert data.labels("train").shape == (len(data.rows("train")), 3)
    for row, marks in zip(data.rows("val"), data.labels("val"), strict=True):
        assert marks.tolist() == ([1, 1, 0], [0, 0, 0], [0, 0, 1])[row % 3]
    first = next(iter(data.epoch(0)))
    assert first[1].shape == (8, 3)
    assert data.summary()["counts"]["val"] == {"a": 4, "b": 4, "c": 4}
    for option in ({"class_weight": "balanced"}, {"sampling": "balanced"}):
        with pytest.raises(ConfigError, match="balanced only for single-label data"):
            make(table, label_separator="|", **option)


# Splits


def test_copies_do_not_straddle_a_split_that_we_make():
    table = pd.concat([frame(60), frame(60).assign(text=frame(60)["text"].str.upper() + "  ")], ignore_index=True)
    for options in ({}, {"label_separator": "|"}):
        data = make(table, **options)
        train, val = ({normalized(text) for text in data.texts(split)} for split in ("train", "val"))
        assert len(train) + len(val) == 60
        assert not train & val
        assert data.report.leaks == {"val": 0}
        assert data.report.repeated_in_train == len(train)


def test_groups_and_times():
    table = frame()
    table["film"] = [f"f{row // 3 % 11}" for row in range(100)]
    table["day"] = pd.date_range("2024-01-01", periods=100)[::-1]
    data = make(table, group_column="film")
    films = table["film"]
    assert not set(films[data.rows("train")]) & set(films[data.rows("val")])
    data = make(table, time_column="day", val_fraction=0.3)
    assert sorted(data.rows("val")) == list(range(30))
    table["label"] = ["new"] * 30 + ["old"] * 40 + ["older"] * 30
    with pytest.raises(DataError, match="class 'new' has no training text left: 30 texts, all empty"):
        make(table, time_column="day", val_fraction=0.3)


def test_parts_of_the_user_are_kept():
    table = frame(90)
    table["part"] = ["train", "val", "test"] * 30
    table["label"] = [("a", "b")[row // 3 % 2] for row in range(90)]
    data = make(table, split_column="part")
    assert {name: set(data.rows(name) % 3) for name in data.splits} == {"train": {0}, "val": {1}, "test": {2}}
    assert len(shown(data.test)) == 4


def test_a_split_that_is_not_there():
    with pytest.raises(ConfigError, match="no 'test' split.*allowed: train, val"):
        make().test


# Empty texts and copies


def dirty() -> pd.DataFrame:
    rows = [
        ("good film", "good", "train"),
        ("Good  film ", "good", "train"),
        ("bad film", "bad", "train"),
        ("BAD FILM", "good", "train"),
        ("seen before", "bad", "train"),
        ("fine", "good", "train"),
        (" \u2028", "bad", "train"),
        ("", "good", "val"),
        ("seen\nbefore", "bad", "val"),
        ("new", "good", "val"),
        ("FINE", "good", "test"),
        ("last", "bad", "test"),
    ]
    return pd.DataFrame(rows, columns=["text", "label", "part"])


def test_empty_texts_and_copies_are_found(caplog):
    with caplog.at_level(logging.INFO, "tlkit"):
        data = make(dirty(), split_column="part")
    found = data.report
    assert found.empty == {"train": 1, "val": 1, "test": 0}
    assert found.repeated_in_train == 2
    assert found.leaks == {"val": 1, "test": 1}
    assert found.disagreeing == 1
    assert found.examples["in_train_and_val"] == ["the table data row 9 = the table data row 5: 'seen\\nbefore'"]
    assert found.examples["empty"] == ["the table data row 7", "the table data row 8"]
    assert found.examples["disagreeing"] == ["the table data row 4 = the table data row 3: 'BAD FILM'"]
    assert {name: len(data.rows(name)) for name in data.splits} == {"train": 6, "val": 3, "test": 2}
    assert data.summary()["dropped_from_training"] == {"empty": 1, "copies": 0}
    assert data.summary()["found"] == found.to_dict()
    assert "skipped 1 empty training texts" in caplog.text
    assert "1 of the val texts are also in the training set, for example the table data row 9" in caplog.text
    assert "1 texts occur with different labels" in caplog.text


def test_the_check_only_warns_of_empty_texts_that_training_leaves_out():
    table = pd.concat([frame(40), pd.DataFrame({"text": [" "], "label": ["bad"]})], ignore_index=True)
    assert _unreadable(make(table)) == ("warn", "training leaves them out", ["is empty, and is left out of training"])
    table["part"] = ["train"] * 30 + ["val"] * 11  # held-out parts of one's own keep their empty texts
    assert _unreadable(make(table, split_column="part")) == ("fail", "", ["is empty"])


def _unreadable(data: TextData) -> tuple[str, str, list[str]]:
    examined = examine(data, "text", quick=True)
    levels = dict.fromkeys(RULES, "off") | {"unreadable": "fail"}
    result = check(examined, questions_of(data), fit=out_of_fold, levels=levels)
    found = next(outcome for outcome in result.outcomes if outcome.rule == "unreadable")
    return found.status, found.handled, [one.text.removeprefix(one.name).strip() for one in found.findings]


def test_copies_are_dropped_from_training_on_request():
    data = make(dirty(), split_column="part", on_duplicate="drop")
    assert sorted(data.texts("train")) == ["bad film", "good film"]
    assert {name: len(data.rows(name)) for name in data.splits} == {"train": 2, "val": 3, "test": 2}
    assert data.summary()["dropped_from_training"] == {"empty": 1, "copies": 4}
    table = dirty()
    table.loc[table["label"] == "bad", "text"] = "seen before"
    with pytest.raises(DataError, match="class 'bad' has no training text left: "):
        make(table, split_column="part", on_duplicate="drop")


def test_copies_are_counted_without_case_and_white_space():
    texts = ["a  b", " A\u2003b\n", "ab", "straße", "STRASSE", "", "  "]
    assert copy_numbers(texts).tolist() == [0, 0, 2, 3, 3, 5, 5]


# Summary, fingerprint, samples


def test_the_fingerprint_is_that_of_texts_labels_and_parts():
    table = frame()
    assert make(table).fingerprint() == make(table, batch_size=3).fingerprint()
    other = table.copy()
    other.loc[0, "text"] += "!"
    labels = table.copy()
    labels.loc[[0, 1], "label"] = ["fine", "bad"]
    prints = {make(one).fingerprint() for one in (table, other, labels)} | {make(table, seed=1).fingerprint()}
    assert len(prints) == 4
    moved = [pd.DataFrame({"text": list(pair), "label": "x", "part": "test"}) for pair in (("ab", "c"), ("a", "bc"))]
    one, two = (texts_to_evaluate(part, ["x"], preprocessing=Words()).fingerprint() for part in moved)
    assert one != two


def test_summary_and_samples():
    data = make()
    summary = data.summary()
    assert summary["counts"] == {"train": {"bad": 27, "fine": 26, "good": 27}, "val": {"bad": 7, "fine": 7, "good": 6}}
    assert summary["texts"] == {"train": 80, "val": 20}
    assert summary["tokens"]["longest"] == max(len(ids(text)) for text in frame()["text"])
    samples = data.samples("val", 5)
    assert [sample.decode() for sample in samples] == data.texts("val")[::4]
    assert len(data.samples("val", 500)) == 20
    assert repr(data) == "TextData(3 classes, train 80, val 20)"
    assert data.augmentation is None


def test_texts_are_tokenized_in_pieces_that_fit_together():
    texts = frame(2500)["text"].tolist()
    whole = tokenize(texts, Words())
    assert whole.dtype == tf.int32
    assert whole.to_list() == [ids(text) for text in texts]
    assert tokenize([], Words()).nrows() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is invalid"),
        ({"seed": -1}, "seed is invalid"),
        ({"sampling": "sorted"}, "unknown sampling"),
        ({"class_weight": "heavy"}, "unknown class_weight"),
        ({"on_duplicate": "keep"}, "unknown on_duplicate"),
        ({"val_fraction": 2}, "val_fraction is invalid"),
        ({"sampling": "balanced", "class_weight": "balanced"}, "cannot both balance the classes"),
        ({"quoting": "some"}, "unknown quoting"),
    ],
)
def test_options_that_cannot_be_used(options, message, tmp_path):
    frame().to_csv(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / "t.csv", **options)


# Folders, evaluation, the real preprocessing


def test_a_folder_for_each_class(tmp_path):
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        for number in range(6):
            (tmp_path / label / f"{number}.txt").write_text(f"{label} {'word ' * number}{number}")
    data = texts_from_folder(tmp_path, preprocessing=Words(), val_fraction=0.5)
    assert data.class_names == ["neg", "pos"]
    assert np.bincount(data.labels("val")).tolist() == [3, 3]
    measured = texts_to_evaluate(tmp_path, ["other", "pos", "neg"], preprocessing=Words())
    assert list(measured.splits) == ["test"]
    assert measured.class_names == ["other", "pos", "neg"]
    assert np.bincount(measured.labels("test")).tolist() == [0, 6, 6]


def test_evaluation_takes_the_held_out_part_and_keeps_every_text(tmp_path):
    table = dirty()
    table.to_csv(tmp_path / "t.csv", index=False)
    data = texts_to_evaluate(tmp_path / "t.csv", ["good", "bad"], preprocessing=Words(), split_column="part")
    assert sorted(data.texts("test")) == ["FINE", "last"]
    data = texts_to_evaluate(tmp_path / "t.csv", ["good", "bad"], preprocessing=Words())
    assert len(data.texts("test")) == 12
    assert data.texts("test")[0].strip() == ""
    with pytest.raises(
        DataError, match=r"the model was not trained on \(.*t.csv row 4\); received: 'bad'; allowed: good, x"
    ):
        texts_to_evaluate(tmp_path / "t.csv", ["good", "x"], preprocessing=Words())
    with pytest.raises(DataError, match="the model predicts several labels for a text, but the data has one class"):
        texts_to_evaluate(tmp_path / "t.csv", ["good", "bad"], preprocessing=Words(), multi_label=True)
    with pytest.raises(DataError, match="the model predicts one class for a text, but the data has a set of labels"):
        texts_to_evaluate(tmp_path / "t.csv", ["good", "bad"], preprocessing=Words(), label_separator="|")
    data = texts_to_evaluate(
        tmp_path / "t.csv", ["good", "x", "bad"], preprocessing=Words(), label_separator="|", multi_label=True
    )
    assert data.labels("test").sum(0).tolist() == [7, 0, 5]


def test_one_class_is_refused_before_any_tokenizer_is_loaded(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,x\nb,x\n")
    with pytest.raises(DataError, match="at least two classes"):
        texts_from_table(tmp_path / "t.csv", encoder="no such encoder")


def test_it_is_made_with_the_tokenizer_of_the_encoder(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    data = texts_from_table(tmp_path / "t.csv", weights="none", max_tokens=16, long_texts="windows", strip_html=True)
    preprocessing = data.preprocessing
    assert (preprocessing.max_tokens, preprocessing.long_texts, preprocessing.strip_html) == (16, "windows", True)
    token_ids, _ = next(iter(data.epoch(0)))
    wanted = sorted(row.tolist() for row in preprocessing.batch(tf.constant(data.texts("val")[-4:])).numpy())
    found = sorted(row.tolist() for row in list(data.ordered("val"))[-1][0].numpy()[-4:])
    assert token_ids.shape[0] == 32
    assert found == wanted


def test_a_listing_knows_its_labels():
    listing = list_table(frame(6))
    assert listing.only([4, 0], "test").texts == [listing.texts[4], listing.texts[0]]
    assert listing.only([4, 0], "test").splits == ["test", "test"]
    assert listing.seen([0, 3]) == {"bad"}
