"""Answers of a pack's questions as lines of a file: written as they come, read again after an interruption.

The first line holds the settings of the run; every other line is one question in one scope. A line holds
what the measures need and no page: text, quotes with their boxes, confidence, seconds, tokens, and a random
span of each quoted page, which says what chance alone would give.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmrag.blocks import Box
from mmrag.evaluation.boxes import PlacedBox, joined_lines
from mmrag.evaluation.pack import PageKey
from mmrag.files import read_json_lines
from mmrag.types import Answer, Citation

Key = tuple[str, str]
"""Question's id and scope."""


@dataclass(frozen=True, slots=True)
class CitedQuote:
    """A quote of an answer.

    Attributes:
        quote: its words.
        file: the file's name; ``""`` for a text without a page.
        page: 0-based; -1 without a page.
        boxes: of its lines.
        area: the block around it.
        kind: of that block.
        random_span: as many characters from a random place of the same page, whole words.
    """

    quote: str
    file: str = ""
    page: int = -1
    boxes: tuple[Box, ...] = ()
    area: Box | None = None
    kind: str = ""
    random_span: str = ""

    @property
    def page_key(self) -> PageKey:
        """Return file name and page."""
        return self.file, self.page

    def placed_words(self) -> list[PlacedBox]:
        """Return the boxes of its words, lines joined."""
        return [PlacedBox(self.file, self.page, box) for box in joined_lines(self.boxes)]

    def placed_area(self) -> list[PlacedBox]:
        """Return the block around it; empty where none is known."""
        return [] if self.area is None else [PlacedBox(self.file, self.page, self.area)]


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """What an answerer said to a question in a scope.

    Attributes:
        id: of the question.
        scope: ``"pack"`` or ``"document"``.
        text: the answer's.
        abstained: nothing was answered when it was asked.
        confidence: 0..1; None if the answerer states none.
        threshold: confidence from which it answers as shipped; None if it does not abstain by one, or was
            asked with its abstention on.
        quotes: best first.
        seconds: by stage, and ``"total"`` of the whole call.
        prompt_tokens, completion_tokens: of a server; 0 without one.
        note: the answer's.
    """

    id: str
    scope: str
    text: str
    abstained: bool
    confidence: float | None = None
    threshold: float | None = None
    quotes: tuple[CitedQuote, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    note: str = ""

    @property
    def key(self) -> Key:
        """Return what names the line in its file."""
        return self.id, self.scope

    @property
    def is_silent(self) -> bool:
        """Whether the answerer as shipped abstains."""
        if self.abstained or self.threshold is None or self.confidence is None:
            return self.abstained
        return self.confidence < self.threshold


def describe(
    answer: Answer, key: Key, *, seconds: float, threshold: float | None = None, seed: int = 0
) -> AnswerLine:
    """Describe an answer as a line.

    Args:
        answer: with pages, as `mmrag.DocumentQA.ask` returns it.
        key: question's id and scope.
        seconds: wall time of the whole call.
        threshold: see `AnswerLine`.
        seed: of the random spans; together with the key it decides them.
    """
    rng = np.random.default_rng((seed, zlib.crc32(repr(key).encode())))
    return AnswerLine(
        *key,
        text=answer.text,
        abstained=answer.abstained,
        confidence=answer.confidence,
        threshold=threshold,
        quotes=tuple(_cited_quote(citation, rng) for citation in answer.citations),
        seconds={**answer.usage.seconds, "total": seconds},
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        note=answer.note,
    )


def random_span(text: str, size: int, rng: np.random.Generator) -> str:
    """Return whole words of a text, at most `size` characters, from a random word on.

    Where the text ends too early the span begins earlier, so that every span is about as long.
    """
    words = text.split()
    ends = np.cumsum([len(word) + 1 for word in words]) - 1  # of "a b c", after each word
    if not words or ends[-1] <= size:
        return " ".join(words)
    starts = np.concatenate(([0], ends[:-1] + 1))
    last_start = int(np.searchsorted(starts, ends[-1] - size))  # from there a span reaches the end
    first = int(rng.integers(min(last_start + 1, len(words))))
    last = int(np.searchsorted(ends, starts[first] + size, side="right"))
    return " ".join(words[first : max(last, first + 1)])


class AnswerFile:
    """The lines of a run; an existing file is continued.

    Args:
        path: of the file; a line that an interruption tore is cut off.
        settings: of the run, plain data; an existing file must have been written with the same.

    Raises:
        ValueError: the file was written with other settings, or a line is not one of an answer.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.lines: dict[Key, AnswerLine] = {}
        _cut_torn_line(self.path)
        if self.path.exists() and self.path.stat().st_size:
            old_settings, self.lines = read_answers(self.path)
            self._check(old_settings, json.loads(json.dumps(settings)))
        else:
            self._write({"settings": settings})

    def add(self, line: AnswerLine) -> None:
        """Append a line; it is on the disk when this returns."""
        self._write(line_data(line))
        self.lines[line.key] = line

    def _check(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        if old != new:
            differences = [
                f"{name}: {old.get(name)!r} there, {new.get(name)!r} now"
                for name in sorted({*old, *new})
                if old.get(name) != new.get(name)
            ]
            raise ValueError(
                f"{self.path} must be of the same run to be continued, got other settings "
                f"({'; '.join(differences)}). Name another file."
            )

    def _write(self, data: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(data, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_answers(path: str | Path) -> tuple[dict[str, Any], dict[Key, AnswerLine]]:
    """Read a file of answers: settings, and lines by question and scope.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not one of an answer, or the settings are missing.
    """
    settings: dict[str, Any] | None = None
    lines: dict[Key, AnswerLine] = {}
    for number, value in read_json_lines(path, "answer"):
        if settings is None:
            settings = value.get("settings")
            if not isinstance(settings, dict):
                raise ValueError(f"{path} must begin with the settings of its run, got {str(value)[:80]}.")
            continue
        try:
            line = line_of(value)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not an answer ({error!r}).") from error
        lines[line.key] = line
    if settings is None:
        raise ValueError(f"{path} must begin with the settings of its run, got an empty file.")
    return settings, lines


def line_data(line: AnswerLine) -> dict[str, Any]:
    """Convert a line to plain data for JSON."""
    return asdict(line)


def line_of(value: Mapping[str, Any]) -> AnswerLine:
    """Convert plain data back to a line.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return AnswerLine(**{**value, "quotes": tuple(_quote_of(quote) for quote in value["quotes"])})


def _quote_of(value: Mapping[str, Any]) -> CitedQuote:
    area = value["area"]
    boxes = tuple(_box(box) for box in value["boxes"])
    return CitedQuote(**{**value, "boxes": boxes, "area": None if area is None else _box(area)})


def _box(value: Any) -> Box:  # noqa: ANN401  plain data
    x0, y0, x1, y1 = map(float, value)
    return x0, y0, x1, y1


def _rounded_box(box: Box) -> Box:
    """Round to a twentieth of a point, here and not when writing: a run read again gives the same figures."""
    x0, y0, x1, y1 = (round(edge, 4) for edge in box)
    return x0, y0, x1, y1


def _cited_quote(citation: Citation, rng: np.random.Generator) -> CitedQuote:
    page = citation.page
    if page is None:
        return CitedQuote(citation.quote, kind=citation.kind)
    return CitedQuote(
        citation.quote,
        page.source.name,
        page.number,
        tuple(_rounded_box(box) for box in citation.boxes),
        None if citation.area is None else _rounded_box(citation.area),
        citation.kind,
        random_span(page.text, len(citation.quote), rng),
    )


def _cut_torn_line(path: Path) -> None:
    """Cut off what follows the last line break: a line that was not written to its end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
