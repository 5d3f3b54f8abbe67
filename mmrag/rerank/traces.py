"""Embedding-centric reasoning traces: what a model writes about a page or a question, once.

A trace is a think block and a short final part (Think-Then-Embed, arXiv 2510.05014): of a document a rich
description and then a summary, of a question a step-by-step reading and then a statement worded like its
answer. An embedder reads it together with the content; ``ecrr`` reads it instead of the picture. The prompts
are our own: the papers' are not public.

Decisions taken here:

* A document's trace is written at index time and stored in a folder of the index, one small file each, as
  soon as it arrives: after a crash the next run requests only the missing ones.
* A trace is found again by the content (source bytes and page number, text, or the picture), the prompt,
  the model and the settings. Nothing is rendered to find one. The server's address does not matter.
* `TraceWriter.fingerprint` is of the way of writing, not of the traces: it belongs in the fingerprint of an
  embedder that reads traces.
* A trace that ran into ``max_tokens`` is cut at its last whole sentence and marked. An empty trace is an
  error; only a document without text and picture has one, without a request.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmrag.errors import ServerError, check_whole
from mmrag.images import data_url
from mmrag.rerank.trace_text import Trace, read_trace
from mmrag.serving.actions import Actions, Call, arun, run
from mmrag.serving.chat import SMALLEST_PICTURE, message_content, text_part
from mmrag.serving.client import Json, ServerClient, parse_chat
from mmrag.serving.escaping import as_data
from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import Batch, ReplyCache, Request, Requests, Runner
from mmrag.types import Candidate, Page, Query, Record, Usage

__all__ = ["Trace", "TraceWriter", "read_trace"]

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.images import Render

Side = Literal["document", "query"]

Document: TypeAlias = "str | Page | Record | Candidate | Any"
"""Also a PIL image, or anything with a ``text`` and an ``image`` such as `mmrag.embedders.base.Content`."""

RESERVED_KEYS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "temperature"})
FORMAT = 1  # of the stored files; part of their keys


class TraceWriter:
    """Has a served model write traces, and stores them. Safe to share between threads.

    Args:
        base_url: the server, with or without ``/v1``.
        model: its name at the server; None if the server has just one.
        api_key: see `mmrag.serving.client.ServerClient`.
        max_tokens: most tokens of a trace, thought included.
        temperature: 0 makes a trace repeatable.
        images: show pictures. False for models that only read text.
        image_pixels: largest area of a picture.
        text_chars: most characters of a document's text. None: all.
        prompts: a folder with prompts of your own; see `mmrag.serving.prompts`.
        cache: folder of the stored traces, usually ``traces`` in that of the index; None stores none.
        render: draws a page at a pixel budget; needed for pictures of pages that carry none.
        timeout, max_retries, max_concurrency: see `mmrag.serving.client.ServerClient`.
        extra: further keys of the request, for example
            ``{"chat_template_kwargs": {"enable_thinking": True}}``.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        images: bool = True,
        image_pixels: int = 1_000_000,
        text_chars: int | None = 8000,
        prompts: str | Path | None = None,
        cache: str | Path | None = None,
        render: Render | None = None,
        timeout: float = 300.0,
        max_retries: int = 2,
        max_concurrency: int = 8,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if temperature < 0:
            raise ValueError(f"temperature must be at least 0, got {temperature!r}.")
        extra_keys = sorted(RESERVED_KEYS & set(extra or {}))
        if extra_keys:
            raise ValueError(f"extra must not set {', '.join(extra_keys)}: these are set by other arguments.")
        self.max_tokens = check_whole("max_tokens", max_tokens)
        self.temperature = temperature
        self.images = images
        self.image_pixels = check_whole("image_pixels", image_pixels, SMALLEST_PICTURE)
        self.text_chars = None if text_chars is None else check_whole("text_chars", text_chars)
        self.prompts = Prompts(prompts)
        self.cache = None if cache is None else ReplyCache(cache)
        self.render = render
        self.extra = dict(extra or {})
        self.client = ServerClient(
            base_url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            max_concurrency=max_concurrency,
        )

    def __repr__(self) -> str:
        folder = None if self.cache is None else str(self.cache.folder)
        return f"TraceWriter({self.client.base_url!r}, {self.client.model!r}, cache={folder!r})"

    def with_render(self, render: Render) -> TraceWriter:
        """Return a copy with the same client and cache that draws pages by `render`."""
        twin = copy.copy(self)
        twin.render = render
        return twin

    @property
    def fingerprint(self) -> str:
        """Digest of the way of writing: prompts, model, `max_tokens` and the other settings.

        Raises:
            ServerError: no model was named, and the server has not just one or cannot be reached.
        """
        return _digest({side: self._recipe(side) for side in ("document", "query")})[:16]

    # ---- writing -----------------------------------------------------------------------------------

    def write_documents(self, documents: Sequence[Document]) -> list[Trace]:
        """Return a trace for each document, in order; stored ones are read from disk.

        Args:
            documents: texts, pages, records, candidates, pictures, or objects with a text and an image.

        Raises:
            ServerError: the server failed or gave a reply that is no trace. Traces written before are kept.
            ValueError: a page has no picture and `render` is None.
            PageError: a page cannot be rendered.
        """
        return run(self._write([_document_content(document) for document in documents], "document"))

    def write_queries(self, queries: Sequence[str | Query]) -> list[Trace]:
        """Return a trace for each query, in order; raises as `write_documents`."""
        return run(self._write([_query_content(query) for query in queries], "query"))

    async def awrite_documents(self, documents: Sequence[Document]) -> list[Trace]:
        """Run `write_documents` without blocking the event loop."""
        return await arun(self._write([_document_content(document) for document in documents], "document"))

    async def awrite_queries(self, queries: Sequence[str | Query]) -> list[Trace]:
        """Run `write_queries` without blocking the event loop."""
        return await arun(self._write([_query_content(query) for query in queries], "query"))

    def think_documents(self, documents: Sequence[Document]) -> list[str]:
        """Return the texts of the documents' traces, as an embedder reads them."""
        return [trace.text for trace in self.write_documents(documents)]

    def think_queries(self, queries: Sequence[str | Query]) -> list[str]:
        """Return the texts of the queries' traces, as an embedder reads them."""
        return [trace.text for trace in self.write_queries(queries)]

    # ---- for modes ---------------------------------------------------------------------------------

    def document_requests(self, document: Document) -> Callable[[], Requests[Trace]]:
        """Return a factory of generators that request a document's trace; see `query_requests`."""
        return self._shared_requests(_document_content(document), "document")

    def query_requests(self, query: str | Query) -> Callable[[], Requests[Trace]]:
        """Return a factory of generators that request a query's trace from this writer's server.

        Disk is read and pages are rendered now, before any generator runs. Generators of one run that want
        the same trace share one request.
        """
        return self._shared_requests(_query_content(query), "query")

    def _shared_requests(self, content: _Content, side: Side) -> Callable[[], Requests[Trace]]:
        key = self._key(content, side)
        trace = self._load(key, content)
        body = self._body(content, side) if trace is None else {}

        def requests() -> Requests[Trace]:
            if trace is not None:
                return trace
            return (yield from self._request(key, body, shared=True))

        return requests

    # ---- the work ----------------------------------------------------------------------------------

    def _write(self, contents: Sequence[_Content], side: Side) -> Actions[list[Trace]]:
        keys = yield Call(lambda: [self._key(content, side) for content in contents])
        unique = dict(zip(keys, contents, strict=True))  # equal contents share one trace
        gate = _Gate()
        work = [self._lazy_requests(key, content, side, gate) for key, content in unique.items()]
        results = yield Batch(Runner(self.client), work)
        traces = dict(zip(unique, map(_check_result, results), strict=True))
        return [traces[key] for key in keys]

    def _lazy_requests(self, key: str, content: _Content, side: Side, gate: _Gate) -> Requests[Trace]:
        """Request a trace; nothing is read or rendered before its turn, since there may be thousands."""
        with gate:
            trace = self._load(key, content)
            if trace is not None:
                return trace
            return (yield from self._request(key, self._body(content, side)))

    def _request(self, key: str, body: Json, *, shared: bool = False) -> Requests[Trace]:
        reply = yield Request("chat/completions", body, cached=False, client=self.client, shared=shared)
        trace = read_trace(parse_chat(reply), self.max_tokens)
        self._store(key, trace)
        return trace

    def _body(self, content: _Content, side: Side) -> Json:
        parts: list[Json] = []
        if self.images and (picture := self._picture(content)) is not None:
            parts.append({"type": "image_url", "image_url": {"url": data_url(picture, self.image_pixels)}})
        texts = [_block("instruction", content.instruction), _block(side, self._cut(content.text))]
        parts.append(text_part("\n\n".join(text for text in texts if text)))
        return {
            "messages": [
                {"role": "system", "content": self.prompts.text(f"trace_{side}")},
                {"role": "user", "content": message_content(parts)},
            ],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            **self.extra,
        }

    def _picture(self, content: _Content) -> Image | None:
        if content.image is not None or content.page is None:
            return content.image
        if self.render is None:
            raise ValueError(
                f"page {content.page.id!r} must have a picture or the trace writer a render function, got "
                "neither. Pass render=..., or images=False for a model that reads text only."
            )
        return self.render(content.page, self.image_pixels)

    def _cut(self, text: str) -> str:
        if self.text_chars is None or len(text) <= self.text_chars:
            return text
        return f"{text[: self.text_chars]}\n[text cut after {self.text_chars} of {len(text)} characters]"

    # ---- stored traces -----------------------------------------------------------------------------

    def _recipe(self, side: Side) -> Json:
        """Return everything that changes the trace of a given content."""
        return {
            "format": FORMAT,
            "prompt": self.prompts.text(f"trace_{side}"),
            "model": self.client.model_name(),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "image_pixels": self.image_pixels if self.images else None,
            "text_chars": self.text_chars,
            "extra": self.extra,
        }

    def _key(self, content: _Content, side: Side) -> str:
        return _digest([self._recipe(side), content.identity(self.images)])

    def _load(self, key: str, content: _Content) -> Trace | None:
        """Return the stored trace, the empty one of an empty content, or None."""
        has_picture = self.images and (content.image is not None or content.page is not None)
        if not content.text.strip() and not has_picture:
            return Trace("", "")
        data = None if self.cache is None else self.cache.get(key)
        if data is None or not all(isinstance(data.get(part), str) for part in ("thought", "final")):
            return None
        return Trace(data["thought"], data["final"], data.get("cut") is True, Usage(cache_hits=1))

    def _store(self, key: str, trace: Trace) -> None:
        if self.cache is not None:
            self.cache.put(key, {"thought": trace.thought, "final": trace.final, "cut": trace.cut})


@dataclass(frozen=True, slots=True)
class _Content:
    """A content to write about: its text, its picture or the page to draw it from."""

    text: str
    image: Image | None = None
    page: Page | None = None
    instruction: str = ""

    def identity(self, images: bool) -> list[object]:
        """Return what distinguishes this content; a page's picture follows from its file and number."""
        words = [_digest(self.text), _digest(self.instruction)]
        if not images or (self.image is None and self.page is None):
            return ["text", *words]
        if self.page is not None and self.page.source.sha256:
            return ["page", self.page.source.sha256, self.page.number, *words]
        if self.image is None:
            raise ValueError(
                f"page {self.page.id if self.page else ''!r} must have the sha256 of its file or a picture, "
                "got neither: its trace could not be found again."
            )
        pixels = hashlib.sha256(self.image.tobytes()).hexdigest()
        return ["image", self.image.mode, list(self.image.size), pixels, *words]


def _document_content(document: Document) -> _Content:
    if isinstance(document, Candidate):
        document = document.record
    if isinstance(document, Record):
        document = document.page or document.text
    if isinstance(document, str):
        return _Content(document)
    if isinstance(document, Page):
        return _Content(document.text, document.image, document)
    if hasattr(document, "getpixel"):  # a PIL image; recognised without importing Pillow
        return _Content("", document)
    if isinstance(getattr(document, "text", None), str) and hasattr(document, "image"):
        return _Content(document.text, document.image)
    raise TypeError(
        "a document must be a text, Page, Record, Candidate, picture, or have a text and an image, "
        f"got {type(document).__name__}."
    )


def _query_content(query: str | Query) -> _Content:
    if isinstance(query, str):
        query = Query(text=query)
    return _Content(query.text or "", query.image, instruction=query.instruction or "")


class _Gate:
    """Closes at the first failure, so that a server that is down does not get a thousand requests."""

    def __init__(self) -> None:
        self._is_closed = False

    def __enter__(self) -> None:
        if self._is_closed:
            raise ServerError("not requested, since another trace of the same call failed.")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_closed = self._is_closed or kind is not None


def _check_result(pair: tuple[Trace | ServerError, Usage]) -> Trace:
    """Return a trace with its usage, or raise the error that came in its place."""
    result, usage = pair
    if isinstance(result, ServerError):
        raise result
    return replace(result, usage=result.usage + usage)


def _block(name: str, text: str) -> str:
    """Put a text between markers that it cannot close."""
    return f"<{name}>\n{as_data(text)}\n</{name}>" if text.strip() else ""


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
