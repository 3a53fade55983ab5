"""Texts as an input: a string in UTF-8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import DataError
from tlkit.inputs.base import FileSource, InputSpec

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing

SPEC = InputSpec(
    name="text",
    takes="texts of any length",
    wire="tlkit.inputs.text.spec:wire",
    golden="tlkit.inputs.text.golden:golden",
    warmup="tlkit.inputs.text.golden:warmup",
    hostile="tlkit.inputs.text.hostile",
    items="tlkit.inputs.text.items",
    commands="tlkit.inputs.text.commands:TextCommands",
    nothing="tlkit.inputs.text.spec:nothing",
    raw_checks="tlkit.inputs.text.signature:raw_checks",
    examine="tlkit.inputs.text.examine:examine",
    drift="tlkit.inputs.text.drift",
    check_settings=("data.on_duplicate=report",),
    files=FileSource(column="text", option="--text", key="text", items="texts", lines=True),
    by_length=True,
    request="""CURL -d '{"instances": ["SOME TEXT"]}'""",
)


def wire(preprocessing: TextPreprocessing) -> dict[str, Any]:
    """Return the interface's fields of texts that a preprocessing turns into token ids."""
    return {
        "content": "text",
        "input": "text",
        "feature": "text",
        "raw_signature": "tokens",
        "raw_input": "token_ids",
        "raw_dtype": "int32",
        "raw_shape": (None, None),
        "vocabulary": preprocessing.vocabulary_size,
        "max_tokens": preprocessing.max_tokens,
        "max_windows": preprocessing.max_windows if preprocessing.long_texts == "windows" else 1,
    }


def nothing(path: Path) -> DataError:
    """Make the error that a file holds no text."""
    return DataError("no texts in the file", received=str(path))
