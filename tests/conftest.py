"""Quiet, deterministic and offline: every default test runs on the CPU with random weights."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")

import exports
import pytest

collect_ignore = ["fixtures"]  # projects of earlier releases, with tests of their own
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of the shared exports, which workers find by their environment."""
    if exports.PLACE not in os.environ:
        os.environ[exports.PLACE] = tempfile.mkdtemp(prefix="tlkit-exports-")
        (Path(os.environ[exports.PLACE]) / "owner").write_text(str(os.getpid()))
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(exports.PLACE), ignore_errors=True))


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


@pytest.fixture(scope="session", autouse=True)
def _each_export_is_loaded_once() -> Iterator[None]:
    """Keep the last SavedModels that were loaded: loading takes half a second, and their files say if they changed."""
    import tensorflow as tf

    load = tf.saved_model.load

    @functools.lru_cache(maxsize=16)
    def kept(path: str, files: tuple) -> Any:
        return load(path)

    def loaded(path: Any, *args: Any, **options: Any) -> Any:
        if args or options:
            return load(path, *args, **options)
        stats = ((file, file.stat()) for file in sorted(Path(path).rglob("*")))
        return kept(str(path), tuple((str(file), one.st_ino, one.st_size, one.st_mtime_ns) for file, one in stats))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", loaded)
        yield


@pytest.fixture(scope="session", autouse=True)
def _verifications_are_forks() -> Iterator[None]:
    """Let exports be checked by forks of one process that has TensorFlow loaded; see forked_verifier.py."""
    from tlkit.export import verify

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "WORKER", Path(__file__).with_name("forked_verifier.py"))
        yield


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let exports be checked as they are for users: by a process that begins with nothing. Gives its code."""
    from tlkit.export import verify

    worker = Path(verify.__file__).with_name("verify_worker.py")
    monkeypatch.setattr(verify, "WORKER", worker)
    return worker


def pytest_collection_finish() -> None:
    """Take TensorFlow's half a million objects, which stay, out of every later garbage collection."""
    gc.collect()
    gc.freeze()
