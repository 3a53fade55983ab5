"""Check an export as TensorFlow Serving would meet it: in a fresh process without Keras and tlkit."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from tlkit.export.manifest import resolve_export

WORKER = Path(__file__).with_name("verify_worker.py")

#: The checks in the order in which they run, and what each shows.
CHECKS = {
    "fresh_process": "neither keras nor tlkit can be imported where the checks run",
    "manifest_complete": "every file is listed in manifest.json with the right sha256",
    "op_allow_list": "only TensorFlow (Text) operations with a CPU kernel; no Python, files or XLA",
    "labels_asset": "assets/labels.txt lists the labels, one per line",
    "loads_v2": "tf.saved_model.load",
    "signature_lint": "names, dtypes, ranks and a free batch dimension of every signature",
    "loads_v1_session": "TensorFlow Serving's session loader returns the same outputs",
    "golden_parity": "the outputs for the golden examples equal those of the Keras model at export",
    "batch_sizes": "batches of 1, 3 and the largest size",
    "rows_independent": "an output does not depend on the other rows of the batch",
    "bad_inputs": "invalid inputs raise errors, unusual inputs get predictions, and the process does not crash",
    "warmup_replay": "every warm-up request succeeds through its signature",
}

CANNOT_CATCH = (
    "Outputs were computed by this machine's TensorFlow, not by a tensorflow_model_server of another version.",
    "Speed, memory under load, batching settings and GPUs were not tested.",
    "The accuracy on new data: use `tlkit evaluate`.",
)


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The outcome of one named check; `seconds` is what it took.

    `memory` is set by the last check alone: `base_mib`, what the process held before it loaded the export, and
    `peak_mib`, the most that it held until the warm-up had been replayed.
    """

    name: str
    ok: bool
    reason: str
    seconds: float = 0.0
    memory: dict[str, int] | None = None


def verify_export(path: str | Path, *, timeout: float = 600.0) -> list[CheckResult]:
    """Run every check on an export in a fresh process.

    The process runs in Python's isolated mode and cannot import keras, keras_hub, tf_keras or tlkit. Should
    it die, the check that was running fails by name.

    Example:
        >>> [check.name for check in verify_export("saved_models/photos/1") if not check.ok]
        []

    Args:
        path: a version folder, or a model's base path (then its newest version); it may be a copy elsewhere.
        timeout: seconds for all the checks together.

    Returns:
        One result per check, in the order of `CHECKS`.

    Raises:
        ExportError: there is no export at `path`.
    """
    export = resolve_export(path).resolve()
    command = [sys.executable, "-I", "-u", str(WORKER), str(export)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    results: dict[str, CheckResult] = {}
    running: str | None = None
    doing = ""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
        )
        expired = threading.Event()
        alarm = threading.Timer(timeout, lambda: [end_it() for end_it in (expired.set, process.kill)])
        alarm.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                message = _parse(line)
                if "start" in message:
                    running, doing = message["start"], message.get("detail", "")
                elif message.get("name") in CHECKS:
                    results[message["name"]] = CheckResult(**message)
                    running = None
            process.wait()
        finally:
            alarm.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        end = f"timed out after {timeout:g} s" if expired.is_set() else _end_of(process.returncode, log)
        end += f" (during {doing})" if running and doing else ""
    return [results.get(name) or _unfinished(name, running, end) for name in CHECKS]


def _parse(line: str) -> dict:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _unfinished(name: str, running: str | None, end: str) -> CheckResult:
    if name == running or (running is None and name == next(iter(CHECKS))):
        return CheckResult(name, False, end)
    return CheckResult(name, False, f"not run: {f'the process died in {running}' if running else end}")


def _end_of(returncode: int, log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    last = f": {lines[-1][:300]}" if lines else ""
    if returncode < 0:
        try:
            return f"the process was killed by {signal.Signals(-returncode).name}{last}"
        except ValueError:
            return f"the process was killed by signal {-returncode}{last}"
    return f"the process ended early with code {returncode}{last}"
