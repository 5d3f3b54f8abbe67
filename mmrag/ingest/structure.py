"""The structure of an index's pages: read when it is first asked for, once, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from mmrag.blocks import Block
from mmrag.forks import new_lock, new_recursive_lock
from mmrag.index.base import Index
from mmrag.ingest.pictures import from_source
from mmrag.ingest.records import RESERVED_KEYS
from mmrag.types import Page, Record

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader

MOST_PAGES = 128
"""Pages whose blocks are kept in memory where the index cannot keep them."""


class PageStructure:
    """Reads the blocks of an index's pages; usable from any thread.

    Threads that ask for one page at once wait for one reading of it. An index that is open for reading only
    keeps nothing, so the blocks of the pages asked for last are kept here.

    Args:
        index: keeps what is read, unless it is open for reading only.
        reader: returns the reader of files; called if nobody has the blocks.
    """

    def __init__(self, index: Index, reader: Callable[[], DocumentReader]) -> None:
        self._index = index
        self._reader = reader
        self._lock = new_lock()
        self._turns: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._recent: OrderedDict[tuple[str, str, int], tuple[Block, ...]] = OrderedDict()

    def blocks(self, page: Page) -> tuple[Block, ...]:
        """Return the blocks of a page of this index, from the page, from the index, or from its file.

        Raises:
            SourceChangedError: the file is gone, or is not the file that was indexed.
            PageError: its structure cannot be read.
        """
        blocks = self._kept_blocks(page)
        if blocks is not None:
            return blocks
        with self._lock:
            turn = self._turns.setdefault(page.id, new_recursive_lock())
        with turn:
            blocks = self._kept_blocks(page)  # another thread has read it meanwhile
            return self._read(page) if blocks is None else blocks

    def next_page(self, page: Page) -> Page | None:
        """Return the page behind a page of this index, if the index has it and with the same metadata.

        The caller's metadata, that is: whoever may see a page by a filter on it might not see the next.
        """
        ids = [page.id, page.source.page_id(page.number + 1)]
        records = {record.id: record for record in self._index.get(ids)}
        here, behind = (records.get(id) for id in ids)
        if here is None or behind is None or _own_metadata(here) != _own_metadata(behind):
            return None
        return behind.page

    def _kept_blocks(self, page: Page) -> tuple[Block, ...] | None:
        """Return blocks that have been read; None if they have not."""
        if page.blocks is not None:
            return page.blocks
        with self._lock:
            if _key(page) in self._recent:
                self._recent.move_to_end(_key(page))
                return self._recent[_key(page)]
        for record in self._index.get([page.id]):
            if record.page is not None and record.page.blocks is not None:
                return record.page.blocks
        return None

    def _read(self, page: Page) -> tuple[Block, ...]:
        """Read the blocks from the page's file, and keep them."""
        reader = self._reader()
        whole = from_source(self._index, page, lambda again, data: reader.structure(again, data=data))
        blocks = whole.blocks or ()
        if not self._index.read_only:
            self._index.put_blocks(page.id, blocks)
            return blocks
        with self._lock:
            self._recent[_key(page)] = blocks
            while len(self._recent) > MOST_PAGES:
                self._recent.popitem(last=False)
        return blocks


def _own_metadata(record: Record) -> dict[str, Any]:
    """Return the metadata that the caller gave; a language is of the page, whoever says it."""
    return {key: value for key, value in record.metadata.items() if key not in (*RESERVED_KEYS, "language")}


def _key(page: Page) -> tuple[str, str, int]:
    """Return what tells a page from the same page read again with other words."""
    return page.id, page.source.sha256, hash(page.text)
