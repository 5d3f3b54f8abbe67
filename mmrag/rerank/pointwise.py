"""``pointwise``: is this page of help, yes or no? One candidate at a time, so none can affect another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrag.rerank.context_fit import Prompt, fitted
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import View, instruction_of, query_view, user_template, view_of
from mmrag.rerank.response import read_boxes
from mmrag.rerank.yesno import YesNo, in_words
from mmrag.serving.chat import (
    PictureView,
    as_data,
    chat_messages,
    cut_text,
    data_mark,
    fill_template,
    show_picture,
)
from mmrag.serving.requests import Requests
from mmrag.types import Candidate, Query, Verdict

NOTHING = "neither picture nor text to judge by"
NOTHING_SOMEWHERE = f"{NOTHING}: see the verdicts"
PROMPTS = ("pointwise_system", "pointwise_think", "pointwise_user", "think_first", "instruction")


class PointwiseMode:
    """Scores every candidate by itself: ``sigmoid(logit_yes - logit_no)``, 0 to 1.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.
    """

    name = "pointwise"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fingerprint = settings.prompts.digest(PROMPTS)
        self._yes_no = YesNo(settings)

    def prepare(self) -> Requests[None]:
        """Ask for the answer's token ids and the model's context."""
        yield from self._yes_no.prepare()

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """One generator a candidate."""
        asked = query_view(query, self.settings)
        # Once, and here: the generators run side by side, and a lazy picture must not be loaded by two.
        picture = show_picture(asked.image, self.settings.image_pixels)
        instruction = instruction_of(query, self.settings)
        return [self._judge(asked.text, picture, instruction, candidate) for candidate in candidates]

    def _judge(
        self, query: str, picture: PictureView, instruction: str, candidate: Candidate
    ) -> Requests[Sequence[Verdict]]:
        view = view_of(candidate, self.settings)

        def build(share: float) -> Prompt:
            return self._prompt(query, picture, instruction, view, share)

        limit = self._yes_no.room(answer_tokens=1)
        prompt, share = yield from fitted(build, limit, self._yes_no.extra)
        verdict = yield from self._yes_no.judge(prompt.messages, prompt.pictures)
        said, notes = [verdict.note] if verdict.note else [], self._yes_no.notes
        if view.empty:
            said.append(NOTHING)
            notes = (*notes, NOTHING_SOMEWHERE)
        if share < 1.0:
            said.append(f"shortened to {share:.0%} to fit the model's {self._yes_no.context} tokens")
            notes = (*notes, f"shortened to fit the model's {self._yes_no.context} tokens: see the verdicts")
        boxes = read_boxes(verdict.thought) if view.image is not None else ()
        return Verdicts((replace(verdict, evidence=boxes, note="; ".join(said), read=not view.empty),), notes)

    def _prompt(self, query: str, picture: PictureView, instruction: str, view: View, share: float) -> Prompt:
        """The question with this share of the candidate; all candidates are to see the same query."""
        settings = self.settings
        page = show_picture(view.image, settings.image_pixels, share)
        text = cut_text(view.text, int(share * len(view.text))) if share < 1.0 else view.text
        texts = {
            "instruction": as_data(instruction),
            "query": as_data(query),
            "page": as_data(text),
            "mark": data_mark(query, view.text),
        }
        pictures = {"query_picture": picture.parts, "page_picture": page.parts}
        user = fill_template(user_template("pointwise_user", settings), texts, pictures)
        if settings.think_tokens:
            system = settings.prompts.fill("pointwise_think", words=in_words(settings.think_tokens))
        else:
            system = settings.prompts.text("pointwise_system")
        return Prompt(chat_messages(system, user), {**picture.data, **page.data}, picture.area + page.area)
