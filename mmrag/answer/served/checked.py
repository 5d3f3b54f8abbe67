"""A model's answer, checked against the pages it was shown; marks repaired where that is safe, else noted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.answer.located import QuoteSearch
from mmrag.answer.quotes import SHORTEST_FUZZY, find_quote
from mmrag.answer.served.reply import Reply, ReplyError, read_reply
from mmrag.answer.served.shown import ShownPage
from mmrag.errors import ServerAnswerError
from mmrag.serving.marks import Mark, MarkStream, PrintedMarks, as_words
from mmrag.serving.partial_json import THOUGHT_END, StringField, ThoughtFilter
from mmrag.serving.wire import quote as in_quotes
from mmrag.types import Citation

MOST_QUOTES = 100
"""Quotes of one answer that are looked for; each takes time in proportion to its page."""
_MARKS = re.compile(r"\[\d+\]")
NO_ANSWER = "The pages shown do not answer the question."


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """A model's answer after every check; `note` says what was wrong with it as a whole."""

    text: str
    citations: tuple[Citation, ...]
    abstained: bool
    note: str


class AnswerReader:
    """Reads an answer piece by piece: text to show at once, the checked whole at the end.

    Args:
        pages: what the model saw, as [1]..[n].
        max_tokens: for the message of an answer that was cut off.

    Attributes:
        text: all that was shown.
    """

    def __init__(self, pages: Sequence[ShownPage], max_tokens: int | None = None) -> None:
        self.text = ""
        self._pages = pages
        self._max_tokens = max_tokens
        self._content = ThoughtFilter()
        self._field = StringField("answer")
        self._marks = MarkStream(self._rewrite, PrintedMarks([page.plain_text for page in pages]))
        self._order: list[int] = []  # page numbers as shown, in the order of their first mark
        self._answer = ""  # decoded, marks as the model wrote them
        self._notes: list[str] = []

    def feed(self, content: str) -> str:
        """Return the text to show after this piece of content."""
        return self._show(self._field.feed(self._content.feed(content)))

    def finish(self, finish_reason: str | None) -> CheckedAnswer:
        """Check the whole answer and return it; its text begins with what was shown.

        Raises:
            ServerAnswerError: the reply is no answer, or is cut off in the middle of it.
        """
        reply = self._reply(finish_reason)
        if not self._answer:
            self._show(reply.text)
        elif reply.text != self._answer:
            raise self._error("the text of an answer must be what was streamed, got another")
        self.text += self._marks.finish()
        quotes = self._quotes(reply)
        has_words = any(char.isalnum() for char in _MARKS.sub("", self.text))
        abstained = not reply.answerable or not has_words
        if abstained and reply.answerable:
            self._notes.append("the model said that it had an answer and wrote none")
        if not abstained and not self._order:
            self._add_marks(quotes)
        for page in quotes:
            self._number_of(page)  # listed without a mark: they are cited behind the others
        citations = tuple(
            self._citation(number, page, quotes.get(page, []))
            for number, page in enumerate(self._order, start=1)
        )
        notes = [*self._notes, reply.note, *(page.note for page in self._pages)]
        note = "; ".join(dict.fromkeys(note for note in notes if note))
        text = self.text if has_words else f"{self.text} {NO_ANSWER}".strip()
        return CheckedAnswer(text, citations, abstained, note)

    def _show(self, answer: str) -> str:
        self._answer += answer
        piece = self._marks.feed(answer)
        self.text += piece
        return piece

    def _rewrite(self, mark: Mark) -> str:
        """Return a mark with our numbers; brackets that cite nothing become unmistakable words."""
        numbers = [] if mark.is_printed else [n for n in mark.numbers if self._is_shown(n)]
        if not mark.is_printed and len(numbers) < len(mark.numbers):
            self._note_not_shown(mark.text)
        return "".join(f"[{self._number_of(number)}]" for number in numbers) or as_words(mark.text)

    def _is_shown(self, page: int) -> bool:
        return 1 <= page <= len(self._pages)

    def _note_not_shown(self, mark: str) -> None:
        self._notes.append(f"the model cited {as_words(mark)}; it was shown 1 to {len(self._pages)}")

    def _number_of(self, page: int) -> int:
        """Return the number under which a page is cited."""
        if page not in self._order:
            self._order.append(page)
        return self._order.index(page) + 1

    def _reply(self, finish_reason: str | None) -> Reply:
        content = self._content
        try:
            if finish_reason == "content_filter":
                raise ReplyError(
                    "the server's content filter stopped the answer (finish_reason 'content_filter')"
                )
            reply = read_reply(
                content.rest or content.raw.rpartition(THOUGHT_END)[2] * (not content.in_thought)
            )
            if finish_reason != "length" or content.rest.lstrip().startswith(("{", "`")):
                return reply
        except ReplyError as error:
            if finish_reason != "length":
                raise self._error(
                    "the answer is only a thought that never ends" if content.in_thought else str(error),
                    "The model, or a server that ignores response_format, does not keep to the format.",
                ) from error
        where = "inside its thought " if content.in_thought else ""
        limit = f"max_tokens is {self._max_tokens}" if self._max_tokens else "the server's own limit"
        raise self._error(
            f"the answer ended {where}before it was complete (finish_reason 'length'; {limit})",
            "Raise max_tokens, or ask a model that is briefer.",
        )

    def _quotes(self, reply: Reply) -> dict[int, list[str]]:
        """Return the passages listed for each page that was shown."""
        quotes: dict[int, list[str]] = {}
        if len(reply.quotes) > MOST_QUOTES:
            self._notes.append(f"the model listed {len(reply.quotes)} quotes; {MOST_QUOTES} were looked for")
        for page, passage in reply.quotes[:MOST_QUOTES]:
            if self._is_shown(page):
                quotes.setdefault(page, []).append(passage)
            else:
                self._note_not_shown(f"[{page}]")
        return quotes

    def _add_marks(self, quotes: dict[int, list[str]]) -> None:
        """Put marks at the end of a text that has none, where it is plain which pages are meant.

        These are the pages that the model listed; else the only page that it saw; else the only one on which
        the words of the answer stand.
        """
        numbers = list(quotes) or ([1] if len(self._pages) == 1 else [])
        if not numbers:
            matches = [n for n, page in enumerate(self._pages, start=1) if _holds(page, self.text)]
            numbers = matches if len(matches) == 1 else []
            quotes.update({number: [self.text] for number in numbers})
        if not numbers:
            self._notes.append("the model named no page: nothing shown proves this answer")
            return
        self._notes.append("the model set no mark; the marks at the end are ours")
        self.text += " " + "".join(f"[{self._number_of(number)}]" for number in numbers)

    def _citation(self, number: int, page_number: int, passages: Sequence[str]) -> Citation:
        page, note = self._pages[page_number - 1], ""
        search = _search(page, passages)
        if not search.quotes:
            pairs = [(option, _search(option, passages)) for option in self._pages if option is not page]
            right = [pair for pair in pairs if len("".join(pair[1].quotes)) >= SHORTEST_FUZZY]
            if len(right) == 1:
                (page, search), note = right[0], "the model named another page for these words"
        notes = [note, *search.notes] if search.quotes or search.notes else ["the model gave no quote"]
        return Citation(
            number=number,
            record_id=page.candidate.id,
            quote=" … ".join(search.quotes),
            boxes=tuple(search.boxes),
            page=page.page,
            score=page.candidate.score,
            note="; ".join(filter(None, notes)),
            **search.location(),
        )

    def _error(self, fault: str, remedy: str = "") -> ServerAnswerError:
        raw = self._content.raw
        return ServerAnswerError(f"{fault}. The model said: {in_quotes(raw)}. {remedy}".rstrip(), raw)


def _search(page: ShownPage, passages: Sequence[str]) -> QuoteSearch:
    search = QuoteSearch(page.page, page.plain_text, lambda: page.blocks)
    for passage in passages:
        search.look_for(passage)
    return search


def _holds(page: ShownPage, text: str) -> bool:
    return len(text) >= SHORTEST_FUZZY and bool(find_quote(text, page.plain_text.split()))
