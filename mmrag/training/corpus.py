"""Documents, texts and pictures that the records of a data file name: checked, and put into an index.

Checked before hours are spent: a file that is missing or has changed, a page beyond the file, an id with two
contents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.errors import DocumentError
from mmrag.training.mining.records import LISTS

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader
    from mmrag.pipeline import DocumentQA

BATCH = 256
"""Texts or pictures that are embedded in one call."""


@dataclass(slots=True)
class Corpus:
    """The items of a data file, each once.

    Attributes:
        items: by the id that their record has in an index.
        files: for each file its page numbers, each with a query that needs it.
        texts, images: ids of items that are no page of a file.
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[int, str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def add(self, item: Mapping[str, Any], query_id: str, where: str) -> None:
        """Add an item of a query.

        Raises:
            ValueError: its id has another content already, or it has none.
        """
        key = record_id(item)
        if key in self.items:
            if _content(self.items[key]) != _content(item):
                raise ValueError(f"{where}: an id must have one content, got two of {item['id']!r}.")
            return
        self.items[key] = dict(item)
        if item.get("page") is not None and item.get("path"):
            self.files.setdefault(item["path"], {})[item["page"]] = f"the query {query_id!r}"
        elif item.get("image"):
            self.images.append(key)
        elif (item.get("text") or "").strip():
            self.texts.append(key)
        else:
            raise ValueError(
                f"{where}: an item must have text, an image or a path with a page, "
                f"got {item['id']!r} with none of them."
            )


def corpus_of(records: Sequence[Mapping[str, Any]], where: str) -> Corpus:
    """Return the items of records.

    Args:
        records: from `mmrag.training.mining.read_mined`.
        where: the file, for messages.

    Raises:
        ValueError: an id has two contents, or an item has none.
    """
    corpus = Corpus()
    for record in records:
        for item in items_of(record):
            corpus.add(item, record["query"]["id"], where)
    return corpus


def items_of(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all items of a record."""
    for name in LISTS:
        yield from record[name]


def record_id(item: Mapping[str, Any]) -> str:
    """Return the id that an item's record has in an index: a page's is made of its file's digest."""
    if item.get("page") is not None and item.get("path") and item.get("sha256"):
        return f"{item['sha256'][:16]}#p{item['page']}"
    return str(item["id"])


def _content(item: Mapping[str, Any]) -> list[object]:
    return [item.get(name) for name in ("sha256", "page", "text", "image")]


def check_pages(corpus: Corpus) -> int:
    """Open every file and check that it has the pages that are named; return how many pages all have.

    Raises:
        FileNotFoundError: a file or a picture is missing.
        DocumentError: one cannot be opened.
        ValueError: a page is beyond its file.
    """
    for id in corpus.images:
        path = corpus.items[id]["image"]
        if not Path(path).is_file():
            raise FileNotFoundError(f"a picture must exist, got {path} for {id!r}. Correct its path.")
    return check_page_numbers(corpus.files)


def check_page_numbers(files: Mapping[str, Mapping[int, str]]) -> int:
    """Open documents and check that they have the pages that are named; return how many pages all have.

    Args:
        files: for each document page numbers from 0, each with who needs the page, for messages.

    Raises:
        FileNotFoundError: a document is missing.
        DocumentError: one cannot be opened.
        ValueError: a page is beyond its file.
    """
    from mmrag.documents import DocumentReader

    total = 0
    with DocumentReader() as reader:
        for path, pages in files.items():
            last = max(pages)
            count = _page_count(reader, path, pages[last])
            if last >= count:
                raise ValueError(
                    f"a page must be within its file, got page {last} (from 0) of {path}, which has {count}, "
                    f"for {pages[last]}. Make the pairs again."
                )
            total += count
    return total


def _page_count(reader: DocumentReader, path: str, owner: str) -> int:
    """Open a document and return how many pages it has; `owner` needs it, for messages."""
    from mmrag.documents import Skipped, discover

    document = next(iter(discover(path)))
    if isinstance(document, Skipped):
        kind = DocumentError if Path(path).is_file() else FileNotFoundError
        raise kind(
            f"a document must exist and be readable, got {path} ({document.reason}) for "
            f"{owner}. Correct its path, or make the pairs again."
        )
    return reader.info(document).total_pages


def _remove_absent(qa: DocumentQA, corpus: Corpus) -> None:
    """Remove the documents that the corpus does not name."""
    files = {os.path.abspath(path) for path in corpus.files}  # noqa: PTH100  as documents are named
    for entry in qa.index.documents():
        for name in entry.names:
            if name not in files:
                qa.remove(name)


def fill_index(qa: DocumentQA, corpus: Corpus) -> None:
    """Add what the index lacks, and remove what the corpus does not name.

    Raises:
        DocumentError: a picture cannot be read.
        UnsupportedInputError: the embedder cannot take pictures.
    """
    _remove_absent(qa, corpus)
    qa.add(sorted(corpus.files))
    ids = set(qa.index.ids())
    documents = {entry.id for entry in qa.index.documents()}
    qa.delete(
        [id for id in sorted(ids) if id not in corpus.items and id.rpartition("#p")[0] not in documents]
    )
    for batch in _batches([id for id in corpus.texts if id not in ids]):
        qa.add_texts([corpus.items[id]["text"] for id in batch], ids=batch)
    for batch in _batches([id for id in corpus.images if id not in ids]):
        qa.add_images([corpus.items[id]["image"] for id in batch], ids=batch)


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), BATCH):
        yield list(ids[start : start + BATCH])
