"""`MMRagPDFLoader`: pages read by the core as documents of the host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from mmrag.documents import DocumentReader, InputDocument, discover
from mmrag.errors import DocumentError
from mmrag.hosts.metadata import flat_metadata
from mmrag.ingest.embedding import PICTURE_PIXELS
from mmrag.ingest.records import page_metadata
from mmrag.types import Page, Record

if TYPE_CHECKING:
    from mmrag.documents import ReaderSettings

logger = logging.getLogger(__name__)


class MMRagPDFLoader(BaseLoader):
    """One document a page, read lazily in worker processes, OCR where a page has no text layer.

    To search the pages with their pictures and boxes use `MMRagVectorStore.add_pdf` instead: a
    document of the host is text and metadata only.

    Args:
        file_path: a file, a folder, a glob, bytes, or a list of them: PDF, XPS, EPUB, SVG, images.
        password: for encrypted documents.
        images_dir: also write a PNG of each page there and name it in ``image_path``.
        reader: how documents are read.
    """

    def __init__(
        self,
        file_path: Any,  # what `discover` takes
        *,
        password: str | Sequence[str] | Callable[[str], str | None] | None = None,
        images_dir: str | Path | None = None,
        reader: ReaderSettings | None = None,
    ) -> None:
        self.file_path = file_path
        self.images_dir = None if images_dir is None else Path(images_dir)
        self._password = password
        self._settings = reader

    def lazy_load(self) -> Iterator[Document]:
        """The pages, one at a time; ``page`` counts from 0, ``page_label`` is what is printed.

        Raises:
            DocumentError: a file that is the only one cannot be read. Files beside others, and single
                pages, are left out with a warning.
        """
        items = list(discover(self.file_path))
        with DocumentReader(self._settings, password=self._password) as reader:
            for item in items:
                try:
                    if not isinstance(item, InputDocument):
                        raise DocumentError(f"{item.name}: {item.reason}")
                    yield from self._pages(reader, item)
                except DocumentError as error:
                    if len(items) == 1:
                        raise
                    logger.warning("left out %s", error)

    def _pages(self, reader: DocumentReader, found: InputDocument) -> Iterator[Document]:
        pixels = None if self.images_dir is None else PICTURE_PIXELS
        for page in reader.pages(found, image_pixels=pixels):
            if isinstance(page, Page):
                yield self._document(page)
            else:
                logger.warning("left out %s: %s", page.name, page.reason)

    def _document(self, page: Page) -> Document:
        path = None
        if self.images_dir is not None and page.image is not None:
            self.images_dir.mkdir(parents=True, exist_ok=True)
            path = str(self.images_dir.absolute() / f"{page.document_id}-p{page.number}.png")
            page.image.save(path, format="PNG")
        names = (page.source.path or page.source.name,)
        record = Record(id=page.id, matrix=None, metadata=page_metadata(page, names))
        return Document(id=page.id, page_content=page.text, metadata=flat_metadata(record, image_path=path))
