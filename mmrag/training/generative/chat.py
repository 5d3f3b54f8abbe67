"""A chat as the checkpoint's own template writes it: the same tokens that a server makes of a request.

The generative stages show a model what it will be shown when it is served: messages go through the
checkpoint's chat template, each picture's placeholder becomes as many as the picture has visual tokens.

Decisions taken here:

* *The response is tokenised by itself*, after the whole prompt: that is where a server begins to write.
  It ends with the end of a chat turn, which all our families write as ``<|im_end|>``.
* *A checkpoint without a template* (a base model, a tiny one) gets a plain one of chat turns; it is saved
  with the trained model, since a server needs one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from mmrag.models.inputs import ready_image
from mmrag.models.templates import without_special
from mmrag.rerank.response import opens_thought
from mmrag.serving.requests import Request, Requests

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.models.backbone import Backbone
    from mmrag.models.batch import VisionInput
    from mmrag.models.compression import Compression

Message = Mapping[str, Any]

TURN_END = "<|im_end|>"

PLAIN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Chat turns and nothing else; ``IMAGE`` is replaced by the family's placeholder."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt, ready for a model to go on from.

    Attributes:
        ids: with all placeholders.
        images: in the order of their placeholders.
    """

    ids: tuple[int, ...]
    images: tuple[VisionInput, ...] = ()


class Chat:
    """Messages to tokens; safe to share between threads.

    Args:
        backbone: whose tokenizer and image processor are used.
        compression: of the visual tokens.
        max_visual_tokens: of an image, after compression.
        max_tokens: of prompt and response together: the context that is trained for.
        template: a chat template, where the tokenizer has none of its own.

    Raises:
        ValueError: the tokenizer knows no end of a turn.
    """

    def __init__(
        self,
        backbone: Backbone,
        compression: Compression,
        *,
        max_visual_tokens: int,
        max_tokens: int,
        template: str | None = None,
    ) -> None:
        self.backbone = backbone
        self.compression = compression
        self.max_visual_tokens = max_visual_tokens
        self.max_tokens = max_tokens
        tokenizer = backbone.tokenizer
        if not tokenizer.chat_template:
            placed = PLAIN_TEMPLATE.replace("IMAGE", backbone.image_text(1))
            tokenizer.chat_template = template or placed
        self._marks = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._marks.no_truncation()
        self._marks.no_padding()
        end = self._marks.token_to_id(TURN_END)
        if end is None:
            raise ValueError(
                f"the tokenizer must know {TURN_END}, the end of a chat turn, got one that does not. Take "
                "the instruct version of the checkpoint."
            )
        self.end = int(end)

    def text(self, messages: Sequence[Message], **template: Any) -> str:  # noqa: ANN401  the template's
        """The prompt as the template writes it, with one placeholder an image."""
        options = {"add_generation_prompt": True, **template}
        written = self.backbone.tokenizer.apply_chat_template(
            [_for_template(message) for message in messages], tokenize=False, **options
        )
        return str(written)

    def prompt(
        self,
        messages: Sequence[Message],
        pictures: Mapping[str, VisionInput] | None = None,
        **template: Any,  # noqa: ANN401  the template's
    ) -> Prompted:
        """Messages as tokens.

        Args:
            messages: content is a text, or parts of type ``text``, ``image`` (with a PIL ``image``) or
                ``image_url`` (with the data in its ``url``, or named by its ``uuid``).
            pictures: what was made of the pictures that parts name by their ``uuid``.
            template: options of the template, ``add_generation_prompt`` among them.

        Raises:
            ValueError: a text carries the image placeholder, or a picture cannot be used.
        """
        images = [self._image(part, pictures or {}) for part in _picture_parts(messages)]
        text = self.text(messages, **template)
        one, bare = self.backbone.image_text(1), self.backbone.image_token
        holder = one if one in text else bare
        pieces = text.split(holder)
        if len(pieces) - 1 != len(images) or text.count(bare) != len(images):
            raise ValueError(
                f"a prompt must have one {bare} for each of its {len(images)} pictures, got "
                f"{text.count(bare)}. A text must not carry it."
            )
        whole = pieces[0]
        for image, after in zip(images, pieces[1:], strict=True):
            whole += self.backbone.image_text(self.backbone.token_count(image, self.compression)) + after
        return Prompted(tuple(self.tokens(whole)), tuple(images))

    def image(self, picture: Image) -> VisionInput:
        """A picture of any kind, resized and normalised."""
        return self.backbone.preprocess(ready_image(picture), self.max_visual_tokens, self.compression)

    def tokens(self, text: str) -> list[int]:
        """Ids of a text; special tokens that it spells are real ones."""
        return list(self._marks.encode(text, add_special_tokens=False).ids)

    def words(self, text: str) -> list[int]:
        """Ids of a text that is data: a special token that it spells stays words."""
        return self.tokens(self.plain(text))

    def plain(self, text: str) -> str:
        """A text that is data, with a space in every special token that it spells."""
        return without_special(
            text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), self.backbone.tokenizer
        )

    def opens_thought(self, ids: Sequence[int]) -> bool:
        """Whether a prompt ends in an open thought, as templates of thinkers do."""
        return opens_thought({"token_strs": self._strings(ids)})

    def _strings(self, ids: Sequence[int]) -> list[str]:
        return [self._marks.id_to_token(place) or "" for place in ids]

    def _image(self, part: Message, pictures: Mapping[str, VisionInput]) -> VisionInput:
        if part["type"] == "image":
            return self.image(part["image"])
        if part.get("uuid") in pictures:
            return pictures[part["uuid"]]
        return self.image(opened(part["image_url"]["url"]))


class Listener:
    """Stands in for a server: answers what a mode of the reranker asks before it asks the model.

    Whatever a mode does with the answers (a thought closed, pages shortened to the context, the tokens of
    its answer) is then done to what is trained on, and by its own code.

    Args:
        chat: tokenises as the server will.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._pictures: dict[str, VisionInput] = {}

    def settle(self, steps: Requests[Any]) -> None:
        """Run a generator that asks about tokens only, as a mode's ``prepare``.

        Raises:
            ValueError: it asks the model something.
        """
        if (ask := self._next(steps)) is not None:
            raise ValueError(f"nothing but /tokenize is answered here, got {ask.path!r}.")

    def heard(self, steps: Requests[Any]) -> Request:
        """The first request to the model itself.

        Raises:
            ValueError: the generator ends without one.
        """
        ask = self._next(steps)
        steps.close()
        if ask is None:
            raise ValueError("the model must be asked, got steps that end without a request.")
        return ask

    def prompted(self, ask: Request) -> Prompted:
        """A request to the model as the tokens that the server makes of it."""
        body = ask.body or {}
        options = dict(body.get("chat_template_kwargs") or {})
        for name in ("add_generation_prompt", "continue_final_message"):
            if name in body:
                options[name] = body[name]
        for uuid, data in ask.pictures.items():
            if uuid not in self._pictures:
                self._pictures[uuid] = self._chat.image(opened(data))
        return self._chat.prompt(body["messages"], self._pictures, **options)

    def _next(self, steps: Requests[Any]) -> Request | None:
        try:
            ask = next(steps)
            while ask.path == "/tokenize":
                ask = steps.send(self._reply(ask))
        except StopIteration:
            return None
        return ask

    def _reply(self, ask: Request) -> dict[str, Any]:
        body = ask.body or {}
        ids = self._chat.tokens(body["prompt"]) if "prompt" in body else self.prompted(ask).ids
        return {
            "tokens": list(ids),
            "token_strs": self._chat._strings(ids),
            "max_model_len": self._chat.max_tokens,
        }


def opened(url: str) -> Image:
    """The picture in a data URL."""
    from PIL import Image as PILImage

    return PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def read_template(folder: Path) -> str | None:
    """The chat template that stands beside a tokenizer without one; None where there is none."""
    import json

    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    file = folder / "chat_template.json"
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
        return found if isinstance(found, str) else None
    return None


def _picture_parts(messages: Sequence[Message]) -> list[Message]:
    return [
        part
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] != "text"
    ]


def _for_template(message: Message) -> dict[str, Any]:
    """A message as templates take it: a picture is a part of type ``image``, whatever its data."""
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    parts = [part if part["type"] == "text" else {"type": "image"} for part in content]
    return {**message, "content": parts}
