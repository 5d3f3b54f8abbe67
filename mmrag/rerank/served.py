"""``served``: a server that is a reranker itself says how relevant a page is (``POST /rerank``).

A reranker served in the wrong way answers too: Qwen3-VL-Reranker without its overrides and its template
gives about 0.5 to everything. So a pair that leaves no doubt is asked first, once a client, and a server
that cannot tell its two halves apart is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.client import Json
from mmrag.errors import ServerAnswerError
from mmrag.rerank.mode import Judged, Settings
from mmrag.rerank.pointwise import NOTHING, NOTHING_SOMEWHERE
from mmrag.rerank.request import (
    View,
    as_data,
    picture_part,
    query_view,
    share_of_pixels,
    text_part,
    view_of,
)
from mmrag.rerank.response import read_relevance
from mmrag.rerank.steps import Ask, Steps
from mmrag.types import Candidate, Query, Verdict

PROBE_QUERY = "What is the capital of France?"
PROBE_GOOD = "Paris is the capital of France and its largest city."
PROBE_BAD = "Bread dough rises faster in a warm kitchen."
LEAST_DIFFERENCE = 0.01  # of two scores of the obvious pair

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

    def prepare(self) -> Steps[None]:
        """Ask an obvious pair.

        Raises:
            ServerAnswerError: the server cannot tell which of the two answers.
        """
        if not self.settings.probe:
            return
        body = {"query": PROBE_QUERY, "documents": [PROBE_GOOD, PROBE_BAD]}
        reply = yield Ask("/rerank", body, cached=False)
        good, bad = read_relevance(reply, 2)
        if good - bad < LEAST_DIFFERENCE:
            raise ServerAnswerError(
                f"a reranker must score {PROBE_GOOD!r} above {PROBE_BAD!r} for {PROBE_QUERY!r}, "
                f"got {good:.3f} and {bad:.3f}. {WRONGLY_SERVED}",
                str(reply),
            )

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Steps[Sequence[Verdict]]]:
        """One generator a candidate."""
        settings = self.settings
        # No template stands between marker and data here: the server's own does, and control tokens count.
        body: Json = {**settings.extra, "query": self._side(query_view(query, settings))}
        if instruction := settings.instruction or query.instruction:
            body["instruction"] = as_data(instruction)
        return [self._judge(body, candidate) for candidate in candidates]

    def _judge(self, body: Json, candidate: Candidate) -> Steps[Sequence[Verdict]]:
        view = view_of(candidate, self.settings)
        if view.empty:
            # A reranker cannot be asked about nothing; what says nothing is asked about as a blank.
            view = View(" ")
        reply = yield Ask("/rerank", {**body, "documents": [self._side(view)]})
        note = NOTHING if not view.text.strip() and view.image is None else ""
        verdict = Verdict(read_relevance(reply, 1)[0], note=note)
        return Judged((verdict,), (NOTHING_SOMEWHERE,) if note else ())

    def _side(self, view: View) -> str | Json:
        """Plain text where there is no picture: rerankers that only read take no parts."""
        if view.image is None:
            return as_data(view.text)
        area = share_of_pixels(view.image, self.settings.image_pixels, 1.0)
        part, data = picture_part(view.image, area)
        picture = {"type": "image_url", "image_url": {"url": data[part["uuid"]]}}
        return {"content": [picture, *([text_part(as_data(view.text))] if view.text.strip() else [])]}
