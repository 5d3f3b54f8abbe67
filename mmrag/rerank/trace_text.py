"""A trace as text: its two parts, and how they are read from what a model wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mmrag.errors import ServerAnswerError
from mmrag.serving.client import ChatReply
from mmrag.types import Usage


@dataclass(frozen=True, slots=True)
class Trace:
    """What a model wrote about a document or a query.

    Attributes:
        thought: the think block; ``""`` where the model wrote none.
        final: the short part after it; ``""`` where the trace was cut inside its thought.
        cut: it ran into ``max_tokens``; the last sentence that was not whole is gone.
        usage: what it cost now; a hit of the cache costs nothing.
    """

    thought: str
    final: str
    cut: bool = False
    usage: Usage = field(default_factory=Usage, compare=False)

    @property
    def text(self) -> str:
        """The whole trace as an embedder reads it: the think block, then the final part."""
        if not self.thought:
            return self.final
        return f"<think>\n{self.thought}\n</think>\n{self.final}".rstrip()

    @property
    def plain(self) -> str:
        """Both parts without the tags, for a prompt that quotes them."""
        return "\n".join(part for part in (self.thought, self.final) if part)


def read_trace(reply: ChatReply, max_tokens: int) -> Trace:
    """The trace in a chat answer; the thought from the answer's own field, from its think block, or both.

    Raises:
        ServerAnswerError: there is no text in it.
    """
    before, close, after = reply.content.partition("</think>")
    if not close and not before.lstrip().startswith("<think>"):  # no think block: all of it is final
        before, after = "", before
    thought = "\n".join(part for part in (reply.thought.strip(), _untagged(before)) if part)
    final = _untagged(after)
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


def _untagged(text: str) -> str:
    return re.sub(r"</?think>", "", text).strip()


def _whole_sentences(text: str) -> str:
    """The text up to its last end of a sentence or line; all of it where there is none."""
    ends = [match.end() for match in re.finditer(r"[.!?\u3002](?=\s|$)|\n", text)]
    return text[: ends[-1]].rstrip() if ends else text
