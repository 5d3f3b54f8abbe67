"""A maintenance log of 1987 as a scan: typed pages turned into pictures, no text layer.

The typed pages are laid out as a PDF first (`layout`), which is where the tests and the evidence boxes
read from; `build` prints them on tinted paper, turns them a little, adds noise and stores JPEG.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import cos, radians, sin

import numpy as np
import pymupdf
from PIL import Image, ImageFilter
from reportlab.lib.colors import HexColor
from reportlab.lib.utils import ImageReader

from samples.page import A4, SERIF, SERIF_BOLD, SERIF_ITALIC, Sheet

NAME = "maintenance-log-scan.pdf"
DPI = 160
SKEW = (0.55, -0.4, 0.3)  # degrees, one a page
TYPE, TYPE_BOLD = "Courier", "Courier-Bold"
BLACK = HexColor("#2A2826")
STAMP = HexColor("#6A6A6A")
LEFT, RIGHT = 66.0, 530.0
PITCH = 15.0

LOG = (
    (
        ("02 MAR", "P1", "11240", "Weekly check. Greased both bearings, packing adjusted.", "R.H."),
        (
            "05 MAR",
            "P3",
            "9815",
            "High temperature alarm 03.10 hrs. Strainer found blocked with weed, cleaned.",
            "R.H.",
        ),
        (
            "09 MAR",
            "P2",
            "10466",
            "Vibration 7.8 mm/s at drive end. Pump stopped, reported to Mr Calloway.",
            "D.P.",
        ),
        (
            "11 MAR",
            "P2",
            "10466",
            "Casing opened. Impeller badly worn, two vanes cracked. Spare drawn from store.",
            "D.P.",
        ),
        (
            "14 MAR",
            "P2",
            "10466",
            "New impeller fitted, part no. AK 4471. Shaft seal renewed. Vibration 2.1 mm/s.",
            "D.P.",
        ),
        ("16 MAR", "P1", "11371", "Weekly check. No faults.", "R.H."),
        (
            "19 MAR",
            "P2",
            "10561",
            "Bearing temperature 58 deg. C after 95 hours running. Satisfactory.",
            "D.P.",
        ),
    ),
    (
        ("23 MAR", "P1", "11502", "Weekly check. Oil changed, 14 litres.", "R.H."),
        (
            "26 MAR",
            "P3",
            "10020",
            "Float switch sticking. Switch taken out, cleaned and reset to 2.35 metres.",
            "R.H.",
        ),
        (
            "28 MAR",
            "ALL",
            "--",
            "Spring tide with gale. All three pumps running 19 hours. Peak level 3.12 m.",
            "D.P.",
        ),
        ("30 MAR", "P1", "11604", "Weekly check. Packing gland leaking, two rings renewed.", "R.H."),
        (
            "31 MAR",
            "GEN",
            "412",
            "Standby generator tested on load for 1 hour. Battery 2 weak, to be replaced.",
            "R.H.",
        ),
    ),
)
FUEL = (
    ("Opening stock, 1 March", "1,850"),
    ("Delivered, 17 March", "2,400"),
    ("Used in the month", "1,310"),
    ("Closing stock, 31 March", "2,940"),
)
LETTER_LINES = (
    "Dear Mr Calloway,",
    "",
    "     PUMP No. 2 - FAILURE OF IMPELLER, 9 MARCH 1987",
    "",
    "With reference to your telephone call of 20 March, I set",
    "out below what was found and what I recommend.",
    "",
    "1.  The vanes show pitting on the low pressure side over",
    "    their whole length. This is cavitation and not wear",
    "    from sand. The pump has been running with the inlet",
    "    valve partly closed, probably since the autumn.",
    "",
    "2.  The inlet valve should be locked open and a pressure",
    "    gauge fitted on the suction side. I estimate the cost",
    "    at 385 pounds, fitting included.",
    "",
    "3.  Pumps No. 1 and No. 3 are of the same pattern. They",
    "    should be opened and inspected before 30 September,",
    "    that is, before the autumn tides.",
    "",
    "4.  The impeller fitted on 14 March was the last in the",
    "    store. Delivery of another is fourteen weeks.",
    "",
    "I shall be at the station on 8 April and would be glad",
    "to go through these points with you and Mr Pryce.",
    "",
    "                      Yours sincerely,",
)


def layout() -> bytes:
    """The pages as typed, before they are turned into pictures."""
    sheet = Sheet(A4, "Maintenance log, March 1987", "Aldersea Drainage Board", "Pumping Station No. 4")
    for page in (log_first, log_second, letter):
        page(sheet)
        sheet.next_page()
    return sheet.finish()


def letterhead(sheet: Sheet, right: str) -> None:
    """The board's printed head."""
    sheet.text(298, 70, "ALDERSEA DRAINAGE BOARD", 19, SERIF_BOLD, BLACK, "center", 1.2)
    sheet.text(298, 88, "Board Offices, 3 Sluice Street, Aldersea", 10.5, SERIF, BLACK, "center")
    sheet.rule(LEFT, 100, RIGHT, color=BLACK, line=1.6)
    sheet.rule(LEFT, 103.5, RIGHT, color=BLACK, line=0.5)
    sheet.text(RIGHT, 118, right, 9, SERIF_ITALIC, BLACK, "right")


def typed(sheet: Sheet, x: float, y: float, words: str, size: float = 10.5, bold: bool = False) -> None:
    """A line of typewriting: no two strokes stand quite level."""
    sheet.text(x, y, words, size, TYPE_BOLD if bold else TYPE, BLACK)


def log_table(sheet: Sheet, y: float, rows: Sequence[Sequence[str]]) -> float:
    """The printed grid with typed entries; returns its bottom."""
    edges = (LEFT, 118, 154, 208, 490, RIGHT)
    heads = ("DATE", "PUMP", "HOURS RUN", "WORK DONE AND REMARKS", "INIT.")
    top = y
    for left, head in zip(edges, heads, strict=False):
        sheet.text(left + 5, y + 15, head, 7.4, SERIF_BOLD, BLACK)
    y += 23
    sheet.rule(LEFT, y, RIGHT, color=BLACK, line=1)
    for row in rows:
        lines = wrap(row[3], 43)
        for x, cell in zip(
            (edges[0], edges[1], edges[2], edges[4]), (row[0], row[1], row[2], row[4]), strict=True
        ):
            typed(sheet, x + 5, y + 16, cell)
        for number, line in enumerate(lines):
            typed(sheet, edges[3] + 5, y + 16 + PITCH * number, line)
        y += PITCH * len(lines) + 12
        sheet.rule(LEFT, y, RIGHT, color=BLACK, line=0.5)
    for edge in edges:
        sheet.rule(edge, top, edge, y, color=BLACK, line=0.7)
    sheet.rule(LEFT, top, RIGHT, color=BLACK, line=1)
    sheet.rule(LEFT, y, RIGHT, color=BLACK, line=1)
    return y


def wrap(words: str, limit: int) -> list[str]:
    """Lines of at most `limit` characters, broken at spaces."""
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) + 1 > limit:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def log_head(sheet: Sheet, number: int) -> float:
    """Title and fields of a log page; returns the top of the grid."""
    letterhead(sheet, "Form M.7")
    sheet.text(298, 144, "PLANT MAINTENANCE LOG", 14, SERIF_BOLD, BLACK, "center", 0.8)
    fields = (
        (LEFT, "Station", "PUMPING STATION No. 4, WEIR LANE", 372),
        (388, "Month", "MARCH 1987", RIGHT),
    )
    for x, name, value, end in fields:
        sheet.text(x, 176, name, 9.5, SERIF_ITALIC, BLACK)
        typed(sheet, x + 38, 175, value)
        sheet.rule(x + 36, 179, end, color=BLACK, line=0.5)
    for x, name, value, end in ((LEFT, "Engineer", "D. PRYCE", 240), (388, "Sheet", f"{number} of 2", RIGHT)):
        sheet.text(x, 200, name, 9.5, SERIF_ITALIC, BLACK)
        typed(sheet, x + 44, 199, value)
        sheet.rule(x + 42, 203, end, color=BLACK, line=0.5)
    return 222


def log_first(sheet: Sheet) -> None:
    """2 to 19 March."""
    y = log_table(sheet, log_head(sheet, 1), LOG[0])
    typed(sheet, LEFT, y + 30, "Normal limits: vibration 4.5 mm/s, bearing temperature 70 deg. C")
    typed(sheet, LEFT, y + 45, "Report at once to the Board's engineer if exceeded.")
    stamp(sheet, 430, 706, 9)


def log_second(sheet: Sheet) -> None:
    """23 to 31 March, fuel, signature."""
    y = log_table(sheet, log_head(sheet, 2), LOG[1])
    y += 34
    sheet.text(LEFT, y, "DIESEL FUEL, LITRES", 9.5, SERIF_BOLD, BLACK)
    y += 10
    for name, amount in FUEL:
        sheet.rule(LEFT, y, 360, color=BLACK, line=0.5)
        typed(sheet, LEFT + 5, y + 15, name)
        sheet.text(350, y + 15, amount, 10.5, TYPE, BLACK, "right")
        y += 22
    sheet.rule(LEFT, y, 360, color=BLACK, line=0.5)
    y += 36
    typed(sheet, LEFT, y, "Running hours for the month: P1 364, P2 229, P3 301")
    y += 62
    signature(sheet, LEFT + 10, y - 6)
    sheet.rule(LEFT, y, 240, color=BLACK, line=0.5)
    sheet.text(LEFT, y + 12, "Station engineer", 9, SERIF_ITALIC, BLACK)


def letter(sheet: Sheet) -> None:
    """The consultant's letter."""
    letterhead(sheet, "Filed with log, March 1987")
    y = 152.0
    for line in ("J. M. Thackray, C.Eng.", "Consulting Engineer", "Harbour House, Aldersea"):
        typed(sheet, 350, y, line)
        y += PITCH
    typed(sheet, LEFT, y + 8, "Our ref: JMT/87/112")
    typed(sheet, 350, y + 8, "2 April 1987")
    y += 46
    for line in LETTER_LINES:
        typed(sheet, LEFT, y, line, 11, bold="PUMP No. 2 - " in line)
        y += PITCH + 1.2
    signature(sheet, 236, y + 24, 0.82, 1.5)
    typed(sheet, LEFT + 154, y + 52, "J. M. Thackray", 11)
    stamp(sheet, 440, 716, -7)


def signature(sheet: Sheet, x: float, y: float, wide: float = 1, tall: float = 1) -> None:
    """A few strokes of a pen, stretched as given."""
    canvas, top = sheet.canvas, sheet.height - y
    canvas.setStrokeColor(BLACK)
    canvas.setLineWidth(1.1)
    strokes = (
        (0, 0, 10, 34, 20, -22, 34, 6),
        (34, 6, 48, 22, 50, -14, 66, 4),
        (66, 4, 84, 16, 96, -8, 128, 12),
    )
    for stroke in strokes:
        points = [x + v * wide if i % 2 == 0 else top + v * tall for i, v in enumerate(stroke)]
        canvas.bezier(*points)


def stamp(sheet: Sheet, x: float, y: float, turn: float) -> None:
    """A rubber stamp, RECEIVED 3 APR 1987."""
    canvas = sheet.canvas
    canvas.saveState()
    canvas.translate(x, sheet.height - y)
    canvas.rotate(turn)
    canvas.setStrokeColor(STAMP)
    canvas.setFillColor(STAMP)
    canvas.setLineWidth(2.2)
    canvas.roundRect(-78, -27, 156, 54, 5, stroke=1, fill=0)
    canvas.setLineWidth(0.8)
    canvas.roundRect(-73, -22, 146, 44, 3, stroke=1, fill=0)
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawCentredString(0, 4, "RECEIVED")
    canvas.setFont("Helvetica-Bold", 10)
    canvas.drawCentredString(0, -13, "3 APR 1987   A.D.B.")
    canvas.restoreState()


def build() -> bytes:
    """The scan as a file: one grey JPEG a page."""
    sheet = Sheet(A4, "Scan 0147", "Flatbed scanner", "")
    with pymupdf.open(stream=layout(), filetype="pdf") as typed_pages:
        for number, page in enumerate(typed_pages):
            picture = photograph(page, number)
            picture_bytes = io.BytesIO()
            picture.save(picture_bytes, "JPEG", quality=62, optimize=True, dpi=(DPI, DPI))
            picture_bytes.seek(0)
            sheet.canvas.drawImage(ImageReader(picture_bytes), 0, 0, sheet.width, sheet.height)
            sheet.next_page()
    return sheet.finish()


def photograph(page: pymupdf.Page, number: int) -> Image.Image:
    """Ink on tinted paper under a lamp that is not quite even, turned by the page's skew."""
    drawn = page.get_pixmap(dpi=DPI * 2, colorspace=pymupdf.csGRAY)
    ink = Image.frombytes("L", (drawn.width, drawn.height), drawn.samples)
    size = (round(page.rect.width * DPI / 72), round(page.rect.height * DPI / 72))
    ink = ink.filter(ImageFilter.GaussianBlur(1.1)).resize(size, Image.Resampling.LANCZOS)
    ink = ink.rotate(-SKEW[number], Image.Resampling.BICUBIC, fillcolor=255)
    random = np.random.default_rng(1987 + number)
    shade = np.asarray(ink, dtype=np.float32) / 255
    speckle = random.normal(0, 1, shade.shape).astype(np.float32)
    cloud = _cloud(random, shade.shape)
    down, across = np.mgrid[0 : shade.shape[0], 0 : shade.shape[1]].astype(np.float32)
    lamp = 1 - 0.05 * (across / shade.shape[1] - 0.4) ** 2 - 0.07 * (down / shade.shape[0] - 0.45) ** 2
    paper = 229 * lamp + 4 * cloud
    worn = np.clip(shade + 0.10 * (1 - shade) * (1 + cloud), 0, 1)  # ribbon ink is never even
    grey = paper * worn + 38 * (1 - worn) + 3.0 * speckle
    _marks(grey, random)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def _cloud(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth unevenness in -1..1."""
    coarse = random.uniform(0, 255, (24, 17)).astype(np.uint8)
    wide = Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(wide, dtype=np.float32) / 127.5 - 1


def _marks(grey: np.ndarray, random: np.random.Generator) -> None:
    """Two punched holes, a dark left edge and dust, in place."""
    height, width = grey.shape
    down, across = np.mgrid[0:height, 0:width]
    for centre in (0.36, 0.64):
        far = np.hypot(across - width * 0.036, down - height * centre)
        grey[far < width * 0.0115] = 92
        grey[(far >= width * 0.0115) & (far < width * 0.0135)] -= 28
    grey[:, :9] *= np.linspace(0.55, 1, 9)
    for _ in range(70):
        y, x = int(random.integers(4, height - 4)), int(random.integers(12, width - 4))
        grey[y : y + int(random.integers(1, 3)), x : x + int(random.integers(1, 3))] -= 70


def turned(box: Sequence[float], number: int) -> tuple[float, float, float, float]:
    """Where a box of `layout` lies on the scanned page, in points from the top left."""
    x0, y0, x1, y1 = box
    centre_x, centre_y = A4[0] / 2, A4[1] / 2
    angle = radians(SKEW[number])
    corners = [(x - centre_x, y - centre_y) for x in (x0, x1) for y in (y0, y1)]
    across = [centre_x + x * cos(angle) - y * sin(angle) for x, y in corners]
    down = [centre_y + x * sin(angle) + y * cos(angle) for x, y in corners]
    return (min(across), min(down), max(across), max(down))
