"""`tlkit serve --monitor` as a process: what clients send is counted and compared, and bad directories are refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from exports import export_of, monitored_frame

from tlkit.cli.main import run

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "tests" / "fixtures" / "release_0_1_0" / "exports"


def test_what_a_server_is_asked_is_counted_and_compared(tmp_path, monkeypatch, capfd):
    export = export_of("monitored")
    command = [sys.executable, "-m", "tlkit", "serve", str(export), "--rest-port", "0", "--no-grpc"]
    process = subprocess.Popen(
        [*command, "--monitor", str(tmp_path / "monitor")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        address = re.search(r"at (http://\S+)", process.stdout.readline())[1]
        frame = monitored_frame(40, seed=7)
        rows = [
            {"colour": str(colour), "rooms": int(rooms), "distance": 10 * float(distance)}
            for colour, rooms, distance, _ in frame.fillna({"colour": "", "rooms": 0, "distance": 0.1}).to_numpy()
        ]
        for start in range(0, 40, 8):
            body = json.dumps({"instances": rows[start : start + 8]}).encode()
            with urllib.request.urlopen(f"{address}:predict", body, timeout=60) as answer:
                assert len(json.load(answer)["predictions"]) == 8
        metrics = address.split("/v1/")[0] + "/monitoring/prometheus/metrics"
        with urllib.request.urlopen(metrics, timeout=60) as answer:
            assert 'tlkit_monitor_items{model_name="shops",version="1"}' in answer.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.stdout.close()
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    assert run(["drift", str(export), "monitor", "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["items"], found["dropped"]) == (40, 0)
    assert "distance" in found["drifted"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--monitor", "file"], "the monitor directory cannot be written: Not a directory"),
        (["--monitor-samples", "3"], "--monitor-samples needs --monitor"),
        (["--monitor", "m", "--engine", "docker"], "--monitor needs --engine local"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(words, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    assert run(["serve", str(export_of("monitored")), "--rest-port", "0", *words]) == 2
    assert said in capfd.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"


def test_an_export_without_a_baseline_is_refused(tmp_path, capfd):
    released = next(path.parent for path in sorted(RELEASED.rglob("saved_model.pb")))
    assert run(["serve", str(released), "--monitor", str(tmp_path / "m")]) == 2
    assert "has no drift baseline; export the model again" in capfd.readouterr().err
    assert not (tmp_path / "m").exists()
