"""The JSON that a model answers with, read and checked against the pages it was shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmrag.answer.quotes import find_quote, line_boxes
from mmrag.answer.served.partial_json import Markers, StringField, ThoughtFilter, replace_surrogates
from mmrag.errors import ServerAnswerError
from mmrag.serving.wire import quote as in_quotes
from mmrag.types import Box, Candidate, Citation

MOST_POSITIONS = 4  # a quote that occurs more often on a page gets no box
NO_ANSWER = "The pages shown do not answer the question."


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """A model's answer after every check."""

    text: str
    citations: tuple[Citation, ...]
    abstained: bool


class AnswerReader:
    """Reads an answer piece by piece: text to show at once, the checked whole at the end.

    Args:
        candidates: the pages that the model saw, as [1]..[n].
        max_tokens: for the message of an answer that was cut off.
    """

    def __init__(self, candidates: Sequence[Candidate], max_tokens: int | None = None) -> None:
        self._candidates = candidates
        self._max_tokens = max_tokens
        self._content = ThoughtFilter()
        self._field = StringField("answer")
        self._markers = Markers(self._number_of)
        self._order: list[int] = []  # page numbers as shown, in the order of their first marker
        self._answer: list[str] = []  # decoded, markers as the model wrote them
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """Return all text that was shown."""
        return "".join(self._text)

    def feed(self, content: str) -> str:
        """Return the text to show after this piece of content.

        Raises:
            ServerAnswerError: a marker names a page that was not shown.
        """
        self._answer.append(self._field.feed(self._content.feed(content)))
        self._text.append(self._markers.feed(self._answer[-1]))
        return self._text[-1]

    def last_piece(self) -> str:
        """Return the text that was held back; call it once, after the last piece."""
        self._text.append(self._markers.finish())
        return self._text[-1]

    def finish(self, finish_reason: str | None) -> CheckedAnswer:
        """Check the whole answer and return it.

        Raises:
            ServerAnswerError: the answer is cut off, is not JSON of the schema, names a page that was not
                shown, or names none.
        """
        self._check_complete(finish_reason)
        payload = self._payload()
        if replace_surrogates(payload["answer"]) != "".join(self._answer):
            raise self._error("the text of an answer must be what was streamed, got another")
        quotes: dict[int, list[str]] = {}
        for citation in payload["citations"]:
            self._number_of(citation["page"])
            quotes.setdefault(citation["page"], []).append(replace_surrogates(citation["quote"]))
        text = self.text
        abstained = not payload["answerable"]
        if not abstained and not text:
            raise self._error("an answer must have text, got an empty one")
        if not abstained and not self._order:
            raise self._error(
                "an answer must name the page that proves it, got one that names none",
                "A larger model may hold to that.",
            )
        citations = tuple(
            self._citation(number, page, quotes.get(page, []))
            for number, page in enumerate(self._order, start=1)
        )
        return CheckedAnswer(text or NO_ANSWER, citations, abstained)

    def _number_of(self, page: int) -> int:
        """Return the number under which a page is cited."""
        if not 1 <= page <= len(self._candidates):
            raise self._error(
                f"an answer may cite pages [1] to [{len(self._candidates)}], the ones shown, got [{page}]"
            )
        if page not in self._order:
            self._order.append(page)
        return self._order.index(page) + 1

    def _check_complete(self, finish_reason: str | None) -> None:
        if finish_reason == "length":
            where = "inside its thought " if self._content.in_thought else ""
            limit = f"max_tokens is {self._max_tokens}" if self._max_tokens else "the server's own limit"
            raise self._error(
                f"the answer ended {where}before it was complete (finish_reason 'length'; {limit})",
                "Raise max_tokens, or ask a model that is briefer.",
            )
        if finish_reason == "content_filter":
            raise self._error(
                "the server's content filter stopped the answer (finish_reason 'content_filter')"
            )
        if self._content.in_thought:
            raise self._error("the answer is only a thought that never ends", "Raise max_tokens.")

    def _payload(self) -> dict[str, Any]:
        """Return the answer's JSON object, its types checked."""
        content = self._content.rest.strip()
        try:
            # strict=False: models write line breaks into strings where no schema holds them.
            payload = json.loads(
                _without_fence(content), strict=False, object_pairs_hook=_refuse_repeated_keys
            )
        except (ValueError, RecursionError) as error:
            raise self._error(
                f"an answer must be one JSON object ({error})",
                "The model, or a server that ignores response_format, does not keep to the format.",
            ) from error
        if not (
            isinstance(payload, dict)
            and isinstance(payload.get("answer"), str)
            and isinstance(payload.get("answerable"), bool)
            and isinstance(payload.get("citations"), list)
            and all(_is_citation(item) for item in payload["citations"])
        ):
            raise self._error(
                'an answer must be {"answerable": bool, "answer": str, "citations": '
                '[{"page": int, "quote": str}]}'
            )
        return payload

    def _citation(self, number: int, page_number: int, quotes: Sequence[str]) -> Citation:
        candidate = self._candidates[page_number - 1]
        page = candidate.page
        search = _QuoteSearch(candidate)
        for text in quotes:
            search.look_for(text)
        return Citation(
            number=number,
            record_id=candidate.id,
            quote=" … ".join(search.quotes),
            boxes=tuple(search.boxes),
            page=page,
            score=candidate.score,
            kind="sentence" if search.quotes else "page",
            note="; ".join(search.notes) or ("" if search.quotes else "the model gave no quote"),
        )

    def _error(self, fault: str, remedy: str = "") -> ServerAnswerError:
        raw = self._content.raw
        return ServerAnswerError(f"{fault}. The model said: {in_quotes(raw)}. {remedy}".rstrip(), raw)


class _QuoteSearch:
    """Looks for the quotes of one citation on its page.

    Attributes:
        quotes: in the page's own words.
        boxes: of their lines.
        notes: about quotes without a box.
    """

    def __init__(self, candidate: Candidate) -> None:
        page = candidate.page
        self._words = page.words if page is not None else ()
        text = page.text if page is not None else candidate.record.text
        self._texts = [word.text for word in self._words] or text.split()
        self.quotes: list[str] = []
        self.boxes: list[Box] = []
        self.notes: list[str] = []

    def look_for(self, text: str) -> None:
        """Add the page's own words and boxes for a quote, or a note that the page lacks it."""
        if not text.strip():
            return
        positions = find_quote(text, self._texts)
        if not positions:
            reason = "" if self._texts else " (the page has no text)"
            self.notes.append(f"not found in the page's text{reason}: {in_quotes(text)}")
            return
        words = " ".join(self._texts[i] for i in positions[0])
        if words not in self.quotes:
            self.quotes.append(words)
        if len(positions) > MOST_POSITIONS:
            self.notes.append(f"{in_quotes(words)} stands at {len(positions)} places")
            return
        for position in positions if self._words else ():
            new = line_boxes([self._words[i] for i in position])
            self.boxes += [box for box in new if box not in self.boxes]


def _without_fence(content: str) -> str:
    """Return what stands between the lines of a fence around the content, or the content."""
    first, line_break, rest = content.partition("\n")
    is_fence = line_break and first.rstrip().lower() in ("```", "```json") and rest.endswith("```")
    return rest.removesuffix("```") if is_fence else content


def _is_citation(item: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(item, dict)
        and isinstance(item.get("page"), int)
        and not isinstance(item.get("page"), bool)
        and isinstance(item.get("quote"), str)
    )


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice")
    return value
