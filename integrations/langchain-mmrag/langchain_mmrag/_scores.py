"""Scores of a document, carried beside its content and metadata.

The host tells documents apart by content and metadata: `MultiQueryRetriever` compares them whole, and recipes
of rank fusion write them down whole. A score belongs to one question, so in the metadata it would make two
documents of a page that two questions found. Here it is an attribute that pydantic neither compares nor
writes, as it does with cached properties; copies and pickles keep it.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.documents import Document

_ATTRIBUTE = "_mmrag_scores"


def document_scores(document: Document) -> dict[str, float]:
    """Return the scores of a document that `MMRagRetriever` found.

    Args:
        document: as it came, or a copy. Written down and read again (``dumps``, JSON) it has none.

    Returns:
        ``relevance_score``, which ordered it, and ``retrieval_score``, from before reranking; larger is
        better. Those in the metadata, where a reranker writes them, win. Empty for a document of another
        retriever.

    Example:
        >>> found = [Document("Dogs bark.", metadata={"relevance_score": 0.9})]
        >>> document_scores(found[0])
        {'relevance_score': 0.9}
    """
    scores: dict[str, float] = dict(document.__dict__.get(_ATTRIBUTE, {}))
    names = ("relevance_score", "retrieval_score")
    scores.update({name: float(document.metadata[name]) for name in names if name in document.metadata})
    return scores


def set_scores(document: Document, scores: Mapping[str, float]) -> None:
    """Give a document its scores."""
    document.__dict__[_ATTRIBUTE] = dict(scores)
