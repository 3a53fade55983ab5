"""The pages in docs/: their snippets run, and what they name exists."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import typer
from photos import write_folder
from tiny import tiny_task
from tiny_text import tiny_text_task

import tlkit
from tlkit import config
from tlkit.cli.main import app
from tlkit.errors import ConfigError
from tlkit.models.task import LayerGroup
from tlkit.tasks.base import TASKS
from tlkit.training import fine_tuning
from tlkit.training.lr_finder import RECOMMENDED
from tlkit.training.policy import BitRule

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "reference")
DESIGN = {DOCS / "architecture.md", *(DOCS / "decisions").iterdir()}  # for developers: they name modules
PUBLIC_MODULES = {"schedules"}
CLASSES = ("blue", "green", "red")
REVIEWS = {"positive": "a great film", "negative": "a bad film"}
ATTRIBUTES = {"task", "data", "options", "history", "recorder", "snapshots"}  # made in Learner.__init__

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def problems_of_python(source: str) -> list[str]:
    """Names that users should not find in a snippet, or that there are not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tlkit":
            if node.module == "tlkit":
                found += [alias.name for alias in node.names if alias.name not in {*tlkit.__all__, *PUBLIC_MODULES}]
            elif node.module.partition(".")[2] not in PUBLIC_MODULES:
                found.append(node.module)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "tlkit" and node.attr not in tlkit.__all__:
                found.append(f"tlkit.{node.attr}")
            if node.value.id == "learn" and not is_of_learner(node.attr):
                found.append(f"learn.{node.attr}")
    return found


def is_of_learner(name: str) -> bool:
    return not name.startswith("_") and (hasattr(tlkit.Learner, name) or name in ATTRIBUTES)


def problems_of_prose(text: str) -> list[str]:
    """Config keys, names and methods in backticks that there are not."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    known = {key for task in TASKS for key, _ in config.known_keys(task)}
    sections = {key.partition(".")[0] for key in known} | {
        "check",
        "columns",
        "dates",
        "formats",
    }  # which hold rules, or the user's own names
    found = []
    for quoted in re.findall(r"`([^`\n]+)`", prose):
        named = re.fullmatch(r"\[(\w+)\](?: (\w+).*)?", quoted)
        dotted = re.fullmatch(r"(\w+)\.(\w+)(?: ?=.*)?", quoted)
        if named and (named[1] not in sections or (named[2] and f"{named[1]}.{named[2]}" not in known)):
            found.append(quoted)
        if (
            dotted
            and dotted[1] in sections
            and dotted[2] not in ("py", "toml")
            and f"{dotted[1]}.{dotted[2]}" not in known
        ):
            found.append(quoted)
        found += [f"tlkit.{name}" for name in re.findall(r"\btlkit\.(\w+)", quoted) if name not in tlkit.__all__]
        found += [f"learn.{name}" for name in re.findall(r"\blearn\.(\w+)", quoted) if not is_of_learner(name)]
    return found


def problems_of_links(text: str, folder: Path) -> list[str]:
    """Links to files that there are not, and to headings that the page itself has not."""
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in text.splitlines() if line[:1] == "#"
    }
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    return [
        target
        for target in targets
        if (target[1:] not in headings if target[0] == "#" else not (folder / target.partition("#")[0]).is_file())
    ]


def problems_of_commands(text: str) -> list[str]:
    """Commands and options of tlkit that there are not, in sh blocks and in backticks."""
    commands = typer.main.get_command(app).commands
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()] + re.findall(r"`(tlkit [^`]+)`", text)
    found = []
    for line in (line for line in lines if line.startswith("tlkit ")):
        name, *words = line.split()[1:]
        if name not in commands:
            found.append(line)
            continue
        command = commands[name]
        if words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        found += [line for word in words if word.startswith("--") and word not in options]
    return found


@each_page
def test_what_a_page_names_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    if page not in DESIGN:
        assert problems_of_prose(text) == []
    assert problems_of_links(text, page.parent) == []
    assert problems_of_commands(text) == []
    for source in blocks(text, "python"):
        compile(source, page.name, "exec")
        assert problems_of_python(source) == []


@each_page
def test_the_config_of_a_page_is_accepted(page: Path, tmp_path):
    for number, source in enumerate(blocks(page.read_text(encoding="utf-8"), "toml")):
        needed = {"project": 'name = "x"', "data": 'path = "photos"', "export": 'directory = "saved_models/x"'}
        given = tomllib.loads(source)
        for section, line in needed.items():
            if line.partition(" ")[0] in given.get(section, {}):
                continue
            header = f"[{section}]\n"
            source = source.replace(header, f"{header}{line}\n") if header in source else f"{header}{line}\n{source}"
        file = tmp_path / f"{number}.toml"
        file.write_text(source, encoding="utf-8")
        settings = tomllib.loads(source)
        loaded = config.load_config(file).model_dump()
        assert all(loaded[section][key] == value for section in settings for key, value in settings[section].items())


def test_the_index_leads_to_every_page():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(DOCS)) for page in PAGES if page.parent.name != "decisions"} - {"index.md"}
    assert pages <= set(re.findall(r"\(([\w/-]+\.md)\)", text))
    decisions = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES if page.parent.name == "decisions"} - {"index.md"} <= set(
        re.findall(r"\(([\w-]+\.md)\)", decisions)
    )


def pages_of(entries: list[dict]) -> Iterator[str]:
    """Yield the files of a navigation."""
    for entry in entries:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from pages_of(value)


def test_the_navigation_of_the_site_lists_every_page_once():
    site = tomllib.loads((DOCS.parent / "zensical.toml").read_text(encoding="utf-8"))["project"]
    generated = {f"reference/{name}.md" for name in ("api", "cli", "config")}
    assert sorted(pages_of(site["nav"])) == sorted({str(page.relative_to(DOCS)) for page in PAGES} | generated)


def test_the_page_on_the_finder_names_the_recommended_suggestion():
    text = (DOCS / "learning-rate-finder.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\S+)` .*recommended", text, re.MULTILINE) == [RECOMMENDED]


def test_every_picture_is_shown():
    shown = {name for page in PAGES for name in re.findall(r"!\[[^]]+\]\(images/([^)]+)\)", page.read_text("utf-8"))}
    assert shown == {file.name for file in (DOCS / "images").iterdir()}


def test_every_picture_is_made_by_a_script():
    scripts = "".join(path.read_text("utf-8") for path in (DOCS.parent / "tools").glob("plot_*.py"))
    assert [file.name for file in (DOCS / "images").iterdir() if f'"{file.name}"' not in scripts] == []


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (problems_of_python, "tlkit.Lerner()", "tlkit.Learner()"),
        (problems_of_python, "from tlkit.training.engine import Engine", "from tlkit.schedules import OneCycle"),
        (problems_of_python, "from tlkit import Engine", "from tlkit import schedules, Learner"),
        (problems_of_python, "learn.fine_tun(3)", "learn.fine_tune(3)"),
        (problems_of_python, "learn._engine", "learn.recorder"),
        (problems_of_prose, "`[train] cycle`", "`[train] cycle_len`"),
        (problems_of_prose, "`[trains]`", "`[train]`"),
        (problems_of_prose, "`train.keeps = 1`", "`train.keep = 1`"),
        (problems_of_prose, "`tlkit.find_lrs(model)`", "`tlkit.find_lr(model)`"),
        (problems_of_prose, "`learn.freez()`", "`learn.freeze()`"),
        (problems_of_commands, "`tlkit evaluates`", "`tlkit evaluate`"),
        (problems_of_commands, "```sh\ntlkit export --ttas 4\n```", "```sh\ntlkit export --tta 4\n```"),
    ],
)
def test_the_checks_find_what_is_wrong(check, wrong, right):
    assert check(wrong) != []
    assert check(right) == []


def test_broken_links_are_found():
    text = "# Two words\n[a](index.md) [b](none.md) ![c](images/none.png) [d](#two-words) [e](#three)"
    assert problems_of_links(text, DOCS) == ["none.md", "images/none.png", "#three"]


def four_groups():
    """The tiny task with the layer groups that image classifiers have."""
    task = tiny_task(CLASSES)
    layers = {"stem": "stem", "body": "norm", "last_block": "last"}
    groups = [LayerGroup(name, (task.backbone.get_layer(layer),)) for name, layer in layers.items()]
    task = dataclasses.replace(task, groups=(*groups, task.groups[-1]))
    task.freeze_to(-1)
    return task


def small_base() -> keras.Model:
    """Return a network that takes pixels and returns a vector per image, as keras.applications do without a top."""
    pixels = keras.Input((None, None, 3))
    scaled = keras.layers.Conv2D(4, 8, strides=8)(keras.layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(scaled))


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the pages take for granted, small; photos and pretrained networks are replaced, their arguments checked."""
    monkeypatch.chdir(tmp_path)
    write_folder(Path("photos"), dict.fromkeys(CLASSES, 12))
    from_folder, classifier, export = tlkit.images_from_folder, tlkit.image_classifier, tlkit.Learner.export

    def small_data(*args, **options):
        inspect.signature(from_folder).bind(*args, **options)
        return from_folder(*args, **{**options, "size": 32, "batch_size": 8, "val_fraction": 0.3})

    def small_task(*args, **options):
        inspect.signature(classifier).bind(*args, **options)
        return four_groups()

    def without_work(function, result=None):
        """A stand-in that takes what the function takes."""

        def bound(*args, **options):
            inspect.signature(function).bind(*args, **options)
            return result

        return bound

    from_table, text_task = tlkit.texts_from_table, tiny_text_task(("negative", "positive"))

    def small_texts(*args, **options):
        inspect.signature(from_table).bind(*args, **options)
        given = {name: value for name, value in options.items() if name not in ("encoder", "max_tokens")}
        return from_table(*args, **{**given, "preprocessing": text_task.preprocessing})

    rows = [f"{words} {number},{label}" for label, words in REVIEWS.items() for number in range(12)]
    Path("reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    houses = [f"{number % 5},{'Kiel' if number % 2 else 'Bern'},{100.0 + number}" for number in range(40)]
    Path("train.csv").write_text("rooms,town,price\n" + "\n".join(houses) + "\n", encoding="utf-8")
    pd.read_csv("train.csv").to_parquet("train.parquet")
    stars = [f"{number % 8},{number % 7},{1 + number % 5},{number}" for number in range(56)]
    Path("ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(stars) + "\n", encoding="utf-8")
    Path("tickets.txt").write_text("a ticket\n", encoding="utf-8")
    monkeypatch.setattr(tlkit, "texts_from_table", small_texts)
    monkeypatch.setattr(tlkit, "text_classifier", without_work(tlkit.text_classifier, text_task))
    monkeypatch.setattr(
        keras.applications, "EfficientNetB0", without_work(keras.applications.EfficientNetB0, small_base())
    )
    losses = SimpleNamespace(loss_before=2.0, loss_after=1.0)
    monkeypatch.setattr(tlkit, "adapt_encoder", without_work(tlkit.adapt_encoder, losses))
    monkeypatch.setattr(tlkit.Learner, "report", without_work(tlkit.Learner.report))
    monkeypatch.setattr(tlkit, "images_from_folder", small_data)
    monkeypatch.setattr(tlkit, "image_classifier", small_task)
    monkeypatch.setattr(tlkit.Learner, "export", without_work(export))
    monkeypatch.setattr(fine_tuning, "bit_rule", lambda examples, size: BitRule(48, 4, 0.1))  # not 500 steps
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
    data = small_data("photos", augment="side_on")
    return {
        "tlkit": tlkit,
        "np": np,
        "keras": keras,
        "data": data,
        "task": four_groups(),
        "learn": tlkit.Learner(four_groups(), data),
        "lr": 0.01,
        "model": keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]),
        "dataset": tf.data.Dataset.from_tensor_slices((random[:, :4], random[:, 4:])).batch(8),
    }


# These train through stages, sizes and policies: minutes for what tests/training holds as well.
LONG = {"discriminative-rates", "fine-tune", "freezing", "learning-rate-finder", "recorder", "resume"}
LONG |= {"migrate", "snapshots-and-swa", "texts", "training-options"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page.stem in LONG else page for page in PAGES],
    ids=[page.stem for page in PAGES],
)
def test_the_snippets_of_a_page_run(page: Path, names):
    for source in blocks(page.read_text(encoding="utf-8"), "python"):
        names["model"].compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")
        exec(compile(source, page.name, "exec"), names)
    assert "learn" in names


def test_a_snippet_with_an_unknown_argument_is_noticed(names):
    with pytest.raises(TypeError, match="sice"):
        names["tlkit"].images_from_folder("photos", sice=224)
    with pytest.raises(TypeError, match="cuts"):
        names["tlkit"].image_classifier("resnet50", CLASSES, cuts="body")
    with pytest.raises(TypeError, match="views"):
        names["learn"].export("saved_models/photos", views=4)
    with pytest.raises(ConfigError, match="more learning rates than layer groups"):
        names["learn"].fit(1, [0.1] * 5)


def test_a_machine_that_only_serves_gets_the_packages_of_the_extra():
    line = re.search(r"    pip install (tensorflow .*?\\\n.*)\n", (DOCS / "serving.md").read_text(encoding="utf-8"))[1]
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    serve = project["optional-dependencies"]["serve"]
    assert line.replace("\\", "").split() == [re.match(r"[\w-]+", one)[0] for one in serve]
    assert set(serve) <= set(project["dependencies"])
