"""`MMRagVectorStore`: an index of the core as the host's `VectorStore`.

Plain texts, images and the pages of documents are searched together. A search is the core's: late interaction
at a budget, fused with BM25.
"""

# The host lets unknown keyword arguments pass; here they are refused.
# mypy: disable-error-code="override"
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from mmrag import Budget, Embedder
from mmrag.hosts import stores
from mmrag.hosts.inputs import as_budget, as_ids, as_images, as_metadata, as_texts
from mmrag.hosts.threads import in_thread

from langchain_mmrag._embedder import as_embedder
from langchain_mmrag._stored import StoredDocuments
from langchain_mmrag.embeddings import MMRagEmbeddings

if TYPE_CHECKING:
    from mmrag import Answerer, ReaderSettings
    from mmrag.hosts.loaders import Password
    from mmrag.index import Index
    from typing_extensions import Self


class MMRagVectorStore(StoredDocuments):
    """Texts, images and document pages, searched together.

    Args:
        embedding: embeddings of the host or an embedder of mmrag. None: the default of mmrag.
        persist_directory: folder of the index, created if it is not there, or address of a server
            (``postgresql://user@host/database``). None: in memory.
        index: a ready index instead, made by the same embedder.
        budget: rows used in a search that names no other, `Budget` or ``(query, document)``.
        images: whether the documents of a search carry ``image_path``, a picture of their page.
        read_only: search only, also while another process writes.
        reader: how documents are read.
        password: for encrypted documents.
        answerer: finds the evidence for `MMRagRetriever`; None: by quoting.

    Raises:
        IndexMismatchError: the index was made by another embedder.
        IndexLockedError: another process, or another store of this one, holds it for writing.

    Example:
        >>> with MMRagVectorStore() as store:
        ...     added = store.add_pdf("report.pdf")
        ...     found = store.similarity_search("Who chairs the board?", k=1)
        >>> found[0].metadata["page_label"]
        '2'
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
        password: Password = None,
        answerer: Answerer | None = None,
    ) -> None:
        embedder = as_embedder(embedding)
        self._embeddings = embedding if isinstance(embedding, Embeddings) else MMRagEmbeddings(model=embedder)
        if budget is None and isinstance(embedding, MMRagEmbeddings):
            budget = embedding.budget
        self.budget = as_budget(budget)
        self.images = images
        options: dict[str, Any] = {"reader": reader, "password": password, "answerer": answerer}
        self.qa = stores.open_store(embedder, persist_directory, index=index, read_only=read_only, **options)

    @property
    def embeddings(self) -> Embeddings:
        """Return the embeddings that the store encodes with."""
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
        """Return a store of these texts; `kwargs` are those of the class."""
        store = cls(embedding, **kwargs)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()  # nobody else can: its directory would stay locked
            raise
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,  # passed by the host's indexing API; the embedder batches by itself
    ) -> list[str]:
        """Add texts under their ids; an id that is there already is replaced. All of the call or nothing.

        Metadata values are strings, numbers, booleans, or lists of these; a key of None is left out.

        Raises:
            ValueError: the lists differ in length, an id is repeated or a page's, or metadata is nested.
        """
        return stores.add_texts(self.qa, as_texts(texts), as_ids(ids), as_metadata(metadatas))

    def add_images(
        self,
        uris: Any,  # a list, or one
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Add images (paths, bytes or PIL images), one document each, all of them or (DocumentError) none."""
        return self.qa.add_images(as_images(uris), ids=as_ids(ids), metadata=as_metadata(metadatas))

    def add_pdf(self, file_path: Any, *, metadata: Mapping[str, Any] | None = None) -> list[str]:
        """Add the pages of files, one document per page; a changed file replaces its pages.

        Args:
            file_path: whatever `DocumentQA.add` takes: PDF, XPS, EPUB, SVG and images, folders, globs.
            metadata: written on every page, for filters.

        Returns:
            Ids of the pages that are now in the store, those that were there already included.

        Raises:
            DocumentError: no file could be read. Files and pages left out beside others are logged.
        """
        return stores.add_files(self.qa, file_path, metadata)

    aadd_images, aadd_pdf = in_thread(add_images), in_thread(add_pdf)
