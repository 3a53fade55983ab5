"""What is seen in a base path: version folders, policies, half-copied and linked ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlkit.errors import ConfigError, ExportError
from tlkit.export.manifest import version_number
from tlkit.serving.served_model import ServedModel, model_at
from tlkit.serving.sources import Source
from tlkit.serving.status import Code


def version(base: Path, name: int | str, graph: str = "graph") -> Path:
    folder = base / str(name)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(graph)
    (folder / "variables" / "variables.index").write_text("weights")
    return folder


@pytest.mark.parametrize(
    ("name", "number"),
    [("1", 1), ("00000123", 123), ("0", 0), (str(2**63 - 1), 2**63 - 1)]
    + [(name, None) for name in ("", "-1", "+1", "1.0", "1a", " 1", "tmp", ".tmp-1", "1.tmp", "٣", "²", str(2**63))],
)
def test_a_version_folder_is_any_whole_number_of_64_bits(name: str, number: int | None):
    assert version_number(name) == number


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [10]),
        ({"latest": 2}, [10, 9]),
        ({"latest": 0}, [10, 9, 2]),
        ({"latest": 9}, [10, 9, 2]),
        ({"specific": (2, 10, 77)}, [10, 2]),
    ],
)
def test_the_policy_chooses_by_number_and_not_by_name(tmp_path: Path, policy: dict, expected: list[int]):
    for name in ("2", "0010", "9", "x1", ".11", ".tmp-12"):
        version(tmp_path, name)
    (tmp_path / "13").write_text("a file")
    sighting = Source(ServedModel("m", tmp_path, **policy)).look()
    assert list(sighting.wanted) == expected
    assert sighting.waiting == set()
    assert sighting.wanted[10] == tmp_path / "0010"
    missing = {77: (Code.NOT_FOUND, f"there is no version 77 in {tmp_path}")} if "specific" in policy else {}
    assert sighting.refused == missing


def test_of_two_folders_for_one_number_the_shorter_name_is_taken(tmp_path: Path):
    version(tmp_path, "007")
    version(tmp_path, "7")
    assert Source(ServedModel("m", tmp_path)).look().wanted == {7: tmp_path / "7"}


def test_what_is_there_at_the_start_is_taken_and_what_comes_later_must_settle(tmp_path: Path):
    version(tmp_path, 1)
    source = Source(ServedModel("m", tmp_path))
    assert list(source.look().wanted) == [1]
    folder = version(tmp_path, 2)
    sighting = source.look()
    assert (list(sighting.wanted), sighting.waiting) == ([1], {2})
    (folder / "variables" / "variables.data").write_text("more")  # a file came
    assert source.look().waiting == {2}
    (folder / "variables" / "variables.data").write_text("more and more")  # it grew
    assert source.look().waiting == {2}
    os.utime(folder / "saved_model.pb", ns=(1, 1))  # another time only
    assert source.look().waiting == {2}
    sighting = source.look()
    assert (list(sighting.wanted), sighting.waiting) == ([2], set())
    (folder / "later").write_text("nobody looks at a version that was taken")
    assert (list(source.look().wanted), source.look().changed) == ([2], set())


def test_a_failed_version_is_worth_another_try_when_its_files_have_changed_and_settled(tmp_path: Path):
    folder = version(tmp_path, 1)
    source = Source(ServedModel("m", tmp_path))
    source.look()
    source.failed(1)
    assert source.look().changed == set()
    (folder / "saved_model.pb").write_text("repaired")
    sighting = source.look()
    assert (list(sighting.wanted), sighting.changed) == ([1], set())
    assert source.look().changed == {1}
    assert source.look().changed == set()  # told once


def test_a_version_that_went_and_came_back_must_settle_again(tmp_path: Path):
    folder = version(tmp_path, 1)
    source = Source(ServedModel("m", tmp_path))
    source.look()
    aside = folder.rename(tmp_path / "aside")
    assert source.look().wanted == {}
    aside.rename(folder)
    assert source.look().waiting == {1}
    assert list(source.look().wanted) == [1]


def test_a_folder_without_a_graph_takes_no_older_ones_place_and_says_why(tmp_path: Path):
    version(tmp_path, 1)
    (tmp_path / "2").mkdir()
    sighting = Source(ServedModel("m", tmp_path)).look()
    assert list(sighting.wanted) == [1]
    assert sighting.refused == {2: (Code.NOT_FOUND, f"there is no saved_model.pb in {tmp_path / '2'}")}


def test_links_that_leave_the_base_path_are_refused_and_others_followed(tmp_path: Path):
    version(tmp_path / "elsewhere", 3)
    base = tmp_path / "m"
    version(base, "releases")
    (base / "1").symlink_to("releases")
    (base / "2").symlink_to(tmp_path / "elsewhere" / "3")
    (base / "4").symlink_to(base / "4")  # a loop
    sighting = Source(ServedModel("m", base, latest=0)).look()
    assert sighting.wanted == {1: base / "1"}
    ((number, (code, reason)),) = sighting.refused.items()
    assert (number, code) == (2, Code.PERMISSION_DENIED)
    assert "links to a path outside of" in reason
    link = tmp_path / "link"
    link.symlink_to(base)  # the base path itself may be one
    assert list(Source(ServedModel("m", link)).look().wanted) == [1]


def test_an_unreadable_or_absent_base_path_is_an_error_that_keeps_what_is_there(tmp_path: Path, monkeypatch):
    nowhere = tmp_path / "nowhere"
    source = Source(ServedModel("m", nowhere))
    assert source.look().error == f"cannot read {nowhere}: No such file or directory"
    folder = version(nowhere, 3)
    source.look()
    assert source.look().wanted == {3: folder}
    nowhere.rename(tmp_path / "away")
    assert source.look().error
    (tmp_path / "away").rename(nowhere)
    assert source.look().wanted == {3: folder}
    monkeypatch.setattr(Path, "iterdir", lambda self: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    sighting = Source(ServedModel("m", tmp_path)).look()
    assert sighting.error == f"cannot read {tmp_path}: Permission denied"
    assert sighting.wanted == {}


def test_a_path_means_a_model_of_versions_or_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = tmp_path / "photos"
    folder = version(base, 3)
    assert model_at(base) == ServedModel("photos", base)
    one = model_at(folder)
    assert (one.name, one.specific, one.base_path, one.folder) == ("photos", (3,), base, folder)
    assert Source(one).look().wanted == {3: folder}
    other = version(tmp_path, "export")
    assert (model_at(other).name, model_at(other).specific) == ("export", (1,))
    assert Source(model_at(other, "x")).look().wanted == {1: other}
    assert model_at(base, "named").name == "named"
    monkeypatch.chdir(base)
    assert model_at(Path()).name == "photos"
    version(base, 4)
    assert Source(one).look().wanted == {3: folder}  # one version was asked for
    for name in ("..", ".", "../x", "a/./b", "a..b"):
        with pytest.raises(ConfigError, match="a model name cannot contain '..' or be '.',"):
            model_at(base, name)
    assert model_at(base, "v1.5/a.b").name == "v1.5/a.b"
    with pytest.raises(ExportError, match="there is no export at .*tlkit export"):
        model_at(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match="contains no SavedModel"):
        model_at(tmp_path / "empty")
