"""What all requests to a server share: address, key, time limits, retries, and the wording of errors.

Decisions:

* A key is sent only where the user meant it to go: the argument; else ``MMRAG_API_KEY``, which is
  this package's own; else ``OPENAI_API_KEY``, but only to OpenAI's own host over https. Redirects
  are not followed. A key is in no repr, no pickle, no log, and is struck out of all that a server repeats.
* A key goes in the clear (``http``) to this machine; to a private network with a warning; to any other host
  only with `key_over_http` or ``MMRAG_KEY_OVER_HTTP=1``.
* `timeout` bounds a whole call: connecting, all attempts, the waits between them and reading, also where a
  server drips (`mmrag.serving.transport`).
* Retried are failed connections and the statuses 408, 409, 429 and 5xx. A time-out while the server
  works is not (it would work twice), and a stream is not once it has mid_reply.
* The first request with a body to a host that is not this machine is logged once per process, as a warning.
* This machine is never reached through a proxy of the environment: pages for a local server would
  pass through another machine.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from mmrag.errors import (
    ServerAnswerError,
    ServerError,
    ServerUnreachableError,
    check_whole,
)
from mmrag.forks import new_lock
from mmrag.masking import MASK, mask_causes, remember_secret, spellings
from mmrag.serving.transport import ClientPool, Transport
from mmrag.serving.wire import (
    BODY_QUOTED,
    is_loopback,
    is_openai,
    is_private,
    quote,
    retry_after,
    split_base_url,
    status_error,
)

log = logging.getLogger(__name__)

RETRIED_STATUSES = frozenset({408, 409, 429, *range(500, 600)})
FIRST_WAIT = 0.5  # seconds before the second attempt; doubles for each further one
LONGEST_WAIT = 8.0  # seconds, our own back-off
LONGEST_RETRY_AFTER = 30.0  # seconds, a server's Retry-After
OPEN_KEY_VARIABLE = "MMRAG_KEY_OVER_HTTP"
ERROR_BODY_LIMIT = 64_000  # bytes of an error's body that are read

_announced_hosts: set[str] = set()
_announced_lock = new_lock()


class AttemptError(Exception):
    """A failed attempt that may be retried; callers of the package never see it.

    Attributes:
        error: what is raised if no attempt is left.
        retry_after: seconds that the server wants us to wait; None for our own back-off.
    """

    def __init__(self, error: ServerError, retry_after: float | None = None) -> None:
        self.error = error
        self.retry_after = retry_after
        super().__init__(str(error))


class Connection:
    """Address, key and retry policy of one server; the arguments are those of `ServerClient`."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        max_retries: int = 2,
        max_concurrency: int = 8,
        transport: Transport | None = None,
        key_over_http: bool = False,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}.")
        self.root_url, self.base_url = split_base_url(base_url)
        self.model = model
        self.timeout = timeout
        self.max_retries = check_whole("max_retries", max_retries, 0)
        self.max_concurrency = check_whole("max_concurrency", max_concurrency)
        self.key_over_http = key_over_http
        self._key = _find_key(api_key, self.base_url)
        if transport is None:
            _check_encrypted(self._key, self.base_url, allowed=key_over_http)
        self._key_refused = api_key == ""
        self._only_model: str | None = None
        self._lists_no_models = False
        self._pool = ClientPool(self.base_url, max_concurrency, transport)

    @property
    def known_model(self) -> str | None:
        """Return the model that requests go to, or None if only the server knows it."""
        return self.model or self._only_model

    def remember_model(self, models: list[str]) -> str:
        """Send requests to the only model that the server lists, and return its name.

        Raises:
            ServerAnswerError: the server lists no model, or several.
        """
        if len(models) != 1:
            names = ", ".join(models) or "none"
            raise ServerAnswerError(
                f"{self.base_url} must serve just one model where none is named, "
                f"got {len(models)} ({names}). Pass model=...",
                names,
            )
        self._only_model = models[0]
        return models[0]

    def __repr__(self) -> str:
        key = "set" if self._key else "none"
        return f"ServerClient({self.base_url!r}, model={self.model!r}, api_key={key})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings without the key; whoever unpickles looks into their own environment."""
        names = ["root_url", "base_url", "model", "timeout", "max_retries", "max_concurrency"]
        names += ["key_over_http", "_key_refused"]
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._key = _find_key("" if self._key_refused else None, self.base_url)
        _check_encrypted(self._key, self.base_url, allowed=self.key_over_http)
        self._only_model = None
        self._lists_no_models = False
        self._pool = ClientPool(self.base_url, self.max_concurrency)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _without_key(self, content: bytes) -> bytes:
        """Remove the key from a reply, which may be cached, however it is spelt there."""
        for form in spellings(self._key or ""):
            content = content.replace(form.encode(), MASK.encode())
        return content

    def _deadline(self) -> float:
        return time.monotonic() + self.timeout

    def _check_time(self, url: str, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise _too_slow(url, self.timeout)

    def _retry_delay(self, failure: AttemptError, attempt: int, deadline: float) -> float:
        """Return the seconds to wait before the next attempt, or raise the failure's error if there is none.

        Args:
            failure: of the attempt that was just made.
            attempt: its number, from 0.
            deadline: of the call, in seconds of `time.monotonic`.
        """
        if failure.retry_after is not None:
            delay = min(failure.retry_after, LONGEST_RETRY_AFTER)
        else:
            delay = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)
        if attempt >= self.max_retries or time.monotonic() + delay >= deadline:
            raise failure.error
        log.info(
            "attempt %d of %d failed, next in %.1f s: %s", attempt + 1, self.max_retries + 1, delay, failure
        )
        return delay

    def _status_error(self, response: httpx.Response, url: str, body: bytes) -> Exception:
        text, reason, location = (
            _redact(part, self._key)
            for part in (
                body.decode("utf-8", errors="replace"),
                response.reason_phrase,
                response.headers.get("location", ""),
            )
        )
        error = status_error(url, response.status_code, reason, text, location or None)
        if response.status_code in RETRIED_STATUSES:
            return AttemptError(error, retry_after(response.headers.get("retry-after")))
        return error

    def _announce_host(self, method: str) -> None:
        """Warn, once a process, of what leaves this machine: pages, and a key in the clear."""
        url = urlsplit(self.base_url)
        host = url.hostname or ""
        if self._pool.transport is not None or is_loopback(host):
            return
        if method != "GET" and _is_first(host):
            log.warning(
                "Page text, page pictures and file names leave this machine: they are sent to %s.", url.netloc
            )
        if self._key and url.scheme == "http" and _is_first(f"{host} key"):
            log.warning(
                "The API key goes to %s over plain http: every machine between can read it.", url.netloc
            )


def _is_first(topic: str) -> bool:
    with _announced_lock:
        first = topic not in _announced_hosts
        _announced_hosts.add(topic)
    return first


def _check_encrypted(key: str | None, base_url: str, *, allowed: bool) -> None:
    """Refuse to send a key in the clear beyond a private network.

    Raises:
        ValueError: the URL is http, its host is elsewhere, and neither argument nor environment allows it.
    """
    url = urlsplit(base_url)
    host = url.hostname or ""
    if not key or url.scheme != "http" or is_loopback(host) or is_private(host):
        return
    if allowed or os.environ.get(OPEN_KEY_VARIABLE) == "1":
        return
    raise ValueError(
        f"an API key must not go over plain http to another network, got {base_url!r}. Use https; or send no "
        f"key with api_key=''; or allow it with {OPEN_KEY_VARIABLE}=1."
    )


def _find_key(api_key: str | None, base_url: str) -> str | None:
    """Return the key that the user meant for this host, or None.

    Raises:
        ValueError: the key does not fit into a header.
    """
    key, origin = api_key, "api_key"
    if key is None:
        key, origin = os.environ.get("MMRAG_API_KEY", ""), "MMRAG_API_KEY"
    if not key and api_key is None and is_openai(base_url):
        key, origin = os.environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY"
    key = key.strip()
    if not all("!" <= char <= "~" for char in key):
        # The value is not shown: it is a secret, if a broken one.
        raise ValueError(
            f"{origin} must be printable ASCII without spaces, got something else. Copy the key again."
        )
    remember_secret(key)
    return key or None


@contextmanager
def translate_errors(url: str, timeout: float, key: str | None, *, mid_reply: bool = False) -> Iterator[None]:
    """Turn httpx's exceptions into ours.

    Args:
        url: of the request.
        timeout: of the call, in seconds, for messages.
        key: redacted from messages.
        mid_reply: whether the server had started to answer.
    """
    try:
        with _causes_without_key():
            yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        words = _redact(str(error), key) or "no connection in time"
        raise AttemptError(_no_server(url, words)) from error
    except httpx.TimeoutException as error:
        raise _too_slow(url, timeout) from error
    except httpx.DecodingError as error:
        words = _redact(str(error), key)
        raise ServerAnswerError(f"{url} sent a body that cannot be decoded ({words}).", "") from error
    except httpx.TransportError as error:
        when = "in the middle of its answer" if mid_reply else "without an answer"
        words = _redact(str(error), key) or type(error).__name__
        raise ServerUnreachableError(
            f"{url} closed the connection {when} ({words}). Look at the server's log."
        ) from error


@contextmanager
def _causes_without_key() -> Iterator[None]:
    """Remove keys from httpx's own exceptions, which tracebacks print as causes of ours."""
    try:
        yield
    except httpx.HTTPError as error:
        mask_causes(error)
        raise


def _no_server(url: str, words: str) -> ServerUnreachableError:
    remedy = (
        "Start one: mmrag serve MODEL" if is_loopback(urlsplit(url).hostname or "") else "Check base_url."
    )
    return ServerUnreachableError(f"No server at {url} ({words}). {remedy}")


def _too_slow(url: str, timeout: float) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"{url} did not finish its answer within {timeout:g} s. Raise timeout, or ask for less: "
        "fewer or smaller pages, fewer tokens."
    )


def is_event_stream(response: httpx.Response) -> bool:
    """Return whether the response declares server-sent events."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip() == "text/event-stream"


def no_event_stream(response: httpx.Response, url: str, body: bytes) -> ServerAnswerError:
    """Return the error of a reply in one piece to a request for a stream."""
    text = body.decode("utf-8", errors="replace")
    content_type = response.headers.get("content-type", "no content type")[:BODY_QUOTED]
    return ServerAnswerError(
        f"{url} must stream events (text/event-stream), got {content_type}: {quote(text)}.", text
    )


def _redact(text: str, key: str | None) -> str:
    """Replace the key in a text: some servers repeat it in their errors."""
    return text.replace(key, "***") if key else text
