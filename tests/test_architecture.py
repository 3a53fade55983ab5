"""Who may import whom: reads every module's syntax tree and holds the house rules."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tlkit

PACKAGE = Path(tlkit.__file__).parent
EVERYWHERE = ("errors", "files", "lazy", "one_line", "separated", "float_digits", "__version__")
HEAVY = {"tensorflow", "keras", "keras_hub", "keras_cv", "keras_nlp", "tensorflow_text", "torch", "pandas"}

# Room, or module with rules of its own -> the rooms (or single modules) that it may import; everything may import what
# is in EVERYWHERE.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "separated": set(),
    "files": set(),
    "float_digits": set(),
    "lazy": set(),
    "one_line": set(),
    "schedule_parts": set(),
    "schedules": {"schedule_parts"},
    "config": {"config_sections", "tasks"},
    "config_targets": {"config_sections", "targets.survival_columns"},
    "config_rows": {"config_sections", "config_targets"},
    "config_sections": set(),
    "catalogue": set(),
    # The former place of the targets and of a table's preprocessing, which projects of earlier releases import.
    "preprocessing": {"inputs.row.preprocessing", "targets.base", "targets.regression"},
    # What is predicted; its metrics are figures and tables of a report.
    "targets": {"report"},
    # What comes in. A data set holds labels as its targets encode them.
    "inputs": {"catalogue", "targets"},
    "samples": {"catalogue", "inputs"},
    "models": {"catalogue", "inputs", "targets"},
    # What all other rooms may know of tasks.
    "tasks.base": set(),
    # A task is one folder, and no task imports another; see test_a_task_imports_no_other_task. One with a training of
    # its own, such as that of an encoder on texts without labels, puts it together from the parts of the engine.
    "tasks": {
        "catalogue",
        "config_sections",
        "config_rows",
        "config_targets",
        "inputs",
        "models",
        "report",
        "schedule_parts",
        "targets",
        "training.engine",
        "training.lr_finder",
        "training.options",
        "training.plan",
        "training.precision",
        "training.progress",
    },
    "callbacks": {"schedules", "schedule_parts", "report"},
    # The Learner is the user's handle: evaluate() and export() belong to it.
    "training": {
        "catalogue",
        "models",
        "callbacks",
        "schedules",
        "schedule_parts",
        "inputs",
        "report",
        "export",
        "targets",
        "tasks.base",
    },
    "report": set(),
    "export": {"models", "inputs", "tasks.base", "targets.survival_columns"},
    # The server runs without Keras; what it takes from other rooms needs neither Keras nor TensorFlow.
    "serving": {
        "export.arguments",
        "export.baseline",
        "export.contents",
        "export.graph_errors",
        "export.graph_messages",
        "export.interface",
        "export.manifest",
        "export.manifest_schemas",
        "export.model_name",
        "export.monitor_files",
        "export.records",
        "export.short_floats",
        "export.sketch",
        "export.text_ops",
        "export.verify",
        "export.verify_answers",
        "inputs.base",
        "inputs.row.columns",
        "inputs.row.given",
        "inputs.row.number_forms",
        "inputs.image.formats",
        "inputs.wire",
    },
    # What the rules of a check look at is declared by inputs and targets.
    "trust": {
        "inputs.base",
        "inputs.examined",
        "targets.base",
        "tasks.base",
        "export",
        "report",
        "predicting",
    },
    "predicting": {"export", "inputs", "targets.base", "targets.survival_columns"},
    "scoring": {"export", "inputs", "predicting"},
    "scaffold": {"config", "tasks.base"},
}
EVERYTHING = {"cli", "__init__", "__main__"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_templates" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """Yield the full dotted names that one import statement may load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = ("tlkit", *path.relative_to(PACKAGE).parent.parts)
            base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what runs on import: neither function bodies nor blocks for type checkers."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_the_rooms_that_it_may(path: Path):
    room = room_of(path)
    if room in EVERYTHING:
        return
    assert room in ALLOWED, f"{room} is a new room: say in ALLOWED what it may import"
    own = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    allowed = ALLOWED.get(own, ALLOWED[room])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for name in imported(node, path):
            parts = name.split(".")
            if (
                parts[0] != "tlkit"
                or len(parts) < 2
                or parts[1] in EVERYWHERE
                or (parts[1] == room and own not in ALLOWED)
            ):
                continue
            target = ".".join(parts[1:])
            assert any(target == one or target.startswith(f"{one}.") for one in allowed), (
                f"{path.relative_to(PACKAGE)}:{node.lineno} imports {name}; allowed: {sorted(allowed)}"
            )


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) == "tasks"], ids=lambda p: "/".join(p.parts[-2:]))
def test_a_task_imports_no_other_task(path: Path):
    own = path.relative_to(PACKAGE).parts[1].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported(node, path):
            parts = name.split(".")
            if parts[:2] == ["tlkit", "tasks"]:
                assert parts[2] in (own, "base", "commands"), f"{path}:{node.lineno} imports {name}"


def test_the_table_has_no_cycle():
    seen: set[str] = set()

    def visit(room: str, above: tuple[str, ...]) -> None:
        assert room not in above, f"cycle: {' -> '.join([*above, room])}"
        for target in ALLOWED.get(room, set()):
            visit(target if target in ALLOWED else target.split(".")[0], (*above, room))
        seen.add(room)

    for room in ALLOWED:
        visit(room, ())
    assert seen >= set(ALLOWED)


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle."""
    sorter = TopologicalSorter(imports)
    try:
        sorter.prepare()
    except CycleError as error:
        around: list[str] = error.args[1]
        return [around, *circles({name: found - set(around) for name, found in imports.items() if name not in around})]
    return []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert [sorted(set(one)) for one in circles({"a": {"b"}, "b": {"c"}, "c": {"b"}})] == [["b", "c"]]


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and for type checkers count too: they hide a circle, they do not open it."""
    names = {".".join(("tlkit", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in modules()}
    imports: dict[str, set[str]] = {}
    for own, path in names.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found = {name for node in nodes for name in imported(node, path)}
        # A name that is imported is a module itself, or lies in the module before its last dot.
        imports[own] = {part for name in found for part in (name, name.rpartition(".")[0]) if part in names} - {own}
    del imports["tlkit.__init__"]  # the public names, which load on first use
    assert circles(imports) == []


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if p.name == "__init__.py" and p.parent != PACKAGE],
    ids=lambda p: p.parent.name,
)
def test_the_init_of_a_subpackage_holds_only_its_docstring(path: Path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) == "cli"], ids=lambda path: path.name)
def test_a_command_imports_the_library_inside_its_functions(path: Path):
    for node in top_level(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported(node, path):
            parts = name.split(".")
            assert parts[0] not in HEAVY | {"pydantic", "cookiecutter", "matplotlib"}, f"{path.name}: {name}"
            if parts[0] == "tlkit" and len(parts) > 1:
                # predicting: items are read and results are written by the standard library alone.
                light = parts[1] in {"cli", "errors", "one_line", "predicting", "__version__"}
                assert light, f"{path.name}: {name}"


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) == "serving"], ids=lambda path: path.name)
def test_serving_runs_without_keras(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported(node, path):
            assert name.split(".")[0] not in HEAVY - {"tensorflow"}, f"{path.name}: {name}"


@pytest.mark.parametrize(
    "name", ["tlkit", "tlkit.cli.main", "tlkit.config", "tlkit.predicting.table_writer", "tlkit.scaffold.new"]
)
def test_importing_it_loads_neither_tensorflow_nor_keras(name: str):
    code = f"import sys, {name}; print(sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) == "predicting"], ids=lambda path: path.name)
def test_predicting_imports_heavy_libraries_inside_its_functions(path: Path):
    for node in top_level(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported(node, path):
            assert name.split(".")[0] not in HEAVY | {"numpy", "pyarrow"}, f"{path.name}: {name}"


# Rooms that may name tasks, inputs and targets: what they are for is to be one, to list them, or to read their keys.
NAMING = {"tasks", "inputs", "targets", "catalogue", "models", "samples", "preprocessing", "__init__"}
NAMING |= {"config", "config_rows", "config_sections", "config_targets"}
# What documents of an older schema leave unsaid: a table of history, which no new task, input or target changes.
HISTORY = {"export/manifest_schemas.py"}


def named(path: Path) -> Iterator[str]:
    """Yield the tasks, inputs and targets that a module names: in strings, comparisons and imports."""
    from tlkit.inputs.base import INPUTS
    from tlkit.targets.base import TARGETS
    from tlkit.tasks.base import TASKS

    parts = {"inputs": set(INPUTS), "tasks": set(TASKS), "targets": {place.split(":")[0] for place in TARGETS.values()}}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in {*TASKS, *TARGETS}:
            yield str(node.value)
        if isinstance(node, ast.Compare):
            sides = [side.value for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)]
            yield from (side for side in sides if side in INPUTS)
        if isinstance(node, ast.ImportFrom) and node.module:
            room, _, rest = node.module.removeprefix("tlkit.").partition(".")
            if node.module in parts["targets"] or rest.split(".")[0] in parts.get(room, ()):
                yield node.module


def test_only_the_rooms_for_it_name_a_task_an_input_or_a_target():
    naming = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if room_of(path) not in NAMING and next(named(path), None) is not None
    }
    assert naming >= HISTORY
    naming -= HISTORY
    assert naming == set(), "name no task, input or target here: ask its spec"
