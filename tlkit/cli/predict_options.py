"""Options of the commands that predict."""

from typing import Annotated

import typer

Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first input that cannot be read.")]

EscapeFormulas = Annotated[
    bool,
    typer.Option(
        "--escape-formulas",
        help="In .csv and .tsv output, put an apostrophe before text that a spreadsheet would run as a formula.",
    ),
]

ScoreColumns = Annotated[
    bool,
    typer.Option(
        "--score-columns/--no-score-columns",
        help="Images and texts: write the columns probability_CLASS again as score_CLASS, their name in release 0.1.",
    ),
]
