"""A thin sheet of paper over reportlab's canvas: points, top-down, the same bytes on every run.

Decisions taken here:

* y grows downwards from the top edge, as on the boxes of `mmrag.types`, so that layouts read from top to
  bottom; text stands on its baseline at y.
* Only the base-14 fonts are used: nothing is embedded and no licence travels with the files.
* ``invariant=1`` fixes dates and ids; nothing here asks the clock or an unseeded generator.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY, TA_LEFT, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

rl_config.useA85 = 0  # binary streams: a fifth smaller, and the scan's pictures stay plain JPEG

A4 = (595.28, 841.89)
LETTER = (612.0, 792.0)
WIDE = (960.0, 540.0)

INK = HexColor("#1B2733")
NAVY = HexColor("#12324A")
TEAL = HexColor("#1F7A8C")
MIST = HexColor("#BFD7DC")
CORAL = HexColor("#D1603D")
SAND = HexColor("#E9DFCB")
GREY = HexColor("#5F6B76")
RULE = HexColor("#C9D1D8")
PALE = HexColor("#F1F4F6")
WHITE = HexColor("#FFFFFF")

SANS, BOLD, ITALIC = "Helvetica", "Helvetica-Bold", "Helvetica-Oblique"
SERIF, SERIF_BOLD, SERIF_ITALIC = "Times-Roman", "Times-Bold", "Times-Italic"

ALIGN = {"left": TA_LEFT, "right": TA_RIGHT, "center": TA_CENTER, "justify": TA_JUSTIFY}


@dataclass(frozen=True)
class Column:
    """One column of a table: its right edge counts for numbers, its left edge for words."""

    head: str
    width: float
    align: str = "right"


class Sheet:
    """Pages drawn one after the other; `finish` gives the file."""

    def __init__(self, size: tuple[float, float], title: str, author: str, subject: str) -> None:
        self.width, self.height = size
        self._out = io.BytesIO()
        self.canvas = Canvas(self._out, pagesize=size, invariant=1, pageCompression=1)
        self.canvas.setTitle(title)
        self.canvas.setAuthor(author)
        self.canvas.setSubject(subject)
        self.canvas.setCreator("mmrag scripts/make_samples.py")

    def finish(self) -> bytes:
        """The file's bytes; the sheet takes no more pages."""
        self.canvas.save()
        return self._out.getvalue()

    def next_page(self) -> None:
        """End this page."""
        self.canvas.showPage()

    def bookmark(self, name: str) -> None:
        """An entry of the outline that leads to this page."""
        self.canvas.bookmarkPage(name)
        self.canvas.addOutlineEntry(name, name)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 10,
        font: str = SANS,
        color: Color = INK,
        align: str = "left",
        spacing: float = 0,
    ) -> float:
        """One line with its baseline at y; returns its width."""
        width = stringWidth(words, font, size) + spacing * max(len(words) - 1, 0)
        left = x - {"left": 0.0, "center": width / 2, "right": width}[align]
        line = self.canvas.beginText(left, self.height - y)
        line.setFont(font, size)
        line.setFillColor(color)
        if spacing:
            line.setCharSpace(spacing)
        line.textOut(words)
        if spacing:
            line.setCharSpace(0)
        self.canvas.drawText(line)
        return width

    def para(
        self,
        x: float,
        y: float,
        width: float,
        words: str,
        size: float = 10,
        leading: float | None = None,
        font: str = SANS,
        color: Color = INK,
        align: str = "left",
        indent: float = 0,
    ) -> float:
        """A paragraph whose top is at y; returns the y of its bottom."""
        style = ParagraphStyle(
            "p",
            fontName=font,
            fontSize=size,
            leading=leading or size * 1.45,
            textColor=color,
            alignment=ALIGN[align],
            firstLineIndent=indent,
        )
        block = Paragraph(words, style)
        _, height = block.wrap(width, 10_000)
        block.drawOn(self.canvas, x, self.height - y - height)
        return y + height

    def bullets(
        self,
        x: float,
        y: float,
        width: float,
        items: Sequence[str],
        size: float = 10,
        gap: float = 6,
        **kw: object,
    ) -> float:
        """Bulleted paragraphs; returns the y of the bottom."""
        for item in items:
            self.disc(x + size * 0.2, y + size * 0.85, size * 0.17, TEAL)
            y = self.para(x + size * 1.15, y, width - size * 1.15, item, size, **kw) + gap  # type: ignore[arg-type]
        return y - gap

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: Color | None = None,
        stroke: Color | None = None,
        line: float = 0.6,
        radius: float = 0,
    ) -> None:
        """A rectangle whose top left corner is (x, y)."""
        if fill is not None:
            self.canvas.setFillColor(fill)
        if stroke is not None:
            self.canvas.setStrokeColor(stroke)
            self.canvas.setLineWidth(line)
        args = (x, self.height - y - height, width, height)
        kinds = {"fill": int(fill is not None), "stroke": int(stroke is not None)}
        if radius:
            self.canvas.roundRect(*args, radius, **kinds)
        else:
            self.canvas.rect(*args, **kinds)

    def rule(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float | None = None,
        color: Color = RULE,
        line: float = 0.6,
        dash: tuple[float, ...] = (),
    ) -> None:
        """A straight line; level where y1 is not given."""
        self.canvas.setStrokeColor(color)
        self.canvas.setLineWidth(line)
        self.canvas.setDash(*([list(dash)] if dash else []))
        self.canvas.line(x0, self.height - y0, x1, self.height - (y0 if y1 is None else y1))
        self.canvas.setDash()

    def disc(self, x: float, y: float, radius: float, fill: Color, stroke: Color | None = None) -> None:
        """A filled circle."""
        self.canvas.setFillColor(fill)
        if stroke is not None:
            self.canvas.setStrokeColor(stroke)
            self.canvas.setLineWidth(1.4)
        self.canvas.circle(x, self.height - y, radius, fill=1, stroke=int(stroke is not None))

    def shape(
        self,
        points: Sequence[tuple[float, float]],
        fill: Color | None = None,
        stroke: Color | None = None,
        line: float = 1.6,
        close: bool = True,
    ) -> None:
        """A polygon or a polyline."""
        path = self.canvas.beginPath()
        path.moveTo(points[0][0], self.height - points[0][1])
        for x, y in points[1:]:
            path.lineTo(x, self.height - y)
        if close:
            path.close()
        if fill is not None:
            self.canvas.setFillColor(fill)
        if stroke is not None:
            self.canvas.setStrokeColor(stroke)
            self.canvas.setLineWidth(line)
            self.canvas.setLineJoin(1)
        self.canvas.drawPath(path, fill=int(fill is not None), stroke=int(stroke is not None))

    def table(
        self,
        x: float,
        y: float,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        total: Sequence[int] = (),
        size: float = 9,
        row_height: float = 18,
        shade: int | None = None,
        head_color: Color = NAVY,
        font: str = SANS,
        bold: str = BOLD,
    ) -> float:
        """A ruled table; rows whose position is in `total` are bold under a rule. Returns its bottom.

        Args:
            x: left edge.
            y: top of the head row.
            columns: heads, widths and alignment.
            rows: cells as printed.
            total: positions of rows that sum up.
            size: font size.
            row_height: points from row to row.
            shade: the column that is tinted (the current year).
            head_color: colour of the heads and the strong rules.
            font: of the cells.
            bold: of heads and totals.
        """
        width = sum(column.width for column in columns)
        height = row_height * (len(rows) + 1)
        if shade is not None:
            left = x + sum(column.width for column in columns[:shade])
            self.box(left, y, columns[shade].width, height, fill=PALE)
        drop = row_height / 2 + size * 0.36
        self.rule(x, y, x + width, color=head_color, line=1.2)
        self._cells(x, y + drop, columns, [column.head for column in columns], size, bold, head_color)
        self.rule(x, y + row_height, x + width, color=head_color, line=0.6)
        for number, row in enumerate(rows):
            top = y + row_height * (number + 1)
            strong = number in total
            if strong:
                self.rule(x, top, x + width, color=head_color, line=0.8)
            elif number:
                self.rule(x, top, x + width, color=RULE, line=0.4)
            self._cells(x, top + drop, columns, row, size, bold if strong else font, INK)
        self.rule(x, y + height, x + width, color=head_color, line=1.2)
        return y + height

    def _cells(
        self,
        x: float,
        baseline: float,
        columns: Sequence[Column],
        cells: Sequence[str],
        size: float,
        font: str,
        color: Color,
    ) -> None:
        for column, cell in zip(columns, cells, strict=True):
            if column.align == "right":
                self.text(x + column.width - 6, baseline, cell, size, font, color, "right")
            elif column.align == "center":
                self.text(x + column.width / 2, baseline, cell, size, font, color, "center")
            else:
                self.text(x + 2, baseline, cell, size, font, color)
            x += column.width
