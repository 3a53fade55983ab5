from __future__ import annotations

import http.server
import subprocess
import threading
from pathlib import Path

import pytest

from tlkit.cli import doctor


def test_a_check_that_hangs_does_not_hold_the_others(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(doctor, "check_tensorflow", lambda: released.wait(60))  # who waits gets no check
    monkeypatch.setattr(doctor, "check_package_index", lambda: released.wait(60))
    monkeypatch.setattr(doctor, "check_host", lambda name, url: doctor.Check(name, "ok", "reachable"))
    found = {check.name: check for check in doctor.examine(deadline_s=0.5)}
    released.set()
    assert found["TensorFlow"].status == found["package index"].status == "warn"
    assert "timed out" in found["TensorFlow"].value
    assert found["Kaggle"].status == "ok"
    assert {"Python", "tensorflow", "keras", "processor", "memory", "disk", "docker", "caches"} <= set(found)


def test_a_missing_package_is_essential_and_an_untested_version_is_not():
    missing, numpy = doctor.check_packages(["no-such-package-at-all", "numpy"])
    assert missing.status == "fail"
    assert "reinstall" in missing.advice
    assert numpy.status in ("ok", "warn")


def test_a_version_outside_the_tested_range_is_told_with_the_range(monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ["numpy~=1.0"])
    (numpy,) = doctor.check_packages(["numpy"])
    assert numpy.status == "warn"
    assert "numpy~=1.0" in numpy.advice


@pytest.mark.parametrize(("version", "status"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 14), "fail")])
def test_python_must_have_wheels(monkeypatch, version: tuple[int, int], status: str):
    monkeypatch.setattr(doctor.sys, "version_info", (*version, 0, "final", 0))
    assert doctor.check_python().status == status


def test_tensorflow_that_does_not_import_is_essential(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: no such symbol\n")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *args, **kwargs: failed)
    check = doctor.check_tensorflow()
    assert check.status == "fail"
    assert "ImportError: no such symbol" in check.value


def test_devices_are_counted(monkeypatch):
    out = 'noise\n[["CPU", "/cpu:0"], ["GPU", "/gpu:0"], ["GPU", "/gpu:1"]]\n'
    monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess([], 0, out, ""))
    assert doctor.check_tensorflow() == doctor.Check("TensorFlow", "ok", "import works; devices: 1 CPU, 2 GPU")


def test_pip_that_finds_nothing_or_does_not_answer_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess([], 1, "", "x"))
    assert doctor.check_package_index().status == "warn"

    def slow(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("pip", 1)

    monkeypatch.setattr(doctor.subprocess, "run", slow)
    assert "timed out" in doctor.check_package_index().value


@pytest.mark.parametrize(("code", "status"), [(200, "ok"), (404, "ok"), (403, "warn"), (503, "warn")])
def test_a_host_is_reachable_when_it_answers_for_itself(code: int, status: str):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(code)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check = doctor.check_host("here", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert check.status == status


def test_a_host_that_cannot_be_reached_gives_the_reason():
    check = doctor.check_host("here", "http://127.0.0.1:1")
    assert check.status == "warn"
    assert "refused" in check.value
    assert "tlkit weights list" in check.advice


def test_caches_are_measured(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "x.bin").write_bytes(b"0" * 3000)
    assert "tlkit 3 KB" in doctor.check_caches().value
