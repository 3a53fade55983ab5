"""Shards on disk: written as a whole or not at all, believed only when they are what was written, merged in order."""

import json

import pandas as pd
import pyarrow as pa
import pytest

from tlkit.errors import ConfigError, DataError
from tlkit.inputs.items import Item, Shard
from tlkit.scoring.plan import Plan
from tlkit.scoring.shard_writer import ShardWriter
from tlkit.scoring.shards import ShardStore

NAMES = ["id", "said\nso"]
SCHEMA = pa.schema([(name, pa.string()) for name in NAMES])


def written(store, number, rows, bad=(), plan="p"):
    shard = Shard(number, 0, len(rows) + len(bad))
    with ShardWriter(store.files(number), shard, SCHEMA, plan=plan) as out:
        for row in rows:
            out.write(dict(zip(NAMES, row, strict=True)), "row")
        for reason in bad:
            out.fail(Item(6, "rows.csv row 8", None, {"id": "x"}), reason)
        return out.commit()


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "out.shards"
    folder.mkdir()
    made = ShardStore(folder, ".csv")
    made.make()
    return made


def test_a_shard_that_is_not_committed_leaves_nothing(store):
    with ShardWriter(store.files(0), Shard(0, 0, 2), SCHEMA, plan="p") as out:
        out.write({"id": "1", NAMES[1]: "a"}, "row")
        out.fail(Item(0, "row", None, {}), "why")
        assert len([path for path in store.folder.rglob(".tmp-*") if path.is_file()]) == 2
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("items", [1, 3])
def test_a_shard_with_another_number_of_items_is_refused(store, items):
    with ShardWriter(store.files(0), Shard(0, 0, items), SCHEMA, plan="p") as out:
        out.write({"id": "1", NAMES[1]: "a"}, "row")
        out.write({"id": "2", NAMES[1]: "a"}, "row")
        with pytest.raises(DataError, match=f"has 2 items where the plan has {items}.*--restart"):
            out.commit()
    assert store.report(0, "p") is None


def test_a_report_is_believed_only_while_the_files_are_what_was_written(store):
    report = written(store, 0, [("1", "a")], bad=["why"])
    assert (report.read, report.scored, report.failed) == (2, 1, 1)
    assert store.report(0, "p") == report
    assert store.report(0, "another plan") is None
    assert store.report(1, "p") is None
    files = store.files(0)
    kept = files.data.read_bytes()
    files.data.write_bytes(kept[:-1])
    assert store.report(0, "p") is None
    files.data.write_bytes(kept)
    assert store.report(0, "p") == report
    files.errors.unlink()
    assert store.report(0, "p") is None


def test_a_shard_that_is_written_again_replaces_the_bad_items_of_before(store):
    written(store, 0, [("1", "a")], bad=["why"])
    report = written(store, 0, [("1", "a"), ("2", "b")])
    assert store.report(0, "p") == report
    assert not store.files(0).errors.exists()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_shards_become_one_file_in_order(tmp_path, suffix):
    store = ShardStore(tmp_path / "shards", suffix)
    store.make()
    names = ["id", "said"] if suffix == ".tsv" else NAMES
    schema = pa.schema([(name, pa.string()) for name in names])
    for number in (2, 0, 1):
        with ShardWriter(store.files(number), Shard(number, 0, 2), schema, plan="p") as out:
            out.write({"id": str(number), names[1]: "x"}, "row")
            out.fail(Item(number, f"row {number}", "a\ttab \udcff", {}), "why\nindeed")
            out.commit()
    out = tmp_path / f"out{suffix}"
    errors = tmp_path / f"errors{'.csv' if suffix == '.tsv' else suffix}"
    store.merge(range(3), out, names)
    assert store.merge_errors(range(3), errors)
    frames = []
    for path in (out, errors):
        if path.suffix == ".parquet":
            frames.append(pd.read_parquet(path))
        elif path.suffix == ".jsonl":
            frames.append(pd.read_json(path, lines=True))
        else:
            frames.append(pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ","))
    assert list(frames[0].columns) == names
    assert frames[0]["id"].astype(int).tolist() == [0, 1, 2]
    assert frames[1]["number"].tolist() == [1, 2, 3]
    assert set(frames[1]["item"]) == {"a\ttab \\xff"}
    assert set(frames[1]["reason"]) == {"why\nindeed"}
    assert not list(tmp_path.glob(".tmp-*"))


def test_bad_items_of_an_earlier_run_do_not_stay(store, tmp_path):
    written(store, 0, [("1", "a")])
    (tmp_path / "errors.csv").write_text("old")
    assert not store.merge_errors([0], tmp_path / "errors.csv")
    assert not (tmp_path / "errors.csv").exists()


def test_only_what_a_run_writes_is_cleared(store):
    written(store, 0, [("1", "a")], bad=["why"])
    assert store.is_ours()
    (store.folder / "thesis.doc").write_text("dear")
    assert not store.is_ours()
    store.clear()
    assert [path.name for path in store.folder.iterdir()] == ["thesis.doc"]


def plan(**changes):
    parts = {
        "input": {"path": "/a", "digest": "1"},
        "model": {"path": "/m", "digest": "2"},
        "settings": {"--top": 3, "--text": None},
        "shards": (Shard(0, 0, 5),),
    }
    return Plan(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {"path": "/a", "digest": "x"}}, "the input changed since"),
        ({"model": {"path": "/m", "digest": "x"}}, "the model changed since"),
        ({"settings": {"--top": 2, "--text": None}}, "--top changed since"),
        ({"shards": (Shard(0, 0, 4), Shard(1, 4, 1))}, "the shards changed since"),
    ],
)
def test_a_run_goes_on_only_with_the_same_plan(tmp_path, changes, message):
    plan().write(tmp_path)
    read = Plan.read(tmp_path)
    assert read == plan()
    read.check_same(plan(), tmp_path)
    read.check_same(plan(input={"path": "/moved", "digest": "1"}), tmp_path)
    with pytest.raises(ConfigError, match=f"{message}.*--restart"):
        read.check_same(plan(**changes), tmp_path)


def test_a_damaged_plan_is_an_error_and_none_is_none(tmp_path):
    assert Plan.read(tmp_path) is None
    (tmp_path / "_plan.json").write_text(json.dumps({"input": {}}))
    with pytest.raises(DataError, match="damaged.*--restart"):
        Plan.read(tmp_path)
