"""tools/tfs_smoke.sh with stand-ins for docker, the vectors and the checks: not run against the real server."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

DOCKER = """
import json, os, signal, subprocess, sys
words, place = sys.argv[1:], os.environ["FAKE_RECORD"]
calls = json.load(open(place)) if os.path.exists(place) else []
calls.append(words)
json.dump(calls, open(place, "w"))
pid = os.path.join(os.path.dirname(place), "pid")
if words[0] == "version":
    sys.exit("no daemon" if os.environ.get("FAKE_NO_DAEMON") else 0)
elif words[0] == "run":
    config = next(word.split("=", 1)[1] for word in words if word.startswith("--model_config_file="))
    open(os.path.join(os.path.dirname(place), "models.config"), "w").write(open(config).read())
    port = next(word for word in words if word.endswith(":8501")).split(":")[1]
    folder = os.path.join(os.path.dirname(place), "web", "v1", "models", "bees")
    os.makedirs(folder)
    open(os.path.join(folder, "metadata"), "w").write("{}")
    if not os.environ.get("FAKE_DIES"):
        server = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "-d", folder[: folder.index("/v1")]]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        open(pid, "w").write(str(subprocess.Popen(server, **quiet).pid))
elif words[0] == "inspect":
    print("false" if os.environ.get("FAKE_DIES") else "true")
elif words[0] == "logs":
    print("the server's last words")
elif words[0] == "stop" and os.path.exists(pid):
    os.kill(int(open(pid).read()), signal.SIGTERM)
    os.remove(pid)
"""
CHECK = "import os, sys; print({name!r}, *sys.argv[1:]); sys.exit({name!r} == os.environ.get('FAKE_FAILS'))\n"


class Smoke:
    """The script, with stand-ins around it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.vectors = folder / "vectors, all"
        (self.vectors / "models_tfs" / "half" / "1").mkdir(parents=True)
        (self.vectors / "make_models.py").write_text("import os, sys; os.makedirs(sys.argv[1] + '/echo/1')\n")
        for name in ("run_rest", "run_grpc"):
            (self.vectors / f"{name}.py").write_text(CHECK.format(name=name))
        for name in ("rest_vectors.json", "grpc_vectors.json"):
            (self.vectors / name).write_text("[]")
        document = {"models": {"default": {"base_path": "models_tfs/half"}, "*": {"base_path": "models/<name>"}}}
        (self.vectors / "server_config.json").write_text(json.dumps(document))
        self.export = folder / "saved_models" / "bees" / "3"
        self.export.mkdir(parents=True)
        (self.export / "saved_model.pb").touch()
        (self.export / "manifest.json").touch()
        (folder / "bin").mkdir()
        self.write("bin/docker", DOCKER)
        # `python -m tlkit ...` is a check of its own; everything else is Python.
        tlkit = CHECK.format(name="tlkit")
        self.write(
            "python",
            "import os, sys\n"
            f"if sys.argv[1:3] == ['-m', 'tlkit']:\n    exec({tlkit!r})\n"
            f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n",
        )

    def write(self, name: str, code: str) -> None:
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\n{code}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            ports = {"REST_PORT": str(one.getsockname()[1]), "GRPC_PORT": str(other.getsockname()[1])}
        return subprocess.run(
            ["bash", str(REPOSITORY / "tools" / "tfs_smoke.sh"), *map(str, words)],
            env={
                "PATH": f"{self.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
                "PYTHON": str(self.folder / "python"),
                "FAKE_RECORD": str(self.folder / "calls.json"),
                "TMPDIR": str(self.folder / "bin"),
                **ports,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def calls(self) -> list[list[str]]:
        return json.loads((self.folder / "calls.json").read_text())


@pytest.fixture
def smoke(tmp_path: Path) -> Smoke:
    return Smoke(tmp_path)


def test_every_check_runs_and_the_container_is_removed(smoke: Smoke):
    done = smoke.run(smoke.vectors, smoke.export)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run_rest http://127.0.0.1:" in done.stdout
    assert "run_grpc 127.0.0.1:" in done.stdout
    assert "tlkit verify --server http://127.0.0.1:" in done.stdout.replace("tlkit -m", "tlkit")
    assert str(smoke.export) in done.stdout
    assert done.stdout.endswith("passed: tensorflow/serving:2.21.0 answers as expected\n")
    calls = smoke.calls()
    (run,) = [words for words in calls if words[0] == "run"]
    assert "tensorflow/serving:2.21.0" in run
    assert all(word.startswith("127.0.0.1:") for before, word in pairwise(run) if before == "--publish")
    mounts = [word for before, word in pairwise(run) if before == "--mount"]
    assert f'type=bind,"source={smoke.vectors}","target={smoke.vectors}",readonly' in mounts
    assert len(mounts) == 3
    assert {"rm", "stop"} <= {words[0] for words in calls}
    config = (smoke.folder / "models.config").read_text()
    for name in ("default", "echo", "bees"):
        assert f'name: "{name}"' in config
    assert not list((smoke.folder / "bin").glob("tmp.*")), "the scratch folder is left behind"


@pytest.mark.parametrize("check", ["run_rest", "run_grpc", "tlkit"])
def test_one_failing_check_fails_and_the_others_still_run(smoke: Smoke, check: str):
    done = smoke.run(smoke.vectors, smoke.export, FAKE_FAILS=check)
    assert done.returncode == 1
    assert "FAILED: tensorflow/serving:2.21.0" in done.stdout
    assert done.stdout.count("== ") == 3
    assert "the server's last words" in done.stderr


def test_a_server_that_dies_shows_its_log(smoke: Smoke):
    done = smoke.run(smoke.vectors, smoke.export, FAKE_DIES="1")
    assert done.returncode == 1
    assert "the server's last words" in done.stderr
    assert "did not become ready" in done.stderr
    assert "run_rest" not in done.stdout


def test_what_is_missing_is_said(smoke: Smoke):
    done = smoke.run(smoke.vectors, smoke.export, FAKE_NO_DAEMON="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the real server was NOT tried" in done.stderr
    assert "usage: tools/tfs_smoke.sh CONFORMANCE [EXPORT]" in smoke.run().stderr
    assert "is not a version folder" in smoke.run(smoke.vectors, smoke.export.parent).stderr
    assert "has no make_models.py" in smoke.run(smoke.export).stderr
    (smoke.export / "manifest.json").rename(smoke.export / "aside.json")
    assert "no golden inputs" in smoke.run(smoke.vectors, smoke.export).stderr
    (smoke.export / "aside.json").rename(smoke.export / "manifest.json")
    (smoke.folder / "bin" / "docker").unlink()
    tools = smoke.folder / "tools"
    tools.mkdir()
    for name in ("dirname", "basename", "bash", "find", "sort", "tail"):
        found = next(path for path in (Path("/usr/bin") / name, Path("/bin") / name) if path.exists())
        (tools / name).symlink_to(found)
    done = smoke.run(smoke.vectors, smoke.export, PATH=str(tools))
    assert done.returncode == 2
    assert "docker is not installed: the real server was NOT tried" in done.stderr
