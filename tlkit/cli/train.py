"""`tlkit train`: run the project's own training."""

from __future__ import annotations

from typing import Annotated

import typer


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of config.toml for this run.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run was.")] = False,
) -> None:
    """Train the project's network: calls main() of its train.py.

    Example:  tlkit train --set train.finetune_epochs=0
    """
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, note
    from tlkit.cli.project import find_project

    project = find_project(overrides=overrides or ())
    config = project.config
    project.kind.check_training(config)
    import_tensorflow()
    with native_noise_filtered(), project.code() as code:
        try:
            code.train.main(config, resume=resume)
        except KeyboardInterrupt:
            note("stopped; `tlkit train --resume` goes on from the last checkpoint")
            raise
    print(f"pictures of this run: {project.reports}\nnext: tlkit export")
