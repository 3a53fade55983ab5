"""Whole runs on Beam's in-process runner: the same numbers as `tlkit predict`, bad items aside, counts that add up."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny
import tiny_table
import tiny_text
from exports import export_of

from tlkit.errors import ConfigError, DataError, ExportError, ScoringError
from tlkit.inputs.image.hostile import png_bomb
from tlkit.scoring import pipeline, run


@pytest.fixture
def photos(tmp_path):
    """Ten photos in two folders and two files that are none."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, picture in enumerate(tiny.photos(10)):
        suffix = "png" if number % 2 else "jpg"
        (folder / ("more" if number > 6 else ".") / f"{number}.{suffix}").write_bytes(picture)
    (folder / "3bad.jpg").write_bytes(b"no photo")
    (folder / "more" / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no photo, and not called like one")
    return folder


@pytest.fixture
def rows(tmp_path):
    tiny_table.tiny_frame(60, targets=False).assign(key=range(60)).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def counted(summary):
    """Check a summary's own counts, and give them."""
    for shard in summary["shards"]:
        assert shard["read"] == shard["scored"] + shard["failed"]
    for name, total in (("read", "items"), ("scored", "scored"), ("failed", "failed")):
        assert sum(shard[name] for shard in summary["shards"]) == summary[total]
    assert summary["items"] == summary["scored"] + summary["failed"]
    return summary["items"], summary["scored"], summary["failed"]


def same_rows(wanted, got):
    pd.testing.assert_frame_equal(wanted, got, rtol=1e-5, atol=2e-6)


def test_photos_are_scored_as_predict_does_and_bad_files_stand_aside(scored, photos, tmp_path):
    from tlkit.export.predictor import SavedModelPredictor

    export = export_of("photos")
    summary = scored(photos, tmp_path / "s.parquet", export, shard_size=5)
    assert counted(summary) == (12, 10, 2)
    assert summary["beam"] == {"read": 12, "scored": 10, "failed": 2, "bad": 2, "shards": 3}
    frame = pd.read_parquet(tmp_path / "s.parquet")
    good = [path for path in sorted(photos.rglob("*.*g")) if path.stem not in ("3bad", "empty")]
    assert frame["input"].tolist() == [str(path) for path in good]
    answers = SavedModelPredictor(export).predict(good)
    assert frame["predicted"].tolist() == [answer["classes"][0] for answer in answers]
    for label in tiny.LABELS:
        wanted = [dict(zip(answer["classes"], answer["scores"], strict=True))[label] for answer in answers]
        np.testing.assert_allclose(frame[f"probability_{label}"], wanted, atol=2e-6)
    bad = pd.read_parquet(tmp_path / "s.errors.parquet")
    assert bad["number"].tolist() == [5, 12]
    assert bad["place"].tolist() == [str(photos / "3bad.jpg"), str(photos / "more" / "empty.png")]
    assert bad["reason"].tolist() == [
        f"{photos / '3bad.jpg'} is not an image but text (known formats: JPEG, PNG, GIF, BMP, WebP)",
        f"{photos / 'more' / 'empty.png'} is empty (0 bytes)",
    ]
    assert summary["entries"] == {"found": 13, "used": 12, "left_out": {"files that are no images": 1}}
    assert summary["damaged"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "s.errors.parquet", "s.parquet"]


def test_texts_keep_their_columns_and_order_whatever_their_lengths(scored, tmp_path):
    from tlkit.export.predictor import SavedModelPredictor

    texts = [(tiny_text.SENTENCES[n % 4] + " good" * (n * 7 % 11)).replace("film", "film\n") for n in range(30)]
    pd.DataFrame({"id": range(30), "review": texts}).to_csv(tmp_path / "in.csv", index=False)
    export = export_of("texts")
    summary = scored(tmp_path / "in.csv", tmp_path / "out.csv", export, text="review", shard_size=8, batch_size=3)
    assert counted(summary) == (30, 30, 0)
    assert summary["errors"] is None
    frame = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert list(frame.columns) == [
        "id", "review", "predicted", "probability_bad", "probability_good", "score_bad", "score_good",
    ]  # fmt: skip
    assert frame["id"].tolist() == list(range(30))
    assert frame["review"].tolist() == texts
    for text, got in zip(SavedModelPredictor(export).predict(texts), frame.to_dict("records"), strict=True):
        assert got["predicted"] == text["classes"][0]
        assert got[f"probability_{text['classes'][0]}"] == pytest.approx(text["scores"][0], abs=2e-6)


@pytest.mark.parametrize(
    "kind",
    [
        "several",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("single_label", "multi_label", "regression")),
    ],
)
def test_rows_are_written_as_tlkit_predict_writes_them(scored, rows, tmp_path, monkeypatch, kind):
    from types import SimpleNamespace

    from tlkit.cli.predict_table import TableOptions, predict_table
    from tlkit.cli.row_models import exported_rows
    from tlkit.export.predictor import SavedModelPredictor
    from tlkit.tasks.tabular.commands import TabularCommands

    export = export_of(kind)
    target = {"single_label": "sold", "multi_label": "labels"}.get(kind)
    data = SimpleNamespace(separator="", encoding="utf-8")
    task = SimpleNamespace(task="tabular")
    names = {"targets": ["sold"], "target_names": ["sold"]}
    config = SimpleNamespace(data=data, project=task, reading={"join": []}, events=(), **names)
    monkeypatch.setattr("tlkit.cli.answers.outputs", lambda project: None)
    project = SimpleNamespace(config=config, kind=TabularCommands())
    monkeypatch.setattr(
        "tlkit.cli.row_models.row_model", lambda *asked: _Context(exported_rows(SavedModelPredictor(export), project))
    )
    predict_table(project, rows, tmp_path / "predicted.csv", TableOptions())
    summary = scored(rows, tmp_path / "scored.csv", export, shards=4, batch_size=7, target=target)
    assert counted(summary) == (60, 60, 0)
    wanted, got = pd.read_csv(tmp_path / "predicted.csv"), pd.read_csv(tmp_path / "scored.csv")
    same_rows(wanted, got)


class _Context:
    def __init__(self, value):
        self._value = value

    def __enter__(self):
        return self._value

    def __exit__(self, *error):
        return None


def test_a_bad_row_does_not_cost_its_neighbours(scored, tmp_path):
    frame = tiny_table.tiny_frame(100, targets=False).astype(object)
    frame.loc[17, "rooms"] = "many"
    frame.loc[60, "built"] = "yesterday"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("one,field\n")
    summary = scored(tmp_path / "rows.csv", tmp_path / "out.jsonl", export_of("regression"), shard_size=70)
    assert counted(summary) == (101, 98, 3)
    bad = [json.loads(line) for line in (tmp_path / "out.errors.jsonl").read_text().splitlines()]
    assert [line["number"] for line in bad] == [18, 61, 101]
    assert [line["place"].split()[-1] for line in bad] == ["19", "62", "102"]
    assert "whole numbers" in bad[0]["reason"]
    assert "'many'" in bad[0]["reason"]
    assert "dates" in bad[1]["reason"]
    assert bad[2]["reason"] == "2 fields where the header has 6"
    assert bad[2]["item"] == "one,field"
    alone = tiny_table.tiny_frame(100, targets=False).drop(index=[17, 60])
    alone.to_csv(tmp_path / "good.csv", index=False)
    scored(tmp_path / "good.csv", tmp_path / "good.jsonl", export_of("regression"))
    # In other batches the last digit may be another one.
    same_rows(pd.read_json(tmp_path / "good.jsonl", lines=True), pd.read_json(tmp_path / "out.jsonl", lines=True))


def bad_items(path):
    """The side output, whatever its kind."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_dict("records")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pd.read_csv(path).to_dict("records")


@pytest.mark.parametrize(
    ("source", "content", "output", "bad", "place"),
    [
        ("t.csv", b"id,text\n1,caf\xe9\n2,good\n", "o.csv", r"1,caf\xe9", "row 2"),
        ("t.csv", b"id,text\n\xe9,caf\n2,good\n", "o.parquet", r"\xe9,caf", "row 2"),
        ("t.txt", b"caf\xe9\ngood\n", "o.jsonl", r"caf\xe9", "line 1"),
        ("t.jsonl", b'{"text": "a", "x": ["\xe9"]}\n{"text": "good"}\n', "o.parquet", None, "line 1"),
    ],
)
def test_an_undecodable_byte_costs_one_text(scored, tmp_path, source, content, output, bad, place):
    (tmp_path / source).write_bytes(content)
    summary = scored(tmp_path / source, tmp_path / output, export_of("texts"))
    assert counted(summary) == (2, 1, 1)
    assert summary["beam"]["bad"] == 1
    [item] = bad_items(tmp_path / f"o.errors{(tmp_path / output).suffix}")
    assert item["item"] == (bad or r'{"text": "a", "x": ["\xe9"]}')
    assert item["place"] == f"{tmp_path / source} {place}"
    assert item["reason"].endswith("contains a byte that is not utf-8: 0xe9")


def test_an_undecodable_byte_costs_one_row(scored, rows, tmp_path):
    rows.write_bytes(rows.read_bytes().replace(b"red", b"r\xe9d", 1))
    summary = scored(rows, tmp_path / "out.csv", export_of("regression"))
    assert counted(summary) == (60, 59, 1)
    [item] = bad_items(tmp_path / "out.errors.csv")
    assert item["reason"] == "column 'colour' contains a byte that is not utf-8: 0xe9"


@pytest.mark.parametrize(("suffix", "workers"), [(".csv", 1), pytest.param(".parquet", 2, marks=pytest.mark.slow)])
def test_photos_whose_names_have_undecodable_bytes_are_read_by_their_true_names(
    scored, photos, tmp_path, suffix, workers
):
    photos = photos.rename(tmp_path / os.fsdecode(b"photos-\xff"))
    (photos / os.fsdecode(b"good\xe9.jpg")).write_bytes(tiny.photos(1)[0])
    (photos / os.fsdecode(b"junk\xe9.jpg")).write_bytes(b"no photo")
    (photos / "gone.jpg").symlink_to("nowhere")
    shown = str(tmp_path / r"photos-\xff")
    if workers == 1:
        with pytest.MonkeyPatch.context() as patch:
            crash_in(patch, 2)
            with pytest.raises(ScoringError, match="No space left on device"):
                scored(photos, tmp_path / f"s{suffix}", export_of("photos"), shard_size=4)
    summary = scored(photos, tmp_path / f"s{suffix}", export_of("photos"), shard_size=4, workers=workers)
    assert counted(summary) == (15, 11, 4)
    assert bool(summary["reused"]) == (workers == 1)
    frame = pd.read_parquet(tmp_path / "s.parquet") if suffix == ".parquet" else pd.read_csv(tmp_path / "s.csv")
    assert rf"{shown}/good\xe9.jpg" in frame["input"].tolist()
    bad = {item["place"]: item for item in bad_items(tmp_path / f"s.errors{suffix}")}
    names = [r"junk\xe9.jpg", "gone.jpg", "3bad.jpg", "more/empty.png"]
    assert sorted(bad) == sorted(f"{shown}/{name}" for name in names)
    junk = bad[rf"{shown}/junk\xe9.jpg"]
    assert junk["item"] == junk["place"]
    assert "is not an image but text" in junk["reason"]
    assert "is a broken link" in bad[f"{shown}/gone.jpg"]["reason"]


def test_parquet_keeps_its_types(scored, tmp_path):
    frame = tiny_table.tiny_frame(30, targets=False).assign(key=range(30), when=pd.Timestamp("2020-01-01"))
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    scored(tmp_path / "rows.parquet", tmp_path / "out.parquet", export_of("several"), shard_size=11)
    got, had = pq.read_schema(tmp_path / "out.parquet"), pq.read_schema(tmp_path / "rows.parquet")
    assert [got.field(name).type for name in had.names] == [had.field(name).type for name in had.names]
    assert got.names[len(had.names) :] == [
        "predicted_rent in €", "predicted_sold", "predicted_price",
        "probability_sold=no", "probability_sold=yes", "probability_sold=maybe",
    ]  # fmt: skip
    assert {str(got.field(name).type) for name in ("predicted_price", "probability_sold=no")} == {"double"}
    out = pq.read_table(tmp_path / "out.parquet").select(had.names)
    assert out.to_pylist() == pq.read_table(tmp_path / "rows.parquet").to_pylist()


def test_each_photo_that_fails_has_its_own_reason_and_damaged_ones_are_named(scored, photos, tmp_path):
    jpeg = tiny.photos(1)[0]
    (photos / "cut.jpg").write_bytes(jpeg[:300])
    (photos / "grey.jpg").write_bytes(jpeg[:-100] + b"\xff\xd9")
    (photos / "scan.tif").write_bytes(b"II*\0" + bytes(99))
    (photos / "large").write_bytes(png_bomb(9000))
    summary = scored(photos, tmp_path / "s.csv", export_of("photos"), shard_size=5)
    assert counted(summary) == (16, 11, 5)
    reasons = {item["place"].rpartition("/")[2]: item["reason"] for item in bad_items(tmp_path / "s.errors.csv")}
    assert "is truncated or corrupt (JPEG): the file ends before the image does" in reasons["cut.jpg"]
    assert "is TIFF, which the exported model cannot decode; convert it first" in reasons["scan.tif"]
    assert "has 81,000,000 pixels (9000 x 9000); allowed: 40,000,000" in reasons["large"]
    assert summary["damaged"] == 1
    assert summary["damaged_items"] == [f"{photos / 'grey.jpg'} (premature end of data segment)"]


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl", "list.parquet"])
def test_photos_of_a_table_are_scored_as_those_of_the_folder(scored, photos, tmp_path, monkeypatch, name):
    from tlkit.export.predictor import SavedModelPredictor

    paths = [f"photos/{number}.{'png' if number % 2 else 'jpg'}" for number in range(4)]
    good, bad = pd.Series(paths), ["photos/3bad.jpg", "photos/none.jpg", ""]
    frame = pd.DataFrame({"kind": "k", "file": [*good, *bad]})
    {
        "csv": lambda path: frame.to_csv(path, index=False),
        "tsv": lambda path: frame.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda path: frame.to_parquet(path),
    }[name.rpartition(".")[2]](tmp_path / name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # paths are relative to the table, not to the working directory
    export = export_of("photos")
    summary = scored(f"../{name}", "out.csv", export, path_column="file", label="kind", shard_size=3)
    assert counted(summary) == (7, 4, 3)
    out = pd.read_csv("out.csv")
    assert list(out.columns) == [
        "kind", "file", "predicted", *(f"{what}_{label}" for what in ("probability", "score") for label in tiny.LABELS),
    ]  # fmt: skip
    assert out["file"].tolist() == paths
    answers = SavedModelPredictor(export).predict([tmp_path / path for path in paths])
    assert out["predicted"].tolist() == [answer["classes"][0] for answer in answers]
    reasons = pd.read_csv("out.errors.csv")["reason"].tolist()
    assert "3bad.jpg is not an image but text" in reasons[0]
    assert "the photo " in reasons[1]
    assert reasons[2] == "column 'file' contains no path"


def test_another_photo_of_a_table_changes_the_digest(photos, tmp_path):
    from tlkit.export.manifest import Manifest
    from tlkit.scoring.open_source import open_source

    manifest = Manifest.read(export_of("photos"))
    (tmp_path / "list.csv").write_text("path\nphotos/0.jpg\nphotos/2.jpg\n")
    source = open_source(tmp_path / "list.csv", manifest)
    before = source.digest()
    assert source.digest() == before
    (photos / "2.jpg").write_bytes((photos / "4.jpg").read_bytes() + b" ")
    assert source.digest() != before
    (tmp_path / "list.csv").write_text("file\nphotos/0.jpg\n")
    with pytest.raises(DataError, match="no column 'path'.*allowed: file.*pass path_column="):
        open_source(tmp_path / "list.csv", manifest)
    with pytest.raises(ConfigError, match="--label needs a table"):
        open_source(photos, manifest, label="kind")


def test_top_writes_the_best_classes(scored, photos, tmp_path):
    scored(photos, tmp_path / "out.csv", export_of("photos"), top=2)
    frame = pd.read_csv(tmp_path / "out.csv")
    assert list(frame.columns) == [
        "input", "class_1", "probability_1", "class_2", "probability_2", "score_1", "score_2",
    ]  # fmt: skip
    assert (frame["probability_1"] >= frame["probability_2"]).all()


def test_a_folder_of_shards_is_the_output_where_there_is_no_suffix(scored, rows, tmp_path):
    export = export_of("regression")
    summary = scored(rows, tmp_path / "out", export, shard_size=25)
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == [
        f"part-0000{n}.parquet" for n in range(3)
    ]
    assert pd.read_parquet(tmp_path / "out")["key"].astype(int).tolist() == list(range(60))
    assert json.loads((tmp_path / "out" / "_summary.json").read_text()) == summary
    with pytest.raises(ConfigError, match="already exists.*--force"):
        scored(rows, tmp_path / "out", export, shard_size=25)
    again = scored(rows, tmp_path / "out", export, shard_size=60, form="csv", force=True)
    assert again["reused"] == 0
    assert [path.name for path in (tmp_path / "out").glob("part-*")] == ["part-00000.csv"]


def crash_in(monkeypatch, number):
    """Make the writing of one shard fail, as a full disk would."""
    from tlkit.scoring.shard_writer import ShardWriter

    commit = ShardWriter.commit

    def failing(self):
        if self._shard.number == number:
            raise OSError(28, "No space left on device")
        return commit(self)

    monkeypatch.setattr(ShardWriter, "commit", failing)


@pytest.fixture
def interrupted(scored, rows, tmp_path):
    """A run of rows whose third shard of four could not be written."""
    with pytest.MonkeyPatch.context() as patch:
        crash_in(patch, 2)
        with pytest.raises(ScoringError, match="No space left on device.*finished shards are kept"):
            scored(rows, tmp_path / "out.csv", export_of("regression"), shards=4)
    assert not (tmp_path / "out.csv").exists()
    return tmp_path / "out.csv"


def test_finished_shards_are_kept(scored, rows, interrupted, tmp_path):
    finished = len(list((tmp_path / "out.csv.shards" / "_reports").iterdir()))
    assert 0 < finished < 4
    summary = scored(rows, interrupted, export_of("regression"), shards=4, batch_size=5)
    assert summary["reused"] == 15 * finished
    assert summary["beam"]["read"] == 60 - summary["reused"]
    assert counted(summary) == (60, 60, 0)
    scored(rows, tmp_path / "whole.csv", export_of("regression"))
    same_rows(pd.read_csv(tmp_path / "whole.csv"), pd.read_csv(interrupted))
    assert not (tmp_path / "out.csv.shards").exists()


def test_a_shard_that_was_damaged_is_scored_again(scored, rows, interrupted, tmp_path):
    [first, *_] = sorted((tmp_path / "out.csv.shards").glob("part-*.csv"))
    first.write_text(first.read_text().replace("0", "1"))
    summary = scored(rows, interrupted, export_of("regression"), shards=4)
    assert summary["shards"][0]["reused"] is False
    scored(rows, tmp_path / "whole.csv", export_of("regression"), shards=4)
    assert interrupted.read_text() == (tmp_path / "whole.csv").read_text()


def test_other_input_another_model_or_other_settings_are_refused(scored, rows, interrupted, tmp_path):
    export = export_of("regression")
    with pytest.raises(ConfigError, match="the size of a shard changed since.*--restart"):
        scored(rows, interrupted, export, shards=3)
    copy = tmp_path / "models" / "1"
    shutil.copytree(export, copy)
    (copy / "assets.extra" / "note").write_text("another model")
    with pytest.raises(ConfigError, match="unfinished run, and the model changed"):
        scored(rows, interrupted, copy, shards=4)
    content = rows.read_text()
    rows.write_text(content.replace("red", "blue", 1))
    with pytest.raises(ConfigError, match="the input changed since"):
        scored(rows, interrupted, export, shards=4)
    summary = scored(rows, interrupted, export, shards=4, restart=True)
    assert summary["reused"] == 0
    assert counted(summary) == (60, 60, 0)


@pytest.mark.parametrize(
    ("setup", "options", "error", "message"),
    [
        ("", {"output": "exists.csv"}, ConfigError, "exists.csv already exists.*--force"),
        ("", {"output": "rows.csv", "force": True}, ConfigError, "the output is the same file as the input"),
        ("", {"output": "out.xlsx"}, ConfigError, "unknown table format.*xlsx"),
        ("", {"output": "nowhere/out.csv"}, ConfigError, "the folder"),
        ("", {"output": "mine", "force": True}, ConfigError, "mine contains other files"),
        ("", {"shards": 2, "shard_size": 2}, ConfigError, "cannot be combined"),
        ("", {"text": "colour"}, ConfigError, "--text is an option for exports that take texts"),
        ("", {"top": 2}, ConfigError, "--top is an option for photos and texts; rows get"),
        ("", {"target": "x"}, ConfigError, "unknown target.*allowed: price"),
        ("", {"label": "colour"}, ConfigError, "--label is an option for exports that take images or texts"),
        ("", {"path_column": "colour"}, ConfigError, "--path-column is an option for exports that take images"),
        ("", {"source": "rowz.csv"}, DataError, "the input does not exist.*did you mean 'rows.csv'"),
        ("colour,rooms\nred,1\n", {}, DataError, "has no column 'area.*4 columns are missing"),
        ("HEADER\n", {}, DataError, "the table has no rows"),
        ("", {"model": "nowhere"}, ExportError, "there is no export at"),
        ("", {"runner": "NoSuchRunner"}, ConfigError, "Beam cannot start.*NoSuchRunner"),
        ("", {"runner": "FlinkRunner", "workers": 2}, ConfigError, "--workers is an option for the DirectRunner"),
        ("", {"flags": ("--runner=X",)}, ConfigError, "the runner must be given before the --"),
        ("", {"flags": ("extra.csv",)}, ConfigError, "Beam flags must start with --"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_one_clear_line(scored, rows, tmp_path, setup, options, error, message):
    if setup:
        rows.write_text(setup.replace("HEADER", rows.read_text().splitlines()[0]))
    (tmp_path / "exists.csv").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("mine")
    options = {"source": "rows.csv", "output": "out.csv", "model": export_of("regression"), **options}
    names = {name: tmp_path / options.pop(name) for name in ("source", "output", "model")}
    with pytest.raises(error, match=message):
        scored(**names, **options)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("out")]  # nothing is left behind
    assert (tmp_path / "exists.csv").read_text() == "mine"
    assert (tmp_path / "mine" / "thesis.doc").read_text() == "mine"


def test_a_folder_without_photos_a_missing_column_and_empty_texts_are_refused(scored, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    with pytest.raises(DataError, match="no photo in the folder.*allowed: JPEG"):
        scored(tmp_path / "empty", tmp_path / "out.csv", export_of("photos"))
    with pytest.raises(DataError, match="pass a folder of them, or a table with their paths"):
        scored(tmp_path / "empty" / "notes.txt", tmp_path / "out.csv", export_of("photos"))
    (tmp_path / "t.csv").write_text("id,review\n1,good\n")
    with pytest.raises(DataError, match="no column 'text'.*allowed: id, review.*pass text="):
        scored(tmp_path / "t.csv", tmp_path / "out.csv", export_of("texts"))
    with pytest.raises(DataError, match="no column 'stars'.*allowed: id, review"):
        scored(tmp_path / "t.csv", tmp_path / "out.csv", export_of("texts"), text="review", label="stars")
    with pytest.raises(DataError, match="no column 'revue'.*did you mean 'review'"):
        scored(tmp_path / "t.csv", tmp_path / "out.csv", export_of("texts"), text="revue")
    (tmp_path / "t.csv").write_text("id,predicted,text\n1,2,good\n")
    with pytest.raises(DataError, match="already has a column 'predicted'"):
        scored(tmp_path / "t.csv", tmp_path / "out.csv", export_of("texts"))
    (tmp_path / "t.txt").write_text("")
    with pytest.raises(DataError, match="no texts in the file"):
        scored(tmp_path / "t.txt", tmp_path / "out.csv", export_of("texts"))
    assert not (tmp_path / "out.csv").exists()


def test_counts_of_beam_that_differ_from_the_shards_are_an_error(scored, rows, tmp_path, monkeypatch):
    run_shards = pipeline.run_shards

    def miscounted(*arguments):
        return {**run_shards(*arguments), "scored": 59}

    monkeypatch.setattr(run.pipeline, "run_shards", miscounted)
    with pytest.raises(ScoringError, match="do not add up.*scored: 59 by Beam, 60 in the shards"):
        scored(rows, tmp_path / "out.csv", export_of("regression"))
    assert not (tmp_path / "out.csv").exists()


def test_a_shard_that_a_worker_wrote_elsewhere_is_missed(scored, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(run.pipeline, "run_shards", lambda *arguments: {})
    with pytest.raises(ScoringError, match="shard 0 is missing.*every worker"):
        scored(rows, tmp_path / "out.csv", export_of("regression"))


def test_two_runs_do_not_write_one_output(scored, rows, tmp_path):
    (tmp_path / "out.csv.shards").mkdir()
    with run._alone(tmp_path / "out.csv.shards"), pytest.raises(ConfigError, match="another run is writing"):
        scored(rows, tmp_path / "out.csv", export_of("regression"))
