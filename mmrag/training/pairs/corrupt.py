"""A sentence with words left out and words replaced: a query that asks for its page without quoting it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

LEFT = 4
"""Fewest words of the sentence that must be left as they are."""


@dataclass(frozen=True, slots=True)
class Corrupted:
    """What became of a sentence.

    Attributes:
        text: the words that are left, and those put in, in the sentence's order.
        dropped: words of the sentence that are not in it.
        replaced: pairs of a word of the sentence and the one that stands in its place.
    """

    text: str
    dropped: tuple[str, ...]
    replaced: tuple[tuple[str, str], ...]


def corrupt(
    words: Sequence[str], vocabulary: Sequence[str], *, drop: float, replace: float, rng: random.Random
) -> Corrupted | None:
    """Leave words out and replace words.

    Args:
        words: of the sentence.
        vocabulary: words to put in; those of the sentence are not taken.
        drop: share of the words that is left out; at least one is, unless it is 0.
        replace: share of the words that is replaced; likewise.
        rng: draws both.

    Returns:
        None where fewer than `LEFT` words would be left.
    """
    known = {word.casefold() for word in words}
    others = [word for word in vocabulary if word.casefold() not in known]
    dropped = _share(drop, len(words))
    replaced = _share(replace, len(words)) if others else 0
    if len(words) - dropped - replaced < LEFT:
        return None
    places = rng.sample(range(len(words)), dropped + replaced)
    out, new = set(places[:dropped]), {place: rng.choice(others) for place in sorted(places[dropped:])}
    text = " ".join(new.get(place, word) for place, word in enumerate(words) if place not in out)
    return Corrupted(
        text.rstrip(".,;:!? "),
        tuple(words[place] for place in sorted(out)),
        tuple((words[place], word) for place, word in new.items()),
    )


def _share(share: float, count: int) -> int:
    return max(1, round(share * count)) if share > 0 else 0
