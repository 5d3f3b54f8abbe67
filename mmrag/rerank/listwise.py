"""``listwise``: put these pages in order. The model sees up to 20 candidates side by side.

More than 20 are ranked in windows of 20, from the back to the front in strides of 10, so that a good page
can rise from the last window to the first (RankGPT, arXiv 2304.09542, and RankZephyr, arXiv 2312.02724).
A verdict's score is its rank counted from the end: n for the best of n, 1 for the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmrag.rerank.context_fit import Prompt, fit_prompt
from mmrag.rerank.pointwise import NO_CONTENT, NO_CONTENT_NOTE
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import (
    ModelInput,
    block_mark,
    candidate_input,
    even_length,
    instruction_for,
    order_body,
    order_tokens,
    query_input,
    system_prompt,
    user_template,
    with_page_notes,
)
from mmrag.rerank.response import Order, read_order
from mmrag.rerank.yesno import Thinker
from mmrag.serving.chat import chat_messages, fill_template, show_picture, text_part
from mmrag.serving.client import Json
from mmrag.serving.escaping import as_data
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Verdict

WINDOW = 20
STRIDE = 10
PROMPTS = (
    "listwise_system",
    "listwise_think",
    "listwise_user",
    "listwise_page",
    "think_first",
    "instruction",
)
NOT_NAMED = "not in the model's list: kept in prior order behind those that are"


def windows(count: int) -> list[tuple[int, int]]:
    """Return ``(start, stop)`` of the windows of `count` candidates, back to front; the last starts at 0."""
    spans = []
    stop = count
    while stop > 0:
        spans.append((max(0, stop - WINDOW), stop))
        if stop <= WINDOW:
            break
        stop -= STRIDE
    return spans


@dataclass(frozen=True, slots=True)
class _Window:
    """The model's answer about one window.

    Attributes:
        order: of the window's candidates.
        thought: written before the answer.
        fraction: of every candidate that fitted into the prompt.
    """

    order: Order
    thought: str
    fraction: float


class ListwiseMode:
    """Mode that orders all candidates together.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.
    """

    name = "listwise"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fingerprint = settings.prompts.digest(PROMPTS)
        self._thinker = Thinker(settings)

    def prepare(self) -> Requests[None]:
        """Request the model's context length."""
        yield from self._thinker.prepare()

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return one generator for all candidates: each window starts from the order of the one before."""
        return [self._score(query, candidates)]

    def _score(self, query: Query, candidates: Sequence[Candidate]) -> Requests[Sequence[Verdict]]:
        pages = [candidate_input(candidate, query, self.settings) for candidate in candidates]
        order = list(range(len(pages)))
        comments = [("", "")] * len(pages)  # thought and note of a candidate's last window
        answers: list[_Window] = []
        for start, stop in windows(len(pages)):
            indices = order[start:stop]
            answer = yield from self._ask(query, [pages[index] for index in indices])
            answers.append(answer)
            order[start:stop] = [indices[position] for position in answer.order.positions]
            for position, index in enumerate(indices):
                absent = position in answer.order.absent
                comments[index] = (answer.thought, NOT_NAMED if absent else "")
        ranks = {index: rank for rank, index in enumerate(order)}
        verdicts = tuple(
            _verdict(float(len(pages) - ranks[index]), *comments[index], empty=page.is_empty)
            for index, page in enumerate(pages)
        )
        return with_page_notes(Verdicts(verdicts, self._notes(answers, verdicts)), pages)

    def _notes(self, answers: Sequence[_Window], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        notes = []
        repeats = sum(answer.order.repeats for answer in answers)
        unknown = sum(answer.order.unknown for answer in answers)
        if repeats or unknown:
            notes.append(f"the model's list had {repeats} repeats and {unknown} unknown numbers, left out")
        absent = sum(verdict.note.startswith(NOT_NAMED) for verdict in verdicts)
        if absent:
            notes.append(f"{absent} of {len(verdicts)} not in the model's list: kept in prior order")
        least = min((answer.fraction for answer in answers), default=1.0)
        return (*notes, *shared_notes(least, self._thinker.context, verdicts))

    def _ask(self, query: Query, pages: Sequence[ModelInput]) -> Requests[_Window]:
        """Request the order of one window."""
        thinker = self._thinker
        labels = [{"number": str(number)} for number in range(1, len(pages) + 1)]
        prompt, fraction = yield from fit_prompt(
            lambda fraction: pages_prompt("listwise", query, pages, labels, {}, self.settings, fraction),
            thinker.prompt_limit(order_tokens(len(pages))),
            thinker.extra,
        )
        thought, messages = yield from thinker.think(prompt.messages, prompt.pictures)
        body = order_body(messages, len(pages), thinker.extra)
        reply = yield Request("chat/completions", body, pictures=prompt.pictures)
        return _Window(read_order(reply, len(pages)), thought.text, fraction)


def pages_prompt(
    mode: str,
    query: Query,
    pages: Sequence[ModelInput],
    labels: Sequence[Mapping[str, str]],
    fields: Mapping[str, str],
    settings: Settings,
    fraction: float,
) -> Prompt:
    """Build the prompt of a mode that shows several pages at once.

    Args:
        mode: its templates are ``MODE_system``, ``MODE_page`` and ``MODE_user``.
        query: always whole.
        pages: all are cut to one length.
        labels: fields of each page's template that tell it from the others.
        fields: further ones of the user's template.
        settings: of the mode.
        fraction: of the pages' text and pictures that is left.
    """
    question = query_input(query, settings)
    picture = show_picture(question.image, settings.image_pixels)
    data, area = dict(picture.data), picture.area
    mark = block_mark(question.text, [page.text for page in pages], settings)
    length = even_length([len(page.text) for page in pages], fraction)
    template = settings.prompts.text(f"{mode}_page")
    parts: list[Json] = []
    for label, page in zip(labels, pages, strict=True):
        text = as_data(page.cut(length) if fraction < 1.0 else page.text)
        view = show_picture(page.image, settings.image_pixels, fraction)
        data, area = {**data, **view.data}, area + view.area
        texts = {**label, "mark": mark, "page": text}
        parts += [*fill_template(template, texts, {"page_picture": view.parts}), text_part("\n\n")]
    texts = {
        **fields,
        "instruction": as_data(instruction_for(query, settings)),
        "query": as_data(question.text),
        "mark": mark,
        "count": str(len(pages)),
    }
    slots = {"query_picture": picture.parts, "pages": parts[:-1]}
    user = fill_template(user_template(mode, settings), texts, slots)
    return Prompt(chat_messages(system_prompt(mode, settings), user), data, area)


def shared_notes(fraction: float, context: int, verdicts: Sequence[Verdict]) -> list[str]:
    """Return what is to be said of pages that were shown together.

    Args:
        fraction: least part of the pages that fitted into a prompt.
        context: of the model, in tokens.
        verdicts: on all pages.
    """
    notes = []
    if fraction < 1.0:
        notes.append(f"candidates shortened evenly, to {fraction:.0%}, to fit the model's {context} tokens")
    if not all(verdict.read for verdict in verdicts):
        notes.append(NO_CONTENT_NOTE)
    return notes


def _verdict(score: float, thought: str, note: str, *, empty: bool) -> Verdict:
    if empty:
        note = f"{note}; {NO_CONTENT}" if note else NO_CONTENT
    return Verdict(score, thought, note=note, read=not empty)
