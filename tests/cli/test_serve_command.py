"""`tlkit serve` as a process: its banner, its errors, its signals; with a fake worker, and once with TensorFlow."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tlkit.cli import main as cli

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "serving" / "fake_worker.py"
# The front must never need what these stand for.
WITHOUT = ("tensorflow", "keras", "pandas", "numpy")
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell leaves it to what it starts in the background
for name in {without!r}:
    sys.modules[name] = None
import tlkit.serving.worker_process as module
if {fake!r}:
    real = module.WorkerProcess
    module.WorkerProcess = lambda: real([sys.executable, "-S", {fake!r}])
from tlkit.cli.main import main
main()
"""


class Server:
    """A started command: its lines, its address, and a way to ask it."""

    def __init__(self, process: subprocess.Popen[str], lines: list[str]):
        self.process, self.lines = process, lines
        found = re.search(r"at (http://(\S+?):(\d+)\S*)", lines[0])
        self.url, self.host, self.port = found[1], found[2], int(found[3])

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def worker(self) -> int:
        """Process id of the worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:  # started by a thread of the server
            text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
            children = text.stdout.split()
        return int(children[0])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        return code, self.process.stdout.read()


def command(*words: str, fake: bool = True) -> list[str]:
    start = START.format(without=WITHOUT, fake=str(FAKE) if fake else "")
    return [sys.executable, "-c", start, "serve", *words]


def distributions(names: Iterable[str]) -> set[str]:
    """What is installed with these distributions, as their metadata says, and they themselves."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            needed = map(Requirement, metadata.requires(name) or ())
            left += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def with_serve_alone(folder: Path) -> str:
    """Give a folder for PYTHONPATH with which nothing can be imported that does not come with the extra `serve`."""
    extra = [Requirement(one) for one in metadata.requires("tlkit") if 'extra == "serve"' in one.replace("'", '"')]
    there = distributions(one.name for one in extra) | {"tlkit"}
    owners = metadata.packages_distributions().items()
    absent = [name for name, owned in owners if not there & {canonicalize_name(one) for one in owned}]
    assert {"pandas", "pyarrow", "matplotlib", "keras_hub", "psutil"} <= set(absent)
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({absent!r}))\n")
    return str(folder)


@contextmanager
def serving(*words: str, cwd: Path, fake: bool = True, banner: int = 2, path: str = "") -> Iterator[Server]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*filter(None, [path]), str(ROOT)]),
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # of the tests: a user's terminal is what is looked at
    with (cwd / "stderr.txt").open("w") as stderr:
        process = subprocess.Popen(
            command(*words, fake=fake), stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=cwd, env=environment
        )
    try:
        lines = [process.stdout.readline() for _ in range(banner)]
        assert lines[0], (cwd / "stderr.txt").read_text()
        yield Server(process, lines)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def failing(*words: str, cwd: Path) -> str:
    """Run a command that must end with exit code 2 and one line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command(*words), capture_output=True, text=True, cwd=cwd, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return done.stderr


def export(folder: Path, graph: str = "ok", content: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text(graph)
    if content:
        (folder / "manifest.json").write_text(json.dumps({"interface": {"content": content}}))
    return folder


def until(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def config_of(*models: str) -> str:
    return f"model_config_list {{ {' '.join(models)} }}"


def entry(name: str, base: Path, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_export_is_served_until_it_is_told_to_stop(tmp_path: Path, number: int):
    export(tmp_path / "photos" / "2", content="image")
    with serving("photos", "--rest-port", "0", cwd=tmp_path) as server:
        found = re.fullmatch(
            r"serving photos/2 at http://127\.0\.0\.1:\d+/v1/models/photos and gRPC at 127\.0\.0\.1:(\d+) "
            r"\(Ctrl-C stops\)\n",
            server.lines[0],
        )
        assert found
        assert server.lines[1].startswith("try: (printf ")
        assert server.lines[1].endswith(f"| curl -d @- {server.url}:predict\n")
        status, text = server.ask("POST", "/v1/models/photos:predict", "{}")
        assert (status, json.loads(text)["version"]) == (200, 2)
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10):
            pass  # gRPC listens; what it answers is tested where it is made
        worker = server.worker()
        assert server.end(number) == (0, "stopped\n")
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert (tmp_path / "stderr.txt").read_text() == ""


def test_a_linked_folder_of_versions_is_served_under_the_links_name(tmp_path: Path):
    export(tmp_path / "photos" / "2")
    (tmp_path / "pictures").symlink_to("photos")
    with serving("pictures", "--rest-port", "0", "--no-grpc", cwd=tmp_path) as server:
        assert server.lines[0].startswith("serving pictures/2 at ")
        assert server.url.endswith("/v1/models/pictures")
        assert server.ask("GET", "/v1/models/pictures")[0] == 200


@pytest.mark.parametrize(
    ("path", "name", "versions"),
    [
        ("pictures", "pictures", ()),
        ("pictures/", "pictures", ()),
        ("./pictures/.", "pictures", ()),
        ("elsewhere/../photos", "photos", ()),
        ("deep/../pictures", "pictures", ()),
        ("pictures/2", "pictures", (2,)),
        ("photos/2", "photos", (2,)),
        ("photos/2/..", "photos", ()),
        ("current", "photos", (2,)),
        ("photos/3", "photos", (3,)),
        ("copy", "copy", (1,)),
        ("plain", "plain", (1,)),
    ],
)
def test_a_model_is_called_as_its_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str, versions: tuple[int, ...]
):
    from tlkit.serving.served_model import model_at

    deep = tmp_path / "deep"
    export(tmp_path / "photos" / "2")
    export(tmp_path / "plain")
    deep.mkdir()
    (tmp_path / "pictures").symlink_to("photos")
    (tmp_path / "current").symlink_to("photos/2")
    (tmp_path / "photos" / "3").symlink_to(tmp_path / "plain")
    (tmp_path / "copy").symlink_to("plain")
    (tmp_path / "elsewhere").symlink_to("deep")
    monkeypatch.chdir(tmp_path)
    model = model_at(Path(path))
    assert (model.name, model.specific) == (name, versions)


@pytest.mark.parametrize("path", [".", "./", "../photos", "2/.."])
def test_the_folder_one_stands_in_has_its_real_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str):
    from tlkit.serving.served_model import model_at

    export(tmp_path / "photos" / "2")
    (tmp_path / "pictures").symlink_to("photos")
    monkeypatch.chdir(tmp_path / "pictures")
    assert model_at(Path(path)).name == "photos"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", """try: curl -d '{"instances": ["SOME TEXT"]}' URL:predict"""),
        ("row", """try: curl -d '{"instances": [{"COLUMN": VALUE, ...}]}' URL:predict"""),
        (None, "try: curl URL/metadata"),
    ],
)
def test_the_banner_shows_how_to_ask(tmp_path: Path, content: str | None, expected: str):
    export(tmp_path / "a name" / "1", content=content)
    words = ("a name/1", "--rest-port", "0", "--no-grpc")
    with serving(*words, cwd=tmp_path) as server:
        assert server.lines[0] == f"serving a name/1 at {server.url} (Ctrl-C stops)\n"
        assert server.url.endswith("/v1/models/a%20name")
        assert server.lines[1] == expected.replace("URL", server.url) + "\n"


def test_requests_in_flight_are_answered_or_told_when_the_server_stops(tmp_path: Path):
    export(tmp_path / "m" / "1")
    with serving("m", "--rest-port", "0", "--no-grpc", cwd=tmp_path) as server:
        answers: dict[str, int] = {}

        def ask(body: str) -> None:
            answers[body] = server.ask("POST", "/v1/models/m:predict", body)[0]

        threads = [threading.Thread(target=ask, args=(body,)) for body in ("slow 1", "slow 100")]
        for thread in threads:
            thread.start()
        until(lambda: "tlkit_calls_in_flight 2\n" in server.ask("GET", "/monitoring/prometheus/metrics")[1])
        assert server.end() == (0, "stopped\n")
        for thread in threads:
            thread.join(timeout=10)
        assert answers == {"slow 1": 200, "slow 100": 503}


def test_a_server_that_stops_says_so_until_the_last_request_is_answered(tmp_path: Path):
    export(tmp_path / "m" / "1")
    with serving("m", "--rest-port", "0", "--no-grpc", "--grace", "30", cwd=tmp_path) as server:
        answers: list[int] = []
        path = "/v1/models/m:predict"
        thread = threading.Thread(target=lambda: answers.append(server.ask("POST", path, "slow 4")[0]))
        thread.start()
        until(lambda: "tlkit_calls_in_flight 1\n" in server.ask("GET", "/monitoring/prometheus/metrics")[1])
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ask("GET", "/v1/models/m/metadata") == (503, '{"error": "the server is stopping"}'))
        assert server.ask("POST", path, "x") == (503, '{"error": "the server is stopping"}')
        assert server.ask("GET", "/v1/models/m")[0] == 200  # it lives
        thread.join(timeout=20)
        assert answers == [200]
        assert server.process.wait(timeout=20) == 0


def test_without_grace_requests_in_flight_are_told_at_once(tmp_path: Path):
    export(tmp_path / "m" / "1")
    with serving("m", "--rest-port", "0", "--no-grpc", "--grace", "0", cwd=tmp_path) as server:
        answers: list[int] = []
        thread = threading.Thread(
            target=lambda: answers.append(server.ask("POST", "/v1/models/m:predict", "slow 100")[0])
        )
        thread.start()
        until(lambda: "tlkit_calls_in_flight 1\n" in server.ask("GET", "/monitoring/prometheus/metrics")[1])
        assert server.end() == (0, "stopped\n")
        thread.join(timeout=20)
        assert answers == [503]


def test_a_spare_worker_takes_the_place_of_a_killed_one(tmp_path: Path):
    loaded_by = export(tmp_path / "m" / "1") / "loaded_by"
    loaded_by.touch()
    words = ("m", "--rest-port", "0", "--no-grpc", "--spare-worker", "loaded")
    with serving(*words, cwd=tmp_path) as server:
        children = Path(f"/proc/{server.process.pid}/task")
        first = server.worker()

        def workers() -> set[str]:
            text = "".join((task / "children").read_text() + " " for task in children.iterdir())
            return set(text.split())

        until(lambda: len(set(loaded_by.read_text().split())) == 2)
        (spare,) = workers() - {str(first)}
        os.kill(first, signal.SIGKILL)
        until(lambda: server.ask("POST", "/v1/models/m:predict", "x")[0] == 200 and str(first) not in workers())
        assert spare in workers()
        assert server.end()[0] == 0
    assert "signal 9); switching to the spare worker\n" in (tmp_path / "stderr.txt").read_text()


def test_a_killed_worker_is_started_again_and_says_so(tmp_path: Path):
    export(tmp_path / "m" / "1")
    with serving("m", "--rest-port", "0", "--no-grpc", cwd=tmp_path) as server:
        first = server.worker()
        os.kill(first, signal.SIGKILL)
        statuses = set()

        def served() -> bool:
            status, _ = server.ask("POST", "/v1/models/m:predict", "x")
            statuses.add(status)
            return status == 200 and server.worker() != first

        until(served)
        assert statuses <= {200, 503}
        assert server.end()[0] == 0
    assert "the worker process ended (signal 9); restarting it\n" in (tmp_path / "stderr.txt").read_text()


def test_a_models_config_is_served_and_followed(tmp_path: Path):
    export(tmp_path / "a" / "1")
    export(tmp_path / "a" / "2")
    export(tmp_path / "bad" / "1", "load-fail no such op")
    policy = "model_version_policy { all {} } "

    def label(version: int) -> str:
        return policy + f'version_labels {{ key: "stable" value: {version} }}'

    config = tmp_path / "models.config"
    config.write_text(config_of(entry("a", Path("a"), label(1)), entry("bad", Path("bad"))))
    words = ("--model-config", "models.config", "--rest-port", "0", "--grpc-port", "0", "--config-poll", "0.05")
    with serving(*words, "--poll-seconds", "0.1", cwd=tmp_path, banner=4) as server:
        assert server.lines[0].startswith(f"serving models.config at {server.url} and gRPC at 127.0.0.1:")
        assert server.lines[1:] == [
            "  a: 2, 1 (stable)\n",
            "  bad: no version is available\n",
            f"try: curl {server.url}/v1/models/a/metadata\n",
        ]

        def stable() -> int:
            status, text = server.ask("POST", "/v1/models/a/labels/stable:predict", "x")
            assert status == 200
            return json.loads(text)["version"]

        stderr = tmp_path / "stderr.txt"
        assert stable() == 1
        config.write_text(config_of(entry("a", Path("a"), label(2))))
        until(lambda: stable() == 2)
        config.write_text("model_config_list {")
        until(lambda: "is not a ModelServerConfig" in stderr.read_text())
        config.write_text(config_of(entry("a", Path("a"), label(7))))
        until(lambda: "the label 'stable' is on a version that is not served" in stderr.read_text())
        assert stable() == 2
        export(tmp_path / "a" / "7")  # the same configuration is right now
        until(lambda: stable() == 7)
        assert server.ask("GET", "/v1/models/bad/metadata")[0] == 404
        assert server.end()[0] == 0
        assert stderr.read_text().count("is not a ModelServerConfig") == 1  # told once
        assert stderr.read_text().count("bad version 1 is not served: no such op") == 1
        assert "could not be loaded" not in stderr.read_text()


def test_listening_on_the_network_says_what_that_means(tmp_path: Path):
    export(tmp_path / "m" / "1")
    with serving("m", "--rest-port", "0", "--no-grpc", "--host", "0.0.0.0", cwd=tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.ask("GET", "/v1/models/m")[0] == 200
    assert (tmp_path / "stderr.txt").read_text() == (
        "warning: listening on 0.0.0.0 without authentication: anyone who can reach the port can use the models"
        " and read the traffic\n"
    )


def test_limits_reach_the_server(tmp_path: Path):
    export(tmp_path / "m" / "1")
    words = ("m", "--rest-port", "0", "--no-grpc", "--max-body-mb", "0.01", "--timeout", "0.2", "--max-in-flight", "1")
    with serving(*words, "--access-log", "access.log", cwd=tmp_path) as server:
        assert server.ask("POST", "/v1/models/m:predict", "x" * 20_000)[0] == 413
        assert server.ask("POST", "/v1/models/m:predict", "slow 1")[0] == 504
        got: list[int] = []
        threads = [
            threading.Thread(target=lambda: got.append(server.ask("POST", "/v1/models/m:predict", "slow 0.15")[0]))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 429 in got
        assert server.end()[0] == 0
    assert " 413 " in (tmp_path / "access.log").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "error: there is no export at nowhere; run `tlkit export`\n"),
        (["empty"], "error: empty contains no SavedModel"),
        (["m", "--name", "../m"], "error: a model name cannot contain '..' or be '.'"),
        (["m", "--name", "..", "--engine", "docker"], "error: a model name cannot contain '..' or be '.'"),
        (["m", "--engine", "cloud"], "error: unknown engine; received: 'cloud'; allowed: local, binary, docker"),
        (["m", "--tls-cert", "x.pem"], "error: --tls-cert and --tls-key must be used together\n"),
        (["m", "--tls-client-ca", "x.pem"], "error: --tls-client-ca needs --tls-cert and --tls-key\n"),
        (["m", "--tls-cert", "x.pem", "--tls-key", "y.pem"], "error: cannot read x.pem: No such file or directory\n"),
        (["m", "--tls-cert", "bad.config", "--tls-key", "bad.config"], "error: cannot use bad.config with the key"),
        (["m", "--model-config", "bad.config"], "cannot be combined with EXPORT or --name\n"),
        (["--model-config", "no.config"], "error: cannot read no.config: No such file or directory\n"),
        (["--model-config", "bad.config"], "error: bad.config is not a ModelServerConfig: 1:1"),
        (["--model-config", "label.config"], "the label 'x' is on a version that is not served; received: 9"),
        (["m", "--batching-config", "bad.config"], "error: bad.config is not a BatchingParameters"),
        (["m", "--batching-config", "bad.config", "--batching", "off"], "cannot be combined\n"),
        (["m", "--models-root", "."], "error: --models-root needs --model-config\n"),
        (["m", "--no-grpc", "--grpc-port", "1"], "error: --no-grpc and --grpc-port cannot be combined\n"),
        (["m", "--rest-port", "8500"], "error: REST and gRPC need different ports; received: 8500\n"),
        (["m", "--access-log", "no/such/log", "--rest-port", "0"], "error: the access log cannot be written"),
        (
            ["m", "--allowed-host", "http://x"],
            "error: --allowed-host is not a host; received: 'http://x'; allowed: a",
        ),
        (
            ["m", "--cors-origin", "x"],
            "error: --cors-origin is not an origin; received: 'x'; allowed: scheme://host or",
        ),
        (["m", "--engine", "docker", "--cors-origin", "*"], "error: --cors-origin needs --engine local\n"),
        (["m", "--max-batch", "8", "--batching-config", "bad.config"], "--batching-config cannot be combined"),
        (["m", "--engine", "binary", "--ui"], "error: --ui needs --engine local\n"),
        (["m", "--host", "nowhere.invalid"], "error: cannot listen on nowhere.invalid:8501: "),
        (["m", "--rest-port", "0", "--batching", "sometimes"], "Invalid value for '--batching'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
):
    export(tmp_path / "m" / "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.config").write_text("}")
    (tmp_path / "label.config").write_text(config_of(entry("m", Path("m"), 'version_labels { key: "x" value: 9 }')))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tlkit.serving.worker_process.WorkerProcess", lambda: pytest.fail("started a worker"))
    assert cli.run(["serve", *words]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


@pytest.mark.parametrize("option", ["--rest-port", "--grpc-port"])
def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, option: str):
    export(tmp_path / "m" / "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        rest = [] if option == "--rest-port" else ["--rest-port", "0"]
        text = failing("m", *rest, option, port, cwd=tmp_path)
    assert text == (
        f"error: cannot listen on 127.0.0.1:{port}: the port is in use; choose another {option} (0 for a free port)"
        " or --host\n"
    )


def test_a_single_export_that_cannot_be_loaded_is_the_end(tmp_path: Path):
    export(tmp_path / "m" / "1", "load-fail the graph is cut off")
    text = failing("m", "--rest-port", "0", cwd=tmp_path)
    assert text == "error: m version 1 is not served: the graph is cut off\n"


def test_a_worker_that_cannot_start_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_WORKER_DIES", "1")
    export(tmp_path / "m" / "1")
    text = failing("m", "--rest-port", "0", cwd=tmp_path)
    assert "error: the worker process ended (exit code 1): no TensorFlow here; " in text


def test_another_engine_gets_the_model_and_the_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    export(tmp_path / "m" / "1")
    config = tmp_path / "models.config"
    config.write_text("its parser is the engine's")
    asked = []

    def run_engine(*words: object, **options: object) -> int:
        asked.append((words, options))
        return 1

    monkeypatch.setattr("tlkit.serving.engines.run_engine", run_engine)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["serve", "m", "--engine", "docker", "--rest-port", "0", "--name", "x"]) == 1
    assert cli.run(["serve", "--model-config", "models.config", "--engine", "binary", "--no-grpc"]) == 1
    (first, second) = asked
    assert first[0] == ("docker", [("x", Path("m"))])
    assert (first[1]["rest_port"], first[1]["grpc_port"], first[1]["host"]) == (0, 0, "127.0.0.1")
    assert second[0] == ("binary", Path("models.config"))
    assert (second[1]["rest_port"], second[1]["grpc_port"]) == (8501, None)


@pytest.mark.slow
def test_tensorflow_serves_dies_and_serves_again_with_what_the_extra_serve_installs(tmp_path: Path):
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32, name="x")
    half = tf.function(lambda x: {"y": x / 2.0 + 2.0}, input_signature=[spec])

    def abort() -> Any:
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="a tensor that TensorFlow cannot bear")]):
            return tf.constant(0.0)

    def bear(x: Any) -> dict[str, Any]:
        return {"y": x + tf.cond(tf.reduce_any(x < 0.0), abort, lambda: tf.constant(0.0))}

    module.poison = tf.function(bear, input_signature=[spec])
    tf.saved_model.save(
        module, str(tmp_path / "half" / "1"), signatures={"serving_default": half, "poison": module.poison}
    )
    alone = with_serve_alone(tmp_path)
    # Abort is refused otherwise.
    with serving("half", "--rest-port", "0", "--trust", cwd=tmp_path, fake=False, path=alone) as server:
        question = ("POST", "/v1/models/half:predict", '{"instances": [1.0, 2.0, 5.0]}')
        right = (200, [2.5, 3.0, 4.5])

        def answer() -> tuple[int, list[float] | None]:
            status, text = server.ask(*question)
            return status, json.loads(text).get("predictions")

        assert answer() == right
        os.kill(server.worker(), signal.SIGKILL)
        until(lambda: answer() == right)

        def poison(value: float) -> tuple[int, str]:
            text = json.dumps({"signature_name": "poison", "instances": [value]})
            return server.ask("POST", "/v1/models/half:predict", text)

        assert poison(1.0)[0] == 200
        told = []
        while not told or told[-1][0] == 503:  # it comes again as soon as the model is back
            told.append(poison(-1.0))
            until(lambda: answer() == right)
        assert told[-1][0] == 400
        assert "this request crashed the worker process twice and is rejected" in told[-1][1]
        assert "(signal 6)" in told[0][1]
        assert poison(2.0)[0] == 200
        assert server.end(signal.SIGINT) == (0, "stopped\n")
    lines = (tmp_path / "stderr.txt").read_text().splitlines()
    deaths = [line for line in lines if "the worker process ended" in line]
    assert [re.search(r"\(signal \d\)", line)[0] for line in deaths] == ["(signal 9)", "(signal 6)", "(signal 6)"]
    assert lines == [line for line in lines if line in deaths or "is loaded (" in line]  # no stack
