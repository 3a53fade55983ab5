"""`tlkit weights`: which pretrained weights there are, fetching them, and where they lie."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Pretrained weights: list, pull, path.")

_Name = Annotated[str, typer.Argument(help="A name from `tlkit weights list`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
_Size = Annotated[int | None, typer.Option("--size", help="Image size in pixels, for MobileNet and MobileNetV2.")]


@app.command("list")
def list_weights(as_json: _Json = False) -> None:
    """List the backbones, with the sources of their weights and whether these are on this machine.

    Example:  tlkit weights list
    """
    from tlkit.catalogue import image, weights
    from tlkit.cli.output import print_json

    rows: list[dict[str, Any]] = []
    for row in image.TABLE.values():
        found = weights.status(row)
        rows.append(
            {
                "name": row.name,
                "size": row.size,
                "params": row.params,
                "top1": row.top1,
                "top5": row.top5,
                "accuracy_source": row.accuracy_source,
                "licence": row.licence,
                "widths": list(row.alphas),
                "sources": list(weights.configured_sources(row)),
                "path": None if found is None else str(found.path),
            }
        )
    if as_json:
        print_json(rows)
        return
    print(f"{'name':22} {'size':>4} {'params':>8} {'top-1':>6} {'licence':13} {'here':4} sources")
    for shown in rows:
        top1 = "-" if shown["top1"] is None else f"{shown['top1']:.1f}%"
        here = "yes" if shown["path"] else "no"
        print(
            f"{shown['name']:22} {shown['size']:>4} {shown['params'] / 1e6:>7.1f}M {top1:>6} "
            f"{shown['licence'] or 'not stated':13} {here:4} {', '.join(shown['sources'])}"
        )


@app.command("pull")
def pull_weights(
    name: _Name,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Where to look, instead of the configured sources; may be repeated."),
    ] = None,
    size: _Size = None,
    as_json: _Json = False,
) -> None:
    """Fetch the weights of a backbone, so that they work offline from then on.

    Example:  tlkit weights pull efficientnet-lite0
    """
    _show(name, source, size, as_json, download=True)


@app.command("path")
def show_path(name: _Name, size: _Size = None, as_json: _Json = False) -> None:
    """Print where the weights of a backbone lie; fails if they have not been pulled.

    Example:  tlkit weights path efficientnet-lite0
    """
    _show(name, None, size, as_json, download=False)


def _show(name: str, source: list[str] | None, size: int | None, as_json: bool, download: bool) -> None:
    from tlkit.catalogue import image, weights
    from tlkit.cli.output import print_json, stdout_to_stderr

    row = image.get(name)
    with stdout_to_stderr():  # Keras draws its progress bar on stdout
        found = weights.resolve(row, source, size=size, download=download)
    if as_json:
        print_json({"name": row.name, "path": str(found.path), "source": found.source})
    else:
        print(found.path)
