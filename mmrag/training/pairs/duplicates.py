"""Near-duplicates among many short texts, exactly and in pure Python.

Two texts are near-duplicates if the Jaccard similarity of their shingles reaches a threshold *and* their
figures are the same: "Sales, 2023" and "Sales, 2024" ask for different things.

MinHash (datasketch) finds such pairs with a probability, and embeddings (semhash) do not tell 2023 from 2024.
The prefix filter of similarity joins (Chaudhuri et al. 2006, Bayardo et al. 2007) finds them all: with
shingles in one order, rarest first, sets of similarity ``t`` must share one among their first
``n - ceil(t n) + 1``. So only texts that share a rare shingle are compared.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

LETTERS = 4
"""Characters per shingle of a query."""
WORDS = 3
"""Words per shingle of a page."""
SAMPLE = 8
"""Of a long page, one in so many shingles is kept, by its digest, so that pages stay comparable."""
LEAST_WORDS = 20
"""Pages with fewer words (a heading) may read the same and show different things."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A text for comparison; only texts with equal figures are compared."""

    shingles: frozenset[int]
    figures: Hashable


def query_sketch(text: str) -> Sketch:
    """Return the sketch of a query: shingles of four letters, without case, accents and punctuation."""
    plain = normalise(text)
    between_spaces = f" {plain} "
    shingles = {between_spaces[at : at + LETTERS] for at in range(max(1, len(between_spaces) - LETTERS + 1))}
    return Sketch(frozenset(map(_digest, shingles)), _figures(plain))


def page_sketch(text: str) -> Sketch | None:
    """Return the sketch of a page, a sample of its shingles of three words; None for too few words."""
    words = normalise(text).split()
    if len(words) < LEAST_WORDS:
        return None
    shingles = {_digest(" ".join(words[at : at + WORDS])) for at in range(len(words) - WORDS + 1)}
    if len(shingles) > 20 * SAMPLE:
        shingles = {shingle for shingle in shingles if shingle % SAMPLE == 0}
    return Sketch(frozenset(shingles), _figures(" ".join(words)))


def normalise(text: str) -> str:
    """Return a text in lower case with its letters and figures alone, no accents, one space between words."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(c for c in text if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", text))


def jaccard(left: frozenset[int], right: frozenset[int]) -> float:
    """Return the size of the intersection over the size of the union; 0 for two empty sets."""
    common = len(left & right)
    union = len(left) + len(right) - common
    return common / union if union else 0.0


def first_duplicates(sketches: Sequence[Sketch | None], threshold: float) -> list[int | None]:
    """Return for each text the earlier original that it is most similar to, or None if it is an original.

    An original is a text that duplicates no earlier one. Texts without a sketch are originals that nothing
    duplicates.

    Args:
        sketches: of the texts, in order.
        threshold: smallest Jaccard similarity of near-duplicates.
    """
    frequency: Counter[int] = Counter()
    for sketch in sketches:
        frequency.update(sketch.shingles if sketch is not None else ())
    originals_with: dict[tuple[Hashable, int], list[int]] = {}
    firsts: list[int | None] = []
    for position, sketch in enumerate(sketches):
        if sketch is None:
            firsts.append(None)
            continue
        keys = [(sketch.figures, shingle) for shingle in _prefix(sketch, frequency, threshold)]
        candidates = {original for key in keys for original in originals_with.get(key, ())}
        first = _most_similar(sketch, sorted(candidates), sketches, threshold)
        firsts.append(first)
        if first is None:
            for key in keys:
                originals_with.setdefault(key, []).append(position)
    return firsts


def _prefix(sketch: Sketch, frequency: Mapping[int, int], threshold: float) -> list[int]:
    """Return the rarest shingles, of which any two near-duplicates share at least one."""
    rarest_first = sorted(sketch.shingles, key=lambda shingle: (frequency[shingle], shingle))
    count = len(rarest_first)
    return rarest_first[: count - math.ceil(threshold * count - 1e-9) + 1]


def _most_similar(
    sketch: Sketch, candidates: Sequence[int], sketches: Sequence[Sketch | None], threshold: float
) -> int | None:
    best, most = None, threshold - 1e-9
    shingles = sketch.shingles
    for position in candidates:
        candidate = sketches[position]
        # sets of very different sizes cannot be similar
        if candidate is None or not most * len(shingles) <= len(candidate.shingles) <= len(shingles) / most:
            continue
        similarity = jaccard(shingles, candidate.shingles)
        if similarity > most:
            best, most = position, similarity
    return best


def _figures(plain: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", plain))


def _digest(text: str) -> int:
    """Return a digest that is the same on every machine, unlike `hash`."""
    return zlib.crc32(text.encode("utf-8", errors="surrogatepass"))
