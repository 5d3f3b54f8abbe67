"""Embedding-centric reasoning traces: what a model has to say of a page or a question, written once.

A trace is a think block and a short final part (Think-Then-Embed, arXiv 2510.05014): of a document a rich
description and then a summary, of a question a step-by-step reading and then a statement worded like its
answer. An embedder reads it beside the content; ``ecrr`` reads it instead of the picture. The prompts are
our own: the papers' are not public.

Decisions taken here:

* A document's trace is written at index time and kept in a folder beside the index, one small file each,
  the moment it comes: after a crash the next run asks only for what is missing.
* A trace is found again by the content (source bytes and page number, text, or the picture), the prompt,
  the model and the settings. Nothing is rendered to find one. The server's address does not matter.
* `TraceWriter.fingerprint` tells the way of writing, not what was written: it belongs in the fingerprint
  of an embedder that reads traces.
* A trace that ran into ``max_tokens`` is cut at its last whole sentence and says so. An empty one is an
  error, but a document without text and picture is not asked about and has an empty trace.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mmrag.errors import ServerError
from mmrag.images import data_url
from mmrag.rerank.trace_text import Trace, read_trace
from mmrag.serving.chat import as_data, message_content, text_part
from mmrag.serving.client import Json, ServerClient, parse_chat
from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import ReplyCache, Request, Requests, Runner
from mmrag.types import Candidate, Page, Query, Record, Usage

__all__ = ["Trace", "TraceWriter", "read_trace"]

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.images import Render

Side = Literal["document", "query"]

Document: TypeAlias = "str | Page | Record | Candidate | Any"
"""Also anything with a ``text`` and an ``image``, as `mmrag.Content` has, or a PIL image."""

OWN_KEYS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "temperature"})
FORMAT = 1  # of the stored files; another one is another way of writing


class TraceWriter:
    """Has traces written by a served model, and keeps them. Safe to share between threads.

    Args:
        base_url: the server, with or without ``/v1``.
        model: its name there; None where the server has just one, which is then asked for.
        api_key: see `mmrag.serving.client.ServerClient`.
        max_tokens: most tokens of a trace, thought included.
        temperature: 0 makes a trace repeatable.
        images: show pictures. False is for models that only read.
        image_pixels: largest area of a picture.
        text_chars: most characters of a document's text; more are cut off. None cuts nothing.
        prompts: a folder with prompts of one's own; see `mmrag.serving.prompts`.
        cache: the folder that keeps the traces, as a rule ``traces`` in the index's; None keeps none.
        render: draws a page at a pixel budget; needed for pictures of pages that carry none.
        timeout, max_retries, max_concurrency: see `mmrag.serving.client.ServerClient`.
        extra: further keys of the request, for example
            ``{"chat_template_kwargs": {"enable_thinking": True}}``.

    Raises:
        ValueError: an argument out of its range.
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
        prompts: str | Path | Prompts | None = None,
        cache: str | Path | None = None,
        render: Render | None = None,
        timeout: float = 300.0,
        max_retries: int = 2,
        max_concurrency: int = 8,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens!r}.")
        if temperature < 0:
            raise ValueError(f"temperature must be at least 0, got {temperature!r}.")
        if image_pixels < 1024:
            raise ValueError(f"image_pixels must be at least 1024, got {image_pixels!r}.")
        if text_chars is not None and text_chars < 1:
            raise ValueError(f"text_chars must be at least 1, got {text_chars!r}. None cuts nothing.")
        owned = sorted(OWN_KEYS & set(extra or {}))
        if owned:
            raise ValueError(f"extra must not set {', '.join(owned)}: these are set by other arguments.")
        self.client = ServerClient(
            base_url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            max_concurrency=max_concurrency,
        )
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.images = images
        self.image_pixels = image_pixels
        self.text_chars = text_chars
        self.prompts = prompts if isinstance(prompts, Prompts) else Prompts(prompts)
        self.cache = None if cache is None else ReplyCache(cache)
        self.render = render
        self.extra = dict(extra or {})

    def __repr__(self) -> str:
        kept = None if self.cache is None else str(self.cache.folder)
        return f"TraceWriter({self.client.base_url!r}, {self.client.model!r}, cache={kept!r})"

    def with_render(self, render: Render) -> TraceWriter:
        """A copy with the same client and cache that draws pages by `render`."""
        twin = copy.copy(self)
        twin.render = render
        return twin

    @property
    def fingerprint(self) -> str:
        """Digest of the way of writing: prompts, model, `max_tokens` and the other settings.

        Raises:
            ServerError: no model was named, and the server cannot be asked or has not just one.
        """
        return _digest({side: self._way(side) for side in ("document", "query")})[:16]

    # ---- writing -----------------------------------------------------------------------------------

    def write_documents(self, documents: Sequence[Document]) -> list[Trace]:
        """A trace for each document, in order; those that are kept already are read from disk.

        Args:
            documents: texts, pages, records, candidates, pictures, or what has a text and an image.

        Raises:
            ServerError: the server, or an answer, is not as it must be. Traces that came are kept.
            ValueError: a page has no picture and there is no `render` to draw one.
            PageError: a page cannot be rendered.
        """
        return self._write([self._item(one) for one in documents], "document")

    def write_queries(self, queries: Sequence[str | Query]) -> list[Trace]:
        """A trace for each query, in order; raises as `write_documents`."""
        return self._write([_query_item(one) for one in queries], "query")

    async def awrite_documents(self, documents: Sequence[Document]) -> list[Trace]:
        """`write_documents` without blocking the event loop."""
        return await self._awrite([self._item(one) for one in documents], "document")

    async def awrite_queries(self, queries: Sequence[str | Query]) -> list[Trace]:
        """`write_queries` without blocking the event loop."""
        return await self._awrite([_query_item(one) for one in queries], "query")

    def think_documents(self, documents: Sequence[Document]) -> list[str]:
        """The traces' texts, as an embedder reads them."""
        return [trace.text for trace in self.write_documents(documents)]

    def think_queries(self, queries: Sequence[str | Query]) -> list[str]:
        """The traces' texts, as an embedder reads them."""
        return [trace.text for trace in self.write_queries(queries)]

    async def athink_documents(self, documents: Sequence[Document]) -> list[str]:
        """`think_documents` without blocking the event loop."""
        return [trace.text for trace in await self.awrite_documents(documents)]

    async def athink_queries(self, queries: Sequence[str | Query]) -> list[str]:
        """`think_queries` without blocking the event loop."""
        return [trace.text for trace in await self.awrite_queries(queries)]

    # ---- for modes ---------------------------------------------------------------------------------

    def prepared_document(self, document: Document) -> Callable[[], Requests[Trace]]:
        """What makes generators of a document's trace, for some runner to run; see `prepared_query`."""
        return self._prepared(self._item(document), "document")

    def prepared_query(self, query: str | Query) -> Callable[[], Requests[Trace]]:
        """What makes generators of a query's trace; they ask this writer's server, whoever runs them.

        What can be done without the server is done now: reading from disk, rendering. Generators of one
        run that want the same trace share one request.
        """
        return self._prepared(_query_item(query), "query")

    def _prepared(self, item: _Item, side: Side) -> Callable[[], Requests[Trace]]:
        key = self._key(item, side)
        kept = self._kept(key, item)
        body = None if kept is not None else self._request(item, side)

        def steps() -> Requests[Trace]:
            if kept is not None:
                return kept
            reply = yield Request("chat/completions", body, cached=False, client=self.client, shared=True)
            trace = read_trace(parse_chat(reply), self.max_tokens)
            self._keep(key, trace)
            return trace

        return steps

    # ---- the work ----------------------------------------------------------------------------------

    def _write(self, items: Sequence[_Item], side: Side) -> list[Trace]:
        keys = [self._key(item, side) for item in items]
        unique = dict(zip(keys, items, strict=True))  # the same content twice is one trace
        gate = _Gate()
        steps = [self._lazy_steps(key, item, side, gate) for key, item in unique.items()]
        written = [_settled(pair) for pair in Runner(self.client).run(steps)]
        by_key = dict(zip(unique, written, strict=True))
        return [by_key[key] for key in keys]

    def _lazy_steps(self, key: str, item: _Item, side: Side, gate: _Gate) -> Requests[Trace]:
        """As `_steps`, but nothing is read or rendered before its turn: there may be thousands."""
        with gate:
            kept = self._kept(key, item)
            if kept is not None:
                return kept
            reply = yield Request("chat/completions", self._request(item, side), cached=False)
            trace = read_trace(parse_chat(reply), self.max_tokens)
            self._keep(key, trace)
            return trace

    async def _awrite(self, items: Sequence[_Item], side: Side) -> list[Trace]:
        if items:
            await self.client.amodel_name()  # so that `_key` need not ask for it
        keys = await asyncio.to_thread(lambda: [self._key(item, side) for item in items])
        unique = dict(zip(keys, items, strict=True))
        slots = asyncio.Semaphore(self.client.max_concurrency)
        tasks = [asyncio.ensure_future(self._aone(key, unique[key], side, slots)) for key in unique]
        try:
            by_key = dict(zip(unique, await asyncio.gather(*tasks), strict=True))
        except BaseException:  # ask nothing more
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        return [by_key[key] for key in keys]

    async def _aone(self, key: str, item: _Item, side: Side, slots: asyncio.Semaphore) -> Trace:
        async with slots:
            kept = await asyncio.to_thread(self._kept, key, item)
            if kept is not None:
                return kept
            body = await asyncio.to_thread(self._request, item, side)

            def steps() -> Requests[Trace]:
                reply = yield Request("chat/completions", body, cached=False)
                return read_trace(parse_chat(reply), self.max_tokens)

            ((result, usage),) = await Runner(self.client).arun([steps()])
            trace = _settled((result, usage))
            await asyncio.to_thread(self._keep, key, trace)
            return trace

    def _request(self, item: _Item, side: Side) -> Json:
        parts: list[Json] = []
        if self.images and (picture := self._picture(item)) is not None:
            parts.append({"type": "image_url", "image_url": {"url": data_url(picture, self.image_pixels)}})
        texts = [_block("instruction", item.instruction), _block(side, self._cut(item.text))]
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

    def _picture(self, item: _Item) -> Image | None:
        if item.image is not None or item.page is None:
            return item.image
        if self.render is None:
            raise ValueError(
                f"page {item.page.id!r} must have a picture or the trace writer a render function, got "
                "neither. Pass render=..., or images=False for a model that reads text only."
            )
        return self.render(item.page, self.image_pixels)

    def _cut(self, text: str) -> str:
        if self.text_chars is None or len(text) <= self.text_chars:
            return text
        return f"{text[: self.text_chars]}\n[text cut after {self.text_chars} of {len(text)} characters]"

    # ---- finding again -----------------------------------------------------------------------------

    def _way(self, side: Side) -> Json:
        """All that changes what is written about a given content."""
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

    def _key(self, item: _Item, side: Side) -> str:
        return _digest([self._way(side), item.identity(self.images)])

    def _kept(self, key: str, item: _Item) -> Trace | None:
        if not item.text.strip() and not (self.images and (item.image is not None or item.page is not None)):
            return Trace("", "")  # there is nothing to write about
        stored = None if self.cache is None else self.cache.get(key)
        if stored is None or not all(isinstance(stored.get(part), str) for part in ("thought", "final")):
            return None
        return Trace(stored["thought"], stored["final"], stored.get("cut") is True, Usage(cache_hits=1))

    def _keep(self, key: str, trace: Trace) -> None:
        if self.cache is not None:
            self.cache.put(key, {"thought": trace.thought, "final": trace.final, "cut": trace.cut})

    def _item(self, document: Document) -> _Item:
        if isinstance(document, Candidate):
            document = document.record
        if isinstance(document, Record):
            document = document.page or document.text
        if isinstance(document, str):
            return _Item(document)
        if isinstance(document, Page):
            return _Item(document.text, document.image, document)
        if hasattr(document, "getpixel"):  # a PIL image; Pillow is not imported to find that out
            return _Item("", document)
        if isinstance(getattr(document, "text", None), str) and hasattr(document, "image"):
            return _Item(document.text, document.image)
        raise TypeError(
            "a document must be a text, Page, Record, Candidate, picture, or have a text and an image, "
            f"got {type(document).__name__}."
        )


@dataclass(frozen=True, slots=True)
class _Item:
    """A content to write about: its text, its picture or the page to draw it from."""

    text: str
    image: Image | None = None
    page: Page | None = None
    instruction: str = ""

    def identity(self, images: bool) -> list[object]:
        """What tells this content from others; a page's picture follows from its file and number."""
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


class _Gate:
    """Closes at the first failure, so that a server that is down is not asked a thousand times."""

    def __init__(self) -> None:
        self._failed = False

    def __enter__(self) -> None:
        if self._failed:
            raise ServerError("not asked for, since another trace of the same call failed.")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._failed = self._failed or kind is not None


def _settled(pair: tuple[Trace | ServerError, Usage]) -> Trace:
    result, usage = pair
    if isinstance(result, ServerError):
        raise result
    return replace(result, usage=result.usage + usage)


def _query_item(query: str | Query) -> _Item:
    if isinstance(query, str):
        query = Query(text=query)
    return _Item(query.text or "", query.image, instruction=query.instruction or "")


def _block(name: str, text: str) -> str:
    """A text between markers that it cannot close."""
    return f"<{name}>\n{as_data(text)}\n</{name}>" if text.strip() else ""


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
