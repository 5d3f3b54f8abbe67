"""Files into an index: new files, changed files, and files that it already holds.

Decisions taken here:

* A document is its content (sha256); its names are a list. A file that changed is a new document that takes
  over the name, and the old document goes with its last name.
* Pages are embedded and committed in batches (`mmrag.ingest.pages`). A document's entry says whether it is
  complete; adding an incomplete document again reads the pages that are missing.
* The entry names the reader settings. Other settings read the pages again; so does adding a file some of
  whose pages were left unread because their OCR took too long, or because the process that read them ended
  (a limit, a kill), for those pages.
* Ids are the first 64 bits of a digest, and digests are compared whole: another content with the id of one
  that the index holds is an error.
* An attached file is a document of its own, named after the one that carries it (``portfolio.pdf/a.pdf``);
  it goes with its carrier, and when this has changed. Adding a known carrier again with ``attachments=True``
  adds what it carries; the pages of the carrier are not read again.
* A file that changes while it is read is read once more, as it is then; the pages of what it was before,
  which nobody has any more, are removed. One that changes again is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.documents.conversion.choice import fingerprint, fingerprints
from mmrag.documents.inputs import LOST_PAGE, InputDocument, Skipped, discover
from mmrag.errors import DocumentError, SourceChangedError
from mmrag.index.base import DocumentEntry, Index
from mmrag.ingest.entries import DocumentEntries
from mmrag.ingest.pages import BATCH_PAGES as BATCH_PAGES
from mmrag.ingest.pages import LOST_ROWS, PageBatch, PageSource, WantedDocument
from mmrag.ingest.records import (
    checked_context,
    checked_metadata,
    context_text,
    name_metadata,
    name_of,
    page_record,
)
from mmrag.ingest.report import AddProgress, AddReport, Stopwatch
from mmrag.tracing.spans import span
from mmrag.types import Scalar

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader


@dataclass(frozen=True, slots=True)
class _Call:
    """One `add`: the caller's metadata, which of it is context, the entries, the report, the stopwatch."""

    metadata: dict[str, Scalar]
    context_keys: Sequence[str]
    entries: DocumentEntries
    report: AddReport
    stopwatch: Stopwatch


class Ingest:
    """Adds files to an index.

    Args:
        index: where the records go.
        source: reads the pages and computes their vectors.
        reader: gives the settings, and the files that are attached to others.
        folder: the index's own folder, whose files are never added. None in memory.
    """

    def __init__(
        self, index: Index, source: PageSource, reader: DocumentReader, folder: Path | None = None
    ) -> None:
        self._index = index
        self._source = source
        self._reader = reader
        self._folder = folder

    def add(
        self,
        inputs: Any,  # noqa: ANN401  what `discover` takes
        metadata: Mapping[str, Scalar] | None = None,
        progress: Callable[[AddProgress], None] | None = None,
        context: Sequence[str] = (),
    ) -> AddReport:
        """Add files, folders, globs, bytes or PIL images; `mmrag.DocumentQA.add` documents the arguments."""
        own_metadata = checked_metadata(metadata)
        keys = checked_context(context, [own_metadata])
        call = _Call(own_metadata, keys, DocumentEntries(self._index), AddReport(), Stopwatch(progress))
        return self._add_all(self._discover(inputs, call.report), call)

    def add_documents(
        self,
        documents: list[InputDocument],
        skipped: Sequence[Skipped],
        metadata: Mapping[str, Scalar] | None,
        progress: Callable[[AddProgress], None] | None,
        context: Sequence[str],
    ) -> AddReport:
        """Add documents that have been discovered; what was skipped then is in the report."""
        own_metadata = checked_metadata(metadata)
        keys = checked_context(context, [own_metadata])
        report = AddReport(skipped=list(skipped))
        return self._add_all(
            documents, _Call(own_metadata, keys, DocumentEntries(self._index), report, Stopwatch(progress))
        )

    def _add_all(self, documents: list[InputDocument], call: _Call) -> AddReport:
        """Add documents one after the other; one that cannot be read is skipped with the reason."""
        call.stopwatch.start(documents)
        self._source.expect(self._wanted_documents(documents, call))
        for position, document in enumerate(documents):
            call.stopwatch.start_file(position, document)
            try:
                with span("mmrag.add_file", "CHAIN") as trace:
                    trace.facts(file=name_of(document), kind=document.source.kind)
                    self._add_file(document, call)
            except DocumentError as error:
                reason = str(error).removeprefix(f"{document.source.name}: ")  # the report names the file
                call.report.skipped.append(Skipped(name=name_of(document), reason=reason))
        call.stopwatch.finish()
        call.report.stages = call.stopwatch.stages(self._source.stages())
        call.report.seconds = call.stopwatch.seconds
        return call.report

    def _discover(self, inputs: Any, report: AddReport) -> list[InputDocument]:  # noqa: ANN401
        """List the documents of the inputs, each once; the index's own files among them are left out."""
        documents: dict[tuple[str, str], InputDocument] = {}
        for item in discover(inputs):
            if self._is_own_file(item):
                continue
            if not isinstance(item, Skipped):
                documents.setdefault((name_of(item), item.source.sha256), item)
            elif item not in report.skipped:
                report.skipped.append(item)
        return list(documents.values())

    def _is_own_file(self, item: InputDocument | Skipped) -> bool:
        """Return whether this is a file of the index itself; the name of bytes is no path."""
        if self._folder is None or (not isinstance(item, Skipped) and item.data is not None):
            return False
        path = Path(item.name if isinstance(item, Skipped) else name_of(item)).absolute()
        return path.is_relative_to(self._folder) and os.path.lexists(path)

    def _add_file(self, document: InputDocument, call: _Call) -> None:
        """Add one file, once more as it is then if it changes meanwhile; raises as `_add_document` does."""
        try:
            self._add_document(document, call)
            self._add_attachments(document, call)
            return
        except SourceChangedError:
            is_there = document.url is not None or Path(name_of(document)).is_file()
            if document.data is not None or not is_there:
                raise
        for item in discover(name_of(document)):
            if isinstance(item, Skipped):
                call.report.skipped.append(item)
            else:
                self._add_document(item, call)
                self._add_attachments(item, call)

    def _add_attachments(self, carrier: InputDocument, call: _Call) -> None:
        """Add the files that a document carries, if the settings say so; what cannot be read is skipped."""
        if not self._reader.settings.attachments:
            return
        for item in self._reader.attachments(carrier):
            if isinstance(item, Skipped):
                call.report.skipped.append(item)
                continue
            try:
                self._add_document(item, call)
            except DocumentError as error:
                reason = str(error).removeprefix(f"{item.source.name}: ")
                call.report.skipped.append(Skipped(name=name_of(item), reason=reason))

    def _add_document(self, document: InputDocument, call: _Call) -> None:
        """Add one file, or find that there is nothing to do.

        Raises:
            DocumentError: the file cannot be read at all; the index then holds nothing of it.
        """
        name = name_of(document)
        before = call.entries.get(document.source.document_id)
        _check_digest(document, before)
        stale = [entry for entry in call.entries.entries_with(name) if entry is not before]
        same_settings = before is not None and self._is_current(before)
        if before is not None and self._is_done(before, call):
            self._add_name(before, name, call)
        else:
            self._add_pages(document, before, call)
            if before is not None and (before.complete or not same_settings):
                call.report.reread.append(name)
            else:
                (call.report.replaced if stale else call.report.added).append(name)
        for entry in stale:
            call.entries.drop_name(entry, name)

    def _wanted_documents(self, documents: Sequence[InputDocument], call: _Call) -> Iterator[WantedDocument]:
        """Yield the documents that `_add_document` will read, by what the index holds when each is asked for.

        A guess that a source works ahead by: what turns out otherwise costs time, and nothing else.
        """
        ids: set[str] = set()
        for document in documents:
            before = call.entries.get(document.source.document_id)
            if document.source.document_id in ids or (before and self._is_done(before, call)):
                continue
            ids.add(document.source.document_id)
            held_ids = self._held_pages(before)
            total = 0 if before is None else before.total_pages
            numbers = (number for number in range(total) if document.source.page_id(number) in held_ids)
            yield WantedDocument(document, frozenset(numbers))

    def _is_done(self, entry: DocumentEntry, call: _Call) -> bool:
        """Check that no page of a document is to be read."""
        return self._is_current(entry) and entry.complete and not self._has_unread_pages(entry, call)

    def _held_pages(self, before: DocumentEntry | None) -> set[str]:
        """Return the ids of a document's pages that are not read again."""
        if before is None or not self._is_current(before):
            return set()
        return set(self._index.ids({"doc_id": before.id})) - set(self._unread_pages(before.id))

    def _is_current(self, entry: DocumentEntry) -> bool:
        """Check whether an entry's pages were read with these settings, by a converter as good."""
        return entry.settings in fingerprints(entry.kind, self._reader.settings)

    def _has_unread_pages(self, entry: DocumentEntry, call: _Call) -> bool:
        """Check for pages that may be read today: their process ended, or their OCR took too long."""
        is_lost = any(reason.startswith((LOST_PAGE, LOST_ROWS)) for _, reason in entry.skipped)
        return is_lost or (call.entries.any_unread and bool(self._unread_pages(entry.id)))

    def _unread_pages(self, document_id: str) -> list[str]:
        """Return ids of pages whose OCR took too long, if OCR may be tried again."""
        if not self._reader.settings.ocr_runs:
            return []
        return self._index.ids({"doc_id": document_id, "text_source": "unread"})

    def _add_pages(self, document: InputDocument, before: DocumentEntry | None, call: _Call) -> None:
        """Read, embed and commit the pages that the index lacks."""
        entry = self._entry(document, before)
        pages = set(self._index.ids({"doc_id": entry.id}))
        old_pages = self._held_pages(before)
        # Until all pages are of the same settings, the entry names none: after a crash the next `add` then
        # reads them all again.
        is_mixed = bool(pages) and not (before is not None and self._is_current(before))
        data = self._source.stored_bytes(document)
        if data is not None:
            self._index.put_blob(document.source.sha256, data)
        if is_mixed:
            self._forget_pictures(document)
        call.entries.put(replace(entry, settings="") if is_mixed else entry)
        numbers = [n for n in range(entry.total_pages) if document.source.page_id(n) not in old_pages]
        counts = call.report.copy()
        try:
            bad = self._write_pages(document, entry, numbers, call)
        except SourceChangedError:
            if before is None:  # a part of a content that is gone
                call.entries.remove(entry.id)
                call.report.restore(counts)
            raise
        page_ids = {document.source.page_id(n) for n in range(entry.total_pages) if n not in bad}
        bad_ids = {document.source.page_id(n) for n in bad}
        # another converter may make fewer pages of a file: those of the one before are gone
        self._index.delete(sorted((pages | bad_ids) - page_ids))
        call.entries.put(replace(entry, complete=True, skipped=tuple(sorted(bad.items()))))

    def _entry(self, document: InputDocument, before: DocumentEntry | None) -> DocumentEntry:
        """Return the document's entry under its names and this one, not complete yet."""
        names = before.names if before is not None else ()
        if name_of(document) not in names:
            names = (*names, name_of(document))
        return DocumentEntry(
            id=document.source.document_id,
            sha256=document.source.sha256,
            kind=document.source.kind,
            names=names,
            total_pages=self._source.info(document).total_pages,
            settings=fingerprint(document.source.kind, self._reader.settings),
        )

    def _forget_pictures(self, document: InputDocument) -> None:
        """Delete the pictures that are kept of a document's pages: another converter draws them otherwise."""
        folder = None if self._folder is None else self._folder / "pictures"
        for path in () if folder is None else folder.glob(f"{document.source.sha256}-p*.png"):
            path.unlink(missing_ok=True)

    def _write_pages(
        self, document: InputDocument, entry: DocumentEntry, numbers: list[int], call: _Call
    ) -> dict[int, str]:
        """Add pages batch by batch; return the numbers of those left out, each with the reason."""
        bad: dict[int, str] = {}
        title = self._source.info(document).title
        context = context_text(call.metadata, call.context_keys, name=document.source.name, title=title)
        pages_done = entry.total_pages - len(numbers)
        for batch in self._source.batches(document, numbers):
            call.report.skipped += batch.failures
            bad |= {failure.page or 0: failure.reason for failure in batch.failures}
            bad |= self._commit(batch, entry, context, call)
            pages_done += batch.size
            call.stopwatch.count_pages(pages_done, entry.total_pages, len(batch.pages), self._source.stages)
        return bad

    def _commit(self, batch: PageBatch, entry: DocumentEntry, context: str, call: _Call) -> dict[int, str]:
        """Add pages; return the numbers of those that could not be embedded, each with the reason."""
        bad = {batch.pages[position].number: reason for position, reason in batch.reasons.items()}
        call.report.skipped += [Skipped(entry.names[-1], bad[number], number, entry.id) for number in bad]
        pages = [batch.pages[position] for position in batch.matrices]
        if pages:
            pairs = zip(pages, batch.matrices.values(), strict=True)
            with call.stopwatch.write(len(pages)):
                self._index.add(
                    [page_record(page, matrix, entry.names, call.metadata, context) for page, matrix in pairs]
                )
            call.report.count_pages(pages)
        return bad

    def _add_name(self, entry: DocumentEntry, name: str, call: _Call) -> None:
        """Note a further name and new metadata of a document that the index holds already."""
        values: dict[str, Scalar | tuple[Scalar, ...]] = dict(call.metadata)
        if name in entry.names:
            call.report.unchanged.append(name)
        else:
            entry = replace(entry, names=(*entry.names, name))
            call.entries.put(entry)
            values |= name_metadata(entry.names)
            call.report.renamed.append(name)
        if values:
            self._index.update_metadata(self._index.ids({"doc_id": entry.id}), values)


def _check_digest(document: InputDocument, entry: DocumentEntry | None) -> None:
    """Refuse a content whose id stands for another in the index.

    Raises:
        DocumentError: the digests are the same in the digits of the id alone.
    """
    source = document.source
    if entry is not None and entry.sha256 != source.sha256:
        raise DocumentError(
            f"{source.name}: a document's id must stand for one content, got {source.document_id} for sha256 "
            f"{source.sha256} and, in the index, for {entry.sha256} ({entry.names[-1]}). Remove that one, or "
            "save this file anew: any change of its bytes gives it another id."
        )
