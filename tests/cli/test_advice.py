"""Advice fits the place: Python users read arguments, users of commands read options and keys of config.toml."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from tlkit.cli.advice import SECTIONS, sayer
from tlkit.cli.main import app, run
from tlkit.config_sections import FineTuneSection, ImageDataSection, PretrainedModelSection, TextDataSection
from tlkit.errors import Advice, DataError
from tlkit.scaffold.new import new_project
from tlkit.tasks.tabular.config import TabularDataSection


def test_python_users_read_the_argument():
    error = DataError("bad", received="x", fix=Advice("repair it, or {}", "on_error", "skip"))
    assert str(error) == "bad; received: 'x'; repair it, or pass on_error=\"skip\""
    assert str(Advice("{}", "separator", "\t")) == 'pass separator="\\t"'
    assert str(Advice("{}", "label_columns")) == "pass label_columns"
    assert str(Advice("{}", "overwrite", True)) == "pass overwrite=True"


@pytest.mark.parametrize(
    ("command", "name", "value", "expected"),
    [
        (["new", "text-sentiment", "p"], "separator", ";", "pass --separator ';'"),
        (["score", "a", "b"], "separator", "\t", "pass --separator $'\\t'"),
        (["predict", "a.csv"], "encoding", "latin-1", "pass --encoding latin-1"),
        (["predict", "a.csv"], "text_column", "review", "pass --text review"),
        (["new", "image-classification", "p"], "path_column", "file", "pass --path-column file"),
        (["evaluate", "--data", "a.csv"], "label_column", "the label", "pass --label 'the label'"),
        (["train"], "separator", ";", 'set separator = ";" under [data] of config.toml'),
        (["find-lr"], "on_error", "skip", 'set on_error = "skip" under [data] of config.toml'),
        (["train"], "weights", "none", 'set weights = "none" under [model] of config.toml'),
        (["train"], "label_columns", None, "set label_columns under [data] of config.toml"),
        (["embeddings", "export"], "overwrite", True, "pass --force"),
        (["samples", "get"], "colour", "red", "set colour to red"),
    ],
)
def test_users_of_a_command_read_its_option_or_the_key(command, name, value, expected):
    say = sayer(command, get_command(app))
    error = DataError("bad", received="x", fix=Advice("repair it, or {}", name, value))
    assert error.message(say) == f"bad; received: 'x'; repair it, or {expected}"
    assert DataError("bad", fix="repair it").message(say) == "bad; repair it"


def test_every_key_is_one_of_config_toml():
    data = {name for one in (ImageDataSection, TextDataSection, TabularDataSection) for name in one.model_fields}
    assert set(SECTIONS["data"]) <= data
    assert set(SECTIONS["model"]) <= set(PretrainedModelSection.model_fields)
    assert set(SECTIONS["train"]) <= set(FineTuneSection.model_fields)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{number};{'good' if number % 2 else 'bad'};t{number}\n" for number in range(8))
    (tmp_path / "semi.csv").write_text("n;label;text\n" + rows)
    (tmp_path / "latin.csv").write_bytes("caf\xe9,label\n1,a\n".encode("latin-1"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["new", "tabular-embeddings", "p", "--data", "semi.csv", "--target", "n", "--separator", ","],
            "separated by semicolons, not by commas; received: 'n;label;text'; pass --separator ';'",
        ),
        (["new", "text-sentiment", "p", "--data", "semi.csv"], "separated by semicolons: pass --separator ';'"),
        (["new", "text-sentiment", "p", "--data", "latin.csv"], 'pass --encoding latin-1, or "cp1252", or the'),
        (
            ["new", "text-sentiment", "p", "--data", "semi.csv", "--separator", "ab"],
            "--separator must be one character",
        ),
        (
            ["new", "image-classification", "p", "--text", "x"],
            "--text is not an option of the template image-classification",
        ),
        (["new", "text-sentiment", "p", "--target", "x"], "--target is not an option of the template text-sentiment"),
        (["new", "tabular-embeddings", "p", "--label", "x"], "allowed: --target, --separator, --encoding"),
        (
            ["new", "image-classification", "p", "--data", "semi.csv", "--label", "x", "--separator", ";"],
            "semi.csv has no column 'path'; allowed: n, label, text",
        ),
    ],
)
def test_new_advises_its_options(place: Path, capsys, words: list[str], expected: str):
    before = sorted(place.iterdir())
    assert run(words) == 2
    err = capsys.readouterr().err
    assert expected in err
    assert "pass separator=" not in err
    assert "pass encoding=" not in err
    assert err.count("\n") == 1
    assert sorted(place.iterdir()) == before


def test_new_writes_columns_separator_and_encoding_for_every_template(place: Path, capsys):
    from tlkit.config import load_config

    options = ["--data", "semi.csv", "--separator", ";", "--encoding", "latin-1"]
    assert run(["new", "image-classification", "one", *options, "--path-column", "text", "--label", "label"]) == 0
    data = load_config("one/config.toml").data
    assert (data.path_column, data.label_column, data.separator, data.encoding) == ("text", "label", ";", "latin-1")
    assert run(["new", "text-sentiment", "two", *options]) == 0
    data = load_config("two/config.toml").data
    assert (data.text_column, data.label_column, data.separator, data.encoding) == ("text", "label", ";", "latin-1")
    assert run(["new", "text-sentiment", "three", "--separator", "\t"]) == 0
    assert load_config("three/config.toml").data.separator == "\t"


def test_texts_and_photos_are_read_with_their_separator(place: Path):
    import tiny

    from tlkit.inputs.image.listing import list_table as list_photos
    from tlkit.inputs.text.listing import list_table

    listing = list_table("semi.csv", separator=";")
    assert listing.texts[:2] == ["t0", "t1"]
    with pytest.raises(DataError, match='fields are separated by semicolons: pass separator=";"'):
        list_table("semi.csv")
    (place / "a.jpg").write_bytes(tiny.photos(1)[0])
    (place / "b.jpg").write_bytes(tiny.photos(2)[1])
    (place / "photos.csv").write_bytes("file;esp\xe8ce\na.jpg;x\nb.jpg;y\n".encode("latin-1"))
    options = {"path_column": "file", "label_column": "esp\xe8ce"}
    assert list_photos("photos.csv", separator=";", encoding="latin-1", **options).labels == ["x", "y"]
    with pytest.raises(DataError, match=r'photos.csv row 1 contains a byte that is not utf-8.*pass encoding="latin-1"'):
        list_photos("photos.csv", separator=";", **options)


def test_a_project_advises_its_config_and_its_options(place: Path, monkeypatch, capsys):
    new_project("text-sentiment", place / "p", {"data_path": "../semi.csv"})
    monkeypatch.chdir(place / "p")
    assert run(["predict", "--file", "../semi.csv", "--out", "out.csv"]) == 2
    assert "separated by semicolons: pass --separator ';'" in capsys.readouterr().err
    assert run(["predict", "--file", "../semi.csv", "--out", "out.csv", "--separator", ";"]) == 2
    assert "run `tlkit train` first" in capsys.readouterr().err  # the table could be read
    assert run(["predict", "--file", "../semi.csv", "--out", "out.csv", "--path-column", "x"]) == 2
    assert "--path-column is an option for tables of photos" in capsys.readouterr().err
    assert run(["predict", "--file", "../semi.csv", "--out", "out.csv", "--separator", ";", "--label", "labl"]) == 2
    assert "has no column 'labl'; allowed: n, label, text; did you mean 'label'" in capsys.readouterr().err
    assert run(["predict", "--file", "../semi.csv", "--out", "out.csv", "--target", "n"]) == 2
    assert "--target is an option for tables of rows; use --label for the labels of texts" in capsys.readouterr().err
    assert run(["predict", "a text", "--label", "label"]) == 2
    assert "--label needs a table; pass the table with --file" in capsys.readouterr().err
    assert run(["evaluate", "--label", "stars"]) == 2
    assert "--label needs --data" in capsys.readouterr().err
    assert run(["evaluate", "--data", "../semi.csv", "--target", "stars"]) == 2
    assert "--target is not an option of a project on texts; allowed: --text, --label, --separator, --encoding" in (
        capsys.readouterr().err
    )
    assert run(["predict", "a text", "--separator", ";"]) == 2
    assert "--separator needs a table; pass the table with --file" in capsys.readouterr().err
