"""[target] has one form for every task; the earlier keys of [data] are still read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from tlkit.cli.main import run
from tlkit.config import load_config
from tlkit.errors import ConfigError

TASKS = {
    "image": "image_classification",
    "text": "text_classification",
    "table": "tabular",
    "values": "image_regression",
}
HEAD = '[project]\nname = "p"\ntask = "{task}"\n[data]\npath = "a.csv"\n{data}\n[export]\ndirectory = "out"\n{target}\n'
LABELLED = ("image", "text")


@pytest.fixture
def load(tmp_path: Path):
    def _load(task: str, target: str = "", data: str = "", overrides: tuple[str, ...] = ()):
        text = HEAD.format(task=TASKS[task], data=data, target=target)
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        return load_config(tmp_path / "config.toml", overrides)

    return _load


@pytest.mark.parametrize("task", LABELLED)
@pytest.mark.parametrize(
    ("target", "data"),
    [
        ('columns = "species"', 'label_column = "species"'),
        ('columns = ["species"]\nkind = "single_label"', 'label_column = "species"'),
        ('columns = "tags"\nseparator = ";"', 'label_column = "tags"\nlabel_separator = ";"'),
        ('columns = "tags"\nseparator = ";"\nkind = "multi_label"', 'label_column = "tags"\nlabel_separator = ";"'),
        ('columns = ["a", "b"]', 'label_columns = ["a", "b"]'),
        ('columns = ["a", "b"]\nkind = "multi_label"', 'label_columns = ["a", "b"]'),
        ('separator = ";"', 'label_separator = ";"'),
        ("", ""),
    ],
)
def test_labels_are_declared_in_target_as_in_data(load, task: str, target: str, data: str):
    new, old = load(task, f"[target]\n{target}"), load(task, data=data)
    assert new.data.columns == old.data.columns
    assert new.data.multi_label == old.data.multi_label == new.several_labels == old.several_labels
    for config in (new, old):
        assert type(config).model_validate(config.model_dump()).model_dump() == config.model_dump()
    mixed = load(task, "[target]\ncolumns = 'tags'", 'label_separator = "|"')
    assert (mixed.data.label_column, mixed.data.label_separator) == ("tags", "|")


@pytest.mark.parametrize("task", LABELLED)
@pytest.mark.parametrize(
    ("target", "data", "said"),
    [
        ('kind = "regression"', "", 'target: kind = "regression" is not possible; allowed: auto, single_label, multi'),
        ('kind = "survival"', "", 'kind = "survival" is not possible'),
        ('kind = "single_lable"', "", "target.kind: unknown kind; allowed: auto, .*did you mean 'single_label'"),
        ('columns = "a"', 'label_column = "b"', "target.columns and data.label_column are both set: remove one"),
        ('columns = "a"', 'label_columns = ["b", "c"]', "target.columns and data.label_columns are both set"),
        ('separator = ";"', 'label_separator = "|"', "target.separator and data.label_separator are both set"),
        ('columns = ["a", "b"]\nseparator = ";"', "", "separator and a list of columns cannot be combined"),
        ('columns = ["a", "b"]', 'label_separator = ";"', "a separator and a list of label columns cannot be combined"),
        ('columns = ["a", "b"]\nkind = "single_label"', "", 'a list of columns needs kind = "multi_label"'),
        ('kind = "single_label"', 'label_separator = ";"', "single_label. and several labels in .data. cannot be"),
        ('columns = "a"\nkind = "multi_label"', "", 'kind = "multi_label" needs a list of columns'),
        ('kind = "multi_label"', "", "needs a list of columns of 0 and 1, or a separator"),
        ('transform = "log"', "", "transform is for values or several targets"),
        ('[target.a]\nkind = "single_label"', "", r"\[target.a\] is for values or several targets"),
        ('time = "t"', "", 'time, event, times and method need kind = "survival"'),
        ('column = "a"', "", r"unknown key 'column' in \[target\]; did you mean 'columns'"),
        ('columns = ["a", "a"]', "", "a list of different columns"),
        ("columns = 3", "", "target.columns: must be a column"),
    ],
)
def test_labels_that_a_task_cannot_have(load, task: str, target: str, data: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        load(task, f"[target]\n{target}", data)
    assert "\n" not in str(caught.value)


def test_a_kind_that_images_with_classes_lack_names_the_task_that_has_it(load):
    with pytest.raises(ConfigError, match='use the task "image_regression"'):
        load("image", '[target]\nkind = "regression"')
    with pytest.raises(ConfigError, match="task image_classification .label_columns"):
        load("values", '[target]\ncolumns = ["a", "b"]\nkind = "multi_label"')


@pytest.mark.parametrize("task", ["table", "values"])
def test_a_table_of_one_target_is_the_same_as_the_keys_by_name(load, task: str):
    columns = 'columns = ["price", "rooms"]\n'
    by_name = load(
        task,
        f'[target]\n{columns}kinds = {{ rooms = "single_label" }}\ntransform = {{ price = "log" }}\n'
        "y_range = { price = [1, 9] }\nweights = { rooms = 0.5 }",
    )
    tables = load(
        task,
        f"[target]\n{columns}[target.price]\ntransform = 'log'\nrange = [1, 9]\n"
        "[target.rooms]\nkind = 'single_label'\nweight = 0.5",
    )
    names = ["price", "rooms"]
    assert tables.target.options(names) == by_name.target.options(names)
    assert tables.target.options(names)["transform"] == {"price": "log"}
    overridden = load(
        task, f"[target]\n{columns}", overrides=("target.price.transform=log", "target.price.range=[1, 9]")
    )
    assert overridden.target.options(names)["y_range"] == {"price": [1, 9]}
    assert type(tables).model_validate(tables.model_dump()).target.options(names) == by_name.target.options(names)
    plain = load(task, f'[target]\n{columns}kind = "regression"\n[target.rooms]\nkind = "single_label"')
    assert plain.target.options(names)["target_kinds"] == {"price": "regression", "rooms": "single_label"}


@pytest.mark.parametrize("task", ["table", "values"])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "[target.prise]\nweight = 2.0",
            r"\[target.prise\] is about no target; .*'rooms'\]; did you mean 'price'",
        ),
        ("[target.kindz]\nprice = 'regression'", r"unknown key 'price' in \[target.kindz\]"),
        ("[target.price]\ntransfrom = 'log'", r"unknown key 'transfrom' in \[target.price\]; did you mean 'transform'"),
        ("[target.price]\ntransform = 'sqrt'", "target.price.transform: input should be .*'log'"),
        ("[target.price]\nrange = [9, 1]", "target.price.range: a range must be"),
        ("[target.price]\nweight = 0", "target.price.weight: input should be greater than 0"),
        ("[target.price]\nkind = 'regresion'", "target.price.kind: unknown kind; .*did you mean 'regression'"),
        ("[target.price]\nkind = 'survival'", "a survival target is the only one"),
        (
            "transform = 'log'\n[target.price]\ntransform = 'none'",
            r"transform in \[target.price\] and target.transform are both",
        ),
        (
            "weights = { price = 2.0 }\n[target.price]\nweight = 2.0",
            r"weight in \[target.price\] and target.weights are both",
        ),
        (
            "kinds = { price = 'regression' }\n[target.price]\nkind = 'regression'",
            r"kind in \[target.price\] and target.kinds",
        ),
        ("pricee = 3", r"unknown key 'pricee' in \[target\]"),
        ("separator = ';'", "separator is for images and texts with several labels"),
    ],
)
def test_tables_of_targets_that_cannot_be_used(load, task: str, target: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        load(task, f'[target]\ncolumns = ["price", "rooms"]\n{target}')
    assert "\n" not in str(caught.value)


def test_an_automatic_transform_is_for_tables(load):
    target = '[target]\ncolumns = ["price", "rooms"]\n[target.price]\ntransform = "auto"'
    assert load("table", target).target.options([])["transform"] == {"price": "auto"}
    with pytest.raises(ConfigError, match='transform = "auto" is for tables'):
        load("values", target)
    survival = '[target]\nkind = "survival"\ntime = "t"\nevent = "e"\n[target.t]\nweight = 2.0'
    with pytest.raises(ConfigError, match=r"\[target.t\] cannot be combined with kind = .survival"):
        load("table", survival)


def test_an_override_of_the_other_spelling_replaces_the_key(load):
    assert load("table", '[target]\ncolumns = "a"', overrides=("data.targets=b",)).targets == ["b"]
    assert load("table", data='targets = "a"', overrides=("target.columns=b",)).targets == ["b"]
    for task in LABELLED:
        data = load(task, '[target]\ncolumns = "a"', overrides=('data.label_columns=["b", "c"]',)).data
        assert (data.label_columns, data.multi_label) == (["b", "c"], True)
        assert load(task, '[target]\ncolumns = "a"', overrides=("data.label_columns=[]",)).data.label_column == "a"
        data = load(task, '[target]\nseparator = ";"', overrides=("data.label_separator=",)).data
        assert (data.label_separator, data.multi_label) == ("", False)
        assert load(task, data='label_column = "a"', overrides=("target.columns=b",)).data.label_column == "b"
    with pytest.raises(ConfigError, match="data.targets and .target. are both set"):
        load("table", '[target]\ncolumns = "a"', data='targets = "a"')


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("target.price.wieght=2", r"unknown key 'wieght' in \[target.price\]; did you mean 'weight'"),
        ("target.colums=a", "unknown config key 'target.colums'; did you mean 'target.columns'"),
    ],
)
def test_overrides_of_target_that_there_are_not(load, override: str, said: str):
    with pytest.raises(ConfigError, match=said):
        load("table", '[target]\ncolumns = ["price", "rooms"]', overrides=(override,))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = range(60)
    pd.DataFrame({
        "area": [row * 37 % 101 / 4 for row in rows], "price": [row * 53 % 97 * 2.5 + 1 for row in rows],
        "rooms": [row * 7 % 3 + 1 for row in rows], "town": [["Bonn", "Ulm"][row * 5 % 3 % 2] for row in rows],
        "review": [f"text {row}" for row in rows], "tags": [["a;b", "b", ""][row % 3] for row in rows],
        "a": [row % 2 for row in rows], "b": [row // 2 % 2 for row in rows],
    }).to_csv("t.csv", index=False)  # fmt: skip
    return tmp_path


def test_new_takes_every_key_of_target(here: Path):
    table = ["new", "tabular-embeddings", "houses", "--data", "t.csv"]
    keys = ['target.columns=["price", "rooms"]', "target.price.transform=log", "target.rooms.weight=0.5"]
    assert run([*table, *(word for key in keys for word in ("--set", key))]) == 0
    config = load_config("houses/config.toml")
    assert config.targets == ["price", "rooms"]
    assert not {"price", "rooms"} & set(config.columns)
    options = config.target.options(config.targets)
    assert (options["transform"], options["loss_weights"]) == ({"price": "log"}, {"rooms": 0.5})
    assert tomllib.loads(Path("houses/config.toml").read_text())["target"]["price"] == {"transform": "log"}
    assert run(["new", "tabular-embeddings", "one", "--data", "t.csv", "--set", "target.columns=price"]) == 0
    assert load_config("one/config.toml").targets == ["price"]


def test_new_declares_labels_in_target(here: Path):
    texts = ["--data", "t.csv", "--text", "review"]
    assert run(["new", "text-sentiment", "one", *texts, "--label", "town"]) == 0
    section = tomllib.loads(Path("one/config.toml").read_text())["target"]
    assert section == {"columns": "town", "kind": "auto", "separator": ""}
    assert run(["new", "text-sentiment", "two", *texts, "--set", "target.columns=town"]) == 0
    assert load_config("two/config.toml").data.label_column == "town"
    tags = ["--set", "target.columns=tags", "--set", "target.separator=;", "--set", "target.kind=multi_label"]
    assert run(["new", "text-sentiment", "three", *texts, *tags]) == 0
    data = load_config("three/config.toml").data
    assert (data.label_column, data.label_separator, data.multi_label) == ("tags", ";", True)
    assert run(["new", "text-sentiment", "four", *texts, "--set", 'target.columns=["a", "b"]']) == 0
    assert load_config("four/config.toml").data.label_columns == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text-sentiment", "--text", "review", "--set", "target.columns=mood"], "t.csv has no column 'mood'"),
        (["text-sentiment", "--text", "review", "--label", "town", "--set", "target.columns=town"], "is given twice"),
        (
            ["text-sentiment", "--text", "review", "--label", "town", "--set", "target.kind=regression"],
            "is not possible",
        ),
        (["tabular-embeddings", "--set", 'target.columns=["price", "room"]'], "no column 'room'"),
        (["tabular-embeddings", "--target", "price", "--set", "target.prise.weight=2"], "[target.prise] is about no"),
        (["tabular-embeddings", "--target", "price", "--set", "target.price.wait=2"], "unknown key 'wait' in"),
    ],
)
def test_new_refuses_targets_that_cannot_be_and_makes_nothing(here: Path, capsys, words: list[str], said: str):
    assert run(["new", words[0], "p", "--data", "t.csv", *words[1:]]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert not (here / "p").exists()
