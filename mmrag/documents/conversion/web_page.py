"""HTML and Markdown as headings, paragraphs, items and tables.

Nothing that a page refers to is fetched: pictures, styles, frames and scripts are left out. What its author
hides (``hidden``, ``display: none``) is left out as well.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from mmrag.documents.conversion.base import Conversion
from mmrag.documents.conversion.drawing import Drawing, Piece
from mmrag.documents.conversion.plain_text import decode

_SILENT = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_SECTIONS = {
    "article",
    "aside",
    "body",
    "details",
    "div",
    "fieldset",
    "footer",
    "form",
    "header",
    "html",
    "main",
}
_PARAGRAPHS = {
    "address",
    "blockquote",
    "caption",
    "dd",
    "dt",
    "figcaption",
    "figure",
    "hr",
    "p",
    "pre",
    "summary",
}
_LISTS = {"dl", "li", "nav", "ol", "section", "table", "tbody", "tfoot", "thead", "tr", "ul"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_BLOCKS = frozenset(_SECTIONS | _PARAGRAPHS | _LISTS | _HEADINGS)
_PIECES = frozenset(_HEADINGS | {"li", "pre"})
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_CHARSET = re.compile(
    rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]+encoding=[\"']([\w.:-]+)", re.I
)
_HEAD = 4096


def from_html(data: bytes) -> Conversion:
    """Convert a web page."""
    match = _CHARSET.search(data[:_HEAD])
    encoding = (match.group(1) or match.group(2)).decode("ascii", "replace") if match else ""
    text, notes = decode(data, encoding)
    title, pieces = html_pieces(text)
    drawing = Drawing()
    drawing.flow(pieces, notes=notes)
    return drawing.finish(title)


def from_markdown(data: bytes) -> Conversion:
    """Convert a Markdown text; HTML in it is text."""
    from markdown_it import MarkdownIt

    text, notes = decode(data)
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    _, pieces = html_pieces(page)
    title = next((piece.texts[0] for piece in pieces if piece.tag == "h1"), "")
    drawing = Drawing()
    drawing.flow(pieces, notes=notes)
    return drawing.finish(title)


def html_pieces(text: str) -> tuple[str, list[Piece]]:
    """Return the title and the pieces of HTML, which may be damaged."""
    reader = _PieceReader()
    reader.feed(text)
    reader.close()
    reader.end_piece()
    return " ".join(reader.title.split()), reader.pieces


class _PieceReader(HTMLParser):
    """Reads pieces from HTML; keeps no tree, so that no nesting is too deep."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[Piece] = []
        self.title = ""
        self._text: list[str] = []
        self._tag = "p"
        self._silence: list[str] = []  # open elements since one that is not shown
        self._in_title = self._in_head_cell = self._is_in_cell = False
        self._cells: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        if self._silence or self._hides(tag, dict(attrs)):
            if tag not in _VOID:
                self._silence.append(tag)
            return
        if tag == "title":
            self._in_title = True
        elif tag == "br":
            self._text.append("\n" if self._tag == "pre" else " ")
        elif tag == "tr":
            self.end_piece()
            self._cells, self._in_head_cell = [], False
        elif tag in ("td", "th") and self._cells is not None:
            self._end_cell()
            self._in_head_cell, self._is_in_cell = tag == "th", True
        elif tag in _BLOCKS and self._cells is None:
            self.end_piece()
            self._tag = tag if tag in _PIECES else "p"
        else:
            self._text.append(" " if tag in _BLOCKS else "")

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        if self._silence:
            if tag in self._silence:
                while self._silence.pop() != tag:
                    pass
            return
        if tag == "title":
            self._in_title = False
        elif tag in ("td", "th") and self._cells is not None:
            self._end_cell()
        elif tag in ("tr", "table") and self._cells is not None:
            self._end_cell()
            cells, self._cells = self._cells, None
            if any(cells):
                self.pieces.append(Piece("tr", tuple(cells), self._in_head_cell))
        elif tag in _BLOCKS and self._cells is None:
            self.end_piece()
            self._tag = "p"
        elif tag in _BLOCKS:
            self._text.append(" ")

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._in_title:
            self.title += data
        elif not self._silence:
            self._text.append(data)

    def end_piece(self) -> None:
        """End the piece that is being read, if it has text."""
        text, self._text = "".join(self._text), []
        if self._tag == "pre":
            lines = text.strip("\n").split("\n") if text.strip() else []
            self.pieces += [Piece("pre", (line.replace("\t", "    "),)) for line in lines]
        elif words := " ".join(text.split()):
            self.pieces.append(Piece(self._tag, (words,)))

    def _end_cell(self) -> None:
        text, self._text = " ".join("".join(self._text).split()), []
        if self._cells is not None and (text or self._is_in_cell):
            self._cells.append(text)
        self._is_in_cell = False

    def _hides(self, tag: str, attributes: dict[str, str | None]) -> bool:
        is_hidden = "hidden" in attributes or _HIDDEN_STYLE.search(attributes.get("style") or "")
        return tag in _SILENT or bool(is_hidden)
