"""The choice of passages: words make a shortlist, a cross-encoder reads it, and its best are quoted.

The score of a passage is the model's log-odds and a little more

* for the share of the question's words, and of its names and numbers, in it or at its page's head;
* for holding the kind of thing that is asked for;
* for a table's row or cell that the question names;
* where a name or an address is asked for, for standing at the head of a page: letters, invoices and title
  pages say there who they are from;

and a little less

* for how far its document is behind the best one, and its page behind the best of its document: of documents
  that look alike only the search knows which one the question names;
* where figures are asked for and the pages have a table or a picture, for standing in neither: text beside a
  chart speaks of some figures, and the chart has them all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mmrag.answer.passages import Passage
from mmrag.answer.question import Question
from mmrag.answer.words import content_stems
from mmrag.types import Candidate

Score: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""``score(question, passages)`` gives a log-odds a passage."""

SHORTLIST = 24
WORDS = 3.0
KIND = 3.0
NAMES = 4.0
MATCH = (0.0, 2.0, 6.0)
"""By `Passage.match_level`."""
HEAD = 5.0
DOCUMENT, LEAST_DOCUMENT = 2.0, -3.0
"""Weight of a document's score less the best document's, and the least that this counts."""
PAGE, LEAST_PAGE = 2.0, -3.0
"""The same for a page's score less that of the best page of its document."""
FIGURE_BLOCKS = ("table", "picture")
"""Kinds of blocks that hold figures; where a number is asked for, other passages lose `KIND`."""
FLOOR = -8.0
"""Log-odds below which the model says no; differences there mean nothing."""
MARGIN = 10.0
"""Log-odds by which a passage that is quoted, too, may be behind the first."""
SHARE, SCORE, ABSENT, CELL, BIAS = 1.5, 0.054, -3.5, 4.3, -0.95
"""Weights of `confidence`."""
SHARE_POWER = 8
"""Of the share of words: it says much where a page has all of them, and little below."""
HEAD_LINES = 3
HEAD_KINDS = ("name", "place")


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPassage:
    """A passage and its scores.

    Attributes:
        passage: the passage.
        score: larger is better; orders passages.
        model: the cross-encoder's log-odds.
    """

    passage: Passage
    score: float
    model: float


def choose(
    question: Question,
    passages: Sequence[Passage],
    candidates: Sequence[Candidate],
    score: Score | None,
    *,
    most: int | None = None,
) -> list[ScoredPassage]:
    """Return the best passages, best first.

    Left out are passages that overlap a better one, and those that say no word beyond the question's.

    Args:
        question: what is asked.
        passages: of all pages that are read.
        candidates: the pages.
        score: the model. None: words alone decide.
        most: how many passages the model reads. None: `SHORTLIST`.
    """
    heads = head_stems(passages, candidates)
    passages = [item for item in passages if not question.stems.issuperset(content_stems(item.text))]
    own_stems = [frozenset(content_stems(passage.read_text)) for passage in passages]
    stems = [own_stems[index] | heads[passage.candidate] for index, passage in enumerate(passages)]
    names = {name: frozenset(content_stems(name)) for name in question.names}
    drops = _drops(candidates, _table_widths(passages, len(candidates)))
    holds_figures = _figure_holders(question, passages)
    prior = [
        WORDS * share
        + KIND * question.kind_share(passage.text)
        + NAMES * _share_met(names.values(), stems[index])
        + MATCH[passage.match_level]
        + HEAD * _head(question, passage)
        - KIND * (not holds_figures[index])
        + drops[passage.candidate]
        for index, (share, passage) in enumerate(zip(word_shares(question, stems), passages, strict=True))
    ]
    order = sorted(range(len(passages)), key=lambda index: -prior[index])
    short = _apart([passages[index] for index in order], order, SHORTLIST if most is None else most)
    model = (
        [0.0] * len(short)
        if score is None
        else score(
            question.read_text,
            [
                _with_names(names, passages[index].read_text, own_stems[index], stems[index])
                for index in short
            ],
        )
    )
    scores = [
        ScoredPassage(passages[index], max(value, FLOOR) + prior[index], value)
        for index, value in zip(short, model, strict=True)
    ]
    return sorted(scores, key=lambda item: -item.score)


def _table_widths(passages: Sequence[Passage], count: int) -> list[frozenset[int]]:
    """Return how many columns the tables of each candidate have."""
    widths: list[set[int]] = [set() for _ in range(count)]
    for passage in passages:
        if passage.block is not None and passage.block.table is not None:
            widths[passage.candidate].add(passage.block.table.columns)
    return [frozenset(columns) for columns in widths]


def _are_in_a_row(left: Candidate, right: Candidate) -> bool:
    """Check whether two candidates are pages of one document, one right behind the other."""
    if left.document_id != right.document_id or left.page is None or right.page is None:
        return False
    return abs(left.page.number - right.page.number) == 1


def _drops(candidates: Sequence[Candidate], widths: Sequence[frozenset[int]]) -> list[float]:
    """Return what each candidate loses for the place of its document, and for its own in that, at most 0.

    Two pages in a row with tables of equally many columns have the place of the better one: a table that goes
    on over a page is one thing, of which the search finds the half with the header first.

    Args:
        candidates: the pages.
        widths: of `_table_widths`.
    """
    page_scores = [
        max(
            neighbour.score
            for number, neighbour in enumerate(candidates)
            if number == at or (widths[at] & widths[number] and _are_in_a_row(candidate, neighbour))
        )
        for at, candidate in enumerate(candidates)
    ]
    best: dict[str, float] = {}
    for candidate in candidates:
        best[candidate.document_id] = max(candidate.score, best.get(candidate.document_id, -math.inf))
    top = max(best.values(), default=0.0)
    return [
        DOCUMENT * max(best[candidate.document_id] - top, LEAST_DOCUMENT)
        + PAGE * max(page_score - best[candidate.document_id], LEAST_PAGE)
        for candidate, page_score in zip(candidates, page_scores, strict=True)
    ]


def _figure_holders(question: Question, passages: Sequence[Passage]) -> list[bool]:
    """Return which passages are of tables and pictures; all, if none is or no figures are asked for.

    The names of a long table's columns alone are no figures.
    """
    holders = [
        passage.block is not None and passage.block.kind in FIGURE_BLOCKS and not passage.is_outline
        for passage in passages
    ]
    asks = question.computes or question.kind == "number"
    return holders if asks and any(holders) else [True] * len(holders)


def near_best(scores: Sequence[ScoredPassage]) -> list[ScoredPassage]:
    """Return the first passage and those whose scores are not far below; a cell that is named stays alone."""
    best = scores[0]
    if best.passage.match_level == 2:
        return [best]
    return [item for item in scores if item.score > best.score - MARGIN]


def confidence(question: Question, scores: Sequence[ScoredPassage], candidates: Sequence[Candidate]) -> float:
    """Return how likely the pages answer the question, 0..1.

    By the share of the question's own words that stand together on *one* page (or on it and the one before),
    for five pages have most words of any question. People ask in words that the page has not, so anything
    less than all of them says little. Then by the first passage's score, by the share of the question's names
    and numbers that none of the pages has, and by whether the passage is a cell named by row and column.
    Weights are fitted on the drawn packs of ``scripts/make_packs.py``, both classes at equal weight; the
    constant is where answers and silence balance on tables and forms (docs/lab-log.md).
    """
    if not scores:
        return 0.0
    best = scores[0]
    file_stems = frozenset(stem for candidate in candidates for stem in content_stems(_file_name(candidate)))
    absent_names = [
        name for name in missing_names(question, candidates) if not file_stems.issuperset(content_stems(name))
    ]
    logit = (
        SHARE * max(_page_shares(question, candidates), default=0.0) ** SHARE_POWER
        + SCORE * best.score
        + ABSENT * len(absent_names) / max(1, len(question.names))
        + CELL * (best.passage.match_level == 2)
        + BIAS
    )
    return 0.5 + 0.5 * math.tanh(logit / 2)  # the logistic function, without overflow


def _page_shares(question: Question, candidates: Sequence[Candidate]) -> Iterator[float]:
    """Yield for each page the share of the question's own words that it has; 1 if the question has none.

    A page has what its text and its file name say, and what the page before it says, if that was found, too:
    tables go on without their headers, and "it" is what was named before.
    """
    stems = [
        {*content_stems(candidate.record.text), *content_stems(_file_name(candidate))}
        for candidate in candidates
    ]
    positions = {
        (candidate.document_id, candidate.page.number): position
        for position, candidate in enumerate(candidates)
        if candidate.page is not None
    }
    for candidate, own_stems in zip(candidates, stems, strict=True):
        number = candidate.page.number if candidate.page is not None else 0
        before = positions.get((candidate.document_id, number - 1))
        found_stems = own_stems if before is None else own_stems | stems[before]
        yield len(question.specific & found_stems) / len(question.specific) if question.specific else 1.0


def _file_name(candidate: Candidate) -> str:
    return candidate.page.source.name if candidate.page is not None else ""


def missing_names(question: Question, candidates: Sequence[Candidate]) -> list[str]:
    """Return the question's names and numbers that no text has, neither as they are written nor by stems."""
    names = list(question.names)
    for candidate in candidates if names else ():
        text = " ".join(candidate.record.text.casefold().split())
        stems = frozenset(content_stems(candidate.record.text))
        names = [
            name
            for name in names
            if " ".join(name.casefold().split()) not in text and not stems.issuperset(content_stems(name))
        ]
    return names


def head_stems(passages: Sequence[Passage], candidates: Sequence[Candidate]) -> dict[int, frozenset[str]]:
    """Return the stems of each page's file name, titles and first lines, by candidate.

    What they name holds for the whole page.
    """
    heads = {number: set(content_stems(_file_name(candidate))) for number, candidate in enumerate(candidates)}
    for passage in passages:
        stems = heads[passage.candidate]
        stems.update(content_stems(passage.title))
        if passage.size and not passage.start:
            stems.update(content_stems(passage.text))
    return {candidate: frozenset(stems) for candidate, stems in heads.items()}


def word_shares(question: Question, stems: Sequence[frozenset[str]]) -> list[float]:
    """Return, for each passage's stems, the share of the question's words among them, by their weight.

    A word weighs ``log(1 + n / passages with it)``; one that no passage has weighs as much as one that a
    single passage has.
    """
    bags = [question.stems & bag for bag in stems]
    frequency = Counter(stem for bag in bags for stem in bag)
    weights = {stem: math.log(1 + len(bags) / max(1, frequency[stem])) for stem in question.stems}
    total = math.fsum(weights.values())
    return [math.fsum(weights[stem] for stem in bag) / total if total else 0.0 for bag in bags]


def _share_met(names: Collection[frozenset[str]], stems: frozenset[str]) -> float:
    """Return the share of names all of whose stems are there; 1 without names."""
    return sum(stems.issuperset(name) for name in names) / len(names) if names else 1.0


def _with_names(
    names: Mapping[str, frozenset[str]], text: str, own_stems: frozenset[str], stems: frozenset[str]
) -> str:
    """Return what the model reads: names of the question that only the page's head has, then the passage.

    Args:
        names: of the question, and their stems.
        text: of the passage.
        own_stems: of the passage alone.
        stems: of it and of its page's head.
    """
    heads = [
        name for name, parts in names.items() if not own_stems.issuperset(parts) and stems.issuperset(parts)
    ]
    return ": ".join([*heads, text])


def _head(question: Question, passage: Passage) -> float:
    """Return how near to the head of its page a passage begins, 1 to 0; 0 if that says nothing."""
    if question.kind not in HEAD_KINDS or not passage.size or passage.start >= HEAD_LINES:
        return 0.0
    return 1 - passage.start / HEAD_LINES if question.kind == "name" else 1.0


def _apart(passages: Sequence[Passage], order: Sequence[int], most: int) -> list[int]:
    """Return the positions of the first passages that share less than half of their lines with one before."""
    selection: list[Passage] = []
    positions: list[int] = []
    for passage, index in zip(passages, order, strict=True):
        if len(positions) == most:
            break
        if not any(overlap(passage, better) for better in selection):
            selection.append(passage)
            positions.append(index)
    return positions


def overlap(passage: Passage, better: Passage) -> bool:
    """Check whether two windows of a page share more than half of the lines of the smaller."""
    if passage.candidate != better.candidate or not passage.size or not better.size:
        return False
    shared = min(passage.start + passage.size, better.start + better.size) - max(passage.start, better.start)
    return 2 * shared > min(passage.size, better.size)
