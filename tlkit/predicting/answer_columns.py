"""The columns that are added to an input's own: the same for `tlkit predict` and `tlkit score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlkit.errors import ConfigError
from tlkit.export.interface import Output
from tlkit.export.manifest import Manifest
from tlkit.predicting.row_answers import answer_columns, columns_of, number_columns, predicted_classes, to_columns


class AnswerColumns:
    """Names and types of the columns that hold answers.

    One classification of photos or texts gives `predicted` and `score_<class>`; everything else `predicted_<target>`,
    `probability_<class>` and `survival_<time>`.

    Example:
        >>> AnswerColumns.of(Manifest.read("saved_models/photos/1")).names
        ['predicted', 'score_ants', 'score_bees']

    Args:
        outputs: what is answered.
        rows: whether rows of a table are answered.
        top: of classes of photos and texts, how many of the best to write instead of a score for each.
        separator: between several labels of an answer.
    """

    def __init__(self, outputs: Sequence[Output], *, rows: bool = False, top: int | None = None, separator: str = "|"):
        self.outputs = list(outputs)
        self.by_target = rows or len(self.outputs) > 1 or bool(self.outputs[0].target)
        self.labels = self.outputs[0].class_names
        self._top = None if top is None else min(top, len(self.labels))
        self._separator = separator

    @classmethod
    def of(cls, manifest: Manifest, *, top: int | None = None, target: str | None = None) -> AnswerColumns:
        """Return the columns of an export.

        Args:
            manifest: of the export.
            top: as above.
            target: of rows, a target of the export; where the export does not name it, as those of `tlkit` 0.1 with one
                target, this is its name: the column of the answer is called `predicted_<target>`, else `predicted`.

        Raises:
            ConfigError: an option does not go with the export.
        """
        interface = manifest.interface
        rows = bool(interface.columns)
        outputs = interface.outputs_or(manifest.labels, manifest.objective)
        if top is not None and rows:
            raise ConfigError("--top is an option for photos and texts; rows get all probabilities", received=top)
        if target is not None and not rows:
            raise ConfigError("--target is an option for exports that take rows", received=target, fix="remove it")
        own = [output.target for output in outputs if output.target]
        if target is not None and own and target not in own:
            raise ConfigError("unknown target", received=target, allowed=own)
        named = [output.model_copy(update={"target": output.target or target or ""}) for output in outputs]
        found = cls(named, rows=rows, top=top)
        if top is not None and found.by_target:
            raise ConfigError("--top is an option for classifiers, and this export is not a classifier", received=top)
        return found

    @property
    def names(self) -> list[str]:
        """Name the columns, in order."""
        if self.by_target:
            return answer_columns(self.outputs)
        if self._top is not None:
            return [f"{what}_{rank}" for rank in range(1, self._top + 1) for what in ("class", "score")]
        return ["predicted", *(f"score_{label}" for label in self.labels)]

    def types(self) -> dict[str, Any]:
        """Give the Arrow type of each column."""
        import pyarrow as pa

        if self.by_target:
            numbers = number_columns(self.outputs)
        else:
            numbers = {name for name in self.names if name.startswith("score_")}
        return {name: pa.float64() if name in numbers else pa.string() for name in self.names}

    def chosen(self, answer: Mapping[str, Any]) -> list[str]:
        """Say which classes are predicted, where one classification is answered."""
        return predicted_classes(answer, self.outputs[0])

    def of_record(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Put the answer about a photo or text into columns.

        Args:
            answer: as `SavedModelPredictor.predict` gives it.
        """
        if self.by_target:
            return columns_of(answer, self.outputs)
        scores = [round(float(score), 6) for score in answer["scores"]]
        ranked = list(zip(answer["classes"], scores, strict=True))
        if self._top is not None:
            return {
                name: value
                for rank, pair in enumerate(ranked[: self._top], 1)
                for name, value in zip((f"class_{rank}", f"score_{rank}"), pair, strict=True)
            }
        by_label = dict(ranked)
        predicted = self._separator.join(self.chosen(answer))
        return {"predicted": predicted, **{f"score_{label}": by_label[label] for label in self.labels}}

    def of_rows(self, answers: Any) -> list[dict[str, Any]]:
        """Put numbers float32 [n, K] about rows, targets side by side, into columns."""
        columns = to_columns(answers, self.outputs)
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
