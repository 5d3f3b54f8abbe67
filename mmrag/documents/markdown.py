"""Blocks as Markdown (CommonMark, with tables as in GitHub's Markdown).

The text is that of the page: what Markdown would read as markup in it is escaped. Headings are ``#`` by
their levels, which are counted anew so that none is left out; rows of a table's header are joined, since
Markdown has one; a cell with spans is repeated in every position that it covers. Running heads and feet and
watermarks are left out unless they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mmrag.blocks import Block, Table
from mmrag.documents.structure.joining import LogicalTable, logical_tables
from mmrag.types import Page

_MARKUP = re.compile(r"([\\`*\[\]<&|~$])|(?<![^\W_])(_)|(_)(?![^\W_])")
_LINE_START = re.compile(r"^(#{1,6}(?=\s|$)|[-+=>]|\d{1,9}(?=[.)]))")
_CLOSING_MARK = re.compile(r"(?:^|(?<=\s))#+$")
_BULLET = re.compile("^(?:[•‣▪▫◦●○■□*·➢✓-]|\N{EN DASH}|\N{EM DASH})\\s+")
HEADER_SEPARATOR = " / "
"""Between the rows of a header that become one."""


def markdown(pages: Sequence[Page], *, running_heads: bool = False) -> str:
    """Write the blocks of pages as Markdown.

    Args:
        pages: with their blocks; a table that goes on on the next page is written once, where it begins.
        running_heads: also write running heads and feet, page numbers and watermarks.

    Returns:
        Text that ends with a line break; ``""`` without blocks.
    """
    levels = _dense_levels(block for page in pages for block in page.blocks or ())
    tables = {
        (part.page.number, part.position): table for table in logical_tables(pages) for part in table.parts
    }
    parts: list[str] = []
    for page in pages:
        for position, block in enumerate(page.blocks or ()):
            if block.is_running and not running_heads:
                continue
            table = tables.get((page.number, position))
            if table is None:
                parts.append(_block(block, levels))
            elif table.parts[0].page is page and table.parts[0].position == position:
                parts.append(_table(table))
    text = "\n\n".join(part for part in parts if part)
    return _tight_lists(text) + "\n" if text else ""


def table_markdown(table: Table) -> str:
    """Write one table as Markdown."""
    return _grid(
        [list(names) for names in (table.grid()[: table.header_rows])], table.grid()[table.header_rows :]
    )


def escape(text: str) -> str:
    """Escape what Markdown would read as markup."""
    text = _MARKUP.sub(lambda match: "\\" + match.group(0), text)
    return _LINE_START.sub(lambda match: _escape_start(match.group(0)), text)


def _escape_start(mark: str) -> str:
    """Escape the start of a line: a number is kept, the point behind it is escaped."""
    return mark + "\\" if mark.isdigit() else "\\" + mark


def _escape_closing(match: re.Match[str]) -> str:
    """Escape what would close a heading and not be shown."""
    return "\\" + match.group(0)


def _dense_levels(blocks: Iterable[Block]) -> dict[int, int]:
    """Return a number from 1 to 6 for each level that is used."""
    used = sorted({block.level for block in blocks if block.level})
    return {level: min(6, number) for number, level in enumerate(used, start=1)}


def _block(block: Block, levels: dict[int, int]) -> str:
    """Write one block that is no table."""
    text = escape(block.text)
    if block.level:
        return f"{'#' * levels[block.level]} {_CLOSING_MARK.sub(_escape_closing, text)}"
    if block.kind == "list-item":
        return _list_item(block.text)
    if block.kind == "picture" and not text:
        return "![picture]()"
    if block.kind == "comment":
        return f"> {text}"
    return text


def _list_item(text: str) -> str:
    """Write an item with a hyphen, or with the number that it has."""
    number = re.match(r"^(\d{1,9}[.)])\s+", text)
    if number:
        return f"{number.group(1)} {escape(text[number.end() :])}"
    return f"- {escape(_BULLET.sub('', text))}"


def _tight_lists(text: str) -> str:
    """Leave no empty line between two items of a list."""
    return re.sub(r"(?m)^((?:- |\d{1,9}[.)] ).*)\n\n(?=- |\d{1,9}[.)] )", r"\1\n", text)


def _table(table: LogicalTable) -> str:
    return _grid(table.header(), table.body())


def _grid(header: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> str:
    """Write header rows, joined, and rows of values."""
    columns = max((len(row) for row in (*header, *body)), default=0)
    names = [
        HEADER_SEPARATOR.join(dict.fromkeys(row[column] for row in header if row[column]))
        for column in range(columns)
    ]
    rows = [names, *body]
    lines = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * columns, *lines[1:]])


def _cell(text: str) -> str:
    """Write a cell: its start is no start of a line."""
    return _MARKUP.sub(lambda match: "\\" + match.group(0), " ".join(text.split()))
