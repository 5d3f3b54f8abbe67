"""``listwise``: put these pages in order. The model sees up to 20 candidates side by side.

More than 20 are ranked in windows of 20, from the back to the front in strides of 10, so that a good page
can rise from the last window to the first (RankGPT, arXiv 2304.09542, and RankZephyr, arXiv 2312.02724).
A verdict's score is its place counted from the end: n for the best of n, 1 for the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.rerank.context_fit import Prompt, fitted
from mmrag.rerank.pointwise import NOTHING, NOTHING_SOMEWHERE
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import (
    View,
    even_cap,
    instruction_of,
    order_body,
    query_view,
    user_template,
    view_of,
)
from mmrag.rerank.response import Order, read_order
from mmrag.rerank.yesno import Thinker, in_words
from mmrag.serving.chat import (
    as_data,
    chat_messages,
    cut_text,
    data_mark,
    fill_template,
    show_picture,
    text_part,
)
from mmrag.serving.client import Json
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


def windows(count: int, size: int = WINDOW, stride: int = STRIDE) -> list[tuple[int, int]]:
    """``(start, stop)`` of the windows over `count` candidates, back to front; the last one starts at 0."""
    found = []
    stop = count
    while stop > 0:
        found.append((max(0, stop - size), stop))
        if stop <= size:
            break
        stop -= stride
    return found


class ListwiseMode:
    """Orders all candidates together.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.
    """

    name = "listwise"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fingerprint = settings.prompts.digest(PROMPTS)
        self._thinker = Thinker(settings)

    def prepare(self) -> Requests[None]:
        """Ask for the model's context."""
        yield from self._thinker.prepare()

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """One generator for all candidates: each window starts from the order of the one before."""
        return [self._judge(query, candidates)]

    def _judge(self, query: Query, candidates: Sequence[Candidate]) -> Requests[Sequence[Verdict]]:
        views = [view_of(candidate, self.settings) for candidate in candidates]
        order = list(range(len(candidates)))
        said = [("", "")] * len(candidates)  # thought and note of the last window that a candidate was in
        repeats = unknown = 0
        least = 1.0
        for start, stop in windows(len(candidates)):
            window = order[start:stop]
            found, thought, share = yield from self._window(query, [views[place] for place in window])
            order[start:stop] = [window[place] for place in found.places]
            for place, candidate in enumerate(window):
                said[candidate] = (thought, NOT_NAMED if place in found.missing else "")
            repeats, unknown = repeats + found.repeats, unknown + found.unknown
            least = min(least, share)
        verdicts: list[Verdict] = [Verdict(0.0)] * len(candidates)
        for place, candidate in enumerate(order):
            thought, note = said[candidate]
            if views[candidate].empty:
                note = f"{note}; {NOTHING}" if note else NOTHING
            score, read = float(len(order) - place), not views[candidate].empty
            verdicts[candidate] = Verdict(score, thought, note=note, read=read)
        return Verdicts(tuple(verdicts), self._notes(views, verdicts, repeats, unknown, least))

    def _notes(
        self,
        views: Sequence[View],
        verdicts: Sequence[Verdict],
        repeats: int,
        unknown: int,
        least: float,
    ) -> tuple[str, ...]:
        notes = []
        if repeats or unknown:
            notes.append(f"the model's list had {repeats} repeats and {unknown} unknown numbers, left out")
        missing = sum(verdict.note.startswith(NOT_NAMED) for verdict in verdicts)
        if missing:
            notes.append(f"{missing} of {len(verdicts)} not in the model's list: kept in prior order")
        if least < 1.0:
            context = self._thinker.context
            notes.append(f"candidates shortened evenly, to {least:.0%}, to fit the model's {context} tokens")
        if any(view.empty for view in views):
            notes.append(NOTHING_SOMEWHERE)
        return tuple(notes)

    def _window(self, query: Query, views: Sequence[View]) -> Requests[tuple[Order, str, float]]:
        def build(share: float) -> Prompt:
            return self._prompt(query, views, share)

        answer_tokens = order_body([{"role": "user"}], len(views), {})["max_tokens"]
        prompt, share = yield from fitted(build, self._thinker.room(answer_tokens), self._thinker.extra)
        thought, messages = yield from self._thinker.think(prompt.messages, prompt.pictures)
        body = order_body(messages, len(views), self._thinker.extra)
        reply = yield Request("chat/completions", body, pictures=prompt.pictures)
        return read_order(reply, len(views)), thought.text, share

    def _prompt(self, query: Query, views: Sequence[View], share: float) -> Prompt:
        settings, asked = self.settings, query_view(query, self.settings)
        picture = show_picture(asked.image, settings.image_pixels)
        data, area = dict(picture.data), picture.area
        digest = data_mark(asked.text, *(view.text for view in views))
        cap = even_cap([len(view.text) for view in views], share)
        pages: list[Json] = []
        for number, view in enumerate(views, start=1):
            text = as_data(cut_text(view.text, cap) if share < 1.0 else view.text)
            texts = {"mark": digest, "number": str(number), "page": text}
            page = show_picture(view.image, settings.image_pixels, share)
            data, area = {**data, **page.data}, area + page.area
            template = settings.prompts.text("listwise_page")
            pages += [*fill_template(template, texts, {"page_picture": page.parts}), text_part("\n\n")]
        texts = {
            "instruction": as_data(instruction_of(query, settings)),
            "query": as_data(asked.text),
            "mark": digest,
            "count": str(len(views)),
        }
        places = {"query_picture": picture.parts, "pages": pages[:-1]}
        user = fill_template(user_template("listwise_user", settings), texts, places)
        if settings.think_tokens:
            system = settings.prompts.fill("listwise_think", words=in_words(settings.think_tokens))
        else:
            system = settings.prompts.text("listwise_system")
        return Prompt(chat_messages(system, user), data, area)
