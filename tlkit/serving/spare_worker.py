"""A second worker process that waits to take the place of the first one, with or without its models."""

from __future__ import annotations

import asyncio
from typing import Any

from tlkit.serving.status import Code
from tlkit.serving.worker_link import WorkerLink
from tlkit.serving.worker_process import WorkerProcess

Key = tuple[str, int]


def key_of(frame: dict[str, Any]) -> Key:
    """Return name and version that a load, an unload or a call is about."""
    return str(frame.get("name", "")), int(frame.get("version", 0))


class SpareWorker:
    """A worker that was started ahead.

    Example:
        spare = SpareWorker(WorkerProcess())
        await spare.link.open()
        spare.load({"op": "load", "name": "photos", "version": 1, ...})
        # Now it is the worker, and the supervisor reads what `take` leaves.
        answer = await spare.adopt({"op": "load", "name": "photos", "version": 1, ...})

    Args:
        worker: the process.

    Attributes:
        link: its connection.
        ready: the header with which it said that it can load; None before.
    """

    def __init__(self, worker: WorkerProcess):
        self.link = WorkerLink(worker, self._on_frame)
        self.ready: dict[str, Any] | None = None
        self._frames: dict[Key, dict[str, Any]] = {}
        self._answers: dict[Key, asyncio.Future[dict[str, Any]]] = {}
        self._asked: dict[int, Key] = {}
        self._next_id = 0

    @property
    def loading(self) -> list[Key]:
        """What it was told to load and has not answered."""
        return [key for key, answer in self._answers.items() if not answer.done()]

    def holds(self, frame: dict[str, Any]) -> bool:
        """Say whether it was told to load this very version, whatever came of it."""
        return _same(self._frames.get(key_of(frame)), frame)

    @property
    def held(self) -> list[Key]:
        """What it was told to load."""
        return list(self._frames)

    def load(self, frame: dict[str, Any]) -> None:
        """Load a version with its whole warm-up."""
        key = key_of(frame)
        self._frames[key] = frame
        self._answers[key] = asyncio.get_running_loop().create_future()
        self._send({**frame, "warm": "all"}, key)

    def unload(self, key: Key) -> None:
        """Give up a version."""
        if self._frames.pop(key, None) is not None:
            self._answers.pop(key).cancel()
            self._send({"op": "unload", "name": key[0], "version": key[1]}, None)

    def take(self, header: dict[str, Any]) -> bool:
        """Take an answer to something that was sent here; say whether it was one."""
        number = header.get("id")
        if not isinstance(number, int) or number >= 0:
            return False
        answer = self._answers.get(self._asked.pop(number, ("", 0)))
        if answer is not None and not answer.done():
            answer.set_result(header)
        return True

    async def adopt(self, frame: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a load that was begun here, once it is there; None where it has to be loaded anew."""
        key = key_of(frame)
        answer, held = self._answers.get(key), self._frames.pop(key, None)
        if answer is None:
            return None
        header = await answer
        del self._answers[key]
        if header.get("code") != Code.OK:
            return None
        if _same(held, frame):
            return header
        self._send({"op": "unload", "name": key[0], "version": key[1]}, None)
        return None

    def fail(self, error: Exception) -> None:
        """Let those who adopt a load know that the process has ended."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # nobody has to ask

    def _send(self, frame: dict[str, Any], key: Key | None) -> None:
        self._next_id -= 1  # the supervisor counts upwards
        if key is not None:
            self._asked[self._next_id] = key
        self.link.send({**frame, "id": self._next_id})

    def _on_frame(self, header: dict[str, Any], _: bytes) -> None:
        if header.get("event") == "ready":
            self.ready = header
        else:
            self.take(header)


def _same(held: dict[str, Any] | None, frame: dict[str, Any]) -> bool:
    """Say whether two loads give the same model; how much of it is warmed up does not matter."""
    return held is not None and {**held, "warm": None} == {**frame, "warm": None}
