"""What a `VectorStoreQuery` may ask: modes and their numbers, filters alone, embeddings kept."""

from __future__ import annotations

import logging

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index.vector_stores.mmrag import MMRagVectorStore

TEXTS = {
    "a": "red red",
    "b": "red red red",
    "c": "red blue",
    "d": "green grass",
    "e": "blue sea and red sand",
}


@pytest.fixture(params=["memory", "chroma"])
def store(request, tmp_path, colours) -> MMRagVectorStore:
    made = MMRagVectorStore(None if request.param == "memory" else tmp_path / "index", model=colours)
    made.add([TextNode(id_=id, text=text, metadata={"n": len(text)}) for id, text in TEXTS.items()])
    yield made
    made.close()


def ask(store, options=None, **query):
    return store.query(VectorStoreQuery(**{"similarity_top_k": 2, **query}), **(options or {}))


def test_hybrid_numbers_are_followed(store):
    hybrid = {"mode": VectorStoreQueryMode.HYBRID, "query_str": "red grass"}
    assert len(ask(store, **hybrid).ids) == 2
    assert len(ask(store, hybrid_top_k=4, **hybrid).ids) == 4
    only_words = ask(store, similarity_top_k=1, sparse_top_k=1, hybrid_top_k=5, **hybrid).ids
    assert len(only_words) == 2 and "d" in only_words  # the best by vectors, and the best by words
    sparse = {"mode": VectorStoreQueryMode.SPARSE, "query_str": "red"}
    assert len(ask(store, **sparse).ids) == 2 and len(ask(store, sparse_top_k=4, **sparse).ids) == 4


def test_mmr_chooses_what_differs(store):
    query = {"mode": VectorStoreQueryMode.MMR, "query_str": "red", "query_embedding": [1.0, 0.0, 0.0]}
    assert set(ask(store, {"mmr_threshold": 1.0}, **query).ids) == {"a", "b"}
    diverse = ask(store, {"mmr_threshold": 0.1}, **query)
    assert diverse.ids[0] in "ab" and diverse.ids[1] not in "ab"
    assert len(diverse.ids) == len(diverse.nodes) == len(diverse.similarities)
    found = ask(store, {"mmr_threshold": 0.1}, mode=VectorStoreQueryMode.MMR, query_str="red")
    assert found.ids == diverse.ids
    index = VectorStoreIndex.from_vector_store(store, store.embed_model)
    retriever = index.as_retriever(
        vector_store_query_mode="mmr", similarity_top_k=2, vector_store_kwargs={"mmr_threshold": 0.1}
    )
    assert [one.node_id for one in retriever.retrieve("red")] == diverse.ids
    with pytest.raises(ValueError, match="one of mmr_prefetch_k and mmr_prefetch_factor may be given"):
        ask(store, {"mmr_prefetch_k": 16, "mmr_prefetch_factor": 2.0}, **query)


def test_filters_without_a_question(store):
    longer = MetadataFilters(filters=[MetadataFilter(key="n", value=9, operator=">")])
    found = ask(store, similarity_top_k=10, filters=longer)
    assert set(found.ids) == {node.node_id for node in found.nodes} == {"b", "d", "e"}
    assert found.similarities is None
    assert ask(store, similarity_top_k=10, node_ids=["c"]).ids == ["c"]
    assert len(ask(store, similarity_top_k=1, filters=longer).ids) == 1
    with pytest.raises(ValueError, match="must have words or an embedding"):
        ask(store)


def test_an_unknown_key_finds_nothing_and_is_named(store, caplog):
    wrong = MetadataFilters(filters=[MetadataFilter(key="nn", value=1)])
    with caplog.at_level(logging.WARNING):
        assert ask(store, query_str="red", filters=wrong).ids == []
    assert "no record has the filter's key 'nn'. Did you mean 'n'" in caplog.text


def test_an_embedding_that_was_given_comes_back(store, colours):
    vector = [0.6, 0.0, 0.8]
    store.add([TextNode(id_="v", text="red blue", embedding=vector)])
    with_it, without = store.get_nodes(["v", "a"])
    row = colours.encode_document(["red blue"])[0][0].tolist()
    assert with_it.embedding == pytest.approx(row, abs=0.01) and without.embedding is None


def test_a_string_is_one_id(store):
    store.add([TextNode(id_="ab", text="red")])
    assert [node.node_id for node in store.get_nodes("ab")] == ["ab"]
    store.delete_nodes("ab")
    assert {node.node_id for node in store.get_nodes()} == set(TEXTS)


def test_a_chunk_is_not_embedded_with_the_picture_of_its_page(store, pictures):
    """A page is cut into chunks that name its picture: drawn and read for each it took 25 times as long."""
    picture = {"image_path": str(pictures["blue"])}
    store.add(
        [TextNode(id_="chunk", text="red", metadata=picture, excluded_embed_metadata_keys=["image_path"])]
    )
    (record,) = store.client.index.get(["chunk"], matrices=True)
    assert record.matrix[0].argmax() == 0 and record.matrix[0][2] == pytest.approx(0, abs=0.01)
    store.add(
        [
            TextNode(
                id_="scan",
                text="[page without text]",
                metadata=picture,
                excluded_embed_metadata_keys=["image_path"],
            )
        ]
    )
    (record,) = store.client.index.get(["scan"], matrices=True)
    assert record.matrix[0].argmax() == 2  # without words the picture is all there is


def test_a_file_or_a_folder_goes(tmp_path, make_pdf, embedder):
    store = MMRagVectorStore(model=embedder)
    (tmp_path / "in").mkdir()
    for name in ("one.pdf", "in/two.pdf"):
        store.client.add(make_pdf(tmp_path / name, [f"Ada Lovelace of {name} is the harbor master."]))
    store.delete(str(tmp_path / "one.pdf"))
    assert [node.metadata["file_name"] for node in store.get_nodes()] == ["two.pdf"]
    store.delete(str(tmp_path / "in"))
    assert store.get_nodes() == []
