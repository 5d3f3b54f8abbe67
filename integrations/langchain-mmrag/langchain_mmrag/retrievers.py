"""`MMRagRetriever`: a `DocumentQA` of the core as the host's `BaseRetriever`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from mmrag import DocumentQA
from mmrag.hosts.history import astandalone_query, standalone_query
from mmrag.hosts.inputs import as_budget
from mmrag.hosts.metadata import answer_boxes
from mmrag.types import Answer, Budget, Query, Ranking

from langchain_mmrag._documents import as_query, question_and_turns, to_documents
from langchain_mmrag._embedder import as_embedder
from langchain_mmrag._retriever_settings import RetrieverSettings

if TYPE_CHECKING:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import LangSmithRetrieverParams
    from mmrag import Embedder
    from typing_extensions import Self

    from langchain_mmrag.vectorstores import MMRagVectorStore


class MMRagRetriever(RetrieverSettings):
    """Pages, images and texts for a question: text, ``{"text", "image"}``, or a message.

    A list of messages, or ``{"input": ..., "chat_history": [...]}``, is a conversation: its last question may
    lean on what was said before (`mmrag.DocumentQA.chat`).

    Each document carries the core's flat metadata: ``page_id``, ``file_name``, ``page`` (from 0),
    ``page_label``, ``image_path`` and so on, and with `evidence` ``bbox``. `document_scores` gives its
    scores. All settings but `qa` and `scores` may be given to ``invoke``, too.

    Example:
        >>> store = MMRagVectorStore.from_texts(["Cats purr.", "Dogs bark."], ids=["cat", "dog"])
        >>> MMRagRetriever(qa=store, k=1).invoke("Which animal barks?")[0].id
        'dog'
    """

    if TYPE_CHECKING:  # what the validators take, which is more than the fields hold

        def __init__(
            self,
            *,
            qa: DocumentQA | MMRagVectorStore,
            k: int = 4,
            budget: Budget | Sequence[int] | None = None,
            filter: Mapping[str, Any] | None = None,
            evidence: bool = False,
            rerank: Any = None,
            images: bool = True,
            scores: bool = False,
            **host_fields: Any,
        ) -> None: ...

    @classmethod
    def open(cls, path: str | Path, embedding: Embeddings | Embedder | None = None, **settings: Any) -> Self:
        """Open the index in a directory for reading, and return a retriever over it.

        Raises:
            IndexFormatError: there is no index.
            IndexMismatchError: another embedder made it.
        """
        return cls(qa=DocumentQA.open(path, embedder=as_embedder(embedding), read_only=True), **settings)

    def _get_relevant_documents(
        self,
        query: Any,  # text, {"text", "image"}, a message, content blocks, or messages of a conversation
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        budget: Budget | Sequence[int] | None = None,
        filter: Mapping[str, Any] | None = None,
        evidence: bool | None = None,
        rerank: Any = None,
        images: bool | None = None,
    ) -> list[Document]:
        asked, turns = question_and_turns(query)
        question = standalone_query(self.qa, as_query(asked, self.qa), turns)
        options = self._options(k, budget, filter, rerank)
        if self.evidence if evidence is None else evidence:
            result: Answer | Ranking = self.qa.ask(question, evidence=False, **options)
        else:
            result = self.qa.search(question, **options)
        return self._documents(result, images)

    async def _aget_relevant_documents(
        self,
        query: Any,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        budget: Budget | Sequence[int] | None = None,
        filter: Mapping[str, Any] | None = None,
        evidence: bool | None = None,
        rerank: Any = None,
        images: bool | None = None,
    ) -> list[Document]:
        asked, turns = question_and_turns(query)
        question: Query = await asyncio.to_thread(as_query, asked, self.qa)  # may decode an image
        question = await astandalone_query(self.qa, question, turns)
        options = self._options(k, budget, filter, rerank)
        if self.evidence if evidence is None else evidence:
            result: Answer | Ranking = await self.qa.aask(question, evidence=False, **options)
        else:
            result = await self.qa.asearch(question, **options)
        return await asyncio.to_thread(self._documents, result, images)

    def _options(
        self,
        k: int | None,
        budget: Budget | Sequence[int] | None,
        filter: Mapping[str, Any] | None,
        rerank: Any,
    ) -> dict[str, Any]:
        return {
            "k": self.k if k is None else k,
            "budget": self.budget if budget is None else as_budget(budget),
            "filter": self.filter if filter is None else filter,
            "rerank": self.rerank if rerank is None else rerank,
        }

    def _documents(self, result: Answer | Ranking, images: bool | None) -> list[Document]:
        boxes = answer_boxes(result) if isinstance(result, Answer) else {}
        ranking = result.ranking if isinstance(result, Answer) else result
        with_images = self.images if images is None else images
        return to_documents(self.qa, ranking, images=with_images, boxes=boxes, scores=self.scores)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:  # the host's
        params = super()._get_ls_params(**kwargs)
        params["ls_retriever_name"] = "mmrag"
        params["ls_embedding_model"] = self.qa.embedder.name
        return params
