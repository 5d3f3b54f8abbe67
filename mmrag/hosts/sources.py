"""Retrieved items as sources of an answer: one page is one source, however many chunks it was cut into.

A page's words and boxes come from the mmrag index that found it. If the item came from elsewhere (another
vector store, a docstore that was reloaded), the page is read again from the file that its metadata names,
provided the file is unchanged.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrag.errors import DocumentError
from mmrag.forks import new_lock
from mmrag.hosts.pages import PageDrawer, page_key, page_origin
from mmrag.types import Candidate, Page, Record

if TYPE_CHECKING:
    from mmrag.hosts.items import HostItem
    from mmrag.pipeline import DocumentQA

logger = logging.getLogger(__name__)

CACHE_SIZE = 128
"""Pages kept that had to be read again."""


def page_groups(items: Sequence[HostItem]) -> list[list[int]]:
    """Return positions of the items of each page, in the order of the pages' first items.

    An item that is no page is a group of its own.
    """
    groups: dict[object, list[int]] = {}
    for position, item in enumerate(items):
        groups.setdefault(page_key(item.metadata) or item.id, []).append(position)
    return list(groups.values())


class PageSources:
    """Candidates, with words and boxes, of retrieved items; keeps the pages it read again.

    Args:
        qa: the `DocumentQA` that the items come from; None if unknown.
    """

    def __init__(self, qa: DocumentQA | None = None) -> None:
        self._qa = qa
        self._lock = new_lock()
        self._files = PageDrawer()
        self._cache: OrderedDict[tuple[str, int], Page] = OrderedDict()

    def candidate(self, chunks: Sequence[HostItem], rank: int) -> Candidate:
        """Return the candidate of one page, retrieved as one item or as several chunks."""
        best = chunks[0]
        page = self.page(best)
        text = "\n".join(chunk.text for chunk in chunks) if page is None else page.text
        record = Record(id=best.id or f"item {rank}", matrix=None, text=text, metadata={}, page=page)
        return Candidate(record, best.score or 0.0, rank)

    def page(self, item: HostItem) -> Page | None:
        """Return the page of an item; None if it is no page, or its file is gone or changed."""
        key = page_key(item.metadata)
        if key is None:
            return None
        if self._qa is not None:
            for record in self._qa.index.get([f"{key[0]}#p{key[1]}", item.id or ""]):
                if record.page is not None:
                    return record.page
        with self._lock:  # concurrent questions share the reader and the cache
            if key not in self._cache:
                page = self._read_page(item)
                if page is None:
                    return None
                self._cache[key] = page
                if len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
            return self._cache[key]

    def close(self) -> None:
        """Stop the reading processes, if any were started."""
        self._files.close()

    def _read_page(self, item: HostItem) -> Page | None:
        origin = page_origin(item.metadata)
        if origin is None:
            path = str(item.metadata.get("file_path") or "")
            logger.warning("no boxes for %s: its file %r is gone or changed", item.id, path)
            return None
        document, number = origin
        try:
            page = next(iter(self._files.reader.pages(document, numbers=[number])))
        except DocumentError as error:
            logger.warning("no boxes for %s: %s", item.id, error)
            return None
        return page if isinstance(page, Page) else None
