"""The fleet with a fake worker: versions that come, go, break and are replaced while calls run."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from supervision import ask, drive, served, states, until, version

from tlkit.serving.fleet import Fleet
from tlkit.serving.served_model import ServedModel
from tlkit.serving.status import Code, ServingError
from tlkit.serving.supervisor import Supervisor


def refusal(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        function(*arguments, **named)
    return caught.value.code, caught.value.message


class Traffic:
    """Asks without a break and keeps every answer and error."""

    def __init__(self, fleet: Fleet, **which: Any):
        self.fleet, self.which = fleet, which
        self.versions: list[int] = []
        self.errors: list[BaseException] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                self.versions.append((await ask(self.fleet, "slow 0.002", **self.which))["version"])
            except ServingError as error:
                self.errors.append(error)
                await asyncio.sleep(0.01)

    async def more(self, count: int = 3) -> None:
        goal = len(self.versions) + count
        await until(lambda: len(self.versions) >= goal or self.errors)


def test_the_first_version_answers_before_its_whole_warm_up_and_later_ones_after_it(tmp_path: Path):
    version(tmp_path, 1, "load-cold")

    async def work() -> None:
        async with served(ServedModel("m", tmp_path)) as fleet:
            assert fleet.metadata("m", 1)["warm"] == "first"
            await until(lambda: not fleet._models["m"].versions[1].cold)
            assert (await ask(fleet))["version"] == 1
            version(tmp_path, 2, "load-cold")
            await until(lambda: states(fleet).get(2) == "AVAILABLE")
            assert fleet.metadata("m", 2)["warm"] == "all"

    drive(work)


@pytest.mark.parametrize(
    ("how", "told"), [("fail", "a record fails"), ("crash", "loading it crashed the worker process twice")]
)
def test_a_version_whose_remaining_warm_up_fails_ends(tmp_path: Path, how: str, told: str):
    version(tmp_path, 1, f"load-cold {how}")
    version(tmp_path / "other", 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path), ServedModel("n", tmp_path / "other")) as fleet:
            await until(lambda: states(fleet)[1] == "END")
            assert told in fleet.statuses("m")[0].message
            await until(lambda: states(fleet, "n")[1] == "AVAILABLE")
            assert (await ask(fleet, name="n"))["version"] == 1

    drive(work)


def test_names_versions_and_labels_are_resolved_as_tensorflow_serving_does(tmp_path: Path):
    for number in ("00000123", "124", "9"):
        version(tmp_path, number)

    async def work() -> None:
        model = ServedModel("m", tmp_path, latest=0, labels={"stable": 123})
        async with served(model, ServedModel("none", tmp_path / "nowhere")) as fleet:
            assert states(fleet) == {124: "AVAILABLE", 123: "AVAILABLE", 9: "AVAILABLE"}
            assert [one.version for one in fleet.statuses("m")] == [124, 123, 9]
            assert fleet.statuses("m", 123) == [(123, "AVAILABLE", Code.OK, "")]
            assert (fleet.resolve("m"), fleet.resolve("m", 9), fleet.resolve("m", label="stable")) == (124, 9, 123)
            for arguments, expected in (
                (("foo",), (Code.NOT_FOUND, "Servable not found for request: Latest(foo)")),
                (("foo", None, "x"), (Code.INVALID_ARGUMENT, "Unrecognized servable version label: x")),
                (("foo", 3), (Code.NOT_FOUND, "Servable not found for request: Specific(foo, 3)")),
                (("none",), (Code.NOT_FOUND, "Servable not found for request: Latest(none)")),
                (("m", 99), (Code.NOT_FOUND, "Servable not found for request: Specific(m, 99)")),
                (("m", None, "nope"), (Code.INVALID_ARGUMENT, "Unrecognized servable version label: nope")),
            ):
                assert refusal(fleet.resolve, *arguments) == expected
            assert refusal(fleet.statuses, "foo") == (Code.NOT_FOUND, "Could not find any versions of model foo")
            assert refusal(fleet.statuses, "foo", 7)[1] == "Could not find version 7 of model foo"
            assert refusal(fleet.statuses, "none")[1] == "Could not find any versions of model none"
            assert refusal(fleet.statuses, "m", 99)[1] == "Could not find version 99 of model m"
            assert fleet.problems() == [f"none: cannot read {tmp_path / 'nowhere'}: No such file or directory"]

    drive(work)


def test_an_answer_an_error_and_what_the_worker_said_of_the_version(tmp_path: Path):
    version(tmp_path, 1, manifest_json='{"labels": ["ants"]}')

    async def work() -> None:
        async with served(ServedModel("m", tmp_path), trust=True) as fleet:
            answer = await fleet.call("m", 1, api="rest", method="predict", body=b"hello", timeout=5)
            assert (json.loads(answer.body)["body"], answer.runtime_us) == ("hello", 7)
            with pytest.raises(ServingError, match="^too bad$") as caught:
                await ask(fleet, "fail 3 too bad")
            assert caught.value.http_status == 400
            assert fleet.manifest("m", 1) == {"labels": ["ants"]}
            metadata = fleet.metadata("m", 1)
            assert metadata["path"] == str(tmp_path / "1")
            assert metadata["trust"] is True
            assert fleet.path("m", 1) == tmp_path / "1"
            assert refusal(fleet.metadata, "m", 2)[0] == Code.NOT_FOUND
            with pytest.raises(ServingError, match=r"Specific\(m, 2\)"):
                await fleet.call("m", 2, api="rest", method="predict", body=b"", timeout=5)

    drive(work)


@pytest.mark.parametrize(("batching", "merged"), [("auto", [1]), ("on", [1, 2]), ("off", [])])
def test_batching_is_asked_for_where_the_rows_are_known_to_be_independent(
    tmp_path: Path, batching: str, merged: list[int]
):
    version(tmp_path, 1, manifest_json="{}")
    version(tmp_path, 2)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path, latest=0), batching=batching) as fleet:
            found = [number for number in (1, 2) if fleet.metadata("m", number)["batching"]]
            assert found == merged
            for number in found:
                assert fleet.metadata("m", number)["batching"]["max_batch_size"] == 32

    drive(work)


def test_more_calls_than_allowed_are_refused(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path), max_in_flight=2) as fleet:
            running = [asyncio.create_task(ask(fleet, "slow 0.2")) for _ in range(2)]
            await until(lambda: fleet.in_flight == 2)
            with pytest.raises(ServingError) as caught:
                await ask(fleet)
            assert (caught.value.code, caught.value.http_status) == (Code.RESOURCE_EXHAUSTED, 429)
            await asyncio.gather(*running)
            assert (await ask(fleet))["version"] == 1

    drive(work)


def test_a_new_version_answers_before_the_old_one_goes_and_no_call_fails(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path)) as fleet:
            traffic = Traffic(fleet)
            await traffic.more()
            version(tmp_path, 2, "load-slow 0.1")
            await until(lambda: states(fleet).get(2) == "LOADING")
            assert states(fleet)[1] == "AVAILABLE"
            await until(lambda: states(fleet) == {2: "AVAILABLE", 1: "END"})
            assert fleet.statuses("m", 1) == [(1, "END", Code.OK, "")]
            await traffic.more()
            assert traffic.versions == sorted(traffic.versions)
            assert set(traffic.versions) == {1, 2}
            # The newest is taken away: the one before comes back, first.
            shutil.rmtree(tmp_path / "2")
            await until(lambda: states(fleet) == {2: "END", 1: "AVAILABLE"})
            await traffic.more()
            assert traffic.versions[-1] == 1
            assert traffic.errors == []
            shutil.rmtree(tmp_path / "1")
            await until(lambda: states(fleet) == {2: "END", 1: "END"})
            assert refusal(fleet.resolve, "m")[0] == Code.NOT_FOUND
            version(tmp_path, 1)
            await until(lambda: states(fleet)[1] == "AVAILABLE")

    drive(work)


def test_a_call_that_was_routed_to_a_leaving_version_is_still_answered(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path)) as fleet:
            number = fleet.resolve("m")
            slow = asyncio.create_task(ask(fleet, "slow 0.4"))
            await until(lambda: fleet.in_flight == 1)
            version(tmp_path, 2)
            await until(lambda: states(fleet)[1] == "UNLOADING")
            assert fleet.resolve("m") == 2
            assert refusal(fleet.resolve, "m", 1)[0] == Code.NOT_FOUND
            answer = await fleet.call("m", number, api="rest", method="predict", body=b"late", timeout=5)
            assert json.loads(answer.body)["version"] == 1
            assert (await slow)["version"] == 1
            await until(lambda: states(fleet)[1] == "END")

    drive(work)


def test_a_leaving_version_stays_callable_for_a_while(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path), unload_seconds=0.5) as fleet:
            number = fleet.resolve("m")  # routed, and then the body is slow to come
            version(tmp_path, 2)
            await until(lambda: states(fleet)[1] == "UNLOADING")
            await asyncio.sleep(0.1)
            answer = await fleet.call("m", number, api="rest", method="predict", body=b"late", timeout=5)
            assert json.loads(answer.body)["version"] == 1

    drive(work)


def test_the_old_version_goes_when_all_new_ones_answer(tmp_path: Path):
    version(tmp_path, 1)
    version(tmp_path, 2, "load-slow 0.3")
    version(tmp_path, 3)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path, specific=(1,))) as fleet:
            fleet.configure([ServedModel("m", tmp_path, specific=(2, 3))])
            await until(lambda: states(fleet).get(3) == "AVAILABLE")
            await asyncio.sleep(0.1)
            assert states(fleet) == {1: "AVAILABLE", 2: "LOADING", 3: "AVAILABLE"}
            await until(lambda: states(fleet) == {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"})

    drive(work)


def test_a_half_copied_version_waits_and_a_broken_one_leaves_the_old_one_serving(tmp_path: Path):
    version(tmp_path, 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path), poll_seconds=0.1) as fleet:
            traffic = Traffic(fleet)
            folder = tmp_path / "2"
            folder.mkdir()
            (folder / "saved_model.pb").write_text("load-fail it is cut off")
            for step in range(30):  # files grow at every look
                (folder / "variables").write_text("x" * step)
                assert 2 not in states(fleet)
                await asyncio.sleep(0.02)
            await until(lambda: states(fleet).get(2) == "END")
            assert fleet.statuses("m", 2) == [(2, "END", Code.FAILED_PRECONDITION, "it is cut off")]
            assert fleet.problems() == ["m version 2 is not served: it is cut off"]
            await asyncio.sleep(0.3)  # not tried again as long as nothing changes
            await traffic.more()
            assert set(traffic.versions) == {1}
            (folder / "saved_model.pb").write_text("whole now")
            await until(lambda: states(fleet) == {2: "AVAILABLE", 1: "END"})
            await traffic.more()
            assert traffic.versions[-1] == 2
            assert traffic.errors == []
            assert fleet.problems() == []

    drive(work)


def test_a_killed_worker_loads_everything_again(tmp_path: Path):
    version(tmp_path / "a", 1)
    version(tmp_path / "b", 7)

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a"), ServedModel("b", tmp_path / "b")) as fleet:
            running = [asyncio.create_task(ask(fleet, f"slow 30 {i}", "a")) for i in range(3)]
            await until(lambda: fleet.supervisor.pending == 3)
            os.kill(fleet.supervisor.pid, signal.SIGKILL)
            lost = await asyncio.gather(*running, return_exceptions=True)
            assert [error.http_status for error in lost] == [503] * 3
            assert refusal(fleet.resolve, "b")[0] == Code.UNAVAILABLE
            assert refusal(fleet.resolve, "b", 7)[0] == Code.UNAVAILABLE
            assert refusal(fleet.metadata, "b", 7)[0] == Code.UNAVAILABLE
            assert states(fleet, "b") == {7: "LOADING"}
            await fleet.settled()
            assert (await ask(fleet, name="a"))["version"] == 1
            assert (await ask(fleet, name="b"))["version"] == 7
            assert (fleet.restarts, fleet.in_flight) == (1, 0)

    drive(work)


def test_a_version_that_kills_the_worker_twice_is_given_up_and_the_others_serve(tmp_path: Path):
    version(tmp_path / "bad", 1, "load-crash")
    version(tmp_path / "good", 1)

    async def work() -> None:
        async with served(ServedModel("bad", tmp_path / "bad"), ServedModel("good", tmp_path / "good")) as fleet:
            (status,) = fleet.statuses("bad")
            assert (status.state, status.code) == ("END", Code.INTERNAL)
            assert "loading it crashed the worker process twice" in status.message
            assert (await ask(fleet, name="good"))["version"] == 1
            assert fleet.restarts == 2
            (tmp_path / "bad" / "1" / "saved_model.pb").write_text("repaired")
            await until(lambda: states(fleet, "bad") == {1: "AVAILABLE"})

    drive(work)


def test_a_version_that_kills_once_is_tried_alone_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    version(tmp_path / "good", 1)
    version(tmp_path / "shaky", 1, "load-slow 0.1", crash_while_loading="1")

    loads: list[tuple[str, bool]] = []

    class Watched(Supervisor):
        async def load(self, header: dict[str, Any], *, alone: bool = False) -> dict[str, Any]:
            loads.append((header["name"], alone))
            return await super().load(header, alone=alone)

    monkeypatch.setattr("tlkit.serving.fleet.Supervisor", Watched)

    async def work() -> None:
        async with served(ServedModel("good", tmp_path / "good"), ServedModel("shaky", tmp_path / "shaky")) as fleet:
            assert (await ask(fleet, name="shaky"))["version"] == 1
            assert fleet.restarts == 1
            assert loads == [("good", False), ("shaky", False), ("good", False), ("shaky", True)]

    drive(work)


def test_a_call_that_kills_while_a_version_loads_does_not_cost_the_version(tmp_path: Path):
    version(tmp_path / "m", 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path / "m"), ServedModel("n", tmp_path / "n")) as fleet:
            version(tmp_path / "n", 1, "load-slow 0.3")
            await until(lambda: fleet.models()["n"] and states(fleet, "n") == {1: "LOADING"})
            with pytest.raises(ServingError):
                await ask(fleet, "crash")
            await until(lambda: states(fleet) == {1: "AVAILABLE"})
            with pytest.raises(ServingError):  # held while that version loads, then run alone
                await ask(fleet, "crash")
            await fleet.settled()
            assert (states(fleet), states(fleet, "n")) == ({1: "AVAILABLE"}, {1: "AVAILABLE"})
            with pytest.raises(ServingError, match="is rejected"):
                await ask(fleet, "crash")
            assert fleet.restarts == 2

    drive(work)


def test_a_label_moves_when_its_version_answers_and_no_call_fails(tmp_path: Path):
    for number in (1, 2):
        version(tmp_path, number)
    version(tmp_path, 3, "load-slow 0.2")
    first = ServedModel("m", tmp_path, specific=(1, 2), labels={"stable": 1, "canary": 2})

    async def work() -> None:
        async with served(first) as fleet:
            assert fleet.labels("m") == {"stable": 1, "canary": 2}
            fleet.configure([ServedModel("m", tmp_path, specific=(1, 2), labels={"stable": 2})])
            assert fleet.resolve("m", label="stable") == 2  # at once
            assert refusal(fleet.resolve, "m", label="canary")[0] == Code.INVALID_ARGUMENT
            traffic = Traffic(fleet, label="stable")
            await traffic.more()
            fleet.configure([ServedModel("m", tmp_path, specific=(3,), labels={"stable": 3, "broken": 4})])
            assert fleet.resolve("m", label="stable") == 2
            await until(lambda: states(fleet) == {1: "END", 2: "END", 3: "AVAILABLE"})
            await traffic.more()
            assert traffic.versions[-1] == 3
            assert traffic.versions == sorted(traffic.versions)
            assert traffic.errors == []
            assert "the label 'broken' waits for version 4" in fleet.problems()[-1]

    drive(work)


def test_a_label_stays_when_its_new_version_cannot_be_loaded_and_says_so(tmp_path: Path, caplog):
    version(tmp_path, 1)
    version(tmp_path, 2)
    version(tmp_path, 3, "load-fail broken")

    async def work() -> None:
        async with served(ServedModel("m", tmp_path, specific=(1,), labels={"stable": 1})) as fleet:
            fleet.configure([ServedModel("m", tmp_path, specific=(2, 3), labels={"stable": 3})])
            await until(lambda: states(fleet).get(3) == "END")
            await until(lambda: states(fleet).get(2) == "AVAILABLE")
            await asyncio.sleep(0.2)
            assert states(fleet) == {1: "AVAILABLE", 2: "AVAILABLE", 3: "END"}
            assert (await ask(fleet, label="stable"))["version"] == 1
            told = [record.message for record in caplog.records if "label" in record.message]
            assert told == ["m: the label 'stable' is kept on version 1: 3 is not available"]

    caplog.set_level(logging.WARNING, "tlkit.serving")
    drive(work)


def test_a_base_path_that_goes_away_takes_nothing_with_it(tmp_path: Path):
    version(tmp_path / "m", 1)

    async def work() -> None:
        async with served(ServedModel("m", tmp_path / "m")) as fleet:
            (tmp_path / "m").rename(tmp_path / "away")
            await until(fleet.problems)
            await asyncio.sleep(0.2)
            assert (await ask(fleet))["version"] == 1
            version(tmp_path / "away", 2)
            (tmp_path / "away").rename(tmp_path / "m")
            await until(lambda: states(fleet).get(2) == "AVAILABLE")
            assert fleet.problems() == []

    drive(work)


def test_models_come_go_and_change_their_folder_with_the_configuration(tmp_path: Path):
    for name in "abc":
        version(tmp_path / name, 1, f"graph of {name}")

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a"), ServedModel("b", tmp_path / "b")) as fleet:
            fleet.configure([ServedModel("b", tmp_path / "c"), ServedModel("new", tmp_path / "a")])
            await until(lambda: fleet.models()["new"] and states(fleet, "new") == {1: "AVAILABLE"})
            await until(lambda: states(fleet, "a") == {1: "END"})
            assert refusal(fleet.resolve, "a") == (Code.NOT_FOUND, "Servable not found for request: Latest(a)")
            assert fleet.statuses("a")[0].state == "END"
            await until(lambda: states(fleet, "b") == {1: "AVAILABLE"})
            while (await ask(fleet, name="b"))["graph"] != "graph of c":
                await asyncio.sleep(0.02)
            assert fleet.problems() == []

    drive(work)


def test_a_version_outside_the_base_path_is_refused_with_a_status(tmp_path: Path):
    version(tmp_path / "elsewhere", 5)
    version(tmp_path / "m", 1)
    (tmp_path / "m" / "2").symlink_to(tmp_path / "elsewhere" / "5")

    async def work() -> None:
        async with served(ServedModel("m", tmp_path / "m")) as fleet:
            (refused,) = fleet.statuses("m", 2)
            assert (refused.state, refused.code) == ("END", Code.PERMISSION_DENIED)
            assert refused.message == "2 links to a path outside of the base path; it is not followed"
            (problem,) = fleet.problems()
            assert f"{tmp_path / 'm' / '2'} links to a path outside" in problem, "the operator reads where it is"
            assert (await ask(fleet))["version"] == 1

    drive(work)
