"""Ask a folder of documents: the whole path from files to an answer with its evidence.

`DocumentQA` holds four things and no logic of theirs: a reader (files to pages), an embedder (pages
and questions to vectors), an index, and an answerer. Adding is::

    files -> discover -> reader.pages -> embedder.encode_document -> index.add

and asking is::

    question -> retriever.search -> answerer.answer -> evidence pictures

Decisions taken here:

* A file is known by its content (sha256) and by its names. Adding it again changes nothing; adding a
  changed file under an old name replaces that name's pages once the new ones are all there.
* Pages are added in batches of `BATCH_PAGES`; what a crash loses is the batch in flight, and adding
  the file again goes on where it stopped.
* Every method has an ``a...`` twin that leaves the event loop free.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.errors import DocumentError, SourceChangedError
from mmrag.index.base import DocumentEntry, Index
from mmrag.retriever import Retriever
from mmrag.types import Answer, Budget, Citation, Page, Query, Ranking, Record, Scalar, Usage

if TYPE_CHECKING:
    from types import TracebackType

    from PIL.Image import Image
    from typing_extensions import Self

    from mmrag.answer import Answerer
    from mmrag.documents import DocumentReader, Found, ReaderSettings, Skipped
    from mmrag.embedder import Embedder
    from mmrag.index.filters import Filter

BATCH_PAGES = 16
"""Pages embedded and committed together: the most that a crash can lose."""

PICTURE_PIXELS = 1_600_000
"""Pixel budget of an evidence picture: a letter page at about 130 dots an inch."""

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
        reread: names read again because the reader settings changed.
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


@dataclass(frozen=True, slots=True)
class Status:
    """What an index holds.

    Attributes:
        path: its directory; None in memory.
        embedder: name of the embedder that made it.
        documents: its files.
        records: pages and the caller's own records.
        read_only: whether this process may only read.
    """

    path: Path | None
    embedder: str
    documents: tuple[DocumentEntry, ...]
    records: int
    read_only: bool

    @property
    def incomplete(self) -> tuple[DocumentEntry, ...]:
        """Files whose adding was interrupted; adding them again goes on."""
        return tuple(entry for entry in self.documents if not entry.complete)

    @property
    def skipped_pages(self) -> int:
        """Pages that could not be read, over all files."""
        return sum(len(entry.skipped) for entry in self.documents)


class DocumentQA:
    """Documents in, questions in; answers out, with the pages and boxes that prove them.

    Args:
        index: where records live.
        embedder: must be the one that made the index. None: the default of the package.
        reader: reader settings. None: the defaults.
        password: for encrypted documents: one, several to try, or a function from file name to
            password. The environment variable ``MMRAG_PDF_PASSWORD`` is tried, too.
        answerer: writes the answers. None: extractive, quotes only, no server.
        path: where the index lives; None in memory.

    `DocumentQA.open` is the usual way to make one.
    """

    def __init__(
        self,
        index: Index,
        *,
        embedder: Embedder | None = None,
        reader: ReaderSettings | None = None,
        password: str | Sequence[str] | Callable[[str], str | None] | None = None,
        answerer: Answerer | None = None,
        path: Path | None = None,
    ) -> None:
        if embedder is None:
            from mmrag.text_embedder import default_embedder

            embedder = default_embedder()
        self.index = index
        self.embedder = embedder
        self.retriever = Retriever(index, embedder)
        self.path = path
        self._reader_settings = reader
        self._password = password
        self._reader: DocumentReader | None = None
        self._answerer = answerer
        self._pictures: Path | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        embedder: Embedder | None = None,
        read_only: bool = False,
        reader: ReaderSettings | None = None,
        password: str | Sequence[str] | Callable[[str], str | None] | None = None,
        answerer: Answerer | None = None,
    ) -> DocumentQA:
        """Open the index in a directory, or make it when there is none.

        Args:
            path: the directory.
            embedder: must have the fingerprint of the one that made the index.
            read_only: search only; any number of processes may, also while one writes.
            reader: see `DocumentQA`.
            password: see `DocumentQA`.
            answerer: see `DocumentQA`.

        Raises:
            IndexLockedError: another process holds it for writing.
            IndexMismatchError: another embedder made it.
            IndexFormatError: the directory holds something else.
        """
        from mmrag.index.chroma import ChromaIndex

        if embedder is None:
            from mmrag.text_embedder import default_embedder

            embedder = default_embedder()
        index = ChromaIndex.open(Path(path), embedder, read_only=read_only)
        return cls(
            index, embedder=embedder, reader=reader, password=password, answerer=answerer, path=Path(path)
        )

    # ---- adding ----------------------------------------------------------------------------------

    def add(
        self,
        inputs: Any,  # noqa: ANN401  what `discover` takes: paths, globs, bytes, images, or a list of them
        *,
        metadata: Mapping[str, Scalar] | None = None,
        progress: Callable[[AddProgress], None] | None = None,
    ) -> AddReport:
        """Add files, folders, globs, bytes or PIL images; see `mmrag.documents.discover`.

        Args:
            inputs: one input or a list of them.
            metadata: written on every page of this call, for filters; not `RESERVED_KEYS`.
            progress: called after every batch and every file.

        Returns:
            What was done with each file. A file or page that cannot be read is in ``skipped`` with
            the reason and costs no other.

        Raises:
            ValueError: a metadata key is reserved.
            IndexReadOnlyError: the index is open for reading only.
        """
        from mmrag.documents import Skipped as SkippedItem
        from mmrag.documents import discover

        extra = _checked_metadata(metadata)
        report = AddReport()
        started = time.monotonic()
        found: list[Found] = []
        for item in discover(inputs):
            if isinstance(item, SkippedItem):
                report.skipped.append(item)
            else:
                found.append(item)
        clock = _Clock(started, found, progress)
        for position, one in enumerate(found):
            clock.file(position, one)
            try:
                self._add_one(one, extra, report, clock)
            except DocumentError as error:
                report.skipped.append(SkippedItem(name=_name(one), reason=str(error)))
        clock.finish()
        report.seconds = time.monotonic() - started
        return report

    def _add_one(self, found: Found, extra: Mapping[str, Scalar], report: AddReport, clock: _Clock) -> None:
        name = _name(found)
        entries = {entry.id: entry for entry in self.index.documents()}
        before = entries.get(found.source.document_id)
        stale = [entry for entry in entries.values() if name in entry.names and entry is not before]
        settings = self._settings().fingerprint()
        if before is not None and before.complete and before.settings == settings:
            self._add_name(before, name, extra, report)
        else:
            self._add_pages(found, before, settings, extra, report, clock)
            self._outcome(report, before, stale, settings).append(name)
        for entry in stale:
            self._drop_name(entry, name)

    @staticmethod
    def _outcome(
        report: AddReport, before: DocumentEntry | None, stale: list[DocumentEntry], settings: str
    ) -> list[str]:
        if before is not None and before.settings != settings:
            return report.reread
        return report.replaced if stale else report.added

    def _add_pages(
        self,
        found: Found,
        before: DocumentEntry | None,
        settings: str,
        extra: Mapping[str, Scalar],
        report: AddReport,
        clock: _Clock,
    ) -> None:
        """Read, embed and commit the pages that are not there yet."""
        reader = self.reader
        info = reader.info(found)
        names = before.names if before is not None else ()
        if _name(found) not in names:
            names = (*names, _name(found))
        entry = DocumentEntry(
            id=found.source.document_id,
            sha256=found.source.sha256,
            kind=found.source.kind,
            names=names,
            total_pages=info.total_pages,
            settings=settings,
        )
        resumed = before is not None and not before.complete and before.settings == settings
        have = set(self.index.ids({"doc_id": entry.id}))
        # While pages of two settings stand side by side, the entry names neither: a crash now means
        # that the next `add` reads them all again.
        mixed = bool(have) and not resumed
        numbers = [n for n in range(info.total_pages) if not (resumed and found.source.page_id(n) in have)]
        if found.data is not None:
            self.index.put_blob(found.source.sha256, found.data)
        self.index.put_document(replace(entry, settings="") if mixed else entry)

        bad: dict[int, str] = {}
        batch: list[Page] = []
        done = info.total_pages - len(numbers)
        image_pixels = PICTURE_PIXELS if "image" in self.embedder.modalities else None
        for item in reader.pages(found, numbers=numbers, image_pixels=image_pixels):
            done += 1
            if isinstance(item, Page):
                batch.append(item)
            else:
                report.skipped.append(item)
                bad[item.page or 0] = item.reason
            if len(batch) == BATCH_PAGES or done == info.total_pages:
                self._commit(batch, entry, extra, report)
                clock.pages(done, info.total_pages, len(batch))
                batch = []
        self._commit(batch, entry, extra, report)
        self.index.delete([found.source.page_id(n) for n in bad])
        self.index.put_document(replace(entry, complete=True, skipped=tuple(sorted(bad.items()))))

    def _commit(
        self, pages: Sequence[Page], entry: DocumentEntry, extra: Mapping[str, Scalar], report: AddReport
    ) -> None:
        if not pages:
            return
        matrices = self.embedder.encode_document(pages)
        self.index.add(
            [
                Record(
                    id=page.id,
                    matrix=matrix,
                    text=page.text,
                    metadata={**_page_metadata(page, entry.names), **extra},
                    page=replace(page, image=None),
                )
                for page, matrix in zip(pages, matrices, strict=True)
            ]
        )
        report.pages += len(pages)
        for note in (note for page in pages for note in page.notes):
            report.notes[note] = report.notes.get(note, 0) + 1

    def _add_name(
        self, entry: DocumentEntry, name: str, extra: Mapping[str, Scalar], report: AddReport
    ) -> None:
        """A document that is there already: note a further name and new metadata."""
        values: dict[str, Scalar | tuple[Scalar, ...]] = dict(extra)
        if name in entry.names:
            report.unchanged.append(name)
        else:
            entry = replace(entry, names=(*entry.names, name))
            self.index.put_document(entry)
            values |= _name_metadata(entry.names)
            report.renamed.append(name)
        if values:
            self.index.update_metadata(self.index.ids({"doc_id": entry.id}), values)

    def _drop_name(self, entry: DocumentEntry, name: str) -> int:
        """Take a name from a document; without names the document goes. Returns pages removed."""
        names = tuple(other for other in entry.names if other != name)
        if not names:
            return self.index.remove_document(entry.id)
        self.index.put_document(replace(entry, names=names))
        self.index.update_metadata(self.index.ids({"doc_id": entry.id}), _name_metadata(names))
        return 0

    def add_texts(
        self,
        texts: Sequence[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Scalar]] | None = None,
    ) -> list[str]:
        """Add plain texts as records of their own, each under the caller's id.

        Args:
            texts: one record each.
            ids: one a text; an id that is there already is replaced. None: new random ids.
            metadata: one a text, flat.

        Returns:
            The ids, in order.

        Raises:
            ValueError: the lists differ in length, or a record is not valid (`Index.add`).
        """
        ids, metadata = _aligned(len(texts), ids, metadata)
        matrices = self.embedder.encode_document(texts)
        self.index.add(
            [
                Record(id=id, matrix=matrix, text=text, metadata=dict(values))
                for id, matrix, text, values in zip(ids, matrices, texts, metadata, strict=True)
            ]
        )
        return list(ids)

    def add_images(
        self,
        images: Sequence[Any],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Scalar]] | None = None,
    ) -> list[str]:
        """Add images as records of their own, each under the caller's id.

        An image of several frames gives its first; `add` takes them all.

        Args:
            images: paths, bytes or PIL images.
            ids: one an image; an id that is there already is replaced. None: new random ids.
            metadata: one an image, flat; not `RESERVED_KEYS`.

        Returns:
            The ids, in order.

        Raises:
            DocumentError: one of them is no image or cannot be read; none is added then.
            ValueError: the lists differ in length.
        """
        from mmrag.documents import Found, discover

        ids, metadata = _aligned(len(images), ids, metadata)
        pages: list[Page] = []
        blobs: dict[str, bytes] = {}
        image_pixels = PICTURE_PIXELS if "image" in self.embedder.modalities else None
        for id, image in zip(ids, images, strict=True):
            found = next(iter(discover([image])), None)
            if not isinstance(found, Found) or found.source.kind != "image":
                reason = "it is no image" if found is None or isinstance(found, Found) else found.reason
                raise DocumentError(f"an image to add must be readable, got {image!r}: {reason}.")
            page = next(iter(self.reader.pages(found, numbers=[0], image_pixels=image_pixels)))
            if not isinstance(page, Page):
                raise DocumentError(f"an image to add must be readable, got {image!r}: {page.reason}")
            pages.append(replace(page, id=id))
            if found.data is not None:
                blobs[found.source.sha256] = found.data
        for digest, data in blobs.items():
            self.index.put_blob(digest, data)
        matrices = self.embedder.encode_document(pages)
        self.index.add(
            [
                Record(
                    id=page.id,
                    matrix=matrix,
                    text=page.text,
                    metadata={
                        **_page_metadata(page, (page.source.path or page.source.name,)),
                        **_checked_metadata(values),
                    },
                    page=replace(page, image=None),
                )
                for page, matrix, values in zip(pages, matrices, metadata, strict=True)
            ]
        )
        return list(ids)

    def remove(self, target: str | Path) -> int:
        """Remove a file (path, file name or document id) or a single record (its id).

        A document with several names loses the one given, and its pages with the last one.

        Returns:
            How many records were removed.

        Raises:
            ValueError: nothing of that name is here, or a file name fits several documents.
        """
        entries = self.index.documents()
        given = str(target)
        whole = [entry for entry in entries if entry.id == given]
        if whole:
            return self.index.remove_document(given)
        absolute = str(Path(given).expanduser().absolute())
        named = [(entry, name) for entry in entries for name in entry.names if name in (given, absolute)]
        if not named:
            named = [(entry, n) for entry in entries for n in entry.names if Path(n).name == given]
        if len(named) > 1:
            several = ", ".join(sorted(name for _, name in named))
            raise ValueError(
                f"the name to remove must fit one document, got {given!r}, which fits {several}. "
                "Give the whole path or the document id."
            )
        if named:
            return self._drop_name(*named[0])
        if self.index.delete([given]):
            return 1
        raise ValueError(
            f"what to remove must be in the index, got {given!r}. `status()` lists its documents and ids."
        )

    # ---- searching and asking --------------------------------------------------------------------

    def search(
        self,
        query: str | Query,
        *,
        k: int = 10,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> Ranking:
        """Rank the pages for a query; see `mmrag.retriever.Retriever.search`."""
        return self.retriever.search(query, k=k, budget=budget, filter=filter, exact=exact)

    def ask(
        self,
        question: str | Query,
        *,
        k: int = 5,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
        evidence: bool = True,
        answerer: Answerer | None = None,
    ) -> Answer:
        """Answer a question from the `k` best pages.

        Args:
            question: text, or a `Query` with an image.
            k: pages that the answerer sees.
            budget: see `mmrag.types.Budget`; None uses all vectors there are.
            filter: metadata filter, see `mmrag.index.filters`.
            exact: score every page instead of the survivors of the first vector.
            evidence: draw the cited boxes on the pages (``Citation.picture``).
            answerer: instead of this object's own.

        Returns:
            The answer; ``abstained`` where the documents do not answer.

        Raises:
            SourceChangedError: a cited page's file is gone or changed, and `evidence` is wanted.
        """
        query = _as_query(question)
        started = time.monotonic()
        ranking = self.search(query, k=k, budget=budget, filter=filter, exact=exact)
        found = time.monotonic()
        answer = (answerer or self.answerer).answer(query, ranking)
        return self._finish(answer, started, found, evidence)

    def stream(
        self,
        question: str | Query,
        *,
        k: int = 5,
        budget: Budget | None = None,
        filter: Filter | None = None,
        evidence: bool = True,
        answerer: Answerer | None = None,
    ) -> Iterator[str | Answer]:
        """`ask` in pieces: the text as it comes, the finished `Answer` last.

        An answerer that cannot stream gives its text in one piece.
        """
        query = _as_query(question)
        started = time.monotonic()
        ranking = self.search(query, k=k, budget=budget, filter=filter)
        found = time.monotonic()
        chosen = answerer or self.answerer
        pieces: Iterable[str | Answer]
        if hasattr(chosen, "stream"):
            pieces = chosen.stream(query, ranking)
        else:
            answer = chosen.answer(query, ranking)
            pieces = (answer.text, answer)
        for piece in pieces:
            yield self._finish(piece, started, found, evidence) if isinstance(piece, Answer) else piece

    def _finish(self, answer: Answer, started: float, found: float, evidence: bool) -> Answer:
        """Add the pictures and the seconds of each stage."""
        answered = time.monotonic()
        if evidence:
            answer = replace(answer, citations=tuple(self._with_picture(c) for c in answer.citations))
        seconds = {
            "search": found - started,
            "answer": answered - found,
            "evidence": time.monotonic() - answered,
        }
        usage: Usage = replace(answer.usage, seconds={**answer.usage.seconds, **seconds})
        return replace(answer, usage=usage)

    def _with_picture(self, citation: Citation) -> Citation:
        if citation.page is None:
            return citation
        from mmrag.answer.evidence import evidence_png

        image = self.render(citation.page)
        return replace(citation, picture=evidence_png(image, citation.boxes, label=str(citation.number)))

    def render(self, page: Page, *, max_pixels: int = PICTURE_PIXELS) -> Image:
        """Picture of a page, made again from its source.

        A document with several names is read from the first that is still there and unchanged.

        Raises:
            SourceChangedError: the file is gone, or is not the file that was indexed.
            PageError: the page cannot be rendered.
        """
        data = None if page.source.path is not None else self.index.get_blob(page.source.sha256)
        names = [page.source.path]
        if data is None:
            entry = next((e for e in self.index.documents() if e.id == page.document_id), None)
            names += [name for name in (entry.names if entry else ()) if name != page.source.path]
        failure: SourceChangedError | None = None
        for name in names:
            try:
                return self.reader.render(
                    replace(page, source=replace(page.source, path=name)), max_pixels=max_pixels, data=data
                )
            except SourceChangedError as error:
                failure = failure or error
        assert failure is not None  # names is never empty
        raise failure

    def picture_path(self, page: Page, *, max_pixels: int = PICTURE_PIXELS) -> Path:
        """Path of a PNG of the page, rendered once and kept in ``pictures/`` beside the index.

        For hosts that carry images by path. In memory the folder is temporary and goes with this
        object. Raises as `render` does.
        """
        if self._pictures is None:
            if self.path is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="mmrag-pictures-")
                self._pictures = Path(self._scratch.name)
            else:
                self._pictures = self.path / "pictures"
        name = f"{page.source.sha256[:16]}-p{page.number}-{max_pixels}.png"
        target = self._pictures / name
        if not target.is_file():
            image = self.render(page, max_pixels=max_pixels)
            self._pictures.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{name}.{os.getpid()}-{threading.get_ident()}")
            image.save(partial, format="PNG")
            partial.replace(target)  # a reader in another process sees the whole file or none
        return target

    # ---- the rest --------------------------------------------------------------------------------

    def status(self) -> Status:
        """What the index holds."""
        return Status(
            path=self.path,
            embedder=self.index.manifest.embedder,
            documents=tuple(self.index.documents()),
            records=self.index.count(),
            read_only=self.index.read_only,
        )

    @property
    def reader(self) -> DocumentReader:
        """The document reader, started on first use."""
        if self._reader is None:
            from mmrag.documents import DocumentReader

            self._reader = DocumentReader(self._settings(), password=self._password)
        return self._reader

    @property
    def answerer(self) -> Answerer:
        """The answerer: the one given, or the extractive default."""
        if self._answerer is None:
            from mmrag.answer import ExtractiveAnswerer

            self._answerer = ExtractiveAnswerer(encode=self._encode_sentences)
        return self._answerer

    def _encode_sentences(self, texts: Sequence[str], side: str) -> list[Any]:
        encode = self.embedder.encode_query if side == "query" else self.embedder.encode_document
        return [matrix[0] for matrix in encode(texts)]

    def _settings(self) -> ReaderSettings:
        if self._reader_settings is None:
            from mmrag.documents import ReaderSettings

            self._reader_settings = ReaderSettings()
        return self._reader_settings

    def close(self) -> None:
        """Stop the reader's processes and release the index; calling it twice is fine."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._pictures = self._scratch = None
        self.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---- asynchronous twins ----------------------------------------------------------------------

    @classmethod
    async def aopen(cls, path: str | Path, **options: Any) -> DocumentQA:  # noqa: ANN401  as `open`
        """`open` in a thread."""
        return await asyncio.to_thread(cls.open, path, **options)

    async def aadd(self, inputs: Any, **options: Any) -> AddReport:  # noqa: ANN401  as `add`
        """`add` in a thread."""
        return await asyncio.to_thread(self.add, inputs, **options)

    async def aremove(self, target: str | Path) -> int:
        """`remove` in a thread."""
        return await asyncio.to_thread(self.remove, target)

    async def asearch(self, query: str | Query, **options: Any) -> Ranking:  # noqa: ANN401  as `search`
        """`search` in a thread."""
        return await asyncio.to_thread(self.search, query, **options)

    async def aask(
        self,
        question: str | Query,
        *,
        k: int = 5,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
        evidence: bool = True,
        answerer: Answerer | None = None,
    ) -> Answer:
        """`ask`; the answerer's own async method waits for the server."""
        query = _as_query(question)
        started = time.monotonic()
        ranking = await self.asearch(query, k=k, budget=budget, filter=filter, exact=exact)
        found = time.monotonic()
        answer = await (answerer or self.answerer).aanswer(query, ranking)
        return await asyncio.to_thread(self._finish, answer, started, found, evidence)

    async def astream(self, question: str | Query, **options: Any) -> AsyncIterator[str | Answer]:  # noqa: ANN401
        """`stream`, each piece waited for in a thread."""
        pieces = self.stream(question, **options)
        end = object()
        while (piece := await asyncio.to_thread(next, pieces, end)) is not end:
            yield piece  # type: ignore[misc]  # not `end`, so a str or an Answer

    async def astatus(self) -> Status:
        """`status` in a thread."""
        return await asyncio.to_thread(self.status)

    async def aclose(self) -> None:
        """`close` in a thread."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Clock:
    """Turns bytes done into the time left, for `AddProgress`."""

    def __init__(
        self, started: float, found: Sequence[Found], progress: Callable[[AddProgress], None] | None
    ) -> None:
        self._started = started
        self._progress = progress
        self._sizes = [_size(one) for one in found] if progress else []
        self._position = 0
        self._name = ""
        self._total = len(found)
        self._pages = 0
        self._share = 0.0

    def file(self, position: int, found: Found) -> None:
        self._position, self._name, self._share = position, found.source.name, 0.0
        self._tell()

    def pages(self, done: int, total: int, new: int) -> None:
        self._pages += new
        self._share = min(1.0, done / total) if total else 1.0
        self._tell()

    def finish(self) -> None:
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


def _as_query(question: str | Query) -> Query:
    return question if isinstance(question, Query) else Query(text=question)


def _name(found: Found) -> str:
    return found.source.path or found.source.name


def _size(found: Found) -> int:
    if found.data is not None:
        return len(found.data)
    path = Path(found.source.path or "")
    return path.stat().st_size if path.is_file() else 0


def _aligned(
    count: int, ids: Sequence[str] | None, metadata: Sequence[Mapping[str, Scalar]] | None
) -> tuple[Sequence[str], Sequence[Mapping[str, Scalar]]]:
    """Ids and metadata, one for each of `count` records."""
    ids = [str(uuid.uuid4()) for _ in range(count)] if ids is None else ids
    metadata = [{}] * count if metadata is None else metadata
    if len(ids) != count or len(metadata) != count:
        raise ValueError(
            f"ids and metadata must be one a record, got {len(ids)} ids and {len(metadata)} metadata "
            f"for {count} records."
        )
    return ids, metadata


def _checked_metadata(metadata: Mapping[str, Scalar] | None) -> dict[str, Scalar]:
    taken = sorted(set(metadata or ()) & set(RESERVED_KEYS))
    if taken:
        raise ValueError(
            f"metadata keys must not be {', '.join(RESERVED_KEYS)} (every page has them), "
            f"got {', '.join(taken)}. Choose other names."
        )
    return dict(metadata or {})


def _name_metadata(names: Sequence[str]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """The keys that follow from a document's names; several names make several values."""
    files = tuple(dict.fromkeys(Path(name).name for name in names))
    paths = tuple(names)
    path_value = paths if len(paths) > 1 else paths[0]
    return {
        "source": path_value,
        "file_path": path_value,
        "file_name": files if len(files) > 1 else files[0],
    }


def _page_metadata(page: Page, names: Sequence[str]) -> dict[str, Scalar | tuple[Scalar, ...]]:
    return {
        **_name_metadata(names),
        "doc_id": page.document_id,
        "page": page.number,
        "page_label": page.label,
        "total_pages": page.total_pages,
        "text_source": page.text_source,
    }
