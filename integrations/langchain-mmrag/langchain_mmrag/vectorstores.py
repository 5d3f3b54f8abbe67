"""`MMRagVectorStore`: an index of the core as the host's `VectorStore`.

Plain texts, images and the pages of documents live side by side. A search is the core's: late
interaction at a budget, fused with BM25.
"""

# The host lets unknown keyword arguments pass; here they are refused.
# mypy: disable-error-code="override"
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from mmrag.embedders.base import Embedder
from mmrag.errors import DocumentError
from mmrag.index import MemoryIndex
from mmrag.index.records import check_k
from mmrag.pipeline import DocumentQA
from mmrag.retriever import CHANNELS
from mmrag.types import Budget, Candidate, Ranking

from langchain_mmrag._documents import to_documents
from langchain_mmrag._inputs import as_budget, as_ids, as_metadata, as_query
from langchain_mmrag.embeddings import MMRagEmbeddings, as_embedder

if TYPE_CHECKING:
    from mmrag.answer import Answerer
    from mmrag.documents import ReaderSettings
    from mmrag.index.base import Index
    from mmrag.index.filters import Filter
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class MMRagVectorStore(VectorStore):
    """Texts, images and document pages, searched together.

    Args:
        embedding: embeddings of the host or an embedder of mmrag. None: the default of mmrag.
        persist_directory: where the index lives; made when it is not there. None: in memory.
        index: a ready index instead, made by the same embedder.
        budget: rows used in a search unless it says otherwise, `Budget` or ``(query, document)``.
        images: whether the documents of a search carry ``image_path``, a picture of their page.
        read_only: search only, also while another process writes.
        reader: how documents are read.
        password: for encrypted documents.
        answerer: finds the evidence for `MMRagRetriever`; None: by quoting.

    Raises:
        IndexMismatchError: the index was made by another embedder.
        IndexLockedError: another process, or another store of this one, holds it for writing.
    """

    def __init__(
        self,
        embedding: Embeddings | Embedder | None = None,
        *,
        persist_directory: str | Path | None = None,
        index: Index | None = None,
        budget: Budget | Sequence[int] | None = None,
        images: bool = True,
        read_only: bool = False,
        reader: ReaderSettings | None = None,
        password: str | Sequence[str] | Callable[[str], str | None] | None = None,
        answerer: Answerer | None = None,
    ) -> None:
        if persist_directory is not None and index is not None:
            raise ValueError("persist_directory and index must not both be given, got both. Pass one.")
        embedder = as_embedder(embedding)
        if isinstance(embedding, Embeddings):
            self._embeddings = embedding
        else:
            self._embeddings = MMRagEmbeddings(model=embedder)
        if budget is None and isinstance(embedding, MMRagEmbeddings):
            budget = embedding.budget
        self.budget = as_budget(budget)
        self.images = images
        if persist_directory is not None:
            self.qa = DocumentQA.open(
                persist_directory,
                embedder=embedder,
                read_only=read_only,
                reader=reader,
                password=password,
                answerer=answerer,
            )
        else:
            self.qa = DocumentQA(
                MemoryIndex.for_embedder(embedder) if index is None else index,
                embedder=embedder,
                reader=reader,
                password=password,
                answerer=answerer,
            )

    @property
    def embeddings(self) -> Embeddings:
        """What the store embeds with."""
        return self._embeddings

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Embedder | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store of these texts; `kwargs` are those of the class."""
        store = cls(embedding, **kwargs)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()  # nobody else can: its directory would stay locked
            raise
        return store

    def close(self) -> None:
        """Release the index and stop reading processes; twice is fine."""
        self.qa.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- adding, taking away ---------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Add texts under their ids; an id that is there already is replaced. All of the call or nothing.

        Metadata values are strings, numbers, booleans, or lists of these. `batch_size` is taken because
        the host's indexing API passes it, and changes nothing: the embedder batches by itself.

        Raises:
            ValueError: the lists differ in length, an id stands twice or is that of a page, or metadata
                is nested.
        """
        texts, known = list(texts), as_ids(ids)
        for record in self.qa.index.get(known or ()):
            if record.page is not None and record.id == record.page.source.page_id(record.page.number):
                raise ValueError(
                    f"a text's id must not be that of a page in the store, got {record.id!r} of "
                    f"{record.page.source.name}. The page is there already, with its picture; to store other "
                    "text use another id."
                )
        return self.qa.add_texts(texts, ids=known, metadata=as_metadata(metadatas))

    def add_images(
        self,
        uris: Sequence[Any],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Add images (paths, bytes or PIL images), one document each under its id.

        Raises:
            DocumentError: one of them cannot be read; none is added then.
        """
        return self.qa.add_images(list(uris), ids=as_ids(ids), metadata=as_metadata(metadatas))

    async def aadd_images(
        self,
        uris: Sequence[Any],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """`add_images` in a thread."""
        return await asyncio.to_thread(self.add_images, uris, metadatas, ids=ids)

    def add_pdf(self, file_path: Any, *, metadata: Mapping[str, Any] | None = None) -> list[str]:
        """Add the pages of a document, or of all in a folder, a glob or a list: one document a page.

        Adding a file again changes nothing; a changed file replaces its pages.

        Args:
            file_path: whatever `DocumentQA.add` takes: PDF, XPS, EPUB, SVG and images.
            metadata: written on every page, for filters.

        Returns:
            Ids of the pages that are now in the store, those that were there already included.

        Raises:
            DocumentError: nothing of it could be read. Files and pages left out beside others that
                could be read are warned of.
        """
        report = self.qa.add(file_path, metadata=metadata)
        reasons = [f"{item.name}: {item.reason}" for item in report.skipped]
        names = {*report.added, *report.replaced, *report.reread, *report.renamed, *report.unchanged}
        if not names:
            raise DocumentError("; ".join(reasons) or f"no document in {file_path!r}. Name a file or folder.")
        for reason in reasons:
            logger.warning("left out %s", reason)
        documents = [entry.id for entry in self.qa.index.documents() if names & set(entry.names)]
        return self.qa.index.ids({"doc_id": {"$in": documents}})

    async def aadd_pdf(self, file_path: Any, *, metadata: Mapping[str, Any] | None = None) -> list[str]:
        """`add_pdf` in a thread."""
        return await asyncio.to_thread(self.add_pdf, file_path, metadata=metadata)

    def delete(self, ids: list[str] | None = None) -> bool:
        """Delete by id, ids that are not there are passed over; None deletes everything.

        A page that was deleted comes back when its file is added again.
        """
        self.qa.delete(self.qa.index.ids() if ids is None else ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents in the order of `ids`, missing ones left out."""
        return to_documents(self.qa, self.qa.index.get(ids), images=self.images)

    # ---- searching -------------------------------------------------------------------------------

    def similarity_search(
        self,
        query: Any,  # text, {"text", "image"}, a message or content blocks
        k: int = 4,
        *,
        filter: Filter | None = None,
        budget: Budget | Sequence[int] | None = None,
        exact: bool = False,
        channels: Sequence[str] = CHANNELS,
        images: bool | None = None,
    ) -> list[Document]:
        """The best `k`, best first.

        Args:
            query: text, ``{"text", "image"}``, a message or content blocks.
            k: at least 1.
            filter: ``{"file_name": "a.pdf"}``, ``{"page": {"$gte": 3}}``, ``$in $and $or $not`` ...
            budget: rows used on each side; None: the store's.
            exact: score every document instead of the survivors of a first stage.
            channels: ``("vectors", "text")`` or one of them.
            images: whether documents carry ``image_path``; None: as the store says.

        Raises:
            ValueError: an empty query, `k` below 1, an unknown filter operator.
            UnsupportedInputError: an image for embeddings that see none.
        """
        ranking = self._rank(query, k, filter=filter, budget=budget, exact=exact, channels=channels)
        return self._documents([candidate.record for candidate in ranking], images)

    def similarity_search_with_score(
        self,
        query: Any,
        k: int = 4,
        *,
        images: bool | None = None,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """The best `k` with the score that ordered them; larger is better. Options as `similarity_search`."""
        return self._scored(self._rank(query, k, **options), images)

    def similarity_search_by_image(self, uri: Any, k: int = 4, **options: Any) -> list[Document]:
        """The best `k` for an image alone; options as `similarity_search`."""
        return self.similarity_search({"image": uri}, k, **options)

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: Filter | None = None,
        budget: Budget | Sequence[int] | None = None,
        images: bool | None = None,
    ) -> list[Document]:
        """The best `k` for a vector of `embeddings`; no words, so vectors only."""
        hits = self.qa.index.search_vectors(
            np.asarray([embedding], dtype=np.float32), k=k, budget=self._budget(budget), filter=filter
        )
        return self._documents(self.qa.index.get([hit.id for hit in hits]), images)

    def max_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        images: bool | None = None,
        **options: Any,
    ) -> list[Document]:
        """`k` of the best `fetch_k` that differ from each other; the host's selection over first vectors."""
        check_k(k)
        asked = as_query(query)
        ranking = self._rank(asked, max(k, fetch_k), **options)
        vector = self.qa.embedder.encode_query([asked])[0][0]
        return self._diverse(vector, ranking, k, lambda_mult, images)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        budget: Budget | Sequence[int] | None = None,
        images: bool | None = None,
    ) -> list[Document]:
        """`max_marginal_relevance_search` for a vector of `embeddings`."""
        check_k(k)
        vector = np.asarray(embedding, dtype=np.float32)
        hits = self.qa.index.search_vectors(
            vector[None], k=max(k, fetch_k), budget=self._budget(budget), filter=filter
        )
        return self._diverse(vector, hits, k, lambda_mult, images)

    def _diverse(
        self,
        vector: Any,
        found: Iterable[Any],
        k: int,
        lambda_mult: float,
        images: bool | None,
    ) -> list[Document]:
        records = self.qa.index.get([one.id for one in found], matrices=True)
        first = [record.matrix[0].astype(np.float32) for record in records if record.matrix is not None]
        chosen = maximal_marginal_relevance(vector, first, lambda_mult, k) if first else []
        return self._documents([records[position] for position in chosen], images)

    def _similarity_search_with_relevance_scores(
        self,
        query: Any,
        k: int = 4,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """By vectors alone: cosine of the query's first vector with the document's best, 0..1."""
        found = self.similarity_search_with_score(query, k, **self._relevance(options))
        return [(document, min(max(score, 0.0), 1.0)) for document, score in found]

    async def _asimilarity_search_with_relevance_scores(
        self,
        query: Any,
        k: int = 4,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        found = await self.asimilarity_search_with_score(query, k, **self._relevance(options))
        return [(document, min(max(score, 0.0), 1.0)) for document, score in found]

    def _relevance(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options under which a score is a cosine."""
        budget = self._budget(options.get("budget")) or self.qa.embedder.budget
        return {**options, "channels": ("vectors",), "budget": Budget(1, budget.document)}

    # ---- without blocking the event loop (the twins not here run in the host's executor) ----------

    async def asimilarity_search(
        self,
        query: Any,
        k: int = 4,
        *,
        images: bool | None = None,
        **options: Any,
    ) -> list[Document]:
        """`similarity_search`."""
        ranking = await self._arank(query, k, **options)
        records = [candidate.record for candidate in ranking]
        return await asyncio.to_thread(self._documents, records, images)

    async def asimilarity_search_with_score(
        self,
        query: Any,
        k: int = 4,
        *,
        images: bool | None = None,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """`similarity_search_with_score`."""
        return await asyncio.to_thread(self._scored, await self._arank(query, k, **options), images)

    async def asimilarity_search_by_image(self, uri: Any, k: int = 4, **options: Any) -> list[Document]:
        """`similarity_search_by_image`."""
        return await self.asimilarity_search({"image": uri}, k, **options)

    # ---- helpers ---------------------------------------------------------------------------------

    def _rank(
        self,
        query: Any,
        k: int,
        *,
        budget: Budget | Sequence[int] | None = None,
        **options: Any,
    ) -> Ranking:
        return self.qa.retriever.search(as_query(query), k=k, budget=self._budget(budget), **options)

    async def _arank(
        self,
        query: Any,
        k: int,
        *,
        budget: Budget | Sequence[int] | None = None,
        **options: Any,
    ) -> Ranking:
        asked = await asyncio.to_thread(as_query, query)  # may decode an image
        return await self.qa.retriever.asearch(asked, k=k, budget=self._budget(budget), **options)

    def _budget(self, budget: Budget | Sequence[int] | None) -> Budget | None:
        return self.budget if budget is None else as_budget(budget)

    def _documents(self, records: Sequence[Any], images: bool | None) -> list[Document]:
        return to_documents(self.qa, records, images=self.images if images is None else images)

    def _scored(self, ranking: Sequence[Candidate], images: bool | None) -> list[tuple[Document, float]]:
        documents = self._documents([candidate.record for candidate in ranking], images)
        scores = [candidate.score for candidate in ranking]
        return list(zip(documents, scores, strict=True))
