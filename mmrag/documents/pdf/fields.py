"""Form fields among the words of a page: values beside their labels, boxes to tick with their state.

A PDF draws its fields after the page, so their values come after all labels, a tick comes as a letter of a
symbol font, an empty box as nothing. Pure functions on words; the fields come from
`mmrag.documents.pdf.pymupdf_annotations` or another reader.

Decisions taken here:

* A box to tick is one word, its state: `TICK_MARKS` or `RADIO_MARKS`. It replaces whatever was drawn in it.
* A value that is drawn is shown as it is drawn (a date, a currency), except where it is cut off by its field
  or spaced letter by letter over boxes: then it is the field's value. A value that is not drawn is put into
  its field. A password is never shown.
* A field belongs to the line that it stands on, or to the label right above it; its name or tooltip stands in
  where the page has no label.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mmrag.blocks import Box, Word
from mmrag.documents.layout import bounds, words_of_run

Line: TypeAlias = tuple[Word, ...]
Blocks: TypeAlias = tuple[tuple[Line, ...], ...]

FIELD_KINDS = ("text", "choice", "list", "tick", "radio", "password", "signature")
TICK_MARKS = ("☐", "☑")
RADIO_MARKS = ("○", "◉")
PRINTED_BOXES = frozenset("☐☑☒□■▢❏❑❒○◯●◉oO")
"""Single characters that a page prints where a box to tick stands."""

LABEL_GAP = 2.0
"""Text heights from a box to tick to the label right of it; half of it from a field to a label above it."""

WORD_GAP = 1.5
"""Text heights between two words of one label; a wider gap ends it."""

LETTER_WIDTH = 0.5
"""Of a value that is put into its field, in text heights: the mean of Helvetica."""


@dataclass(frozen=True)
class FormField:
    """A field of a form, visible on its page.

    Attributes:
        kind: one of `FIELD_KINDS`.
        box: in 0..1 of the page as shown.
        value: as its file has it, lines separated by line breaks; of a list, the options selected, one a
            line. ``""`` for an empty field, for boxes to tick and for passwords.
        is_on: state of a box to tick or radio button; None for other kinds.
        name: the file's own name of it, or its tooltip; ``""`` without one.
        label: printed beside it, else `name`; ``""`` until `with_labels` has read it.
        export: the value that a form sends instead of the option shown (``"FR"`` for France); ``""`` if none.
    """

    kind: str
    box: Box
    value: str = ""
    is_on: bool | None = None
    name: str = ""
    label: str = ""
    export: str = ""

    @property
    def is_button(self) -> bool:
        """Whether it is a box to tick or a radio button."""
        return self.is_on is not None

    @property
    def mark(self) -> str:
        """The character of its state; ``""`` if it has none."""
        if self.is_on is None:
            return ""
        return (RADIO_MARKS if self.kind == "radio" else TICK_MARKS)[self.is_on]


def place_fields(blocks: Blocks, fields: Sequence[FormField], drawn_words: Sequence[Word]) -> Blocks:
    """Put the fields' values and states among a page's words, in reading order.

    Args:
        blocks: of lines of words of the page, what its fields draw among them.
        fields: visible ones.
        drawn_words: words that the fields draw.

    Returns:
        Blocks without `drawn_words`, and with each field's words beside its label.
    """
    page_blocks, field_lines = _split_off(blocks, fields, drawn_words)
    page = [[list(line) for line in block] for block in page_blocks]
    label_words = {id(word) for block in page_blocks for line in block for word in line}
    labels = with_labels(page_blocks, fields)
    for position in sorted(range(len(fields)), key=lambda p: (fields[p].box[1], fields[p].box[0])):
        lines = _shown_lines(labels[position], field_lines[position])
        if lines:
            _insert(page, lines, label_words)
    return tuple(tuple(tuple(line) for line in block if line) for block in page if any(block))


def with_labels(page_blocks: Blocks, fields: Sequence[FormField]) -> tuple[FormField, ...]:
    """Return the fields with their labels: words printed right of a box to tick, else left of or above it.

    Args:
        page_blocks: words of the page without those that fields draw.
        fields: of the same page.
    """
    lines = [line for block in page_blocks for line in block]
    result = []
    for field in fields:
        rivals = [rival.box for rival in fields if rival is not field]
        run = _label_words(field, lines, rivals)
        text = " ".join(word.text for word in run)
        result.append(replace(field, label=text or field.name))
    return tuple(result)


def printed_words(blocks: Blocks, fields: Sequence[FormField], drawn_words: Sequence[Word]) -> Blocks:
    """Return a page's words without those that its fields draw."""
    return _split_off(blocks, fields, drawn_words)[0]


def plain_name(name: str) -> str:
    """Return the last part of a field's name in words: ``form1[0].ApplicantName[0]`` is Applicant Name."""
    last = re.sub(r"\[\d+\]$", "", name.rsplit(".", 1)[-1])
    last = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", last)
    return re.sub(r"[\W_]+", " ", last).strip()


# ---- words of the fields ---------------------------------------------------------------------------


def _split_off(
    blocks: Blocks, fields: Sequence[FormField], drawn_words: Sequence[Word]
) -> tuple[Blocks, list[list[Line]]]:
    """Separate the words of a page from those of its fields, which come as lines, field by field."""
    field_lines: list[list[Line]] = [[] for _ in fields]
    page_blocks = []
    for block in blocks:
        lines = []
        for line in block:
            owners = [_owner(word, fields, drawn_words) for word in line]
            for position in dict.fromkeys(owner for owner in owners if owner is not None):
                pairs = zip(line, owners, strict=True)
                field_lines[position].append(tuple(word for word, owner in pairs if owner == position))
            lines.append(tuple(word for word, owner in zip(line, owners, strict=True) if owner is None))
        page_blocks.append(tuple(line for line in lines if line))
    return tuple(block for block in page_blocks if block), field_lines


def _owner(word: Word, fields: Sequence[FormField], drawn_words: Sequence[Word]) -> int | None:
    """Return the position of the field that draws a word; None for a word of the page."""
    for position, field in enumerate(fields):
        if not holds_centre(field.box, word.box):
            continue
        if field.is_button and word.text in PRINTED_BOXES:
            return position  # printed under the field's own box
        if any(
            _is_same(word, field_word)
            for field_word in drawn_words
            if holds_centre(field.box, field_word.box)
        ):
            return position
    return None


def _is_same(word: Word, drawn_words: Word) -> bool:
    """Check whether a page's word is one that a field draws: the same letters at the same place."""
    if not (word.text in drawn_words.text or drawn_words.text in word.text):
        return False
    return holds_centre(drawn_words.box, word.box) or holds_centre(word.box, drawn_words.box)


def _shown_lines(field: FormField, drawn_words: Sequence[Line]) -> list[Line]:
    """Return the words that show a field's value or state, as lines; none for an empty field."""
    if field.is_button:
        return [(Word(field.mark, field.box),)]
    if field.kind == "password":
        return []
    if field.kind == "list":
        return _list_lines(field, drawn_words)
    lines = list(drawn_words)
    text = " ".join(word.text for line in drawn_words for word in line)
    if field.value and (text == field.export or _is_cut_or_spaced(text, field.value)):
        lines = [line for line in _lines_of_value(field) if line]
    if lines and field.label == field.name and field.name:
        return _with_name(lines, field)
    return lines


def _is_cut_or_spaced(drawn_words: str, value: str) -> bool:
    """Check whether a value is drawn in part only, or letter by letter, or not at all."""
    letters, whole = "".join(drawn_words.split()), "".join(value.split())
    return whole.startswith(letters) and drawn_words.split() != value.split()


def _list_lines(field: FormField, drawn_words: Sequence[Line]) -> list[Line]:
    """Return a list's options, each with its mark; those selected that are not drawn come last."""
    choices = [text for text in field.value.split("\n") if text]
    texts = [" ".join(word.text for word in line) for line in drawn_words]
    lines: list[Line] = []
    for text, line in zip(texts, drawn_words, strict=True):
        x0, y0, _, y1 = line[0].box
        mark = Word(TICK_MARKS[text in choices], (field.box[0] if field.box[0] < x0 else x0, y0, x0, y1))
        lines.append(((mark if mark.box[0] < x0 else replace(mark, box=line[0].box)), *line))
    absent = [text for text in choices if text not in texts]
    value = "\n".join(f"{TICK_MARKS[True]} {text}" for text in absent)
    return [*lines, *(line for line in _lines_of_value(replace(field, value=value)) if line)]


def _lines_of_value(field: FormField) -> list[Line]:
    """Put a value's words into the field's box: its lines below each other, each from the left."""
    texts = field.value.split("\n")
    x0, y0, x1, y1 = field.box
    height = (y1 - y0) / len(texts)
    lines = []
    for number, text in enumerate(texts):
        right = min(x1, x0 + LETTER_WIDTH * height * max(1, len(text)))
        box = (x0, y0 + number * height, right, y0 + (number + 1) * height)
        lines.append(tuple(words_of_run(text, box)))
    return lines


def _with_name(lines: list[Line], field: FormField) -> list[Line]:
    """Put a field's name before its value, where the page has no label for it."""
    x0, y0, _, y1 = lines[0][0].box
    left = field.box[0] if field.box[0] < x0 else x0 - 1e-3
    name = tuple(words_of_run(f"{field.name.rstrip(':')}:", (left, y0, x0, y1)))
    return [(*name, *lines[0]), *lines[1:]]


# ---- lines and labels ------------------------------------------------------------------------------


def holds_centre(box: Box, inner: Box) -> bool:
    """Check whether the centre of `inner` is in `box`."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def shares_row(box: Box, second_box: Box) -> bool:
    """Check whether two boxes stand beside each other: half of the lower one's height is shared."""
    shared = min(box[3], second_box[3]) - max(box[1], second_box[1])
    return shared >= 0.5 * min(box[3] - box[1], second_box[3] - second_box[1])


def _first_line(box: Box, lines: Iterable[Line]) -> Box:
    """Return the part of a tall field that its first line of text would take."""
    heights = sorted(word.box[3] - word.box[1] for line in lines for word in line)
    if not heights:
        return box
    return (box[0], box[1], box[2], min(box[3], box[1] + 1.5 * heights[len(heights) // 2]))


def _label_words(field: FormField, lines: Sequence[Line], rivals: Sequence[Box]) -> list[Word]:
    """Return the words of a field's label, in the order of their line."""
    box = _first_line(field.box, lines)
    beside = sorted(
        (word for line in lines for word in line if shares_row(box, word.box)), key=lambda word: word.box[0]
    )
    walls = [rival for rival in rivals if shares_row(box, rival)]
    if field.is_button:
        run = _run_right(box, beside, walls)
        if run:
            return run
    left, above = _run_left(box, beside, walls), _run_above(box, lines)
    if above and (not left or _gap_left(box, left) > LABEL_GAP * _height(left)):
        return above
    return left


def _height(words: Sequence[Word]) -> float:
    _, y0, _, y1 = bounds(words)
    return y1 - y0


def _gap_left(box: Box, run: Sequence[Word]) -> float:
    return box[0] - bounds(run)[2]


def _run_right(box: Box, beside: Sequence[Word], walls: Sequence[Box]) -> list[Word]:
    """Return the words right of a box up to a wide gap or another field."""
    run: list[Word] = []
    end, most = box[2], LABEL_GAP
    middle = (box[0] + box[2]) / 2
    for word in beside:
        if (word.box[0] + word.box[2]) / 2 < middle:
            continue
        height = word.box[3] - word.box[1]
        is_walled = any(end - height / 2 <= wall[0] <= word.box[0] + height / 2 for wall in walls)
        if word.box[0] - end > most * height or is_walled:
            break
        run.append(word)
        end, most = word.box[2], WORD_GAP
    return run


def _run_left(box: Box, beside: Sequence[Word], walls: Sequence[Box]) -> list[Word]:
    """Return the words left of a field: the nearest one, however far, and those that go on from it."""
    run: list[Word] = []
    start = box[0]
    for word in reversed(beside):
        if (word.box[0] + word.box[2]) / 2 >= (box[0] + box[2]) / 2:
            continue
        height = word.box[3] - word.box[1]
        is_walled = any(word.box[2] - height / 2 <= wall[2] <= start + height / 2 for wall in walls)
        if is_walled or (run and start - word.box[2] > WORD_GAP * height):
            break
        run.insert(0, word)
        start = word.box[0]
    return run


def _run_above(box: Box, lines: Sequence[Line]) -> list[Word]:
    """Return the words right above a field, within half of `LABEL_GAP` and over its own width."""
    best: list[Word] = []
    for line in lines:
        over = _over(line, box)
        if not over:
            continue
        gap = box[1] - bounds(over)[3]
        near = -0.5 * _height(over) <= gap <= LABEL_GAP / 2 * _height(over)
        if near and (not best or bounds(over)[3] > bounds(best)[3]):
            best = over
    return best


# ---- reading order ---------------------------------------------------------------------------------


def _insert(page: list[list[list[Word]]], lines: Sequence[Line], page_blocks: Container[int]) -> None:
    """Put a field's lines into the page: into the line beside it or after the label above it."""
    first = bounds(lines[0])
    host = _host(page, first, page_blocks)
    if host is None:
        position = _block_above(page, first)
        page.insert(position, [list(line) for line in lines])
        return
    block, number, is_beside = host
    below = page[block][number + 1] if number + 1 < len(page[block]) else []
    if not is_beside and below and shares_row(bounds(below), first):  # a row of values under a row of labels
        number, is_beside = number + 1, True
    if is_beside:
        line = page[block][number]
        position = _place_in_line(line, first)
        line[position:position] = lines[0]
        lines = lines[1:]
    page[block][number + 1 : number + 1] = [list(line) for line in lines]


def _host(
    page: list[list[list[Word]]], box: Box, page_blocks: Container[int]
) -> tuple[int, int, bool] | None:
    """Return block and line that a field belongs to, and whether it stands on that line (else below it).

    Args:
        page: with the fields before this one.
        box: of the field's first line.
        page_blocks: identities of the words that are no field's: only they can be a label.
    """
    beside: tuple[float, int, int] | None = None
    above: tuple[float, int, int] | None = None
    for block, lines in enumerate(page):
        for number, line in enumerate(lines):
            if not line:
                continue
            height = _line_height(line)
            gaps = [_gap_across(box, word.box) for word in line if shares_row(box, word.box)]
            if gaps and (beside is None or min(gaps) / height < beside[0]):
                beside = (min(gaps) / height, block, number)
            label = [word for word in _over(line, box) if id(word) in page_blocks]
            gap = (box[1] - bounds(label)[3]) / height if label else -1.0
            if -0.5 <= gap <= LABEL_GAP / 2 and (above is None or gap < above[0]):
                above = (gap, block, number)
    if above is not None and (beside is None or beside[0] > LABEL_GAP):
        return above[1], above[2], False
    return None if beside is None else (beside[1], beside[2], True)


def _line_height(line: Sequence[Word]) -> float:
    """Return the median height of a line's words."""
    return sorted(word.box[3] - word.box[1] for word in line)[len(line) // 2]


def _over(line: Sequence[Word], box: Box) -> list[Word]:
    """Return the words of a line that begin over a box."""
    return [word for word in line if box[0] - (word.box[3] - word.box[1]) / 2 <= word.box[0] < box[2]]


def _gap_across(box: Box, second_box: Box) -> float:
    """Return the horizontal space between two boxes; 0 where they overlap."""
    return max(0.0, box[0] - second_box[2], second_box[0] - box[2])


def _place_in_line(line: Sequence[Word], box: Box) -> int:
    """Return the position in a line where a box belongs, in the line's own direction."""
    centre = (box[0] + box[2]) / 2
    centres = [(word.box[0] + word.box[2]) / 2 for word in line]
    steps = [after - before for before, after in itertools.pairwise(centres)]
    is_leftward = sum(step < 0 for step in steps) > len(steps) / 2
    for position, middle in enumerate(centres):
        if middle < centre if is_leftward else middle > centre:
            return position
    return len(line)


def _block_above(page: list[list[list[Word]]], box: Box) -> int:
    """Return where a block of its own goes: after the block that ends next above it, else first."""
    best, next_position = -1.0, 0
    for position, block in enumerate(page):
        words = [word for line in block for word in line]
        if words and best < bounds(words)[3] <= box[1] + (box[3] - box[1]) / 2:
            best, next_position = bounds(words)[3], position + 1
    return next_position
