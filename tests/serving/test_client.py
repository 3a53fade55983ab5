"""The client against small servers of both protocols that answer with Python functions, and fail on demand."""

import email.utils
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from certificates import self_signed
from fake_serving import FakeGrpc, FakeRest, Model, RefusedError, Signature

from tlkit.errors import ConfigError, DataError, ServerError
from tlkit.export.manifest import SignatureInfo, TensorInfo
from tlkit.export.short_floats import short_float
from tlkit.serving import client as client_module
from tlkit.serving import transport
from tlkit.serving.client import ServingClient
from tlkit.serving.status import Code
from tlkit.serving.transport import ClassScore, ModelVersion, TransportError, with_retries

NAME = "half plus/two"
FREE = (None,)
ODD = [b"", b"plain", "żółw 🐢".encode(), b"\xff\xd8\0\0", b"a\0b", b'{"b64": "x"}', b"\xed\xa0\x80"]


def strings(*items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


def features(example):
    from tensorflow.core.example import example_pb2

    found = example_pb2.Example.FromString(example).features.feature
    return {name: list(getattr(one, one.WhichOneof("kind")).value) for name, one in found.items()}


def classified(arrays):
    rows = [features(one) for one in arrays["inputs"]]
    scores = np.array([[row["x"][0], np.float32(0.1), row.get("bias", [0.0])[0]] for row in rows], np.float32)
    return {"classes": np.array([[b"car", "żółw".encode(), b""]] * len(rows), object), "scores": scores}


def regressed(arrays):
    return {"outputs": np.array([[features(one)["x"][0]] for one in arrays["inputs"]], np.float32)}


def same(key):
    return lambda arrays: {key: next(iter(arrays.values()))}


def refuse_poison(arrays):
    if any(item == b"poison" for item in arrays["content"]):
        raise RefusedError("INVALID_ARGUMENT", "poison cannot be decoded")
    scores = np.array([[len(item) / 7, 0.25] for item in arrays["content"]], np.float32)
    labels = [["żółw".encode() + str(len(item)).encode(), b"b"] for item in arrays["content"]]
    return {"classes": np.array(labels, object), "scores": scores}


def make_model():
    examples = {"inputs": ("string", None)}
    return Model(
        NAME,
        {
            "serving_default": Signature(
                {"x": ("float32", FREE), "n": ("int64", FREE), "s": ("string", FREE)},
                {"y": ("float32", FREE), "t": ("string", FREE)},
                lambda a: {"y": a["x"] * a["n"].astype(np.float32), "t": strings(*(one[::-1] for one in a["s"]))},
            ),
            "floats": Signature({"x": ("float32", None)}, {"y": ("float32", None)}, same("y")),
            "doubles": Signature({"x": ("float64", (None, None))}, {"y": ("float64", (None, None))}, same("y")),
            "halves": Signature({"x": ("bfloat16", FREE)}, {"y": ("bfloat16", FREE)}, same("y")),
            "bytes": Signature({"x": ("string", FREE)}, {"y": ("string", FREE)}, same("y")),
            "grid": Signature({"x": ("string", (None, None))}, {"y": ("string", (None, None))}, same("y")),
            "flags": Signature({"x": ("bool", FREE)}, {"y": ("bool", FREE)}, same("y")),
            "small": Signature({"x": ("uint8", FREE)}, {"y": ("uint8", FREE)}, same("y")),
            "sum": Signature({"x": ("float32", FREE)}, {"y": ("float32", ())}, lambda a: {"y": a["x"].sum()}),
            "first": Signature({"x": ("float32", FREE)}, {"y": ("float32", FREE)}, lambda a: {"y": a["x"][:1]}),
            "classify": Signature(examples, {"classes": ("string", None), "scores": ("float32", None)}, classified,
                                  "tensorflow/serving/classify"),
            "regress": Signature(examples, {"outputs": ("float32", None)}, regressed, "tensorflow/serving/regress"),
        },
        version=7,
        states={6: "AVAILABLE", 7: "AVAILABLE"},
        labels={"stable": 6},
    )  # fmt: skip


@pytest.fixture(scope="module")
def servers():
    model = make_model()
    with FakeRest(model) as rest, FakeGrpc(model) as over_grpc:
        yield {"rest": rest, "grpc": over_grpc}


@pytest.fixture(params=["rest", "grpc"])
def server(request, servers):
    one = servers[request.param]
    one.faults.clear()
    one.requests.clear()
    one.model.calls.clear()
    return one


@pytest.fixture
def rest(servers):
    servers["rest"].faults.clear()
    servers["rest"].requests.clear()
    return servers["rest"]


@pytest.fixture
def client(server):
    with ServingClient(server.url, NAME, batch_size=4) as made:
        yield made


@pytest.fixture
def no_waiting(monkeypatch):
    """Pauses take no time, but the clock goes on; gives the pauses."""
    pauses = []
    real = time.monotonic
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds):
        pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(transport, "_now", lambda: real() + clock.now)
    monkeypatch.setattr(transport, "_sleep", sleep)
    monkeypatch.setattr(transport, "_chance", lambda low, high: high)
    return pauses


def status(code, headers=None, body=None):
    return lambda handler: handler.answer(code, body if body is not None else {"error": f"told {code}"}, headers)


def drop(handler):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut(handler):
    """The first half of an answer, and then nothing more."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"outputs"')
    handler.wfile.flush()
    drop(handler)


def cut_chunks(handler):
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"outputs"')
    handler.wfile.flush()
    drop(handler)


def abort(code, message="told", metadata=()):
    import grpc

    def fault(context):
        context.set_trailing_metadata(metadata)
        context.abort(grpc.StatusCode[code], message)

    return fault


# What the server says about itself


def test_metadata_tell_signatures_name_and_version(client):
    found = client.metadata()
    assert (found.name, found.version) == (NAME, 7)
    assert "__saved_model_init_op" not in found.signatures
    assert found.signatures["doubles"] == SignatureInfo(
        method="tensorflow/serving/predict",
        inputs={"x": TensorInfo(dtype="float64", shape=(None, None))},
        outputs={"y": TensorInfo(dtype="float64", shape=(None, None))},
    )
    assert found.signatures["floats"].inputs["x"].shape is None
    assert found.signatures["sum"].outputs["y"].shape == ()


def test_status_tells_the_versions(client):
    assert client.status() == [ModelVersion(6, "AVAILABLE", "OK", ""), ModelVersion(7, "AVAILABLE", "OK", "")]


@pytest.mark.parametrize(("which", "version"), [({"version": 6}, 6), ({"label": "stable"}, 6), ({}, 7)])
def test_a_version_or_a_label_is_asked_for(server, which, version):
    with ServingClient(server.url, NAME, **which) as client:
        assert client.metadata().version == version
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("name", "which", "code"),
    [
        ("other", {}, "NOT_FOUND"),
        (NAME, {"version": 5}, "NOT_FOUND"),
        (NAME, {"label": "nobody"}, "INVALID_ARGUMENT"),
        (None, {}, "NOT_FOUND"),
    ],
)
def test_what_is_not_served_is_an_error_with_the_servers_words(server, no_waiting, name, which, code):
    with ServingClient(server.url, name, **which) as client:
        with pytest.raises(
            ServerError, match=r"returned an error: .*(Servable not " r"found|Unrecognized servable)"
        ) as caught:
            client.predict([1.0], "floats")
        assert (caught.value.code, caught.value.exit_code) == (code, 1)
    assert no_waiting == []
    assert len(server.requests) == 1


# Tensors


def test_predict_takes_named_inputs_of_several_types(client):
    answer = client.predict({"x": [1, 2.5], "n": np.array([2, -4], np.int32), "s": ["żółw", b"\xff\0"]})
    assert {name: array.dtype for name, array in answer.items()} == {"y": np.float32, "t": object}
    assert answer["y"].tolist() == [2.0, -10.0]
    assert answer["t"].tolist() == ["żółw".encode()[::-1], b"\0\xff"]


def test_floats_come_back_bit_for_bit(client):
    draw = np.random.default_rng(0)
    array = draw.integers(0, 2**32, 3000, np.uint32).view(np.float32)
    array = np.where(np.isnan(array), np.float32(1), array)
    array[:6] = [np.inf, -np.inf, -0.0, np.float32(0.1), np.finfo(np.float32).max, np.finfo(np.float32).tiny]
    assert client.predict(array, "floats")["y"].tobytes() == array.tobytes()
    wide = np.array([[0.1, 1 / 3], [5e-324, -np.inf]])
    assert client.predict(wide, "doubles")["y"].tobytes() == wide.tobytes()
    assert np.isnan(client.predict([np.nan], "floats")["y"]).all()


@pytest.mark.parametrize("value", [2.5, [[1.0], [2.0]], [[[1.0, 2.0]]], [], [[], []]])
def test_shapes_come_back_as_sent(client, value):
    found = client.predict(value, "floats")["y"]
    assert found.dtype == np.float32
    assert found.shape == np.shape(value)
    assert found.tolist() == value


def test_whole_numbers_are_floats_too(rest):
    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        rest.faults.append(status(200, body={"outputs": [1, 2**70, 0.5]}))
        assert client.predict([1.0] * 3, "floats")["y"].tolist() == [1.0, 2.0**70, 0.5]


def test_strings_come_back_as_bytes(client):
    answer = client.predict([*ODD], "bytes")["y"]
    assert answer.dtype == object
    assert answer.tolist() == ODD
    assert client.predict([["a", b"b"], ["c", "ü"]], "grid")["y"].tolist() == [[b"a", b"b"], [b"c", "ü".encode()]]
    assert client.predict(np.array(["one", "two"]), "bytes")["y"].tolist() == [b"one", b"two"]


def test_other_types_go_through(client):
    assert client.predict([True, False], "flags")["y"].tolist() == [True, False]
    assert client.predict([0, 255], "small")["y"].tolist() == [0, 255]
    assert client.predict([1.0, 3.140625], "halves")["y"].tolist() == [1.0, 3.140625]


def test_an_output_without_a_batch_dimension_is_not_cut(client, server):
    assert client.predict(np.ones(10), "sum")["y"] == np.float32(10)
    assert server.model.calls == [("sum", 10)]


def test_many_rows_are_sent_in_several_requests_and_come_back_in_order(client, server):
    x = np.arange(10, dtype=np.float32)
    answer = client.predict({"x": x, "n": np.ones(10, np.int64), "s": [str(i) for i in range(10)]})
    assert answer["y"].tolist() == x.tolist()
    assert answer["t"].tolist() == [str(i).encode() for i in range(10)]
    assert server.model.calls == [("serving_default", 4), ("serving_default", 4), ("serving_default", 2)]


def test_lost_rows_are_an_error(client):
    with pytest.raises(ServerError, match="1 outputs for 4 rows"):
        client.predict(np.ones(9), "first")


def test_output_filter(client, server):
    inputs = {"x": [1.0], "n": [3], "s": ["a"]}
    assert list(client.predict(inputs, output_filter=["y"])) == ["y"]
    with pytest.raises(ConfigError, match="unknown output.*'z'.*allowed: t, y"):
        client.predict(inputs, output_filter=["z"])
    if isinstance(server, FakeGrpc):
        assert list(server.requests[-1][0].output_filter) == ["y"]


@pytest.mark.parametrize(
    ("inputs", "signature", "message"),
    [
        ([1.0], "serving_default", "has several inputs, which must be passed by name; allowed: n, s, x"),
        ({"xx": [1.0]}, "serving_default", "no input with this name; received: 'xx'; allowed: n, s, x"),
        ({"x": ["1"]}, "serving_default", "input 'x' has values of another type; received: 'str.*allowed: float32"),
        (
            {"n": [1.5]},
            "serving_default",
            "input 'n' has values of another type; received: 'float64'; allowed: int64",
        ),
        ({"n": [True]}, "serving_default", "another type; received: 'bool'"),
        ({"s": [1]}, "serving_default", "input 's' contains no string; received: 1"),
        ({"s": ["a", ["b"]]}, "serving_default", "input 's' is"),
        ({"s": ["\ud800"]}, "serving_default", "input 's' is not valid Unicode"),
        ({"x": [[1.0], [1.0, 2.0]]}, "serving_default", "input 'x' is not an array"),
        ([256], "small", "input 'x' has a value out of the range of uint8"),
        ([-1], "small", "out of the range of uint8"),
        ([1e39], "floats", "out of the range of float32"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_they_are_sent(client, server, inputs, signature, message):
    with pytest.raises(DataError, match=message):
        client.predict(inputs, signature)
    assert server.model.calls == []


def test_an_unknown_signature_is_refused_with_the_known_ones(client):
    with pytest.raises(ConfigError, match="unknown signature; received: 'float'.*did you mean 'floats'"):
        client.predict([1], "float")


def test_a_refusal_of_the_server_is_told_and_not_repeated(client, server, no_waiting):
    client.metadata()
    server.requests.clear()
    with pytest.raises(ServerError, match="returned an error: .*(rank 2|rank 1)") as caught:
        client.predict([[1.0]] if isinstance(server, FakeRest) else np.ones([1], np.float64), "doubles"
                       if isinstance(server, FakeGrpc) else "halves")  # fmt: skip
    assert caught.value.code == "INVALID_ARGUMENT"
    assert len(server.requests) == 1
    assert no_waiting == []


# tf.Examples


@pytest.mark.parametrize("name", [None, "classify"])
def test_classify(client, server, name):
    examples = [{"x": float(i), "tag": ["a", b"\xff"], "n": [1, np.int64(2)]} for i in range(5)]
    answers = client.classify(examples, name)
    assert answers[3] == [ClassScore("car", 3.0), ClassScore("żółw", 0.1), ClassScore("", 0.0)]
    assert [answer[0].score for answer in answers] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert server.model.calls == [("classify", 4), ("classify", 1)]
    assert client.classify([{"x": 1.0}], context={"bias": 0.5})[0][2] == ClassScore("", 0.5)
    assert client.classify([]) == []


def test_regress(client):
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    example.features.feature["x"].float_list.value.append(0.1)
    values = client.regress([example, example.SerializeToString(), {"x": np.float32(-2)}, {"x": float("inf")}])
    assert values.dtype == np.float32
    assert values.tolist() == [np.float32(0.1), np.float32(0.1), -2.0, np.inf]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (3, "example 1 is not a tf.Example; received: 'int'"),
        (b"\xff\xff", "example 1 is not a tf.Example"),
        ({"x": [1, "a"]}, "example 1, feature 'x' is not all strings or all numbers"),
        ({"x": [2**63]}, "out of the range of int64"),
        ({"x": None}, "not all strings or all numbers; received: .'NoneType'"),
    ],
)
def test_what_is_no_example_is_refused(client, example, message):
    with pytest.raises(DataError, match=message):
        client.regress([example])


def test_a_signature_for_examples_is_only_chosen_where_there_is_one(servers, monkeypatch):
    model = servers["rest"].model
    with ServingClient(servers["rest"].url, NAME) as client:
        more = {**model.signatures, "again": model.signatures["classify"]}
        monkeypatch.setattr(model, "signatures", more)
        with pytest.raises(
            ConfigError, match="several signatures support classify; allowed: again, classify; pass the name of one"
        ):
            client.classify([{"x": 1.0}])
        assert len(client.classify([{"x": 1.0}], "again")) == 1
        monkeypatch.setattr(model, "signatures", {"floats": model.signatures["floats"]})
        client.metadata()
        with pytest.raises(ConfigError, match="no signature of the model .* supports regress; received: .'floats'"):
            client.regress([{"x": 1.0}])


# Records


@pytest.fixture(params=["rest", "grpc"])
def contents(request, servers, monkeypatch):
    """A client of a model that takes one string and ranks two classes."""
    server = servers[request.param]
    server.faults.clear()
    server.model.calls.clear()
    schema = {"classes": ("string", (None, 2)), "scores": ("float32", (None, 2))}
    ranked = Signature({"content": ("string", FREE)}, schema, refuse_poison)
    monkeypatch.setattr(server.model, "signatures", {"serving_default": ranked})
    with ServingClient(server.url, NAME, batch_size=2) as client:
        yield client


def test_files_give_records_in_their_order(contents, tmp_path):
    paths = []
    for size in (3, 1, 2):
        paths.append(tmp_path / f"{size}.jpg")
        paths[-1].write_bytes(b"\xff" * size)
    records = contents.predict_files([paths[0], str(paths[1]), paths[2]])
    assert [record["input"] for record in records] == [str(path) for path in paths]
    assert records[0] == {"input": str(paths[0]), "classes": ["żółw3", "b"], "scores": [np.float32(3 / 7), 0.25]}
    assert contents.predict_files(iter(paths), top=1)[2]["classes"] == ["żółw2"]
    assert contents.predict_files([]) == []


def test_texts_of_similar_length_go_together_and_come_back_in_order(contents, servers):
    texts = ["aaaa", "b", "żż", "", "ccccc"]
    records = contents.predict_texts(texts)
    assert [record["input"] for record in records] == texts
    sizes = [len(text.encode()) for text in texts]
    assert [record["scores"][0] for record in records] == [short_float(size / 7) for size in sizes]
    assert [record["classes"][0] for record in records] == [f"żółw{size}" for size in sizes]
    assert servers["rest"].model.calls[-3:] == [("serving_default", 2), ("serving_default", 2), ("serving_default", 1)]


def test_the_file_that_the_model_refuses_is_named(contents, tmp_path):
    for name, content in (("a.jpg", b"fine"), ("b.jpg", b"poison")):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"b.jpg is not an image but text \(known formats: JPEG"):
        contents.predict_files([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    with pytest.raises(DataError, match="input 3 is rejected by the export"):
        contents.predict_texts(["a", "b", "poison"])


@pytest.mark.parametrize(
    ("method", "items", "message"),
    [
        ("predict_files", ["nowhere.jpg"], "nowhere.jpg does not exist"),
        ("predict_files", [3], "input 1 is not the path of a file; received: 3"),
        ("predict_files", ["/"], "/ cannot be read: Is a directory"),
        ("predict_files", "one.jpg", "a list of inputs is expected; received: 'str'; pass a list"),
        ("predict_texts", ["a", b"b"], "input 2 is not a text; received: b'b'"),
        ("predict_texts", ["\ud800"], "input 1 is not valid Unicode"),
        ("predict_rows", [3], "row 1 is not a mapping"),
    ],
)
def test_inputs_of_another_kind_are_refused(contents, method, items, message):
    with pytest.raises(DataError, match=message):
        getattr(contents, method)(items)


def test_a_model_of_columns_takes_rows_and_no_files(client, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="does not have a single image input.*one input of strings"):
        client.predict_files([tmp_path / "a.jpg"])
    records = client.predict_rows(
        [{"x": 1.5, "n": 2, "s": "ab", "other": 1}, {"s": True, "n": 1.0, "x": np.float32(4)}]
    )
    assert records == [
        {"input": {"x": 1.5, "n": 2, "s": "ab", "other": 1}, "predictions": {"t": "ba", "y": 3.0}},
        {"input": {"s": True, "n": 1.0, "x": 4.0}, "predictions": {"t": "eurt", "y": 4.0}},
    ]
    assert client.predict_rows([]) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"x": 1.5, "n": 2}, "row 1 has no 's'; the server does not publish its missing values"),
        ({"x": None, "n": 2, "s": "a"}, "row 1 has no 'x'"),
        ({"X": 1}, "row 1 has none of the columns; received: .'X'"),
        ({"x": 1.0, "n": 1, "s": 3}, "row 1, column 's' has a value of the wrong type; received: 3"),
        (
            {"x": 1.0, "n": 1.5, "s": "a"},
            "row 1, column 'n' has a value of the wrong type; received: 1.5; allowed: int64",
        ),
        ({"x": "1", "n": 1, "s": "a"}, "row 1, column 'x' has a value of the wrong type; received: '1'"),
        ({"x": 1.0, "n": 2**63, "s": "a"}, "out of the range of int64"),
    ],
)
def test_rows_that_do_not_fit_are_refused(client, row, message):
    with pytest.raises(DataError, match=message):
        client.predict_rows([row])


def test_answers_are_paired_by_their_names(rest, monkeypatch):
    outputs = {"price": ("float32", FREE), "sold_classes": ("string", (None, 2)), "sold_scores": ("float32", (None, 2)),
               "vector": ("float32", (None, 2))}  # fmt: skip
    answer = {
        "price": np.array([1.5], np.float32),
        "sold_classes": np.array([[b"no", b"yes"]], object),
        "sold_scores": np.array([[0.75, 0.25]], np.float32),
        "vector": np.array([[1, 2]], np.float32),
    }
    several = Signature({"x": ("float32", FREE)}, outputs, lambda arrays: answer)
    monkeypatch.setattr(rest.model, "signatures", {"serving_default": several})
    with ServingClient(rest.url, NAME) as client:
        assert client.predict_rows([{"x": 1.0}], top=1) == [
            {
                "input": {"x": 1.0},
                "predictions": {"price": 1.5, "vector": [1.0, 2.0]},
                "classes": {"sold": ["no"]},
                "scores": {"sold": [0.75]},
            }
        ]


# Servers that fail


@pytest.mark.parametrize("fault", [drop, cut, cut_chunks, status(503), status(429), status(502, body=b"<html>")])
def test_a_server_that_goes_away_is_asked_again(rest, no_waiting, fault):
    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        rest.requests.clear()
        rest.faults += [fault, fault]
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
    assert len(rest.requests) == 3
    assert no_waiting == [0.1, 0.2]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_grpc_server_that_is_away_is_asked_again(servers, no_waiting, code):
    server = servers["grpc"]
    with ServingClient(server.url, NAME) as client:
        client.metadata()
        server.requests.clear()
        server.faults += [abort(code), abort(code)]
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
    assert len(server.requests) == 3
    assert no_waiting == [0.1, 0.2]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (status(400), "INVALID_ARGUMENT", "returned an error: HTTP 400: told 400"),
        (status(404), "NOT_FOUND", "returned an error: HTTP 404: told 404"),
        (status(500), "INTERNAL", "returned an error: HTTP 500"),
        (status(501), "UNIMPLEMENTED", "returned an error: HTTP 501"),
        (status(504), "DEADLINE_EXCEEDED", "returned an error: HTTP 504"),
        (status(301, {"Location": "http://127.0.0.1:1/"}), "UNKNOWN", "returned an error: HTTP 301"),
        (status(418, body=b"\xff teapot \n <b>"), "UNKNOWN", "returned an error: HTTP 418: \ufffd teapot <b>"),
        (status(200, body=b"<html>"), "INTERNAL", "the response is not JSON"),
        (status(200, body=b"[" * 100_000), "INTERNAL", "the response is not JSON"),
        (status(200, body=b"[]"), "INTERNAL", "not a JSON object but"),
        (status(200, body={"predictions": [1.0]}), "INTERNAL", "no 'outputs' but .'predictions'"),
        (status(200, body={"outputs": "x"}), "INTERNAL", "an output of type float32 contains 'x'"),
        (status(200, body={"outputs": [1.0, None]}), "INTERNAL", "an output of type float32 contains"),
        (status(200, body={"outputs": [[1.0], [1.0, 2.0]]}), "INTERNAL", "an output of type float32 contains"),
        (status(200, body={"outputs": [2**64, None]}), "INTERNAL", "an output of type float32 contains"),
        (status(200, body={"outputs": [True]}), "INTERNAL", "an output of type float32 contains"),
    ],
)
def test_other_errors_are_told_at_once(rest, no_waiting, fault, code, words):
    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        rest.requests.clear()
        rest.faults.append(fault)
        with pytest.raises(ServerError, match=words) as caught:
            client.predict([1.5], "floats")
        assert caught.value.code == code
        assert len(rest.requests) == 1
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
    assert no_waiting == []


@pytest.mark.parametrize(
    "body",
    [{"outputs": {"y": [1.0]}}, {"outputs": {"y": [1.0], "t": [3]}}, {"outputs": {"y": [1.0], "t": {"b64": "?"}}},
     {"outputs": {"y": [1.0], "t": [["a"], "b"]}}],
)  # fmt: skip
def test_outputs_that_are_not_those_of_the_metadata_are_an_error(rest, body):
    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        rest.faults.append(status(200, body=body))
        with pytest.raises(ServerError, match="the response has outputs|an output of strings") as caught:
            client.predict({"x": [1.0], "n": [1], "s": ["a"]})
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize("body", [{}, {"model_spec": {}}, {"metadata": 3, "model_spec": {"name": "a", "version": "x"}}])
def test_metadata_of_another_form_are_an_error(rest, body):
    with ServingClient(rest.url, NAME) as client:
        rest.faults += [status(200, body=body), status(200, body=body)]
        with pytest.raises(ServerError, match="invalid metadata: "):
            client.metadata()
        with pytest.raises(ServerError, match="invalid status: "):
            client.status()


def test_results_of_another_form_are_an_error(rest):
    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        for results in ([[["a"]]], [[[1, 2]]], [3], [[["a", "b"]]]):
            rest.faults.append(status(200, body={"results": results}))
            with pytest.raises(ServerError, match="results are not lists of labels and scores"):
                client.classify([{"x": 1.0}])
        rest.faults.append(status(200, body={"results": [[1.0]]}))
        with pytest.raises(ServerError, match="results are not a list of numbers but"):
            client.regress([{"x": 1.0}])


@pytest.mark.parametrize(("code", "tries"), [("INTERNAL", 1), ("INVALID_ARGUMENT", 1), ("UNAVAILABLE", 3)])
def test_grpc_errors_keep_their_code(servers, no_waiting, code, tries):
    server = servers["grpc"]
    with ServingClient(server.url, NAME, retries=2) as client:
        client.metadata()
        server.requests.clear()
        server.faults += [abort(code, "so it is")] * tries
        with pytest.raises(ServerError, match=f"{code}: so it is") as caught:
            client.predict([1.5], "floats")
        assert caught.value.code == code
    assert len(server.requests) == tries


def test_a_message_that_is_too_large_is_not_sent_again(servers, no_waiting):
    server = servers["grpc"]
    with ServingClient(server.url, NAME) as client:
        client.metadata()
        server.faults.append(abort("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 5)"))
        with pytest.raises(ServerError, match="larger than max"):
            client.predict([1.5], "floats")
    assert no_waiting == []


def test_tries_end(rest, no_waiting):
    with ServingClient(rest.url, NAME, retries=2) as client:
        client.metadata()
        rest.requests.clear()
        rest.faults += [status(503)] * 3
        with pytest.raises(ServerError, match="returned an error: HTTP 503: told 503") as caught:
            client.predict([1.5], "floats")
    assert caught.value.code == "UNAVAILABLE"
    assert len(rest.requests) == 3
    assert no_waiting == [0.1, 0.2]


def test_retry_after_is_honoured(rest, no_waiting):
    date = email.utils.formatdate(usegmt=True)
    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        rest.faults += [status(429, {"Retry-After": "3"}), status(503, {"Retry-After": date}),
                        status(503, {"Retry-After": "soon"})]  # fmt: skip
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
    assert no_waiting[0] == 3.0
    assert no_waiting[1:] == [0.2, 0.4]


def test_a_date_of_retry_after_is_a_pause():
    from tlkit.serving.rest_transport import _seconds

    ahead = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < _seconds(ahead) <= 100
    assert _seconds(email.utils.formatdate(0)) == 0.0
    assert _seconds("") is None
    assert _seconds("-3") is None


def test_grpc_pushback_is_honoured(servers, no_waiting):
    server = servers["grpc"]
    with ServingClient(server.url, NAME) as client:
        client.metadata()
        server.requests.clear()
        server.faults.append(abort("UNAVAILABLE", metadata=(("grpc-retry-pushback-ms", "2500"),)))
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
        server.faults.append(abort("UNAVAILABLE", metadata=(("grpc-retry-pushback-ms", "-1"),)))
        with pytest.raises(ServerError, match="UNAVAILABLE: told"):
            client.predict([1.5], "floats")
    assert no_waiting == [2.5]
    assert len(server.requests) == 3


def test_a_pause_beyond_the_deadline_is_not_begun(rest, no_waiting):
    with ServingClient(rest.url, NAME, timeout=5.0) as client:
        client.metadata()
        rest.requests.clear()
        rest.faults.append(status(503, {"Retry-After": "6"}))
        with pytest.raises(ServerError, match="told 503"):
            client.predict([1.5], "floats")
    assert no_waiting == []
    assert len(rest.requests) == 1


def test_pauses_double_with_chance_and_fit_into_the_deadline(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    chances, pauses, left = [], [], []
    monkeypatch.setattr(transport, "_now", lambda: clock.now)
    monkeypatch.setattr(transport, "_chance", lambda low, high: chances.append((low, high)) or low)

    def sleep(seconds):
        pauses.append(seconds)
        clock.now += seconds

    def call(seconds):
        left.append(seconds)
        clock.now += 0.5
        raise TransportError(Code.UNAVAILABLE, "away")

    monkeypatch.setattr(transport, "_sleep", sleep)
    with pytest.raises(TransportError, match="away"):
        with_retries(call, timeout=4.0, retries=100)
    assert chances[:4] == [(0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.8)]
    assert left[:3] == pytest.approx([4.0, 3.45, 2.85])
    assert clock.now <= 104.0
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4])


def test_a_server_that_is_silent_costs_no_more_than_the_deadline(rest):
    release = threading.Event()
    with ServingClient(rest.url, NAME, timeout=0.2) as client:
        client.timeout = 10.0
        client.metadata()
        client.timeout = 0.2
        rest.requests.clear()
        rest.faults.append(lambda handler: release.wait(20))
        try:
            with pytest.raises(ServerError, match="timed out after") as caught:
                client.predict([1.5], "floats")
        finally:
            release.set()
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert len(rest.requests) == 1


def test_a_server_that_drips_costs_no_more_than_the_deadline(rest):
    ended = threading.Event()

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not ended.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        except OSError:
            handler.close_connection = True

    with ServingClient(rest.url, NAME) as client:
        client.metadata()
        client.timeout = 0.3
        rest.faults.append(drip)
        try:
            with pytest.raises(ServerError, match="timed out after") as caught:
                client.predict([1.5], "floats")
        finally:
            ended.set()
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_a_silent_grpc_server_costs_no_more_than_the_deadline(servers):
    server, release = servers["grpc"], threading.Event()
    with ServingClient(server.url, NAME) as client:
        client.metadata()
        client.timeout = 0.2
        server.faults.append(lambda context: release.wait(20))
        try:
            with pytest.raises(ServerError, match="does not respond: DEADLINE_EXCEEDED") as caught:
                client.predict([1.5], "floats")
        finally:
            release.set()
    assert caught.value.code == "DEADLINE_EXCEEDED"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_no_server_is_told_as_such(scheme, no_waiting):
    with (
        ServingClient(f"{scheme}://127.0.0.1:{free_port()}", NAME, retries=1) as client,
        pytest.raises(ServerError, match=f"{scheme}://127.0.0.1:.* does not respond: .*check that a server") as error,
    ):
        client.status()
    assert error.value.code == "UNAVAILABLE"
    assert "refused" in str(error.value).lower()
    assert str(error.value).count("127.0.0.1") == 1, "the address is told once"
    assert len(no_waiting) == 1


def test_a_server_without_tls_is_told_as_such(rest, tmp_path, no_waiting):
    with ServingClient(rest.url.replace("http:", "https:"), NAME) as client, pytest.raises(ServerError, match="TLS: "):
        client.status()
    assert no_waiting == []


def test_new_signatures_are_learned_after_a_refusal(rest, monkeypatch):
    with ServingClient(rest.url, NAME) as client:
        client.predict([1.5], "floats")
        newer = {"floats": Signature({"z": ("float32", FREE)}, {"w": ("float32", FREE)}, same("w"))}
        monkeypatch.setattr(rest.model, "signatures", newer)
        with pytest.raises(ServerError, match="Missing named input: z"):
            client.predict({"x": [1.5]}, "floats")
        assert client.predict([1.5], "floats")["w"].tolist() == [1.5]


# Waiting


def test_waiting_until_a_server_is_there(monkeypatch):
    port, model, started = free_port(), make_model(), []

    def start_at_the_third_look(seconds):
        started.append(seconds)
        if len(started) == 3:
            started.append(FakeRest(model, ("127.0.0.1", port)).__enter__())

    monkeypatch.setattr(client_module, "_sleep", start_at_the_third_look)
    with ServingClient(f"http://127.0.0.1:{port}", NAME) as client:
        try:
            assert client.wait_until_ready(30).version == 7
        finally:
            started[-1].__exit__()
    assert len(started) == 4


def test_waiting_ends_with_the_reason(server, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(client_module, "_now", lambda: clock.now)
    monkeypatch.setattr(client_module, "_sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    message = "not ready within 1 s: .*Servable not found"
    with ServingClient(server.url, "other") as client, pytest.raises(ServerError, match=message) as caught:
        client.wait_until_ready(1)
    assert caught.value.code == "NOT_FOUND"
    assert 9 <= len(server.requests) <= 11


def test_waiting_does_not_help_against_a_wrong_address(rest):
    rest.faults.append(status(403, body={"error": "not you"}))
    with ServingClient(rest.url, NAME) as client, pytest.raises(ServerError, match="HTTP 403: not you"):
        client.wait_until_ready(30)


# Connections


def test_a_connection_is_used_again(rest):
    before = rest.connections
    with ServingClient(rest.url, NAME) as client:
        for _ in range(5):
            client.predict([1.5], "floats")
        rest.faults.append(status(404))
        with pytest.raises(ServerError):
            client.predict([1.5], "floats")
        client.predict([1.5], "floats")
    assert rest.connections == before + 1


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(rest, no_waiting):
    def answer_and_close(handler):
        handler.answer(200, {"outputs": [1.5]})
        handler.wfile.flush()
        drop(handler)

    with ServingClient(rest.url, NAME, retries=1) as client:
        client.metadata()
        rest.faults.append(answer_and_close)
        for _ in range(3):
            assert client.predict([1.5], "floats")["y"].tolist() == [1.5]


def test_threads_get_their_own_answers(client):
    client.metadata()
    wrong, barrier = [], threading.Barrier(8)

    def ask(number):
        barrier.wait()
        for turn in range(10):
            value = float(number * 100 + turn)
            if client.predict([value], "floats")["y"].tolist() != [value]:
                wrong.append(value)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_headers_are_sent(server):
    with ServingClient(server.url, NAME, headers={"Authorization": "Bearer x"}) as client:
        client.status()
    sent = server.headers[-1] if isinstance(server, FakeRest) else server.requests[-1][1]
    assert {key.lower(): value for key, value in sent.items()}["authorization"] == "Bearer x"


def test_a_path_before_the_interface_and_odd_names_are_kept(rest):
    rest.faults.append(status(200, body={"model_version_status": []}))
    with ServingClient(f"{rest.url}/behind/a proxy".replace(" ", "%20") + "/", "a/b:c ü", label="x/y") as client:
        assert client.status() == []
        assert rest.requests[-1][1] == "/behind/a%20proxy/v1/models/a%2Fb%3Ac%20%C3%BC/labels/x%2Fy"


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("127.0.0.1:8501", {}, "must start with its protocol.*http://127.0.0.1:8501 or, for gRPC's port, grpc://127"),
        ("ftp://127.0.0.1", {}, "unknown scheme .*received: 'ftp'; allowed: http, https, grpc, grpcs"),
        ("http://", {}, "a server's address must be SCHEME://HOST:PORT"),
        ("http://host:99999", {}, "a server's address must be SCHEME://HOST:PORT"),
        ("http://host/?a=b", {}, "a server's address must be SCHEME://HOST:PORT"),
        ("http://host:1/v1/models/photos", {}, "must not include /v1.*name separately"),
        ("grpc://host", {}, "a gRPC address needs a port.*8500"),
        ("grpc://host:1/path", {}, "a gRPC address must not have a path"),
        ("http://host:1", {"version": 1, "label": "a"}, "version and label cannot be combined"),
        ("http://host:1", {"version": -1}, "version must be a whole number"),
        ("http://host:1", {"retries": -1}, "retries must be a whole number of at least 0"),
        ("http://host:1", {"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ("http://host:1", {"timeout": 0}, "timeout must be a positive number of seconds"),
        ("http://host:1", {"timeout": float("nan")}, "timeout must be a positive number of seconds"),
        ("http://host:1", {"ca_file": "ca.pem"}, "certificates need https:// or grpcs://"),
        ("https://host:1", {"ca_file": "nowhere.pem"}, "ca_file is not a file; received: 'nowhere.pem'"),
    ],
)
def test_unusable_arguments_are_refused(url, options, message):
    with pytest.raises(ConfigError, match=message):
        ServingClient(url, NAME, **options)


def test_tls(tmp_path, servers):
    self_signed(tmp_path / "cert.pem", tmp_path / "key.pem")
    with FakeRest(make_model()) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_address[1]}"
        with ServingClient(url, NAME, ca_file=tmp_path / "cert.pem") as client:
            assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
        with ServingClient(url, NAME) as client, pytest.raises(ServerError, match="TLS: .*certificate"):
            client.status()


# Without TensorFlow


def test_importing_and_using_it_loads_neither_tensorflow_nor_keras_nor_pandas(servers):
    code = f"""
import sys
import tlkit.serving.client, tlkit.serving.rest_transport, tlkit.serving.grpc_transport
from tlkit.serving.client import ServingClient
for url in {[server.url for server in servers.values()]!r}:
    with ServingClient(url, {NAME!r}) as client:
        assert client.predict([1.5], "floats")["y"].tolist() == [1.5]
        assert client.predict_rows([{{"x": 1.0, "n": 2, "s": "ab"}}])[0]["predictions"] == {{"t": "ba", "y": 2.0}}
        assert client.regress([{{"x": 2.0}}]).tolist() == [2.0]
heavy = {{"tensorflow", "keras", "pandas", "tensorflow_serving"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_rest_needs_no_grpc():
    code = (
        "import sys; sys.modules['grpc'] = None; from tlkit.serving.client import ServingClient;"
        "ServingClient('http://127.0.0.1:1', 'a'); ServingClient('grpc://127.0.0.1:1', 'a')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigError: grpc:// needs grpcio" in done.stderr


def test_the_json_on_the_wire_is_plain(rest):
    with ServingClient(rest.url, NAME) as client:
        client.predict({"x": [float("nan"), 1, 2], "n": [1, 2, 3], "s": ["żółw", b"\xff", b"\0"]})
    method, path, body = rest.requests[-1]
    assert (method, path) == ("POST", "/v1/models/half%20plus%2Ftwo:predict")
    assert body.decode() == (
        '{"signature_name":"serving_default","inputs":{"x":[NaN,1.0,2.0],"n":[1,2,3],'
        '"s":["żółw",{"b64":"/w=="},{"b64":"AA=="}]}}'
    )
    assert json.loads(body)
