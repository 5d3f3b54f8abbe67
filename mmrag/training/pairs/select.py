"""Selection over all documents: which are held out, and which pairs and pages are duplicates.

Decisions taken here:

* Documents are held out whole. The validation side loses queries that the training side has nearly word for
  word, so that nothing is validated on what was trained on.
* A page that is a near-copy of an earlier one gives no pairs. It goes among the ``removed`` of that page's
  pairs, since it answers them, too: a trainer must not take it for a negative.
* The same holds for near-duplicate queries: the first is kept, and the pages of the others go among its
  ``removed``. Queries that `PairSettings.common` pages or more give ("Introduction") are all dropped.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mmrag.training.pairs.duplicates import Sketch, first_duplicates, page_sketch, query_sketch
from mmrag.training.pairs.read import Part
from mmrag.training.pairs.settings import PairSettings

COPY = 0.9
"""Smallest Jaccard similarity of the shingles of a page and its near-copy."""

PageId = str

SAME_QUERY = "gives nearly the same query"
COPY_OF = "near-copy of the positive"
"""Reasons for a page to be among the removed of a record."""


@dataclass(frozen=True, slots=True)
class PageSketch:
    """A page for comparison.

    Attributes:
        id: record id of the page.
        page: None for too few words.
        queries: of its pairs.
    """

    id: PageId
    page: Sketch | None
    queries: tuple[str, ...]


@dataclass(slots=True)
class Selection:
    """The pairs to write.

    Attributes:
        held_out: ids of the documents of the validation file.
        keep: for each page the positions of its pairs to write.
        removed: for a page and the position of a pair, other pages that answer it, each with the reason.
        dropped_counts: pairs that are not written, by reason.
    """

    held_out: frozenset[str] = frozenset()
    keep: dict[PageId, list[int]] = field(default_factory=lambda: defaultdict(list))
    removed: dict[tuple[PageId, int], list[tuple[PageId, str]]] = field(default_factory=dict)
    dropped_counts: Counter[str] = field(default_factory=Counter)


def sketches_of(part: Part) -> list[PageSketch]:
    """Return the sketches of a document's pages."""
    return [
        PageSketch(item["id"], page_sketch(item["text"] or ""), tuple(pair["text"] for pair in pairs))
        for item, pairs in zip(part.items, part.pairs, strict=True)
    ]


def select_pairs(documents: Mapping[str, Sequence[PageSketch]], settings: PairSettings) -> Selection:
    """Select among the pairs of all documents.

    Args:
        documents: pages by document id, in reading order.
        settings: `hold_out`, `alike`, `common` and `seed` are used.
    """
    selection = Selection(held_out(documents, settings))
    order = sorted(documents, key=lambda document: document in selection.held_out)  # stable: training first
    pages = [page for document in order for page in documents[document]]
    is_held_out = {
        page.id: document in selection.held_out for document in order for page in documents[document]
    }
    copies = _copies(pages)
    copies_of: dict[PageId, list[PageId]] = defaultdict(list)
    for copy, original in copies.items():
        if is_held_out[copy] == is_held_out[original]:
            copies_of[original].append(copy)
    originals = [page for page in pages if page.id not in copies]
    selection.dropped_counts["of a page that copies another"] += sum(
        len(page.queries) for page in pages if page.id in copies
    )
    for (page, position), members in _query_groups(originals, settings.alike):
        sources = list(dict.fromkeys(member for member in members if member != page))
        if 1 + len(sources) >= settings.common:
            selection.dropped_counts[f"given by {settings.common} pages or more"] += len(members)
            continue
        selection.dropped_counts["near-duplicate"] += len(members) - 1
        selection.keep[page].append(position)
        same_side = [source for source in sources if is_held_out[source] == is_held_out[page]]
        selection.removed[page, position] = [(source, SAME_QUERY) for source in same_side] + [
            (copy, COPY_OF)
            for answer in (page, *same_side)
            for copy in copies_of[answer]
            if copy not in same_side
        ]
    return selection


def _query_groups(
    pages: Sequence[PageSketch], threshold: float
) -> Iterator[tuple[tuple[PageId, int], list[PageId]]]:
    """Yield page and position of each first query, with the pages of all its near-duplicates and its own."""
    queries = [(page.id, position) for page in pages for position in range(len(page.queries))]
    sketches = [query_sketch(text) for page in pages for text in page.queries]
    groups: dict[int, list[PageId]] = defaultdict(list)
    for number, first in enumerate(first_duplicates(sketches, threshold)):
        groups[number if first is None else first].append(queries[number][0])
    for first, members in groups.items():
        yield queries[first], members


def held_out(documents: Mapping[str, Sequence[PageSketch]], settings: PairSettings) -> frozenset[str]:
    """Draw the documents of the validation file: at least one of two with pairs, never all.

    The draw depends on the seed and the files' contents alone, not on their names or order.
    """
    useful = [id for id, pages in documents.items() if any(page.queries for page in pages)]
    if settings.hold_out == 0 or len(useful) < 2:
        return frozenset()
    count = min(max(1, round(settings.hold_out * len(useful))), len(useful) - 1)
    order = sorted(useful, key=lambda id: hashlib.sha256(f"{settings.seed}:{id}".encode()).hexdigest())
    return frozenset(order[:count])


def _copies(pages: Sequence[PageSketch]) -> dict[PageId, PageId]:
    """Return the earlier page that each near-copy is a copy of."""
    firsts = first_duplicates([page.page for page in pages], COPY)
    return {page.id: pages[first].id for page, first in zip(pages, firsts, strict=True) if first is not None}
