"""Which candidates of a query become hard negatives, and which are removed.

A retriever's best wrong pages are the ones worth learning from, and also the ones that are often not
wrong at all: they were only never labelled. So each candidate is scored by a judge, and one that scores
nearly as well as the labelled page is removed instead of pushed away. Pure functions; no index, no server.

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

Pick = Literal["best", "random"]

SAME_TEXT = "same text as a positive"
JUDGED_POSITIVE = "judged relevant"
TOO_CLOSE = "too close to the positive"
KNOWN = "the data says that it answers"
"""Why a candidate was removed; the kinds that a removed item of the output carries."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of a selection. Scores are the judge's, in the judge's own scale.

    A rule whose number is None is off. ``false_negative`` and ``least_positive`` are points on the
    judge's scale, so they only mean something where that scale is fixed, as a probability's is. Whatever
    is off, a candidate that scores as the positive or more is removed.

    Attributes:
        ranks: first and last retrieval rank that may become a negative, from 1.
        negatives: most hard negatives a query.
        margin: a candidate with ``s >= s_pos - margin`` is removed.
        ratio: one with ``s >= ratio * s_pos`` is removed; meant for scores above 0.
        false_negative: one with ``s >= false_negative`` is removed as judged relevant.
        least_positive: a labelled page that scores below is set aside, and a query without any other
            is skipped: the judge does not see why the page answers.
        pick: ``"best"`` keeps the highest-scored of those that remain, ``"random"`` draws among them.
        seed: of the draw; a query's draw does not depend on the other queries.

    Raises:
        ValueError: a number out of its range.
    """

    ranks: tuple[int, int] = (1, 20)
    negatives: int = 12
    margin: float | None = 0.1
    ratio: float | None = None
    false_negative: float | None = 0.9
    least_positive: float | None = 0.5
    pick: Pick = "best"
    seed: int = 0

    def __post_init__(self) -> None:
        first, last = self.ranks
        if not 1 <= first <= last:
            raise ValueError(
                f"ranks must be a first and a last rank from 1, got {first},{last}. Write 1,20 or 50,100."
            )
        if self.negatives < 1:
            raise ValueError(f"negatives must be at least 1, got {self.negatives!r}.")
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

    def limit(self, positive: float) -> float:
        """The score that a negative must stay below, given the positive's; see the attributes."""
        limits = [math.inf if self.false_negative is None else self.false_negative]
        limits.append(positive if self.margin is None else positive - self.margin)
        if self.ratio is not None:
            limits.append(self.ratio * positive)
        return min(limits)


def rules_for(mode: str, **given: Any) -> Rules:  # noqa: ANN401  the attributes of `Rules`
    """Rules whose defaults fit a judge's scale.

    Args:
        mode: of `mmrag.rerank.ThinkReranker`; ``"none"`` for no judge, which mines as Magic-MM's second
            stage does: two at random from ranks 50 to 100.
        given: attributes of `Rules` that replace the defaults.

    Raises:
        ValueError: ``listwise``, whose scores say nothing but an order; or a number out of its range.
    """
    if mode == "listwise":
        raise ValueError(
            "a judge must give scores that can be compared, got mode 'listwise', which gives an order only. "
            "Use pointwise, ecrr, qar, served, likelihood or local."
        )
    return Rules(**{**_DEFAULTS.get(mode, {}), **given})


_OPEN: dict[str, Any] = {"false_negative": None, "least_positive": None}
_DEFAULTS: dict[str, dict[str, Any]] = {
    # The same points in log-odds: 0.9 is 2.2 and 0.5 is 0; 0.1 about one half is 0.4.
    "local": {"margin": 0.4, "false_negative": 2.2, "least_positive": 0.0},
    "likelihood": {"margin": 0.4, **_OPEN},
    "none": {"ranks": (50, 100), "negatives": 2, "margin": None, "pick": "random", **_OPEN},
}


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate as the rules see it.

    Attributes:
        id: the record's.
        score: the judge's; larger is more relevant.
        rank: in the retrieval, from 1; None for a labelled page that the retrieval did not reach.
        same_text: reads word for word like a positive.
    """

    id: str
    score: float
    rank: int | None
    same_text: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """What the rules make of one query.

    Attributes:
        positives: labelled pages to train towards, best first.
        doubtful: labelled pages that the judge scored below ``least_positive``.
        negatives: hard negatives, best first (in the order drawn for ``pick="random"``).
        removed: likely false negatives with the reason, best first.
        skipped: why the query is of no use; ``""`` where it is.
    """

    positives: tuple[Scored, ...]
    doubtful: tuple[Scored, ...] = ()
    negatives: tuple[Scored, ...] = ()
    removed: tuple[tuple[Scored, str], ...] = ()
    skipped: str = ""


def select(query_id: str, positives: Sequence[Scored], others: Sequence[Scored], rules: Rules) -> Selection:
    """Apply the rules to one query.

    Args:
        query_id: seeds the draw of ``pick="random"``, together with the rules' seed.
        positives: the labelled pages, all of them, wherever they were ranked.
        others: the candidates that are not labelled.
        rules: see `Rules`.

    Returns:
        A selection. ``s_pos`` is the lowest score of a positive that was kept, so that every negative
        is below every positive.

    Raises:
        ValueError: no positives, or a score that is not finite.
    """
    if not positives:
        raise ValueError(f"query {query_id!r} must have at least one positive, got none.")
    for one in (*positives, *others):
        if not math.isfinite(one.score):
            raise ValueError(f"scores to select by must be finite, got {one.score!r} for {one.id!r}.")
    least = -math.inf if rules.least_positive is None else rules.least_positive
    kept = _best_first([one for one in positives if one.score >= least])
    doubtful = _best_first([one for one in positives if one.score < least])
    if not kept:
        return Selection((), doubtful, skipped=f"no positive scores {least:g} or more")
    positive = kept[-1].score
    limit = rules.limit(positive)
    first, last = rules.ranks
    within = [one for one in _best_first(others) if one.rank is not None and first <= one.rank <= last]
    good = [one for one in within if not one.same_text and one.score < limit]
    removed = tuple((one, _reason(one, rules)) for one in within if one.same_text or one.score >= limit)
    if rules.pick == "random":
        # A string seeds the same way on every platform and Python; a tuple's hash would not.
        random.Random(f"{rules.seed}:{query_id}").shuffle(good)
    negatives = tuple(good[: rules.negatives])
    skipped = "" if negatives else "no candidate is clearly below the positive"
    return Selection(kept, doubtful, negatives, removed, skipped)


def _best_first(items: Sequence[Scored]) -> tuple[Scored, ...]:
    """By score, then by retrieval rank, then by id: a total order, so that a rerun gives the same."""
    return tuple(
        sorted(items, key=lambda one: (-one.score, math.inf if one.rank is None else one.rank, one.id))
    )


def _reason(one: Scored, rules: Rules) -> str:
    if one.same_text:
        return SAME_TEXT
    if rules.false_negative is not None and one.score >= rules.false_negative:
        return JUDGED_POSITIVE
    return TOO_CLOSE
