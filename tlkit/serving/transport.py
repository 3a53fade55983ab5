"""What a client needs of a connection to a server of models, whichever protocol it speaks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from tlkit.export.manifest import SignatureInfo
from tlkit.serving.status import Code

#: Only these are worth another try: the request was not run, or running it again does no harm and may help.
RETRIED = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0  # seconds
# Tests put their own clock here.
_now = time.monotonic
_sleep = time.sleep
_chance = random.uniform

T = TypeVar("T")


class ModelVersion(NamedTuple):
    """The state of one version on a server.

    Attributes:
        version: its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: canonical code by name; OK where all is well.
        error_message: why it is not served; empty where all is well.
    """

    version: int
    state: str
    error_code: str
    error_message: str


class ModelMetadata(NamedTuple):
    """What a server says about the model that it answers with.

    Attributes:
        name: of the model.
        version: its number.
        signatures: what each signature takes and gives; those of TensorFlow's own use are left out.
    """

    name: str
    version: int
    signatures: dict[str, SignatureInfo]


class ClassScore(NamedTuple):
    """A class, and a score that float32 can hold."""

    label: str
    score: float


class TransportError(Exception):
    """A request that was not answered as hoped.

    Args:
        code: what went wrong.
        message: the server's own words, or the reason why there is no answer.
        answered: the server itself said so; otherwise the connection failed.
        wait: seconds after which the server wants to be asked again; None where it did not say.
        final: another try cannot help, whatever the code.
    """

    def __init__(
        self, code: Code, message: str, *, answered: bool = True, wait: float | None = None, final: bool = False
    ):
        super().__init__(message)
        self.code, self.message, self.answered, self.wait, self.final = code, message, answered, wait, final


class Transport(Protocol):
    """One model on one server. Every call takes the seconds that are left for it and raises `TransportError`."""

    def metadata(self, timeout: float) -> ModelMetadata:
        """Ask for the signatures."""

    def status(self, timeout: float) -> list[ModelVersion]:
        """Ask for the states of the versions."""

    def predict(
        self,
        name: str,
        signature: SignatureInfo,
        inputs: dict[str, np.ndarray],
        wanted: Sequence[str],
        timeout: float,
    ) -> dict[str, np.ndarray]:
        """Run a signature; `wanted` names the outputs, none means all."""

    def classify(self, name: str, examples: Sequence[Any], context: Any, timeout: float) -> list[list[ClassScore]]:
        """Classify tf.Examples (messages of `tlkit.serving.protos`)."""

    def regress(self, name: str, examples: Sequence[Any], context: Any, timeout: float) -> np.ndarray:
        """Give a float32 for each tf.Example."""

    def close(self) -> None:
        """Let go of the connections."""


def with_retries(call: Callable[[float], T], *, timeout: float, retries: int) -> T:
    """Call until there is an answer, as long as the time and the tries last.

    Waits twice as long after each try, half of it by chance, so that many clients do not come back at once; longer if
    the server asks for it. Does not begin a wait that would outlast the time.

    Args:
        call: gets the seconds that are left.
        timeout: seconds for everything together.
        retries: further tries after the first.

    Raises:
        TransportError: the last one.
    """
    end = _now() + timeout
    for number in range(retries + 1):
        try:
            return call(max(end - _now(), 0.001))
        except TransportError as error:
            if number == retries or error.final or error.code not in RETRIED:
                raise
            longest = min(_FIRST_WAIT * 2**number, _LONGEST_WAIT)
            pause = max(_chance(longest / 2, longest), error.wait or 0.0)
            if _now() + pause >= end:
                raise
            _sleep(pause)
    raise AssertionError("unreachable")
