"""Upgrade manifests of older schemas (standard library only: `tlkit verify` runs it by path, without tlkit)."""

from __future__ import annotations

from typing import Any

#: 1 had neither `interface` nor `objective`, as all exports classified images; up to 2, golden examples had a field for
#: each answer: `probabilities`, `embedding` and `tta`.
SCHEMA_VERSION = 3
#: The objective and the interface of exports of schema 1.
FIRST_OBJECTIVE = "single_label"
FIRST_INTERFACE: dict[str, Any] = {
    "content": "image",
    "input": "image_bytes",
    "feature": "image/encoded",
    "raw_signature": "pixels",
    "raw_input": "pixels",
    "raw_dtype": "float32",
    "raw_shape": [None, None, None, 3],
    "vocabulary": None,
    "max_tokens": None,
    "max_windows": 1,
}
#: What interfaces did not hold before there were rows of tables.
DEFAULTS: dict[str, Any] = {
    "columns": [],
    "outputs": [],
    "answers": "probabilities",
    "example_signature": "classify",
    "code_sizes": [],
}


def upgraded(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the document of manifest.json as schema 3 writes it; one of schema 3 or later as it is.

    Leave fields of the wrong type unchanged; validation of the document reports them.
    """
    version = raw.get("schema_version")
    if version not in (1, 2):
        return raw
    raw = {"interface": FIRST_INTERFACE, "objective": FIRST_OBJECTIVE, **raw} if version == 1 else dict(raw)
    raw["schema_version"] = SCHEMA_VERSION
    interface, golden = raw.get("interface"), raw.get("golden")
    if isinstance(golden, list) and isinstance(interface, dict):
        answers = interface.get("answers", DEFAULTS["answers"])
        raw["golden"] = [_example(one, answers, version) if isinstance(one, dict) else one for one in golden]
    return raw


def _example(one: dict[str, Any], answers: str, version: int) -> dict[str, Any]:
    places = {"probabilities": (answers, answers), "embedding": ("embedding", "embedding"), "tta": ("tta", answers)}
    outputs = {signature: {output: one[key]} for key, (signature, output) in places.items() if one.get(key) is not None}
    key = "image" if version == 1 else "content"
    kept = {"content": one[key]} if key in one else {}
    return {**kept, "outputs": outputs}
