"""The gRPC door: routing, codes, limits, health and TLS, before a fleet without models."""

import asyncio
import http.client
import json
import ssl
import threading
import urllib.error
import urllib.request

import grpc
import pytest
from certificates import self_signed
from doors import SLASHED, Answer, Doors, FakeFleet, Status, echo, wait_for
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tlkit.errors import ConfigError
from tlkit.serving import grpc_server as module
from tlkit.serving import protos
from tlkit.serving.access_log import AccessLog
from tlkit.serving.grpc_server import grpc_server
from tlkit.serving.metrics import Metrics
from tlkit.serving.status import Code, ServingError
from tlkit.serving.tls import Tls

PREDICTION = "/tensorflow.serving.PredictionService/"
MODEL = "/tensorflow.serving.ModelService/"
METHODS = {
    "Predict": "predict",
    "Classify": "classify",
    "Regress": "regress",
    "GetModelMetadata": "metadata",
}


@pytest.fixture(scope="module")
def server():
    with Doors(grpc=True, metrics=Metrics()) as running, channel_to(running) as channel:
        running.channel = channel
        yield running


def channel_to(server, credentials=None):
    address = f"localhost:{server.grpc_port}"
    options = [("grpc.enable_http_proxy", 0)]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def call(server, path, request, timeout=10, channel=None):
    body = request if isinstance(request, bytes) else request.SerializeToString()
    return (channel or server.channel).unary_unary(path)(body, timeout=timeout)


def refused(server, path, request, **kwargs):
    with pytest.raises(grpc.RpcError) as caught:
        call(server, path, request, **kwargs)
    return caught.value.code().name, caught.value.details()


def spec(name="", version=None, label=None):
    made = protos.ModelSpec(name=name)
    if version is not None:
        made.version.value = version
    if label is not None:
        made.version_label = label
    return made


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("model_spec", "name", "version"),
    [
        (spec("default"), "default", 123),
        (spec("two", 123), "two", 123),
        (spec("two", label="canary"), "two", 124),
        (spec(SLASHED), SLASHED, 1),
    ],
)
def test_a_request_goes_through_as_it_is(server, method, model_spec, name, version):
    request = protos.PredictRequest(model_spec=model_spec, output_filter=["a"])
    request.inputs["x"].tensor_content = b"\xff\x00" * 500
    body = request.SerializeToString() + b"\xfa\x7f\x03abc"  # and a field that nobody knows
    assert json.loads(call(server, PREDICTION + method, body)) == echo(name, version, "grpc", METHODS[method], body)
    assert server.fleet.calls[-1][4] == body
    assert 9 < server.fleet.calls[-1][5] < 11  # the client's deadline, rounded up on its way


def test_multi_inference_goes_where_its_first_task_points(server):
    request = protos.MultiInferenceRequest()
    request.tasks.add(model_spec=spec("two", 123), method_name="tensorflow/serving/classify")
    request.tasks.add(model_spec=spec("default"))
    body = request.SerializeToString()
    assert json.loads(call(server, PREDICTION + "MultiInference", body)) == echo(
        "two", 123, "grpc", "multi_inference", body
    )
    assert refused(server, PREDICTION + "MultiInference", b"") == (
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    )


@pytest.mark.parametrize(
    ("model_spec", "code", "message"),
    [
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (spec(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (spec("foo"), "NOT_FOUND", "Servable not found for request: Latest(foo)"),
        (spec("default", 99), "NOT_FOUND", "Servable not found for request: Specific(default, 99)"),
        (spec("default", -1), "NOT_FOUND", "Servable not found for request: Specific(default, -1)"),
        (spec("two", 0), "NOT_FOUND", "Servable not found for request: Specific(two, 0)"),
        (spec("two", label="nope"), "INVALID_ARGUMENT", "Unrecognized servable version label: nope"),
        (spec("coming"), "UNAVAILABLE", "the model coming is being loaded; try again later"),
        (spec("../../etc/passwd"), "NOT_FOUND", "Servable not found for request: Latest(../../etc/passwd)"),
    ],
)
def test_errors(server, model_spec, code, message):
    request = protos.PredictRequest(model_spec=model_spec)
    assert refused(server, PREDICTION + "Predict", request) == (code, message)


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x03\x0a\x01\xff", b"\x00" * 50, b"\x0b"])
def test_what_is_no_message_is_refused(server, body):
    for method in (*METHODS, "MultiInference"):
        assert refused(server, PREDICTION + method, body)[0] == "INVALID_ARGUMENT"
    assert refused(server, MODEL + "GetModelStatus", body)[0] == "INVALID_ARGUMENT"


def test_statuses(server):
    def ask(model_spec):
        body = protos.GetModelStatusRequest(model_spec=model_spec).SerializeToString()
        return protos.GetModelStatusResponse.FromString(call(server, MODEL + "GetModelStatus", body))

    states = protos.ModelVersionStatus.State
    found = ask(spec("two")).model_version_status
    assert [(one.version, states.Name(one.state), one.status.error_code) for one in found] == [
        (124, "AVAILABLE", 0),
        (123, "AVAILABLE", 0),
    ]
    assert [one.version for one in ask(spec("two", 123)).model_version_status] == [123]
    assert [one.version for one in ask(spec("two", label="nope")).model_version_status] == [124, 123]
    (ended,) = ask(spec("broken")).model_version_status
    assert (states.Name(ended.state), ended.status.error_code, ended.status.error_message) == ("END", 3, "no model")
    status = protos.GetModelStatusRequest
    assert refused(server, MODEL + "GetModelStatus", status()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refused(server, MODEL + "GetModelStatus", status(model_spec=spec("foo"))) == (
        "NOT_FOUND",
        "Could not find any versions of model foo",
    )
    assert refused(server, MODEL + "GetModelStatus", status(model_spec=spec("two", 9))) == (
        "NOT_FOUND",
        "Could not find version 9 of model two",
    )


def test_what_is_not_offered(server):
    code, message = refused(server, MODEL + "HandleReloadConfigRequest", b"")
    assert (code, message) == ("UNIMPLEMENTED", "reconfiguration by request is disabled")
    assert refused(server, PREDICTION + "PredictStreamed", b"")[0] == "UNIMPLEMENTED"
    assert refused(server, "/tensorflow.serving.SessionService/SessionRun", b"")[0] == "UNIMPLEMENTED"


def told(server, text, **kwargs):
    """Give code and message of a command to the fake fleet."""
    return refused(server, PREDICTION + "Predict", text, **kwargs)


@pytest.fixture
def any_body(monkeypatch):
    """Let the door route every body to the model `default`, so that a body may be a command."""
    monkeypatch.setattr(module, "_spec", lambda body: spec("default"))


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_code_is_passed_on(server, any_body, code):
    assert told(server, b"fail %d t\xc3\xa9xt\n\x01" % code) == (code.name, "téxt\n\x01")


def test_messages_are_cut_so_that_clients_can_take_them(server, any_body):
    server.fleet.call, old = long_message, server.fleet.call
    try:
        code, message = told(server, b"")
    finally:
        server.fleet.call = old
    assert (code, message) == ("INVALID_ARGUMENT", "é" * 512)  # 1,024 bytes, not characters


async def long_message(*args, **kwargs):
    raise ServingError(Code.INVALID_ARGUMENT, "é" * 1024)


def test_mistakes_of_ours_end_one_request_only(server, any_body):
    assert told(server, b"boom")[0] in ("UNKNOWN", "INTERNAL")
    assert json.loads(call(server, PREDICTION + "Predict", b"fine"))["name"] == "default"


def test_deadlines_and_cancellations(server, any_body):
    before = server.fleet.cancelled
    assert told(server, b"sleep 60", timeout=0.2)[0] == "DEADLINE_EXCEEDED"
    assert wait_for(lambda: server.fleet.cancelled == before + 1)
    future = server.channel.unary_unary(PREDICTION + "Predict").future(b"sleep 60")
    assert wait_for(lambda: server.fleet.in_flight == 1)
    future.cancel()
    assert wait_for(lambda: server.fleet.cancelled == before + 2)
    assert wait_for(lambda: server.fleet.in_flight == 0)


def test_the_server_has_a_deadline_of_its_own(any_body):
    with Doors(grpc=True, timeout=0.1) as server, channel_to(server) as channel:
        assert refused(server, PREDICTION + "Predict", b"sleep 60", timeout=None, channel=channel) == (
            "DEADLINE_EXCEEDED",
            "the request timed out after 0.1 seconds",
        )


def test_too_large_and_too_many(server, any_body):
    assert json.loads(call(server, PREDICTION + "Predict", b"x" * 200_000))["sha"]
    assert refused(server, PREDICTION + "Predict", b"x" * 200_001)[0] == "RESOURCE_EXHAUSTED"
    futures = [server.channel.unary_unary(PREDICTION + "Predict").future(b"sleep 30") for _ in range(8)]
    assert wait_for(lambda: server.fleet.in_flight == 8)
    assert told(server, b"fine") == ("RESOURCE_EXHAUSTED", "concurrent requests")
    for future in futures:
        future.cancel()
    assert wait_for(lambda: server.fleet.in_flight == 0)
    metadata = [("x", "y" * 40_000)]
    with pytest.raises(grpc.RpcError):
        server.channel.unary_unary(PREDICTION + "Predict")(b"fine", timeout=5, metadata=metadata)
    assert json.loads(call(server, PREDICTION + "Predict", b"fine"))["name"] == "default"


def test_requests_and_answers_above_64_mib(any_body):
    body = bytes(70 << 20)
    with Doors(grpc=True, max_body_bytes=80 << 20) as server:

        async def same(name, version, *, api, method, body, timeout):
            return Answer(body, 1)

        server.fleet.call = same
        options = [
            ("grpc.enable_http_proxy", 0),
            *((f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")),
        ]
        with grpc.insecure_channel(f"localhost:{server.grpc_port}", options) as channel:
            assert call(server, PREDICTION + "Predict", body, timeout=60, channel=channel) == body
            code, _ = refused(server, PREDICTION + "Predict", bytes(81 << 20), timeout=60, channel=channel)
            assert code == "RESOURCE_EXHAUSTED"
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/v1/models/default:predict", body)
        assert connection.getresponse().read() == body
        connection.close()


def test_parallel_requests_get_their_own_answers(server, any_body):
    futures = {i: server.channel.unary_unary(PREDICTION + "Predict").future(b"%d" % i) for i in range(8)}
    for i, future in futures.items():
        assert json.loads(future.result(timeout=10)) == echo("default", 123, "grpc", "predict", b"%d" % i)


def check(server, service):
    stub = health_pb2_grpc.HealthStub(server.channel)
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    except grpc.RpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def test_health_follows_the_fleet(server):
    assert check(server, "default") == check(server, SLASHED) == "SERVING"
    assert check(server, "coming") == check(server, "broken") == check(server, "") == "NOT_SERVING"
    assert check(server, "foo") == "NOT_FOUND"
    states = server.fleet.states
    kept = dict(states)
    coming = states.pop("coming")
    assert check(server, "broken") == "NOT_SERVING"
    assert check(server, "") == "SERVING"  # what cannot be loaded does not take the others with it
    states["coming"] = coming
    stub = health_pb2_grpc.HealthStub(server.channel)
    watched, seen = [], threading.Event()

    def watch():
        try:
            for answer in stub.Watch(health_pb2.HealthCheckRequest(service="default"), timeout=20):
                watched.append(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
                seen.set()
        except grpc.RpcError:
            pass

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert seen.wait(10)
    try:
        states.update(coming=[Status(2, "AVAILABLE")], broken=[Status(6, "AVAILABLE"), *states["broken"]])
        assert check(server, "") == "SERVING"
        states["default"] = [Status(123, "LOADING")]
        assert check(server, "default") == check(server, "") == "NOT_SERVING"
        assert wait_for(lambda: len(watched) == 2)
        del states["default"]
        assert check(server, "") == "SERVING"
        assert wait_for(lambda: watched == ["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"])
        states.clear()
        assert check(server, "") == "NOT_SERVING"
    finally:
        states.clear()
        states.update(kept)


def test_a_server_that_stops_refuses_what_is_new(any_body):
    with Doors(grpc=True) as server, channel_to(server) as channel:
        server.channel = channel
        health = health_pb2_grpc.HealthStub(channel)

        def state(name: str) -> str:
            found = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
            return health_pb2.HealthCheckResponse.ServingStatus.Name(found)

        assert state("default") == "SERVING"
        running = channel.unary_unary(PREDICTION + "Predict").future(b"sleep 0.5", timeout=20)
        assert wait_for(lambda: server.fleet.in_flight == 1)
        server.draining.begin()
        for method in METHODS:
            assert refused(server, PREDICTION + method, b"") == ("UNAVAILABLE", "the server is stopping")
        assert (state("default"), state("")) == ("NOT_SERVING", "NOT_SERVING")
        assert server.draining.requests == 1
        assert running.result()
        assert asyncio.run(server.draining.wait(0))


def test_requests_are_counted_and_noted(tmp_path, any_body):
    log = AccessLog(tmp_path / "log")
    metrics = Metrics()
    with Doors(grpc=True, metrics=metrics, access_log=log) as server, channel_to(server) as channel:
        call(server, PREDICTION + "Predict", b"fine", channel=channel)
        call(server, PREDICTION + "GetModelMetadata", b"fine", channel=channel)
        refused(server, PREDICTION + "Classify", b"fail 9 x", channel=channel)
        call(server, MODEL + "GetModelStatus", b"any", channel=channel)
        text = metrics.page(server.fleet).decode()
    log.close()
    assert ':tensorflow:serving:request_count{model_name="default",status="OK"} 1\n' in text
    assert ':tensorflow:serving:request_count{model_name="default",status="FAILED_PRECONDITION"} 1\n' in text
    labels = 'model_name="default",API="Predict",entrypoint="GRPC"'
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 1\n" in text
    assert ':tensorflow:serving:runtime_latency_sum{model_name="default",API="Predict",runtime="TF1"} 1500\n' in text
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [line[2:5] for line in lines] == [
        ["gRPC", PREDICTION + "Predict", "OK"],
        ["gRPC", PREDICTION + "GetModelMetadata", "OK"],
        ["gRPC", PREDICTION + "Classify", "FAILED_PRECONDITION"],
        ["gRPC", MODEL + "GetModelStatus", "OK"],
    ]
    assert all(line[1].startswith(("127.0.0.1:", "[::1]:", "%5B::1%5D:")) for line in lines)


def test_a_taken_port_is_an_error(server):
    with pytest.raises(RuntimeError):
        asyncio.run(grpc_server(FakeFleet(), host="127.0.0.1", port=server.grpc_port))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client", "stranger"):
        self_signed(folder / f"{name}.pem", folder / f"{name}.key")
    return folder


def test_tls_on_both_doors(certificates, caplog):
    tls = Tls(certificates / "server.pem", certificates / "server.key")
    authority = (certificates / "server.pem").read_bytes()
    with Doors(grpc=True, tls=tls) as server:
        with channel_to(server, grpc.ssl_channel_credentials(authority)) as channel:
            body = protos.PredictRequest(model_spec=spec("two")).SerializeToString()
            assert json.loads(call(server, PREDICTION + "Predict", body, channel=channel))["version"] == 124
        with channel_to(server) as channel:
            assert refused(server, PREDICTION + "Predict", body, channel=channel)[0] == "UNAVAILABLE"
        context = ssl.create_default_context(cafile=certificates / "server.pem")
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        with opener.open(f"https://localhost:{server.port}/v1/models/two", timeout=10) as answer:
            assert len(json.load(answer)["model_version_status"]) == 2
        assert not server.raw(b"GET /v1/models/two HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")
        for _ in range(3):  # kept connections that the client closes
            connection = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)
            connection.request("GET", "/v1/models/two")
            connection.getresponse().read()
            connection.sock.unwrap()
            connection.close()
    assert not [record for record in caplog.records if record.name == "asyncio"], caplog.text


def test_clients_of_another_authority_are_turned_away(certificates):
    tls = Tls(certificates / "server.pem", certificates / "server.key", client_ca=certificates / "client.pem")
    authority = (certificates / "server.pem").read_bytes()
    body = protos.PredictRequest(model_spec=spec("two")).SerializeToString()

    def rest(server, name):
        context = ssl.create_default_context(cafile=certificates / "server.pem")
        if name:
            context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        with opener.open(f"https://localhost:{server.port}/v1/models/two", timeout=10) as answer:
            return answer.status

    def over_grpc(server, name):
        pair = [(certificates / f"{name}.{kind}").read_bytes() for kind in ("key", "pem")] if name else [None, None]
        with channel_to(server, grpc.ssl_channel_credentials(authority, *pair)) as channel:
            return call(server, PREDICTION + "Predict", body, channel=channel)

    with Doors(grpc=True, tls=tls) as server:
        assert rest(server, "client") == 200
        assert json.loads(over_grpc(server, "client"))["version"] == 124
        for name in (None, "stranger"):
            with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
                rest(server, name)
            with pytest.raises(grpc.RpcError):
                over_grpc(server, name)


def test_files_that_are_no_pair_are_told_at_once(certificates, tmp_path):
    with pytest.raises(ConfigError, match="cannot use .*server.pem with the key .*client.key"):
        Tls(certificates / "server.pem", certificates / "client.key")
    with pytest.raises(ConfigError, match="cannot read .*nowhere.key: No such file"):
        Tls(certificates / "server.pem", tmp_path / "nowhere.key")
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(ConfigError, match="the authority .*junk.pem"):
        Tls(certificates / "server.pem", certificates / "server.key", client_ca=tmp_path / "junk.pem")
    self_signed(tmp_path / "locked.pem", tmp_path / "locked.key", passphrase=b"secret")
    with pytest.raises(ConfigError, match="without a passphrase"):
        Tls(tmp_path / "locked.pem", tmp_path / "locked.key")
