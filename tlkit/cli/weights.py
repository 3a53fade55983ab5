"""`tlkit weights`: which pretrained weights there are, fetching them, and where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tlkit.catalogue.records import ImageBackbone
    from tlkit.catalogue.text_records import TextEncoder

app = typer.Typer(no_args_is_help=True, help="List and download pretrained weights.")

_Name = Annotated[str, typer.Argument(help="A name from `tlkit weights list`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
_Size = Annotated[int | None, typer.Option("--size", help="Image size in pixels, for MobileNet and MobileNetV2.")]


@app.command("list")
def list_weights(as_json: _Json = False) -> None:
    """List image backbones and text encoders with their weight sources, and whether the weights are cached.

    "top-1" is the accuracy on ImageNet. "frozen" is the accuracy of logistic regression on a text encoder's vectors on
    SST-2.

    Example:  tlkit weights list
    """
    from tlkit.catalogue import image, text
    from tlkit.cli.output import print_json

    rows = [*map(_image_fields, image.TABLE.values()), *map(_text_fields, text.TABLE.values())]
    if as_json:
        print_json(rows)
        return
    print(
        f"{'name':38} {'kind':5} {'size':>4} {'params':>7} {'top-1':>5} {'frozen':>6} {'licence':10} {'here':4} sources"
    )
    for row in rows:
        size = row["size"] or row["positions"]
        top1, frozen = ("-" if row[key] is None else f"{row[key]:.1f}%" for key in ("top1", "frozen_accuracy"))
        here = "yes" if row["path"] else "no"
        print(
            f"{row['name']:38} {row['kind']:5} {size:>4} {row['params'] / 1e6:>6.1f}M {top1:>5} {frozen:>6} "
            f"{row['licence'] or 'not stated':10} {here:4} {', '.join(row['sources'])}"
        )


@app.command("pull")
def pull_weights(
    name: _Name,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Source to use instead of the configured ones; repeatable."),
    ] = None,
    size: _Size = None,
    as_json: _Json = False,
) -> None:
    """Download the weights of a backbone or encoder into the cache, for offline use.

    Example:  tlkit weights pull efficientnet-lite0
    """
    _show(name, source, size, as_json, download=True)


@app.command("path")
def show_path(name: _Name, size: _Size = None, as_json: _Json = False) -> None:
    """Print the path of the cached weights of a backbone or encoder. Fails if they are not downloaded.

    Example:  tlkit weights path efficientnet-lite0
    """
    _show(name, None, size, as_json, download=False)


def _image_fields(row: ImageBackbone) -> dict[str, Any]:
    from tlkit.catalogue import weights

    found = weights.status(row)
    return {
        "name": row.name,
        "kind": "image",
        "size": row.size,
        "params": row.params,
        "top1": row.top1,
        "top5": row.top5,
        "accuracy_source": row.accuracy_source,
        "frozen_accuracy": None,
        "licence": row.licence,
        "widths": list(row.alphas),
        "positions": None,
        "languages": [],
        "cased": None,
        "tokenizer": None,
        "serves": True,
        "why_not": "",
        "sources": list(weights.configured_sources(row)),
        "path": None if found is None else str(found.path),
    }


def _text_fields(row: TextEncoder) -> dict[str, Any]:
    from tlkit.catalogue import text_weights
    from tlkit.catalogue.sources import configured_sources

    found = text_weights.status(row)
    return {
        "name": row.name,
        "kind": "text",
        "size": None,
        "params": row.params,
        "top1": None,
        "top5": None,
        "accuracy_source": None,
        "frozen_accuracy": row.frozen_accuracy,
        "licence": row.licence,
        "widths": [],
        "positions": row.positions,
        "languages": list(row.languages),
        "cased": row.cased,
        "tokenizer": row.tokenizer,
        "serves": row.serves,
        "why_not": row.why_not,
        "sources": list(configured_sources(row)),
        "path": None if found is None else str(found.path),
    }


def _show(name: str, source: list[str] | None, size: int | None, as_json: bool, download: bool) -> None:
    from tlkit.catalogue import text_weights, weights
    from tlkit.cli.output import print_json, stdout_to_stderr
    from tlkit.errors import ConfigError

    encoder, backbone = _find(name)
    if encoder is not None and size is not None:
        raise ConfigError(
            f"--size is an option for image backbones, and {encoder.name} is a text encoder", received=size
        )
    with stdout_to_stderr():  # Keras draws its progress bar on stdout
        if encoder is not None:
            found, full_name = text_weights.resolve(encoder, source, download=download), encoder.name
        else:
            assert backbone is not None
            found, full_name = weights.resolve(backbone, source, size=size, download=download), backbone.name
    if as_json:
        print_json({"name": full_name, "path": str(found.path), "source": found.source})
    else:
        print(found.path)


def _find(name: str) -> tuple[TextEncoder | None, ImageBackbone | None]:
    """Look a name up in both tables."""
    from tlkit.catalogue import image, text
    from tlkit.errors import ModelError, did_you_mean

    encoder = text.find(name)
    if encoder is not None:
        return encoder, None
    try:
        return None, image.get(name)
    except ModelError:
        near = did_you_mean(name.strip().lower().replace("_", "-"), text.TABLE)
        if not near or did_you_mean(name.strip().lower(), image.TABLE):
            raise
        raise ModelError(f"no backbone or text encoder is called {name!r}", fix=near) from None
