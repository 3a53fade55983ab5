"""What tests of the fleet and of its supervisor share: a fake worker, and an event loop with an end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tlkit.serving.worker_process import WorkerProcess


def fake_worker() -> WorkerProcess:
    return WorkerProcess([sys.executable, "-S", str(Path(__file__).parent / "serving" / "fake_worker.py")])


def drive(work: Callable[[], Awaitable[None]], seconds: float = 30) -> None:
    """Run a test's coroutine; one that never ends fails."""

    async def limited() -> None:
        async with asyncio.timeout(seconds):
            await work()

    asyncio.run(limited())


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.005)
