"""Documents with their best pages, made of a ranking of pages."""

from __future__ import annotations

from dataclasses import replace

from mmrag.types import Candidate, Ranking

GROUP_BY = ("document",)
"""What the pages of a ranking can be grouped by."""

GROUP_PAGES = 3
"""Pages of each document, where documents are asked for."""

GROUP_REACH = 20
"""Pages ranked for each document that is asked for."""


def group_by_document(ranking: Ranking, k: int, pages: int = GROUP_PAGES) -> Ranking:
    """Return at most `k` documents in the order of their best page, `pages` of each standing together.

    Ranks are numbered anew; scores stay, so they no longer fall from one candidate to the next.
    """
    groups: dict[str, list[Candidate]] = {}
    for candidate in ranking:
        groups.setdefault(candidate.document_id, []).append(candidate)
    best = [candidate for group in list(groups.values())[:k] for candidate in group[:pages]]
    candidates = tuple(replace(candidate, rank=rank) for rank, candidate in enumerate(best, start=1))
    return replace(ranking, candidates=candidates)
