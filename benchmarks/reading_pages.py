"""Pages drawn by raw PDF code, with the words that an eye sees on them, their boxes and their order.

Used by `reading.py`. Nothing here comes from a library that reads PDF: objects and content streams are
written out, words stand where the widths of Helvetica (or of the embedded font) put them. A truth box goes
from the pen's start to its end, and from the descender to the ascender of the letters.
"""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pymupdf

from mmrag.types import Word

WIDTH, HEIGHT = 595.0, 842.0
ASCENDER, DESCENDER = 0.718, 0.207  # of Helvetica, in its published metrics
TEXT = (
    "the harbour board of the lower valley has asked for a report on every bridge that stands between old "
    "mill and new weir because the spring flood reached pumps which were built in early years when no tide "
    "gauge existed so engineers measured depth width and flow at nine stations during dry weeks before "
    "autumn then compared their figures with those kept by former wardens whose notes remain at town hall"
)
WORDS = TEXT.split()


@dataclass
class Sheet:
    """A page as shown, and what is on it.

    Attributes:
        rotate: the file's /Rotate; what is drawn is upright as shown whatever its value.
        words: the truth in reading order; boxes in 0..1, origin top left.
        ignored: texts that may be read or not, wherever they lie.
        commands: content stream, in points as shown, origin bottom left.
        fields: form fields, box in points as shown (origin bottom left) and value.
        tall: set in the font with a tall line box.
    """

    rotate: int = 0
    tall: bool = False
    words: list[Word] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    fields: list[tuple[float, float, float, float, str]] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 10.0,
        *,
        turn: int = 0,
        ink: str = "0 g",
        counts: bool = True,
        font: str = "F1",
    ) -> float:
        """Draw text from (x, y), y down from the top, as one string; return where the pen stops.

        `turn` is 0, or 90 for text that reads upwards. Without `counts` it is not part of the truth.
        """
        up = HEIGHT - y
        matrix = f"1 0 0 1 {x:.3f} {up:.3f}" if turn == 0 else f"0 1 -1 0 {x:.3f} {up:.3f}"
        self.commands.append(f"BT {ink} /{font} {size:g} Tf {matrix} Tm ({_escape(text)}) Tj ET")
        if counts:
            self.true_words(x, y, text, size, turn)
        return x + self.length(text, size)

    def true_words(self, x: float, y: float, text: str, size: float, turn: int = 0) -> None:
        """Add the words of a string drawn from (x, y) to the truth."""
        start = 0
        for piece in text.split():
            start = text.index(piece, start)
            first, last = (self.length(text[:end], size) for end in (start, start + len(piece)))
            start += len(piece)
            self.words.append(Word(piece, _box(x, y, first, last, size, turn)))

    def length(self, text: str, size: float) -> float:
        """Width of a string in points."""
        return size * sum(_advance(letter, self.tall) for letter in text)

    def line(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a thin line, y down from the top."""
        self.commands.append(f"0.5 w 0 G {x0:g} {HEIGHT - y0:g} m {x1:g} {HEIGHT - y1:g} l S")

    def field(self, x: float, y: float, width: float, value: str) -> None:
        """Add a form field with a value and its appearance; (x, y) is its lower left corner, y down."""
        self.fields.append((x, HEIGHT - y, x + width, HEIGHT - y + 14, value))
        self.true_words(x + 2, y - 4, value, 9)

    def to_bytes(self) -> bytes:
        """Write the page as a PDF."""
        turned = self.rotate % 180 == 90
        size = (HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT)
        content = "\n".join([f"{_TURNS[self.rotate]} cm", *self.commands]).encode("cp1252")
        annotations = b" ".join(b"%d 0 R" % (10 + 2 * index) for index in range(len(self.fields)))
        bodies: dict[int, bytes] = {
            1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%b]/DR<</Font<</F1 5 0 R>>>>>>>>"
            % annotations,
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Rotate %d/Contents 4 0 R/Annots[%b]"
            b"/Resources<</Font<</F1 5 0 R/F2 6 0 R>>>>>>" % (*size, self.rotate, annotations),
            4: _stream(b"", content),
            5: _tall_font() if self.tall else _HELVETICA % b"/Encoding/WinAnsiEncoding",
            6: _HELVETICA % b"",  # standard encoding, which has the glyphs of fi and fl
        }
        if self.tall:
            bodies |= {7: _tall_descriptor(), 8: _stream(b"", _tall_file())}
        for index, (x0, y0, x1, y1, value) in enumerate(self.fields):
            literal = _escape(value).encode("cp1252")
            bodies[10 + 2 * index] = (
                b"<</Type/Annot/Subtype/Widget/FT/Tx/F 4/T(field%d)/V(%b)/DA(/F1 9 Tf 0 g)"
                b"/Rect[%g %g %g %g]/P 3 0 R/AP<</N %d 0 R>>>>"
                % (index, literal, x0, y0, x1, y1, 11 + 2 * index)
            )
            form = b"/Type/XObject/Subtype/Form/BBox[0 0 %g %g]/Resources<</Font<</F1 5 0 R>>>>"
            drawn = b"/Tx BMC q BT 0 g /F1 9 Tf 2 4 Td (%b) Tj ET Q EMC" % literal
            bodies[11 + 2 * index] = _stream(form % (x1 - x0, y1 - y0), drawn)
        return _assemble(bodies)


_TURNS = {
    0: "1 0 0 1 0 0",
    90: f"0 1 -1 0 {HEIGHT:g} 0",
    180: f"-1 0 0 -1 {WIDTH:g} {HEIGHT:g}",
    270: f"0 -1 1 0 0 {WIDTH:g}",
}
_HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica%b>>"


def _box(
    x: float, y: float, first: float, last: float, size: float, turn: int
) -> tuple[float, float, float, float]:
    """Box in 0..1 of the part first..last (points along the pen) of a string drawn from (x, y)."""
    above, below = ASCENDER * size, DESCENDER * size
    if turn == 0:
        corners = (x + first, y - above, x + last, y + below)
    else:
        corners = (x - above, y - last, x + below, y - first)
    return (corners[0] / WIDTH, corners[1] / HEIGHT, corners[2] / WIDTH, corners[3] / HEIGHT)


def _escape(text: str) -> str:
    """Escape a PDF literal string."""
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _stream(entries: bytes, data: bytes) -> bytes:
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (entries, len(data), data)


def _assemble(bodies: dict[int, bytes]) -> bytes:
    """Number objects, write them and their cross-reference table."""
    out, offsets = bytearray(b"%PDF-1.7\n"), {}
    for number, body in sorted(bodies.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    last, start = max(bodies), len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (last + 1)
    for number in range(1, last + 1):
        known = number in offsets
        out += b"%010d %05d %b \n" % (offsets.get(number, 0), 0 if known else 65535, b"n" if known else b"f")
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (last + 1, start)
    return bytes(out)


# ---- a font with a tall line box, as Cambria has one --------------------------------------------------


@functools.cache
def _metrics(tall: bool) -> pymupdf.Font:
    return pymupdf.Font(fontbuffer=_tall_file()) if tall else pymupdf.Font("helv")


@functools.cache
def _advance(letter: str, tall: bool) -> float:
    """Width of a letter, in ems."""
    return float(_metrics(tall).glyph_advance(ord(letter)))


@functools.cache
def _tall_file() -> bytes:
    """DejaVu Sans (it comes with matplotlib, and fontTools with it), its ascent and descent made tall.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib
    from fontTools import ttLib

    font = ttLib.TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    unit = font["head"].unitsPerEm
    font["hhea"].ascent, font["hhea"].descent = int(2.9 * unit), int(-2.2 * unit)
    font["OS/2"].sTypoAscender, font["OS/2"].sTypoDescender = int(2.9 * unit), int(-2.2 * unit)
    font["OS/2"].usWinAscent, font["OS/2"].usWinDescent = int(2.9 * unit), int(2.2 * unit)
    file = io.BytesIO()
    font.save(file)
    return file.getvalue()


def _tall_font() -> bytes:
    widths = " ".join(f"{1000 * _advance(chr(code), True):.0f}" for code in range(32, 127))
    return (
        b"<</Type/Font/Subtype/TrueType/BaseFont/TallSans/FirstChar 32/LastChar 126/Widths[%b]"
        b"/FontDescriptor 7 0 R/Encoding/WinAnsiEncoding>>" % widths.encode()
    )


def _tall_descriptor() -> bytes:
    return (
        b"<</Type/FontDescriptor/FontName/TallSans/Flags 32/FontBBox[-1000 -2200 2000 2900]/ItalicAngle 0"
        b"/Ascent 2900/Descent -2200/CapHeight 730/StemV 80/FontFile2 8 0 R>>"
    )


# ---- the kinds ----------------------------------------------------------------------------------------


def prose(
    sheet: Sheet, rng: random.Random, x: float = 60, width: float = 475, y: float = 80, n: int = 30
) -> None:
    """Lines of words, filled like a paragraph."""
    for row in range(n):
        line = rng.choice(WORDS)
        while sheet.length(f"{line} {(word := rng.choice(WORDS))}", 10) < width:
            line += f" {word}"
        sheet.text(x, y + 14 * row, line)


def columns(count: int) -> Callable[[Sheet, random.Random], None]:
    """Columns of prose below a title over the whole page."""

    def draw(sheet: Sheet, rng: random.Random) -> None:
        sheet.text(60, 60, "Proceedings of the river board", 16)
        width = (475 - 20 * (count - 1)) / count
        for column in range(count):
            prose(sheet, rng, 60 + column * (width + 20), width, 100, 25)

    return draw


def _rows(rng: random.Random, count: int = 8) -> list[list[str]]:
    return [
        [
            f"{rng.choice(WORDS).title()} {rng.choice(WORDS)}",
            *(f"{rng.randrange(1, 99999):,}" for _ in range(4)),
        ]
        for _ in range(count)
    ]


def table(ruled: bool) -> Callable[[Sheet, random.Random], None]:
    """A table of five columns, figures set to the right, with or without lines."""

    def draw(sheet: Sheet, rng: random.Random) -> None:
        rows = [["Station", "Depth", "Width", "Flow", "Cost"], *_rows(rng)]
        for row, cells in enumerate(rows):
            y = 120 + 20 * row
            for column, cell in enumerate(cells):
                right = 200 + 80 * column
                sheet.text(64 if column == 0 else right - sheet.length(cell, 10), y, cell)
            if ruled:
                sheet.line(60, y + 6, 530, y + 6)
        for x in (60, 132, 210, 290, 370, 450, 530) if ruled else ():
            sheet.line(x, 106, x, 106 + 20 * len(rows))

    return draw


def merged_table(sheet: Sheet, rng: random.Random) -> None:
    """Two header rows, the upper one over two columns each, and a row group in the first column."""
    sheet.text(64, 120, "Area")
    sheet.text(260, 120, "Imports")
    sheet.text(420, 120, "Exports")
    for column, year in enumerate(("2022", "2023", "2022", "2023")):
        sheet.text(230 + 80 * column, 140, year)
    for row, cells in enumerate(_rows(rng)):
        y = 160 + 20 * row
        if row % 4 == 0:
            sheet.text(64, y, "North" if row == 0 else "South")
        for column, cell in enumerate(cells):
            sheet.text(120 if column == 0 else 150 + 80 * column, y, cell)
        sheet.line(60, y + 6, 530, y + 6)


def footnote_marks(sheet: Sheet, rng: random.Random) -> None:
    """Raised marks set close after words and figures, and their notes."""
    for row in range(12):
        y = 100 + 18 * row
        x = sheet.text(60, y, f"The {rng.choice(WORDS)} measured {rng.randrange(100, 9999):,}")
        x = sheet.text(x, y - 4, str(row % 9 + 1), 6)
        sheet.text(x + 3, y, f"at the {rng.choice(WORDS)}")
    for row in range(9):
        x = sheet.text(60, 700 + 10 * row, str(row + 1), 6)
        sheet.text(x + 3, 702 + 10 * row, f"as told by the {rng.choice(WORDS)}", 8)


def tall_font(sheet: Sheet, rng: random.Random) -> None:
    """Prose in a font whose line box is five lines high."""
    sheet.tall = True
    prose(sheet, rng, n=20)


def sideways(sheet: Sheet, rng: random.Random) -> None:
    """A page that is turned as a whole: lines read upwards, the first one at the left."""
    for row in range(20):
        sheet.text(80 + 20 * row, 780, " ".join(rng.choices(WORDS, k=8)), turn=90)


def small_capitals(sheet: Sheet, rng: random.Random) -> None:
    """Capitals in two sizes within a word."""
    for row in range(12):
        y = 100 + 18 * row
        name = rng.choice([word for word in WORDS if len(word) > 3]).upper()
        x = sheet.text(60, y, name[0], 10, counts=False)
        end = sheet.text(x, y, name[1:], 7.5, counts=False)
        first = _box(60, y, 0, end - 60, 10, 0)
        sheet.words.append(Word(name, first))
        sheet.text(end + 4, y, f"of the {rng.choice(WORDS)}")


def ligatures(sheet: Sheet, rng: random.Random) -> None:
    """Words with the glyphs of fi and fl, and an em dash between words."""
    for row, word in enumerate(
        ("fisheries", "office", "flow", "filed", "float", "final", "reflect", "profit")
    ):
        y = 100 + 18 * row
        glyphs = word.replace("fi", "\xae").replace("fl", "\xaf")
        width = sheet.length(word.replace("fi", "ﬁ").replace("fl", "ﬂ"), 10)
        sheet.text(60, y, glyphs, font="F2", counts=False)
        sheet.words.append(Word(word, _box(60, y, 0, width, 10, 0)))
        sheet.text(60 + width + 3, y, f"of the {rng.choice(WORDS)}")


def hyphens(sheet: Sheet, rng: random.Random) -> None:
    """Words cut at the end of a line; the truth is the whole word, at its first part."""
    for row, (head, tail) in enumerate(
        (("embank", "ment"), ("engi", "neers"), ("measure", "ment"), ("har", "bour"), ("build", "ings"))
    ):
        y = 100 + 40 * row
        x = sheet.text(60, y, f"{' '.join(rng.choices(WORDS, k=8))} ")
        sheet.text(x, y, f"{head}-", counts=False)
        sheet.words.append(Word(head + tail, _box(x, y, 0, sheet.length(f"{head}-", 10), 10, 0)))
        end = sheet.text(60, y + 14, tail, counts=False)
        sheet.text(end + 3, y + 14, " ".join(rng.choices(WORDS, k=6)))


def drawn_twice(sheet: Sheet, rng: random.Random) -> None:
    """Every second line is made bold by drawing it again a third of a point to the right."""
    for row in range(16):
        line = " ".join(rng.choices(WORDS, k=8))
        sheet.text(60, 100 + 18 * row, line)
        if row % 2:
            sheet.text(60.35, 100 + 18 * row, line, counts=False)


def white_text(sheet: Sheet, rng: random.Random) -> None:
    """Every third line is white on white, or one point high: no eye sees it."""
    for row in range(18):
        line, y = " ".join(rng.choices(WORDS, k=8)), 100 + 18 * row
        if row % 3 != 2:
            sheet.text(60, y, line)
        elif row % 2:
            sheet.text(60, y, line, ink="1 g", counts=False)
        else:
            sheet.text(60, y, line, 1.0, counts=False)


def form(sheet: Sheet, rng: random.Random) -> None:
    """Labels, each with a filled text field on its right."""
    for row in range(10):
        y = 120 + 26 * row
        sheet.text(60, y - 4, f"{rng.choice(WORDS).title()} {rng.choice(WORDS)}:")
        sheet.field(220, y, 180, f"{rng.choice(WORDS)} {rng.randrange(1000)}")


def running_heads(sheet: Sheet, rng: random.Random) -> None:
    """Two columns between a running head, and a foot with a page number."""
    sheet.text(60, 40, "River board", 8)
    sheet.text(460, 40, "Annual report", 8)
    for column in range(2):
        prose(sheet, rng, 60 + 245 * column, 225, 80, 30)
    sheet.text(60, 800, "Printed in the valley", 8)
    sheet.text(520, 800, "17", 8)


def watermark(sheet: Sheet, rng: random.Random) -> None:
    """Prose over a large light word that lies across the page; the word itself is not counted."""
    prose(sheet, rng)
    sheet.ignored.add("DRAFT")
    slope = "0.7071 0.7071 -0.7071 0.7071 150 330"
    sheet.commands.insert(0, f"BT 0.85 g /F1 90 Tf {slope} Tm (DRAFT) Tj ET")


KINDS: dict[str, Callable[[Sheet, random.Random], None]] = {
    "prose": prose,
    "two columns": columns(2),
    "three columns": columns(3),
    "table, ruled": table(True),
    "table, no lines": table(False),
    "table, merged cells": merged_table,
    "footnote marks": footnote_marks,
    "tall font": tall_font,
    "sideways text": sideways,
    "small capitals": small_capitals,
    "ligatures": ligatures,
    "hyphens at line ends": hyphens,
    "bold by drawing twice": drawn_twice,
    "white and tiny text": white_text,
    "form fields": form,
    "running head and foot": running_heads,
    "watermark": watermark,
}
"""Kinds of pages by name; /Rotate is tried with the two columns."""


def drawn_pages(seed: int) -> dict[str, Sheet]:
    """Draw one page of each kind, and the two columns under each /Rotate.

    A kind whose font cannot be made here (see `_tall_file`) is left out.
    """
    sheets = {}
    for name, draw in KINDS.items():
        sheet = Sheet()
        try:
            draw(sheet, random.Random(seed))
        except ImportError:
            continue
        sheets[name] = sheet
    for rotate in (90, 180, 270):
        sheets[f"/Rotate {rotate}"] = sheet = Sheet(rotate)
        KINDS["two columns"](sheet, random.Random(seed))
    return sheets
