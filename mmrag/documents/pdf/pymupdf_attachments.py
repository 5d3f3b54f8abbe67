"""Files attached to a PDF, by PyMuPDF: those of the whole file first, then those of its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pymupdf

_MOST_PAGES = 5_000  # that are looked through for files attached to a place on them


def file_names(document: Any) -> list[str]:  # noqa: ANN401  (PyMuPDF is not typed)
    """Return the names of the files attached to the whole document."""
    return [_file_name(document.embfile_info(name), name) for name in _keys(document)]


def page_file_names(page: Any) -> list[str]:  # noqa: ANN401
    """Return the names of the files attached to places on a page."""
    return [_file_name(annotation.file_info, "") for annotation in _annotations(page)]


def attached_files(document: Any) -> Iterator[tuple[str, Callable[[], bytes]]]:  # noqa: ANN401
    """Yield the name of each attached file, and a function that returns its bytes."""
    for name in _keys(document):
        yield _file_name(document.embfile_info(name), name), _opener(document, name)
    for number in range(min(document.page_count, _MOST_PAGES)):
        for position, name in enumerate(page_file_names(document.load_page(number))):
            yield name, _page_opener(document, number, position)


def _keys(document: Any) -> list[str]:  # noqa: ANN401
    return list(document.embfile_names()) if document.is_pdf else []


def _opener(document: Any, name: str) -> Callable[[], bytes]:  # noqa: ANN401
    return lambda: bytes(document.embfile_get(name))


def _page_opener(document: Any, number: int, position: int) -> Callable[[], bytes]:  # noqa: ANN401
    def read() -> bytes:
        page = document.load_page(number)  # an annotation lives as long as its page
        return bytes(list(_annotations(page))[position].get_file())

    return read


def _file_name(info: dict[str, Any], default: str) -> str:
    return str(info.get("ufilename") or info.get("filename") or info.get("name") or default)


def _annotations(page: Any) -> Iterator[Any]:  # noqa: ANN401
    kinds = [kind for _, kind, *_ in page.annot_xrefs()]
    if pymupdf.PDF_ANNOT_FILE_ATTACHMENT in kinds:
        yield from page.annots(types=[pymupdf.PDF_ANNOT_FILE_ATTACHMENT])
