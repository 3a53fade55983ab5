from __future__ import annotations

import contextlib
from pathlib import Path

import pytest


@pytest.fixture
def scored():
    """A function that runs a whole scoring in this process and gives the summary."""
    pytest.importorskip("apache_beam", reason="the extra tlkit[beam] is not installed")
    from tlkit.scoring.run import Options, run_scoring

    @contextlib.contextmanager
    def silent(todo, reused):
        yield lambda count: None

    def score(source, output, model, **options):
        return run_scoring(Options(Path(source), Path(output), Path(model), **options), begun=silent)

    return score
