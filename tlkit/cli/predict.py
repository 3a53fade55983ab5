"""`tlkit predict`: classes and scores for photos or texts, as a client of the export would get them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import ConfigError


def predict(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Photos, folders of photos, or texts.", metavar="[INPUT]...")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects with input, classes and scores.")
    ] = False,
    top: Annotated[int | None, typer.Option("--top", help="How many classes to show.", min=1)] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A table of texts, or of paths of photos.", metavar="TABLE")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write it with the answers: .csv, .tsv or .jsonl.", metavar="TABLE"),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option("--text-column", "--column", help="The column to read; the training data's when left out."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the table that --out names.")] = False,
) -> None:
    """Classify photos or texts with the newest export, or with the trained checkpoint when there is no export.

    With --file, every row of a table: --out gets its columns, the class, and a score for each class.

    Example:  tlkit predict photo.jpg --top 2
              tlkit predict "what a film" --json
              tlkit predict --file in.csv --out out.csv
    """
    from tlkit.cli.answers import outputs, predictor
    from tlkit.cli.output import print_json, stdout_to_stderr
    from tlkit.cli.predict_table import predict_table
    from tlkit.cli.project import find_project

    project = find_project()
    example = project.kind.example_input
    if file is not None:
        _refuse_together("--file", {"inputs": inputs, "--top": top})
        if out is None:
            raise ConfigError("--file needs --out, the table to write", fix="for example --out out.csv")
        summary = predict_table(project, file, out, column=column, force=force)
        if as_json:
            print_json(summary)
        else:
            print(f"{summary['out']}: {summary['rows']:,} rows")
        return
    if out is not None or column is not None or force:
        raise ConfigError("--out, --text-column and --force are for a table", fix="name it with --file")
    if not inputs:
        raise ConfigError("there is nothing to predict", fix=f"tlkit predict {example}, or --file TABLE --out TABLE")
    items = project.kind.inputs(inputs)
    outputs(project)
    with stdout_to_stderr(as_json), predictor(project) as model:
        answers = model.predict(items)
    count = top or (None if as_json else 3)
    rows = [
        {**row, "classes": list(row["classes"][:count]), "scores": [float(s) for s in row["scores"][:count]]}
        for row in answers
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        shown = "  ".join(f"{name} {score:.3f}" for name, score in zip(row["classes"], row["scores"], strict=True))
        print(f"{' '.join(row['input'].split())}: {shown}")


def _refuse_together(option: str, others: dict[str, object]) -> None:
    for name, value in others.items():
        if value:
            raise ConfigError(f"{option} and {name} do not go together", fix="leave out one of them")
