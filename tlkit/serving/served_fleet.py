"""What the entry points ask of the served models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tlkit.serving.model_state import VersionStatus


class ServedFleet(Protocol):
    """The served models as REST, gRPC, the metrics and the page see them; `tlkit.serving.fleet.Fleet` is one.

    Attributes:
        in_flight: calls that are being answered.
        max_in_flight: more calls at a time are refused.
        restarts: of the worker process.
    """

    in_flight: int

    @property
    def max_in_flight(self) -> int: ...  # noqa: D102
    @property
    def restarts(self) -> int: ...  # noqa: D102
    def models(self) -> Mapping[str, Sequence[VersionStatus]]: ...  # noqa: D102
    def resolve(self, name: str, version: int | None = None, label: str | None = None) -> int: ...  # noqa: D102
    def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]: ...  # noqa: D102
    def metadata(self, name: str, version: int) -> dict[str, Any]: ...  # noqa: D102
    def manifest(self, name: str, version: int) -> dict[str, Any] | None: ...  # noqa: D102
    async def call(  # noqa: D102
        self, name: str, version: int, *, api: str, method: str, body: bytes, timeout: float
    ) -> Any: ...
    async def check_body(self, *, method: str, body: bytes, timeout: float) -> None: ...  # noqa: D102
