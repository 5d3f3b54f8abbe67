"""What every request of `mmrag.serving.client` shares: keys, time limits, retries, and the words of errors.

Decisions taken here:

* A key is sent only where the user meant it to go: the argument; else ``MMRAG_API_KEY``, which is
  this package's own; else ``OPENAI_API_KEY``, but only to OpenAI's own host over https. Redirects
  are not followed. A key is in no repr, no pickle, no log, and is struck out of a server's words.
* `timeout` bounds a whole call: connecting, all attempts, the waits between them and reading. (One
  silent read may use up what was left, so the worst case is twice that.)
* What is tried again: no connection, and statuses 408, 409, 429 and 5xx. A time-out while the server
  works is not (it would work twice), and a stream is not once it has begun.
* The first thing sent to a host that is not this machine is said once a process, as a warning.
* This machine is never reached through a proxy of the environment: pages for a local server would
  pass through another machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from mmrag.errors import ServerAnswerError, ServerError, ServerStatusError, ServerUnreachableError
from mmrag.serving.wire import Json, is_loopback, is_openai, quote, retry_after, split_base_url, status_error

log = logging.getLogger(__name__)

RETRIED_STATUSES = frozenset({408, 409, 429, *range(500, 600)})
FIRST_WAIT = 0.5  # seconds before the second attempt; doubles for each further one
LONGEST_WAIT = 8.0  # seconds, our own back-off
LONGEST_ASKED_WAIT = 30.0  # seconds, a server's Retry-After
CONNECT_TIMEOUT = 10.0  # seconds; a server that is there answers a connection at once
ERROR_BODY_LIMIT = 64_000  # bytes of an error's body that are read
# uvicorn, and so vLLM, closes an idle connection after 5 s; one we would use then fails in our hands.
KEEPALIVE = 2.0  # seconds

_said_hosts: set[str] = set()
_said_lock = threading.Lock()


class AttemptError(Exception):
    """One attempt failed in a way that may be tried again; callers of the package never see it."""

    def __init__(self, error: ServerError, asked_wait: float | None = None) -> None:
        self.error = error
        self.asked_wait = asked_wait
        super().__init__(str(error))


class Connection:
    """A server's address and how to treat it; `mmrag.serving.client.ServerClient` does the talking."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        max_retries: int = 2,
        max_concurrency: int = 8,
        transport: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}.")
        if max_retries < 0:
            raise ValueError(f"max_retries must be at least 0, got {max_retries!r}.")
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, got {max_concurrency!r}.")
        self.root_url, self.base_url = split_base_url(base_url)
        self.model = model
        self.timeout = timeout
        self.max_retries = max_retries
        self.max_concurrency = max_concurrency
        self._transport = transport
        self._key = _find_key(api_key, self.base_url)
        self._key_refused = api_key == ""
        self._open_state()

    def _open_state(self) -> None:
        """What belongs to this process only: sockets, locks, the model the server named."""
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(self.max_concurrency)
        self._idle: list[httpx.Client] = []  # of the sync calls; see `ServerClient._own_client`
        self._loops: WeakKeyDictionary[Any, tuple[httpx.AsyncClient, asyncio.Semaphore]] = WeakKeyDictionary()
        self._only_model: str | None = None

    @property
    def known_model(self) -> str | None:
        """The model that requests go to, as far as it is known without asking."""
        return self.model or self._only_model

    def remember_model(self, models: list[str]) -> None:
        """Send requests to the only one of these models, which the server listed.

        Raises:
            ServerError: it is not just one.
        """
        self._only_model = self._only(models)

    def __repr__(self) -> str:
        key = "set" if self._key else "none"
        return f"ServerClient({self.base_url!r}, model={self.model!r}, api_key={key})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the key and what is open: whoever unpickles looks into their own environment."""
        kept = ("root_url", "base_url", "model", "timeout", "max_retries", "max_concurrency")
        return {**{name: getattr(self, name) for name in kept}, "_key_refused": self._key_refused}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transport = None
        self._key = _find_key("" if self._key_refused else None, self.base_url)
        self._open_state()

    def _settings(self) -> dict[str, Any]:
        return {
            "verify": _tls_context(),
            "follow_redirects": False,
            "trust_env": not is_loopback(urlsplit(self.base_url).hostname or ""),
            "limits": httpx.Limits(keepalive_expiry=KEEPALIVE),
        }

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _deadline(self) -> float:
        return time.monotonic() + self.timeout

    def _timeouts(self, deadline: float) -> httpx.Timeout:
        left = max(0.001, deadline - time.monotonic())
        return httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))

    def _check_time(self, url: str, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise _too_slow(url, self.timeout)

    def _wait(self, failure: AttemptError, attempt: int, deadline: float) -> float:
        """Seconds to wait before the next attempt; raises the failure where there is none."""
        asked = failure.asked_wait
        if asked is not None:
            wait = min(asked, LONGEST_ASKED_WAIT)
        else:
            wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)
        if attempt >= self.max_retries or time.monotonic() + wait >= deadline:
            raise failure.error
        log.info(
            "attempt %d of %d failed, next in %.1f s: %s", attempt + 1, self.max_retries + 1, wait, failure
        )
        return wait

    def _refusal(self, response: httpx.Response, url: str, body: bytes) -> Exception:
        text = _strike(body.decode("utf-8", errors="replace"), self._key)
        error: ServerStatusError = status_error(
            url, response.status_code, response.reason_phrase, text, response.headers.get("location")
        )
        if response.status_code in RETRIED_STATUSES:
            return AttemptError(error, retry_after(response.headers.get("retry-after")))
        return error

    def _chat_body(self, body: Json, model: str, *, stream: bool) -> Json:
        if "stream" in body:
            raise ValueError("body must not set 'stream'. Call chat or chat_stream instead.")
        whole = {**body, "model": model}
        if stream:
            whole |= {"stream": True, "stream_options": {"include_usage": True}}
        return whole

    def _only(self, models: list[str]) -> str:
        if len(models) != 1:
            named = ", ".join(models) or "none"
            raise ServerAnswerError(
                f"{self.base_url} must serve just one model where none is named, "
                f"got {len(models)} ({named}). Pass model=...",
                named,
            )
        return models[0]

    def _say_host(self, method: str) -> None:
        url = urlsplit(self.base_url)
        host = url.hostname or ""
        if method == "GET" or self._transport is not None or is_loopback(host):
            return
        with _said_lock:
            first = host not in _said_hosts
            _said_hosts.add(host)
        if first:
            log.warning(
                "Page text, page pictures and file names leave this machine: they are sent to %s.", url.netloc
            )


@cache
def _tls_context() -> ssl.SSLContext:
    """One for the process: reading the certificates takes 70 ms."""
    return httpx.create_ssl_context()


def _find_key(api_key: str | None, base_url: str) -> str | None:
    """The key that the user meant for this host, or None.

    Raises:
        ValueError: it cannot stand in a header.
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
    return key or None


@contextmanager
def translated(url: str, timeout: float, key: str | None, *, begun: bool = False) -> Iterator[None]:
    """Turn httpx's exceptions into ours; `begun`: the server had started to answer."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        words = _strike(str(error), key) or "no connection in time"
        raise AttemptError(_no_server(url, words)) from error
    except httpx.TimeoutException as error:
        raise _too_slow(url, timeout) from error
    except httpx.DecodingError as error:
        raise ServerAnswerError(f"{url} sent a body that cannot be decoded ({error}).", "") from error
    except httpx.TransportError as error:
        when = "in the middle of its answer" if begun else "without an answer"
        words = _strike(str(error), key) or type(error).__name__
        raise ServerUnreachableError(
            f"{url} closed the connection {when} ({words}). Look at the server's log."
        ) from error


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
    """Whether the server says that it answers with events."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip() == "text/event-stream"


def no_event_stream(response: httpx.Response, url: str, body: bytes) -> ServerAnswerError:
    """The error of an answer in one piece where a stream was asked for."""
    text = body.decode("utf-8", errors="replace")
    kind = response.headers.get("content-type", "no content type")
    return ServerAnswerError(
        f"{url} must stream events (text/event-stream), got {kind}: {quote(text)}.", text
    )


def _strike(text: str, key: str | None) -> str:
    """The text without the key, which some servers repeat in their errors."""
    return text.replace(key, "***") if key else text
