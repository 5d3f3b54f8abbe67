"""A host's items as a ranking of the core, and a reranker's verdicts as the host's metadata.

Both integrations rerank this way:

* An item is judged by its text and, if images are shown, by its image. Nothing is downloaded: an item whose
  image is an address on the network is judged by its text, and a warning is logged.
* An item of a document of ours (``doc_id``, ``page`` and ``file_path`` in its metadata, the file unchanged)
  keeps that page's identity, so traces written at index time apply to it; if it has no image of its own the
  page is drawn from the file.
* The order given is the prior order, and ties keep it. If any item lacks a score, no score counts: the
  verdicts alone order, whatever ``alpha`` is. (A position made into a score would weigh as much as one.)
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.hosts.items import HostItem, unique_ids
from mmrag.hosts.metadata import CONTEXT, boxes_json
from mmrag.hosts.pages import page_of
from mmrag.rerank.stage import ajudge as ajudge  # what adapters call, so that every judgement has its span
from mmrag.rerank.stage import judge as judge
from mmrag.types import Candidate, Query, Ranking, Record, Scalar, Verdict

POSITION = "_position"
"""Metadata key of a record: position of its item."""


def ranking_of(query: Query, items: Sequence[HostItem], *, images: bool = True) -> Ranking:
    """Return a ranking of a host's items, in their order; `item_position` leads back to them.

    Args:
        query: the question.
        items: best first.
        images: whether the reranker looks at images; if not, none is opened.

    Raises:
        FileNotFoundError: an image is gone, and no page can be drawn instead.
        DocumentError: an image given as data cannot be read.
    """
    scores = [item.score for item in items if item.score is not None]
    if len(scores) < len(items):
        scores = [0.0] * len(items)
    candidates = []
    for position, (name, item, score) in enumerate(zip(unique_ids(items), items, scores, strict=True)):
        page = page_of(name, item) if images else None
        context = str(item.metadata.get(CONTEXT, ""))
        record = Record(name, None, item.text, {POSITION: position}, page, context)
        candidates.append(Candidate(record, float(score), position + 1))
    return Ranking(query, tuple(candidates))


def item_position(candidate: Candidate) -> int:
    """Return the position, among the items given to `ranking_of`, of the one behind a candidate."""
    return int(candidate.record.metadata[POSITION])  # type: ignore[arg-type]


def judgement(ranking: Ranking, candidate: Candidate, item: HostItem, *, thought: bool) -> dict[str, Scalar]:
    """Return a reranker's judgement of an item as flat metadata.

    Args:
        ranking: as the reranker returned it.
        candidate: a candidate of it.
        item: the item behind the candidate.
        thought: whether to include the model's thought.

    Returns:
        ``relevance_score`` (which orders now) and ``retrieval_score`` (the one in the item's metadata, else
        its score; missing if it has neither). If the verdict has them: ``rerank_note``, ``thought``, and
        ``bbox`` (evidence, as JSON). A ranking whose order was kept has ``reranked`` False and ``why_not``,
        and scores as before.
    """
    metadata: dict[str, Scalar] = {}
    retrieval_score = item.metadata.get("retrieval_score", item.score)  # an earlier reranker has put it there
    if retrieval_score is not None:
        metadata["retrieval_score"] = float(retrieval_score)
    if not ranking.reranked:
        if item.score is not None:
            metadata["relevance_score"] = float(item.score)
        return {**metadata, "reranked": False, "why_not": ranking.why_not or "the prior order was kept"}
    metadata["relevance_score"] = candidate.score
    if candidate.verdict is not None:
        metadata.update(_remarks(candidate.verdict, item, thought))
    return metadata


def _remarks(verdict: Verdict, item: HostItem, thought: bool) -> dict[str, Scalar]:
    remarks: dict[str, Scalar] = {}
    if verdict.note:
        remarks["rerank_note"] = verdict.note
    if thought and verdict.thought:
        remarks["thought"] = verdict.thought
    if verdict.evidence and "bbox" not in item.metadata:  # an answer's quotes are more exact
        remarks["bbox"] = boxes_json(verdict.evidence)
    return remarks
