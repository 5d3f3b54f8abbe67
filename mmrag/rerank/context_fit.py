"""Fit candidates into the model's context: all shrink by the same fraction, and the verdicts say so."""

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
MARGIN = 0.97  # of the estimated fraction: the tokens of a text do not fall quite in proportion to its length
PIXELS_PER_TOKEN = 512  # vision models that keep a page's size today make a token of 28 x 28 pixels or more
TOKENS_PER_MESSAGE = 32  # role, markers


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
    def token_bound(self) -> int:
        """Upper bound of the token count without a tokenizer: every token is at least one byte."""
        size = 0
        for message in self.messages:
            parts = message["content"]
            texts = [parts] if isinstance(parts, str) else [part.get("text", "") for part in parts]
            size += TOKENS_PER_MESSAGE + sum(len(text.encode("utf-8", errors="replace")) for text in texts)
        return size + self.pixels // PIXELS_PER_TOKEN


def fit_prompt(
    build: Callable[[float], Prompt], limit: int, extra: Mapping[str, Any]
) -> Requests[tuple[Prompt, float]]:
    """Return a prompt of at most `limit` tokens, and the fraction of the candidates that is left in it.

    The server counts the tokens, but only if the prompt might be too long.

    Args:
        build: makes the prompt with this fraction of every candidate's text and picture.
        limit: most tokens of the prompt.
        extra: further keys of chat requests; some change the count.

    Raises:
        ServerError: the prompt is too long even without the candidates' text.
    """
    prompt = build(1.0)
    if prompt.token_bound <= limit:
        return prompt, 1.0
    whole = yield from _count_tokens(prompt, extra)
    if whole <= limit:
        return prompt, 1.0
    bare = yield from _count_tokens(build(0.0), extra)
    if bare > limit:
        raise ServerError(
            f"the prompt must fit into the {limit} tokens that the model's context leaves for it, got {bare} "
            "without the candidates' text. Serve the model with a larger --max-model-len, lower think_tokens "
            "or image_pixels, or rerank fewer candidates."
        )
    fraction = (limit - bare) / (whole - bare)
    for _ in range(ROUNDS):
        fraction *= MARGIN
        prompt = build(fraction)
        if (yield from _count_tokens(prompt, extra)) <= limit:
            return prompt, fraction
    return build(0.0), 0.0


def _count_tokens(prompt: Prompt, extra: Mapping[str, Any]) -> Requests[int]:
    reply = yield Request("/tokenize", count_body(prompt.messages, extra), pictures=prompt.pictures)
    return len(read_tokens(reply))
