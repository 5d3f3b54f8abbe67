"""Settings of ``mmrag train make-pairs``, and the pair that its rules make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmrag.errors import check_whole
from mmrag.types import Box

VERSION = 3
"""To be raised with every change of the code that makes other pairs of the same files and settings."""

RULES = ("heading", "caption", "cell", "sentence", "question", "asked")
"""Where a query comes from; ``question`` is by template, ``asked`` by a served model."""


SELECTION_SETTINGS = ("common", "alike", "hold_out", "texts")
"""Settings that apply to the pairs of all documents together."""


@dataclass(frozen=True, slots=True)
class PairSettings:
    """Settings of a run.

    Attributes:
        rules: which of `RULES` to use; ``asked`` has an effect only with a `QuestionWriter`.
        per_page: largest number of pairs per page; the rules take turns, so that a long table does not use
            them up.
        per_document: largest number of pairs per document, distributed over its pages.
        drop: fraction of a sentence's words to drop.
        replace: fraction of its words to replace by other words of the document.
        common: drop a query that this number of pages or more gives, nearly word for word.
        alike: smallest Jaccard similarity of two near-duplicate queries' four-letter shingles.
        hold_out: fraction of the documents whose pairs go to the validation file, 0 to below 1.
        texts: write the pages' texts into the records.
        seed: of all random draws.

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
        """Check the values."""
        unknown = [rule for rule in self.rules if rule not in RULES]
        if unknown or not self.rules:
            raise ValueError(f"rules must be some of {', '.join(RULES)}, got {', '.join(unknown) or 'none'}.")
        for name, least in (("per_page", 1), ("per_document", 1), ("common", 2)):
            check_whole(name, getattr(self, name), least)
        if not (self.drop >= 0 and self.replace >= 0 and self.drop + self.replace <= 0.8):
            raise ValueError(
                "drop and replace must be fractions of at least 0 that leave a fifth of the words, got "
                f"{self.drop!r} and {self.replace!r}."
            )
        if not 0 < self.alike <= 1:
            raise ValueError(f"alike must be above 0 and at most 1, got {self.alike!r}. 0.8 is usual.")
        if not 0 <= self.hold_out < 1:
            raise ValueError(f"hold_out must be at least 0 and below 1, got {self.hold_out!r}. 0.1 is usual.")

    @property
    def of_pages(self) -> dict[str, Any]:
        """Return the settings that decide on the pairs of a single document; the others select among them."""
        settings = asdict(self)
        for name in SELECTION_SETTINGS:
            del settings[name]
        return json.loads(json.dumps(settings))  # type: ignore[no-any-return]  # as it reads back


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, and the words on a page that it was made of.

    Attributes:
        text: the query.
        rule: one of `RULES`.
        boxes: of its words, or of its answer; one box per line.
        source: the page's words that it was made of, joined by one space.
        details: depending on the rule: words dropped and replaced; the template, its kind and the value that
            it asks for; the quote.
    """

    text: str
    rule: str
    boxes: tuple[Box, ...]
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the pair as plain data, for the query of a record."""
        return {
            "text": self.text,
            "rule": self.rule,
            "boxes": [[round(edge, 6) for edge in box] for box in self.boxes],
            "source": self.source,
            **self.details,
        }


def digest(value: object) -> str:
    """Return a digest of plain data, 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]
