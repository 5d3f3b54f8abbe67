"""Answers written by a vision-language model behind an OpenAI-compatible URL, checked against the pages.

Nothing the model says is taken without a check. Decisions:

* The model sees at most `max_pages` pages, numbered [1]..[n]. A bracket with another number is no citation,
  nor is one that the page prints itself (`mmrag.serving.marks`): both become words, ``[ 12]``.
* A quote is looked for in the page's words and replaced by them, with their boxes and the block around
  them. A quote that the page lacks leaves its citation with ``kind="page"``, no quote, no boxes and a note
  that repeats it: the model may have read it off an image, but nothing we hold says so.
* What is missing is repaired where that is safe, and `Answer.note` says so; an answer that names no page
  has no citation and a note. An answer cut off in the middle is an error.
* Pages are renumbered in the order in which the answer names them, so that citations count from 1.
  Each cited page is one citation; several quotes of a page are joined by " … ".
* While streaming, the text of ``"answer"`` inside the JSON is shown as it arrives; the pieces joined
  are `Answer.text`. An error may come after pieces: only an `Answer` at the end is an answer.
"""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mmrag.answer import PageBlocks
from mmrag.answer.served.checked import AnswerReader
from mmrag.answer.served.request import answer_format, answer_messages
from mmrag.answer.served.shown import ShownPage, best_cuts, cut_out
from mmrag.errors import DocumentError, check_whole
from mmrag.images import Render
from mmrag.serving.actions import Actions, Call, Emit, aiterate, arun, iterate, run
from mmrag.serving.client import Json, ServerClient, parse_chat
from mmrag.serving.wire import parse_delta
from mmrag.types import Answer, Page, Query, Ranking, Usage

if TYPE_CHECKING:
    from PIL.Image import Image

OWN_KEYS = frozenset({"model", "messages", "stream", "stream_options", "response_format"})
NO_PAGES = "No page was found that could answer the question."


class ServedAnswerer:
    """Answers from the best pages of a ranking, written by a served model.

    Args:
        base_url: the server, ``http://host:8000`` or ``http://host:8000/v1``.
        model: its name there; None if the server has just one.
        api_key: see `mmrag.serving.client.ServerClient`.
        max_pages: pages shown to the model, 1 to 99.
        image_pixels: largest area of a page image; larger ones are scaled down.
        images: send page images. False is for models that only read, and sends the text alone.
        max_tokens: most tokens of an answer, thought included; None leaves it to the server.
        temperature: None leaves it to the server.
        timeout: seconds an answer may take in all.
        max_retries: see `mmrag.serving.client.ServerClient`.
        structured: ``"json_schema"`` makes the server hold the model to the answer's shape;
            ``"none"`` only asks the model, for servers that refuse ``response_format``.
        tables: ``"cells"`` shows tables as rows of cells, ``"text"`` as the plain text of the page.
        crops: most figures and tables named by the question that are shown enlarged beside their page; none
            are without `images`.
        render: draws a page at a pixel budget; needed for images of pages that carry none.
        blocks: returns a page's structure, for cells, crops and the areas of citations. `mmrag.DocumentQA`
            sets its own `render` and `blocks` if these are None.
        extra: further keys of the request, for example
            ``{"chat_template_kwargs": {"enable_thinking": False}}``.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> answerer = ServedAnswerer("http://127.0.0.1:8000", max_pages=2)
        >>> qa.ask("Who chairs the board?", answerer=answerer).text  # doctest: +SKIP
        'Ingrid Thorne does [1].'
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        max_pages: int = 4,
        image_pixels: int = 1_000_000,
        images: bool = True,
        max_tokens: int | None = 1024,
        temperature: float | None = 0.0,
        timeout: float = 300.0,
        max_retries: int = 2,
        structured: str = "json_schema",
        tables: str = "cells",
        crops: int = 2,
        render: Render | None = None,
        blocks: PageBlocks | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if max_tokens is not None:
            check_whole("max_tokens", max_tokens, hint="None leaves it to the server.")
        if structured not in ("json_schema", "none"):
            raise ValueError(f"structured must be 'json_schema' or 'none', got {structured!r}.")
        if tables not in ("cells", "text"):
            raise ValueError(f"tables must be 'cells' or 'text', got {tables!r}.")
        own_keys = sorted(OWN_KEYS & set(extra or {}))
        if own_keys:
            raise ValueError(f"extra must not set {', '.join(own_keys)}: these are set by other arguments.")
        self.client = ServerClient(
            base_url, model=model, api_key=api_key, timeout=timeout, max_retries=max_retries
        )
        self.max_pages = check_whole("max_pages", max_pages, 1, 99)
        self.image_pixels = check_whole("image_pixels", image_pixels, 1024)
        self.images = images
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.structured = structured
        self.tables = tables
        self.crops = check_whole("crops", crops, 0)
        self.render = render
        self.blocks = blocks
        self.extra = dict(extra or {})

    def __repr__(self) -> str:
        return f"ServedAnswerer({self.client.base_url!r}, {self.client.model!r}, images={self.images})"

    def with_render(self, render: Render) -> ServedAnswerer:
        """Return a copy with the same client that draws pages by `render`."""
        twin = copy.copy(self)
        twin.render = render
        return twin

    def with_blocks(self, blocks: PageBlocks) -> ServedAnswerer:
        """Return a copy with the same client that reads structure by `blocks`."""
        twin = copy.copy(self)
        twin.blocks = blocks
        return twin

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """Answer a question from the first `max_pages` candidates.

        Raises:
            ServerError: the server fails, or its reply breaks a rule of this module.
            ValueError: a page has no image and there is no `render` to draw one.
            PageError: a page cannot be rendered.
        """
        return run(self._answer(query, ranking))

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """Run `answer` without blocking the event loop."""
        return await arun(self._answer(query, ranking))

    def stream(self, query: Query, ranking: Ranking) -> Generator[str | Answer, None, None]:
        """Yield pieces of the text as they come, then the `Answer`, whose text they are.

        Raises:
            ServerError: as `answer`, perhaps after pieces; the text shown is then not an answer.
        """
        return iterate(self._stream(query, ranking))

    def astream(self, query: Query, ranking: Ranking) -> AsyncGenerator[str | Answer, None]:
        """Run `stream` without blocking the event loop."""
        return aiterate(self._stream(query, ranking))

    def _answer(self, query: Query, ranking: Ranking) -> Actions[Answer]:
        job: _Job = yield Call(partial(self._prepare, query, ranking))
        if not ranking.candidates:
            return job.abstention()
        reply = parse_chat((yield from self.client.complete(job.body)))
        job.read(reply.content, reply.finish_reason, reply.usage)
        answer: Answer = yield Call(job.result)
        return answer

    def _stream(self, query: Query, ranking: Ranking) -> Actions[None]:
        job: _Job = yield Call(partial(self._prepare, query, ranking))
        if not ranking.candidates:
            yield Emit(NO_PAGES)
            yield Emit(job.abstention())
            return
        yield from self.client.emit_completion(job.body, job.read_event)
        for value in (yield Call(job.ending)):
            yield Emit(value)

    def _prepare(self, query: Query, ranking: Ranking) -> _Job:
        """Render the pages and write the request, which takes time before the server has work."""
        start = time.monotonic()
        cells = self.tables == "cells"
        pages = [
            ShownPage(candidate, self.blocks, cells=cells)
            for candidate in ranking.candidates[: self.max_pages]
        ]
        pictures = self._pictures(query, pages) if self.images else None
        body: Json = {"messages": answer_messages(query, pages, pictures, self.image_pixels), **self.extra}
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.structured == "json_schema":
            body["response_format"] = answer_format(len(pages))
        return _Job(body, ranking, AnswerReader(pages, self.max_tokens), time.monotonic() - start)

    def _pictures(self, query: Query, pages: Sequence[ShownPage]) -> dict[int, list[Image]]:
        """Return by number each page's picture, and behind it the figures on it that the question names."""
        pictures: dict[int, list[Image]] = {}
        for number, page in enumerate(pages, start=1):
            if page.page is None:
                continue
            try:
                pictures[number] = [self._image(page.page)]
            except DocumentError as error:  # its text is in the index, and is shown without a picture
                page.note = f"No picture of [{number}] for the model ({error})"
        if self.render is not None:
            for number, block in best_cuts(query.text or "", pages, self.crops):
                if number in pictures:
                    picture = cut_out(pages[number - 1], block, self.render, self.image_pixels)
                    pictures[number].append(picture)
        return pictures

    def _image(self, page: Page) -> Image:
        if page.image is not None:
            return page.image
        if self.render is None:
            raise ValueError(
                f"page {page.id!r} must have a picture or the answerer a render function, got neither. "
                "Pass render=..., or images=False for a model that reads text only."
            )
        return self.render(page, self.image_pixels)


@dataclass(slots=True)
class _Job:
    """One question under way: the request, and the reader of its reply."""

    body: Json
    ranking: Ranking
    reader: AnswerReader
    render_seconds: float  # spent on rendering and writing the request
    start: float = field(default_factory=time.monotonic)
    finish_reason: str | None = None
    token_counts: Mapping[str, int] = field(default_factory=dict)

    def abstention(self) -> Answer:
        """Return the answer to a ranking without candidates; the server gets no request."""
        usage = Usage({"render": self.render_seconds})
        return Answer(NO_PAGES, (), self.ranking, abstained=True, usage=usage)

    def read(self, content: str, finish_reason: str | None, token_counts: Mapping[str, int]) -> str:
        """Return the text to show after this piece of the reply."""
        self.finish_reason = finish_reason or self.finish_reason
        self.token_counts = token_counts or self.token_counts
        return self.reader.feed(content)

    def read_event(self, event: Json) -> list[str]:
        """Return what to show after this event of a streamed reply: at most one piece."""
        delta = parse_delta(event)
        piece = self.read(delta.content, delta.finish_reason, delta.usage)
        return [piece] if piece else []

    def ending(self) -> list[str | Answer]:
        """Return the text that was held back, if there is any, and the answer."""
        length = len(self.reader.text)
        answer = self.result()
        return [*filter(None, [answer.text[length:]]), answer]

    def result(self) -> Answer:
        """Return the checked answer; call it once, after the last piece."""
        reading = self.reader.finish(self.finish_reason)
        usage = Usage(
            {"render": self.render_seconds, "server": time.monotonic() - self.start},
            self.token_counts.get("prompt_tokens", 0),
            self.token_counts.get("completion_tokens", 0),
        )
        return Answer(
            reading.text, reading.citations, self.ranking, reading.abstained, usage, note=reading.note
        )
