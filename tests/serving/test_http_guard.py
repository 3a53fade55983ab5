"""Clients that are slow, many or too much: what HTTP's own layer refuses, before anything of a request is believed."""

import json
import socket
import time

import pytest
from doors import Doors, Status, read_all, read_answer, wait_for
from uvicorn.protocols.http.h11_impl import H11Protocol

from tlkit.serving.access_log import AccessLog
from tlkit.serving.http_guard import HttpLimits

HEAD = b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server():
    with Doors(limits=HttpLimits(head_bytes=4096, headers=20)) as running:
        yield running


def error_of(answer):
    assert b"\r\ncontent-type: application/json\r\n" in answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET /" + b"a" * 9000, "headers are larger than 4096 bytes"),
        (
            b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 3000 + b"\r\n\r\n",
            "headers are larger than 4096 bytes",
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4200 + b"\r\n\r\n", "headers are larger than 4096 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", "headers are larger than 4096 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 100_000, "headers are larger than 4096 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20 + b"\r\n", "more than 20 headers"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 19 + b"Connection: close\r\n\r\n", "more than 20 headers"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 18 + b"Connection: close\r\n\r\n", "Not found"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 9000, "Invalid HTTP request received."),
    ],
)
def test_heads_are_limited(server, data, message):
    answer = server.raw(data)
    statuses = {"Not found": 404, "Invalid HTTP request received.": 400}
    assert answer.startswith(b"HTTP/1.1 %d" % statuses.get(message, 431)), answer
    assert message in error_of(answer)
    assert server.alive()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_lengths_of_a_body_are_refused_and_nothing_after_it_is_a_request(server, order):
    """A proxy may believe the other one: what it takes for a body would be a request of somebody else."""
    both = (b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n")
    before = len(server.fleet.calls)
    answer = server.raw(
        HEAD + both[order[0]] + both[order[1]] + b"\r\n0\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()
    assert error_of(answer) == "a request must not have both Content-Length and Transfer-Encoding"
    assert len(server.fleet.calls) == before
    assert server.alive()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 2\r\nContent-Length: 3\r\n", 400),
        (b"Content-Length: +2\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length : 2\r\n", 400),
        (b"Content-Length: " + b"9" * 4000 + b"\r\n", 400),
        (b"Transfer-Encoding: xchunked\r\n", 501),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501),
        (b"Transfer-Encoding:\x0bchunked\r\n", 400),
    ],
)
def test_a_body_whose_length_can_be_read_in_two_ways_is_refused(server, head, status):
    answer = server.raw(HEAD + head + b"\r\n{}" + HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1") == 1
    assert server.alive()


@pytest.mark.parametrize(
    "chunk",
    [b"zz\r\n{}\r\n", b"-1\r\n{}\r\n", b"0x2\r\n{}\r\n", b"2\r\n{}XX", b"2;" + b"a" * 9000, b"1" * 21 + b"\r\n"],
)
def test_bad_chunks_end_the_connection(server, chunk):
    answer = server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n" + HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1") == 1
    assert server.alive()


def test_a_head_that_trickles_is_given_up():
    with Doors(limits=HttpLimits(head_seconds=0.3)) as server, server.connect() as client:
        status, sent = None, 0
        for byte in HEAD * 10:  # each byte comes in good time, the whole does not
            try:
                client.sendall(bytes([byte]))
            except ConnectionError:
                break
            sent += 1
            time.sleep(0.02)
            client.setblocking(False)
            try:
                if client.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                pass
            finally:
                client.setblocking(True)
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 408"), (answer, status)
        assert error_of(answer) == "the request's head took too long"
        assert sent < len(HEAD * 10)
        assert server.alive()


def test_a_connection_without_a_request_is_closed_without_a_word():
    with Doors(limits=HttpLimits(head_seconds=0.2)) as server, server.connect() as client:
        assert client.recv(100) == b""
        assert server.alive()


def test_a_body_that_trickles_is_given_up(tmp_path):
    log = AccessLog(tmp_path / "log")
    limits = HttpLimits(body_seconds=0.3, body_bytes_per_second=100_000_000)
    with Doors(limits=limits, access_log=log) as server:
        with server.connect() as client:
            client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
            for _ in range(40):
                try:
                    client.sendall(b"x")
                except ConnectionError:
                    break
                time.sleep(0.02)
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 408")
        assert error_of(answer) == "the request's body took too long"
        assert not server.fleet.calls
        with server.connect() as client:  # nothing at all of the body
            client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 408")
        assert server.alive()
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[2:5] for line in lines] == [
        ["POST", "/v1/models/default:predict", "408"],
        ["POST", "/v1/models/default:predict", "408"],
        ["POST", "/v1/models/default:predict", "200"],
    ]


def test_a_body_that_keeps_its_pace_may_take_longer():
    limits = HttpLimits(body_seconds=0.2, body_bytes_per_second=1000)
    with Doors(limits=limits) as server, server.connect() as client:
        client.sendall(HEAD + b"Content-Length: 3000\r\n\r\n")
        for _ in range(10):  # 0.5 s in all, at 6,000 bytes a second
            client.sendall(b"x" * 300)
            time.sleep(0.05)
        assert read_answer(client)[0] == 200


def test_the_second_of_two_pipelined_bodies_is_watched_too():
    with Doors(limits=HttpLimits(body_seconds=0.3)) as server, server.connect() as client:
        client.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}" + HEAD + b"Content-Length: 2\r\n\r\n{")
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 408" in answer


def test_the_parser_gets_no_piece_that_is_longer_than_a_head(monkeypatch):
    """A whole head is not checked before it is parsed, and 250 kB of short headers take 0.2 s."""
    sizes = []
    received = H11Protocol.data_received
    monkeypatch.setattr(
        H11Protocol, "data_received", lambda one, data: (sizes.append(len(data)), received(one, data))[1]
    )
    with Doors(limits=HttpLimits(head_bytes=4096)) as server:
        assert server.request("POST", "/v1/models/default:predict", b" " * 150_000)[0] == 200
    assert sum(sizes) > 150_000
    assert max(sizes) <= 4096


LONG = b"GET /v1/models/long HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("requests", [1, 3])
def test_a_client_that_does_not_read_loses_its_connection(requests):
    with Doors(limits=HttpLimits(idle_seconds=1, write_seconds=0.3, linger_seconds=0.1)) as server:
        server.fleet.states["long"] = [Status(version, "AVAILABLE") for version in range(100_000)]  # some 13 MB
        with server.connect() as client:
            client.sendall(LONG * requests)
            assert wait_for(lambda: server.server.server_state.connections)
            assert wait_for(lambda: not server.server.server_state.connections)
        assert server.alive()


def test_a_client_that_reads_late_gets_the_whole_response():
    with Doors(limits=HttpLimits(idle_seconds=1, write_seconds=30, linger_seconds=0.1)) as server:
        server.fleet.states["long"] = [Status(version, "AVAILABLE") for version in range(100_000)]
        with server.connect() as client:
            client.sendall(LONG)
            client.recv(1, socket.MSG_PEEK)
            time.sleep(1.5)
            status, _, content = read_answer(client)
        assert status == 200
        assert len(json.loads(content)["model_version_status"]) == 100_000


def test_an_unused_connection_is_closed():
    with Doors(limits=HttpLimits(idle_seconds=1)) as server, server.connect() as client:
        client.sendall(b"GET /v1/models/two HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(client)[0] == 200
        assert client.recv(100) == b""


def test_connections_are_limited_and_idle_ones_make_room():
    with Doors(limits=HttpLimits(connections=3)) as server:
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            client.sendall(b"GET /v1/models/two HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(client)[0] == 200
        assert server.alive()  # it took the place of the one that was idle longest
        assert clients[0].recv(100) == b""
        busy = [*clients[1:], server.connect()]
        for client in busy:
            client.sendall(HEAD + b"Content-Length: 8\r\n\r\nsleep 20")
        assert wait_for(lambda: server.fleet.in_flight == 3)
        with server.connect() as client:
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 503")
        assert error_of(answer) == "too many connections; try again later"
        for client in (*clients, *busy):
            client.close()
        assert wait_for(lambda: server.fleet.in_flight == 0)
        assert server.alive()


def test_what_follows_an_answered_head_is_thrown_away():
    with Doors(limits=HttpLimits(linger_seconds=0.5)) as server, server.connect() as client:
        client.sendall(HEAD + b"Content-Length: 90000000\r\n\r\n")
        sent = 0
        try:
            while sent < 60_000_000:  # more than the server is willing to read for nothing
                sent += client.send(bytes(1_000_000))
        except OSError:
            pass
        assert sent < 60_000_000
        assert server.alive()
    assert not server.fleet.cancelled
