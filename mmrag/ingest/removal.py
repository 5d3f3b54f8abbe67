"""Records and documents out of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmrag.files import utf8_name
from mmrag.index.base import DocumentEntry, Index
from mmrag.index.filters import Filter
from mmrag.ingest.records import name_metadata

MOST_NAMED = 5
"""Documents that a message names."""


def drop_name(index: Index, entry: DocumentEntry, name: str) -> int:
    """Take a name from a document, and remove the document with its last name.

    The names of the files attached to it, which begin with its own, go too.

    Returns:
        Number of pages removed.
    """
    count = _without_names(index, entry, {name})
    for carried_entry in index.documents():
        if old_names := {name2 for name2 in carried_entry.names if name2.startswith(f"{name}/")}:
            count += _without_names(index, carried_entry, old_names)
    return count


def _without_names(index: Index, entry: DocumentEntry, old_names: set[str]) -> int:
    """Take names from a document; return the number of pages removed with its last one."""
    names = tuple(name for name in entry.names if name not in old_names)
    if not names:
        return index.remove_document(entry.id)
    index.put_document(replace(entry, names=names))
    index.update_metadata(index.ids({"doc_id": entry.id}), name_metadata(names))
    return 0


def delete_records(index: Index, ids: str | Sequence[str]) -> int:
    """Delete records by id, or one by its id; unknown ids are passed over.

    A document that lost pages is marked incomplete, one that lost all pages is removed.

    Returns:
        Number of records deleted.
    """
    id_list = [ids] if isinstance(ids, str) else list(ids)
    documents = {record.page.document_id for record in index.get(id_list) if record.page is not None}
    count = index.delete(id_list)
    for entry in index.documents():
        if entry.id in documents and index.count({"doc_id": entry.id}):
            index.put_document(replace(entry, complete=False))
        elif entry.id in documents:
            index.remove_document(entry.id)
    return count


def remove(index: Index, target: str | Path | None, filter: Filter | None) -> int:
    """Remove a document, the documents of a folder, a record, or what passes a filter.

    Returns:
        Number of records removed.

    Raises:
        ValueError: nothing has this name, a file name fits several documents, both or neither of `target` and
            `filter` are given, or the filter has no condition.
    """
    if (target is None) == (filter is None):
        number = "neither" if target is None else "both"
        raise ValueError(f"what to remove must be a name or a filter, got {number}. Pass one of them.")
    if filter is not None:
        if not filter:
            raise ValueError(
                f"a filter of what to remove must have a condition, got {filter!r}. "
                "For all records: delete(qa.index.ids())."
            )
        return delete_records(index, index.ids(filter))
    return _remove_target(index, str(target))


def _remove_target(index: Index, target: str) -> int:
    """Remove a document by its id, path, file name or folder, or a record by its id."""
    if not target.strip():
        raise ValueError(f"the name of what to remove must not be empty, got {target!r}.")
    entries = index.documents()
    if any(entry.id == target for entry in entries):
        return index.remove_document(target)
    matches = _entries_by_name(entries, target)
    if len(matches) > 1:
        names = ", ".join(sorted(name for _, name in matches)[:MOST_NAMED])
        raise ValueError(
            f"the name to remove must fit one document, got {target!r}, which fits {names}. "
            "Give the whole path or the document id."
        )
    if matches:
        return drop_name(index, *matches[0])
    if names_below := _names_in_folder(entries, target):
        return sum(_drop_if_there(index, name) for name in names_below)
    if delete_records(index, [target]):
        return 1
    raise ValueError(
        f"what to remove must be in the index, got {target!r}. `status()` lists its documents and ids."
    )


def _names_in_folder(entries: Sequence[DocumentEntry], target: str) -> list[str]:
    """Return the names of documents whose files lie in a folder or below it."""
    folder = Path(target).expanduser().absolute()
    names = [name for entry in entries for name in entry.names]
    return [name for name in names if folder in Path(name).parents]


def _drop_if_there(index: Index, name: str) -> int:
    """Take a name from the document that has it; one that a carrier's removal took before is passed over."""
    entry = next((entry for entry in index.documents() if name in entry.names), None)
    return 0 if entry is None else drop_name(index, entry, name)


def _entries_by_name(entries: Sequence[DocumentEntry], target: str) -> list[tuple[DocumentEntry, str]]:
    """Return entries and names that equal `target` or its absolute path; else those of this file name.

    A name that is not UTF-8 may be given as it is, or as it is shown (`mmrag.files.utf8_name`).
    """
    pairs = [(entry, name) for entry in entries for name in entry.names]
    absolute = str(Path(target).expanduser().absolute())
    exact = [(entry, name) for entry, name in pairs if {name, utf8_name(name)} & {target, absolute}]
    return exact or [
        (entry, name) for entry, name in pairs if target in (Path(name).name, utf8_name(Path(name).name))
    ]
