"""A spare worker takes the place of one that ends; with a fake worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from supervision import QUICK, ask, drive, fake_worker, states, until, version

from tlkit.serving.fleet import Fleet, FleetSettings
from tlkit.serving.served_model import ServedModel
from tlkit.serving.status import Code, ServingError


@asynccontextmanager
async def spared(mode: str, *models: ServedModel, **supervision: Any):
    options = {"spawn": fake_worker, "back_off": (0.0, 0.01), "watch_seconds": 0.02, **supervision}
    fleet = Fleet(models, FleetSettings(**QUICK, spare_worker=mode), **options)
    await fleet.start()
    try:
        await fleet.settled()
        yield fleet
    finally:
        await fleet.stop(grace=1)
        assert fleet.supervisor.spare.pid is None


def book(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "loaded_by").read_text().split()]


async def holds_all(fleet: Fleet, count: int) -> None:
    keeper = fleet.supervisor.spare
    await until(lambda: keeper.has_one and len(keeper._spare.held) == count and not keeper._spare.loading)


async def killed(fleet: Fleet) -> None:
    """Kill the worker and wait until another one answers."""
    first = fleet.supervisor.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: fleet.supervisor.up and fleet.supervisor.pid != first)
    await until(lambda: all(state in ("AVAILABLE", "END") for state in states(fleet).values()))


def test_without_the_option_there_is_no_second_process(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with spared("none", ServedModel("m", tmp_path)) as fleet:
            await asyncio.sleep(0.1)  # several looks
            assert fleet.supervisor.spare.pid is None

    drive(work)


def test_a_ready_spare_takes_the_place_and_loads(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    version(tmp_path, 1, loaded_by="")

    async def work() -> None:
        async with spared("ready", ServedModel("m", tmp_path)) as fleet:
            await until(lambda: fleet.supervisor.spare.has_one)
            first, spare = fleet.supervisor.pid, fleet.supervisor.spare.pid
            assert book(tmp_path / "1") == [first]
            await killed(fleet)
            assert fleet.supervisor.pid == spare
            assert (await ask(fleet))["version"] == 1
            assert book(tmp_path / "1") == [first, spare]
            assert fleet.restarts == 1
            await until(lambda: fleet.supervisor.spare.has_one)  # and there is another one
            assert fleet.supervisor.spare.pid not in (first, spare)

    with caplog.at_level(logging.WARNING, "tlkit.serving"):
        drive(work)
    assert "signal 9); switching to the spare worker" in caplog.text


def test_a_loaded_spare_answers_without_loading_again(tmp_path: Path):
    for name in "mn":
        version(tmp_path / name, 1, loaded_by="")

    async def work() -> None:
        models = (ServedModel("m", tmp_path / "m"), ServedModel("n", tmp_path / "n"))
        async with spared("loaded", *models) as fleet:
            await holds_all(fleet, 2)
            first, spare = fleet.supervisor.pid, fleet.supervisor.spare.pid
            await killed(fleet)
            assert fleet.supervisor.pid == spare
            for name in "mn":
                assert (await ask(fleet, name=name))["version"] == 1
                assert book(tmp_path / name / "1")[:2] == [first, spare]  # each once
                assert book(tmp_path / name / "1").count(spare) == 1
            await holds_all(fleet, 2)
            assert book(tmp_path / "m" / "1") == [first, spare, fleet.supervisor.spare.pid]

    drive(work)


def test_a_loaded_spare_follows_versions_that_come_and_go(tmp_path: Path):
    version(tmp_path, 1, "one")

    async def work() -> None:
        async with spared("loaded", ServedModel("m", tmp_path)) as fleet:
            await holds_all(fleet, 1)
            version(tmp_path, 2, "two")
            await until(lambda: states(fleet).get(1) == "END" and states(fleet)[2] == "AVAILABLE")
            await until(lambda: fleet.supervisor.spare._spare.held == [("m", 2)])
            await holds_all(fleet, 1)
            await killed(fleet)
            answer = await ask(fleet)
            assert (answer["version"], answer["graph"]) == (2, "two")
            await fleet.supervisor.unload("m", 2)
            assert fleet.supervisor._loaded == {}

    drive(work)


def test_a_death_while_the_spare_still_loads_costs_nothing_more(tmp_path: Path):
    version(tmp_path, 1, "load-slow 0.3", loaded_by="")

    async def work() -> None:
        async with spared("loaded", ServedModel("m", tmp_path)) as fleet:
            keeper = fleet.supervisor.spare
            await until(lambda: keeper.has_one and keeper._spare.loading)
            spare = keeper.pid
            await killed(fleet)
            assert fleet.supervisor.pid == spare
            assert (await ask(fleet))["version"] == 1
            assert book(tmp_path / "1").count(spare) == 1

    drive(work)


def test_a_spare_that_ends_is_replaced_and_not_given_what_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("tlkit.serving.spare_keeper._LONGEST_WAIT", 0.02)
    folder = version(tmp_path, 1)

    async def work() -> None:
        async with spared("loaded", ServedModel("m", tmp_path), back_off=(0.0,)) as fleet:
            (folder / "crash_while_loading").write_text("1")
            keeper = fleet.supervisor.spare
            await until(lambda: keeper._deaths == 1 and keeper.has_one)
            assert (await ask(fleet))["version"] == 1  # the worker itself lives
            assert fleet.restarts == 0
            await asyncio.sleep(0.1)
            assert keeper._spare.held == []
            os.kill(keeper.pid, signal.SIGKILL)
            await until(lambda: keeper._deaths == 2 and keeper.has_one)
            await killed(fleet)
            assert (await ask(fleet))["version"] == 1

    with caplog.at_level(logging.WARNING, "tlkit.serving"):
        drive(work)
    assert "the spare worker process exited; starting another one in 0.02 s" in caplog.text


def test_a_request_that_kills_is_found_with_a_spare_too(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with spared("loaded", ServedModel("m", tmp_path)) as fleet:
            for _ in range(2):
                await holds_all(fleet, 1)
                with pytest.raises(ServingError) as caught:
                    await ask(fleet, "crash")
                assert caught.value.code == Code.UNAVAILABLE
                await until(lambda: states(fleet)[1] == "AVAILABLE")
            with pytest.raises(ServingError, match="this request crashed the worker process twice and"):
                await ask(fleet, "crash")
            assert (await ask(fleet))["version"] == 1

    drive(work)
