"""Pages drawn for tests of structure: what is on them is written here, cell by cell."""

from __future__ import annotations

import pymupdf

SIZE = (595, 842)
SENTENCE = (
    "The weir was repaired in spring because the owners could not agree who should pay for the timber and "
    "the stone that had been brought down the river by barge"
)
WORDS = SENTENCE.split()


def new_page(document, size=SIZE):
    return document.new_page(width=size[0], height=size[1])


def draw_paragraph(page, top, *, left=72.0, lines=4, size=10.5, width=9):
    """Draw lines of `width` words; return the words and the bottom."""
    words = []
    for number in range(lines):
        line = [WORDS[(number * width + k) % len(WORDS)] for k in range(width)]
        page.insert_text((left, top + 14 * number), " ".join(line), fontsize=size)
        words += line
    return words, top + 14 * lines


def draw_table(page, top, rows, *, left=72.0, widths=None, height=18.0, ruled=True, bold_rows=1, size=9.5):
    """Draw a table; texts of the first column are at the left, figures at the right. Return its bottom."""
    widths = widths or [110.0] + [80.0] * (len(rows[0]) - 1)
    edges = [left]
    for width in widths:
        edges.append(edges[-1] + width)
    for number, row in enumerate(rows):
        y = top + height * number
        font = "hebo" if number < bold_rows else "helv"
        for column, text in enumerate(row):
            x = edges[column] + 4
            if column and any(character.isdigit() for character in text):
                x = edges[column + 1] - 4 - pymupdf.get_text_length(text, fontname=font, fontsize=size)
            page.insert_text((x, y + height - 5), text, fontname=font, fontsize=size)
        if ruled:
            for column in range(len(row)):
                page.draw_rect(pymupdf.Rect(edges[column], y, edges[column + 1], y + height), width=0.6)
    return top + height * len(rows)


def saved(document):
    data = document.tobytes()
    document.close()
    return data
