"""The REST door over real sockets: paths, statuses, texts, bodies and connections, before a fleet without models."""

import gzip
import json
import socket
import threading
import time

import doors as fakes
import pytest
from doors import SLASHED, Doors, echo, read_answer, wait_for

from tlkit.serving.metrics import Metrics
from tlkit.serving.request_body import gunzip

PATH = "/v1/models/tiny%20photos%2F1"
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(scope="module")
def server():
    with Doors(metrics=Metrics()) as running:
        yield running


def call(server, method, path, body=None, headers=None, **kwargs):
    return server.request(method, path, body, headers, **kwargs)[:2]


def test_status_and_metadata(server):
    fine = {"error_code": "OK", "error_message": ""}
    expected = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": fine}]}
    assert call(server, "GET", PATH) == (200, expected)
    assert call(server, "GET", f"{PATH}/versions/1") == (200, expected)
    assert call(server, "GET", f"{PATH}/labels/whatever") == (200, expected)  # as TensorFlow Serving
    assert call(server, "GET", f"{PATH}/METADATA") == (200, expected)  # there, too
    newest_first = call(server, "GET", "/v1/models/two")[1]["model_version_status"]
    assert [one["version"] for one in newest_first] == ["124", "123"]
    ended = call(server, "GET", "/v1/models/broken")[1]["model_version_status"]
    assert ended == [
        {"version": "5", "state": "END", "status": {"error_code": "INVALID_ARGUMENT", "error_message": "no model"}}
    ]
    status, metadata = call(server, "GET", f"{PATH}/metadata")
    assert (status, metadata["model_spec"]) == (200, {"name": SLASHED, "signature_name": "", "version": "1"})
    assert call(server, "GET", "/v1/models/two/labels/stable/metadata")[1]["model_spec"]["version"] == "123"


@pytest.mark.parametrize(
    ("path", "name", "version", "method"),
    [
        (f"{PATH}:predict", SLASHED, 1, "predict"),
        (f"{PATH}/versions/1:classify", SLASHED, 1, "classify"),
        ("/v1/models/two:regress", "two", 124, "regress"),
        ("/v1/models/two/versions/0000123:predict", "two", 123, "predict"),
        ("/v1/models/two/labels/stable:predict", "two", 123, "predict"),
        ("/v1/models/two/labels/c%61nary:predict", "two", 124, "predict"),
        ("/V1/Models/d%65fault/Versions/123:predict", "default", 123, "predict"),
    ],
)
def test_a_call_reaches_the_model_that_its_path_names(server, path, name, version, method):
    body = b"\x00any bytes\xff"
    assert call(server, "POST", path, body) == (200, echo(name, version, "rest", method, body))
    assert server.fleet.calls[-1] == (name, version, "rest", method, body, 30.0)


BIG = "9" * 5000


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v1/models/foo:predict", "{}", 404, "Servable not found for request: Latest(foo)"),
        ("POST", f"{PATH}/versions/9:predict", "{}", 404, f"Servable not found for request: Specific({SLASHED}, 9)"),
        # TensorFlow Serving parses a body before it looks for the model.
        ("POST", "/v1/models/foo:predict", "{no", 400, "JSON Parse error in a predict"),
        ("POST", f"{PATH}/versions/9:classify", "", 400, "JSON Parse error in a classify"),
        ("POST", "/v1/models/coming:regress", "[", 400, "JSON Parse error in a regress"),
        # A query is a part of the path.
        ("POST", f"{PATH}:predict?y=1", "{}", 400, f"Malformed request: POST {PATH}:predict?y=1"),
        ("POST", "/v1/models/default?y=1:predict", "{}", 404, "Latest(default?y=1)"),
        ("GET", f"{PATH}/metadata?y=1", None, 400, f"Malformed request: GET {PATH}/metadata?y=1"),
        ("GET", "/v1/models/default?y=1", None, 404, "Could not find any versions of model default?y=1"),
        ("GET", f"{PATH}/versions/9", None, 404, f"Could not find version 9 of model {SLASHED}"),
        ("GET", "/v1/models/foo", None, 404, "Could not find any versions of model foo"),
        ("GET", "/v1/models/foo/metadata", None, 404, "Servable not found for request: Latest(foo)"),
        ("POST", f"{PATH}/labels/x:predict", "{}", 400, "Unrecognized servable version label: x"),
        ("POST", "/v1/models/foo/labels/x:predict", "{}", 400, "Unrecognized servable version label: x"),
        ("GET", "/v1/models/foo/versions/5", None, 404, "Could not find version 5 of model foo"),
        ("POST", f"{PATH}/versions/HELLO:predict", "{}", 400, f"Malformed request: POST {PATH}/versions/HELLO:predict"),
        ("POST", f"{PATH}/versions/-1:predict", "{}", 400, "Malformed request"),
        ("POST", f"{PATH}/versions/9223372036854775808:predict", "{}", 400, "Failed to convert version: 92233720368"),
        ("POST", f"{PATH}/versions/9223372036854775807:predict", "{}", 404, "9223372036854775807)"),
        ("GET", f"{PATH}/versions/{BIG}", None, 400, "Failed to convert version"),
        ("POST", f"{PATH}/versions/1/labels/x:predict", "{}", 400, "Malformed request"),
        ("GET", f"{PATH}/", None, 400, "Malformed request"),
        ("GET", "/v1/models", None, 400, "Missing model name"),
        ("GET", "/v1/models/", None, 400, "Malformed request"),
        ("GET", "/v1/models/a/b", None, 400, "Malformed request"),
        ("GET", "/v1/", None, 400, "Malformed request: GET /v1/"),
        ("GET", f"{PATH}:predict", None, 400, "Malformed request"),
        ("POST", PATH, "{}", 400, "Malformed request"),
        ("POST", f"{PATH}:explain", "{}", 400, "Malformed request"),
        ("POST", f"{PATH}:PREDICT", "{}", 400, f"Malformed request: POST {PATH}:PREDICT"),
        ("POST", f"{PATH}:Classify", "{}", 400, f"Malformed request: POST {PATH}:Classify"),
        ("PUT", f"{PATH}:predict", "{}", 400, "Malformed request: PUT"),
        ("DELETE", PATH, None, 400, "Malformed request: DELETE"),
        ("BREW", PATH, None, 400, "Malformed request: BREW"),
        ("OPTIONS", PATH, None, 400, "Origin header is missing in CORS preflight"),
        ("GET", "/elsewhere", None, 404, "Not found"),
        ("POST", "/", "{}", 404, "Not found"),
        ("GET", "/v1", None, 404, "Not found"),
        ("GET", "/v1%2Fmodels/default", None, 404, "Not found"),
        ("POST", "/v1/models/coming:predict", "{}", 503, "is being loaded"),
        ("POST", "/v1/models/broken:predict", "{}", 404, "Latest(broken)"),
        # Names are looked up, never opened.
        ("POST", "/v1/models/..%2F..%2Fetc%2Fpasswd:predict", "{}", 404, "Latest(../../etc/passwd)"),
        ("POST", "/v1/models/../../etc/passwd:predict", "{}", 400, "Malformed request"),
        ("GET", "/v1/models/%2e%2e/metadata", None, 404, "Latest(..)"),
        ("GET", "/v1/models/%00%0d%0aX:%20y", None, 400, "Malformed request"),
        ("GET", "/v1/models/%00%ff%zz", None, 404, "Could not find any versions of model \x00\ufffd%zz"),
        ("POST", "/v1/models/default:predict", "fail 3 wrong", 400, "wrong"),
        ("POST", "/v1/models/default:predict", "fail 4 late", 504, "late"),
        ("POST", "/v1/models/default:predict", "fail 8 full", 429, "full"),
        ("POST", "/v1/models/default:predict", "fail 9 not ready", 400, "not ready"),
        ("POST", "/v1/models/default:predict", "fail 10 undone", 409, "undone"),
        ("POST", "/v1/models/default:predict", "fail 12 cannot", 501, "cannot"),
        ("POST", "/v1/models/default:predict", "fail 13 oh", 500, "oh"),
        ("POST", "/v1/models/default:predict", "fail 14 gone", 503, "gone"),
        ("POST", "/v1/models/default:predict", "boom", 500, "RuntimeError: a mistake of ours"),
    ],
)  # fmt: skip
def test_errors(server, method, path, body, status, message):
    got, answer = call(server, method, path, body)
    assert got == status, answer
    assert list(answer) == ["error"]
    assert message in answer["error"]
    assert len(answer["error"]) <= 1024
    assert server.alive()


def test_messages_are_cut_and_may_hold_anything(server):
    text = 'é\x00"\n\u2028' * 1000
    status, answer = call(server, "POST", f"{PATH}:predict", f"fail 3 {text[:400]}".encode())
    assert (status, answer["error"]) == (400, text[:400])
    status, answer = call(server, "GET", f"/v1/models/{'x' * 3000}")
    assert (status, len(answer["error"])) == (404, 1024)


def test_other_methods(server):
    status, answer, headers = server.request("OPTIONS", PATH, headers={"Origin": "https://example.org"})
    assert (status, answer, headers["allow"]) == (200, None, "GET, POST, OPTIONS")
    assert not any(name.lower().startswith("access-control") for name in headers)
    status, answer, headers = server.request("HEAD", PATH)
    assert (status, answer, headers["allow"]) == (400, None, "GET, POST, OPTIONS")
    assert server.request("POST", "/v1/models/default:predict", "fail 14 x")[2]["retry-after"] == "1"
    assert server.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert b"application/json" in server.raw(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    full = server.raw(
        b"GET http://example.org/v1/models/two/versions/124 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert full.startswith(b"HTTP/1.1 200")
    assert b'"124"' in full


def test_no_pages_of_the_framework(server):
    for path in ("/docs", "/redoc", "/openapi.json", "/", "/ui/models.json"):
        assert call(server, "GET", path) == (404, {"error": "Not found"})


def test_gzip_bodies(server):
    body = b'{"instances": [2.0]}' * 500
    expected = (200, echo("default", 123, "rest", "predict", body))
    predict = "/v1/models/default:predict"
    assert call(server, "POST", predict, gzip.compress(body), GZIP) == expected
    assert call(server, "POST", predict, gzip.compress(body), {"Content-Encoding": "X-GZip"}) == expected
    assert call(server, "POST", predict, body, {"Content-Encoding": "identity"}) == expected
    two = gzip.compress(body[:77]) + gzip.compress(b"") + gzip.compress(body[77:])
    assert call(server, "POST", predict, two, GZIP) == expected
    assert call(server, "POST", predict, b"", GZIP) == (200, echo("default", 123, "rest", "predict", b""))
    bad = (b"no gzip", gzip.compress(body)[:-1], gzip.compress(body) + b"rest", gzip.compress(body)[:5])
    for one in bad:
        status, answer = call(server, "POST", predict, one, GZIP)
        assert (status, answer["error"][:35]) == (400, "Failed to uncompress the gzip body:")
    for encoding in ("br", "deflate", "gzip, gzip"):
        status, answer = call(server, "POST", predict, body, {"Content-Encoding": encoding})
        assert status == 415
        assert f"Content-Encoding {encoding} is not supported" in answer["error"]
    assert server.alive()


def test_gzip_bombs_are_not_unpacked(server):
    predict = "/v1/models/default:predict"
    bombs = (
        gzip.compress(b" " * 200_001),
        gzip.compress(b" " * 150_000) * 2,  # each member alone would pass
        gzip.compress(bytes(100_000_000)),
    )
    for bomb in bombs:
        status, answer = call(server, "POST", predict, bomb, GZIP)
        assert (status, answer) == (413, {"error": "the uncompressed request is larger than 200000 bytes"})
    fits = b" " * 200_000
    expected = (200, echo("default", 123, "rest", "predict", fits))
    assert call(server, "POST", predict, gzip.compress(fits), GZIP) == expected


def test_gunzip_stops_at_its_limit_and_at_too_many_members():
    assert gunzip(gzip.compress(b"abc"), 3) == b"abc"
    assert gunzip(gzip.compress(b"abcd"), 3) is None
    assert gunzip(gzip.compress(b"") * 10_000, 3) == b""
    with pytest.raises(Exception, match="more than 10000 members"):
        gunzip(gzip.compress(b"") * 10_001, 3)


def test_body_sizes(server):
    predict = "/v1/models/default:predict"
    fits = b" " * 200_000
    assert call(server, "POST", predict, fits) == (200, echo("default", 123, "rest", "predict", fits))
    assert call(server, "POST", predict, fits + b" ") == (413, {"error": "the request is larger than 200000 bytes"})
    with server.connect() as client:  # refused by its head, without a byte of the body
        client.sendall(f"POST {predict} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".encode())
        status, headers, _ = read_answer(client)
        assert (status, headers["connection"]) == (413, "close")
    with server.connect() as client:  # a body that goes on and on, in chunks
        client.sendall(f"POST {predict} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(30):
            client.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        status, headers, _ = read_answer(client)
        assert (status, headers["connection"]) == (413, "close")
    # A client that writes everything before it reads gets its answer, too.
    assert call(server, "POST", predict, b" " * 3_000_000)[0] == 413


def test_chunks(server):
    body = b'{"instances": [1.5]}'
    chunked = {"Transfer-Encoding": "chunked"}
    halves = iter([body[:5], body[5:6], body[6:]])
    expected = (200, echo("default", 123, "rest", "predict", body))
    assert call(server, "POST", "/v1/models/default:predict", halves, chunked, encode_chunked=True) == expected
    head = b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for bad in (b"zz\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc\r\n0\r\n\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"):
        answer = server.raw(head + bad)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "Invalid HTTP request received."}


def test_what_is_no_http_is_answered_in_json(server):
    post = b"POST / HTTP/1.1\r\nHost: x\r\n"
    bad = (
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5,
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        post + b"Content-Length: 1e3\r\n\r\n",
        post + b"Content-Length: -1\r\n\r\n",
        post + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    )
    for one in bad:
        answer = server.raw(one)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json"), (one, answer)
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "Invalid HTTP request received."}
    assert server.raw(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n").startswith(b"HTTP/1.1 501")
    assert server.raw(b"GET /v1/models/two HTTP/2.0\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 505")
    assert server.alive()


def test_a_kept_connection_answers_fast_in_one_packet(server):
    body = b'{"instances": [1.0]}' * 100
    head = f"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    took, pieces = [], []
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(20):
            began = time.perf_counter()
            client.sendall(head)
            client.sendall(body)
            answer = client.recv(65536)
            took.append(time.perf_counter() - began)
            pieces.append(answer.endswith(b"}"))
            assert answer.startswith(b"HTTP/1.1 200")
        (ours,) = [one for one in server.server.server_state.connections if one.client == client.getsockname()]
        assert ours.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert all(pieces), "the head and the body of an answer came apart"
    assert sorted(took)[10] < 0.035, took  # Nagle and delayed ACK would cost 40 ms each


def test_a_client_need_not_wait_for_continue(server):
    head = "POST {}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n"
    with server.connect() as client:
        client.sendall(head.format(PATH, 5).encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"hello")
        assert read_answer(client)[0] == 200
        client.sendall(head.format("/v1/models/foo", 5).encode())  # no need to send the body at all
        status, headers, _ = read_answer(client)
        assert (status, headers["connection"]) == (404, "close")


def test_connections_are_kept_also_after_errors_and_pipelined(server):
    post = b"POST /v1/models/%s:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with server.connect() as client:
        for name, status in ((b"default", 200), (b"foo", 404), (b"two/versions/9", 404), (b"default", 200)):
            client.sendall(post % name)
            assert read_answer(client)[0] == status
        client.sendall((post % b"default") * 3 + b"GET /v1/models/two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = fakes.read_all(client)
        assert answers.count(b"HTTP/1.1 200 OK") == 4
        assert answers.endswith(b"]}")


def test_old_clients(server):
    with server.connect() as client:
        client.sendall(b"GET /v1/models/two HTTP/1.0\r\n\r\n")
        answer = fakes.read_all(client)  # the server closes
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"content-length" in answer.lower()
    with server.connect() as client:
        client.sendall(b"POST /v1/models/default:predict HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        assert fakes.read_all(client).startswith(b"HTTP/1.1 200")


def test_parallel_requests_get_their_own_answers(server):
    got = [None] * 32
    server.fleet.max_in_flight = 64

    def ask(i):
        got[i] = call(server, "POST", "/v1/models/default:predict", b"%d" % i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [(200, echo("default", 123, "rest", "predict", b"%d" % i)) for i in range(32)]


def test_too_many_at_a_time_are_refused(server):
    server.fleet.max_in_flight = 1
    try:
        with server.connect() as client:
            client.sendall(b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsleep 20")
            assert wait_for(lambda: server.fleet.in_flight == 1)
            status, answer, headers = server.request("POST", "/v1/models/default:predict", b"{}")
            assert (status, answer, headers["retry-after"]) == (429, {"error": "concurrent requests"}, "1")
        assert wait_for(lambda: server.fleet.in_flight == 0)  # the client is gone, so is its call
        assert server.alive()
    finally:
        server.fleet.max_in_flight = 8


def test_a_client_that_goes_away_ends_its_call(server):
    before = server.fleet.cancelled
    with server.connect() as client:
        client.sendall(b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsleep 60")
        assert wait_for(lambda: server.fleet.in_flight == 1)
    assert wait_for(lambda: server.fleet.cancelled == before + 1)
    with server.connect() as client:  # in the middle of its body
        client.sendall(b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsle")
    assert server.alive()


def test_a_server_that_stops_refuses_what_is_new_and_keeps_no_connection():
    with fakes.Doors() as server:
        assert call(server, "GET", f"{PATH}/metadata")[0] == 200
        server.draining.begin()
        for method, path in (("POST", f"{PATH}:predict"), ("GET", f"{PATH}/metadata")):
            status, answer, headers = server.request(method, path, "{}" if method == "POST" else None)
            assert (status, answer) == (503, {"error": "the server is stopping"})
            assert (headers["retry-after"], headers["connection"]) == ("1", "close")
        status, _, headers = server.request("GET", PATH)
        assert (status, headers["connection"]) == (200, "close")
        assert server.draining.requests == 0


def test_a_request_has_a_deadline():
    with Doors(timeout=0.1) as server:
        status, answer = call(server, "POST", "/v1/models/default:predict", b"sleep 60")
        assert (status, answer) == (504, {"error": "the request timed out after 0.1 seconds"})
        assert server.fleet.cancelled == 1
        assert server.alive()


def test_all_bodies_together_are_limited():
    with Doors(max_body_bytes=1000) as server:
        clients = [server.connect() for _ in range(9)]
        for client in clients:  # 8 of them fit
            client.sendall(
                b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 950
            )
        refused = []

        def look():
            for client in clients:
                client.setblocking(False)
                try:
                    if client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 429":
                        refused.append(client)
                except BlockingIOError:
                    pass
            return bool(refused)

        assert wait_for(look)
        for client in clients:
            client.close()
        assert wait_for(server.alive)
        body = b"y" * 1000
        for _ in range(20):  # what was held is given back
            assert call(server, "POST", "/v1/models/default:predict", body)[0] == 200
            assert call(server, "POST", "/v1/models/default:predict", gzip.compress(body), GZIP)[0] == 200


def test_the_page_is_served_only_when_asked_for():
    with Doors(ui=True) as server:
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = fakes.read_all(client)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"text/html" in answer
        assert call(server, "GET", "/ui/models.json")[0] == 200
        assert call(server, "GET", "/elsewhere") == (404, {"error": "Not found"})
        assert server.alive()
