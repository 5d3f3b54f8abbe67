"""The document channel in Qdrant: `mmrag.index.identity` over points.

The point of a document's first page holds the terms of its identity as numbers, its date and its version.
A term of the question is counted and its holders read; no text leaves the server.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection

from mmrag.index.identity import DocumentNames, score_names
from mmrag.index.qdrant.collection import (
    Collection,
    Condition,
    StoredPoint,
    all_of,
    scroll_all,
    value_among,
    value_is,
)
from mmrag.index.qdrant.words import Tokenizer, query_numbers

MOST_HOLDERS = 10_000
"""Documents that a term may name: one that names more tells next to nothing, and is passed over."""

MOST_DOCUMENTS = 1_000_000
"""Documents of a term that are told apart when they are counted."""

MOST_PAGES = 5_000
"""Pages with a term up to which their documents are counted, by a look at each; of more, as many are assumed
as if pages with the term were spread over documents as all pages are: so common a term weighs little."""

_FIELDS = ("document", "date", "version")


def name_documents(
    collection: Collection, tokenizer: Tokenizer, text: str, is_live: Condition
) -> DocumentNames:
    """Score the documents that a question names; see `Index.name_documents`.

    Args:
        collection: of the pages.
        tokenizer: of the question.
        text: the question.
        is_live: condition of the points that count.
    """
    numbers_by_term = dict(query_numbers(tokenizer, text))
    is_first = all_of(is_live, value_is("first", 1))
    conditions = [all_of(is_first, value_among("identity", numbers)) for numbers in numbers_by_term.values()]
    have_term = [all_of(is_live, value_among("terms", numbers)) for numbers in numbers_by_term.values()]
    count, pages, *counts = collection.counts([is_first, is_live, *conditions, *have_term])
    holder_counts, page_counts = counts[: len(conditions)], counts[len(conditions) :]
    pages_by_term = dict(zip(numbers_by_term, page_counts, strict=True))
    holders_by_term: dict[str, list[StoredPoint]] = {}
    for term, condition, holders in zip(numbers_by_term, conditions, holder_counts, strict=True):
        few = 0 < holders <= MOST_HOLDERS
        holders_by_term[term] = scroll_all(collection, condition, _FIELDS) if few else []
    holder_points = {point.id: point for points in holders_by_term.values() for point in points}

    def count_documents(term: str) -> int:
        if pages_by_term[term] > MOST_PAGES:
            return round(pages_by_term[term] * count / max(1, pages))
        has_term = all_of(is_live, value_among("terms", numbers_by_term[term]))
        return len(collection.facet("document", has_term, MOST_DOCUMENTS) or ())

    def find_times(ids: AnyCollection[str]) -> dict[str, tuple[str, str]]:
        payloads = {id: holder_points[id].payload for id in ids}
        return {id: (str(p.get("date", "")), str(p.get("version", ""))) for id, p in payloads.items()}

    scores, family_terms = score_names(
        text,
        count,
        lambda term: [point.id for point in holders_by_term[term]],
        count_documents,
        find_times,
    )
    documents = {id: str(holder_points[id].payload["document"]) for id in scores}
    return DocumentNames({documents[id]: score for id, score in scores.items()}, family_terms)
