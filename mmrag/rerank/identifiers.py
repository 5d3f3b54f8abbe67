"""``identifiers``: all pages in one prompt, each with a letter, scored by the letters' log-probabilities.

The model is asked for the letter of the page that helps the most, and the first token of its answer orders
all of them: one pass over the pages, no decoding. A verdict's score is the natural log-probability of its
letter among the letters of the prompt, at most 0. It compares the candidates of one question only, and says
nothing of whether the best one helps.

More than 20 candidates are judged in windows as `mmrag.rerank.listwise` has them; scores of one that does not
reach the window before it lie below those that did, as far as in its own window.

Models favour places. With ``passes=2`` every window is also shown in reverse, and both log-probabilities are
averaged, at twice the cost.

Sources: single-token decoding over identifiers as in FIRST (arXiv 2406.15657); one listwise pass without
decoding over pages as in ZipRerank (arXiv 2605.11864), whose training and pruning of pictures are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.errors import ServerError
from mmrag.rerank.context_fit import fit_prompt
from mmrag.rerank.listwise import WINDOW, pages_prompt, shared_notes, windows
from mmrag.rerank.pointwise import NO_CONTENT
from mmrag.rerank.protocol import Settings, Verdicts
from mmrag.rerank.request import (
    ModelInput,
    answer_body,
    candidate_input,
    text_tokens_body,
    with_page_notes,
)
from mmrag.rerank.response import Choice, read_choice, read_tokens
from mmrag.rerank.yesno import Thinker
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Query, Verdict

LETTERS = "ABCDEFGHIJKLMNOPQRST"
"""One for each page of a window."""
PROMPTS = (
    "identifiers_system",
    "identifiers_user",
    "identifiers_page_first",
    "identifiers_page",
    "instruction",
)
LEAST_MASS = 0.5
"""Probability of all letters together below which a note says that the model wants to answer otherwise."""


@dataclass(frozen=True, slots=True)
class _Window:
    """The log-probabilities of one window's pages, in the order given, and how they came about.

    Attributes:
        scores: mean over the passes.
        fraction: least part of the pages that fitted into a prompt.
        absent: letters without a log-probability, of all passes.
        mass: least probability of all letters together.
    """

    scores: tuple[float, ...]
    fraction: float
    absent: int
    mass: float


class IdentifiersMode:
    """Mode that scores all candidates by the first token of one answer.

    Args:
        settings: see `mmrag.rerank.ThinkReranker`.

    Raises:
        ValueError: ``think_tokens`` is not 0.
    """

    name = "identifiers"

    def __init__(self, settings: Settings) -> None:
        if settings.think_tokens:
            raise ValueError(
                f"mode='identifiers' writes nothing, so think_tokens must be 0, got {settings.think_tokens}."
            )
        assert len(LETTERS) == WINDOW
        self.settings = settings
        self.fingerprint = settings.prompts.digest(PROMPTS)
        self._thinker = Thinker(settings)
        self._ids: list[int] = []

    def prepare(self) -> Requests[None]:
        """Request the model's context length and the letters' token ids.

        Raises:
            ServerError: a letter is not one token of its own.
        """
        yield from self._thinker.prepare()
        ids: list[int] = []
        for letter in LETTERS:
            tokens = read_tokens((yield Request("/tokenize", text_tokens_body(letter), cached=False)))
            if len(tokens) != 1 or tokens[0] in ids:
                raise ServerError(
                    f"each letter must be one token of its own to the model, {letter!r} is {tokens}. "
                    "Use mode='listwise'."
                )
            ids += tokens
        self._ids = ids

    def requests(self, query: Query, candidates: Sequence[Candidate]) -> list[Requests[Sequence[Verdict]]]:
        """Return one generator for all candidates: each window starts from the order of the one before."""
        return [self._score(query, candidates)]

    def _score(self, query: Query, candidates: Sequence[Candidate]) -> Requests[Sequence[Verdict]]:
        pages = [candidate_input(candidate, query, self.settings) for candidate in candidates]
        order = list(range(len(pages)))
        answers: list[tuple[list[int], _Window]] = []  # indices of a window, best first, and its answer
        for start, stop in windows(len(pages)):
            indices = order[start:stop]
            answer = yield from self._judge(query, [pages[index] for index in indices])
            ranks = sorted(range(len(indices)), key=lambda at: (-answer.scores[at], at))
            order[start:stop] = [indices[at] for at in ranks]
            answers.append((order[start:stop], _in_order(answer, ranks)))
        scores = joined_scores([(indices, answer.scores) for indices, answer in answers])
        verdicts = tuple(
            Verdict(scores[index], note=NO_CONTENT if page.is_empty else "", read=not page.is_empty)
            for index, page in enumerate(pages)
        )
        notes = self._notes([answer for _, answer in answers], verdicts)
        return with_page_notes(Verdicts(verdicts, notes), pages)

    def _notes(self, answers: Sequence[_Window], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
        notes = []
        if absent := sum(answer.absent for answer in answers):
            notes.append(f"{absent} letters had no log-probability: their pages stand last, in prior order")
        mass = min((answer.mass for answer in answers), default=1.0)
        if mass < LEAST_MASS:
            notes.append(f"the model answers with a page's letter with a probability of {mass:.2g} only")
        fraction = min((answer.fraction for answer in answers), default=1.0)
        return (*notes, *shared_notes(fraction, self._thinker.context, verdicts))

    def _judge(self, query: Query, pages: Sequence[ModelInput]) -> Requests[_Window]:
        """Request the scores of one window's pages in as many passes as the settings say."""
        choice, fraction = yield from self._ask(query, pages)
        if self.settings.passes == 1:
            return _Window(choice.logprobs, fraction, choice.absent, choice.mass)
        reverse, second = yield from self._ask(query, pages[::-1])
        scores = tuple(
            (before + after) / 2
            for before, after in zip(choice.logprobs, reverse.logprobs[::-1], strict=True)
        )
        mass = min(choice.mass, reverse.mass)
        return _Window(scores, min(fraction, second), choice.absent + reverse.absent, mass)

    def _ask(self, query: Query, pages: Sequence[ModelInput]) -> Requests[tuple[Choice, float]]:
        """Request the log-probabilities of one window's letters; also return how much of the pages fitted."""
        letters = LETTERS[: len(pages)]
        labels = [{"letter": letter} for letter in letters]
        fields = {"first": letters[0], "last": letters[-1]}
        prompt, fraction = yield from fit_prompt(
            lambda fraction: pages_prompt(
                "identifiers", query, pages, labels, fields, self.settings, fraction
            ),
            self._thinker.prompt_limit(answer_tokens=1),
            self._thinker.extra,
        )
        _, messages = yield from self._thinker.think(prompt.messages, prompt.pictures)
        ids = self._ids[: len(pages)]
        body = answer_body(messages, ids, self._thinker.extra)
        reply = yield Request("chat/completions", body, pictures=prompt.pictures)
        return read_choice(reply, ids), fraction


def _in_order(answer: _Window, ranks: Sequence[int]) -> _Window:
    scores = tuple(answer.scores[at] for at in ranks)
    return _Window(scores, answer.fraction, answer.absent, answer.mass)


def joined_scores(answers: Sequence[tuple[Sequence[int], Sequence[float]]]) -> dict[int, float]:
    """Return one score per candidate from the scores of windows that overlap.

    The last window's scores are kept. Candidates that the window behind it alone has follow below: as far
    under the lowest score so far as in their own window they are under those that went on.

    Args:
        answers: per window, from the back of the ranking to its front, the candidates' indices, best first,
            and their scores.
    """
    scores: dict[int, float] = {}
    for indices, values in reversed(answers):
        named_scores = [value for index, value in zip(indices, values, strict=True) if index in scores]
        shift = min(scores.values()) - min(named_scores) if named_scores else 0.0
        for index, value in zip(indices, values, strict=True):
            scores.setdefault(index, value + shift)
    return scores
