"""The pages that a question refers to: "on page 12", "the last slide", "in Figure 3", "Section 4.1".

Whoever asks so has the page before them and means that page, whatever its words are. Words and vectors hardly
know it: "12" and "figure" stand on many pages. So such a question is read here for what it refers to, and the
documents that a search came upon are looked through for it:

* a page, by its place in the file, by its label, or by the number that is printed on it: a number that stands
  alone in its first or last lines, where a page beside it has the next one (or the one after that, where two
  printed pages are one page of the file);
* a caption or heading, by a line that begins with it, or a section of the page that does.

Words are those of English, German, French, Spanish, Italian and Portuguese. Figures: ``docs/lab-log.md``,
"Questions that refer to a page".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from string import ascii_lowercase

from mmrag.index.base import Index
from mmrag.index.filters import Filter
from mmrag.scoring.neighbours import page_neighbours
from mmrag.types import Page, Record

MOST_PAGES = 50
"""Pages of a range; of a longer one only both ends are referred to."""

MOST_NUMBERS = 200
MOST_PARTS = 8
"""What is looked for of a question that refers to more: the lowest numbers, the first parts by name."""

MOST_MATCHES = 200
"""Pages with the words of a reference that are looked at."""

_EDGE_LINES = 2
"""Lines at the top of a page and at its foot where its number may be printed."""

_ONE_PAGE = r"page|pg\.?|p\.|slide|seite|folie|p[áa]gina|diapositiv[ao]?"
_SEVERAL_PAGES = r"pages|pgs\.?|pp\.|slides|seiten|folien|p[áa]ginas|pagine|diapositiv(?:as|es)"
_PAGE = rf"(?:{_SEVERAL_PAGES}|{_ONE_PAGE})"
_AND = r"(?:,\s*)?\b(?:and|or|und|oder|et|ou|y|e)\b|,|&"
_TO = r"[-\u2013]|\b(?:to|through|bis|à|hasta|até)\b"
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = re.compile(
    rf"(?i)(?<!\w)(?:(?P<several>{_SEVERAL_PAGES})|{_ONE_PAGE})"
    r"\s*(?:n[or]s?\.?|numbers?|nummer)?\s*#?(?P<first>\d{1,5}"
    rf"|{'|'.join(_NUMBER_WORDS)})\b(?!\.\d)"
    rf"(?P<more>(?:\s*(?:{_AND}|{_TO})\s*(?:{_PAGE}\s*)?\d{{1,5}}\b(?!\s*%))*)"
)
_NEXT = re.compile(rf"(?i)(?:(?P<to>{_TO})|{_AND})\s*(?P<page>{_PAGE}\s*)?(?P<number>\d{{1,5}})\b")

_POSITIONS = {
    1: "first 1st erste ersten première premiere primera prima primeira cover front title",
    2: "second 2nd zweite zweiten deuxième segunda seconda",
    3: "third 3rd dritte dritten troisième tercera terza terceira",
    4: "fourth 4th vierte vierten quatrième",
    5: "fifth 5th fünfte fünften",
    6: "sixth 6th",
    7: "seventh 7th",
    8: "eighth 8th",
    9: "ninth 9th",
    10: "tenth 10th",
    -1: "last final letzte letzten dernière derniere última ultima",
}
_POSITION_OF = {word: position for position, words in _POSITIONS.items() for word in words.split()}
_POSITION = re.compile(
    rf"(?i)(?<![\w-])(?P<word>{'|'.join(sorted(_POSITION_OF, key=len, reverse=True))})"
    r"(?:\s+(?:cover|title))?\s+(?:page|slide|seite|folie|p[áa]gina|pagina|diapositive)\b"
    # "the last page of each chapter" is no place in a file
    r"(?!\s+(?:of|in|der|des|de|del|della)\s+(?:each|every|the\s+)?\s*(?:chapter|section|appendix|part)\b)"
)

_KINDS = {
    "figure": "figure figures fig figs abbildung abbildungen abb figura figuras",
    "table": "table tables tab tabelle tabellen tabla tablas tableau tableaux tabella tabela tabelas",
    "chart": "chart charts",
    "graph": "graph graphs",
    "diagram": "diagram diagrams diagramm",
    "exhibit": "exhibit exhibits",
    "algorithm": "algorithm algorithms algorithmus",
    "listing": "listing listings",
    "appendix": "appendix appendices annex annexes anhang annexe anexo allegato",
    "section": "section sections sect sec abschnitt sección seccion sezione seção",
    "chapter": "chapter chapters kapitel chapitre capítulo capitulo capitolo",
    "schedule": "schedule schedules",
    "article": "article articles artikel artículo articulo articolo artigo",
    "note": "note notes",
}
"""Kinds of parts with a number, and the words for them."""

_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_WITHOUT_WORD = {"section", "chapter"}
"""Headings of these may be their number alone: "3.4 Training"."""

_PART_NUMBER = r"(?:[A-Z]?\d+(?:[.-]\d+)*[A-Za-z]?(?![\w-])|(?:[IVX]{2,}|[A-Z])(?![\w'\u2019-]))"
_PARTS = re.compile(
    rf"\b(?P<word>(?i:{'|'.join(sorted(_KIND_OF, key=len, reverse=True))}))\b\.?\s*"
    rf"(?P<list>{_PART_NUMBER}(?:\s*(?:{_AND})\s*{_PART_NUMBER})*)"
)
_PART_NUMBERS = re.compile(_PART_NUMBER)


@dataclass(frozen=True, slots=True)
class PageReferences:
    """What a question refers to.

    Attributes:
        numbers: of pages, as they are said: from 1.
        positions: places in a file, from 1; -1 is the last.
        parts: kinds and numbers of figures, tables, sections, ...: ``("figure", "3")``.
    """

    numbers: frozenset[int] = frozenset()
    positions: frozenset[int] = frozenset()
    parts: frozenset[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        """Check whether it refers to anything."""
        return bool(self.numbers or self.positions or self.parts)


def page_references(text: str) -> PageReferences:
    """Read what a question refers to.

    Example:
        >>> sorted(page_references("Compare Figure 3 on page 5 with pages 7 to 9.").numbers)
        [5, 7, 8, 9]
        >>> page_references("What does the last slide say of Table 2?").positions
        frozenset({-1})
    """
    numbers: set[int] = set()
    for match in _NUMBERS.finditer(text):
        numbers |= _numbers_in(match)
    positions = {_POSITION_OF[match["word"].casefold()] for match in _POSITION.finditer(text)}
    parts = {
        (_KIND_OF[match["word"].casefold()], number.rstrip(ascii_lowercase))  # Figure 3b is in Figure 3
        for match in _PARTS.finditer(text)
        for number in _PART_NUMBERS.findall(match["list"])
    }
    return PageReferences(
        frozenset(sorted(numbers)[:MOST_NUMBERS]),
        frozenset(positions),
        frozenset(sorted(parts)[:MOST_PARTS]),
    )


def _numbers_in(match: re.Match[str]) -> set[int]:
    """Return the numbers of "pages 3, 5 and 7 to 9" or "page 7 to 9"; "page 3, 20 people" has one."""
    first = match["first"].casefold()
    last = int(first) if first.isdigit() else 1 + _NUMBER_WORDS.index(first)
    numbers = {last}
    for more in _NEXT.finditer(match["more"]):
        if not (more["to"] or more["page"] or match["several"]):
            break
        number = int(more["number"])
        if more["to"] and last < number < last + MOST_PAGES:
            numbers |= set(range(last, number))
        numbers.add(number)
        last = number
    return numbers


def referenced_pages(
    index: Index, references: PageReferences, documents: Sequence[str], filter: Filter | None
) -> dict[str, float]:
    """Find the pages of some documents that a question refers to.

    Args:
        index: that has them.
        references: of the question.
        documents: ids.
        filter: pages that do not pass are left out.

    Returns:
        By id: 1 for a page that is referred to as a page or by a part of it, 2 for both.
    """
    if not documents:
        return {}
    whole: Filter = {"doc_id": {"$in": list(documents)}}
    scope: Filter = whole if filter is None else {"$and": [filter, whole]}
    matches = [
        _numbered_pages(index, references, scope, whole) | _printed_pages(index, references.numbers, scope),
        _pages_with_parts(index, references.parts, scope),
    ]
    return {id: float(sum(id in ids for ids in matches)) for id in sorted(matches[0] | matches[1])}


def _numbered_pages(index: Index, references: PageReferences, scope: Filter, whole: Filter) -> set[str]:
    """Find pages by their place in the file and by their label; `whole` is the scope without a filter."""
    conditions: list[Filter] = []
    if references.numbers:
        numbers = sorted(references.numbers)
        conditions.append({"page": {"$in": [number - 1 for number in numbers]}})
        conditions.append({"page_label": {"$in": [str(number) for number in numbers]}})
    for position in sorted(references.positions):
        if position > 0:
            conditions.append({"page": position - 1})
        else:
            totals = _page_totals(index, whole)
            conditions += [{"page": total - 1, "total_pages": total} for total in totals]
    if not conditions:
        return set()
    return set(index.ids({"$and": [scope, {"$or": conditions}]}))


def _page_totals(index: Index, whole: Filter) -> list[int]:
    """Return how many pages documents have, each count once."""
    records = index.get(index.ids({"$and": [whole, {"page": 0}]}))
    return sorted({record.page.total_pages for record in records if record.page is not None})


def _printed_pages(index: Index, numbers: frozenset[int], scope: Filter) -> set[str]:
    """Find pages on which one of these numbers is printed as the page's."""
    if not numbers:
        return set()
    hits = index.search_text(" ".join(map(str, sorted(numbers))), k=MOST_MATCHES, filter=scope)
    edges = {
        id: edge for id, edge in _edge_numbers(index, [hit.id for hit in hits]).items() if edge & numbers
    }
    beside = page_neighbours(list(edges))
    edges_beside = _edge_numbers(index, [id for ids in beside.values() for id in ids if id not in edges])
    return {
        id for id, edge in edges.items() if _counts_on(edge & numbers, id, beside[id], edges | edges_beside)
    }


def _counts_on(numbers: set[int], id: str, beside: Sequence[str], edges: dict[str, set[int]]) -> bool:
    """Check whether a page beside a page has the number that goes on from one of these."""
    for neighbour in beside:  # none beside what is no page of a file
        step = _place_of(neighbour) - _place_of(id)
        if any({number + step, number + 2 * step} & edges.get(neighbour, set()) for number in numbers):
            return True
    return False


def _place_of(id: str) -> int:
    return int(id.rpartition("#p")[2])


def _edge_numbers(index: Index, ids: Sequence[str]) -> dict[str, set[int]]:
    """Return the numbers that stand at the edges of pages, by id; ids that do not exist are left out."""
    return {record.id: edge_numbers(record.text) for record in index.get(list(dict.fromkeys(ids)))}


_LINE_NUMBER = re.compile(r"(?i)(?:page|seite|p\.)?\s*(\d{1,5})(?:\s*(?:of|/|von|sur|de)\s*\d+)?")
_BEFORE, _AFTER = re.compile(r"\W*(\d{1,5})\s"), re.compile(r"\s(\d{1,5})\W*$")
_LONGEST_EDGE = 120


def edge_numbers(text: str) -> set[int]:
    """Return the numbers that may be a page's own: at an end of its first lines and its last.

    Example:
        >>> edge_numbers("Annual report 17" + chr(10) + "Sales rose by 5 percent" + chr(10) + "Page 3 of 9")
        {17, 3}
    """
    lines = text.splitlines()
    numbers: set[int] = set()
    for line in {*_first_lines(lines), *_first_lines(reversed(lines))}:
        if match := _LINE_NUMBER.fullmatch(line.strip("|-\u2013\u2014\u00b7\u2022[]() ")):
            numbers.add(int(match[1]))
        elif len(line) < _LONGEST_EDGE:
            ends = (_BEFORE.match(line), _AFTER.search(line))
            numbers |= {int(end[1]) for end in ends if end}
    return numbers


def _first_lines(lines: Iterable[str]) -> list[str]:
    """Return the first lines that are not blank, without the blanks around them."""
    return list(islice((line for whole in lines if (line := whole.strip())), _EDGE_LINES))


def _pages_with_parts(index: Index, parts: frozenset[tuple[str, str]], scope: Filter) -> set[str]:
    """Find pages with a caption or heading of one of these parts."""
    ids: set[str] = set()
    for kind, number in sorted(parts):
        hits = index.search_text(f"{_KINDS[kind]} {number}", k=MOST_MATCHES, filter=scope)
        records = index.get([hit.id for hit in hits])
        ids |= {record.id for record in records if has_part(record, kind, number)}
    return ids


def has_part(record: Record, kind: str, number: str) -> bool:
    """Check whether a page has a caption or heading of a part: a line of its text, or a section of it."""
    pattern = _caption(kind, number)
    for match in pattern.finditer(record.text):
        line = record.text[match.start() :].lstrip().split("\n", 1)[0]
        if not _LEADER.search(line):
            return True
    page: Page | None = record.page
    return page is not None and any(pattern.match(title) for title in page.section)


_LEADER = re.compile(r"(?:\.\s?){4,}")
"""Of a table of contents or a list of figures."""


@lru_cache(maxsize=64)
def _caption(kind: str, number: str) -> re.Pattern[str]:
    """Return the pattern of a line that begins with a part's name and does not go on as a sentence does."""
    words = "|".join(sorted(_KINDS[kind].split(), key=len, reverse=True))
    word = rf"(?i:{words})\.?\s*"
    if kind in _WITHOUT_WORD and "." in number:
        word = rf"(?:{word}|§\s*)?"
    return re.compile(rf"(?m)^\W{{0,3}}{word}{re.escape(number)}[a-z]?(?!\w|[.,-]\d)(?=\s*(?:$|[^\sa-zà-ÿ]))")
