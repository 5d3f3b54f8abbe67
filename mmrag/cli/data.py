"""Nouns as plain data, for ``--json`` and for files of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmrag.ingest.report import AddReport
from mmrag.pipeline import Status
from mmrag.types import Answer, Candidate, Citation, Page, Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.documents import Skipped
    from mmrag.ingest.reembed import ReembedReport


def page_data(page: Page) -> dict[str, Any]:
    """Where a page is; its text and words are left out."""
    return {
        "document_id": page.document_id,
        "file": page.source.name,
        "path": page.source.path,
        "page": page.number,
        "page_label": page.label,
        "total_pages": page.total_pages,
    }


def candidate_data(candidate: Candidate) -> dict[str, Any]:
    """Rank, scores and place of a candidate."""
    return {
        "rank": candidate.rank,
        "id": candidate.id,
        "score": candidate.score,
        "scores": dict(candidate.scores),
        **({"verdict": verdict_data(candidate.verdict)} if candidate.verdict else {}),
        **(page_data(candidate.page) if candidate.page else {"metadata": dict(candidate.record.metadata)}),
    }


def verdict_data(verdict: Verdict) -> dict[str, Any]:
    """What a reranker says of a candidate."""
    return {
        "score": verdict.score,
        "thought": verdict.thought,
        "evidence": [list(box) for box in verdict.evidence],
        "note": verdict.note,
        "usage": usage_data(verdict.usage),
    }


def usage_data(usage: Usage) -> dict[str, Any]:
    """What something cost."""
    return {
        "seconds": dict(usage.seconds),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cache_hits": usage.cache_hits,
        "requests": usage.requests,
    }


def ranking_data(ranking: Ranking) -> dict[str, Any]:
    """A ranking as plain data."""
    return {
        "query": ranking.query.text,
        "candidates": [candidate_data(c) for c in ranking],
        **rerank_data(ranking),
    }


def rerank_data(ranking: Ranking) -> dict[str, Any]:
    """Whether and how a ranking was reranked, and what that cost."""
    return {
        "reranked": ranking.reranked,
        "why_not_reranked": ranking.why_not,
        "rerank_notes": list(ranking.notes),
        "rerank_usage": usage_data(ranking.usage),
    }


def citation_data(citation: Citation, picture: str | None) -> dict[str, Any]:
    """A citation as plain data; `picture` is the path its picture was written to."""
    return {
        "number": citation.number,
        "id": citation.record_id,
        "quote": citation.quote,
        "kind": citation.kind,
        "title": citation.title,
        "note": citation.note,
        "score": citation.score,
        "boxes": [list(box) for box in citation.boxes],
        "picture": picture,
        **(page_data(citation.page) if citation.page else {}),
    }


def answer_data(answer: Answer, pictures: dict[int, str] | None = None) -> dict[str, Any]:
    """An answer as plain data."""
    return {
        "question": answer.ranking.query.text,
        "answer": answer.text,
        "abstained": answer.abstained,
        "note": answer.note,
        "citations": [citation_data(c, (pictures or {}).get(c.number)) for c in answer.citations],
        "candidates": [candidate_data(c) for c in answer.ranking],
        "seconds": dict(answer.usage.seconds),
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "cache_hits": answer.usage.cache_hits,
        **rerank_data(answer.ranking),
    }


def report_data(report: AddReport) -> dict[str, Any]:
    """What an `add` did, as plain data."""
    return {
        "added": report.added,
        "replaced": report.replaced,
        "reread": report.reread,
        "renamed": report.renamed,
        "unchanged": report.unchanged,
        "skipped": [_skipped_data(one) for one in report.skipped],
        "notes": report.notes,
        "pages": report.pages,
        "seconds": report.seconds,
    }


def reembed_data(report: ReembedReport) -> dict[str, Any]:
    """What a `reembed` did, as plain data."""
    return {
        "path": str(report.path),
        "before": report.before,
        "embedder": report.embedder,
        "records": report.records,
        "resumed": report.resumed,
        "without_picture": [_skipped_data(one) for one in report.without_picture],
        "skipped": [_skipped_data(one) for one in report.skipped],
        "seconds": report.seconds,
    }


def _skipped_data(skipped: Skipped) -> dict[str, Any]:
    return {"name": skipped.name, "page": skipped.page, "reason": skipped.reason}


def status_data(status: Status) -> dict[str, Any]:
    """What an index holds, as plain data."""
    return {
        "path": str(status.path) if status.path else None,
        "embedder": status.embedder,
        "records": status.records,
        "documents": [
            {
                "id": entry.id,
                "names": list(entry.names),
                "kind": entry.kind,
                "total_pages": entry.total_pages,
                "complete": entry.complete,
                "skipped": [{"page": page, "reason": reason} for page, reason in entry.skipped],
            }
            for entry in status.documents
        ],
    }
