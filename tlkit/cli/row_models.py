"""What predicts the rows of a project's table: the newest export, the trained checkpoint, or a server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import ServerError
from tlkit.predicting import engine

if TYPE_CHECKING:
    from tlkit.cli.answers import ServerAddress
    from tlkit.cli.project import Project
    from tlkit.predicting.answer_columns import AnswerColumns


class RowModel(NamedTuple):
    """A model of rows.

    Attributes:
        preprocessing: of the network, or of the manifest as plain data.
        columns: of its answers.
        predict: columns of the network -> numbers [n, K], targets side by side, and what is said of their trust.
    """

    preprocessing: Any
    columns: AnswerColumns
    predict: Callable[[Any], tuple[Any, Any]]


@contextlib.contextmanager
def row_model(project: Project, server: ServerAddress | None, trust: bool) -> Iterator[RowModel]:
    """Load the newest export, or else the checkpoint; with a server, only what the manifest says of the columns.

    Raises:
        ServerError: the server does not respond, or serves another model.
    """
    from tlkit.cli.answers import check_trust
    from tlkit.cli.output import import_tensorflow, note
    from tlkit.cli.trained import load_learner

    check_trust(project, server, trust)
    export = project.newest_export()
    if export is None:
        note("no export found: using the trained checkpoint")
    import_tensorflow()
    if server is not None:
        with server.client(project, batch_size=engine.MOST) as client:
            yield _served(client, project)
    elif export is not None:
        from tlkit.export.predictor import SavedModelPredictor

        yield exported_rows(SavedModelPredictor(export, trust=trust), project, trust)
    else:
        with project.code() as code:
            yield _trained(load_learner(project, code))


def exported_rows(predictor: Any, project: Any, trust: bool = False) -> RowModel:
    """Return the model of a project's export."""
    from tlkit.predicting.exported import frames

    manifest = predictor.manifest
    return RowModel(manifest.preprocessing, _columns(manifest, project, trust), frames(predictor, trust))


def _columns(manifest: Any, project: Any, trust: bool) -> AnswerColumns:
    from tlkit.predicting.answer_columns import AnswerColumns

    names = [one.target or None for one in manifest.interface.outputs_or(manifest.labels, manifest.objective)]
    target = None if names[0] else project.kind.target_name(project.config, manifest.objective)
    return AnswerColumns.of(manifest, target=target, trust=trust)


def _served(client: Any, project: Project) -> RowModel:
    from tlkit.inputs.base import input_spec
    from tlkit.lazy import loaded

    manifest = client.manifest
    table: Any = input_spec(manifest.interface.content).row_source
    answers = manifest.interface.answers
    preprocessing = loaded(table.typed)(manifest.preprocessing).preprocessing
    served = client.metadata().signatures.get(answers)
    model = f"{client.target}: the model {client.model!r}"
    inputs = manifest.signatures[answers].inputs
    if served is None or served.inputs.keys() != inputs.keys():
        raise ServerError(
            f"{model} has other input columns than the local export",
            code="FAILED_PRECONDITION",
            received=None if served is None else sorted(served.inputs),
            allowed=sorted(inputs),
            fix="choose another model with --name, or run `tlkit verify --server` to compare the two",
        )
    columns = _columns(manifest, project, False)
    width = sum(one.width for one in columns.outputs)

    def predict(frame: Any) -> tuple[Any, None]:
        numbers = client.predict(preprocessing.to_arguments(frame), answers)[answers]
        if numbers.shape != (len(frame), width):
            raise ServerError(
                f"{model} has other targets than the local export",
                code="FAILED_PRECONDITION", received=numbers.shape, allowed=f"{(len(frame), width)}",
            )  # fmt: skip
        return numbers, None

    return RowModel(preprocessing, columns, predict)


def _trained(learn: Any) -> RowModel:
    from tlkit.export.interface import interface_of
    from tlkit.predicting.answer_columns import AnswerColumns

    task = learn.task
    outputs = list(interface_of(task).outputs)
    if len(outputs) == 1:  # one classification has no name in an export
        outputs = [outputs[0].model_copy(update={"target": learn.data.targets[0].name})]

    def predict(frame: Any) -> tuple[Any, None]:
        found = task.model(task.preprocessing.encode_frame(frame), training=False)
        return task.objective.probabilities(found).numpy(), None

    return RowModel(task.preprocessing, AnswerColumns(outputs), predict)
