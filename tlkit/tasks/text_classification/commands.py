"""Projects that classify texts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tlkit.errors import ConfigError, DataError, ModelError, missing_column
from tlkit.inputs.text.commands import TextCommands
from tlkit.one_line import one_line
from tlkit.tasks.commands import Asked, TaskCommands

if TYPE_CHECKING:
    from tlkit.inputs.text.preprocessing import TextPreprocessing
    from tlkit.models.task import Task

SHOWN = 5  # errors
_SHOWN_CHARACTERS = 200  # of a text on the terminal
_log = logging.getLogger("tlkit")


class TextClassificationCommands(TextCommands, TaskCommands):
    """Texts: rows of a table, or files in a folder for each class."""

    data_forms = "a .csv, .tsv, .jsonl or .parquet table, or a folder of texts"
    suffixes = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
    put_data = "train.csv, or one folder of .txt files per class,"

    def complete(self, answers: dict[str, str], data: Path | None, asked: Asked) -> None:
        """Refuse a table without the columns that hold texts and labels; warn of a folder that training will refuse."""
        from tlkit.inputs.files.records import TableStream
        from tlkit.inputs.text.folder import labelled_files

        files = [data] if data is not None else []
        if data is not None and data.is_dir():
            files = [file for file in sorted(data.glob("train*")) if file.suffix.lower() in self.suffixes]
        for file in files:
            encoding, separator = answers.get("encoding", "utf-8"), answers.get("separator", "")
            columns = TableStream(file, encoding=encoding, separator=separator).columns
            for column in (
                answers.get("text_column", "text"),
                *(asked.label_columns or [answers.get("label_column", "label")]),
            ):
                if column not in columns:
                    raise missing_column(column, columns, str(file))
        if data is not None and not files:
            try:
                labelled_files(data)
            except DataError as error:
                _log.warning("training will stop with an error on this folder: %s", error)

    def check(self, config: Any) -> None:
        """Refuse an unknown encoder, or one that cannot take so many tokens."""
        from tlkit.catalogue.text_weights import find_row

        row = find_row(config.encoder)
        if config.model.max_tokens > row.positions:
            raise ConfigError(
                f"model.max_tokens is too large for {row.name}",
                received=config.model.max_tokens,
                allowed=f"4 to {row.positions}",
                fix='set long_texts = "windows" to read longer texts in windows',
            )

    def check_training(self, config: Any) -> None:
        """Refuse an encoder that could not be exported, before its weights are fetched."""
        from tlkit.catalogue.text_weights import find_row

        row = find_row(config.encoder)
        if not row.serves:
            raise ModelError(
                f"{row.name} cannot be exported: {row.why_not}",
                fix="choose another encoder: `tlkit weights list --json` lists those that can be served",
            )

    def data_to_evaluate(self, path: Path, task: Task, config: Any) -> Any:
        """Read other labelled texts; of a table with the project's column of splits, only those held out."""
        from tlkit.inputs.files.records import TableStream
        from tlkit.inputs.text.reading import texts_to_evaluate

        columns = config.data.columns
        own = {"text_column", "label_column", "label_separator", "label_columns", "separator", "quoting"}
        reading = {name: value for name, value in columns.items() if name in own}
        if columns["split_column"] and path.is_file():
            there = TableStream(path, **self.table_options(config)).columns
            reading["split_column"] = columns["split_column"] if columns["split_column"] in there else None
        return texts_to_evaluate(
            path,
            task.class_names,
            preprocessing=cast("TextPreprocessing", task.preprocessing),
            multi_label=task.objective.is_multi_label,
            batch_size=config.data.batch_size,
            encoding=config.data.encoding,
            **reading,
        )

    def measure(self, learn: Any, split: str) -> tuple[Any, list[Any]]:
        """Return the metrics and the most confident errors."""
        from tlkit.tasks.text_classification.report import judge

        metrics, wrong, _ = judge(learn, split, wrong=SHOWN, right=0)
        data: Any = learn.data
        places = data.places(split)
        errors = [
            {
                "text": item.text,
                "true": _said(item.true, learn),
                "predicted": _said(item.predicted, learn),
                "confidence": item.confidence,
                "place": places[item.row],
            }
            for item in wrong
        ]
        return metrics, errors

    def error_line(self, error: Mapping[str, Any], more: str = "") -> str:
        """Return an error with its text and how confident the network was, as a line for a terminal."""
        text = one_line(error["text"][:_SHOWN_CHARACTERS])
        dots = " ..." if len(error["text"]) > _SHOWN_CHARACTERS else ""
        return super().error_line(error, f" ({error['confidence']:.3f}): {text}{dots}")


def _said(labels: tuple[str, ...], learn: Any) -> str | list[str]:
    return list(labels) if learn.task.objective.is_multi_label else labels[0]
