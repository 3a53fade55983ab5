"""Keeps one spare worker in readiness, beside the worker that answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from tlkit.serving.spare_worker import Key, SpareWorker
from tlkit.serving.worker_process import WorkerProcess

log = logging.getLogger("tlkit.serving")
#: What a spare worker may hold.
MODES = ("none", "ready", "loaded")
#: The longest wait before another one is started where the last ones have ended, in seconds.
_LONGEST_WAIT = 60.0


class SpareKeeper:
    """Starts a spare worker, lets it hold what the worker holds, and starts another one when it is used or has ended.

    Example:
        keeper = SpareKeeper(WorkerProcess, "loaded")
        await keeper.tend(loaded)  # again and again, while the worker has nothing to load
        spare = keeper.take()  # the worker has ended

    Args:
        spawn: starts a worker process.
        mode: "none", "ready" (TensorFlow is imported) or "loaded" (the models are there, too).
    """

    def __init__(self, spawn: Callable[[], WorkerProcess], mode: str):
        self._spawn, self._mode = spawn, mode
        self._spare: SpareWorker | None = None
        self._deaths, self._not_before = 0, 0.0
        self._killers: set[Key] = set()  # what ended a spare that loaded it
        self._closed = False

    @property
    def has_one(self) -> bool:
        """There is a spare worker that lives."""
        return self._spare is not None and not self._spare.link.has_ended

    @property
    def pid(self) -> int | None:
        """Process id of the spare worker, or None while there is none."""
        return self._spare.link.worker.process.pid if self._spare is not None else None

    def take(self) -> SpareWorker | None:
        """Give the spare worker away; None where there is none."""
        if not self.has_one:
            return None
        spare, self._spare = self._spare, None
        return spare

    async def tend(self, loaded: Mapping[Key, dict[str, Any]]) -> None:
        """Do the next thing that is to do.

        Args:
            loaded: the frames of the loads that the worker holds.
        """
        if self._mode == "none" or self._closed:
            return
        if self._spare is not None and self._spare.link.has_ended:
            self._bury(self._spare)
        if self._spare is None:
            if asyncio.get_running_loop().time() >= self._not_before:
                with contextlib.suppress(OSError):
                    await self._start()
        elif self._mode == "loaded" and self._spare.ready is not None and not self._spare.loading:
            self._follow(self._spare, loaded)

    def close(self) -> None:
        """End the spare worker, and start no other one."""
        self._closed = True
        if self._spare is not None:
            self._spare.link.close()
            self._spare = None

    async def _start(self) -> None:
        spare = SpareWorker(await asyncio.to_thread(self._spawn))
        await spare.link.open()
        self._spare = spare
        if self._closed:
            self.close()

    def _follow(self, spare: SpareWorker, loaded: Mapping[Key, dict[str, Any]]) -> None:
        for key in set(spare.held) - loaded.keys():
            spare.unload(key)
        for key, frame in loaded.items():
            if not spare.holds(frame) and key not in self._killers:
                spare.unload(key)
                spare.load(frame)
                return  # one after the other

    def _bury(self, spare: SpareWorker) -> None:
        self._killers.update(spare.loading)
        self._deaths += 1
        wait = min(2.0**self._deaths, _LONGEST_WAIT)
        self._not_before = asyncio.get_running_loop().time() + wait
        log.warning("the spare worker process exited; starting another one in %g s", wait)
        spare.link.close()
        self._spare = None
