"""The chat request of an answer: numbered pages by image and text, the question, the reply's schema.

Only we write the numbers: names, labels and ids stand on one line as data, texts between markers that nothing
in them can close (`mmrag.serving.escaping`). So a page cannot look like another source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmrag.images import data_url
from mmrag.serving.chat import text_part
from mmrag.serving.client import Json
from mmrag.serving.escaping import as_data, as_line, data_block, data_mark
from mmrag.serving.prompts import Prompts
from mmrag.types import Candidate, Page, Query

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPTS = Prompts(package="mmrag.answer")


def answer_messages(
    query: Query, candidates: Sequence[Candidate], draw: Callable[[Page], Image] | None, pixels: int
) -> list[Json]:
    """Return the system's and the user's message.

    Args:
        query: the question, in words, by an image, or both.
        candidates: what is shown, as [1]..[n].
        draw: returns a page's image. None: the model only reads, and gets one text, since chat templates of
            such models take no list of parts.
        pixels: largest area of an image.

    Raises:
        ValueError: the query has an image and the model only reads.
    """
    parts: list[Json] = []
    mark = data_mark(query.text or "", *(_text(candidate) for candidate in candidates))
    for number, candidate in enumerate(candidates, start=1):
        parts += _page_parts(number, candidate, mark, draw, pixels)
    parts += _question_parts(query, images=draw is not None, pixels=pixels)
    content = parts if draw is not None else "\n\n".join(part["text"] for part in parts)
    return [{"role": "system", "content": PROMPTS.text("system")}, {"role": "user", "content": content}]


def _page_parts(
    number: int, candidate: Candidate, mark: str, draw: Callable[[Page], Image] | None, pixels: int
) -> list[Json]:
    page, text = candidate.page, _text(candidate)
    parts = [text_part(f"[{number}] {_heading(candidate)}")]
    if page is not None and draw is not None:
        parts.append(_image_part(draw(page), pixels))
    if text.strip():
        parts.append(text_part(f"Text of [{number}]:\n{data_block('text', mark, text)}"))
    elif draw is None:
        parts.append(text_part(f"[{number}] has no text."))
    return parts


def _text(candidate: Candidate) -> str:
    return candidate.record.text if candidate.page is None else candidate.page.text


def _heading(candidate: Candidate) -> str:
    """Return where a candidate is from: its file and page, or its id."""
    page = candidate.page
    if page is None:
        return as_line(candidate.id)
    heading = f"{as_line(page.source.name)}, page {page.number + 1} of {page.total_pages}"
    if page.label != str(page.number + 1):
        heading += f" (printed label {as_line(page.label)})"
    return heading


def _question_parts(query: Query, *, images: bool, pixels: int) -> list[Json]:
    if query.image is not None and not images:
        raise ValueError("a query with an image needs images=True, got images=False. Ask with text only.")
    question = query.text or "What do the pages say about the picture of the question?"
    parts = [text_part(PROMPTS.fill("question", question=as_data(question)))]
    if query.image is not None:
        parts += [text_part("Picture of the question:"), _image_part(query.image, pixels)]
    return parts


def _image_part(image: Image, pixels: int) -> Json:
    return {"type": "image_url", "image_url": {"url": data_url(image, pixels)}}


def answer_format(pages: int) -> Json:
    """Return the ``response_format`` of an answer from pages 1..`pages`."""
    page = {"type": "integer", "enum": list(range(1, pages + 1))}
    citation = _object_schema({"page": page, "quote": {"type": "string"}})
    schema = _object_schema(
        {
            "answerable": {"type": "boolean"},
            "answer": {"type": "string"},
            "citations": {"type": "array", "items": citation},
        }
    )
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _object_schema(properties: Json) -> Json:
    keys = list(properties)
    return {"type": "object", "properties": properties, "required": keys, "additionalProperties": False}
