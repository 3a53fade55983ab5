"""The engines `binary` and `docker`, against stand-ins that check their flags: not run against the real ones."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tlkit.errors import ConfigError
from tlkit.serving import protos
from tlkit.serving.deploy import Deployment, render
from tlkit.serving.engine_config import engine_models
from tlkit.serving.engines import run_engine
from tlkit.serving.models_config import read_text_proto
from tlkit.serving.models_root import local_base_path

# What tensorflow_model_server of 2.21 knows of the flags (model_servers/main.cc); any other one ends it.
KNOWN = (
    "port rest_api_port model_config_file monitoring_config_file file_system_poll_wait_seconds enable_batching"
    " batching_parameters_file allow_version_labels_for_unavailable_models"
)

MODEL_SERVER = """
import http.server, json, os, re, sys, threading
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
print("stand-in for tensorflow_model_server", flush=True)
unknown = set(flags) - set(os.environ["FAKE_KNOWN"].split())
if unknown:
    sys.exit(f"unknown argument: {sorted(unknown)}")
here = os.environ.get("FAKE_CONFIG")  # of a container: where /config is
config = open(flags["model_config_file"].replace("/config", here) if here else flags["model_config_file"]).read()
record = {"flags": flags, "models.config": config, "log_level": os.environ.get("TF_CPP_MIN_LOG_LEVEL")}
record["bases"] = [sorted(os.listdir(path)) for path in re.findall(r'base_path: "(.*)"', config) if not here]
json.dump(record, open(os.environ["FAKE_RECORD"], "w"))
if os.environ.get("FAKE_DIES"):
    print("Failed to start server. Error: no such luck", flush=True)
    sys.exit(7)
names = re.findall(r'\\bname: "(.*)"', config)
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        ready = asked.count(self.path) > 2 and not os.environ.get("FAKE_NEVER")
        self.send_response(200 if ready and self.path in {f"/v1/models/{name}/metadata" for name in names} else 404)
        self.end_headers()
        if self.path == "/die":
            print("a check failed", flush=True)
            os._exit(3)
    def log_message(self, *words): pass
port = int(os.environ.get("FAKE_PORT") or flags["rest_api_port"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

DOCKER = """
import json, os, subprocess, sys
words = sys.argv[1:]
place = os.environ["FAKE_RECORD"] + ".docker"
if words[0] == "version":
    if os.environ.get("FAKE_NO_DAEMON"):
        sys.exit("Cannot connect to the Docker daemon")
    print("28.0")
elif words[0] == "stop":
    run = json.load(open(place))
    json.dump({**run, "stop": words}, open(place, "w"))
    if words[-1] != next(word[7:] for word in run["run"] if word.startswith("--name=")):
        sys.exit("no such container")
    os.kill(run["pid"], 15)
elif words[0] == "run":
    json.dump({"run": words, "pid": os.getpid()}, open(place, "w"))
    image = next(number for number, word in enumerate(words[1:], 1) if not word.startswith("--"))
    mounts = [word for word in words if word.startswith("--mount=")]
    config = next(word for word in mounts if "target=/config," in word).split("source=")[1].split(",")[0]
    outside = next(word for word in words if word.endswith(":8501")).split(":")[-2]
    os.environ.update(FAKE_CONFIG=config, FAKE_PORT=outside)
    server = os.path.join(os.path.dirname(sys.argv[0]), "tensorflow_model_server")
    os.execv(server, [server, *words[image + 1:]])
"""


class Tools:
    """A folder with the stand-ins, and what they wrote down."""

    def __init__(self, folder: Path):
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.record = folder / "record.json"
        self.environment = {
            "PATH": str(self.bin),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "FAKE_KNOWN": KNOWN,
            "FAKE_RECORD": str(self.record),
        }

    def add(self, name: str, code: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{sys.executable}\n{code}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def read(self, suffix: str = "") -> dict:
        return json.loads(Path(f"{self.record}{suffix}").read_text())

    def start(self, arguments: str, **environment: str) -> subprocess.Popen[str]:
        code = (
            "import sys; from pathlib import Path; from tlkit.serving.engines import run_engine\n"
            f"sys.exit(run_engine({arguments}))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    made = Tools(tmp_path)
    made.add("tensorflow_model_server", MODEL_SERVER)
    made.add("docker", DOCKER)
    return made


@pytest.fixture
def bees(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        (tmp_path / "models, mine" / "bees" / version).mkdir(parents=True)
        (tmp_path / "models, mine" / "bees" / version / "saved_model.pb").touch()
    return tmp_path / "models, mine" / "bees"


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stopped(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Wait for the banner, send a signal, and give exit code, stdout and stderr."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            process.send_signal(number)
            break
    out, error = process.communicate(timeout=60)
    return process.returncode, "".join(lines) + out, error


def served(record: dict) -> list:
    parsed = protos.ModelServerConfig()
    from google.protobuf import text_format

    return list(text_format.Parse(record["models.config"], parsed).model_config_list.config)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_binary_is_started_awaited_and_stopped(tools: Tools, bees: Path, number: int):
    rest, grpc = port(), port()
    process = tools.start(
        f"'binary', [('bees', Path({str(bees)!r}))], rest_port={rest}, grpc_port={grpc}, poll_seconds=2"
    )
    code, out, error = stopped(process, number)
    assert code == 0, error
    assert f"http://127.0.0.1:{rest}/v1/models/bees" in out
    assert f"gRPC on 127.0.0.1:{grpc}" in out
    assert out.endswith("stopped\n")
    assert "every address" in error
    record = tools.read()
    assert record["flags"]["rest_api_port"] == str(rest)
    assert record["flags"]["port"] == str(grpc)
    assert record["flags"]["file_system_poll_wait_seconds"] == "2"
    assert "enable_batching" not in record["flags"]
    assert record["bases"] == [["1", "2"]]
    assert record["log_level"] is None, "the server's log explains failures"
    (config,) = served(record)
    assert (config.name, config.base_path, config.model_platform) == ("bees", str(bees), "tensorflow")
    assert not Path(record["flags"]["model_config_file"]).exists(), "the scratch folder is left behind"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", rest)) != 0


def test_one_version_and_a_folder_of_another_name(tools: Tools, bees: Path, tmp_path: Path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "saved_model.pb").touch()
    models = f"[('bees', Path({str(bees / '1')!r})), ('plain', Path({str(tmp_path / 'plain')!r}))]"
    code, _, error = stopped(tools.start(f"'binary', {models}, rest_port=0, grpc_port=None"))
    assert code == 0, error
    record = tools.read()
    assert record["flags"]["port"] == "0"
    assert record["bases"] == [["1", "2"], ["1"]]
    first, second = served(record)
    assert list(first.model_version_policy.specific.versions) == [1]
    assert not second.HasField("model_version_policy")


def test_a_models_config_keeps_policies_and_labels(tools: Tools, bees: Path, tmp_path: Path):
    (tmp_path / "batching.config").write_text("max_batch_size { value: 8 }")
    (tmp_path / "models.config").write_text(
        'model_config_list { config { name: "bees" base_path: "/models/bees" model_platform: "tensorflow"'
        " model_version_policy { specific { versions: 1 versions: 2 } }"
        ' version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } } }'
    )
    code, _, error = stopped(
        tools.start(
            f"'binary', Path({str(tmp_path / 'models.config')!r}), rest_port=0, grpc_port=0,"
            f" models_root=Path({str(bees.parent)!r}), batching_config=Path({str(tmp_path / 'batching.config')!r})"
        )
    )
    assert code == 0, error
    record = tools.read()
    assert record["flags"]["enable_batching"] == "true"
    assert record["flags"]["allow_version_labels_for_unavailable_models"] == "true"
    (config,) = served(record)
    assert config.base_path == str(bees)
    assert list(config.model_version_policy.specific.versions) == [1, 2]
    assert dict(config.version_labels) == {"stable": 1, "canary": 2}


def test_docker_is_run_narrowly_and_stopped_by_its_name(tools: Tools, bees: Path):
    rest, grpc = port(), port()
    process = tools.start(f"'docker', [('bees', Path({str(bees)!r}))], rest_port={rest}, grpc_port={grpc}")
    code, out, error = stopped(process)
    assert code == 0, error
    assert f"http://127.0.0.1:{rest}/v1/models/bees" in out
    run = tools.read(".docker")
    words = run["run"]
    for word in ("--rm", "--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"):
        assert word in words
    assert f"--user={os.getuid()}:{os.getgid()}" in words
    service = yaml.safe_load(render(Deployment("bees"))["compose.yaml"])["services"]["serving"]
    assert (service["read_only"], service["init"], service["tmpfs"]) == (True, True, ["/tmp"])
    assert "--tmpfs=/tmp" in words
    assert [f"--cap-drop={name}" for name in service["cap_drop"]] == ["--cap-drop=ALL"], "as in compose.yaml"
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [f"--entrypoint={name}" for name in service["entrypoint"]] == [words[words.index(service["image"]) - 1]]
    assert {word for word in words if word.startswith("--publish=")} == {
        f"--publish=127.0.0.1:{rest}:8501",
        f"--publish=127.0.0.1:{grpc}:8500",
    }
    assert "tensorflow/serving:2.21.0" in words
    mounts = [word for word in words if word.startswith("--mount=")]
    assert len(mounts) == 2
    assert all(word.endswith("readonly") for word in mounts)
    # A path with a comma is quoted as Docker's CSV parser reads it.
    assert f'--mount=type=bind,"source={bees}",target=/models/0,readonly' in mounts
    assert run["stop"][:3] == ["stop", "--time", "10"]
    flags = tools.read()["flags"]
    assert (flags["rest_api_port"], flags["port"]) == ("8501", "8500")
    assert flags["model_config_file"] == "/config/models.config"
    assert served(tools.read())[0].base_path == "/models/0"


def test_a_server_that_dies_shows_its_last_lines(tools: Tools, bees: Path):
    process = tools.start(f"'binary', [('bees', Path({str(bees)!r}))], rest_port=0, grpc_port=0", FAKE_DIES="1")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Error: no such luck" in error
    assert "exited with code 7" in error
    assert "serving" not in out


def test_a_server_that_dies_later_ends_the_command(tools: Tools, bees: Path):
    rest = port()
    process = tools.start(f"'binary', [('bees', Path({str(bees)!r}))], rest_port={rest}, grpc_port=0")
    assert process.stdout is not None
    assert "http://" in process.stdout.readline()
    with socket.create_connection(("127.0.0.1", rest)) as connection:
        connection.sendall(b"GET /die HTTP/1.0\r\n\r\n")
        connection.recv(100)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a check failed" in error
    assert "exited with code 3" in error


def test_a_server_that_is_never_ready_is_stopped(tools: Tools, bees: Path):
    process = tools.start(
        f"'docker', [('bees', Path({str(bees)!r}))], rest_port=0, grpc_port=0, ready_timeout=1.5", FAKE_NEVER="1"
    )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "did not respond in time" in error
    assert "stand-in" in error
    assert tools.read(".docker")["stop"]


def test_ctrl_c_while_it_waits(tools: Tools, bees: Path):
    process = tools.start(f"'binary', [('bees', Path({str(bees)!r}))], rest_port=0, grpc_port=0", FAKE_NEVER="1")
    deadline = time.monotonic() + 60
    while not tools.record.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "stopped\n"), error


def test_what_is_absent_is_said(tools: Tools, bees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in tools.environment.items():
        monkeypatch.setenv(name, value)
    models = [("bees", bees)]
    monkeypatch.setenv("FAKE_NO_DAEMON", "1")
    with pytest.raises(ConfigError, match=r"docker cannot reach its daemon; received: 'Cannot connect.*--engine local"):
        run_engine("docker", models)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"docker is not installed.*--engine local"):
        run_engine("docker", models)
    with pytest.raises(ConfigError, match=r"tensorflow_model_server is not on PATH.*--engine docker"):
        run_engine("binary", models)
    with pytest.raises(ConfigError, match=r"unknown engine; received: 'podman'; allowed: binary, docker"):
        run_engine("podman", models)
    with pytest.raises(ConfigError, match=r"must be pinned.*'tensorflow/serving:latest'"):
        run_engine("docker", models, image="tensorflow/serving:latest")


def test_a_port_that_is_taken_is_not_mistaken_for_the_server(tools: Tools, bees: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in tools.environment.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{taken}"):
            run_engine("docker", [("bees", bees)], rest_port=taken)
    with pytest.raises(ConfigError, match="different ports"):
        run_engine("docker", [("bees", bees)], rest_port=8500)


def test_configurations_that_cannot_be_used(bees: Path, tmp_path: Path):
    path = tmp_path / "models.config"
    path.write_text("model_config_list { config { nam")
    with pytest.raises(ConfigError, match=r"is not a ModelServerConfig: 1:.*text proto of TensorFlow Serving"):
        engine_models(path)
    path.write_text("model_config_list {}")
    with pytest.raises(ConfigError, match="has no model"):
        engine_models(path)
    path.write_text('model_config_list { config { name: "bees" base_path: "/models/bees" } }')
    with pytest.raises(ConfigError, match=r"has no folder /models/bees; .*--models-root"):
        engine_models(path)
    path.write_text('model_config_list { config { name: "bees" base_path: "models, mine/bees" } }')
    assert engine_models(path)[0].base.samefile(bees), "relative to the file, as for the local server"
    with pytest.raises(ConfigError, match="'bees' is listed twice"):
        engine_models([("bees", bees), ("bees", bees)])
    with pytest.raises(ConfigError, match="cannot read .*nowhere: No such file"):
        read_text_proto(tmp_path / "nowhere", protos.BatchingParameters())


def test_base_paths_on_this_machine(tmp_path: Path):
    assert local_base_path("/models/bees", tmp_path) == tmp_path / "bees"
    assert local_base_path("/models/bees", None) == Path("/models/bees")
    assert local_base_path("/srv/bees", tmp_path) == Path("/srv/bees")
    assert local_base_path("/models/../etc", tmp_path) == Path("/models/../etc")
    assert local_base_path("/modelsbees", tmp_path) == Path("/modelsbees")
