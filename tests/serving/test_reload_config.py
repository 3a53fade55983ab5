"""HandleReloadConfigRequest, before a fleet with a fake worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from supervision import ask, drive, served, states, version

from tlkit.serving import protos
from tlkit.serving.grpc_server import grpc_server
from tlkit.serving.metrics import Metrics
from tlkit.serving.reload_config import ConfigReloader
from tlkit.serving.served_model import ServedModel
from tlkit.serving.status import Code, ServingError


def config(**models: Path | dict[str, Any]) -> Any:
    made = protos.ModelServerConfig()
    made.model_config_list.SetInParent()
    for name, fields in models.items():
        more = fields if isinstance(fields, dict) else {"base_path": str(fields)}
        made.model_config_list.config.add(**{"name": name, "model_platform": "tensorflow", **more})
    return made


async def refused(reloader: ConfigReloader, asked: Any) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        await reloader.apply(asked)
    return caught.value.code, caught.value.message


def test_the_new_list_takes_the_place_of_the_old_one(tmp_path: Path):
    for name in "abc":
        version(tmp_path / name, 1)
    version(tmp_path / "a", 2)

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a"), ServedModel("b", tmp_path / "b")) as fleet:
            reloader = ConfigReloader(fleet, models_root=None, allowed=True)
            await reloader.apply(config(a=tmp_path / "a", c=tmp_path / "c"))
            assert (await ask(fleet, name="c"))["version"] == 1  # it answers as soon as the request is answered
            assert (await ask(fleet, name="a"))["version"] == 2
            assert fleet.configured() == ["a", "c"]
            specific = {"specific": {"versions": [1, 2]}}
            both = {"base_path": str(tmp_path / "a"), "model_version_policy": specific}
            await reloader.apply(config(a=both))
            while states(fleet, "a") != {1: "AVAILABLE", 2: "AVAILABLE"}:
                fleet._changed.clear()
                await fleet._changed.wait()
            await reloader.apply(config(a={**both, "version_labels": {"stable": 1}}))
            assert (await ask(fleet, name="a", label="stable"))["version"] == 1
            await reloader.apply(config())  # nothing is served any more
            assert fleet.configured() == []

    drive(work)


def test_what_cannot_be_served_changes_nothing(tmp_path: Path):
    version(tmp_path / "a", 1)

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a")) as fleet:
            reloader = ConfigReloader(fleet, models_root=None, allowed=True)
            custom = protos.ModelServerConfig()
            custom.custom_model_config.SetInParent()
            twice = config(a=tmp_path / "a")
            twice.model_config_list.config.add().CopyFrom(twice.model_config_list.config[0])
            label = {"base_path": str(tmp_path / "a"), "version_labels": {"canary": 7}}
            for asked, code, message in (
                (protos.ModelServerConfig(), Code.INVALID_ARGUMENT, "Only ModelConfigList is currently supported"),
                (custom, Code.INVALID_ARGUMENT, "Only ModelConfigList is currently supported"),
                (twice, Code.INVALID_ARGUMENT, "two models have the name 'a'"),
                (config(b={"base_path": "b"}), Code.INVALID_ARGUMENT, "Expected model b to have an absolute path"),
                (config(b={"base_path": "gs://x/b"}), Code.INVALID_ARGUMENT, "only local folders can be served"),
                (config(b={"base_path": "/b", "model_platform": "x"}), Code.INVALID_ARGUMENT, "model_platform"),
                (config(a=label), Code.FAILED_PRECONDITION, "assign label to version 7 of model a, which is not"),
            ):
                got, said = await refused(reloader, asked)
                assert got == code
                assert message in said
            assert fleet.configured() == ["a"]
            assert (await ask(fleet, name="a"))["version"] == 1

    drive(work)


def test_a_new_model_that_cannot_be_loaded_is_told(tmp_path: Path):
    version(tmp_path / "a", 1)
    version(tmp_path / "bad", 1, "load-fail no such op")

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a")) as fleet:
            reloader = ConfigReloader(fleet, models_root=None, allowed=True)
            code, message = await refused(
                reloader, config(a=tmp_path / "a", bad=tmp_path / "bad", none=tmp_path / "none")
            )
            assert code == Code.UNKNOWN
            assert message.startswith("2 model(s) did not become available: {{name: bad due to error: ")
            assert "no such op" in message
            assert fleet.configured() == ["a", "bad", "none"]
            assert (await ask(fleet, name="a"))["version"] == 1

    drive(work)


def test_base_paths_of_a_container_are_found_here(tmp_path: Path):
    version(tmp_path / "a", 1)

    async def work() -> None:
        async with served(ServedModel("x", tmp_path / "a")) as fleet:
            reloader = ConfigReloader(fleet, models_root=tmp_path, allowed=True)
            await reloader.apply(config(a={"base_path": "/models/a"}))
            assert (await ask(fleet, name="a"))["version"] == 1

    drive(work)


def test_it_has_to_be_allowed(tmp_path: Path):
    version(tmp_path / "a", 1)

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a")) as fleet:
            reloader = ConfigReloader(fleet, models_root=None, allowed=False)
            code, message = await refused(reloader, config(b=tmp_path / "a"))
            assert code == Code.PERMISSION_DENIED
            assert "--allow-reload-config" in message
            assert fleet.configured() == ["a"]

    drive(work)


def test_over_grpc_with_metrics(tmp_path: Path):
    version(tmp_path / "a", 1)
    version(tmp_path / "b", 1)
    path = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
    loads = ":tensorflow:cc:saved_model:load_attempt_count"

    async def work() -> None:
        async with served(ServedModel("a", tmp_path / "a")) as fleet:
            metrics = Metrics()
            fleet.on_load = metrics.observe_load
            reloader = ConfigReloader(fleet, models_root=None, allowed=True)
            server, port = await grpc_server(fleet, host="127.0.0.1", port=0, metrics=metrics, reload=reloader.apply)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
                call = channel.unary_unary(path)
                request = protos.ReloadConfigRequest(config=config(b=tmp_path / "b"), metric_names=[loads, "other"])
                response = protos.ReloadConfigResponse.FromString(await call(request.SerializeToString(), timeout=20))
                assert response.status.error_code == 0
                assert {one.name: one.int64_value_increase for one in response.metric} == {loads: 1, "other": 0}
                assert (await ask(fleet, name="b"))["version"] == 1
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(protos.ReloadConfigRequest().SerializeToString(), timeout=20)
                assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            await server.stop(0)

    drive(work)
