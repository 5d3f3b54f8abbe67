"""Words from a grid of letters: what the reading network says of every cell, joined along the lines of text.

A cell is 8 pixels high and 2 wide. The network names the letter of each cell and sets three bits: a letter
starts here, a word starts here, the middle of a line of text runs through this cell. A word is read along
its line's middle:

* *pieces* are unbroken stretches of middle cells in one row of cells, cut where a word starts;
* a line whose middle lies between two rows of cells, or that is skewed, changes rows, so a piece goes on in
  the nearest piece to its right, at most a row or two away, if that one does not begin a word itself;
* where two rows say the same letters one above the other, it is one line and the upper row speaks.

Everything is done on arrays of cells; Python loops run over pieces only, about one a word.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmrag.types import Box

CELL = (8, 2)
"""Height and width of a cell, in pixels."""

CLASSES = " " + string.ascii_lowercase + string.digits + string.punctuation + "\N{REPLACEMENT CHARACTER}"
"""Class 0 is "no ink here"; the last is every character that is none of the others.

Letters are lower-cased, accents taken off and ligatures taken apart before they are labelled.
"""

Ints: TypeAlias = "NDArray[np.intp]"
Bools: TypeAlias = "NDArray[np.bool_]"

_NEAR_SAME = 0.75  # of the cells of two stretches above each other: more alike than this is one line
_GAP = 0.3  # of a line's height: a wider gap ends a word; a space is about a quarter of the height
_VOTES = ((0, 1.0), (-1, 0.3), (1, 0.3))  # rows away from the middle, and what they count
_NARROW = np.array([letter in "1ijlftr.,:;'!|()[]{}`\"" for letter in CLASSES])
_AROUND = 100  # cells to both sides that tell one line seen twice from two lines
_OVERLAP = 2  # cells by which a stretch may begin before the one it goes on from has ended
_FEWEST_GAP = 2  # cells that always may be missing inside a word


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word read from pixels.

    Attributes:
        text: lower case, without accents; characters the reader has no class for are U+FFFD.
        box: ``(left, top, right, bottom)``, in the unit of who gives the word: pixels of the picture from
            `mmrag.embedders.mini.reader.LetterReader.read`, cells from `decode`.
        confidence: mean probability of its cells, 0..1.
    """

    text: str
    box: Box
    confidence: float


def decode(letters: NDArray[np.uint8], bits: Bools, confidence: NDArray[np.floating]) -> list[ReadWord]:
    """The words of a grid of cells, in no useful order; boxes ``(left, top, right, bottom)`` in cells.

    Args:
        letters: ``(rows, columns)``, the likeliest class of every cell, see `CLASSES`.
        bits: ``(3, rows, columns)``: a letter starts, a word starts, a line's middle.
        confidence: ``(rows, columns)``, probability of the class.

    Raises:
        ValueError: the shapes do not belong together, or a class is unknown.
    """
    _check(letters, bits, confidence)
    middle = _one_row_a_line(letters, bits, bits[2] & (letters > 0))
    if not middle.any():
        return []
    top, bottom = _reach(letters, middle)
    pieces = _pieces(middle, bits[0] & bits[1])
    pieces = _with_heights(pieces, top, bottom)
    chains = _chains(pieces)
    return _spelled(pieces, chains, letters, bits[0], confidence, (top, bottom))


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


def _one_row_a_line(letters: NDArray[np.uint8], bits: Bools, middle: Bools) -> Bools:
    """`middle` without the lower of two rows that say the same, where they are one line.

    A middle between two rows of cells may be seen in both. Equal words under each other on near lines look
    the same, as in a table; there the rest of the two rows says that they are two lines.
    """
    both = middle[:-1] & middle[1:]
    if not both.any():
        return middle
    rows, starts, ends = _runs(both)
    equal = both & (letters[:-1] == letters[1:]) & (bits[:2, :-1] == bits[:2, 1:]).all(0)
    same, all_ = (np.pad(cells.cumsum(1), ((0, 0), (1, 0))) for cells in (equal, both))

    def share(first: Ints, end: Ints) -> NDArray[np.float64]:
        counted = all_[rows, end] - all_[rows, first]
        return np.asarray((same[rows, end] - same[rows, first]) / np.maximum(counted, 1))

    around = np.maximum(starts - _AROUND, 0), np.minimum(ends + _AROUND, both.shape[1])
    alike = (share(starts, ends) >= _NEAR_SAME) & (share(*around) >= 0.5)
    kept = middle.copy()
    for row, start, end in zip(rows[alike] + 1, starts[alike], ends[alike], strict=True):
        kept[row, start:end] = False
    return kept


def _runs(mask: Bools) -> tuple[Ints, Ints, Ints]:
    """Row, first and last + 1 column of every unbroken stretch of a row."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]


def _reach(letters: NDArray[np.uint8], middle: Bools) -> tuple[Ints, Ints]:
    """For every cell the first and the last + 1 row up to which its column holds the same class.

    Halfway to the middle of another line it ends too: equal words may stand under each other.
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
    """Stretches cut where a word starts."""
    flat = np.pad(middle, ((0, 0), (1, 1)))
    begins = flat[:, 1:-1] & (~flat[:, :-2] | word)
    rows, starts = np.nonzero(begins)
    last = middle & (~flat[:, 2:] | np.pad(begins, ((0, 0), (0, 1)))[:, 1:])
    return _Pieces(rows, starts, np.nonzero(last)[1] + 1, word[rows, starts], np.zeros_like(rows))


def _with_heights(pieces: _Pieces, top: Ints, bottom: Ints) -> _Pieces:
    """With the height of each piece's letters, by its middle cell."""
    at = (pieces.row, (pieces.start + pieces.end - 1) // 2)
    return _Pieces(pieces.row, pieces.start, pieces.end, pieces.opens, (bottom - top)[at])


def _chains(pieces: _Pieces) -> list[list[int]]:
    """Numbers of the pieces of every word, left to right.

    A piece that opens no word goes on from one that ends near before it; the nearest pairs are joined
    first, so that near lines do not take each other's pieces.
    """
    rows, starts, ends = pieces.row.tolist(), pieces.start.tolist(), pieces.end.tolist()
    ending = {(row, end): number for number, (row, end) in enumerate(zip(rows, ends, strict=True))}
    heights = pieces.height.tolist()
    links: list[tuple[float, int, int]] = []
    for number in np.flatnonzero(~pieces.opens).tolist():
        height = heights[number]
        widest = max(_FEWEST_GAP, int(_GAP * height * CELL[0] / CELL[1]))
        away = max(1, height // 4)
        for gap in range(-_OVERLAP, widest + 1):
            for row in range(rows[number] - away, rows[number] + away + 1):
                before = ending.get((row, starts[number] - gap))
                if before is not None and starts[before] < starts[number]:
                    links.append((abs(gap) + 2.0 * abs(row - rows[number]), before, number))
    following: dict[int, int] = {}
    followed: set[int] = set()
    for _, before, number in sorted(links):
        if before not in following and number not in followed:
            following[before] = number
            followed.add(number)
    chains = []
    for number in range(len(rows)):
        if number not in followed:
            chain = [number]
            while chain[-1] in following:
                chain.append(following[chain[-1]])
            chains.append(chain)
    return chains


def _spelled(
    pieces: _Pieces,
    chains: list[list[int]],
    letters: NDArray[np.uint8],
    starts: Bools,
    confidence: NDArray[np.floating],
    reach: tuple[Ints, Ints],
) -> list[ReadWord]:
    """One word a chain: a letter is what most of the cells from one start to the next say."""
    order = np.array([number for chain in chains for number in chain])
    word_of_piece = np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])
    # where pieces overlap, the first of them has the column
    first = pieces.start[order]
    before = np.roll(pieces.end[order], 1)
    first = np.where(np.roll(word_of_piece, 1) == word_of_piece, np.maximum(first, before), first)
    first[0] = pieces.start[order[0]]
    lengths = np.maximum(pieces.end[order] - first, 0)
    word = np.repeat(word_of_piece, lengths)
    rows = np.repeat(pieces.row[order], lengths)
    columns = np.arange(lengths.sum()) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    begins = _letter_starts(word, letters[rows, columns], starts[rows, columns])
    letter = np.cumsum(begins) - 1
    count = int(letter[-1]) + 1
    votes = np.zeros((count, len(CLASSES)))
    for away, trust in _VOTES:
        row = np.clip(rows + away, 0, letters.shape[0] - 1)
        kind = letters[row, columns]
        vote = np.where(kind > 0, trust * np.maximum(confidence[row, columns], 1e-6), 0.0)
        votes += np.bincount(letter * len(CLASSES) + kind, vote, votes.size).reshape(votes.shape)
    text = "".join(CLASSES[kind] for kind in votes.argmax(1).tolist())
    sure = np.bincount(letter, confidence[rows, columns], count) / np.bincount(letter, minlength=count)
    word_of_letter = word[begins]
    bounds = np.searchsorted(word_of_letter, np.arange(len(chains) + 1))
    ends = np.searchsorted(word, np.arange(len(chains) + 1))
    top, bottom = (each[rows, columns] for each in reach)
    made = []
    for number in range(len(chains)):
        at, here = slice(bounds[number], bounds[number + 1]), slice(ends[number], ends[number + 1])
        box = (
            float(columns[here].min()),
            float(_middle(top[here])),
            float(columns[here].max() + 1),
            float(_middle(bottom[here])),
        )
        made.append(ReadWord(text[at], box, float(sure[at].mean())))
    return made


def _letter_starts(word: Ints, kind: NDArray[np.uint8], starts: Bools) -> Bools:
    """Which cells of words begin a letter, where single cells are not to be trusted.

    The network says where letters start. A start that it missed shows as another class in at least two
    cells after at least two of the last; one cell of another class is a blurred border. A letter said to
    start twice shows as one cell of the class of its neighbour; only narrow letters are that thin.
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
    """The median; the larger of two."""
    return int(np.partition(values, len(values) // 2)[len(values) // 2])
