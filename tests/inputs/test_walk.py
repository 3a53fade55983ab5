"""One walk over folders of images: what is an image, what is not, and counts that add up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from photos import encode, photo

from tlkit.errors import DataError
from tlkit.inputs.image import walk as walking
from tlkit.inputs.image.walk import Entry, Tally, counts_line, look_at, shown, walk

JPEG = encode(photo(), "JPEG")
CONTENTS = {
    "ants/1.jpg": JPEG,
    "ants/2.jfif": JPEG,
    "ants/no-suffix": encode(photo(), "PNG"),
    "ants/named.txt": encode(photo(), "GIF"),
    "ants/deep/3.PNG": encode(photo(), "BMP"),
    "ants/empty.jpg": b"",
    "ants/text.jpeg": b"hello",
    "ants/scan": encode(photo(), "TIFF"),
    "ants/phone.jpg": b"\0\0\0\x18ftypheic" + bytes(40),
    "ants/notes.txt": b"notes",
    "ants/empty.txt": b"",
    "ants/paper.pdf": b"%PDF-1.7",
    "ants/BMW.txt": b"BMW is a maker of cars, not a bitmap, however long this text is.",
    "ants/._1.jpg": JPEG,
    "ants/.DS_Store": b"x",
    "ants/Thumbs.db": b"x",
    "desktop.ini": b"x",
    "ants/.ipynb_checkpoints/1-checkpoint.jpg": JPEG,
    "@eaDir/ants/1.jpg": JPEG,
    "__MACOSX/ants/._1.jpg": b"x",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, content in CONTENTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for name in ("gone.jpg", "gone", "gone.txt"):
        (root / "ants" / name).symlink_to("nowhere")
    (root / "ants" / "linked.jpg").symlink_to("1.jpg")
    (root / "ants" / "back").symlink_to(root)
    os.mkfifo(root / "ants" / "pipe.jpg")  # to open it would wait for ever
    return root


def test_every_entry_is_used_or_left_out_for_a_reason(folder):
    found = {entry.name: entry for entry in walk(folder)}
    assert len(found) == len(CONTENTS) + 6
    images = {name for name, entry in found.items() if entry.use == "image"}
    assert images == {
        "ants/1.jpg", "ants/2.jfif", "ants/no-suffix", "ants/named.txt", "ants/deep/3.PNG", "ants/linked.jpg",
    }  # fmt: skip
    unusable = {name: entry.problem for name, entry in found.items() if entry.use == "unusable"}
    assert set(unusable) == {
        "ants/empty.jpg", "ants/text.jpeg", "ants/scan", "ants/phone.jpg", "ants/gone.jpg", "ants/gone",
    }  # fmt: skip
    assert unusable["ants/empty.jpg"] == "is empty (0 bytes)"
    assert unusable["ants/gone"] == "is a broken link"
    assert "is TIFF" in unusable["ants/scan"]
    assert "not an image but text" in unusable["ants/text.jpeg"]
    reasons = {name: entry.reason for name, entry in found.items() if entry.use == "left_out"}
    assert reasons == {
        "ants/notes.txt": walking.OTHER,
        "ants/BMW.txt": walking.OTHER,
        "ants/paper.pdf": walking.OTHER,
        "ants/empty.txt": walking.EMPTY,
        "ants/._1.jpg": walking.HIDDEN,
        "ants/.DS_Store": walking.HIDDEN,
        "ants/.ipynb_checkpoints/1-checkpoint.jpg": walking.HIDDEN,
        "ants/Thumbs.db": walking.SYSTEM,
        "desktop.ini": walking.SYSTEM,
        "@eaDir/ants/1.jpg": walking.SYSTEM,
        "__MACOSX/ants/._1.jpg": walking.SYSTEM,
        "ants/gone.txt": walking.DANGLING,
        "ants/back": walking.LINKED,
        "ants/pipe.jpg": walking.NO_FILE,
    }
    assert all(entry.size == len(CONTENTS[name]) for name, entry in found.items() if name in CONTENTS and entry.size)


def test_the_counts_add_up_and_name_the_first_of_each_reason(folder):
    tally = Tally()
    for entry in walk(folder):
        tally.add(entry, "photos")
    counts = tally.to_dict()
    assert counts["found"] == counts["used"] + sum(counts["left_out"].values()) == len(CONTENTS) + 6
    assert counts["left_out"][walking.HIDDEN] == 3
    assert "3 hidden files (photos/ants/.DS_Store, photos/ants/._1.jpg, " in str(tally)
    both = Tally()
    both.merge(tally)
    both.merge(tally)
    both.leave_out(walking.BROKEN, "x.jpg")
    assert both.found == 2 * tally.found
    assert both.used == 2 * tally.used - 1
    assert counts_line({"found": 1, "used": 1, "left_out": {}}) == "found 1 entries: 1 used"


def test_entries_come_in_the_order_of_sorted_paths(folder):
    names = [entry.name for entry in walk(folder)]
    assert names == [str(path.relative_to(folder)) for path in sorted(folder / name for name in names)]
    assert [entry.name for entry in walk(folder, "ants/deep")] == ["ants/deep/3.PNG"]
    assert [entry.name for entry in walk(folder, without={"ants", "@eaDir"})] == [
        "__MACOSX/ants/._1.jpg",
        "desktop.ini",
    ]


def test_a_file_that_is_named_is_never_left_out(folder):
    assert look_at(folder / "ants" / "._1.jpg").use == "image"
    assert look_at(folder / "ants" / "notes.txt").problem.startswith("is not an image but text")
    assert look_at(folder / "nowhere.jpg") == Entry(
        str(folder / "nowhere.jpg"), "unusable", walking.UNREADABLE, "does not exist"
    )


def test_what_cannot_be_opened_is_said_to_be(folder, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    found = {entry.name: entry for entry in walk(folder)}
    assert found["ants/1.jpg"].problem == "cannot be opened (Permission denied)"
    assert found["ants/no-suffix"].use == "unusable"
    assert (found["ants/notes.txt"].use, found["ants/notes.txt"].reason) == ("left_out", walking.UNREADABLE)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nowhere cannot be listed: No such file"):
        list(walk(tmp_path / "nowhere"))


def test_paths_are_shown_as_a_person_would_write_them(tmp_path, monkeypatch):
    (tmp_path / "bees").mkdir()
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "bees")
    assert shown(tmp_path / "bees" / ".." / "photos" / "1.jpg") == "../photos/1.jpg"
    assert shown(tmp_path / "photos" / "1.jpg") == str(tmp_path / "photos" / "1.jpg")
    assert shown("photos/1.jpg") == "photos/1.jpg"
    (tmp_path / "bees" / "link").symlink_to(tmp_path / "photos")
    (tmp_path / "bees" / "photos").mkdir()
    behind = tmp_path / "bees" / "link" / ".." / "photos" / "1.jpg"  # which is not bees/photos/1.jpg
    assert shown(behind) == str(behind)
