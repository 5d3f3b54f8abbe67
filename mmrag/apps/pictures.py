"""Pictures of pages and of parts of pages as PNG, a few of them kept."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING

from mmrag.blocks import Box
from mmrag.forks import new_lock
from mmrag.pipeline import DocumentQA
from mmrag.types import Citation, Page

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_BYTES = 64 << 20
"""Of pictures that are kept."""

WIDEST = 4000
"""Pixels across."""


class PictureCache:
    """The pictures asked for last, by what was asked. Safe to share between threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._pictures: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = new_lock()

    def page(self, qa: DocumentQA, page: Page, width: int) -> bytes:
        """Return a page as PNG, `width` pixels across, or fewer where its file has no more.

        Raises as `DocumentQA.render` does.
        """
        key = (page.source.sha256, page.number, width)
        data = self._find(key)
        if data is None:
            image = qa.render(page, max_pixels=_pixels(page, width))
            data = _png(_at_width(image, width))
            self._keep(key, data)
        return data

    def crop(self, qa: DocumentQA, page: Page, box: Box, width: int) -> bytes:
        """Return a part of a page as PNG, about `width` pixels across.

        Raises as `DocumentQA.render` does.
        """
        key = (page.source.sha256, page.number, width, *box)
        data = self._find(key)
        if data is None:
            share = max(box[2] - box[0], 0.02)
            citation = Citation(1, page.id, "", (box,), page, area=box)
            image = qa.crop(citation, max_pixels=_pixels(page, min(WIDEST, round(width / share))))
            data = _png(_at_width(image, width))
            self._keep(key, data)
        return data

    def _find(self, key: tuple[object, ...]) -> bytes | None:
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
            return self._pictures.get(key)

    def _keep(self, key: tuple[object, ...], data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._pictures.pop(key, b""))
            self._pictures[key] = data
            while self._bytes > self._most_bytes:
                _, oldest = self._pictures.popitem(last=False)
                self._bytes -= len(oldest)


def _pixels(page: Page, width: int) -> int:
    """Return the area of a picture of a page that is `width` across."""
    return max(1, round(width * width * page.size[1] / page.size[0]))


def _at_width(image: Image, width: int) -> Image:
    """Return a picture no wider than `width`."""
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))))


def _png(image: Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=3)
    return file.getvalue()
