"""Options of the commands that ask a server."""

from pathlib import Path
from typing import Annotated

import typer

ServedName = Annotated[
    str | None, typer.Option("--name", help="The model's name on the server; the export's when left out.")
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        help="PEM certificates to trust at https:// and grpcs:// instead of the system's.",
        metavar="FILE",
    ),
]
