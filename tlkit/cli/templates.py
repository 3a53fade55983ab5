"""`tlkit templates`: what a project can be made from."""

from __future__ import annotations

from typing import Annotated

import typer


def templates(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the templates and their questions.

    Example:  tlkit templates
    """
    from tlkit.cli.output import print_json
    from tlkit.scaffold import new

    found = new.templates().values()
    if as_json:
        print_json({item.name: {"description": item.description, "answers": dict(item.questions)} for item in found})
        return
    for item in found:
        print(f"{item.name}\n  {item.description}")
        for name, default in item.questions.items():
            shown = " | ".join(default) if isinstance(default, list) else default
            if "{{" not in shown:
                print(f"  --set {name}={shown}")
