"""Bytes of the last few documents that were read from a URL."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace

from mmrag.documents.inputs import InputDocument
from mmrag.documents.remote import read_file
from mmrag.errors import DocumentError, SourceChangedError
from mmrag.forks import new_lock

MOST_KEPT = 2
"""Documents: the one that is read, and one beside it."""


class RemoteDocuments:
    """Fetches documents that have a URL; usable from any thread."""

    def __init__(self) -> None:
        """Fetch nothing yet."""
        self._lock = new_lock()
        self._documents: OrderedDict[tuple[str, str], InputDocument] = OrderedDict()

    def fetch(self, document: InputDocument) -> InputDocument:
        """Return a document with its bytes; one that has them, or a path, as it is.

        Raises:
            SourceChangedError: the file is gone, or is not the file that was discovered.
        """
        if document.url is None or document.data is not None:
            return document
        key = (document.url, document.source.sha256)
        with self._lock:
            kept_document = self._documents.get(key)
        if kept_document is not None:
            return kept_document
        name = document.source.name
        try:
            data = read_file(document.url)
        except DocumentError as error:
            raise SourceChangedError(f"{name}: {document.url} {error}. Add it again.") from error
        if hashlib.sha256(data).hexdigest() != document.source.sha256:
            raise SourceChangedError(f"{name}: the file at {document.url} has changed. Add it again.")
        with self._lock:
            self._documents[key] = fetched_document = replace(document, data=data)
            while len(self._documents) > MOST_KEPT:
                self._documents.popitem(last=False)
        return fetched_document
