"""Options of the commands that ask a server."""

from pathlib import Path
from typing import Annotated

import typer

ServedName = Annotated[str | None, typer.Option("--name", help="Model name on the server. Default: the export's name.")]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        help="PEM certificates to trust for https:// and grpcs:// instead of the system's.",
        metavar="FILE",
    ),
]
