"""Ask a folder of documents: the whole path from files to an answer with its evidence.

`DocumentQA` holds the parts and has no logic of theirs: a reader (files to pages), an embedder (pages and
questions to vectors), an index, rerankers and an answerer. Adding is::

    files -> discover -> reader.pages -> embedder.encode_document -> index.add

and asking is::

    question -> retriever.run -> (reranker.rerank) -> answerer.answer -> evidence pictures

Decisions taken here:

* A file is known by its content (sha256) and by its names. Adding it again changes nothing; adding a
  changed file under an old name replaces that name's pages once the new ones are all in the index.
  `mmrag.ingest.files` describes how a crash is survived.
* Every public method has an ``a...`` twin that leaves the event loop free. Searching and asking await the
  async methods of embedder, reranker and answerer; everything else runs in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmrag.answer import with_next_page, with_page_blocks
from mmrag.answer.streaming import answer_pieces, apieces_of_answer, awrite_answer, write_answer
from mmrag.documents.settings import unread_hint
from mmrag.forks import new_lock
from mmrag.images import with_page_renderer
from mmrag.index.base import Index, ServerIndex
from mmrag.index.directory import STORE_NAME, index_bytes
from mmrag.ingest.embedding import PICTURE_PIXELS
from mmrag.ingest.files import Ingest
from mmrag.ingest.highlights import write_highlights
from mmrag.ingest.items import add_images, add_texts
from mmrag.ingest.pages import LocalPages, PageSource
from mmrag.ingest.pictures import PagePictures
from mmrag.ingest.removal import delete_records, remove
from mmrag.ingest.report import AddProgress, AddReport, Laps, Status
from mmrag.ingest.structure import PageStructure
from mmrag.rerank.stage import DEFAULT_DEPTH, RerankStage, RerankStep, writable_folder
from mmrag.retriever import Retriever
from mmrag.search_request import CHANNELS, SearchRequest, as_query
from mmrag.serving.twins import in_thread, signature_of
from mmrag.tracing.spans import Span, apieces, pieces, span
from mmrag.types import Answer, Budget, Citation, Page, Query, Ranking, Scalar

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Self

    from mmrag.answer import Answerer
    from mmrag.blocks import Block
    from mmrag.conversation.chat import Chat
    from mmrag.conversation.rewriting import Rewriter
    from mmrag.documents import DocumentReader, ReaderSettings
    from mmrag.embedders.base import Embedder
    from mmrag.index.backup import BackupReport
    from mmrag.index.base import RowType
    from mmrag.index.check_report import CheckReport
    from mmrag.index.filters import Filter
    from mmrag.ingest.cluster.settings import RaySettings
    from mmrag.ingest.sync import SyncPlan, SyncReport
    from mmrag.rerank import Reranker
    from mmrag.rerank.traces import TraceWriter
    from mmrag.second_look import SecondLook

    Password = str | Sequence[str] | Callable[[str], str | None]

TRACE_BATCH = 64  # records in memory at a time while their traces are written

DEFAULT_RERANKER: str | None = "local"
"""Reranker of an index that is opened without one: ``"local"``, or None for none."""


class DocumentQA:
    """Documents in, questions in; answers out, with the pages and boxes that prove them.

    Args:
        index: holds the records.
        embedder: must be the one that built the index. None: the default of the package.
        reader: reader settings. None: the defaults.
        password: for encrypted documents: one, several to try, or a function from file name to
            password. The environment variable ``MMRAG_PDF_PASSWORD`` is tried, too.
        answerer: writes the answers. None: extractive, quotes only, no server.
        path: directory of the index, for pictures, a reranker's replies and traces; of an index on a server
            a local folder for these. None: pictures are temporary, replies and traces are not kept.
        reranker: judges the first candidates again: an object, ``"local"`` (a small cross-encoder in
            process, the default), or the URL of a server, whose replies are then kept in the index's
            ``replies/``. None: no reranking. A reranker that shows pages and has no renderer gets ours.
        rerank_depth: candidates that the reranker judges; the others follow in their order.

    `DocumentQA.open` is the usual way to make one.

    Example:
        >>> with DocumentQA.open("another-index") as another:
        ...     report = another.add("report.pdf")
        ...     another.ask("Who chairs the board?", k=1).text
        'Ingrid Thorne chairs the board. [1]'
    """

    def __init__(
        self,
        index: Index,
        *,
        embedder: Embedder | None = None,
        reader: ReaderSettings | None = None,
        password: Password | None = None,
        answerer: Answerer | None = None,
        path: Path | None = None,
        reranker: Reranker | str | None = DEFAULT_RERANKER,
        rerank_depth: int = DEFAULT_DEPTH,
    ) -> None:
        self.index = index
        self.embedder = _embedder_or_default(embedder)
        self.retriever = Retriever(index, self.embedder)
        self.path = path
        self.reranking = RerankStage(
            reranker, depth=rerank_depth, render=self._render, replies=self.replies_path
        )
        self._reader_settings = reader
        self._password = password
        self._reader: DocumentReader | None = None
        self._answerer = answerer
        folder = None if path is None else path / "pictures"
        self._pictures = PagePictures(index, lambda: self.reader, folder)
        self._structure = PageStructure(index, lambda: self.reader)
        self._lock = new_lock()  # two threads that need a part first at the same time get one

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        embedder: Embedder | None = None,
        read_only: bool = False,
        reader: ReaderSettings | None = None,
        password: Password | None = None,
        answerer: Answerer | None = None,
        reranker: Reranker | str | None = DEFAULT_RERANKER,
        rerank_depth: int = DEFAULT_DEPTH,
        row_type: RowType | None = None,
        rows: int | None = None,
        cache: str | Path | None = None,
    ) -> DocumentQA:
        """Open the index in a directory or on a server, or make one if there is none.

        Args:
            path: the directory, or the address of a server (``"postgresql://user@host/database"``): see
                `mmrag.index.addresses`.
            embedder: must have the fingerprint of the one that built the index. None: the default of the
                package.
            read_only: search only; any number of processes may, also while one writes.
            reader: see `DocumentQA`, as what follows.
            password: for encrypted documents.
            answerer: writes the answers.
            reranker: judges the first candidates again.
            rerank_depth: candidates that the reranker judges.
            row_type: how rows are stored, ``"int8"`` or ``"float16"``. None: as the index was made; a new one
                with int8.
            rows: most rows of a record that are stored, the first ones. None: as the index was made; a new
                one with all. 16 take at most 2.1 kB a page of 128 numbers a row.
            cache: local folder for the pictures, replies and traces of an index on a server. None: pictures
                are temporary, replies and traces are not kept. An index in a directory keeps its own.

        Raises:
            ValueError: `row_type` or `rows` is not that of the index, or `cache` with a directory.
            ServerError: the server cannot be reached, refuses, or lacks what is needed.
            IndexLockedError: another process holds it for writing.
            IndexMismatchError: another embedder built it; `reembed` writes a new index for this one.
            IndexFormatError: the directory holds something else.
        """
        from mmrag.index.addresses import open_index

        folder = _cache_folder(path, cache)
        embedder = _embedder_or_default(embedder)
        index = open_index(path, embedder, read_only=read_only, row_type=row_type, rows=rows)
        return cls(
            index,
            embedder=embedder,
            reader=reader,
            password=password,
            answerer=answerer,
            path=getattr(index, "path", folder),
            reranker=reranker,
            rerank_depth=rerank_depth,
        )

    @classmethod
    async def aopen(cls, path: str | Path, **options: Any) -> DocumentQA:  # noqa: ANN401  as `open`
        """Run `open` in a thread."""
        return await asyncio.to_thread(cls.open, path, **options)

    # ---- adding ----------------------------------------------------------------------------------

    def add(
        self,
        inputs: Any,  # noqa: ANN401  what `discover` takes: paths, globs, bytes, files, or a list of them
        *,
        metadata: Mapping[str, Scalar] | None = None,
        context: Sequence[str] = (),
        progress: Callable[[AddProgress], None] | None = None,
        engine: Literal["local", "ray"] | RaySettings = "local",
    ) -> AddReport:
        """Add files, folders, globs, bytes, file objects or PIL images; see `mmrag.documents.discover`.

        Args:
            inputs: one input or a list of them.
            metadata: written on every page of this call, for filters; not `RESERVED_KEYS`. A list is a key
                with several values, None is no value.
            context: keys of `metadata` whose values name the documents ("title", "author", "date"): they are
                searched with every page, beside the file's name, its own title and the page's sections.
            progress: called after every batch and every file.
            engine: who reads and embeds: ``"local"``, this process and its reading processes, or Ray (extra
                ``ray``): ``"ray"`` starts a cluster on this machine for the call, or uses the one that this
                process is connected to; `mmrag.ingest.cluster.RaySettings` names one and sizes its processes.
                Pages, rows and report are the same; rows may differ in rounding, as between batches.

        Returns:
            What was done with each file. A file or page that cannot be read is in ``skipped`` with
            the reason; the others are added.

        Raises:
            ValueError: a metadata key is reserved or its value cannot be stored, or an input is an empty
                name. Nothing is added then.
            TypeError: an input is of no kind that is read. Nothing is added then.
            IndexReadOnlyError: the index is open for reading only.
            MissingExtraError: Ray is not installed.
            ServerUnreachableError: there is no Ray cluster at the address.
            WorkerError: the cluster has no room, or too many processes end. What was written stays.
        """
        with span("mmrag.add", "CHAIN") as trace, self._page_source(engine) as source:
            ingest = Ingest(self.index, source, self.reader, self.path)
            report = ingest.add(inputs, metadata, progress, context)
            trace.facts(added=len(report.added), pages=report.pages, skipped=len(report.skipped))
        return report

    def _page_source(self, engine: str | RaySettings) -> AbstractContextManager[PageSource]:
        """Return what reads and embeds the pages of one `add`.

        Raises:
            ValueError: an unknown engine.
        """
        if engine == "local":
            return nullcontext(LocalPages(self.embedder, self.reader))
        from mmrag.ingest.cluster.settings import RaySettings
        from mmrag.ingest.cluster.source import cluster_pages

        if engine == "ray":
            engine = RaySettings()
        if not isinstance(engine, RaySettings):
            raise ValueError(
                f"engine must be 'local', 'ray' or RaySettings, got {engine!r}. "
                "Leave it out for this process."
            )
        return cluster_pages(self.embedder, self.reader.settings, self._password, engine)

    def plan_sync(self, folder: str | Path) -> SyncPlan:
        """Compare a folder with what the index holds of it; nothing is written. See `sync_folder`."""
        from mmrag.ingest.sync import plan_sync

        return plan_sync(self.index.documents(), folder, self.path)

    def sync_folder(
        self,
        folder: str | Path,
        *,
        metadata: Mapping[str, Scalar] | None = None,
        context: Sequence[str] = (),
        progress: Callable[[AddProgress], None] | None = None,
        allow_removal: bool = False,
    ) -> SyncReport:
        """Make the index follow a folder: add, replace, rename and remove what differs.

        Files are known by their content: a file that was moved or renamed is not read or embedded again. Only
        names below the folder are touched.

        Args:
            folder: of files; the folders in it are followed, too.
            metadata: written on every page of this call; see `add`.
            context: see `add`.
            progress: see `add`.
            allow_removal: also when more than half of the folder's files are gone, or the folder is.

        Returns:
            What was done with each file.

        Raises:
            ValueError: more than half of the files that the index has from the folder are gone, or the folder
                is, and `allow_removal` is not set; nothing is done then. And as `add` does.
            NotADirectoryError: `folder` is a file.
            IndexReadOnlyError: the index is open for reading only.
        """
        from mmrag.ingest.sync import check_removal, sync

        plan = self.plan_sync(folder)
        if not allow_removal:
            check_removal(plan)
        ingest = Ingest(self.index, LocalPages(self.embedder, self.reader), self.reader, self.path)
        return sync(ingest, self.index, plan, metadata=metadata, progress=progress, context=context)

    def add_texts(
        self,
        texts: Sequence[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Scalar]] | None = None,
        context: Sequence[str] = (),
    ) -> list[str]:
        """Add plain texts as records of their own, each under the caller's id.

        Args:
            texts: one record each.
            ids: one per text; a record of the same id is replaced. None: new random ids.
            metadata: one per text, flat.
            context: keys of the metadata whose values are searched with the text, never shown or quoted.

        Returns:
            The ids, in order.

        Raises:
            ValueError: the lists differ in length, or a record is not valid (`Index.add`).
        """
        return add_texts(self.index, self.embedder, texts, ids, metadata, context)

    def add_images(
        self,
        images: Sequence[Any],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Scalar]] | None = None,
        context: Sequence[str] = (),
    ) -> list[str]:
        """Add images as records of their own, each under the caller's id.

        Of an image with several frames the first is added; `add` takes them all.

        Args:
            images: paths, bytes or PIL images.
            ids: one per image; a record of the same id is replaced. None: new random ids.
            metadata: one per image, flat; not `RESERVED_KEYS`.
            context: keys of the metadata whose values are searched with the image, never shown or quoted.

        Returns:
            The ids, in order.

        Raises:
            DocumentError: an input cannot be read as an image; no image is added then.
            ValueError: the lists differ in length.
        """
        return add_images(self.index, self.embedder, self.reader, images, ids, metadata, context)

    def write_traces(self, writer: TraceWriter, *, filter: Filter | None = None) -> int:
        """Write a trace of every record by a model, for the rerankers that read traces.

        Traces that the writer's cache holds are not requested again: an interrupted run continues, and after
        adding files only their traces are written.

        Args:
            writer: keeps them in ``cache=qa.traces_path``. If it has no renderer, it gets ours.
            filter: only these records.

        Returns:
            Number of records that have their trace now.

        Raises:
            ValueError: the writer keeps nothing.
            ServerError: its server failed; the traces written before are kept.
        """
        if writer.cache is None:
            raise ValueError(
                "a writer of traces must keep them, got cache=None. "
                "Pass TraceWriter(..., cache=qa.traces_path)."
            )
        writer = with_page_renderer(writer, self._render)
        ids = self.index.ids(filter)
        for start in range(0, len(ids), TRACE_BATCH):
            writer.write_documents(self.index.get(ids[start : start + TRACE_BATCH]))
        return len(ids)

    def delete(self, ids: str | Sequence[str]) -> int:
        """Delete records by id, or one by its id; unknown ids are passed over.

        A file that lost pages is incomplete afterwards: adding it again brings them back. A file that lost
        all its pages is removed.

        Returns:
            Number of records deleted.
        """
        return delete_records(self.index, ids)

    def remove(self, target: str | Path | None = None, *, filter: Filter | None = None) -> int:
        """Remove a file, a folder of files, a single record, or all records that pass a filter.

        A document with several names loses this name, and its pages with the last name. One that loses some
        pages to a filter is incomplete afterwards: adding it again brings them back.

        Args:
            target: path, file name or document id; path of a folder; id of a record.
            filter: on the metadata, instead of a target.

        Returns:
            Number of records removed.

        Raises:
            ValueError: nothing has this name, a file name fits several documents, or both or neither of the
                arguments are given.

        Example:
            >>> qa.remove("report.pdf")  # doctest: +SKIP
            12
            >>> qa.remove(filter={"shelf": "drafts"})  # doctest: +SKIP
            40
        """
        return remove(self.index, target, filter)

    def reembed(
        self,
        path: str | Path,
        *,
        embedder: Embedder | None = None,
        show_progress: bool = False,
        row_type: RowType | None = None,
        rows: int | None = None,
    ) -> DocumentQA:
        """Write a new index of all that this one holds, with the vectors of another embedder, and open it.

        Documents are not read again; this index does not change. Files whose pages could not be rendered
        are logged. `mmrag.ingest.reembed.reembed` takes an index by any embedder and returns a report.

        Args:
            path: the new index's directory.
            embedder: None: the default of the package.
            show_progress: show a bar on standard error.
            row_type: how the new index stores rows; see `open`.
            rows: most rows of a record that it stores.

        Returns:
            The new index, open for writing, with this object's reader settings and password.
        """
        from mmrag.ingest.reembed import reembed_index

        embedder = _embedder_or_default(embedder)
        reembed_index(
            self.index,
            path,
            embedder,
            self.reader,
            show_progress=show_progress,
            row_type=row_type,
            rows=rows,
        )
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
        group_by: str | None = None,
        look_again: int = 0,
    ) -> Ranking:
        """Rank the pages for a query; see `mmrag.retriever.Retriever.search`.

        Args:
            query: text, or a `Query` with an image.
            k: most candidates.
            budget: vectors used on each side.
            filter: on the metadata.
            exact: score every record.
            channels: ``"vectors"``, ``"text"`` or both.
            rerank: another reranker than this object's own, or False for none.
            think_tokens: most tokens of the reranker's thought per judgement. None: its own setting.
            group_by: ``"document"``: the best `k` documents, each with up to three of its best pages, which
                stand together (`Ranking.documents`). None: the best `k` pages.
            look_again: where no page is judged to help, search for at most so many queries more, which the
                model of the answerer's or the reranker's server writes (`mmrag.second_look`). 0: never.

        Raises:
            ValueError: `think_tokens` without a reranker that can think, `look_again` without one that says
                yes or no or without a chat server; and as `Retriever.search` does.
            ServerError: the reranker's server failed, or the one that writes queries.
        """
        words = as_query(query)
        return self._search(
            SearchRequest(
                words, k, budget, filter, exact, channels, rerank, think_tokens, group_by, look_again
            )
        )

    @signature_of(search)
    async def asearch(self, query: str | Query, **options: Any) -> Ranking:  # noqa: ANN401  as `search`
        """Search without blocking the event loop: embedder and reranker are awaited. See `search`."""
        return await self._asearch(SearchRequest(as_query(query), **options))

    def _search(self, request: SearchRequest, answerer: Answerer | None = None) -> Ranking:
        step = self.reranking.step(request.rerank, request.think_tokens)
        look = self._second_look(request, step, answerer)
        with span("mmrag.search", "CHAIN") as trace:
            trace.question(request.query)
            pool = replace(request, k=step.pool(request.pages))
            ranking = self.retriever.run(pool)
            first = step.apply(ranking, request.pages)
            if look is not None:
                first = look.improve(pool, ranking, first, request.pages)
            return trace.ranking(request.group(first))

    async def _asearch(self, request: SearchRequest, answerer: Answerer | None = None) -> Ranking:
        step = self.reranking.step(request.rerank, request.think_tokens)
        look = self._second_look(request, step, answerer)
        with span("mmrag.search", "CHAIN") as trace:
            trace.question(request.query)
            pool = replace(request, k=step.pool(request.pages))
            ranking = await self.retriever.arun(pool)
            first = await step.aapply(ranking, request.pages)
            if look is not None:
                first = await look.aimprove(pool, ranking, first, request.pages)
            return trace.ranking(request.group(first))

    def _second_look(
        self, request: SearchRequest, step: RerankStep, answerer: Answerer | None
    ) -> SecondLook | None:
        """Return the second look of a search; None where none is wanted. Raises as `SecondLook` does."""
        if not request.look_again:
            return None
        from mmrag.second_look import SecondLook

        parts = (answerer or self._answerer, step.reranker)
        return SecondLook(request.look_again, step, self.retriever, parts, self.replies_path)

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
        look_again: int = 0,
    ) -> Answer:
        """Answer a question from the `k` best pages.

        Args:
            question: text, or a `Query` with an image.
            k: pages that the answerer reads.
            budget: see `mmrag.types.Budget`; None uses all vectors.
            filter: metadata filter, see `mmrag.index.filters`.
            exact: score every page instead of the survivors of the first vector.
            evidence: draw the cited boxes on the pages (``Citation.picture``).
            answerer: used instead of this object's own.
            rerank: another reranker than this object's own, or False for none.
            think_tokens: most tokens of the reranker's thought per judgement. None: its own setting.
            look_again: see `search`.

        Returns:
            The answer; ``abstained`` if the documents do not answer. Its ``usage`` includes the cost of
            reranking (``seconds["rerank"]``, tokens, cache hits). A cited page whose file has moved or
            changed has no picture, and the citation's ``note`` says so.

        Raises:
            ValueError: an empty question, `k` below 1, or `think_tokens` without a reranker that can think.
            UnsupportedInputError: an image in the question, and the embedder takes none.
            ServerError: the server of the reranker or of the answerer failed.
        """
        request = SearchRequest(
            as_query(question), k, budget, filter, exact, CHANNELS, rerank, think_tokens, None, look_again
        )
        with span("mmrag.ask", "CHAIN") as trace:
            trace.question(request.query)
            laps = Laps()
            ranking = self._search(request, answerer)
            laps.end("search")
            answer = write_answer(self._answerer_for(answerer), request.query, ranking)
            return trace.answer(self._finish(answer, ranking, laps, evidence))

    @signature_of(ask)
    async def aask(
        self,
        question: str | Query,
        *,
        evidence: bool = True,
        answerer: Answerer | None = None,
        **options: Any,  # noqa: ANN401  as `ask`
    ) -> Answer:
        """Answer without blocking the event loop: reranker and answerer are awaited. See `ask`."""
        request = _question_request(question, options)
        with span("mmrag.ask", "CHAIN") as trace:
            trace.question(request.query)
            laps = Laps()
            ranking = await self._asearch(request, answerer)
            laps.end("search")
            answer = await awrite_answer(self._answerer_for(answerer), request.query, ranking)
            return trace.answer(await asyncio.to_thread(self._finish, answer, ranking, laps, evidence))

    @signature_of(ask)
    def stream(
        self,
        question: str | Query,
        *,
        evidence: bool = True,
        answerer: Answerer | None = None,
        **options: Any,  # noqa: ANN401  as `ask`
    ) -> Iterator[str | Answer]:
        """Answer in pieces: the text as it comes, the finished `Answer` last. See `ask`.

        An answerer that cannot stream gives its text in one piece.
        """
        request = _question_request(question, options)
        make = partial(self._pieces, request, evidence, answerer)
        yield from pieces("mmrag.ask", "CHAIN", make)

    def _pieces(
        self, request: SearchRequest, evidence: bool, answerer: Answerer | None, trace: Span
    ) -> Iterator[str | Answer]:
        trace.question(request.query)
        laps = Laps()
        ranking = self._search(request, answerer)
        laps.end("search")
        for piece in answer_pieces(self._answerer_for(answerer), request.query, ranking):
            if isinstance(piece, Answer):
                yield trace.answer(self._finish(piece, ranking, laps, evidence))
            else:
                yield piece

    @signature_of(ask)
    async def astream(
        self,
        question: str | Query,
        *,
        evidence: bool = True,
        answerer: Answerer | None = None,
        **options: Any,  # noqa: ANN401  as `ask`
    ) -> AsyncIterator[str | Answer]:
        """Answer in pieces without blocking the event loop: reranker and answerer are awaited. See `ask`."""
        request = _question_request(question, options)
        make = partial(self._apieces, request, evidence, answerer)
        async with aclosing(apieces("mmrag.ask", "CHAIN", make)) as items:
            async for piece in items:
                yield piece

    async def _apieces(
        self, request: SearchRequest, evidence: bool, answerer: Answerer | None, trace: Span
    ) -> AsyncIterator[str | Answer]:
        trace.question(request.query)
        laps = Laps()
        ranking = await self._asearch(request, answerer)
        laps.end("search")
        async with aclosing(apieces_of_answer(self._answerer_for(answerer), request.query, ranking)) as items:
            async for piece in items:
                if isinstance(piece, Answer):
                    yield trace.answer(await asyncio.to_thread(self._finish, piece, ranking, laps, evidence))
                else:
                    yield piece

    def chat(
        self,
        history: Iterable[Mapping[str, Any]] = (),
        *,
        rewriter: Rewriter | str | None = None,
        **options: Any,  # noqa: ANN401  of `ask`
    ) -> Chat:
        """Begin or continue a conversation, in which a question may lean on those before it.

        Args:
            history: messages so far, ``{"role", "content"}`` each; `Chat.messages` of an earlier one.
            rewriter: makes a follow-up question stand alone: an object or the URL of a server. None: the
                model of this object's answerer if that is a served one; else words of the question before
                are kept, and a note of the answer says so.
            options: of every `ask` of it.

        Returns:
            A `mmrag.conversation.chat.Chat`, with `ask`, `stream` and their async twins.

        Raises:
            ValueError: a message has no role or no text.
        """
        from mmrag.conversation.chat import Chat
        from mmrag.conversation.rewriting import ServedRewriter

        if rewriter is None:
            from mmrag.answer.served.answerer import ServedAnswerer

            answerer = options.get("answerer") or self._answerer
            if isinstance(answerer, ServedAnswerer):
                rewriter = ServedRewriter(answerer.client, structured=answerer.structured)
        return Chat(self, history, rewriter=rewriter, **options)

    def _answerer_for(self, answerer: Answerer | None) -> Answerer:
        """Return the answerer of one call, which draws pages and reads structure as we do by default."""
        drawing_answerer = with_page_renderer(answerer or self.answerer, self._render)
        return with_next_page(with_page_blocks(drawing_answerer, self.blocks), self._structure.next_page)

    def _finish(self, answer: Answer, ranking: Ranking, laps: Laps, evidence: bool) -> Answer:
        """Add the pictures, the seconds of each stage, and why an answer may be missing."""
        laps.end("answer")
        if answer.abstained and (unread_pages := self.index.count({"text_source": "unread"})):
            answer = replace(answer, note="; ".join(filter(None, (answer.note, unread_hint(unread_pages)))))
        if evidence:
            with span("mmrag.evidence", "CHAIN"):
                citations = tuple(self._pictures.with_evidence(citation) for citation in answer.citations)
            answer = replace(answer, citations=citations)
        laps.end("evidence")
        seconds = {**answer.usage.seconds, **laps.seconds}
        seconds["search"] -= ranking.usage.seconds.get("rerank", 0.0)  # which `ranking.usage` has
        return replace(answer, usage=replace(answer.usage, seconds=seconds) + ranking.usage)

    def render(self, page: Page, *, max_pixels: int = PICTURE_PIXELS) -> Image:
        """Render a page again from its source.

        A document with several names is read from the first that still has the indexed content.

        Raises:
            SourceChangedError: the file is gone, or is not the file that was indexed.
            PageError: the page cannot be rendered.
        """
        return self._pictures.render(page, max_pixels)

    def crop(self, citation: Citation, *, max_pixels: int = PICTURE_PIXELS) -> Image:
        """Cut the cited block out of its page: the paragraph, the table or the figure.

        Args:
            citation: of an answer of this index. Without `Citation.area` the words' boxes are cut out, and
                without these the page is returned whole.
            max_pixels: largest area of the page's picture, before it is cut.

        Raises:
            ValueError: the citation is of a text without a page.
            SourceChangedError: the file is gone, or is not the file that was indexed.
            PageError: the page cannot be rendered.
        """
        return self._pictures.crop(citation, max_pixels)

    def highlight(self, target: Answer | Sequence[Citation], path: str | Path) -> list[Path]:
        """Write the cited documents as PDFs with the cited places marked, for any reader of PDFs.

        Args:
            target: an answer of this index, or citations.
            path: of the first cited document's PDF; others stand beside it as ``NAME-2.pdf``.

        Returns:
            The paths, in the order cited.

        Raises:
            ValueError: no citation has a page.
            SourceChangedError: a file is gone, or is not the file that was indexed.
            DocumentError: places cannot be marked in a document.
        """
        return write_highlights(self.index, lambda: self.reader, target, Path(path))

    def blocks(self, page: Page) -> tuple[Block, ...]:
        """Return the structure of a page: headings, paragraphs, lists, tables with cells, pictures.

        Read from the page's file when it is first asked for, and kept in the index unless it is read-only.

        Raises:
            SourceChangedError: the file is gone, or is not the file that was indexed.
            PageError: its structure cannot be read.
        """
        return self._structure.blocks(page)

    def picture_path(self, page: Page, *, max_pixels: int = PICTURE_PIXELS) -> Path:
        """Return the path of a PNG of the page, rendered once and kept in the index's ``pictures/``.

        For hosts that carry images by path. In memory the folder is temporary and is deleted by `close`.
        Raises as `render` does.
        """
        return self._pictures.path(page, max_pixels)

    def _render(self, page: Page, pixels: int) -> Image:
        """Render a page as a `mmrag.images.Render` function does."""
        return self.render(page, max_pixels=pixels)

    # ---- the rest --------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what the index holds."""
        manifest = self.index.manifest
        store = self.index.store_facts() if isinstance(self.index, ServerIndex) else None
        size = None if self.path is None else index_bytes(self.path)
        return Status(
            path=self.path,
            embedder=manifest.embedder,
            documents=tuple(self.index.documents()),
            records=self.index.count(),
            read_only=self.index.read_only,
            row_type=manifest.row_type,
            rows=manifest.rows,
            bytes=size if store is None else store.bytes,
            store=store,
        )

    def check(self, *, repair: bool = False) -> CheckReport:
        """Read all that the index stores and say what is wrong.

        Args:
            repair: make again what can be made of the rest: full text, row 0, values for filters, Chroma,
                checksums. A record that is lost is left out, and its document marked incomplete, so that
                the next `add` of its file reads it again. No other thread may use the index meanwhile.

        Returns:
            The faults, each with what was done about it; ``is_sound`` where there is none.

        Raises:
            IndexReadOnlyError: a repair of an index that is open for reading only.
            IndexFormatError: it is damaged beyond repair. ``mmrag check`` looks at an index that cannot
                be opened any more.
        """
        return self.index.check(repair=repair)

    def backup(self, path: str | Path) -> BackupReport:
        """Copy the index, which may be written to meanwhile, into a new directory, and check the copy.

        Args:
            path: absent, or an empty directory. `DocumentQA.open(path, read_only=True)` searches it as it is;
                `mmrag.index.backup.restore` makes an index of it.

        Raises:
            ValueError: the index is not in a directory, or the path holds something.
            IndexDamagedError: the index is damaged; nothing is left of the copy.
        """
        from mmrag.index.backup import backup

        if self.path is None or not (self.path / STORE_NAME).exists():
            raise ValueError(
                "an index must be in a directory to be backed up, got one in memory or on a server. "
                "mmrag.copy_index copies between stores."
            )
        return backup(self.path, path)

    @property
    def reader(self) -> DocumentReader:
        """Return the document reader, started on first use."""
        with self._lock:
            if self._reader is None:
                from mmrag.documents import DocumentReader

                self._reader = DocumentReader(self._reader_settings, password=self._password)
            return self._reader

    @property
    def answerer(self) -> Answerer:
        """Return the answerer of calls that name none; the extractive one by default."""
        with self._lock:
            if self._answerer is None:
                from mmrag.answer import ExtractiveAnswerer
                from mmrag.embedders.cross_encoder import shipped_encoder

                self._answerer = ExtractiveAnswerer(shipped_encoder())
            return self._answerer

    @property
    def reranker(self) -> Reranker | None:
        """Return the reranker of searches that name none."""
        return self.reranking.default

    @property
    def replies_path(self) -> Path | None:
        """Return the folder for replies of a reranker's server, or None if nothing can be written there."""
        return None if self.path is None else writable_folder(self.path, "replies")

    @property
    def traces_path(self) -> Path | None:
        """Return the folder for traces of pages, or None if nothing can be written there."""
        return None if self.path is None else writable_folder(self.path, "traces")

    def close(self) -> None:
        """Stop the reader's processes and release the index; calling it twice is fine."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._pictures.close()
        self.index.close()

    def __repr__(self) -> str:
        """Return where the index is and what made it; no password and no key."""
        location = self.index.address if isinstance(self.index, ServerIndex) else self.path or "memory"
        mode = ", read-only" if self.index.read_only else ""
        return f"<DocumentQA in {location}, embedder {self.embedder.name!r}{mode}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "a DocumentQA must stay in its process, got one to pickle or copy: it holds open files. "
            "Pass its path or address, and open that again with read_only=True."
        )

    aadd = in_thread(add)
    aplan_sync = in_thread(plan_sync)
    async_folder = in_thread(sync_folder)
    aadd_texts = in_thread(add_texts)
    aadd_images = in_thread(add_images)
    awrite_traces = in_thread(write_traces)
    adelete = in_thread(delete)
    aremove = in_thread(remove)
    areembed = in_thread(reembed)
    arender = in_thread(render)
    acrop = in_thread(crop)
    ablocks = in_thread(blocks)
    ahighlight = in_thread(highlight)
    apicture_path = in_thread(picture_path)
    astatus = in_thread(status)
    acheck = in_thread(check)
    abackup = in_thread(backup)
    aclose = in_thread(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


def _embedder_or_default(embedder: Embedder | None) -> Embedder:
    from mmrag.models.load import default_embedder, is_embedder

    if embedder is None:
        return default_embedder()
    if not is_embedder(embedder):
        raise TypeError(
            f"an embedder must have the methods of mmrag.Embedder, got {type(embedder).__name__}. "
            "Load a model first: mmrag.load_embedder(NAME)."
        )
    return embedder


def _cache_folder(path: str | Path, cache: str | Path | None) -> Path | None:
    """Return the local folder of an index on a server, made where it is not there; None for a directory."""
    from mmrag.index.addresses import is_server

    if cache is None:
        is_server(path)  # refuse an unknown scheme before a model is loaded
        return None
    if not is_server(path):
        raise ValueError(
            f"cache must be None for an index in a directory, which keeps its own, got {str(cache)!r}. "
            "Leave it out."
        )
    folder = Path(cache).expanduser().absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _question_request(question: str | Query, options: Mapping[str, Any]) -> SearchRequest:
    """Return the request of a question; `options` are arguments of `ask`, whose default of `k` holds."""
    return SearchRequest(as_query(question), **{"k": 5, **options})
