"""`MMRagPDFReader`: one document a page, with its text (OCR where there is none) and its picture by path."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import Field, SecretStr
from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document
from llama_index.core.utils import get_cache_dir

from llama_index.readers.mmrag.nodes import page_node
from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, Skipped, discover
from mmrag.errors import DocumentError
from mmrag.hosts.metadata import flat_metadata
from mmrag.ingest.embedding import PICTURE_PIXELS
from mmrag.ingest.records import page_metadata
from mmrag.types import Page, Record

logger = logging.getLogger(__name__)


class MMRagPDFReader(BasePydanticReader):
    """PDF, XPS, EPUB, SVG and image files to one `Document` a page.

    Args:
        with_images: whether each page is drawn and its picture's path kept with it.
        image_dir: where pictures go; None: a folder in LlamaIndex's cache
            (``LLAMA_INDEX_CACHE_DIR``). Keep it as long as the documents.
        ocr: ``"auto"``, ``"off"`` or ``"force"``; see `mmrag.documents.ReaderSettings`.
        renderer: ``"pymupdf"`` or ``"pdfium"``.
        max_pixels: of a picture.
        password: for encrypted files. Never written, pickled or shown; the environment variable
            ``MMRAG_PDF_PASSWORD`` is tried, too.

    A page's id is mmrag's page id, so reading a file again gives the same ids. A page that cannot be
    read is logged and left out; a file that cannot be read raises `DocumentError`.
    """

    with_images: bool = Field(default=True, description="Whether pages are drawn.")
    image_dir: str | None = Field(default=None, description="Where pictures go; None: the cache.")
    ocr: str = Field(default="auto", description="auto, off or force.")
    renderer: str = Field(default="pymupdf", description="pymupdf or pdfium.")
    max_pixels: int = Field(default=PICTURE_PIXELS, gt=0, description="Of a picture.")
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
        self._settings()  # refuses what the reader does not know

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "MMRagPDFReader"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the password."""
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
        named = file if file is not None else file_path
        if named is None:
            raise ValueError("load_data takes a file, a folder or a list of them, got none.")
        password = None if self.password is None else self.password.get_secret_value()
        paths = [named] if isinstance(named, (str, Path)) else list(named)
        with DocumentReader(self._settings(), password=password) as reader:
            for found in (one for path in paths for one in self._found(path, fs)):
                for page in reader.pages(found, image_pixels=self.max_pixels if self.with_images else None):
                    if isinstance(page, Skipped):
                        logger.warning("page %s of %s is left out: %s", page.page, page.name, page.reason)
                    else:
                        yield self._document(page, extra_info or {})

    def _found(self, path: str | Path, fs: Any) -> Iterator[InputDocument]:
        given: Any = str(path)
        folder = fs is None and Path(path).expanduser().is_dir()
        if fs is not None:
            with fs.open(str(path), "rb") as opened:
                given = (Path(path).name, opened.read())
        for one in discover([given]):
            if isinstance(one, InputDocument):
                yield one
            elif folder:
                logger.warning("%s is left out: %s", one.name, one.reason)
            else:
                raise DocumentError(f"a file must be one that can be read, got {one.name}: {one.reason}.")

    def _document(self, page: Page, extra: Mapping[str, Any]) -> Document:
        picture = None if page.image is None else str(self._save(page))
        names = (page.source.path or page.source.name,)
        record = Record(id=page.id, matrix=None, text=page.text, metadata=page_metadata(page, names))
        metadata = {**extra, **flat_metadata(record, image_path=picture)}
        node = page_node(page.id, page.text, metadata, picture, as_document=True)
        assert isinstance(node, Document)  # what as_document says
        return node

    def _save(self, page: Page) -> Path:
        """Keep a page's picture under a name that says whose it is; one that is there is left."""
        assert page.image is not None  # asked by the caller
        base = Path(get_cache_dir()) / "mmrag" if self.image_dir is None else Path(self.image_dir)
        target = base.expanduser().absolute() / f"{page.document_id}-p{page.number}-{self.max_pixels}.png"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".part")
            page.image.save(partial, format="PNG")
            partial.replace(target)
        return target

    def _settings(self) -> ReaderSettings:
        return ReaderSettings(ocr=self.ocr, renderer=self.renderer)  # type: ignore[arg-type]  # it checks
