"""Bake a project from a template: checked answers in, a complete folder or nothing out."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkit.config import ProjectConfig, load_config, set_key
from tlkit.errors import ProjectError, did_you_mean
from tlkit.scaffold.origin import AUTO, requirement_for
from tlkit.tasks.base import DEFAULT_TASK

#: The answer that says what requirements.txt installs.
REQUIREMENT = "tlkit_requirement"
#: The folder beside the templates with the files that all of them have.
SHARED = "_shared"
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Template:
    """One template folder.

    Attributes:
        name: what the user types, with hyphens.
        path: the folder that holds cookiecutter.json.
        description: one line.
        questions: answer name -> default, or the list of choices with the default first.
        rules: answer name -> (pattern, what that means).
        task: the kind of project, as in [project] of its config.toml.
        omitted: question -> choice -> folders of the template that a project with this choice does not have.
    """

    name: str
    path: Path
    description: str
    questions: Mapping[str, Any]
    rules: Mapping[str, tuple[str, str]]
    task: str = DEFAULT_TASK
    omitted: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def check(self, answers: Mapping[str, str]) -> None:
        """Refuse names that the template does not ask for and values that it cannot use.

        Raises:
            ProjectError: with the nearest name, or what the value must be.
        """
        for name, value in answers.items():
            if name not in self.questions:
                near = did_you_mean(name, self.questions) or f"known questions: {', '.join(self.questions)}"
                raise ProjectError(f"the template {self.name} does not ask for {name!r}", fix=near)
            choices = self.questions[name]
            if isinstance(choices, list) and value not in choices:
                raise ProjectError(
                    f"invalid {name}",
                    received=value,
                    allowed=choices,
                    fix=did_you_mean(value, choices),
                )
            pattern, meaning = self.rules.get(name, ("(?s).*", "text"))
            if not re.fullmatch(pattern, value):
                raise ProjectError(f"{name} must be {meaning}", received=value, fix=f"use --set {name}=...")
            if any(mark in value for mark in ("{{", "{%", "{#")):
                raise ProjectError(f"{name} must not contain template syntax such as {{{{", received=value)


def templates() -> dict[str, Template]:
    """Return every template by name, from the installed wheel or from the repository.

    Example:
        templates()["image-classification"].description

    Raises:
        ProjectError: this installation carries no templates.
    """
    for folder in (_PACKAGE / "_templates", _PACKAGE.parent / "templates"):
        found = [_read(path.parent) for path in sorted(folder.glob("*/cookiecutter.json"))]
        if found:
            return {template.name: template for template in found}
    raise ProjectError("this installation of tlkit has no templates", fix="reinstall it from a wheel")


def get_template(name: str) -> Template:
    """Return one template.

    Raises:
        ProjectError: there is none of that name; the nearest names are given.
    """
    known = templates()
    if name not in known:
        raise ProjectError(f"unknown template {name!r}", allowed=known, fix=did_you_mean(name, known))
    return known[name]


def new_project(
    template: str | Template,
    target: str | Path,
    answers: Mapping[str, str],
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Bake a template into `target`, which must not exist or be an empty folder.

    The project is made beside the target and moved there when it is complete, so a failure leaves nothing.

    Example:
        new_project("image-classification", "bees", {"data_path": "/data/bees"})

    Args:
        template: a name from `templates()`.
        target: the project's folder; its name is the default for `project_name`.
        answers: answer name -> value; the template's defaults fill the rest.
        finish: is called with the complete project before it gets its place.

    Returns:
        The project's folder.

    Raises:
        ProjectError: the target is not empty or cannot be written, an answer is unknown or unusable, or the template is
            broken.
    """
    chosen = get_template(template) if isinstance(template, str) else template
    check_target(Path(target))
    given, target = target, Path(target).absolute()
    answers = {"project_name": target.resolve().name, **answers}
    if answers.get(REQUIREMENT, AUTO) == AUTO and REQUIREMENT in chosen.questions:
        answers[REQUIREMENT] = requirement_for(target)
    chosen.check(answers)
    place = next(parent for parent in target.parents if parent.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".tlkit-new-", dir=place) as workshop:
            baked = _bake(chosen, Path(workshop), answers)
            if finish is not None:
                finish(baked)
            check_target(target)
            if target.is_dir():  # an empty folder that the user made, perhaps the one they stand in
                for item in baked.iterdir():
                    shutil.move(item, target / item.name)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                baked.rename(target)
    except OSError as error:
        raise ProjectError(
            f"the project {given} cannot be written: {place}: {error.strerror or error}",
            fix="choose a writable folder with free space",
        ) from error
    return target


def change_config(path: Path, changes: Sequence[tuple[str, str, Any]], root: Path) -> ProjectConfig:
    """Change values of a new project's config.toml; comments stay.

    Args:
        path: the file.
        changes: section, key and value of each, as `tlkit.config.parse_override` returns them.
        root: the folder that the project will have, from which relative paths start.

    Raises:
        ConfigError: the values do not go together, or one is out of its range.
    """
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    for section, key, value in changes:
        set_key(document, section, key, value, tomlkit.table)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    return load_config(path, root=root)


def check_target(target: Path) -> None:
    """Refuse a target that would be overwritten.

    Raises:
        ProjectError: it is a file, or a folder that holds something.
    """
    if target.is_dir():
        if any(target.iterdir()):
            raise ProjectError(f"{target} already exists and is not empty", fix="choose another folder")
    elif target.exists() or target.is_symlink():
        raise ProjectError(f"{target} already exists and is not a folder", fix="choose another name")


def _bake(template: Template, folder: Path, answers: Mapping[str, str]) -> Path:
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_context, generate_files
    from cookiecutter.prompt import prompt_for_config
    from jinja2 import TemplateError

    # What `cookiecutter()` does, without the user's defaults, the replay file and the hooks. The hooks of the templates
    # check the same rules, add the same shared files and remove the same folders.
    try:
        context = generate_context(str(template.path / "cookiecutter.json"), extra_context=dict(answers))
        context["cookiecutter"].update(prompt_for_config(context, no_input=True))
        template.check({"project_slug": context["cookiecutter"]["project_slug"]})
        for source in (template.path, template.path.parent / SHARED):
            if source.is_dir():
                baked = generate_files(
                    source,
                    context,
                    output_dir=folder,
                    overwrite_if_exists=True,
                    skip_if_file_exists=True,  # a template's own file replaces the shared one
                    accept_hooks=False,
                )
        _remove_omitted(template, Path(baked), answers)
    except (CookiecutterException, TemplateError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ProjectError(f"the template {template.name} could not be rendered: {reason}") from error
    return Path(baked)


def _remove_omitted(template: Template, project: Path, answers: Mapping[str, str]) -> None:
    for question, choices in template.omitted.items():
        default = template.questions[question]
        choice = answers.get(question, default[0] if isinstance(default, list) else default)
        for name in choices.get(choice, ()):
            shutil.rmtree(project / name)


def _read(path: Path) -> Template:
    document = json.loads((path / "cookiecutter.json").read_text(encoding="utf-8"))
    return Template(
        name=document["_name"],
        path=path,
        description=document["_description"],
        questions={key: value for key, value in document.items() if not key.startswith("_")},
        rules={key: (pattern, meaning) for key, (pattern, meaning) in document.get("_rules", {}).items()},
        task=document["_task"],
        omitted=document.get("_omitted", {}),
    )
