"""Bake every template with every choice of every question, and check that the results can be read.

    python tools/bake_templates.py [DIR]

Without DIR the projects go to a temporary folder that is removed.
"""

import ast
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tlkit.config import load_config
from tlkit.scaffold.new import Template, new_project, templates


def variants(template: Template) -> Iterator[dict[str, str]]:
    """Yield the defaults, then each other choice on its own."""
    yield {}
    for name, default in template.questions.items():
        if isinstance(default, list):
            yield from ({name: choice} for choice in default[1:])


def check(project: Path) -> None:
    """Parse every Python file, the notebook and config.toml of a baked project."""
    for path in project.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path))
    for path in project.rglob("*.ipynb"):
        json.loads(path.read_text(encoding="utf-8"))
    load_config(project / "config.toml")


def main(folder: Path) -> None:
    for name, template in templates().items():
        for answers in variants(template):
            tag = "-".join([name, *(f"{key}-{value}" for key, value in answers.items())])
            project = new_project(template, folder / tag, {"project_name": "Baked", **answers})
            check(project)
            print(f"{name} {answers or 'defaults'}: {sum(path.is_file() for path in project.rglob('*'))} files")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
