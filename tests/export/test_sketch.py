"""Counts that add up, and the baseline file that holds those of the validation data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tlkit.errors import ExportError
from tlkit.export.baseline import BASELINE_PATH, Baseline, Watched
from tlkit.export.manifest import Manifest
from tlkit.export.sketch import Bins, Sketch, bins_of, landmarks_of, unit_length

draw = np.random.default_rng(0)


def test_a_number_falls_below_its_upper_edge():
    bins = Bins("x", "input", edges=(0.0, 1.0))
    assert bins.labels == ("up to 0", "0 to 1", "above 1", "(missing)")
    assert bins.count(np.array([-1.0, 0.0, 0.5, 1.0, 2.0, np.nan])).tolist() == [2, 2, 1, 1]


def test_bins_of_numbers_hold_as_many_items_each_and_values_that_many_have_stand_alone():
    values = draw.normal(size=1000)
    bins = bins_of("x", "input", values)
    counts = bins.count(values)
    assert len(bins.edges) == 39
    assert np.abs(counts[:-1] - 25).max() <= 1
    zeros = np.where(draw.random(1000) < 0.9, 0.0, values**2)
    bins = bins_of("x", "input", zeros)
    assert bins.labels[:2] == ("below 0", "0")
    assert bins.count(zeros)[:2].tolist() == [0, (zeros == 0).sum()]
    assert bins.count(np.array([-0.1]))[0] == 1
    assert bins_of("x", "input", np.full(5, np.nan)).count(np.array([np.nan]))[-1] == 1


def test_rare_names_share_a_bin_and_some_are_kept_however_rare():
    values = np.array(["a"] * 500 + ["b"] * 480 + [f"r{n}" for n in range(19)] + [""], object)
    bins = bins_of("x", "input", values, names=("(unseen)",))
    assert bins.names == ("(unseen)", "a", "b")
    assert bins.count(values).tolist() == [0, 500, 480, 19, 1]
    assert bins.count(np.array(["new", "(unseen)"], object)).tolist() == [1, 0, 0, 1, 0]


def test_counts_of_parts_add_up_to_those_of_the_whole():
    bins = [bins_of("x", "input", draw.normal(size=200)), Bins("y", "input", names=("a",))]
    values = {"x": draw.normal(size=50), "y": np.array(["a", "b"] * 25, object)}
    whole, parts = Sketch(items=50), Sketch()
    whole.add(bins, values)
    whole.add_likeness(np.ones((50, 3)))
    for part in (slice(0, 20), slice(20, 50)):
        one = Sketch(items=part.stop - part.start)
        one.add(bins, {name: own[part] for name, own in values.items()})
        one.add_likeness(np.ones((one.items, 3)))
        parts.merge(one)
    assert parts.to_dict() == whole.to_dict()
    again = Sketch.from_dict(json.loads(json.dumps(parts.to_dict())), bins, 3)
    assert again.to_dict() == whole.to_dict()
    for change in ({"counts": {"x": [1]}}, {"counts": {"z": [1]}}, {"likeness": [1.0]}, {"items": None}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            Sketch.from_dict({**whole.to_dict(), **change}, bins, 3)


def test_likeness_to_landmarks_is_a_gaussian_kernel_of_directions():
    embeddings = draw.normal(size=(200, 5))
    marks = landmarks_of(embeddings, 16)
    assert marks.points.shape == (16, 5)
    assert marks.items == 184
    others = unit_length(embeddings[16:])
    squares = ((others[:, None] - marks.points[None]) ** 2).sum(2)
    np.testing.assert_allclose(marks.likenesses(embeddings[16:]), np.exp(-squares / (2 * marks.width)), rtol=1e-3)
    np.testing.assert_allclose(marks.likenesses(3 * embeddings[16:]).mean(0), marks.mean, rtol=1e-5)


ANSWERS = np.array([[0.2, 0.7, 0.1, 5.0], [0.6, 0.3, 0.1, -2.0]])


@pytest.mark.parametrize(
    ("how", "wanted"),
    [("top", ["b", "a"]), ("best", [0.7, 0.6]), ("value", [0.2, 0.6]), ("above", ["1", "2"])],
)
def test_statistics_of_answers(how, wanted):
    watched = Watched("x", how, 0, 3, ("a", "b", "c"), (0.25, 0.25, 0.25))
    assert watched.values(ANSWERS).tolist() == wanted
    assert Watched("y", "value", 3, 4).values(ANSWERS).tolist() == [5.0, -2.0]


def small() -> Baseline:
    values = draw.normal(size=60)
    bins = (bins_of("x", "input", values), Bins("y", "prediction", names=("é", "b")))
    sketch = Sketch(items=60)
    sketch.add(bins, {"x": values, "y": np.array(["é"] * 60, object)})
    marks = landmarks_of(draw.normal(size=(60, 4)), 8)
    return Baseline("val", bins, sketch, (Watched("y", "top", 0, 2, ("é", "b")),), marks)


def manifest_with(drift) -> Manifest:
    return Manifest.model_construct(drift=drift)


def test_a_baseline_is_read_as_it_was_written(tmp_path):
    written = small()
    told = written.write(tmp_path)
    found = Baseline.read(tmp_path, manifest_with(told))
    assert found.bins == written.bins
    assert found.watched == written.watched
    assert found.sketch.to_dict() == written.sketch.to_dict()
    assert found.digest == told["sha256"]
    for name in ("points", "mean", "covariance"):
        np.testing.assert_array_equal(getattr(found.landmarks, name), getattr(written.landmarks, name))


def test_what_is_no_baseline_is_refused(tmp_path):
    told = small().write(tmp_path)
    with pytest.raises(ExportError, match=r"has no drift baseline; export the model again"):
        Baseline.read(tmp_path, manifest_with(None))
    with pytest.raises(ExportError, match=r"another schema; received: 'schema_version 2'.*upgrade tlkit"):
        Baseline.read(tmp_path, manifest_with(told | {"schema_version": 2}))
    with pytest.raises(ExportError, match=r"another schema; received: 'schema_version 0'.*export the model again"):
        Baseline.read(tmp_path, manifest_with(told | {"schema_version": 0}))
    (tmp_path / BASELINE_PATH).write_text("{}")
    with pytest.raises(ExportError, match="has changed since the export"):
        Baseline.read(tmp_path, manifest_with(told))
    (tmp_path / BASELINE_PATH).unlink()
    with pytest.raises(ExportError, match="cannot be read"):
        Baseline.read(tmp_path, manifest_with(told))
