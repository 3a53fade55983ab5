"""Predict on files with an export alone: the same graph that a server runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tlkit.errors import DataError, ExportError
from tlkit.export.manifest import Manifest, resolve_export


class SavedModelPredictor:
    """A loaded export that classifies image files.

    Example:
        >>> SavedModelPredictor("saved_models/photos").predict(["bee.jpg"])
        [{'input': 'bee.jpg', 'classes': ['bees', 'ants'], 'scores': [0.98, 0.02]}]

    Args:
        path: a version folder, or a model's base path (then its newest version).
        batch_size: images that are decoded and run together.

    Raises:
        ExportError: there is no export, or it cannot be loaded.
    """

    def __init__(self, path: str | Path, *, batch_size: int = 32):
        if batch_size < 1:
            raise ExportError("batch_size must be positive", received=batch_size)
        self.export = resolve_export(path)
        self.manifest = Manifest.read(self.export)
        self.batch_size = batch_size
        try:
            self._model = tf.saved_model.load(str(self.export))  # owns the variables that the signature uses
            self._signature = self._model.signatures["serving_default"]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ExportError(
                f"{self.export} cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0]}",
                fix="run `tlkit verify` on it, or export the model again",
            ) from error

    def predict(self, inputs: Iterable[str | Path], *, top: int | None = None) -> list[dict[str, Any]]:
        """Classify image files.

        Args:
            inputs: paths of image files.
            top: how many of the best classes to keep; None keeps all.

        Returns:
            One dictionary per input, in order: input (as given, a string), classes (best first) and scores.

        Raises:
            DataError: a file cannot be read or is no image that the export decodes; the message names it.
        """
        paths = [Path(item) for item in inputs]
        answers: list[dict[str, Any]] = []
        for start in range(0, len(paths), self.batch_size):
            part = paths[start : start + self.batch_size]
            classes, scores = self._run(part)
            answers += [
                {
                    "input": str(path),
                    "classes": [label.decode("utf-8") for label in classes[row][:top]],
                    "scores": [float(score) for score in scores[row][:top]],
                }
                for row, path in enumerate(part)
            ]
        return answers

    def _run(self, paths: list[Path]) -> tuple[Any, Any]:
        contents = [_read(path) for path in paths]
        try:
            answer = self._signature(image_bytes=tf.constant(contents, tf.string))
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if len(paths) > 1:  # the error does not say which image it was
                for path in paths:
                    self._run([path])
            raise DataError(
                f"{paths[0]} is not an image that can be decoded",
                allowed="JPEG, PNG, BMP, GIF and WebP of up to 40 megapixels",
            ) from error
        return answer["classes"].numpy(), answer["scores"].numpy()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
