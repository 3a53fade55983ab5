"""Runs a project's notebook in this process, which spares the kernel's start and another import of TensorFlow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat


def read_notebook(project: Path, overrides: list[str]) -> nbformat.NotebookNode:
    """Give the notebook of a baked project with its parameters set."""
    notebook = nbformat.read(project / "notebook.ipynb", as_version=4)
    (parameters,) = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["parameters"]]
    parameters.source = f"OVERRIDES = {overrides}"
    return notebook


def run_notebook(project: Path, overrides: list[str]) -> dict:
    """Execute the cells from top to bottom inside the project; gives the variables that they leave."""
    before, path_before = Path.cwd(), list(sys.path)
    aside = {name: sys.modules.pop(name) for name in ("train", "model") if name in sys.modules}
    values: dict = {"__name__": "notebook"}
    os.chdir(project)
    sys.path.insert(0, str(project))
    try:
        for number, cell in enumerate(read_notebook(project, overrides).cells):
            if cell.cell_type == "code":
                exec(compile(cell.source, f"cell {number}", "exec"), values)
    finally:
        os.chdir(before)
        sys.path[:] = path_before
        for name in ("train", "model"):
            sys.modules.pop(name, None)
        sys.modules.update(aside)
    return values
