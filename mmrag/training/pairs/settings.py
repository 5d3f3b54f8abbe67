"""What a run of ``mmrag train make-pairs`` may be told, and the pair that its rules give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmrag.types import Box

VERSION = 1
"""Raised when a change of ours gives other pairs of the same files and settings."""

RULES = ("heading", "caption", "cell", "sentence", "question", "asked")
"""Where a query comes from; ``question`` is by template, ``asked`` by a model behind a URL."""


@dataclass(frozen=True, slots=True)
class PairSettings:
    """How pairs are made.

    Attributes:
        rules: which of `RULES` are used; ``asked`` needs a writer of questions and is used with one.
        per_page: most pairs of a page; the rules take turns, so that a long table does not take them all.
        per_document: most pairs of a document, drawn over its pages.
        drop: share of a sentence's words that is left out.
        replace: share of its words that is replaced by other words of the document.
        common: a query that as many pages or more give, nearly word for word, names none of them and is
            left out.
        alike: queries that share this share of their four-letter pieces are near-duplicates.
        hold_out: share of the documents whose pairs go to the second file, 0 to below 1.
        texts: write the pages' texts beside where the pages are.
        seed: of all that is drawn.

    Raises:
        ValueError: a value out of its range, or an unknown rule.
    """

    rules: tuple[str, ...] = RULES
    per_page: int = 8
    per_document: int = 400
    drop: float = 0.3
    replace: float = 0.1
    common: int = 4
    alike: float = 0.8
    hold_out: float = 0.1
    texts: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no pairs."""
        unknown = [rule for rule in self.rules if rule not in RULES]
        if unknown or not self.rules:
            raise ValueError(f"rules must be some of {', '.join(RULES)}, got {', '.join(unknown) or 'none'}.")
        for name, least in (("per_page", 1), ("per_document", 1), ("common", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}.")
        if not (self.drop >= 0 and self.replace >= 0 and self.drop + self.replace <= 0.8):
            raise ValueError(
                "drop and replace must be shares of at least 0 that leave a fifth of the words, got "
                f"{self.drop!r} and {self.replace!r}."
            )
        if not 0 < self.alike <= 1:
            raise ValueError(f"alike must be above 0 and at most 1, got {self.alike!r}. 0.8 is usual.")
        if not 0 <= self.hold_out < 1:
            raise ValueError(f"hold_out must be at least 0 and below 1, got {self.hold_out!r}. 0.1 is usual.")

    @property
    def of_pages(self) -> dict[str, Any]:
        """Those that decide what a single document gives; the others only choose among it."""
        chosen = asdict(self)
        for name in ("common", "alike", "hold_out", "texts"):
            del chosen[name]
        return json.loads(json.dumps(chosen))  # type: ignore[no-any-return]  # as it reads back


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, and the place on a page that it was made of.

    Attributes:
        text: the query.
        rule: one of `RULES`.
        boxes: where its words, or its answer, stand; one box a line.
        source: the page's words that it was made of, joined by one space.
        details: what else is known of it: words dropped and replaced, the template, the quote.
    """

    text: str
    rule: str
    boxes: tuple[Box, ...]
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, which a line's query holds."""
        return {
            "text": self.text,
            "rule": self.rule,
            "boxes": [[round(edge, 6) for edge in box] for box in self.boxes],
            "source": self.source,
            **self.details,
        }


def digest(value: object) -> str:
    """16 hexadecimal digits of plain data."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]
