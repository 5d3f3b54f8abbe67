"""One document to what its pages can be asked for, as plain data that is kept until the run is done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.training.mining.records import item_data
from mmrag.training.pairs.rules import Templates, chosen, pairs_of_page, vocabulary_of
from mmrag.training.pairs.running_headers import without_furniture
from mmrag.training.pairs.settings import Pair, PairSettings
from mmrag.types import Page, Record, Usage, Word

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader, InputDocument
    from mmrag.training.pairs.question_writer import QuestionWriter

TOGETHER = 16
"""Pages whose pictures are in memory while a model is asked about them."""


@dataclass(slots=True)
class Part:
    """A document that has been read.

    Attributes:
        document_id: first digits of its digest.
        path: where it is.
        items: one a page: an item of `mmrag.training.mining.records`, with its text.
        pairs: for each page, its pairs as plain data.
        counts: what was dropped, by reason; ``furniture`` counts lines, ``bare`` pages without words.
        skipped: pages that cannot be read, with the reason.
        usage: tokens and requests of questions that were asked for.
    """

    document_id: str
    path: str | None
    items: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[list[dict[str, Any]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    @property
    def has_pairs(self) -> bool:
        """Whether any page has a pair."""
        return any(self.pairs)

    def save(self, path: Path, recipe: str) -> None:
        """Write it in one piece; read it with `load_part`."""
        usage = self.usage
        data = {
            "recipe": recipe,
            "document_id": self.document_id,
            "path": self.path,
            "items": self.items,
            "pairs": self.pairs,
            "counts": dict(self.counts),
            "skipped": self.skipped,
            "usage": [usage.prompt_tokens, usage.completion_tokens, usage.cache_hits, usage.requests],
        }
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(data), encoding="utf-8")
        beside.replace(path)


def load_part(path: Path, recipe: str | None = None, source: str | None = None) -> Part | None:
    """A part of an earlier run; None where there is none, or it was made in another way or elsewhere.

    Args:
        path: its file.
        recipe: how it must have been made; None does not look.
        source: path of the document now; None does not look.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None  # not there, or cut off by a full disk: it is made again
    if recipe is not None and (data.get("recipe") != recipe or data.get("path") != source):
        return None
    prompt, completion, hits, requests = data["usage"]
    return Part(
        data["document_id"],
        data["path"],
        data["items"],
        data["pairs"],
        Counter(data["counts"]),
        [(where, why) for where, why in data["skipped"]],
        Usage({}, prompt, completion, hits, requests),
    )


def read_document(
    reader: DocumentReader,
    found: InputDocument,
    settings: PairSettings,
    templates: Templates,
    writer: QuestionWriter | None = None,
) -> Part:
    """All pairs of a document, within the limits.

    Raises:
        DocumentError: it cannot be opened, or changed while it was read.
        ServerError: the server of `writer` failed.
    """
    part = Part(found.source.document_id, found.source.path)
    pages = list(_pages(reader, found, None, part))
    words, lines = without_furniture(pages)
    part.counts["furniture"] = lines
    part.counts["bare"] = sum(not page.words for page in pages)
    vocabulary = vocabulary_of(words)
    asked = _asked(reader, found, pages, words, writer, part) if writer is not None else {}
    by_page: list[list[Pair]] = []
    for page, own in zip(pages, words, strict=True):
        made = pairs_of_page(page, own, vocabulary, settings, templates)
        made["asked"] = asked.get(page.number, [])
        taken = chosen(made, settings, page.id)
        part.counts["over the limit of a page, or said twice there"] += sum(map(len, made.values())) - len(
            taken
        )
        by_page.append(taken)
    kept = _within(by_page, settings, part)
    for page, pairs in zip(pages, kept, strict=True):
        part.items.append(item_data(Record(page.id, None, page.text, {}, page), score=None))
        part.pairs.append([pair.to_dict() for pair in pairs])
    return part


def _pages(
    reader: DocumentReader,
    found: InputDocument,
    pixels: int | None,
    part: Part,
    numbers: Sequence[int] | None = None,
) -> Iterator[Page]:
    from mmrag.documents import Skipped

    for page in reader.pages(found, numbers=numbers, image_pixels=pixels):
        if not isinstance(page, Skipped):
            yield page
        elif numbers is None:  # the second reading, for pictures, names nothing twice
            where = page.name if page.page is None else f"{page.name}, page {page.page + 1}"
            part.skipped.append((where, page.reason))


def _asked(
    reader: DocumentReader,
    found: InputDocument,
    pages: Sequence[Page],
    words: Sequence[Sequence[Word]],
    writer: QuestionWriter,
    part: Part,
) -> dict[int, list[Pair]]:
    """Questions by page number; pages are rendered a few at a time."""
    by_number = dict(zip((page.number for page in pages), words, strict=True))
    plain = {page.number: page for page in pages}
    numbers = [number for number, own in by_number.items() if own]
    made: dict[int, list[Pair]] = {}
    for start in range(0, len(numbers), TOGETHER):
        now = numbers[start : start + TOGETHER]
        if writer.image_pixels is None:
            shown = [plain[number] for number in now]
        else:
            shown = list(_pages(reader, found, writer.image_pixels, part, now))
        for page, asked in zip(
            shown, writer.write([(page, by_number[page.number]) for page in shown]), strict=True
        ):
            made[page.number] = asked.pairs
            part.counts.update(asked.refused)
            part.usage += asked.usage
    return made


def _within(by_page: Sequence[list[Pair]], settings: PairSettings, part: Part) -> list[list[Pair]]:
    """At most `PairSettings.per_document`: pages take turns, each giving its first pairs first."""
    total = sum(map(len, by_page))
    if total <= settings.per_document:
        return list(by_page)
    part.counts["over the limit of a document"] += total - settings.per_document
    turns = sorted((turn, number) for number, pairs in enumerate(by_page) for turn in range(len(pairs)))
    kept: list[list[Pair]] = [[] for _ in by_page]
    for turn, number in turns[: settings.per_document]:
        kept[number].append(by_page[number][turn])
    return kept
