"""What answers `tlkit predict`: the newest export, the trained checkpoint where there is none, or a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tlkit.errors import ConfigError, ExportError, ServerError, TrainingError

if TYPE_CHECKING:
    from tlkit.cli.kinds import Kind
    from tlkit.cli.project import Project
    from tlkit.export.manifest import Manifest
    from tlkit.models.task import Task
    from tlkit.serving.client import ServingClient

BATCH = 32
_SECONDS = 60.0  # for one request to a server: as patient as one is with a network in this process


class Predictor(Protocol):
    """Gives one dictionary for each item, in order: input, classes (best first) and scores."""

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]: ...  # noqa: D102


@dataclass(frozen=True)
class Outputs:
    """What the answers can be.

    Attributes:
        labels: the classes, in the order of the network.
        multi_label: whether several can be true at once.
    """

    labels: tuple[str, ...]
    multi_label: bool


@dataclass(frozen=True)
class Server:
    """A server that answers in place of the export.

    Attributes:
        url: http://, https://, grpc:// or grpcs://.
        name: of the model there; that of the export when left out.
        ca_file: PEM certificates to trust instead of the system's.
    """

    url: str
    name: str | None = None
    ca_file: Path | None = None

    @classmethod
    def asked(cls, url: str | None, name: str | None, ca_file: Path | None) -> Server | None:
        """Return the server that --server, --name and --ca-file speak of; None without --server.

        Raises:
            ConfigError: there is another of them without --server, or no such file.
        """
        if url is None:
            if name is not None:
                raise ConfigError("--name is a model's name on a server", fix="say which one with --server")
            if ca_file is not None:
                raise ConfigError("--ca-file is for a server", fix="say which one with --server")
            return None
        if ca_file is not None and not ca_file.is_file():
            raise ConfigError("--ca-file is no file", received=str(ca_file))
        return cls(url, name, ca_file)

    def client(self, project: Project | None, batch_size: int = BATCH) -> ServingClient:
        """Make the client for a project's model, or without a project for the one that is named; nothing is sent yet.

        Raises:
            ConfigError: the address is none, or nothing says which model is meant.
            ExportError: the project's export cannot be read.
        """
        from tlkit.serving.client import ServingClient

        manifest = None if project is None else newest_manifest(project)
        name = self.name
        if name is None:
            if project is None:
                raise ConfigError("which model of the server? there is no project here that says it", fix="add --name")
            name = manifest.model_name if manifest else project.export_dir.name
        return ServingClient(
            self.url, name, manifest=manifest, batch_size=batch_size, timeout=_SECONDS, ca_file=self.ca_file
        )


def newest_manifest(project: Project) -> Manifest | None:
    """Read the manifest of the newest export; None where there is no export.

    Raises:
        ExportError: it cannot be read, or is of another kind of project.
    """
    from tlkit.export.manifest import Manifest

    export = project.newest_export()
    if export is None:
        return None
    manifest = Manifest.read(export)
    if manifest.kind != project.config.project.task:
        raise ExportError(
            f"{export} is not of this project", received=manifest.kind, allowed=project.config.project.task
        )
    return manifest


def outputs(project: Project) -> Outputs:
    """Read the classes of the export or the checkpoint, without TensorFlow.

    Raises:
        TrainingError: there is neither.
        ExportError: the export cannot be read, or is of another kind of project.
    """
    from tlkit.cli.trained import last_run, require_trained

    manifest = newest_manifest(project)
    if manifest is None:
        require_trained(project)
        identity = last_run(project)["identity"]
        return Outputs(tuple(identity["classes"]), identity.get("objective") == "multi_label")
    return Outputs(tuple(manifest.labels), manifest.objective == "multi_label")


@contextlib.contextmanager
def predictor(project: Project, server: Server | None = None) -> Iterator[Predictor]:
    """Load the newest export, or else the checkpoint; with a server nothing is loaded, not even TensorFlow.

    Raises:
        TrainingError: there is neither.
        ExportError: the export cannot be loaded.
    """
    if server is not None:
        try:
            labels = outputs(project).labels
        except TrainingError:  # nothing here says what the classes are: those of the server do
            labels = None
        with server.client(project) as client:
            yield ServedPredictor(client, labels)
        return
    from tlkit.cli.output import import_tensorflow, note
    from tlkit.cli.trained import load_learner, require_trained

    export = project.newest_export()
    if export is None:
        require_trained(project)
        note("there is no export yet: using the trained checkpoint")
    import_tensorflow()
    if export is not None:
        from tlkit.export.predictor import SavedModelPredictor

        yield SavedModelPredictor(export, batch_size=BATCH)
        return
    with project.code() as code:
        yield CheckpointPredictor(load_learner(project, code).task, project.kind)


@contextlib.contextmanager
def anywhere(server: Server) -> Iterator[tuple[Kind, Predictor]]:
    """Ask a server from outside of a project: what the model takes, its serving_default says.

    Returns:
        The kind of a project for such a model, photos or texts, and what asks the server.

    Raises:
        ConfigError: the model is not named, or takes something else.
        ServerError: the server does not answer.
    """
    from tlkit.cli.kinds import kind_of
    from tlkit.serving.call import DEFAULT_SIGNATURE

    with server.client(None) as client:
        signature = client.metadata().signatures.get(DEFAULT_SIGNATURE)
        inputs = {} if signature is None else {name: tensor.dtype for name, tensor in signature.inputs.items()}
        if list(inputs.values()) != ["string"]:
            raise ConfigError(
                f"the model {client.model!r} takes neither photos nor texts alone",
                received=inputs,
                fix="go into its project, whose export says what its columns are; or use tlkit.ServingClient",
            )
        is_photo = next(iter(inputs)).endswith("_bytes")  # what TensorFlow Serving takes the ending for, in answers
        kind = kind_of("image_classification" if is_photo else "text_classification")
        yield kind, ServedPredictor(client, None)


class ServedPredictor:
    """Answers by asking a server, as `SavedModelPredictor` does with an export.

    Args:
        client: of the model.
        labels: the classes that it has to have; None takes those that it has.
    """

    def __init__(self, client: ServingClient, labels: Sequence[str] | None):
        self._client, self._labels = client, labels

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classify files (paths) or texts; see `SavedModelPredictor.predict`.

        Raises:
            ServerError: the server does not answer, or not with the classes.
        """
        files = any(isinstance(item, Path) for item in inputs)
        rows = (self._client.predict_files if files else self._client.predict_texts)(inputs)
        served = f"{self._client.target}: the model {self._client.model!r}"
        for row in rows:
            if "classes" not in row:
                values = sorted(row.get("predictions", ()))
                raise ServerError(f"{served} does not classify", code="FAILED_PRECONDITION", received=values)
            if self._labels is not None and sorted(row["classes"]) != sorted(self._labels):
                raise ServerError(
                    f"{served} has other classes than the one here",
                    code="FAILED_PRECONDITION",
                    received=row["classes"][:5],
                    allowed=self._labels[:5],
                    fix="`tlkit verify --server` compares the two",
                )
        return rows


class CheckpointPredictor:
    """Answers with a task, as `SavedModelPredictor` does with an export.

    Args:
        task: a trained one.
        kind: how its inputs are prepared.
    """

    def __init__(self, task: Task, kind: Kind):
        self._task, self._kind = task, kind

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Classify items; see `SavedModelPredictor.predict`."""
        import numpy as np

        from tlkit.export.short_floats import short_floats

        rows = []
        for start in range(0, len(inputs), BATCH):
            items = inputs[start : start + BATCH]
            logits = self._task.model(self._kind.prepared(self._task, items), training=False)
            for item, row in zip(items, self._task.objective.probabilities(logits).numpy(), strict=True):
                order = np.argsort(-row, kind="stable")
                names = [self._task.class_names[i] for i in order]
                rows.append({"input": str(item), "classes": names, "scores": short_floats(row[order]).tolist()})
        return rows
