"""PDF by PDFium (extra ``pdfium``; Apache-2.0 and BSD-3-Clause), the renderer without PyMuPDF's licence.

PDFium gives characters in the order of the file, without blocks; `layout.reading_order` orders the
lines. Boxes are turned to the page as shown by PDFium itself (rotation, crop box).
What is drawn twice, cut or marked is told as with PyMuPDF, and so is text that no eye sees (`pdfium_sight`);
turned lines are not told apart with this renderer.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mmrag.documents.layer.glyphs import LayerLine, LayerWord, page_box, page_words, union, word_of
from mmrag.documents.layer.hyphens import join_hyphens
from mmrag.documents.layer.tidying import tidy
from mmrag.documents.layer.visibility import Sight, hidden_notes, picture_boxes
from mmrag.documents.layout import bounds, join_rows, reading_order
from mmrag.documents.renderer import MAX_SCALE, PageText, fit_scale, password_message
from mmrag.errors import DocumentError, MissingExtraError, PageError, PasswordRequiredError

try:
    import pypdfium2 as pdfium
    import pypdfium2.raw as raw
except ImportError as error:
    raise MissingExtraError("Reading PDF with renderer='pdfium'", "pdfium") from error

from mmrag.documents.pdf.pdfium_facts import (  # needs what was tried above
    DocumentFacts,
    annotation_kinds,
    draws_text,
)
from mmrag.documents.pdf.pdfium_paint import PageMap, PagePaints, PdfiumPart, struck_areas
from mmrag.documents.pdf.pdfium_sight import see

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image

    from mmrag.types import Box, Word


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

    def _flat(self, page: Any, number: int) -> Any:  # noqa: ANN401
        """Make what fields and annotations draw a part of the page, in memory, and load it again."""
        self._facts.drop_passwords(page)
        raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
        page.close()
        return self._load(number)

    def read(self, number: int) -> PageText:
        """Read words from characters; lines are ordered by `layout.reading_order`."""
        page = self._load(number)
        struck_boxes = struck_areas(page, PageMap(page, _size(page)))
        kinds = annotation_kinds(page)
        if draws_text(kinds):
            page = self._flat(page, number)
        size = _size(page)
        label = str(self._document.get_page_label(number) or "").strip()
        textpage = page.get_textpage()
        try:
            page_paints = PagePaints(page, size)
            view, notes = _look(page, _lines(page_paints, textpage, size), page_paints, size, struck_boxes)
            text = PageText(
                size,
                label,
                _blocks(view, size),
                invisible=view.invisible,
                notes=(*notes, *hidden_notes(view.hidden)),
                hidden=tuple(view.hidden),
                pictures=picture_boxes(page_paints.paints, size),
            )
            return self._facts.complete(kinds, number, text)
        finally:
            textpage.close()
            page.close()

    def render(self, number: int, max_pixels: int, max_side: int | None = None) -> Image:
        """Render the page as shown, annotations included."""
        page = self._load(number)
        try:
            width, height = page.get_size()
            scale = min(MAX_SCALE, fit_scale(width, height, max_pixels, max_side))
            return _picture(page, scale)
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


def _size(page: Any) -> tuple[float, float]:  # noqa: ANN401
    """Return width and height of a page in points as shown."""
    width, height = page.get_size()
    return float(width), float(height)


def _picture(page: Any, scale: float) -> Image:  # noqa: ANN401
    """Draw a page as shown, annotations included."""
    return page.render(scale=scale, rev_byteorder=True).to_pil().convert("RGB")  # type: ignore[no-any-return]


def _look(
    page: Any,  # noqa: ANN401
    lines: Sequence[LayerLine],
    page_paints: PagePaints,
    size: tuple[float, float],
    struck_boxes: Sequence[Box],
) -> tuple[Sight, tuple[str, ...]]:
    """Find out what is seen of a page's lines; all of them are if PDFium cannot draw it."""
    try:
        return see(lines, page_paints, size, lambda scale: _picture(page, scale), struck_boxes), ()
    except (pdfium.PdfiumError, ValueError, ArithmeticError) as error:  # of boxes without end, too
        note = f"hidden text cannot be told from visible text ({error})"
        return Sight([list(lines)]), (note,)


def _blocks(view: Sight, size: tuple[float, float]) -> tuple[tuple[tuple[Word, ...], ...], ...]:
    """Order the lines that are seen, rows and cut words joined."""
    (layer,) = tidy(view.blocks) or ([],)
    lines = [words for line in layer if (words := page_words(line, size))]
    order = reading_order([bounds(line) for line in lines], size[0] / size[1])
    return tuple(
        tuple(map(tuple, join_rows(join_hyphens([lines[index] for index in block])))) for block in order
    )


def _lines(page_paints: PagePaints, textpage: Any, size: tuple[float, float]) -> list[LayerLine]:  # noqa: ANN401
    """Group words into lines; a line ends at a line break or before a word that is left of it or far away."""
    lines: list[list[LayerWord]] = [[]]
    for word, breaks in _runs(page_paints, textpage):
        if breaks and lines[-1]:
            lines.append([])
        if word is None or page_box(word.box, size) is None:
            continue
        if lines[-1] and _jumps(lines[-1][-1], word):
            lines.append([])
        lines[-1].append(word)
    return [LayerLine(tuple(line)) for line in lines if line]


def _jumps(before: LayerWord, after: LayerWord) -> bool:
    """Decide whether a word starts a new line: left of the last word, or far away from it."""
    size = max(before.main.size, after.main.size)
    if after.box[0] < before.box[0] or after.box[0] - before.box[2] > 3 * size:
        return True
    return abs(after.main.origin[1] - before.main.origin[1]) > size


def _runs(
    page_paints: PagePaints,
    textpage: Any,  # noqa: ANN401
) -> Iterator[tuple[LayerWord | None, bool]]:
    """Yield ``(word, starts a line)``; None is a line break only."""
    parts: list[PdfiumPart] = []
    fresh = False
    for index in range(textpage.count_chars()):
        character = _character(textpage, index)
        if character.isspace() or character == "":
            if parts:
                yield word_of(parts), fresh
                parts, fresh = [], False
            fresh = fresh or character in "\r\n"
            continue
        part = _part(page_paints, textpage, index, character)
        if parts and _is_one_style(parts[-1], part):
            last = parts[-1]
            parts[-1] = replace(last, text=last.text + character, box=union((last.box, part.box)))
        else:
            parts.append(part)
    if parts:
        yield word_of(parts), fresh


def _is_one_style(last: PdfiumPart, part: PdfiumPart) -> bool:
    """Check whether two characters have one size, baseline and look."""
    same_line = last.size == part.size and abs(last.origin[1] - part.origin[1]) < 0.1
    return same_line and last.look == part.look


def _part(page_paints: PagePaints, textpage: Any, index: int, character: str) -> PdfiumPart:  # noqa: ANN401
    """Read box, size, origin and look of one character, in points as shown."""
    page_map = page_paints.page_map
    x, y, matrix = ctypes.c_double(), ctypes.c_double(), raw.FS_MATRIX()
    raw.FPDFText_GetCharOrigin(textpage, index, x, y)
    letter = float(raw.FPDFText_GetFontSize(textpage, index))
    up = (0.0, 1.0)
    if raw.FPDFText_GetMatrix(textpage, index, matrix):
        up = (matrix.c, matrix.d)
        letter *= math.hypot(*up)
    look = page_paints.look(textpage, index)
    return PdfiumPart(
        character,
        page_map.box(*textpage.get_charbox(index)),
        round(letter, 1),
        page_map.point(x.value, y.value),
        look.colour,
        look.opacity,
        look.is_drawn,
        look.is_plain,
        page_map.direction(*up),
        look,
    )


def _character(textpage: Any, index: int) -> str:  # noqa: ANN401
    """Return a character; U+FFFD if PDFium knows no Unicode value for it."""
    code = raw.FPDFText_GetUnicode(textpage, index)
    if raw.FPDFText_HasUnicodeMapError(textpage, index) == 1 or code == 0 or 0xD800 <= code < 0xE000:
        return "\N{REPLACEMENT CHARACTER}"
    return "-" if code == 2 else chr(code)  # PDFium marks a hyphen at the end of a line with 2
