"""What one large request costs the server: the peak memory of the process that holds the model, and after it.

    python tools/bench_large_request.py [EXPORT] [--rows 1000 100000] [--whole] [--timeout 60]

EXPORT is a text model's version folder or base path; without it, the text template's encoder is exported with random
weights (what it computes costs the same). Each request holds short texts in one body and goes to a server of its own,
started with `--max-rows 0`. `--whole` also runs each with `--max-batch 0`, as one batch, which takes gigabytes. Linux
only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path

from bench_serving import Rest, Server

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def text_export(folder: Path, encoder: str, weights: str) -> Path:
    """Export a text classifier."""
    import tlkit
    from tlkit.export.saved_model import export_task

    task = tlkit.text_classifier(encoder, ["negative", "positive"], weights=weights)
    return export_task(task, folder / "texts", golden=[b"a fine film", b"dull"]).parent


def megabytes(process: int, field: str) -> float:
    """Read a line of /proc/PID/status: VmHWM is the peak, VmRSS what is held now."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1000


def measure(base: Path, rows: int, timeout: float, *options: str) -> None:
    """Send one request of so many rows to a new server and print what it cost."""
    name = base.parent.name if (base / "saved_model.pb").is_file() else base.name
    body = json.dumps({"instances": ["good" if number % 2 else "bad" for number in range(rows)]}).encode()
    with Server(str(base), "--max-rows", "0", "--timeout", str(timeout), *options) as server:
        worker, rest = server.worker(), Rest(server.port, timeout + 60)
        path = f"/v1/models/{name}:predict"
        rest.post(path, b'{"instances": ["good"]}')
        before, begun = megabytes(worker, "VmRSS"), time.monotonic()
        status, answer = rest.post(path, body)
        took = time.monotonic() - begun
        asked = time.monotonic()
        rest.post(path, b'{"instances": ["good"]}')  # has the run ended with the answer?
        again = time.monotonic() - asked
        time.sleep(3)
        peak, after = megabytes(worker, "VmHWM"), megabytes(worker, "VmRSS")
        answered = len(json.loads(answer)["predictions"]) if status == 200 else 0
    print(
        f"{rows:7d} rows, {len(body) / 1000:6.0f} kB {' '.join(options):14s} {status} with {answered} answers after "
        f"{took:6.1f} s; memory before {before:6.0f} MB, peak {peak:6.0f} MB, 3 s after {after:6.0f} MB; next request "
        f"{1000 * again:.0f} ms",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--encoder", default="all-minilm-l6-v2")
    parser.add_argument("--weights", default="none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.export or text_export(Path(scratch), options.encoder, options.weights)
        for rows in options.rows:
            measure(base, rows, options.timeout)
            if options.whole:
                measure(base, rows, options.timeout, "--max-batch", "0")


if __name__ == "__main__":
    main()
