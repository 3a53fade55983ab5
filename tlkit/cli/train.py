"""`tlkit train`: run the project's own training."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of config.toml for this run.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run from its last checkpoint.")] = False,
) -> None:
    """Train the project's model: call main() in its train.py.

    Example:  tlkit train --set train.finetune_epochs=0
    """
    from tlkit.catalogue.random_weights import to_be_replaced
    from tlkit.cli.check_first import checking_first
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, note
    from tlkit.cli.project import find_project

    project = find_project(overrides=overrides or ())
    config = project.config
    project.kind.check_training(config)
    import_tensorflow()
    before = _record(project.checkpoints)
    # A resumed run loads its weights: it has learned something, whatever it began with.
    resumed = to_be_replaced() if resume else contextlib.nullcontext()
    with native_noise_filtered(), project.code() as code, resumed:
        try:
            with contextlib.nullcontext() if resume else checking_first(project, code):
                learn = code.train.main(config, resume=resume)
        except KeyboardInterrupt:
            now = _record(project.checkpoints)
            if now is not None and (resume or now != before):
                note("stopped; run `tlkit train --resume` to continue from the last checkpoint")
            else:
                note("stopped before the first checkpoint: nothing was saved; run `tlkit train` to start again")
            raise
    if config.data.exclude and "excluded" not in (getattr(getattr(learn, "data", None), "dropped", None) or {}):
        note("warning: data.exclude is not used: pass exclude=config.exclude where train.py reads the data")
    unused = project.kind.unused(config, learn)
    if unused:
        note(f"warning: {unused}")
    print(f"plots: {project.reports}\nnext: tlkit export")


def _record(checkpoints: Path) -> bytes | None:
    """Return what the last run wrote about itself; None where there is none."""
    from tlkit.training.run_state import RUN_FILE

    try:
        return (checkpoints / RUN_FILE).read_bytes()
    except OSError:
        return None
