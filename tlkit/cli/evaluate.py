"""`tlkit evaluate`: how good the trained network is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlkit.errors import DataError

if TYPE_CHECKING:
    from tlkit.report.metrics import ClassificationMetrics
    from tlkit.training.learner import Learner


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Other labelled photos of the same classes.", metavar="PATH"),
    ] = None,
    tta: Annotated[
        int | None,
        typer.Option(
            "--tta",
            help="Test-time augmentation: mix the answer with the mean over N changed views of each photo.",
            metavar="N",
            min=1,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with metrics, per_class and n.")
    ] = False,
) -> None:
    """Measure the best weights on photos that training has not seen.

    Example:  tlkit evaluate --tta 4 --json
    """
    from tlkit.cli.output import import_tensorflow, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained

    project = find_project()
    if data is not None and not data.exists():
        raise DataError(f"there is no {data}", fix="--data takes a folder of photos, or a CSV or Parquet table")
    require_trained(project)
    with stdout_to_stderr(as_json):
        import_tensorflow()
        with project.code() as code:
            learn = load_learner(project, code, data)
            split = "val" if data is None else "test"
            metrics = learn.evaluate(split) if tta is None else _evaluate_views(learn, tta, split)
    if as_json:
        print_json({key: value for key, value in metrics.to_dict().items() if key in ("metrics", "per_class", "n")})
        return
    from rich.console import Console

    Console().print(metrics.table())


def _evaluate_views(learn: Learner, views: int, split: str) -> ClassificationMetrics:
    import numpy as np

    from tlkit.report.metrics import classification_metrics

    scores, labels = learn.tta(n=views, split=split)
    # A probability that float32 rounds to zero is a very small one: its logarithm must stay a number.
    logits = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    return classification_metrics(logits, labels, learn.task.class_names)
