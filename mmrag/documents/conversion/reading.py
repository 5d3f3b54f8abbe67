"""A file of a converted kind as PDF, inside a worker process: the one door of the readers of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mmrag.anchors import Anchor
from mmrag.documents.conversion import mail, office, open_document, plain_text, sheets, web_page
from mmrag.documents.conversion.base import Conversion, ConvertedPage
from mmrag.errors import DocumentError

_TEXT_READERS: dict[str, Callable[[bytes], Conversion]] = {
    "txt": plain_text.from_text,
    "html": web_page.from_html,
    "md": web_page.from_markdown,
    "eml": mail.from_mail,
    "csv": sheets.from_csv,
    "tsv": lambda data: sheets.from_csv(data, delimiter="\t"),
}
_FILE_READERS: dict[str, Callable[[bytes, str], Conversion]] = {
    "docx": office.from_word,
    "pptx": office.from_slides,
    "xlsx": office.from_workbook,
    "odt": open_document.from_text_document,
    "odp": open_document.from_presentation,
    "ods": open_document.from_spreadsheet,
}
_SLIDES: dict[str, Callable[[bytes, str], list[int]]] = {
    "pptx": office.slide_numbers,
    "odp": open_document.slide_numbers,
}
WITHOUT_LAYOUT = ("odt", "odp")
"""Kinds whose own readers here lose the layout, and that are converted by LibreOffice where it is."""

LONGEST_NAME = 120
"""Letters of a heading in the name of a place."""


def convert(data: bytes, kind: str, name: str, printed_file: bytes | None) -> Conversion:
    """Convert a file.

    Args:
        data: the whole file.
        kind: one of `CONVERTED_KINDS`.
        name: the file's name, for messages.
        printed_file: what LibreOffice made of it, a PDF or of a workbook an ODS; None: it is read without.

    Raises:
        DocumentError: it cannot be read.
    """
    if printed_file is not None:
        conversion = _of_printed(data, kind, name, printed_file)
    elif kind in _TEXT_READERS:
        try:
            conversion = _TEXT_READERS[kind](data)
        except DocumentError as error:
            raise DocumentError(f"{name}: {error}.") from error
    else:
        conversion = _FILE_READERS[kind](data, name)
        if kind in WITHOUT_LAYOUT:
            first = conversion.page(0)
            first = replace(first, notes=(*first.notes, office.LAYOUT_NOTE))
            conversion = replace(conversion, pages=(first, *conversion.pages[1:]))
    return _with_headings(conversion)


def check(data: bytes, kind: str, name: str) -> None:
    """Refuse an office file that no program should open; raises `DocumentError`."""
    from mmrag.documents.conversion.base import OFFICE_KINDS
    from mmrag.documents.conversion.zip_safety import open_archive

    if kind in OFFICE_KINDS:
        open_archive(data, name).close()


def _of_printed(data: bytes, kind: str, name: str, printed_file: bytes) -> Conversion:
    """Name the pages of what LibreOffice made."""
    if kind in ("xlsx", "ods"):
        return open_document.from_spreadsheet(printed_file, name)
    if kind in _SLIDES:
        numbers = _SLIDES[kind](data, name)
        return Conversion(printed_file, tuple(ConvertedPage(f"slide {number}") for number in numbers))
    return Conversion(printed_file)


def _with_headings(conversion: Conversion) -> Conversion:
    """Add the headings of the PDF's outline as places of pages that have none."""
    import pymupdf

    if any(page.anchors or page.label for page in conversion.pages):
        return conversion
    with pymupdf.open("pdf", conversion.pdf) as document:
        anchors = _heading_anchors(document)
        count = document.page_count
    pages = [
        replace(conversion.page(number), anchors=tuple(anchors.get(number, ()))) for number in range(count)
    ]
    return replace(conversion, pages=tuple(pages))


def _heading_anchors(document: Any) -> dict[int, list[Anchor]]:  # noqa: ANN401  (PyMuPDF is not typed)
    """Return the headings by 0-based page: each goes to the next one, or to the end of its page."""
    marks: dict[int, list[tuple[float, str]]] = {}
    for _, title, page, target in document.get_toc(simple=False):
        point = target.get("to")
        if 0 < page <= document.page_count and point is not None and title.strip():
            height = document.page_cropbox(page - 1).height
            down = 1 - point.y / height if "nameddest" in target else point.y / height
            name = " ".join(title.split())[:LONGEST_NAME]
            # a hair above: an anchor must hold its heading's own words
            marks.setdefault(page - 1, []).append((min(max(down - 0.005, 0.0), 1.0), name))
    anchors: dict[int, list[Anchor]] = {}
    current = ""
    for number in range(document.page_count):
        page_marks = sorted(marks.get(number, ()), key=lambda mark: mark[0])
        tops = [*([(0.0, current)] if current else ()), *page_marks]
        ends = [*(top for top, _ in tops[1:]), 1.0][: len(tops)]
        for (top, name), end in zip(tops, ends, strict=True):
            if end > top:
                box = (0.0, round(top, 4), 1.0, round(end, 4))
                anchors.setdefault(number, []).append(Anchor("heading", name, box))
        current = page_marks[-1][1] if page_marks else current
    return anchors
