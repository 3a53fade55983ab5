"""The configuration files that the real server is started with, made for one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from tlkit.errors import ConfigError
from tlkit.export.manifest import version_number
from tlkit.export.model_name import check_model_name
from tlkit.serving import protos
from tlkit.serving.models_config import read_text_proto
from tlkit.serving.models_root import local_base_path

_MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'


@dataclass(frozen=True)
class EngineModel:
    """One model of a run.

    Attributes:
        config: its ModelConfig; the base path is set when the files are written.
        base: the folder of its versions on this machine, or of the one version.
        alone: `base` is a SavedModel that is not called like a version, and is served as version 1.
    """

    config: Any
    base: Path
    alone: bool

    @property
    def name(self) -> str:
        """The name in the URL."""
        return str(self.config.name)


def engine_models(
    models: Sequence[tuple[str, Path]] | Path, models_root: Path | None = None
) -> tuple[EngineModel, ...]:
    """Say what is to be served.

    Args:
        models: (name, folder of versions or one version) each, or the path of a models.config.
        models_root: for a models.config: the folder that stands for /models.

    Returns:
        The models, in their order.

    Raises:
        ConfigError: the file is no models.config, names no model or one twice, or a folder does not exist.
    """
    if isinstance(models, Path):
        parsed = read_text_proto(models, protos.ModelServerConfig())
        listed = list(parsed.model_config_list.config)
        # The server wants absolute paths; others are meant from the file that names them.
        found = [
            EngineModel(config, models.parent / local_base_path(config.base_path, _absolute(models_root)), False)
            for config in listed
        ]
    else:
        found = [_of_folder(name, Path(folder)) for name, folder in models]
    if not found:
        raise ConfigError(f"{models} has no model", fix="see docs/serving.md for an example")
    names = [model.name for model in found]
    for model in found:
        check_model_name(model.name)
        if names.count(model.name) > 1:
            raise ConfigError(f"the model {model.name!r} is listed twice")
        if not model.base.is_dir():
            raise ConfigError(
                f"the model {model.name!r} has no folder {model.base}",
                fix="set the local folder for /models with --models-root" if isinstance(models, Path) else None,
            )
    return tuple(found)


def write_configs(
    folder: Path,
    models: Sequence[EngineModel],
    base_paths: Mapping[str, str],
    batching_config: Path | None,
    monitoring_config: Path | None,
) -> list[str]:
    """Write models.config and its companions, as the server is to see them.

    Args:
        folder: receives them.
        models: what is to be served.
        base_paths: model name -> its folder of versions as the server sees it.
        batching_config, monitoring_config: the user's files; without the first nothing is batched, without the second
            metrics are on at their usual path.

    Returns:
        The names of the files, all in `folder`.

    Raises:
        ConfigError: a file of the user's is not what it should be.
    """
    server = protos.ModelServerConfig()
    for model in models:
        config = server.model_config_list.config.add()
        config.CopyFrom(model.config)
        config.base_path = base_paths[model.name]
        config.model_platform = config.model_platform or "tensorflow"
    files = {
        "models.config": text_format.MessageToString(server, as_utf8=True),
        "monitoring.config": _MONITORING,
    }
    if monitoring_config is not None:
        files["monitoring.config"] = _checked(monitoring_config, protos.MonitoringConfig())
    if batching_config is not None:
        files["batching.config"] = _checked(batching_config, protos.BatchingParameters())
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return list(files)


def _checked(path: Path, message: Any) -> str:
    return text_format.MessageToString(read_text_proto(path, message), as_utf8=True)


def _of_folder(name: str, folder: Path) -> EngineModel:
    config = protos.ModelConfig(name=name)
    if not (folder / "saved_model.pb").is_file():
        return EngineModel(config, folder, False)
    full = folder.resolve()
    number = version_number(full.name)
    if number is None:
        return EngineModel(config, full, True)
    config.model_version_policy.specific.versions.append(number)
    return EngineModel(config, full.parent, False)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()
