"""Counts what a model is asked and answers: a thread beside those that answer, with a share of the time."""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlkit.errors import TlkitError
from tlkit.export.arguments import arguments_of_examples
from tlkit.export.baseline import Baseline, answers_of
from tlkit.export.manifest import Manifest
from tlkit.export.monitor_files import MonitorFolder, today
from tlkit.export.sketch import Sketch
from tlkit.inputs.base import Statistics, input_spec
from tlkit.lazy import loaded
from tlkit.serving.call import Call
from tlkit.serving.servable import Servable

FLUSH_SECONDS = 10.0
_MOST_WAITING = 256  # requests
_MOST_BYTES = 64 << 20  # of waiting requests
_MOST_ROWS = 1000  # that are counted at once
_MOST_EMBEDDED = 8  # rows of a request
_SHARE = 0.02  # of one processor, for the statistics and again for embeddings
_LONGEST_PAUSE = 1.0
_CLOSING_SECONDS = 1.0


class _Signature(NamedTuple):
    """How a call of one signature is read: input and output tensors by the names of arguments and outputs."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    takes: str  # "arguments" of serving_default, "examples", or "raw" inputs


class _Waiting(NamedTuple):
    """An answered call, what was fetched for it, and how many bytes it was fed with."""

    call: Call
    fetched: Sequence[np.ndarray]
    size: int


class _Budget:
    """A share of the time: what took t seconds may be done again after a pause of many t."""

    def __init__(self) -> None:
        self._next = 0.0

    def pause(self) -> float:
        return self._next - time.monotonic()

    def spend(self, began: float) -> None:
        took = time.monotonic() - began
        self._next = time.monotonic() + min(took * (1 / _SHARE - 1), _LONGEST_PAUSE)


class Monitor:
    """Counts the calls of one loaded version into the sketches of its folder.

    `offer` only puts a call into a bounded queue. One thread takes it from there, in 2 % of the time of a processor,
    and computes embeddings of a few inputs in another 2 %. Items for which there was no time are counted as dropped.

    Example:
        >>> monitor = Monitor.of(Path("monitor"), servable)
        >>> monitor.offer(call, fetched)
        >>> monitor.close()

    Args:
        folder: of the version.
        manifest: of its export.
        servable: the version.
        samples: how many raw inputs of a day are kept; 0 keeps none.
        flush_seconds: how often the counts are added to the files.
    """

    def __init__(
        self,
        folder: MonitorFolder,
        manifest: Manifest,
        servable: Servable,
        *,
        samples: int = 0,
        flush_seconds: float = FLUSH_SECONDS,
    ):
        self._folder = folder
        self._baseline: Baseline = folder.baseline
        self._manifest = manifest
        self._servable = servable
        self._samples = samples
        self._flush_seconds = flush_seconds
        spec = loaded(input_spec(manifest.interface.content).drift)
        self._look: Statistics = spec.statistics(manifest.preprocessing)
        self._suffix: Callable[[bytes], str] = spec.suffix
        self._signatures = _signatures(servable, manifest)
        self._distance = [one.name for one in self._baseline.bins if one.source == "embedding"]
        self._waiting: deque[_Waiting] = deque()
        self._bytes = self._dropped = 0
        self._lock = threading.Lock()  # of these three
        self._wake, self._closing = threading.Event(), threading.Event()
        self._told = ""
        self._day, self._sketch, self._kept = today(), Sketch(), dict[str, bytes]()
        self._thread = threading.Thread(target=self._live, name="monitor", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, root: Path, servable: Servable, *, samples: int = 0) -> Monitor:
        """Return the monitor of a loaded version.

        Raises:
            TlkitError: the export has no baseline, or the directory cannot be used for it.
        """
        manifest = Manifest.read(servable.export)
        baseline = Baseline.read(servable.export, manifest)
        folder = MonitorFolder.prepared(root, servable.name, servable.version, baseline)
        return cls(folder, manifest, servable, samples=samples)

    def offer(self, call: Call, fetched: Sequence[np.ndarray]) -> None:
        """Take an answered call, or count it as dropped where too many wait."""
        if frozenset(call.feeds) not in self._signatures:
            return
        size = sum(_bytes_of(array) for array in call.feeds.values())
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING or self._bytes + size > _MOST_BYTES:
                self._dropped += call.rows or 0
                return
            self._waiting.append(_Waiting(call, fetched, size))
            self._bytes += size
        self._wake.set()

    def close(self) -> None:
        """Count what waits, for up to a second, and write the files."""
        self._closing.set()
        self._wake.set()
        self._thread.join(2 * _CLOSING_SECONDS)

    def _live(self) -> None:
        looking, embedding = _Budget(), _Budget()
        flushed = time.monotonic()
        while not self._closing.is_set():
            left = max(flushed + self._flush_seconds - time.monotonic(), 0.0)
            if (pause := looking.pause()) > 0:
                self._closing.wait(min(pause, left))
            elif not self._waiting:
                self._wake.wait(left)
                self._wake.clear()
            else:
                began = time.monotonic()
                arguments = self._count(self._take())
                looking.spend(began)
                if arguments and embedding.pause() <= 0:
                    began = time.monotonic()
                    self._embed(arguments)
                    embedding.spend(began)
            if time.monotonic() - flushed >= self._flush_seconds:
                self._flush()
                flushed = time.monotonic()
        until = time.monotonic() + _CLOSING_SECONDS
        while calls := self._take():
            if time.monotonic() < until:
                self._count(calls)
            else:
                self._sketch.dropped += _rows(calls)
        self._flush()

    def _take(self) -> list[_Waiting]:
        """Take the calls that have waited longest and can be counted together."""
        taken: list[_Waiting] = []
        rows = 0
        with self._lock:
            while self._waiting:
                first, following = (taken or self._waiting)[0].call, self._waiting[0].call
                rows += following.rows or 0
                if taken and (rows > _MOST_ROWS or _key(following) != _key(first)):
                    break
                taken.append(self._waiting.popleft())
                self._bytes -= taken[-1].size
        return taken

    def _count(self, calls: Sequence[_Waiting]) -> dict[str, np.ndarray]:
        """Count calls of one signature; return their arguments, none where they are not to be had."""
        try:
            return self._counted(calls)
        except Exception as error:  # noqa: BLE001  what a client sent must not end the thread
            if len(calls) > 1:  # it may be about one of them
                return [self._count([call]) for call in calls][-1]
            self._sketch.dropped += _rows(calls)
            self._tell(f"a request could not be counted: {type(error).__name__}: {error}")
            return {}

    def _counted(self, calls: Sequence[_Waiting]) -> dict[str, np.ndarray]:
        call = calls[0].call
        signature = self._signatures[frozenset(call.feeds)]
        outputs = {
            signature.outputs[name]: np.concatenate([one.fetched[place] for one in calls])
            for place, name in enumerate(call.fetches)
            if name in signature.outputs
        }
        inputs: dict[str, np.ndarray] = {}
        if signature.takes != "raw":
            inputs = {
                signature.inputs[name]: np.concatenate([one.call.feeds[name] for one in calls]) for name in call.feeds
            }
        rows = _rows(calls)
        if rows > _MOST_ROWS:
            chosen = np.sort(np.random.default_rng().choice(rows, _MOST_ROWS, replace=False))
            inputs, outputs = ({name: array[chosen] for name, array in each.items()} for each in (inputs, outputs))
        if signature.takes == "examples":
            (serialized,) = inputs.values()
            inputs = arguments_of_examples(serialized.tolist(), self._manifest.interface)
        values = {name: one.values for name, one in self._look(inputs).items()} if inputs else {}
        answers = answers_of(outputs, self._manifest)
        if answers is not None:
            values |= self._baseline.predicted(answers)
        self._new_day()
        self._sketch.items += min(rows, _MOST_ROWS)
        self._sketch.dropped += max(rows - _MOST_ROWS, 0)
        self._sketch.add(self._baseline.bins, values)
        if self._samples:
            self._keep(inputs)
        return inputs

    def _embed(self, arguments: Mapping[str, np.ndarray]) -> None:
        """Compare the embeddings of a few inputs with those of the baseline."""
        marks = self._baseline.landmarks
        if marks is None:
            return
        part = {name: array[:_MOST_EMBEDDED] for name, array in arguments.items()}
        try:
            embeddings = self._servable.run("embedding", part)["embedding"]
            self._sketch.add_likeness(marks.likenesses(embeddings))
            if self._distance and "trust" in self._servable.signatures:
                distances = self._servable.run("trust", part)["distance"].astype(np.float64)
                self._sketch.add(self._baseline.bins, {self._distance[0]: distances})
        except Exception as error:  # noqa: BLE001  as above
            self._tell(f"an embedding could not be computed: {type(error).__name__}: {error}")

    def _keep(self, arguments: Mapping[str, np.ndarray]) -> None:
        """Keep inputs under names that are drawn at random; the first names of a day make a uniform sample."""
        columns = self._manifest.interface.columns
        for row in range(len(next(iter(arguments.values()), ()))):
            if columns:
                cells = {one.name: _plain(arguments[one.argument][row], one.absent_value) for one in columns}
                content = json.dumps(cells, ensure_ascii=False).encode("utf-8")
            else:
                content = arguments[self._manifest.interface.input][row]
            self._kept[f"{secrets.token_hex(8)}{self._suffix(content)}"] = content
        for name in sorted(self._kept)[self._samples :]:
            del self._kept[name]

    def _new_day(self) -> None:
        if (day := today()) != self._day:
            self._flush()
            self._day, self._sketch, self._kept = day, Sketch(), {}

    def _flush(self) -> None:
        """Add the counts to the files; where that fails, they are kept and added the next time."""
        sketch, self._sketch = self._sketch, Sketch()
        with self._lock:
            sketch.dropped += self._dropped
            self._dropped = 0
        if not (sketch.items or sketch.dropped):
            return
        try:
            self._folder.add(self._day, sketch, self._kept, self._samples)
            self._kept = {}
        except OSError as error:
            self._sketch = sketch
            self._tell(f"{self._folder.path} cannot be written: {error.strerror}; the counts are kept in memory")

    def _tell(self, text: str) -> None:
        """Write a line to stderr, once in a row."""
        if text != self._told:
            self._told = text
            print(f"monitor: {' '.join(text.split())[:500]}", file=sys.stderr, flush=True)


def monitor_of(root: str, servable: Servable, samples: int) -> Monitor | None:
    """Return the monitor of a version; None, and a line on stderr, where the version cannot be monitored."""
    try:
        return Monitor.of(Path(root), servable, samples=samples)
    except TlkitError as error:  # the others, and this one without a monitor, go on
        print(f"monitor: {servable.name} version {servable.version} is not monitored: {error}", file=sys.stderr)
        return None


def _signatures(servable: Servable, manifest: Manifest) -> dict[frozenset[str], _Signature]:
    """Return the signatures that answer, by the tensors that they are fed with."""
    interface = manifest.interface
    answered = {name for one in interface.outputs_or(manifest.labels, manifest.objective) for name in one.names}
    default = set(servable.signatures["serving_default"].inputs)
    found = {}
    for name, definition in servable.signatures.items():
        outputs = set(definition.outputs)
        if not (interface.answers in outputs or answered <= outputs or name == interface.example_signature):
            continue
        inputs = {info.name: key for key, info in definition.inputs.items()}
        is_default = set(inputs.values()) == default
        takes = "arguments" if is_default else "examples" if name == interface.example_signature else "raw"
        tensors = {info.name: key for key, info in definition.outputs.items()}
        found[frozenset(inputs)] = _Signature(inputs, tensors, takes)
    return found


def _key(call: Call) -> Any:
    return call.fetches, frozenset(call.feeds)


def _rows(calls: Sequence[_Waiting]) -> int:
    return sum(one.call.rows or 0 for one in calls)


def _bytes_of(array: np.ndarray) -> int:
    return sum(len(one) for one in array.flat) if array.dtype == object else int(array.nbytes)


def _plain(value: Any, absent: bytes | float) -> Any:
    """Return a cell as JSON has it, None where it is missing."""
    if value == absent or value != value:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value.item()
