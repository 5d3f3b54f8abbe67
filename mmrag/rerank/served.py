"""``served``: a server that is a reranker itself says how relevant a page is.

Texts go to ``/rerank``, which many servers have. What has a picture goes to vLLM's ``/score``: the number is
the same, and its answer does not repeat the picture.

A reranker served in the wrong way answers too: Qwen3-VL-Reranker without its overrides and its template
gives about 0.5 to everything. So a pair that leaves no doubt is asked first, once a client, and a server
that cannot tell its two halves apart is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.errors import ServerAnswerError
from mmrag.rerank.pointwise import NOTHING, NOTHING_SOMEWHERE
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import View, query_view, text_tokens_body, view_of
from mmrag.rerank.response import read_relevance, read_score, read_served_context, read_tokens
from mmrag.serving.chat import as_data, cut_text, picture_part, scaled_area, text_part
from mmrag.serving.client import Json
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Verdict

PROBE_QUERY = "What is the capital of France?"
PROBE_GOOD = "Paris is the capital of France and its largest city."
PROBE_BAD = "Bread dough rises faster in a warm kitchen."
LEAST_DIFFERENCE = 0.01  # of two scores of the obvious pair
TEMPLATE_TOKENS = 256  # what a reranker's template puts around query and document, instruction included
PIXELS_A_TOKEN = 768  # 28 x 28, the smallest patch of today's vision rerankers, rounded down
TOO_LONG = "pages were too long for the model: see the verdicts"

WRONGLY_SERVED = (
    "Qwen3-VL-Reranker needs --runner pooling, --hf-overrides "
    '\'{"architectures": ["Qwen3VLForSequenceClassification"], "classifier_from_token": ["no", "yes"], '
    '"is_original_qwen3_reranker": true}\' and its own --chat-template; `mmrag serve --mode rerank` gives '
    "them. Pass probe=False to take the scores as they are."
)


class ServedMode:
    """Scores every candidate by itself; the scale is the server's, larger is better.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.

    Raises:
        ValueError: a thought is asked for.
    """

    name = "served"

    def __init__(self, settings: Settings) -> None:
        if settings.think_tokens:
            raise ValueError(
                f"mode='served' writes nothing, so think_tokens must be 0, got {settings.think_tokens}."
            )
        self.settings = settings
        self.fingerprint = ""
        self._context: int | None = None

    def prepare(self) -> Requests[None]:
        """Ask for the model's context, where the server tells it, and an obvious pair.

        Raises:
            ServerAnswerError: the server cannot tell which of the two answers.
        """
        self._context = read_served_context((yield Request("models", optional=True)))
        if not self.settings.probe:
            return
        body = {"query": PROBE_QUERY, "documents": [PROBE_GOOD, PROBE_BAD]}
        reply = yield Request("/rerank", body, cached=False)
        good, bad = read_relevance(reply, 2)
        if good - bad < LEAST_DIFFERENCE:
            raise ServerAnswerError(
                f"a reranker must score {PROBE_GOOD!r} above {PROBE_BAD!r} for {PROBE_QUERY!r}, "
                f"got {good:.3f} and {bad:.3f}. {WRONGLY_SERVED}",
                str(reply),
            )

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """One generator a candidate."""
        settings = self.settings
        asked = query_view(query, settings)
        body: Json = dict(settings.extra)
        if instruction := settings.instruction or query.instruction:
            body["instruction"] = as_data(instruction)
        side = self._side(asked)  # once: a lazy picture must not be loaded by two generators side by side
        return [self._judge(asked, side, body, candidate) for candidate in candidates]

    def _judge(
        self, asked: View, query: str | Json, body: Json, candidate: Candidate
    ) -> Requests[Sequence[Verdict]]:
        view = view_of(candidate, self.settings)
        view, note = yield from self._cut(asked, view)
        document = self._side(view)
        if asked.image is None and view.image is None:
            reply = yield Request("/rerank", {**body, "query": query, "documents": [document]})
            score = read_relevance(reply, 1)[0]
        else:
            score = read_score((yield Request("/score", {**body, "queries": query, "documents": [document]})))
        if view.empty:
            return Verdicts((Verdict(score, note=NOTHING, read=False),), (NOTHING_SOMEWHERE,))
        return Verdicts((Verdict(score, note=note),), (TOO_LONG,) if note else ())

    def _cut(self, asked: View, view: View) -> Requests[tuple[View, str]]:
        """The view with its text cut to what the model's context leaves for it, and what is to be said."""
        if self._context is None:
            return view, ""
        areas = [
            scaled_area(side.image, self.settings.image_pixels, 1.0)
            for side in (asked, view)
            if side.image is not None
        ]
        room = self._context - TEMPLATE_TOKENS - len(as_data(asked.text).encode())
        room -= sum(areas) // PIXELS_A_TOKEN
        if len(as_data(view.text).encode()) <= room:
            return view, ""
        length = len(read_tokens((yield Request("/tokenize", text_tokens_body(as_data(view.text))))))
        if length <= room:
            return view, ""
        cap = int(0.95 * len(view.text) * max(0, room) / length)
        note = f"cut to {cap} of {len(view.text)} characters to fit the model's {self._context} tokens"
        return View(cut_text(view.text, cap), view.image), note

    def _side(self, view: View) -> str | Json:
        """One side of a pair: plain text without a picture, since rerankers that only read take no parts."""
        if view.image is None:
            return as_data(view.text)
        area = scaled_area(view.image, self.settings.image_pixels, 1.0)
        part, data = picture_part(view.image, area)
        picture = {"type": "image_url", "image_url": {"url": data[part["uuid"]]}}
        return {"content": [picture, *([text_part(as_data(view.text))] if view.text.strip() else [])]}
