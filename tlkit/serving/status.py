"""The canonical error codes of gRPC, what HTTP status each is, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum

#: TensorFlow Serving cuts its messages at so many characters.
MAX_MESSAGE = 1024


class Code(IntEnum):
    """Canonical codes (google/rpc/code.proto), which TensorFlow, gRPC and TensorFlow Serving share."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def http_status(self) -> int:
        """The HTTP status with which TensorFlow Serving's REST interface answers; 500 where it has no own."""
        return _HTTP_STATUS.get(self, 500)


_HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        code: the canonical code.
        message: what was wrong; cut at 1,024 characters.
        http_status: the REST status where it is not the code's own, such as 413 for a body that is too large.
    """

    def __init__(self, code: Code, message: str, *, http_status: int | None = None):
        super().__init__(message[:MAX_MESSAGE])
        self.code = code
        self.message = message[:MAX_MESSAGE]
        self.http_status = http_status or code.http_status
