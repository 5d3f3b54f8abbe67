"""Fitting candidates into a model's context: all are shortened evenly, and it is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmrag.errors import ServerError
from mmrag.rerank.request import count_body
from mmrag.rerank.response import read_tokens
from mmrag.serving.client import Json
from mmrag.serving.requests import Request, Requests

ROUNDS = 8
MARGIN = 0.97  # of what is left after the first guess: cut texts do not get shorter quite in proportion
PIXELS_A_TOKEN = 512  # today's vision models that keep a page's size make a token of 28 x 28 pixels or more
TOKENS_A_MESSAGE = 32  # role, markers


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages, and the data of the pictures they name.

    Attributes:
        messages: of a chat request.
        pictures: data URL by uuid.
        pixels: area of all pictures together, for a bound on their tokens.
    """

    messages: list[Json]
    pictures: Mapping[str, str] = field(default_factory=dict)
    pixels: int = 0

    @property
    def most_tokens(self) -> int:
        """A bound that needs no tokenizer: a token is at least one byte, and a picture's are few."""
        size = 0
        for message in self.messages:
            parts = message["content"]
            texts = [parts] if isinstance(parts, str) else [part.get("text", "") for part in parts]
            size += TOKENS_A_MESSAGE + sum(len(text.encode("utf-8", errors="replace")) for text in texts)
        return size + self.pixels // PIXELS_A_TOKEN


def fitted(
    build: Callable[[float], Prompt], limit: int, extra: Mapping[str, Any]
) -> Requests[tuple[Prompt, float]]:
    """The prompt, and the share of the candidates' text and pictures that is left in it (1.0: all).

    The server counts, but only where the prompt might be too long.

    Args:
        build: makes the prompt with this share of every text and picture.
        limit: tokens the prompt may have.
        extra: further keys of chat requests; some change the count.

    Raises:
        ServerError: even without the candidates' text the prompt is too long.
    """
    prompt = build(1.0)
    if prompt.most_tokens <= limit:
        return prompt, 1.0
    whole = yield from _count(prompt, extra)
    if whole <= limit:
        return prompt, 1.0
    bare = yield from _count(build(0.0), extra)
    if bare > limit:
        raise ServerError(
            f"the prompt must fit into the {limit} tokens that the model's context leaves for it, got {bare} "
            "without the candidates' text. Serve the model with a larger --max-model-len, lower think_tokens "
            "or image_pixels, or rerank fewer candidates."
        )
    share = (limit - bare) / (whole - bare)
    for _ in range(ROUNDS):
        share *= MARGIN
        prompt = build(share)
        if (yield from _count(prompt, extra)) <= limit:
            return prompt, share
    return build(0.0), 0.0


def _count(prompt: Prompt, extra: Mapping[str, Any]) -> Requests[int]:
    reply = yield Request("/tokenize", count_body(prompt.messages, extra), pictures=prompt.pictures)
    return len(read_tokens(reply))
