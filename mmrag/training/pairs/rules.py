"""Rules that make queries of a page: of headings, captions, table cells, fields and sentences, with boxes.

A query must be specific to its page: it has letters and at least two content words. Queries that several
pages give are dropped later, over all documents (`mmrag.training.pairs.select`).
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
"""Largest number of words of a query made of a heading, a caption or a cell."""
LABEL = 5
"""Largest number of words of a form field's label; longer ones are lines with a colon in them."""
SENTENCE = (8, 50)
"""Least and largest number of words of a sentence that a query is made of."""
PACKAGE = "mmrag.training.pairs"

_HEADING_NUMBER = re.compile(
    r"^\s*(?:(?i:chapter|section|part|appendix|annex)\s+(?:\d+|[A-Z]|[IVXLC]+)[.):]?|"
    r"\d{1,2}(?:\.\d{1,2})*[.):]?|(?:[A-Z]|[IVXLC]+)[.):]|[B-HJ-Z](?=\s+[A-Z]))\s+(?=\S)"
)
_VARIABLES = {
    "cell": {"row", "column"},
    "caption": {"caption"},
    "heading": {"heading"},
    "field": {"label"},
}


class Templates:
    """Wordings of template questions by kind.

    Args:
        prompts: their file ``templates`` has one line ``KIND: WORDING`` per wording.

    Raises:
        ValueError: a line is malformed, or has a variable that its kind does not fill.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._by_kind: dict[str, list[Template]] = {kind: [] for kind in _VARIABLES}
        for number, line in enumerate(prompts.text("templates").splitlines(), 1):
            if not line.strip():
                continue
            kind, _, wording = line.partition(":")
            variables = set(re.findall(r"\$\{?([a-z]+)", wording))
            if kind.strip() not in _VARIABLES or not variables or variables - _VARIABLES[kind.strip()]:
                kinds = "; ".join(f"{k}: ${', $'.join(sorted(names))}" for k, names in _VARIABLES.items())
                raise ValueError(
                    f"templates, line {number}: must be a kind with its variables ({kinds}), got {line!r}."
                )
            self._by_kind[kind.strip()].append(Template(wording.strip()))

    def question(self, kind: str, rng: random.Random, **variables: str) -> tuple[str, str] | None:
        """Return a question in a random wording of a kind, and the wording; None for a kind without."""
        if not self._by_kind[kind]:
            return None
        wording = rng.choice(self._by_kind[kind])
        return wording.substitute(variables), wording.template


def pairs_of_page(
    page: Page, words: Sequence[Word], vocabulary: Sequence[str], settings: PairSettings, templates: Templates
) -> dict[str, list[Pair]]:
    """Return the pairs of a page by rule, in reading order.

    Args:
        page: the page.
        words: its words without running headers.
        vocabulary: words of the document, for `corrupt`.
        settings: which rules; the seed.
        templates: wordings of the rule ``question``.
    """
    layout = read_layout(words, page.size)
    rng = random.Random(f"{settings.seed}:{page.id}")
    pairs_by_rule = {
        "heading": list(_headings(layout)),
        "caption": list(_captions(layout)),
        "cell": list(_cells(layout)),
        "sentence": list(_sentences(layout, vocabulary, settings, rng)),
        "question": list(_questions(layout, templates, rng)),
    }
    return {rule: pairs for rule, pairs in pairs_by_rule.items() if rule in settings.rules}


def take_turns(by_rule: Mapping[str, Sequence[Pair]], settings: PairSettings, page_id: str) -> list[Pair]:
    """Return at most `PairSettings.per_page` pairs: the rules take turns, each in a random order."""
    rng = random.Random(f"{settings.seed}:{page_id}:choice")
    orders = {rule: rng.sample(list(by_rule[rule]), len(by_rule[rule])) for rule in sorted(by_rule)}
    pairs: dict[str, Pair] = {}
    while len(pairs) < settings.per_page and any(orders.values()):
        for rule in settings.rules:
            if orders.get(rule) and len(pairs) < settings.per_page:
                pair = orders[rule].pop()
                pairs.setdefault(pair.text.casefold(), pair)
    return list(pairs.values())


def vocabulary_of(pages: Sequence[Sequence[Word]]) -> list[str]:
    """Return the lower-case words of four letters or more in these pages, each once, sorted."""
    texts = {word.text.strip(".,;:!?()[]\"'") for words in pages for word in words}
    return sorted(word for word in texts if len(word) >= 4 and word.isalpha() and word.islower())


# ---- the rules ---------------------------------------------------------------------------------------


def _headings(layout: Layout) -> Iterator[Pair]:
    for cell in _heading_cells(layout):
        yield Pair(without_number(cell.text), "heading", line_boxes(cell.words), cell.text)


def _heading_cells(layout: Layout) -> Iterator[Cell]:
    for paragraph in layout.paragraphs:
        if paragraph.kind == "heading":
            cell = _join(paragraph.sentences)
            if _is_specific(without_number(cell.text)):
                yield cell


def _captions(layout: Layout) -> Iterator[Pair]:
    for cell in _caption_cells(layout):
        yield Pair(_without_label(cell.text), "caption", line_boxes(cell.words), cell.text)


def _caption_cells(layout: Layout) -> Iterator[Cell]:
    captions = [_join(paragraph.sentences) for paragraph in layout.paragraphs if paragraph.kind == "caption"]
    captions += [table.caption for table in layout.tables if table.caption.text]
    for cell in captions:
        if _is_specific(_without_label(cell.text)):
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
    """Yield row name, column name, the cell, and all cells that name or hold it, itself the last."""
    for table in layout.tables:
        for line in table.rows:
            row = _row_name(line)
            if row is None:
                continue
            for number, cell in enumerate(line.cells):
                column = table.column_name(number) if number < len(table.columns) else ""
                has_name = any(c.isalpha() for c in column) or is_period(column)
                is_blank = is_value(cell.text) and not any(c.isdigit() for c in cell.text)
                if not has_name or not cell.text or is_blank or cell is line.header:
                    continue
                if _is_specific(f"{row} {column}", least=1) and len(f"{row} {column}".split()) <= LONGEST:
                    yield row, column, cell, _parts(table, line, number)


def _row_name(row: TableRow) -> str | None:
    if not any(c.isalpha() for c in row.header.text) and not is_period(row.header.text):
        return None
    names = [group.text.rstrip(":") for group in row.groups if group.text] + [row.header.text.rstrip(":")]
    return ", ".join(names)


def _parts(table: Table, row: TableRow, column: int) -> list[Cell]:
    cells = (*row.groups, row.header, *table.columns[column], row.cells[column])
    return [cell for cell in cells if cell.words]


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
            query = corrupt(words, vocabulary, drop=settings.drop, replace=settings.replace, rng=rng)
            if query is not None and _is_specific(query.text, least=3, most=most):
                details = {
                    "dropped": list(query.dropped_words),
                    "replaced": [list(pair) for pair in query.replacements],
                }
                yield Pair(query.text, "sentence", line_boxes(sentence.words), sentence.text, details)


def _questions(layout: Layout, templates: Templates, rng: random.Random) -> Iterator[Pair]:
    def question(kind: str, parts: Sequence[Cell], **variables: str) -> Iterator[Pair]:
        filled_wording = templates.question(kind, rng, **variables)
        if filled_wording is not None:
            text, wording = filled_wording
            source = " ".join(part.text for part in parts)
            yield Pair(text, "question", _boxes(parts), source, {"template": wording})

    for cell in _heading_cells(layout):
        yield from question("heading", [cell], heading=without_number(cell.text))
    for cell in _caption_cells(layout):
        yield from question("caption", [cell], caption=_without_label(cell.text).rstrip(". "))
    for row, column, _, parts in _named_cells(layout):
        yield from question("cell", parts, row=row, column=column)
    for field in layout.fields:
        label = field.label.text.rstrip(": ")
        if field.value.text and _is_specific(label, most=LABEL):
            yield from question("field", [field.label, field.value], label=label)


# ---- shared ------------------------------------------------------------------------------------------


def _is_specific(text: str, *, least: int = 2, most: int = LONGEST) -> bool:
    """Return whether a text has five letters, `least` content words, and at most `most` words."""
    letters = sum(c.isalpha() for c in text)
    return letters >= 5 and len(text.split()) <= most and len(content_stems(text)) >= least


def without_number(heading: str) -> str:
    """Return a heading without its "2.1" or "Chapter 3:"."""
    return _HEADING_NUMBER.sub("", heading, count=1)


def _without_label(caption: str) -> str:
    """Return a caption without its "Table 3:"."""
    return CAPTION.sub("", caption, count=1).strip()


def _join(sentences: Sequence[Sentence]) -> Cell:
    """Return all sentences of a paragraph as one cell."""
    words = tuple(word for sentence in sentences for word in sentence.words)
    return Cell(" ".join(word.text for word in words), words)


def _boxes(parts: Sequence[Cell]) -> tuple[Box, ...]:
    """Return the boxes of the lines of each part, each once."""
    return tuple(dict.fromkeys(box for part in parts for box in line_boxes(part.words)))
