"""Ask a folder of documents: the whole path from files to an answer with its evidence.

`DocumentQA` holds four things and no logic of theirs: a reader (files to pages), an embedder (pages
and questions to vectors), an index, and an answerer. Adding is::

    files -> discover -> reader.pages -> embedder.encode_document -> index.add

and asking is::

    question -> retriever.search -> (reranker.rerank) -> answerer.answer -> evidence pictures

Decisions taken here:

* A file is known by its content (sha256) and by its names. Adding it again changes nothing; adding a
  changed file under an old name replaces that name's pages once the new ones are all there. How a
  crash is survived stands in `mmrag.ingest.files`.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from mmrag.errors import DocumentError, PageError, SourceChangedError
from mmrag.images import ShowsPages, with_page_renderer
from mmrag.index.base import DocumentEntry, Index
from mmrag.ingest.embedding import PICTURE_PIXELS, refuse_skipped
from mmrag.ingest.files import Ingest, drop_name, name_of
from mmrag.ingest.metadata import checked_metadata
from mmrag.ingest.pictures import page_picture
from mmrag.ingest.report import AddProgress, AddReport, Clock
from mmrag.rerank.stage import (
    DEFAULT_DEPTH,
    arerank_first,
    beside,
    check_depth,
    check_thinking,
    load_reranker,
    rerank_first,
)
from mmrag.retriever import CHANNELS, Retriever
from mmrag.types import Answer, Budget, Citation, Page, Query, Ranking, Record, Scalar, Usage

if TYPE_CHECKING:
    from types import TracebackType

    from PIL.Image import Image
    from typing_extensions import Self

    from mmrag.answer import Answerer
    from mmrag.documents import DocumentReader, InputDocument, ReaderSettings
    from mmrag.embedders.base import Embedder
    from mmrag.index.filters import Filter
    from mmrag.rerank import Reranker
    from mmrag.rerank.traces import TraceWriter

T = TypeVar("T")

TRACE_BATCH = 64  # records in memory at a time while their traces are written

DEFAULT_RERANKER: str | None = None
"""What reranks where nobody says: ``"local"``, or None for nothing."""


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
        reranker: looks at the first candidates again: an object, ``"local"`` (a small cross-encoder in
            process), or the URL of a server, whose replies are then kept in ``replies/`` beside the
            index. None: none. One that shows pages to a model and has no way to draw them gets ours.
        rerank_depth: candidates that the reranker judges; the others follow in their order.

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
        reranker: Reranker | str | None = DEFAULT_RERANKER,
        rerank_depth: int = DEFAULT_DEPTH,
    ) -> None:
        if embedder is None:
            from mmrag.models.load import default_embedder

            embedder = default_embedder()
        self.index = index
        self.embedder = embedder
        self.retriever = Retriever(index, embedder)
        self.path = path
        self.rerank_depth = check_depth(rerank_depth)
        self._reader_settings = reader
        self._password = password
        self._reader: DocumentReader | None = None
        self._answerer = answerer
        self._sentences: Embedder | None = None
        self._named_rerankers: dict[str, Reranker] = {}
        self._drawing_rerankers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._pictures: Path | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()  # what is made on first use is made once, whoever asks first
        self.reranker = self._reranker(reranker)

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
        reranker: Reranker | str | None = DEFAULT_RERANKER,
        rerank_depth: int = DEFAULT_DEPTH,
    ) -> DocumentQA:
        """Open the index in a directory, or make it when there is none.

        Args:
            path: the directory.
            embedder: must have the fingerprint of the one that made the index. None: the default of the
                package, or the one that was it before, where that made the index (with a warning).
            read_only: search only; any number of processes may, also while one writes.
            reader: see `DocumentQA`.
            password: see `DocumentQA`.
            answerer: see `DocumentQA`.
            reranker: see `DocumentQA`.
            rerank_depth: see `DocumentQA`.

        Raises:
            IndexLockedError: another process holds it for writing.
            IndexMismatchError: another embedder made it; `reembed` makes one of it for this embedder.
            IndexFormatError: the directory holds something else.
        """
        from mmrag.index.chroma import ChromaIndex

        if embedder is None:
            from mmrag.ingest.reembed import embedder_of

            embedder = embedder_of(path)
        index = ChromaIndex.open(path, embedder, read_only=read_only)
        return cls(
            index,
            embedder=embedder,
            reader=reader,
            password=password,
            answerer=answerer,
            path=index.path,
            reranker=reranker,
            rerank_depth=rerank_depth,
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

        extra = checked_metadata(metadata)
        report = AddReport()
        started = time.monotonic()
        found: list[InputDocument] = []
        for item in discover(inputs):
            if isinstance(item, SkippedItem):
                if not self._holds(item.name):
                    report.skipped.append(item)
            elif not self._holds(name_of(item)):
                found.append(item)
        ingest = self._ingest()
        clock = Clock(started, found, progress)
        for position, one in enumerate(found):
            clock.file(position, one)
            try:
                ingest.add(one, extra, report, clock)
            except DocumentError as error:
                reason = str(error).removeprefix(f"{one.source.name}: ")  # the report names the file
                report.skipped.append(SkippedItem(name=name_of(one), reason=reason))
        clock.finish()
        report.seconds = time.monotonic() - started
        return report

    def _holds(self, name: str) -> bool:
        """Whether a file is part of the index itself, which may stand in the folder to index."""
        return self.path is not None and Path(name).absolute().is_relative_to(self.path)

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
        refuse_skipped(matrices)
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
        ids, metadata = _aligned(len(images), ids, metadata)
        self._ingest().add_images(images, ids, metadata)
        return list(ids)

    def write_traces(self, writer: TraceWriter, *, filter: Filter | None = None) -> int:
        """Have a model write a trace of every record, for the rerankers that read them.

        Traces that the writer's cache holds are not asked for again, so a run that was cut off goes on
        where it stopped, and after adding files only theirs are written.

        Args:
            writer: keeps them in ``cache=qa.traces_path``. Without a way to draw pages it gets ours.
            filter: only these records.

        Returns:
            How many records have their trace now.

        Raises:
            ValueError: the writer keeps nothing.
            ServerError: its server failed; the traces that came are kept.
        """
        if writer.cache is None:
            raise ValueError(
                "a writer of traces must keep them, got cache=None. "
                "Pass TraceWriter(..., cache=qa.traces_path)."
            )
        drawing = self._drawing(writer)
        ids = self.index.ids(filter)
        for start in range(0, len(ids), TRACE_BATCH):
            drawing.write_documents(self.index.get(ids[start : start + TRACE_BATCH]))
        return len(ids)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records by id; ids that are not there are passed over.

        A file some of whose pages were deleted is incomplete afterwards: adding it again brings them
        back. One without pages is gone.

        Returns:
            How many records were deleted.
        """
        touched = {record.page.document_id for record in self.index.get(ids) if record.page is not None}
        deleted = self.index.delete(ids)
        for entry in self.index.documents():
            if entry.id in touched and self.index.count({"doc_id": entry.id}):
                self.index.put_document(replace(entry, complete=False))
            elif entry.id in touched:
                self.index.remove_document(entry.id)
        return deleted

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
            return drop_name(self.index, *named[0])
        if self.delete([given]):
            return 1
        raise ValueError(
            f"what to remove must be in the index, got {given!r}. `status()` lists its documents and ids."
        )

    def reembed(
        self, path: str | Path, *, embedder: Embedder | None = None, show_progress: bool = False
    ) -> DocumentQA:
        """Write a new index of all that this one holds, with the vectors of another embedder, and open it.

        Documents are not read again; this index stays as it is. See `mmrag.ingest.reembed.reembed`, which
        takes an
        index by any embedder and returns a report. Files whose pages could not be drawn are logged as
        warnings.

        Args:
            path: the new index's directory.
            embedder: None: the default of the package.
            show_progress: a bar on standard error.

        Returns:
            The new index, open for writing, with this object's reader settings and password.
        """
        from mmrag.ingest.reembed import reembed_index
        from mmrag.models.load import default_embedder

        embedder = embedder or default_embedder()
        reembed_index(self.index, path, embedder, self.reader, show_progress=show_progress)
        return DocumentQA.open(path, embedder=embedder, reader=self._reader_settings, password=self._password)

    # ---- searching and asking --------------------------------------------------------------------

    def search(
        self,
        query: str | Query,
        *,
        k: int = 10,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
        channels: Sequence[str] = CHANNELS,
        rerank: Reranker | str | bool | None = None,
        think_tokens: int | None = None,
    ) -> Ranking:
        """Rank the pages for a query; see `mmrag.retriever.Retriever.search`.

        Args:
            query: see there, as `k`, `budget`, `filter`, `exact` and `channels`.
            k: most candidates.
            budget: vectors used on each side.
            filter: on the metadata.
            exact: score every record.
            channels: what searches.
            rerank: another reranker than this object's own, or False for none.
            think_tokens: most tokens of the reranker's thought on each judgement. None: its own setting.

        Raises:
            ValueError: `think_tokens` without a reranker that can think; and as `Retriever.search` does.
            ServerError: the reranker's server failed.
        """
        reranker = self._chosen_reranker(rerank, think_tokens)
        ranking = self.retriever.search(
            query, k=self._wanted(k, reranker), budget=budget, filter=filter, exact=exact, channels=channels
        )
        if reranker is None:
            return ranking
        return rerank_first(reranker, ranking, top_n=k, depth=self.rerank_depth, think_tokens=think_tokens)

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
        rerank: Reranker | str | bool | None = None,
        think_tokens: int | None = None,
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
            rerank: another reranker than this object's own, or False for none.
            think_tokens: most tokens of the reranker's thought on each judgement. None: its own setting.

        Returns:
            The answer; ``abstained`` where the documents do not answer. What reranking cost is in its
            ``usage`` (``seconds["rerank"]``, tokens, cache hits). A cited page whose file has
            moved or changed has no picture, and the citation's ``note`` says so.

        Raises:
            ValueError: an empty question, `k` below 1, or `think_tokens` without a reranker that can think.
            UnsupportedInputError: an image in the question, and the embedder takes none.
            ServerError: the server of the reranker or of the answerer failed.
        """
        query = _as_query(question)
        started = time.monotonic()
        ranking = self.search(
            query,
            k=k,
            budget=budget,
            filter=filter,
            exact=exact,
            rerank=rerank,
            think_tokens=think_tokens,
        )
        found = time.monotonic()
        answer = self._seeing(answerer).answer(query, ranking)
        return self._finish(answer, ranking, started, found, evidence)

    def stream(
        self,
        question: str | Query,
        *,
        k: int = 5,
        budget: Budget | None = None,
        filter: Filter | None = None,
        evidence: bool = True,
        answerer: Answerer | None = None,
        rerank: Reranker | str | bool | None = None,
        think_tokens: int | None = None,
    ) -> Iterator[str | Answer]:
        """`ask` in pieces: the text as it comes, the finished `Answer` last.

        An answerer that cannot stream gives its text in one piece.
        """
        query = _as_query(question)
        started = time.monotonic()
        ranking = self.search(
            query, k=k, budget=budget, filter=filter, rerank=rerank, think_tokens=think_tokens
        )
        found = time.monotonic()
        chosen = self._seeing(answerer)
        pieces: Iterable[str | Answer]
        if hasattr(chosen, "stream"):
            pieces = chosen.stream(query, ranking)
        else:
            answer = chosen.answer(query, ranking)
            pieces = (answer.text, answer)
        for piece in pieces:
            if isinstance(piece, Answer):
                yield self._finish(piece, ranking, started, found, evidence)
            else:
                yield piece

    def _finish(
        self, answer: Answer, ranking: Ranking, started: float, found: float, evidence: bool
    ) -> Answer:
        """Add the pictures, the seconds of each stage, and why an answer may be missing."""
        answered = time.monotonic()
        if answer.abstained and (unread := self.index.count({"text_source": "unread"})):
            answer = replace(answer, note=_unread_hint(unread))
        if evidence:
            answer = replace(answer, citations=tuple(self._with_picture(c) for c in answer.citations))
        seconds = {
            "search": found - started - ranking.usage.seconds.get("rerank", 0.0),
            "answer": answered - found,
            "evidence": time.monotonic() - answered,
        }
        own: Usage = replace(answer.usage, seconds={**answer.usage.seconds, **seconds})
        return replace(answer, usage=own + ranking.usage)

    def _with_picture(self, citation: Citation) -> Citation:
        if citation.page is None:
            return citation
        from mmrag.answer.evidence import evidence_png

        try:
            image = self.render(citation.page)
        except (SourceChangedError, PageError) as error:  # costs the picture, not the answer
            return replace(citation, note=" ".join(filter(None, (citation.note, f"No picture: {error}"))))
        return replace(citation, picture=evidence_png(image, citation.boxes, label=str(citation.number)))

    def render(self, page: Page, *, max_pixels: int = PICTURE_PIXELS) -> Image:
        """Picture of a page, made again from its source.

        A document with several names is read from the first that is still there and unchanged.

        Raises:
            SourceChangedError: the file is gone, or is not the file that was indexed.
            PageError: the page cannot be rendered.
        """
        return page_picture(self.index, self.reader, page, max_pixels=max_pixels)

    def picture_path(self, page: Page, *, max_pixels: int = PICTURE_PIXELS) -> Path:
        """Path of a PNG of the page, rendered once and kept in ``pictures/`` beside the index.

        For hosts that carry images by path. In memory the folder is temporary and goes with this
        object. Raises as `render` does.
        """
        pictures = self._picture_folder()
        name = f"{page.source.sha256[:16]}-p{page.number}-{max_pixels}.png"
        target = pictures / name
        if not target.is_file():
            image = self.render(page, max_pixels=max_pixels)
            pictures.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{name}.{os.getpid()}-{threading.get_ident()}")
            image.save(partial, format="PNG")
            partial.replace(target)  # a reader in another process sees the whole file or none
        return target

    def _picture_folder(self) -> Path:
        with self._lock:
            if self._pictures is None:
                if self.path is None:
                    self._scratch = tempfile.TemporaryDirectory(prefix="mmrag-pictures-")
                    self._pictures = Path(self._scratch.name)
                else:
                    self._pictures = self.path / "pictures"
            return self._pictures

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
        with self._lock:
            if self._reader is None:
                from mmrag.documents import DocumentReader

                self._reader = DocumentReader(self._settings(), password=self._password)
            return self._reader

    @property
    def answerer(self) -> Answerer:
        """The answerer: the one given, or the extractive default."""
        with self._lock:
            if self._answerer is None:
                from mmrag.answer import ExtractiveAnswerer

                self._answerer = ExtractiveAnswerer(encode=self._encode_sentences)
            return self._answerer

    @property
    def replies_path(self) -> Path | None:
        """Where replies of a reranker's server are kept; None where nothing can be written, as in memory."""
        return None if self.path is None else beside(self.path, "replies")

    @property
    def traces_path(self) -> Path | None:
        """Where traces of pages are kept; None where nothing can be written."""
        return None if self.path is None else beside(self.path, "traces")

    def _seeing(self, answerer: Answerer | None) -> Answerer:
        """The answerer to use, drawing pages as we do."""
        return self._drawing(answerer or self.answerer)

    def _chosen_reranker(
        self, rerank: Reranker | str | bool | None, think_tokens: int | None
    ) -> Reranker | None:
        """The reranker of one search; refused before any work where it cannot do what is asked."""
        chosen: Reranker | None
        if rerank is None or rerank is True:
            chosen = self.reranker
        elif rerank is False:
            chosen = None
        else:
            chosen = self._reranker(rerank)
        if rerank is True and chosen is None:
            raise ValueError(
                "rerank=True must have a reranker to use, got none. Open with reranker='local', or pass one."
            )
        check_thinking(chosen, think_tokens)
        return chosen

    def _reranker(self, given: Reranker | str | None) -> Reranker | None:
        """The reranker a caller named, made ready once: what it learns of its server is not asked again."""
        with self._lock:
            if isinstance(given, str):
                if given not in self._named_rerankers:
                    loaded = load_reranker(given, self.replies_path)
                    self._named_rerankers[given] = cast("Reranker", self._drawing(loaded))
                return self._named_rerankers[given]
            loaded = load_reranker(given)
            if not isinstance(loaded, ShowsPages) or loaded.render is not None:
                return loaded
            try:
                if loaded not in self._drawing_rerankers:
                    self._drawing_rerankers[loaded] = self._drawing(loaded)
                return cast("Reranker", self._drawing_rerankers[loaded])
            except TypeError:  # nothing can be remembered of an object that no weak reference can name
                return self._drawing(loaded)

    def _wanted(self, k: int, reranker: Reranker | None) -> int:
        """How many candidates to retrieve; a `k` that means nothing is left to the retriever to refuse."""
        sound = isinstance(k, int) and not isinstance(k, bool) and k >= 1
        return max(k, self.rerank_depth) if sound and reranker is not None else k

    def _drawing(self, chosen: T) -> T:
        """Return `chosen`, or a copy with our page renderer if it needs one and has none."""
        return with_page_renderer(chosen, lambda page, pixels: self.render(page, max_pixels=pixels))

    def _encode_sentences(self, texts: Sequence[str], side: str) -> list[Any]:
        """Row 0 of each sentence; by the package's text encoder where the embedder is one of images.

        A multimodal model takes seconds for the hundreds of sentences of five pages, and is made for
        pages, not for sentences.
        """
        with self._lock:
            if self._sentences is None:
                from mmrag.embedders.text import TextEmbedder

                sees = "image" in self.embedder.modalities
                self._sentences = TextEmbedder() if sees else self.embedder
            embedder = self._sentences
        encode = embedder.encode_query if side == "query" else embedder.encode_document
        return [matrix[0] for matrix in encode(texts)]

    def _ingest(self) -> Ingest:
        return Ingest(self.index, self.embedder, self.reader)

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

    async def areembed(self, path: str | Path, **options: Any) -> DocumentQA:  # noqa: ANN401  as `reembed`
        """`reembed` in a thread."""
        return await asyncio.to_thread(self.reembed, path, **options)

    async def adelete(self, ids: Sequence[str]) -> int:
        """`delete` in a thread."""
        return await asyncio.to_thread(self.delete, ids)

    async def aremove(self, target: str | Path) -> int:
        """`remove` in a thread."""
        return await asyncio.to_thread(self.remove, target)

    async def asearch(
        self,
        query: str | Query,
        *,
        k: int = 10,
        rerank: Reranker | str | bool | None = None,
        think_tokens: int | None = None,
        **options: Any,  # noqa: ANN401  as `search`
    ) -> Ranking:
        """`search`: the retriever's part in a thread, the reranker by its own async method."""
        reranker = self._chosen_reranker(rerank, think_tokens)
        ranking = await asyncio.to_thread(
            self.retriever.search, query, k=self._wanted(k, reranker), **options
        )
        if reranker is None:
            return ranking
        return await arerank_first(
            reranker, ranking, top_n=k, depth=self.rerank_depth, think_tokens=think_tokens
        )

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
        rerank: Reranker | str | bool | None = None,
        think_tokens: int | None = None,
    ) -> Answer:
        """`ask`; the answerer's own async method waits for the server."""
        query = _as_query(question)
        started = time.monotonic()
        ranking = await self.asearch(
            query,
            k=k,
            budget=budget,
            filter=filter,
            exact=exact,
            rerank=rerank,
            think_tokens=think_tokens,
        )
        found = time.monotonic()
        answer = await self._seeing(answerer).aanswer(query, ranking)
        return await asyncio.to_thread(self._finish, answer, ranking, started, found, evidence)

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


def _unread_hint(count: int) -> str:
    from mmrag.documents.settings import ocr_is_installed

    pages = "1 page has" if count == 1 else f"{count} pages have"
    if ocr_is_installed():
        return f"{pages} not been read, since OCR took too long: add the file again to try once more."
    return f"{pages} not been read, since OCR is not installed: pip install 'mmrag[ocr]', then add again."


def _as_query(question: str | Query) -> Query:
    return question if isinstance(question, Query) else Query(text=question)


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
