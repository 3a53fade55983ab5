"""A worker without TensorFlow that speaks the wire and misbehaves on request, for tests of supervision.

A call's body is a command: "crash", "check TEXT" (a failed check of TensorFlow's), "hang" (the whole process falls
silent), "slow SECONDS", "fail CODE TEXT"; anything else is echoed with the version. A version folder's saved_model.pb
is one, too: "load-crash", "load-fail TEXT",
"load-slow SECONDS", "load-cold [fail|crash]" (some of its warm-up is left for later); anything else loads. A folder may
hold `crash_while_loading`, a count file: it is counted down and the process ends while it is above 0; and `loaded_by`,
to which the number of each process that loads it is added.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from pathlib import Path

SIZES = struct.Struct("!II")


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    if os.environ.get("FAKE_WORKER_DIES"):
        sys.exit("no TensorFlow here")
    lock = threading.Lock()
    running: set[int] = set()
    working: set[int] = set()  # left before the answer goes out, so that the next call finds it empty
    loads: queue.Queue = queue.Queue()
    loaded: dict[tuple[str, int], str] = {}

    def send(header: dict, payload: bytes = b"") -> None:
        text = json.dumps(header).encode()
        with lock:
            try:
                connection.sendall(SIZES.pack(len(text), len(payload)) + text + payload)
            except OSError:
                os._exit(0)

    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = connection.recv(size - len(data))
            if not part:
                os._exit(0)
            data += part
        return data

    def call(header: dict, body: bytes) -> None:
        key, number = (header["name"], header["version"]), header["id"]
        words = body.decode("utf-8", "replace").split()
        working.add(number)
        alone = len(working) == 1
        if key not in loaded:
            send({"id": number, "code": 5, "message": f"the worker has no {key}"})
        elif words[:1] == ["crash"]:
            time.sleep(0.05)  # so that the neighbours of the test are on their way, too
            os.kill(os.getpid(), 9)
        elif words[:1] == ["check"]:  # as TensorFlow does, in pieces
            stack = (
                "*** Check failure stack trace: ***\n    @     0x7f1d12d1d314  Log()\n    @     0x7f1d107d279f  Dim()\n"
            )
            text = f"a warning\nF0000 00:00:1.5  7 format.h:428] Check failed: {' '.join(words[1:])}\n{stack}the last"
            for piece in (text[:25], text[25:90], text[90:], " words, without an end"):
                sys.stderr.write(piece)
                sys.stderr.flush()
                time.sleep(0.02)
            os.abort()
        elif words[:1] == ["hang"]:
            lock.acquire()  # nobody answers any more
            time.sleep(3600)
        elif words[:1] == ["fail"]:
            working.discard(number)
            send({"id": number, "code": int(words[1]), "message": " ".join(words[2:])})
        else:
            if words[:1] == ["slow"]:
                time.sleep(float(words[1]))
            alone = alone and len(working) == 1
            working.discard(number)
            answer = json.dumps({"version": key[1], "graph": loaded[key], "alone": alone, "body": body.decode()})
            send({"id": number, "code": 0, "runtime_us": 7, "rows": 1}, answer.encode())
        working.discard(number)
        running.discard(number)

    def load_all() -> None:
        while True:
            header = loads.get()
            folder = Path(header["path"])
            graph = (folder / "saved_model.pb").read_text()
            words = graph.split()
            if words[:1] == ["load-slow"]:
                time.sleep(float(words[1]))
            counter = folder / "crash_while_loading"
            if counter.exists() and int(counter.read_text()) > 0:
                counter.write_text(str(int(counter.read_text()) - 1))
                os.kill(os.getpid(), 9)
            if words[:1] == ["load-crash"]:
                os.kill(os.getpid(), 9)
            if words[:1] == ["load-fail"]:
                send({"id": header["id"], "code": 9, "message": " ".join(words[1:])})
                continue
            loaded[header["name"], header["version"]] = graph
            if (folder / "loaded_by").exists():
                with (folder / "loaded_by").open("a") as book:
                    book.write(f"{os.getpid()}\n")
            metadata = {"path": header["path"], "batching": header["batching"], "trust": header["trust"]}
            metadata["warm"] = header.get("warm", "all")
            left = int(words[:1] == ["load-cold"] and header.get("warm", "all") == "first")
            answer = {"metadata": metadata, "warmed": 0, "left": left, "seconds": 0.0, "bytes": 1}
            if words[1:2] == ["crash"] and header.get("warm", "all") == "all":
                os.kill(os.getpid(), 9)
            send({"id": header["id"], "code": 0, **answer})

    threading.Thread(target=load_all, daemon=True).start()
    send({"event": "ready", "tensorflow": "none", "pid": os.getpid()})
    while True:
        header_size, payload_size = SIZES.unpack(read(SIZES.size))
        header, payload = json.loads(read(header_size)), read(payload_size)
        op = header["op"]
        if op == "load":
            loads.put(header)
        elif op == "warm":
            words = loaded.get((header["name"], header["version"]), "").split()
            if words[1:2] == ["crash"]:
                os.kill(os.getpid(), 9)
            send({"id": header["id"], "code": 9 if words[1:2] == ["fail"] else 0, "message": "a record fails"})
        elif op == "unload":
            loaded.pop((header["name"], header["version"]), None)
            send({"id": header["id"], "code": 0})
        elif op == "call":
            running.add(header["id"])
            threading.Thread(target=call, args=(header, payload), daemon=True).start()
        elif op == "stop":
            while running:
                time.sleep(0.01)
            os._exit(0)


if __name__ == "__main__":
    main()
