"""Quiet, deterministic and offline: every default test runs on the CPU with random weights."""

from __future__ import annotations

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

collect_ignore = ["fixtures"]  # projects of earlier releases, with tests of their own
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def hymenoptera() -> Path:
    """The ants and bees photos; only tests marked `real` ask for them."""
    path = SHARED_DATA / "hymenoptera"
    if not path.is_dir():
        pytest.skip("the hymenoptera photos are not beside this checkout")
    return path


@pytest.fixture(scope="session", autouse=True)
def _private_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    if "TLKIT_TEST_CACHE" in os.environ:  # `make test-real` keeps pulled weights between runs
        os.environ["TLKIT_CACHE"] = os.environ["TLKIT_TEST_CACHE"]
        return
    os.environ["TLKIT_CACHE"] = str(tmp_path_factory.mktemp("tlkit-cache"))


def pytest_collection_finish() -> None:
    """Take TensorFlow's half a million objects, which stay, out of every later garbage collection."""
    gc.collect()
    gc.freeze()
