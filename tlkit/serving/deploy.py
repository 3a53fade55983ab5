"""What an operator needs to run an export: Compose, Kubernetes and KServe files, made from the export's facts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tlkit.errors import ConfigError, ExportError
from tlkit.export import model_name
from tlkit.export.manifest import MANIFEST_NAME, Manifest, MemoryUse, batch_sizes, version_folders

if TYPE_CHECKING:
    import jinja2

#: TensorFlow Serving is released with TensorFlow: an export of TensorFlow 2.21 belongs to this image.
IMAGE = "tensorflow/serving:2.21.0"
#: Where the models are in the container.
MODELS_ROOT = "/models"
#: What is assumed of a model before there is one.
ASSUMED_BYTES = 256 * 2**20
ASSUMED_MAX_BATCH = 32
#: The server without a model, its threads' scratch and the requests that it holds, in MiB.
BASE_MIB = 1024

_FLAGS = (
    "--port=8500",
    "--rest_api_port=8501",
    "--rest_api_timeout_in_ms=30000",
    "--model_config_file={models}/models.config",
    "--model_config_file_poll_wait_seconds=30",
    "--allow_version_labels_for_unavailable_models=true",
    "--enable_batching=true",
    "--batching_parameters_file={server}/batching.config",
    "--monitoring_config_file={server}/monitoring.config",
    # Counted from the machine's cores otherwise, not from the container's share of them.
    "--tensorflow_intra_op_parallelism={cores}",
    "--tensorflow_inter_op_parallelism={cores}",
)


_DERIVED = ("served", "kubernetes_name", "model_mib", "memory_mib", "memory_formula", "storage_gib")
#: What only belongs to the files with monitoring=True.
_MONITORING = ("alerts.yaml", "k8s/prometheusrule.yaml", "k8s/servicemonitor.yaml")
#: Status of a request that the server is to blame for, as in :tensorflow:serving:request_count.
_SERVER_ERRORS = ("ABORTED", "DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN")


@dataclass(frozen=True)
class Deployment:
    """The facts that the files are made of.

    Example:
        render(Deployment("bees"))["models.config"]

    Args:
        name: the served model's name, which is its folder's too.
        stable: the version with the label "stable".
        canary: the version with the label "canary", or None.
        model_bytes: size of the largest version on disk, in bytes.
        max_batch: the largest batch that the export was verified with, in rows.
        measured: the two numbers are an export's; otherwise they are assumed.
        memory: what the verification of the export took; None where an export does not say it.
        image: the server's image, with a tag, a digest or both.
        cores: processor cores of one server.
        models_path: the model's folder of versions, as seen from the folder of the files.
        export_path: the same, as seen from where the user stands.
        folder: what the folder of the files is called there.
        monitoring: with alert rules, and a ServiceMonitor for the Prometheus operator.

    Raises:
        ConfigError: a value that no server could use.
    """

    name: str
    stable: int = 1
    canary: int | None = None
    model_bytes: int = ASSUMED_BYTES
    max_batch: int = ASSUMED_MAX_BATCH
    measured: bool = False
    memory: MemoryUse | None = None
    image: str = IMAGE
    cores: int = 2
    models_path: str = ""
    export_path: str = ""
    folder: str = "serving"
    monitoring: bool = False

    def __post_init__(self) -> None:
        check_model_name(self.name)
        check_image(self.image)
        if not self.folder.isprintable():  # it stands in comments, which end with their line
            raise ConfigError(
                "the folder's name has characters that cannot be printed",
                received=self.folder,
                fix="choose another --to",
            )
        if self.cores < 1:
            raise ConfigError(
                "a server needs at least one CPU core", received=self.cores, allowed="a whole number above 0"
            )
        if self.canary == self.stable:
            raise ConfigError(
                "the canary must be another version than the stable one",
                received=self.canary,
                fix="export a new version, or remove --canary",
            )
        object.__setattr__(self, "models_path", self.models_path or f"../saved_models/{self.name}")
        object.__setattr__(self, "export_path", self.export_path or f"saved_models/{self.name}")

    @property
    def served(self) -> list[int]:
        """The versions that are loaded, in order."""
        return sorted({self.stable} | ({self.canary} if self.canary is not None else set()))

    @property
    def kubernetes_name(self) -> str:
        """The name of the objects in a cluster."""
        return kubernetes_name(self.name)

    @property
    def model_mib(self) -> int:
        """Size of the model on disk, in MiB, rounded up."""
        return -(-self.model_bytes // 2**20)

    @property
    def memory_mib(self) -> int:
        """Memory request and limit of one server: itself, and two versions at once (a reload, a canary).

        As many batches run at once as there are cores, each with `run_mib` of its own.
        """
        if self.memory is None:
            return _rounded(2 * self.model_mib + BASE_MIB)
        return _rounded(self.memory.base_mib + 2 * self.model_mib + self.cores * self.run_mib)

    @property
    def run_mib(self) -> int:
        """What a run of the largest batch takes beside the server and the model, in MiB; 0 where it is not known."""
        if self.memory is None:
            return 0
        return max(0, self.memory.peak_mib - self.memory.base_mib - self.model_mib)

    @property
    def memory_formula(self) -> str:
        """How `memory_mib` comes about, in words."""
        size = "size on disk" if self.measured else "assumed, since there is no export"
        models = f"2 x {self.model_mib} MiB ({size}; two versions live at once)"
        if self.memory is None:
            old = "; memory was not measured: export it again with this version of tlkit" if self.measured else ""
            return f"{models} + {BASE_MIB} MiB (the server), rounded up to 128{old}"
        return (
            f"{self.memory.base_mib} MiB (the server) + {models} + {self.cores} x {self.run_mib} MiB (a run of"
            f" {self.max_batch} rows, measured when the export was verified; one per core), rounded up to 128"
        )

    @property
    def storage_gib(self) -> int:
        """Size of the volume: ten versions."""
        return max(1, -(-10 * self.model_mib // 1024))


def check_model_name(name: str) -> None:
    """Refuse a model name that is no folder's, or that a configuration file could not hold.

    Raises:
        ConfigError: the name cannot be used.
    """
    model_name.check_model_name(name)
    if not name.isprintable() or not name.strip() or "/" in name or len(name) > 200:
        raise ConfigError(
            "a model's name must be a valid folder name",
            received=name,
            allowed="1 to 200 printable characters without /",
        )


def check_image(image: str) -> str:
    """Refuse an image that is not pinned: with `latest`, or no tag at all, it is another server tomorrow.

    Returns:
        The tag; empty where a digest pins it alone.

    Raises:
        ConfigError: there is no tag or digest, or it is `latest`.
    """
    tag = _image(image)
    if tag is None or (not tag["digest"] and tag["tag"] in (None, "latest")):
        raise ConfigError(
            "the image must be pinned by a tag or a digest",
            received=image,
            allowed=f"such as {IMAGE}, not latest, or NAME[:TAG]@sha256: and the 64 digits of its digest",
        )
    return tag["tag"] or ""


def _image(image: str) -> re.Match[str] | None:
    return re.fullmatch(r"[\w.:/-]*?[\w.-]+(?::(?P<tag>[\w][\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?", image)


def _rounded(mib: int) -> int:
    return -(-mib // 128) * 128


def kubernetes_name(name: str) -> str:
    """Give the name of the Kubernetes objects of a model: a DNS label that begins with a letter (RFC 1035).

    >>> kubernetes_name("bees_2")
    'tfs-bees-2'
    """
    plain = re.sub(r"[^a-z0-9-]", "-", name.lower())
    if not re.fullmatch(r"[a-z0-9_-]+", name):  # what was replaced keeps two names apart
        plain = f"{plain[:39].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"tfs-{plain}"[:50].rstrip("-")


def facts(
    base: Path,
    *,
    stable: int,
    canary: int | None = None,
    newest: int | None = None,
    name: str | None = None,
    image: str = IMAGE,
    cores: int = 2,
    monitoring: bool = False,
    to: Path,
) -> Deployment:
    """Read the facts of versions on disk.

    Args:
        base: the model's folder of versions.
        stable, canary: the versions to serve.
        newest: a version that is not served yet, but for which there must be room; None where there is none.
        name: the model's name; the folder's by default.
        image: the server's image.
        cores: processor cores of one server.
        monitoring: with alert rules and a ServiceMonitor.
        to: the folder that receives the files.

    Returns:
        The facts. The largest version decides the memory, the smallest max_batch the batches.

    Raises:
        ConfigError: the name or the image cannot be used, or both versions are the same.
        ExportError: a version is not there, or its manifest is damaged.
    """
    base, to = base.resolve(), to.resolve()
    there = version_folders(base)
    for version in (stable, *(() if canary is None else (canary,))):
        if version not in there or not (there[version] / "saved_model.pb").is_file():
            raise ExportError(
                f"{base} has no version {version}",
                allowed=f"existing versions: {', '.join(map(str, there)) or 'none'}",
            )
    wanted = {stable, *(number for number in (canary, newest) if number is not None)}
    folders = [there.get(version, base / str(version)) for version in sorted(wanted)]
    manifests = [Manifest.read(folder) for folder in folders if (folder / MANIFEST_NAME).is_file()]
    memories = [manifest.memory for manifest in manifests]
    known = [memory for memory in memories if memory is not None]
    return Deployment(
        name=name if name is not None else base.name,
        stable=stable,
        canary=canary,
        model_bytes=max(size_of(folder) for folder in folders),
        max_batch=min((manifest.max_batch for manifest in manifests), default=ASSUMED_MAX_BATCH),
        measured=True,
        # Of several versions the hungriest; where one does not say it, the others say nothing about it.
        memory=max(known, key=lambda memory: memory.peak_mib) if len(known) == len(folders) else None,
        image=image,
        cores=cores,
        models_path=_seen_from(base, to, to.parent),
        export_path=_seen_from(base, to.parent, to.parent),
        folder=to.name,
        monitoring=monitoring,
    )


def size_of(export: Path) -> int:
    """Return the bytes of all files of a SavedModel: what it takes in memory, to a first approximation."""
    return sum(path.stat().st_size for path in export.rglob("*") if path.is_file())


def render(deployment: Deployment) -> dict[str, str]:
    """Render every file.

    Args:
        deployment: the facts.

    Returns:
        Relative path -> content, in the order of the paths.
    """
    values: dict[str, Any] = {
        **{name: getattr(deployment, name) for name in (*deployment.__dataclass_fields__, *_DERIVED)},
        "url_name": quote(deployment.name, safe=""),
        # Selectors cannot be changed afterwards, so they hold the name alone.
        "labels": f"{{ app.kubernetes.io/name: {_quoted(deployment.kubernetes_name)} }}",
        "image_tag": check_image(deployment.image),
        "image_digest": "@" in deployment.image,
        "client_label": f"{deployment.kubernetes_name}-client",
        "server_errors": "|".join(_SERVER_ERRORS),
        "models_root": Path(deployment.export_path).parent.as_posix(),
        "same_name": Path(deployment.export_path).name == deployment.name,
        "batch_sizes": batch_sizes(deployment.max_batch),
        "flags": lambda models, server=None: [
            flag.format(models=models, server=server or models, cores=deployment.cores) for flag in _FLAGS
        ],
    }
    environment = _environment()
    names = (name.removesuffix(".j2") for name in sorted(environment.list_templates(extensions=["j2"])))
    return {
        name: environment.get_template(f"{name}.j2").render(values)
        for name in names
        if not name.startswith("_") and (deployment.monitoring or name not in _MONITORING)
    }


def label_moves(before: Mapping[str, int], served: list[int], after: Deployment) -> list[str]:
    """Name the labels that a running server would refuse to move, because it has not loaded their new versions.

    Args:
        before: label -> version as it was rendered last.
        served: the versions that were served then.
        after: what is to be.

    Returns:
        The labels, sorted; empty where running servers can follow without a restart.
    """
    wanted = {"stable": after.stable} | ({"canary": after.canary} if after.canary is not None else {})
    return sorted(
        label
        for label, version in wanted.items()
        if label in before and before[label] != version and version not in served
    )


def _seen_from(base: Path, folder: Path, project: Path) -> str:
    """Return `base` relative to `folder` where it lies in the project, absolute elsewhere."""
    return Path(os.path.relpath(base, folder)).as_posix() if base.is_relative_to(project) else base.as_posix()


def _quoted(value: str) -> str:
    """Quote a string for YAML and for text protos alike: JSON's quotes are both, as long as nothing becomes \\u."""
    return json.dumps(value, ensure_ascii=False)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlkit.serving", "deploy_templates"),
        autoescape=False,  # YAML and text protos: `quoted` is their escape
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    environment.filters["shell"] = shlex.quote
    environment.filters["dollars"] = lambda text: text.replace("$", "$$")  # Compose puts variables in otherwise
    return environment
