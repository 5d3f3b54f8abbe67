"""``pointwise``: is this page of help, yes or no? Each candidate is scored alone and affects no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrag.rerank.context_fit import Prompt
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import (
    ModelInput,
    block_mark,
    candidate_input,
    instruction_for,
    query_input,
    system_prompt,
    user_template,
    with_page_notes,
)
from mmrag.rerank.response import read_boxes
from mmrag.rerank.yesno import YesNoScorer
from mmrag.serving.chat import PictureView, chat_messages, fill_template, show_picture
from mmrag.serving.escaping import as_data
from mmrag.serving.requests import Requests
from mmrag.types import Candidate, Query, Verdict

NO_CONTENT = "neither picture nor text to judge by"
NO_CONTENT_NOTE = f"{NO_CONTENT}: see the verdicts"
PROMPTS = (
    "pointwise_system",
    "pointwise_think",
    "pointwise_user",
    "pointwise_page_first",
    "think_first",
    "instruction",
)


class PointwiseMode:
    """Mode that scores every candidate alone: ``sigmoid(logit_yes - logit_no)``, 0..1.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.
    """

    name = "pointwise"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fingerprint = settings.prompts.digest(PROMPTS)
        self._scorer = YesNoScorer(settings)

    def prepare(self) -> Requests[None]:
        """Request the ids of the answer tokens and the model's context length."""
        yield from self._scorer.prepare()

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return one generator per candidate."""
        question = query_input(query, self.settings)
        # Decoded once, here: the generators run in parallel, and two must not load one lazy picture.
        picture = show_picture(question.image, self.settings.image_pixels)
        instruction = instruction_for(query, self.settings)
        return [self._score(query, picture, instruction, candidate) for candidate in candidates]

    def _score(
        self, query: Query, picture: PictureView, instruction: str, candidate: Candidate
    ) -> Requests[Sequence[Verdict]]:
        page = candidate_input(candidate, query, self.settings)
        verdicts = yield from self._scorer.score(
            lambda fraction: self._prompt(query.text or "", picture, instruction, page, fraction)
        )
        (verdict,), notes = verdicts.verdicts, verdicts.notes
        if page.is_empty:
            note = "; ".join(part for part in (verdict.note, NO_CONTENT) if part)
            verdicts = Verdicts((replace(verdict, note=note, read=False),), (*notes, NO_CONTENT_NOTE))
            return with_page_notes(verdicts, [page])
        boxes = read_boxes(verdict.thought) if page.image is not None else ()
        return with_page_notes(Verdicts((replace(verdict, evidence=boxes),), notes), [page])

    def _prompt(
        self, query: str, picture: PictureView, instruction: str, page: ModelInput, fraction: float
    ) -> Prompt:
        """Build the question about this fraction of the page; the query is always whole."""
        settings = self.settings
        view = show_picture(page.image, settings.image_pixels, fraction)
        text = page.cut(int(fraction * len(page.text))) if fraction < 1.0 else page.text
        texts = {
            "instruction": as_data(instruction),
            "query": as_data(query),
            "page": as_data(text),
            "mark": block_mark(query, [page.text], settings),
        }
        pictures = {"query_picture": picture.parts, "page_picture": view.parts}
        user = fill_template(user_template("pointwise", settings), texts, pictures)
        messages = chat_messages(system_prompt("pointwise", settings), user)
        return Prompt(messages, {**picture.data, **view.data}, picture.area + view.area)
