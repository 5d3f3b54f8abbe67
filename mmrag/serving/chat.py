"""Parts of a chat message: text that is data, pictures by digest, templates filled in.

Page text is data. Decisions:

* Data is put between markers whose names end in a digest of the data (``<page-3f9ac1>``), and every ``<``
  in it that could open a marker is separated from what follows (``< /page-3f9ac1>``). So nothing on a page
  closes its block, and nothing on it is a control token of a chat template (``<|im_end|>``): servers turn
  those into the real thing wherever they occur. Bracketed ones (``[INST]``) are separated too.
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

if TYPE_CHECKING:
    from PIL.Image import Image


SMALLEST_PICTURE = 1024  # pixels; a picture is never made smaller to fit a context


END_OF_THOUGHT = "</think>"


CUT = " […]"  # stands where a page's text was cut


_OPENING = re.compile("([<\uff1c\ufe64])(?=\\S)")  # also wide and small: some tokenizers fold them


_BRACKETED = re.compile(r"\[(?=/?[A-Z_]{2,24}\])")


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def as_data(text: str) -> str:
    """A text that can close no marker and is no control token; see the module."""
    text = _SURROGATE.sub("\ufffd", text).replace("\x00", "\ufffd")
    return _BRACKETED.sub("[ ", _OPENING.sub(r"\1 ", text))


def data_mark(*data: str) -> str:
    """Six hexadecimal digits that belong to these texts."""
    return hashlib.sha256("\x00".join(data).encode("utf-8", errors="replace")).hexdigest()[:6]


def picture_part(image: Image, pixels: int) -> tuple[Json, dict[str, str]]:
    """The part of a message that names a picture, and the picture's data by that name."""
    data = data_url(image, pixels)
    uuid = hashlib.sha256(data.encode("ascii")).hexdigest()[:32]
    return {"type": "image_url", "image_url": None, "uuid": uuid}, {uuid: data}


@dataclass(frozen=True, slots=True)
class PictureView:
    """A picture as a message shows it; without one there is nothing in it.

    Attributes:
        parts: of the message.
        data: data URL by uuid.
        area: pixels.
    """

    parts: Sequence[Json] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    area: int = 0


def show_picture(image: Image | None, most: int, share: float = 1.0) -> PictureView:
    """A picture at a share of its size, and of at most `most` pixels."""
    if image is None:
        return PictureView()
    area = scaled_area(image, most, share)
    part, data = picture_part(image, area)
    return PictureView([part], data, area)


def scaled_area(image: Image, most: int, share: float) -> int:
    """Pixels of a picture that is shown at a share of its size."""
    return max(SMALLEST_PICTURE, int(share * min(most, image.width * image.height)))


def cut_text(text: str, cap: int) -> str:
    """At most `cap` characters, cut between words where there is a gap near, and marked as cut."""
    if len(text) <= cap:
        return text
    gap = text.rfind(" ", cap - cap // 8, cap)
    return text[: gap if gap > 0 else cap] + CUT


def fill_template(
    template: str, texts: Mapping[str, str], pictures: Mapping[str, Sequence[Json]]
) -> list[Json]:
    """Parts of a message: a template whose picture places become parts and whose texts are filled in.

    What is filled in is not looked at again, so a ``$`` on a page stays what it is. Blank lines that an
    empty place leaves are dropped.
    """
    places = "|".join(re.escape(name) for name in pictures)
    pieces = re.split(rf"\$(?:\{{({places})\}}|({places})\b)", template) if places else [template]
    parts: list[Json] = []
    text = Template(pieces[0]).substitute(texts)
    for at in range(1, len(pieces), 3):
        shown = pictures[pieces[at] or pieces[at + 1]]
        after = Template(pieces[at + 2]).substitute(texts)
        if shown:
            parts += [text_part(text), *shown]
            text = after.removeprefix("\n")
        else:
            text = text + (after.removeprefix("\n") if text.endswith("\n") else after)
    return [*parts, text_part(text)]


def text_part(text: str) -> Json:
    """A part of a message that is text."""
    return {"type": "text", "text": text}


def message_content(parts: Sequence[Json]) -> str | list[Json]:
    """The content of a message: neighbouring texts joined, plain text where there is nothing else."""
    joined: list[Json] = []
    for part in parts:
        if part["type"] == "text" and joined and joined[-1]["type"] == "text":
            joined[-1] = text_part(joined[-1]["text"] + part["text"])
        elif part["type"] != "text" or part["text"]:
            joined.append(part)
    if all(part["type"] == "text" for part in joined):
        return "".join(part["text"] for part in joined)
    return joined


def chat_messages(system: str, parts: Sequence[Json]) -> list[Json]:
    """The two messages of a question."""
    return [{"role": "system", "content": system}, {"role": "user", "content": message_content(parts)}]


def thought_message(thought: str) -> Json:
    """The closed thought that an answer follows."""
    thought = as_data(thought.replace("<think>", "").replace(END_OF_THOUGHT, ""))
    return {"role": "assistant", "content": f"<think>\n{thought.strip()}\n{END_OF_THOUGHT}\n\n"}


def continuation(messages: Sequence[Json]) -> Json:
    """Return the flags of vLLM that let the model go on writing a last message of the assistant."""
    if messages[-1]["role"] != "assistant":
        return {}
    return {"continue_final_message": True, "add_generation_prompt": False}


def no_thought(extra: Mapping[str, Any]) -> dict[str, Any]:
    """`extra` with the switch for "no thought from here on", which templates without one ignore.

    Models that can do both (Qwen3) then do not begin with a thought. After a closed thought it is for the
    server: vLLM with a reasoning parser would take all of the answer for a thought otherwise.
    """
    wanted = {**(extra.get("chat_template_kwargs") or {}), "enable_thinking": False}
    return {**extra, "chat_template_kwargs": wanted}
