"""Words from a grid of letters: the reading network's output per cell, joined along the lines of text.

A cell is 8 pixels high and 2 wide. The network names the letter of each cell and sets three bits: a letter
starts here, a word starts here, the middle of a line of text runs through this cell. A word is read along
its line's middle:

* *pieces* are unbroken stretches of middle cells in one row of cells, cut where a word starts;
* a line whose middle lies between two rows of cells, or that is skewed, changes rows, so a piece continues in
  the nearest piece to its right, at most a row or two away, if that one does not begin a word itself;
* if two rows have the same letters one above the other, they are one line, and the upper row is used.

The work is done on arrays of cells; Python loops run over pieces only, about one per word.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmrag.types import Box

CELL = (8, 2)
"""Height and width of a cell, in pixels."""

CLASSES = " " + string.ascii_lowercase + string.digits + string.punctuation + "\N{REPLACEMENT CHARACTER}"
"""Class 0 is "no ink here"; the last is every character without a class of its own.

Labels are lower case, without accents, and ligatures are split.
"""

Ints: TypeAlias = "NDArray[np.intp]"
Bools: TypeAlias = "NDArray[np.bool_]"

_NEAR_SAME = 0.75  # fraction of equal cells from which two stretches above each other are one line
_GAP = 0.3  # of a line's height: a wider gap ends a word; a space is about a quarter of the height
_VOTES = ((0, 1.0), (-1, 0.3), (1, 0.3))  # distance from the middle in rows, and weight
_NARROW = np.array([letter in "1ijlftr.,:;'!|()[]{}`\"" for letter in CLASSES])
_AROUND = 100  # cells to both sides that distinguish one line seen twice from two lines
_OVERLAP = 2  # cells by which a stretch may begin before the end of the one that it continues
_FEWEST_GAP = 2  # cells that may always be missing inside a word


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word read from pixels.

    Attributes:
        text: lower case, without accents; characters the reader has no class for are U+FFFD.
        box: ``(left, top, right, bottom)``; from `mmrag.embedders.mini.reader.LetterReader.read` in pixels
            of the picture, from `decode` in cells.
        confidence: mean probability of its cells, 0..1.
    """

    text: str
    box: Box
    confidence: float


def decode(letters: NDArray[np.uint8], bits: Bools, confidence: NDArray[np.floating]) -> list[ReadWord]:
    """Decode a grid of cells to words in arbitrary order; boxes ``(left, top, right, bottom)`` in cells.

    Args:
        letters: ``(H, W)``, the likeliest class of every cell, see `CLASSES`.
        bits: ``(3, H, W)``: a letter starts, a word starts, a line's middle.
        confidence: ``(H, W)``, probability of the class.

    Raises:
        ValueError: the shapes do not match, or a class is unknown.
    """
    _check(letters, bits, confidence)
    middle = _merge_rows(letters, bits, bits[2] & (letters > 0))
    if not middle.any():
        return []
    top, bottom = _reach(letters, middle)
    pieces = _pieces(middle, bits[0] & bits[1])
    pieces = _with_heights(pieces, top, bottom)
    chains = _chains(pieces)
    return _spell(pieces, chains, letters, bits[0], confidence, (top, bottom))


def _check(letters: NDArray[np.uint8], bits: Bools, confidence: NDArray[np.floating]) -> None:
    if letters.ndim != 2 or bits.shape != (3, *letters.shape) or confidence.shape != letters.shape:
        raise ValueError(
            "letters and confidence must be (rows, columns) and bits (3, rows, columns), got "
            f"{letters.shape}, {confidence.shape} and {bits.shape}."
        )
    if letters.size and int(letters.max()) >= len(CLASSES):
        raise ValueError(
            f"classes must be below {len(CLASSES)}, got {int(letters.max())}. "
            "The network was made for another alphabet than this version of mmrag."
        )


def _merge_rows(letters: NDArray[np.uint8], bits: Bools, middle: Bools) -> Bools:
    """Clear `middle` in the lower of two rows with the same letters if they are one line.

    A middle between two rows of cells may be seen in both. Equal words under each other on near lines look
    the same, as in a table; there the rest of the two rows differs.
    """
    overlap = middle[:-1] & middle[1:]  # (H - 1, W)
    if not overlap.any():
        return middle
    rows, starts, ends = _runs(overlap)
    equal = overlap & (letters[:-1] == letters[1:]) & (bits[:2, :-1] == bits[:2, 1:]).all(0)
    equal_sum, overlap_sum = (np.pad(cells.cumsum(1), ((0, 0), (1, 0))) for cells in (equal, overlap))

    def equal_fraction(first: Ints, end: Ints) -> NDArray[np.float64]:
        cells = overlap_sum[rows, end] - overlap_sum[rows, first]
        return np.asarray((equal_sum[rows, end] - equal_sum[rows, first]) / np.maximum(cells, 1))

    around = np.maximum(starts - _AROUND, 0), np.minimum(ends + _AROUND, overlap.shape[1])
    alike = (equal_fraction(starts, ends) >= _NEAR_SAME) & (equal_fraction(*around) >= 0.5)
    merged_middle = middle.copy()
    for row, start, end in zip(rows[alike] + 1, starts[alike], ends[alike], strict=True):
        merged_middle[row, start:end] = False
    return merged_middle


def _runs(mask: Bools) -> tuple[Ints, Ints, Ints]:
    """Find row, first and last + 1 column of every unbroken stretch of a row."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]


def _reach(letters: NDArray[np.uint8], middle: Bools) -> tuple[Ints, Ints]:
    """Find, for every cell, the first and last + 1 row in which its column has the same class.

    A reach also ends halfway to the middle of another line: equal words may be under each other.
    """
    rows = letters.shape[0]
    number = np.arange(rows + 1)[:, None]
    ends = np.ones((rows + 1, letters.shape[1]), bool)
    ends[1:-1] = letters[1:] != letters[:-1]
    above = np.maximum.accumulate(np.where(middle, number[:-1], -1), axis=0)  # the last middle up to here
    row, column = np.nonzero(middle[1:] & (above[:-1] >= 0))
    ends[(above[row, column] + row + 2) // 2, column] = True
    top = np.maximum.accumulate(np.where(ends, number, 0), axis=0)[:-1]
    bottom = np.minimum.accumulate(np.where(ends, number, rows)[::-1], axis=0)[::-1][1:]
    return top, bottom


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Stretches of middle cells, one row each."""

    row: Ints
    start: Ints
    end: Ints  # not included
    opens: Bools  # a word starts with it
    height: Ints  # rows


def _pieces(middle: Bools, word: Bools) -> _Pieces:
    """Cut stretches of middle cells where a word starts."""
    flat = np.pad(middle, ((0, 0), (1, 1)))
    begins = flat[:, 1:-1] & (~flat[:, :-2] | word)
    rows, starts = np.nonzero(begins)
    last = middle & (~flat[:, 2:] | np.pad(begins, ((0, 0), (0, 1)))[:, 1:])
    return _Pieces(rows, starts, np.nonzero(last)[1] + 1, word[rows, starts], np.zeros_like(rows))


def _with_heights(pieces: _Pieces, top: Ints, bottom: Ints) -> _Pieces:
    """Set the height of each piece's letters, by its middle cell."""
    at = (pieces.row, (pieces.start + pieces.end - 1) // 2)
    return _Pieces(pieces.row, pieces.start, pieces.end, pieces.opens, (bottom - top)[at])


def _chains(pieces: _Pieces) -> list[list[int]]:
    """Join the pieces of every word; return their numbers from left to right.

    A piece that opens no word continues one that ends shortly before it; the nearest pairs are joined
    first, so that near lines do not take each other's pieces.
    """
    successor: dict[int, int] = {}
    continuations: set[int] = set()
    for _, before, number in sorted(_links(pieces)):
        if before not in successor and number not in continuations:
            successor[before] = number
            continuations.add(number)
    chains = []
    for number in range(len(pieces.row)):
        if number not in continuations:
            chain = [number]
            while chain[-1] in successor:
                chain.append(successor[chain[-1]])
            chains.append(chain)
    return chains


def _links(pieces: _Pieces) -> Iterator[tuple[float, int, int]]:
    """Yield ``(distance, piece, next piece)`` of all pieces that may continue each other."""
    rows, starts, ends = pieces.row.tolist(), pieces.start.tolist(), pieces.end.tolist()
    by_end = {(row, end): number for number, (row, end) in enumerate(zip(rows, ends, strict=True))}
    heights = pieces.height.tolist()
    for number in np.flatnonzero(~pieces.opens).tolist():
        height = heights[number]
        widest = max(_FEWEST_GAP, int(_GAP * height * CELL[0] / CELL[1]))
        away = max(1, height // 4)
        for gap in range(-_OVERLAP, widest + 1):
            for row in range(rows[number] - away, rows[number] + away + 1):
                before = by_end.get((row, starts[number] - gap))
                if before is not None and starts[before] < starts[number]:
                    yield abs(gap) + 2.0 * abs(row - rows[number]), before, number


def _spell(
    pieces: _Pieces,
    chains: list[list[int]],
    letters: NDArray[np.uint8],
    starts: Bools,
    confidence: NDArray[np.floating],
    reach: tuple[Ints, Ints],
) -> list[ReadWord]:
    """Compose one word per chain: a letter is the class of most cells from one start to the next."""
    word, rows, columns = _cells(pieces, chains)
    begins = _letter_starts(word, letters[rows, columns], starts[rows, columns])
    letter = np.cumsum(begins) - 1
    text = _vote(letter, rows, columns, letters, confidence)
    sure = np.bincount(letter, confidence[rows, columns]) / np.bincount(letter)  # per letter
    bounds = np.searchsorted(word[begins], np.arange(len(chains) + 1))
    ends = np.searchsorted(word, np.arange(len(chains) + 1))
    top, bottom = (edge[rows, columns] for edge in reach)
    words = []
    for number in range(len(chains)):
        at, here = slice(bounds[number], bounds[number + 1]), slice(ends[number], ends[number + 1])
        box = (
            float(columns[here].min()),
            float(_middle(top[here])),
            float(columns[here].max() + 1),
            float(_middle(bottom[here])),
        )
        words.append(ReadWord(text[at], box, float(sure[at].mean())))
    return words


def _cells(pieces: _Pieces, chains: list[list[int]]) -> tuple[Ints, Ints, Ints]:
    """Return word, row and column of every cell of all chains; pieces that overlap share no column."""
    order = np.array([number for chain in chains for number in chain])
    word_of_piece = np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])
    first = pieces.start[order]
    before = np.roll(pieces.end[order], 1)
    first = np.where(np.roll(word_of_piece, 1) == word_of_piece, np.maximum(first, before), first)
    first[0] = pieces.start[order[0]]
    lengths = np.maximum(pieces.end[order] - first, 0)
    columns = np.arange(lengths.sum()) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    return np.repeat(word_of_piece, lengths), np.repeat(pieces.row[order], lengths), columns


def _vote(
    letter: Ints,
    rows: Ints,
    columns: Ints,
    letters: NDArray[np.uint8],
    confidence: NDArray[np.floating],
) -> str:
    """Return the class with most votes of each letter's cells and their neighbours above and below."""
    votes = np.zeros((int(letter[-1]) + 1, len(CLASSES)))  # (letters, classes)
    for away, trust in _VOTES:
        row = np.clip(rows + away, 0, letters.shape[0] - 1)
        kind = letters[row, columns]
        vote = np.where(kind > 0, trust * np.maximum(confidence[row, columns], 1e-6), 0.0)
        votes += np.bincount(letter * len(CLASSES) + kind, vote, votes.size).reshape(votes.shape)
    return "".join(CLASSES[kind] for kind in votes.argmax(1).tolist())


def _letter_starts(word: Ints, kind: NDArray[np.uint8], starts: Bools) -> Bools:
    """Decide which cells of words begin a letter; single cells are not reliable.

    The network marks where letters start. At a missed start at least two cells of another class follow at
    least two of the last; one cell of another class is a blurred border. A start marked twice gives a letter
    of one cell with the class of its neighbour; only narrow letters are that thin.
    """
    begins = np.ones(len(word), bool)
    begins[1:] = (word[1:] != word[:-1]) | starts[1:]
    run = np.concatenate([[True], begins[1:] | (kind[1:] != kind[:-1])])
    long = (np.bincount(np.cumsum(run) - 1) >= 2)[np.cumsum(run) - 1]
    begins[1:] |= run[1:] & long[1:] & long[:-1]
    first = np.flatnonzero(begins)
    thin = np.diff(first, append=len(word)) == 1
    twice = (kind[first[1:]] == kind[first[:-1]]) & (word[first[1:]] == word[first[:-1]])
    twice &= (thin[1:] | thin[:-1]) & ~_NARROW[kind[first[1:]]]
    begins[first[1:][twice]] = False
    return begins


def _middle(values: Ints) -> int:
    """Return the median; of two middle values the larger."""
    return int(np.partition(values, len(values) // 2)[len(values) // 2])
