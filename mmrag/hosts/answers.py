"""Answers and their citations in the form that hosts give them: ``[n]`` is the n-th source shown."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.hosts.metadata import metadata_boxes
from mmrag.images import check_image_file, load_image
from mmrag.serving.escaping import as_data, as_line, data_block, data_mark
from mmrag.types import Answer, Candidate, Citation, Query, Ranking

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.answer import Answerer

MARK = re.compile(r"\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]")
"""``[2]`` or ``[1, 3]``; at most two digits each, so that a year in brackets is no citation."""

ORIGIN_KEYS = ("source", "file_path", "file_name", "doc_id", "page", "page_label", "total_pages")
"""Metadata keys that say where a document comes from."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A citation mark in an answer's text.

    Attributes:
        text: as written, ``[1, 3]``.
        start: position of its first character.
        end: position behind its last.
        numbers: of the sources it names.
    """

    text: str
    start: int
    end: int
    numbers: tuple[int, ...]


def citation_marks(text: str, sources: int | None = None) -> Iterator[Mark]:
    """Yield the citation marks of an answer, in order.

    Args:
        text: the answer.
        sources: how many sources were shown; None leaves the numbers unchecked.

    Raises:
        ValueError: a mark names a source that was not shown.
    """
    for match in MARK.finditer(text):
        numbers = tuple(map(int, match[1].split(",")))
        if sources is not None and not all(1 <= number <= sources for number in numbers):
            raise ValueError(
                f"an answer may cite [1] to [{sources}], the documents shown, got {match[0]}. "
                "Pass the documents that the model saw, or ask again."
            )
        yield Mark(match[0], match.start(), match.end(), numbers)


def sources_ranking(query: Query, candidates: Sequence[Candidate]) -> Ranking:
    """Return the candidates as the ranking that an answerer reads."""
    return Ranking(query, tuple(candidates))


def answer_from(answerer: Answerer, query: Query, candidates: Sequence[Candidate]) -> Answer | None:
    """Return the answer that the candidates hold; None without candidates."""
    return answerer.answer(query, sources_ranking(query, candidates)) if candidates else None


async def aanswer_from(answerer: Answerer, query: Query, candidates: Sequence[Candidate]) -> Answer | None:
    """Answer without blocking the event loop; see `answer_from`."""
    return await answerer.aanswer(query, sources_ranking(query, candidates)) if candidates else None


def source_evidence(
    answerer: Answerer, query: Query, candidates: Sequence[Candidate]
) -> list[tuple[Citation, ...]]:
    """Return the places where each source, taken by itself, answers the question."""
    return [answerer.answer(query, sources_ranking(query, [candidate])).citations for candidate in candidates]


def source_citations(answer: Answer, candidates: Sequence[Candidate]) -> list[list[Citation]]:
    """Return the citations of each candidate."""
    return [[c for c in answer.citations if c.record_id == candidate.id] for candidate in candidates]


def cite_sources(answer: Answer, candidates: Sequence[Candidate]) -> str:
    """Return the answer's text with ``[n]`` counting candidates; in `Answer.text` it counts quotes.

    Marks are in the order of the citations, each behind its piece of text.
    """
    numbers = {candidate.id: number for number, candidate in enumerate(candidates, start=1)}
    text, position = "", 0
    for citation in answer.citations:
        mark = f"[{citation.number}]"
        start = answer.text.find(mark, position)
        if start >= 0:
            text += answer.text[position:start] + f"[{numbers[citation.record_id]}]"
            position = start + len(mark)
    return text + answer.text[position:]


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
