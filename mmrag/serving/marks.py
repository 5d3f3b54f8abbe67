"""Citation marks in what a model wrote, ``[2]`` or ``[1, 3]``, told from brackets that a page itself prints.

Papers print ``[12]`` where they cite each other, and a model that quotes them copies it. Such a bracket is
known by its neighbours: on a page that was shown, the same two words stand before the same bracket, and the
same word behind it. Where another word follows (a model's own mark often stands behind words that it
copied), it is the page's own only if another mark comes next, or if the page that it would name lacks the
words before it.

`mmrag.serving.escaping` shows ``[12]`` of a page to a model as ``[ 12]``; many models copy the blank as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MARK = re.compile(r"\[(\d{1,2}(?:[,;\s]+\d{1,2})*)\]")
"""At most two digits a number, so that a year in brackets is no citation."""

_OPEN_MARK = re.compile(r"\[[\d,;\s]{0,40}")
_WORD = re.compile(r"\w+")
_WHOLE_WORD = re.compile(r"\w\W")
NEIGHBOURHOOD = 80  # characters looked at on each side of a bracket: a long word or two
WORDS_BEFORE = 2


@dataclass(frozen=True, slots=True)
class Mark:
    """A bracket with numbers in a text.

    Attributes:
        text: as written, ``[1, 3]``.
        start: position of its first character.
        end: position behind its last.
        numbers: inside it.
        is_printed: whether it is a page's own words and no citation.
    """

    text: str
    start: int
    end: int
    numbers: tuple[int, ...]
    is_printed: bool = False


@dataclass(frozen=True, slots=True)
class _Occurrence:
    page: int  # from 1
    before: tuple[str, ...]
    after: tuple[str, ...]


class PrintedMarks:
    """The brackets with numbers that are printed on the pages shown.

    Args:
        texts: of the pages shown as [1]..[n].
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._texts = texts
        self._page_words: dict[int, str] = {}  # pages whose words were looked for, by number
        self._occurrences: dict[tuple[int, ...], list[_Occurrence]] = {}
        for number, text in enumerate(texts, start=1):
            for match in MARK.finditer(text):
                occurrence = _Occurrence(number, *_neighbours(*_around(text, *match.span())))
                self._occurrences.setdefault(_numbers(match), []).append(occurrence)

    def __contains__(self, numbers: tuple[int, ...]) -> bool:
        """Check whether a bracket with these numbers is printed anywhere."""
        return numbers in self._occurrences

    def is_printed(self, numbers: tuple[int, ...], before: str, after: str) -> bool:
        """Check whether a bracket of an answer is the page's own, copied from it.

        Args:
            numbers: inside the bracket.
            before: the answer's text before it, its last `NEIGHBOURHOOD` characters at least.
            after: the text behind it, as much of it.
        """
        words, next_word = _neighbours(before, after)
        is_followed = MARK.match(after[:NEIGHBOURHOOD].lstrip()) is not None
        for occurrence in self._occurrences.get(numbers, ()):
            same_next = bool(next_word) and occurrence.after == next_word
            if words and words[-1:] == occurrence.before[-1:] and same_next:
                return True
            if len(words) == WORDS_BEFORE and words == occurrence.before:
                numbers_elsewhere = [number for number in numbers if number != occurrence.page]
                if is_followed or (
                    numbers_elsewhere
                    and not any(self._has_words(number, words) for number in numbers_elsewhere)
                ):
                    return True
        return False

    def _has_words(self, page: int, words: tuple[str, ...]) -> bool:
        if not 1 <= page <= len(self._texts):
            return False
        if page not in self._page_words:
            self._page_words[page] = f" {' '.join(_WORD.findall(self._texts[page - 1].casefold()))} "
        return f" {' '.join(words)} " in self._page_words[page]


def marks(text: str, page_marks: PrintedMarks | None = None) -> Iterator[Mark]:
    """Yield the brackets with numbers in a text, in order, those that a page printed marked as such."""
    for match in MARK.finditer(text):
        yield _mark(match, page_marks or PrintedMarks(), *_around(text, *match.span()))


def as_words(mark: str) -> str:
    """Return a bracket that is no citation so that nobody takes it for one: ``[ 12]``."""
    return mark.replace("[", "[ ", 1)


class MarkStream:
    """Rewrites the brackets of a text that is still coming, and drops white space at both ends.

    Args:
        rewrite: returns what stands in place of a bracket; called once for each, in order.
        page_marks: brackets of the pages shown.
    """

    def __init__(self, rewrite: Callable[[Mark], str], page_marks: PrintedMarks | None = None) -> None:
        self._rewrite = rewrite
        self._page_marks = page_marks or PrintedMarks()
        self._tail = ""
        self._before = ""  # the end of what was given, as the model wrote it
        self._has_text = False

    def feed(self, piece: str) -> str:
        """Return the text that no later piece can change."""
        text = self._tail + piece
        cut = len(text[: self._settled_length(text)].rstrip())
        self._tail = text[cut:]
        return self._give(text[:cut], self._tail)

    def finish(self) -> str:
        """Return the text that was held back."""
        tail, self._tail = self._tail, ""
        return self._give(tail.rstrip(), "")

    def _settled_length(self, text: str) -> int:
        """Return where the text begins whose brackets a later piece may still complete or explain."""
        bracket = text.rfind("[", max(0, len(text) - 41))
        cut = bracket if bracket >= 0 and _OPEN_MARK.fullmatch(text, bracket) else len(text)
        for match in MARK.finditer(text, max(0, len(text) - 2 * NEIGHBOURHOOD)):
            after = text[match.end() :]
            is_open = not _WHOLE_WORD.search(after) or _OPEN_MARK.fullmatch(after.lstrip())
            if is_open and len(after) < NEIGHBOURHOOD and _numbers(match) in self._page_marks:
                return min(cut, match.start())
        return cut

    def _give(self, text: str, after: str) -> str:
        if not self._has_text:
            text = text.lstrip()
            self._has_text = bool(text)
        context, offset = f"{self._before}{text}{after}", len(self._before)
        pieces, position = [], 0
        for match in MARK.finditer(text):
            around = _around(context, offset + match.start(), offset + match.end())
            pieces += [text[position : match.start()], self._rewrite(_mark(match, self._page_marks, *around))]
            position = match.end()
        self._before = context[: offset + len(text)][-NEIGHBOURHOOD:]
        return "".join([*pieces, text[position:]])


def _numbers(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", match[1])))


def _mark(match: re.Match[str], page_marks: PrintedMarks, before: str, after: str) -> Mark:
    numbers = _numbers(match)
    return Mark(match[0], *match.span(), numbers, page_marks.is_printed(numbers, before, after))


def _around(text: str, start: int, end: int) -> tuple[str, str]:
    """Return what stands before and behind a piece of text."""
    return text[max(0, start - NEIGHBOURHOOD) : start], text[end : end + NEIGHBOURHOOD]


def _neighbours(before: str, after: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the last words before a bracket and the first behind it, in small letters."""
    last = _WORD.findall(before[-NEIGHBOURHOOD:].casefold())[-WORDS_BEFORE:]
    return tuple(last), tuple(_WORD.findall(after[:NEIGHBOURHOOD].casefold())[:1])
