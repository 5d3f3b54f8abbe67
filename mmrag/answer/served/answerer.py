"""Answers written by a vision-language model behind an OpenAI-compatible URL, checked against the pages.

What the model says is only taken where it can be checked. Decisions taken here:

* The model sees at most `max_pages` pages, numbered [1]..[n]. A marker or a citation with any other
  number is a `ServerAnswerError`: an invented source makes the answer worthless.
* A quote is looked for in the page's words and replaced by them, with their boxes. One that stands
  nowhere leaves its citation with ``kind="page"``, no quote, no boxes and a note that repeats it: the
  model may have read it off a picture, but nothing we hold says so.
* An answer that names no page at all is an error, an answer cut off at `max_tokens` too.
* Pages are renumbered in the order in which the answer names them, so that citations count from 1.
  Each cited page is one citation; several quotes of a page are joined by " … ".
* While streaming, what is shown is the text of ``"answer"`` inside the JSON that is coming; the pieces
  joined are `Answer.text`. An error may come after pieces: only an `Answer` at the end is an answer.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from mmrag.answer.served.checked import AnswerReader
from mmrag.images import Render, data_url
from mmrag.serving.client import ChatReply, Json, ServerClient, parse_chat
from mmrag.types import Answer, Candidate, Page, Query, Ranking, Usage

if TYPE_CHECKING:
    from PIL.Image import Image

OWN_KEYS = frozenset({"model", "messages", "stream", "stream_options", "response_format"})
NO_PAGES = "No page was found that could answer the question."


class ServedAnswerer:
    """Answers from the best pages of a ranking, written by a served model.

    Args:
        base_url: the server, ``http://host:8000`` or ``http://host:8000/v1``.
        model: its name there; None where the server has just one.
        api_key: see `mmrag.serving.client.ServerClient`.
        max_pages: pages shown to the model, 1 to 99.
        image_pixels: largest area of a page picture; larger ones are made smaller, smaller ones stay.
        images: send page pictures. False is for models that cannot see, and only the text is sent.
        page_chars: cut a page's text after so many characters and tell the model so; None cuts nothing.
        max_tokens: most tokens of an answer, thought included; None leaves it to the server.
        temperature: None leaves it to the server.
        timeout: seconds an answer may take in all.
        max_retries: see `mmrag.serving.client.ServerClient`.
        structured: ``"json_schema"`` makes the server hold the model to the answer's shape;
            ``"none"`` only asks the model, for servers that refuse ``response_format``.
        render: draws a page at a pixel budget; needed for pictures of pages that carry none.
            `mmrag.DocumentQA` gives its own to an answerer without.
        extra: further keys of the request, for example
            ``{"chat_template_kwargs": {"enable_thinking": False}}``.

    Raises:
        ValueError: an argument out of its range.
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
        page_chars: int | None = None,
        max_tokens: int | None = 1024,
        temperature: float | None = 0.0,
        timeout: float = 300.0,
        max_retries: int = 2,
        structured: str = "json_schema",
        render: Render | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not 1 <= max_pages <= 99:
            raise ValueError(f"max_pages must be 1 to 99, got {max_pages!r}.")
        if image_pixels < 1024:
            raise ValueError(f"image_pixels must be at least 1024, got {image_pixels!r}.")
        if page_chars is not None and page_chars < 1:
            raise ValueError(f"page_chars must be at least 1, got {page_chars!r}. None cuts nothing.")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(
                f"max_tokens must be at least 1, got {max_tokens!r}. None leaves it to the server."
            )
        if structured not in ("json_schema", "none"):
            raise ValueError(f"structured must be 'json_schema' or 'none', got {structured!r}.")
        owned = sorted(OWN_KEYS & set(extra or {}))
        if owned:
            raise ValueError(f"extra must not set {', '.join(owned)}: these are set by other arguments.")
        self.client = ServerClient(
            base_url, model=model, api_key=api_key, timeout=timeout, max_retries=max_retries
        )
        self.max_pages = max_pages
        self.image_pixels = image_pixels
        self.images = images
        self.page_chars = page_chars
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.structured = structured
        self.render = render
        self.extra = dict(extra or {})

    def __repr__(self) -> str:
        return f"ServedAnswerer({self.client.base_url!r}, {self.client.model!r}, images={self.images})"

    def with_render(self, render: Render) -> ServedAnswerer:
        """A copy with the same client that draws pages by `render`."""
        twin = copy.copy(self)
        twin.render = render
        return twin

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """Answer a question from the first `max_pages` candidates.

        Raises:
            ServerError: the server, or its answer, is not as it must be; see the module.
            ValueError: a page has no picture and there is no `render` to draw one.
            PageError: a page cannot be rendered.
        """
        ask = self._prepare(query, ranking)
        if ask.nothing:
            return ask.abstain()
        return ask.finish(parse_chat(self.client.chat(ask.body)))

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """`answer` without blocking the event loop."""
        ask = await asyncio.to_thread(self._prepare, query, ranking)
        if ask.nothing:
            return ask.abstain()
        return ask.finish(parse_chat(await self.client.achat(ask.body)))

    def stream(self, query: Query, ranking: Ranking) -> Generator[str | Answer, None, None]:
        """Pieces of the text as they come, then the `Answer`, whose text they are.

        Raises:
            ServerError: as `answer`, perhaps after pieces; what was shown is then not an answer.
        """
        ask = self._prepare(query, ranking)
        if ask.nothing:
            yield from ask.shown_at_once()
            return
        with closing(self.client.chat_stream(ask.body)) as deltas:
            for delta in deltas:
                if piece := ask.take(delta.content, delta.finish_reason, delta.usage):
                    yield piece
        yield from ask.ending()

    async def astream(self, query: Query, ranking: Ranking) -> AsyncGenerator[str | Answer, None]:
        """`stream` without blocking the event loop."""
        ask = await asyncio.to_thread(self._prepare, query, ranking)
        if ask.nothing:
            for piece_or_answer in ask.shown_at_once():
                yield piece_or_answer
            return
        async with aclosing(self.client.achat_stream(ask.body)) as deltas:
            async for delta in deltas:
                if piece := ask.take(delta.content, delta.finish_reason, delta.usage):
                    yield piece
        for piece_or_answer in ask.ending():
            yield piece_or_answer

    def _prepare(self, query: Query, ranking: Ranking) -> _Ask:
        """Render the pages and write the request; the part that takes time before the server does."""
        started = time.monotonic()
        shown = ranking.candidates[: self.max_pages]
        parts: list[Json] = []
        for number, candidate in enumerate(shown, start=1):
            parts += self._page_parts(number, candidate)
        parts += _question_parts(query, self.images, self.image_pixels)
        body: Json = {
            "messages": [
                {"role": "system", "content": _prompt("system.txt")},
                {"role": "user", "content": parts if self.images else _joined(parts)},
            ],
            **self.extra,
        }
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.structured == "json_schema":
            body["response_format"] = answer_format(len(shown))
        return _Ask(body, ranking, AnswerReader(shown, self.max_tokens), time.monotonic() - started)

    def _page_parts(self, number: int, candidate: Candidate) -> list[Json]:
        page, text = candidate.page, candidate.record.text
        if page is None:
            return [_text(f"[{number}] {candidate.id}\n{self._cut(text)}")]
        where = f"[{number}] {page.source.name}, page {page.number + 1} of {page.total_pages}"
        label = f" (printed label {page.label})" if page.label != str(page.number + 1) else ""
        parts = [_text(where + label)]
        if self.images:
            parts.append(_picture(self._image(page), self.image_pixels))
        if page.text.strip():
            parts.append(_text(f"Text of [{number}]:\n{self._cut(page.text)}"))
        elif not self.images:
            parts.append(_text(f"[{number}] has no text."))
        return parts

    def _image(self, page: Page) -> Image:
        if page.image is not None:
            return page.image
        if self.render is None:
            raise ValueError(
                f"page {page.id!r} must have a picture or the answerer a render function, got neither. "
                "Pass render=..., or images=False for a model that reads text only."
            )
        return self.render(page, self.image_pixels)

    def _cut(self, text: str) -> str:
        if self.page_chars is None or len(text) <= self.page_chars:
            return text
        return f"{text[: self.page_chars]}\n[text cut after {self.page_chars} of {len(text)} characters]"


@dataclass(slots=True)
class _Ask:
    """One question under way: the request, and the reader of its answer."""

    body: Json
    ranking: Ranking
    reader: AnswerReader
    seconds: float  # spent on rendering and writing the request
    started: float = 0.0
    finish_reason: str | None = None
    usage: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    @property
    def nothing(self) -> bool:
        """Whether there is no page to answer from; then the server is not asked."""
        return not self.ranking.candidates

    def abstain(self) -> Answer:
        return Answer(NO_PAGES, (), self.ranking, abstained=True, usage=Usage({"render": self.seconds}))

    def shown_at_once(self) -> Iterator[str | Answer]:
        answer = self.abstain()
        yield answer.text
        yield answer

    def take(self, content: str, finish_reason: str | None, usage: Mapping[str, int]) -> str:
        """Text to show after this piece of the stream."""
        self.finish_reason = finish_reason or self.finish_reason
        self.usage = usage or self.usage
        return self.reader.feed(content)

    def finish(self, reply: ChatReply) -> Answer:
        """The answer of a reply that came in one piece."""
        self.take(reply.content, reply.finish_reason, reply.usage)
        self.reader.last_piece()
        return self.result()

    def ending(self) -> Iterator[str | Answer]:
        """The end of a stream: text that was held back, then the answer."""
        if piece := self.reader.last_piece():
            yield piece
        answer = self.result()
        if not self.reader.text:  # an abstention without words, which got ours
            yield answer.text
        yield answer

    def result(self) -> Answer:
        checked = self.reader.finish(self.finish_reason)
        counts = self.usage or {}
        usage = Usage(
            {"render": self.seconds, "server": time.monotonic() - self.started},
            counts.get("prompt_tokens", 0),
            counts.get("completion_tokens", 0),
        )
        return Answer(checked.text, checked.citations, self.ranking, checked.abstained, usage)


def answer_format(pages: int) -> Json:
    """``response_format`` for an answer from pages 1..`pages`."""
    citation = {
        "type": "object",
        "properties": {
            "page": {"type": "integer", "enum": list(range(1, pages + 1))},
            "quote": {"type": "string"},
        },
        "required": ["page", "quote"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {
            "answerable": {"type": "boolean"},
            "answer": {"type": "string"},
            "citations": {"type": "array", "items": citation},
        },
        "required": ["answerable", "answer", "citations"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _prompt(name: str) -> str:
    return (files("mmrag.answer") / "prompts" / name).read_text(encoding="utf-8").strip()


def _question_parts(query: Query, images: bool, pixels: int) -> list[Json]:
    if query.image is not None and not images:
        raise ValueError("a query with an image needs images=True, got images=False. Ask with text only.")
    question = query.text or "What do the pages say about the picture of the question?"
    parts = [_text(Template(_prompt("question.txt")).substitute(question=question))]
    if query.image is not None:
        parts += [_text("Picture of the question:"), _picture(query.image, pixels)]
    return parts


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _joined(parts: list[Json]) -> str:
    """One text: chat templates of models that only read take no list of parts."""
    return "\n\n".join(part["text"] for part in parts)


def _picture(image: Image, pixels: int) -> Json:
    return {"type": "image_url", "image_url": {"url": data_url(image, pixels)}}
