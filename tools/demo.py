"""The main job on real photographs, from nothing to an answer over HTTP: what `make demo` runs.

    python tools/demo.py

Everything is written below demo/ and saved_models/ of the repository; an earlier demo/ is replaced.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
PHOTOS = DEMO / "photos"
PROJECT = DEMO / "surfaces"
EXPORTS = ROOT / "saved_models" / "surfaces"


def tlkit(*arguments: str, cwd: Path = PROJECT, read: bool = False) -> str:
    """Run the command line as a user would; a failure ends the demo with its exit code."""
    print(f"\n$ tlkit {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "tlkit", *arguments]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE if read else None, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


def ask_over_rest(photo: Path) -> dict:
    """Serve the export, send one photo as JSON, give the prediction."""
    print(f"\n$ tlkit serve {EXPORTS.relative_to(ROOT)} --rest-port 0 &", flush=True)
    command = [sys.executable, "-m", "tlkit", "serve", str(EXPORTS), "--rest-port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = None
        for line in server.stdout:
            print(line, end="", flush=True)
            if found := re.search(r"at (http://\S+)", line):
                address = found[1]
                break
        if address is None:
            sys.exit("the server did not start")
        body = {"instances": [{"b64": base64.b64encode(photo.read_bytes()).decode()}]}
        request = urllib.request.Request(f"{address}:predict", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["predictions"][0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def main() -> None:
    """Walk from photos to an answer."""
    start = time.monotonic()
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    tlkit("samples", "get", "surfaces", str(PHOTOS), cwd=ROOT)
    tlkit(
        "new", "image-classification", str(PROJECT), "--data", str(PHOTOS), "--set", "project_name=Surfaces", cwd=ROOT
    )
    tlkit("train")
    metrics = json.loads(tlkit("evaluate", "--json", read=True))
    version = tlkit("export", "--to", str(EXPORTS), read=True).strip().splitlines()[-1]
    tlkit("verify", version)
    photo = next((PHOTOS / "val" / "gravel").glob("*.jpg"))
    answer = ask_over_rest(photo)
    best = list(zip(answer["classes"], answer["scores"], strict=True))[:3]
    accuracy, n = metrics["metrics"]["accuracy"], metrics["n"]
    print(
        f"""
Done in {time.monotonic() - start:.0f} s.
A network that was pretrained on ImageNet now tells {", ".join(metrics["per_class"])} apart:
{accuracy:.1%} of {n} photo crops that it never saw in training are right.
Asked over HTTP, it says of a photo of gravel: {", ".join(f"{name} {score:.1%}" for name, score in best)}.
The exported model answers as it did in training, checked in a fresh process: {version}
Learning-rate plot:  {PROJECT / "reports" / "learning_rate.png"}
Confusion matrix:    {PROJECT / "reports" / "confusion_matrix.png"}
The project, yours to change:  {PROJECT}"""
    )


if __name__ == "__main__":
    main()
