"""Flat metadata for hosts: the same keys in LangChain's documents and in LlamaIndex's nodes.

Both hosts (and the stores behind them) take strings, numbers and booleans only, so boxes travel as
JSON text and several values as one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from mmrag.types import Box, Candidate, Record, Scalar


def flat_metadata(
    item: Candidate | Record, *, image_path: str | None = None, bbox: Sequence[Box] | None = None
) -> dict[str, Scalar]:
    """Metadata of a candidate or record as one flat dict.

    Args:
        item: a candidate also gives ``relevance_score`` (the score that ordered it) and
            ``retrieval_score`` (the fused score of the retrieval stage).
        image_path: path of the page's picture.
        bbox: boxes of evidence, in 0..1 of the page; written as JSON under ``bbox``.

    Returns:
        The record's own metadata; for a page ``source, file_path, file_name, doc_id, page`` (from 0),
        ``page_label`` and ``total_pages`` are among it. A key with several values keeps the first.
    """
    record = item.record if isinstance(item, Candidate) else item
    flat: dict[str, Scalar] = {}
    for key, value in record.metadata.items():
        if isinstance(value, tuple):
            if value:
                flat[key] = value[0]
        else:
            flat[key] = value
    if image_path is not None:
        flat["image_path"] = image_path
    if bbox is not None:
        flat["bbox"] = json.dumps([list(box) for box in bbox])
    if isinstance(item, Candidate):
        flat["relevance_score"] = item.score
        flat["retrieval_score"] = item.scores.get("fused", item.score)
    return flat
