"""`tlkit evaluate`: how good the trained network is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.errors import DataError

if TYPE_CHECKING:
    from tlkit.training.learner import Learner

_SHOWN_CHARACTERS = 200  # of a text on the terminal


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Other labelled data of the same classes.", metavar="PATH"),
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
        bool, typer.Option("--json", help="Print one JSON object with metrics, per_class and n, and errors for texts.")
    ] = False,
) -> None:
    """Measure the best weights on data that training has not seen.

    Example:  tlkit evaluate --tta 4 --json
    """
    from tlkit.cli.output import import_tensorflow, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained

    project = find_project()
    if data is not None and not data.exists():
        raise DataError(f"there is no {data}", fix=f"--data takes {project.kind.data_forms}")
    if tta is not None:
        project.kind.check_views()
    require_trained(project)
    with stdout_to_stderr(as_json):
        import_tensorflow()
        with project.code() as code:
            learn = load_learner(project, code, data)
            split = "val" if data is None else "test"
            metrics, errors = project.kind.measure(learn, split) if tta is None else _measure_views(learn, tta, split)
    if as_json:
        shown = {key: value for key, value in metrics.to_dict().items() if key in ("metrics", "per_class", "n")}
        print_json(shown if errors is None else {**shown, "errors": errors})
        return
    from rich.console import Console

    Console().print(metrics.table())
    if errors:
        print("most confident mistakes (`tlkit report` shows more of them, word by word):")
    for error in errors or ():
        print(_error_line(error))


def _error_line(error: dict[str, Any]) -> str:
    true, predicted = (
        said if isinstance(said, str) else " + ".join(said) or "nothing" for said in (error["true"], error["predicted"])
    )
    text = " ".join("".join(c if c.isprintable() else " " for c in error["text"][:_SHOWN_CHARACTERS]).split())
    dots = " ..." if len(error["text"]) > _SHOWN_CHARACTERS else ""
    return f"  {true}, taken for {predicted} ({error['confidence']:.3f}): {text}{dots}  [{error['place']}]"


def _measure_views(learn: Learner, views: int, split: str) -> tuple[Any, None]:
    scores, _ = learn.tta(n=views, split=split)
    return learn.measure(learn.task.objective.logits(scores), split), None
