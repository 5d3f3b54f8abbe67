"""Messages to tokens by the checkpoint's chat template: the same tokens that a server makes of a request.

The generative stages train on what the model will see when it is served: messages go through the
checkpoint's chat template, and each picture's placeholder is repeated for its visual tokens.

Decisions taken here:

* *The response is tokenised by itself*, after the whole prompt, as a server generates it. It ends with the
  end of a chat turn, ``<|im_end|>`` in all our families.
* *A checkpoint without a template* (a base model, a tiny one) gets a plain one of chat turns. It is saved
  with the trained model, since a server needs one.
"""

from __future__ import annotations

import base64
import io
import json
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
class EncodedPrompt:
    """A prompt as a model reads it.

    Attributes:
        ids: token ids with all image placeholders.
        images: in the order of their placeholders.
    """

    ids: tuple[int, ...]
    images: tuple[VisionInput, ...] = ()


class Chat:
    """Encodes messages; safe to share between threads.

    Args:
        backbone: provides tokenizer and image processor.
        compression: of the visual tokens.
        max_visual_tokens: limit per image, after compression.
        max_tokens: limit of prompt and response together: the context that is trained for.

    Raises:
        ValueError: the tokenizer has no token for the end of a turn.
    """

    def __init__(
        self,
        backbone: Backbone,
        compression: Compression,
        *,
        max_visual_tokens: int,
        max_tokens: int,
    ) -> None:
        self.backbone = backbone
        self.compression = compression
        self.max_visual_tokens = max_visual_tokens
        self.max_tokens = max_tokens
        tokenizer = backbone.tokenizer
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE.replace("IMAGE", backbone.image_text(1))
        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.end = _end_of_turn(self._tokenizer)

    def text(self, messages: Sequence[Message], **template: Any) -> str:  # noqa: ANN401  the template's
        """Return the prompt as the template writes it, with one placeholder per image."""
        options = {"add_generation_prompt": True, **template}
        text = self.backbone.tokenizer.apply_chat_template(
            [_for_template(message) for message in messages], tokenize=False, **options
        )
        return str(text)

    def prompt(
        self,
        messages: Sequence[Message],
        pictures: Mapping[str, VisionInput] | None = None,
        **template: Any,  # noqa: ANN401  the template's
    ) -> EncodedPrompt:
        """Encode messages.

        Args:
            messages: their content is a text, or parts of type ``text``, ``image`` (with a PIL ``image``) or
                ``image_url`` (with a data URL as its ``url``, or named by its ``uuid``).
            pictures: preprocessed pictures by ``uuid``.
            template: options of the template, for example ``add_generation_prompt``.

        Raises:
            ValueError: a text contains the image placeholder, or a picture cannot be used.
        """
        images = [self._image(part, pictures or {}) for part in _picture_parts(messages)]
        text = self.text(messages, **template)
        marks, token = self.backbone.image_text(1), self.backbone.image_token
        first, *rest = text.split(marks if marks in text else token)
        if len(rest) != len(images) or text.count(token) != len(images):
            raise ValueError(
                f"a prompt must have one {token} for each of its {len(images)} pictures, got "
                f"{text.count(token)}. Texts must not contain it."
            )
        counts = [self.backbone.token_count(image, self.compression) for image in images]
        text = first + "".join(
            self.backbone.image_text(count) + after for count, after in zip(counts, rest, strict=True)
        )
        return EncodedPrompt(tuple(self.tokens(text)), tuple(images))

    def image(self, picture: Image) -> VisionInput:
        """Resize and normalise a picture."""
        return self.backbone.preprocess(ready_image(picture), self.max_visual_tokens, self.compression)

    def tokens(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens in it become special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def words(self, text: str) -> list[int]:
        """Return the ids of a text that is data; special tokens in it become plain words."""
        return self.tokens(self.plain(text))

    def plain(self, text: str) -> str:
        """Return a text that is data, with a space put into every special token in it."""
        return without_special(
            text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), self.backbone.tokenizer
        )

    def opens_thought(self, ids: Sequence[int]) -> bool:
        """Return whether a prompt ends in an open thought, as templates of thinking models do."""
        return opens_thought({"token_strs": self.token_strings(ids)})

    def token_strings(self, ids: Sequence[int]) -> list[str]:
        """Return the tokens of ids as the vocabulary spells them."""
        return [self._tokenizer.id_to_token(id) or "" for id in ids]

    def _image(self, part: Message, pictures: Mapping[str, VisionInput]) -> VisionInput:
        if part["type"] == "image":
            return self.image(part["image"])
        if part.get("uuid") in pictures:
            return pictures[part["uuid"]]
        return self.image(decode_image(part["image_url"]["url"]))


class TeacherForcing:
    """Drives a mode of the reranker without a server, up to the request that the model would answer.

    Requests for tokens are answered from the tokenizer. Whatever a mode does with the replies (close a
    thought, shorten pages to the context, look up the tokens of its answer) is thus done to the training
    data as well, by the mode's own code.

    Args:
        chat: tokenises as the server will.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._pictures: dict[str, VisionInput] = {}

    def run_prepare(self, requests: Requests[Any]) -> None:
        """Run a generator that requests tokens only, as a mode's ``prepare``.

        Raises:
            ValueError: it requests an answer of the model.
        """
        if (request := self._next(requests)) is not None:
            raise ValueError(f"only /tokenize can be answered without a model, got {request.path!r}.")

    def first_request(self, requests: Requests[Any]) -> Request:
        """Return the first request for an answer of the model, and close the generator.

        Raises:
            ValueError: the generator ends without one.
        """
        request = self._next(requests)
        requests.close()
        if request is None:
            raise ValueError("a mode must request an answer of the model, got a generator without requests.")
        return request

    def encode(self, request: Request) -> EncodedPrompt:
        """Return the tokens that a server makes of a request."""
        body = request.body or {}
        options = dict(body.get("chat_template_kwargs") or {})
        for name in ("add_generation_prompt", "continue_final_message"):
            if name in body:
                options[name] = body[name]
        for uuid, data in request.pictures.items():
            if uuid not in self._pictures:
                self._pictures[uuid] = self._chat.image(decode_image(data))
        return self._chat.prompt(body["messages"], self._pictures, **options)

    def _next(self, requests: Requests[Any]) -> Request | None:
        try:
            request = next(requests)
            while request.path == "/tokenize":
                request = requests.send(self._reply(request))
        except StopIteration:
            return None
        return request

    def _reply(self, request: Request) -> dict[str, Any]:
        body = request.body or {}
        ids = self._chat.tokens(body["prompt"]) if "prompt" in body else self.encode(request).ids
        return {
            "tokens": list(ids),
            "token_strs": self._chat.token_strings(ids),
            "max_model_len": self._chat.max_tokens,
        }


def _end_of_turn(tokenizer: Tokenizer) -> int:
    """Return the id of the token that ends a turn.

    Raises:
        ValueError: the tokenizer has none.
    """
    end = tokenizer.token_to_id(TURN_END)
    if end is None:
        raise ValueError(
            f"the tokenizer must have a token {TURN_END}, the end of a chat turn, got one without it. "
            "Take the instruct version of the checkpoint."
        )
    return int(end)


def decode_image(url: str) -> Image:
    """Open the picture in a data URL."""
    from PIL import Image as PILImage

    return PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def read_template(folder: Path) -> str | None:
    """Read the chat template from its own file in a checkpoint's folder, or return None."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    file = folder / "chat_template.json"
    if file.is_file():
        template = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
        return template if isinstance(template, str) else None
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
    """Return a message as templates expect it: pictures as parts of type ``image``, without their data."""
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    parts = [part if part["type"] == "text" else {"type": "image"} for part in content]
    return {**message, "content": parts}
