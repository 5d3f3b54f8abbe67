"""Questions by a served model: it sees a page, writes questions, and copies the words that answer each.

A question whose answer is not on the page, word for word or nearly, is dropped: the model made it up. The
others have the boxes of their answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrag.answer.quotes import find_quote, line_boxes
from mmrag.errors import ServerError, check_whole
from mmrag.serving.chat import fill_template, message_content, show_picture
from mmrag.serving.client import ServerClient, parse_chat
from mmrag.serving.escaping import as_data
from mmrag.serving.prompts import Prompts
from mmrag.serving.requests import ReplyCache, Request, Requests, Runner, StaleReplyError
from mmrag.training.pairs.rules import PACKAGE
from mmrag.training.pairs.settings import Pair
from mmrag.types import Page, Usage, Word

_LINE = re.compile(r"^\W*(?P<kind>[QA])\W*[:.)]\s*(?P<text>.+?)\s*$", re.M)
_PAGE_REFERENCE = re.compile(
    r"\b(?:this|the (?:above|given|following)|above|below|following)\s+(?:page|document|text|passage|table|"
    r"figure|chart|section|form|report)\b|\b(?:the|on) (?:page|document|passage|text)\b",
    re.I,
)
LEAST_WORDS = 4


@dataclass(slots=True)
class PageQuestions:
    """A model's questions about one page.

    Attributes:
        pairs: questions whose answer is on the page.
        rejections: reason for each question that was dropped.
        usage: of the request.
    """

    pairs: list[Pair] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


class QuestionWriter:
    """Requests questions about pages from a served model.

    Args:
        base_url: of the server, with or without ``/v1``.
        model: its name there; None if the server has just one.
        questions: largest number of questions per page.
        images: show the model the page's picture. False for models that only read text.
        image_pixels: largest area of a picture.
        text_chars: largest number of characters of a page's text.
        max_tokens: largest number of tokens of a reply, a thought included.
        prompts: folder with replacements for our prompts (``ask_system.txt``, ``ask_user.txt``,
            ``templates.txt``).
        cache: folder for the replies; None for no cache.
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
            check_whole(name, value, least)
        self.client = ServerClient(
            base_url, model=model, api_key=api_key, timeout=timeout, max_concurrency=max_concurrency
        )
        self.questions = questions
        self.image_pixels = image_pixels if images else None
        self.text_chars = text_chars
        self.max_tokens = max_tokens
        self.prompts = Prompts(prompts, package=PACKAGE)
        self._runner = Runner(self.client, None if cache is None else ReplyCache(cache))

    def recipe(self) -> dict[str, Any]:
        """Return all settings that change the questions, as plain data.

        Raises:
            ServerError: no model was named, and the server does not answer or has several.
        """
        return {
            "model": self.client.model_name(),
            "questions": self.questions,
            "image_pixels": self.image_pixels,
            "text_chars": self.text_chars,
            "max_tokens": self.max_tokens,
            "prompts": self.prompts.digest(["ask_system", "ask_user"]),
        }

    def write(self, pages: Sequence[tuple[Page, Sequence[Word]]]) -> list[PageQuestions]:
        """Return questions about each page, in order.

        Args:
            pages: pages, with their pictures if `image_pixels` is not None, and their words without running
                headers.

        Raises:
            ServerError: the server failed; the replies so far are kept in the cache.
        """
        results = iter(self._results(pages))
        questions: list[PageQuestions] = []
        for _, words in pages:
            result, usage = next(results) if words else (PageQuestions(), Usage())
            if isinstance(result, ServerError):
                raise result
            result.usage = usage
            questions.append(result)
        return questions

    def _results(
        self, pages: Sequence[tuple[Page, Sequence[Word]]]
    ) -> list[tuple[PageQuestions | ServerError, Usage]]:
        """Ask about the pages with words, again as long as stored replies are of no use: each is dropped."""
        while True:
            results = self._runner.run([self._requests(page, words) for page, words in pages if words])
            if not any(isinstance(result, StaleReplyError) for result, _ in results):
                return results

    def _requests(self, page: Page, words: Sequence[Word]) -> Requests[PageQuestions]:
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


def read_reply(text: str, words: Sequence[Word], most: int) -> PageQuestions:
    """Return the questions of a reply whose answers are among the words of the page.

    Args:
        text: the reply.
        words: of the page.
        most: largest number of questions.
    """
    questions = PageQuestions()
    question: str | None = None
    for line in _LINE.finditer(text.rpartition("</think>")[2]):
        if line["kind"] == "Q":
            question = line["text"].strip("*_ ")
            continue
        if question is None or len(questions.pairs) == most:
            continue
        _add_question(questions, question, line["text"].strip("*_\"'\u201c\u201d "), words)
        question = None
    return questions


def _add_question(questions: PageQuestions, question: str, quote: str, words: Sequence[Word]) -> None:
    """Add the pair of a question and its answer, or the reason to reject it."""
    matches = find_quote(quote, [word.text for word in words])
    reason = _fault(question, quote, is_on_page=bool(matches))
    if reason:
        questions.rejections.append(reason)
        return
    answer = [words[at] for at in matches[0]]
    source = " ".join(word.text for word in answer)
    questions.pairs.append(Pair(question, "asked", line_boxes(answer), source, {"quote": quote}))


def _fault(question: str, quote: str, *, is_on_page: bool) -> str:
    """Return the reason to reject a question, or ``""``."""
    if not is_on_page:
        return "asked, but its answer does not stand on the page"
    if len(question.split()) < LEAST_WORDS or not question.endswith("?"):
        return "asked, but no question"
    if _PAGE_REFERENCE.search(question):
        return "asked, but points at its page"
    if quote.casefold() in question.casefold():
        return "asked, but tells its answer"
    return ""
