"""Cells that a question names, and tables as a whole where it asks to compare or compute."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mmrag.answer.passages import LONGEST_ROW, Passage, cut_words
from mmrag.answer.question import Question
from mmrag.answer.words import content_stems
from mmrag.blocks import Block, Cell, Table, Word

_PARENTHESES = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")


def narrow(question: Question, passage: Passage, words: Sequence[Word]) -> Passage:
    """Return the cell of a row, with its headers, if the question names both its row and its column.

    A row is named if all words of its own header stand in the question. A column is named if all words of its
    own header do, and more of the question's other words stand over it than over any other column. What
    stands in parentheses (units, counts) need not be named. Where a comparison is asked for ("the highest"),
    its word must stand in a header, too ("Lowest temperature"): else the cell would be an answer we guess.

    Args:
        question: what is asked.
        passage: a row of a table; others are returned as they are.
        words: of the page.
    """
    table = passage.block.table if passage.block is not None else None
    row = passage.row
    if table is None or row is None or not table.header_columns:
        return passage
    header = table.row_header(row)
    names = _name_stems(header[-1]) if header else frozenset()
    if not names or not names <= question.stems:
        return passage
    passage = replace(passage, match_level=1)
    corner = {stem for column in range(table.header_columns) for stem in _column_stems(table, column)}
    rest = question.stems - names - corner
    cells = [
        cell
        for cell in table.cells
        if cell.row <= row < cell.row + cell.row_span and cell.column >= table.header_columns
    ]
    counts = [len(rest & _column_stems(table, cell.column)) for cell in cells]
    best = max(counts, default=0)
    if not best or counts.count(best) > 1:
        return passage
    cell = cells[counts.index(best)]
    path = table.column_header(cell.column)
    value = f"{' '.join(path)}: {cell.text}"
    if value not in passage.text:
        return passage  # a part of a long row; or the table is nothing but header
    text = f"{', '.join(header)}, {value}"
    is_named = _name_stems(path[-1]) <= question.stems and question.extremes <= set(text.casefold().split())
    if not (is_named and _has_whole_header(table) and any(char.isalnum() for char in cell.text)):
        return passage
    cell_words = _words(words, [*_header_cells(table, row, cell.column), cell])
    return replace(passage, text=text[:LONGEST_ROW], words=cell_words, match_level=2)


def whole_tables(passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages with each table's rows replaced by the table; cells that are named stay.

    A table that is longer than a quote may be is quoted by its title and the names of its columns.
    """
    whole: list[Passage] = []
    blocks: list[tuple[int, Block]] = []
    for passage in passages:
        if passage.row is None or passage.match_level == 2 or passage.block is None:
            whole.append(passage)
        elif not any(number == passage.candidate and block is passage.block for number, block in blocks):
            blocks.append((passage.candidate, passage.block))
            rows = [row for row in passages if row.block is passage.block and row.match_level < 2]
            whole.append(_whole(passage, rows))
    return whole


def _whole(first: Passage, rows: Sequence[Passage]) -> Passage:
    text = "\n".join(row.text for row in rows)
    if len(text) <= LONGEST_ROW:
        return replace(first, text=text, words=tuple(word for row in rows for word in row.words), row=None)
    assert first.block is not None and first.block.table is not None
    table = first.block.table
    names = "; ".join(dict.fromkeys(name for n in range(table.columns) for name in table.column_header(n)))
    words = next(cut_words((names or first.title or first.text).split(), LONGEST_ROW))
    return replace(first, text=" ".join(words)[:LONGEST_ROW], words=(), row=None, is_outline=True)


def _name_stems(name: str) -> frozenset[str]:
    """Return the stems of a header without what stands in parentheses; with it if there is nothing else."""
    return frozenset(content_stems(_PARENTHESES.sub(" ", name)) or content_stems(name))


def _has_whole_header(table: Table) -> bool:
    """Check whether every column of values has a name; else a row of the header may have been lost."""
    return all(table.column_header(column) for column in range(table.header_columns, table.columns))


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
