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

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.embedders.base import DocumentInput, searchable_text
from mmrag.errors import BadInputError, DocumentError
from mmrag.index.base import DocumentEntry, Index
from mmrag.types import Matrix, Page, Record, Scalar

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader, InputDocument, Skipped
    from mmrag.embedders.base import Embedder

BATCH_PAGES = 16
"""Pages embedded and committed together: the most that a crash can lose."""


PICTURE_PIXELS = 1_600_000
"""Pixel budget of a page's picture: a letter page at about 130 dots an inch."""

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


@dataclass(frozen=True, slots=True)
class AddProgress:
    """Where an `add` stands.

    Attributes:
        name: the file being read.
        files_done: files finished, out of `files_total`.
        pages_done: pages committed in this call.
        seconds: since the call began.
        seconds_left: estimated from the bytes of the files still to come; None before the first page.
    """

    name: str
    files_done: int
    files_total: int
    pages_done: int
    seconds: float
    seconds_left: float | None


@dataclass(slots=True)
class AddReport:
    """What an `add` did, file by file.

    Attributes:
        added: names of files whose pages are new.
        replaced: names whose file had changed; the old pages are gone.
        reread: names read again: the reader settings changed, or pages had been left unread.
        renamed: further names of content that was already there.
        unchanged: names that were there already; nothing was done.
        skipped: files and single pages left out, each with the reason.
        notes: what the reader had to say of pages, with the number of pages it said it of.
        pages: pages written.
        seconds: wall time.
    """

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    reread: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    seconds: float = 0.0


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


def refuse_skipped(matrices: Sequence[Matrix]) -> None:
    """Where all inputs of a call must be embedded: refuse what an embedder skipped by itself.

    Raises:
        BadInputError: it left one out.
    """
    for place, reason in getattr(matrices, "skipped", {}).items():
        raise BadInputError("document", place, reason)


def embedded(embedder: Embedder, inputs: Sequence[DocumentInput]) -> tuple[dict[int, Matrix], dict[int, str]]:
    """Matrices by the place of their input, in order; and why the others cannot be embedded, by place.

    An embedder that skips such inputs by itself leaves None in their places.
    """
    left, bad = list(range(len(inputs))), {}
    while left:
        try:
            matrices = embedder.encode_document([inputs[place] for place in left])
        except BadInputError as error:  # found before anything is computed, so trying again is cheap
            bad[left.pop(error.index)] = error.reason
            continue
        reasons = getattr(matrices, "skipped", {})
        bad |= {left[at]: reason for at, reason in reasons.items()}
        made = enumerate(zip(left, matrices, strict=True))
        return {place: matrix for at, (place, matrix) in made if at not in reasons}, bad
    return {}, bad


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


class Clock:
    """Turns bytes done into the time left, for `AddProgress`."""

    def __init__(
        self, started: float, found: Sequence[InputDocument], progress: Callable[[AddProgress], None] | None
    ) -> None:
        self._started = started
        self._progress = progress
        self._sizes = [size_of(one) for one in found] if progress else []
        self._position = 0
        self._name = ""
        self._total = len(found)
        self._pages = 0
        self._share = 0.0

    def file(self, position: int, found: InputDocument) -> None:
        """A file is begun."""
        self._position, self._name, self._share = position, found.source.name, 0.0
        self._tell()

    def pages(self, done: int, total: int, new: int) -> None:
        """Of this file's `total` pages `done` are there, `new` of them since the last call."""
        self._pages += new
        self._share = min(1.0, done / total) if total else 1.0
        self._tell()

    def finish(self) -> None:
        """All files are done."""
        self._position, self._share = self._total, 0.0
        self._tell()

    def _tell(self) -> None:
        if self._progress is None:
            return
        seconds = time.monotonic() - self._started
        done: float = sum(self._sizes[: self._position])
        if self._position < self._total:
            done += self._share * self._sizes[self._position]
        left = seconds * (sum(self._sizes) - done) / done if done and self._pages else None
        self._progress(AddProgress(self._name, self._position, self._total, self._pages, seconds, left))


def image_pixels(embedder: Embedder) -> int | None:
    """The picture size the reader is asked for: none, where the embedder does not look at pictures.

    An embedder says by ``image_pixels`` how much of a picture it makes use of.
    """
    if "image" not in embedder.modalities:
        return None
    return int(getattr(embedder, "image_pixels", PICTURE_PIXELS))


def name_of(found: InputDocument) -> str:
    """What a document is known by: its path, or the name of bytes and images."""
    return found.source.path or found.source.name


def size_of(found: InputDocument) -> int:
    """Bytes of a document; 0 for a file that has gone meanwhile."""
    if found.data is not None:
        return len(found.data)
    path = Path(found.source.path or "")
    return path.stat().st_size if path.is_file() else 0


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
