"""Questions by a model behind a URL: it is shown a page, asks, and copies the words that answer.

A question whose answer does not stand on the page, word for word or nearly, is dropped: the model made it
up. What is left has the boxes of its answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrag.answer.lines import line_boxes
from mmrag.answer.quotes import find_quote
from mmrag.errors import ServerError
from mmrag.serving.chat import as_data, fill_template, message_content, show_picture
from mmrag.serving.client import ServerClient, parse_chat
from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import ReplyCache, Request, Requests, Runner
from mmrag.training.pairs.rules import PACKAGE
from mmrag.training.pairs.settings import Pair
from mmrag.types import Page, Usage, Word

_LINE = re.compile(r"^\W*(?P<kind>[QA])\W*[:.)]\s*(?P<text>.+?)\s*$", re.M)
_POINTING = re.compile(
    r"\b(?:this|the (?:above|given|following)|above|below|following)\s+(?:page|document|text|passage|table|"
    r"figure|chart|section|form|report)\b|\b(?:the|on) (?:page|document|passage|text)\b",
    re.I,
)
LEAST_WORDS = 4


@dataclass(slots=True)
class Asked:
    """What a model's reply about one page gave.

    Attributes:
        pairs: questions whose answer stands on the page.
        refused: questions that were dropped, by reason.
        usage: what the reply cost.
    """

    pairs: list[Pair] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


class QuestionWriter:
    """Has questions written by a served model.

    Args:
        base_url: the server, with or without ``/v1``.
        model: its name there; None where the server has just one.
        questions: most questions that are asked for of a page.
        images: show the picture of the page. False is for models that only read.
        image_pixels: largest area of a picture.
        text_chars: most characters of a page's text.
        max_tokens: most tokens of a reply, a thought included.
        prompts: a folder with prompts of one's own (``ask_system.txt``, ``ask_user.txt``,
            ``templates.txt``).
        cache: a folder that keeps the replies; None keeps none.
        api_key, timeout, max_concurrency: see `mmrag.serving.client.ServerClient`.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        questions: int = 3,
        images: bool = True,
        image_pixels: int = 1_000_000,
        text_chars: int = 8000,
        max_tokens: int = 1024,
        prompts: str | Path | None = None,
        cache: str | Path | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        max_concurrency: int = 8,
    ) -> None:
        for name, value, least in (
            ("questions", questions, 1),
            ("image_pixels", image_pixels, 1024),
            ("text_chars", text_chars, 1),
            ("max_tokens", max_tokens, 16),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value!r}.")
        self.client = ServerClient(
            base_url, model=model, api_key=api_key, timeout=timeout, max_concurrency=max_concurrency
        )
        self.questions = questions
        self.image_pixels = image_pixels if images else None
        self.text_chars = text_chars
        self.max_tokens = max_tokens
        self.prompts = Prompts(prompts, package=PACKAGE)
        self._runner = Runner(self.client, None if cache is None else ReplyCache(cache))

    def made(self) -> dict[str, Any]:
        """All that changes what is asked, as plain data.

        Raises:
            ServerError: no model was named, and the server cannot be asked or has not just one.
        """
        return {
            "model": self.client.model_name(),
            "questions": self.questions,
            "image_pixels": self.image_pixels,
            "text_chars": self.text_chars,
            "max_tokens": self.max_tokens,
            "prompts": self.prompts.digest(["ask_system", "ask_user"]),
        }

    def write(self, pages: Sequence[tuple[Page, Sequence[Word]]]) -> list[Asked]:
        """Questions about each page, in order.

        Args:
            pages: pages, with their pictures where `image_pixels` is not None, and their words without
                furniture.

        Raises:
            ServerError: the server failed; the replies that came are kept in the cache.
        """
        asked = [(page, words) for page, words in pages if words]
        done = iter(self._runner.run([self._steps(page, words) for page, words in asked]))
        results: list[Asked] = []
        for _, words in pages:
            result, usage = next(done) if words else (Asked(), Usage())
            if isinstance(result, ServerError):
                raise result
            result.usage = usage
            results.append(result)
        return results

    def _steps(self, page: Page, words: Sequence[Word]) -> Requests[Asked]:
        picture = show_picture(page.image if self.image_pixels else None, self.image_pixels or 0)
        text = as_data(page.text[: self.text_chars])
        user = fill_template(self.prompts.text("ask_user"), {"page": text}, {"page_picture": picture.parts})
        body = {
            "messages": [
                {
                    "role": "system",
                    "content": self.prompts.fill("ask_system", count=str(self.questions)),
                },
                {"role": "user", "content": message_content(user)},
            ],
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
        }
        reply = yield Request("chat/completions", body, pictures=picture.data)
        return read_reply(parse_chat(reply).content, words, self.questions)


def read_reply(text: str, words: Sequence[Word], most: int) -> Asked:
    """The questions of a reply whose answers stand among the words of the page."""
    asked = Asked()
    question: str | None = None
    for line in _LINE.finditer(text.rpartition("</think>")[2]):
        if line["kind"] == "Q":
            question = line["text"].strip("*_ ")
            continue
        if question is None or len(asked.pairs) == most:
            continue
        quote = line["text"].strip("*_\"'\u201c\u201d ")
        places = find_quote(quote, [word.text for word in words])
        reason = _fault(question, quote, bool(places))
        if reason:
            asked.refused.append(reason)
        else:
            there = [words[at] for at in places[0]]
            boxes = line_boxes(there)
            source = " ".join(word.text for word in there)
            asked.pairs.append(Pair(question, "asked", boxes, source, {"quote": quote}))
        question = None
    return asked


def _fault(question: str, quote: str, stands: bool) -> str:
    """Why a question is of no use; ``""`` where it is."""
    if not stands:
        return "asked, but its answer does not stand on the page"
    if len(question.split()) < LEAST_WORDS or not question.endswith("?"):
        return "asked, but no question"
    if _POINTING.search(question):
        return "asked, but points at its page"
    if quote.casefold() in question.casefold():
        return "asked, but tells its answer"
    return ""
