"""Parts of a chat message: pictures by digest, filled templates.

Decisions:

* Data goes between markers whose names end in a digest of the data (``<page-3f9ac1>``), and is escaped by
  `mmrag.serving.escaping`, so nothing on a page closes its block or is a control token of a chat template.
* Pictures are named by the digest of their data (``uuid``); the data travels next to the messages and is
  inserted where the server needs it (`mmrag.serving.requests`).
* Messages without a picture are plain text: templates of text-only models take no list of parts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any

from mmrag.images import data_url
from mmrag.serving.client import Json
from mmrag.serving.escaping import as_data

if TYPE_CHECKING:
    from PIL.Image import Image


SMALLEST_PICTURE = 1024  # pixels; a picture is never made smaller to fit a context
END_OF_THOUGHT = "</think>"


def picture_part(image: Image, pixels: int) -> tuple[Json, dict[str, str]]:
    """Return the part of a message that names a picture, and the picture's data URL by that name."""
    data = data_url(image, pixels)
    uuid = hashlib.sha256(data.encode("ascii")).hexdigest()[:32]
    return {"type": "image_url", "image_url": None, "uuid": uuid}, {uuid: data}


@dataclass(frozen=True, slots=True)
class PictureView:
    """A picture as a message shows it; empty without a picture.

    Attributes:
        parts: of the message.
        data: data URL by uuid.
        area: in pixels.
    """

    parts: Sequence[Json] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    area: int = 0


def show_picture(image: Image | None, most: int, fraction: float = 1.0) -> PictureView:
    """Show a picture at a fraction of its area, and with at most `most` pixels."""
    if image is None:
        return PictureView()
    area = scaled_area(image, most, fraction)
    part, data = picture_part(image, area)
    return PictureView([part], data, area)


def scaled_area(image: Image, most: int, fraction: float) -> int:
    """Return the pixels of a picture shown at a fraction of its area."""
    return max(SMALLEST_PICTURE, int(fraction * min(most, image.width * image.height)))


def fill_template(
    template: str, texts: Mapping[str, str], pictures: Mapping[str, Sequence[Json]]
) -> list[Json]:
    """Return the parts of a message from a template with ``$name`` fields.

    Args:
        template: text.
        texts: value of each text field; a ``$`` in a value stays.
        pictures: parts in place of each picture field. A field without parts leaves no blank line.
    """
    names = "|".join(re.escape(name) for name in pictures)
    pieces = re.split(rf"\$(?:\{{({names})\}}|({names})\b)", template) if names else [template]
    parts: list[Json] = []
    text = Template(pieces[0]).substitute(texts)
    for at in range(1, len(pieces), 3):
        picture = pictures[pieces[at] or pieces[at + 1]]
        after = Template(pieces[at + 2]).substitute(texts)
        if picture:
            parts += [text_part(text), *picture]
            text = after.removeprefix("\n")
        else:
            text = text + (after.removeprefix("\n") if text.endswith("\n") else after)
    return [*parts, text_part(text)]


def text_part(text: str) -> Json:
    """Return a part of a message that is text."""
    return {"type": "text", "text": text}


def message_content(parts: Sequence[Json]) -> str | list[Json]:
    """Return the content of a message: neighbouring texts joined, plain text if there is no picture."""
    message_parts: list[Json] = []
    for part in parts:
        if part["type"] == "text" and message_parts and message_parts[-1]["type"] == "text":
            message_parts[-1] = text_part(message_parts[-1]["text"] + part["text"])
        elif part["type"] != "text" or part["text"]:
            message_parts.append(part)
    if all(part["type"] == "text" for part in message_parts):
        return "".join(part["text"] for part in message_parts)
    return message_parts


def chat_messages(system: str, parts: Sequence[Json]) -> list[Json]:
    """Return the system's and the user's message."""
    return [{"role": "system", "content": system}, {"role": "user", "content": message_content(parts)}]


def thought_message(thought: str) -> Json:
    """Return the message with a closed thought, which an answer follows."""
    thought = as_data(thought.replace("<think>", "").replace(END_OF_THOUGHT, ""))
    return {"role": "assistant", "content": f"<think>\n{thought.strip()}\n{END_OF_THOUGHT}\n\n"}


def continuation(messages: Sequence[Json]) -> Json:
    """Return the flags of vLLM that let the model go on writing a last message of the assistant."""
    if messages[-1]["role"] != "assistant":
        return {}
    return {"continue_final_message": True, "add_generation_prompt": False}


def no_thought(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `extra` with thinking switched off, for templates that have the switch.

    Models that can do both (Qwen3) then do not begin with a thought. After a closed thought the switch is
    for the server: vLLM with a reasoning parser would otherwise take all of the answer for a thought.
    """
    options = {**(extra.get("chat_template_kwargs") or {}), "enable_thinking": False}
    return {**extra, "chat_template_kwargs": options}
