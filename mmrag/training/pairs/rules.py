"""What a page can be asked for: headings, captions, table cells, fields and sentences, each with its boxes.

A query must say something of its page: at least two words that carry meaning, and letters. What several
pages say is sorted out later, over all documents (`mmrag.training.pairs.select`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from string import Template

from mmrag.answer.cells import CAPTION, Cell, Table, TableRow
from mmrag.answer.layout import Layout, Sentence, read_layout
from mmrag.answer.lines import is_period, is_value, line_boxes
from mmrag.answer.words import content_stems
from mmrag.serving.prompts import Prompts
from mmrag.training.pairs.corrupt import corrupt
from mmrag.training.pairs.settings import Pair, PairSettings
from mmrag.types import Box, Page, Word

LONGEST = 24
"""Most words of a query made of a heading, a caption or a cell."""
LABEL = 5
"""Most words of a form field's label; a longer one is a line with a colon in it."""
SENTENCE = (8, 50)
"""Fewest and most words of a sentence that a query is made of."""
PACKAGE = "mmrag.training.pairs"

_NUMBERING = re.compile(
    r"^\s*(?:(?i:chapter|section|part|appendix|annex)\s+(?:\d+|[A-Z]|[IVXLC]+)[.):]?|"
    r"\d{1,2}(?:\.\d{1,2})*[.):]?|(?:[A-Z]|[IVXLC]+)[.):]|[B-HJ-Z](?=\s+[A-Z]))\s+(?=\S)"
)
_PLACES = {
    "cell": {"row", "column"},
    "caption": {"caption"},
    "heading": {"heading"},
    "field": {"label"},
}


class Templates:
    """The wordings of template questions, by what they are made of.

    Args:
        prompts: whose file ``templates`` has a line ``KIND: WORDING`` each.

    Raises:
        ValueError: a line is none, or has a place that its kind does not fill.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._by_kind: dict[str, list[Template]] = {kind: [] for kind in _PLACES}
        for number, line in enumerate(prompts.text("templates").splitlines(), 1):
            if not line.strip():
                continue
            kind, _, wording = line.partition(":")
            places = set(re.findall(r"\$\{?([a-z]+)", wording))
            if kind.strip() not in _PLACES or not places or places - _PLACES[kind.strip()]:
                known = "; ".join(f"{k}: ${', $'.join(sorted(p))}" for k, p in _PLACES.items())
                raise ValueError(
                    f"templates, line {number}: must be a kind with its places ({known}), got {line!r}."
                )
            self._by_kind[kind.strip()].append(Template(wording.strip()))

    def question(self, kind: str, rng: random.Random, **places: str) -> tuple[str, str] | None:
        """A question in one of the wordings of a kind, and the wording; None where the kind has none."""
        if not self._by_kind[kind]:
            return None
        chosen = rng.choice(self._by_kind[kind])
        return chosen.substitute(places), chosen.template


def pairs_of_page(
    page: Page, words: Sequence[Word], vocabulary: Sequence[str], settings: PairSettings, templates: Templates
) -> dict[str, list[Pair]]:
    """Everything that the rules make of a page, by rule, each rule's in reading order.

    Args:
        page: the page.
        words: its words without furniture.
        vocabulary: words of the document, for `corrupt`.
        settings: which rules; the seed.
        templates: wordings of the rule ``question``.
    """
    layout = read_layout(words, page.size)
    rng = random.Random(f"{settings.seed}:{page.id}")
    made = {
        "heading": list(_headings(layout)),
        "caption": list(_captions(layout)),
        "cell": list(_cells(layout)),
        "sentence": list(_sentences(layout, vocabulary, settings, rng)),
        "question": list(_questions(layout, templates, rng)),
    }
    return {rule: pairs for rule, pairs in made.items() if rule in settings.rules}


def chosen(made: Mapping[str, Sequence[Pair]], settings: PairSettings, page_id: str) -> list[Pair]:
    """At most `PairSettings.per_page` of them: the rules take turns, each with its pairs in a drawn order."""
    rng = random.Random(f"{settings.seed}:{page_id}:choice")
    orders = {rule: rng.sample(list(made[rule]), len(made[rule])) for rule in sorted(made)}
    taken: dict[str, Pair] = {}
    while len(taken) < settings.per_page and any(orders.values()):
        for rule in settings.rules:
            if orders.get(rule) and len(taken) < settings.per_page:
                pair = orders[rule].pop()
                taken.setdefault(pair.text.casefold(), pair)
    return list(taken.values())


def vocabulary_of(pages: Sequence[Sequence[Word]]) -> list[str]:
    """Lower-case words of four letters or more in these pages, each once, sorted."""
    every = {word.text.strip(".,;:!?()[]\"'") for words in pages for word in words}
    return sorted(word for word in every if len(word) >= 4 and word.isalpha() and word.islower())


# ---- the rules ---------------------------------------------------------------------------------------


def _headings(layout: Layout) -> Iterator[Pair]:
    for cell in _heading_cells(layout):
        yield Pair(unnumbered(cell.text), "heading", line_boxes(cell.words), cell.text)


def _heading_cells(layout: Layout) -> Iterator[Cell]:
    for paragraph in layout.paragraphs:
        if paragraph.kind == "heading":
            cell = _joined(paragraph.sentences)
            if _says_something(unnumbered(cell.text)):
                yield cell


def _captions(layout: Layout) -> Iterator[Pair]:
    for cell in _caption_cells(layout):
        yield Pair(_unnamed(cell.text), "caption", line_boxes(cell.words), cell.text)


def _caption_cells(layout: Layout) -> Iterator[Cell]:
    captions = [_joined(one.sentences) for one in layout.paragraphs if one.kind == "caption"]
    captions += [table.caption for table in layout.tables if table.caption.text]
    for cell in captions:
        if _says_something(_unnamed(cell.text)):
            yield cell


def _cells(layout: Layout) -> Iterator[Pair]:
    for row, column, cell, parts in _named_cells(layout):
        yield Pair(
            f"{row}, {column}",
            "cell",
            _boxes(parts),
            " ".join(part.text for part in parts),
            {"row": row, "column": column, "value": cell.text},
        )


def _named_cells(layout: Layout) -> Iterator[tuple[str, str, Cell, list[Cell]]]:
    """Row name, column name, the cell, and all cells that its place is told by, itself the last."""
    for table in layout.tables:
        for line in table.rows:
            row = _row_name(line)
            if row is None:
                continue
            for number, cell in enumerate(line.cells):
                column = table.column_name(number) if number < len(table.columns) else ""
                named = any(c.isalpha() for c in column) or is_period(column)
                empty = is_value(cell.text) and not any(c.isdigit() for c in cell.text)
                if not named or not cell.text or empty or cell is line.header:
                    continue
                if _says_something(f"{row} {column}", least=1) and len(f"{row} {column}".split()) <= LONGEST:
                    yield row, column, cell, _parts(table, line, number)


def _row_name(row: TableRow) -> str | None:
    if not any(c.isalpha() for c in row.header.text) and not is_period(row.header.text):
        return None
    names = [group.text.rstrip(":") for group in row.groups if group.text] + [row.header.text.rstrip(":")]
    return ", ".join(names)


def _parts(table: Table, row: TableRow, column: int) -> list[Cell]:
    return [one for one in (*row.groups, row.header, *table.columns[column], row.cells[column]) if one.words]


def _sentences(
    layout: Layout, vocabulary: Sequence[str], settings: PairSettings, rng: random.Random
) -> Iterator[Pair]:
    fewest, most = SENTENCE
    for paragraph in layout.paragraphs:
        if paragraph.kind not in ("text", "item"):
            continue
        for sentence in paragraph.sentences:
            words = [word.text for word in sentence.words]
            # Letters set apart (H A R B O U R) come as words of one letter.
            letters = sum(len(word) > 1 and word[:1].isalpha() for word in words)
            if not fewest <= len(words) <= most or letters < 0.7 * len(words):
                continue
            left = corrupt(words, vocabulary, drop=settings.drop, replace=settings.replace, rng=rng)
            if left is not None and _says_something(left.text, least=3, most=most):
                told = {"dropped": list(left.dropped), "replaced": [list(pair) for pair in left.replaced]}
                yield Pair(left.text, "sentence", line_boxes(sentence.words), sentence.text, told)


def _questions(layout: Layout, templates: Templates, rng: random.Random) -> Iterator[Pair]:
    def made(kind: str, parts: Sequence[Cell], **places: str) -> Iterator[Pair]:
        asked = templates.question(kind, rng, **places)
        if asked is not None:
            told = {"template": asked[1]}
            yield Pair(asked[0], "question", _boxes(parts), " ".join(part.text for part in parts), told)

    for cell in _heading_cells(layout):
        yield from made("heading", [cell], heading=unnumbered(cell.text))
    for cell in _caption_cells(layout):
        yield from made("caption", [cell], caption=_unnamed(cell.text).rstrip(". "))
    for row, column, _, parts in _named_cells(layout):
        yield from made("cell", parts, row=row, column=column)
    for field in layout.fields:
        label = field.label.text.rstrip(": ")
        if field.value.text and _says_something(label, most=LABEL):
            yield from made("field", [field.label, field.value], label=label)


# ---- shared ------------------------------------------------------------------------------------------


def _says_something(text: str, *, least: int = 2, most: int = LONGEST) -> bool:
    """Whether a query has letters, words that carry meaning, and is not too long."""
    letters = sum(c.isalpha() for c in text)
    return letters >= 5 and len(text.split()) <= most and len(content_stems(text)) >= least


def unnumbered(heading: str) -> str:
    """A heading without its "2.1" or "Chapter 3:"."""
    return _NUMBERING.sub("", heading, count=1)


def _unnamed(caption: str) -> str:
    """A caption without its "Table 3:"."""
    return CAPTION.sub("", caption, count=1).strip()


def _joined(sentences: Sequence[Sentence]) -> Cell:
    """All sentences of a paragraph as one cell."""
    words = tuple(word for sentence in sentences for word in sentence.words)
    return Cell(" ".join(word.text for word in words), words)


def _boxes(parts: Sequence[Cell]) -> tuple[Box, ...]:
    """Boxes of the lines of each part, each once."""
    return tuple(dict.fromkeys(box for part in parts for box in line_boxes(part.words)))
