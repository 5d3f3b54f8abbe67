"""A look at all that is stored, and what can be made again of the rest.

Read back and compared: every record's bytes with their checksums, its rows with theirs, the fields by which
it is found with those that its text and metadata give, documents and bytes. The engine's own vectors are not
read
back: what is scored and handed out are the rows, and the engine has checksums of its own files.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from mmrag.errors import IndexDamagedError
from mmrag.index.check_report import CheckReport, Fault
from mmrag.index.qdrant.collection import Collection, StoredPoint
from mmrag.index.qdrant.conditions import METADATA, filter_fields
from mmrag.index.qdrant.files import FilePoints, Identity, decode_document
from mmrag.index.qdrant.points import FULL_FIELDS, draft_of, record_of, stored_record
from mmrag.index.qdrant.words import Tokenizer
from mmrag.index.rows import RowCodec
from mmrag.types import Record

ABANDONED_SECONDS = 3600
"""Age from which a record that was staged and never made live counts as left behind."""

_PART = 200
_FOUND_BY = ("document", "terms", "counts", "length", "first", "identity", "date", "version")


def check_index(
    pages: Collection,
    files: FilePoints,
    rows: RowCodec,
    tokenizer: Tokenizer,
    identity: Identity,
    address: str,
    *,
    repair: bool,
) -> CheckReport:
    """Read all that is stored; see `Index.check`."""
    check = _Check(pages, files, rows, tokenizer, identity, repair=repair)
    count = check.records()
    check.documents()
    check.blobs()
    return CheckReport(
        None,
        count,
        tuple(check.faults),
        (f"Looked at {address}; the engine's vectors were not read.",),
        repair,
    )


class _Check:
    """One check; gathers its faults."""

    def __init__(
        self,
        pages: Collection,
        files: FilePoints,
        rows: RowCodec,
        tokenizer: Tokenizer,
        identity: Identity,
        *,
        repair: bool,
    ) -> None:
        self._pages = pages
        self._files = files
        self._rows = rows
        self._tokenizer = tokenizer
        self._identity = identity
        self._repair = repair
        self._incomplete: set[str] = set()
        self.faults: list[Fault] = []

    def _note(self, part: str, key: str, problem: str, repair: str) -> None:
        self.faults.append(Fault(part, key, problem, repair if self._repair else None))

    def records(self) -> int:
        """Look at every point of the pages; return how many records are whole."""
        count = 0
        offset: str | None = None
        fields = (*FULL_FIELDS, *_FOUND_BY, METADATA, "live", "batch")
        while True:
            points, offset = self._pages.scroll({"must": []}, fields, _PART, offset)
            for point in points:
                if point.payload.get("live") == 1:
                    count += self._record(point)
                else:
                    self._check_staged(point)
            if offset is None:
                return count

    def _check_staged(self, point: StoredPoint) -> None:
        """Look at a record that is not live: it is being added, or its writer ended before it was."""
        age = time.time() - int(point.payload.get("order") or 0) / 1e6
        if age > ABANDONED_SECONDS:
            key = str(point.payload.get("id"))
            self._note("orphan", key, "staged by a call of add that never ended", "deleted")
            if self._repair:
                self._pages.delete([point.id])

    def _record(self, point: StoredPoint) -> bool:
        """Look at a record; return whether it is whole."""
        key = str(point.payload.get("id"))
        try:
            wrong = stored_record(point.payload, matrices=True).wrong_parts()
            if wrong == ["blocks"]:
                self._note("blocks", key, "other bytes than those its checksum is of", "taken away")
                if self._repair:
                    self._pages.set_payload([(point.id, {"blocks": None, "blocks_sum": None})])
                return True
            record = record_of(point, self._rows, matrices=True)
        except IndexDamagedError as error:
            part = error.part if error.part in ("record", "matrix") else "record"
            self._note(part, key, str(error), "deleted; its document is read again by the next add")
            self._incomplete.add(str(point.payload.get("document")))
            if self._repair:
                self._pages.delete([point.id])
            return False
        self._check_fields(point, record)
        return True

    def _check_fields(self, point: StoredPoint, record: Record) -> None:
        """Compare the fields by which a record is found with those that it gives."""
        matrix = record.matrix
        if matrix is None:
            return
        short = self._identity.vectors == "float16"
        draft = draft_of(record, matrix, self._rows, self._tokenizer, self._identity.pivot, short=short)
        wrong_fields = [
            name for name in _FOUND_BY if not _is_same(point.payload.get(name), draft.payload.get(name))
        ]
        if point.payload.get(METADATA, {}) != filter_fields(record.metadata):
            wrong_fields.append("metadata")
        if not wrong_fields:
            return
        part = "metadata" if wrong_fields == ["metadata"] else "text"
        self._note(part, record.id, f"other {', '.join(wrong_fields)} than it gives", "made again")
        if self._repair:
            order = int(point.payload.get("order") or 0)
            self._pages.upsert([draft.point(order, str(point.payload.get("batch")), live=True)])

    def documents(self) -> None:
        """Look at the documents; mark those incomplete that lost a record."""
        for point in self._files.document_points():
            key = str(point.payload.get("key"))
            try:
                entry = decode_document(point)
            except IndexDamagedError as error:
                self._note("document", key, str(error), "deleted; the next add of the file reads it again")
                if self._repair:
                    self._files.collection.delete([point.id])
                continue
            if self._repair and entry.id in self._incomplete and entry.complete:
                self._files.put_document(replace(entry, complete=False))

    def blobs(self) -> None:
        """Look at the bytes."""
        for key in self._files.blob_keys():
            try:
                whole = self._files.get_blob(key) is not None
            except IndexDamagedError:
                whole = False
            if not whole:
                self._note("blob", key, "not all of what was written", "deleted")
                if self._repair:
                    self._files.delete_blobs([key])


def _is_same(left: Any, right: Any) -> bool:  # noqa: ANN401  values of JSON
    """Compare two fields; the order of terms says nothing."""
    return (left or None) == (right or None)
