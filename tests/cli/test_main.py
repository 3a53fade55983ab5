from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import tlkit
from tlkit.cli import main as cli
from tlkit.errors import DataError, VerificationError


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    app = typer.Typer()

    @app.command()
    def work(number: int = 0) -> None:
        raise error

    @app.callback()
    def options() -> None:
        """Make it a group."""

    monkeypatch.setattr(cli, "app", app)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("no photos", fix="add some"), 2, "error: no photos; add some"),
        (VerificationError("scores differ"), 1, "error: scores differ"),
        (OSError(28, "No space left on device"), 2, "error: [Errno 28] No space left on device"),
        (RuntimeError("two\nlines"), 1, "error: RuntimeError: two lines; run with --debug to see the traceback"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(monkeypatch, capsys, error, code: int, line: str):
    fail_with(monkeypatch, error)
    assert cli.run(["work"]) == code
    captured = capsys.readouterr()
    assert captured.err.strip() == line
    assert captured.out == ""


@pytest.mark.parametrize("words", [["--debug", "work"], ["work", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch, capsys, words: list[str]):
    fail_with(monkeypatch, DataError("no photos"))
    assert cli.run(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "error: no photos"


def test_ctrl_c_exits_130(monkeypatch, capsys):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert cli.run(["work"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["wrok"], "No such command 'wrok'"),
        (["work", "--nubmer", "1"], "No such option: --nubmer"),
        (["work", "--number", "x"], "Invalid value"),
    ],
)
def test_wrong_usage_exits_2_with_one_line(monkeypatch, capsys, words: list[str], expected: str):
    fail_with(monkeypatch, RuntimeError("not reached"))
    assert cli.run(words) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"tlkit {tlkit.__version__}\n"


def test_every_command_has_help_with_an_example(capsys):
    group = get_command(cli.app)

    def walk(command, words: tuple[str, ...]):
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words
            return
        for name, child in inner.items():
            yield from walk(child, (*words, name))

    commands = list(walk(group, ()))
    named = {words[0] for words in commands}
    assert named == {
        *(
            "new",
            "recommend",
            "similar",
            "templates",
            "card",
            "check",
            "train",
            "evaluate",
            "predict",
            "export",
            "verify",
            "serve",
            "deploy",
            "score",
            "drift",
            "doctor",
            "find-lr",
            "report",
        ),
        *("weights", "samples", "embeddings"),
    }
    for words in commands:
        assert cli.run([*words, "--help"]) == 0
        text = capsys.readouterr().out
        command = group
        for word in words:
            command = command.commands[word]
        said = [command.help, *(getattr(one, "help", None) for one in command.params)]
        for name in re.findall(r"\[[a-z_]+\]", " ".join(filter(None, said))):  # markup swallows what is not escaped
            assert name in text, f"{words} does not show {name}"
        assert f"tlkit {' '.join(words)}" in text.split("Example", 1)[-1], f"{words} shows no example"


def test_help_loads_nothing_that_is_slow():
    slow = {"tensorflow", "keras", "numpy", "pandas", "pyarrow", "sklearn", "matplotlib", "pydantic", "fastapi", "grpc"}
    code = (
        "import sys\nfrom tlkit.cli.main import run\nassert run(['--help']) == 0\n"
        f"print(sorted({slow!r} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_the_installed_command_is_this_one():
    command = Path(sys.executable).with_name("tlkit")
    if not command.exists():
        pytest.skip("tlkit is not installed as a command in this environment")
    done = subprocess.run([command, "bogus"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: No such command 'bogus'.\n")
