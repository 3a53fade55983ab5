"""The columns that are added to an input's own; the same that `tlkit predict` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tlkit.errors import ConfigError
from tlkit.export.interface import Output
from tlkit.export.manifest import Manifest
from tlkit.predicting.row_answers import answer_columns, number_columns, predicted_classes, said


@dataclasses.dataclass(frozen=True)
class NamedTarget:
    """What one answer is about: `name` is the column of the target, as `tlkit.preprocessing.targets.Target` has it."""

    name: str
    kind: str
    class_names: tuple[str, ...]
    dtype: str = "float32"

    @property
    def width(self) -> int:
        """How many numbers of an answer are about it."""
        return 1 if self.kind == "regression" else len(self.class_names)


class AnswerColumns:
    """Names and types of an export's answers.

    Example:
        >>> AnswerColumns(Manifest.read("saved_models/photos/1")).names
        ['predicted', 'score_ants', 'score_bees']

    Args:
        manifest: of the export.
        top: of photos and texts, how many of the best classes to write instead of a score for each.
        target: of rows, a target of the export; where the export does not name it, as those of `tlkit` 0.1 with one
            target, this is its name: the column of the answer is called `predicted_<target>`, else `predicted`.

    Raises:
        ConfigError: an option does not go with the export.
    """

    def __init__(self, manifest: Manifest, *, top: int | None = None, target: str | None = None):
        interface = manifest.interface
        self._is_rows = bool(interface.columns)
        self._labels = tuple(manifest.labels)
        self._multi_label = manifest.objective == "multi_label"
        self._top = None if top is None else min(top, len(self._labels))
        outputs = interface.outputs_or(manifest.labels, manifest.objective)
        if top is not None and self._is_rows:
            raise ConfigError("--top is for photos and texts; rows get all probabilities", received=top)
        if target is not None and not self._is_rows:
            raise ConfigError("--target is for exports that take rows", received=target, fix="leave it out")
        own = [output.target for output in outputs if output.target]
        if target is not None and own and target not in own:
            raise ConfigError("the export has no such target", received=target, allowed=own)
        self.targets = [_named(output, target or "") for output in outputs]

    @property
    def names(self) -> list[str]:
        """Name the columns, in order."""
        if self._is_rows:
            return [_tidy(name) for name in answer_columns(self.targets)]
        if self._top is not None:
            return [f"{what}_{rank}" for rank in range(1, self._top + 1) for what in ("class", "score")]
        return ["predicted", *(f"score_{label}" for label in self._labels)]

    def types(self) -> dict[str, Any]:
        """Give the Arrow type of each column."""
        import pyarrow as pa

        if self._is_rows:
            numbers = {_tidy(name) for name in number_columns(self.targets)}
        else:
            numbers = {name for name in self.names if name.startswith("score_")}
        return {name: pa.float64() if name in numbers else pa.string() for name in self.names}

    def of_classes(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Put the answer about a photo or text into columns.

        Args:
            answer: classes (best first) and scores, as `SavedModelPredictor.predict` gives them.
        """
        ranked = [(name, round(score, 6)) for name, score in zip(answer["classes"], answer["scores"], strict=True)]
        if self._top is not None:
            return {
                name: value
                for rank, pair in enumerate(ranked[: self._top], 1)
                for name, value in zip((f"class_{rank}", f"score_{rank}"), pair, strict=True)
            }
        scores = dict(ranked)
        chosen = predicted_classes(answer, self._labels, self._multi_label)
        return {"predicted": "|".join(chosen), **{f"score_{label}": scores[label] for label in self._labels}}

    def of_rows(self, answers: Any) -> list[dict[str, Any]]:
        """Put numbers float32 [n, K] about rows, targets side by side, into columns."""
        columns = {_tidy(name): values for name, values in said(answers, self.targets).items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _named(output: Output, target: str) -> NamedTarget:
    return NamedTarget(output.target or target, output.kind, output.class_names, output.dtype)


def _tidy(name: str) -> str:
    return "predicted" if name == "predicted_" else name
