"""Pages of files for hosts' loaders and readers: read one at a time, pictures written to a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mmrag.documents import DocumentReader, InputDocument, Skipped, discover
from mmrag.errors import DocumentError
from mmrag.files import atomic_write
from mmrag.ingest.embedding import PICTURE_PIXELS
from mmrag.types import Page

Password: TypeAlias = "str | Sequence[str] | Callable[[str], str | None] | None"
"""A password, several to try, or a function from file name to password."""

logger = logging.getLogger(__name__)

__all__ = [
    "PICTURE_PIXELS",
    "Password",
    "discovered_pages",
    "input_documents",
    "readable_pages",
    "save_page_image",
]


def input_documents(inputs: Any, *, strict: bool) -> Iterator[InputDocument]:  # noqa: ANN401
    """Yield the documents that `inputs` names; see `mmrag.documents.discover`.

    Args:
        inputs: whatever `discover` takes.
        strict: whether an input that is no document is an error; if not, it is left out with a warning.

    Raises:
        DocumentError: an input is no document, and `strict`.
    """
    for document in discover(inputs):
        if isinstance(document, InputDocument):
            yield document
        elif strict:
            raise DocumentError(
                f"a file must be one that can be read, got {document.name}: {document.reason}."
            )
        else:
            logger.warning("%s is left out: %s", document.name, document.reason)


def readable_pages(
    reader: DocumentReader, document: InputDocument, image_pixels: int | None
) -> Iterator[Page]:
    """Yield the pages of a document; a page that cannot be read is left out with a warning.

    Args:
        reader: reads it.
        document: as `discover` yields it.
        image_pixels: area of each page's picture; None draws none.

    Raises:
        DocumentError: the document cannot be read.
    """
    for page in reader.pages(document, image_pixels=image_pixels):
        if isinstance(page, Page):
            yield page
        else:
            logger.warning("page %s of %s is left out: %s", page.page, page.name, page.reason)


def discovered_pages(
    reader: DocumentReader,
    inputs: Any,  # noqa: ANN401  whatever `discover` takes
    image_pixels: int | None,
) -> Iterator[Page]:
    """Yield the pages of everything that `inputs` names; a document that cannot be read is left out.

    Args:
        reader: reads them.
        inputs: see `mmrag.documents.discover`.
        image_pixels: area of each page's picture; None draws none.

    Raises:
        DocumentError: the only document cannot be read. Of several, each that cannot be is logged.
    """
    documents = list(discover(inputs))
    for document in documents:
        try:
            if isinstance(document, Skipped):
                raise DocumentError(f"{document.name}: {document.reason}")
            yield from readable_pages(reader, document, image_pixels)
            if reader.settings.attachments:
                yield from _attached_pages(reader, document, image_pixels)
        except DocumentError as error:
            if len(documents) == 1:
                raise
            logger.warning("left out %s", error)


def _attached_pages(
    reader: DocumentReader, document: InputDocument, image_pixels: int | None
) -> Iterator[Page]:
    """Yield the pages of the files attached to a document; what cannot be read is logged."""
    for item in reader.attachments(document):
        try:
            if isinstance(item, Skipped):
                raise DocumentError(f"{item.name}: {item.reason}")
            yield from readable_pages(reader, item, image_pixels)
        except DocumentError as error:
            logger.warning("left out %s", error)


def save_page_image(page: Page, path: Path, *, replace: bool = True) -> str | None:
    """Write a page's picture as PNG, whole or not at all.

    Args:
        page: with or without a picture.
        path: the file; its folder is created.
        replace: whether to write over a file that is there.

    Returns:
        The path; None if the page has no picture.
    """
    if page.image is None:
        return None
    if replace or not path.is_file():
        with atomic_write(path, "wb") as file:
            page.image.save(file, format="PNG")
    return str(path)
