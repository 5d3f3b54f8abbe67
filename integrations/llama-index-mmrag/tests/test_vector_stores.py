"""`MMRagVectorStore` as LlamaIndex uses it."""

from __future__ import annotations

import json
import pickle

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index.embeddings.mmrag import MMRagEmbedding
from llama_index.readers.mmrag import MMRagPDFReader
from llama_index.vector_stores.mmrag import MMRagVectorStore
from mmrag.errors import IndexMismatchError, UnsupportedInputError
from mmrag.index import MemoryIndex
from mmrag.index.qdrant import QdrantIndex


@pytest.fixture(params=["memory", "chroma", "postgres", "qdrant-local", "qdrant-edge"])
def store(request, tmp_path, colours) -> MMRagVectorStore:
    """An empty store, in memory, on disk, in PostgreSQL and in Qdrant."""
    locations = {"memory": None, "chroma": tmp_path / "index", "qdrant-edge": f"qdrant-edge://{tmp_path}/q"}
    if request.param == "postgres":
        locations["postgres"] = request.getfixturevalue("postgres_url")
    if request.param.startswith("qdrant"):
        pytest.importorskip("qdrant_client" if request.param == "qdrant-local" else "qdrant_edge")
    if request.param == "qdrant-local":
        made = MMRagVectorStore.from_index(QdrantIndex.open(colours), colours)
    else:
        made = MMRagVectorStore(locations[request.param], model=colours)
    yield made
    made.close()


def node(id: str, text: str, source: str | None = None, **metadata) -> TextNode:
    related = {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=id, text=text, metadata=metadata, relationships=related)


def ids(store, **query) -> list[str]:
    asked = VectorStoreQuery(**{"query_str": "red", "similarity_top_k": 10, **query})
    return store.query(asked).ids


def where(*conditions, condition=FilterCondition.AND) -> MetadataFilters:
    return MetadataFilters(
        filters=[
            one
            if isinstance(one, MetadataFilters)
            else MetadataFilter(key=one[0], operator=one[1], value=one[2])
            for one in conditions
        ],
        condition=condition,
    )


def test_it_is_a_vector_store_of_the_host():
    assert BasePydanticVectorStore.__name__ in [base.__name__ for base in MMRagVectorStore.__mro__]
    assert MMRagVectorStore.class_name() == "MMRagVectorStore"
    assert MMRagVectorStore().stores_text


# ---- nodes -----------------------------------------------------------------------------------------


def test_nodes_come_back_as_they_were(store, pictures):
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    nodes = [
        TextNode(id_="t", text="red", metadata={"a": 1, "b": None, "c": True}, relationships=related),
        Node(
            id_="n",
            text_resource=MediaResource(text="green"),
            image_resource=MediaResource(path=pictures["green"]),
            metadata={"page": 3, "bbox": "[[0, 0, 1, 1]]"},
            excluded_embed_metadata_keys=["page", "bbox"],
        ),
        ImageNode(id_="i", text="blue", image_path=str(pictures["blue"])),
        IndexNode(id_="x", text="red", index_id="other"),
        Document(id_="d", text="red blue", metadata={"k": "v"}),
        ImageDocument(id_="p", text="green", image_path=str(pictures["green"])),
    ]
    before = [one.to_dict() for one in nodes]
    assert store.add(nodes) == ["t", "n", "i", "x", "d", "p"]
    assert [one.to_dict() for one in nodes] == before  # the caller's objects are unharmed
    again = store.get_nodes([one.node_id for one in nodes])
    assert [type(one) for one in again] == [type(one) for one in nodes]
    assert [one.to_dict() for one in again] == before


def test_lists_in_metadata_come_back_and_filter_by_value(store):
    store.add([node("a", "red", tags=["x", "y"]), node("b", "red", tags=["z"])])
    assert store.get_nodes(["a"])[0].metadata["tags"] == ["x", "y"]
    assert ids(store, filters=where(("tags", FilterOperator.CONTAINS, "y"))) == ["a"]


def test_the_same_id_replaces(store):
    store.add([node("a", "red")])
    store.add([node("a", "blue")])
    assert [one.text for one in store.get_nodes()] == ["blue"]


def test_delete_by_document_by_id_and_by_filter(store):
    store.add(
        [node(str(n), "red", source=f"doc{n // 2}", kind="even" if n % 2 == 0 else "odd") for n in range(6)]
    )
    store.delete("doc0")
    assert [one.node_id for one in store.get_nodes()] == ["2", "3", "4", "5"]
    store.delete_nodes(["2", "missing"])
    assert [one.node_id for one in store.get_nodes()] == ["3", "4", "5"]
    store.delete_nodes(filters=where(("kind", FilterOperator.EQ, "odd")))
    assert [one.node_id for one in store.get_nodes()] == ["4"]
    with pytest.raises(ValueError, match="delete_nodes takes node_ids or filters, got neither"):
        store.delete_nodes()
    store.clear()
    assert store.get_nodes() == []


async def test_async_equals_sync_and_leaves_the_loop_free(gated, stays_free):
    store = MMRagVectorStore(model=gated)
    calls = [
        lambda: store.async_add([node("a", "red", source="d"), node("b", "blue")]),
        lambda: store.aquery(VectorStoreQuery(query_str="blue", similarity_top_k=1)),
    ]
    results = []
    for call in calls:
        results.append(await stays_free(call()))
    assert results[0] == ["a", "b"]
    assert results[1].ids == ["b"]
    assert len(await store.aget_nodes()) == 2
    await store.adelete("d")
    await store.adelete_nodes(["b"])
    assert await store.aget_nodes() == []
    await store.aclear()


# ---- searching -------------------------------------------------------------------------------------


def test_best_first_by_vectors_and_words(store):
    store.add([node("r", "red roses"), node("g", "green grass"), node("b", "blue red sea")])
    assert ids(store, similarity_top_k=2) == ["r", "b"]
    assert ids(store, mode=VectorStoreQueryMode.TEXT_SEARCH, query_str="grass") == ["g"]
    assert ids(store, mode=VectorStoreQueryMode.SPARSE, query_str="sea") == ["b"]
    assert ids(store, mode=VectorStoreQueryMode.HYBRID, alpha=1.0, query_str="green")[0] == "g"
    assert ids(store, mode=VectorStoreQueryMode.HYBRID, alpha=0.0, query_str="roses")[0] == "r"


def test_an_embedding_alone_or_of_something_else_is_searched_with(store):
    store.add([node("r", "red"), node("g", "green"), node("b", "blue")])
    assert ids(store, query_str=None, query_embedding=[0.0, 1.0, 0.0], similarity_top_k=1) == ["g"]
    # HyDE: the words are the question's, the vector is a made-up answer's
    assert ids(store, query_str="red", query_embedding=[0.0, 0.0, 1.0], similarity_top_k=1) == ["b"]
    # the question's own vector: words and all vectors count
    own = store.query(VectorStoreQuery(query_str="red", query_embedding=[2.0, 0.0, 0.0], similarity_top_k=3))
    assert own.similarities == store.query(VectorStoreQuery(query_str="red", similarity_top_k=3)).similarities


def test_the_questions_own_vector_stands_for_all_its_rows(shipped):
    """The host hands over row 0; a search by it alone would give up the rows of the question's parts."""
    store = MMRagVectorStore(model=shipped)
    store.add([node("a", "The tide comes in twice a day."), node("b", "Sales fell by a third in spring.")])
    asked = "By how much did the sales of the company fall in spring?"
    own = store.embed_model.get_query_embedding(asked)

    def scores(**query) -> list[float]:
        return store.query(VectorStoreQuery(similarity_top_k=2, **query)).similarities

    assert scores(query_str=asked, query_embedding=own) == scores(query_str=asked)
    whole = store.client.index.search_vectors(shipped.encode_query([asked])[0], k=2)
    alone = store.query(VectorStoreQuery(query_embedding=own, similarity_top_k=2))
    assert alone.ids == [hit.id for hit in whole]
    assert alone.similarities != pytest.approx([hit.score for hit in whole], abs=1e-3)


def test_document_and_node_ids_restrict(store):
    store.add(
        [node("a", "red", source="one"), node("b", "red", source="two"), node("c", "red", source="two")]
    )
    assert set(ids(store, doc_ids=["two"])) == {"b", "c"}
    assert set(ids(store, node_ids=["a", "c"])) == {"a", "c"}
    assert ids(store, node_ids=["a", "c"], doc_ids=["two"]) == ["c"]


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("n", FilterOperator.EQ, 1, "a"),
        ("n", FilterOperator.NE, 1, "bcd"),
        ("n", FilterOperator.GT, 1, "b"),
        ("n", FilterOperator.GTE, 1, "ab"),
        ("n", FilterOperator.LT, 2, "a"),
        ("n", FilterOperator.LTE, 2.0, "ab"),
        ("s", FilterOperator.EQ, "x", "a"),
        ("s", FilterOperator.IN, ["x", "y"], "ab"),
        ("s", FilterOperator.NIN, ["x"], "bcd"),
        ("tags", FilterOperator.ANY, ["p", "r"], "ac"),
        ("tags", FilterOperator.ALL, ["p", "q"], "a"),
        ("tags", FilterOperator.CONTAINS, "q", "ac"),
        ("flag", FilterOperator.EQ, 1, "a"),  # LlamaIndex has no booleans in filters; 1 is True there
        ("flag", FilterOperator.NE, 1, "bcd"),
        ("n", FilterOperator.IS_EMPTY, None, "cd"),
        ("s", FilterOperator.IS_EMPTY, None, "cd"),
        ("flag", FilterOperator.IS_EMPTY, None, "cd"),
        ("tags", FilterOperator.IS_EMPTY, None, "bd"),
        ("s", FilterOperator.TEXT_MATCH, "x", "a"),
        ("s", FilterOperator.TEXT_MATCH, "X", ""),
        ("s", FilterOperator.TEXT_MATCH_INSENSITIVE, "X", "a"),
        ("sss", FilterOperator.EQ, "x", ""),  # a key that no record has finds nothing
    ],
)
def test_every_operator(store, key, operator, value, expected):
    store.add(
        [
            node("a", "red", n=1, s="x", tags=["p", "q"], flag=True),
            node("b", "red", n=2, s="y", tags=[], flag=False),
            node("c", "red", s="", tags=["q", "r"]),
            node("d", "red", s=None),
        ]
    )
    assert sorted(ids(store, filters=where((key, operator, value)))) == list(expected)


def test_filters_nest(store):
    store.add([node(str(n), "red", n=n, even=n % 2 == 0) for n in range(6)])
    low, high = ("n", FilterOperator.LT, 2), ("n", FilterOperator.GT, 4)
    either = where(low, high, condition=FilterCondition.OR)
    assert sorted(ids(store, filters=either)) == ["0", "1", "5"]
    assert sorted(ids(store, filters=where(either, ("even", FilterOperator.EQ, 0)))) == ["1", "5"]
    assert sorted(ids(store, filters=where(low, high, condition=FilterCondition.NOT))) == ["2", "3", "4"]
    assert len(ids(store, filters=MetadataFilters(filters=[]))) == 6


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (where(("s", FilterOperator.TEXT_MATCH, 3)), "words to look for under 's' must be text, got 3"),
        (where(("s", FilterOperator.EQ, ["x"])), "takes one value, got"),
        (where(("s", FilterOperator.IN, "x")), "'in' on 's' takes a list, got 'x'"),
    ],
)
def test_filters_that_cannot_be_are_refused(store, filters, words):
    store.add([node("a", "red", s="x")])
    with pytest.raises(ValueError, match=words):
        ids(store, filters=filters)


# ---- through the host ------------------------------------------------------------------------------


def test_an_index_of_the_host_over_the_store(tmp_path, pdfs, embedder):
    store = MMRagVectorStore(tmp_path / "index", model=embedder)
    context = StorageContext.from_defaults(vector_store=store)
    pages = MMRagPDFReader(image_dir=tmp_path / "pictures").load_data(pdfs)
    VectorStoreIndex(pages, storage_context=context, embed_model=store.embed_model)
    context.persist(str(tmp_path / "storage"))
    store.close()

    again = MMRagVectorStore(tmp_path / "index", model=embedder)
    context = StorageContext.from_defaults(vector_store=again, persist_dir=str(tmp_path / "storage"))
    index = load_index_from_storage(context, embed_model=again.embed_model)
    found = index.as_retriever(similarity_top_k=2).retrieve("Who is the harbor master?")
    page = found[0].node
    assert "Ada Lovelace" in page.get_content()
    assert page.image_resource.path.is_file()
    before = next(p for p in pages if p.id_ == page.node_id)
    assert page.to_dict() == before.to_dict()
    index.delete_ref_doc(page.node_id)
    assert page.node_id not in [one.node_id for one in again.get_nodes()]
    again.close()


async def test_the_index_of_the_host_async(embedder):
    store = MMRagVectorStore(model=embedder)
    index = VectorStoreIndex.from_vector_store(store, store.embed_model)
    await index.ainsert_nodes([node("a", "The tide comes in."), node("b", "Sales fell.")])
    found = await index.as_retriever(similarity_top_k=1).aretrieve("What does the tide do?")
    assert [one.node.node_id for one in found] == ["a"]


def test_a_pipeline_in_two_processes_into_the_store(tmp_path, pdfs, embedder):
    """Pages and embeddings cross a process border; ids, pictures and keys come through."""
    store = MMRagVectorStore(tmp_path / "index", model=embedder)
    pages = MMRagPDFReader(image_dir=tmp_path / "pictures").load_data(pdfs)
    pipeline = IngestionPipeline(
        transformations=[MMRagEmbedding(embedder)], vector_store=store, disable_cache=True
    )
    nodes = pipeline.run(documents=pages, num_workers=2)
    assert all(len(one.embedding) == 128 for one in nodes)
    kept = store.get_nodes([page.id_ for page in pages])
    assert [one.to_dict() | {"embedding": None} for one in kept] == [page.to_dict() for page in pages]
    assert [one.embedding for one in kept] == [pytest.approx(one.embedding, abs=0.01) for one in nodes]
    store.close()


def test_chunks_of_a_page_name_its_picture(tmp_path, pdfs, embedder):
    store = MMRagVectorStore(model=embedder)
    pages = MMRagPDFReader(image_dir=tmp_path).load_data(pdfs)
    nodes = IngestionPipeline(
        transformations=[SentenceSplitter(), store.embed_model], vector_store=store, disable_cache=True
    ).run(documents=pages)
    assert {one.ref_doc_id for one in nodes} == {page.id_ for page in pages}
    kept = store.get_nodes([one.node_id for one in nodes])
    assert [one.text for one in kept] == [one.text for one in nodes]
    assert [one.metadata["image_path"] for one in kept] == [page.metadata["image_path"] for page in pages]
    store.delete(pages[0].id_)
    assert len(store.get_nodes()) == len(nodes) - 1


def test_pages_of_the_package_and_nodes_of_the_host_in_one_index(tmp_path, pdfs, embedder):
    from mmrag import DocumentQA

    with DocumentQA.open(tmp_path / "index", embedder=embedder) as qa:
        qa.add(pdfs / "harbor.pdf")
        store = MMRagVectorStore(qa=qa)
        store.add([node("mine", "The harbor master likes tea.")])
        found = store.query(VectorStoreQuery(query_str="harbor master", similarity_top_k=4)).nodes
        page = next(one for one in found if one.metadata.get("page") == 2)
        assert page.image_resource.path.is_file()
        assert "mine" in [one.node_id for one in found]
        store.delete(page.ref_doc_id)  # the file
        assert [one.node_id for one in store.get_nodes()] == ["mine"]
        assert qa.status().documents == ()


def test_over_any_index(colours):
    store = MMRagVectorStore.from_index(MemoryIndex.for_embedder(colours), colours)
    store.add([node("a", "red")])
    assert ids(store) == ["a"]


# ---- written down ----------------------------------------------------------------------------------


def test_dict_and_pickle_give_the_same_store_and_no_secret(tmp_path):
    store = MMRagVectorStore(tmp_path / "index", budget=(1, 8), api_key="sk-secret")
    store.add([node("a", "The tide comes in.")])
    assert "sk-secret" not in json.dumps(store.to_dict()) + repr(store)
    assert b"sk-secret" not in pickle.dumps(store)
    store.close()
    for again in (MMRagVectorStore.from_dict(store.to_dict()), pickle.loads(pickle.dumps(store))):
        assert again.to_dict() == store.to_dict()
        assert [one.text for one in again.get_nodes()] == ["The tide comes in."]
        again.close()


def test_a_store_in_memory_does_not_pretend_to_be_kept(colours, tmp_path):
    store = MMRagVectorStore(model=colours)
    with pytest.raises(ValueError, match="a store in memory cannot be persisted"):
        StorageContext.from_defaults(vector_store=store).persist(str(tmp_path))
    with pytest.raises(TypeError, match="a store in memory cannot be pickled"):
        pickle.dumps(store)


# ---- bad input -------------------------------------------------------------------------------------


def test_bad_nodes_are_refused_and_nothing_is_written(store, pictures, tmp_path):
    good = node("good", "red")
    missing = Node(id_="m", image_resource=MediaResource(path=tmp_path / "gone.png"))
    cases = [
        (TextNode(id_="e", text=" "), "a node must have text or an image, got 'e'"),
        (missing, r"an image must be there to be read, got .*gone.png"),
        (
            Node(id_="b", image_resource=MediaResource(data=pictures["red"].read_bytes())),
            "text or an image|image by path",
        ),
        (
            Node(
                id_="b",
                text_resource=MediaResource(text="red"),
                image_resource=MediaResource(data=pictures["red"].read_bytes()),
            ),
            "must name its image by path, got",
        ),
        (node("d", "red", deep={"a": 1}), "must be strings, numbers, booleans or lists"),
        (TextNode(id_="w", text="red", embedding=[1.0] * 7), "has 7 numbers, 'colours' gives 3"),
    ]
    for bad, words in cases:
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            store.add([good, bad])
    assert store.get_nodes() == []
    assert store.add([]) == []


def test_an_image_without_text_needs_an_embedder_that_sees(embedder, colours, pictures):
    image = Node(id_="i", image_resource=MediaResource(path=pictures["red"]))
    with pytest.raises(UnsupportedInputError, match="reads text only"):
        MMRagVectorStore(model=embedder).add([image])
    store = MMRagVectorStore(model=colours)
    store.add([image, node("g", "green")])
    assert ids(store, similarity_top_k=1) == ["i"]


def test_bad_queries_are_refused(store):
    store.add([node("a", "red")])
    with pytest.raises(ValueError, match="k must be a whole number of at least 1, got 0"):
        ids(store, similarity_top_k=0)
    with pytest.raises(ValueError, match="a query must have words or an embedding, got neither"):
        ids(store, query_str=" ")
    with pytest.raises(ValueError, match="mode must be default, hybrid, mmr, text_search, sparse, got 'svm'"):
        ids(store, mode=VectorStoreQueryMode.SVM)
    with pytest.raises(IndexMismatchError, match=r"Pass embed_model=vector_store\.embed_model"):
        ids(store, query_embedding=[0.1] * 1536)
    with pytest.raises(ValueError, match="alpha must be from 0"):
        ids(store, mode=VectorStoreQueryMode.HYBRID, alpha=2)
    with pytest.raises(TypeError, match="filters must be MetadataFilters, got dict"):
        ids(store, filters={"a": 1})


def test_an_index_of_another_model_is_refused(tmp_path, colours, embedder):
    made = MMRagVectorStore(tmp_path / "index", model=colours)
    made.add([node("a", "red")])
    made.close()
    with pytest.raises(IndexMismatchError, match="colours"):
        MMRagVectorStore(tmp_path / "index", model=embedder).get_nodes()


def test_a_cell_that_is_run_twice_opens_the_same_index(tmp_path, colours):
    first = MMRagVectorStore(tmp_path / "index", model=colours)
    first.add([node("a", "red")])
    second = MMRagVectorStore(tmp_path / "index", model=colours)
    assert [one.node_id for one in second.get_nodes()] == ["a"]
    second.close()
    first.add([node("a", "red")])  # the other one's close was its own
    reader = MMRagVectorStore(tmp_path / "index", model=colours, read_only=True)
    assert ids(reader) == ["a"]
    reader.close()
    first.close()


def test_a_password_in_an_address_is_not_kept(postgres_url, colours):
    address = postgres_url.replace("postgres:@", "postgres:open-sesame@")
    with_password = MMRagVectorStore(address, model=colours)
    with_password.add([node("a", "a red thing")])
    assert ids(with_password) == ["a"]
    stored = [repr(with_password), str(with_password.to_dict()), with_password.to_json()]
    stored += [str(pickle.dumps(MMRagVectorStore(address))), str(with_password.client)]
    with_password.close()
    assert not [text for text in stored if "sesame" in text]
    again = pickle.loads(pickle.dumps(MMRagVectorStore(postgres_url, model="mmrag-mini")))
    assert again.path == postgres_url
