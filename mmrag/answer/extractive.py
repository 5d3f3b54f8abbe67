"""Answers without a server: what stands on the pages, quoted exactly, best first.

Nothing is generated, compared, counted or computed. A question that asks for that gets the table or the chart
that holds the figures. Where nothing answers, the answer says so.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrag.answer.areas import block_area
from mmrag.answer.choice import Score, ScoredPassage, choose, confidence, missing_names, near_best
from mmrag.answer.continuation import ends_open, rest_of_sentence
from mmrag.answer.passages import Passage, passages_of
from mmrag.answer.question import Question
from mmrag.answer.quotes import line_boxes
from mmrag.answer.tables import narrow, whole_tables
from mmrag.answer_form import without_answer_form
from mmrag.errors import DocumentError, MissingExtraError, WorkerError, check_whole
from mmrag.types import Answer, Candidate, Citation, Page, Query, Ranking, Usage

if TYPE_CHECKING:
    from typing_extensions import Self

    from mmrag.answer import NextPage, PageBlocks
    from mmrag.blocks import Block

THRESHOLD = 0.5
"""Least confidence of an answer that is given; docs/lab-log.md has the curve that it was chosen on."""
MOST_NAMES = 3
"""Most names that an abstention says are missing."""
NOT_ANSWERED = "No passage of the pages that were read seems to answer this question."
NOT_COMPUTED = (
    "This answerer quotes and does not compare, count or compute: the figures are in the cited passage. "
    "For an answer in words name a server (answerer=ServedAnswerer(URL), or --answerer-url URL)."
)


class ExtractiveAnswerer:
    """Answers by quoting one to three passages, chosen by a model.

    Args:
        score: the model that chooses: ``score(question, passages)`` gives a log-odds a passage. None: words
            alone choose.
        candidates: how many of the ranking's first are read.
        quotes: most quotes of an answer.
        threshold: least confidence, 0..1, of an answer that is given; 0 answers whatever is asked.
        blocks: returns the structure of a page; `mmrag.DocumentQA` sets its own if this is None.
        next_page: returns the page behind a page, for sentences that a page's end cuts; set in the same way.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> qa.ask("Who chairs the board?", k=1, answerer=ExtractiveAnswerer(quotes=1)).text
        'Ingrid Thorne chairs the board. [1]'
    """

    def __init__(
        self,
        score: Score | None = None,
        *,
        candidates: int = 5,
        quotes: int = 3,
        threshold: float = THRESHOLD,
        blocks: PageBlocks | None = None,
        next_page: NextPage | None = None,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be within 0..1, got {threshold}. 0 answers whatever is asked.")
        self.score = score
        self.candidates = check_whole("candidates", candidates)
        self.quotes = check_whole("quotes", quotes)
        self.threshold = threshold
        self.blocks = blocks
        self.next_page = next_page

    def with_blocks(self, blocks: PageBlocks) -> Self:
        """Return a copy that reads structure by `blocks`."""
        twin = copy.copy(self)
        twin.blocks = blocks
        return twin

    def with_next_page(self, next_page: NextPage) -> Self:
        """Return a copy that finds the page behind a page by `next_page`."""
        twin = copy.copy(self)
        twin.next_page = next_page
        return twin

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """Quote what the ranking's pages say.

        Args:
            query: its text is the question.
            ranking: pages or plain texts, best first.

        Returns:
            Quotes with their places, best first, a line each; or an answer with ``abstained`` set that says
            why. Abstains where the query is an image alone or the ranking is empty.
        """
        start = time.perf_counter()
        answer = self._answer(query, ranking)
        seconds = {"extract": time.perf_counter() - start}
        return replace(answer, usage=Usage(seconds))

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """Run `answer` in a thread."""
        return await asyncio.to_thread(self.answer, query, ranking)

    def _answer(self, query: Query, ranking: Ranking) -> Answer:
        if not (query.text or "").strip():
            why = "It has no words: quoting needs a question in words."
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True)
        question = Question(without_answer_form(query.text or ""))
        if not question.stems and not question.kind:
            why = "It has no word that says what to look for."
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True, confidence=0.0)
        candidates = ranking.candidates[: self.candidates]
        notes: list[str] = []
        structure = [self._blocks_of(candidate.page, notes) for candidate in candidates]
        passages = [
            passage
            for number, (candidate, blocks) in enumerate(zip(candidates, structure, strict=True))
            for passage in passages_of(candidate, number, blocks)
        ]
        note = " ".join(dict.fromkeys(notes))
        if not passages:
            why = "The pages found have no text." if candidates else "No page was found."
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True, note=note, confidence=0.0)
        passages = [_narrow(question, passage, candidates) for passage in passages]
        if question.computes:
            passages = whole_tables(passages)
        scores = choose(question, passages, candidates, self.score)
        sure = confidence(question, scores, candidates)
        if not scores or sure < self.threshold:
            why = _why_not(question, scores, candidates)
            return Answer(why, (), ranking, abstained=True, note=note, confidence=sure)
        quotes = [item.passage for item in near_best(scores)[: self.quotes]]
        citations: tuple[Citation, ...] = ()
        lines: list[str] = []
        for passage in quotes:
            at = passage.candidate
            citations += (
                parts := self._with_rest(passage, candidates[at], structure[at], len(citations) + 1)
            )
            lines.append(parts[0].quote + " " + "".join(f"[{part.number}]" for part in parts))
        if quotes[0].is_outline:  # the table's figures are not in the quote: it is evidence, and no answer
            text = f"{NOT_COMPUTED} [1]"
            return Answer(text, citations[:1], ranking, abstained=True, note=note, confidence=sure)
        if question.computes and not quotes[0].match_level:
            lines.append(NOT_COMPUTED)
        return Answer("\n".join(lines), citations, ranking, note=note, confidence=sure, quoted=True)

    def _with_rest(
        self, passage: Passage, candidate: Candidate, blocks: Sequence[Block] | None, number: int
    ) -> tuple[Citation, ...]:
        """Return the quote's citation, and one of the rest of its sentence if the page's end cuts it.

        The first then quotes the whole sentence: half of it can say the opposite.
        """
        first = _citation(number, passage, candidate)
        page = candidate.page
        if page is None or self.next_page is None or not blocks or not ends_open(passage, page, blocks):
            return (first,)
        behind = self.next_page(page)
        rest_blocks = self._blocks_of(behind, [])
        rest = rest_of_sentence(behind, rest_blocks, passage.candidate) if behind and rest_blocks else None
        if behind is None or rest is None:
            return (first,)
        next_candidate = replace(candidate, record=replace(candidate.record, id=behind.id, page=behind))
        note = f"The sentence goes on over the page's end: see [{number + 1}]."
        whole = replace(first, quote=f"{first.quote} {rest.text}", note=note)
        return whole, _citation(number + 1, rest, next_candidate)

    def _blocks_of(self, page: Page | None, notes: list[str]) -> Sequence[Block] | None:
        if page is None or page.blocks is not None or self.blocks is None:
            return None if page is None else page.blocks
        try:
            return self.blocks(page)
        except (
            DocumentError,
            MissingExtraError,
            WorkerError,
        ) as error:  # the words are in the index: they can be quoted without structure
            notes.append(f"Tables and headings of {page.source.name} could not be told apart: {error}")
            return None


def _citation(number: int, passage: Passage, candidate: Candidate) -> Citation:
    boxes = line_boxes(passage.words) if candidate.page is not None else ()
    block = passage.block
    return Citation(
        number,
        candidate.id,
        passage.text,
        boxes,
        candidate.page,
        candidate.score,
        block.kind if block is not None else "text",
        passage.title,
        area=block_area(block, boxes) if block is not None else None,
    )


def _narrow(question: Question, passage: Passage, candidates: Sequence[Candidate]) -> Passage:
    page = candidates[passage.candidate].page
    return passage if page is None else narrow(question, passage, page.words)


def _why_not(question: Question, scores: Sequence[ScoredPassage], candidates: Sequence[Candidate]) -> str:
    """Say that nothing answers, which names are on none of the pages, and which page is nearest."""
    names = missing_names(question, candidates)[:MOST_NAMES]
    sentences = [NOT_ANSWERED]
    if names:
        quoted_names = " or ".join(f"“{name}”" for name in names)
        pages = "The page" if len(candidates) == 1 else f"None of the {len(candidates)} pages"
        sentences.append(
            f"{pages} read has {'no ' if len(candidates) == 1 else ''}{quoted_names} in its text."
        )
    if scores:
        sentences.append(f"The nearest is {_name(candidates[scores[0].passage.candidate])}.")
    return " ".join(sentences)


def _name(candidate: Candidate) -> str:
    page = candidate.page
    return candidate.id if page is None else f"{page.source.name}, page {page.number + 1}"
