"""Images as an input: an encoded JPEG, PNG, BMP, GIF or WebP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import DataError
from tlkit.inputs.base import FileSource, InputSpec
from tlkit.inputs.image.damaged import LIBJPEG
from tlkit.inputs.image.formats import ACCEPTED

if TYPE_CHECKING:
    from tlkit.inputs.image.preprocessing import ImagePreprocessing

SPEC = InputSpec(
    name="image",
    takes="JPEG, PNG, BMP, GIF and WebP",
    wire="tlkit.inputs.image.spec:wire",
    golden="tlkit.inputs.image.golden:golden",
    warmup="tlkit.inputs.image.golden:warmup",
    hostile="tlkit.inputs.image.hostile",
    items="tlkit.inputs.image.items",
    commands="tlkit.inputs.image.commands:ImageCommands",
    nothing="tlkit.inputs.image.spec:nothing",
    examine="tlkit.inputs.image.examine:examine",
    drift="tlkit.inputs.image.drift",
    check_settings=("data.on_error=skip", "data.on_duplicate=report", "data.damaged=keep"),
    files=FileSource(
        column="path",
        option="--path-column",
        key="path_column",
        items="paths",
        folder="tlkit.inputs.image.folder_items:ImageFolder",
        wrapped="tlkit.inputs.image.table_items:ImageTable",
    ),
    shard=512,
    damaged="tlkit.inputs.image.damaged:damaged_files",
    views=True,
    binary=True,
    noise=LIBJPEG.pattern,
    junk=b"junk",
    request="""(printf '{"instances": [{"b64": "'; base64 < photo.jpg | tr -d '\\n'; printf '"}]}') | CURL -d @-""",
)


def wire(preprocessing: ImagePreprocessing | None = None) -> dict[str, Any]:
    """Return the interface's fields of images of the preprocessing's size, or of any size."""
    size = None if preprocessing is None else int(preprocessing.size)
    return {
        "content": "image",
        "input": "image_bytes",
        "feature": "image/encoded",
        "raw_signature": "pixels",
        "raw_input": "pixels",
        "raw_dtype": "float32",
        "raw_shape": (None, size, size, 3),
    }


def nothing(path: Path) -> DataError:
    """Make the error that a folder or a table of paths holds no image."""
    if path.is_dir():
        return DataError("there is no photo in the folder", received=str(path), allowed=ACCEPTED)
    return DataError("the table has no rows", received=str(path))
