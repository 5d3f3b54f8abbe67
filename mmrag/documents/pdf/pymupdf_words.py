"""The words of a page as MuPDF gives them, with the style of each run (`glyphs.LayerWord`).

Words and spans are two views of one text page: MuPDF splits words, and its spans know size, colour,
opacity, render mode and baseline. Both list the same characters in the same order, so that a word is cut
where a span ends. Asking for single characters costs eight times as much (docs/lab-log.md).

Boxes of words are as high as their font's line. Where a font states a line that is far from its letters
(Cambria: five times their height), the line's height is taken from its glyphs instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pymupdf

from mmrag.documents.layer.glyphs import LayerBlocks, LayerLine, LayerWord, Part, angle_of, union, word_of
from mmrag.documents.layout import words_of_run
from mmrag.types import Box

# Ligatures are written out; characters without a Unicode value stay U+FFFD, so that they are noticed.
WORD_FLAGS = pymupdf.TEXT_PRESERVE_WHITESPACE | pymupdf.TEXT_MEDIABOX_CLIP
_FILL_BIT, _STROKE_BIT, _CLIP_BIT = 16, 32, 64  # bits of a span's char_flags; none of them: render mode 3
_LINE_HEIGHTS = (0.7, 1.45)
"""Line heights, in font sizes, that are taken as the font states them: 0.8 to 1.4 in 98 % of the text of
150 real pages; most of the rest is at 1.6 and from 4 upwards."""

Matrix = tuple[float, float, float, float, float, float]
_UPRIGHT: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def layer_blocks(page: Any) -> LayerBlocks:  # noqa: ANN401  (PyMuPDF is not typed)
    """Read a page's lines in MuPDF's order; points as shown (rotation and crop box applied)."""
    textpage = page.get_textpage(flags=WORD_FLAGS)
    words = textpage.extractWORDS()
    blocks = textpage.extractDICT()["blocks"]
    if any(_is_odd(span, line["dir"]) for line in _lines(blocks) for span in line["spans"]):
        accurate = page.get_textpage(flags=WORD_FLAGS | pymupdf.TEXT_ACCURATE_BBOXES).extractDICT()["blocks"]
        _take_glyph_heights(blocks, accurate)
    matrix = tuple(page.rotation_matrix)
    return [lines for lines in _by_block(words, blocks, matrix) if lines]


def _lines(blocks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every line of spans."""
    return (line for block in blocks for line in block.get("lines", ()))


def _is_odd(span: dict[str, Any], direction: Sequence[float]) -> bool:
    """Check whether a span of an upright or sideways line is far higher or lower than its font size."""
    x0, y0, x1, y1 = span["bbox"]
    across = y1 - y0 if abs(direction[0]) > abs(direction[1]) else x1 - x0
    if min(abs(direction[0]), abs(direction[1])) > 0.05:
        return False  # the box of slanted text says nothing of its height
    least, most = _LINE_HEIGHTS
    return not least * span["size"] <= across <= most * span["size"]


def _take_glyph_heights(blocks: Sequence[dict[str, Any]], accurate: Sequence[dict[str, Any]]) -> None:
    """Give odd lines the extent of their glyphs across the line; blocks and lines are the same in both."""
    for line, twin in zip(_lines(blocks), _lines(accurate), strict=False):
        if [span["text"] for span in line["spans"]] != [span["text"] for span in twin["spans"]]:
            return  # another reading of the page; what is left keeps the font's own line
        if any(_is_odd(span, line["dir"]) for span in line["spans"]):
            line["extent"] = union(span["bbox"] for span in twin["spans"])
            for span, exact in zip(line["spans"], twin["spans"], strict=True):
                span["bbox"] = exact["bbox"]


def _by_block(
    words: Sequence[tuple[Any, ...]], blocks: Sequence[dict[str, Any]], matrix: Matrix
) -> Iterator[list[LayerLine]]:
    """Yield the lines of each block that has words."""
    lines_of: dict[int, dict[int, list[tuple[Any, ...]]]] = {}
    for word in words:
        lines_of.setdefault(word[5], {}).setdefault(word[6], []).append(word)
    dicts_of = {block["number"]: block.get("lines", ()) for block in blocks}
    for number, lines in lines_of.items():
        twins = _twins(lines, dicts_of.get(number, ()))
        new_lines = [_line(line_words, twins.get(index), matrix) for index, line_words in lines.items()]
        yield [line for line in new_lines if line.words]


def _twins(
    lines: dict[int, list[tuple[Any, ...]]], line_dicts: Sequence[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Find the spans' line of each line of words.

    Both are in one order, but each view leaves lines without extent out in its own way.
    """
    if lines and max(lines) < len(line_dicts) and min(lines) >= 0:
        return {index: line_dicts[index] for index in lines}
    texts = ["".join("".join(span["text"] for span in line["spans"]).split()) for line in line_dicts]
    twins: dict[int, dict[str, Any]] = {}
    at = 0
    for index, line_words in lines.items():
        text = "".join("".join(word[4].split()) for word in line_words)
        if text in texts[at:]:
            at = texts.index(text, at)
            twins[index] = line_dicts[at]
            at += 1
    return twins


def _line(words: Sequence[tuple[Any, ...]], line: dict[str, Any] | None, matrix: Matrix) -> LayerLine:
    """Make a line of MuPDF's words and spans; without spans, in a style of its own."""
    pieces = _split_at_spaces(words)
    if line is not None and "extent" in line:
        pieces = [(text, _across(box, line["extent"], line["dir"])) for text, box in pieces]
    if not pieces:
        return LayerLine(())
    visible = "".join(text for text, _ in pieces)
    spans = [span for span in line["spans"] if not span["text"].isspace()] if line else []
    texts = ["".join(span["text"].split()) for span in spans]
    if line is None or "".join(texts) != visible:
        # MuPDF's two views differ (lines without extent, spaces of another kind): one style for the line
        spans, texts = [_style_of(spans, pieces)], [visible]
    direction = line["dir"] if line else (1.0, 0.0)
    (x, y), (a, b, c, d, _, _) = direction, matrix
    angle = angle_of((a * x + c * y, b * x + d * y))
    return LayerLine(tuple(_words(pieces, spans, texts, direction, matrix)), angle)


def _style_of(spans: Sequence[dict[str, Any]], pieces: Sequence[tuple[str, Box]]) -> dict[str, Any]:
    """Return the longest span, or a plain style of the words' height."""
    if spans:
        return max(spans, key=lambda span: len(span["text"]))
    _, (x0, y0, x1, y1) = pieces[0]
    return {"size": y1 - y0, "origin": (x0, y1), "color": 0, "bbox": (x0, y0, x1, y1)}


def _split_at_spaces(words: Sequence[tuple[Any, ...]]) -> list[tuple[str, Box]]:
    """Split words at white space that MuPDF takes for a letter (tabs, thin spaces)."""
    pieces: list[tuple[str, Box]] = []
    for x0, y0, x1, y1, text, *_ in words:
        if text.split() == [text]:
            pieces.append((text, (x0, y0, x1, y1)))
        else:
            # words_of_run thinks in 0..1 of a page: this one is the run
            width, height = (x1 - x0) or 1.0, (y1 - y0) or 1.0
            pieces += [
                (
                    word.text,
                    (
                        x0 + word.box[0] * width,
                        y0 + word.box[1] * height,
                        x0 + word.box[2] * width,
                        y0 + word.box[3] * height,
                    ),
                )
                for word in words_of_run(text, (0.0, 0.0, 1.0, 1.0))
            ]
    return pieces


def _words(
    pieces: Sequence[tuple[str, Box]],
    spans: Sequence[dict[str, Any]],
    texts: Sequence[str],
    direction: tuple[float, float],
    matrix: Matrix,
) -> Iterator[LayerWord]:
    """Cut words where spans end."""
    at, start = 0, 0  # span, characters of it that are used
    for text, box in pieces:
        parts: list[Part] = []
        cut = 0
        while cut < len(text):
            while start >= len(texts[at]):
                at, start = at + 1, 0
            length = min(len(text) - cut, len(texts[at]) - start)
            whole = length == len(text)
            part_box = box if whole else _inside(box, spans[at]["bbox"], direction)
            parts.append(_part(text[cut : cut + length], part_box, spans[at], matrix))
            cut, start = cut + length, start + length
        yield word_of(parts if len(parts) == 1 else _join_styles(parts))


def _across(box: Box, extent: Box, direction: Sequence[float]) -> Box:
    """Give a word the extent of its line across it."""
    if abs(direction[0]) > abs(direction[1]):
        return box[0], extent[1], box[2], extent[3]
    return extent[0], box[1], extent[2], box[3]


def _inside(box: Box, span: Box, direction: tuple[float, float]) -> Box:
    """Return the part of a word's box that a span takes up; the span's own extent across the line."""
    if abs(direction[0]) > abs(direction[1]):
        x0, x1 = max(box[0], span[0]), min(box[2], span[2])
        return (x0, span[1], x1, span[3]) if x1 > x0 else box
    y0, y1 = max(box[1], span[1]), min(box[3], span[3])
    return (span[0], y0, span[2], y1) if y1 > y0 else box


def _part(text: str, box: Box, span: dict[str, Any], matrix: Matrix) -> Part:
    """Make a part, turned to the page as shown."""
    flags = span.get("char_flags", _FILL_BIT)
    colour = span["color"]
    return Part(
        text,
        _turned_box(box, matrix),
        float(span["size"]),
        _turn(span["origin"], matrix),
        (colour >> 16 & 255, colour >> 8 & 255, colour & 255),
        span.get("alpha", 255) / 255 if not flags & _CLIP_BIT else 1.0,
        bool(flags & (_FILL_BIT | _STROKE_BIT | _CLIP_BIT)),
        not flags & _CLIP_BIT,
    )


def _join_styles(parts: list[Part]) -> list[Part]:
    """Join neighbouring parts that differ in nothing that is seen (a change of font alone)."""
    result: list[Part] = []
    for part in parts:
        last = result[-1] if result else None
        if last is not None and _style(last) == _style(part):
            result[-1] = Part(last.text + part.text, union((last.box, part.box)), *_rest(last))
        else:
            result.append(part)
    return result


def _style(part: Part) -> tuple[Any, ...]:
    """Return what parts of one look share; sizes within a tenth of a point are the same."""
    return round(part.size, 1), part.colour, part.opacity, part.is_drawn, round(part.origin[1], 1)


def _rest(part: Part) -> tuple[Any, ...]:
    """Return a part's fields after text and box."""
    return part.size, part.origin, part.colour, part.opacity, part.is_drawn, part.is_plain


def _turn(point: Sequence[float], matrix: Matrix) -> tuple[float, float]:
    """Turn a point to the page as shown."""
    if matrix == _UPRIGHT:
        return point[0], point[1]
    a, b, c, d, e, f = matrix
    return a * point[0] + c * point[1] + e, b * point[0] + d * point[1] + f


def _turned_box(box: Box, matrix: Matrix) -> Box:
    """Turn a box by quarter turns to the page as shown."""
    if matrix == _UPRIGHT:
        return box
    (x0, y0), (x1, y1) = _turn(box[:2], matrix), _turn(box[2:], matrix)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
