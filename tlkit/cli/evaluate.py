"""`tlkit evaluate`: how good the trained network is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.cli.column_options import (
    Encoding,
    Label,
    PathColumn,
    Separator,
    Target,
    Text,
    check_separator,
    overrides_of,
)
from tlkit.errors import ConfigError, DataError, check_choice

if TYPE_CHECKING:
    from tlkit.training.learner import Learner

_REASONS = {"without_label": "have no label", "where": "do not match data.where"}


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Other labelled data with the same classes.", metavar="PATH"),
    ] = None,
    tta: Annotated[
        int | None,
        typer.Option(
            "--tta",
            help="Test-time augmentation: also average over N augmented views of each photo.",
            metavar="N",
            min=1,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Split of the project's own data: val (default), test or train."),
    ] = None,
    text: Text = None,
    label: Label = None,
    target: Target = None,
    path_column: PathColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object: metrics, n, per_class or targets, errors, entries, calibration, and "
            "left_out with --data.",
        ),
    ] = False,
) -> None:
    """Evaluate the best weights on the validation set, or on other labelled data.

    Rows of --data without a label are skipped and counted.

    Example:  tlkit evaluate --tta 4 --json
    """
    from tlkit.cli.output import import_tensorflow, native_noise_filtered, note, print_json, stdout_to_stderr
    from tlkit.cli.project import find_project
    from tlkit.cli.trained import load_learner, require_trained

    project = find_project()
    options = {"--text": text, "--label": label, "--target": target, "--path-column": path_column}
    options |= {"--separator": separator, "--encoding": encoding}
    given = [option for option, value in options.items() if value is not None]
    if given and data is None:
        raise ConfigError(
            f"{given[0]} needs --data", fix="change config.toml to read the project's own data differently"
        )
    check_separator(separator)
    if given:
        project = find_project(overrides=overrides_of(options, project.config.data, project.kind.items))
    if data is not None and not data.exists():
        raise DataError(f"{data} does not exist", fix=f"--data takes {project.kind.data_forms}")
    if tta is not None:
        project.kind.check_views()
    if data is not None and split is not None:
        raise ConfigError("--data and --split cannot be combined", fix="remove one of them")
    check_choice("split", split or "val", ("train", "val", "test"))
    require_trained(project)
    with native_noise_filtered(), stdout_to_stderr(as_json):
        import_tensorflow()
        with project.code() as code:
            learn = load_learner(project, code, data)
            split = split or ("val" if data is None else "test")
            metrics, errors = project.kind.measure(learn, split) if tta is None else _measure_views(learn, tta, split)
            counts = project.kind.counted(learn.data)
            calibration = learn.task.objective.calibration
            effect = _effect_of_calibration(learn, split)
    if as_json:
        kept = ("metrics", "per_class", "targets", "n", "events")
        shown = {key: value for key, value in metrics.to_dict().items() if key in kept}
        if data is not None:
            shown["left_out"] = _left_out(learn)
        shown |= {} if counts is None else {"entries": counts}
        if calibration is not None:
            shown["calibration"] = calibration.to_dict() | {"measured": effect[1]}
        print_json(shown if errors is None else {**shown, "errors": errors})
        return
    from rich.console import Console

    Console().print(metrics.table())
    if calibration is not None and calibration.moves:
        print(calibration)
    for line in effect[0]:
        print(line)
    for reason, count in (_left_out(learn) if data is not None else {}).items():
        if count:
            note(f"{count:,} rows of {data} {_REASONS.get(reason, reason)} and were skipped")
    if errors:
        print("most confident errors (`tlkit report` shows more):")
    for error in errors or ():
        print(project.kind.error_line(error))


def _left_out(learn: Learner) -> dict[str, int]:
    """Return how many rows were not measured, by reason."""
    dropped: dict[str, int] = getattr(learn.data, "dropped", {})
    found = {"without_label": dropped.get("missing_label", 0) + dropped.get("missing_target", 0)}
    return found | {name: count for name, count in dropped.items() if not name.startswith("missing_")}


def _effect_of_calibration(learn: Learner, split: str) -> tuple[list[str], dict[str, Any]]:
    """Return calibration error and Brier score before and after calibration: lines for people, and plain values.

    Nothing without a calibration, and without classes.
    """
    objective = learn.task.objective
    if objective.calibration is None:
        return [], {}
    from tlkit.tasks.base import spec_of

    spec = spec_of(learn.task.kind)
    after = spec.calibrations_of(learn, split)
    kept, objective.calibration = objective.calibration, None
    try:
        before = spec.calibrations_of(learn, split) if kept.moves else after
    finally:
        objective.calibration = kept
    own = " (fitted on these items)" if split == kept.split else ""
    lines = []
    for name, curve in after.items():
        target = f" of {name}" if len(after) > 1 else ""
        if kept.moves:
            lines.append(f"before calibration{target}: {before[name].figures}")
            lines.append(f"after calibration{target}: {curve.figures}{own}")
        else:
            lines.append(f"calibration{target} changes nothing: {curve.figures}")
    found = {"before": before, "after": after} if after else {}
    return lines, {time: {name: curve.to_dict() for name, curve in one.items()} for time, one in found.items()}


def _measure_views(learn: Learner, views: int, split: str) -> tuple[Any, None]:
    answers, labels = learn.tta(n=views, split=split)
    return learn.task.objective.measure(answers, labels), None
