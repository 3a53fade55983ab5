"""A page to try the served models in a browser, and the JSON from which it builds itself; off unless asked for."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.routing import Route

from tlkit.export.interface import InputColumn, Interface, Output
from tlkit.export.manifest_schemas import upgraded
from tlkit.export.short_floats import short_float
from tlkit.inputs.base import INPUTS
from tlkit.serving.model_state import VersionStatus
from tlkit.serving.served_fleet import ServedFleet
from tlkit.serving.status import ServingError

if TYPE_CHECKING:
    import fastapi

#: Longer lists are cut: the page offers values and names classes, it is no catalogue of them.
MOST_VALUES, MOST_CLASSES = 1000, 100
_SCRIPTS = ("values.js", "request.js", "answers.js", "photos.js", "forms.js", "main.js")


def add_page(app: fastapi.FastAPI, fleet: ServedFleet) -> None:
    """Serve the page at / and what it needs to know at /ui/models.json.

    The page is one document without outside assets. Its Content-Security-Policy lets only its own script and style
    run, names no other server, and forbids framing; it writes everything it shows as text. Its routes come before
    those that the app has already, so that a route for every path does not hide them.

    Example:
        >>> app = fastapi.FastAPI()
        >>> add_page(app, fleet)

    Args:
        app: the REST server's app.
        fleet: the served models: `models()`, `manifest(name, version)` and `metadata(name, version)`.
    """
    document, policy = page()
    shared = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    page_headers = {
        **shared,
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-cache",
    }
    data_headers = {**shared, "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}

    async def show(_: object) -> Response:
        return HTMLResponse(document, headers=page_headers)

    async def describe(_: object) -> Response:
        return JSONResponse(served_models(fleet), headers={**data_headers, "Cache-Control": "no-store"})

    app.router.routes[:0] = [Route("/", show, methods=["GET"]), Route("/ui/models.json", describe, methods=["GET"])]


def page() -> tuple[str, str]:
    """Put the page together.

    Returns:
        The HTML with its style and script inlined, and the Content-Security-Policy that allows exactly these two.
    """
    folder = resources.files("tlkit.serving").joinpath("page")
    style = _inlined(folder.joinpath("style.css").read_text(encoding="utf-8"))
    parts = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    script = _inlined(f'"use strict";\n(() => {{\n{parts}\n}})();')
    html = folder.joinpath("index.html").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    return html.replace("{{style}}", style).replace("{{script}}", script), policy


def served_models(fleet: ServedFleet) -> dict[str, Any]:
    """Say what the page needs to know of every model.

    Golden examples stay out: they are somebody's data, and whoever reaches the server reads this answer.

    Args:
        fleet: the served models.

    Returns:
        {"models": [{"name", "versions": [...]}]}, by name, newest version first. A version has "version" (as text:
        JavaScript's numbers end at 2**53), "state", "message", and once it is available "task" (content, columns,
        outputs), or where no manifest says what it takes "signatures", with "problem" where there is one that cannot
        be used.
    """
    return {
        "models": [
            {"name": name, "versions": [_described(fleet, name, status) for status in statuses]}
            for name, statuses in sorted(fleet.models().items())
        ]
    }


def _described(fleet: ServedFleet, name: str, status: VersionStatus) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": str(status.version),
        "state": status.state,
        "message": status.message,
        "task": None,
        "signatures": None,
        "problem": "",
    }
    if status.state != "AVAILABLE":
        return found
    try:
        manifest = fleet.manifest(name, status.version)
        if manifest is not None:
            try:
                return {**found, "task": _task(manifest)}
            except ValueError as error:  # pydantic's ValidationError is one too
                found["problem"] = f"manifest.json cannot be used ({_reason(error)}): only raw JSON is available"
        found["signatures"] = _signatures(fleet.metadata(name, status.version))
    except ServingError as error:  # unloaded or crashed since its state was read
        found["problem"] = error.message
    return found


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'interface'}: {first['msg']}"


def _task(manifest: Mapping[str, Any]) -> dict[str, Any]:
    manifest = upgraded(dict(manifest))
    interface = Interface.model_validate(manifest.get("interface"))
    if interface.content not in INPUTS:
        raise ValueError(f"interface.content: {interface.content!r} is none of {', '.join(INPUTS)}")
    labels = manifest.get("labels")
    outputs = interface.outputs_or([str(label) for label in labels or ()], str(manifest.get("objective", "")))
    preprocessing = manifest.get("preprocessing")
    preprocessing = preprocessing if isinstance(preprocessing, Mapping) else {}
    return {
        "content": interface.content,
        "formats": [str(name) for name in _listed(preprocessing.get("formats"))],
        "columns": _columns(interface.columns, preprocessing),
        "outputs": [_output(output) for output in outputs],
    }


def _output(output: Output) -> dict[str, Any]:
    return {
        **output.model_dump(mode="json"),
        "class_names": list(output.class_names[:MOST_CLASSES]),
        "class_count": len(output.class_names),
    }


def _columns(columns: Sequence[InputColumn], preprocessing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the fields of the form; what was learned about a column is a hint and may be lacking."""
    fitted = {item.get("argument"): item for item in _listed(preprocessing.get("columns")) if isinstance(item, Mapping)}
    found = []
    for column in columns:
        own: Mapping[str, Any] = fitted.get(column.argument, {})
        values = [str(value) for value in _listed(own.get("values"))]
        median = own.get("median")
        years = [year for year in _listed(own.get("years")) if isinstance(year, int)]
        found.append(
            {
                "name": column.name,
                "argument": column.argument,
                "dtype": column.dtype,
                "kind": column.kind,
                # As JSON text: neither NaN nor -2**63 would survive JSON.parse.
                "absent": '""' if column.dtype == "string" else str(column.absent),
                "values": values[:MOST_VALUES],
                "value_count": len(values),
                "median": _shortest(median, column.dtype),
                "years": [min(years), max(years)] if years else [],
                "form": str(own.get("form", "")),
                "time": "hour" in _listed(own.get("parts")),
            }
        )
    return found


def _shortest(median: object, dtype: str) -> float | None:
    """Return a number for the form, with the fewest digits that stand for it; None where there is none."""
    if not isinstance(median, int | float) or not math.isfinite(median):
        return None
    return short_float(median) if dtype == "float32" else median


def _signatures(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Shorten GET .../metadata: the page needs names, dtypes and shapes."""
    definitions = metadata["metadata"]["signature_def"]["signature_def"]
    return {
        name: {side: {key: _tensor(info) for key, info in signature[side].items()} for side in ("inputs", "outputs")}
        for name, signature in sorted(definitions.items())
        if not name.startswith("__saved_model")  # the initializer and the like are not for clients
    }


def _tensor(info: Mapping[str, Any]) -> dict[str, Any]:
    shape = info["tensor_shape"]
    dims = None if shape.get("unknown_rank") else [str(dim["size"]) for dim in shape.get("dim", ())]
    return {"dtype": info["dtype"], "shape": dims}


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _inlined(text: str) -> str:
    """Give the text of an inline element as the browser hashes it: with line feeds only."""
    return "\n" + text.replace("\r\n", "\n").strip() + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
