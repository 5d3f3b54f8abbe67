"""Results as plain data, for ``--json`` and for files of predictions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mmrag.types import Answer, Candidate, Citation, Page, Ranking, Usage, Verdict

if TYPE_CHECKING:
    from mmrag.documents import Skipped
    from mmrag.index.check_report import CheckReport
    from mmrag.ingest.reembed import ReembedReport
    from mmrag.ingest.report import AddReport, Status


def check_data(report: CheckReport) -> dict[str, Any]:
    """Return what a check of an index says."""
    return {
        "path": str(report.path),
        "records": report.records,
        "faults": [asdict(fault) for fault in report.faults],
        "lost_ids": list(report.lost_ids),
        "notes": list(report.notes),
        "repaired": report.is_repaired,
    }


def page_data(page: Page) -> dict[str, Any]:
    """Return where a page is; its text and words are left out."""
    return {
        "document_id": page.document_id,
        "file": page.source.name,
        "path": page.source.path,
        "page": page.number,
        "page_label": page.label,
        "total_pages": page.total_pages,
    }


def candidate_data(candidate: Candidate) -> dict[str, Any]:
    """Return rank, scores and page of a candidate."""
    return {
        "rank": candidate.rank,
        "id": candidate.id,
        "score": candidate.score,
        "scores": dict(candidate.scores),
        **({"verdict": verdict_data(candidate.verdict)} if candidate.verdict else {}),
        **(page_data(candidate.page) if candidate.page else {"metadata": dict(candidate.record.metadata)}),
    }


def verdict_data(verdict: Verdict) -> dict[str, Any]:
    """Return a reranker's verdict on a candidate."""
    return {
        "score": verdict.score,
        "thought": verdict.thought,
        "evidence": [list(box) for box in verdict.evidence],
        "note": verdict.note,
        "usage": usage_data(verdict.usage),
    }


def usage_data(usage: Usage) -> dict[str, Any]:
    """Return seconds, tokens, cache hits and requests."""
    return {
        "seconds": dict(usage.seconds),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cache_hits": usage.cache_hits,
        "requests": usage.requests,
    }


def ranking_data(ranking: Ranking) -> dict[str, Any]:
    """Return a ranking: its candidates, and how it was reranked."""
    return {
        "query": ranking.query.text,
        "candidates": [candidate_data(c) for c in ranking],
        **rerank_data(ranking),
    }


def rerank_data(ranking: Ranking) -> dict[str, Any]:
    """Return whether and how a ranking was reranked, and what that cost."""
    return {
        "reranked": ranking.reranked,
        "why_not_reranked": ranking.why_not,
        "rerank_notes": list(ranking.notes),
        "rerank_usage": usage_data(ranking.usage),
    }


def citation_data(citation: Citation, picture: str | None) -> dict[str, Any]:
    """Return a citation; `picture` is the path its picture was written to."""
    return {
        "number": citation.number,
        "id": citation.record_id,
        "quote": citation.quote,
        "kind": citation.kind,
        "title": citation.title,
        "note": citation.note,
        "score": citation.score,
        "boxes": [list(box) for box in citation.boxes],
        "area": None if citation.area is None else list(citation.area),
        "location": citation.location,
        "picture": picture,
        **(page_data(citation.page) if citation.page else {}),
    }


def answer_data(answer: Answer, pictures: dict[int, str] | None = None) -> dict[str, Any]:
    """Return an answer with its citations and candidates; `pictures` are paths by citation number."""
    return {
        "question": answer.ranking.query.text,
        "standalone": answer.standalone,
        "answer": answer.text,
        "abstained": answer.abstained,
        "confidence": answer.confidence,
        "quoted": answer.quoted,
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
    """Return what an `add` did."""
    return {
        "added": report.added,
        "replaced": report.replaced,
        "reread": report.reread,
        "renamed": report.renamed,
        "unchanged": report.unchanged,
        "skipped": [_skipped_data(item) for item in report.skipped],
        "notes": report.notes,
        "pages": report.pages,
        "seconds": report.seconds,
        **_stages_data(report),
    }


def _stages_data(report: AddReport) -> dict[str, Any]:
    """Return the stages of an `add` on a cluster; nothing of one in this process."""
    if not report.stages:
        return {}
    return {"stages": {name: {**asdict(stage), "rate": stage.rate} for name, stage in report.stages.items()}}


def reembed_data(report: ReembedReport) -> dict[str, Any]:
    """Return what a `reembed` did."""
    return {
        "path": str(report.path),
        "before": report.before,
        "embedder": report.embedder,
        "records": report.records,
        "resumed": report.resumed,
        "without_picture": [_skipped_data(item) for item in report.without_picture],
        "skipped": [_skipped_data(item) for item in report.skipped],
        "seconds": report.seconds,
    }


def _skipped_data(skipped: Skipped) -> dict[str, Any]:
    return {"name": skipped.name, "page": skipped.page, "reason": skipped.reason}


def status_data(status: Status) -> dict[str, Any]:
    """Return an index's files and counts, and what this machine reads and computes with."""
    from mmrag.documents.conversion import libreoffice
    from mmrag.onnx_sessions import available_providers, started_providers

    return {
        "path": str(status.path) if status.path else None,
        "store": asdict(status.store) if status.store else None,
        "embedder": status.embedder,
        "records": status.records,
        "row_type": status.row_type,
        "rows": status.rows,
        "bytes": status.bytes,
        "libreoffice": libreoffice.find(),
        "onnx_providers": {"used": list(started_providers()), "available": list(available_providers())},
        "documents": [
            {
                "id": entry.id,
                "names": list(entry.names),
                "kind": entry.kind,
                "total_pages": entry.total_pages,
                "complete": entry.complete,
                "converter": entry.converter,
                "skipped": [{"page": page, "reason": reason} for page, reason in entry.skipped],
            }
            for entry in status.documents
        ],
    }
