"""Pictures of an index's pages, rendered again from their files or from the bytes that the index keeps."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mmrag.documents.conversion.base import CONVERTED_KINDS
from mmrag.errors import PageError, SourceChangedError
from mmrag.files import atomic_write
from mmrag.forks import ForkOwner, follow_forks, new_lock
from mmrag.index.base import Index
from mmrag.ingest.embedding import PICTURE_PIXELS
from mmrag.types import Citation, Page

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents import DocumentReader


logger = logging.getLogger(__name__)

T = TypeVar("T")

CROP_MARGIN = 0.005  # of the page's long side: letters at the edge stay whole


class PagePictures(ForkOwner):
    """Pictures of pages: rendered, kept as files for hosts that want paths, and with evidence drawn in.

    Args:
        index: holds the pages.
        reader: returns the reader that renders; called on first use.
        folder: where picture files are kept. None, or where it cannot be written: in a temporary folder,
            until `close`.
    """

    def __init__(self, index: Index, reader: Callable[[], DocumentReader], folder: Path | None) -> None:
        self._index = index
        self._reader = reader
        self._folder = folder
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = new_lock()  # threads that ask first at the same time share one folder
        follow_forks(self)

    def after_fork(self, *, in_child: bool) -> None:
        """Leave the temporary folder to the parent: a child that deletes it at its end takes its pictures."""
        if in_child and self._scratch is not None:
            self._scratch._finalizer.detach()  # type: ignore[attr-defined]  # it has no public way
            self._scratch = None

    def render(self, page: Page, max_pixels: int = PICTURE_PIXELS) -> Image:
        """Render a page within a pixel budget; raises as `render_page` does."""
        return render_page(self._index, self._reader(), page, max_pixels=max_pixels)

    def path(self, page: Page, max_pixels: int = PICTURE_PIXELS) -> Path:
        """Return the path of a PNG of the page, rendered on the first call; raises as `render_page` does.

        Where the index's folder cannot be written (a read-only mount, a full disk) it is in a temporary one.
        """
        name = f"{page.source.sha256}-p{page.number}-{max_pixels}.png"
        paths = [folder / name for folder in (self._folder, self._scratch_path()) if folder is not None]
        for path in paths:
            if path.is_file():
                return path
        image = self.render(page, max_pixels)
        if self._folder is not None:
            try:
                return _save(image, self._folder / name)
            except OSError as error:
                logger.info("pictures are kept in a temporary folder: %s", error)
        return _save(image, self._scratch_folder() / name)

    def with_evidence(self, citation: Citation) -> Citation:
        """Return the citation with a picture of its page and boxes, or with a note of why it has none."""
        from mmrag.answer.evidence import evidence_png

        if citation.page is None:
            return citation
        try:
            image = self.render(citation.page)
        except (SourceChangedError, PageError) as error:  # costs the picture, not the answer
            return replace(citation, note=" ".join(filter(None, (citation.note, f"No picture: {error}"))))
        return replace(citation, picture=evidence_png(image, citation.boxes, label=str(citation.number)))

    def crop(self, citation: Citation, max_pixels: int = PICTURE_PIXELS) -> Image:
        """Return the cited block, cut out of its page's picture with a small margin.

        Raises:
            ValueError: the citation is of a text without a page.
        """
        if citation.page is None:
            raise ValueError(
                f"a citation must have a page to be cut out, got one of the text {citation.record_id!r}. "
                "Show its quote."
            )
        image = self.render(citation.page, max_pixels)
        boxes = citation.boxes if citation.area is None else (citation.area,)
        if not boxes:
            return image
        left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
        right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
        width, height = image.size
        margin = round(CROP_MARGIN * max(width, height))
        x0 = min(width - 1, max(0, math.floor(left * width) - margin))
        y0 = min(height - 1, max(0, math.floor(top * height) - margin))
        x1 = max(x0 + 1, min(width, math.ceil(right * width) + margin))
        y1 = max(y0 + 1, min(height, math.ceil(bottom * height) + margin))
        return image.crop((x0, y0, x1, y1))

    def close(self) -> None:
        """Delete the temporary folder, if there is one."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _scratch_path(self) -> Path | None:
        """Return the temporary folder, if there is one."""
        scratch = self._scratch
        return None if scratch is None else Path(scratch.name)

    def _scratch_folder(self) -> Path:
        """Return the temporary folder, made on first use."""
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="mmrag-pictures-")
            return Path(self._scratch.name)


def _save(image: Image, path: Path) -> Path:
    """Write a picture, whole or not at all, and return its path."""
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG")
    return path


def render_page(index: Index, reader: DocumentReader, page: Page, *, max_pixels: int) -> Image:
    """Render a page of this index as RGB within a pixel budget; raises as `from_source` does."""
    return from_source(
        index, page, lambda again, data: reader.render(again, max_pixels=max_pixels, data=data)
    )


def from_source(index: Index, page: Page, read: Callable[[Page, bytes | None], T]) -> T:
    """Read something of a page again from its file, or from the bytes that the index keeps.

    A document with several names is read from the first that still has the indexed content.

    Args:
        index: of the page.
        page: to read again.
        read: called with the page, at a path that is tried, and with its bytes where it has none.

    Raises:
        SourceChangedError: the file is gone, or is not the file that was indexed.
        PageError: `read` raised it.
    """
    if page.source.kind in CONVERTED_KINDS:
        pdf = index.get_blob(page.source.sha256)
        if pdf is not None:  # neither the file nor its converter is needed
            return read(replace(page, source=replace(page.source, path=None)), pdf)
    data = None if page.source.path is not None else index.get_blob(blob_key(page))
    failure: SourceChangedError | None = None
    for path in _paths(index, page, only_own=data is not None):
        try:
            source = replace(page.source, path=path)
            return read(replace(page, source=source), data)
        except SourceChangedError as error:
            failure = failure or error
    assert failure is not None  # there is at least one path
    raise failure


def _paths(index: Index, page: Page, *, only_own: bool) -> Iterator[str | None]:
    yield page.source.path
    if not only_own:
        entry = next((entry for entry in index.documents() if entry.id == page.document_id), None)
        yield from (name for name in (entry.names if entry else ()) if name != page.source.path)


def blob_key(page: Page) -> str:
    """Return the key under which the index keeps the bytes of a page without a path."""
    return page.id if page.id == page.document_id else page.source.sha256
