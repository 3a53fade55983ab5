from __future__ import annotations

import logging
import re

import numpy as np
import pandas as pd
import pytest
from batches import collect
from photos import encode, photo, write_folder

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.inputs.image.preprocessing import ImagePreprocessing
from tlkit.inputs.image.reading import images_to_evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), {"blue": 7, "green": 9, "red": 5})


def test_batches_hold_every_training_photo_once_an_epoch(folder):
    data = tlkit.images_from_folder(folder, size=32, batch_size=4, val_fraction=0.3)
    batches = collect(data.epochs().take(data.steps_per_epoch))
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    assert images.shape == (15, 32, 32, 3)
    assert images.dtype == np.float32
    assert labels.sum(0).tolist() == [5, 6, 4]
    ordered = np.concatenate([images for images, _ in collect(data.ordered("train"))])
    assert sorted(images.sum((1, 2, 3))) == sorted(ordered.sum((1, 2, 3)))
    assert sum(len(images) for images, _ in data.val) == 6
    assert not np.array_equal(images, ordered)


def test_kept_and_streamed_photos_are_the_same(folder):
    kept, streamed = (
        tlkit.images_from_folder(folder, size=32, batch_size=4, augment="side_on", cache=cache, seed=3)
        for cache in ("memory", "off")
    )
    assert kept.splits["train"].pixels is not None
    assert streamed.splits["train"].pixels is None
    for one, other in zip(collect(kept.epochs().take(7)), collect(streamed.epochs().take(7)), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.real
def test_keras_cv_presets_repeat_for_a_seed(folder):
    data = tlkit.images_from_folder(folder, size=32, batch_size=4, augment="strong", mix="mixup")
    steps = data.steps_per_epoch
    for one, other in zip(collect(data.epochs(1).take(steps)), collect(data.epochs(1).take(steps)), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(
    "augment", ["none", "side_on", *[pytest.param(a, marks=pytest.mark.real) for a in ("top_down", "strong")]]
)
def test_an_epoch_is_the_same_wherever_the_stream_begins(folder, augment):
    data = tlkit.images_from_folder(folder, size=32, batch_size=4, augment=augment)
    steps = data.steps_per_epoch
    from_zero = collect(data.epochs(0).take(3 * steps))[2 * steps :]
    for one, other in zip(from_zero, collect(data.epochs(2).take(steps)), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_train_gives_another_epoch_each_time_and_the_same_ones_for_a_seed(folder):
    def two_epochs():
        train = tlkit.images_from_folder(folder, size=32, batch_size=4, seed=5).train
        return [np.concatenate([images for images, _ in collect(train)]) for _ in range(2)]

    first, second = two_epochs()
    assert not np.array_equal(first, second)
    again = two_epochs()
    np.testing.assert_array_equal(first, again[0])
    np.testing.assert_array_equal(second, again[1])


def test_balanced_weights_make_every_class_count_the_same(folder):
    data = tlkit.images_from_folder(folder, size=32, batch_size=4, class_weight="balanced")
    totals = np.zeros(3)
    for _, labels, weights in collect(data.epochs().take(data.steps_per_epoch)):
        totals += (labels * weights[:, None]).sum(0)
    np.testing.assert_allclose(totals, totals.mean(), rtol=1e-5)


@pytest.mark.slow
def test_auto_caching_looks_at_the_free_memory(folder, monkeypatch):
    monkeypatch.setattr("tlkit.inputs.image.data.available_memory", lambda: 21 * 32 * 32 * 3 * 4)
    assert tlkit.images_from_folder(folder, size=32).splits["train"].pixels is not None
    monkeypatch.setattr("tlkit.inputs.image.data.available_memory", lambda: 21 * 32 * 32 * 3 * 4 - 2)
    assert tlkit.images_from_folder(folder, size=32).splits["train"].pixels is None


@pytest.mark.slow
def test_the_fingerprint_changes_with_the_files(folder, tmp_path):
    one = tlkit.images_from_folder(folder, size=32)
    write_folder(tmp_path, {"blue": 7, "green": 9, "red": 5})
    assert tlkit.images_from_folder(tmp_path, size=32).fingerprint() == one.fingerprint()
    (tmp_path / "red" / "00.jpg").write_bytes(encode(photo(77), "JPEG"))
    assert tlkit.images_from_folder(tmp_path, size=32).fingerprint() != one.fingerprint()


BAD_FILES = {
    "empty.jpg": (b"", r"is empty \(0 bytes\)"),
    "text.jpg": (b"hello, world", "is not an image"),
    "cut.jpg": (encode(photo(), "JPEG", quality=95)[:700], r"is truncated or corrupt \(JPEG\)"),
    "cut.png": (encode(photo())[:300], r"is truncated or corrupt \(PNG\)"),
    "scan.tif": (encode(photo(), "TIFF"), "is TIFF, .*convert it first.*scan.tif scan.jpg"),
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(40), "is HEIC"),
    "moves.webp": (
        encode(photo(), "WEBP", save_all=True, append_images=[photo(1)]),
        "is an animated WebP, which is not supported; save",
    ),
    "bomb.png": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0",
        r"has 3,600,000,000 pixels \(60000 x 60000\); allowed: 40,000,000; shrink it, or raise max_pixels",
    ),
}


@pytest.mark.parametrize("cache", ["memory", pytest.param("off", marks=pytest.mark.real)])
def test_unreadable_photos_stop_by_default(tmp_path, cache):
    write_folder(tmp_path, {"a": 3, "b": 3})
    for name, (content, _) in BAD_FILES.items():
        (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{len(BAD_FILES)} of the photos cannot be used: ") as caught:
        tlkit.images_from_folder(tmp_path, size=32, cache=cache)
    for name, (_, reason) in BAD_FILES.items():
        assert re.search(f"{name} [^;]*{reason}", str(caught.value)), name


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_unreadable_photos_are_left_out_and_counted_when_asked(tmp_path, caplog, cache):
    write_folder(tmp_path, {"a": 4, "b": 4})
    for name, (content, _) in BAD_FILES.items():
        (tmp_path / "a" / name).write_bytes(content)
    with caplog.at_level(logging.WARNING, "tlkit"):
        data = tlkit.images_from_folder(tmp_path, size=32, cache=cache, on_error="skip", val_fraction=0.25)
    assert sorted(item.path.name for item in data.skipped) == sorted(BAD_FILES)
    assert f"skipped {len(BAD_FILES)} photos" in caplog.text
    assert data.summary()["skipped"] == len(BAD_FILES)
    assert sum(len(split.labels) for split in data.splits.values()) == 8
    assert sum(len(images) for images, _ in data.val) + sum(len(images) for images, _ in data.train) == 8


def test_a_class_that_only_has_unreadable_training_photos_is_an_error(tmp_path):
    write_folder(tmp_path / "train", {"a": 2, "b": 1})
    write_folder(tmp_path / "val", {"a": 1, "b": 1})
    (tmp_path / "train" / "b" / "00.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="class 'b' has no readable training image: 2 images are unreadable; rep"):
        tlkit.images_from_folder(tmp_path, size=32, on_error="skip")


def test_a_class_with_one_photo_is_an_error(tmp_path):
    write_folder(tmp_path, {"a": 4, "b": 1})
    with pytest.raises(DataError, match="class 'b' has 1 i.*; a split into training and validation needs 2"):
        tlkit.images_from_folder(tmp_path, size=32)


def test_a_table_keeps_groups_together(folder):
    rows = [(str(path), path.parent.name, path.stem) for path in sorted(folder.rglob("*.jpg"))]
    table = pd.DataFrame(rows, columns=["path", "label", "scene"])
    data = tlkit.images_from_table(table, group_column="scene", size=32, val_fraction=0.4)
    scenes = {split: {path.stem for path in data.paths(split)} for split in ("train", "val")}
    assert not scenes["train"] & scenes["val"]


def test_photos_to_evaluate_use_the_classes_of_the_model(folder, tmp_path):
    settings = ImagePreprocessing(size=32)
    data = images_to_evaluate(folder, ["blue", "extra", "green", "red"], preprocessing=settings)
    assert np.bincount(data.labels("test"), minlength=4).tolist() == [7, 0, 9, 5]
    with pytest.raises(DataError, match="a class that the model was not trained on; received: 'blue'"):
        images_to_evaluate(folder, ["green", "red"], preprocessing=settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "unknown on_error; received: 'ignore'"),
        ({"cache": "disk"}, "unknown cache"),
        ({"class_weight": "balance"}, "did you mean 'balanced'"),
        ({"batch_size": 0}, "batch_size is invalid"),
        ({"seed": -1}, "seed is invalid"),
        ({"augment": "sideon"}, "did you mean 'side_on'"),
        ({"val_fraction": 2}, "val_fraction is invalid"),
    ],
)
def test_unusable_options_are_named(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        tlkit.images_from_folder(folder, **{"size": 32, **options})


def test_an_unknown_split_is_named(folder):
    with pytest.raises(ConfigError, match="no 'test' split.*allowed: train, val"):
        tlkit.images_from_folder(folder, size=32).ordered("test")


def damaged(content: bytes) -> bytes:
    """Overwrite the end of the image data; it still decodes."""
    return content[:-150] + bytes(20) + b"\xff\xd9"


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_damaged_photos_are_used_and_named_or_refused_when_asked(tmp_path, caplog, capfd, cache):
    write_folder(tmp_path, {"a": 5, "b": 5}, width=120)
    for name in ("a/01.jpg", "b/02.jpg"):
        (tmp_path / name).write_bytes(damaged((tmp_path / name).read_bytes()))
    options = {"size": 32, "cache": cache}
    data = tlkit.images_from_folder(tmp_path, **options)
    assert sorted(path.name for path, *_ in data.damaged) == ["01.jpg", "02.jpg"]
    assert "2 damaged photos can be decoded and are used: " in caplog.text
    assert f"{tmp_path / 'a/01.jpg'} can be decoded but is damaged (premature end of data segment)" in caplog.text
    assert data.summary()["damaged"] == 2
    assert data.tally.to_dict() == {"found": 10, "used": 10, "left_out": {}}
    assert sum(len(data.samples(name, 99)) for name in data.splits) == 8  # what an export shows for good is whole
    with pytest.raises(DataError, match="2 of the photos cannot be used: .*01.jpg can be decoded but is damaged"):
        tlkit.images_from_folder(tmp_path, damaged="refuse", **options)
    data = tlkit.images_from_folder(tmp_path, damaged="refuse", on_error="skip", **options)
    assert data.tally.to_dict() == {"found": 10, "used": 8, "left_out": {"damaged images": 2}}
    assert sum(len(split.labels) for split in data.splits.values()) == 8
    assert "Corrupt JPEG" not in capfd.readouterr().err


def test_the_counts_of_a_folder_add_up(tmp_path, caplog):
    write_folder(tmp_path, {"a": 4, "b": 4})
    for name in ("a/._1.jpg", "a/Thumbs.db", "a/notes.txt", "loose.jpg", "b/.x/y.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tmp_path / "a/01.jpg").read_bytes() if name.endswith("jpg") else b"text")
    for number in range(3):
        (tmp_path / "a" / f"gone{number}.jpg").symlink_to("nowhere")
    (tmp_path / "b" / "cut.jpg").write_bytes((tmp_path / "a/00.jpg").read_bytes()[:400])
    with pytest.raises(DataError, match="4 of the photos cannot be used: .*gone0.jpg is a broken link"):
        tlkit.images_from_folder(tmp_path, size=32)
    with caplog.at_level(logging.INFO, "tlkit"):
        data = tlkit.images_from_folder(tmp_path, size=32, on_error="skip")
    counts = data.summary()["entries"]
    assert counts["found"] == 17
    assert counts["used"] == sum(len(split.labels) for split in data.splits.values()) == 8
    assert counts["left_out"] == {
        "files that are no images": 1,
        "hidden files": 2,
        "images outside of class folders": 1,
        "images that cannot be decoded": 1,
        "links that lead to no file": 3,
        "system files": 1,
    }
    assert "skipped 4 photos that cannot be used: " in caplog.text
    assert "found 17 entries: 8 used; left out: " in caplog.text


def test_a_split_that_lacks_a_class_is_warned_of(tmp_path, caplog):
    write_folder(tmp_path / "train", {"a": 2, "b": 2, "c": 2})
    write_folder(tmp_path / "val", {"a": 1}, width=60)
    tlkit.images_from_folder(tmp_path, size=32)
    assert "the val split has no photo of a class: b, c" in caplog.text


def test_a_larger_limit_of_pixels_lets_a_large_photo_in(tmp_path):
    write_folder(tmp_path, {"a": 2, "b": 2}, width=50, height=40)
    with pytest.raises(DataError, match=r"has 2,000 pixels \(50 x 40\); allowed: 1,999; .*raise max_pixels"):
        tlkit.images_from_folder(tmp_path, size=32, max_pixels=1999)
    data = tlkit.images_from_folder(tmp_path, size=32, max_pixels=2000)
    assert data.preprocessing.to_dict()["max_pixels"] == 2000
    with pytest.raises(ConfigError, match="max_pixels is invalid; received: 0"):
        tlkit.images_from_folder(tmp_path, size=32, max_pixels=0)
