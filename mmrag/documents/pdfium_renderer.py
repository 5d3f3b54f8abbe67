"""PDF by PDFium (extra ``pdfium``; Apache-2.0 and BSD-3-Clause), the renderer without PyMuPDF's licence.

PDFium gives characters in the order of the file, without blocks; `layout.reading_order` orders the
lines. Boxes are turned to the page as shown by PDFium itself (rotation, crop box).
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, Any

from mmrag.documents.layout import bounds, clip_box, join_rows, reading_order
from mmrag.documents.renderer import MAX_SCALE, PageText, fit_scale, password_message
from mmrag.documents.textlayer import is_sparse
from mmrag.errors import DocumentError, MissingExtraError, PageError, PasswordRequiredError
from mmrag.types import Word

try:
    import pypdfium2 as pdfium
    import pypdfium2.raw as raw
except ImportError as error:
    raise MissingExtraError("Reading PDF with renderer='pdfium'", "pdfium") from error

from mmrag.documents.pdfium_facts import DocumentFacts  # needs what was tried above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image

_GRID = 1_000_000  # device units a side, for exact boxes from PDFium's whole-number transform


class PdfiumRenderer:
    """One PDF open in PDFium."""

    def __init__(self, name: str, source: str | bytes, passwords: Sequence[str]) -> None:
        """Open with the first password that fits."""
        self._document: Any = None
        self.source = source
        for password in (None, *passwords):
            try:
                self._document = pdfium.PdfDocument(source, password=password)
                self.password = password
                break
            except pdfium.PdfiumError as error:
                if raw.FPDF_GetLastError() != raw.FPDF_ERR_PASSWORD:
                    raise DocumentError(f"{name}: pdf cannot be opened ({error}).") from error
        if self._document is None:
            raise PasswordRequiredError(password_message(name, len(passwords)))
        self.page_count = len(self._document)
        if self.page_count < 1:
            raise DocumentError(f"{name}: pdf has no pages.")
        self._facts = DocumentFacts(self._document)
        if (reason := self._facts.refusal()) is not None:
            raise DocumentError(f"{name}: {reason}")
        self.title = str(self._document.get_metadata_value("Title") or "").strip()

    def _load(self, number: int) -> Any:  # noqa: ANN401  (pypdfium2 is not typed)
        """Load a page."""
        try:
            page = self._document[number]
        except pdfium.PdfiumError as error:
            raise PageError(f"page cannot be loaded ({error})", number) from error
        width, height = page.get_size()
        if not (0 < width < 1e7 and 0 < height < 1e7):
            page.close()
            raise PageError(f"page size must be positive, got {width:g} x {height:g} points", number)
        return page

    def read(self, number: int) -> PageText:
        """Read words from characters; lines are ordered by `layout.reading_order`."""
        page = self._load(number)
        size = tuple(float(side) for side in page.get_size())
        label = str(self._document.get_page_label(number) or "").strip()
        textpage = page.get_textpage()
        try:
            lines = _lines(page, textpage)
            order = reading_order([bounds(line) for line in lines], size[0] / size[1])
            blocks = tuple(join_rows([lines[index] for index in block]) for block in order)
            text = PageText((size[0], size[1]), label, blocks)
            if blocks and is_sparse(text.text) and _is_invisible(page):
                text = PageText(text.size, label, blocks, invisible=True)
            return self._facts.complete(page, number, text)
        finally:
            textpage.close()
            page.close()

    def render(self, number: int, max_pixels: int, max_side: int | None = None) -> Image:
        """Render the page as shown, annotations included."""
        page = self._load(number)
        try:
            width, height = page.get_size()
            scale = min(MAX_SCALE, fit_scale(width, height, max_pixels, max_side))
            return page.render(scale=scale, rev_byteorder=True).to_pil().convert("RGB")  # type: ignore[no-any-return]
        except (pdfium.PdfiumError, ValueError) as error:
            raise PageError(f"page cannot be rendered ({error})", number) from error
        finally:
            page.close()

    def attached_files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each file attached to the whole document, and a function for its bytes."""
        for position in range(self._document.count_attachments()):
            attachment = self._document.get_attachment(position)
            yield str(attachment.get_name()), partial(_attached_bytes, attachment)

    def close(self) -> None:
        """Close the file."""
        self._document.close()


def _attached_bytes(attachment: Any) -> bytes:  # noqa: ANN401
    """Unpack an attached file."""
    return bytes(attachment.get_data())


def _lines(page: Any, textpage: Any) -> list[tuple[Word, ...]]:  # noqa: ANN401
    """Group words into lines; a line ends at a line break or before a word that is left of it or far away."""
    lines: list[list[Word]] = [[]]
    for text, box, breaks in _runs(page, textpage):
        if breaks and lines[-1]:
            lines.append([])
        if not text:
            continue
        clipped_box = clip_box(box)
        if clipped_box is None:
            continue
        if lines[-1] and _jumps(lines[-1][-1].box, clipped_box):
            lines.append([])
        lines[-1].append(Word(text, clipped_box))
    return [tuple(line) for line in lines if line]


def _jumps(before: Sequence[float], after: Sequence[float]) -> bool:
    """Decide whether a word starts a new line: left of the last word, or three line heights away."""
    height = before[3] - before[1]
    return after[0] < before[0] or abs(after[1] - before[1]) > height or after[0] - before[2] > 3 * height


def _runs(page: Any, textpage: Any) -> Iterator[tuple[str, tuple[float, float, float, float], bool]]:  # noqa: ANN401
    """Yield ``(word, box as shown, starts a line)``; an empty word is a line break only."""
    word = ""
    edges: list[float] = []
    fresh = False
    for index in range(textpage.count_chars()):
        character = _character(textpage, index)
        if character.isspace() or character == "":
            if word:
                yield word, _unit_box(page, edges), fresh
                word, edges, fresh = "", [], False
            fresh = fresh or character in "\r\n"
            continue
        left, bottom, right, top = textpage.get_charbox(index)
        if not edges:
            edges = [left, bottom, right, top]
        else:
            edges = [min(edges[0], left), min(edges[1], bottom), max(edges[2], right), max(edges[3], top)]
        word += character
    if word:
        yield word, _unit_box(page, edges), fresh


def _character(textpage: Any, index: int) -> str:  # noqa: ANN401
    """Return a character; U+FFFD if PDFium knows no Unicode value for it."""
    code = raw.FPDFText_GetUnicode(textpage, index)
    if raw.FPDFText_HasUnicodeMapError(textpage, index) == 1 or code == 0 or 0xD800 <= code < 0xE000:
        return "\N{REPLACEMENT CHARACTER}"
    return "-" if code == 2 else chr(code)  # PDFium marks a hyphen at the end of a line with 2


def _unit_box(page: Any, edges: Sequence[float]) -> tuple[float, float, float, float]:  # noqa: ANN401
    """Convert page coordinates to 0..1 of the page as shown."""
    xs, ys = [], []
    for x, y in ((edges[0], edges[1]), (edges[2], edges[3])):
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, x, y, across, down)
        xs.append(across.value / _GRID)
        ys.append(down.value / _GRID)
    return (min(xs), min(ys), max(xs), max(ys))


def _is_invisible(page: Any) -> bool:  # noqa: ANN401
    """Check whether most text objects of a page are drawn invisibly."""
    modes = [
        raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE
        for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT])
    ]
    return bool(modes) and sum(modes) * 2 > len(modes)
