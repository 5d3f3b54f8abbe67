"""The text of a page for a model that sees no picture of it: blocks, and around what the question names.

Where the page's structure is kept, headings are lines with ``#`` and tables rows of cells; else its lines are
taken as they are. Nothing is read from the file: reranking runs no layout model.

A page that fits is given whole. Of a longer one the pieces (sentences, lines, rows) are kept that hold the
question's words, rare words of the page first (`window_weights`, as the local reranker chooses its windows);
then what stands around them. With a piece its headings are kept, with a row the rows that name its columns.
Pieces keep the page's order, and a gap is marked. If the page has none of the question's words, it is cut
from the top.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from mmrag.answer.words import content_stems, sentence_spans
from mmrag.blocks import Block, Table
from mmrag.documents.rows import table_rows
from mmrag.serving.escaping import CUT, cut_text
from mmrag.types import Candidate, Page

PIECE_CHARS = 300
"""Most characters of a piece, but for a row of a table."""
NAME_CHARS = 160
"""Most characters of what the document is called, which stands above the text."""
GAP = CUT.strip()
REACH = 2
"""Pieces before and behind one with a word of the question that get a part of its weight."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a page's text that is kept or left out as a whole.

    Attributes:
        text: without a line break.
        glue: between the piece before and this one: a line break, or a space within a paragraph.
        above: positions of the headings and of the header rows that stand over it.
    """

    text: str
    glue: str = "\n"
    above: tuple[int, ...] = ()


class PageText:
    """The text of a candidate, whole or cut around a question.

    What the document is called stands above the text of a page.

    Args:
        candidate: with a page or a plain text.
    """

    def __init__(self, candidate: Candidate) -> None:
        page = candidate.page
        self._plain = candidate.record.text if page is None else (page.text or candidate.record.text)
        self._blocks = (page.blocks or ()) if page is not None else ()
        self._page = page
        context = candidate.record.context if page is not None else ""
        self._name = cut_text(" ".join(context.split()), NAME_CHARS)

    @cached_property
    def whole(self) -> str:
        """Return all of it."""
        if not self._blocks:
            return self._with_name(self._plain)
        return self._with_name(_join(self.pieces, range(len(self.pieces))))

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """Return the pieces in the page's order."""
        if self._page is None or not self._blocks:
            return tuple(piece for line in self._plain.splitlines() for piece in _pieces_of_line(line))
        return tuple(_pieces_of_blocks(self._page, self._blocks))

    def cut(self, question: str, limit: int) -> str:
        """Return the text in at most `limit` characters; no less than the mark of a gap.

        Args:
            question: its words choose the pieces.
            limit: in characters.
        """
        if len(self.whole) <= limit:
            return self.whole
        pieces, room = self.pieces, limit - len(self._with_name(""))
        order = _order(question, pieces)
        selection: set[int] = set()
        for position in order:
            more = selection | {position, *pieces[position].above}
            if _length(pieces, sorted(more)) <= room:
                selection = more
        if selection:
            return self._with_name(_join(pieces, sorted(selection)))
        first = pieces[order[0]].text if order else ""
        return cut_text(first, max(0, limit - len(CUT))) if limit > len(CUT) else GAP

    def _with_name(self, text: str) -> str:
        return f"{self._name}\n{text}" if self._name and self._plain.strip() else text


def window_weights(stems: frozenset[str], windows: Sequence[Sequence[str]]) -> list[float]:
    """Return, per window, the sum of ``log(1 + n / windows with it)`` over the question's stems in it.

    Args:
        stems: of the question.
        windows: the stems of each; n is their number.
    """
    matches = [stems.intersection(window) for window in windows]
    frequency = Counter(stem for match in matches for stem in match)
    count = len(windows)
    return [math.fsum(math.log(1 + count / frequency[stem]) for stem in match) for match in matches]


def _order(question: str, pieces: Sequence[Piece]) -> list[int]:
    """Return the positions of pieces, the one to keep first at the head.

    A piece has the weight of its words and of those above it, and of its neighbours' a quarter and an eighth;
    pieces without any follow by their distance to one that has some.
    """
    words = [content_stems(piece.text) for piece in pieces]
    weights = window_weights(
        frozenset(content_stems(question)),
        [
            [*words[at], *(word for over in piece.above for word in words[over])]
            for at, piece in enumerate(pieces)
        ],
    )
    spread_weights = [
        weights[at]
        + math.fsum(
            weights[near] / 2 ** (step + 1)
            for step in range(1, REACH + 1)
            for near in (at - step, at + step)
            if 0 <= near < len(pieces)
        )
        for at in range(len(pieces))
    ]
    distances = _distances([weight > 0 for weight in spread_weights])
    return sorted(range(len(pieces)), key=lambda at: (-spread_weights[at], distances[at], at))


def _distances(marks: Sequence[bool]) -> list[int]:
    """Return how many positions lie between each one and the nearest mark; all the same without a mark."""
    distances = [0 if mark else len(marks) for mark in marks]
    for at in range(1, len(marks)):
        distances[at] = min(distances[at], distances[at - 1] + 1)
    for at in range(len(marks) - 2, -1, -1):
        distances[at] = min(distances[at], distances[at + 1] + 1)
    return distances if any(marks) else [0] * len(marks)


def _parts(pieces: Sequence[Piece], selection: Sequence[int]) -> Iterator[str]:
    """Yield the texts of the pieces kept, with a mark wherever some are left out."""
    if not selection:
        return
    if selection[0] > 0:
        yield f"{GAP}{pieces[selection[0]].glue}"
    yield pieces[selection[0]].text
    for before, at in pairwise(selection):
        glue = pieces[at].glue
        yield glue if at == before + 1 else f"{glue}{GAP}{glue}"
        yield pieces[at].text
    if selection[-1] < len(pieces) - 1:
        yield f"{pieces[selection[-1] + 1].glue}{GAP}"


def _join(pieces: Sequence[Piece], selection: Sequence[int]) -> str:
    return "".join(_parts(pieces, selection))


def _length(pieces: Sequence[Piece], selection: Sequence[int]) -> int:
    return sum(map(len, _parts(pieces, selection)))


# ------------------------------------------------------------------------------------------- pieces


def _pieces_of_line(line: str, above: tuple[int, ...] = ()) -> Iterator[Piece]:
    """Yield a line in pieces of whole sentences; cut between words, or letters, where one is too long."""
    words = [
        word[start : start + PIECE_CHARS]
        for word in line.split()
        for start in range(0, len(word), PIECE_CHARS)
    ]
    glue, text = "\n", ""
    for span in sentence_spans(words):
        sentence = words[span.start : span.stop]
        if text and len(text) + 1 + len(" ".join(sentence)) > PIECE_CHARS:
            yield Piece(text, glue, above)
            glue, text = " ", ""
        for word in sentence:
            if text and len(text) + 1 + len(word) > PIECE_CHARS:
                yield Piece(text, glue, above)
                glue, text = " ", ""
            text = f"{text} {word}" if text else word
    if text:
        yield Piece(text, glue, above)


def _pieces_of_blocks(page: Page, blocks: Sequence[Block]) -> Iterator[Piece]:
    """Yield the pieces of blocks, and of the words in none of them at the end."""
    headings: list[tuple[int, int]] = []  # level and position, outermost first
    position = 0
    for block in blocks:
        above = tuple(at for _, at in headings)
        if block.kind in ("title", "heading"):
            level = block.level or 1
            headings = [heading for heading in headings if heading[0] < level]
            above = tuple(at for _, at in headings)
            text = " ".join(block.text.split())
            new_pieces = [Piece(f"{'#' * min(level, 6)} {text}", "\n", above)] if text else []
            headings += [(level, position)] if new_pieces else []
        elif block.table is not None:
            new_pieces = list(_pieces_of_table(block.table, above, position))
        else:
            new_pieces = [piece for line in block.text.splitlines() for piece in _pieces_of_line(line, above)]
        yield from new_pieces
        position += len(new_pieces)
    used = {word for block in blocks for word in _positions(block)}
    rest = " ".join(word.text for at, word in enumerate(page.words) if at not in used)
    yield from _pieces_of_line(rest)


def _pieces_of_table(table: Table, above: tuple[int, ...], position: int) -> Iterator[Piece]:
    """Yield the rows of a table whose first one gets this position; each stands under the header rows."""
    rows = table_rows(table).splitlines()
    headers = min(table.header_rows, len(rows) - 1)
    for number, row in enumerate(rows):
        yield Piece(row, "\n", (*above, *range(position, position + min(headers, number))))


def _positions(block: Block) -> tuple[int, ...]:
    cells = block.table.cells if block.table is not None else ()
    return (*block.words, *(word for cell in cells for word in cell.words))
