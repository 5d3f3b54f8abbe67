"""From runs to paragraphs, and from paragraphs to sentences with the words they are made of.

Decisions taken here:

* A paragraph grows downwards: a run joins the paragraph whose last line it stands under, closely and
  at about the same height. A bullet, an indent after a full stop, or a caption starts a new one.
* A sentence ends at ``. ! ?`` before something that can start one. Abbreviations, initials, decimals
  and list numbers do not end it; neither does a line's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmrag.answer.cells import CAPTION
from mmrag.answer.lines import Run
from mmrag.types import Word

BULLET = re.compile(
    r"^(?:[•●▪■◦‣·∙○□➢►▶→✓✔*\u2013\u2014\u2212-]|o|"
    r"\(?[0-9]{1,2}[.)]|\(?[a-zA-Z][.)]|\(?[ivx]{1,4}[.)])$"
)
_SECTION = re.compile(r"^(?:\d{1,2}(?:\.\d{1,2})*\.?|[A-Z]\.)\s+[A-Z][a-z]+")
_GLYPH = re.compile(r"^[•●▪■◦‣·∙○□➢►▶→✓✔]")
_ABBREVIATIONS_TEXT = """
mr mrs ms dr prof sr jr st vs etc e.g i.e cf al fig figs eq eqs no nos vol pp p approx dept est inc
ltd co corp bros u.s u.k e.u a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed
thu fri sat sun sec ch ref refs tab ed eds rev gen gov sen rep hon capt lt col sgt ave blvd rd mt ft
z.b d.h bzw ca nr
"""
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_TEXT.split())
_NUMBERED_TEXT = """
no nos p pp fig figs vol eq eqs sec ch ref refs tab nr art
"""
_NUMBERED = frozenset(_NUMBERED_TEXT.split())
_CLOSERS = "\"'\u201d\u2019)]»*†‡"
_OPENERS = "\"'\u201c\u2018([«"


@dataclass(frozen=True)
class Sentence:
    """A sentence, list item or line, exactly as it stands.

    Attributes:
        words: the page's words, in reading order; empty for text without boxes.
        text: the words joined by one space.
    """

    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Block:
    """A paragraph, list item, heading or caption: lines that belong together."""

    runs: tuple[Run, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """The page's words in reading order."""
        return tuple(word for run in self.runs for word in run.words)

    @property
    def text(self) -> str:
        """The words joined by one space."""
        return " ".join(run.text for run in self.runs)

    @property
    def height(self) -> float:
        """Height of its tallest line's words in points."""
        return max(run.height for run in self.runs)


def make_blocks(runs: Sequence[Run]) -> list[Block]:
    """Paragraphs of one text column, ordered by their first lines."""
    open_blocks: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (run.middle, run.x0)):
        home = None
        for block in reversed(open_blocks[-40:]):
            if _joins(block, run):
                home = block
                break
        if home is None:
            open_blocks.append([run])
        else:
            home.append(run)
    return [Block(tuple(block)) for block in open_blocks]


def _joins(block: Sequence[Run], run: Run) -> bool:
    last = block[-1]
    height = min(last.height, run.height)
    gap = run.middle - last.middle - (run.height + last.height) / 2
    if gap > 0.75 * height or run.middle - last.middle < 0.5 * height:
        return False
    if max(last.height, run.height) > 1.22 * height or CAPTION.match(run.text):
        return False
    if min(last.x1, run.x1) - max(last.x0, run.x0) <= 0 or BULLET.match(run.tokens[0].word.text):
        return False
    if _GLYPH.match(run.text):
        return False
    if len(block) == 1 and _heads(last, run):
        return False
    left = min(other.x0 for other in block)
    right = max(other.x1 for other in block)
    ended = last.text[-1:] in ".!?:;"
    indented = run.x0 > left + 0.9 * height and len(block) > 1
    short = last.x1 < right - 0.25 * (right - left) and len(block) > 1
    if ended and (indented or short):
        return False
    # A short line over a longer, differently placed one is a label over a text, not its first line.
    listed = last.x1 - last.x0 < 0.45 * (run.x1 - run.x0) and not ended
    if listed and run.text[:1].isupper() and len(block) == 1 and len(run.tokens) > 6:
        return False
    return not (_field_line(last.text) and _field_line(run.text))


def _heads(first: Run, below: Run) -> bool:
    """Whether a first line is a heading set close over its text: larger and short, or numbered."""
    if first.text[-1:] in ".,;-" or len(first.tokens) > 9 or below.text[:1].islower():
        return False
    if first.height > 1.1 * below.height and first.x1 - first.x0 < 0.7 * (below.x1 - below.x0):
        return True
    return len(first.tokens) <= 8 and bool(_SECTION.match(first.text)) and below.is_prose


def _field_line(text: str) -> bool:
    """Whether a line reads "Label: value" by itself."""
    head, colon, _ = text.partition(":")
    return bool(colon) and len(head.split()) <= 5 and head[:1].isupper()


def split_sentences(words: Sequence[Word]) -> list[Sentence]:
    """Sentences of a paragraph."""
    found = []
    for start, stop in _spans([word.text for word in words]):
        part = tuple(words[start:stop])
        found.append(Sentence(" ".join(word.text for word in part), part))
    return found


def split_text(text: str) -> list[list[Sentence]]:
    """Paragraphs and their sentences of a text without boxes.

    Paragraphs are parted by empty lines; a line of its own that is short and does not end like a
    sentence, or starts with a bullet, stands alone. Sentences are slices of the text with white space
    left as it is inside a line and line ends kept, so that each is found again in the text.
    """
    paragraphs = []
    for chunk in re.split(r"\n\s*\n", text):
        lines = [line for line in chunk.split("\n") if line.strip()]
        pieces: list[list[str]] = []
        for line in lines:
            words = line.split()
            fresh = not pieces or bool(BULLET.match(words[0]) or _GLYPH.match(words[0]))
            if not fresh and len(pieces[-1][-1].split()) <= 6 and pieces[-1][-1].rstrip()[-1:] not in ",-":
                fresh = line.lstrip()[:1].isupper()
            if fresh:
                pieces.append([line])
            else:
                pieces[-1].append(line)
        for piece in pieces:
            paragraphs.append(list(_slices("\n".join(piece))))
    return paragraphs


def _slices(text: str) -> Iterator[Sentence]:
    places = [match.span() for match in re.finditer(r"\S+", text)]
    for start, stop in _spans([text[a:b] for a, b in places]):
        yield Sentence(text[places[start][0] : places[stop - 1][1]])


def _spans(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for number, text in enumerate(texts):
        following = texts[number + 1] if number + 1 < len(texts) else None
        if following is None or (_ends(text, following) and not (number == start and BULLET.match(text))):
            yield start, number + 1
            start = number + 1


def _ends(text: str, following: str) -> bool:
    """Whether a sentence ends with this word, given the next."""
    bare = text.rstrip(_CLOSERS)
    if bare[-1:] not in {".", "!", "?", "…"}:
        return bool(_GLYPH.match(following))
    start = following.lstrip(_OPENERS)[:1]
    if not start or start.islower():
        return False
    if bare[-1:] in {"!", "?"}:
        return True
    stem = bare[:-1].lower().lstrip(_OPENERS)
    if stem in _ABBREVIATIONS:
        # "No. 5" and "Fig. 2" go on with figures; "etc. The" and "a.m. The" end.
        if stem in _NUMBERED:
            return not start.isdigit()
        return stem in {"etc", "a.m", "p.m", "inc", "ltd", "co", "corp"} and following[:1].isupper()
    # An initial ("J. Miller", "U. S."), but not "vitamin C. The".
    initial = len(stem) == 1 and stem.isalpha() and bare[0].isupper()
    return not (initial and len(following) > 1 and start.isupper())
