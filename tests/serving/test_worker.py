"""The process that holds the models, over its socket."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import plain_models
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tlkit.serving import wire
from tlkit.serving.status import Code

ROOT = Path(__file__).parents[2]
#: A while loop of so many rounds takes a second or so.
LONG, SHORT = 80_000, 1


class Front:
    """The other end of a worker's socket."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tlkit.serving.worker", "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        ours.settimeout(60)
        self.connection = ours
        self.sent = 0
        self.kept = {}
        self.ready = self.receive()[0]

    def send(self, op, payload=b"", **header):
        self.sent += 1
        self.connection.sendall(wire.pack({"op": op, "id": self.sent, **header}, payload))
        return self.sent

    def receive(self):
        frame = wire.receive(self.connection)
        assert frame is not None, "the worker has gone"
        return frame

    def answer(self, identity):
        """Return the answer to one frame; others that come meanwhile are kept."""
        while identity not in self.kept:
            header, payload = self.receive()
            self.kept[header["id"]] = header, payload
        return self.kept.pop(identity)

    def ask(self, op, payload=b"", **header):
        return self.answer(self.send(op, payload, **header))

    def load(self, path, name="plain", version=1, batching=None, trust=False, **more):
        header = {"name": name, "version": version, "path": str(path), "trust": trust, "batching": batching, **more}
        return self.ask("load", **header)[0]

    def start(self, document, name="plain", version=1, api="rest", method="predict", timeout=None):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.send("call", body, name=name, version=version, api=api, method=method, timeout=timeout)

    def call(self, document, **kwargs):
        header, payload = self.answer(self.start(document, **kwargs))
        return header, json.loads(payload) if payload else None

    def close(self):
        self.connection.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def front():
    running = Front()
    assert running.load(plain_models.shared_model())["code"] == 0
    yield running
    running.close()


def plus(*values):
    return {"signature_name": "plus", "instances": [[value] for value in values]}


def spin(rounds, *values):
    return {"signature_name": "spin", "inputs": {"rounds": [rounds] * len(values), "x": list(values)}}


#: Bytes for a signature that takes tf.Examples: TensorFlow's error quotes them, and they are no text.
RAW = {"signature_name": "classify", "instances": [{"b64": "/9j/"}]}


@pytest.mark.slow
def test_it_says_that_it_is_ready(front):
    assert front.ready == {"event": "ready", "tensorflow": tf.__version__, "pid": front.process.pid}
    assert front.ask("ping") == ({"id": front.sent, "code": 0}, b"")


def test_calls_by_both_doors(front):
    header, answer = front.call(plus(1, 2))
    assert answer == {"predictions": [[2.0], [3.0]]}
    assert (header["code"], header["rows"]) == (0, 2)
    assert header["runtime_us"] >= 0
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "plain"
    request.model_spec.signature_name = "plus"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([[4.0]]))
    header, payload = front.answer(front.start(request.SerializeToString(), api="grpc"))
    response = predict_pb2.PredictResponse.FromString(payload)
    assert response.outputs["y"].float_val == [5.0]
    assert (response.model_spec.version.value, header["rows"]) == (1, 1)
    regress = {"signature_name": "regress", "examples": [{"v": 0.5}]}
    assert front.call(regress, method="regress")[1] == {"results": [5.0]}


@pytest.mark.parametrize(
    ("document", "kwargs", "code", "message"),
    [
        (b"", {}, Code.INVALID_ARGUMENT, "The document is empty"),
        (plus(1), {"name": "other"}, Code.NOT_FOUND, "Specific(other, 1)"),
        (b"{no", {"name": "other"}, Code.INVALID_ARGUMENT, "JSON Parse error"),
        (b"[1]", {"name": "other"}, Code.INVALID_ARGUMENT, "Is not object"),
        ({"signature_name": 1}, {"name": "other"}, Code.INVALID_ARGUMENT, "must be a string value"),
        # The inputs of a model that is not there are not known, the examples of any are.
        ({"instances": []}, {"name": "other"}, Code.NOT_FOUND, "Specific(other, 1)"),
        ({"examples": []}, {"name": "other", "method": "regress"}, Code.INVALID_ARGUMENT, "empty array"),
        ({"examples": [{"a": 1}]}, {"name": "other", "method": "classify"}, Code.NOT_FOUND, "Specific(other, 1)"),
        (b"", {"name": "other", "api": "grpc"}, Code.NOT_FOUND, "Specific(other, 1)"),
        (RAW, {}, Code.INVALID_ARGUMENT, "Could not parse example input, value: '\\xff\\xd8\\xff'"),
        (plus(1), {"version": 2}, Code.NOT_FOUND, "Specific(plain, 2)"),
        (plus(1), {"method": "explain"}, Code.UNIMPLEMENTED, "explain"),
        (b"\xff", {"api": "grpc"}, Code.INVALID_ARGUMENT, "PredictRequest"),
        ({"signature_name": "no", "instances": [1]}, {}, Code.INVALID_ARGUMENT, 'signature name: "no" not found'),
        ({"signature_name": "checked", "instances": [-1]}, {}, Code.INVALID_ARGUMENT, "a negative row"),
        (plus(1), {"timeout": -1}, Code.DEADLINE_EXCEEDED, "timeout"),
    ],
)
def test_errors_come_as_codes_and_the_process_lives(front, document, kwargs, code, message):
    header, answer = front.call(document, **kwargs)
    assert (header["code"], answer) == (code, None)
    assert message in header["message"]
    assert front.call(plus(1))[1] == {"predictions": [[2.0]]}


def test_unknown_operations_are_answered(front):
    assert front.ask("dance")[0]["code"] == Code.UNIMPLEMENTED


def test_a_slow_model_starves_neither_pings_nor_other_models(front):
    assert front.load(plain_models.shared_model(), name="other")["code"] == 0
    slow = [front.start(spin(LONG, float(i))) for i in range(20)]
    assert front.ask("ping")[0]["code"] == 0
    assert front.call(plus(1), name="other")[1] == {"predictions": [[2.0]]}
    assert not set(slow) <= set(front.kept)  # they were still running
    for identity in slow:
        front.send("cancel")  # of an unknown request: without effect
        front.connection.sendall(wire.pack({"op": "cancel", "id": identity}))
    assert front.ask("unload", name="other", version=1)[0]["code"] == 0
    # Those that had begun are answered, the cancelled ones are not; their threads are free again.
    assert front.call(spin(SHORT, 5.0))[1] == {"outputs": [6.0]}
    assert len(set(slow) & set(front.kept)) < len(slow)
    front.kept.clear()


def test_what_has_waited_too_long_is_not_run(front):
    slow = [front.start(spin(LONG // 20, float(i))) for i in range(12)]
    late = front.start(plus(1), timeout=0.001)
    header, _ = front.answer(late)
    assert header["code"] == Code.DEADLINE_EXCEEDED
    assert [json.loads(front.answer(identity)[1]) for identity in slow] == [
        {"outputs": [LONG // 20 + float(i)]} for i in range(12)
    ]


def test_batches_answer_everyone(front):
    settings = {"max_batch_size": 8, "batch_timeout_micros": 0, "max_enqueued_batches": 50, "allowed_batch_sizes": []}
    settings["num_batch_threads"] = 1
    loaded = front.load(plain_models.shared_model(), name="batched", batching=settings)
    assert loaded["code"] == 0
    blocker = front.start(spin(LONG // 4, 0.0), name="batched")
    asked = [front.start({"signature_name": "checked", "instances": [i * i]}, name="batched") for i in range(30)]
    bad = front.start({"signature_name": "checked", "instances": [-4]}, name="batched")
    for i, identity in enumerate(asked):
        assert json.loads(front.answer(identity)[1]) == {"predictions": [float(i)]}
    header, _ = front.answer(bad)
    assert header["code"] == Code.INVALID_ARGUMENT
    assert "a negative row" in header["message"]
    front.answer(blocker)
    front.ask("unload", name="batched", version=1)


def test_large_requests_are_run_in_slices_and_refused_beyond_a_limit(front):
    assert front.load(plain_models.shared_model(), "sliced", max_batch=2, max_rows=5)["code"] == 0
    header, answer = front.call(plus(*range(5)), name="sliced")
    assert (header["rows"], answer) == (5, {"predictions": [[i + 1.0] for i in range(5)]})
    header, _ = front.call(plus(*range(6)), name="sliced")
    assert header["code"] == Code.INVALID_ARGUMENT
    assert header["message"].startswith("the request has 6 rows and the server accepts at most 5 per request")
    classify = {"signature_name": "classify", "examples": [{"row": i % 2} for i in range(5)]}
    assert len(front.call(classify, name="sliced", method="classify")[1]["results"]) == 5
    identity = front.start(spin(LONG, *range(5)), name="sliced")  # three slices of a second or so
    assert front.call(plus(1), name="sliced")[1] == {"predictions": [[2.0]]}
    front.send("cancel")  # of nothing
    front.connection.sendall(wire.pack({"op": "cancel", "id": identity}))
    assert front.answer(identity)[0]["code"] == Code.CANCELLED
    header, _ = front.call(spin(LONG, *range(5)), name="sliced", timeout=0.2)
    assert (header["code"], "longer than its timeout" in header["message"]) == (Code.DEADLINE_EXCEEDED, True)
    front.ask("unload", name="sliced", version=1)


def test_a_full_queue_is_told(front):
    settings = {"max_batch_size": 1, "max_enqueued_batches": 2, "num_batch_threads": 1}
    assert front.load(plain_models.shared_model(), name="small", batching=settings)["code"] == 0
    asked = [front.start(spin(LONG // 8, 0.0), name="small") for _ in range(12)]
    codes = [front.answer(identity)[0]["code"] for identity in asked]
    assert set(codes) == {Code.OK, Code.RESOURCE_EXHAUSTED}
    front.ask("unload", name="small", version=1)


def test_load_tells_what_it_loaded_and_unload_waits(front):
    loaded = front.load(plain_models.shared_model(), name="again", version=3)
    assert loaded["metadata"]["model_spec"] == {"name": "again", "signature_name": "", "version": "3"}
    assert loaded["warmed"] == 0
    assert loaded["bytes"] > 10_000
    assert loaded["seconds"] > 0
    assert front.load(plain_models.shared_model(), name="again", version=3)["code"] == Code.ALREADY_EXISTS
    running = front.start(spin(LONG // 4, 1.0), name="again", version=3)
    unloading = front.send("unload", name="again", version=3)
    front.answer(unloading)
    assert json.loads(front.kept.pop(running)[1]) == {"outputs": [LONG // 4 + 1.0]}  # it was answered before
    assert front.call(plus(1), name="again", version=3)[0]["code"] == Code.NOT_FOUND
    assert front.ask("unload", name="again", version=3)[0]["code"] == 0


def test_what_cannot_be_loaded_is_told(front, tmp_path):
    refused = plain_models.write_refused(tmp_path / "bad" / "1", "PyFunc")
    header = front.load(refused, name="bad")
    assert header["code"] == Code.FAILED_PRECONDITION
    assert "PyFunc" in header["message"]
    assert front.load(refused, name="bad", trust=True)["code"] == 0
    front.ask("unload", name="bad", version=1)
    assert front.load(tmp_path / "none", name="none")["code"] == Code.FAILED_PRECONDITION
    header = front.load(plain_models.shared_model(), name="odd", batching={"max_batch": 3})
    assert header["code"] == Code.INTERNAL


def record(method, signature, value):
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, f"{method}_log").request
    request.model_spec.signature_name = signature
    if method == "predict":
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([value])))
    else:
        example = request.input.example_list.examples.add()
        example.features.feature["v"].float_list.value.append(value)
    return log.SerializeToString()


def with_warm_up(folder, *records):
    path = folder / "warm" / "1"
    shutil.copytree(plain_models.shared_model(), path)
    (path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(path / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for content in records:
            writer.write(content)
    return path


def test_warm_up_records_are_run_before_the_version_is_served(front, tmp_path):
    records = [record("predict", "checked", 4.0), record("regress", "regress", 1.0), b""]
    assert front.load(with_warm_up(tmp_path / "good", *records), name="warm")["warmed"] == 3
    front.ask("unload", name="warm", version=1)
    for name, records, code, message in (
        ("fails", [record("predict", "checked", -4.0)], Code.INVALID_ARGUMENT, "a negative row"),
        ("unknown", [record("predict", "nope", 1.0)], Code.FAILED_PRECONDITION, '"nope" not found'),
        ("junk", [b"\xff\xff"], Code.INVALID_ARGUMENT, "Failed to parse warmup record 1"),
        ("many", [b""] * 1001, Code.INVALID_ARGUMENT, "exceeds the maximum (1000)"),
    ):
        header = front.load(with_warm_up(tmp_path / name, *records), name=name)
        assert (header["code"], message in header["message"]) == (code, True), header
        assert front.call(plus(1), name=name)[0]["code"] == Code.NOT_FOUND
    path = with_warm_up(tmp_path / "torn", record("predict", "checked", 4.0))
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    header = front.load(path, name="torn")
    assert header["code"] == Code.DATA_LOSS
    assert "TFRecord format" in header["message"]


def test_the_smallest_request_of_each_signature_is_run_first_and_the_rest_when_told(front, tmp_path):
    two = prediction_log_pb2.PredictionLog.FromString(record("predict", "checked", 4.0))
    two.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([4.0, -1.0])))
    path = with_warm_up(
        tmp_path, two.SerializeToString(), record("predict", "checked", 4.0), record("regress", "regress", 1.0)
    )
    loaded = front.load(path, name="cold", warm="first")
    assert (loaded["code"], loaded["warmed"], loaded["left"]) == (0, 2, 1)
    header, _ = front.ask("warm", name="cold", version=1)
    assert (header["code"], "a negative row" in header["message"]) == (Code.INVALID_ARGUMENT, True)
    front.ask("unload", name="cold", version=1)


def test_a_run_ends_when_nobody_waits_any_more(front, tmp_path):
    endless = prediction_log_pb2.PredictionLog()
    request = endless.predict_log.request
    request.model_spec.signature_name = "spin"
    request.inputs["rounds"].CopyFrom(tf.make_tensor_proto([2_000_000_000]))
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([0.0]))
    loaded = front.load(with_warm_up(tmp_path, endless.SerializeToString()), name="hasty", run_seconds=0.3)
    assert (loaded["code"], loaded["warmed"]) == (0, 1)
    assert front.call(spin(2_000_000_000, 0.0), name="hasty")[0]["code"] == Code.DEADLINE_EXCEEDED
    assert front.call(spin(SHORT, 5.0), name="hasty")[1] == {"outputs": [6.0]}
    front.ask("unload", name="hasty", version=1)


def test_a_version_that_still_warms_up_can_be_unloaded(front, tmp_path):
    slow = prediction_log_pb2.PredictionLog()
    request = slow.predict_log.request
    request.model_spec.signature_name = "spin"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([1.0, 2.0])))
    request.inputs["rounds"].CopyFrom(tf.make_tensor_proto(np.int32([LONG // 10] * 2)))
    quick = prediction_log_pb2.PredictionLog()
    quick.CopyFrom(slow)
    for name, value in (("x", np.float32([1.0])), ("rounds", np.int32([1]))):
        quick.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    path = with_warm_up(tmp_path, quick.SerializeToString(), *[slow.SerializeToString()] * 900)
    assert front.load(path, name="warm", warm="first")["left"] == 900
    warming = front.send("warm", name="warm", version=1)
    assert front.call(plus(1), name="warm")[0]["code"] == 0  # it answers meanwhile
    assert front.ask("unload", name="warm", version=1)[0]["code"] == 0
    header = front.answer(warming)[0]
    assert header["code"] == 0
    assert header["warmed"] < 900
    assert front.ask("warm", name="warm", version=1)[0]["warmed"] == 0
    assert front.load(path, name="warm", warm="first")["code"] == 0  # nothing of the old one is left
    front.ask("unload", name="warm", version=1)


def test_linux_ends_it_before_the_server(front):
    score = Path(f"/proc/{front.process.pid}/oom_score_adj")
    if not score.exists():
        pytest.skip("this system has no such scores")
    assert int(score.read_text()) >= max(500, int(Path("/proc/self/oom_score_adj").read_text()))


def test_loading_again_and_again_does_not_grow(front):
    def resident():
        pages = Path(f"/proc/{front.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def once():
        assert front.load(plain_models.shared_model(), name="cycle")["code"] == 0
        assert front.call(plus(1), name="cycle")[1] == {"predictions": [[2.0]]}
        assert front.ask("unload", name="cycle", version=1)[0]["code"] == 0

    for _ in range(4):
        once()
    before = resident()
    for _ in range(12):
        once()
    assert resident() - before < 48 * 1024 * 1024


def test_it_ends_with_its_front_and_when_told():
    running = Front()
    assert running.load(plain_models.shared_model())["code"] == 0
    slow = running.start(spin(LONG // 8, 1.0))
    running.send("stop")
    assert json.loads(running.answer(slow)[1]) == {"outputs": [LONG // 8 + 1.0]}
    assert running.process.wait(30) == 0
    running.close()
    abandoned = Front()
    with contextlib.closing(abandoned.connection):
        pass
    assert abandoned.process.wait(30) == 1
