"""The host's own contract tests, inherited; nothing of them is overridden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests
from mmrag.index import ChromaIndex, MemoryIndex
from mmrag.index.base import ServerIndex
from mmrag.index.qdrant import QdrantIndex

from langchain_mmrag import MMRagEmbeddings, MMRagRetriever, MMRagVectorStore

TEXTS = ["Cats purr.", "Dogs bark.", "Owls hoot at night.", "Wolves howl."]


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[MMRagEmbeddings]:
        return MMRagEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "mmrag-mini"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"MMRAG_API_KEY": "sk-test"}, {}, {"api_key": "sk-test"}


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[MMRagEmbeddings]:
        return MMRagEmbeddings


class TestVectorStoreInMemory(VectorStoreIntegrationTests):
    """With the contract's own embeddings, so any LangChain embeddings work."""

    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with MMRagVectorStore(self.get_embeddings()) as store:
            assert isinstance(store.qa.index, MemoryIndex)
            yield store


class TestVectorStoreOnChroma(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with MMRagVectorStore(self.get_embeddings(), persist_directory=tmp_path / "index") as store:
            assert isinstance(store.qa.index, ChromaIndex)
            yield store


class TestVectorStoreOnPostgres(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, postgres_url: str) -> Iterator[VectorStore]:
        with MMRagVectorStore(self.get_embeddings(), persist_directory=postgres_url) as store:
            assert isinstance(store.qa.index, ServerIndex)
            yield store


class TestVectorStoreOnQdrant(VectorStoreIntegrationTests):
    """The client's local mode."""

    @pytest.fixture
    def vectorstore(self, embeddings: MMRagEmbeddings) -> Iterator[VectorStore]:
        pytest.importorskip("qdrant_client", reason="needs the extra 'qdrant' of mmrag")
        with MMRagVectorStore(embeddings, index=QdrantIndex.open(embeddings.embedder)) as store:
            assert isinstance(store.qa.index, ServerIndex)
            yield store


class TestVectorStoreWithOurEmbeddings(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, embeddings: MMRagEmbeddings) -> VectorStore:
        return MMRagVectorStore(embeddings)


class TestRetriever(RetrieversIntegrationTests):
    """On every home of an index (fixture `home`)."""

    @pytest.fixture(autouse=True)
    def _store(self, embeddings: MMRagEmbeddings, home: dict[str, Any]) -> Iterator[None]:
        with MMRagVectorStore(embeddings, **home) as store:
            store.add_texts(TEXTS)
            self.store = store
            yield

    @property
    def retriever_constructor(self) -> type[MMRagRetriever]:
        return MMRagRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"qa": self.store.qa}

    @property
    def retriever_query_example(self) -> str:
        return "Which animal barks?"
