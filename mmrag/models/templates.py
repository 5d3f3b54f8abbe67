"""Texts and options of callers, for checkpoints of other designs with templates of their own.

The whole template is tokenised as one text, as their processors do: tokens across the borders of parts
would differ if parts were tokenised by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mmrag.models.compression import Compression

OUR_OPTIONS = ("compression", "pooling", "prompts", "page_text", "thoughts", "allow_untrained")
"""Arguments of ``MLLMEmbedder.from_pretrained`` that a checkpoint of another design may have no use for."""


def refuse(options: dict[str, Any], design: str, names: Collection[str]) -> None:
    """Refuse options that a design does not have; a compression of 1 is removed from `options`.

    Raises:
        ValueError: an option of `MLLMEmbedder` does not apply to this design.
        TypeError: an unknown option.
    """
    if "compression" not in names and options.get("compression") in (1, Compression(1)):
        del options["compression"]
    for name in options:
        if name in OUR_OPTIONS and name not in names:
            raise ValueError(f"{name} does not apply to {design}, got {options[name]!r}. Leave it out.")
        if name not in names:
            raise TypeError(f"{design} take no {name}; they take {', '.join(sorted(names))}.")


def common_end(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the equal ids at the end of two sequences: the tokens that a template adds behind a text."""
    count = 0
    for left, right in zip(reversed(first), reversed(second), strict=False):
        if left != right:
            break
        count += 1
    return count


def shorten(ids: tuple[int, ...], limit: int, tail: int) -> tuple[int, ...]:
    """Cut ids to at most `limit`, just before the last `tail`, which are kept."""
    return ids if len(ids) <= limit else ids[: limit - tail] + ids[len(ids) - tail :]


def without_special(text: str, tokenizer: Any) -> str:  # noqa: ANN401  transformers'
    """Put a space into every special token that a text spells, so that it stays words."""
    for token in tokenizer.added_tokens_decoder.values():
        mark = str(token.content)
        if token.special and mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text
