"""Words drawn twice: bold by drawing again, shadows and glows. Each is kept once.

MuPDF drops a letter that is drawn again at once, in its place; it knows nothing of words, lines or tables
that are drawn again later. A word is a copy of one before it if both have the same text and size, run in
the same direction, and lie within `SHIFT` of their size of each original: a shadow is off by a point or two,
and the same word in the next line or cell by more than its own height or width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from mmrag.documents.layer.glyphs import LayerBlocks, LayerLine, LayerWord, overlap

SHIFT = 0.3  # font sizes
_SAME_SIZE = 0.1  # font sizes
_LEAST_SHARED = 0.5  # of a copy's area: the dots of a leader stand close, but beside each original
_CELL = 8.0  # points, of the grid on which originals are looked up

_Originals = dict[tuple[str, int, int], list[tuple[LayerWord, float]]]


def drop_doubles(blocks: LayerBlocks) -> LayerBlocks:
    """Return the blocks without words that are drawn again over themselves; lines left empty go."""
    originals: _Originals = defaultdict(list)
    result: LayerBlocks = []
    for block in blocks:
        lines = [line for line in (_once(line, originals) for line in block) if line.words]
        if lines:
            result.append(lines)
    return result


def _once(line: LayerLine, originals: _Originals) -> LayerLine:
    """Return the line without copies; its other words become originals."""
    words = []
    for word in line.words:
        if not any(
            angle == line.angle and is_copy(word, original) for original, angle in _near(word, originals)
        ):
            words.append(word)
            originals[word.text, int(word.box[0] / _CELL), int(word.box[1] / _CELL)].append(
                (word, line.angle)
            )
    return line if len(words) == len(line.words) else replace(line, words=tuple(words))


def _near(word: LayerWord, originals: _Originals) -> Iterator[tuple[LayerWord, float]]:
    """Yield the originals of the same text whose upper left corner is close."""
    reach = SHIFT * word.parts[0].size
    x, y = word.box[0], word.box[1]
    for column in range(int((x - reach) / _CELL), int((x + reach) / _CELL) + 1):
        for row in range(int((y - reach) / _CELL), int((y + reach) / _CELL) + 1):
            yield from originals.get((word.text, column, row), ())


def is_copy(word: LayerWord, original: LayerWord) -> bool:
    """Check whether two words of the same text are one drawn twice."""
    size = max(word.parts[0].size, 1e-6)
    if abs(size - original.parts[0].size) > _SAME_SIZE * size:
        return False
    if any(abs(edge - twin) > SHIFT * size for edge, twin in zip(word.box, original.box, strict=True)):
        return False
    return overlap(word.box, original.box) >= _LEAST_SHARED
