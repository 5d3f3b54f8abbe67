"""`MMRagPDFLoader`: pages, or their blocks, read by the core as documents of the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from mmrag import DocumentReader
from mmrag.hosts.blocks import BlockItems, structure_settings
from mmrag.hosts.loaders import PICTURE_PIXELS, discovered_pages, save_page_image
from mmrag.hosts.metadata import file_page_metadata
from mmrag.types import Page

if TYPE_CHECKING:
    from mmrag import ReaderSettings
    from mmrag.hosts.loaders import Password


class MMRagPDFLoader(BaseLoader):
    """One document per page or block, read lazily in worker processes; OCR if a page has no text layer.

    To search the pages with their pictures and boxes use `MMRagVectorStore.add_pdf` instead: a
    document of the host is text and metadata only.

    Args:
        file_path: a file, a folder, a glob, bytes, or a list of them: PDF, XPS, EPUB, SVG, images,
            office files, web pages, texts, CSV and e-mails (docs/formats.md of mmrag).
        password: for encrypted documents.
        images_dir: also write a PNG of each page there and name it in ``image_path``.
        reader: how documents are read.
        blocks: one document per heading, paragraph, list item or table instead of one per page. Its metadata
            also has ``kind``, ``section`` (the headings over it) and ``bbox``; a table is Markdown.

    Example:
        >>> pages = MMRagPDFLoader("report.pdf").load()
        >>> [(page.metadata["file_name"], page.metadata["page"]) for page in pages]
        [('report.pdf', 0), ('report.pdf', 1)]
    """

    def __init__(
        self,
        file_path: Any,  # what `discover` takes
        *,
        password: Password = None,
        images_dir: str | Path | None = None,
        reader: ReaderSettings | None = None,
        blocks: bool = False,
    ) -> None:
        self.file_path = file_path
        self.images_dir = None if images_dir is None else Path(images_dir)
        self._password = password
        self._settings = structure_settings(reader) if blocks else reader
        self._blocks = blocks

    def lazy_load(self) -> Iterator[Document]:
        """Yield the pages, one at a time; ``page`` counts from 0, ``page_label`` is the printed label.

        Raises:
            DocumentError: a file that is the only one cannot be read. Files beside others, and single
                pages, are left out with a warning.
        """
        pixels = None if self.images_dir is None else PICTURE_PIXELS
        items = BlockItems()
        with DocumentReader(self._settings, password=self._password) as reader:
            for page in discovered_pages(reader, self.file_path, pixels):
                yield from self._documents(page, items)

    def _documents(self, page: Page, items: BlockItems) -> Iterator[Document]:
        path = None
        if self.images_dir is not None:
            name = f"{page.document_id}-p{page.number}.png"
            path = save_page_image(page, self.images_dir.absolute() / name)
        if not self._blocks:
            metadata = file_page_metadata(page, image_path=path)
            yield Document(id=page.id, page_content=page.text, metadata=metadata)
            return
        for item in items.of_page(page, path):
            yield Document(id=item.id, page_content=item.text, metadata=item.metadata)
