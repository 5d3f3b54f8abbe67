"""A two-column paper on coastal erosion: abstract, sections, figures, tables, references, appendix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reportlab.lib.enums import TA_JUSTIFY, TA_LEFT
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Frame, Paragraph
from reportlab.platypus.flowables import Flowable

from samples.page import A4, GREY, INK, NAVY, SERIF, SERIF_BOLD, SERIF_ITALIC, Sheet
from samples.paper_data import quoted
from samples.paper_figures import (
    COLUMN,
    LEFT,
    RIGHT,
    SECOND,
    TOP,
    draw_appendix,
    draw_cumulative,
    draw_map,
    draw_results,
)
from samples.paper_text import REFERENCES, SECTIONS

NAME = "coastal-erosion-paper.pdf"
NOTE = "Sample document of the mmrag project. Authors, places, data and references are invented."
FOOT = 786.0

BODY = ParagraphStyle(
    "body",
    fontName=SERIF,
    fontSize=10.2,
    leading=13.8,
    alignment=TA_JUSTIFY,
    textColor=INK,
    firstLineIndent=11,
)
OPENING = ParagraphStyle("opening", parent=BODY, firstLineIndent=0)
SECTION = ParagraphStyle(
    "section",
    fontName=SERIF_BOLD,
    fontSize=11.2,
    leading=14,
    textColor=NAVY,
    spaceBefore=9,
    spaceAfter=3,
    keepWithNext=1,
)
REFERENCE = ParagraphStyle(
    "reference",
    parent=BODY,
    alignment=TA_LEFT,
    fontSize=8.6,
    leading=11,
    firstLineIndent=-12,
    leftIndent=12,
    spaceAfter=2.5,
)


def build() -> bytes:
    """The paper as a file."""
    sheet = Sheet(
        A4,
        "Twenty-eight years of retreat on the Marran coast",
        "L. Okonjo-Brandt, P. Whitelaw, S. Ferreira-Lund",
        "Journal of Invented Shores 12 (2024) 41-44",
    )
    story = text()
    start = first_head(sheet)
    pages: Sequence[tuple[tuple[float, float], Callable[[], None]]] = (
        ((start, start + 250), lambda: draw_map(sheet, SECOND, start)),
        ((TOP + 222, TOP), lambda: draw_cumulative(sheet, LEFT, TOP)),
        ((TOP + 334, TOP + 452), lambda: draw_results(sheet)),
    )
    for number, (tops, drawing) in enumerate(pages):
        running(sheet, 41 + number, first=number == 0)
        drawing()
        for x, top in zip((LEFT, SECOND), tops, strict=True):
            flow(sheet, story, x, top)
        sheet.next_page()
    if story:
        raise ValueError(
            f"the paper must fit three pages and its appendix, {len(story)} blocks are left. Shorten it."
        )
    running(sheet, 44, first=False)
    draw_appendix(sheet)
    sheet.next_page()
    sheet.canvas.addPageLabel(0, "ARABIC", 41)
    return sheet.finish()


def flow(sheet: Sheet, story: list[Flowable], x: float, top: float) -> None:
    """Fill one column from the story, which shrinks; a heading never stands alone at its foot."""
    frame = Frame(x, sheet.height - FOOT, COLUMN, FOOT - top, 0, 0, 0, 0)
    while story:
        room = frame._y - frame._y1p
        if story[0].style is SECTION and room < 58:
            return
        if frame.add(story[0], sheet.canvas):
            story.pop(0)
            continue
        pieces = frame.split(story[0], sheet.canvas)
        if len(pieces) > 1:
            frame.add(pieces[0], sheet.canvas)
            story[0:1] = pieces[1:]
        return


def running(sheet: Sheet, number: int, first: bool) -> None:
    """Running head and foot."""
    if not first:
        sheet.text(LEFT, 48, "L. Okonjo-Brandt and others", 8.6, SERIF_ITALIC, GREY)
        sheet.text(RIGHT, 48, "Retreat on the Marran coast", 8.6, SERIF_ITALIC, GREY, "right")
        sheet.rule(LEFT, 55, RIGHT)
    sheet.text(LEFT, 812, NOTE, 6.8, color=GREY)
    sheet.text(RIGHT, 812, str(number), 9, SERIF_BOLD, NAVY, "right")


def first_head(sheet: Sheet) -> float:
    """Journal, title, authors, abstract; returns where the columns start."""
    value = quoted()
    sheet.bookmark("Twenty-eight years of retreat on the Marran coast")
    sheet.text(LEFT, 48, "Journal of Invented Shores 12 (2024), 41\u201344", 8.6, SERIF_ITALIC, GREY)
    sheet.text(RIGHT, 48, "Received 12 January 2024, accepted 30 May 2024", 8.6, SERIF_ITALIC, GREY, "right")
    sheet.rule(LEFT, 55, RIGHT, color=NAVY, line=1.2)
    y = sheet.para(
        LEFT,
        74,
        RIGHT - LEFT,
        "Twenty-eight years of retreat on the Marran coast: what storm hours explain, and what they do not",
        19,
        23,
        SERIF_BOLD,
        NAVY,
    )
    sheet.text(LEFT, y + 20, "Lena Okonjo-Brandt, Peter Whitelaw and S\u00f3lveig Ferreira-Lund", 11, SERIF)
    sheet.text(LEFT, y + 34, "Department of Coastal Science, University of Aldersea", 9.4, SERIF_ITALIC, GREY)
    y += 48
    words = (
        "<b>Abstract.</b> We report yearly surveys of six transects on the Marran coast from 1996 to 2023. "
        f"Mean retreat ranges from {value['m1_mean']} m a year on sandstone to {value['m4_mean']} m a year "
        "on dune sand. Hours with waves above three metres explain much of the variation from year to year "
        "on soft shores, little on rock and none behind the sea wall. The single year 2014 caused "
        f"{value['share']} per cent of all retreat on the three soft transects. We find no lasting "
        "acceleration, but recovery after stormy years has become slower, and we discuss what this means "
        "for setback lines."
    )
    bottom = sheet.para(LEFT + 14, y + 8, RIGHT - LEFT - 28, words, 9.6, 12.8, SERIF, INK, "justify") + 8
    sheet.rule(LEFT, y, RIGHT)
    sheet.rule(LEFT, bottom, RIGHT)
    sheet.text(
        LEFT,
        bottom + 14,
        "Keywords: cliff retreat, storm waves, coastal setback, long-term survey",
        8.8,
        SERIF_ITALIC,
        GREY,
    )
    return bottom + 28


def text() -> list[Flowable]:
    """Sections and references in order."""
    value = quoted()
    story: list[Flowable] = []
    for title, paragraphs in SECTIONS:
        story.append(Paragraph(title, SECTION))
        for number, words in enumerate(paragraphs):
            story.append(Paragraph(words.format(**value), BODY if number else OPENING))
    story.append(Paragraph("References", SECTION))
    story += [Paragraph(words, REFERENCE) for words in REFERENCES]
    return story
