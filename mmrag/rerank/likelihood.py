"""``likelihood``: how much likelier a page makes the query, for models too small to answer yes or no.

``score = (log p(query | page) - log p(query | no page)) / tokens of the query``, natural logarithm. The
second term is the same for all candidates of a query and does not order them: it makes 0 mean "the page
says nothing of the query". For the same reason the mean over the query's tokens is taken, not the sum:
long and short queries then have scores of one scale, and the order is the same.

Only text is read: completions take no pictures. A page that is too long loses its end, token by token.
Source: query likelihood as in UPR (arXiv 2204.07496), less the query's own likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.errors import ServerError
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import likelihood_body, text_tokens_body
from mmrag.rerank.response import read_context, read_likelihood, read_tokens
from mmrag.serving.chat import as_data
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Verdict

PROMPTS = ("likelihood",)
TOO_LONG = "pages were too long for the model: see the verdicts"
NO_TEXT = "no text to read: scored as a page that says nothing"


class LikelihoodMode:
    """Scores every candidate by itself by the likelihood of the query after its text.

    Args:
        settings: ``prompts`` is looked at; thoughts and pictures have no place here.

    Raises:
        ValueError: a thought is asked for.
    """

    name = "likelihood"

    def __init__(self, settings: Settings) -> None:
        if settings.think_tokens:
            raise ValueError(
                f"mode='likelihood' writes nothing, so think_tokens must be 0, got {settings.think_tokens}."
            )
        self.fingerprint = settings.prompts.digest(PROMPTS)
        before, _, after = settings.prompts.text("likelihood").partition("$page")
        self._before, self._after = before, after + "\n"
        self._context = 0

    def prepare(self) -> Requests[None]:
        """Ask for the model's context."""
        self._context = read_context((yield Request("/tokenize", text_tokens_body("?"), cached=False)))

    def steps(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """One generator a candidate.

        Raises:
            ValueError: the query has no text.
        """
        if not (query.text and query.text.strip()):
            raise ValueError("mode='likelihood' must have a query with text, got none. Use mode='pointwise'.")
        return [self._judge(query.text.strip(), candidate) for candidate in candidates]

    def _judge(self, query: str, candidate: Candidate) -> Requests[Sequence[Verdict]]:
        asked = read_tokens((yield Request("/tokenize", text_tokens_body(as_data(query)), shared=True)))
        after = read_tokens((yield Request("/tokenize", text_tokens_body(self._after), shared=True)))
        room = self._context - len(asked) - len(after) - 1
        without = yield from self._page("", room)
        alone = yield Request("completions", likelihood_body([*without, *after, *asked]), shared=True)
        base = read_likelihood(alone, asked)
        text = candidate.record.text or (candidate.page.text if candidate.page is not None else "")
        if not text.strip():
            return Verdicts((Verdict(0.0, note=NO_TEXT, read=False),), (f"{NO_TEXT}: see the verdicts",))
        page = yield from self._page(as_data(text), None)
        note = ""
        if len(page) > room:
            note = f"read to token {room} of {len(page)} to fit the model's {self._context} tokens"
        reply = yield Request("completions", likelihood_body([*page[:room], *after, *asked]))
        score = (read_likelihood(reply, asked) - base) / len(asked)
        return Verdicts((Verdict(score, note=note),), (TOO_LONG,) if note else ())

    def _page(self, text: str, room: int | None) -> Requests[list[int]]:
        reply = yield Request(
            "/tokenize", text_tokens_body(self._before + text, special=True), shared=not text
        )
        tokens = read_tokens(reply)
        if room is not None and room < len(tokens):
            raise ServerError(
                f"the query must leave room for a page in the model's context, it leaves {room} tokens. "
                "Ask a shorter question, or serve the model with a larger --max-model-len."
            )
        return tokens
