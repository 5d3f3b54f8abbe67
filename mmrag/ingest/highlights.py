"""Cited documents as PDFs with the cited places marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.files import atomic_write
from mmrag.index.base import Index
from mmrag.ingest.pictures import from_source
from mmrag.types import Answer, Citation

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader

LONGEST_NOTE = 500
"""Characters of a quote that stand in a mark's note."""


def highlighted_pdfs(
    index: Index, reader: Callable[[], DocumentReader], target: Answer | Sequence[Citation]
) -> dict[str, bytes]:
    """Return each cited document as PDF with its places marked, by document id, in the order cited.

    Args:
        index: of the citations.
        reader: returns the reader that opens the documents.
        target: an answer or its citations; those of texts without a page are passed over.

    Raises:
        ValueError: no citation has a page.
        SourceChangedError: a file is gone, or is not the file that was indexed.
        DocumentError: places cannot be marked in a document.
    """
    citations = target.citations if isinstance(target, Answer) else target
    groups: dict[str, list[Citation]] = {}
    for citation in citations:
        if citation.page is not None:
            groups.setdefault(citation.page.document_id, []).append(citation)
    if not groups:
        raise ValueError(
            f"an answer must cite a page to be marked in a document, got {len(citations)} citations of none."
        )
    return {document_id: _marked_document(index, reader(), group) for document_id, group in groups.items()}


def _marked_document(index: Index, reader: DocumentReader, citations: Sequence[Citation]) -> bytes:
    """Return the document of these citations with their places marked."""
    marks = [
        (citation.page.number, citation.boxes, citation.area, _note(citation))
        for citation in citations
        if citation.page is not None
    ]
    page = citations[0].page
    assert page is not None
    return from_source(index, page, lambda again, data: reader.highlight(again, marks, data=data))


def _note(citation: Citation) -> str:
    return f"[{citation.number}] {citation.quote}"[:LONGEST_NOTE].strip()


def write_highlights(
    index: Index, reader: Callable[[], DocumentReader], target: Answer | Sequence[Citation], path: Path
) -> list[Path]:
    """Write each cited document as PDF with its places marked; see `highlighted_pdfs`.

    Args:
        index: of the citations.
        reader: returns the reader that opens the documents.
        target: an answer or its citations.
        path: of the first document; others stand beside it as ``NAME-2.pdf``, ``NAME-3.pdf``.

    Returns:
        The paths, in the order cited.
    """
    paths = []
    for number, data in enumerate(highlighted_pdfs(index, reader, target).values(), start=1):
        own_path = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        with atomic_write(own_path, "wb") as file:
            file.write(data)
        paths.append(own_path)
    return paths
