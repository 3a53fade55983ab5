"""The local server against the bare signature: latency, load, memory, faults, hostile requests, time to ready.

    python tools/bench_serving.py [EXPORT] [--parts latency load faults outage malformed start conformance]
                                  [--conformance FOLDER] [--seconds 60] [--clients 32]

EXPORT is an image model's version folder or base path; without it, the image template's default network is exported
with random weights (what it computes costs the same). Photos are 60 kB JPEGs made here. The bare signature is called
in this process, in turn with the server, whose model runs in its own; a trivial model (y = x / 2 + 2) shows what the
server itself costs. FOLDER holds test vectors with make_models.py, run_rest.py, run_grpc.py and server_config.json.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

PARTS = ("latency", "load", "faults", "outage", "malformed", "start", "conformance")
TOOLS = Path(__file__).parent


class Server:
    """A `tlkit serve` of its own, ready when made."""

    def __init__(self, *arguments: str):
        command = [sys.executable, "-m", "tlkit", "serve", *arguments, "--rest-port", "0", "--grpc-port", "0"]
        self.begun = time.monotonic()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the server
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout is not None
        self.port, self.grpc = 0, ""
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found and not self.port:
                self.port = int(found[1])
            found = re.search(r"gRPC at (\S+)", line)
            if found:
                self.grpc = found[1]
            if self.port:
                break
        self.seconds = time.monotonic() - self.begun
        if not self.port:
            self.log.seek(0)
            raise SystemExit(f"the server did not start: {self.log.read().decode()[-2000:]}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask on a connection of its own; give status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def worker(self) -> int:
        """Give the process that holds the models."""
        import psutil

        children = psutil.Process(self.process.pid).children()
        return next(child.pid for child in children if "tlkit.serving.worker" in " ".join(child.cmdline()))

    def megabytes(self) -> float:
        """Give what the server and its worker hold in memory."""
        import psutil

        parent = psutil.Process(self.process.pid)
        return sum(process.memory_info().rss for process in (parent, *parent.children(recursive=True))) / 1e6


class Rest:
    """One keep-alive connection."""

    def __init__(self, port: int, timeout: float = 120):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a body and give status and answer; a connection that was closed is opened again next time."""
        try:
            self._connection.request("POST", path, body)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise


def photos(count: int, size: int = 60_000) -> list[bytes]:
    """Make JPEGs of about 60 kB, each another."""
    import tensorflow as tf

    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = tf.image.resize(rng.uniform(0, 255, (60, 80, 3)), (480, 640)).numpy()
        pixels = np.clip(coarse + rng.normal(0, 18, coarse.shape), 0, 255).astype(np.uint8)
        files = [tf.io.encode_jpeg(pixels, quality=quality).numpy() for quality in (60, 70, 75, 80, 85)]
        made.append(min(files, key=lambda file: abs(len(file) - size)))
    return made


def image_export(folder: Path) -> Path:
    """Export the image template's default network with random weights."""
    import tlkit

    classes = ["ants", "bees"]
    from tlkit.export.saved_model import export_task

    task = tlkit.image_classifier("efficientnet-lite0", classes, weights="none", size=288)
    golden = photos(2, 50_000)
    return export_task(task, folder / "photos", golden=golden).parent


def trivial_export(folder: Path, version: int = 1, add: float = 2.0) -> Path:
    """Write y = x / 2 + 2."""
    import tensorflow as tf

    module = tf.Module()
    module.half = tf.function(
        lambda x: {"y": x / 2 + add}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")], autograph=False
    )
    target, made = folder / "half" / str(version), folder / f".tmp-{version}"
    tf.saved_model.save(module, str(made), signatures={"serving_default": module.half})
    target.parent.mkdir(exist_ok=True)
    made.replace(target)
    return target.parent


def newest(base: Path) -> Path:
    """Give the newest version folder of a model."""
    return max((path for path in base.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def median_ms(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Time calls in turn; medians in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 10):
        names = list(calls) if number % 2 else list(calls)[::-1]
        for name in names:
            start = time.perf_counter()
            calls[name]()
            if number >= 10:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def calls_of(
    base: Path, server: Server, feed: np.ndarray, instance: Any
) -> tuple[dict[str, Callable[[], Any]], Callable[[np.ndarray], Any]]:
    """Give the bare signature, REST and gRPC as calls of one example; and the signature itself."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    loaded = tf.saved_model.load(str(newest(base)))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def bare(batch: np.ndarray) -> Any:
        return {key: value.numpy() for key, value in signature(**{name: tf.constant(batch)}).items()}

    bare.loaded = loaded  # type: ignore[attr-defined]  the signature does not keep its model alive
    rest = Rest(server.port)
    body = json.dumps({"instances": [instance]}).encode()
    path = f"/v1/models/{base.name}:predict"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.grpc))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = base.name
    request.inputs[name].CopyFrom(tf.make_tensor_proto(feed))

    def over_rest() -> None:
        status, answer = rest.post(path, body)
        assert status == 200, answer

    return {"bare": lambda: bare(feed), "REST": over_rest, "gRPC": lambda: stub.Predict(request, 60)}, bare


def latency(models: dict[str, Path], options: argparse.Namespace) -> None:
    """p50 at batch 1, one client, for the image model and for the trivial one."""
    jpeg = photos(1)[0]
    cases = {
        "image": (models["image"], np.array([jpeg], object), {"b64": base64.b64encode(jpeg).decode()}, options.rounds),
        "trivial": (models["trivial"], np.array([1.0], np.float32), 1.0, 5 * options.rounds),
    }
    for case, (base, feed, instance, rounds) in cases.items():
        with Server(str(base)) as server:
            calls, _ = calls_of(base, server, feed, instance)
            found = median_ms(calls, rounds)
        bare = found["bare"]
        for door, goal in (("REST", 1.15), ("gRPC", 1.10)):
            more = found[door] - bare
            print(
                f"latency {case:8s} bare {bare:7.2f} ms  {door} {found[door]:7.2f} ms  {found[door] / bare:6.2f} x  "
                f"+{more:.2f} ms   (goal {f'{goal} x' if case == 'image' else '+3 ms' if door == 'REST' else '+2 ms'})"
            )


class Load:
    """Clients that ask for photos, each answer checked against what the bare signature says of that photo."""

    def __init__(self, base: Path, port: int, asked: list[bytes], expected: list[list[float]], clients: int):
        self._path = f"/v1/models/{base.name}:predict"
        self._port, self._expected = port, expected
        self._bodies = [
            json.dumps({"instances": [{"b64": base64.b64encode(photo).decode()}]}).encode() for photo in asked
        ]
        self.times: list[tuple[float, float]] = []
        self.wrong, self.errors = 0, {}  # type: ignore[var-annotated]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,), daemon=True) for seed in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, seed: int) -> None:
        rng, rest = random.Random(seed), Rest(self._port)
        while not self._stop.is_set():
            number = rng.randrange(len(self._bodies))
            begun = time.monotonic()
            try:
                status, answer = rest.post(self._path, self._bodies[number])
            except (OSError, http.client.HTTPException) as error:
                status, answer = type(error).__name__, b""  # type: ignore[assignment]
            if status != 200:
                self.errors[status] = self.errors.get(status, 0) + 1
                time.sleep(0.05)
                continue
            self.times.append((begun, time.monotonic() - begun))
            scores = sorted(json.loads(answer)["predictions"][0]["scores"])
            self.wrong += not np.allclose(scores, self._expected[number], atol=1e-4)


def expectations(bare: Callable[[np.ndarray], Any], asked: list[bytes]) -> list[list[float]]:
    """What the bare signature says of every photo by itself."""
    return [sorted(bare(np.array([photo], object))["scores"][0].tolist()) for photo in asked]


def best_batch(bare: Callable[[np.ndarray], Any], asked: list[bytes]) -> tuple[float, int]:
    """Photos a second of the bare signature at its best batch size."""
    found = []
    for size in (1, 2, 4, 8, 16, 32):
        batch = np.array((asked * 32)[:size], object)
        bare(batch)
        rounds = max(2, 48 // size)
        start = time.perf_counter()
        for _ in range(rounds):
            bare(batch)
        found.append((rounds * size / (time.perf_counter() - start), size))
    return max(found)


def load(models: dict[str, Path], options: argparse.Namespace) -> None:
    """Many clients at once: errors, swapped answers, tails, throughput, memory."""
    base, asked = models["image"], photos(48)
    with Server(str(base)) as server:
        _, bare = calls_of(base, server, np.array([asked[0]], object), {"b64": ""})
        expected = expectations(bare, asked)
        before = best_batch(bare, asked)
        memory: list[tuple[float, float]] = []
        with Load(base, server.port, asked, expected, options.clients) as running:
            begun = time.monotonic()
            while time.monotonic() < begun + options.seconds:
                time.sleep(0.5)
                memory.append((time.monotonic() - begun, server.megabytes()))
        ended = time.monotonic()
        after = best_batch(bare, asked)
    seconds = [took for at, took in running.times]
    rate = len(seconds) / (ended - begun)
    bare_rate = statistics.mean([before[0], after[0]])
    p50, p99 = np.percentile(seconds, [50, 99])
    third = options.seconds / 3
    first = statistics.mean(held for at, held in memory if at < third)
    last = statistics.mean(held for at, held in memory if at >= options.seconds - third)
    print(
        f"load: {options.clients} clients, {options.seconds:.0f} s: {len(seconds)} answers, "
        f"errors {running.errors or 0}, wrong {running.wrong}"
    )
    print(f"load: p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms, {p99 / p50:.2f} x   (goal at most 8 x)")
    print(
        f"load: {rate:.1f} photos/s, bare at its best (batch {before[1]}, {after[1]}) {bare_rate:.1f}, "
        f"{rate / bare_rate:.2f} x   (goal 0.9 x)"
    )
    print(
        f"load: memory first third {first:.0f} MB, last third {last:.0f} MB, "
        f"{100 * (last / first - 1):+.1f} %   (goal at most +5 %)"
    )


def faults(models: dict[str, Path], options: argparse.Namespace) -> None:
    """What happens under load: a killed worker, versions that come, go, are half there or broken."""
    with tempfile.TemporaryDirectory() as scratch:
        base = trivial_export(Path(scratch))
        path, body = f"/v1/models/{base.name}:predict", b'{"instances": [1.0]}'
        with Server(str(base), "--poll-seconds", "0.2") as server:
            seen: dict[Any, int] = {}
            stop = threading.Event()

            def ask() -> None:
                rest = Rest(server.port)
                while not stop.is_set():
                    try:
                        status, answer = rest.post(path, body)
                        key: Any = answer.decode() if status == 200 else status
                    except (OSError, http.client.HTTPException) as error:
                        key = type(error).__name__
                    seen[key] = seen.get(key, 0) + 1
                    if not isinstance(key, str):
                        time.sleep(0.02)

            def report(what: str) -> None:
                counts = dict(seen)
                seen.clear()
                print(f"faults: {what}: {counts}", flush=True)

            def until(wanted: str, seconds: float = 30) -> None:
                rest, end = Rest(server.port), time.monotonic() + seconds
                while time.monotonic() < end:
                    status, answer = rest.post(path, body)
                    if status == 200 and wanted in answer.decode():
                        return
                    time.sleep(0.05)
                print(f"faults: NOT within {seconds:.0f} s: {wanted}", flush=True)

            threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(2)
            report("nothing (all answers 2.5)")
            os.kill(server.worker(), signal.SIGKILL)
            time.sleep(0.5)
            until("2.5")
            report("worker killed (503, then 2.5 again)")
            trivial_export(Path(scratch), 2, add=3.0)
            until("3.5")
            time.sleep(1)
            report("version 2 comes (2.5, then 3.5, no error)")
            half = base / "3"
            half.mkdir()
            whole = (base / "2" / "saved_model.pb").read_bytes()
            (half / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
            time.sleep(2)
            (base / "4").mkdir()
            (base / "4" / "saved_model.pb").write_bytes(b"no model")
            time.sleep(2)
            report("versions 3 (half there) and 4 (corrupt) come (only 3.5)")
            shutil.rmtree(base / "4")
            shutil.rmtree(base / "3")
            shutil.rmtree(base / "2")
            until("2.5")
            time.sleep(1)
            report("versions 2 to 4 go (3.5, then 2.5, no error)")
            stop.set()


def at_rest(parent: int, count: int) -> list[Any]:
    """Wait until a process has so many children, and these have nothing to do: models are loaded and warmed up."""
    import psutil

    quiet = 0
    while quiet < 3:
        children = psutil.Process(parent).children()
        for child in children:
            child.cpu_percent()
        time.sleep(1)
        is_quiet = len(children) == count and all(child.cpu_percent() < 5 for child in children)
        quiet = quiet + 1 if is_quiet else 0
    return children


def outage(models: dict[str, Path], options: argparse.Namespace) -> None:
    """Seconds without answers after the worker was killed, without and with a spare one."""

    base = models.get("image", models["trivial"])
    path = f"/v1/models/{base.name}/metadata"
    for mode in ("none", "ready", "loaded"):
        with Server(str(base), "--spare-worker", mode) as server:
            first = server.worker()
            children = at_rest(server.process.pid, 1 if mode == "none" else 2)
            held = sum(child.memory_info().rss for child in children) / 1e6
            os.kill(first, signal.SIGKILL)
            begun = time.monotonic()
            # Until the server has noticed it would still say that the model is there.
            while not re.search(rb"tlkit_worker_restarts_total 1\b", server.get("/monitoring/prometheus/metrics")[1]):
                time.sleep(0.005)
            while server.get(path)[0] != 200:
                time.sleep(0.01)
            print(
                f"outage: --spare-worker {mode:6s} {time.monotonic() - begun:6.2f} s without answers, "
                f"{held:.0f} MB in {len(children)} processes for models",
                flush=True,
            )


def mutated(rng: random.Random, good: list[bytes]) -> bytes:
    """Change a good request at random places."""
    raw = bytearray(rng.choice(good))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw))
        kind = rng.randrange(5)
        if kind == 0:
            raw[at] = rng.randrange(256)
        elif kind == 1:
            del raw[at : at + rng.randint(1, 8)]
        elif kind == 2:
            raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif kind == 3:
            raw[at:at] = raw[at : at + rng.randint(1, 30)]
        else:
            raw[at:at] = rng.choice(
                [b"[[[[", b"}", b'{"b64":', b"1e999", b"NaN", b"-", b'"', b"\r\n\r\n", b"null", b"%2F.."]
            )
        if not raw:
            return b"\r\n"
    return bytes(raw)


def malformed(models: dict[str, Path], options: argparse.Namespace) -> None:
    """Thousands of mutated requests: only 2xx to 5xx answers or a closed connection, and good ones stay right."""
    base = models["trivial"]

    def raw(path: str, body: bytes, verb: str = "POST") -> bytes:
        headers = f"Host: localhost\r\nContent-Length: {len(body)}\r\nConnection: close"
        return f"{verb} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body

    path = f"/v1/models/{base.name}"
    good = [
        raw(f"{path}:predict", b'{"instances": [1.0, 2.0]}'),
        raw(f"{path}/versions/1:predict", b'{"signature_name": "serving_default", "inputs": {"x": [1.0, 2.0]}}'),
        raw(f"{path}:classify", b'{"examples": [{"x": 1.0}], "context": {"y": "z"}}'),
        raw(f"{path}:regress", b'{"examples": [{"x": {"b64": "aGVsbG8="}}]}'),
        raw(path, b"", "GET"),
        raw(f"{path}/metadata", b"", "GET"),
    ]
    rng, seen = random.Random(0), {}  # type: ignore[var-annotated]
    wrong = 0
    with Server(str(base)) as server:
        rest, worker = Rest(server.port), server.worker()
        for number in range(options.malformed):
            with (
                contextlib.suppress(ConnectionError),
                socket.create_connection(("127.0.0.1", server.port), 30) as client,
            ):
                with contextlib.suppress(ConnectionError):
                    client.sendall(mutated(rng, good))
                    client.shutdown(socket.SHUT_WR)
                head = b""
                with contextlib.suppress(ConnectionError):
                    head = client.recv(64)
                key = (
                    head[9:12].decode("latin-1") if head.startswith(b"HTTP/1.1 ") else "closed" if not head else "OTHER"
                )
                seen[key] = seen.get(key, 0) + 1
            if number % 20 == 0:
                status, answer = rest.post(f"{path}:predict", b'{"instances": [1.0, 2.0]}')
                wrong += status != 200 or json.loads(answer)["predictions"] != [2.5, 3.0]
        same = server.worker() == worker
    print(
        f"malformed: {options.malformed} requests, answers {dict(sorted(seen.items()))}, "
        f"good ones that were wrong: {wrong}"
    )
    print(f"malformed: the server lives, its worker {'was never restarted' if same else 'WAS RESTARTED'}")


def start(models: dict[str, Path], options: argparse.Namespace) -> None:
    """Seconds from the command to the ready line, and of importing TensorFlow, loading and one answer."""
    jpeg = photos(1)[0]
    base = models["image"]
    version = newest(base)
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(jpeg)
        file.flush()
        code = (
            "import sys, tensorflow as tf; m = tf.saved_model.load(sys.argv[1]);"
            "m.signatures['serving_default'](image_bytes=tf.constant([open(sys.argv[2], 'rb').read()]))"
        )
        ours, bare = [], []
        for _ in range(3):
            begun = time.monotonic()
            subprocess.run([sys.executable, "-c", code, str(version), file.name], check=True, stderr=subprocess.DEVNULL)
            bare.append(time.monotonic() - begun)
            with Server(str(base)) as server:
                ours.append(server.seconds)
    ratio = statistics.median(ours) / statistics.median(bare)
    print(
        f"start to ready {statistics.median(ours):.1f} s, "
        f"bare import, load and call {statistics.median(bare):.1f} s, {ratio:.2f} x   (goal 1.5 x)"
    )


def conformance(models: dict[str, Path], options: argparse.Namespace) -> None:
    """Run the vectors over REST and gRPC."""
    if options.conformance is None:
        print("conformance: no --conformance FOLDER given")
        return
    folder = options.conformance
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "models"
        subprocess.run([sys.executable, folder / "make_models.py", made], check=True, stdout=subprocess.DEVNULL)
        config = Path(scratch) / "models.config"
        command = [sys.executable, TOOLS / "models_config.py", folder / "server_config.json", made]
        config.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        with Server("--model-config", str(config)) as server:
            for script, target, vectors in (
                ("run_rest.py", f"http://127.0.0.1:{server.port}", "rest_vectors.json"),
                ("run_grpc.py", server.grpc, "grpc_vectors.json"),
            ):
                run = subprocess.run(
                    [sys.executable, folder / script, target, folder / vectors], stdout=subprocess.PIPE, text=True
                )
                print(f"conformance {script}: {run.stdout.strip()}")


@contextlib.contextmanager
def exports(given: Path | None, parts: list[str]) -> Iterator[dict[str, Path]]:
    """Give the base paths of the image model and the trivial one."""
    with tempfile.TemporaryDirectory() as scratch:
        models = {"trivial": trivial_export(Path(scratch))}
        if given is not None or {"latency", "load", "start"} & set(parts):
            if given is None:
                models["image"] = image_export(Path(scratch))
            else:
                models["image"] = given.parent if (given / "saved_model.pb").is_file() else given
        yield models


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, nargs="?")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--conformance", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--malformed", type=int, default=10_000)
    options = parser.parse_args()
    with exports(options.export, options.parts) as models:
        for part in options.parts:
            globals()[part](models, options)


if __name__ == "__main__":
    main()
