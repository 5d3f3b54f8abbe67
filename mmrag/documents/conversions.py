"""Conversions of a reader: by LibreOffice in a process of its own, by the package's readers in a worker."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

from mmrag.documents.conversion.base import CONVERTED_KINDS, Conversion, from_plain
from mmrag.documents.conversion.choice import converter_name, office_path, own_converter
from mmrag.documents.conversion.libreoffice import LibreOffice
from mmrag.documents.inputs import InputDocument
from mmrag.documents.pool import WorkerDiedError, WorkerPool
from mmrag.documents.settings import ReaderSettings
from mmrag.errors import DocumentError, SourceChangedError
from mmrag.forks import new_lock

MOST_BYTES = 1 << 28
"""Of a file that is converted."""

_MOST_KEPT = 4  # conversions in memory


class Conversions:
    """Converts documents and keeps the last few; usable from any thread.

    Args:
        settings: of the reader.
        pool: its workers.
    """

    def __init__(self, settings: ReaderSettings, pool: WorkerPool) -> None:
        """Convert nothing yet."""
        self._settings = settings
        self._pool = pool
        self._lock = new_lock()
        self._conversions: OrderedDict[str, Conversion] = OrderedDict()

    def of(self, document: InputDocument) -> Conversion | None:
        """Return a document as PDF; None for one whose pages are its converter.

        Bytes that are a PDF are taken as they are: an index has kept them (`DocumentReader.stored_bytes`).

        Raises:
            DocumentError: nothing here converts it, it cannot be converted, or it breaks a limit.
            SourceChangedError: its file is gone, or is not the file that was discovered.
        """
        if document.source.kind not in CONVERTED_KINDS:
            return None
        if document.data is not None and document.data.startswith(b"%PDF-"):
            return Conversion(document.data)
        key = f"{document.source.sha256} {document.source.kind}"
        with self._lock:
            conversion = self._conversions.get(key)
        if conversion is None:
            conversion = self._convert(document)
        with self._lock:
            self._conversions[key] = conversion
            self._conversions.move_to_end(key)
            while len(self._conversions) > _MOST_KEPT:
                self._conversions.popitem(last=False)
        return conversion

    def _convert(self, document: InputDocument) -> Conversion:
        kind, name = document.source.kind, document.source.name
        try:
            converter_name(kind, self._settings)
        except DocumentError as error:
            raise DocumentError(f"{name}: {error}.") from error
        data = _bytes_of(document)
        converter = own_converter(kind, self._settings)
        if converter is not None:
            return converter.convert(data, kind=kind, name=name)
        path = office_path(kind, self._settings)
        printed_file = None
        if path is not None:
            self._ask("check", data, kind, name)
            office = LibreOffice(
                path, seconds=self._settings.office_seconds, memory_mb=self._settings.memory_mb
            )
            printed_file = office.print(data, kind, name)
        return from_plain(self._ask("convert", data, kind, name, printed_file))

    def _ask(
        self, operation: str, data: bytes, kind: str, name: str, printed_file: bytes | None = None
    ) -> dict[str, Any]:
        """Run a step of the conversion in a worker."""
        job = {"op": operation, "data": data, "kind": kind, "name": name, "printed": printed_file}
        with self._pool.worker() as worker:
            try:
                reply = worker.ask(job, self._settings.office_seconds)
            except WorkerDiedError as death:
                raise DocumentError(f"{name}: converting it {death}.") from death
        if not reply["ok"]:
            message = str(reply["message"])
            raise DocumentError(message if reply["error"] == "document" else f"{name}: {message}.")
        return reply


def _bytes_of(document: InputDocument) -> bytes:
    """Return the bytes of a document, those that were discovered."""
    source = document.source
    if document.data is not None:
        return document.data
    assert source.path is not None
    try:
        size = Path(source.path).stat().st_size
        if size > MOST_BYTES:
            raise DocumentError(
                f"{source.name}: a file to convert must have at most {MOST_BYTES >> 20} MiB, "
                f"got {size >> 20}. Split it."
            )
        data = Path(source.path).read_bytes()
    except OSError as error:
        raise SourceChangedError(
            f"{source.name}: {source.path} cannot be read any more ({error.strerror}). Add it again."
        ) from error
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise SourceChangedError(f"{source.name}: the file at {source.path} has changed. Add it again.")
    return data
