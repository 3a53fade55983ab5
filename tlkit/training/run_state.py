"""What a training run leaves on disk so that it can be resumed: written whole or not at all.

A run directory holds `run.json`, which names the files that are valid, and the arrays themselves:

    run.json        calls made so far, position inside the current one, the best epoch
    base-3.npz      every variable when call 3 began
    delta-3-7.npz   the variables that training changes, and the optimizer, after epoch 7 of call 3
    best.weights.h5 the best epoch's weights, once the run is finished

New arrays are complete on disk before `run.json` is replaced, and old ones go afterwards, so that a kill at any
moment leaves a state that can be read.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from tlkit.errors import TrainingError
from tlkit.files import atomic_write
from tlkit.models.novelty import Novelty
from tlkit.targets.calibration import Calibration, read_calibration

_log = logging.getLogger("tlkit")
RUN_FILE = "run.json"
NOVELTY_FILE = "novelty.npz"
BEST_FILE = "best.weights.h5"
Keep = Literal["best", "last", "swa", "ensemble"]
STAGES = ("fit", "probe", "mix")  # calls that change weights


def is_stage(call: dict[str, Any]) -> bool:
    """Return whether a call of a run changes weights, and so leaves a checkpoint."""
    return any(kind in call for kind in STAGES)


def stages_of(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the stages of a run that changed weights: `name`, and `history`, the values of each metric by epoch.

    Args:
        calls: of the run, as its record lists them.
    """
    found = []
    for call in calls:
        if not is_stage(dict(call)) or call.get("dropped"):
            continue
        trained = call["fit"]["trained"] if "fit" in call else []
        name = ", ".join(trained) if "fit" in call else "linear probe" if "probe" in call else "mix"
        found.append({"name": name, "history": dict(call.get("outcome") or call.get("history") or {})})
    return found


def read_stages(directory: str | Path) -> list[dict[str, Any]]:
    """Return the stages of the run in a directory; none where its record cannot be read."""
    try:
        return stages_of(json.loads((Path(directory) / RUN_FILE).read_text(encoding="utf-8"))["calls"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


class RunState:
    """The directory of one training run.

    Args:
        directory: created when something is first saved.
        identity: what the run is about (backbone, classes, data fingerprint, ...); plain values.
        resume: go on with the run in the directory. Otherwise the first save begins anew; a run that was never
            finished is kept in the folder `interrupted/` below.

    Raises:
        TrainingError: resuming without a run, or another model or data than the run began with.
    """

    def __init__(self, directory: str | Path, identity: dict[str, Any], *, resume: bool):
        self.directory = Path(directory)
        self.identity = identity
        self.calls: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.files: list[str] = []
        self.finished = False
        self.size: int | None = None
        self.kept: Keep = "best"
        self.precision: str = "float32"
        self.thresholds: dict[str, float] = {}
        self.calibration: Calibration | None = None
        self.novelty: Novelty | None = None
        self.seconds = 0.0  # of all processes of the run, up to the last commit
        self._since = time.monotonic()
        self._ended = False
        self._begins = not resume
        if resume:
            self._read()

    def _read(self) -> None:
        file = self.directory / RUN_FILE
        if not file.is_file():
            raise TrainingError(
                "no interrupted run to resume", received=str(self.directory), fix="train without resume"
            )
        try:
            stored = json.loads(file.read_text())
            for name in ("calls", "best", "files", "finished"):
                setattr(self, name, stored[name])
            self.size, self.kept = stored.get("size"), stored.get("kept", "best")
            self.thresholds = stored.get("thresholds", {})
            self.seconds = stored.get("seconds", 0.0)
            self.calibration = read_calibration(stored.get("calibration"))
            self.novelty = read_novelty(self.directory, stored.get("novelty"))
            before = stored["identity"]
        except (ValueError, KeyError) as error:
            raise TrainingError(f"the run cannot be read: {error}", received=str(file)) from error
        for name, value in self.identity.items():
            if before.get(name) != value:
                raise TrainingError(
                    f"the run to resume used another {name}",
                    received=value,
                    allowed=str(before.get(name)),
                    fix="restore it, or start again without resume",
                )

    def drop_open(self) -> None:
        """Give up the stage that an error or Ctrl-C ended: this process went on with another call instead."""
        for call in self.calls:
            if is_stage(call) and "outcome" not in call:
                call["dropped"] = True

    def save_arrays(self, name: str, arrays: Sequence[np.ndarray]) -> None:
        """Write arrays to a file of the run directory, complete or not at all.

        Raises:
            TrainingError: the directory cannot be written, or the disk is full.
        """
        self._write(name, lambda file: np.savez(file, *arrays))

    def load_arrays(self, name: str) -> list[np.ndarray]:
        """Read what `save_arrays` wrote.

        Raises:
            TrainingError: the file is missing or broken.
        """
        try:
            with np.load(self.directory / name) as stored:
                return [stored[key] for key in stored.files]
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"a checkpoint file cannot be read: {error}", received=name) from error

    def remember(self, **found: Any) -> None:
        """Set attributes and commit, where one of them changes.

        Args:
            found: thresholds, calibration and novelty, some of them.

        Raises:
            TrainingError: the directory cannot be written.
        """
        changed = {name: value for name, value in found.items() if getattr(self, name) != value}
        if changed.get("novelty") is not None:
            self.save_arrays(NOVELTY_FILE, [changed["novelty"].core])
        for name, value in changed.items():
            setattr(self, name, value)
        if changed:
            self.commit()

    def commit(self) -> None:
        """Make the present state the valid one, then delete the arrays that nothing refers to."""
        now = time.monotonic()
        if not self._ended:  # what is measured of a finished run is no training
            self.seconds += now - self._since
        self._since, self._ended = now, self.finished
        document = {
            "identity": self.identity,
            "calls": self.calls,
            "best": self.best,
            "files": self.files,
            "finished": self.finished,
            "size": self.size,
            "kept": self.kept,
            "precision": self.precision,
            "seconds": round(self.seconds, 1),
            "thresholds": self.thresholds,
            "novelty": None if self.novelty is None else self.novelty.to_dict(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }
        self._write(RUN_FILE, lambda file: file.write(json.dumps(document, indent=1).encode()))
        wanted = {*self.files, *(self.best["files"] if self.best else [])}
        wanted |= set() if self.novelty is None else {NOVELTY_FILE}
        wanted |= {call["steps"] for call in self.calls if "steps" in call}
        for file in self.directory.glob("*.npz"):
            if file.name not in wanted:
                file.unlink(missing_ok=True)

    def _write(self, name: str, fill: Callable[[IO[Any]], object]) -> None:
        """Have a file filled beside its place, flushed to the disk and moved there."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if self._begins:
                self._set_aside()
                self._begins = False
            with atomic_write(self.directory / name, binary=True) as file:
                fill(file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise TrainingError(f"the checkpoint cannot be written: {reason}", received=str(self.directory)) from error

    def _set_aside(self) -> None:
        """Move an unfinished run out of the way: hours of training must not go because `resume` was forgotten."""
        try:
            before = json.loads((self.directory / RUN_FILE).read_text())
            worth_keeping = not before["finished"] and any(call.get("epochs_done") for call in before["calls"])
        except (OSError, ValueError, KeyError):
            return
        if not worth_keeping:
            return
        kept = self.directory / "interrupted"
        kept.mkdir(exist_ok=True)
        for old in kept.glob("*.npz"):
            old.unlink()
        for file in (*self.directory.glob("*.npz"), self.directory / RUN_FILE):
            file.replace(kept / file.name)
        if (self.directory / "snapshots").is_dir():
            shutil.rmtree(kept / "snapshots", ignore_errors=True)
            (self.directory / "snapshots").replace(kept / "snapshots")
        _log.warning("the unfinished run is kept in %s", kept)


def read_novelty(directory: Path, plain: Mapping[str, Any] | None) -> Novelty | None:
    """Return the measure that a run directory holds; None where there is none.

    Args:
        directory: of the run.
        plain: what run.json says of it.

    Raises:
        TrainingError: its file is missing or broken.
    """
    if plain is None:
        return None
    try:
        with np.load(directory / NOVELTY_FILE) as stored:
            core = stored[stored.files[0]]
        return Novelty(core, int(plain["k"]), float(plain["threshold"]), int(plain["examples"]))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise TrainingError(f"a checkpoint file cannot be read: {error}", received=NOVELTY_FILE) from error
