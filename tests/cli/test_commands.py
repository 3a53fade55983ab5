"""The commands inside a project, with scripted project code: what they call, print and exit with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from tlkit.cli import doctor
from tlkit.cli.main import run
from tlkit.cli.output import stdout_to_stderr


def test_train_calls_the_project_s_main(scripted, capsys):
    project = scripted(
        """
        def main(config, resume=False):
            print("epochs", config.train.frozen_epochs, "resume", resume)
        """
    )
    assert run(["train", "--set", "train.frozen_epochs=2", "--resume"]) == 0
    out = capsys.readouterr().out
    assert "epochs 2 resume True" in out
    assert str(project / "reports") in out


def test_stopped_training_exits_130_and_says_how_to_go_on(scripted, capsys):
    project = scripted(
        """
        def main(config, resume=False):
            if config.train.frozen_epochs == 2:
                config.checkpoints.mkdir(exist_ok=True)
                (config.checkpoints / "run.json").write_text("{}")
            raise KeyboardInterrupt
        """
    )

    def stopped(*words):
        assert run(["train", *words]) == 130
        return capsys.readouterr().err

    for words in ((), ("--resume",)):
        said = stopped(*words)
        assert "stopped before the first checkpoint: nothing was saved; run `tlkit train` to start again" in said
        assert "--resume" not in said
    assert "stopped; run `tlkit train --resume` to continue from the last checkpoint" in stopped(
        "--set", "train.frozen_epochs=2"
    )
    assert "stopped; run `tlkit train --resume` to continue from the last checkpoint" in stopped("--resume")
    # The record is that of the run before; this one has written none.
    assert "stopped before the first checkpoint" in stopped()
    assert (project / "checkpoints" / "run.json").is_file()


def test_random_weights_are_not_said_of_a_network_that_gets_trained_ones(scripted, capsys):
    scripted(
        """
        from tlkit.catalogue.random_weights import random_weights_message
        def main(config, resume=False):
            print("said:", random_weights_message("net"))
        """
    )
    assert run(["train"]) == 0
    assert "said: net starts from random weights" in capsys.readouterr().out
    assert run(["train", "--resume"]) == 0
    assert "said: None" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--set", "train.learning_rate=-1"], "received: -1"),
        (["train", "--set", "train.learning_rat=1"], "did you mean 'train.learning_rate'"),
        (["train", "--set", "train.frozen_epochs=many"], "received: 'many'"),
        (["train", "--set", "model.backbone=resnet51"], "resnet50"),
        (["find-lr", "--set", "bogus=1"], "unknown config key 'bogus'"),
        (["evaluate"], "run `tlkit train` first"),
        (["evaluate", "--json"], "run `tlkit train` first"),
        (["evaluate", "--data", "nowhere"], "nowhere does not exist"),
        (["export"], "run `tlkit train` first"),
        (["predict", "photos/ants/1.jpg"], "photos/ants/1.jpg is not an image but text"),
        (["predict", "real.png"], "run `tlkit train` first"),
        (["predict", "nowhere.jpg"], "nowhere.jpg does not exist"),
        (["predict", "tests"], "no photo found in tests"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(scripted, capsys, words: list[str], expected: str):
    project = scripted("def main(config, resume=False): raise RuntimeError('not reached')\n")
    Image.new("RGB", (8, 8)).save(project / "real.png")
    before = sorted(project.rglob("*"))
    assert run(words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("error:") == 1
    assert captured.out == ""
    assert sorted(project.rglob("*")) == before


def test_an_unfinished_run_is_told_from_none(scripted, capsys):
    project = scripted("def main(config, resume=False): ...\n")
    (project / "checkpoints").mkdir()
    (project / "checkpoints" / "state.json").touch()
    assert run(["export"]) == 2
    assert "tlkit train --resume" in capsys.readouterr().err


def test_export_refuses_a_version_that_exists_before_anything_loads(scripted, capsys):
    project = scripted("def main(config, resume=False): ...\n")
    (project / "checkpoints").mkdir()
    (project / "checkpoints" / "best.weights.h5").touch()
    (project / "saved_models" / "bees" / "3").mkdir(parents=True)
    assert run(["export", "--version", "3"]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["train"], ["evaluate"], ["export"], ["predict", "x.jpg"], ["find-lr"]])
def test_outside_a_project_there_is_one_clear_line(tmp_path: Path, monkeypatch, capsys, words: list[str]):
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    assert "no tlkit project in" in capsys.readouterr().err


def test_stdout_to_stderr_catches_python_and_native_writes(capfd):
    with stdout_to_stderr():
        print("from python")
        os.write(1, b"from native code\n")
    print("result")
    captured = capfd.readouterr()
    assert captured.out == "result\n"
    assert "from python" in captured.err
    assert "from native code" in captured.err


def test_doctor_json_is_one_object_and_exit_0_when_nothing_essential_is_broken(monkeypatch, capsys):
    found = [doctor.Check("Python", "ok", "3.11"), doctor.Check("docker", "warn", "not found", "install it")]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert document["checks"][1] == {
        "name": "docker",
        "status": "warn",
        "value": "not found",
        "advice": "install it",
    }


def test_doctor_exits_1_and_says_what_to_do_when_something_essential_is_broken(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Check("keras", "fail", "not installed", "install it")])
    assert run(["doctor"]) == 1
    assert capsys.readouterr().out == "FAIL  keras: not installed\n      -> install it\n"
