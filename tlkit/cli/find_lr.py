"""`tlkit find-lr`: measure a learning rate without training."""

from __future__ import annotations

import sys
import tempfile
from typing import Annotated

import typer


def find_lr(
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of config.toml for this run.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run the learning-rate finder for the head and plot loss against learning rate.

    Example:  tlkit find-lr
    """
    import tlkit
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project

    project = find_project(overrides=overrides or ())
    config = project.config
    project.kind.check_training(config)
    plot = project.reports / "learning_rate.png"
    with native_noise_filtered(), stdout_to_stderr(as_json), tempfile.TemporaryDirectory() as scratch:
        import_tensorflow()
        with project.code() as code:
            data = code.train.load_data(config)
            task = project.kind.build_task(code, config, data)
            # A folder of its own: the checkpoints of a real run are not touched.
            found = tlkit.Learner(task, data, directory=scratch, **config.step.model_dump()).find_lr()
            found.plot(plot)
    if as_json:
        print_json({"suggestion": float(found.suggestion), "suggestions": found.suggestions, "plot": str(plot)})
    else:
        rate = f"{found.suggestion:.2g}"
        if sys.stdout.isatty():
            print(found)
        print(f"suggestion: {rate}\nplot: {plot}\nuse it: tlkit train --set train.learning_rate={rate}")
