"""A trace as text: its two parts, and how they are read from a model's reply."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mmrag.errors import ServerAnswerError
from mmrag.serving.client import ChatReply
from mmrag.types import Usage


@dataclass(frozen=True, slots=True)
class Trace:
    """A model's reasoning about a document or a query.

    Attributes:
        thought: the think block; ``""`` if the model wrote none.
        final: the short part after it; ``""`` if the trace was cut inside its thought.
        cut: whether it ran into ``max_tokens``; its last, incomplete sentence is dropped.
        usage: cost in this call; a cache hit costs nothing.
    """

    thought: str
    final: str
    cut: bool = False
    usage: Usage = field(default_factory=Usage, compare=False)

    @property
    def text(self) -> str:
        """Think block and final part, as an embedder reads them."""
        if not self.thought:
            return self.final
        return f"<think>\n{self.thought}\n</think>\n{self.final}".rstrip()

    @property
    def plain(self) -> str:
        """Both parts without tags, to be quoted in a prompt."""
        return "\n".join(part for part in (self.thought, self.final) if part)


def read_trace(reply: ChatReply, max_tokens: int) -> Trace:
    """Return the trace in a chat reply; the thought from the reply's own field, its think block, or both.

    Raises:
        ServerAnswerError: the reply has no text.
    """
    before, close, after = reply.content.partition("</think>")
    if not close and not before.lstrip().startswith("<think>"):  # no think block: all of it is final
        before, after = "", before
    thought = "\n".join(part for part in (reply.thought.strip(), _strip_tags(before)) if part)
    final = _strip_tags(after)
    cut = reply.finish_reason == "length"
    if cut and final:
        final = _whole_sentences(final)
    elif cut:
        thought = _whole_sentences(thought)
    if not thought and not final:
        raise ServerAnswerError(
            f"a trace must have text, got an empty answer (finish_reason {reply.finish_reason!r}). "
            f"Raise max_tokens ({max_tokens}) or use a model that follows the prompt.",
            reply.content,
        )
    return Trace(thought, final, cut)


def _strip_tags(text: str) -> str:
    return re.sub(r"</?think>", "", text).strip()


def _whole_sentences(text: str) -> str:
    """Return the text up to its last end of a sentence or line; all of it if there is none."""
    ends = [match.end() for match in re.finditer(r"[.!?\u3002](?=\s|$)|\n", text)]
    return text[: ends[-1]].rstrip() if ends else text
