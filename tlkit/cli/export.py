"""`tlkit export`: the best weights as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import ExportError


def export(
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write the version to.", metavar="DIR")] = None,
    version: Annotated[
        int | None, typer.Option("--version", help="Version number. Default: the next free number.", min=1)
    ] = None,
    tta: Annotated[
        int | None,
        typer.Option(
            "--tta",
            help="Add the signature `tta`: test-time augmentation, the mean over N augmented views of a photo.",
            metavar="N",
            min=1,
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            "--level",
            help="Calibrated models: how probable `conformal` holds the truth, 0.50 to 0.99. Default: 0.9.",
        ),
    ] = None,
) -> None:
    """Export the trained model. It is published only if it passes every check in a fresh process.

    Example:  tlkit export --to /srv/models/bees --tta 4
    """
    from tlkit.cli.card import card_to_export
    from tlkit.cli.deploy import refresh
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, note
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained
    from tlkit.export.model_name import check_model_name

    project = find_project()
    if tta is not None:
        project.kind.check_views()
    base = to if to is not None else project.export_dir
    check_model_name(base.resolve().name)
    require_trained(project)
    if version is not None and (base / str(version)).exists():
        raise ExportError(f"{base / str(version)} already exists", fix="remove --version to use the next free number")
    import_tensorflow()
    with native_noise_filtered(), project.code() as code:
        learn = load_learner(project, code)
        path = learn.export(base, version=version, tta=tta or 0, level=level, card=card_to_export(project))
    note("all checks passed in a fresh process; next: `tlkit verify` shows them, `tlkit serve` starts a server")
    refresh(project, path)
    print(path)
