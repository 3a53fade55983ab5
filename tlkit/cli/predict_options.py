"""Options of the commands that predict."""

from typing import Annotated

import typer

Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first input that cannot be read.")]
