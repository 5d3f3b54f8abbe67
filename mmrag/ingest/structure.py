"""The structure of an index's pages: read when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmrag.blocks import Block
from mmrag.index.base import Index
from mmrag.ingest.pictures import from_source
from mmrag.types import Page

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader


def page_blocks(index: Index, reader: Callable[[], DocumentReader], page: Page) -> tuple[Block, ...]:
    """Return the blocks of a page of this index, from the page, from the index, or from its file.

    Args:
        index: keeps what is read, unless it is open for reading only.
        reader: returns the reader of files; called if none of the others has the blocks.
        page: of the index.

    Raises:
        SourceChangedError: the file is gone, or is not the file that was indexed.
        PageError: its structure cannot be read.
    """
    if page.blocks is not None:
        return page.blocks
    for record in index.get([page.id]):
        if record.page is not None and record.page.blocks is not None:
            return record.page.blocks
    blocks = from_source(index, page, lambda again, data: reader().structure(again, data=data)).blocks or ()
    if not index.read_only:
        index.put_blocks(page.id, blocks)
    return blocks
