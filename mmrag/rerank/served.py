"""``served``: a server that is a reranker itself scores the pages.

Texts go to ``/rerank``, which many servers have: vLLM, Cohere and Jina take ``documents``, TEI
(text-embeddings-inference) takes ``texts`` and no pictures. Pairs with a picture go to vLLM's ``/score``: the
number is the same, and its answer does not repeat the picture.

A reranker served in the wrong way answers too: Qwen3-VL-Reranker without its overrides and its template
gives about 0.5 to everything. So an obvious pair is scored first, once per client, and a server that cannot
tell its two documents apart is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.errors import ServerAnswerError
from mmrag.rerank.pointwise import NO_CONTENT, NO_CONTENT_NOTE
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import (
    ModelInput,
    candidate_input,
    query_input,
    text_input,
    text_tokens_body,
    with_page_notes,
)
from mmrag.rerank.response import read_relevance, read_score, read_served_context, read_tokens
from mmrag.serving.chat import picture_part, scaled_area, text_part
from mmrag.serving.client import Json
from mmrag.serving.escaping import as_data
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Verdict

PROBE_QUERY = "What is the capital of France?"
PROBE_GOOD = "Paris is the capital of France and its largest city."
PROBE_BAD = "Bread dough rises faster in a warm kitchen."
DIALECTS = (("/rerank", "documents"), ("/rerank", "texts"), ("rerank", "documents"))
"""Path (at the root, else under /v1) and name of the list of texts, in the order in which they are tried."""
UNKNOWN_FORM = (404, 405, 422)  # no such path, or a body of another form
TEXT_ALONE = "judged by its text: this server reads no pictures"
LEAST_DIFFERENCE = 0.01  # of the two scores of the obvious pair
TEMPLATE_TOKENS = 256  # what a reranker's template puts around query and document, instruction included
PIXELS_PER_TOKEN = 768  # 28 x 28, the smallest patch of today's vision rerankers, rounded down
TOO_LONG = "pages were too long for the model: see the verdicts"

WRONGLY_SERVED = (
    "Qwen3-VL-Reranker needs --runner pooling, --hf-overrides "
    '\'{"architectures": ["Qwen3VLForSequenceClassification"], "classifier_from_token": ["no", "yes"], '
    '"is_original_qwen3_reranker": true}\' and its own --chat-template; `mmrag serve --mode rerank` gives '
    "them. Pass probe=False to take the scores as they are."
)


class ServedMode:
    """Mode that scores every candidate alone on the server's own scale; larger is better.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.

    Raises:
        ValueError: ``think_tokens`` is not 0.
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
        self._dialect: tuple[str, str] | None = None  # of DIALECTS, once it is known

    def prepare(self) -> Requests[None]:
        """Request the model's context length, if the server knows it, and the scores of an obvious pair.

        Raises:
            ServerAnswerError: the server does not score the right document above the wrong one.
        """
        self._context = read_served_context((yield Request("models", optional=True)))
        if not self.settings.probe:
            return
        body = {"query": PROBE_QUERY, "documents": [PROBE_GOOD, PROBE_BAD]}
        reply = yield from self._rerank(body, cached=False)
        good, bad = read_relevance(reply, 2)
        if good - bad < LEAST_DIFFERENCE:
            raise ServerAnswerError(
                f"a reranker must score {PROBE_GOOD!r} above {PROBE_BAD!r} for {PROBE_QUERY!r}, "
                f"got {good:.3f} and {bad:.3f}. {WRONGLY_SERVED}",
                str(reply),
            )

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return one generator per candidate."""
        settings = self.settings
        question = query_input(query, settings)
        body: Json = dict(settings.extra)
        if instruction := settings.instruction or query.instruction:
            body["instruction"] = as_data(instruction)
        content = self._content(question)  # once: two generators must not load one lazy picture
        return [self._score(query, question, content, body, candidate) for candidate in candidates]

    def _score(
        self, query: Query, question: ModelInput, content: str | Json, body: Json, candidate: Candidate
    ) -> Requests[Sequence[Verdict]]:
        page, notes = candidate_input(candidate, query, self.settings), []
        if (
            self._reads_no_pictures
            and page.image is not None
            and page.text.strip()
            and question.image is None
        ):
            page, notes = text_input(candidate, query, self.settings), [TEXT_ALONE]
        shown_page = page
        page, cut_note = yield from self._cut(question, page)
        note = "; ".join([*notes, cut_note] if cut_note else notes)
        document = self._content(page)
        if question.image is None and page.image is None:
            reply = yield from self._rerank({**body, "query": content, "documents": [document]})
            score = read_relevance(reply, 1)[0]
        else:
            reply = yield Request("/score", {**body, "queries": content, "documents": [document]})
            score = read_score(reply)
        if page.is_empty:
            verdicts = Verdicts((Verdict(score, note=NO_CONTENT, read=False),), (NO_CONTENT_NOTE,))
        else:
            verdicts = Verdicts((Verdict(score, note=note),), (TOO_LONG,) if cut_note else ())
        return with_page_notes(verdicts, [shown_page])

    def _rerank(self, body: Json, *, cached: bool = True) -> Requests[Json]:
        """Request scores in the dialect that this server has; the first reply finds it, and is not cached."""
        if self._dialect is None:
            for dialect in DIALECTS[:-1]:
                path, form = dialect[0], _in_dialect(body, dialect)
                reply = yield Request(path, form, cached=False, optional=True, absent=UNKNOWN_FORM)
                if reply:
                    self._dialect = dialect
                    return reply
            self._dialect = DIALECTS[-1]
        return (yield Request(self._dialect[0], _in_dialect(body, self._dialect), cached=cached))

    @property
    def _reads_no_pictures(self) -> bool:
        """Whether the server is known to be one of texts alone."""
        return self._dialect is not None and self._dialect[1] == "texts"

    def _cut(self, question: ModelInput, page: ModelInput) -> Requests[tuple[ModelInput, str]]:
        """Return the page with its text cut to fit the model's context, and a note if it was cut."""
        if self._context is None:
            return page, ""
        room = self._room(question, page)
        if len(as_data(page.text).encode()) <= room:  # a token is at least one byte
            return page, ""
        reply = yield Request("/tokenize", text_tokens_body(as_data(page.text)))
        length = len(read_tokens(reply))
        if length <= room:
            return page, ""
        cap = int(0.95 * len(page.text) * max(0, room) / length)
        note = f"cut to {cap} of {len(page.text)} characters to fit the model's {self._context} tokens"
        return ModelInput(page.cut(cap), page.image), note

    def _room(self, question: ModelInput, page: ModelInput) -> int:
        """Return the tokens that template, query and pictures leave for the page's text; may be negative."""
        pixels = self.settings.image_pixels
        images = [side.image for side in (question, page) if side.image is not None]
        area = sum(scaled_area(image, pixels, 1.0) for image in images)
        used = TEMPLATE_TOKENS + len(as_data(question.text).encode()) + area // PIXELS_PER_TOKEN
        return (self._context or 0) - used

    def _content(self, side: ModelInput) -> str | Json:
        """Return one side of a pair; plain text without a picture, since text rerankers take no parts."""
        if side.image is None:
            return as_data(side.text)
        area = scaled_area(side.image, self.settings.image_pixels, 1.0)
        part, data = picture_part(side.image, area)
        picture = {"type": "image_url", "image_url": {"url": data[part["uuid"]]}}
        return {"content": [picture, *([text_part(as_data(side.text))] if side.text.strip() else [])]}


def _in_dialect(body: Json, dialect: tuple[str, str]) -> Json:
    """Return a request for scores with its texts under the name that the dialect has for them."""
    if dialect[1] == "documents":
        return body
    fields = {name: value for name, value in body.items() if name != "documents"}
    return {**fields, "texts": body["documents"], "truncate": True}
