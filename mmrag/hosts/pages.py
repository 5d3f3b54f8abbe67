"""The page behind a host's item: identified by metadata, drawn from its file or read again."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mmrag.forks import new_lock
from mmrag.hosts.items import HostItem
from mmrag.images import MESSAGE_PIXELS, Decode, load_image
from mmrag.types import Page, Source

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents import DocumentReader, InputDocument
    from mmrag.pipeline import DocumentQA

logger = logging.getLogger(__name__)

_DOCUMENT_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class PicturedPage(Page):
    """A page whose picture is a file of its own.

    Attributes:
        picture: path of that file; None if the page is drawn from its document.
    """

    picture: str | None = None


class PageDrawer:
    """Draws the pages that `page_of` makes; the workers that read documents start on first use."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._reader: DocumentReader | None = None

    def __call__(self, page: Page, max_pixels: int) -> Image:
        """Draw a page, at about `max_pixels` if it is drawn from a document.

        Raises:
            FileNotFoundError: its picture is gone.
            DocumentError: its picture cannot be read, or the document is gone, changed or cannot be drawn.
        """
        picture = page.picture if isinstance(page, PicturedPage) else None
        return self.reader.render(page, max_pixels=max_pixels) if picture is None else load_image(picture)

    @property
    def reader(self) -> DocumentReader:
        """Return the document reader, started on first use."""
        with self._lock:
            if self._reader is None:
                from mmrag.documents import DocumentReader

                self._reader = DocumentReader()
            return self._reader

    def close(self) -> None:
        """Stop the workers if any were started; the next page starts them again."""
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def picture_decoder(qa: DocumentQA) -> Decode:
    """Return what decodes pictures of messages in the processes that read documents for `qa`.

    There a decoder that a picture crashes or fills ends in an error, without keys and within the limits of
    `mmrag.documents.ReaderSettings`. The processes start with the first picture.

    Raises, when it is called:
        DocumentError: it cannot be decoded, or is too large.
    """

    def decode(data: bytes) -> Image:
        source = Source(hashlib.sha256(data).hexdigest(), "image", "the picture of a message")
        page = Page(source.page_id(0), source.document_id, 0, "1", "", (), (1.0, 1.0), source)
        return qa.reader.render(page, max_pixels=MESSAGE_PIXELS, data=data)

    return decode


def page_of(name: str, item: HostItem) -> Page | None:
    """Return the page behind an item, or None if it is text alone.

    An item of a document of ours keeps that page's identity; its own picture is preferred to drawing it.

    Raises:
        FileNotFoundError: its picture is gone, and no document names a page to draw.
        DocumentError: a picture given as data cannot be read.
    """
    origin, path = page_origin(item.metadata), _file_path(item.image)
    if path is not None and Path(path).is_file():
        return _page(name, item, _source_and_number(origin) or (_picture_source(path), 0), path)
    if origin is not None and (item.image is None or path is not None):
        return _page(name, item, (origin[0].source, origin[1]))
    if path is not None:
        raise FileNotFoundError(
            f"the picture of {name!r} must be a file, got {path!r}. Retrieve again, or pass images=False."
        )
    return None if item.image is None else _page_of_data(name, item, _source_and_number(origin))


def _page_of_data(name: str, item: HostItem, origin: tuple[Source, int] | None) -> Page | None:
    """Return the page of an image given as data; None for an address, since nothing is downloaded."""
    if isinstance(item.image, str) and item.image.startswith(("http://", "https://")):
        logger.warning("%s is judged by its text: its picture is not on this machine (%s)", name, item.image)
        return None
    assert item.image is not None  # the caller has looked
    image = load_image(item.image)
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
    return replace(_page(name, item, origin or (Source(digest, "image", name), 0)), image=image)


def _page(name: str, item: HostItem, origin: tuple[Source, int], picture: str | None = None) -> PicturedPage:
    source, number = origin
    return PicturedPage(
        id=name,
        document_id=source.document_id,
        number=number,
        label=str(item.metadata.get("page_label", number + 1)),
        text=item.text,
        words=(),
        size=(0.0, 0.0),  # unknown, and no reranker reads it
        source=source,
        picture=picture,
    )


def _file_path(image: Any) -> str | None:  # noqa: ANN401  any kind of image
    """Return the path that an image is given by; None if it is data or an address on the network."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    text = os.fspath(image)
    if text.startswith(("data:", "http://", "https://")):
        return None
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    return str(Path(text).expanduser())


def _picture_source(path: str) -> Source:
    file = Path(path)
    return Source(hashlib.sha256(file.read_bytes()).hexdigest(), "image", file.name, str(file.absolute()))


def _source_and_number(origin: tuple[InputDocument, int] | None) -> tuple[Source, int] | None:
    return None if origin is None else (origin[0].source, origin[1])


def page_key(metadata: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return document id and 0-based page number of a page or of a chunk of one; None for other items."""
    document_id, number = metadata.get("doc_id"), metadata.get("page")
    if isinstance(document_id, str) and isinstance(number, int) and not isinstance(number, bool):
        return document_id, number
    return None


def page_origin(metadata: Mapping[str, Any]) -> tuple[InputDocument, int] | None:
    """Return the document and page number that metadata names; None if the file is gone or changed."""
    key, path = page_key(metadata), metadata.get("file_path")
    if key is None or not _DOCUMENT_ID.fullmatch(key[0]) or not isinstance(path, str):
        return None
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return None
    document = _document(path, stat.st_size, stat.st_mtime_ns)
    return (document, key[1]) if document is not None and document.source.document_id == key[0] else None


@lru_cache(maxsize=256)
def _document(path: str, size: int, mtime: int) -> InputDocument | None:
    """Return the document in a file; it is hashed again only if its size or time of change differ."""
    from mmrag.documents import InputDocument, discover

    item = next(iter(discover([path])), None)
    return item if isinstance(item, InputDocument) else None
