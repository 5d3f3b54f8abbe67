"""The documents of an index by id and by name, for one call that adds files.

An index lists its documents in a time that grows with their number; asked for every file of a folder, that
would grow with the square. So a call lists them once, at its beginning, and notes here what it writes. What
other threads add or remove meanwhile it does not see; the next call does.
"""

from __future__ import annotations

from functools import cached_property

from mmrag.index.base import DocumentEntry, Index
from mmrag.ingest.removal import drop_name


class DocumentEntries:
    """The entries of an index, listed once; every change of the call goes through it.

    Args:
        index: is read and written.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._load()

    def _load(self) -> None:
        self._by_id: dict[str, DocumentEntry] = {}
        self._ids_by_name: dict[str, dict[str, None]] = {}  # sets in the order of the index
        for entry in self._index.documents():
            self._note(entry)

    @cached_property
    def any_unread(self) -> bool:
        """Whether OCR took too long on any page of the index, when this was first asked."""
        return bool(self._index.ids({"text_source": "unread"}))

    def get(self, document_id: str) -> DocumentEntry | None:
        """Return the entry of a document; None if there is none."""
        return self._by_id.get(document_id)

    def entries_with(self, name: str) -> list[DocumentEntry]:
        """Return the entries that have this name."""
        return [self._by_id[document_id] for document_id in self._ids_by_name.get(name, ())]

    def put(self, entry: DocumentEntry) -> None:
        """Add an entry to the index, or replace it."""
        self._index.put_document(entry)
        self._note(entry)

    def remove(self, document_id: str) -> None:
        """Remove a document and its pages from the index."""
        self._index.remove_document(document_id)
        self._forget(document_id)

    def drop_name(self, entry: DocumentEntry, name: str) -> None:
        """Take a name from a document and from those attached to it; see `mmrag.ingest.removal.drop_name`."""
        drop_name(self._index, entry, name)
        self._load()

    def _note(self, entry: DocumentEntry) -> None:
        self._forget(entry.id)
        self._by_id[entry.id] = entry
        for name in entry.names:
            self._ids_by_name.setdefault(name, {})[entry.id] = None

    def _forget(self, document_id: str) -> None:
        entry = self._by_id.pop(document_id, None)
        for name in () if entry is None else entry.names:
            del self._ids_by_name[name][document_id]
