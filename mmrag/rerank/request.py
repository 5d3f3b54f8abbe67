"""What is asked of a server, as pure functions: a query and a candidate in, messages and bodies out.

Page text is data. Decisions taken here:

* Data stands between markers whose names end in a digest of the data (``<page-3f9ac1>``), and every
  ``<`` in it that could open a marker is parted from what follows (``< /page-3f9ac1>``). So nothing on a
  page closes its block, and nothing on it is a control token of a chat template (``<|im_end|>``): servers
  turn those into the real thing wherever they stand. Bracketed ones (``[INST]``) are parted too.
* Pictures are named by the digest of their data (``uuid``); the data stands beside the messages and is
  put in where the server needs it (`mmrag.serving.requests`).
* Messages without a picture are plain text: templates of models that only read take no list of parts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any

from mmrag.pictures import data_url
from mmrag.serving.client import Json
from mmrag.types import Candidate, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.rerank.protocol import Settings

OWN_KEYS = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "logprobs",
        "top_logprobs",
        "logprob_token_ids",
        "return_tokens_as_token_ids",
        "structured_outputs",
        "response_format",
        "continue_final_message",
        "add_generation_prompt",
    }
)
"""Keys of a chat request that the modes set themselves."""

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


def mark(*data: str) -> str:
    """Six hexadecimal digits that belong to these texts."""
    return hashlib.sha256("\x00".join(data).encode("utf-8", errors="replace")).hexdigest()[:6]


@dataclass(frozen=True, slots=True)
class View:
    """What of a candidate, or of a query, is shown.

    Attributes:
        text: as it stands on the page; ``""`` where it has none or is not to be shown.
        image: None where there is none or it is not to be shown.
    """

    text: str
    image: Image | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to judge by."""
        return self.image is None and not self.text.strip()


def view_of(candidate: Candidate, settings: Settings) -> View:
    """What `settings` want shown of a candidate. A text without a page is shown whatever they say.

    Raises:
        ValueError: a picture is wanted, the page carries none and nothing renders it.
        PageError: the page cannot be rendered.
    """
    page = candidate.page
    if page is None:
        return View(candidate.record.text)
    image = None
    if settings.images:
        image = page.image
        if image is None and settings.render is None:
            raise ValueError(
                f"page {page.id!r} must have a picture or the reranker a render function, got neither. "
                "Pass render=..., or images=False for a model that reads text only."
            )
        if image is None and settings.render is not None:
            image = settings.render(page, settings.image_pixels)
    return View((page.text or candidate.record.text) if settings.text else "", image)


def query_view(query: Query, settings: Settings) -> View:
    """What is shown of a query.

    Raises:
        ValueError: it has a picture, and pictures are not to be shown.
    """
    if query.image is not None and not settings.images:
        raise ValueError("a query with an image needs images=True, got images=False. Ask with text only.")
    return View(query.text or "", query.image)


def instruction_of(query: Query, settings: Settings) -> str:
    """What counts as relevant: the reranker's own, else the query's, else the prompt's."""
    return settings.instruction or query.instruction or settings.prompts.text("instruction")


# ------------------------------------------------------------------------------------------ pictures


def picture_part(image: Image, pixels: int) -> tuple[Json, dict[str, str]]:
    """The part of a message that names a picture, and the picture's data by that name."""
    data = data_url(image, pixels)
    uuid = hashlib.sha256(data.encode("ascii")).hexdigest()[:32]
    return {"type": "image_url", "image_url": None, "uuid": uuid}, {uuid: data}


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a message shows it; without one there is nothing in it.

    Attributes:
        parts: of the message.
        data: data URL by uuid.
        area: pixels.
    """

    parts: Sequence[Json] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    area: int = 0


def shown(image: Image | None, most: int, share: float = 1.0) -> Shown:
    """A picture at a share of its size, and of at most `most` pixels."""
    if image is None:
        return Shown()
    area = share_of_pixels(image, most, share)
    part, data = picture_part(image, area)
    return Shown([part], data, area)


def share_of_pixels(image: Image, most: int, share: float) -> int:
    """Pixels of a picture that is shown at a share of its size."""
    return max(SMALLEST_PICTURE, int(share * min(most, image.width * image.height)))


# ---------------------------------------------------------------------------------------------- text


def even_cap(lengths: Sequence[int], share: float) -> int:
    """The one length to cut all texts to so that `share` of their sum is left: the longest give first."""
    left = int(share * sum(lengths))
    for place, length in enumerate(sorted(lengths)):
        each = left // (len(lengths) - place)
        if length > each:
            return each
        left -= length
    return max(lengths, default=0)


def cut_text(text: str, cap: int) -> str:
    """At most `cap` characters, cut between words where there is a gap near, and marked as cut."""
    if len(text) <= cap:
        return text
    gap = text.rfind(" ", cap - cap // 8, cap)
    return text[: gap if gap > 0 else cap] + CUT


def user_template(name: str, settings: Settings) -> str:
    """The user's prompt, which ends in asking for the thought where one is wanted.

    The system prompt asks for it too, but a small model does what stands last: SmolLM2-135M answered "No."
    to 'Answer "yes" or "no"' and thought nothing.
    """
    template = settings.prompts.text(name)
    return f"{template}\n\n{settings.prompts.text('think_first')}" if settings.think_tokens else template


def filled(template: str, texts: Mapping[str, str], pictures: Mapping[str, Sequence[Json]]) -> list[Json]:
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


def content(parts: Sequence[Json]) -> str | list[Json]:
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


def messages_of(system: str, parts: Sequence[Json]) -> list[Json]:
    """The two messages of a question."""
    return [{"role": "system", "content": system}, {"role": "user", "content": content(parts)}]


# -------------------------------------------------------------------------------------------- bodies


def thought_body(messages: Sequence[Json], think_tokens: int, extra: Mapping[str, Any]) -> Json:
    """A chat request that writes a thought and stops at its end."""
    return {
        "messages": list(messages),
        "max_tokens": think_tokens,
        "temperature": 0.0,
        "stop": [END_OF_THOUGHT],
        **extra,
    }


def answer_body(messages: Sequence[Json], ids: Sequence[int], extra: Mapping[str, Any]) -> Json:
    """A chat request for one token, with the log-probabilities of these tokens in its place."""
    return {
        "messages": list(messages),
        **no_thought(extra),
        "temperature": 0.0,
        "max_tokens": 1,
        "logprobs": True,
        "logprob_token_ids": list(ids),
        "return_tokens_as_token_ids": True,
        **_continuing(messages),
    }


def order_body(messages: Sequence[Json], count: int, extra: Mapping[str, Any]) -> Json:
    """A chat request for the order of pages 1..`count`, held to its form by the server."""
    number = "|".join(str(n) for n in range(1, count + 1))
    return {
        "messages": list(messages),
        **no_thought(extra),
        "temperature": 0.0,
        "max_tokens": 16 + 8 * count,
        "structured_outputs": {"regex": rf"\[({number})\]( > \[({number})\]){{{count - 1}}}"},
        **_continuing(messages),
    }


def thought_message(thought: str) -> Json:
    """The closed thought that an answer follows."""
    thought = as_data(thought.replace("<think>", "").replace(END_OF_THOUGHT, ""))
    return {"role": "assistant", "content": f"<think>\n{thought.strip()}\n{END_OF_THOUGHT}\n\n"}


def _continuing(messages: Sequence[Json]) -> Json:
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


def count_body(messages: Sequence[Json], extra: Mapping[str, Any], *, words: bool = False) -> Json:
    """A request to ``/tokenize`` for the tokens of these messages; with their texts, if `words`."""
    kept = {key: extra[key] for key in ("chat_template_kwargs", "mm_processor_kwargs") if key in extra}
    return {"messages": list(messages), "add_generation_prompt": True, "return_token_strs": words, **kept}


def text_tokens_body(text: str, *, special: bool = False) -> Json:
    """A request to ``/tokenize`` for the tokens of a text; with the model's opening token, if `special`."""
    return {"prompt": text, "add_special_tokens": special}


def likelihood_body(ids: Sequence[int]) -> Json:
    """A completion request for the log-probability of each of these tokens after those before it."""
    return {"prompt": list(ids), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
