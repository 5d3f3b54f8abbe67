"""Metadata that every page record has, from a page and the names of its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmrag.types import Page, Scalar

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


def checked_metadata(metadata: Mapping[str, Scalar] | None) -> dict[str, Scalar]:
    """The caller's metadata as a dict.

    Raises:
        ValueError: a key is one of `RESERVED_KEYS`.
    """
    taken = sorted(set(metadata or ()) & set(RESERVED_KEYS))
    if taken:
        raise ValueError(
            f"metadata keys must not be {', '.join(RESERVED_KEYS)} (every page has them), "
            f"got {', '.join(taken)}. Choose other names."
        )
    return dict(metadata or {})


def name_metadata(names: Sequence[str]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """The keys that follow from a document's names; several names make several values."""
    files = tuple(dict.fromkeys(Path(name).name for name in names))
    paths = tuple(names)
    path_value = paths if len(paths) > 1 else paths[0]
    return {
        "source": path_value,
        "file_path": path_value,
        "file_name": files if len(files) > 1 else files[0],
    }


def page_metadata(page: Page, names: Sequence[str]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """The keys that every page record has."""
    return {
        **name_metadata(names),
        "doc_id": page.document_id,
        "page": page.number,
        "page_label": page.label,
        "total_pages": page.total_pages,
        "text_source": page.text_source,
    }
