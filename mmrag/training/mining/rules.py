"""Rules that choose the hard negatives of a query, and remove candidates that are probably relevant.

A retriever's best wrong pages teach most, and are often not wrong at all: nobody labelled them. So a judge
scores each candidate, and one that scores nearly as well as the labelled page is removed instead of pushed
away. Pure functions; no index, no server.

Sources of the rules: the cascade of TTE-v2 (arXiv 2602.23369) names reranking-based hard-negative mining
without its numbers; ``s >= s_pos - margin``, ``s >= false_negative`` and ``s_pos < least_positive`` are
our reading of it. Twelve judged negatives, 20 candidates, and two random ones from ranks 50 to 100 without
a judge are Magic-MM-Embedding's (arXiv 2602.05275). ``s >= ratio * s_pos`` is the positive-aware form of
NV-Retriever (0.95 there).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmrag.errors import check_whole

Pick = Literal["best", "random"]

SAME_TEXT = "same text as a positive"
JUDGED_POSITIVE = "judged relevant"
TOO_CLOSE = "too close to the positive"
KNOWN_POSITIVE = "the data says that it answers"
"""Reasons of removed items."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of a selection, on the scale of the judge's scores.

    A rule that is None is off. ``false_negative`` and ``least_positive`` are points on the judge's scale, so
    they need a fixed scale such as probabilities. Even with all rules off, a candidate that scores at least
    as high as the positive is removed.

    Attributes:
        ranks: first and last retrieval rank that may become a negative, from 1.
        negatives: most hard negatives per query.
        margin: candidates with ``s >= s_pos - margin`` are removed.
        ratio: candidates with ``s >= ratio * s_pos`` are removed; meant for scores above 0.
        false_negative: candidates with ``s >= false_negative`` are removed as judged relevant.
        least_positive: labelled pages that score below are set aside as doubtful; a query without another
            positive is skipped.
        pick: ``"best"`` keeps the highest-scored of the remaining candidates, ``"random"`` samples them.
        seed: of the sample; a query's sample does not depend on the other queries.
        positive_rank: labelled pages that the retrieval did not find within this rank are doubtful, too.
            With `least_positive` it is the round trip of questions that a model wrote: the page is found
            again, and the judge sees the answer there.

    Raises:
        ValueError: a number is out of its range.
    """

    ranks: tuple[int, int] = (1, 20)
    negatives: int = 12
    margin: float | None = 0.1
    ratio: float | None = None
    false_negative: float | None = 0.9
    least_positive: float | None = 0.5
    pick: Pick = "best"
    seed: int = 0
    positive_rank: int | None = None

    def __post_init__(self) -> None:
        first, last = self.ranks
        if not 1 <= first <= last:
            raise ValueError(
                f"ranks must be a first and a last rank from 1, got {first},{last}. Write 1,20 or 50,100."
            )
        check_whole("negatives", self.negatives)
        if self.positive_rank is not None:
            check_whole("positive_rank", self.positive_rank, 1)
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"margin must be a number of at least 0, or None, got {self.margin!r}.")
        if self.ratio is not None and not 0 < self.ratio <= 1:
            raise ValueError(
                f"ratio must be above 0 and at most 1, or None, got {self.ratio!r}. 0.95 is usual."
            )
        for name in ("false_negative", "least_positive"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, or None, got {value!r}.")
        if self.pick not in ("best", "random"):
            raise ValueError(f"pick must be 'best' or 'random', got {self.pick!r}.")

    def doubt(self, positive: ScoredRecord) -> str:
        """Return why a labelled page is doubtful; ``""`` if it is not."""
        if self.positive_rank is not None and not 1 <= (positive.rank or 0) <= self.positive_rank:
            return f"no positive was found among the first {self.positive_rank}"
        if self.least_positive is not None and positive.score < self.least_positive:
            return f"no positive scores {self.least_positive:g} or more"
        return ""

    def limit(self, positive: float) -> float:
        """Return the score that a negative must stay below, given the positive's; see the attributes."""
        limits = [math.inf if self.false_negative is None else self.false_negative]
        limits.append(positive if self.margin is None else positive - self.margin)
        if self.ratio is not None:
            limits.append(self.ratio * positive)
        return min(limits)


def rules_for(mode: str, **changes: Any) -> Rules:  # noqa: ANN401  the attributes of `Rules`
    """Return rules whose defaults fit the scale of a judge.

    Args:
        mode: of `mmrag.rerank.ThinkReranker`; ``"local"``; or ``"none"`` for no judge, which mines as
            Magic-MM's second stage does: two at random from ranks 50 to 100.
        changes: attributes of `Rules` that replace the defaults.

    Raises:
        ValueError: ``listwise``, whose scores are ranks only; or a number is out of its range.
    """
    if mode == "listwise":
        raise ValueError(
            "a judge must give scores that can be compared, got mode 'listwise', which gives an order only. "
            "Use pointwise, ecrr, qar, served, likelihood or local."
        )
    return Rules(**{**_DEFAULTS.get(mode, {}), **changes})


_OPEN: dict[str, Any] = {"false_negative": None, "least_positive": None}
_DEFAULTS: dict[str, dict[str, Any]] = {
    # The same points in log-odds: 0.9 is 2.2 and 0.5 is 0; 0.1 about one half is 0.4.
    "local": {"margin": 0.4, "false_negative": 2.2, "least_positive": 0.0},
    "likelihood": {"margin": 0.4, **_OPEN},
    "none": {"ranks": (50, 100), "negatives": 2, "margin": None, "pick": "random", **_OPEN},
}


@dataclass(frozen=True, slots=True)
class ScoredRecord:
    """Facts about a candidate that the rules use.

    Attributes:
        id: the record's.
        score: the judge's; larger is more relevant.
        rank: in the retrieval, from 1; None for a labelled page that the retrieval did not reach.
        same_text: whether its text equals that of a positive.
    """

    id: str
    score: float
    rank: int | None
    same_text: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The rules' decision on one query.

    Attributes:
        positives: labelled pages to train towards, best first.
        doubtful: labelled pages that the judge scored below ``least_positive``.
        negatives: hard negatives, best first (in random order for ``pick="random"``).
        removed: likely false negatives with the reason, best first.
        skipped: why the query is of no use; ``""`` if it is of use.
    """

    positives: tuple[ScoredRecord, ...]
    doubtful: tuple[ScoredRecord, ...] = ()
    negatives: tuple[ScoredRecord, ...] = ()
    removed: tuple[tuple[ScoredRecord, str], ...] = ()
    skipped: str = ""


def select(
    query_id: str, positives: Sequence[ScoredRecord], candidates: Sequence[ScoredRecord], rules: Rules
) -> Selection:
    """Apply the rules to one query.

    Args:
        query_id: seeds the sample of ``pick="random"``, together with the rules' seed.
        positives: all labelled pages, whatever their rank.
        candidates: the pages that are not labelled.
        rules: see `Rules`.

    Returns:
        A selection. ``s_pos`` is the lowest score among its positives, so every negative scores below every
        positive.

    Raises:
        ValueError: no positives, or a score that is not finite.
    """
    if not positives:
        raise ValueError(f"query {query_id!r} must have at least one positive, got none.")
    for record in (*positives, *candidates):
        if not math.isfinite(record.score):
            raise ValueError(f"scores to select by must be finite, got {record.score!r} for {record.id!r}.")
    doubts = [rules.doubt(record) for record in positives]
    clear = _best_first([record for record, doubt in zip(positives, doubts, strict=True) if not doubt])
    doubtful = _best_first([record for record, doubt in zip(positives, doubts, strict=True) if doubt])
    if not clear:
        return Selection((), doubtful, skipped=min(doubts))
    negatives, removed = _split(candidates, clear[-1].score, rules)
    if rules.pick == "random":
        # A string seeds the same way on every platform and Python; a tuple's hash would not.
        random.Random(f"{rules.seed}:{query_id}").shuffle(negatives)
    skipped = "" if negatives else "no candidate is clearly below the positive"
    return Selection(clear, doubtful, tuple(negatives[: rules.negatives]), removed, skipped)


def _split(
    candidates: Sequence[ScoredRecord], positive: float, rules: Rules
) -> tuple[list[ScoredRecord], tuple[tuple[ScoredRecord, str], ...]]:
    """Split the candidates within the ranks into possible negatives and removed ones, best first."""
    first, last = rules.ranks
    limit = rules.limit(positive)
    negatives: list[ScoredRecord] = []
    removed: list[tuple[ScoredRecord, str]] = []
    for record in _best_first(candidates):
        if record.rank is None or not first <= record.rank <= last:
            continue
        if record.same_text or record.score >= limit:
            removed.append((record, _reason(record, rules)))
        else:
            negatives.append(record)
    return negatives, tuple(removed)


def _best_first(records: Sequence[ScoredRecord]) -> tuple[ScoredRecord, ...]:
    """Sort by score, then by retrieval rank, then by id: a total order, so a rerun gives the same."""
    return tuple(sorted(records, key=lambda record: (-record.score, record.rank or math.inf, record.id)))


def _reason(record: ScoredRecord, rules: Rules) -> str:
    if record.same_text:
        return SAME_TEXT
    if rules.false_negative is not None and record.score >= rules.false_negative:
        return JUDGED_POSITIVE
    return TOO_CLOSE
