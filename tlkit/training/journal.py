"""The calls of a run in order: those that a resumed script repeats are answered from the record."""

from __future__ import annotations

import logging
from typing import Any

from tlkit.callbacks.recorder import Recorder
from tlkit.errors import TrainingError
from tlkit.training.run_state import STAGES, RunState
from tlkit.training.snapshots import Snapshots

_log = logging.getLogger("tlkit")
_WORDS = {
    "find_lr": "finding the learning rate",
    "likeness": "measuring the domain similarity",
    "precision": "measuring the precision",
    "probe": "fitting the linear probe",
    "probe_at": "measuring the linear probe",
    "tune_plan": "planning the second stage",
    "held_out": "holding examples out",
    "held": "measuring what was held out",
    "mix": "mixing weights",
    "diverged": "giving up a training that diverged",
}


class Journal:
    """Answers calls that a resumed run has finished already, and notes new ones.

    Args:
        state: the run on disk; None for a run that leaves nothing.
        recorder: receives the steps of finished calls.
        snapshots: receives the snapshots of finished calls.
    """

    def __init__(self, state: RunState | None, recorder: Recorder, snapshots: Snapshots):
        self._state = state
        self._recorder = recorder
        self._snapshots = snapshots
        # Those that were on disk to begin with: what this process adds is never repeated by it.
        self._stored = [] if state is None else list(state.calls)
        self._replayed = 0

    @property
    def is_behind(self) -> bool:
        """Whether the run on disk has calls that this script has not come to yet."""
        return self._next() is not None

    def comes(self, call: dict[str, Any]) -> bool:
        """Whether this is what a resumed run did next."""
        kind = next(iter(call))
        stored = self._next()
        return stored is not None and stored.get(kind) == call[kind]

    def replay(self, call: dict[str, Any]) -> Any:
        """Give the outcome of a call that a resumed run has already finished, or None.

        Args:
            call: one key, the kind of the call, with all that decides its outcome.

        Raises:
            TrainingError: the run made another call here.
        """
        kind = next(iter(call))
        # Measured along with some other call, before or after that is noted: it has no place in their order.
        if kind == "precision":
            return next((known["outcome"] for known in self._stored if known.get(kind) == call[kind]), None)
        stored = self._next()
        if stored is None:
            return None
        assert self._state is not None  # narrows the type; without a run nothing is stored
        if stored.get(kind) != call[kind]:
            before = {key: value for key, value in stored.items() if key in (*STAGES, *_WORDS)}
            raise TrainingError(
                "the run to resume made another call at this point",
                received=call,
                allowed=str(before),
                fix="train without resume",
            )
        self._snapshots.adopt(stored.get("snapshots", []))
        if "outcome" not in stored:
            return None
        self._replayed += 1
        if "steps" in stored:
            self._recorder.add_steps(*self._state.load_arrays(stored["steps"])[0].T)
        what = (
            f"{call['fit']['epochs']} epochs of {', '.join(call['fit']['trained'])}" if kind == "fit" else _WORDS[kind]
        )
        _log.info("already done: %s", what)
        return stored["outcome"]

    def note(self, call: dict[str, Any], outcome: Any) -> None:
        """Keep the outcome of a call that changed no weight."""
        if self._state is not None:
            if "precision" not in call:
                self._state.drop_open()
            self._state.calls.append({**call, "outcome": outcome})
            if self._state.files:
                self._state.commit()

    def passed(self) -> None:
        """Count a stage, which writes its own record."""
        if self.is_behind:
            self._replayed += 1

    def _next(self) -> dict[str, Any] | None:
        """Give the stored call that the script has to make next."""
        ordered = [call for call in self._stored if "precision" not in call and not call.get("dropped")]
        return ordered[self._replayed] if self._replayed < len(ordered) else None
