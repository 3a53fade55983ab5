"""Requests that wait for the same model are run as one batch, and each gets its own rows back.

A request with more rows than a run may have is run in slices, one after the other.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tlkit.export.graph_messages import plain_message, shifted_row
from tlkit.serving.call import Call
from tlkit.serving.status import Code, ServingError

#: Runs a graph: feeds and fetches in, the fetched arrays out.
Execute = Callable[[Mapping[str, np.ndarray], tuple[str, ...]], list[np.ndarray]]


#: What a run may end with whoever is in it.
_NO_REQUEST_S = (tf.errors.DeadlineExceededError, tf.errors.CancelledError, tf.errors.UnavailableError)


@dataclass(frozen=True)
class BatchSettings:
    """How requests are merged; the names are those of TensorFlow Serving's BatchingParameters.

    Args:
        max_batch_size: rows of a batch.
        batch_timeout_micros: how long a batch waits for more rows. 0 never waits: what came while a batch was
            running makes up the next one.
        max_enqueued_batches: so many full batches may wait; what comes then is refused.
        num_batch_threads: batches that run at once.
        allowed_batch_sizes: batches are filled up to the next of these sizes; empty leaves them as they are.
        enable_large_batch_splitting: a request with more rows than a batch is run, here as it is; otherwise it is
            refused, which is TensorFlow Serving's default.
    """

    max_batch_size: int = 32
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 100
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = True


@dataclass(frozen=True)
class RowLimits:
    """How many rows are taken.

    Args:
        slice_rows: a request with more rows is run in slices of so many, where rows are independent of each other;
            None runs every request as it is.
        max_rows: a request with more rows is refused; None takes any.
    """

    slice_rows: int | None = None
    max_rows: int | None = None


class Pending(Protocol):
    """A request on its way."""

    call: Call

    def begin(self) -> bool:
        """Say whether it is still wanted; called once, right before it runs."""

    def check(self) -> None:
        """Raise a ServingError if nobody waits for it any more; called between slices."""

    def done(self, fetched: list[np.ndarray] | None, error: Exception | None, runtime_us: int) -> None:
        """Take what the graph answered; must not raise."""


class Batcher:
    """Merges requests for one model.

    It has no threads of its own: the thread that brings a request runs batches until nothing waits, unless enough
    others already do.

    Example:
        >>> batcher = Batcher(servable.execute, BatchSettings())
        >>> batcher.run(pending)  # from any thread; calls pending.done(), here or in another thread

    Args:
        execute: runs the graph.
        settings: None runs every request by itself.
        limits: of the rows of a request.
    """

    def __init__(self, execute: Execute, settings: BatchSettings | None, limits: RowLimits | None = None):
        self._execute = execute
        self._settings = settings
        self._limits = limits or RowLimits()
        self._changed = threading.Condition()
        self._groups: OrderedDict[Any, deque[tuple[float, Pending]]] = OrderedDict()
        self._inseparable: set[tuple[str, ...]] = set()  # fetches whose rows are not those of the requests
        self._waiting_rows = 0
        self._running = 0

    def run(self, pending: Pending) -> None:
        """Run a request, by itself or with others.

        Raises:
            ServingError: RESOURCE_EXHAUSTED: too many wait already; INVALID_ARGUMENT: it is larger than a batch, or has
                too many rows.
        """
        settings = self._settings
        key = self._group_of(pending.call) if settings else None
        rows = pending.call.rows or 0
        if settings and key and rows > settings.max_batch_size and not settings.enable_large_batch_splitting:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Task size {rows} is larger than maximum input batch size {settings.max_batch_size}",
            )
        self._check_rows(pending.call)
        if settings is None or key is None or rows > settings.max_batch_size:
            if pending.begin():
                self._run([pending])
            return
        with self._changed:
            if self._waiting_rows + rows > settings.max_enqueued_batches * settings.max_batch_size:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    "The batch scheduling queue to which this task was submitted is full; max_enqueued_batches is "
                    f"{settings.max_enqueued_batches}",
                )
            self._groups.setdefault(key, deque()).append((time.monotonic(), pending))
            self._waiting_rows += rows
            self._changed.notify_all()
            if self._running >= settings.num_batch_threads:
                return  # one of those that run takes it
            self._running += 1
        self._run_until_empty(settings)

    def _check_rows(self, call: Call) -> None:
        """Refuse too many rows; a first dimension of which nobody says that it counts rows may be anything."""
        rows, most = call.rows or 0, self._limits.max_rows
        counts_rows = call.lists_rows or (self._limits.slice_rows is not None and call.batchable)
        if most is not None and rows > most and counts_rows:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"the request has {rows} rows and the server accepts at most {most} per request: split the request, or "
                "start the server with a larger --max-rows",
            )

    def _run_until_empty(self, settings: BatchSettings) -> None:
        while True:
            with self._changed:
                batch = self._take(settings)
                if not batch:
                    self._running -= 1
                    return
            wanted = [pending for pending in batch if pending.begin()]
            if wanted:
                self._run(wanted)

    def _take(self, settings: BatchSettings) -> list[Pending]:
        """Take the group whose first request waits longest; wait for more of it if the settings say so."""
        while self._groups:
            key, group = min(self._groups.items(), key=lambda item: item[1][0][0])
            left = group[0][0] + settings.batch_timeout_micros / 1e6 - time.monotonic()
            if left > 0 and sum(_rows(pending) for _, pending in group) < settings.max_batch_size:
                self._changed.wait(left)
                continue  # another thread may have taken it
            batch = [group.popleft()[1]]
            total = _rows(batch[0])
            while group and total + _rows(group[0][1]) <= settings.max_batch_size:
                batch.append(group.popleft()[1])
                total += _rows(batch[-1])
            if not group:
                del self._groups[key]
            self._waiting_rows -= total
            return batch
        return []

    def _run(self, batch: Sequence[Pending]) -> None:
        """Run requests as one; if that fails, run the halves, so that only a bad request is answered by an error.

        A run that took too long says nothing about a request, so it is not repeated.
        """
        calls = [pending.call for pending in batch]
        began = time.perf_counter_ns()
        try:
            fetched = self._merged(calls) if self._group_of(calls[0]) is not None else None
            if fetched is None and len(calls) == 1:
                fetched = [self._sliced(batch[0]) or self._execute(calls[0].feeds, calls[0].fetches)]
            error: Exception | None = None
        except Exception as caught:  # noqa: BLE001  whatever it is, the client is told
            fetched, error = None, caught
        took = (time.perf_counter_ns() - began) // 1000
        if fetched is not None:
            for pending, arrays in zip(batch, fetched, strict=True):
                pending.done(arrays, None, took)
        elif len(batch) == 1 or isinstance(error, _NO_REQUEST_S):
            for pending in batch:
                pending.done(None, error, took)
        else:
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                wanted = _still_wanted(half)
                if wanted:
                    self._run(wanted)

    def _merged(self, calls: Sequence[Call]) -> list[list[np.ndarray]] | None:
        """Return what each call fetches, or None if the outputs cannot be told apart by rows."""
        rows = [call.rows or 0 for call in calls]
        total = sum(rows)
        size = self._size_for(total)
        if len(calls) == 1 and size == total:
            return None
        feeds = {name: _filled([call.feeds[name] for call in calls], size - total) for name in calls[0].feeds}
        outputs = self._execute(feeds, calls[0].fetches)
        if any(output.ndim == 0 or len(output) != size for output in outputs):
            self._inseparable.add(calls[0].fetches)
            return None
        ends = list(itertools.accumulate(rows))
        return [[output[end - count : end] for output in outputs] for count, end in zip(rows, ends, strict=True)]

    def _sliced(self, pending: Pending) -> list[np.ndarray] | None:
        """Run a large request in slices, so that its memory is that of one, and return what one run would give.

        None stands for a request that is small enough, or whose outputs are not rows: it has to be run as it is.
        """
        call, most = pending.call, self._limits.slice_rows
        rows = call.rows or 0
        if most is None or rows <= most or self._group_of(call) is None:
            return None
        parts: list[list[np.ndarray]] = []
        for start in range(0, rows, most):
            if start:
                pending.check()
            count = min(most, rows - start)
            size = self._size_for(count)
            feeds = {name: _filled([array[start : start + count]], size - count) for name, array in call.feeds.items()}
            try:
                outputs = self._execute(feeds, call.fetches)
            except tf.errors.InvalidArgumentError as error:  # which counts the rows of the slice
                told = as_serving_error(error)
                raise ServingError(told.code, shifted_row(told.message, start)) from error
            fits = all(output.ndim and len(output) == size for output in outputs)
            if not fits or (parts and [one.shape[1:] for one in outputs] != [one.shape[1:] for one in parts[0]]):
                self._inseparable.add(call.fetches)
                return None
            parts.append([output[:count] for output in outputs])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _group_of(self, call: Call) -> Any:
        """Return what requests must have in common to be merged, or None for one that must run by itself."""
        if not call.batchable or not call.rows or not call.fetches or call.fetches in self._inseparable:
            return None
        if any(array.ndim == 0 or len(array) != call.rows for array in call.feeds.values()):
            return None
        return call.fetches, tuple((name, array.dtype, array.shape[1:]) for name, array in call.feeds.items())

    def _size_for(self, rows: int) -> int:
        """Return how many rows are run for so many: the next of the allowed sizes."""
        allowed = sorted(self._settings.allowed_batch_sizes) if self._settings else ()
        return next((size for size in allowed if size >= rows), rows)


def _still_wanted(batch: Sequence[Pending]) -> list[Pending]:
    """Answer those whose time is over, and return the others."""
    wanted = []
    for pending in batch:
        try:
            pending.check()
        except ServingError as error:
            pending.done(None, error, 0)
        else:
            wanted.append(pending)
    return wanted


def _filled(parts: list[np.ndarray], missing: int) -> np.ndarray:
    """Join rows, and repeat the first one as often as rows are missing."""
    if missing:
        parts = [*parts, np.repeat(parts[0][:1], missing, axis=0)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _rows(pending: Pending) -> int:
    return pending.call.rows or 0


def as_serving_error(error: Exception) -> ServingError:
    """Return the error that a client is told."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return ServingError(Code(error.error_code), plain_message(error.message or str(error)))
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, "the request needs more memory than is available")
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
