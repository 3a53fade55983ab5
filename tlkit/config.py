"""A project's config.toml: unknown keys, wrong types and impossible values are errors, told in one line."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from tlkit.config_sections import ProjectConfig
from tlkit.errors import ConfigError, did_you_mean
from tlkit.lazy import loaded
from tlkit.tasks.base import DEFAULT_TASK, TASKS, spec_of

if typing.TYPE_CHECKING:
    from tlkit.tasks.image_classification.config import ImageConfig
    from tlkit.tasks.image_regression.config import ImageRegressionConfig
    from tlkit.tasks.recommender.config import RecommenderConfig
    from tlkit.tasks.tabular.config import TabularConfig
    from tlkit.tasks.text_classification.config import TextConfig

__all__ = [
    "DEFAULT_TASK",
    "ImageConfig",
    "ImageRegressionConfig",
    "ProjectConfig",
    "RecommenderConfig",
    "TabularConfig",
    "TextConfig",
    "config_of",
    "known_keys",
    "load_config",
    "parse_override",
]

#: Models of config.toml that projects import from here; they load on first use.
_HOMES = {
    "ImageConfig": "image_classification",
    "ImageRegressionConfig": "image_regression",
    "RecommenderConfig": "recommender",
    "TabularConfig": "tabular",
    "TextConfig": "text_classification",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return config_of(_HOMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def config_of(task: str) -> type[ProjectConfig]:
    """Return the model of a task's config.toml.

    Raises:
        ConfigError: there is no such task.
    """
    found: type[ProjectConfig] = loaded(spec_of(task).config)
    return found


def load_config(path: str | Path, overrides: Sequence[str] = (), *, root: str | Path | None = None) -> ProjectConfig:
    """Read a config.toml, apply `SECTION.KEY=VALUE` overrides and check all of it.

    Example:
        config = load_config("config.toml", ["train.frozen_epochs=2"])

    Args:
        path: the file; its `task` in [project] says which keys there are, photos' when it is left out.
        overrides: `SECTION.KEY=VALUE` strings; the value is read as the type that the key has.
        root: what relative paths start from; the file's folder when left out.

    Returns:
        The checked configuration: an `ImageConfig`, a `TextConfig` or a `TabularConfig`.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value has the wrong type or range.
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid TOML: {str(error).splitlines()[0]}") from error
    task = _task(tree, path.name)
    for override in overrides:
        section, key, value = parse_override(override, task)
        set_key(tree, section, key, value)
    try:
        config = config_of(task).model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {describe(error, task)}") from None
    config._root = (Path(root) if root is not None else path.parent).resolve()
    return config


def set_key(
    tree: MutableMapping[str, Any], section: str, key: str, value: Any, table: Callable[[], Any] = dict
) -> None:
    """Set a value in the tree of a config.toml; another spelling of the key is removed.

    Args:
        tree: the whole file; its task decides which keys there are.
        section, key, value: as `parse_override` returns them.
        table: makes an empty table.
    """
    model = config_of(_task(tree, "config.toml"))
    for other in model.replaced_keys(f"{section}.{key}", value, tree):
        head, _, name = other.partition(".")
        if isinstance(tree.get(head), MutableMapping) and tree[head].get(name):
            del tree[head][name]
    place = tree.setdefault(section, table())
    names = key.rsplit(".", 1) if _table_of_one(model, section) is not None else [key]
    if len(names) == 2 and isinstance(place, MutableMapping):
        place = place.setdefault(names[0], table())
    if isinstance(place, MutableMapping):
        place[names[-1]] = value


def _table_of_one(model: type[ProjectConfig], section: str) -> type[BaseModel] | None:
    """Return the model of [SECTION.NAME], if a section has such tables."""
    field = model.model_fields.get(section)
    return getattr(field.annotation, "of_one", None) if field is not None else None


def parse_override(override: str, task: str = DEFAULT_TASK) -> tuple[str, str, Any]:
    """Split `SECTION.KEY=VALUE` and read VALUE as the type of that key.

    >>> parse_override("train.frozen_epochs=2")
    ('train', 'frozen_epochs', 2)

    Args:
        override: the string.
        task: the kind of project, a key of `TASKS`.

    Raises:
        ConfigError: the form is wrong or there is no such key.
    """
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not name.strip():
        raise ConfigError("--set takes SECTION.KEY=VALUE", received=override, fix="for example train.frozen_epochs=2")
    fields = dict(known_keys(task))
    if key and section in _open_sections(task):
        return section, key, text.strip()
    of_one = _table_of_one(config_of(task), section)
    target, _, inner = key.rpartition(".")
    if of_one is not None and target:
        if inner not in of_one.model_fields:
            near = did_you_mean(inner, of_one.model_fields) or f"known keys: {', '.join(of_one.model_fields)}"
            raise ConfigError(f"unknown key {inner!r} in [{section}.{target}]", fix=near)
        return section, key, _typed(text.strip() or text, of_one.model_fields[inner].annotation)
    if not dot or f"{section}.{key}" not in fields:
        raise ConfigError(f"unknown config key {name.strip()!r}", fix=_near(name.strip(), fields, task))
    return section, key, _typed(text.strip() or text, fields[f"{section}.{key}"])


def known_keys(task: str = DEFAULT_TASK) -> Iterator[tuple[str, Any]]:
    """Yield every `section.key` of a kind of project with its annotation."""
    for section, field in config_of(task).model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for key, inner in model.model_fields.items():
                yield f"{section}.{key}", inner.annotation


def _open_sections(task: str) -> set[str]:
    """Name the sections whose keys are the user's own, such as the columns of a table."""
    return {name for name, field in config_of(task).model_fields.items() if typing.get_origin(field.annotation) is dict}


def describe(error: ValidationError, task: str = DEFAULT_TASK) -> str:
    """Put the problems of a pydantic error into one line, each with its key and the nearest known key."""
    problems = error.errors(include_url=False)
    told = [_describe_one(problem, task) for problem in problems[:3]]
    if len(problems) > 3:
        told.append(f"and {len(problems) - 3} more")
    return " | ".join(told)


def _task(tree: Mapping[str, Any], file: str) -> str:
    project = tree.get("project")
    task = project.get("task", DEFAULT_TASK) if isinstance(project, Mapping) else DEFAULT_TASK
    if not isinstance(task, str) or task not in TASKS:
        near = did_you_mean(str(task), TASKS) or None
        raise ConfigError(f"{file}: project.task is unknown", received=task, allowed=list(TASKS), fix=near)
    return task


def _near(name: str, fields: Mapping[str, Any], task: str) -> str:
    same_key = [known for known in fields if known.endswith(f".{name}")]
    if same_key:
        return f"did you mean {same_key[0]!r}?"
    for other in TASKS:
        if other != task and name in dict(known_keys(other)):
            return f'it exists only for task = "{other}"; known keys: {", ".join(fields)}'
    return did_you_mean(name, fields) or f"known keys: {', '.join(fields)}"


def _describe_one(problem: Mapping[str, Any], task: str) -> str:
    place = [str(part) for part in problem["loc"]]
    name = ".".join(place[:2])
    keys = [known for known, _ in known_keys(task)]
    of_one = _table_of_one(config_of(task), place[0]) if place else None
    if of_one is not None and len(place) > 1 and f"{place[0]}.{place[1]}" not in keys:  # [SECTION.NAME]
        if problem["type"] == "extra_forbidden":
            near = did_you_mean(place[2], of_one.model_fields) or f"known keys: {', '.join(of_one.model_fields)}"
            return _join(f"unknown key {place[2]!r} in [{'.'.join(place[:2])}]", near)
        name = ".".join(place[:3])
        if problem["type"] == "model_type":  # a value in place of a table: a key that does not exist
            problem = {**problem, "type": "extra_forbidden"}
    if problem["type"] == "extra_forbidden":
        if len(place) == 1:
            return _join(f"unknown section [{name}]", did_you_mean(name, config_of(task).model_fields))
        section = [known.partition(".")[2] for known in keys if known.startswith(place[0] + ".")]
        near = did_you_mean(place[1], section) or did_you_mean(place[1], [k.partition(".")[2] for k in keys])
        return _join(f"unknown key {place[1]!r} in [{place[0]}]", near or f"known keys: {', '.join(section)}")
    if problem["type"] == "missing":
        return f"{name} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if problem["type"] == "value_error" and len(place) < 2:  # keys that do not fit together, which the message names
        return f"{name}: {message}" if name else message
    return f"{name}: {message}; received: {problem['input']!r}"


def _join(what: str, hint: str) -> str:
    return f"{what}; {hint}" if hint else what


def _typed(text: str, annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if annotation is str or origin is Literal:
        return text
    members = typing.get_args(annotation) if origin in (typing.Union, types.UnionType) else (annotation,)
    if str in members and not text.startswith("[") and not {int, float} & set(members):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
