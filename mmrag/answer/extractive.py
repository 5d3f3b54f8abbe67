"""Answers without a server or a language model: what stands on the pages, quoted exactly.

Nothing is generated. A sentence is given as it stands; a figure of a table or chart as ``row, column:
cell`` in the page's own words; a form's field as ``label: value``. Where nothing answers, the answer says
so, and names what was missing and the page that came closest.

Limits: no arithmetic, no counting, no reasoning over several sentences; a superlative ("which was the
highest?") compares the figures of one column, row or chart and quotes the winner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from mmrag.answer.compose import Found, compose
from mmrag.answer.question import Question, analyse
from mmrag.answer.scoring import Encode, Pool, Scored
from mmrag.answer.units import (
    Unit,
    units_of,
)
from mmrag.answer.words import equals
from mmrag.types import Answer, Candidate, Citation, Query, Ranking, Usage

NOT_ANSWERED = "The documents do not answer this question."


class ExtractiveAnswerer:
    """Answers by quoting.

    Args:
        encode: ``encode(texts, side)`` gives one vector a text, ``side`` being ``"query"`` or
            ``"document"``; None works by words alone.
        candidates: how many of the ranking's first are read.

    Raises:
        ValueError: ``candidates`` is smaller than 1.
    """

    def __init__(self, encode: Encode | None = None, *, candidates: int = 5) -> None:
        if candidates < 1:
            raise ValueError(
                f"candidates must be at least 1, got {candidates}. 5 reads the first five pages."
            )
        self.encode = encode
        self.candidates = candidates

    def answer(self, query: Query, ranking: Ranking) -> Answer:
        """The answer that the ranking's pages hold.

        Args:
            query: its text is the question.
            ranking: pages or plain texts, best first.

        Returns:
            Sentences, cells, values or fields with their places, or an answer with ``abstained`` set
            that says why. Abstains where the query is an image alone or the ranking is empty.
        """
        started = time.perf_counter()
        answer = self._answer(query, ranking)
        seconds = {"extract": time.perf_counter() - started}
        return Answer(answer.text, answer.citations, ranking, answer.abstained, Usage(seconds))

    async def aanswer(self, query: Query, ranking: Ranking) -> Answer:
        """`answer` in a thread."""
        return await asyncio.to_thread(self.answer, query, ranking)

    def _answer(self, query: Query, ranking: Ranking) -> Answer:
        if not query.text or not query.text.strip():
            why = "It has no words: quoting needs a question in words."
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True)
        looked = ranking.candidates[: self.candidates]
        pages = [units_of(candidate, place) for place, candidate in enumerate(looked)]
        pool = Pool(
            looked,
            _without_furniture([page[0] for page in pages], looked),
            [page[1] for page in pages],
            self.encode,
        )
        if not pool.units:
            why = (
                "No page with text was found."
                if not looked
                else f"{_name(looked[0])} came closest, but has no text."
            )
            return Answer(f"{NOT_ANSWERED} {why}", (), ranking, abstained=True)
        question = analyse(query.text)
        if question.parts:
            answer = self._parts(question, pool, ranking)
            if answer is not None:
                return answer
        scored = pool.score(question)
        found = compose(question, scored, pool)
        if not found:
            return Answer(_why_not(question, scored, pool), (), ranking, abstained=True)
        return _write([found], ranking, pool)

    def _parts(self, question: Question, pool: Pool, ranking: Ranking) -> Answer | None:
        """Each part answered by itself; None where the question is better taken as one."""
        answered: list[list[Found]] = []
        unanswered: list[Question] = []
        taken: set[str] = set()
        for part in question.parts:
            scored = pool.score(part)
            if question.compares and taken:
                apart = [s for s in scored if _document_of(s.unit, pool) not in taken]
                rest = [s for s in scored if _document_of(s.unit, pool) in taken]
                scored = apart + rest if any(s.passes for s in apart) else scored
            found = compose(part, scored, pool, one=True)
            if not found:
                unanswered.append(part)
                continue
            if question.compares:
                taken.add(_document_of(found[0].unit, pool))
            answered.append(found)
        if not answered or (question.compares and unanswered):
            return None
        if len(answered) == 2 and answered[0][0].unit is answered[1][0].unit:
            answered.pop()
        notes = [f'The documents do not answer "{part.text.strip()}".' for part in unanswered]
        return _write(answered, ranking, pool, notes)


def _without_furniture(pages: Sequence[list[Unit]], candidates: Sequence[Candidate]) -> list[list[Unit]]:
    """Leave out running heads and feet.

    They are lines at a page's edge that other pages of the document repeat, or short ones that end no
    sentence.
    """
    seen: dict[tuple[str, str], set[int]] = {}
    for units, candidate in zip(pages, candidates, strict=True):
        for unit in units:
            if candidate.page is not None:
                seen.setdefault((candidate.page.document_id, unit.text), set()).add(unit.place)
    kept = []
    for units, candidate in zip(pages, candidates, strict=True):
        document = candidate.page.document_id if candidate.page is not None else ""
        kept.append(
            [unit for unit in units if not _is_furniture(unit, len(seen.get((document, unit.text), ())))]
        )
    return kept


def _is_furniture(unit: Unit, pages: int) -> bool:
    if unit.kind != "sentence" or len(unit.text.split()) > 14 or not unit.boxes:
        return False
    edge = 0.12 if pages > 1 else 0.07
    if min(b[1] for b in unit.boxes) < 1 - edge and max(b[3] for b in unit.boxes) > edge:
        return False
    return pages > 1 or unit.text[-1:] not in ".!:"


def _document_of(unit: Unit, pool: Pool) -> str:
    candidate = pool.candidates[unit.place]
    return candidate.page.document_id if candidate.page is not None else candidate.id


def _write(
    groups: Sequence[Sequence[Found]], ranking: Ranking, pool: Pool, notes: Sequence[str] = ()
) -> Answer:
    """Number the pieces and write the answer."""
    lines: list[str] = []
    citations: list[Citation] = []
    for group in groups:
        said = []
        for piece in group:
            number = len(citations) + 1
            candidate = pool.candidates[piece.unit.place]
            citations.append(
                Citation(
                    number,
                    candidate.id,
                    piece.quote,
                    piece.boxes if candidate.page is not None else (),
                    candidate.page,
                    candidate.score,
                    piece.unit.kind,
                    piece.unit.title,
                )
            )
            said.append(f"{piece.text} [{number}]")
        lines.append(" ".join(said))
    lines.extend(notes)
    return Answer("\n".join(lines), tuple(citations), ranking)


def _why_not(question: Question, scored: Sequence[Scored], pool: Pool) -> str:
    """That nothing answers, what was missed, and where it came closest."""
    best = scored[0]
    where = _name(pool.candidates[best.unit.place])
    lacking = [surface for surface in best.missing]
    if lacking:
        listed = ", ".join(f"“{surface}”" for surface in lacking)
        return f"{NOT_ANSWERED} {where} came closest, but has nothing on {listed}."
    if best.fits is False:
        asked = _ASKED.get(question.kind, "what was asked")
        return f"{NOT_ANSWERED} {where} came closest, but gives no {asked} for it."
    unit = best.unit
    unmet = [
        t.surface for t in question.terms if t.kind == "word" and not {t.stem, *equals(t.stem)} & _about(unit)
    ]
    if unmet:
        listed = ", ".join(f"“{surface}”" for surface in unmet[:4])
        return (
            f"{NOT_ANSWERED} {where} came closest, but no sentence, table or chart there speaks of {listed}."
        )
    return f"{NOT_ANSWERED} {where} came closest, but too little of the question is met there."


def _about(unit: Unit) -> frozenset[str]:
    return unit.own | frozenset(unit.context)


_ASKED = {
    "percent": "percentage",
    "money": "amount of money",
    "count": "number",
    "number": "figure",
    "year": "year",
    "date": "date",
    "person": "person",
}


def _name(candidate: Candidate) -> str:
    page = candidate.page
    if page is None:
        return f"The text “{candidate.id}”"
    return f"{page.source.name}, page {page.number + 1},"
