"""What the lines of a data file name: documents, texts and pictures, checked, and put into an index.

Checked before hours are spent: a file that is not there or has changed, a page beyond the file, an id that
stands for two things.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.training.mining.records import LISTS

if TYPE_CHECKING:
    from mmrag.pipeline import DocumentQA

BATCH = 256
"""Texts and pictures that are embedded in one call."""


@dataclass(slots=True)
class Corpus:
    """The items of a data file, each once.

    Attributes:
        items: by the id that its record has in an index.
        files: the pages that are named, by file.
        texts, images: ids of items that are no page of a file.
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[int, str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)


def corpus_of(lines: Sequence[Mapping[str, Any]], where: str) -> Corpus:
    """The items of these lines.

    Args:
        lines: as `mmrag.training.mining.read_mined` gives them.
        where: the file, for messages.

    Raises:
        ValueError: an id stands for two different things, or an item has nothing in it.
    """
    corpus = Corpus()
    for line in lines:
        for item in items_of(line):
            key = record_id(item)
            known = corpus.items.get(key)
            if known is not None:
                if _content(known) != _content(item):
                    raise ValueError(
                        f"{where}: the id {item['id']!r} must stand for one thing, got two of it."
                    )
                continue
            corpus.items[key] = dict(item)
            if item.get("page") is not None and item.get("path"):
                corpus.files.setdefault(item["path"], {})[item["page"]] = line["query"]["id"]
            elif item.get("image"):
                corpus.images.append(key)
            elif (item.get("text") or "").strip():
                corpus.texts.append(key)
            else:
                raise ValueError(
                    f"{where}: an item must have text, an image or a path with a page, "
                    f"got {item['id']!r} with none of them."
                )
    return corpus


def items_of(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All items of a line."""
    for name in LISTS:
        yield from line[name]


def record_id(item: Mapping[str, Any]) -> str:
    """The id that an item's record has in an index: a page's is made of its file's digest."""
    if item.get("page") is not None and item.get("path") and item.get("sha256"):
        return f"{item['sha256'][:16]}#p{item['page']}"
    return str(item["id"])


def _content(item: Mapping[str, Any]) -> list[object]:
    return [item.get(name) for name in ("sha256", "page", "text", "image")]


def check_pages(corpus: Corpus) -> int:
    """Open every file and look whether it has the pages that are named; how many pages all have.

    Raises:
        FileNotFoundError: a file or a picture is not there.
        DocumentError: one cannot be opened.
        ValueError: a page is beyond its file.
    """
    from mmrag.documents import DocumentReader, Skipped, discover

    for id in corpus.images:
        path = corpus.items[id]["image"]
        if not Path(path).is_file():
            raise FileNotFoundError(f"a picture must be there, got {path} for {id!r}. Mend its path.")
    total = 0
    with DocumentReader() as reader:
        for path, pages in corpus.files.items():
            last = max(pages)
            found = next(iter(discover(path)))
            if isinstance(found, Skipped):
                raise FileNotFoundError(
                    f"a document must be there and readable, got {path} ({found.reason}) for the query "
                    f"{pages[last]!r}. Mend its path, or make the pairs again."
                )
            count = reader.info(found).total_pages
            if last >= count:
                raise ValueError(
                    f"a page must be within its file, got page {last} (from 0) of {path}, which has {count}, "
                    f"for the query {pages[last]!r}. Make the pairs again."
                )
            total += count
    return total


def fill_index(qa: DocumentQA, corpus: Corpus) -> None:
    """Add what is not in the index yet, and take away what the data no longer names.

    Raises:
        DocumentError: a picture cannot be read.
        UnsupportedInputError: the embedder cannot take pictures.
    """
    files = {os.path.abspath(path) for path in corpus.files}  # noqa: PTH100  as documents are named
    for entry in qa.index.documents():
        for name in entry.names:
            if name not in files:
                qa.remove(name)
    qa.add(sorted(corpus.files))
    there = set(qa.index.ids())
    documents = {entry.id for entry in qa.index.documents()}
    qa.delete(
        [id for id in sorted(there) if id not in corpus.items and id.rpartition("#p")[0] not in documents]
    )
    texts = [id for id in corpus.texts if id not in there]
    for start in range(0, len(texts), BATCH):
        ids = texts[start : start + BATCH]
        qa.add_texts([corpus.items[id]["text"] for id in ids], ids=ids)
    images = [id for id in corpus.images if id not in there]
    for start in range(0, len(images), BATCH):
        ids = images[start : start + BATCH]
        qa.add_images([corpus.items[id]["image"] for id in ids], ids=ids)
