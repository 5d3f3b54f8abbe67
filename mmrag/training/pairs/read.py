"""The pairs of one document, as plain data that is kept until the run is finished."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.documents.structure.joining import join_tables
from mmrag.errors import PageError
from mmrag.files import atomic_write
from mmrag.training.mining.records import item_data
from mmrag.training.pairs.rules import Templates, pairs_of_page, take_turns, vocabulary_of
from mmrag.training.pairs.running_headers import Body, without_running_headers
from mmrag.training.pairs.settings import Pair, PairSettings
from mmrag.types import Page, Record, Usage

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader, InputDocument
    from mmrag.training.pairs.question_writer import QuestionWriter

PICTURES_IN_MEMORY = 16
"""Pages whose pictures are in memory at the same time for a model that writes questions."""


@dataclass(slots=True)
class Part:
    """A document and its pairs.

    Attributes:
        document_id: first digits of its digest.
        path: of its file.
        items: for each page an item of `mmrag.training.mining.records`, with its text.
        pairs: for each page its pairs as plain data.
        counts: dropped pairs by reason; ``furniture`` counts running headers, ``bare`` pages without words.
        skipped: pages that cannot be read, with the reason.
        usage: of the requests for questions.
        notes: of the reader on pages, each with its number of pages.
    """

    document_id: str
    path: str | None
    items: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[list[dict[str, Any]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    notes: Counter[str] = field(default_factory=Counter)

    def save(self, path: Path, recipe: str) -> None:
        """Write the part into a file for `load_part`; `recipe` says how it was made."""
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
            "notes": dict(self.notes),
        }
        with atomic_write(path) as file:
            json.dump(data, file)


def load_part(path: Path, recipe: str | None = None, source: str | None = None) -> Part | None:
    """Load a part of an earlier run; None if there is no such file, or another recipe or source in it.

    Args:
        path: its file.
        recipe: that it must have been made by; None accepts any.
        source: path of the document, compared only with a `recipe`.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None  # missing or damaged: it is made again
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
        Counter(data["notes"]),
    )


def read_document(
    reader: DocumentReader,
    document: InputDocument,
    settings: PairSettings,
    templates: Templates,
    writer: QuestionWriter | None = None,
) -> Part:
    """Read a document and make its pairs, within the limits.

    Args:
        reader: whose settings say ``structure="full"``; pages without blocks give no pairs by rule.
        document: to read.
        settings: which rules, and the limits.
        templates: wordings of the rule ``question``.
        writer: requests questions from a model, too.

    Raises:
        DocumentError: it cannot be opened, or changed while it was read.
        ServerError: the server of `writer` failed.
    """
    part = Part(document.source.document_id, document.source.path)
    pages = join_tables(list(_pages(reader, document, part)))
    bodies, part.counts["furniture"] = without_running_headers(pages)
    part.counts["bare"] = sum(not page.words for page in pages)
    questions = {} if writer is None else _questions(reader, document, pages, bodies, writer, part)
    part.notes = Counter(note for page in pages for note in page.notes)
    by_page = _pairs_by_page(pages, bodies, questions, settings, templates, part)
    for page, pairs in zip(pages, _within_limit(by_page, settings, part), strict=True):
        part.items.append(item_data(Record(page.id, None, page.text, {}, page), score=None))
        part.pairs.append([pair.to_dict() for pair in pairs])
    return part


def _pairs_by_page(
    pages: Sequence[Page],
    bodies: Sequence[Body],
    questions: Mapping[int, list[Pair]],
    settings: PairSettings,
    templates: Templates,
    part: Part,
) -> list[list[Pair]]:
    """Return the pairs of each page by the rules and from `questions`, within the limit of a page."""
    vocabulary = vocabulary_of([body.words for body in bodies])
    by_page: list[list[Pair]] = []
    for page, body in zip(pages, bodies, strict=True):
        by_rule = pairs_of_page(page, body, vocabulary, settings, templates)
        by_rule["asked"] = questions.get(page.number, [])
        pairs = take_turns(by_rule, settings, page.id)
        total = sum(map(len, by_rule.values()))
        part.counts["over the limit of a page, or said twice there"] += total - len(pairs)
        by_page.append(pairs)
    return by_page


def _pages(reader: DocumentReader, document: InputDocument, part: Part) -> Iterator[Page]:
    """Yield the readable pages; report the others."""
    from mmrag.documents import Skipped

    for page in reader.pages(document):
        if not isinstance(page, Skipped):
            yield page
        else:
            where = page.name if page.page is None else f"{page.name}, page {page.page + 1}"
            part.skipped.append((where, page.reason))


def _questions(
    reader: DocumentReader,
    document: InputDocument,
    pages: Sequence[Page],
    bodies: Sequence[Body],
    writer: QuestionWriter,
    part: Part,
) -> dict[int, list[Pair]]:
    """Return a model's questions by page number."""
    words = {page.number: body.words for page, body in zip(pages, bodies, strict=True)}
    pairs: dict[int, list[Pair]] = {}
    for inputs in _batches(reader, document, [page for page in pages if words[page.number]], writer, part):
        results = writer.write([(page, words[page.number]) for page in inputs])
        for page, result in zip(inputs, results, strict=True):
            pairs[page.number] = result.pairs
            part.counts.update(result.rejections)
            part.usage += result.usage
    return pairs


def _batches(
    reader: DocumentReader,
    document: InputDocument,
    pages: Sequence[Page],
    writer: QuestionWriter,
    part: Part,
) -> Iterator[Sequence[Page]]:
    """Yield a few pages at a time, rendered if the writer looks at pictures."""
    for start in range(0, len(pages), PICTURES_IN_MEMORY):
        batch = pages[start : start + PICTURES_IN_MEMORY]
        if writer.image_pixels is None:
            yield batch
        else:
            yield list(_with_pictures(reader, document, batch, writer.image_pixels, part))


def _with_pictures(
    reader: DocumentReader, document: InputDocument, pages: Sequence[Page], pixels: int, part: Part
) -> Iterator[Page]:
    """Yield the pages with their pictures; report those that cannot be rendered."""
    for page in pages:
        try:
            yield replace(page, image=reader.render(page, max_pixels=pixels, data=document.data))
        except PageError as error:
            part.skipped.append((f"{document.source.name}, page {page.number + 1}", f"no questions: {error}"))


def _within_limit(by_page: Sequence[list[Pair]], settings: PairSettings, part: Part) -> Sequence[list[Pair]]:
    """Return at most `PairSettings.per_document` pairs: pages take turns, first pairs first."""
    total = sum(map(len, by_page))
    if total <= settings.per_document:
        return by_page
    part.counts["over the limit of a document"] += total - settings.per_document
    turns = sorted((turn, number) for number, pairs in enumerate(by_page) for turn in range(len(pairs)))
    by_page_within: list[list[Pair]] = [[] for _ in by_page]
    for turn, number in turns[: settings.per_document]:
        by_page_within[number].append(by_page[number][turn])
    return by_page_within
