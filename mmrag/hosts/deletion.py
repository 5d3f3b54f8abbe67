"""Deleting from a host's store: by id, by filter, by file or folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.ingest.removal import delete_records

if TYPE_CHECKING:
    from mmrag.index import Index
    from mmrag.index.filters import Filter
    from mmrag.pipeline import DocumentQA


def id_list(ids: str | Sequence[str]) -> list[str]:
    """Return ids as a list; a string is one id, not its letters."""
    return [ids] if isinstance(ids, str) else list(ids)


def matching_ids(index: Index, ids: str | Sequence[str] | None, filter: Filter | None) -> list[str]:
    """Return those of `ids` that pass the filter, in their order; None means all ids of the index."""
    matches = index.ids(filter)
    if ids is None:
        return matches
    match_set = set(matches)
    return [id for id in id_list(ids) if id in match_set]


def delete_matching(index: Index, ids: str | Sequence[str] | None, filter: Filter | None) -> int:
    """Delete the records of these ids that pass the filter; None means all ids.

    Returns:
        Number of records deleted.

    Raises:
        ValueError: the filter is empty, which everything passes, or is not valid.
    """
    if filter is not None and not filter:
        raise ValueError(
            "a filter to delete by must have a condition, got {}, which every record passes. "
            "Delete everything by giving neither ids nor filter."
        )
    return delete_records(index, matching_ids(index, ids, filter))


def delete_path(qa: DocumentQA, path: str) -> int:
    """Delete the pages of a file or of a folder's files, if there are any; see `DocumentQA.remove`.

    Returns:
        Number of records deleted; 0 if no document has this path or lies below it.
    """
    whole = Path(path).expanduser().absolute()
    names = [Path(name) for entry in qa.index.documents() for name in entry.names]
    return qa.remove(path) if any(name == whole or whole in name.parents for name in names) else 0


def delete_document(index: Index, document_id: str) -> None:
    """Delete a document's pages, the items made from it, and an item of that id."""
    index.remove_document(document_id)
    made_from_it = index.ids({"$or": [{"ref_doc_id": document_id}, {"doc_id": document_id}]})
    index.delete([*made_from_it, document_id])


def clear(index: Index) -> None:
    """Delete everything in an index."""
    for entry in index.documents():
        index.remove_document(entry.id)
    index.delete(index.ids())
