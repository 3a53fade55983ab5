"""`tlkit score` as a user meets it: killed and run again, its exit codes, and what it prints."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import tiny
import tiny_table
import tiny_text
from exports import export_of

import tlkit
from tlkit.cli import main

pytest.importorskip("apache_beam", reason="the extra tlkit[beam] is not installed")

# Slower shards: the second one begins long after the first one is there.
SLOW = """
import sys, time
from tlkit.cli.main import run
from tlkit.predicting import exported
plain = exported.Scorer.score
def score(self, items):
    for one in plain(self, items):
        time.sleep(0.02)
        yield one
exported.Scorer.score = score
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def rows(tmp_path):
    tiny_table.tiny_frame(90, targets=False).assign(key=range(90)).to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def command(*words, capsys):
    code = main.run(["score", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_run_that_was_killed_goes_on_where_it_was(rows, tmp_path, capsys):
    words = ["score", rows, tmp_path / "out.csv", "--model", export_of("regression"), "--shards", 9]
    environment = {**os.environ, "PYTHONPATH": str(Path(tlkit.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)], env=environment, stderr=subprocess.PIPE, text=True
    )
    reports = tmp_path / "out.csv.shards" / "_reports"
    deadline = time.monotonic() + 120
    while not list(reports.glob("0*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, told
    finished = {path.stem: path.stat().st_mtime_ns for path in reports.glob("0*.json")}
    assert 1 <= len(finished) < 9
    assert not (tmp_path / "out.csv").exists()

    code, out, err = command(*words[1:], "--json", capsys=capsys)
    assert code == 0, err
    summary = json.loads(out)
    assert summary["reused"] == 10 * len(finished)
    assert summary["beam"]["read"] == 90 - summary["reused"]
    assert [shard["reused"] for shard in summary["shards"]].count(True) == len(finished)
    assert f"{summary['reused']} items are in finished shards; {90 - summary['reused']} remain" in err

    code, _, err = command(*[*words[1:2], tmp_path / "whole.csv", *words[3:]], capsys=capsys)
    assert code == 0, err
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert pd.read_csv(tmp_path / "out.csv")["key"].tolist() == list(range(90))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "rows.csv", "whole.csv"]


def test_it_prints_what_it_did_and_where(rows, tmp_path, capsys):
    code, out, err = command(rows, tmp_path / "out.csv", "--model", export_of("regression"), capsys=capsys)
    assert code == 0, err
    assert f"{tmp_path / 'out.csv'}: 90 of 90 items scored, 0 failed" in out
    assert "1 shard, " in out
    assert not (tmp_path / "out.errors.csv").exists()


@pytest.mark.parametrize(("bad", "options", "code"), [(1, (), 0), (3, (), 1), (1, ("--max-bad-share", "0.1"), 1)])
def test_the_exit_code_says_whether_too_many_items_failed(tmp_path, capsys, bad, options, code):
    (tmp_path / "in").mkdir()
    for number, picture in enumerate(tiny.photos(2)):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(picture)
    for number in range(bad):
        (tmp_path / "in" / f"bad{number}.png").write_bytes(b"no photo")
    out = tmp_path / "out.csv"
    got, said, err = command(tmp_path / "in", out, "--model", export_of("photos"), "--json", *options, capsys=capsys)
    summary = json.loads(said)
    assert got == code, err
    assert (summary["scored"], summary["failed"], summary["ok"]) == (2, bad, not code)
    assert len(pd.read_csv(out)) == 2
    assert len(pd.read_csv(tmp_path / "out.errors.csv")) == bad
    assert ("--max-bad-share" in err) == bool(code)


@pytest.mark.slow
def test_flags_of_beam_follow_two_dashes(tmp_path, capsys, monkeypatch):
    from tlkit.scoring import pipeline

    seen = []
    run_shards = pipeline.run_shards
    monkeypatch.setattr(
        pipeline, "run_shards", lambda job, shards, flags: seen.extend(flags) or run_shards(job, shards, flags)
    )
    (tmp_path / "t.txt").write_text("\n".join(tiny_text.SENTENCES))
    words = [tmp_path / "t.txt", tmp_path / "out", "--format", "jsonl", "--model", export_of("texts")]
    code, _, err = command(*words, "--", "--direct_runner_bundle_repeat=1", capsys=capsys)
    # Every bundle is run twice, and the shards are what they were.
    assert seen[-1] == "--direct_runner_bundle_repeat=1"
    assert code == 0, err
    lines = (tmp_path / "out" / "part-00000.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == list(tiny_text.SENTENCES)


def test_options_are_checked_before_anything_is_read(tmp_path, capsys):
    code, _, err = command("a", "b.csv", "--model", "m", "--format", "orc", capsys=capsys)
    assert code == 2
    assert "allowed: parquet, csv, jsonl" in err
    code, _, err = command("a", "b.csv", "--model", tmp_path, capsys=capsys)
    assert code == 2
    assert "contains no SavedModel" in err


def test_an_output_of_one_dash_is_no_folder(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(rows, "-", "--model", export_of("regression"), capsys=capsys)
    assert code == 2
    assert "error: `tlkit score` cannot write to stdout; received: '-'; pass a file, such as scored.csv" in err
    assert not (tmp_path / "-").exists()


def test_links_that_are_not_followed_are_told_in_one_line(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.jpg").write_bytes(tiny.photos(1)[0])
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "in" / "back").symlink_to(tmp_path / "in")
    code, out, err = command(tmp_path / "in", tmp_path / "out.csv", "--model", export_of("photos"), capsys=capsys)
    assert code == 0, err
    assert "1 of 2 items scored, 1 failed" in out
    [warning] = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert f"linked folders are not followed: {tmp_path / 'in' / 'back'};" in warning


def test_an_output_that_cannot_be_made_is_refused_in_one_line(rows, tmp_path, capsys):
    (tmp_path / "out.csv.shards").write_text("a file in the way")
    code, _, err = command(rows, tmp_path / "out.csv", "--model", export_of("regression"), capsys=capsys)
    assert code == 2
    assert f"error: {tmp_path / 'out.csv.shards'} cannot be created: " in err
