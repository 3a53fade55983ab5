"""A fleet without models, and the two doors before it in a thread: tests of HTTP and gRPC need no TensorFlow."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import socket
import threading
import time
from typing import NamedTuple

import uvicorn

from tlkit.serving.draining import Draining
from tlkit.serving.grpc_server import grpc_server
from tlkit.serving.rest import rest_app, uvicorn_config
from tlkit.serving.status import Code, ServingError

SLASHED = "tiny photos/1"


class Status(NamedTuple):
    version: int
    state: str
    code: Code = Code.OK
    message: str = ""


class Answer(NamedTuple):
    body: bytes
    runtime_us: int


class FakeFleet:
    """Models as a fleet shows them; a call's body may be a command: "sleep SECONDS", "fail CODE TEXT" or "boom"."""

    max_in_flight = 8
    restarts = 3

    def __init__(self):
        self.states = {
            "default": [Status(123, "AVAILABLE")],
            "two": [Status(124, "AVAILABLE"), Status(123, "AVAILABLE")],
            SLASHED: [Status(1, "AVAILABLE")],
            "coming": [Status(2, "LOADING")],
            "broken": [Status(5, "END", Code.INVALID_ARGUMENT, "no model")],
        }
        self.labels = {"two": {"stable": 123, "canary": 124}}
        self.in_flight = 0
        self.calls = []
        self.cancelled = 0

    def models(self):
        return dict(self.states)

    def resolve(self, name, version=None, label=None):
        available = [one.version for one in self.states.get(name, []) if one.state == "AVAILABLE"]
        if version is not None:
            if version in available:
                return version
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        if label is not None:
            if label not in self.labels.get(name, {}):
                raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            return self.labels[name][label]
        if available:
            return max(available)
        if name == "coming":
            raise ServingError(Code.UNAVAILABLE, "the model coming is being loaded; try again later")
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")

    def statuses(self, name, version=None):
        if name not in self.states and version is None:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        found = [one for one in self.states.get(name, []) if version in (None, one.version)]
        if not found:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        return found

    def metadata(self, name, version):
        spec = {"name": name, "signature_name": "", "version": str(version)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": {}}}}

    def manifest(self, name, version):
        return None

    async def check_body(self, *, method, body, timeout):
        try:
            json.loads(body)
        except ValueError:
            raise ServingError(Code.INVALID_ARGUMENT, f"JSON Parse error in a {method}") from None

    async def call(self, name, version, *, api, method, body, timeout):
        if self.in_flight >= self.max_in_flight:
            raise ServingError(Code.RESOURCE_EXHAUSTED, "concurrent requests")
        self.in_flight += 1
        self.calls.append((name, version, api, method, body, timeout))
        try:
            words = body.decode("utf-8", "replace").split(" ", 2) if len(body) < 1000 else []
            if words[:1] == ["sleep"]:
                await asyncio.sleep(float(words[1]))
            elif words[:1] == ["fail"]:
                raise ServingError(Code(int(words[1])), words[2])
            elif words[:1] == ["boom"]:
                raise RuntimeError("a mistake of ours")
            return Answer(json.dumps(echo(name, version, api, method, body)).encode(), 1500)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


def echo(name, version, api, method, body):
    """What the fake fleet answers."""
    return {"name": name, "version": version, "api": api, "method": method, "sha": hashlib.sha256(body).hexdigest()}


class Doors:
    """Both doors before a fake fleet, in an event loop of their own; `with Doors(...) as doors`."""

    def __init__(
        self, *, grpc=False, tls=None, timeout=30.0, max_body_bytes=200_000, metrics=None, access_log=None, **app
    ):
        self.options = {"timeout": timeout, "metrics": metrics, "access_log": access_log}
        self.app_options = {"max_body_bytes": max_body_bytes, **app}
        self.grpc, self.tls, self.max_body_bytes = grpc, tls, max_body_bytes
        self.fleet, self.draining = FakeFleet(), Draining()
        self.port = self.grpc_port = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self):
        self.loop = asyncio.get_running_loop()
        self.server = None
        try:
            app = rest_app(self.fleet, draining=self.draining, **self.options, **self.app_options)
            config = uvicorn_config(app, host="127.0.0.1", port=0, tls=self.tls, graceful_seconds=1)
            # No protocol's number, as sockets often are made: TCP_NODELAY is then the server's own task.
            listening = socket.socket()
            listening.bind(("127.0.0.1", 0))
            self.port = listening.getsockname()[1]
            self.server = uvicorn.Server(config)
            serving = asyncio.create_task(self.server.serve(sockets=[listening]))
            grpc = None
            if self.grpc:
                grpc, self.grpc_port = await grpc_server(
                    self.fleet,
                    host="127.0.0.1",
                    port=0,
                    tls=self.tls,
                    max_message_bytes=self.max_body_bytes,
                    draining=self.draining,
                    **self.options,
                )
            while not self.server.started:
                await asyncio.sleep(0.005)
        finally:
            self._ready.set()
        await serving
        if grpc is not None:
            await grpc.stop(0)

    def __enter__(self):
        self._thread.start()
        self._ready.wait(20)
        assert self.server is not None
        assert self.server.started
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def connect(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def request(self, method, path, body=None, headers=None, **kwargs):
        """Send one request over a connection of its own; gives the status, the JSON and the headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {}, **kwargs)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.getheader("Content-Type") == "application/json"
            return answer.status, json.loads(content) if content else None, dict(answer.getheaders())
        finally:
            connection.close()

    def raw(self, data, timeout=10):
        """Send bytes and give all that comes back until the server closes."""
        with self.connect(timeout) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def alive(self):
        """Whether a good request is answered rightly."""
        body = b'{"instances": [1.0]}'
        expected = echo("default", 123, "rest", "predict", body)
        return self.request("POST", "/v1/models/default:predict", body)[:2] == (200, expected)


def read_all(client):
    """Read until the other side closes, or resets."""
    data = b""
    try:
        while part := client.recv(65536):
            data += part
    except ConnectionError:
        pass
    return data


def read_answer(client):
    """Read one answer with a Content-Length from a kept connection: status, headers and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65536)
        assert part, data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        part = client.recv(65536)
        assert part, "the connection ended within the response"
        body += part
    return int(lines[0].split()[1]), headers, body


def wait_for(condition, seconds=10.0):
    """Wait until something is so, and say whether it became so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
