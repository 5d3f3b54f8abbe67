"""Put our stores in the place of other stores, so that their own tests run over ours.

    cd langchain_chroma-1.1.0            # a source distribution, or a checkout, with its tests
    PYTHONPATH=.../mmrag/scripts python -m pytest -p peer_stores tests

A plugin of pytest: the names ``Chroma``, ``FAISS``, ``SKLearnVectorStore``, ``InMemoryVectorStore`` of
LangChain and ``SimpleVectorStore``, ``ChromaVectorStore`` of LlamaIndex are ours before a test imports them.
The test files are not changed. What the stand-ins translate is what is called otherwise in a peer's own
constructor; a method that ours does not have is not made up. docs/hosts.md has the results.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_mmrag import MMRagVectorStore
from llama_index.vector_stores.mmrag import MMRagVectorStore as NodeVectorStore

from mmrag.embedders.base import EmbedderBase
from mmrag.types import Budget

PEERS = {
    "Chroma": (
        "langchain_chroma",
        "langchain_chroma.vectorstores",
        "langchain_community.vectorstores.chroma",
    ),
    "FAISS": ("langchain_community.vectorstores.faiss",),
    "SKLearnVectorStore": ("langchain_community.vectorstores.sklearn",),
    "InMemoryVectorStore": ("langchain_core.vectorstores.in_memory", "langchain_core.vectorstores"),
    "SimpleVectorStore": ("llama_index.core.vector_stores",),
    "ChromaVectorStore": ("llama_index.vector_stores.chroma",),
}
"""The module names under which the tests of a peer import it."""

_open: list[MMRagVectorStore] = []


class TextStore(MMRagVectorStore):
    """A store of LangChain, made as peers are: the embeddings under either name, collections ignored."""

    def __init__(self, embedding: Embeddings | None = None, **options: Any) -> None:
        options.pop("collection_name", None)
        embedding = options.pop("embedding_function", embedding)
        super().__init__(embedding, **options)
        _open.append(self)

    def delete_collection(self) -> None:
        """Delete everything, as the peers' tests do at their end."""
        self.delete()
        self.close()


class NumberEmbedder(EmbedderBase):
    """Stands behind stores of nodes that bring their vectors: gives any text the same one."""

    name, budget, modalities = "numbers", Budget(1, 1), frozenset({"text"})

    def __init__(self, dim: int) -> None:
        self.dim, self.fingerprint = dim, f"numbers-{dim}"

    def encode_query(self, queries: Any, *, batch_size: int = 32, show_progress: bool = False) -> list[Any]:
        return self._encode(queries)

    def encode_document(
        self, documents: Any, *, batch_size: int = 32, show_progress: bool = False
    ) -> list[Any]:
        return self._encode(documents)

    def _encode(self, items: Any) -> list[Any]:
        return [np.full((1, self.dim), self.dim**-0.5, dtype=np.float32) for _ in items]


def node_store(**_: Any) -> NodeVectorStore:
    """Return an empty store for vectors of two numbers, as SimpleVectorStore's tests give them."""
    return NodeVectorStore(model=NumberEmbedder(2))


def chroma_node_store(**_: Any) -> NodeVectorStore:
    """Return an empty store for vectors of three numbers, as those tests give them."""
    return NodeVectorStore(model=NumberEmbedder(3))


OURS: dict[str, Any] = dict.fromkeys(PEERS, TextStore)
OURS |= {"SimpleVectorStore": node_store, "ChromaVectorStore": chroma_node_store}


def pytest_configure() -> None:
    """Replace the peers' names before any test is imported."""
    for name, modules in PEERS.items():
        for module in modules:
            try:
                setattr(importlib.import_module(module), name, OURS[name])
            except ImportError:  # this peer is not installed; nor are its tests run
                continue


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()
