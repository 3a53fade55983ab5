"""What an export says about itself, and how exports lie on disk; imports neither TensorFlow nor Keras."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tlkit.errors import ExportError
from tlkit.export.interface import Interface
from tlkit.export.manifest_schemas import SCHEMA_VERSION, upgraded
from tlkit.files import sha256_of

MANIFEST_NAME = "manifest.json"
LABELS_PATH = "assets/labels.txt"
WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
#: Names under which a SavedModel's graph lies in a version folder.
GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
_VERSION_NAME = re.compile(r"[0-9]{1,25}")
_LARGEST_VERSION = 2**63 - 1


class TensorInfo(BaseModel):
    """An input or output of a signature: dtype name ("string" for bytes) and shape, None where it is free."""

    model_config = ConfigDict(frozen=True)
    dtype: str
    shape: tuple[int | None, ...] | None


class SignatureInfo(BaseModel):
    """What one signature takes and gives, by argument name."""

    model_config = ConfigDict(frozen=True)
    method: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


class GoldenExample(BaseModel):
    """An example as a client would send it, and what the Keras model answered for it in Python.

    Args:
        content: an encoded image, a text in UTF-8 or a serialized tf.Example, in base64.
        outputs: what was answered, by signature and output: a number or lists of them. There are always the signature
            of all answers in the order of the labels, and `embedding`, the vector before the head.
    """

    model_config = ConfigDict(frozen=True)
    content: str
    outputs: dict[str, dict[str, float | list[Any]]]

    def content_bytes(self) -> bytes:
        """Return the encoded image, the text or the tf.Example."""
        return base64.b64decode(self.content)


class QueryExample(BaseModel):
    """What is asked of a signature with inputs of its own, and what the model answered in Python.

    Args:
        inputs: a list for each input, of the same length.
        outputs: what was answered, by output.
    """

    model_config = ConfigDict(frozen=True)
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]


class MemoryUse(BaseModel):
    """What the process of the verification held, in MiB.

    Args:
        base_mib: with TensorFlow and without the export.
        peak_mib: the most while all checks ran, warm-up requests of `max_batch` rows and the largest accepted inputs
            among them. The checks load the export twice, so this is an upper bound.
    """

    model_config = ConfigDict(frozen=True)
    base_mib: int
    peak_mib: int


class Manifest(BaseModel):
    """The content of manifest.json in a version folder.

    Example:
        >>> manifest = Manifest.read("saved_models/photos/1")
        >>> manifest.labels
        ['ants', 'bees']

    Args:
        kind: the task, such as "image_classification".
        model_name: what the export was called; a server may use another name.
        created: UTC time, ISO 8601.
        labels: class names in the order of the network's outputs.
        interface: what clients send, and by which names.
        objective: "single_label": the scores of an answer add up to 1; "multi_label": each stands for itself.
        signatures: schema of every signature.
        preprocessing: the settings of the preprocessing that is part of the graph.
        backbone: the name of the pretrained network, and `weights_source` where its weights came from.
        versions: of tlkit, tensorflow, keras and python at export.
        data: summary and fingerprint of the training data, as the caller gave it.
        metrics: evaluation results, as the caller gave them.
        max_batch: the largest batch that is warmed up and verified.
        tolerance: the largest accepted difference of a score from the Keras model's.
        golden: examples with their expected answers.
        queries: examples of the signatures with inputs of their own, by name.
        tolerances: the largest accepted difference of each recorded output, by signature and output, in parts of its
            largest value where that is above 1; `tolerance` for what is not there.
        tta: test-time augmentation of the signature of that name: n, beta and augmentation; None where there is none.
        calibration: of the scores, as `Calibration.to_dict` gives it; None where they are as the network gives them.
        novelty: of the signature `trust`, as `Novelty.to_dict` gives it; None where there is none.
        drift: where the drift baseline is, its schema, sha256, split and number of items; None where there is none.
        memory: what the verification of the export took; None where it was not measured.
        files: sha256 in hexadecimal of every other file of the export, by relative path.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())
    schema_version: int = SCHEMA_VERSION
    kind: str
    model_name: str
    created: str
    labels: list[str]
    interface: Interface
    objective: str
    signatures: dict[str, SignatureInfo]
    preprocessing: dict[str, Any]
    backbone: str
    weights_source: str
    versions: dict[str, str]
    data: dict[str, Any]
    metrics: dict[str, Any]
    max_batch: int
    tolerance: float
    golden: list[GoldenExample]
    queries: dict[str, QueryExample] = {}
    tolerances: dict[str, dict[str, float]] = {}
    tta: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    novelty: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    memory: MemoryUse | None = None
    files: dict[str, str]

    @classmethod
    def read(cls, export: str | Path) -> Manifest:
        """Read the manifest of a version folder.

        Args:
            export: the version folder.

        Returns:
            The manifest.

        Raises:
            ExportError: there is none, it is damaged, or a newer tlkit wrote it.
        """
        path = Path(export) / MANIFEST_NAME
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ExportError(
                f"{export} has no {MANIFEST_NAME}", fix="pass a version folder exported by tlkit"
            ) from None
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} cannot be read: {error}", fix="export the model again") from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise ExportError(
                f"{path} was written by a newer tlkit",
                received=f"schema_version {version}",
                allowed=f"up to {SCHEMA_VERSION}",
                fix="upgrade tlkit",
            )
        try:
            return cls.model_validate(upgraded(raw) if isinstance(raw, dict) else raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise ExportError(f"{path} is damaged: {where}: {first['msg']}", fix="export the model again") from error

    def write(self, export: str | Path) -> Path:
        """Write the manifest into a version folder and return its path."""
        path = Path(export) / MANIFEST_NAME
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")
        return path


def sha256_of_files(export: Path) -> dict[str, str]:
    """Return relative path -> sha256 for every file of an export but the manifest and dot files."""
    digests = {}
    for path in sorted(export.rglob("*")):
        name = path.relative_to(export).as_posix()
        if path.is_file() and name != MANIFEST_NAME and not path.name.startswith("."):
            digests[name] = sha256_of(path)
    return digests


def batch_sizes(max_batch: int) -> list[int]:
    """Return the powers of two below `max_batch`, and `max_batch` itself: the sizes that the warm-up file holds.

    >>> batch_sizes(24)
    [1, 2, 4, 8, 16, 24]
    """
    return [*(2**power for power in range(max_batch.bit_length()) if 2**power < max_batch), max_batch]


def version_number(name: str) -> int | None:
    """Return the version that a folder of this name is: "00000123" is 123, "tmp" is None.

    TensorFlow Serving takes any name that reads as a whole number of 64 bits, with leading zeros too.
    """
    if not _VERSION_NAME.fullmatch(name):
        return None
    number = int(name)
    return number if number <= _LARGEST_VERSION else None


def holds_graph(folder: Path) -> bool:
    """Return whether a folder holds a SavedModel's graph."""
    return any((folder / name).is_file() for name in GRAPH_FILES)


def version_folders(base: str | Path) -> dict[int, Path]:
    """Return the versions under a model's base path with their folders, oldest first.

    A version is a folder whose name is a `version_number`; everything else is ignored, as TensorFlow Serving does. Of
    two folders of one number the one with a graph counts, then the one with the shorter name.
    """
    base = Path(base)
    if not base.is_dir():
        return {}
    found: dict[int, Path] = {}
    for child in sorted(base.iterdir(), key=lambda child: (len(child.name), child.name)):
        number = version_number(child.name)
        if number is None or not child.is_dir():
            continue
        if number not in found or (holds_graph(child) and not holds_graph(found[number])):
            found[number] = child
    return dict(sorted(found.items()))


def versions(base: str | Path) -> list[int]:
    """Return the versions under a model's base path, oldest first; see `version_folders`."""
    return [*version_folders(base)]


def not_calibrated(export: Path) -> ExportError:
    """Return the error about an export that has neither conformal predictions nor a distance to the training data."""
    return ExportError(
        f"{export} has neither conformal predictions nor a distance to the training data",
        fix="set train.calibrate = true, train and export again, with 30 or more validation items",
    )


def resolve_export(path: str | Path) -> Path:
    """Return the version folder meant by `path`: itself, or the newest version under it.

    Example:
        >>> resolve_export("saved_models/photos")
        PosixPath('saved_models/photos/3')

    Args:
        path: a version folder or the base path of a model.

    Returns:
        The version folder, which holds a saved_model.pb.

    Raises:
        ExportError: there is no SavedModel in it.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    if not path.is_dir():
        raise ExportError(f"there is no export at {path}", fix="run `tlkit export`")
    for folder in reversed(version_folders(path).values()):
        if (folder / "saved_model.pb").is_file():
            return folder
    raise ExportError(
        f"{path} contains no SavedModel",
        allowed="a version folder with a saved_model.pb, or a folder of such versions (1, 2, ...)",
        fix="run `tlkit export`",
    )


def name_and_version(export: Path) -> tuple[str, int]:
    """Return the model name and version that a version folder stands for: .../photos/3 is ("photos", 3).

    A folder that is not called like a version is version 1 of a model named as the folder.
    """
    export = export.resolve()
    number = version_number(export.name)
    if number is not None and export.parent.name:
        return export.parent.name, number
    return export.name, 1
