from __future__ import annotations

import errno
import os
from pathlib import Path

import filelock
import pytest

from tlkit.catalogue import cache
from tlkit.errors import WeightsError


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "own"))
    assert cache.default_folder() == tmp_path / "own" / "weights"
    monkeypatch.delenv("TLKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default_folder() == tmp_path / "xdg" / "tlkit" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.default_folder() == tmp_path / "home" / ".cache" / "tlkit" / "weights"


def test_a_written_file_is_whole_until_it_changes(tmp_path):
    path = tmp_path / "a.bin"
    cache.write(path, lambda temporary: temporary.write_bytes(b"abc"))
    assert path.read_bytes() == b"abc"
    assert cache.is_whole(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.bin", "a.bin.sha256"]
    path.write_bytes(b"abd")
    assert not cache.is_whole(path)
    cache.sidecar(path).write_text("")
    assert not cache.is_whole(path)
    cache.sidecar(path).unlink()
    assert not cache.is_whole(path)


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _half(temporary: Path) -> None:
    temporary.write_bytes(b"half of ")
    _full()


@pytest.mark.parametrize("moment", ["content", "flush"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, moment):
    path = tmp_path / "a.bin"
    cache.write(path, lambda temporary: temporary.write_bytes(b"abc"))
    if moment == "flush":
        monkeypatch.setattr(cache.os, "fsync", _full)
    with pytest.raises(OSError, match="No space left on device"):
        cache.write(path, _half if moment == "content" else lambda temporary: temporary.write_bytes(b"new"))
    assert path.read_bytes() == b"abc"
    assert cache.is_whole(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.bin", "a.bin.sha256"]


def test_the_lock_is_exclusive_and_clears_what_a_killed_process_left(tmp_path):
    left = tmp_path / ".tmp-killed"
    left.mkdir()
    (left / "half").write_bytes(b"")
    with cache.locked(tmp_path):
        assert not left.exists()
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(WeightsError, match=r"more than 0\.2 seconds"),
        cache.locked(tmp_path, seconds=0.2),
    ):
        pass
