"""Remembers which requests were running when the model's process ended, and which were proved to end it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import NamedTuple

#: So many requests are remembered; 32 bytes and a little each.
MAX_REMEMBERED = 10_000


class Request(NamedTuple):
    """What makes two requests the same one."""

    name: str
    version: int
    method: str
    api: str
    body: bytes

    def digest(self) -> bytes:
        """Return 32 bytes that stand for this request."""
        head = f"{self.name}\0{self.version}\0{self.method}\0{self.api}\0".encode()
        return hashlib.sha256(head + self.body).digest()


class Suspects:
    """Suspicion and proof, by the sha256 of requests.

    A request that was running when the process died is suspected. Whoever runs suspects one at a time can tell the
    guilty from their neighbours: `clear` those that end well, `quarantine` the one that kills again.

    Example:
        >>> suspects = Suspects()
        >>> suspects.suspect(request)
        >>> suspects.standing(request)
        'suspect'

    Args:
        limit: how many suspects, and how many quarantined requests, are remembered; the oldest are forgotten first.
    """

    def __init__(self, limit: int = MAX_REMEMBERED):
        self._limit = limit
        self._suspects: OrderedDict[bytes, str] = OrderedDict()
        self._quarantined: OrderedDict[bytes, str] = OrderedDict()
        # Hashing a body costs more than routing it, so only bodies as long as a remembered one are hashed.
        self._lengths: dict[int, int] = {}
        self._length_of: dict[bytes, int] = {}

    def standing(self, request: Request) -> str:
        """Return "clear", "suspect", "hung" (a suspect whose process was killed for silence) or "quarantined"."""
        if len(request.body) not in self._lengths:
            return "clear"
        digest = request.digest()
        if digest in self._quarantined:
            return "quarantined"
        return self._suspects.get(digest, "clear")

    def suspect(self, request: Request, *, hung: bool = False) -> None:
        """Suspect a request that was running when the process ended."""
        digest = request.digest()
        if digest not in self._quarantined:
            self._remember(self._suspects, digest, "hung" if hung else "suspect", len(request.body))

    def clear(self, request: Request) -> None:
        """Drop the suspicion: the request ran alone and the process lived."""
        digest = request.digest()
        if self._suspects.pop(digest, None):
            self._forget_length(digest)

    def quarantine(self, request: Request) -> None:
        """Refuse the request from now on: it ran alone and the process ended."""
        self.clear(request)
        self._remember(self._quarantined, request.digest(), "quarantined", len(request.body))

    def _remember(self, book: OrderedDict[bytes, str], digest: bytes, standing: str, length: int) -> None:
        if digest not in book:
            self._length_of[digest] = length
            self._lengths[length] = self._lengths.get(length, 0) + 1
        book[digest] = standing
        book.move_to_end(digest)
        if len(book) > self._limit:
            oldest, _ = book.popitem(last=False)
            self._forget_length(oldest)

    def _forget_length(self, digest: bytes) -> None:
        length = self._length_of.pop(digest)
        self._lengths[length] -= 1
        if not self._lengths[length]:
            del self._lengths[length]
