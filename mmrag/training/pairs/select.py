"""Over all documents: which are held out, which pairs say the same, and which pages are copies.

Decisions taken here:

* Documents are held out whole. What the training side has, nearly word for word, the other side loses, so
  that nothing is validated on what was trained on.
* A page that is a near-copy of an earlier one gives no pairs. It stands among the ``removed`` of that
  page's pairs, since it answers them, too: a trainer must not take it for a negative.
* The same holds for near-duplicate queries: the first stays and remembers the pages of the others. One
  that as many as `PairSettings.common` pages give ("Introduction") is dropped with all of its like.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmrag.training.pairs.duplicates import Sketch, first_alike, page_sketch, query_sketch
from mmrag.training.pairs.read import Part
from mmrag.training.pairs.settings import PairSettings

COPY = 0.9
"""Pages that share this share of their sampled runs of words, and all figures, are copies."""

PageId = str

SAME_QUERY = "gives nearly the same query"
COPY_OF = "near-copy of the positive"
"""Why a page is among the removed of a line."""


@dataclass(frozen=True, slots=True)
class PageSketch:
    """A page as it is compared.

    Attributes:
        id: record id of the page.
        page: None where it has too few words.
        queries: its pairs' queries.
    """

    id: PageId
    page: Sketch | None
    queries: tuple[str, ...]


@dataclass(slots=True)
class Chosen:
    """What is written.

    Attributes:
        held_out: ids of the documents of the second file.
        keep: for each page that gives lines, the places of its pairs that do.
        removed: for a page and the place of a pair, other pages that answer it, with the reason.
        dropped: pairs that are left out, by reason.
    """

    held_out: frozenset[str] = frozenset()
    keep: dict[PageId, list[int]] = field(default_factory=lambda: defaultdict(list))
    removed: dict[tuple[PageId, int], list[tuple[PageId, str]]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


def sketches_of(part: Part) -> list[PageSketch]:
    """The pages of a document as they are compared."""
    return [
        PageSketch(item["id"], page_sketch(item["text"] or ""), tuple(pair["text"] for pair in pairs))
        for item, pairs in zip(part.items, part.pairs, strict=True)
    ]


def select_pairs(documents: Mapping[str, Sequence[PageSketch]], settings: PairSettings) -> Chosen:
    """Choose among the pairs of all documents.

    Args:
        documents: pages by document id, in the order of reading.
        settings: `hold_out`, `alike`, `common` and `seed` are used.
    """
    chosen = Chosen(held_out(documents, settings))
    order = sorted(documents, key=lambda document: document in chosen.held_out)  # stable: training first
    pages = [page for document in order for page in documents[document]]
    side = {page.id: document in chosen.held_out for document in order for page in documents[document]}
    copies = _copies(pages)
    sisters: dict[PageId, list[PageId]] = defaultdict(list)
    for copy, first in copies.items():
        if side[copy] == side[first]:
            sisters[first].append(copy)

    originals = [page for page in pages if page.id not in copies]
    asked = [(page.id, place) for page in originals for place in range(len(page.queries))]
    every = sum(len(page.queries) for page in pages)
    chosen.dropped["of a page that copies another"] += every - len(asked)
    queries = {page.id: page.queries for page in pages}
    earliest = first_alike([query_sketch(queries[page][place]) for page, place in asked], settings.alike)
    like: dict[int, list[int]] = defaultdict(list)
    for at, earlier in enumerate(earliest):
        like[at if earlier is None else earlier].append(at)
    for leader, members in like.items():
        page, place = asked[leader]
        others = list(dict.fromkeys(asked[at][0] for at in members if asked[at][0] != page))
        if 1 + len(others) >= settings.common:
            chosen.dropped[f"given by {settings.common} pages or more"] += len(members)
            continue
        chosen.dropped["near-duplicate"] += len(members) - 1
        chosen.keep[page].append(place)
        same_side = [other for other in others if side[other] == side[page]]
        chosen.removed[page, place] = [(other, SAME_QUERY) for other in same_side] + [
            (other, COPY_OF)
            for answering in (page, *same_side)
            for other in sisters[answering]
            if other not in same_side
        ]
    return chosen


def held_out(documents: Mapping[str, Sequence[PageSketch]], settings: PairSettings) -> frozenset[str]:
    """The documents of the second file: at least one where there are two with pairs, never all.

    Which they are depends on the seed and the files' contents alone, not on names or order.
    """
    useful = [id for id, pages in documents.items() if any(page.queries for page in pages)]
    if settings.hold_out == 0 or len(useful) < 2:
        return frozenset()
    count = min(max(1, round(settings.hold_out * len(useful))), len(useful) - 1)
    drawn = sorted(useful, key=lambda id: hashlib.sha256(f"{settings.seed}:{id}".encode()).hexdigest())
    return frozenset(drawn[:count])


def _copies(pages: Sequence[PageSketch]) -> dict[PageId, PageId]:
    """The earlier page that each page is a near-copy of."""
    first = first_alike([page.page for page in pages], COPY)
    return {
        page.id: pages[earlier].id for page, earlier in zip(pages, first, strict=True) if earlier is not None
    }
