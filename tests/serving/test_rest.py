"""The local server over real sockets, on a model with every signature of an export."""

import base64
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from tlkit.export.manifest import Manifest
from tlkit.serving.rest import RestServer
from tlkit.serving.servable import Servable

NAME = "tiny photos/1"
PATH = "/v1/models/tiny%20photos%2F1"


@pytest.fixture(scope="module")
def server():
    servable = Servable(tiny.shared_export(), name=NAME)
    servable.warm_up()
    with RestServer(servable, port=0, max_body_bytes=200_000) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def call(server, method, path, body=None, headers=None, **kwargs):
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path, body, headers or {}, **kwargs)
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def predict(server, content, path=PATH):
    return call(server, "POST", f"{path}:predict", json.dumps(content).encode())


def b64(image):
    return {"b64": base64.b64encode(image).decode()}


def test_rows_and_columns_of_images(server):
    golden = Manifest.read(tiny.shared_export()).golden
    images = [b64(example.content_bytes()) for example in golden]
    status, answer = predict(server, {"instances": images})
    assert status == 200
    for row, example in zip(answer["predictions"], golden, strict=True):
        assert sorted(row["classes"]) == sorted(tiny.LABELS)
        expected = [example.probabilities[tiny.LABELS.index(label)] for label in row["classes"]]
        np.testing.assert_allclose(row["scores"], expected, atol=1e-5)
    named = predict(server, {"instances": [{"image_bytes": image} for image in images]})
    assert named == (200, answer)
    status, columns = predict(server, {"inputs": {"image_bytes": images}})
    assert columns["outputs"]["scores"] == [row["scores"] for row in answer["predictions"]]


def test_other_signatures(server):
    image = b64(tiny.photos(1)[0])
    status, answer = predict(server, {"signature_name": "probabilities", "instances": [image]})
    assert status == 200
    assert len(answer["predictions"][0]) == len(tiny.LABELS)
    pixels = np.full((1, 32, 32, 3), 100.0).tolist()
    status, answer = predict(server, {"signature_name": "pixels", "inputs": pixels})
    assert status == 200
    assert answer["outputs"]["scores"][0][0] >= answer["outputs"]["scores"][0][1]


def test_status_and_metadata(server):
    fine = {"error_code": "OK", "error_message": ""}
    expected = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": fine}]}
    assert call(server, "GET", PATH) == (200, expected)
    assert call(server, "GET", f"{PATH}/versions/1") == (200, expected)
    status, metadata = call(server, "GET", f"{PATH}/metadata")
    assert status == 200
    assert metadata["model_spec"] == {"name": NAME, "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "probabilities", "embedding", "pixels", "classify"}
    info = signatures["serving_default"]["inputs"]["image_bytes"]
    assert info["dtype"] == "DT_STRING"
    assert info["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v1/models/foo:predict", "{}", 404, "Servable not found for request: Latest(foo)"),
        (
            "POST",
            f"{PATH}/versions/9:predict",
            "{}",
            404,
            f"Servable not found for request: Specific({NAME}, 9)",
        ),
        ("GET", f"{PATH}/versions/9", None, 404, f"Could not find version 9 of model {NAME}"),
        ("POST", f"{PATH}/labels/x:predict", "{}", 400, "label"),
        ("POST", f"{PATH}/versions/HELLO:predict", "{}", 400, "Malformed request"),
        ("GET", f"{PATH}/", None, 400, "Malformed request"),
        ("GET", "/v1/models", None, 400, "Missing model name"),
        ("GET", f"{PATH}:predict", None, 400, "Malformed request"),
        ("POST", PATH, "{}", 400, "Malformed request"),
        ("GET", "/elsewhere", None, 404, "Not found"),
        ("POST", f"{PATH}:predict", "", 400, "The document is empty"),
        ("POST", f"{PATH}:predict", '{"instances": []}', 400, "No values"),
        ("POST", f"{PATH}:predict", '{"instances": ["junk"]}', 400, "not an image"),
        ("POST", f"{PATH}:predict", '{"inputs": "junk"}', 400, ""),
        ("POST", f"{PATH}:predict", '{"inputs": []}', 400, ""),
        ("POST", f"{PATH}:predict", '{"instances": [1]}', 400, "is not of expected type: string"),
        ("POST", f"{PATH}:predict", '{"signature_name": "nope", "instances": [1]}', 400, '"nope" not found'),
        ("POST", f"{PATH}:predict", '{"signature_name": "pixels", "instances": [[1, 2]]}', 400, ""),
        ("POST", f"{PATH}:classify", "{}", 501, ":predict only"),
    ],
)
def test_errors(server, method, path, body, status, message):
    got, answer = call(server, method, path, body)
    assert got == status, answer
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert call(server, "GET", PATH)[0] == 200


def test_case_gzip_chunks_and_the_size_cap(server):
    body = json.dumps({"instances": [b64(tiny.photos(1)[0])]}).encode()
    expected = call(server, "POST", f"{PATH}:predict", body)
    assert expected[0] == 200
    assert call(server, "POST", PATH.replace("/v1/models", "/V1/Models") + ":predict", body) == expected
    zipped = {"Content-Encoding": "gzip"}
    assert call(server, "POST", f"{PATH}:predict", gzip.compress(body), zipped) == expected
    assert call(server, "POST", f"{PATH}:predict", b"no gzip", zipped)[0] == 400
    halves = iter([body[:50], body[50:]])
    chunked = {"Transfer-Encoding": "chunked"}
    assert call(server, "POST", f"{PATH}:predict", halves, chunked, encode_chunked=True) == expected
    big = b" " * 200_001
    assert call(server, "POST", f"{PATH}:predict", gzip.compress(big), zipped)[0] == 413
    assert call(server, "POST", f"{PATH}:predict", b" " * 199_999)[0] == 400
    host, port = server.server_address[:2]
    with socket.create_connection((host, port), timeout=10) as client:
        client.sendall(f"POST {PATH}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_kept_connection_answers_fast_and_curl_need_not_wait_for_continue(server):
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(host, port, timeout=10)
    body = json.dumps({"instances": [b64(tiny.photos(1)[0])]}).encode()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        connection.request("POST", f"{PATH}:predict", body)
        assert connection.getresponse().read()
        took.append(time.perf_counter() - began)
    connection.close()
    assert sorted(took)[10] < 0.035, took  # Nagle and delayed ACK would cost 40 ms each
    with socket.create_connection((host, port), timeout=10) as client:
        head = f"POST {PATH}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_parallel_requests_get_their_own_answers(server):
    pictures = tiny.photos(6, seed=3)
    alone = [predict(server, {"instances": [b64(picture)]})[1] for picture in pictures]
    got = [None] * 24

    def ask(i):
        got[i] = predict(server, {"instances": [b64(pictures[i % 6])]})[1]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [alone[i % 6] for i in range(24)]


def test_the_command_serves_without_keras_until_ctrl_c():
    code = (
        # A shell that starts tests in the background lets them ignore Ctrl-C, and their children too.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; sys.modules['keras'] = None\n"
        "import typer; from tlkit.cli.serve import serve\n"
        "app = typer.Typer(); app.command()(serve); app()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny.shared_export().parent), "--rest-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    try:
        line = process.stdout.readline()
        assert "/v1/models/tiny" in line
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        assert f"curl -d @- {address}:predict" in process.stdout.readline()
        port = int(address.split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/models/tiny:predict", json.dumps({"instances": [b64(tiny.photos(1)[0])]}))
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert process.stdout.read().strip() == "stopped"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
