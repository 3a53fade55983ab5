"""Predict on files or texts with an export alone: the same graph that a server runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tlkit.errors import DataError, ExportError
from tlkit.export.manifest import Manifest, resolve_export
from tlkit.export.text_ops import FIX, provide_ops

_ALLOWED = {
    "image": "JPEG, PNG, BMP, GIF and WebP of up to 40 megapixels",
    "text": "texts of any length",
}


class SavedModelPredictor:
    """A loaded export that classifies image files or texts, as its manifest says.

    Example:
        >>> SavedModelPredictor("saved_models/photos").predict(["bee.jpg"])
        [{'input': 'bee.jpg', 'classes': ['bees', 'ants'], 'scores': [0.98, 0.02]}]
        >>> SavedModelPredictor("saved_models/reviews").predict(["what a film"], top=1)
        [{'input': 'what a film', 'classes': ['positive'], 'scores': [0.97]}]

    Args:
        path: a version folder, or a model's base path (then its newest version).
        batch_size: images or texts that are run together.

    Raises:
        ExportError: there is no export, it cannot be loaded, or it needs TF Text, which is not installed.
    """

    def __init__(self, path: str | Path, *, batch_size: int = 32):
        if batch_size < 1:
            raise ExportError("batch_size must be positive", received=batch_size)
        self.export = resolve_export(path)
        self.manifest = Manifest.read(self.export)
        self.batch_size = batch_size
        if self.manifest.interface.content not in _ALLOWED:
            raise ExportError(
                f"{self.export} takes contents that this tlkit does not know",
                received=self.manifest.interface.content,
                allowed=sorted(_ALLOWED),
                fix="upgrade tlkit",
            )
        try:
            missing = provide_ops(self.export)
            if missing:
                raise ExportError(f"{self.export} needs operations of TensorFlow Text", received=missing[0], fix=FIX)
            self._model = tf.saved_model.load(str(self.export))  # owns the variables that the signature uses
            self._signature = self._model.signatures["serving_default"]
        except ExportError:
            raise
        except Exception as error:  # a damaged protobuf has an error of its own
            raise ExportError(
                f"{self.export} cannot be loaded: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                fix="run `tlkit verify` on it, or export the model again",
            ) from error

    def predict(self, inputs: Iterable[str | Path], *, top: int | None = None) -> list[dict[str, Any]]:
        """Classify image files or texts.

        Texts of similar length are run together, because a batch costs what its longest text costs.

        Args:
            inputs: paths of image files, or, for an export that takes texts, the texts themselves as strings.
            top: how many of the best classes to keep; None keeps all.

        Returns:
            One dictionary per input, in the order given: input (a string), classes (best first) and scores.

        Raises:
            DataError: an input is not of the kind that the export takes, or a file cannot be read or is no image that
                it decodes; the message names the file or the position.
        """
        if isinstance(inputs, str | bytes | Path):
            raise DataError("predict takes a list of inputs", received=type(inputs).__name__, fix="put it into a list")
        items = list(inputs)
        is_text = self.manifest.interface.content == "text"
        checked: list[Any] = [(_text if is_text else _path)(item, at) for at, item in enumerate(items)]
        order = sorted(range(len(items)), key=lambda at: len(checked[at])) if is_text else range(len(items))
        answers: list[Any] = [None] * len(items)
        for start in range(0, len(items), self.batch_size):
            part = order[start : start + self.batch_size]
            contents = [checked[at] if is_text else _read(checked[at]) for at in part]
            classes, scores = self._run(contents, [_named(items[at], at, is_text) for at in part])
            for row, at in enumerate(part):
                answers[at] = {
                    "input": str(items[at]),
                    "classes": [label.decode("utf-8") for label in classes[row][:top]],
                    "scores": [float(score) for score in scores[row][:top]],
                }
        return answers

    def _run(self, contents: list[bytes], names: list[str]) -> tuple[Any, Any]:
        content = self.manifest.interface.content
        try:
            answer = self._signature(**{self.manifest.interface.input: tf.constant(contents, tf.string)})
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if len(contents) > 1:  # the error does not say which one it was
                for item, name in zip(contents, names, strict=True):
                    self._run([item], [name])
            what = "an image that can be decoded" if content == "image" else "a text that the export answers"
            raise DataError(f"{names[0]} is not {what}", allowed=_ALLOWED[content]) from error
        return answer["classes"].numpy(), answer["scores"].numpy()


def _named(item: object, position: int, is_text: bool) -> str:
    return f"input {position + 1}" if is_text else str(item)


def _path(item: object, position: int) -> Path:
    if not isinstance(item, str | Path):
        raise DataError(f"input {position + 1} is not the path of a file", received=item, allowed="strings and paths")
    return Path(item)


def _text(item: object, position: int) -> bytes:
    if not isinstance(item, str):
        raise DataError(f"input {position + 1} is not a text", received=item, allowed="strings")
    try:
        return item.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"input {position + 1} is not valid Unicode: {error.reason}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
