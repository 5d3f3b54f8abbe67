"""The picture of a page that an index holds, drawn again from its file or from the bytes the index keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrag.errors import SourceChangedError
from mmrag.index.base import Index
from mmrag.types import Page

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents import DocumentReader


def page_picture(index: Index, reader: DocumentReader, page: Page, *, max_pixels: int) -> Image:
    """Picture of a page of this index, RGB, within a pixel budget.

    A document with several names is read from the first that is still there and unchanged.

    Raises:
        SourceChangedError: the file is gone, or is not the file that was indexed.
        PageError: the page cannot be rendered.
    """
    data = None if page.source.path is not None else index.get_blob(blob_key(page))
    failure: SourceChangedError | None = None
    for name in _names(index, page, only_own=data is not None):
        try:
            source = replace(page.source, path=name)
            return reader.render(replace(page, source=source), max_pixels=max_pixels, data=data)
        except SourceChangedError as error:
            failure = failure or error
    assert failure is not None  # there is one name at least
    raise failure


def _names(index: Index, page: Page, *, only_own: bool) -> Iterator[str | None]:
    yield page.source.path
    if not only_own:
        entry = next((entry for entry in index.documents() if entry.id == page.document_id), None)
        yield from (name for name in (entry.names if entry else ()) if name != page.source.path)


def blob_key(page: Page) -> str:
    """Under which key the index keeps the bytes of a page without a path."""
    return page.id if page.id == page.document_id else page.source.sha256
