"""The worker under supervision: a fake one that crashes, hangs and recovers on request."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from supervision import drive, fake_worker, until

from tlkit.serving.status import Code, ServingError
from tlkit.serving.supervisor import Supervisor, WorkerDiedError
from tlkit.serving.suspects import Request, Suspects


def request(body: str, version: int = 1) -> Request:
    return Request("m", version, "predict", "rest", body.encode())


@asynccontextmanager
async def supervised(folder: Path, graph: str = "ok", **options: Any):
    """A supervisor whose worker always has version 1 of "m" loaded when it is up."""
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / "saved_model.pb").write_text(graph)
    loaded = asyncio.Event()
    downs: list[str] = []

    async def load() -> None:
        header = {"name": "m", "version": 1, "path": str(folder / "1"), "trust": False, "batching": None}
        try:
            await supervisor.load(header)
        except WorkerDiedError:
            return
        loaded.set()

    def down(reason: str) -> None:
        loaded.clear()
        downs.append(reason)

    tasks = set()
    supervisor = Supervisor(
        spawn=fake_worker,
        on_up=lambda: tasks.add(asyncio.ensure_future(load())),
        on_down=down,
        back_off=(0.0, 0.01),
        **{"watch_seconds": 0.02, **options},
    )
    supervisor.loaded, supervisor.downs = loaded, downs
    await supervisor.start()
    try:
        await loaded.wait()
        yield supervisor
    finally:
        await supervisor.stop(grace=1)


async def failure(awaitable: Awaitable[Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await awaitable
    return caught.value


async def crash(supervisor: Supervisor, body: str = "crash", *neighbours: str) -> list[Any]:
    """Send a poison call with neighbours in flight, and wait until the worker is back."""
    sent = [asyncio.create_task(supervisor.call(request(text), 20)) for text in (*neighbours, body)]
    results = await asyncio.gather(*sent, return_exceptions=True)
    await supervisor.loaded.wait()
    return results


def test_calls_are_answered_each_with_its_own(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            answers = await asyncio.gather(*(supervisor.call(request(f"number {i}"), 10) for i in range(50)))
            assert [json.loads(payload)["body"] for _, payload in answers] == [f"number {i}" for i in range(50)]
            assert all(header["runtime_us"] == 7 for header, _ in answers)
            large = "x" * 3_000_000
            assert json.loads((await supervisor.call(request(large), 10))[1])["body"] == large
            assert supervisor.pending == 0

    drive(work)


def test_a_killed_worker_costs_the_calls_in_flight_and_is_started_again(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            first = supervisor.pid
            sent = [asyncio.create_task(supervisor.call(request(f"slow 30 {i}"), 20)) for i in range(5)]
            await until(lambda: supervisor.pending == 5)
            os.kill(first, signal.SIGKILL)
            errors = await asyncio.gather(*(failure(one) for one in sent))
            assert {error.code for error in errors} == {Code.UNAVAILABLE}
            assert errors[0].http_status == 503
            assert "signal 9" in errors[0].message
            assert (await failure(supervisor.call(request("early"), 5))).code == Code.UNAVAILABLE
            await supervisor.loaded.wait()
            assert supervisor.pid != first
            assert supervisor.restarts == 1
            assert (await supervisor.call(request("fine"), 5))[0]["code"] == 0

    drive(work)


def test_a_request_that_kills_twice_is_refused_and_its_neighbours_are_not(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            neighbours = [f"slow 0.3 {i}" for i in range(4)]
            errors = await crash(supervisor, "crash", *neighbours)
            assert [error.code for error in errors] == [Code.UNAVAILABLE] * 5
            assert {supervisor.suspects.standing(request(text)) for text in (*neighbours, "crash")} == {"suspect"}
            # Innocents run alone, one at a time, and are cleared.
            answers = await asyncio.gather(*(supervisor.call(request(text), 20) for text in neighbours))
            assert all(json.loads(payload)["alone"] for _, payload in answers)
            assert {supervisor.suspects.standing(request(text)) for text in neighbours} == {"clear"}
            # The guilty one kills again, with others on their way: those wait and are answered by the next worker or
            # get a 503, but none of them is suspected.
            others = [f"other {i}" for i in range(4)]
            errors = await crash(supervisor, "crash", *others)
            assert errors[-1].code == Code.UNAVAILABLE
            assert {supervisor.suspects.standing(request(text)) for text in others} == {"clear"}
            assert supervisor.suspects.standing(request("crash")) == "quarantined"
            refused = await failure(supervisor.call(request("crash"), 5))
            assert (refused.code, refused.message) == (
                Code.INVALID_ARGUMENT,
                "this request crashed the worker process twice and is rejected",
            )
            assert supervisor.restarts == 2
            assert (await supervisor.call(request("crash", version=2), 5))[0]["code"] == Code.NOT_FOUND  # another one
            assert (await supervisor.call(request("fine"), 5))[0]["code"] == 0

    drive(work)


def test_a_suspect_runs_when_the_others_have_ended_and_new_ones_wait_for_it(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            await crash(supervisor, "crash", "slow 0.2 suspect")
            order: list[str] = []

            async def ask(body: str) -> bool:
                answer = json.loads((await supervisor.call(request(body), 20))[1])
                order.append(body)
                return bool(answer["alone"])

            before = asyncio.create_task(ask("slow 0.2 before"))
            await until(lambda: supervisor.pending == 1)
            suspect = asyncio.create_task(ask("slow 0.2 suspect"))
            await asyncio.sleep(0.01)
            after = asyncio.create_task(ask("after"))
            await asyncio.gather(before, suspect, after)
            assert order == ["slow 0.2 before", "slow 0.2 suspect", "after"]
            assert suspect.result() is True

    drive(work)


def test_a_suspect_and_a_load_wait_for_each_other_and_hold_nobody_else(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            await crash(supervisor, "crash", "slow 0.2 suspect")
            (tmp_path / "2").mkdir()
            (tmp_path / "2" / "saved_model.pb").write_text("load-slow 0.4")
            (tmp_path / "3").mkdir()
            (tmp_path / "3" / "saved_model.pb").write_text("quick")
            order: list[str] = []

            async def load(number: int) -> None:
                folder = str(tmp_path / str(number))
                await supervisor.load(
                    {"name": "m", "version": number, "path": folder, "trust": False, "batching": None}
                )
                order.append(f"load {number}")

            async def ask(body: str) -> None:
                await supervisor.call(request(body), 20)
                order.append(body)

            loading = asyncio.create_task(load(2))
            await until(lambda: supervisor.pending == 1)
            suspect = asyncio.create_task(ask("slow 0.2 suspect"))
            await asyncio.sleep(0.01)
            await ask("nobody waits for a load")
            await loading
            await until(lambda: supervisor.pending == 1)
            await asyncio.gather(suspect, load(3))
            assert order == ["nobody waits for a load", "load 2", "slow 0.2 suspect", "load 3"]

    drive(work)


@pytest.mark.parametrize("way", ["cancelled", "impatient"])
def test_a_client_that_goes_away_does_not_end_the_quarantine(tmp_path: Path, way: str):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            await crash(supervisor)
            if way == "cancelled":
                sent = asyncio.create_task(supervisor.call(request("crash"), 20))
                await until(lambda: supervisor.pending == 1)
                sent.cancel()
            else:
                assert (await failure(supervisor.call(request("crash"), 0.01))).code == Code.DEADLINE_EXCEEDED
            await until(lambda: len(supervisor.downs) == 2)
            assert supervisor.suspects.standing(request("crash")) == "quarantined"

    drive(work)


def test_time_runs_out_and_the_worker_goes_on(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            late = asyncio.create_task(supervisor.call(request("slow 0.5"), 0.1))
            other = asyncio.create_task(supervisor.call(request("slow 0.3"), 5))
            error = await failure(late)
            assert (error.code, error.http_status) == (Code.DEADLINE_EXCEEDED, 504)
            assert "0.1 s" in error.message
            assert (await other)[0]["code"] == 0
            await until(lambda: supervisor.pending == 0)  # the late answer is taken and dropped
            assert supervisor.downs == []

    drive(work)


def test_a_silent_worker_is_ended_and_what_silenced_it_twice_is_refused(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path, silence_seconds=0.3) as supervisor:
            assert (await failure(supervisor.call(request("hang"), 0.2))).code == Code.DEADLINE_EXCEEDED
            await until(lambda: supervisor.downs)
            await supervisor.loaded.wait()
            assert supervisor.suspects.standing(request("hang")) == "hung"
            assert (await failure(supervisor.call(request("hang"), 0.05))).code == Code.DEADLINE_EXCEEDED
            await until(lambda: len(supervisor.downs) == 2)
            assert (await failure(supervisor.call(request("hang"), 0.2))).code == Code.INVALID_ARGUMENT

    drive(work)


def test_a_slow_call_is_no_silence_as_long_as_others_are_answered(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path, silence_seconds=0.2) as supervisor:
            late = asyncio.create_task(failure(supervisor.call(request("slow 0.6"), 0.1)))
            for _ in range(5):
                await supervisor.call(request("quick"), 5)
                await asyncio.sleep(0.1)
            assert (await late).code == Code.DEADLINE_EXCEEDED
            assert supervisor.downs == []

    drive(work)


def test_a_call_that_was_given_up_is_forgotten_and_is_no_silence(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path, silence_seconds=0.2) as supervisor:
            sent = asyncio.create_task(supervisor.call(request("slow 30"), 0.2))
            await until(lambda: supervisor.pending == 1)
            sent.cancel()
            await until(lambda: supervisor.pending == 0)
            await asyncio.sleep(0.1)
            assert supervisor.downs == []

    drive(work)


def test_a_first_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("FAKE_WORKER_DIES", "1")

    async def work() -> None:
        supervisor = Supervisor(spawn=fake_worker, back_off=(0.01,))
        await supervisor.start()
        with pytest.raises(ServingError, match=r"ended \(exit code 1\): no TensorFlow here"):
            await supervisor.ready
        await until(lambda: supervisor.restarts >= 2)  # it goes on trying
        await supervisor.stop()

    with caplog.at_level(logging.WARNING, "tlkit.serving"):
        logging.getLogger("tlkit").propagate = True
        drive(work)
    assert "restarting it in 0.01 s" in caplog.text


def test_a_failed_check_is_the_reason_and_its_stack_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            error = await failure(supervisor.call(request("check index >= 0"), 20))
            assert error.message == (
                "the worker process ended (signal 6): Check failed: index >= 0; it is being restarted, try again later"
            )
            await supervisor.loaded.wait()
            assert (await supervisor.call(request("x"), 20))[0]["code"] == 0
            assert "Check failed" not in (await failure(supervisor.call(request("crash"), 20))).message

    with caplog.at_level(logging.WARNING, "tlkit.serving"):
        logging.getLogger("tlkit").propagate = True
        drive(work)
    # Other tests may have set up the log's own lines.
    printed = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert printed == ["a warning", "the last words, without an end"]
    assert "ended (signal 6): Check failed: index >= 0; restarting it" in caplog.text


def test_the_last_kill_starts_nothing_again(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            sent = asyncio.create_task(failure(supervisor.call(request("slow 60"), 100)))
            await until(lambda: supervisor.pending == 1)
            supervisor.kill(final=True)
            error = await sent
            assert (error.code, error.message) == (Code.UNAVAILABLE, "the server is stopping")
            assert (supervisor.restarts, supervisor.pid) == (0, None)
            assert supervisor.suspects.standing(request("slow 60")) == "clear"

    drive(work)


def test_stopping_lets_a_running_call_end_and_waits_no_longer_than_told(tmp_path: Path):
    async def work() -> None:
        async with supervised(tmp_path) as supervisor:
            pid = supervisor.pid
            quick = asyncio.create_task(supervisor.call(request("slow 0.2"), 10))
            await until(lambda: supervisor.pending == 1)
            await supervisor.stop(grace=5)
            assert (await quick)[0]["code"] == 0
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        async with supervised(tmp_path) as supervisor:
            endless = asyncio.create_task(failure(supervisor.call(request("slow 60"), 100)))
            await until(lambda: supervisor.pending == 1)
            await supervisor.stop(grace=0.1)
            error = await endless
            assert (error.code, supervisor.restarts) == (Code.UNAVAILABLE, 0)
            assert "stopping" in error.message

    drive(work)


def test_the_worker_outlives_neither_the_server_nor_a_closed_connection(tmp_path: Path):
    worker = fake_worker()
    worker.connection.close()
    assert worker.process.wait(timeout=10) == 0
    worker.process.stderr.close()


def test_suspects_forget_the_oldest_and_hash_nothing_of_another_length(monkeypatch: pytest.MonkeyPatch):
    suspects = Suspects(limit=2)
    for number in range(3):
        suspects.suspect(request(f"body {number}"))
    assert [suspects.standing(request(f"body {number}")) for number in range(3)] == ["clear", "suspect", "suspect"]
    suspects.quarantine(request("body 1"))
    suspects.suspect(request("body 1"))
    assert suspects.standing(request("body 1")) == "quarantined"
    suspects.clear(request("body 2"))
    assert suspects.standing(request("body 2")) == "clear"
    monkeypatch.setattr(Request, "digest", lambda self: pytest.fail("hashed"))
    assert suspects.standing(request("another length")) == "clear"


@pytest.mark.parametrize("other", [("n", 1, "predict", "rest"), ("m", 2, "predict", "rest"), ("m", 1, "x", "rest")])
def test_a_request_is_the_same_only_in_all_its_parts(other: tuple[str, int, str, str]):
    assert request("b").digest() == Request("m", 1, "predict", "rest", b"b").digest()
    assert Request(*other, b"b").digest() != request("b").digest()
