"""The project that a command works on, found like git does it, and its own model.py and train.py."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tlkit.errors import ProjectError, TlkitError

if TYPE_CHECKING:
    from tlkit.config import ProjectConfig
    from tlkit.tasks.commands import Code, TaskCommands

_MARKS = ("config.toml", ".tlkit.toml")


@dataclass(frozen=True)
class Project:
    """One generated project.

    Attributes:
        root: its folder.
        overrides: the `SECTION.KEY=VALUE` strings of this call.
    """

    root: Path
    overrides: tuple[str, ...] = ()

    @cached_property
    def config(self) -> ProjectConfig:
        """config.toml with the overrides; an unknown network is refused here, before anything loads."""
        from tlkit.config import load_config
        from tlkit.tasks.commands import commands_of

        config = load_config(self.root / "config.toml", self.overrides)
        commands_of(config.project.task).check(config)
        return config

    @property
    def kind(self) -> TaskCommands:
        """What the commands must know of its task."""
        from tlkit.tasks.commands import commands_of

        return commands_of(self.config.project.task)

    @property
    def checkpoints(self) -> Path:
        """Where training keeps its state."""
        return self.config.checkpoints

    @property
    def reports(self) -> Path:
        """Where pictures go."""
        return self.config.reports

    @property
    def export_dir(self) -> Path:
        """Where versions are exported to."""
        return self.config.export_dir

    def newest_export(self) -> Path | None:
        """The exported version with the highest number, or None."""
        from tlkit.export.manifest import version_folders

        return next(reversed(version_folders(self.export_dir).values()), None)

    @contextlib.contextmanager
    def code(self) -> Iterator[Code]:
        """Import the project's model.py and train.py; other modules of these names come back afterwards.

        Raises:
            ProjectError: a file is missing, cannot be imported, or lacks a function that the commands call.
        """
        from tlkit.tasks.commands import Code

        own = {path.stem for path in self.root.glob("*.py")} | {"model", "train"}
        aside = {name: sys.modules.pop(name) for name in own if name in sys.modules}
        path_before = list(sys.path)
        sys.path.insert(0, str(self.root))
        importlib.invalidate_caches()
        try:
            yield Code(
                model=self._import("model", ("build_task",)),
                train=self._import("train", ("load_data", "main")),
            )
        finally:
            sys.path[:] = path_before
            for name in own:
                sys.modules.pop(name, None)
            sys.modules.update(aside)

    def _import(self, name: str, functions: Sequence[str]) -> ModuleType:
        file = self.root / f"{name}.py"
        if not file.is_file():
            raise ProjectError(f"the project has no {name}.py: {file}")
        try:
            module = importlib.import_module(name)
        except (KeyboardInterrupt, TlkitError):
            raise
        except BaseException as error:  # it is the user's file: anything may happen in it
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ProjectError(
                f"{name}.py cannot be imported: {reason}", fix="run with --debug to see the traceback"
            ) from error
        for function in functions:
            if not callable(getattr(module, function, None)):
                raise ProjectError(f"{name}.py has no function {function}()", fix=f"the commands call it: {file}")
        return module


def find_project(start: str | Path | None = None, overrides: Sequence[str] = ()) -> Project:
    """Find the project that a folder lies in.

    Example:
        project = find_project(overrides=["train.frozen_epochs=2"])

    Args:
        start: where to begin; the working directory when left out.
        overrides: `SECTION.KEY=VALUE` strings for its config.

    Raises:
        ProjectError: neither the folder nor one above it holds a config.toml and a .tlkit.toml.
    """
    here = Path(start or ".").resolve()
    for folder in (here, *here.parents):
        if all((folder / mark).is_file() for mark in _MARKS):
            return Project(folder, tuple(overrides))
    if (here / "config.toml").is_file():
        raise ProjectError(f"{here} has a config.toml but no .tlkit.toml, so it is not a tlkit project")
    raise ProjectError(
        f"no tlkit project in {here} or its parent folders",
        fix="change to a project folder, or create one with `tlkit new TEMPLATE DIR`; `tlkit templates` "
        "lists the templates",
    )
