"""The chat request of an answer: numbered pages by image and text, the question, the reply's schema.

Only we write the numbers: names, labels and ids stand on one line as data, texts between markers that nothing
in them can close (`mmrag.serving.escaping`). So a page cannot look like another source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmrag.answer.served.shown import ShownPage
from mmrag.images import data_url
from mmrag.serving.chat import text_part
from mmrag.serving.client import Json
from mmrag.serving.escaping import as_data, as_line, data_block, data_mark
from mmrag.serving.prompts import Prompts
from mmrag.types import Candidate, Query

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPTS = Prompts(package="mmrag.answer")


def answer_messages(
    query: Query, pages: Sequence[ShownPage], pictures: Mapping[int, Sequence[Image]] | None, pixels: int
) -> list[Json]:
    """Return the system's and the user's message.

    Args:
        query: the question, in words, by an image, or both.
        pages: what is shown, as [1]..[n].
        pictures: by n, of a page: itself, then what is cut out of it. None: the model only reads, and gets
            one text, since chat templates of such models take no list of parts.
        pixels: largest area of an image.

    Raises:
        ValueError: the query has an image and the model only reads.
    """
    parts: list[Json] = []
    mark = data_mark(query.text or "", *(page.text for page in pages))
    for number, page in enumerate(pages, start=1):
        parts.append(text_part(f"[{number}] {_heading(page.candidate)}"))
        whole, *cuts = (pictures or {}).get(number) or (None,)
        parts += [] if whole is None else [_image_part(whole, pixels)]
        for cut in cuts:
            parts += [text_part(f"Enlarged, from [{number}]:"), _image_part(cut, pixels)]
        if page.text.strip():
            parts.append(text_part(f"Text of [{number}]:\n{data_block('text', mark, page.text)}"))
        elif whole is None:
            parts.append(text_part(f"[{number}] has no text."))
    parts += _question_parts(query, images=pictures is not None, pixels=pixels)
    content = parts if pictures is not None else "\n\n".join(part["text"] for part in parts)
    return [{"role": "system", "content": PROMPTS.text("system")}, {"role": "user", "content": content}]


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
