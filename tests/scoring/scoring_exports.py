"""Tiny exports for scoring, made without training and without the checks of a publication, once per run."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pytest
import tiny
import tiny_table
import tiny_text


@functools.cache
def export_of(kind: str) -> Path:
    """Version 1 of an export: "photos", "texts", or rows of a kind that `tiny_table_task` knows."""
    from tlkit.export import saved_model

    folder = Path(tempfile.mkdtemp(prefix="tlkit-score-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if kind == "photos":
        task, golden = tiny.tiny_task(), tiny.photos()
    elif kind == "texts":
        task, golden = tiny_text.tiny_text_task(), [text.encode() for text in tiny_text.SENTENCES]
    else:
        task = tiny_table.tiny_table_task(kind)
        golden = task.preprocessing.to_examples(tiny_table.tiny_frame(8))[:4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "verify_export", lambda path: [])
        return saved_model.export_task(task, folder / kind, golden=golden, max_batch=3)
