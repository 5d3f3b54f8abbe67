"""Callers' texts and options where a checkpoint of other people has a template of its own.

The whole template is tokenised as one text, as their processors do: parts tokenised by themselves could
meet at other borders and give other ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mmrag.models.compression import Compression

NOT_THEIRS = ("compression", "pooling", "prompts", "page_text", "thoughts", "allow_untrained")
"""Arguments of ``MLLMEmbedder.from_pretrained`` that a checkpoint of another design may have no use for."""


def refuse(options: dict[str, Any], what: str, known: Collection[str]) -> None:
    """Check the options that a caller gave; no compression is taken out of them.

    Raises:
        ValueError: one does not apply to this design.
        TypeError: nobody knows it.
    """
    if "compression" not in known and options.get("compression") in (1, Compression(1)):
        del options["compression"]
    for name in options:
        if name in NOT_THEIRS and name not in known:
            raise ValueError(f"{name} does not apply to {what}, got {options[name]!r}. Leave it out.")
        if name not in known:
            raise TypeError(f"{what} take no {name}; they take {', '.join(sorted(known))}.")


def common_end(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids at the end of two sequences are the same: what a template adds behind a text."""
    same = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        same += 1
    return same


def shortened(ids: tuple[int, ...], limit: int, tail: int) -> tuple[int, ...]:
    """At most `limit` ids: what stands before the last `tail` is cut at its end."""
    return ids if len(ids) <= limit else ids[: limit - tail] + ids[len(ids) - tail :]


def without_special(text: str, tokenizer: Any) -> str:  # noqa: ANN401  transformers'
    """The text with a space put into every special token that it spells, so that it stays words."""
    for token in tokenizer.added_tokens_decoder.values():
        mark = str(token.content)
        if token.special and mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text
