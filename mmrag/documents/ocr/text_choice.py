"""Choose the text of a page: its layer, OCR, or both.

Pure decisions; running OCR is a function that the caller passes. Decisions taken here:

* **Merged by region**: where a layer is usable it stays, word for word. OCR reads the parts of the page that
  may hold text without a word of the layer (`regions`); what lies on the layer's words is dropped.
* **Compared**: a layer that looks wrong (`layer_quality.looks_poor`) is compared with OCR's text. After
  `AGREEING_PAGES` of a document, or `COMPARED_PAGES` where OCR was not sure enough to decide, the document's
  layer is trusted, but for pages of which less than half as much is known as of those.
* **Told**: mean confidence below `UNSURE_PAGE`, lines left out as noise, lines for which there was no time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from mmrag.documents.layout import join_text
from mmrag.documents.ocr.layer_quality import (
    agreement,
    garbage_reason,
    is_sparse,
    looks_poor,
    ocr_is_better,
    readable_fraction,
)
from mmrag.documents.ocr.merge import Lines, insert_blocks, without_known, words_inside, words_of
from mmrag.documents.pool import WorkerDiedError
from mmrag.documents.settings import OcrMode, ocr_is_installed
from mmrag.types import Box, Word

UNSURE_PAGE = 0.85
AGREEING_PAGES = 2
COMPARED_PAGES = 4
AGREES = 0.6
_CACHE_SIZE = 256  # documents whose comparisons are remembered

OCR_MISSING = "no usable text layer, and OCR is not installed: pip install 'mmrag[ocr]'"
SPARSE = "nearly no text over a picture"
INK = "ink without text layer"

Recognise: TypeAlias = "Callable[[Sequence[Box] | None, Sequence[Box]], dict[str, Any]]"
"""Runs OCR on regions (None: the page) without the boxes given; raises `WorkerDiedError`."""


@dataclass(frozen=True)
class TextChoice:
    """The text of a page.

    Attributes:
        blocks: blocks of lines of words in reading order.
        text_source: as `Page.text_source`.
        notes: what should be known of the choice.
    """

    blocks: Lines
    text_source: str
    notes: tuple[str, ...] = ()


class OcrDiedError(WorkerDiedError):
    """OCR ended its process; carries the text that the page has without it."""

    def __init__(self, choice: TextChoice) -> None:
        """Keep the page's own text."""
        super().__init__(choice.notes[-1])
        self.choice = choice


@dataclass
class _Comparisons:
    """How the layer of one document did beside OCR."""

    agreeing_pages: int = 0
    undecided_pages: int = 0
    fractions: list[float] = field(default_factory=list)

    def is_trusted(self, fraction: float) -> bool:
        """Check whether a page of which this fraction of words is known need not be compared."""
        if (
            self.agreeing_pages < AGREEING_PAGES
            and self.agreeing_pages + self.undecided_pages < COMPARED_PAGES
        ):
            return False
        return fraction >= sum(self.fractions) / len(self.fractions) / 2


class TextChooser:
    """Chooses texts of pages and remembers which documents' layers are to be trusted; thread-safe."""

    def __init__(self, mode: OcrMode) -> None:
        """Choose by this mode: ``"auto"``, ``"off"`` or ``"force"``."""
        self._mode = mode
        self._lock = threading.Lock()
        self._documents: OrderedDict[str, _Comparisons] = OrderedDict()

    def choose(self, key: str, layer: Lines, regions: Sequence[Box], recognise: Recognise) -> TextChoice:
        """Choose the text of a page.

        Args:
            key: of the document.
            layer: the page's own words.
            regions: parts that may hold text without a word of the layer; not used when OCR is forced.
            recognise: runs OCR.

        Raises:
            OcrDiedError: OCR ended its process or took too long.
        """
        text = join_text(layer)
        garbage = garbage_reason(text)
        usable: Lines = [] if garbage else layer
        plain_choice = TextChoice(
            usable, "layer" if usable else "none", (garbage,) if garbage and text else ()
        )
        if self._mode == "off":
            return plain_choice
        page = _Page(plain_choice, recognise)
        if self._mode == "force":
            return page.replace_layer("OCR was asked for")
        if garbage is not None:
            return page.replace_layer(garbage) if text or regions else plain_choice
        if looks_poor(text) and not self._is_trusted(key, text):
            return self._compare(key, page, text, regions)
        return page.merge_regions(SPARSE if is_sparse(text) else INK, regions) if regions else plain_choice

    def _is_trusted(self, key: str, text: str) -> bool:
        """Check whether the document's layer did well enough beside OCR."""
        with self._lock:
            comparisons = self._documents.get(key)
            return comparisons is not None and comparisons.is_trusted(readable_fraction(text)[0])

    def _compare(self, key: str, page: _Page, text: str, regions: Sequence[Box]) -> TextChoice:
        """Compare the layer with OCR's text; the layer stays unless OCR is clearly better."""
        fraction = readable_fraction(text)[0]
        reason = f"text layer looks wrong ({fraction:.0%} of its words are known)"
        reading = page.read(reason, None)
        if isinstance(reading, TextChoice):
            return reading
        read_text = join_text(reading.blocks)
        if ocr_is_better(text, read_text, reading.confidence or 0.0):
            shared = agreement(text, read_text)
            note = f"{reason} and shares {shared:.0%} of them with OCR, OCR used"
            return TextChoice(reading.blocks, "ocr", (note, *reading.notes))
        agrees = agreement(text, read_text) >= AGREES
        self._remember(key, fraction, agrees)
        if not agrees:
            note = f"{reason}, but OCR is not surer of its own: layer kept"
            return TextChoice(page.plain.blocks, "layer", (note,))
        inside = replace(reading, blocks=words_inside(reading.blocks, regions))
        return page.join_reading(inside, (f"{reason}, but OCR agrees with it: layer kept",))

    def _remember(self, key: str, fraction: float, agrees: bool) -> None:
        """Count a comparison."""
        with self._lock:
            comparisons = self._documents.setdefault(key, _Comparisons())
            self._documents.move_to_end(key)
            comparisons.agreeing_pages += agrees
            comparisons.undecided_pages += not agrees
            comparisons.fractions.append(fraction)
            while len(self._documents) > _CACHE_SIZE:
                self._documents.popitem(last=False)


@dataclass(frozen=True)
class _Reading:
    """What OCR gave: words, and what is to be told of it."""

    blocks: Lines
    noise_lines: int = 0
    unread_lines: int = 0
    foreign_lines: int = 0

    @property
    def confidence(self) -> float | None:
        """Mean confidence of its words."""
        return mean_confidence(words_of(self.blocks))

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known of it."""
        confidence = self.confidence
        notes = []
        if confidence is not None and confidence < UNSURE_PAGE:
            notes.append(f"OCR is unsure of this page (confidence {confidence:.2f})")
        if self.foreign_lines:
            notes.append(
                f"OCR reads hardly a character of {_lines(self.foreign_lines)}: "
                "another script than its model's (ocr_language)"
            )
        if self.noise_lines:
            notes.append(f"left out what OCR cannot read ({_lines(self.noise_lines)})")
        if self.unread_lines:
            notes.append(f"OCR ran out of time, text is missing ({_lines(self.unread_lines)})")
        return tuple(notes)


@dataclass(frozen=True)
class _Page:
    """One page: its choice without OCR, and how to run OCR."""

    plain: TextChoice
    recognise: Recognise

    def read(self, reason: str, regions: Sequence[Box] | None) -> _Reading | TextChoice:
        """Run OCR on regions (None: the page), or return the choice that is left without it."""
        plain = self.plain
        if not ocr_is_installed():
            return self._without_ocr(reason, whole=regions is None)
        known_boxes = (
            [] if regions is None else [box for word in words_of(plain.blocks) for box in word.boxes]
        )
        try:
            result = self.recognise(regions, known_boxes)
        except WorkerDiedError as death:
            notes = (*plain.notes, f"{reason}, and OCR {death}")
            raise OcrDiedError(TextChoice(plain.blocks, "unread", notes)) from death
        if not result["ok"]:
            notes = (*plain.notes, f"{reason}, and OCR failed ({result['message']})")
            return TextChoice(plain.blocks, plain.text_source, notes)
        blocks = [[[Word(*values) for values in line] for line in block] for block in result["blocks"]]
        return _Reading(blocks, result["noise_lines"], result["unread_lines"], result["foreign_lines"])

    def _without_ocr(self, reason: str, whole: bool) -> TextChoice:
        """Return the choice without the extra ``ocr``."""
        plain = self.plain
        if not plain.blocks:
            return TextChoice([], "unread", (*plain.notes, OCR_MISSING))
        note = f"{reason}, and OCR is not installed: pip install 'mmrag[ocr]'"
        source = "unread" if reason == SPARSE else plain.text_source
        return TextChoice(plain.blocks, source, (*plain.notes, note))

    def replace_layer(self, reason: str) -> TextChoice:
        """Read the page by OCR, which takes the layer's place if there is any text."""
        reading = self.read(reason, None)
        if isinstance(reading, TextChoice):
            return reading
        if not words_of(reading.blocks):
            notes = (*self.plain.notes, f"{reason}; OCR found no text", *reading.notes)
            return TextChoice(self.plain.blocks, self.plain.text_source, tuple(dict.fromkeys(notes)))
        return TextChoice(reading.blocks, "ocr", (f"{reason}, OCR used", *reading.notes))

    def merge_regions(self, reason: str, regions: Sequence[Box]) -> TextChoice:
        """Read regions by OCR and join what is there with the layer."""
        reading = self.read(reason, regions)
        return reading if isinstance(reading, TextChoice) else self.join_reading(reading, (), reason)

    def join_reading(self, reading: _Reading, notes: tuple[str, ...], reason: str = INK) -> TextChoice:
        """Join OCR's words that the layer has not with the layer."""
        added = without_known(reading.blocks, self.plain.blocks)
        left = replace(reading, blocks=added)
        if not added:
            return TextChoice(
                self.plain.blocks, self.plain.text_source, (*self.plain.notes, *notes, *left.notes)
            )
        blocks = insert_blocks(self.plain.blocks, added)
        return TextChoice(blocks, "both", (*self.plain.notes, *notes, f"{reason}, OCR used", *left.notes))


def _lines(count: int) -> str:
    """Word a number of lines."""
    return "1 line" if count == 1 else f"{count} lines"


def mean_confidence(words: Sequence[Word]) -> float | None:
    """Return the mean confidence of OCR's words, weighted by letters; None without a word of OCR."""
    pairs = [(word.confidence, len(word.text)) for word in words if word.confidence is not None]
    total = sum(letters for _, letters in pairs)
    return sum(confidence * letters for confidence, letters in pairs) / total if total else None
