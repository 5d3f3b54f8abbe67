"""Sentences with words dropped and replaced: queries for a page that do not quote it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_KEPT = 4
"""Fewest words of a sentence to leave as they are."""


@dataclass(frozen=True, slots=True)
class CorruptedSentence:
    """A sentence with words dropped and replaced.

    Attributes:
        text: its words after that.
        dropped_words: in the sentence's order.
        replacements: pairs of a word of the sentence and the word in its place.
    """

    text: str
    dropped_words: tuple[str, ...]
    replacements: tuple[tuple[str, str], ...]


def corrupt(
    words: Sequence[str], vocabulary: Sequence[str], *, drop: float, replace: float, rng: random.Random
) -> CorruptedSentence | None:
    """Drop and replace random words of a sentence.

    Args:
        words: of the sentence.
        vocabulary: words to draw replacements from; words of the sentence are not used.
        drop: fraction of the words to drop; at least one, unless it is 0.
        replace: fraction of the words to replace; likewise.
        rng: draws both.

    Returns:
        None if fewer than `LEAST_KEPT` words would be left as they are.
    """
    in_sentence = {word.casefold() for word in words}
    candidates = [word for word in vocabulary if word.casefold() not in in_sentence]
    drops = _count(drop, len(words))
    replacements = _count(replace, len(words)) if candidates else 0
    if len(words) - drops - replacements < LEAST_KEPT:
        return None
    positions = rng.sample(range(len(words)), drops + replacements)
    out = set(positions[:drops])
    new = {position: rng.choice(candidates) for position in sorted(positions[drops:])}
    text = " ".join(new.get(position, word) for position, word in enumerate(words) if position not in out)
    return CorruptedSentence(
        text.rstrip(".,;:!? "),
        tuple(words[position] for position in sorted(out)),
        tuple((words[position], word) for position, word in new.items()),
    )


def _count(fraction: float, total: int) -> int:
    return max(1, round(fraction * total)) if fraction > 0 else 0
