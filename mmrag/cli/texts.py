"""Results as text: plain lines in a pipe, the same with emphasis and tables on a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.cli.snippets import Snippet, snippet
from mmrag.cli.visible import visible, visible_json
from mmrag.ingest.report import skipped_lines as skipped_lines
from mmrag.types import QUOTES_HEADING, Answer, Candidate, Ranking, Usage, describe_place

if TYPE_CHECKING:
    from mmrag.index.base import DocumentEntry
    from mmrag.ingest.reembed import ReembedReport
    from mmrag.ingest.report import Status

INDENT = " " * 5

RELATIVE_STAGES = ("fused", "reciprocal_rank", "retrieval", "reranked")
"""Keys of `Candidate.scores` that compare the candidates of one ranking only."""


def say(text: str) -> None:
    """Print a text and a line break at once, since another process may wait for it."""
    sys.stdout.write(visible(text) + "\n")
    sys.stdout.flush()


def say_json(data: Any, indent: int | None = 2) -> None:  # noqa: ANN401  whatever JSON holds
    """Print data as JSON."""
    say(visible_json(data, indent))


# ---- rankings ----------------------------------------------------------------------------------------


def print_ranking(ranking: Ranking) -> None:
    """Print each candidate with its scores and a snippet of its text, the query's words in bold."""
    live = sys.stdout.isatty()
    for candidate in ranking:
        say(candidate_line(candidate))
        piece = snippet(visible(candidate.record.text), ranking.query.text or "")
        if piece.text:
            _print_snippet(piece, live=live)
    if not ranking:
        say("Nothing found.")
    for line in rerank_lines(ranking):
        say(line)


def candidate_line(candidate: Candidate) -> str:
    """Return rank, score, place and the scores by stage in one line."""
    page = candidate.page
    name = f"{page.source.name}, page {page.number + 1}" if page else candidate.id
    label = f" (label {page.label})" if page and page.label != str(page.number + 1) else ""
    return f"{candidate.rank:3}  {name}{label}   ({scores_text(candidate)})"


def scores_text(candidate: Candidate) -> str:
    """Return the scores that depend on the query and the record alone: ``vectors 1.14, text 8.87``.

    Fused scores are left out: they are relative to the pool, so that a filter changes them, and a page alone
    in its pool has 0.
    """
    scores = {stage: score for stage, score in candidate.scores.items() if stage not in RELATIVE_STAGES}
    return ", ".join(f"{stage} {score:.2f}" for stage, score in scores.items())


def _print_snippet(piece: Snippet, *, live: bool) -> None:
    if not live:
        say(INDENT + piece.text)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    text = Text(piece.text)
    for start, end in piece.matches:
        text.stylize("bold yellow", start, end)
    Console().print(Padding(text, (0, 0, 0, len(INDENT))))


def rerank_lines(ranking: Ranking) -> list[str]:
    """Return what reranking did and cost, or why it did not; no line where none was wanted."""
    if ranking.why_not is not None:
        return [f"not reranked: {ranking.why_not}"]
    if not ranking.reranked:
        return []
    return [f"reranked: {cost_text(ranking.usage)} ({'; '.join(ranking.notes)})"]


def cost_text(usage: Usage) -> str:
    """Return tokens, seconds and cache hits of reranking: ``1,234 tokens, 3.2 s, 4 from cache``."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    parts = [f"{tokens:,} tokens"] if tokens else []
    parts.append(f"{usage.seconds.get('rerank', 0.0):.1f} s")
    if usage.cache_hits:
        parts.append(f"{usage.cache_hits} from cache")
    return ", ".join(parts)


# ---- answers -----------------------------------------------------------------------------------------


def write_pictures(answer: Answer, folder: Path) -> dict[int, str]:
    """Write each citation's picture as ``folder/<number>.png``; return paths by citation number."""
    paths = {}
    for citation in answer.citations:
        if citation.picture is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{citation.number}.png"
            path.write_bytes(citation.picture)
            paths[citation.number] = str(path)
    return paths


def answer_text(answer: Answer, pictures: dict[int, str]) -> str:
    """Return the answer, its confidence, then one line for each citation with its picture's path.

    Above an answer of quotes stands that it is one.
    """
    lines = [QUOTES_HEADING] if answer.quoted else []
    lines += answer.text.splitlines()
    if answer.standalone:
        lines.append(f"searched: {answer.standalone}")
    if answer.note:
        lines.append(answer.note)
    if answer.confidence is not None:
        lines.append(f"confidence {answer.confidence:.2f}")
    scores = {candidate.id: f"   ({scores_text(candidate)})" for candidate in answer.ranking}
    for citation in answer.citations:
        picture = f"   {pictures[citation.number]}" if citation.number in pictures else ""
        score = scores.get(citation.record_id, "")
        lines.append(f"[{citation.number}] {describe_place(citation)}{score}{picture}")
    lines += rerank_lines(answer.ranking)
    return "\n".join("  " + line for line in lines)


# ---- indexes -----------------------------------------------------------------------------------------


def reembed_text(report: ReembedReport) -> str:
    """Return what a `reembed` did: counts, and a line for each file whose pages have no picture."""
    new = report.records - report.resumed
    rate = f", {new / report.seconds:.1f}/s" if new and report.seconds else ""
    before = f" ({report.resumed} of them there already)" if report.resumed else ""
    lines = [
        f"{report.records} pages and records in {report.path}{before}, {report.seconds:.1f} s{rate}",
        f"by {report.embedder}, before by {report.before}",
    ]
    without = Counter((page.name, page.reason) for page in report.without_picture)
    if without:
        lines.append("Embedded from text alone (add the file again once it is there):")
        lines += [f"  {name}, {count} pages: {reason}" for (name, reason), count in without.items()]
    return "\n".join([*lines, *skipped_lines(report.skipped)])


def print_status(status: Status) -> None:
    """Print an index's files: a table on a terminal, a line for each elsewhere."""
    from mmrag.documents.conversion import libreoffice
    from mmrag.onnx_sessions import available_providers, started_providers

    files = f"{len(status.documents)} files, by {status.embedder}"
    location = status.path if status.store is None else status.store.address
    say(f"{location}: {status.records} pages and records, {files}")
    rows = "all rows" if status.rows is None else f"at most {status.rows} rows"
    size = f"{(status.bytes or 0) / 1e6:.1f} MB"
    if status.records:
        size += f", {(status.bytes or 0) / status.records / 1e3:.1f} kB each"
    say(f"  {rows} in {status.row_type}, {size}")
    say(f"  LibreOffice: {libreoffice.find() or 'not found; docs/formats.md tells what is lost without it'}")
    say(f"  ONNX: used {', '.join(started_providers())}; available {', '.join(available_providers())}")
    for line in () if status.store is None else (status.store.kind, *status.store.details):
        say(f"  {line}")
    if sys.stdout.isatty() and status.documents:
        _print_status_table(status.documents)
        return
    for entry in status.documents:
        names, notes = " = ".join(entry.names), "; ".join(_marks(entry))
        say(f"  {entry.id}  {entry.total_pages:5} pages  {names}  {notes}".rstrip())


def _marks(entry: DocumentEntry) -> Iterator[str]:
    if not entry.complete:
        yield "incomplete: add it again to complete it"
    if entry.skipped:
        yield f"{len(entry.skipped)} pages skipped"
    if entry.converter:
        yield f"read by {entry.converter}"


def _print_status_table(entries: Sequence[DocumentEntry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("document id", "pages", "file", "notes", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    table.columns[2].overflow = "fold"
    for entry in entries:
        names, notes = Text(visible("\n".join(entry.names))), Text(visible("\n".join(_marks(entry))))
        table.add_row(entry.id, str(entry.total_pages), names, notes)
    Console().print(table)
