"""`MMRagRetriever`: a `DocumentQA` of the core as the host's `BaseRetriever`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from mmrag.pipeline import DocumentQA
from mmrag.types import Answer, Box, Budget, Query, Ranking
from pydantic import ConfigDict, Field, field_validator

from langchain_mmrag._documents import to_documents
from langchain_mmrag._inputs import as_budget, as_query
from langchain_mmrag.embeddings import as_embedder
from langchain_mmrag.vectorstores import MMRagVectorStore

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import LangSmithRetrieverParams
    from mmrag.embedders.base import Embedder
    from typing_extensions import Self


class MMRagRetriever(BaseRetriever):
    """Pages, images and texts for a question: text, ``{"text", "image"}``, or a message.

    Each document carries the core's flat metadata: ``file_name``, ``page`` (from 0), ``page_label``,
    ``image_path``, ``relevance_score`` and so on, and with `evidence` ``bbox``. All settings but `qa`
    may be given to ``invoke``, too.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    qa: DocumentQA = Field(exclude=True, repr=False)
    """What is searched: an `MMRagVectorStore` or ``DocumentQA.open(...)``."""
    k: int = Field(default=4, ge=1)
    """Most documents."""
    budget: Budget | None = None
    """Rows used on each side, `Budget` or ``(query, document)``; None: all."""
    filter: dict[str, Any] | None = None
    """Metadata filter: ``{"file_name": "a.pdf"}``, ``{"page": {"$gte": 3}}``, ``$in $and $or $not``."""
    evidence: bool = False
    """Ask the answerer of `qa` where the answer stands, and put the boxes under ``bbox`` as JSON.

    The default answerer quotes and calls nobody; a `ServedAnswerer` calls its server.
    """
    images: bool = True
    """Whether documents carry ``image_path``, a picture of their page."""

    @classmethod
    def open(cls, path: str | Path, embedding: Embeddings | Embedder | None = None, **settings: Any) -> Self:
        """A retriever over the index in a directory, opened for reading.

        Raises:
            IndexFormatError: there is none.
            IndexMismatchError: another embedder made it.
        """
        return cls(qa=DocumentQA.open(path, embedder=as_embedder(embedding), read_only=True), **settings)

    @field_validator("qa", mode="before")
    @classmethod
    def _qa(cls, value: Any) -> Any:
        return value.qa if isinstance(value, MMRagVectorStore) else value

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: Any) -> Budget | None:  # what a user wrote
        return as_budget(value)

    def _get_relevant_documents(
        self,
        query: Any,  # text, {"text", "image"}, a message or content blocks
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        budget: Budget | Sequence[int] | None = None,
        filter: Mapping[str, Any] | None = None,
        evidence: bool | None = None,
        images: bool | None = None,
    ) -> list[Document]:
        asked, options = as_query(query), self._options(k, budget, filter)
        if self.evidence if evidence is None else evidence:
            found: Answer | Ranking = self.qa.ask(asked, evidence=False, **options)
        else:
            found = self.qa.search(asked, **options)
        return self._documents(found, images)

    async def _aget_relevant_documents(
        self,
        query: Any,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        budget: Budget | Sequence[int] | None = None,
        filter: Mapping[str, Any] | None = None,
        evidence: bool | None = None,
        images: bool | None = None,
    ) -> list[Document]:
        asked: Query = await asyncio.to_thread(as_query, query)  # may decode an image
        options = self._options(k, budget, filter)
        if self.evidence if evidence is None else evidence:
            found: Answer | Ranking = await self.qa.aask(asked, evidence=False, **options)
        else:
            found = await self.qa.retriever.asearch(asked, **options)
        return await asyncio.to_thread(self._documents, found, images)

    def _options(
        self, k: int | None, budget: Budget | Sequence[int] | None, filter: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "k": self.k if k is None else k,
            "budget": self.budget if budget is None else as_budget(budget),
            "filter": self.filter if filter is None else filter,
        }

    def _documents(self, found: Answer | Ranking, images: bool | None) -> list[Document]:
        boxes: dict[str, list[Box]] = {}
        if isinstance(found, Answer):
            for citation in found.citations:
                boxes.setdefault(citation.record_id, []).extend(citation.boxes)
            found = found.ranking
        shown = self.images if images is None else images
        return to_documents(self.qa, found, images=shown, boxes={id: b for id, b in boxes.items() if b})

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:  # the host's
        params = super()._get_ls_params(**kwargs)
        params["ls_retriever_name"] = "mmrag"
        params["ls_embedding_model"] = self.qa.embedder.name
        return params
