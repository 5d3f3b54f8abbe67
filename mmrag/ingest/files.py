"""Files into an index: what is new, what changed, what is there already.

Decisions taken here:

* A document is its content (sha256); its names are a list. A file that changed is a new document which
  takes over the name, and the old one goes when it has no name left.
* Pages are embedded and committed in batches of `BATCH_PAGES`. A document's entry says whether it is
  complete; one that is not is gone on with from the first page that is missing.
* The entry names the reader settings. Other settings read the pages again; so does adding a file some
  of whose pages were left unread because their OCR took too long, for those pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmrag.embedders.base import searchable_text
from mmrag.errors import DocumentError
from mmrag.index.base import DocumentEntry, Index
from mmrag.ingest.embedding import embedded, image_pixels, refuse_skipped
from mmrag.ingest.metadata import checked_metadata, name_metadata, page_metadata
from mmrag.ingest.report import AddReport, Clock
from mmrag.types import Page, Record, Scalar

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader, InputDocument
    from mmrag.embedders.base import Embedder

BATCH_PAGES = 16
"""Pages embedded and committed together: the most that a crash can lose."""


class Ingest:
    """Adds documents to an index, one at a time.

    Args:
        index: where the records go.
        embedder: makes their vectors.
        reader: makes pages of files.
    """

    def __init__(self, index: Index, embedder: Embedder, reader: DocumentReader) -> None:
        self._index = index
        self._embedder = embedder
        self._reader = reader
        self._settings = reader.settings.fingerprint()

    def add(self, found: InputDocument, extra: Mapping[str, Scalar], report: AddReport, clock: Clock) -> None:
        """Add one file, or find that there is nothing to do.

        Raises:
            DocumentError: the file cannot be read at all; nothing of it is in the index then.
        """
        name = name_of(found)
        entries = {entry.id: entry for entry in self._index.documents()}
        before = entries.get(found.source.document_id)
        stale = [entry for entry in entries.values() if name in entry.names and entry is not before]
        same = before is not None and before.settings == self._settings
        if before is not None and same and before.complete and not self._unread(before.id):
            self._add_name(before, name, extra, report)
        else:
            self._add_pages(found, before, same, extra, report, clock)
            if before is not None and (before.complete or not same):
                report.reread.append(name)
            else:
                (report.replaced if stale else report.added).append(name)
        for entry in stale:
            drop_name(self._index, entry, name)

    def _unread(self, document_id: str) -> list[str]:
        """Pages whose OCR took too long, where it may be tried again."""
        if not self._reader.settings.ocr_runs:
            return []
        return self._index.ids({"doc_id": document_id, "text_source": "unread"})

    def _add_pages(
        self,
        found: InputDocument,
        before: DocumentEntry | None,
        same: bool,
        extra: Mapping[str, Scalar],
        report: AddReport,
        clock: Clock,
    ) -> None:
        """Read, embed and commit the pages that are not there yet."""
        info = self._reader.info(found)
        names = before.names if before is not None else ()
        if name_of(found) not in names:
            names = (*names, name_of(found))
        entry = DocumentEntry(
            id=found.source.document_id,
            sha256=found.source.sha256,
            kind=found.source.kind,
            names=names,
            total_pages=info.total_pages,
            settings=self._settings,
        )
        have = set(self._index.ids({"doc_id": entry.id}))
        done_before = have - set(self._unread(entry.id)) if same else set()
        # While pages of two settings stand side by side, the entry names neither: a crash now means
        # that the next `add` reads them all again.
        mixed = bool(have) and not same
        numbers = [n for n in range(info.total_pages) if found.source.page_id(n) not in done_before]
        if found.data is not None:
            self._index.put_blob(found.source.sha256, found.data)
        self._index.put_document(replace(entry, settings="") if mixed else entry)

        bad: dict[int, str] = {}
        batch: list[Page] = []
        done = info.total_pages - len(numbers)
        for item in self._reader.pages(found, numbers=numbers, image_pixels=image_pixels(self._embedder)):
            done += 1
            if isinstance(item, Page):
                batch.append(item)
            else:
                report.skipped.append(item)
                bad[item.page or 0] = item.reason
            if len(batch) == BATCH_PAGES or done == info.total_pages:
                bad |= self._commit(batch, entry, extra, report)
                clock.pages(done, info.total_pages, len(batch))
                batch = []
        bad |= self._commit(batch, entry, extra, report)
        self._index.delete([found.source.page_id(n) for n in bad])
        self._index.put_document(replace(entry, complete=True, skipped=tuple(sorted(bad.items()))))

    def _commit(
        self, batch: Sequence[Page], entry: DocumentEntry, extra: Mapping[str, Scalar], report: AddReport
    ) -> dict[int, str]:
        """Embed and add pages; returns the numbers of those the embedder cannot take, and why."""
        from mmrag.documents import Skipped

        matrices, refused = embedded(self._embedder, batch)
        bad = {batch[place].number: reason for place, reason in refused.items()}
        for number, reason in bad.items():
            report.skipped.append(Skipped(entry.names[-1], reason, number, entry.id))
        pages = [batch[place] for place in matrices]
        if not pages:
            return bad
        self._index.add(
            [
                Record(
                    id=page.id,
                    matrix=matrix,
                    text=searchable_text(page),
                    metadata={**page_metadata(page, entry.names), **extra},
                    page=replace(page, image=None),
                )
                for page, matrix in zip(pages, matrices.values(), strict=True)
            ]
        )
        report.pages += len(pages)
        for note in (note for page in pages for note in page.notes):
            report.notes[note] = report.notes.get(note, 0) + 1
        return bad

    def _add_name(
        self, entry: DocumentEntry, name: str, extra: Mapping[str, Scalar], report: AddReport
    ) -> None:
        """A document that is there already: note a further name and new metadata."""
        values: dict[str, Scalar | tuple[Scalar, ...]] = dict(extra)
        if name in entry.names:
            report.unchanged.append(name)
        else:
            entry = replace(entry, names=(*entry.names, name))
            self._index.put_document(entry)
            values |= name_metadata(entry.names)
            report.renamed.append(name)
        if values:
            self._index.update_metadata(self._index.ids({"doc_id": entry.id}), values)

    def add_images(
        self, images: Sequence[Any], ids: Sequence[str], metadata: Sequence[Mapping[str, Scalar]]
    ) -> None:
        """Add images as records of their own; all of them or none.

        A record's page carries the record's id as document id, too: such an image belongs to its
        record, and goes with it, not with a file of the same content.

        Raises:
            DocumentError: one of them is no image or cannot be read.
        """
        pages: list[Page] = []
        blobs: dict[str, bytes] = {}
        for id, image in zip(ids, images, strict=True):
            found = _one_image(image)
            item = next(
                iter(self._reader.pages(found, numbers=[0], image_pixels=image_pixels(self._embedder)))
            )
            if not isinstance(item, Page):
                raise DocumentError(f"an image to add must be readable, got {image!r}: {item.reason}")
            pages.append(replace(item, id=id, document_id=id))
            if found.data is not None:
                blobs[id] = found.data
        matrices = self._embedder.encode_document(pages)
        refuse_skipped(matrices)
        for id, data in blobs.items():
            self._index.put_blob(id, data)
        self._index.add(
            [
                Record(
                    id=page.id,
                    matrix=matrix,
                    text=searchable_text(page),
                    metadata={
                        **page_metadata(page, (page.source.path or page.source.name,)),
                        **checked_metadata(values),
                    },
                    page=replace(page, image=None),
                )
                for page, matrix, values in zip(pages, matrices, metadata, strict=True)
            ]
        )


def drop_name(index: Index, entry: DocumentEntry, name: str) -> int:
    """Take a name from a document; without names the document goes. Returns pages removed."""
    names = tuple(other for other in entry.names if other != name)
    if not names:
        return index.remove_document(entry.id)
    index.put_document(replace(entry, names=names))
    index.update_metadata(index.ids({"doc_id": entry.id}), name_metadata(names))
    return 0


def _one_image(image: Any) -> InputDocument:  # noqa: ANN401  what `discover` takes
    from mmrag.documents import InputDocument, discover

    found = next(iter(discover([image])), None)
    if isinstance(found, InputDocument) and found.source.kind == "image":
        return found
    reason = "it is no image" if found is None or isinstance(found, InputDocument) else found.reason
    raise DocumentError(f"an image to add must be readable, got {image!r}: {reason}")


def name_of(found: InputDocument) -> str:
    """What a document is known by: its path, or the name of bytes and images."""
    return found.source.path or found.source.name
