"""What `model.kind` asks for: a network, boosted trees, or both in one task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from tlkit.errors import ConfigError, TrainingError, check_choice
from tlkit.files import atomic_write
from tlkit.models.task import Task
from tlkit.tasks.tabular.blend import add_trees, shares_of, tree_shape_of, trees_alone
from tlkit.tasks.tabular.blend_shares import BlendShares, TrainNetwork, find_shares
from tlkit.tasks.tabular.members import members_of
from tlkit.tasks.tabular.model import embedding_sizes_of
from tlkit.tasks.tabular.tree_fit import BoostingOptions, check_boosting, fit_trees
from tlkit.tasks.tabular.trees import BoostedTrees

if TYPE_CHECKING:
    from tlkit.inputs.row.preprocessing import TablePreprocessing

ModelKind = Literal["network", "tabm", "boosting", "blend"]
FILE = "boosted-trees"  # in the folder of the run
MOST_ROWS = 2_000_000  # training rows that boosting sees
_log = logging.getLogger("tlkit")


def with_boosting(
    task: Task,
    data: Any,
    kind: ModelKind = "blend",
    *,
    train: TrainNetwork | None = None,
    options: BoostingOptions | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    date_formats: dict[str, str] | None = None,
    directory: str | Path | None = None,
    resume: bool = False,
) -> Task:
    """Fit boosted trees to the training rows and return a task that answers by them too.

    scikit-learn's histogram gradient boosting learns from the encoded rows of the training split; its trees become
    arrays of the task, which checkpoints and exports hold. `kind="boosting"` answers by the trees alone.
    `kind="blend"` mixes them with the network, by shares that training rows held out decide; see `find_shares`. Train
    the network of a blend afterwards, as ever.

    Example:
        >>> def train(part, folder):
        ...     learn = tlkit.Learner(tlkit.tabular_model(part.preprocessing, part.targets), part, directory=folder)
        ...     learn.fit(5, 5e-3)
        ...     return learn.finish().task
        >>> task = tlkit.with_boosting(tlkit.tabular_model(data.preprocessing, data.targets), data, train=train)
        >>> learn = tlkit.Learner(task, data)
        >>> learn.fit(5, 5e-3)

    Args:
        task: a network for the data, untrained.
        data: its training rows are learned from. Of more than 2,000,000 rows, so many are taken, evenly spread.
        kind: `"boosting"` or `"blend"`; with `"network"` and `"tabm"` the task is returned as it is.
        train: trains a fresh network on a part of the data; needed for a blend.
        options: how boosting is fitted; its seed is the data's when left out.
        time_column, group_column, date_formats: which training rows are held out for a blend; see `find_shares`.
        directory: of the run; the trees are kept there.
        resume: take the trees from there where they are of this data and these options.

    Returns:
        The task to train and export. A survival target has no boosting: a blend is then the network alone, which is
        said in a warning.

    Raises:
        ConfigError: an argument is not usable, `kind="boosting"` with a survival target, or a monotonic constraint that
            cannot be kept: the network of a blend does not.
        DataError: a time of `time_column` cannot be read.
        TrainingError: the trees that were kept cannot be read, or new ones cannot be written.
    """
    check_choice("kind", kind, get_args(ModelKind))
    if kind in ("network", "tabm"):
        return task
    if kind == "blend" and task.objective.name == "survival":
        _log.warning("boosting has no loss for censored times: the blend is the network alone")
        return task
    check_boosting(task.objective)
    if kind == "blend" and train is None:
        raise ConfigError("a blend needs to train networks to weigh them against the trees", fix="pass train=...")
    options = options or BoostingOptions(seed=data.seed)
    if kind == "blend" and options.monotonic:
        raise ConfigError(
            "the network of a blend keeps no monotonic constraint", received=dict(options.monotonic),
            fix='use kind "boosting"',
        )  # fmt: skip
    key = _key(data, task, kind, options, [time_column, group_column])
    file = None if directory is None else Path(directory) / FILE
    kept = _read(file, key) if file is not None and resume else None
    if kept is not None:
        trees, shares = kept
    else:
        found: BlendShares | None = None
        if kind == "blend" and train is not None:
            found = find_shares(
                task, data, train, options=options, time_column=time_column, group_column=group_column,
                date_formats=date_formats,
            )  # fmt: skip
        encoded, true, weights = _training_rows(data, task)
        fitted = fit_trees(encoded, true, data.preprocessing, task.objective, weights=weights, options=options)
        trees, shares = fitted.trees, None if found is None else list(found.shares.values())
        _log.info(
            "boosted trees: %s of each output, from %s training rows",
            " and ".join(dict.fromkeys(map(str, fitted.iterations))), f"{len(encoded):,}",
        )  # fmt: skip
        if found is not None:
            _log.info("%s", found)
        if file is not None:
            _write(file, key, trees, shares)
    if kind == "boosting":
        return trees_alone(task.objective, cast("TablePreprocessing", task.preprocessing), trees)
    return add_trees(task, trees, shares)


def _training_rows(data: Any, task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return encoded training rows, what is learned of them, and their weights."""
    count, weights = len(data.labels("train")), data.example_weights()
    if count <= MOST_ROWS and hasattr(data, "encoded"):
        return data.encoded("train"), task.objective.encode(data.labels("train")), weights
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_ROWS)).astype(np.int64))
    if len(chosen) < count:
        _log.warning("boosting sees %s of the %s training rows, evenly spread", f"{len(chosen):,}", f"{count:,}")
    wanted = np.zeros(count, bool)
    wanted[chosen] = True
    inputs, true, begin = [], [], 0
    for rows, own in data.ordered("train"):
        here = wanted[begin : begin + len(rows)]
        inputs.append(rows.numpy()[here])
        true.append(own.numpy()[here])
        begin += len(rows)
    return np.concatenate(inputs), np.concatenate(true), None if weights is None else weights[chosen]


def _key(data: Any, task: Task, kind: str, options: BoostingOptions, more: list[Any]) -> str:
    """Return what the trees follow from, as a hash."""
    plain = [
        data.fingerprint(), task.preprocessing.to_dict(), [target.to_dict() for target in task.objective.targets],
        kind, dataclasses.asdict(options), more,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def _write(file: Path, key: str, trees: BoostedTrees, shares: list[float] | None) -> None:
    arrays = {field.name: getattr(trees, field.name) for field in dataclasses.fields(trees)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, binary=True) as stream:
            np.savez_compressed(stream, key=np.array(key), shares=np.array(shares or [], np.float64), **arrays)
    except OSError as error:
        raise TrainingError("the boosted trees cannot be written", received=str(error)) from error


def _read(file: Path, key: str) -> tuple[BoostedTrees, list[float] | None] | None:
    """Return the trees and shares that were kept; None where there are none, or they follow from something else."""
    if not file.is_file():
        return None
    try:
        with np.load(file) as stored:
            if str(stored["key"]) != key:
                return None
            trees = BoostedTrees(**{field.name: stored[field.name] for field in dataclasses.fields(BoostedTrees)})
            return trees, stored["shares"].tolist() or None
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"the boosted trees cannot be read: {error}", received=str(file)) from error


def facts_of(task: Task) -> dict[str, Any]:
    """Return what a network is built again from: its embeddings' widths, its members, and its trees."""
    shape = tree_shape_of(task)
    facts = embedding_sizes_of(task)
    if members := members_of(task.features):
        facts["members"] = members
    if shape is None:
        return facts
    kind = "blend" if shares_of(task) else "boosting"
    return facts | {"boosting": {"kind": kind, "shape": dataclasses.asdict(shape)}}
