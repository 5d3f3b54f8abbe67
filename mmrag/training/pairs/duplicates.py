"""Near-duplicates among many short texts, exactly and in pure Python.

Two texts are alike where their sets of shingles have a Jaccard similarity of at least a threshold *and*
their figures are the same: "Sales, 2023" and "Sales, 2024" ask for different things.

MinHash finds such pairs with a probability; the prefix filter of similarity joins (Chaudhuri et al. 2006,
Bayardo et al. 2007) finds them all: with shingles in one order, rarest first, sets of similarity ``t`` must
share one among their first ``n - ceil(t n) + 1``. So only texts that share a rare shingle are compared.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

LETTERS = 4
"""Characters of a shingle of a query."""
WORDS = 3
"""Words of a shingle of a page."""
SAMPLE = 8
"""One of so many shingles of a page is kept; which, its digest decides, so pages stay comparable."""
LEAST_WORDS = 20
"""Two pages with fewer words may read alike (a heading) and show different things."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A text as it is compared: only those with equal figures are."""

    shingles: frozenset[int]
    figures: Hashable


def query_sketch(text: str) -> Sketch:
    """A query by its pieces of four letters; case, accents and punctuation do not count."""
    plain = normalised(text)
    padded = f" {plain} "
    pieces = {padded[at : at + LETTERS] for at in range(max(1, len(padded) - LETTERS + 1))}
    return Sketch(frozenset(_digest(piece) for piece in pieces), _figures(plain))


def page_sketch(text: str) -> Sketch | None:
    """A page by a sample of its runs of three words; None where it has too few words to tell."""
    words = normalised(text).split()
    if len(words) < LEAST_WORDS:
        return None
    runs = {" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)}
    every = {_digest(run) for run in runs}
    kept = {one for one in every if one % SAMPLE == 0} if len(every) > 20 * SAMPLE else every
    return Sketch(frozenset(kept), _figures(" ".join(words)))


def normalised(text: str) -> str:
    """Lower case, no accents, letters and figures only, one space between words."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(c for c in text if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", text))


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """What both have by what either has; 0 for two empty sets."""
    both = len(one & other)
    either = len(one) + len(other) - both
    return both / either if either else 0.0


def first_alike(sketches: Sequence[Sketch | None], threshold: float) -> list[int | None]:
    """For each text the place of the text before it that it is most alike and that is like none itself.

    None where it is the first of its kind; the places that are named are therefore those with None.
    """
    frequency: Counter[int] = Counter()
    for sketch in sketches:
        if sketch is not None:
            frequency.update(sketch.shingles)
    holders: dict[tuple[Hashable, int], list[int]] = {}
    found: list[int | None] = []
    for place, sketch in enumerate(sketches):
        if sketch is None:
            found.append(None)
            continue
        ordered = sorted(sketch.shingles, key=lambda one: (frequency[one], one))
        rare = [
            (sketch.figures, one)
            for one in ordered[: len(ordered) - math.ceil(threshold * len(ordered) - 1e-9) + 1]
        ]
        near = {mate for key in rare for mate in holders.get(key, ())}
        found.append(_best(sketch, sorted(near), sketches, threshold))
        if found[-1] is None:
            for key in rare:
                holders.setdefault(key, []).append(place)
    return found


def _best(
    sketch: Sketch, near: Sequence[int], sketches: Sequence[Sketch | None], threshold: float
) -> int | None:
    best, most = None, threshold - 1e-9
    own = sketch.shingles
    for mate in near:
        other = sketches[mate]
        # what differs much in size cannot be alike
        if other is None or not most * len(own) <= len(other.shingles) <= len(own) / most:
            continue
        value = jaccard(own, other.shingles)
        if value > most:
            best, most = mate, value
    return best


def _figures(plain: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", plain))


def _digest(text: str) -> int:
    """The same on every machine, as `hash` is not."""
    return zlib.crc32(text.encode("utf-8", errors="surrogatepass"))
