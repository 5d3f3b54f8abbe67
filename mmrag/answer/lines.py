"""From words with boxes to runs of words, rows and text columns: geometry only, no PDF library.

Decisions taken here:

* Inside this room lengths are points (boxes times the page size), so that a height and a width can
  be compared; what leaves the room has boxes in 0..1 again.
* A *run* is a row of words with ordinary spaces between them: a line of a paragraph, or a cell.
* Skew is taken out once, by the median slope of the runs, so that the rest may think in rows. Jitter
  of single words is absorbed by comparing centres with half a height.
* Text columns are told from table columns by prose: both sides of a gutter must have lines of
  several words. A table of long texts in both columns is therefore read column by column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from mmrag.documents.structure.turning import turn_box, turn_of
from mmrag.types import Box, Word

SPACE = 0.9
"""The widest space inside a run, in text heights. A word space is about 0.3 and stretches to 0.7 in
justified lines; a gutter between columns is 1 or more."""

_NUMBER = re.compile(
    r"^[(\[]?[-+\u2212\u2013~<>≈≤≥±]?\s*(?:US|C|A|NZ|HK)?[$€£¥]?\s*[-+\u2212]?"
    r"(?:\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+|\d+)?"
    r"(?:[.,]\d+)?\s*(?:%|[x\u00d7]|[kKmMbB]|bn|mn|tn|pp|bps|pts?|°C|°F|€|£|million|billion|percent)?[)\]]?%?[*†‡\u00b9\u00b2\u00b3\u2070-\u2079]*$"
)
_PERIOD = re.compile(
    r"^(?:FY|CY|H[12]|[1-4]H|Q[1-4]|[1-4]Q)?[ '\u2019/-]?(?:(?:19|20)\d\d|\d\d)?[EFAP]?[*†]?$", re.I
)
_BLANK_CELL = re.compile(r"^(?:[-\u2013\u2014\u2212.…]+|n/?a\.?|n\.?m\.?|nil|none)$", re.I)


def is_number(text: str) -> bool:
    """Whether the text is one figure with its currency, sign, unit or brackets ("(4.1)%", "$5 million")."""
    text = text.strip()
    return bool(text) and any(c.isdecimal() for c in text) and bool(_NUMBER.match(text.replace(" ", "")))


def is_period(text: str) -> bool:
    """Whether the text names a year, quarter or half ("2024", "FY23", "Q3 2024"); these head columns."""
    text = text.strip()
    if re.fullmatch(r"\(?(?:19|20)\d\d(?:[-\u2013/](?:(?:19|20)\d\d|\d\d))?[EFAP]?\)?[*†]?", text):
        return True
    return bool(re.match(r"(?i)^(?:fy|cy|h[12]|[1-4]h|q[1-4]|[1-4]q)", text)) and bool(_PERIOD.match(text))


def is_value(text: str) -> bool:
    """Whether the text can be a figure of a table or chart: a number or a mark for none, and no year."""
    return (is_number(text) and not is_period(text)) or bool(_BLANK_CELL.match(text.strip()))


@dataclass(frozen=True)
class Token:
    """A word in points, and the word itself."""

    x0: float
    y0: float
    x1: float
    y1: float
    word: Word

    @property
    def height(self) -> float:
        """Height of the box in points."""
        return self.y1 - self.y0

    @property
    def middle(self) -> float:
        """Vertical centre in points."""
        return (self.y0 + self.y1) / 2


@dataclass(frozen=True, eq=False)
class Run:
    """Words beside each other with ordinary spaces between them, left to right."""

    tokens: tuple[Token, ...]

    @cached_property
    def text(self) -> str:
        """The words joined by one space."""
        return " ".join(token.word.text for token in self.tokens)

    @cached_property
    def x0(self) -> float:
        """Left edge in points."""
        return min(token.x0 for token in self.tokens)

    @cached_property
    def x1(self) -> float:
        """Right edge in points."""
        return max(token.x1 for token in self.tokens)

    @cached_property
    def y0(self) -> float:
        """Upper edge in points."""
        return min(token.y0 for token in self.tokens)

    @cached_property
    def y1(self) -> float:
        """Lower edge in points."""
        return max(token.y1 for token in self.tokens)

    @cached_property
    def height(self) -> float:
        """Median height of the words in points."""
        return median(token.height for token in self.tokens)

    @cached_property
    def middle(self) -> float:
        """Vertical centre in points: the median of the words', so that one odd box does no harm."""
        return median(token.middle for token in self.tokens)

    @property
    def centre(self) -> float:
        """Horizontal centre in points."""
        return (self.x0 + self.x1) / 2

    @property
    def words(self) -> tuple[Word, ...]:
        """The page's own words."""
        return tuple(token.word for token in self.tokens)

    @cached_property
    def is_prose(self) -> bool:
        """Whether it looks like a line of a paragraph: five words or more, most of them letters."""
        letters = sum(1 for token in self.tokens if token.word.text[:1].isalpha())
        return len(self.tokens) >= 5 and letters >= 0.6 * len(self.tokens)


Row = list[Run]
"""Runs on one baseline, left to right."""


def union_box(words: Iterable[Word]) -> Box:
    """The smallest box round the words, in 0..1."""
    return _union([word.box for word in words])


def _union(boxes: Sequence[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def line_boxes(words: Sequence[Word]) -> tuple[Box, ...]:
    """One box for each line that the words, in reading order, stand on; a cut word stands on two."""
    groups: list[list[Box]] = []
    for box in (box for word in words for box in word.boxes):
        if groups and _same_line(groups[-1][-1], box):
            groups[-1].append(box)
        else:
            groups.append([box])
    return tuple(_union(group) for group in groups)


def _same_line(left: Box, right: Box) -> bool:
    overlap = min(left[3], right[3]) - max(left[1], right[1])
    return overlap > 0.4 * min(left[3] - left[1], right[3] - right[1]) and right[0] >= left[0] - 0.005


def make_runs(words: Sequence[Word], size: tuple[float, float]) -> list[Run]:
    """Runs of the page, in no particular order.

    Args:
        words: words with boxes in 0..1; words without area or letters are left out.
        size: width and height of the page in points.

    Returns:
        The runs, with skew taken out of their vertical positions (not out of the words' boxes); those of a
        page that lies on its side or upside down as if it were turned.
    """
    words = [word for word in words if word.text.strip() and _has_area(word.box)]
    degrees = turn_of(words, size[0] / size[1])
    upright_size = size if degrees % 180 == 0 else (size[1], size[0])
    tokens = [_token(word, turn_box(word.box, degrees), upright_size) for word in words]
    runs = _chain(tokens)
    slope = _skew(runs)
    if abs(slope) < 0.002:  # less than 1 pt over a page of 500 pt
        return runs
    straight = [Token(t.x0, t.y0 - slope * t.x0, t.x1, t.y1 - slope * t.x0, t.word) for t in tokens]
    return _chain(straight)


def _has_area(box: Box) -> bool:
    return box[2] > box[0] and box[3] > box[1]


def _token(word: Word, box: Box, size: tuple[float, float]) -> Token:
    x0, y0, x1, y1 = box
    return Token(x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1], word)


def _chain(tokens: Sequence[Token]) -> list[Run]:
    """Chain each word, from the left, to the nearest chain whose end is a word space away."""
    chains: list[list[Token]] = []
    band = max(4.0, 2 * median(token.height for token in tokens)) if tokens else 1.0
    open_ends: dict[int, list[list[Token]]] = {}
    for token in sorted(tokens, key=lambda token: token.x0):
        key = int(token.middle // band)
        best: list[Token] | None = None
        best_gap = 0.0
        for near in (key - 1, key, key + 1):
            for chain in open_ends.get(near, ()):
                gap = _gap(chain[-1], token)
                if gap is not None and (best is None or gap < best_gap):
                    best, best_gap = chain, gap
        if best is None:
            best = []
            chains.append(best)
        else:
            open_ends[int(best[-1].middle // band)].remove(best)
        best.append(token)
        open_ends.setdefault(key, []).append(best)
        if len(open_ends[key]) > 12:  # most of them ended long ago
            reach = SPACE * 4 * band
            open_ends[key] = [chain for chain in open_ends[key] if chain[-1].x1 + reach > token.x0]
    return [Run(tuple(chain)) for chain in chains]


def _gap(end: Token, token: Token) -> float | None:
    """The space between two words, or None where they are not neighbours in one run."""
    height = min(end.height, token.height)
    gap = token.x0 - end.x1
    if gap > SPACE * height or gap < -0.6 * height:
        return None
    if abs(end.middle - token.middle) > 0.45 * height or max(end.height, token.height) > 2.2 * height:
        return None
    return gap


def _skew(runs: Sequence[Run]) -> float:
    """Median slope of the longer runs; 0.0 where too few are long enough to tell."""
    slopes = []
    for run in runs:
        first, last = run.tokens[0], run.tokens[-1]
        if len(run.tokens) >= 4 and last.x0 - first.x0 > 8 * run.height:
            slopes.append((last.middle - first.middle) / (last.x0 - first.x0))
    return median(slopes) if len(slopes) >= 4 else 0.0


def make_rows(runs: Sequence[Run]) -> list[Row]:
    """Group runs by baseline, top to bottom, each row left to right."""
    rows: list[Row] = []
    for run in sorted(runs, key=lambda run: run.middle):
        if rows:
            row = rows[-1]
            middle = median(other.middle for other in row)
            height = min(run.height, median(other.height for other in row))
            if abs(run.middle - middle) < 0.5 * height and not _collides(run, row):
                row.append(run)
                continue
        rows.append([run])
    for row in rows:
        row.sort(key=lambda run: run.x0)
    return rows


def _collides(run: Run, row: Row) -> bool:
    return any(min(run.x1, o.x1) - max(run.x0, o.x0) > 0.5 * min(run.x1 - run.x0, o.x1 - o.x0) for o in row)


def text_height(runs: Sequence[Run]) -> float:
    """The height of ordinary text: the median over words; 1.0 for a page without any."""
    heights = [token.height for run in runs for token in run.tokens]
    return median(heights) if heights else 1.0


def regions(runs: Sequence[Run], depth: int = 2) -> list[list[Run]]:
    """Split the page into text columns, in reading order; a page of one column is one region."""
    gutter = _gutter(runs) if depth else None
    if gutter is None:
        return [list(runs)] if runs else []
    crossing = sorted((r for r in runs if r.x0 < gutter - 1 and r.x1 > gutter + 1), key=lambda r: r.middle)
    found: list[list[Run]] = []
    whole: list[Run] = []
    edges = [run.middle for run in crossing]
    apart = {id(run) for run in crossing}
    bands: list[list[Run]] = [[] for _ in range(len(edges) + 1)]
    for run in runs:
        if id(run) in apart:
            continue
        bands[sum(1 for edge in edges if edge < run.middle)].append(run)
    for position, band in enumerate(bands):
        left = [run for run in band if run.x1 <= gutter + 1]
        right = [run for run in band if run.x0 >= gutter - 1]
        if _prose(left) >= 3 and _prose(right) >= 3:
            if whole:
                found.append(whole)
                whole = []
            found.extend(regions(left, depth - 1))
            found.extend(regions(right, depth - 1))
        else:
            whole.extend(band)
        if position < len(crossing):
            whole.append(crossing[position])
    if whole:
        found.append(whole)
    return found


def _prose(runs: Sequence[Run]) -> int:
    return sum(1 for run in runs if run.is_prose)


def _gutter(runs: Sequence[Run]) -> float | None:
    """The x of the white gap with most prose on its poorer side, where little prose crosses it."""
    prose = [run for run in runs if run.is_prose]
    if len(prose) < 6:
        return None
    best: float | None = None
    best_count = 2
    for x in sorted({round(run.x0) - 2.0 for run in prose}):
        left = sum(1 for run in prose if run.x1 <= x + 1)
        right = sum(1 for run in prose if run.x0 >= x - 1)
        across = len(prose) - left - right
        if min(left, right) > best_count and across <= 0.5 * min(left, right) + 2:
            best, best_count = x, min(left, right)
    return best
