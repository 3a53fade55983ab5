"""JPEG files that decode although they are damaged are found one by one; intact ones never are."""

from __future__ import annotations

import io
import os
import sys
import threading

import numpy as np
import pytest
from photos import encode, photo

from tlkit.inputs.image.damaged import LIBJPEG, LibjpegLines, damage_of, find_damaged

INTACT = encode(photo(width=300, height=240), "JPEG", quality=92)
SCAN = INTACT.rindex(b"\xff\xda") + 14


def overwritten(content: bytes, at: int, with_: bytes) -> bytes:
    return content[: SCAN + at] + with_ + content[SCAN + at + len(with_) :]


DAMAGED = {
    "200 zeros": overwritten(INTACT, 300, bytes(200)),
    "random bytes": overwritten(INTACT, 500, np.random.default_rng(3).integers(0, 255, 200, np.uint8).tobytes()),
    "half is missing": INTACT[: len(INTACT) // 2] + b"\xff\xd9",
    "the end is missing": INTACT[:-200] + b"\xff\xd9",
    "progressive": encode(photo(width=300, height=240), "JPEG", progressive=True)[:-60] + b"\xff\xd9",
    "a gif that ends early": encode(photo(), "GIF")[:-400],
}
WHOLE = {
    "intact": INTACT,
    "progressive": encode(photo(), "JPEG", progressive=True),
    "grey": encode(photo().convert("L"), "JPEG"),
    "restarts": encode(photo(), "JPEG", restart_marker_blocks=2),
    "padded with zeros": INTACT[:-2] + bytes(3) + b"\xff\xd9",
    "something after the end": INTACT + b"trailer" * 9,
    "png": encode(photo(), "PNG"),
}


def test_each_damaged_image_is_found_and_no_other(capfd):
    contents = [*WHOLE.values(), *DAMAGED.values()]
    found = find_damaged(contents)
    assert sorted(found) == list(range(len(WHOLE), len(contents))), found
    assert found[len(WHOLE) + 2] == "premature end of data segment"
    assert "JPEG" not in capfd.readouterr().err


def test_images_that_cannot_be_decoded_or_are_too_large_are_not_damaged():
    cut = INTACT[: len(INTACT) // 2]
    assert find_damaged([cut, b"", b"no image", DAMAGED["half is missing"]], max_pixels=300 * 240 - 1) == {}


def test_only_the_lines_of_libjpeg_are_taken(capfd):
    with LibjpegLines() as lines:
        os.write(2, b"another library\nCorrupt JPEG data: bad Huffman code\nan unfinished line")
        print("from Python", file=sys.stderr)
        assert lines.take() == ["Corrupt JPEG data: bad Huffman code"]
        assert damage_of(INTACT, lines) == ""
        assert damage_of(DAMAGED["200 zeros"], lines)
    os.write(2, b"\nafter it\n")
    told = capfd.readouterr().err
    assert sorted(filter(None, told.split("\n"))) == [
        "after it",
        "an unfinished line",
        "another library",
        "from Python",
    ]


def test_stderr_comes_back_after_an_error(capfd):
    before = sys.stderr
    with pytest.raises(ValueError, match="stop"), LibjpegLines():
        raise ValueError("stop")
    assert sys.stderr is before
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


def test_threads_do_not_mix_up_their_images():
    found: dict[int, dict[int, str]] = {}

    def look(number: int) -> None:
        found[number] = find_damaged([DAMAGED["200 zeros"], INTACT] if number % 2 else [INTACT, INTACT])

    threads = [threading.Thread(target=look, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(found[number]) for number in range(6)] == [[], [0]] * 3


def test_the_lines_of_libjpeg_are_known():
    for line in ("Corrupt JPEG data: 3 extraneous bytes before marker 0xd9", "Premature end of JPEG file"):
        assert LIBJPEG.match(line)
    assert not LIBJPEG.match("error: 3 of the photos cannot be used")


@pytest.mark.real
def test_no_photo_of_hymenoptera_is_called_damaged(hymenoptera):
    contents = [path.read_bytes() for path in sorted(hymenoptera.rglob("*.jpg"))]
    assert len(contents) > 300
    assert find_damaged(contents) == {}
    assert io.BytesIO(contents[0]).read(2) == b"\xff\xd8"
