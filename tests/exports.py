"""Exports of tiny tasks with random weights, made once for a whole test run, by whichever process asks first.

Treat them as read-only; `copy_of` gives a copy to change.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
import tiny_table
import tiny_text

PLACE = "TLKIT_TEST_EXPORTS"  # a folder that all processes of a run know; conftest.py makes it


def _photos():
    options = {
        "metrics": {"accuracy": 0.5, "loss": float("nan")},
        "data_summary": {"n_train": 10, "fingerprint": "abc"},
    }
    return tiny.tiny_task(), "tiny", {"golden": tiny.photos(), "max_batch": 4, **options}


def _views():
    from tlkit.inputs.image.augment import Augmentation

    options = {"tta": 3, "tta_beta": 0.3, "augmentation": Augmentation("side_on", max_rotation=30.0)}
    return tiny.tiny_task(), "tiny", {"golden": tiny.photos(), "max_batch": 2, **options}


def _risks():
    from tlkit.inputs.image.augment import Augmentation

    options = {"tta": 2, "augmentation": Augmentation("side_on")}
    return tiny.tiny_value("survival"), "risk", {"golden": tiny.photos(), "max_batch": 4, **options}


def _texts():
    golden = [sentence.encode() for sentence in tiny_text.SENTENCES]
    return tiny_text.tiny_text_task(), "reviews", {"golden": golden, "max_batch": 3}


def _windows():
    golden = [sentence.encode() for sentence in tiny_text.SENTENCES]
    return tiny_text.windows_task(), "reviews", {"golden": golden, "max_batch": 3}


def _rows(kind: str):
    task = tiny_table.tiny_table_task(kind)
    return task, "houses", {"golden": task.preprocessing.to_examples(tiny_table.tiny_frame(8))[:4], "max_batch": 3}


def monitored_frame(count: int = 240, seed: int = 0):
    """Rows like those of the export "monitored"."""
    return tiny_table.tiny_frame(n=count, seed=seed)[["colour", "rooms", "distance", "sold"]]


def _monitored():
    import tlkit
    from tlkit.training.baseline import measure_baseline
    from tlkit.training.features import run
    from tlkit.training.novelty import fit_novelty

    data = tlkit.table_from_file(monitored_frame(), "sold", batch_size=32)
    task = tlkit.tabular_model(data.preprocessing, data.targets, hidden=(8,), seed=0)
    task.set_novelty(fit_novelty(task, data))
    baseline = measure_baseline(task, data, run(task.features, data.ordered("val")))
    return task, "shops", {"golden": data.samples("val", 2), "max_batch": 3, "baseline": baseline}


def trusted(task, encoded, moved=(1.0, 0.0)):
    """Calibrate a task as if it were trained: with conformal limits, and a distance to its own inputs.

    Args:
        task: a fresh one.
        encoded: inputs of its network.
        moved: scale and shift of the outputs of classes.
    """
    import numpy as np

    from tlkit.models.novelty import Novelty
    from tlkit.targets.calibration import Calibration

    objective, outputs = task.objective, task.model(encoded, training=False).numpy()
    classes = [bool(target.class_names) for target, part in objective.parts(outputs) for _ in range(part.shape[1])]
    scale, shift = (np.where(classes, value, plain) for value, plain in zip(moved, (1.0, 0.0), strict=True))
    draw = np.random.default_rng(0)
    true = np.concatenate(
        [
            np.eye(target.width)[draw.integers(0, target.width, len(outputs))]
            if target.class_names and not target.is_alone
            else (draw.random((len(outputs), target.true_width)) > 0.3) * 1.0
            for target in objective.targets
        ],
        axis=1,
    )
    objective.calibration = objective.fit_conformal(Calibration(tuple(scale), tuple(shift)), outputs, true)
    core = np.asarray(task.embedded(task.features(encoded, training=False)), np.float32)
    task.set_novelty(Novelty(core / np.linalg.norm(core, axis=1, keepdims=True), 1, 1e-4, len(core)))
    return task


def _trusted_photos():
    import tensorflow as tf

    task = tiny.tiny_task()
    pixels = tf.stack([tf.cast(task.preprocessing(tf.constant(photo)), tf.float32) for photo in tiny.photos(4)])
    return trusted(task, pixels), "tiny", {"golden": tiny.photos(), "max_batch": 4, "level": 0.8}


def _trusted_rows():
    import tensorflow as tf

    task = tiny_table.tiny_table_task("several")
    examples = task.preprocessing.to_examples(tiny_table.tiny_frame(8))
    task = trusted(task, task.preprocessing.batch(tf.constant(examples)))
    return task, "houses", {"golden": examples[:4], "max_batch": 3, "level": 0.8}


#: What can be asked for: a function that gives a task, the name of its folder and options of the export.
EXPORTS: dict[str, Callable] = {
    "photos": _photos,
    "views": _views,  # photos with a signature for test-time augmentation
    "risks": _risks,  # photos with a survival risk
    "texts": _texts,
    "monitored": _monitored,  # rows, with a drift baseline
    "windows": _windows,  # long texts with several labels
    "trusted_photos": _trusted_photos,  # calibrated, with a distance to the training data
    "trusted_rows": _trusted_rows,
    **{kind: functools.partial(_rows, kind) for kind in ("single_label", "multi_label", "regression", "several")},
}


@functools.cache
def export_of(name: str) -> Path:
    """Version 1 of one of `EXPORTS`, which passed every check if `checks_of` or "photos" was asked for."""
    with _alone(name) as folder:
        if not (folder / "path").exists():
            _make(name, folder)
        return folder / (folder / "path").read_text()


@functools.cache
def checks_of(name: str) -> dict:
    """What a verification says of one of `EXPORTS`: `CheckResult`s by name."""
    from tlkit.export.verify import CheckResult, verify_export

    export = export_of(name)
    with _alone(name) as folder:
        if not (folder / "checks.json").exists():
            _keep(verify_export(export), folder)
        return {one["name"]: CheckResult(**one) for one in json.loads((folder / "checks.json").read_text())}


def copy_of(name: str, target: Path) -> Path:
    """A private copy at target/1."""
    return Path(shutil.copytree(export_of(name), target / "1"))


def _make(name: str, folder: Path) -> None:
    from tlkit.export import saved_model

    verify = saved_model.verify_export

    def verified(path):
        results = verify(path)
        _keep(results, folder)
        return results

    task, base, options = EXPORTS[name]()
    with pytest.MonkeyPatch.context() as patch:
        # One is published for real; the checks of the others cost seconds and are made for those who ask.
        patch.setattr(saved_model, "verify_export", verified if name == "photos" else lambda path: [])
        export = saved_model.export_task(task, folder / base, **options)
    (folder / "path").write_text(str(export.relative_to(folder)))


def _keep(results: list, folder: Path) -> None:
    (folder / "checks.json").write_text(json.dumps([dataclasses.asdict(one) for one in results]))


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """The folder of an export, which other processes wait for."""
    folder = Path(os.environ[PLACE]) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
