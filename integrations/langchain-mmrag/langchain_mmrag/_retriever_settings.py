"""Settings of `MMRagRetriever`: the fields, and the types that its users may write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from mmrag import DocumentQA
from mmrag.hosts.inputs import as_budget
from mmrag.types import Budget
from pydantic import ConfigDict, Field, field_validator

from langchain_mmrag.vectorstores import MMRagVectorStore


class RetrieverSettings(BaseRetriever):
    """What `MMRagRetriever` searches, and how."""

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
    """Let the answerer of `qa` find the answer in each page, and put its boxes under ``bbox`` as JSON.

    The default answerer quotes and calls nobody; a `ServedAnswerer` calls its server.
    """
    rerank: Any = None
    """Which reranker of mmrag judges the first documents again: None for that of `qa` (a small model in this
    process, if it was opened without one), False for none, a reranker, or the URL of a server."""
    images: bool = True
    """Whether documents carry ``image_path``, a picture of their page."""
    scores: bool = False
    """Write ``relevance_score`` and ``retrieval_score`` into the metadata. A page that two questions find is
    two different documents then, for `MultiQueryRetriever`, too."""

    if TYPE_CHECKING:  # what a question may be

        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> list[Document]: ...

        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> list[Document]: ...

    @field_validator("qa", mode="before")
    @classmethod
    def _qa(cls, value: Any) -> Any:
        return value.qa if isinstance(value, MMRagVectorStore) else value

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: Any) -> Budget | None:
        return as_budget(value)
