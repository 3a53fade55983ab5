"""What answers `tlkit predict`: the newest export, the trained checkpoint where there is none, or a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tlkit.errors import ConfigError, ExportError, ServerError, TrainingError

if TYPE_CHECKING:
    from tlkit.cli.project import Project
    from tlkit.export.interface import Output
    from tlkit.export.manifest import Manifest
    from tlkit.inputs.base import InputSpec
    from tlkit.inputs.commands import InputCommands
    from tlkit.models.task import Task
    from tlkit.serving.client import ServingClient

BATCH = 32
_SECONDS = 60.0  # for one request to a server: as patient as one is with a network in this process


class Predictor(Protocol):
    """Gives one record for each item, in order, as `SavedModelPredictor.predict` does."""

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]: ...  # noqa: D102


@dataclass(frozen=True)
class ServerAddress:
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
    def asked(cls, url: str | None, name: str | None, ca_file: Path | None) -> ServerAddress | None:
        """Return the server that --server, --name and --ca-file speak of; None without --server.

        Raises:
            ConfigError: there is another of them without --server, or no such file.
        """
        if url is None:
            if name is not None:
                raise ConfigError("--name needs --server", fix="add --server URL")
            if ca_file is not None:
                raise ConfigError("--ca-file needs --server", fix="add --server URL")
            return None
        if ca_file is not None and not ca_file.is_file():
            raise ConfigError("--ca-file is not a file", received=str(ca_file))
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
                raise ConfigError(
                    "the model's name is missing, and there is no project here to read it from", fix="add --name"
                )
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
            f"{export} belongs to another kind of project", received=manifest.kind, allowed=project.config.project.task
        )
    return manifest


def outputs(project: Project) -> tuple[Output, ...]:
    """Say what the export or the checkpoint answers, without TensorFlow.

    Raises:
        TrainingError: there is neither.
        ExportError: the export cannot be read, or is of another kind of project.
    """
    from tlkit.cli.trained import last_run, require_trained
    from tlkit.export.interface import Output
    from tlkit.targets.base import FIRST_KIND

    manifest = newest_manifest(project)
    if manifest is not None:
        return manifest.interface.outputs_or(manifest.labels, manifest.objective)
    require_trained(project)
    identity = last_run(project)["identity"]
    if "targets" not in identity:
        kind = identity.get("objective", FIRST_KIND)
        return (Output(target="", kind=kind, class_names=identity["classes"], classes="classes", scores="scores"),)
    return tuple(_output_of(plain) for plain in identity["targets"])


def _output_of(plain: Mapping[str, Any]) -> Output:
    """Describe an answer as columns and records need it; an export names outputs for its signatures, too."""
    from tlkit.export.interface import Output

    names = {"classes": "classes", "scores": "scores"} if plain["class_names"] else {"value": "value"}
    about = {name: plain[name] for name in ("kind", "class_names")} | {"times": plain.get("times", ())}
    return Output.model_validate({"target": plain["name"], **about, **names})


def spec_of_project(project: Project) -> InputSpec:
    """Return the spec of a project's input."""
    from tlkit.inputs.base import input_spec
    from tlkit.tasks.base import spec_of

    return input_spec(spec_of(project.config.project.task).input)


def has_trust(project: Project) -> bool:
    """Return whether the newest export has conformal predictions or a distance to the training data."""
    from tlkit.predicting.answer_columns import trust_signatures

    manifest = newest_manifest(project)
    return manifest is not None and bool(trust_signatures(manifest))


def check_trust(project: Project, server: ServerAddress | None, trust: bool) -> None:
    """Refuse --trust without an export of the project.

    Raises:
        ConfigError: there is none, or a server is to predict.
    """
    if trust and (server is not None or project.newest_export() is None):
        raise ConfigError("--trust needs an export of the project", fix="run `tlkit export`, and leave out --server")


@contextlib.contextmanager
def predictor(project: Project, server: ServerAddress | None = None, *, trust: bool = False) -> Iterator[Predictor]:
    """Load the newest export, or else the checkpoint; with a server nothing is loaded, not even TensorFlow.

    Args:
        project: where the command runs.
        server: to ask in place of the export.
        trust: see `SavedModelPredictor`.

    Raises:
        ConfigError: `trust` without an export.
        TrainingError: there is neither.
        ExportError: the export cannot be loaded, or has not what `trust` asks for.
    """
    check_trust(project, server, trust)
    if server is not None:
        try:
            expected = outputs(project)
        except TrainingError:  # nothing here says what is answered: the server does
            expected = None
        with server.client(project) as client:
            yield ServedPredictor(client, expected)
        return
    from tlkit.cli.output import import_tensorflow, note
    from tlkit.cli.trained import load_learner, require_trained

    export = project.newest_export()
    if export is None:
        require_trained(project)
        note("no export found: using the trained checkpoint")
    import_tensorflow()
    if export is not None:
        from tlkit.export.predictor import SavedModelPredictor

        yield SavedModelPredictor(export, batch_size=BATCH, trust=trust)
        return
    with project.code() as code:
        yield CheckpointPredictor(load_learner(project, code).task, project.kind)


@contextlib.contextmanager
def remote_predictor(server: ServerAddress) -> Iterator[tuple[InputCommands, InputSpec, Predictor]]:
    """Ask a server from outside of a project: what the model takes, its serving_default says.

    Returns:
        What the commands must know of such an input, its spec, and what asks the server.

    Raises:
        ConfigError: the model is not named, or takes something else.
        ServerError: the server does not answer.
    """
    from tlkit.inputs.base import INPUTS, input_spec
    from tlkit.lazy import loaded
    from tlkit.serving.call import DEFAULT_SIGNATURE

    with server.client(None) as client:
        signature = client.metadata().signatures.get(DEFAULT_SIGNATURE)
        inputs = {} if signature is None else {name: tensor.dtype for name, tensor in signature.inputs.items()}
        if list(inputs.values()) != ["string"]:
            raise ConfigError(
                f"the model {client.model!r} does not take single photos or texts",
                received=inputs,
                fix="run the command in the model's project, whose export lists the columns, or use "
                "tlkit.ServingClient",
            )
        is_binary = next(iter(inputs)).endswith("_bytes")  # what TensorFlow Serving takes the ending for, in answers
        single = [spec for spec in map(input_spec, INPUTS) if spec.items]
        spec = next(spec for spec in single if spec.binary == is_binary)
        yield loaded(spec.commands)(), spec, ServedPredictor(client, None)


class ServedPredictor:
    """Answers by asking a server, as `SavedModelPredictor` does with an export.

    Args:
        client: of the model.
        expected: what it has to answer; None takes whatever it answers.
    """

    def __init__(self, client: ServingClient, expected: Sequence[Output] | None):
        self._client, self._expected = client, expected

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Answer about files (paths) or texts; see `SavedModelPredictor.predict`.

        Raises:
            ServerError: the server does not answer, or about other classes or targets.
        """
        files = any(isinstance(item, Path) for item in inputs)
        rows = (self._client.predict_files if files else self._client.predict_texts)(inputs)
        for row in rows:
            if self._expected is not None:
                self._check(row, self._expected)
        return rows

    def _check(self, row: dict[str, Any], expected: Sequence[Output]) -> None:
        served = f"{self._client.target}: the model {self._client.model!r}"
        values = sorted(row.get("predictions", ()))
        if len(expected) == 1 and expected[0].class_names:
            if "classes" not in row:
                raise ServerError(f"{served} is not a classifier", code="FAILED_PRECONDITION", received=values)
            if sorted(row["classes"]) != sorted(expected[0].class_names):
                raise ServerError(
                    f"{served} has other classes than the local model",
                    code="FAILED_PRECONDITION",
                    received=row["classes"][:5],
                    allowed=expected[0].class_names[:5],
                    fix="run `tlkit verify --server` to compare the two",
                )
        elif values != sorted(one.target for one in expected if one.value):
            raise ServerError(
                f"{served} has other targets than the local model",
                code="FAILED_PRECONDITION",
                received=values or row.get("classes", [])[:5],
                allowed=sorted(one.target for one in expected),
                fix="run `tlkit verify --server` to compare the two",
            )


class CheckpointPredictor:
    """Answers with a task, as `SavedModelPredictor` does with an export.

    Args:
        task: a trained one.
        commands: how its inputs are prepared.
    """

    def __init__(self, task: Task, commands: InputCommands):
        self._task, self._commands = task, commands

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Answer about items; see `SavedModelPredictor.predict`."""
        from tlkit.export.interface import interface_of
        from tlkit.export.records import named_arrays, records_of

        task = self._task
        outputs = interface_of(task).outputs_or(task.class_names, task.objective.name)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(inputs), BATCH):
            items = inputs[start : start + BATCH]
            found = task.model(self._commands.prepared(task.preprocessing, items), training=False)
            numbers = task.objective.probabilities(found).numpy()
            rows += records_of([str(item) for item in items], named_arrays(numbers, outputs), outputs, None)
        return rows
