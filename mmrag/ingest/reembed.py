"""From one embedder to another: a new index of all that an old one holds, with new vectors.

::

    old index -> its records -> (pictures of pages, drawn from their files) -> new embedder -> new index

Documents are not read again and OCR does not run: text, words with their boxes, ids, metadata, the files'
entries and kept bytes are copied. The old index is opened for reading, whoever made it, and is not changed.

Decisions taken here:

* *An index is there when it is whole.* Records are written into ``NEW/unfinished-reembed``, an index of its
  own; its files are moved into NEW when all is there, the one that makes NEW an index last. Before that
  nothing opens NEW. The same call goes on where one was cut off, also after the old index has grown.
* *A picture that cannot be drawn* (the file is gone, or another) costs the picture: the page is embedded from
  its text, and the report names the file. Its entry then says that it was read with no known settings, so
  that adding the file again embeds it whole.
* *A page that the new embedder cannot take* is left out and named in its file's entry, as `add` does it.
* What a model was paid for, traces and replies beside the index, is copied; pictures are drawn again.
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

from tqdm import tqdm

from mmrag.documents import DocumentReader, ReaderSettings, Skipped
from mmrag.embedders.base import DocumentInput, Embedder
from mmrag.embedders.text import TextEmbedder
from mmrag.errors import DocumentError, IndexMismatchError, UnsupportedInputError
from mmrag.index.base import DocumentEntry, Index
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import CHROMA_PREFIX, STORE_NAME, check_directory
from mmrag.ingest.embedding import encode_documents, image_pixels
from mmrag.ingest.files import BATCH_PAGES
from mmrag.ingest.pictures import blob_key, render_page
from mmrag.models.load import default_embedder
from mmrag.types import Record

logger = logging.getLogger(__name__)

UNFINISHED = "unfinished-reembed"
"""Folder in the new index's directory where it stands until it is whole."""

_BESIDE = ("traces", "replies")
_NOT_SEEN = "without-picture.json"


def embedder_of(path: str | Path) -> Embedder:
    """The embedder to open an index with where nobody names one.

    The default one; `TextEmbedder` for an index which that made, and a warning says how to go over. For an
    index by any other the default, which opening it then refuses.

    Raises:
        IndexFormatError: the directory holds something else.
    """
    default = default_embedder()
    directory = Path(path).expanduser().absolute()
    if not check_directory(directory):
        return default
    with closing(ChromaIndex.open(directory, None, read_only=True)) as index:
        made_by = index.manifest
    if made_by.fingerprint == default.fingerprint:
        return default
    before = TextEmbedder()
    if made_by.fingerprint != before.fingerprint:
        return default
    logger.warning(
        "index %s was made by %s, the default before %s, and is opened with it. "
        "To go over, without reading the documents again: mmrag reembed %s NEW",
        directory,
        made_by.embedder,
        default.name,
        directory,
    )
    return before


@dataclass(slots=True)
class ReembedReport:
    """What a `reembed` did.

    Attributes:
        path: the new index.
        before: name of the embedder that made the old one.
        embedder: name of the one that made the new.
        records: pages and records in the new index.
        resumed: of these, there already from a run that was cut off.
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
) -> ReembedReport:
    """Write a new index with all that an old one holds and the vectors of another embedder.

    Args:
        old: directory of an index, by any embedder; it is not changed, and need not be writable.
        new: directory of the new one: absent, empty, or with what a run of this left that was cut off.
        embedder: None: the default.
        reader: draws pages, for an embedder that looks at them. None: the defaults.
        password: for encrypted documents, as in `mmrag.DocumentQA`.
        show_progress: a bar on standard error.

    Raises:
        ValueError: `new` holds something, or stands in `old`.
        IndexFormatError: `old` is no index.
        IndexMismatchError: `new` was begun with another embedder.
        IndexLockedError: another process is writing `new`.
        UnsupportedInputError: the embedder takes no text, and a record has nothing else.
    """
    with (
        closing(ChromaIndex.open(old, None, read_only=True)) as index,
        DocumentReader(reader, password=password) as drawing,
    ):
        return reembed_index(index, new, embedder or default_embedder(), drawing, show_progress=show_progress)


def reembed_index(
    old: Index, new: str | Path, embedder: Embedder, reader: DocumentReader, *, show_progress: bool = False
) -> ReembedReport:
    """`reembed` of an open index, with a reader that is there."""
    started = time.monotonic()
    home: Path | None = getattr(old, "path", None)
    target = _checked_target(new, home)
    work = target / UNFINISHED
    report = ReembedReport(target, old.manifest.embedder, embedder.name)
    with closing(_begun(work, embedder)) as made:
        copying = _Copying(old, made, embedder, reader, work / _NOT_SEEN, report)
        entries, ids = old.documents(), old.ids()
        while True:
            copying.records(entries, ids, show_progress)
            copying.documents(entries)
            seen, (entries, ids) = (entries, ids), (old.documents(), old.ids())
            if seen == (entries, ids):  # else somebody wrote the old index meanwhile
                break
        report.records = made.count()
    _finish(home, work, target)
    _warn(report)
    report.seconds = time.monotonic() - started
    return report


def _checked_target(new: str | Path, home: Path | None) -> Path:
    """The new index's directory; refused where it holds anything but a beginning of ours."""
    target = Path(new).expanduser().absolute()
    if home is not None and target.resolve().is_relative_to(home.resolve()):
        raise ValueError(
            f"the new index must stand outside the old one, got {target} in {home}. Name another directory."
        )
    if not target.exists():
        return target
    names = {entry.name for entry in target.iterdir()} if target.is_dir() else {target.name}
    begun = UNFINISHED in names
    ours = {name for name in names if begun and (name in (UNFINISHED, *_BESIDE) or _is_chroma(name))}
    if names - ours:
        raise ValueError(
            f"the new index must be in a directory that is empty or absent, got {target} with "
            f"{sorted(names - ours)[0]!r}. Name another directory; nothing was written."
        )
    return target


def _begun(work: Path, embedder: Embedder) -> ChromaIndex:
    try:
        return ChromaIndex.open(work, embedder)
    except IndexMismatchError as error:
        raise IndexMismatchError(
            f"the new index must be gone on with by the embedder that began it, got {embedder.name!r} for "
            f"{work.parent}. Load that embedder, delete {work}, or name another directory."
        ) from error


_NOTHING = "it has neither a page nor text; a host that made it of a picture has to add it again"


@dataclass(frozen=True, slots=True)
class _Look:
    """A record, what of it is embedded, and why a picture is missing from that."""

    record: Record
    given: DocumentInput
    missing: str | None = None


class _Copying:
    """Brings a new index after an old one.

    Args:
        old: is read.
        made: is written.
        embedder: makes the vectors of `made`.
        reader: draws pages, where the embedder looks at them.
        not_seen: file with the ids of pages that stand in `made` without their picture.
        report: is filled.
    """

    def __init__(
        self,
        old: Index,
        made: Index,
        embedder: Embedder,
        reader: DocumentReader,
        not_seen: Path,
        report: ReembedReport,
    ) -> None:
        self._old, self._made = old, made
        self._embedder, self._reader = embedder, reader
        self._pixels = image_pixels(embedder)
        self._file = not_seen
        # a run that goes on tries them again: their files may be back, and else are to be named
        self._retry = set(json.loads(not_seen.read_text("utf-8"))) if not_seen.is_file() else set()
        self._blind: dict[str, Skipped] = {}
        self._refused: dict[str, Skipped] = {}
        self._blobs: set[str] = set()
        self._report = report
        self._first_pass = True

    def records(self, entries: Sequence[DocumentEntry], ids: Sequence[str], show_progress: bool) -> None:
        """Make `made` hold the records of these ids and no others."""
        gone = {entry.id for entry in self._made.documents()} - {entry.id for entry in entries}
        for document_id in gone:
            self._made.remove_document(document_id)
        self._made.delete(sorted(set(self._made.ids()) - set(ids)))
        with tqdm(total=len(ids), desc="embedding", unit="page", disable=not show_progress) as bar:
            for count, looks in self._ahead(ids):
                self._add([look.result() for look in looks])
                bar.update(count)
        self._first_pass = False
        self._report.without_picture = list(self._blind.values())
        self._report.skipped = list(self._refused.values())

    def documents(self, entries: Sequence[DocumentEntry]) -> None:
        """Copy kept bytes and the files' entries, which make their pages count as added."""
        for key in self._blobs | {entry.sha256 for entry in entries}:
            if (data := self._old.get_blob(key)) is not None:
                self._made.put_blob(key, data)
        blind = {one.document_id for one in self._blind.values()}
        for entry in entries:
            skipped = dict(entry.skipped)
            for one in self._refused.values():
                if one.document_id == entry.id and one.page is not None:
                    skipped[one.page] = one.reason
            entry = replace(entry, skipped=tuple(sorted(skipped.items())))
            self._made.put_document(replace(entry, settings="") if entry.id in blind else entry)

    def _ahead(self, ids: Sequence[str]) -> Iterator[tuple[int, list[Future[_Look]]]]:
        """Batches: of how many ids, and what is to be embedded of them. One batch is drawn ahead."""
        pool = ThreadPoolExecutor(self._reader.settings.workers, thread_name_prefix="mmrag-drawing")
        waiting: deque[tuple[int, list[Future[_Look]]]] = deque()
        try:
            for start in range(0, len(ids), BATCH_PAGES):
                batch = ids[start : start + BATCH_PAGES]
                waiting.append((len(batch), [pool.submit(self._look, one) for one in self._fresh(batch)]))
                if len(waiting) > 1:
                    yield waiting.popleft()
            yield from waiting
        finally:
            pool.shutdown(cancel_futures=True)

    def _fresh(self, ids: Sequence[str]) -> list[Record]:
        """Those that `made` does not hold as they are, or holds without a picture from an earlier run."""
        held = {record.id: record for record in self._made.get(ids)}
        fresh = []
        for record in self._old.get(ids):
            if record.page is not None and record.page.source.path is None:
                self._blobs.add(blob_key(record.page))
            if held.get(record.id) != record or record.id in self._retry:
                fresh.append(record)
            elif self._first_pass:
                self._report.resumed += 1
        return fresh

    def _look(self, record: Record) -> _Look:
        """Draw a record's page, where the embedder looks at pages."""
        page = record.page
        if page is None:
            return _Look(record, record.text, None if record.text.strip() else _NOTHING)
        if self._pixels is None:
            return _Look(record, page)
        try:
            image = render_page(self._old, self._reader, page, max_pixels=self._pixels)
        except DocumentError as error:
            where = f"{page.source.name}, page {page.number + 1}: "
            return _Look(record, page, str(error).removeprefix(where))
        return _Look(record, replace(page, image=image))

    def _add(self, looks: Sequence[_Look]) -> None:
        """Embed and write one batch."""
        if "text" not in self._embedder.modalities:
            self._refuse_text(looks)
        matrices, refused = encode_documents(self._embedder, [look.given for look in looks])
        for place, look in enumerate(looks):
            id = look.record.id
            self._blind.pop(id, None)
            self._refused.pop(id, None)
            if place in refused:
                self._refused[id] = _named(look.record, refused[place])
            elif look.missing is not None:
                self._blind[id] = _named(look.record, look.missing)
        self._note_blind()
        self._made.delete([looks[place].record.id for place in refused])
        self._made.add([replace(looks[place].record, matrix=matrix) for place, matrix in matrices.items()])
        self._retry -= {look.record.id for look in looks}

    def _refuse_text(self, looks: Sequence[_Look]) -> None:
        for look in looks:
            if look.record.page is None or look.missing is not None:
                raise UnsupportedInputError(
                    f"{self._embedder.name!r} looks at pictures only, and record {look.record.id!r} has "
                    f"none: {look.missing or 'it is a text'}. Name an embedder that reads text, too, or put "
                    "the file back where it was and run this again."
                )

    def _note_blind(self) -> None:
        """Write down which pages stand in the index without their picture, before they do."""
        names = sorted(self._retry | set(self._blind))
        if names or self._file.is_file():
            draft = self._file.with_name(f"{self._file.name}.new")
            draft.write_text(json.dumps(names), encoding="utf-8")
            draft.replace(self._file)


def _named(record: Record, reason: str) -> Skipped:
    page = record.page
    if page is None:
        return Skipped(record.id, reason)
    return Skipped(page.source.path or page.source.name, reason, page.number, page.document_id)


def _finish(home: Path | None, work: Path, target: Path) -> None:
    """Make the directory an index, in one step after all that goes with it."""
    for name in _BESIDE:
        if home is not None and (home / name).is_dir():
            shutil.copytree(home / name, target / name, dirs_exist_ok=True)
    for entry in list(work.iterdir()):
        if _is_chroma(entry.name):
            entry.replace(target / entry.name)
    (work / STORE_NAME).replace(target / STORE_NAME)
    shutil.rmtree(work)


def _is_chroma(name: str) -> bool:
    return name.startswith(CHROMA_PREFIX)


def _warn(report: ReembedReport) -> None:
    for name, reason in {one.name: one.reason for one in report.without_picture}.items():
        logger.warning("%s: pages are embedded from their text alone: %s", name, reason)
    for one in report.skipped:
        place = "" if one.page is None else f", page {one.page + 1}"
        logger.warning("%s%s: left out: %s", one.name, place, one.reason)
