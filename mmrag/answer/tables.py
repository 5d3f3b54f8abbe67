"""Cells that a question names, and tables as a whole where it asks to compare or compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrag.answer.passages import LONGEST_ROW, Passage, row_cells
from mmrag.answer.question import Question
from mmrag.answer.words import content_stems
from mmrag.blocks import Block, Cell, Table, Word


def narrow(question: Question, passage: Passage, words: Sequence[Word]) -> Passage:
    """Return the cell of a row, with its headers, if the question names both its row and its column.

    A row is named if all words of its own header stand in the question; a column, if more of the question's
    other words stand in its headers than in those of any other column.

    Args:
        question: what is asked.
        passage: a row of a table; others are returned as they are.
        words: of the page.
    """
    table = passage.block.table if passage.block is not None else None
    if table is None or passage.row is None or not table.header_columns:
        return passage
    header = table.row_header(passage.row)
    names = set(content_stems(header[-1])) if header else set()
    if not names or not names <= question.stems:
        return passage
    corner = {stem for column in range(table.header_columns) for stem in _column_stems(table, column)}
    asked = question.stems - names - corner
    cells = [cell for cell in row_cells(table, passage.row) if cell.column >= table.header_columns]
    counts = [len(asked & _column_stems(table, cell.column)) for cell in cells]
    best = max(counts, default=0)
    if not best or counts.count(best) > 1 or not cells[counts.index(best)].text:
        return passage
    cell = cells[counts.index(best)]
    column = " ".join(table.column_header(cell.column))
    placed = _words(words, [*_header_cells(table, passage.row, cell.column), cell])
    return replace(passage, text=f"{', '.join(header)}, {column}: {cell.text}"[:LONGEST_ROW], words=placed)


def whole_tables(passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages with each table's rows replaced by the table.

    A table that is longer than a quote may be is quoted by its title and the names of its columns.
    """
    whole: list[Passage] = []
    blocks: list[tuple[int, Block]] = []
    for passage in passages:
        if passage.row is None or passage.block is None or passage.block.table is None:
            whole.append(passage)
        elif not any(number == passage.candidate and block is passage.block for number, block in blocks):
            blocks.append((passage.candidate, passage.block))
            rows = [one for one in passages if one.row is not None and one.block is passage.block]
            whole.append(_whole(passage, rows))
    return whole


def _whole(first: Passage, rows: Sequence[Passage]) -> Passage:
    text = "\n".join(row.text for row in rows)
    if len(text) <= LONGEST_ROW:
        return replace(first, text=text, words=tuple(word for row in rows for word in row.words), row=None)
    assert first.block is not None and first.block.table is not None
    table = first.block.table
    names = "; ".join(dict.fromkeys(name for n in range(table.columns) for name in table.column_header(n)))
    return replace(first, text=(names or first.title or first.text)[:LONGEST_ROW], words=(), row=None)


def _column_stems(table: Table, column: int) -> set[str]:
    return {stem for name in table.column_header(column) for stem in content_stems(name)}


def _header_cells(table: Table, row: int, column: int) -> list[Cell]:
    """Return the named cells left of and above a place."""
    return [
        cell
        for cell in table.cells
        if (cell.column < table.header_columns and cell.row <= row < cell.row + cell.row_span)
        or (cell.row < table.header_rows and cell.column <= column < cell.column + cell.column_span)
    ]


def _words(words: Sequence[Word], cells: Sequence[Cell]) -> tuple[Word, ...]:
    return tuple(words[position] for cell in cells for position in cell.words)
