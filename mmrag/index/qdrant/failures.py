"""What goes wrong with a server, as the package's own errors; and whether another attempt may help."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from mmrag.errors import (
    IndexFormatError,
    MMRagError,
    ServerAnswerError,
    ServerStatusError,
    ServerUnreachableError,
)

_MAY_PASS = (429, 500, 502, 503, 504)
_MOST_SHOWN = 300
_GRPC_STATUS = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
}
_ADVICE = {
    400: "If the collection was made by other software, name another one; else upgrade server and package.",
    401: "Pass api_key=... or set MMRAG_QDRANT_API_KEY.",
    403: "Pass an api_key that may read (and, for adding, write) this collection.",
    404: "Is this a Qdrant server, and the collection there? Check the URL.",
    413: "Lower batch_bytes, or raise the server's service.max_request_size_mb.",
    429: "The server takes no more at once. Add with fewer processes, or give it more time.",
    507: "The server's disk is full. Free it, or add a node; then add the same documents again.",
}
_UNAVAILABLE = "Look at the server's log and its disk; then do the same again: what was written stays."


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed.

    Attributes:
        error: to raise.
        may_pass: whether the same request may succeed a moment later.
        retry_after: seconds that the server asks to wait.
    """

    error: MMRagError
    may_pass: bool
    retry_after: float | None = None


def failure_of(error: Exception, url: str, timeout: float) -> Failure | None:
    """Return what an exception of the client means; None for one that is ours, or a bug."""
    if isinstance(error, ResourceExhaustedResponse):
        status = ServerStatusError(_status_message(url, 429, error.message), 429, error.message)
        return Failure(status, True, _seconds(error.retry_after_s))
    if isinstance(error, UnexpectedResponse):
        return _status_failure(url, error.status_code or 0, error.content.decode("utf-8", "replace"))
    if isinstance(error, ResponseHandlingException):
        return _transport_failure(error.source, url, timeout)
    if isinstance(error, grpc.RpcError):
        return _grpc_failure(error, url, timeout)
    if isinstance(error, (httpx.HTTPError, OSError, json.JSONDecodeError, UnicodeDecodeError)):
        return _transport_failure(error, url, timeout)
    if isinstance(error, ValueError) and "Collection" in str(error) and "not found" in str(error):
        return Failure(
            IndexFormatError(f"{error}. Make it first: open it for writing with an embedder."), False
        )
    return None


def _status_failure(url: str, status: int, body: str) -> Failure:
    reason = _reason(body)
    if status == 404 and "ollection" in reason:
        message = f"there must be a collection to read at {url}, got none ({reason[:_MOST_SHOWN]}). "
        return Failure(
            IndexFormatError(message + "Make it first: open it for writing with an embedder."), False
        )
    return Failure(ServerStatusError(_status_message(url, status, reason), status, body), status in _MAY_PASS)


def _status_message(url: str, status: int, reason: str) -> str:
    advice = _ADVICE.get(status, _UNAVAILABLE if status >= 500 else "Check the URL.")
    return f"Qdrant at {url} answered with status {status}: {reason[:_MOST_SHOWN]}. {advice}"


def _reason(body: str) -> str:
    """Return what the server says in its own words."""
    try:
        status: Any = json.loads(body)["status"]
        return str(status["error"]) if isinstance(status, dict) else str(status)
    except (ValueError, LookupError, TypeError):
        return body.strip() or "no body"


def _transport_failure(source: Exception, url: str, timeout: float) -> Failure:
    name = type(source).__name__
    if isinstance(source, (httpx.TimeoutException, TimeoutError)):
        message = (
            f"Qdrant at {url} gave no answer within {timeout:g} s. Raise timeout, give the server more "
            "memory, or let it finish building its graph."
        )
        return Failure(ServerUnreachableError(message), False)
    if isinstance(source, httpx.ConnectError):
        message = f"No Qdrant server at {url} ({source}). Start one, or check the URL."
        return Failure(ServerUnreachableError(message), True)
    if isinstance(source, (httpx.TransportError, OSError)):
        message = (
            f"Qdrant at {url} must answer in full, got a connection that was cut ({name}). "
            "Do the same again: what was written stays, and is not written twice."
        )
        return Failure(ServerUnreachableError(message), True)
    message = (
        f"Qdrant at {url} must answer as its API says, got something else ({name}). "
        "Is another service at this URL, or a server of another version?"
    )
    return Failure(ServerAnswerError(message, str(source)), False)


def _grpc_failure(error: grpc.RpcError, url: str, timeout: float) -> Failure:
    code = error.code() if hasattr(error, "code") else None
    details = str(error.details()) if hasattr(error, "details") else ""
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return _transport_failure(TimeoutError(details), url, timeout)
    if code in _GRPC_STATUS:
        return _status_failure(url, _GRPC_STATUS[code], details)
    message = (
        f"No answer from Qdrant's gRPC at {url} "
        f"({getattr(code, 'name', 'unknown')}: {details[:_MOST_SHOWN]}). "
        "Is the port of gRPC open (grpc_port)? Or leave grpc out."
    )
    return Failure(ServerUnreachableError(message), code == grpc.StatusCode.UNAVAILABLE)


def _seconds(value: object) -> float | None:
    """Read a Retry-After of seconds; None for a date or nonsense."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
