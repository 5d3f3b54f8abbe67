"""Addresses, replies, events and error messages as pure functions: no socket, no clock, no key.

Decisions:

* A base URL is accepted with or without its version (``http://host:8000`` and
  ``http://host:8000/v1`` are one server), because vLLM has chat under ``/v1`` and rerank at the root.
* Server-sent events are parsed from bytes and lines end at CR, LF or CRLF only, as the standard
  says. `str.splitlines` also splits at U+2028 and U+0085, which may occur raw inside a JSON string.
  httpx-sse would save 15 lines here, and its own reading of lines has to be avoided for that reason.
* An error page is never data: a reply that is not the JSON expected becomes a `ServerError` that quotes it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from mmrag.errors import ServerAnswerError, ServerStatusError

Json: TypeAlias = dict[str, Any]

PRIVATE_ENDINGS = (".local", ".lan", ".internal", ".home.arpa", ".localdomain", ".svc", ".cluster.local")
MOST_EVENT_BYTES = 1_000_000  # of one streamed event; an event is a few words
VLLM_PATHS = {
    "/tokenize": "Of the rerank modes, 'served' and 'local' work with other servers.",
    "/score": "Other servers rerank texts alone: pass images=False.",
    "/pooling": "Other servers embed by /v1/embeddings.",
}
"""Paths that no other server has, and what works without each."""
BODY_KEPT = 2000  # characters of a body that an error keeps
BODY_QUOTED = 300  # characters of a body that a message quotes
_VERSION = re.compile(r"v\d+[a-z0-9]*")


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed chat answer.

    Attributes:
        content: text of the answer.
        thought: text of the model's reasoning, never part of the answer.
        finish_reason: why the answer ended, on its last piece.
        usage: token counts, on the piece that carries them.
    """

    content: str = ""
    thought: str = ""
    finish_reason: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A whole chat answer: the same parts as `Delta`, complete."""

    content: str
    thought: str = ""
    finish_reason: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


# --------------------------------------------------------------------------------------- addresses


def split_base_url(base_url: str) -> tuple[str, str]:
    """Return ``(root, api)`` of a server: ``/rerank`` is under the root, ``chat/completions`` under the API.

    A path that names a version (``/v1``, ``/v1beta/openai``) is the API, and the root is the part
    before the version; any other path is a root, and its API is ``root + "/v1"``.

    Raises:
        ValueError: not an http(s) URL, or one with a user, a password, a query or a fragment.
    """
    url = urlsplit(base_url.strip())
    if url.username is not None or url.password is not None:
        # The value is not shown: it has a secret in it.
        raise ValueError("base_url must not carry a user name or a password. Pass api_key=... instead.")
    if url.query or url.fragment:
        raise ValueError(
            "base_url must not have a query or a fragment ('?', '#'). Leave out what follows it."
        )
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(
            f"base_url must be an http or https URL, got {base_url!r}. Write it like http://localhost:8000/v1."
        )
    origin = f"{url.scheme}://{url.netloc}"
    segments = [part for part in url.path.split("/") if part]
    at = next((i for i, part in enumerate(segments) if _VERSION.fullmatch(part)), None)
    if at is None:
        root = "/".join([origin, *segments])
        return root, f"{root}/v1"
    return "/".join([origin, *segments[:at]]), "/".join([origin, *segments])


def join_url(base_url: str, path: str) -> str:
    """Return the URL of a path: with a leading ``/`` from the server's root, without from its API."""
    root, api = split_base_url(base_url)
    return root + path if path.startswith("/") else f"{api}/{path}"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine. Names are not looked up."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def is_private(host: str) -> bool:
    """Return whether a host is on a network of one's own, by its address or name. Names are not looked up."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return "." not in name or name.endswith(PRIVATE_ENDINGS)


def is_openai(base_url: str) -> bool:
    """Return whether a URL is OpenAI's own API over https, the only host that OPENAI_API_KEY is for."""
    url = urlsplit(base_url.strip())
    host = (url.hostname or "").rstrip(".").lower()
    return url.scheme == "https" and (host == "api.openai.com" or host.endswith(".api.openai.com"))


# ------------------------------------------------------------------------------------------ replies


def load_json(text: str) -> Any:  # noqa: ANN401  whatever JSON holds
    """Parse JSON; whole numbers too long for a float become infinite, which checks of replies refuse."""
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 300 else float(digits))


def parse_object(body: bytes, url: str) -> Json:
    """Return the JSON object that a reply with status 200 carries.

    TEI's ``/rerank`` answers with the list that others have under ``results``; it becomes such an object.

    Raises:
        ServerAnswerError: not JSON, not an object, or an object that is only an error.
    """
    text = body.decode("utf-8", errors="replace")
    try:
        value = load_json(text)
    except (ValueError, RecursionError) as error:
        raise ServerAnswerError(
            f"{url} answered 200 with something that is not JSON ({error}): {quote(text)}. "
            "Check that base_url is an OpenAI-compatible API.",
            text,
        ) from error
    if isinstance(value, list) and url.endswith("/rerank"):
        value = {"results": value}
    if not isinstance(value, dict):
        raise ServerAnswerError(
            f"{url} must answer with a JSON object, got {quote(text)}. "
            "Check that base_url is an OpenAI-compatible API.",
            text,
        )
    if value.get("error"):
        raise ServerAnswerError(f"{url} answered 200 with an error: {quote(error_text(text))}.", text)
    return value


def parse_models(payload: Json, url: str) -> list[str]:
    """Return the ids in the reply of ``GET /v1/models``, in the server's order.

    Raises:
        ServerAnswerError: the reply is no list of models.
    """
    data = payload.get("data")
    if not isinstance(data, list) or not all(
        isinstance(m, dict) and isinstance(m.get("id"), str) for m in data
    ):
        raw = json.dumps(payload)
        raise ServerAnswerError(f"{url} must list models as data[].id, got {quote(raw)}.", raw)
    return [model["id"] for model in data]


def parse_chat(payload: Json) -> ChatReply:
    """Return the first choice of a chat completion, with thought and answer kept apart.

    Raises:
        ServerAnswerError: no choice, no text, or a refusal of the model's provider.
    """
    raw = json.dumps(payload, ensure_ascii=False)
    choice = _first_choice(payload, raw)
    message = choice.get("message") if choice is not None else None
    if choice is None or not isinstance(message, dict):
        raise ServerAnswerError(f"a chat answer must have choices[0].message, got {quote(raw)}.", raw)
    content = _content(message, "a chat answer", raw)
    return ChatReply(content, _thought(message), choice.get("finish_reason"), _usage(payload))


def parse_delta(event: Json) -> Delta:
    """Read one event of a streamed chat completion.

    Raises:
        ServerAnswerError: the event is an error, or has not the shape of a chunk.
    """
    raw = json.dumps(event, ensure_ascii=False)
    if event.get("error"):
        raise ServerAnswerError(f"the server broke off its answer: {quote(error_text(raw))}.", raw)
    choice = _first_choice(event, raw)
    if choice is None:  # the piece that carries only the usage
        return Delta(usage=_usage(event))
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        raise ServerAnswerError(f"a streamed piece must have choices[0].delta, got {quote(raw)}.", raw)
    content = _content(delta, "a streamed piece", raw)
    return Delta(content, _thought(delta), choice.get("finish_reason"), _usage(event))


def _first_choice(payload: Json, raw: str) -> Json | None:
    choices = payload.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ServerAnswerError(f"a chat answer must have a list of choices, got {quote(raw)}.", raw)
    return choices[0] if choices else None


def _content(message: Json, kind: str, raw: str) -> str:
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        raise ServerAnswerError(f"the model refused: {quote(message['refusal'])}.", raw)
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise ServerAnswerError(f"the content of {kind} must be text, got {quote(raw)}.", raw)
    return content or ""


def _thought(message: Json) -> str:
    # vLLM renamed reasoning_content to reasoning; other servers keep the old name.
    thought = message.get("reasoning") or message.get("reasoning_content")
    return thought if isinstance(thought, str) else ""


def _usage(payload: Json) -> dict[str, int]:
    usage = payload.get("usage")
    return {k: v for k, v in usage.items() if isinstance(v, int)} if isinstance(usage, dict) else {}


# ----------------------------------------------------------------------------- server-sent events


class EventReader:
    """Reads server-sent events as JSON objects from chunks cut anywhere.

    Attributes:
        at_end: whether ``[DONE]`` was seen; nothing after it is read.
    """

    def __init__(self, url: str) -> None:
        """Start a stream; `url` is only for messages."""
        self.at_end = False
        self._has_finished = False  # an event gave the reason why the answer ended
        self._url = url
        self._tail: list[bytes] = []  # pieces of the line that has not ended
        self._data: list[bytes] = []  # lines of the event that has not ended
        self._data_bytes = 0
        self._tail_bytes = 0
        self._last = ""

    def feed(self, chunk: bytes) -> list[Json]:
        """Return the events that this chunk completes.

        Raises:
            ServerAnswerError: an event is no JSON object, or longer than `MOST_EVENT_BYTES`.
        """
        events: list[Json] = []
        for line in self._lines(chunk):
            if self.at_end:
                break
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._data_bytes += len(line)
            elif not line and self._data:
                events.extend(self._event(b"\n".join(self._data)))
                self._data, self._data_bytes = [], 0
            # Comments (":"), "event:", "id:" and "retry:" carry nothing for us.
        if self._data_bytes + self._tail_bytes > MOST_EVENT_BYTES:
            raise ServerAnswerError(
                f"{self._url} must end an event within {MOST_EVENT_BYTES} bytes, got a longer one.",
                self._last,
            )
        return events

    def _lines(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes; pieces of one line are joined once, at its end."""
        if self._tail and self._tail[-1].endswith(b"\r"):
            half = self._tail.pop()
            self._tail_bytes -= len(half)
            chunk = half + chunk
        lines = re.split(rb"\r\n|\n|\r", chunk)
        rest = lines.pop()
        if not rest and chunk.endswith(b"\r"):
            # Perhaps half of a CRLF: keep the line until the next byte decides.
            rest = lines.pop() + b"\r"
        if lines:
            lines[0] = b"".join([*self._tail, lines[0]])
            self._tail, self._tail_bytes = [], 0
        if rest:
            self._tail.append(rest)
        self._tail_bytes += len(rest)
        return lines

    def finish(self) -> None:
        """End the stream: no chunk follows.

        Some servers (`transformers serve`) send no ``[DONE]``: one with a ``finish_reason`` is whole, too.

        Raises:
            ServerAnswerError: neither was seen.
        """
        tail = b"".join(self._tail).removeprefix(b"data:").strip()
        if [tail, *self._data][-1] == b"[DONE]":
            self.at_end = True  # the blank line after it is missing; nothing of the answer is
        if not self.at_end and not self._has_finished:
            raise ServerAnswerError(
                f"{self._url} ended its stream without [DONE] or finish_reason; the answer may be cut off. "
                f"Last event: {quote(self._last)}. Look at the server's log.",
                self._last,
            )

    def _event(self, data: bytes) -> list[Json]:
        if data.strip() == b"[DONE]":
            self.at_end = True
            return []
        self._last = data.decode("utf-8", errors="replace")
        try:
            event = load_json(self._last)
        except (ValueError, RecursionError) as error:
            raise ServerAnswerError(
                f"{self._url} streamed an event that is not JSON ({error}): {quote(self._last)}.", self._last
            ) from error
        if not isinstance(event, dict):
            raise ServerAnswerError(
                f"{self._url} must stream JSON objects, got {quote(self._last)}.", self._last
            )
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            self._has_finished |= isinstance(choice, dict) and bool(choice.get("finish_reason"))
        return [event]


# ------------------------------------------------------------------------------------------- errors


def status_error(
    url: str, status: int, reason: str, body: str, location: str | None = None
) -> ServerStatusError:
    """Return the error of a status that is not 200: the server's message, then the remedy."""
    words = quote(error_text(body)) if body.strip() else "(empty body)"
    remedy = _remedy(url, status, body, location)
    return ServerStatusError(
        f"{url} answered {status} {reason}".rstrip() + f": {words}. {remedy}", status, body[:BODY_KEPT]
    )


def _remedy(url: str, status: int, body: str, location: str | None) -> str:
    path = next((path for path in VLLM_PATHS if url.endswith(path)), "")
    if path and status in (404, 405) and "model" not in body.lower():
        return f"Only vLLM has {path}: this needs a server of vLLM. {VLLM_PATHS[path]}"
    if 300 <= status < 400:
        return f"Redirects are not followed (they could carry a key elsewhere). Give the new URL: {location}."
    remedies = {
        400: "The server refuses this request. Ask for less if it is too long.",
        401: "Pass api_key=... or set MMRAG_API_KEY.",
        403: "Pass an api_key that may use this model, or set MMRAG_API_KEY.",
        404: "Check the model name and base_url; ServerClient(base_url).models() lists what is served.",
        405: "Check base_url: nothing takes requests there.",
        408: "The server gave up waiting. Try again.",
        413: "The request is too large. Send fewer or smaller page pictures.",
        422: (
            "The server does not know a part of this request. Send less: structured='none' leaves out "
            "response_format, max_tokens=None and temperature=None these two, images=False pictures; "
            "extra={...} must hold only what this server knows. Rerank modes but 'served' need vLLM."
        ),
        429: "Wait, or lower max_concurrency.",
    }
    if status >= 500:
        return "Look at the server's log."
    return remedies.get(status, "Check the request and base_url.")


def error_text(body: str) -> str:
    """Return the message of a JSON error, the title of an HTML page, or else the body itself."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        title = re.search(r"<title[^<>]*>([^<]*)</title>", body, re.IGNORECASE)
        return f"an HTML page, {title.group(1).strip()}" if title else body
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def quote(text: str) -> str:
    """Return the start of a text in quotation marks, each run of white space as one space."""
    line = " ".join(text.split())
    return repr(line if len(line) <= BODY_QUOTED else line[:BODY_QUOTED] + "…")


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds in a ``Retry-After`` header, a number or an HTTP date; None without one."""
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        if when.tzinfo is None:
            when = when.replace(tzinfo=timezone.utc)
        return max(0.0, (when - (now or datetime.now(timezone.utc))).total_seconds())
    except (TypeError, ValueError, OverflowError, IndexError):  # of dates that are none
        return None
