"""Requests of the modes as pure functions: a query and a candidate in, request bodies out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mmrag.errors import DocumentError
from mmrag.rerank.page_text import PageText
from mmrag.rerank.protocol import Verdicts
from mmrag.serving.chat import END_OF_THOUGHT, continuation, no_thought
from mmrag.serving.client import Json
from mmrag.serving.escaping import cut_text, data_mark
from mmrag.types import Candidate, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.rerank.protocol import Settings

RESERVED_KEYS = frozenset(
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


# ------------------------------------------------------------------------------------- model inputs


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The text and the picture of a candidate or query that the model gets to see.

    Attributes:
        text: as it is on the page; ``""`` if there is none or it is switched off.
        image: None if there is none or pictures are switched off.
        note: why it has no picture though it should have one; ``""`` otherwise.
        page_text: what `text` is cut out of, where there is no picture.
        question: whose words a cut keeps.
    """

    text: str
    image: Image | None = None
    note: str = ""
    page_text: PageText | None = None
    question: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is neither picture nor text."""
        return self.image is None and not self.text.strip()

    @property
    def cut_note(self) -> str:
        """Return how much of the text is given; ``""`` if all of it."""
        if self.page_text is None or len(self.text) == len(self.page_text.whole):
            return ""
        return (
            f"given {len(self.text)} of {len(self.page_text.whole)} characters, around the question's words"
        )

    def cut(self, length: int) -> str:
        """Return the text in about `length` characters: around the question's words, or from the top.

        Beside a picture the top is as good a part as any.
        """
        if len(self.text) <= length:
            return self.text
        if self.page_text is None:
            return cut_text(self.text, length)
        return self.page_text.cut(self.question, length)


def text_input(candidate: Candidate, query: Query, settings: Settings, note: str = "") -> ModelInput:
    """Return a candidate that is shown by its text alone, in at most ``settings.text_chars`` characters.

    See `mmrag.rerank.page_text`.
    """
    page_text, question = PageText(candidate), query.text or ""
    most = settings.text_chars
    text = page_text.whole if most is None else page_text.cut(question, most)
    return ModelInput(text, None, note, page_text, question)


def candidate_input(candidate: Candidate, query: Query, settings: Settings) -> ModelInput:
    """Return the parts of a candidate that `settings` show; a text without a page is always shown.

    A page that cannot be drawn, since its file has moved, say, is shown by its text, with a note.

    Raises:
        ValueError: pictures are on, the page has none and ``settings.render`` is None.
    """
    page = candidate.page
    if page is None or not settings.images:
        return text_input(candidate, query, settings)
    text = (page.text or candidate.record.text) if settings.text else ""
    if page.image is not None:
        return ModelInput(text, page.image)
    if settings.render is None:
        raise ValueError(
            f"page {page.id!r} must have a picture or the reranker a render function, got neither. "
            "Pass render=..., or images=False for a model that reads text only."
        )
    try:
        return ModelInput(text, settings.render(page, settings.image_pixels))
    except DocumentError as error:
        return text_input(candidate, query, settings, f"judged without a picture: {error}")


NO_PICTURE_NOTE = "pages without a picture, whose files moved or changed, were judged by their text"
CUT_NOTE = "long pages were cut around the question's words: see the verdicts"


def with_page_notes(verdicts: Verdicts, pages: Sequence[ModelInput]) -> Verdicts:
    """Return verdicts that say which candidates were judged without their picture, or by a part of the text.

    Args:
        verdicts: one a candidate.
        pages: what the model was shown of each.
    """
    if not any(page.note or page.cut_note for page in pages):
        return verdicts
    new_verdicts = tuple(
        replace(verdict, note="; ".join(filter(None, (verdict.note, page.note, page.cut_note))))
        for verdict, page in zip(verdicts.verdicts, pages, strict=True)
    )
    notes = [NO_PICTURE_NOTE] if any(page.note for page in pages) else []
    notes += [CUT_NOTE] if any(page.cut_note for page in pages) else []
    return Verdicts(new_verdicts, (*verdicts.notes, *notes))


def query_input(query: Query, settings: Settings) -> ModelInput:
    """Return text and picture of a query.

    Raises:
        ValueError: the query has a picture, and pictures are switched off.
    """
    if query.image is not None and not settings.images:
        raise ValueError("a query with an image needs images=True, got images=False. Ask with text only.")
    return ModelInput(query.text or "", query.image)


# ------------------------------------------------------------------------------------------ prompts


def instruction_for(query: Query, settings: Settings) -> str:
    """Return what counts as relevant: the reranker's instruction, else the query's, else the prompt's."""
    return settings.instruction or query.instruction or settings.prompts.text("instruction")


def system_prompt(mode: str, settings: Settings) -> str:
    """Return the system prompt of a mode; with ``think_tokens`` the one that asks for a thought."""
    if not settings.think_tokens:
        return settings.prompts.text(f"{mode}_system")
    return settings.prompts.fill(f"{mode}_think", words=word_limit(settings.think_tokens))


def user_template(mode: str, settings: Settings) -> str:
    """Return the user's prompt of a mode; with ``think_tokens`` its last line asks for the thought.

    The system prompt asks for it too, but a small model follows the last line: SmolLM2-135M answered "No."
    to 'Answer "yes" or "no"' and thought nothing.
    """
    order = "page_first" if settings.first == "page" else "user"
    template = settings.prompts.text(f"{mode}_{order}")
    return f"{template}\n\n{settings.prompts.text('think_first')}" if settings.think_tokens else template


def block_mark(query: str, pages: Sequence[str], settings: Settings) -> str:
    """Return the mark of a prompt's blocks: of what stands first, so that a server can keep its tokens.

    What follows has no part in it: prompts that begin with the same query, or the same pages, have it in
    common. An author can know the mark of a page that stands first, but `as_data` leaves no marker whole.

    Args:
        query: its text.
        pages: the text of each.
        settings: ``first`` is used.
    """
    return data_mark(*pages) if settings.first == "page" else data_mark(query)


def word_limit(tokens: int) -> str:
    """Return the number of words to request for a thought: three quarters of the tokens, to end in time."""
    return str(max(1, tokens * 3 // 4))


def even_length(lengths: Sequence[int], fraction: float) -> int:
    """Return the one length to cut all texts to so that `fraction` of their sum is left."""
    left = int(fraction * sum(lengths))
    for index, length in enumerate(sorted(lengths)):
        mean = left // (len(lengths) - index)
        if length > mean:
            return mean
        left -= length
    return max(lengths, default=0)


# ------------------------------------------------------------------------------------------- bodies


def thought_body(messages: Sequence[Json], think_tokens: int, extra: Mapping[str, Any]) -> Json:
    """Build a chat request that writes a thought and stops at its end."""
    return {
        "messages": list(messages),
        "max_tokens": think_tokens,
        "temperature": 0.0,
        "stop": [END_OF_THOUGHT],
        **extra,
    }


def answer_body(messages: Sequence[Json], ids: Sequence[int], extra: Mapping[str, Any]) -> Json:
    """Build a chat request for one token, with the log-probabilities of the tokens `ids`."""
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
    """Build a chat request for the order of pages 1..`count`; the server enforces the answer's form."""
    number = "|".join(str(n) for n in range(1, count + 1))
    return {
        "messages": list(messages),
        **no_thought(extra),
        "temperature": 0.0,
        "max_tokens": order_tokens(count),
        "structured_outputs": {"regex": rf"\[({number})\]( > \[({number})\]){{{count - 1}}}"},
        **continuation(messages),
    }


def order_tokens(count: int) -> int:
    """Return the most tokens that an order of `count` pages takes."""
    return 16 + 8 * count


def count_body(messages: Sequence[Json], extra: Mapping[str, Any], *, words: bool = False) -> Json:
    """Build a request to ``/tokenize`` for the tokens of messages; with `words`, for their texts as well."""
    options = {key: extra[key] for key in ("chat_template_kwargs", "mm_processor_kwargs") if key in extra}
    return {"messages": list(messages), "add_generation_prompt": True, "return_token_strs": words, **options}


def text_tokens_body(text: str, *, special: bool = False) -> Json:
    """Build a request to ``/tokenize`` for the tokens of a text; with `special`, with the opening token."""
    return {"prompt": text, "add_special_tokens": special}


def likelihood_body(ids: Sequence[int]) -> Json:
    """Build a completion request for the log-probability of each token given those before it."""
    return {"prompt": list(ids), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
