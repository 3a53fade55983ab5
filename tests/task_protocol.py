"""What a task lacks of what every task must have; called by tests/test_task_protocol.py for each of them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

from tlkit.lazy import loaded
from tlkit.tasks import base

PLACE = re.compile(r"tlkit[\w.]*:\w+|[a-z_]\w*:[A-Za-z_]\w*")
TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


def what_lacks(name: str) -> list[str]:
    """Name every part of the protocol that a task lacks; the empty list is a whole task."""
    try:
        spec = loaded(base.TASKS[name])
    except (ImportError, AttributeError) as error:
        return [f"{base.TASKS[name]} does not load: {error}"]
    if not isinstance(spec, base.TaskSpec):
        return [f"{base.TASKS[name]} is no TaskSpec"]
    lacks = [] if spec.name == name else [f"its name is {spec.name!r}, not {name!r}"]
    lacks += _input(spec)
    for field, where in _places(spec).items():
        lacks += [f"{field}: {lack}" for lack in _part(where)]
    lacks += _config(spec)
    if name not in _tasks_of_templates():
        lacks.append(f'no template has "_task": "{name}"')
    return lacks


def _input(spec: base.TaskSpec) -> list[str]:
    from tlkit.inputs.base import INPUTS, input_spec

    if spec.input not in INPUTS:
        return [f"input: there is no {spec.input!r} among {', '.join(INPUTS)}"]
    found = input_spec(spec.input)
    lacks = [lack for where in _places(found).values() for lack in _part(where)]
    for module in filter(None, (found.hostile, found.items)):
        try:
            importlib.import_module(module)
        except ImportError as error:
            lacks.append(f"input: {module} does not load: {error}")
    return lacks


def _places(spec: Any) -> dict[str, str]:
    """Return the fields of a spec that are module:object."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return {name: value for name, value in values.items() if isinstance(value, str) and PLACE.fullmatch(value)}


def _part(where: str) -> list[str]:
    """Name what is missing of something that a spec names by module:object."""
    try:
        part = loaded(where)
    except (ImportError, AttributeError) as error:
        return [f"{where} does not load: {error}"]
    if not inspect.isclass(part):
        return [] if callable(part) else [f"{where} cannot be called"]
    return [f"{where} lacks {missing}" for missing in sorted([*_abstract(part), *_undefined(part)])]


def _abstract(part: type) -> list[str]:
    return list(getattr(part, "__abstractmethods__", ()))


def _undefined(part: type) -> list[str]:
    """Class attributes that a base class only declares."""
    declared = {name for one in part.__mro__ for name, kind in vars(one).get("__annotations__", {}).items()
                if "ClassVar" in str(kind)}  # fmt: skip
    return [name for name in declared if not hasattr(part, name)]


def _config(spec: base.TaskSpec) -> list[str]:
    from tlkit.config import ProjectConfig

    try:
        config: Any = loaded(spec.config)
    except (ImportError, AttributeError):
        return []  # told above
    if inspect.isclass(config) and issubclass(config, ProjectConfig):
        return []
    return [f"config: {spec.config} is no ProjectConfig"]


def _tasks_of_templates() -> set[str]:
    return {json.loads(path.read_text(encoding="utf-8"))["_task"] for path in TEMPLATES.glob("*/cookiecutter.json")}
