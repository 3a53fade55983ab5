"""`tlkit card`: the model card of a trained project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.errors import ConfigError, DataError, check_choice

if TYPE_CHECKING:
    from tlkit.cli.project import Project
    from tlkit.trust.card.facts import TrainingCost

TEXT, PLAIN = "MODEL_CARD.md", "model_card.json"


def card(
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to write to. Default: the project.", metavar="DIR")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Evaluate other labelled data.", metavar="PATH")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split of the project's own data: val (default) or test.")
    ] = None,
    watts: Annotated[
        float | None,
        typer.Option("--watts", help="Power of the machine that trained, for the energy estimate.", min=0.1, max=1e6),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a MODEL_CARD.md that was edited outside of your parts.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the content of model_card.json.")] = False,
) -> None:
    """Write MODEL_CARD.md and model_card.json: data, metrics with intervals, worst groups, limits, licences, lineage.

    What you write between `keep` and `end` in MODEL_CARD.md stays when the card is written again.

    Example:  tlkit card --split test
    """
    from tlkit.cli.check import RESULT
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained
    from tlkit.files import atomic_write
    from tlkit.training.run_state import BEST_FILE
    from tlkit.trust.card.facts import card_of
    from tlkit.trust.card.kept import check_place, write_card
    from tlkit.trust.card.markdown import card_text

    project = find_project()
    if data is not None and split is not None:
        raise ConfigError("--data and --split cannot be combined", fix="remove one of them")
    if data is not None and not data.exists():
        raise DataError(f"{data} does not exist", fix=f"--data takes {project.kind.data_forms}")
    check_choice("split", split or "val", ("val", "test"))
    require_trained(project)
    folder = to if to is not None else project.root
    check_place(folder / TEXT, force=force)
    with native_noise_filtered(), stdout_to_stderr(as_json):
        import_tensorflow()
        from tlkit.tasks.base import spec_of

        with project.code() as code:
            learn = load_learner(project, code, data)
            evidence = spec_of(learn.task.kind).measured(
                learn, split or ("val" if data is None else "test"), check=project.reports / RESULT
            )
            found = card_of(
                learn, evidence, name=project.config.project.name, cost=_cost(project, watts),
                weights=project.checkpoints / BEST_FILE,
            )  # fmt: skip
    write_card(folder / TEXT, card_text(found), force=force)
    with atomic_write(folder / PLAIN) as file:
        json.dump(found, file, indent=1, allow_nan=False)
    if as_json:
        print_json(found)
    else:
        print(folder / TEXT)
        print(folder / PLAIN)


def card_to_export(project: Project) -> Path | None:
    """Return the project's model_card.json if it is about the weights that are exported."""
    from tlkit.cli.output import note
    from tlkit.files import sha256_of
    from tlkit.training.run_state import BEST_FILE

    path = project.root / PLAIN
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))["lineage"]["trained_weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        about = None
    if about == sha256_of(project.checkpoints / BEST_FILE):
        return path
    note(f"{PLAIN} is about other weights and is not exported; run `tlkit card` before `tlkit export`")
    return None


def _cost(project: Project, watts: float | None) -> TrainingCost:
    """Return what the training took, and the energy that is assumed."""
    import tensorflow as tf

    from tlkit.cli.trained import last_run
    from tlkit.trust.card.facts import CPU_WATTS, GPU_WATTS, TrainingCost

    seconds: Any = last_run(project)["seconds"] or None
    if watts is not None:
        return TrainingCost(seconds, watts, "as given with --watts")
    if tf.config.list_physical_devices("GPU"):
        return TrainingCost(seconds, GPU_WATTS, "assumed for one GPU; this machine has one")
    return TrainingCost(seconds, CPU_WATTS, f"assumed for a processor with {os.cpu_count()} cores")
