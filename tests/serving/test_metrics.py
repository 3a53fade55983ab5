"""The metrics' page, against Prometheus' text format and TensorFlow Serving's names, labels and buckets."""

import http.client
import re

import pytest
from doors import Doors, FakeFleet, wait_for

from tlkit.serving.metrics import PATH, REFUSED, Metrics
from tlkit.serving.status import Code, ServingError
from tlkit.serving.supervisor import _refusal

LINE = re.compile(
    r"(?:# TYPE (?P<type>[:a-z_]+) (?:counter|gauge|histogram))|(?:# HELP (?P<help>[a-z_]+) [A-Z][^\n]+\.)"
    r'|(?P<name>[:a-z_]+)(?P<labels>\{[A-Za-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*"(?:,[A-Za-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*")*\})?'
    r" (?P<value>[0-9.e+]+)"
)


def parse(text):
    """Read a page as Prometheus would; gives value by name and labels."""
    values, typed, helped = {}, set(), set()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        match = LINE.fullmatch(line)
        assert match, line
        if match["type"]:
            assert match["type"] not in typed
            typed.add(match["type"])
            assert match["type"].startswith("tlkit_") == (match["type"] in helped), line  # the help comes first
            continue
        if match["help"]:
            assert match["help"] not in helped
            helped.add(match["help"])
            continue
        assert re.sub("_(bucket|sum|count)$", "", match["name"]) in typed or match["name"] in typed, line
        key = match["name"] + (match["labels"] or "")
        assert key not in values
        values[key] = float(match["value"])
    return values


def page(metrics, fleet=None):
    return metrics.page(fleet or FakeFleet()).decode()


def test_requests_and_latencies_under_their_names():
    metrics = Metrics()
    metrics.observe_request("REST", "photos", "predict", Code.OK, 0.000019)
    metrics.observe_request("REST", "photos", "predict", Code.OK, 0.5)
    metrics.observe_request("REST", "photos", "predict", Code.INVALID_ARGUMENT, 0.5)
    metrics.observe_request("GRPC", "photos", "Predict", Code.OK, 9999)
    metrics.observe_runtime("photos", "classify", 10)
    metrics.observe_runtime("photos", "classify", 11)
    values = parse(page(metrics))
    count = ":tensorflow:serving:request_count"
    assert values[f'{count}{{model_name="photos",status="OK"}}'] == 3
    assert values[f'{count}{{model_name="photos",status="INVALID_ARGUMENT"}}'] == 1
    name, labels = ":tensorflow:serving:request_latency", 'model_name="photos",API="predict",entrypoint="REST"'
    buckets = [(key, value) for key, value in values.items() if key.startswith(f"{name}_bucket{{{labels}")]
    limits = [re.search(r'le="(.*)"', key)[1] for key, _ in buckets]
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert limits[-2:] == ["1.47476e+09", "+Inf"]
    assert len(limits) == 34
    counts = [value for _, value in buckets]
    assert counts == sorted(counts)
    assert counts[:3] == [0, 0, 1]
    assert counts[-1] == values[f"{name}_count{{{labels}}}"] == 2
    assert values[f"{name}_sum{{{labels}}}"] == 500019
    grpc = 'model_name="photos",API="Predict",entrypoint="GRPC"'
    assert values[f'{name}_bucket{{{grpc},le="1.47476e+09"}}'] == 0
    assert values[f'{name}_bucket{{{grpc},le="+Inf"}}'] == 1
    name, labels = ":tensorflow:serving:runtime_latency", 'model_name="photos",API="Classify",runtime="TF1"'
    assert values[f'{name}_bucket{{{labels},le="10"}}'] == 1  # a limit belongs to its bucket
    assert values[f'{name}_bucket{{{labels},le="18"}}'] == 2


def test_loads_and_our_own():
    metrics = Metrics()
    metrics.observe_load("photos", 3, 1.5, True)
    metrics.observe_load("photos", 3, 0.25, True)
    metrics.observe_load("photos", 4, 9.0, False)
    metrics.observe_error(ServingError(Code.INVALID_ARGUMENT, "something else"))
    metrics.observe_error(_refusal())
    fleet = FakeFleet()
    fleet.in_flight = 5
    values = parse(page(metrics, fleet))
    loads = ":tensorflow:cc:saved_model:load_"
    assert values[f'{loads}attempt_count{{model_path="photos/3",status="success"}}'] == 2
    assert values[f'{loads}attempt_count{{model_path="photos/4",status="fail"}}'] == 1
    assert values[f'{loads}latency{{model_path="photos/3"}}'] == 1_750_000
    assert f'{loads}latency{{model_path="photos/4"}}' not in values
    assert values["tlkit_refused_poison_total"] == 1
    assert values["tlkit_worker_restarts_total"] == 3
    assert values["tlkit_calls_in_flight"] == 5
    assert values['tlkit_versions{state="AVAILABLE"}'] == 4
    assert _refusal().message.startswith(REFUSED)


def test_labels_are_escaped():
    metrics = Metrics()
    metrics.observe_request("REST", 'a"b\\c\nd{},é', "predict", Code.OK, 1)
    assert r'request_count{model_name="a\"b\\c\nd{},é",status="OK"} 1' in page(metrics)
    parse(page(metrics))


@pytest.fixture(scope="module")
def server():
    with Doors(metrics=Metrics()) as running:
        yield running


def get(server, method="GET", path=PATH):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), content


def test_the_rest_door_counts(server):
    predict = "/v1/models/default:predict"
    server.request("POST", predict, b"{}")
    server.request("POST", "/V1/models/d%65fault/versions/123:predict", b"{}")
    server.request("POST", predict, b"fail 3 wrong")
    server.request("POST", predict, b"fail 3 this request crashed the worker process twice and is rejected")
    server.request("POST", predict, b"boom")
    server.request("GET", "/v1/models/default")
    server.request("POST", "/v1/models/default/versions/9:predict", b"{}")
    for i in range(50):  # names that clients make up are no rows
        server.request("POST", f"/v1/models/made-up-{i}:predict", b"{}")
    server.request("GET", "/v1/nonsense")
    server.request("GET", "/elsewhere")
    status, kind, content = get(server)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    values = parse(content)
    count = ":tensorflow:serving:request_count"
    assert {key: value for key, value in values.items() if key.startswith(count)} == {
        f'{count}{{model_name="default",status="OK"}}': 3,
        f'{count}{{model_name="default",status="INVALID_ARGUMENT"}}': 2,
        f'{count}{{model_name="default",status="INTERNAL"}}': 1,
        f'{count}{{model_name="default",status="NOT_FOUND"}}': 1,
        f'{count}{{model_name="",status="NOT_FOUND"}}': 50,
        f'{count}{{model_name="",status="INVALID_ARGUMENT"}}': 1,
    }
    latency = ":tensorflow:serving:request_latency_count"
    assert values[f'{latency}{{model_name="default",API="predict",entrypoint="REST"}}'] == 2
    assert values[f'{latency}{{model_name="default",API="",entrypoint="REST"}}'] == 1
    runtime = ':tensorflow:serving:runtime_latency_sum{model_name="default",API="Predict",runtime="TF1"}'
    assert values[runtime] == 3000
    assert values["tlkit_refused_poison_total"] == 1
    assert values['tlkit_requests_in_flight{entrypoint="REST"}'] == 0


def test_a_client_that_goes_away_is_counted_and_is_no_error_of_ours(caplog):
    metrics = Metrics()
    with Doors(metrics=metrics) as server:
        with server.connect() as client:
            client.sendall(b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsleep 60")
            assert wait_for(lambda: server.fleet.in_flight == 1)
        assert wait_for(lambda: metrics.requests_in_flight["REST"] == 0)
        assert wait_for(lambda: 'model_name="default",status="CANCELLED"} 1\n' in page(metrics))
    assert not caplog.records


def test_the_page_has_its_path_and_method(server):
    assert get(server, "POST")[0] == 405
    assert get(server, path=f"{PATH}/")[:2] == (404, "application/json")
    with Doors(metrics=Metrics(), metrics_path="/m") as other:
        assert get(other, path="/m")[0] == 200
        assert get(other)[0] == 404
    with Doors() as other:
        assert get(other)[0] == 404
