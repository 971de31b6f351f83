"""Every way in which a call can fail, and the one local reason that it becomes.

Errors carry names only, never a message from elsewhere: a message could quote the text under judgement.
"""

from enum import StrEnum
from types import MappingProxyType

import grpc
from google.protobuf.message import DecodeError


class InterlockError(Exception):
    """What this package raises; `screen`, `screen_batch` and `select` raise nothing and answer with withheld verdicts."""


class SettingsError(InterlockError, ValueError):
    """A client was constructed with settings that cannot work."""


class LocalReason(StrEnum):
    """Why the client itself withholds. The server's reasons are in the contract (enum Reason)."""

    NOT_SCREENED = "NOT_SCREENED"  # nobody was asked: the default verdict
    UNREACHABLE = "UNREACHABLE"  # no server, or one that is going away
    DEADLINE = "DEADLINE"  # no answer within timeout_s
    REFUSED = "REFUSED"  # the server does not take this request, this caller or this method
    TOO_LARGE = "TOO_LARGE"  # the message is over a limit
    CANCELLED = "CANCELLED"  # the call was ended before it was answered
    SERVER_ERROR = "SERVER_ERROR"  # the server failed where the contract promises a verdict
    MALFORMED_RESPONSE = "MALFORMED_RESPONSE"  # not the contract: no verdict, no decision, too few, not a message
    DIGEST_MISMATCH = "DIGEST_MISMATCH"  # the verdict is on another text than the one that was sent
    INVALID_CALL = "INVALID_CALL"  # the arguments are not an exchange; `cause` says of which kind the mistake is
    CLIENT_CLOSED = "CLIENT_CLOSED"  # close() was called before
    FORKED = "FORKED"  # gRPC did not survive the fork: calls were in flight, or asyncio was used
    CLIENT_ERROR = "CLIENT_ERROR"  # something nobody thought of


class CallError(InterlockError):
    """A call was not answered. `reason` is the local reason, `cause` the gRPC status or exception type behind it."""

    def __init__(self, reason: LocalReason, cause: str = "") -> None:
        super().__init__(f"{reason}: {cause}" if cause else str(reason))
        self.reason = reason
        self.cause = cause


REASON_OF_STATUS = MappingProxyType(
    {
        grpc.StatusCode.UNAVAILABLE: LocalReason.UNREACHABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED: LocalReason.DEADLINE,
        grpc.StatusCode.INVALID_ARGUMENT: LocalReason.REFUSED,
        grpc.StatusCode.UNAUTHENTICATED: LocalReason.REFUSED,
        grpc.StatusCode.PERMISSION_DENIED: LocalReason.REFUSED,
        grpc.StatusCode.FAILED_PRECONDITION: LocalReason.REFUSED,
        grpc.StatusCode.NOT_FOUND: LocalReason.REFUSED,
        grpc.StatusCode.OUT_OF_RANGE: LocalReason.REFUSED,
        grpc.StatusCode.UNIMPLEMENTED: LocalReason.REFUSED,
        grpc.StatusCode.RESOURCE_EXHAUSTED: LocalReason.TOO_LARGE,
        grpc.StatusCode.CANCELLED: LocalReason.CANCELLED,
        grpc.StatusCode.ALREADY_EXISTS: LocalReason.SERVER_ERROR,
        grpc.StatusCode.ABORTED: LocalReason.SERVER_ERROR,
        grpc.StatusCode.DATA_LOSS: LocalReason.SERVER_ERROR,
        grpc.StatusCode.INTERNAL: LocalReason.SERVER_ERROR,
        grpc.StatusCode.UNKNOWN: LocalReason.SERVER_ERROR,
        grpc.StatusCode.OK: LocalReason.CLIENT_ERROR,  # an error that says OK
    }
)

REASON_OF_TYPE: tuple[tuple[type[Exception], LocalReason], ...] = (
    (DecodeError, LocalReason.MALFORMED_RESPONSE),
    (grpc.FutureTimeoutError, LocalReason.DEADLINE),
    (grpc.FutureCancelledError, LocalReason.CANCELLED),
)

# An outage rather than the text: the same exchange may get another verdict later.
RETRYABLE = frozenset({LocalReason.UNREACHABLE, LocalReason.DEADLINE, LocalReason.CANCELLED})


def call_error(error: Exception) -> CallError:
    """Reduces any exception of the call path to its reason and its name."""
    if isinstance(error, CallError):
        return error
    status = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else None
    if isinstance(status, grpc.StatusCode):
        return CallError(REASON_OF_STATUS.get(status, LocalReason.SERVER_ERROR), status.name)
    for kind, reason in REASON_OF_TYPE:
        if isinstance(error, kind):
            return CallError(reason, type(error).__name__)
    return CallError(LocalReason.CLIENT_ERROR, type(error).__name__)
