"""What `MMRagCitationQueryEngine` is made of: its arguments checked, and its retriever found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever

from llama_index.retrievers.mmrag import MMRagRetriever
from llama_index.vector_stores.mmrag import MMRagVectorStore
from mmrag import DocumentQA

if TYPE_CHECKING:
    from llama_index.core.llms.llm import LLM

    from mmrag import Answerer


def check_arguments(
    retriever: BaseRetriever, llm: LLM | None, answerer: Answerer | None, multimodal: bool
) -> None:
    """Refuse arguments of an engine that do not fit each other.

    Raises:
        TypeError: `retriever` is no retriever.
        ValueError: `llm` and `answerer` are both given, or the llm is no chat model and `multimodal` is True.
    """
    if llm is not None and answerer is not None:
        raise ValueError("an llm or an answerer writes the answer, got both. Leave one out.")
    if not isinstance(retriever, BaseRetriever):
        raise TypeError(
            f"retriever must be a retriever of LlamaIndex, got {type(retriever).__name__}. "
            "Use MMRagCitationQueryEngine.from_args(...) for an index, a store or a folder."
        )
    if llm is not None and multimodal and not llm.metadata.is_chat_model:
        raise ValueError(
            f"an llm that is shown pictures must be a chat model, got {type(llm).__name__}. "
            "Give one, or pass multimodal=False."
        )


def retriever_over(index: Any, retriever: BaseRetriever | None, options: Mapping[str, Any]) -> BaseRetriever:
    """Return `retriever`, or one over `index` with these options.

    Raises:
        ValueError: neither or both of `index` and `retriever`, or options without an index.
    """
    if (index is None) == (retriever is None):
        raise ValueError("an engine is made of an index or a retriever, got neither or both. Give one.")
    if retriever is not None:
        if options:
            raise ValueError(f"options go with an index, got {sorted(options)} and a retriever.")
        return retriever
    if isinstance(index, (DocumentQA, MMRagVectorStore, str, Path)):
        return MMRagRetriever(index, **options)
    host_retriever: BaseRetriever = index.as_retriever(**options)
    return host_retriever


def searched_qa(retriever: BaseRetriever) -> DocumentQA | None:
    """Return the `DocumentQA` that a retriever searches; None if it is none of ours."""
    if isinstance(retriever, MMRagRetriever):
        return retriever.qa
    store = getattr(getattr(retriever, "_index", None), "vector_store", None)
    return store.client if isinstance(store, MMRagVectorStore) else None
