"""`tlkit samples`: real data to try things with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="List and download sample data.")


@app.command("list")
def list_samples(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the available samples.

    Example:  tlkit samples list
    """
    from tlkit.cli.output import print_json
    from tlkit.samples import registry as samples

    names = samples.names()
    if as_json:
        print_json(names)
        return
    for name, description in names.items():
        print(f"{name}  {description}")


@app.command("get")
def get_sample(
    name: Annotated[str, typer.Argument(help="A name from `tlkit samples list`.")],
    directory: Annotated[Path, typer.Argument(help="Folder to write the sample to.", metavar="DIR")],
) -> None:
    """Write a sample to a folder.

    Example:  tlkit samples get surfaces photos
    """
    from tlkit.cli.output import import_tensorflow
    from tlkit.samples import registry as samples

    import_tensorflow()
    print(samples.get(name, directory))
