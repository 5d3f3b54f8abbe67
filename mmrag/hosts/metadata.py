"""Flat metadata for hosts: the same keys in LangChain's documents and in LlamaIndex's nodes.

Both hosts (and the stores behind them) take strings, numbers and booleans only, so boxes are JSON text and
a key with several values keeps the first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmrag.ingest.records import RESERVED_KEYS, page_metadata
from mmrag.types import Answer, Box, Candidate, Citation, Page, Record, Scalar

PAGE_ID = "page_id"
"""Key of a page's id in its metadata, where hosts' fusions look for what tells documents apart."""

RELEVANCE_SCORE, RETRIEVAL_SCORE = "relevance_score", "retrieval_score"
"""Keys of the score that ordered a candidate, and of the fused score of its retrieval."""

CONTEXT = "page_context"
"""Key of `Record.context`, so that a host's reranker reads of a page what the core's does."""


def candidate_scores(candidate: Candidate) -> dict[str, float]:
    """Return a candidate's `RELEVANCE_SCORE` and `RETRIEVAL_SCORE`."""
    return {
        RELEVANCE_SCORE: candidate.score,
        RETRIEVAL_SCORE: candidate.scores.get("fused", candidate.score),
    }


def flat_metadata(
    item: Candidate | Record,
    *,
    image_path: str | None = None,
    bbox: Sequence[Box] | None = None,
    scores: bool = True,
) -> dict[str, Scalar]:
    """Return the metadata of a candidate or record as one flat dict.

    Args:
        item: a candidate also gives `CONTEXT`, if it has one.
        image_path: path of the page's picture.
        bbox: boxes of evidence, in 0..1 of the page; written as JSON under ``bbox``.
        scores: whether a candidate also gives its `candidate_scores`.

    Returns:
        The record's own metadata; for a page ``source, file_path, file_name, doc_id, page`` (from 0),
        ``page_label``, ``total_pages`` and `PAGE_ID` are among it. A key with several values keeps the
        first.
    """
    record = item.record if isinstance(item, Candidate) else item
    flat: dict[str, Scalar] = {}
    for key, value in record.metadata.items():
        if isinstance(value, tuple):
            if value:
                flat[key] = value[0]
        else:
            flat[key] = value
    if record.page is not None:
        flat[PAGE_ID] = record.id
    if image_path is not None:
        flat["image_path"] = image_path
    if bbox is not None:
        flat["bbox"] = boxes_json(bbox)
    if isinstance(item, Candidate):
        if scores:
            flat.update(candidate_scores(item))
        if record.context:
            flat.setdefault(CONTEXT, record.context)
    return flat


def caller_lists(record: Record) -> dict[str, list[Scalar]]:
    """Return the lists among a record's metadata; of a page only those of the caller, not our own keys."""
    return {
        key: list(value)
        for key, value in record.metadata.items()
        if isinstance(value, tuple) and (record.page is None or key not in RESERVED_KEYS)
    }


def file_page_metadata(page: Page, image_path: str | None = None) -> dict[str, Scalar]:
    """Return the flat metadata of a page read from a file and not (yet) in an index."""
    names = (page.source.path or page.source.name,)
    record = Record(id=page.id, matrix=None, text=page.text, metadata=page_metadata(page, names))
    return flat_metadata(record, image_path=image_path)


def evidence_metadata(citations: Sequence[Citation]) -> dict[str, str]:
    """Return what citations of one page prove: ``quote``, ``location`` and ``bbox`` as JSON; empty without.

    ``location`` is that of files without printed pages, like ``"Prices!B7"``.
    """
    if not citations:
        return {}
    evidence = {"quote": " … ".join(dict.fromkeys(citation.quote for citation in citations))}
    if locations := dict.fromkeys(citation.location for citation in citations if citation.location):
        evidence["location"] = "; ".join(locations)
    boxes = list(dict.fromkeys(box for citation in citations for box in citation.boxes))
    if boxes:
        evidence["bbox"] = boxes_json(boxes)
    return evidence


def answer_boxes(answer: Answer) -> dict[str, list[Box]]:
    """Return the boxes of an answer's citations by record id; records without boxes are left out."""
    boxes: dict[str, list[Box]] = {}
    for citation in answer.citations:
        if citation.boxes:
            boxes.setdefault(citation.record_id, []).extend(citation.boxes)
    return boxes


def boxes_json(boxes: Sequence[Box]) -> str:
    """Return boxes as JSON text: a list of ``[x0, y0, x1, y1]``."""
    return json.dumps([list(box) for box in boxes])


def metadata_boxes(metadata: Mapping[str, Any]) -> list[Box]:
    """Return the boxes under ``bbox``, JSON text or lists; empty without."""
    boxes = metadata.get("bbox", [])
    return [tuple(box) for box in (json.loads(boxes) if isinstance(boxes, str) else boxes)]
