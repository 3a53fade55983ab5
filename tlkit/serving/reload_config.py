"""ModelService.HandleReloadConfigRequest: a new list of models for a running server.

Follows TensorFlow Serving's ServerCore::ReloadConfig: the list replaces the one before, labels go to available versions
only, and the response comes when every new model answers or cannot be loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlkit.errors import ConfigError
from tlkit.serving.fleet import Fleet
from tlkit.serving.models_config import served_models
from tlkit.serving.served_model import ServedModel
from tlkit.serving.status import Code, ServingError

_WHERE = Path("the request")


class ConfigReloader:
    """Applies configurations that come by request.

    Example:
        >>> reloader = ConfigReloader(fleet, models_root=None, allowed=True)
        >>> await reloader.apply(request.config)

    Args:
        fleet: the served models.
        models_root: the folder that stands for /models in base paths.
        allowed: whether such requests are taken at all.
    """

    def __init__(self, fleet: Fleet, *, models_root: Path | None, allowed: bool):
        self._fleet, self._root, self._allowed = fleet, models_root, allowed

    async def apply(self, config: Any) -> None:
        """Serve the models of a ModelServerConfig, and wait until those that are new answer.

        Args:
            config: the message.

        Raises:
            ServingError: PERMISSION_DENIED where requests may not do this. INVALID_ARGUMENT, FAILED_PRECONDITION: the
                configuration cannot be served, and all stays as it was. UNKNOWN: a new model could not be loaded; the
                configuration is in force.
        """
        if not self._allowed:
            raise ServingError(
                Code.PERMISSION_DENIED,
                "reconfiguration by request is disabled: start the server with --allow-reload-config, or edit its "
                "models.config, which it polls",
            )
        models = self._models_of(config)
        before = set(self._fleet.configured())
        self._fleet.configure(models)
        failed = await self._fleet.wait_available([model.name for model in models if model.name not in before])
        if failed:
            listed = ", ".join(f"{{name: {name}{f' due to error: {why}' if why else ''}}}" for name, why in failed)
            raise ServingError(Code.UNKNOWN, f"{len(failed)} model(s) did not become available: {{{listed}}}")

    def _models_of(self, config: Any) -> list[ServedModel]:
        if config.WhichOneof("config") != "model_config_list":
            raise ServingError(
                Code.INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported",
            )
        entries = config.model_config_list.config
        for entry in entries:
            if entry.base_path and not entry.base_path.startswith("/") and "://" not in entry.base_path:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}",
                )
        try:
            models = served_models(entries, _WHERE, self._root)
        except ConfigError as error:
            raise ServingError(Code.INVALID_ARGUMENT, str(error)) from None
        for model in models:
            available = {one.version for one in self._fleet.models().get(model.name, ()) if one.state == "AVAILABLE"}
            for version in model.labels.values():
                if version not in available:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {model.name}, which is not currently "
                        "available for inference",
                    )
        return models
