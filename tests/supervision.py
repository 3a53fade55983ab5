"""What tests of the fleet and of its supervisor share: a fake worker, and an event loop with an end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tlkit.serving.fleet import Fleet, FleetSettings
from tlkit.serving.served_model import ServedModel
from tlkit.serving.worker_process import WorkerProcess

QUICK = {"poll_seconds": 0.03, "unload_seconds": 0.05}


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


def version(base: Path, number: int | str, graph: str = "ok", **files: str) -> Path:
    """Write a version as an export does: aside, then renamed."""
    aside = base / f".tmp-{number}"
    aside.mkdir(parents=True)
    (aside / "saved_model.pb").write_text(graph)
    for name, text in files.items():
        (aside / name.replace("_json", ".json")).write_text(text)
    return aside.rename(base / str(number))


@asynccontextmanager
async def served(*models: ServedModel, **settings: Any):
    fleet = Fleet(models, FleetSettings(**{**QUICK, **settings}), spawn=fake_worker, back_off=(0.0, 0.01))
    await fleet.start()
    try:
        await fleet.settled()
        yield fleet
    finally:
        await fleet.stop(grace=1)


async def ask(fleet: Fleet, body: str = "x", name: str = "m", timeout: float = 20, **which: Any) -> dict[str, Any]:
    number = fleet.resolve(name, **which)
    answer = await fleet.call(name, number, api="rest", method="predict", body=body.encode(), timeout=timeout)
    return json.loads(answer.body)


def states(fleet: Fleet, name: str = "m") -> dict[int, str]:
    return {one.version: one.state for one in fleet.models()[name]}
