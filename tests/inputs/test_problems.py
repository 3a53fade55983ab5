"""All that is wrong with a table is raised at once, and `tlkit new` makes the project when it is asked to."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tlkit
from tlkit.cli.main import run
from tlkit.config import load_config
from tlkit.errors import ConfigError, DataError, SeveralDataError
from tlkit.inputs.row.problems import Problems

N = 60
RANDOM = np.random.default_rng(2)


def table() -> pd.DataFrame:
    """Two columns and a target that cannot be used, a leak, and two good columns."""
    area = RANDOM.normal(100, 20, N).round(2)
    return pd.DataFrame(
        {
            "area": area,
            "town": RANDOM.choice(["a", "b"], N),
            "rooms": [*map(str, range(N - 2)), "many", "few"],
            "height": np.where(np.arange(N) == 5, np.inf, area / 10),
            "euros": 2 * area + 1,
            "price": area,
            "broken": [*map(str, range(N - 2)), "x", "y"],
        }
    )


def test_every_column_and_target_is_named_in_one_error():
    with pytest.raises(SeveralDataError) as caught:
        tlkit.table_from_file(table().drop(columns="area"), ["price", "broken"])
    headline, *lines = str(caught.value).split("\n")
    assert headline == "4 columns cannot be used"
    # Each with its rows and its advice; the target that can be used shows a leak.
    assert len(lines) == len(caught.value.errors) == 4
    broken, rooms, height, euros = lines
    assert "rows 59 and 60: column 'broken' mixes types" in broken
    assert "rows 59 and 60: column 'rooms' mixes types" in rooms
    assert 'set rooms = "categorical"' in rooms
    assert "row 6: column 'height' is infinite" in height
    assert "column 'euros' has the same order as the target 'price'" in euros
    assert "allow = [" in euros


def test_several_leaks_are_one_error_and_a_single_one_is_as_it_was():
    frame = table()[["area", "town", "euros", "price"]]
    with pytest.raises(SeveralDataError, match="(?s)^2 columns.*'area' equals the target.*\n.*'euros' has the same"):
        tlkit.table_from_file(frame, "price")
    with pytest.raises(DataError, match="^column 'euros' has the same order") as caught:
        tlkit.table_from_file(frame, "price", kinds={"area": "ignore"})
    assert not isinstance(caught.value, SeveralDataError)


def test_other_errors_pass_through():
    problems = Problems()
    with pytest.raises(ConfigError), problems.of("x"):
        raise ConfigError("not about data")
    problems.raise_all()
    assert not problems.found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table().assign(sold="x").drop(columns="height").to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path


def test_new_says_all_of_it_and_leaves_nothing(folder, capsys):
    assert run(["new", "tabular-embeddings", "p", "--data", "houses.csv", "--target", "broken"]) == 2
    error, *lines = capsys.readouterr().err.strip().split("\n")[-3:]
    assert error.startswith("error: 2 columns cannot be used; or create the project with --force-")
    assert [line.split("column ")[1].split(" mixes")[0] for line in lines] == ["'broken'", "'rooms'"]
    assert not (folder / "p").exists()


@pytest.mark.parametrize(("target", "ignored"), [("broken", "rooms"), ("price", "broken")])
def test_new_makes_the_project_when_asked_with_the_reason_behind_each_column(folder, capsys, target, ignored):
    words = ["new", "tabular-embeddings", "p", "--data", "houses.csv", "--target", target, "--force-columns"]
    assert run(words) == 0
    assert f"column {ignored!r}: " in capsys.readouterr().err
    text = (folder / "p" / "config.toml").read_text(encoding="utf-8")
    config = tomllib.loads(text)
    assert config["columns"][ignored] == "ignore"
    assert config["columns"]["town"] == "categorical"
    (line,) = [line for line in text.split("\n") if line.startswith(f"{ignored} = ")]
    assert "mixes types" in line.split("#")[1]
    if target == "broken":
        (line,) = [line for line in text.split("\n") if line.startswith("kinds = {}")]
        assert "'broken' mixes types" in line.split("#")[1]
    assert load_config(folder / "p" / "config.toml").target_names == [target]


def test_the_option_is_for_tables_alone(folder, capsys):
    (folder / "a").mkdir()
    (folder / "a" / "x").mkdir()
    assert run(["new", "image-classification", "p", "--data", "a", "--force-columns"]) == 2
    assert "--force-columns needs a table" in capsys.readouterr().err
