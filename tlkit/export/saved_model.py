"""Write a Task as a SavedModel version for TensorFlow Serving: verified first, then published at once."""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import os
import platform
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata as package_metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tlkit.errors import ConfigError, ExportError, VerificationError
from tlkit.export.averaged_views import AveragedViews
from tlkit.export.baseline import Baseline
from tlkit.export.further import conformal_level
from tlkit.export.golden import golden_contents, golden_examples, query_examples
from tlkit.export.interface import Interface, input_of, interface_of
from tlkit.export.manifest import (
    Manifest,
    MemoryUse,
    sha256_of_files,
    version_folders,
    version_number,
    versions,
)
from tlkit.export.model_name import check_model_name
from tlkit.export.plain_values import plain_value
from tlkit.export.signatures import mark_classify, read_signatures, serving_module
from tlkit.export.verify import verify_export
from tlkit.export.warmup_requests import warmup_examples, write_warmup
from tlkit.tasks.base import spec_of

if TYPE_CHECKING:
    from tlkit.inputs.base import Augmentation
    from tlkit.models.task import Task

FLOAT32_TOLERANCE = 1e-5
REDUCED_TOLERANCE = 2e-2  # bfloat16 keeps 8 bits, and the graph optimizer fuses differently from Python
_TMP_NAME = re.compile(r"\.tmp-[0-9]+-(?P<host>[A-Za-z0-9_.]+)-(?P<pid>[0-9]+)-[0-9a-f]+")


def export_task(
    task: Task,
    base_dir: str | Path,
    *,
    version: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    data_summary: Mapping[str, Any] | None = None,
    golden: Sequence[bytes] | None = None,
    max_batch: int = 32,
    model_name: str | None = None,
    tta: int = 0,
    tta_beta: float = 0.4,
    augmentation: Augmentation | None = None,
    level: float | None = None,
    baseline: Baseline | None = None,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """Export a task to <base_dir>/<version>/, verify it in a fresh process, and only then publish it.

    The version is written into a hidden sibling folder and renamed when every check has passed: a server that
    polls `base_dir` never sees half of it. Whatever goes wrong, `base_dir` stays as it was.

    Example:
        >>> export_task(task, "saved_models/photos", metrics={"accuracy": 0.95})
        PosixPath('saved_models/photos/1')

    Args:
        task: a classifier of images or texts, or what predicts from rows of a table.
        base_dir: the model's base path, which holds its versions.
        version: a positive integer; None takes the newest version plus one.
        metrics: evaluation results for the manifest.
        data_summary: summary and fingerprint of the training data for the manifest.
        golden: a few encoded images, texts in UTF-8, or rows as serialized tf.Examples, whose answers are recorded and
            compared; up to 6, none over 200 kB. Drawn images or made-up sentences are used when there are none.
        max_batch: the largest batch, in images, texts or rows, to warm up and verify.
        model_name: name in the manifest and the warm-up requests; None takes the name of `base_dir`.
        tta: number of views for test-time augmentation; from 1 on the export has a further signature `tta`, which
            takes 1 + tta times as long as `probabilities` and whose weights are the same.
        tta_beta: weight of the plain answer in it, 0 to 1; the views share the rest equally.
        augmentation: how a photo may be changed for it; needed with `tta`.
        level: the probability with which the signature `conformal` of a calibrated task holds the truth, 0.50 to 0.99
            in steps of 0.01. None takes 0.9; other tasks have no such signature, and refuse a level.
        baseline: statistics of held-out data, for `tlkit drift`; None writes none.
        extra: name -> content of further files, which lie in `assets.extra`.

    Returns:
        The version folder.

    Raises:
        ConfigError: the model's name, the level, or the arguments of the test-time augmentation are not usable.
        ExportError: other bad arguments, a stock server could not run the task's preprocessing, the version exists,
            or the disk is full.
        VerificationError: a check failed; nothing was published.
    """
    base = Path(base_dir)
    name = model_name or base.resolve().name
    interface = interface_of(task)
    _check_arguments(task, base, name, version, max_batch)
    level = conformal_level(task, level)
    views = _averaged_views(tta, tta_beta, augmentation)
    if views is not None and not input_of(task).views:
        raise ConfigError("test-time augmentation needs an image model", fix="remove tta")
    with _new_folders_undone(base):
        _remove_stale(base)
        with _working_folder(base, version) as tmp:
            _write(
                task,
                interface,
                tmp,
                name,
                metrics or {},
                data_summary or {},
                golden or (),
                max_batch,
                views,
                level,
                baseline,
            )
            _add_files(tmp, extra or {})
            _sync(tmp)
            _verify(tmp)
            return _publish(tmp, base, version)


def _check_arguments(task: Task, base: Path, name: str, version: int | None, max_batch: int) -> None:
    check_model_name(name)
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise ExportError("a version must be a positive integer", received=version, allowed="1, 2, 3, ...")
    if not isinstance(max_batch, int) or not 1 <= max_batch <= 4096:
        raise ExportError("max_batch is out of range", received=max_batch, allowed="1 to 4096")
    if base.exists() and not base.is_dir():
        raise ExportError(f"{base} is a file, not a folder for versions", fix="choose another folder")
    if version is not None and (there := _occupant(base, version)) is not None:
        raise _exists(there, version)
    bad = [name for name in task.class_names if not name.strip() or "\n" in name or "\r" in name]
    if bad:
        raise ExportError("a class name is empty or spans lines", received=bad[0], fix="rename the class")
    if len(set(task.class_names)) != len(task.class_names):
        raise ExportError("class names are not unique", received=list(task.class_names))


def _averaged_views(tta: int, beta: float, augmentation: Augmentation | None) -> AveragedViews | None:
    if tta == 0 and not isinstance(tta, bool):
        return None
    if augmentation is None:
        raise ConfigError(
            "test-time augmentation needs an augmentation",
            fix='pass augmentation=Augmentation("side_on"), or remove tta',
        )
    return AveragedViews(tta, beta, augmentation)


def _occupant(base: Path, version: int) -> Path | None:
    """Return what stands where a version would be written, or is that version under a name with leading zeros."""
    target = base / str(version)
    return target if os.path.lexists(target) else version_folders(base).get(version)


def _exists(path: Path, version: int) -> ExportError:
    called = "" if path.name == str(version) else f" as {path.name}"
    return ExportError(
        f"version {version} already exists in {path.parent}{called}",
        fix="leave out the version to use the next free number; published versions are never overwritten",
    )


@contextlib.contextmanager
def _new_folders_undone(base: Path) -> Iterator[None]:
    """Create `base`; if the body fails, remove the folders that were created for it."""
    created = [folder for folder in (base, *base.parents) if not folder.exists()]
    try:
        base.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for folder in created:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError | tf.errors.OpError):
            raise _as_export_error(error, base) from error
        raise


def _as_export_error(error: Exception, base: Path) -> ExportError:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "no space left" in str(error).lower()
    if full or isinstance(error, tf.errors.ResourceExhaustedError):
        return ExportError(f"no space left while writing to {base}; nothing was published", fix="free some space")
    if isinstance(error, PermissionError):
        return ExportError(f"{base} is not writable", fix="choose another folder or change its permissions")
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ExportError(f"the export to {base} failed; nothing was published: {first_line}")


@contextlib.contextmanager
def _working_folder(base: Path, version: int | None) -> Iterator[Path]:
    # The default mode, not mkdtemp's 0700: a server under another user must be able to read it.
    host = re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname())
    tmp = base / f".tmp-{version or 0}-{host}-{os.getpid()}-{secrets.token_hex(4)}"
    tmp.mkdir()
    try:
        yield tmp
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def _remove_stale(base: Path) -> None:
    """Remove working folders of this machine's processes that no longer run."""
    host = re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname())
    for folder in base.glob(".tmp-*"):
        found = _TMP_NAME.fullmatch(folder.name)
        if found and found["host"] == host and not _alive(int(found["pid"])):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _write(
    task: Task,
    interface: Interface,
    tmp: Path,
    name: str,
    metrics: Mapping[str, Any],
    data_summary: Mapping[str, Any],
    golden: Sequence[bytes],
    max_batch: int,
    views: AveragedViews | None,
    level: float,
    baseline: Baseline | None,
) -> None:
    labels_file = tmp / "labels.txt"
    labels_file.write_text("".join(f"{label}\n" for label in task.class_names), encoding="utf-8")
    queries = spec_of(task.kind).queries_of(task)
    module, signatures = serving_module(task, interface, labels_file, views, level, queries)
    with _quiet_logs():
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(tmp), signatures=signatures, options=options)
    labels_file.unlink()
    mark_classify(tmp)
    contents = golden_contents(task, golden)
    schema = read_signatures(tmp)
    tolerance = _tolerance(task)
    write_warmup(tmp, name, schema, interface.feature, warmup_examples(task, interface, contents), max_batch, queries)
    Manifest(
        kind=task.kind,
        model_name=name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        labels=list(task.class_names),
        interface=interface,
        objective=task.objective.name,
        signatures=schema,
        preprocessing=task.preprocessing.to_dict(),
        backbone=task.backbone_name,
        weights_source=task.weights_source,
        versions={
            "tlkit": package_metadata.version("tlkit"),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
        data=plain_value(dict(data_summary)),
        metrics=plain_value(dict(metrics)),
        max_batch=max_batch,
        tolerance=tolerance,
        golden=golden_examples(task, interface, contents, views, level),
        queries=query_examples(queries),
        tolerances={"embedding": {"embedding": 10 * tolerance}, "trust": {"distance": 10 * tolerance}},
        tta=None if views is None else views.to_dict(),
        novelty=None if task.novelty is None else task.novelty.to_dict(),
        calibration=None
        if task.objective.calibration is None
        else task.objective.calibration.to_dict() | {"level": level},
        drift=None if baseline is None else baseline.write(tmp),
        files=sha256_of_files(tmp),
    ).write(tmp)


def _add_files(tmp: Path, extra: Mapping[str, bytes]) -> None:
    """Write further files to `assets.extra`, and their hashes into the manifest."""
    if not extra:
        return
    folder = tmp / "assets.extra"
    folder.mkdir(exist_ok=True)
    for name, content in extra.items():
        if Path(name).name != name or (folder / name).exists():
            raise ExportError("the name of a further file cannot be used", received=name)
        (folder / name).write_bytes(content)
    manifest = Manifest.read(tmp)
    manifest.model_copy(update={"files": sha256_of_files(tmp)}).write(tmp)


def _tolerance(task: Task) -> float:
    layers = [layer for model in (task.features, task.head) for layer in model._flatten_layers()]
    reduced = any(getattr(layer, "compute_dtype", "float32") in ("bfloat16", "float16") for layer in layers)
    return REDUCED_TOLERANCE if reduced else FLOAT32_TOLERANCE


def _verify(tmp: Path) -> None:
    """Refuse an export that fails a check; write what its verification took into the manifest."""
    checks = verify_export(tmp)
    failed = [check for check in checks if not check.ok]
    if failed:
        raise VerificationError(
            "the export was not published, "
            + ("a check failed: " if len(failed) == 1 else f"{len(failed)} checks failed: ")
            + "; ".join(f"{check.name} ({check.reason})" for check in failed[:3])
        )
    found = next((check.memory for check in checks if check.memory), None)
    if found is not None:
        manifest = Manifest.read(tmp)
        manifest.model_copy(update={"memory": MemoryUse(**found)}).write(tmp)
        _sync(tmp)


def _publish(tmp: Path, base: Path, version: int | None) -> Path:
    while True:
        number = version if version is not None else max(versions(base), default=0) + 1
        target = base / str(number)
        occupant = _occupant(base, number)
        if occupant is None:
            try:
                tmp.rename(target)  # fails if another exporter has just put a version there
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                _sync_folder(base)
                return target
        if version is not None:
            raise _exists(occupant or target, version)
        if version_number(str(number + 1)) is None:
            raise ExportError(f"no version number left in {base}")
        if target.exists() and not target.is_dir():
            raise ExportError(f"{target} is a file and blocks the next version", fix="move it away")


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Keep TensorFlow from announcing its assets folder: it names the hidden folder, not the version."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
