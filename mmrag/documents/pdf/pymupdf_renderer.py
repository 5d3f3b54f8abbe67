"""PDF, XPS, EPUB and SVG by PyMuPDF, the default renderer.

PyMuPDF is AGPL-3.0 or commercial; `pdfium_renderer` is the other choice. An EPUB has no pages of its
own: they are those of MuPDF's standard layout, so their numbers are stable for one version of MuPDF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymupdf
from PIL import Image

from mmrag.documents.layer.glyphs import LayerBlocks
from mmrag.documents.layer.tidying import page_blocks, tidy
from mmrag.documents.layer.visibility import Sight, hidden_notes, hidden_text, picture_boxes, sight
from mmrag.documents.pdf.pymupdf_annotations import form_fields
from mmrag.documents.pdf.pymupdf_facts import DocumentFacts
from mmrag.documents.pdf.pymupdf_paint import clipped_words, page_paints, struck_areas
from mmrag.documents.pdf.pymupdf_words import layer_blocks
from mmrag.documents.renderer import MAX_SCALE, PageText, fit_scale, password_message
from mmrag.errors import DocumentError, PageError, PasswordRequiredError
from mmrag.types import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mmrag.documents.pdf.fields import FormField

_SHRINK_EVERY = 16  # pages

pymupdf.TOOLS.mupdf_display_errors(False)
pymupdf.TOOLS.mupdf_display_warnings(False)


class PyMuPdfRenderer:
    """One document open in MuPDF."""

    def __init__(self, name: str, kind: str, source: str | bytes, passwords: Sequence[str]) -> None:
        """Open, decrypt and count pages."""
        self._name = name
        self._kind = kind
        self._calls = 0
        try:
            if isinstance(source, bytes):
                self._document = pymupdf.open(stream=source, filetype=kind)
            else:
                self._document = pymupdf.open(source, filetype=kind)
        except Exception as error:
            raise DocumentError(f"{name}: {kind} cannot be opened ({_first_line(error)}).") from error
        self._decrypt(passwords)
        self._facts = DocumentFacts(name, self._document)
        self._document = self._facts.document
        try:
            self.page_count = int(self._document.page_count)
        except Exception as error:
            raise DocumentError(f"{name}: its pages cannot be counted ({_first_line(error)}).") from error
        if self.page_count < 1:
            raise DocumentError(f"{name}: {kind} has no pages.")
        self.title = self._facts.title

    def _decrypt(self, passwords: Sequence[str]) -> None:
        """Try the passwords in order."""
        if not self._document.needs_pass:
            return
        for password in passwords:
            if self._document.authenticate(password):
                return
        raise PasswordRequiredError(password_message(self._name, len(passwords)))

    def load(self, number: int) -> Any:  # noqa: ANN401
        """Load a page, for readers of its structure; raises `PageError`."""
        return self._load(number)

    def _load(self, number: int) -> Any:  # noqa: ANN401  (PyMuPDF is not typed)
        """Load a page and keep MuPDF's store small."""
        self._calls += 1
        if self._calls % _SHRINK_EVERY == 0:
            pymupdf.TOOLS.store_shrink(75)
        try:
            page = self._document.load_page(number)
            width, height = page.rect.width, page.rect.height
        except Exception as error:
            raise PageError(f"page cannot be loaded ({_first_line(error)})", number) from error
        if not (0 < width < 1e7 and 0 < height < 1e7):
            raise PageError(f"page size must be positive, got {width:g} x {height:g} points", number)
        return page

    def _read_layer(self, number: int) -> PageText:
        """Read the text in MuPDF's block order, which follows the columns of a page."""
        page = self._load(number)
        size = (float(page.rect.width), float(page.rect.height))
        try:
            layer = layer_blocks(page)
        except Exception as error:  # noqa: BLE001
            note = f"text layer cannot be read ({_first_line(error)})"
            return PageText(size, self._label(page), notes=(note,))
        view, pictures, notes = self._look(page, layer, size)
        return PageText(
            size,
            self._label(page),
            page_blocks(tidy(view.blocks), size),
            invisible=view.invisible,
            notes=(*notes, *hidden_notes(view.hidden)),
            hidden=tuple(view.hidden),
            pictures=pictures,
        )

    def _look(
        self,
        page: Any,  # noqa: ANN401
        layer: LayerBlocks,
        size: tuple[float, float],
    ) -> tuple[Sight, tuple[Box, ...], tuple[str, ...]]:
        """Find out what is seen of a layer, and where pictures are; all of it is if MuPDF cannot say."""
        try:
            paints = page_paints(page)
            view = sight(layer, paints, size, lambda scale: _picture(page, scale), struck_areas(page))
            words = [word for block in layer for line in block for word in line.words]
            clip_words = clipped_words(page, words, size)
            view.hidden += [text for word in clip_words for text in hidden_text([word], "clipped", size)]
            return view, picture_boxes(paints, size), ()
        except Exception as error:  # noqa: BLE001  (MuPDF raises whatever it likes for a damaged page)
            note = f"hidden text cannot be told from visible text ({_first_line(error)})"
            return Sight(layer), (), (note,)

    def _label(self, page: Any) -> str:  # noqa: ANN401
        """Return the printed label; ``""`` if the file has none or its label tree is broken."""
        if self._kind != "pdf":
            return ""
        try:
            return str(page.get_label() or "").strip()
        except Exception:  # noqa: BLE001  (a broken label costs the label only)
            return ""

    def read(self, number: int) -> PageText:
        """Read the text layer with the page's section; of a PDF with form fields and comments, too."""
        return self._facts.complete(self._load(number), self._read_layer(number))

    def form_fields(self, number: int) -> tuple[FormField, ...]:
        """Return the form fields that a page shows, with their labels; a file of another kind has none."""
        if self._kind != "pdf":
            return ()
        return form_fields(self._load(number), self._read_layer(number))

    def attached_files(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name of each attached file, and a function that returns its bytes."""
        return self._facts.attached_files()

    def render(self, number: int, max_pixels: int, max_side: int | None = None) -> Image.Image:
        """Render the page as shown, annotations included."""
        page = self._load(number)
        scale = min(MAX_SCALE, fit_scale(page.rect.width, page.rect.height, max_pixels, max_side))
        try:
            return _picture(page, scale)
        except Exception as error:
            raise PageError(f"page cannot be rendered ({_first_line(error)})", number) from error

    def close(self) -> None:
        """Close the file."""
        if not self._document.is_closed:
            self._document.close()


def _picture(page: Any, scale: float) -> Image.Image:  # noqa: ANN401
    """Draw a page as shown, annotations included."""
    pixmap = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), alpha=False, colorspace=pymupdf.csRGB)
    return Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)


def _first_line(error: BaseException) -> str:
    """Describe an exception in one short line, without the path that the message already names."""
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return "too damaged to repair" if line.startswith("Failed to open") else line[:200]
