"""Good requests, damaged at random but always the same way: each gets an answer, and the server stays as it was."""

import json
import random

import grpc
import pytest
from doors import SLASHED, Doors, echo

from tlkit.serving import protos
from tlkit.serving.metrics import Metrics

BODY = b'{"instances": [1.0, {"b64": "aGVsbG8="}]}'
GOOD = [
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    b"POST /v1/models/two/labels/stable:classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n3;a=b\r\nabc\r\n0\r\nTrailer: y\r\n\r\n",
    b"GET /v1/models/tiny%20photos%2F1/versions/1/metadata HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"POST /v1/models/default:predict HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n"
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00",
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
]
SPICE = (
    b"\r\n", b"\n", b"\0", b"\xff", b" ", b":", b"/", b"%2e%2e%2f", b"%", b"%00", b"Content-Length: 7\r\n", b"HTTP/1.1",
    b"Transfer-Encoding: chunked\r\n", b"-1", b"18446744073709551616", b"versions", b"\r\n\r\n", b"A" * 70_000,
    b"x: y\r\n" * 200,
)  # fmt: skip
TIMES = 400


def damaged(data, dice):
    """Cut, double, swap, overwrite or insert, one to four times."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        here = dice.randrange(len(changed) + 1)
        there = min(len(changed), here + dice.randint(1, 30))
        kind = dice.randrange(6)
        if kind == 0:
            del changed[here:there]
        elif kind == 1:
            changed[here:here] = changed[here:there]
        elif kind == 2:
            changed[here:there] = dice.randbytes(there - here)
        elif kind == 3:
            changed[here:here] = dice.choice(SPICE)
        elif kind == 4 and here < len(changed):
            changed[here] ^= 1 << dice.randrange(8)
        else:
            changed = changed[:here] or changed
    return bytes(changed)


@pytest.fixture(scope="module")
def server():
    with Doors(grpc=True, metrics=Metrics()) as running:
        yield running


def answers_of(raw):
    """Split what a connection gave into (status, content); fails where it is no HTTP."""
    found = []
    while raw:
        head, gap, rest = raw.partition(b"\r\n\r\n")
        assert gap, raw[:200]
        assert head.startswith(b"HTTP/1.1 "), raw[:200]
        status = int(head[9:12])
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if status == 100:
            raw = rest
            continue
        assert headers[b"content-type"] == b"application/json"
        size = int(headers[b"content-length"])
        if len(rest) < size:  # a HEAD that came of a mutation
            assert not rest
        found.append((status, rest[:size]))
        raw = rest[size:]
    return found


def test_the_requests_are_good_as_they_are(server):
    for one in GOOD:
        (answer,) = answers_of(_talk(server, one))
        assert answer[0] == 200


def test_damaged_http_gets_an_answer_or_a_closed_door(server):
    dice = random.Random(20240229)
    statuses = {}
    for i in range(TIMES):
        bad = damaged(dice.choice(GOOD), dice)
        for status, content in answers_of(server.raw(bad)):
            statuses[status] = statuses.get(status, 0) + 1
            assert 200 <= status < 600
            assert status != 500, (bad, content)
            if status != 200 and content:
                (message,) = json.loads(content).values()
                assert len(message) <= 1024
        if i % 50 == 0:
            assert server.alive()
    assert server.alive()
    assert server.fleet.in_flight == 0
    assert sum(statuses.values()) > TIMES // 2, statuses
    assert {200, 400, 404, 431} <= statuses.keys(), statuses
    names = {(name, api) for name, _, api, *_ in server.fleet.calls}
    assert names <= {(name, "rest") for name in ("default", "two", SLASHED)}


def test_a_damaged_request_does_not_spoil_the_next_one_on_its_connection(server):
    for path in (b"/v1/models/foo:predict", b"/elsewhere", b"/v1/models/two/versions/99999999999999999999:predict"):
        with server.connect() as client:
            client.sendall(
                b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n" + GOOD[0][:30] + GOOD[0]
            )
            data = b""
            while data.count(b"HTTP/1.1 ") < 2 or not data.endswith(b"}"):
                part = client.recv(65536)
                assert part, data
                data += part
        (_, bad), (status, good) = answers_of(data)
        assert "error" in json.loads(bad)
        assert (status, json.loads(good)) == (200, echo("default", 123, "rest", "predict", BODY))


def test_damaged_messages_are_refused_or_passed_on(server):
    request = protos.PredictRequest(model_spec=protos.ModelSpec(name="two", version_label="canary"))
    request.inputs["x"].float_val.extend([1.0, 2.0])
    good = request.SerializeToString()
    dice = random.Random(20240301)
    codes = {}
    with grpc.insecure_channel(f"localhost:{server.grpc_port}", [("grpc.enable_http_proxy", 0)]) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for _ in range(TIMES):
            bad = damaged(good, dice)
            try:
                answer = json.loads(predict(bad, timeout=10))
                assert answer == echo(answer["name"], answer["version"], "grpc", "predict", bad)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            codes[code] = codes.get(code, 0) + 1
        assert json.loads(predict(good, timeout=10)) == echo("two", 124, "grpc", "predict", good)
    # A label that was damaged, or of a model that there is not, is INVALID_ARGUMENT, as in TensorFlow Serving.
    assert codes.keys() == {"OK", "INVALID_ARGUMENT"}, codes
    assert server.alive()


def _talk(server, data):
    """Send a request and read its one answer; unlike `raw`, the client's side stays open."""
    with server.connect() as client:
        client.sendall(data)
        got = b""
        while not got.endswith(b"}"):
            part = client.recv(65536)
            assert part, got
            got += part
        return got
