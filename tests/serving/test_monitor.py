"""The monitor of a served version: what it counts, where it keeps it, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from exports import export_of
from tensorflow_serving.apis import predict_pb2

from tlkit.errors import ConfigError, ExportError
from tlkit.export.baseline import Baseline
from tlkit.export.manifest import Manifest
from tlkit.export.monitor_files import MonitorFolder, find_monitor, folder_of, is_monitor, today
from tlkit.export.sketch import Sketch
from tlkit.serving import grpc_calls, monitor, rest_calls
from tlkit.serving.metrics import Metrics
from tlkit.serving.monitor_front import MonitorGauges, prepare_monitor
from tlkit.serving.servable import Servable
from tlkit.serving.served_model import model_at

COLOURS, DISTANCES = ("red", "green", "blue"), "distance to the training data"


@pytest.fixture(scope="module")
def export():
    return export_of("monitored")


@pytest.fixture(scope="module")
def servable(export):
    found = Servable(export)
    yield found
    found.close()


@pytest.fixture
def baseline(export) -> Baseline:
    return Baseline.read(export, Manifest.read(export))


def rows(count: int) -> list[dict]:
    draw = np.random.default_rng(0)
    return [
        {"colour": str(draw.choice(COLOURS)), "rooms": int(draw.integers(1, 5)), "distance": float(draw.random())}
        for _ in range(count)
    ]


def answered(servable, call) -> tuple:
    return call, servable.execute(call.feeds, call.fetches)


def asked(servable, instances: Sequence[dict], **more) -> tuple:
    body = json.dumps({"instances": list(instances), **more}).encode()
    return answered(servable, rest_calls.prepare(servable, "predict", body))


def counted(folder: MonitorFolder) -> Sketch:
    whole = Sketch()
    for day in folder.days():
        whole.merge(folder.read(day))
    return whole


def test_inputs_and_predictions_of_calls_are_counted(servable, baseline, tmp_path):
    one = monitor.Monitor.of(tmp_path, servable)
    instances = rows(40)
    for start in range(0, 40, 4):
        one.offer(*asked(servable, instances[start : start + 4]))
    one.close()
    sketch = counted(find_monitor(tmp_path, baseline))
    assert (sketch.items, sketch.dropped) == (40, 0)
    bins = {one.name: one for one in baseline.bins}
    wanted = {name: np.array([row[name] for row in instances]) for name in ("colour", "rooms", "distance")}
    np.testing.assert_array_equal(sketch.counts["colour"], bins["colour"].count(wanted["colour"].astype(object)))
    np.testing.assert_array_equal(
        sketch.counts["rooms"], bins["rooms"].count(wanted["rooms"].astype(str).astype(object))
    )
    float32 = wanted["distance"].astype(np.float32)
    np.testing.assert_array_equal(sketch.counts["distance"], bins["distance"].count(float32))
    call, fetched = asked(servable, instances)
    classes = fetched[call.fetches.index(servable.signatures["serving_default"].outputs["classes"].name)][:, 0]
    best = np.array([name.decode() for name in classes], object)
    np.testing.assert_array_equal(sketch.counts["predicted sold"], bins["predicted sold"].count(best))
    assert 0 < sketch.embeddings <= 40
    assert sketch.counts[DISTANCES].sum() == sketch.embeddings
    likeness = sketch.likeness / sketch.embeddings
    assert ((likeness > 0) & (likeness <= 1)).all()


def test_all_ways_to_ask_are_counted_alike(servable, baseline, tmp_path):
    instances = rows(3)
    examples = json.dumps({"signature_name": "classify", "examples": instances}).encode()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "shops"
    for name in ("colour", "rooms", "distance"):
        values = [row[name] for row in instances]
        dtype = tf.as_dtype(servable.input_dtypes["serving_default"][name])
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
    found = {}
    for name, call in {
        "rest": rest_calls.prepare(servable, "predict", json.dumps({"instances": instances}).encode()),
        "all": rest_calls.prepare(
            servable, "predict", json.dumps({"instances": instances, "signature_name": "probabilities"}).encode()
        ),
        "classify": rest_calls.prepare(servable, "classify", examples),
        "grpc": grpc_calls.prepare(servable, "predict", request.SerializeToString()),
    }.items():
        one = monitor.Monitor.of(tmp_path / name, servable)
        one.offer(*answered(servable, call))
        one.close()
        sketch = counted(find_monitor(tmp_path / name, baseline))
        assert sketch.items == 3
        found[name] = {key: value.tolist() for key, value in sketch.counts.items() if key != DISTANCES}
    assert found["rest"] == found["all"] == found["classify"] == found["grpc"]
    # What is no prediction, or has other inputs, is not counted as one.
    one = monitor.Monitor.of(tmp_path / "other", servable)
    one.offer(*asked(servable, instances, signature_name="embedding"))
    raw = servable.signatures["encoded"].inputs["encoded"].tensor_shape.dim[1].size
    one.offer(*asked(servable, [[0.0] * raw] * 3, signature_name="encoded"))
    one.close()
    sketch = counted(find_monitor(tmp_path / "other", baseline))
    assert sketch.items == 3
    assert set(sketch.counts) == {"predicted sold", "score of predicted sold"}


def test_counts_of_processes_add_up_and_outlive_them(servable, baseline, tmp_path):
    both = [monitor.Monitor.of(tmp_path, servable) for _ in range(2)]
    for one in both:
        one.offer(*asked(servable, rows(5)))
    for one in both:
        one.close()
    again = monitor.Monitor.of(tmp_path, servable)
    again.offer(*asked(servable, rows(5)))
    again.close()
    folder = find_monitor(tmp_path, baseline)
    assert counted(folder).items == 15
    assert folder.days() == [today()]
    assert not list(tmp_path.rglob("samples"))  # no raw data


def test_what_there_is_no_time_for_is_dropped_and_counted(servable, baseline, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "_MOST_WAITING", 0)
    one = monitor.Monitor.of(tmp_path, servable)
    one.offer(*asked(servable, rows(7)))
    one.close()
    sketch = counted(find_monitor(tmp_path, baseline))
    assert (sketch.items, sketch.dropped) == (0, 7)
    monkeypatch.undo()
    monkeypatch.setattr(monitor, "_MOST_ROWS", 10)
    one = monitor.Monitor.of(tmp_path / "rows", servable)
    one.offer(*asked(servable, rows(16)))
    one.close()
    sketch = counted(find_monitor(tmp_path / "rows", baseline))
    assert (sketch.items, sketch.dropped) == (10, 6)
    assert sketch.counts["colour"].sum() == 10


def test_a_call_that_cannot_be_counted_ends_nothing(servable, baseline, tmp_path, capfd):
    one = monitor.Monitor.of(tmp_path, servable)
    good, bad = asked(servable, rows(2)), asked(servable, rows(2))
    one.offer(bad[0], [array[:, :1] if array.ndim > 1 else array for array in bad[1]][:1])  # less than was fetched
    one.offer(*good)
    one.close()
    sketch = counted(find_monitor(tmp_path, baseline))
    assert (sketch.items, sketch.dropped) == (2, 2)
    assert "monitor: a request could not be counted" in capfd.readouterr().err


def test_a_day_keeps_as_many_raw_inputs_as_asked(servable, tmp_path):
    for _ in range(2):
        one = monitor.Monitor.of(tmp_path, servable, samples=3)
        one.offer(*asked(servable, [{"colour": "", "rooms": 2, "distance": 0.5}] * 4))
        one.close()
    files = sorted(folder_of(tmp_path, "shops", 1).glob("samples/*/*"))
    assert len(files) == 3
    assert json.loads(files[0].read_text()) == {"colour": None, "rooms": 2, "distance": 0.5}


def test_counts_that_cannot_be_written_are_kept(servable, baseline, tmp_path, monkeypatch, capfd):
    one = monitor.Monitor.of(tmp_path, servable)
    add = MonitorFolder.add

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MonitorFolder, "add", full)
    one.offer(*asked(servable, rows(4)))
    one.close()
    assert "No space left on device; the counts are kept in memory" in capfd.readouterr().err
    monkeypatch.setattr(MonitorFolder, "add", add)
    one._flush()
    assert counted(find_monitor(tmp_path, baseline)).items == 4


def test_a_damaged_day_is_moved_aside_and_told(baseline, tmp_path):
    folder = MonitorFolder.prepared(tmp_path, "shops", 1, baseline)
    (folder.path / "2026-12-01.json").write_text("{")
    with pytest.raises(ConfigError, match=r"2026-12-01\.json is damaged.*move the file away"):
        folder.read("2026-12-01")
    folder.add("2026-12-01", Sketch(items=1))
    assert folder.read("2026-12-01").items == 1
    assert [file.read_text() for file in folder.path.glob("*.damaged-*")] == ["{"]


def test_directories_of_other_models_and_schemas_are_refused(baseline, tmp_path):
    other = Baseline("val", (), Sketch(), (), digest="another")
    MonitorFolder.prepared(tmp_path, "shops", 1, other)
    with pytest.raises(ConfigError, match=r"belongs to another model.*of shops version 1 with baseline another"):
        MonitorFolder.prepared(tmp_path, "shops", 1, baseline)
    with pytest.raises(ConfigError, match="belongs to another model"):
        find_monitor(tmp_path, baseline)
    MonitorFolder.prepared(tmp_path, "shops", 2, other)
    with pytest.raises(ConfigError, match=r"it has shops version 1, shops version 2"):
        find_monitor(tmp_path, baseline)
    mine = MonitorFolder.prepared(tmp_path, "shops", 3, baseline)
    assert find_monitor(tmp_path, baseline).path == mine.path
    identity = json.loads((mine.path / "monitor.json").read_text())
    (mine.path / "monitor.json").write_text(json.dumps(identity | {"schema_version": 2}))
    with pytest.raises(ConfigError, match=r"another schema.*'schema_version 2'.*allowed: schema_version 1"):
        find_monitor(tmp_path, baseline)
    assert is_monitor(tmp_path)
    assert not is_monitor(mine.path / "nowhere")


def test_a_server_prepares_the_directory_or_refuses_it(export, tmp_path):
    (tmp_path / "file").write_text("")
    models = [model_at(export.parent)]
    with pytest.raises(ConfigError, match="the monitor directory cannot be written: Not a directory"):
        prepare_monitor(tmp_path / "file", models)
    assert prepare_monitor(tmp_path / "new", models) == []
    assert (tmp_path / "new" / "shops" / "1" / "monitor.json").is_file()
    bare = tmp_path / "bare" / "1"
    bare.mkdir(parents=True)
    (bare / "saved_model.pb").write_bytes(b"")
    (bare / "manifest.json").write_text(Manifest.read(export).model_copy(update={"drift": None}).model_dump_json())
    with pytest.raises(ExportError, match="has no drift baseline"):
        prepare_monitor(tmp_path / "new", [model_at(bare.parent)])
    (line,) = prepare_monitor(tmp_path / "new", [*models, model_at(bare.parent)])
    assert "not monitored" in line


class Fleet:
    def __init__(self, export):
        self.export, self.in_flight, self.restarts = export, 0, 0

    def models(self):
        return {"shops": [SimpleNamespace(version=1, state="AVAILABLE")]}

    def path(self, name, version):
        return self.export


def test_prometheus_reads_items_and_stability_indices(export, baseline, tmp_path):
    folder = MonitorFolder.prepared(tmp_path, "shops", 1, baseline)
    same = Sketch(items=48, dropped=5, counts=dict(baseline.sketch.counts))
    folder.add(today(), same)
    metrics = Metrics()
    metrics.sources.append(MonitorGauges(tmp_path, Fleet(export)).lines)
    page = metrics.page(Fleet(export)).decode()
    labels = 'model_name="shops",version="1"'
    assert f"tlkit_monitor_items{{{labels}}} 48\n" in page
    assert f"tlkit_monitor_dropped_items{{{labels}}} 5\n" in page
    assert f'tlkit_monitor_psi{{{labels},source="input",statistic="colour"}} 0\n' in page
    assert f'statistic="{DISTANCES}"}} 0\n' in page
