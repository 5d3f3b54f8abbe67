"""Records of pages: the metadata that every page has, and the names that a document is known by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.embedders.base import searchable_text
from mmrag.files import name_words, utf8_name
from mmrag.index.records import check_metadata, flat_metadata
from mmrag.ingest.page_language import page_language
from mmrag.types import Matrix, Page, Record, Scalar

if TYPE_CHECKING:
    from mmrag.documents import InputDocument

RESERVED_KEYS = (
    "source",
    "file_path",
    "file_name",
    "doc_id",
    "page",
    "page_label",
    "total_pages",
    "text_source",
)
"""Metadata keys that every page record has; a caller's own keys must be others."""


def name_of(document: InputDocument) -> str:
    """Return the name that the index knows a document by: its path, or the name of bytes and images."""
    return document.name


def checked_metadata(metadata: Mapping[str, Scalar] | None) -> dict[str, Scalar]:
    """Copy the caller's metadata in the form that is stored, before anything else is.

    Raises:
        ValueError: a key is one of `RESERVED_KEYS`, or a value cannot be stored.
    """
    clashes = sorted(set(metadata or ()) & set(RESERVED_KEYS))
    if clashes:
        raise ValueError(
            f"metadata keys must not be {', '.join(RESERVED_KEYS)} (every page has them), "
            f"got {', '.join(clashes)}. Choose other names."
        )
    flat: dict[str, Scalar] = flat_metadata({} if metadata is None else metadata)
    check_metadata(flat, "of this call")
    return dict(flat)


def checked_context(keys: Sequence[str], metadata: Sequence[Mapping[str, Scalar]]) -> tuple[str, ...]:
    """Return the keys of metadata whose values are words of the context.

    Raises:
        ValueError: `keys` is one string, or no metadata of the call has a key.
    """
    unknown = set(keys) - {key for values in metadata for key in values} if metadata else set()
    if isinstance(keys, str) or unknown:
        raise ValueError(
            f"context must list keys of this call's metadata, got {keys!r}. "
            "Pass them in metadata, too: add(..., metadata={'title': '...'}, context=['title'])."
        )
    return tuple(keys)


def name_metadata(names: Sequence[str]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Return the keys that follow from a document's names; several names make several values.

    Names that are not UTF-8 are written as `mmrag.files.utf8_name` has them.
    """
    names = [utf8_name(name) for name in names]
    files = tuple(dict.fromkeys(Path(name).name for name in names))
    paths = tuple(names)
    path_value = paths if len(paths) > 1 else paths[0]
    return {
        "source": path_value,
        "file_path": path_value,
        "file_name": files if len(files) > 1 else files[0],
    }


def page_metadata(page: Page, names: Sequence[str]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Return the keys of `RESERVED_KEYS` with their values, and ``language`` where the page's is plain.

    The language is no reserved key: a caller who knows it better writes it over.
    """
    language = page_language(page.text)
    return {
        **name_metadata(names),
        "doc_id": page.document_id,
        "page": page.number,
        "page_label": page.label,
        "total_pages": page.total_pages,
        "text_source": page.text_source,
        **({} if language is None else {"language": language}),
    }


MOST_CONTEXT = 600
"""Letters of a context; longer ones are cut, so that a page stays longer than what stands before it."""


def context_text(
    metadata: Mapping[str, Scalar], keys: Sequence[str], *, name: str = "", title: str = ""
) -> str:
    """Return the words by which a document is known, in one line; what stands there already is left out.

    Args:
        metadata: the caller's.
        keys: of the metadata whose values are such words.
        name: file name or path.
        title: the file's own.
    """
    values = [_words_of(metadata[key]) for key in keys if metadata.get(key) is not None]
    parts: list[str] = []
    for part in (*values, " ".join(title.split()), name_words(name)):
        if part and part.casefold() not in " ".join(parts).casefold():
            parts.append(part)
    return " ".join(parts)[:MOST_CONTEXT]


def _words_of(value: object) -> str:
    """Return a value of metadata, or several, as words."""
    parts = value if isinstance(value, (tuple, list)) else (value,)
    return " ".join(" ".join(map(str, parts)).split())


def page_context(context: str, page: Page) -> str:
    """Return a document's context with the sections that a page is of."""
    return " ".join([context, *page.section])[: 2 * MOST_CONTEXT].strip()


def page_record(
    page: Page, matrix: Matrix, names: Sequence[str], metadata: Mapping[str, Scalar], context: str
) -> Record:
    """Build the record of a page.

    Args:
        page: its image is left out.
        matrix: ``(rows, dim)``, the page's vectors.
        names: of its document, at least one.
        metadata: the caller's, checked.
        context: of its document.
    """
    return Record(
        id=page.id,
        matrix=matrix,
        text=searchable_text(page),
        metadata={**page_metadata(page, names), **metadata},
        page=replace(page, image=None),
        context=page_context(context, page),
    )
