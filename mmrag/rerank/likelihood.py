"""``likelihood``: how much likelier a page makes the query, for models too small to answer yes or no.

``score = (log p(query | page) - log p(query | no page)) / tokens of the query``, natural logarithm. The
second term is the same for all candidates of a query and does not order them: with it, 0 means "the page
says nothing of the query". For the same reason the score is the mean over the query's tokens, not the sum:
long and short queries then score on one scale, in the same order.

Only text is read, since completions take no pictures. A page that is too long loses its last tokens.
Source: query likelihood as in UPR (arXiv 2204.07496), less the query's own likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.errors import ServerError
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import likelihood_body, text_input, text_tokens_body, with_page_notes
from mmrag.rerank.response import read_context, read_likelihood, read_tokens
from mmrag.serving.escaping import as_data
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Verdict

PROMPTS = ("likelihood",)
TOO_LONG = "pages were too long for the model: see the verdicts"
NO_TEXT = "no text to read: scored as a page that says nothing"


class LikelihoodMode:
    """Mode that scores every candidate by the likelihood of the query after its text.

    Args:
        settings: ``prompts`` and ``text_chars`` are used.

    Raises:
        ValueError: ``think_tokens`` is not 0.
    """

    name = "likelihood"

    def __init__(self, settings: Settings) -> None:
        if settings.think_tokens:
            raise ValueError(
                f"mode='likelihood' writes nothing, so think_tokens must be 0, got {settings.think_tokens}."
            )
        self.settings = settings
        self.fingerprint = settings.prompts.digest(PROMPTS)
        before, _, after = settings.prompts.text("likelihood").partition("$page")
        self._before, self._after = before, after + "\n"
        self._context = 0

    def prepare(self) -> Requests[None]:
        """Request the model's context length."""
        self._context = read_context((yield Request("/tokenize", text_tokens_body("?"), cached=False)))

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return one generator per candidate.

        Raises:
            ValueError: the query has no text.
        """
        if not (query.text and query.text.strip()):
            raise ValueError("mode='likelihood' must have a query with text, got none. Use mode='pointwise'.")
        return [self._score(query, candidate) for candidate in candidates]

    def _score(self, query: Query, candidate: Candidate) -> Requests[Sequence[Verdict]]:
        target = yield from self._tokens(as_data((query.text or "").strip()))
        after = yield from self._tokens(self._after)
        room = self._context - len(target) - len(after) - 1
        bare = yield from self._page_tokens("")
        if room < len(bare):
            raise ServerError(
                f"the query must leave room for a page in the model's context, it leaves {room} tokens. "
                "Ask a shorter question, or serve the model with a larger --max-model-len."
            )
        reply = yield Request("completions", likelihood_body([*bare, *after, *target]), shared=True)
        base = read_likelihood(reply, target)
        text = text_input(candidate, query, self.settings)
        if not text.text.strip():
            return Verdicts((Verdict(0.0, note=NO_TEXT, read=False),), (f"{NO_TEXT}: see the verdicts",))
        page = yield from self._page_tokens(as_data(text.text))
        note = ""
        if len(page) > room:
            note = f"read to token {room} of {len(page)} to fit the model's {self._context} tokens"
        reply = yield Request("completions", likelihood_body([*page[:room], *after, *target]))
        score = (read_likelihood(reply, target) - base) / len(target)
        verdicts = Verdicts((Verdict(score, note=note),), (TOO_LONG,) if note else ())
        return with_page_notes(verdicts, [text])

    def _tokens(self, text: str) -> Requests[list[int]]:
        """Request the tokens of a text that all candidates share."""
        return read_tokens((yield Request("/tokenize", text_tokens_body(text), shared=True)))

    def _page_tokens(self, text: str) -> Requests[list[int]]:
        """Request the tokens of the prompt up to the end of a page; the empty page is shared."""
        body = text_tokens_body(self._before + text, special=True)
        return read_tokens((yield Request("/tokenize", body, shared=not text)))
