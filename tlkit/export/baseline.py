"""What the validation data of an export looked like, so that later data can be compared; NumPy alone."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.errors import ExportError
from tlkit.export.manifest import Manifest
from tlkit.export.sketch import Bins, Landmarks, Sketch

BASELINE_PATH = "assets.extra/drift_baseline.json"
SCHEMA_VERSION = 1
FEWEST = 30  # items: with fewer, no share and no histogram can be compared


@dataclasses.dataclass(frozen=True)
class Watched:
    """A statistic of predictions, and how it follows from the answers [B, K].

    Args:
        name: of the statistic.
        how: "top", the name of the largest number; "best", the largest number; "value", the first number; "above", how
            many numbers are above their limits.
        start, stop: which of the K numbers it is about.
        names: of these numbers, for "top".
        limits: of these numbers, for "above".
        unit: of the value.
    """

    name: str
    how: str
    start: int
    stop: int
    names: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()
    unit: str = ""

    def values(self, answers: np.ndarray) -> np.ndarray:
        """Answers float [B, K] -> float64 [B], or str objects [B]."""
        own = answers[:, self.start : self.stop]
        if self.how == "top":
            return np.array(self.names, object)[own.argmax(1)]
        if self.how == "best":
            return own.max(1).astype(np.float64)
        if self.how == "above":
            return np.array([str(count) for count in (own > np.array(self.limits)).sum(1)], object)
        return own[:, 0].astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """Statistics of held-out data.

    Args:
        split: which data.
        bins: of all statistics.
        sketch: their counts.
        watched: the statistics of predictions.
        landmarks: of embeddings; None where there were too few.
        digest: sha256 of the file that it was read from.
    """

    split: str
    bins: tuple[Bins, ...]
    sketch: Sketch
    watched: tuple[Watched, ...]
    landmarks: Landmarks | None = None
    digest: str = ""

    def predicted(self, answers: np.ndarray) -> dict[str, np.ndarray]:
        """Answers float [B, K] -> the values of each statistic of predictions."""
        return {one.name: one.values(answers) for one in self.watched}

    def read_sketch(self, plain: Mapping[str, Any]) -> Sketch:
        """Return the counts of other items from the values of `Sketch.to_dict`.

        Raises:
            KeyError, TypeError, ValueError: they are none, or of another baseline.
        """
        return Sketch.from_dict(plain, self.bins, 0 if self.landmarks is None else len(self.landmarks.points))

    def write(self, export: Path) -> dict[str, Any]:
        """Write the baseline into a version folder, and return what the manifest says of it."""
        path = export / BASELINE_PATH
        path.parent.mkdir(exist_ok=True)
        marks = self.landmarks
        plain = {
            "schema_version": SCHEMA_VERSION,
            "split": self.split,
            "bins": [dataclasses.asdict(one) for one in self.bins],
            "watched": [dataclasses.asdict(one) for one in self.watched],
            "sketch": self.sketch.to_dict(),
            "landmarks": None
            if marks is None
            else {
                "points": _packed(marks.points.astype("<f2")),
                "shape": list(marks.points.shape),
                "width": marks.width,
                "mean": _packed(marks.mean.astype("<f8")),
                "covariance": _packed(marks.covariance.astype("<f8")),
                "items": marks.items,
            },
        }
        content = (json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
        path.write_bytes(content)
        return {
            "path": BASELINE_PATH,
            "schema_version": SCHEMA_VERSION,
            "sha256": hashlib.sha256(content).hexdigest(),
            "split": self.split,
            "items": self.sketch.items,
        }

    @classmethod
    def read(cls, export: Path, manifest: Manifest) -> Baseline:
        """Read the baseline of a version folder.

        Raises:
            ExportError: there is none, it is damaged, or it was written by another release.
        """
        stated = manifest.drift
        if stated is None:
            raise ExportError(
                f"{export} has no drift baseline",
                fix="export the model again with this version of tlkit, with 30 or more validation items",
            )
        if stated.get("schema_version") != SCHEMA_VERSION:
            raise ExportError(
                f"the drift baseline of {export} has another schema",
                received=f"schema_version {stated.get('schema_version')}",
                allowed=f"schema_version {SCHEMA_VERSION}",
                fix="upgrade tlkit" if _is_newer(stated.get("schema_version")) else "export the model again",
            )
        path = export / str(stated.get("path"))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ExportError(f"{path} cannot be read: {error.strerror}", fix="export the model again") from None
        digest = hashlib.sha256(content).hexdigest()
        if digest != stated.get("sha256"):
            raise ExportError(f"{path} has changed since the export", fix="restore it, or export the model again")
        try:
            return cls._of(json.loads(content), digest)
        except (ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{path} is damaged: {error!r}", fix="export the model again") from error

    @classmethod
    def _of(cls, plain: Mapping[str, Any], digest: str) -> Baseline:
        bins = tuple(Bins(**_tuples(one)) for one in plain["bins"])
        marks, landmarks = plain["landmarks"], None
        if marks is not None:
            count = marks["shape"][0]
            landmarks = Landmarks(
                _unpacked(marks["points"], "<f2").reshape(marks["shape"]).astype(np.float32),
                marks["width"],
                _unpacked(marks["mean"], "<f8"),
                _unpacked(marks["covariance"], "<f8").reshape(count, count),
                marks["items"],
            )
        sketch = Sketch.from_dict(plain["sketch"], bins, 0 if landmarks is None else len(landmarks.points))
        watched = tuple(Watched(**_tuples(one)) for one in plain["watched"])
        return cls(plain["split"], bins, sketch, watched, landmarks, digest)


def answers_of(found: Mapping[str, np.ndarray], manifest: Manifest) -> np.ndarray | None:
    """Return answers [B, K] in the order of the labels from what a signature gave; None where they are not in it.

    Args:
        found: arrays by the name of an output: of the signature of all answers, of serving_default, of classify or
            of regress.
        manifest: of the export.
    """
    interface = manifest.interface
    if interface.answers in found:
        return np.asarray(found[interface.answers])
    parts = []
    outputs = interface.outputs_or(manifest.labels, manifest.objective)
    for one in outputs:
        if one.value:
            values = found.get(one.value, found.get("outputs") if len(outputs) == 1 else None)
            if values is None:
                return None
            parts.append(np.reshape(values, (len(values), -1))[:, :1])
            if one.curve:
                curve = found.get(one.curve)
                parts.append(np.full((len(values), len(one.times)), np.nan) if curve is None else curve)
            continue
        if one.classes not in found or one.scores not in found:
            return None
        parts.append(_in_order(found[one.classes], found[one.scores], one.class_names))
    return np.concatenate(parts, axis=1)


def _in_order(classes: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return scores [B, k] in the order of the names."""
    places = {name.encode("utf-8"): place for place, name in enumerate(names)}
    ordered = np.zeros(scores.shape, scores.dtype)
    for row, (own, values) in enumerate(zip(classes.tolist(), scores, strict=True)):
        ordered[row, [places[name] for name in own]] = values
    return ordered


def _is_newer(version: object) -> bool:
    return isinstance(version, int) and version > SCHEMA_VERSION


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _unpacked(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def _tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
