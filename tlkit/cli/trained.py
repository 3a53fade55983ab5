"""A trained project put back together: its data, its network and the best weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tlkit.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from tlkit.cli.project import Project
    from tlkit.tasks.commands import Code
    from tlkit.training.learner import Learner


def require_trained(project: Project) -> None:
    """Refuse early, before TensorFlow and the data load, when there is nothing trained.

    Raises:
        TrainingError: the project has no best weights yet.
    """
    from tlkit.training.run_state import BEST_FILE

    if not (project.checkpoints / BEST_FILE).is_file():
        unfinished = project.checkpoints.is_dir() and any(project.checkpoints.iterdir())
        fix = "run `tlkit train --resume` to finish the stopped run" if unfinished else "run `tlkit train` first"
        raise TrainingError("this project has no trained model", fix=fix)


def load_learner(project: Project, code: Code, other_data: Path | None = None) -> Learner:
    """Return a Learner with the best weights of the project's last training.

    Args:
        project: a trained one.
        code: its modules.
        other_data: labelled data of the same classes, as the `test` split; the project's own otherwise.

    Raises:
        TrainingError: config.toml, model.py or the data's classes are not those of the training.
        DataError: the data cannot be used.
    """
    import tlkit
    from tlkit.catalogue.random_weights import to_be_replaced
    from tlkit.cli.output import note
    from tlkit.targets.calibration import read_calibration
    from tlkit.training.run_state import read_novelty

    config = project.config
    run = last_run(project)
    trained = run["identity"]
    if not run.get("finished"):
        note("warning: the last run was stopped: using the weights of the run before it")
    if other_data is None:
        data = code.train.load_data(config)
        _compare("classes", trained, list(data.class_names))
        project.kind.check_data(trained, data)
    with to_be_replaced():
        task = project.kind.rebuild_task(code, config, trained)
    _compare("backbone", trained, task.backbone_name)
    _compare("preprocessing", trained, task.preprocessing.to_dict())
    if other_data is not None:
        data = project.kind.data_to_evaluate(other_data, task, config)
    task.set_precision(run["precision"])  # so that it answers as it did at the end of training
    learn = tlkit.Learner(task, data, directory=project.checkpoints)
    learn.load_best()
    if run["size"] is not None:
        learn.resize(run["size"])  # training went on at another size than it began with
    learn = learn.ensemble() if run["kept"] == "ensemble" else learn
    if run["thresholds"]:
        learn.task.objective.set_thresholds(run["thresholds"])
    learn.task.objective.calibration = read_calibration(run["calibration"])
    learn.task.set_novelty(read_novelty(project.checkpoints, run["novelty"]))
    return learn


def last_run(project: Project) -> dict[str, Any]:
    """Return what the last training wrote about itself: finished, identity, kept, size, precision and thresholds.

    Raises:
        TrainingError: it cannot be read.
    """
    from tlkit.training.run_state import RUN_FILE

    try:
        run = json.loads((project.checkpoints / RUN_FILE).read_text(encoding="utf-8"))
        defaults: dict[str, Any] = {"kept": "best", "size": None, "precision": "float32", "thresholds": {}}
        defaults |= {"calibration": None, "novelty": None, "seconds": None}
        known = {"finished": run["finished"], "identity": dict(run["identity"])}
        return known | {name: run.get(name, default) for name, default in defaults.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"the training record cannot be read: {project.checkpoints / RUN_FILE}",
            fix="run `tlkit train` again",
        ) from error


def _compare(name: str, trained: dict[str, Any], now: object) -> None:
    if trained.get(name) != now:
        raise TrainingError(
            f"the model was trained with other {name}",
            received=now,
            allowed=str(trained.get(name)),
            fix="restore it, or run `tlkit train` again",
        )
