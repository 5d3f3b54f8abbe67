"""Build the requests of the modes as pure functions: a query and a candidate in, bodies out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmrag.serving.chat import END_OF_THOUGHT, continuation, no_thought
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


def user_template(name: str, settings: Settings) -> str:
    """The user's prompt, which ends in asking for the thought where one is wanted.

    The system prompt asks for it too, but a small model does what stands last: SmolLM2-135M answered "No."
    to 'Answer "yes" or "no"' and thought nothing.
    """
    template = settings.prompts.text(name)
    return f"{template}\n\n{settings.prompts.text('think_first')}" if settings.think_tokens else template


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
        **continuation(messages),
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
        **continuation(messages),
    }


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
