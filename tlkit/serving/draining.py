"""What happens to requests when a server is told to stop: those that have begun go on, new ones are refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from tlkit.serving.status import Code, ServingError


class Draining:
    """Counts requests, so that a stopping server knows when it has answered all of them.

    Example:
        >>> draining = Draining()
        >>> with draining.request():
        ...     answer = await fleet.call(...)
        >>> draining.begin()
        >>> await draining.wait(3.0)  # True: nothing is left

    Attributes:
        has_begun: the server stops.
        requests: how many are being answered.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.requests = 0
        self._ended = asyncio.Event()

    def begin(self) -> None:
        """Refuse new requests from now on."""
        self.has_begun = True

    def check(self) -> None:
        """Refuse what would be of no use to a client.

        Raises:
            ServingError: UNAVAILABLE: the server stops.
        """
        if self.has_begun:
            raise ServingError(Code.UNAVAILABLE, "the server is stopping")

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while it is answered.

        Raises:
            ServingError: UNAVAILABLE: the server stops.
        """
        self.check()
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            self._ended.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until no request is left, at most so many seconds; say whether none is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.requests:
                    self._ended.clear()
                    await self._ended.wait()
        return not self.requests
