"""`tlkit predict`: classes and scores for photos, as a client of the export would get them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.errors import DataError

if TYPE_CHECKING:
    from tlkit.cli.project import Project

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
BATCH = 32


def predict(
    inputs: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", metavar="INPUT...")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects with input, classes and scores.")
    ] = False,
    top: Annotated[int | None, typer.Option("--top", help="How many classes to show.", min=1)] = None,
) -> None:
    """Classify photos with the newest export, or with the trained checkpoint when there is no export.

    Example:  tlkit predict photo.jpg --top 2
    """
    from tlkit.cli.output import print_json, stdout_to_stderr
    from tlkit.cli.project import find_project

    project = find_project()
    files = photo_files(inputs)
    with stdout_to_stderr(as_json):
        newest = project.newest_export()
        answers = _from_export(newest, files) if newest else _from_checkpoint(project, files)
    count = top or (None if as_json else 3)
    rows = [
        {**row, "classes": list(row["classes"][:count]), "scores": [float(s) for s in row["scores"][:count]]}
        for row in answers
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        shown = "  ".join(f"{name} {score:.3f}" for name, score in zip(row["classes"], row["scores"], strict=True))
        print(f"{row['input']}: {shown}")


def photo_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the files named, and those in the folders named, in order.

    Raises:
        DataError: an input does not exist, or a folder holds no photo.
    """
    files: list[Path] = []
    for item in inputs:
        if item.is_dir():
            inside = sorted(p for p in item.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise DataError(f"there is no photo in {item}", allowed=SUFFIXES)
            files += inside
        elif item.is_file():
            files.append(item)
        else:
            raise DataError(f"there is no {item}")
    return files


def _from_export(export: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    from tlkit.cli.output import import_tensorflow

    import_tensorflow()
    from tlkit.export.predictor import SavedModelPredictor

    return SavedModelPredictor(export).predict(files)


def _from_checkpoint(project: Project, files: Sequence[Path]) -> list[dict[str, Any]]:
    from tlkit.cli.output import import_tensorflow, note
    from tlkit.cli.trained import load_learner, require_trained

    require_trained(project)
    note("there is no export yet: using the trained checkpoint")
    import_tensorflow()
    with project.code() as code:
        task = load_learner(project, code).task
        return [row for start in range(0, len(files), BATCH) for row in _batch(task, files[start : start + BATCH])]


def _batch(task: Any, files: Sequence[Path]) -> list[dict[str, Any]]:
    import numpy as np
    import tensorflow as tf

    pixels = []
    for file in files:
        try:
            pixels.append(task.preprocessing(tf.constant(file.read_bytes())))
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise DataError(f"{file} is not a photo that can be read: {error.message.splitlines()[0]}") from None
    scores = tf.nn.softmax(task.model(tf.cast(tf.stack(pixels), tf.float32), training=False)).numpy()
    rows = []
    for file, row in zip(files, scores, strict=True):
        order = np.argsort(-row, kind="stable")
        rows.append(
            {
                "input": str(file),
                "classes": [task.class_names[i] for i in order],
                "scores": row[order].tolist(),
            }
        )
    return rows
