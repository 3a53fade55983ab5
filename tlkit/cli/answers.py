"""What answers `tlkit predict`: the newest export, or the trained checkpoint where there is no export."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tlkit.errors import ExportError

if TYPE_CHECKING:
    from tlkit.cli.kinds import Kind
    from tlkit.cli.project import Project
    from tlkit.models.task import Task

BATCH = 32


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


def outputs(project: Project) -> Outputs:
    """Read the classes of the export or the checkpoint, without TensorFlow.

    Raises:
        TrainingError: there is neither.
        ExportError: the export cannot be read, or is of another kind of project.
    """
    from tlkit.cli.trained import last_run, require_trained
    from tlkit.export.manifest import Manifest

    export = project.newest_export()
    if export is None:
        require_trained(project)
        identity = last_run(project)["identity"]
        return Outputs(tuple(identity["classes"]), identity.get("objective") == "multi_label")
    manifest = Manifest.read(export)
    if manifest.kind != project.config.project.task:
        raise ExportError(
            f"{export} is not of this project", received=manifest.kind, allowed=project.config.project.task
        )
    return Outputs(tuple(manifest.labels), manifest.objective == "multi_label")


@contextlib.contextmanager
def predictor(project: Project) -> Iterator[Predictor]:
    """Load the newest export, or else the checkpoint.

    Raises:
        TrainingError: there is neither.
        ExportError: the export cannot be loaded.
    """
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

        rows = []
        for start in range(0, len(inputs), BATCH):
            items = inputs[start : start + BATCH]
            logits = self._task.model(self._kind.prepared(self._task, items), training=False)
            for item, row in zip(items, self._task.objective.probabilities(logits).numpy(), strict=True):
                order = np.argsort(-row, kind="stable")
                names = [self._task.class_names[i] for i in order]
                rows.append({"input": str(item), "classes": names, "scores": row[order].tolist()})
        return rows
