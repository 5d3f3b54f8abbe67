"""From one embedder to another: a new index of all that an old one holds, with new vectors.

::

    old index -> its records -> (pages rendered from their files) -> new embedder -> new index

Documents are not read again and OCR does not run: text, words with their boxes, ids, metadata, the files'
entries and kept bytes are copied. The old index may be of any embedder; it is opened for reading only.

Decisions taken here:

* *The new index appears whole or not at all.* Records are written into ``NEW/unfinished-reembed``, an index
  of its own; at the end its files are moved into NEW, and last the file that makes NEW an index. Before that
  nothing opens NEW. If a run is interrupted, the same call resumes it, also after the old index has grown.
* *A page that cannot be rendered* (its file is gone or changed) is embedded from its text, and the report
  names the file. The file's entry then names no reader settings, so that adding it again embeds it whole.
* *Every page of a file that an earlier reader has read is drawn*, also for an embedder that wants only pages
  with something unread: what that reader left unread is not known. Its rows then differ a little from those
  of a new index, which adding the documents again gives.
* *A page that the new embedder cannot take* is left out and named in its file's entry, as `add` does it.
* Traces and replies, which a model was paid for, are copied; pictures are rendered again.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmrag.documents import DocumentReader, ReaderSettings, Skipped
from mmrag.embedders.base import DocumentInput, Embedder
from mmrag.errors import DocumentError, IndexMismatchError, UnsupportedInputError
from mmrag.files import atomic_write
from mmrag.index.addresses import open_index
from mmrag.index.base import DocumentEntry, Index, RowType
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import CHROMA_PREFIX, STORE_NAME
from mmrag.ingest.embedding import encode_documents, image_pixels, images_wanted
from mmrag.ingest.files import BATCH_PAGES
from mmrag.ingest.pictures import blob_key, render_page
from mmrag.models.load import default_embedder
from mmrag.progress import progress_bar
from mmrag.types import Page, Record

logger = logging.getLogger(__name__)

WORK_FOLDER = "unfinished-reembed"
"""Folder in the new index's directory that holds the index until it is whole."""

_MODEL_FOLDERS = ("traces", "replies")
_BLIND_PAGES = "without-picture.json"
_NO_CONTENT = "it has neither a page nor text; a host that made it of a picture has to add it again"


@dataclass(slots=True)
class ReembedReport:
    """Outcome of a `reembed`.

    Attributes:
        path: the new index.
        before: name of the embedder of the old index.
        embedder: name of the embedder of the new one.
        records: pages and records in the new index.
        resumed: number of these that an interrupted run had written.
        without_picture: pages embedded from their text alone, each with the reason.
        skipped: pages and records that the embedder cannot take, each with the reason.
        seconds: wall time.
    """

    path: Path
    before: str
    embedder: str
    records: int = 0
    resumed: int = 0
    without_picture: list[Skipped] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0


def reembed(
    old: str | Path,
    new: str | Path,
    *,
    embedder: Embedder | None = None,
    reader: ReaderSettings | None = None,
    password: str | Sequence[str] | Callable[[str], str | None] | None = None,
    show_progress: bool = False,
    row_type: RowType | None = None,
    rows: int | None = None,
) -> ReembedReport:
    """Write a new index with all that an old one holds and the vectors of another embedder.

    Args:
        old: directory of an index, by any embedder; it is not changed, and need not be writable.
        new: directory of the new index: absent, empty, or with the beginning that an interrupted run left.
        embedder: None: the default.
        reader: renders pages, for an embedder that reads images. None: the defaults.
        password: for encrypted documents, as in `mmrag.DocumentQA`.
        show_progress: show a bar on standard error.
        row_type: how `new` stores rows, as in `mmrag.DocumentQA.open`; the old index does not matter.
        rows: most rows of a record that `new` stores. None: all.

    Raises:
        ValueError: `new` is not empty, lies in `old`, or was begun with other settings of rows.
        IndexFormatError: `old` is no index.
        IndexMismatchError: `new` was begun with another embedder.
        IndexLockedError: another process is writing `new`.
        UnsupportedInputError: the embedder takes no text, and a record has nothing else.

    Example:
        >>> reembed("my-index", "smaller", embedder=MiniEmbedder(budget=Budget(1, 8))).records
        2
    """
    with (
        closing(open_index(old, None, read_only=True)) as index,
        DocumentReader(reader, password=password) as renderer,
    ):
        return reembed_index(
            index,
            new,
            embedder or default_embedder(),
            renderer,
            show_progress=show_progress,
            row_type=row_type,
            rows=rows,
        )


def reembed_index(
    old: Index,
    new: str | Path,
    embedder: Embedder,
    reader: DocumentReader,
    *,
    show_progress: bool = False,
    row_type: RowType | None = None,
    rows: int | None = None,
) -> ReembedReport:
    """Write a new index as `reembed` does, with the old index and the reader already open."""
    start = time.monotonic()
    source: Path | None = getattr(old, "path", None)  # None in memory
    target = _checked_target(new, source)
    work = target / WORK_FOLDER
    report = ReembedReport(target, old.manifest.embedder, embedder.name)
    with closing(_open_work(work, embedder, row_type, rows)) as index:
        copy = _IndexCopy(old, index, embedder, reader, work / _BLIND_PAGES, report)
        entries, ids = old.documents(), old.ids()
        while True:
            copy.records(entries, ids, show_progress)
            copy.documents(entries)
            before, (entries, ids) = (entries, ids), (old.documents(), old.ids())
            if before == (entries, ids):  # else somebody wrote the old index meanwhile
                break
        report.records = index.count()
    _finish(source, work, target)
    _warn(report)
    report.seconds = time.monotonic() - start
    return report


def _checked_target(new: str | Path, source: Path | None) -> Path:
    """Return the new index's directory; refuse it if it holds anything but our own beginning."""
    target = Path(new).expanduser().absolute()
    if source is not None and target.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"the new index must lie outside the old one, got {target} in {source}. Name another directory."
        )
    if not target.exists():
        return target
    names = {entry.name for entry in target.iterdir()} if target.is_dir() else {target.name}
    if WORK_FOLDER in names:
        names = {
            name for name in names if name not in (WORK_FOLDER, *_MODEL_FOLDERS) and not _is_chroma(name)
        }
    if names:
        raise ValueError(
            f"the new index must be in a directory that is empty or absent, got {target} with "
            f"{min(names)!r}. Name another directory; nothing was written."
        )
    return target


def _open_work(work: Path, embedder: Embedder, row_type: RowType | None, rows: int | None) -> ChromaIndex:
    """Open the unfinished index, or make one."""
    try:
        return ChromaIndex.open(work, embedder, row_type=row_type, rows=rows, shared=False)
    except IndexMismatchError as error:
        raise IndexMismatchError(
            f"an unfinished index must be resumed with the embedder that began it, got {embedder.name!r} for "
            f"{work.parent}. Load that embedder, delete {work}, or name another directory."
        ) from error


@dataclass(frozen=True, slots=True)
class _Input:
    """A record, what of it is embedded, and why a picture is missing from that."""

    record: Record
    content: DocumentInput
    reason: str | None = None


class _IndexCopy:
    """Brings a new index up to an old one.

    Args:
        old: is read.
        new: is written.
        embedder: computes the vectors of `new`.
        reader: renders pages, if the embedder reads images.
        blind_file: JSON list of the ids of pages that `new` holds without their picture.
        report: is filled.
    """

    def __init__(
        self,
        old: Index,
        new: Index,
        embedder: Embedder,
        reader: DocumentReader,
        blind_file: Path,
        report: ReembedReport,
    ) -> None:
        self._old, self._new = old, new
        self._embedder, self._reader = embedder, reader
        self._pixels = image_pixels(embedder)
        # of documents that OCR has read, pages with text have no part that is unread
        settings = reader.settings.fingerprint()
        is_enough = images_wanted(embedder) == "unread" and reader.settings.ocr_runs
        self._read_whole = {entry.id for entry in old.documents() if is_enough and entry.settings == settings}
        self._blind_file = blind_file
        # an interrupted run's pages without a picture are tried again: their files may be back
        self._retry = set(json.loads(blind_file.read_text("utf-8"))) if blind_file.is_file() else set()
        self._blind: dict[str, Skipped] = {}
        self._refusals: dict[str, Skipped] = {}
        self._blobs: set[str] = set()
        self._report = report
        self._first_pass = True

    def records(self, entries: Sequence[DocumentEntry], ids: Sequence[str], show_progress: bool) -> None:
        """Make the new index hold the records of these ids and no others."""
        removals = {entry.id for entry in self._new.documents()} - {entry.id for entry in entries}
        for document_id in removals:
            self._new.remove_document(document_id)
        self._new.delete(sorted(set(self._new.ids()) - set(ids)))
        with progress_bar(total=len(ids), desc="embedding", unit="page", is_shown=show_progress) as bar:
            for count, inputs in self._batches(ids):
                self._add([item.result() for item in inputs])
                bar.update(count)
        self._first_pass = False
        self._report.without_picture = list(self._blind.values())
        self._report.skipped = list(self._refusals.values())

    def documents(self, entries: Sequence[DocumentEntry]) -> None:
        """Copy kept bytes and the files' entries, which make their pages count as added."""
        for key in self._blobs | {entry.sha256 for entry in entries}:
            if (data := self._old.get_blob(key)) is not None:
                self._new.put_blob(key, data)
        blind = {item.document_id for item in self._blind.values()}
        for entry in entries:
            reasons = dict(entry.skipped)
            for item in self._refusals.values():
                if item.document_id == entry.id and item.page is not None:
                    reasons[item.page] = item.reason
            settings = "" if entry.id in blind else entry.settings
            self._new.put_document(replace(entry, skipped=tuple(sorted(reasons.items())), settings=settings))

    def _batches(self, ids: Sequence[str]) -> Iterator[tuple[int, list[Future[_Input]]]]:
        """Yield the number of ids of each batch and its inputs; the next batch is rendered meanwhile."""
        pool = ThreadPoolExecutor(self._reader.settings.workers, thread_name_prefix="mmrag-rendering")
        queue: deque[tuple[int, list[Future[_Input]]]] = deque()
        try:
            for start in range(0, len(ids), BATCH_PAGES):
                batch = ids[start : start + BATCH_PAGES]
                queue.append(
                    (len(batch), [pool.submit(self._input, record) for record in self._stale(batch)])
                )
                if len(queue) > 1:
                    yield queue.popleft()
            yield from queue
        finally:
            pool.shutdown(cancel_futures=True)

    def _stale(self, ids: Sequence[str]) -> list[Record]:
        """Return the records that the new index lacks, holds otherwise, or holds without their picture."""
        copies = {record.id: record for record in self._new.get(ids)}
        stale = []
        for record in self._old.get(ids):
            if record.page is not None and record.page.source.path is None:
                self._blobs.add(blob_key(record.page))
            if copies.get(record.id) != record or record.id in self._retry:
                stale.append(record)
            elif self._first_pass:
                self._report.resumed += 1
        return stale

    def _input(self, record: Record) -> _Input:
        """Return what is embedded of a record; its page is rendered if the embedder reads images."""
        page = record.page
        if page is None:
            return _Input(record, record.text, None if record.text.strip() else _NO_CONTENT)
        if self._pixels is None or (page.document_id in self._read_whole and not _is_unread(page)):
            return _Input(record, page)
        try:
            image = render_page(self._old, self._reader, page, max_pixels=self._pixels)
        except DocumentError as error:
            prefix = f"{page.source.name}, page {page.number + 1}: "  # the report names the page
            return _Input(record, page, str(error).removeprefix(prefix))
        return _Input(record, replace(page, image=image))

    def _add(self, inputs: Sequence[_Input]) -> None:
        """Embed and write one batch."""
        if "text" not in self._embedder.modalities:
            self._refuse_text(inputs)
        matrices, reasons = encode_documents(self._embedder, [item.content for item in inputs])
        for position, item in enumerate(inputs):
            id = item.record.id
            self._blind.pop(id, None)
            self._refusals.pop(id, None)
            if position in reasons:
                self._refusals[id] = _skipped(item.record, reasons[position])
            elif item.reason is not None:
                self._blind[id] = _skipped(item.record, item.reason)
        self._note_blind()
        self._new.delete([inputs[position].record.id for position in reasons])
        self._new.add([replace(inputs[at].record, matrix=matrix) for at, matrix in matrices.items()])
        self._retry -= {item.record.id for item in inputs}

    def _refuse_text(self, inputs: Sequence[_Input]) -> None:
        for item in inputs:
            if item.record.page is None or item.reason is not None:
                raise UnsupportedInputError(
                    f"{self._embedder.name!r} looks at pictures only, and record {item.record.id!r} has "
                    f"none: {item.reason or 'it is a text'}. Name an embedder that reads text, too, or put "
                    "the file back where it was and run this again."
                )

    def _note_blind(self) -> None:
        """Write down which pages the index holds without their picture, before it does."""
        ids = sorted(self._retry | set(self._blind))
        if ids or self._blind_file.is_file():
            with atomic_write(self._blind_file) as file:
                json.dump(ids, file)


def _is_unread(page: Page) -> bool:
    """Check whether a page that was read with OCR has no text, or OCR failed on it."""
    return page.text_source == "unread" or not page.text.strip()


def _skipped(record: Record, reason: str) -> Skipped:
    page = record.page
    if page is None:
        return Skipped(record.id, reason)
    return Skipped(page.source.path or page.source.name, reason, page.number, page.document_id)


def _finish(source: Path | None, work: Path, target: Path) -> None:
    """Make the directory an index: one step, after everything that belongs to the index is in place."""
    for name in _MODEL_FOLDERS:
        if source is not None and (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
    for entry in list(work.iterdir()):
        if _is_chroma(entry.name):
            entry.replace(target / entry.name)
    (work / STORE_NAME).replace(target / STORE_NAME)
    shutil.rmtree(work)


def _is_chroma(name: str) -> bool:
    return name.startswith(CHROMA_PREFIX)


def _warn(report: ReembedReport) -> None:
    for name, reason in {item.name: item.reason for item in report.without_picture}.items():
        logger.warning("%s: pages are embedded from their text alone: %s", name, reason)
    for item in report.skipped:
        page = "" if item.page is None else f", page {item.page + 1}"
        logger.warning("%s%s: left out: %s", item.name, page, item.reason)
