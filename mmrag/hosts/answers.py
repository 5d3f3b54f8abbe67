"""Answers and their citations in the form that hosts give them: ``[n]`` is the n-th source shown."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.answer import AnyAnswerer, with_page_blocks
from mmrag.answer.streaming import awrite_answer, write_answer
from mmrag.hosts.metadata import metadata_boxes
from mmrag.images import check_image_file, load_image, with_page_renderer
from mmrag.serving.escaping import as_data, as_line, data_block, data_mark
from mmrag.serving.marks import MARK, Mark, PrintedMarks, marks
from mmrag.types import Answer, Candidate, Citation, Page, Query, Ranking

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.answer import Answerer
    from mmrag.pipeline import DocumentQA

ORIGIN_KEYS = ("source", "file_path", "file_name", "doc_id", "page", "page_label", "total_pages")
"""Metadata keys that say where a document comes from."""


def cited_marks(text: str, sources: Sequence[str], *, strict: bool = False) -> tuple[list[Mark], list[str]]:
    """Return the citation marks of an answer, in order, and notes on brackets that cite nothing shown.

    Args:
        text: the answer.
        sources: texts of the sources shown. A bracket that one of them prints and the answer copied is
            none (`mmrag.serving.marks`).
        strict: refuse an answer that cites what was not shown, instead of noting it.

    Raises:
        ValueError: a mark names a source that was not shown, and `strict` is set.
    """
    cited, notes = [], []
    for mark in marks(text, PrintedMarks(sources)):
        numbers = tuple(number for number in mark.numbers if 1 <= number <= len(sources))
        if mark.is_printed:
            continue
        if numbers != mark.numbers:
            if strict:
                raise ValueError(
                    f"an answer may cite [1] to [{len(sources)}], the documents shown, got {mark.text}. "
                    "Pass the documents that the model saw, ask again, or pass strict=False."
                )
            notes.append(f"{mark.text} names no document that was shown")
        if numbers:
            cited.append(replace(mark, numbers=numbers))
    return cited, notes


def sources_ranking(query: Query, candidates: Sequence[Candidate]) -> Ranking:
    """Return the candidates as the ranking that an answerer reads."""
    return Ranking(query, tuple(candidates))


def answerer_over(qa: DocumentQA, answerer: AnyAnswerer) -> AnyAnswerer:
    """Return the answerer, or a copy that draws pages and reads their structure as `qa` does."""

    def render(page: Page, pixels: int) -> Image:
        return qa.render(page, max_pixels=pixels)

    return with_page_blocks(with_page_renderer(answerer, render), qa.blocks)


def default_answerer() -> Answerer:
    """Return the answerer of hosts that name none and search no index: it quotes, as that of `DocumentQA`."""
    from mmrag.answer import ExtractiveAnswerer
    from mmrag.embedders.cross_encoder import CrossEncoder

    return ExtractiveAnswerer(CrossEncoder())


def answer_from(answerer: Answerer, query: Query, candidates: Sequence[Candidate]) -> Answer | None:
    """Return the answer that the candidates hold; None without candidates."""
    return write_answer(answerer, query, sources_ranking(query, candidates)) if candidates else None


async def aanswer_from(answerer: Answerer, query: Query, candidates: Sequence[Candidate]) -> Answer | None:
    """Answer without blocking the event loop; see `answer_from`."""
    return await awrite_answer(answerer, query, sources_ranking(query, candidates)) if candidates else None


def source_evidence(
    answerer: Answerer, query: Query, candidates: Sequence[Candidate]
) -> list[tuple[Citation, ...]]:
    """Return the places where each source, taken by itself, answers the question."""
    return [answerer.answer(query, sources_ranking(query, [candidate])).citations for candidate in candidates]


def source_citations(answer: Answer, candidates: Sequence[Candidate]) -> list[list[Citation]]:
    """Return the citations of each candidate."""
    return [[c for c in answer.citations if c.record_id == candidate.id] for candidate in candidates]


def cite_sources(answer: Answer, candidates: Sequence[Candidate]) -> str:
    """Return the answer's text with ``[n]`` counting candidates; in `Answer.text` it counts citations.

    Brackets inside the quotes of its citations are words of the pages and stay as they are printed.
    """
    numbers = {candidate.id: number for number, candidate in enumerate(candidates, start=1)}
    sources = {citation.number: numbers.get(citation.record_id, 0) for citation in answer.citations}
    spans = _quoted_spans(answer)
    pieces, position = [], 0
    for mark in marks(answer.text):
        is_quoted = any(start <= mark.start and mark.end <= end for start, end in spans)
        if not is_quoted and all(sources.get(number) for number in mark.numbers):
            new = "".join(f"[{sources[number]}]" for number in mark.numbers)
            pieces += [answer.text[position : mark.start], new]
            position = mark.end
    return "".join([*pieces, answer.text[position:]])


def _quoted_spans(answer: Answer) -> list[tuple[int, int]]:
    """Return where the answer's text repeats quotes that have a bracket in them, each with its own place."""
    spans: list[tuple[int, int]] = []
    position = 0
    for citation in answer.citations:
        for quote in citation.quote.split(" … ") if MARK.search(citation.quote) else ():
            start = answer.text.find(quote, position)
            start = answer.text.find(quote) if start < 0 else start
            if start >= 0:
                position = start + len(quote)
                spans.append((start, position))
    return spans


# ---- documents shown to a model ----


def source_title(metadata: Mapping[str, Any], id: str | None = None) -> str:
    """Return file, page and printed label of a page; title, source or id of another document."""
    name = metadata.get("file_name") or metadata.get("title") or metadata.get("source") or id or "text"
    page = metadata.get("page")
    if not isinstance(page, int):
        return str(name)
    label = str(metadata.get("page_label", page + 1))
    return f"{name}, page {page + 1}" + (f" (label {label})" if label != str(page + 1) else "")


def source_heading(number: int, metadata: Mapping[str, Any]) -> str:
    """Return the line above a source in a prompt: its number, file and printed page label."""
    origin = [as_line(str(metadata["file_name"]))] if "file_name" in metadata else []
    origin += [f"page {as_line(str(metadata['page_label']))}"] if "page_label" in metadata else []
    return f"Source {number}" + (f" ({', '.join(origin)})" if origin else "") + ":"


def source_text(number: int, metadata: Mapping[str, Any], text: str) -> str:
    """Return a source as it stands in a prompt: its heading, and its text between markers, as data."""
    return f"{source_heading(number, metadata)}\n{data_block('text', data_mark(text), text)}\n"


def numbered_text(number: int, title: str, text: str) -> str:
    """Return a source as it stands in a message: ``[2] title``, then its text, both as data."""
    heading = f"[{number}] {as_line(title)}"
    return f"{heading}\n{as_data(text)}" if text else heading


def source_origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a document comes from: `ORIGIN_KEYS`, and ``bbox``, JSON text as lists of numbers."""
    origin = {key: metadata[key] for key in ORIGIN_KEYS if key in metadata}
    if metadata.get("bbox") is not None:
        boxes = metadata["bbox"]  # of another loader they may be anything, and stay so
        origin["bbox"] = json.loads(boxes) if isinstance(boxes, str) else boxes
    return origin


def source_url(metadata: Mapping[str, Any]) -> str | None:
    """Return ``source`` as a URL if it is an absolute path, else as it is."""
    source = metadata.get("source")
    return Path(str(source)).as_uri() if source and Path(str(source)).is_absolute() else source


def source_image(metadata: Mapping[str, Any], name: str) -> dict[str, str] | None:
    """Return a document's picture as ``base64`` and ``mime_type``, or as ``url``; None without a picture.

    Args:
        metadata: ``image_path`` is a file, ``image`` a URL or data URI.
        name: of the document, for the message.

    Raises:
        FileNotFoundError: the file is gone.
        DocumentError: the file is no picture, and so is not read and sent as one.
    """
    if path := metadata.get("image_path"):
        file = Path(str(path))
        if not file.is_file():
            raise FileNotFoundError(
                f"image_path of {name} must be a file, got {path}. Retrieve again, or pass images=False."
            )
        check_image_file(file)
        data = base64.b64encode(file.read_bytes()).decode("ascii")
        return {"base64": data, "mime_type": mimetypes.guess_type(file.name)[0] or "image/png"}
    if image := metadata.get("image"):
        head, _, body = str(image).partition(";base64,")
        if body and head.startswith("data:"):
            return {"base64": body, "mime_type": head.removeprefix("data:")}
        return {"url": str(image)}
    return None


def evidence_image(path: str, metadata: Mapping[str, Any]) -> Image:
    """Return the picture in a file with the boxes under ``bbox`` drawn on it."""
    from mmrag.answer.evidence import draw_evidence

    return draw_evidence(load_image(path), metadata_boxes(metadata))
