"""`MMRagPDFReader`: one document per page or block, with its text (or OCR's) and the page's picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import Field, SecretStr
from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document
from llama_index.core.utils import get_cache_dir

from llama_index.readers.mmrag.nodes import page_document
from mmrag import DocumentReader, ReaderSettings
from mmrag.hosts.blocks import BlockItem, BlockItems, structure_settings
from mmrag.hosts.loaders import PICTURE_PIXELS, input_documents, readable_pages, save_page_image
from mmrag.hosts.metadata import file_page_metadata
from mmrag.types import Page


class MMRagPDFReader(BasePydanticReader):
    """Files of all that mmrag reads (PDF, images, office, web, text) to one `Document` per page or block.

    Args:
        with_images: whether each page is drawn and its picture's path kept with it.
        image_dir: where pictures go; None: a folder in LlamaIndex's cache
            (``LLAMA_INDEX_CACHE_DIR``). Keep it as long as the documents.
        ocr: ``"auto"``, ``"off"`` or ``"force"``; see `mmrag.documents.ReaderSettings`.
        renderer: ``"pymupdf"`` or ``"pdfium"``.
        max_pixels: of a picture.
        blocks: one document per heading, paragraph, list item or table instead of one per page. Its metadata
            also has ``kind``, ``section`` (the headings over it) and ``bbox``; a table is Markdown.
        password: for encrypted files. Never written, pickled or shown; the environment variable
            ``MMRAG_PDF_PASSWORD`` is tried, too.

    A page's id is mmrag's page id, so reading a file again gives the same ids. A page that cannot be
    read is logged and left out; a file that cannot be read raises `DocumentError`.

    Example:
        >>> pages = MMRagPDFReader().load_data("report.pdf")
        >>> [(page.metadata["file_name"], page.metadata["page"]) for page in pages]
        [('report.pdf', 0), ('report.pdf', 1)]
    """

    with_images: bool = Field(default=True, description="Whether pages are drawn.")
    image_dir: str | None = Field(default=None, description="Where pictures go; None: the cache.")
    ocr: str = Field(default="auto", description="auto, off or force.")
    renderer: str = Field(default="pymupdf", description="pymupdf or pdfium.")
    max_pixels: int = Field(default=PICTURE_PIXELS, gt=0, description="Of a picture.")
    blocks: bool = Field(default=False, description="One document per block.")
    password: SecretStr | None = Field(default=None, exclude=True, repr=False)

    def __init__(self, **settings: Any) -> None:
        unknown = sorted(set(settings) - set(type(self).model_fields))
        if unknown:
            raise TypeError(
                f"MMRagPDFReader takes {', '.join(type(self).model_fields)}, got {', '.join(unknown)}."
            )
        if settings.get("image_dir") is not None:
            settings["image_dir"] = str(settings["image_dir"])
        super().__init__(**settings)
        self._settings()  # refuses unknown values

    @classmethod
    def class_name(cls) -> str:
        """Return the name in serialised form."""
        return "MMRagPDFReader"

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the password."""
        state = super().__getstate__()
        state["__dict__"] = {**state["__dict__"], "password": None}
        return state

    def lazy_load_data(
        self,
        file: str | Path | Iterable[str | Path] | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: Any = None,
        *,
        file_path: str | Path | None = None,
    ) -> Iterator[Document]:
        """Read page by page.

        Args:
            file: path of a file or folder, or a list of them.
            extra_info: metadata for every page; mmrag's own keys win.
            fs: a file system to read `file` from; None: this machine's.
            file_path: the same as `file`.

        Raises:
            DocumentError: a file cannot be read.
            ValueError: no file is named.
        """
        source = file if file is not None else file_path
        if source is None:
            raise ValueError("load_data takes a file, a folder or a list of them, got none.")
        password = None if self.password is None else self.password.get_secret_value()
        pixels = self.max_pixels if self.with_images else None
        items = BlockItems()
        with DocumentReader(self._settings(), password=password) as reader:
            for path in [source] if isinstance(source, (str, Path)) else list(source):
                is_folder = fs is None and Path(path).expanduser().is_dir()
                for document in input_documents([_input(path, fs)], strict=not is_folder):
                    for page in readable_pages(reader, document, pixels):
                        yield from self._documents(page, items, extra_info or {})

    def _documents(self, page: Page, items: BlockItems, extra: Mapping[str, Any]) -> Iterator[Document]:
        picture = save_page_image(page, self._picture_path(page), replace=False)
        parts = [BlockItem(page.id, page.text, file_page_metadata(page, image_path=picture))]
        for part in items.of_page(page, picture) if self.blocks else parts:
            image = None if self.blocks else picture
            yield page_document(part.id, part.text, {**extra, **part.metadata}, image)

    def _picture_path(self, page: Page) -> Path:
        """Return a path that names page and size, so that a picture that is there can be kept."""
        base = Path(get_cache_dir()) / "mmrag" if self.image_dir is None else Path(self.image_dir)
        return base.expanduser().absolute() / f"{page.document_id}-p{page.number}-{self.max_pixels}.png"

    def _settings(self) -> ReaderSettings:
        settings = ReaderSettings(ocr=self.ocr, renderer=self.renderer)  # type: ignore[arg-type]  # it checks
        return structure_settings(settings) if self.blocks else settings


def _input(path: str | Path, fs: Any) -> Any:
    """Return a path as `discover` takes it: as text, or with its bytes if a file system is given."""
    if fs is None:
        return str(path)
    with fs.open(str(path), "rb") as file:
        return Path(path).name, file.read()
