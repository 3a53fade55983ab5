"""Reads TensorFlow Serving's configuration files: models.config, batching.config, monitoring.config and ssl.config.

They are text protos: `ModelServerConfig`, `BatchingParameters`, `MonitoringConfig` and `SSLConfig` of
tensorflow_serving/config and tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import ConfigError
from tlkit.export.model_name import check_model_name
from tlkit.serving.models_root import local_base_path
from tlkit.serving.served_model import ServedModel

_LARGEST = 2**63 - 1
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class SslConfig(NamedTuple):
    """What an ssl.config holds, in PEM: key, certificate chain, and the authority of clients where one is asked for.

    `client_verify` says that a client without a certificate of that authority is turned away.
    """

    key: bytes
    certificate: bytes
    client_ca: bytes | None = None
    client_verify: bool = False


def read_models_config(path: Path, root: Path | None = None) -> list[ServedModel]:
    """Read a models.config.

    Example:
        >>> read_models_config(Path("models.config"))
        [ServedModel(name='photos', base_path=PosixPath('/srv/saved_models/photos'), latest=1, ...)]

    Args:
        path: the file. Relative base paths in it are relative to its folder.
        root: the folder that stands for /models, where the file is one for a container.

    Returns:
        The models in the order of the file.

    Raises:
        ConfigError: it cannot be read or parsed, or asks for something that cannot be served.
    """
    return parse_models_config(read_text(path), path, root)


def parse_models_config(text: str, path: Path, root: Path | None = None) -> list[ServedModel]:
    """Parse the text of a models.config that was read from `path`; raises as `read_models_config` does."""
    from tlkit.serving import protos

    config = _parse(text, protos.ModelServerConfig(), path)
    if config.WhichOneof("config") == "custom_model_config":
        raise ConfigError(f"{path}: custom_model_config is not supported", allowed="model_config_list")
    entries = config.model_config_list.config
    if not entries:
        raise ConfigError(
            f"{path} has no model",
            allowed='model_config_list { config { name: "..." base_path: "..." model_platform: "tensorflow" } }',
        )
    return served_models(entries, path, root)


def served_models(entries: Iterable[Any], path: Path, root: Path | None = None) -> list[ServedModel]:
    """Return what the entries of a ModelConfigList ask for.

    Args:
        entries: ModelConfig messages; none is a server without models.
        path: of the file that they stand in, for messages and relative base paths.
        root: the folder that stands for /models.

    Raises:
        ConfigError: one asks for something that cannot be served.
    """
    models: dict[str, ServedModel] = {}
    for number, entry in enumerate(entries, 1):
        model = _model(entry, f"{path}: config {number}", path, root)
        if model.name in models:
            raise ConfigError(f"{path}: two models have the name {model.name!r}", fix="use different names")
        models[model.name] = model
    return list(models.values())


def check_labels(model: ServedModel, versions: list[int], path: Path) -> None:
    """Refuse a label on a version that the policy does not serve.

    Args:
        model: a model of a models.config.
        versions: what lies in its base path.
        path: of the models.config, for the message.

    Raises:
        ConfigError: TensorFlow Serving would refuse such a label, too.
    """
    served = model.chosen(versions)
    for label, version in sorted(model.labels.items()):
        if version not in served:
            raise ConfigError(
                f"{path}: model {model.name!r}: the label {label!r} is on a version that is not served",
                received=version,
                allowed=served or "none: no version exists",
                fix="add the version to model_version_policy { specific { versions: ... } }",
            )


def read_batching_config(path: Path) -> dict[str, Any]:
    """Read a batching.config.

    Example:
        >>> read_batching_config(Path("batching.config"))["max_batch_size"]
        32

    Args:
        path: a text proto of BatchingParameters.

    Returns:
        max_batch_size, batch_timeout_micros (µs), max_enqueued_batches, num_batch_threads, allowed_batch_sizes and
        enable_large_batch_splitting.

    Raises:
        ConfigError: it cannot be read or parsed, or its numbers do not fit each other.
    """
    from tlkit.serving import protos

    config = read_text_proto(path, protos.BatchingParameters())
    settings: dict[str, Any] = {}
    # TensorFlow Serving's own defaults (BasicBatchScheduler::Options and the server's number of cores).
    for name, default, least in (
        ("max_batch_size", 1000, 1),
        ("batch_timeout_micros", 0, 0),
        ("max_enqueued_batches", 10, 1),
        ("num_batch_threads", os.cpu_count() or 1, 1),
    ):
        value = getattr(config, name).value if config.HasField(name) else default
        if value < least:
            raise ConfigError(f"{path}: {name}", received=value, allowed=f"at least {least}")
        settings[name] = value
    sizes = list(config.allowed_batch_sizes)
    if sizes and (sizes != sorted(set(sizes)) or sizes[0] < 1):
        raise ConfigError(f"{path}: allowed_batch_sizes", received=sizes, allowed="positive numbers, each larger")
    if sizes and sizes[-1] != settings["max_batch_size"]:
        raise ConfigError(
            f"{path}: the last value of allowed_batch_sizes must be max_batch_size",
            received=sizes[-1],
            allowed=str(settings["max_batch_size"]),
        )
    settings["allowed_batch_sizes"] = sizes
    settings["enable_large_batch_splitting"] = bool(config.enable_large_batch_splitting.value)
    return settings


def read_monitoring_config(path: Path) -> str | None:
    """Read a monitoring.config.

    Args:
        path: a text proto of MonitoringConfig.

    Returns:
        The path under which Prometheus finds the metrics, or None where they are not enabled.

    Raises:
        ConfigError: it cannot be read or parsed.
    """
    from tlkit.serving import protos

    config = read_text_proto(path, protos.MonitoringConfig()).prometheus_config
    if not config.enable:
        return None
    where = config.path or "/monitoring/prometheus/metrics"
    if not where.startswith("/"):
        raise ConfigError(f"{path}: the path of prometheus_config", received=where, allowed="a path that starts with /")
    return str(where)


def read_ssl_config(path: Path) -> SslConfig:
    """Read an ssl.config, which holds PEM texts and not file names.

    Args:
        path: a text proto of SSLConfig.

    Returns:
        Key, certificate and authority.

    Raises:
        ConfigError: it cannot be read or parsed, or a part is missing.
    """
    from tlkit.serving import protos

    config = read_text_proto(path, protos.SSLConfig())
    for name in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, name):
            raise ConfigError(
                f"{path}: {name} contains no PEM text", fix="paste the file's content, with \\n for newlines"
            )
    if config.client_verify and not config.custom_ca:
        raise ConfigError(f"{path}: client_verify needs custom_ca, the authority that signs the clients' certificates")
    authority = config.custom_ca.encode() or None
    return SslConfig(config.server_key.encode(), config.server_cert.encode(), authority, config.client_verify)


def _model(entry: Any, where: str, path: Path, root: Path | None) -> ServedModel:
    if not entry.name:
        raise ConfigError(f"{where} has no name")
    try:
        check_model_name(entry.name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    where = f"{path}: model {entry.name!r}"
    if not entry.base_path:
        raise ConfigError(f"{where} has no base_path", allowed="the folder of its versions")
    if _REMOTE.match(entry.base_path):
        raise ConfigError(
            f"{where}: only local folders can be served", received=entry.base_path, fix="copy the model to this machine"
        )
    if entry.model_platform != "tensorflow":
        raise ConfigError(f"{where}: model_platform", received=entry.model_platform, allowed=('"tensorflow"',))
    latest, specific = 1, ()
    policy = entry.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        latest = 0
    elif choice == "latest":
        latest = policy.latest.num_versions or 1  # as TensorFlow Serving reads a 0
    elif choice == "specific":
        specific = tuple(policy.specific.versions)
        if not specific:
            raise ConfigError(f"{where}: specific has no versions", allowed="specific { versions: 1 versions: 2 }")
        if len(set(specific)) < len(specific) or min(specific) < 0:
            raise ConfigError(f"{where}: versions", received=list(specific), allowed="different numbers, 0 or more")
    labels = dict(entry.version_labels)
    for label, version in sorted(labels.items()):
        if not label or not 0 <= version <= _LARGEST:
            raise ConfigError(f"{where}: version label", received=f"{label!r}: {version}", allowed="a name: a version")
        if specific and version not in specific:
            raise ConfigError(
                f"{where}: the label {label!r} is on a version that is not served", received=version, allowed=specific
            )
    # The folder may come later, so it need not exist.
    base = Path(os.path.normpath(path.parent / local_base_path(entry.base_path, root)))
    return ServedModel(entry.name, base, latest=latest, specific=specific, labels=labels)


def read_text(path: Path) -> str:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error


def read_text_proto(path: Path, message: Any) -> Any:
    """Fill an empty message of `tlkit.serving.protos` from a text proto.

    Raises:
        ConfigError: the file cannot be read or parsed.
    """
    return _parse(read_text(path), message, path)


def _parse(text: str, message: Any, path: Path) -> Any:
    from google.protobuf import text_format

    from tlkit.serving import protos

    try:
        return text_format.Parse(text, message, descriptor_pool=protos.POOL)
    except text_format.ParseError as error:
        raise ConfigError(
            f"{path} is not a {type(message).__name__}: {error}", fix="write it as a text proto of TensorFlow Serving"
        ) from error
