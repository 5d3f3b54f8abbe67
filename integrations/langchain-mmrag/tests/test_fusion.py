"""A page that several questions find is one page for the host's own fusions."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.load import dumps, loads
from PIL import Image

from langchain_mmrag import MMRagRetriever, MMRagThinkRerank, MMRagVectorStore, document_scores

classic = pytest.importorskip("langchain_classic.retrievers", reason="the extra 'test' has it")

QUERIES = ["net sales by region", "sales in Europe 2024", "European revenue"]


@pytest.fixture(params=["retriever", "store"])
def retriever(request, samples):
    if request.param == "store":
        return samples.as_retriever(search_kwargs={"k": 3})
    return MMRagRetriever(qa=samples, k=3)


def ids(documents) -> list[str]:
    return [document.id for document in documents]


def test_several_queries_give_each_page_once(retriever) -> None:
    llm = FakeListChatModel(responses=["\n".join(QUERIES)])
    found = classic.MultiQueryRetriever.from_llm(retriever=retriever, llm=llm).invoke("How did Europe do?")
    expected = {id for query in QUERIES for id in ids(retriever.invoke(query))}
    assert len(found) == len(expected) and set(ids(found)) == expected


@pytest.mark.parametrize("key", [None, "page_id"])
def test_an_ensemble_gives_each_page_once(samples, key) -> None:
    parts = [MMRagRetriever(qa=samples, k=3), samples.as_retriever(search_kwargs={"k": 5})]
    found = classic.EnsembleRetriever(retrievers=parts, id_key=key).invoke(QUERIES[0])
    assert sorted(ids(found)) == sorted({id for part in parts for id in ids(part.invoke(QUERIES[0]))})


def test_rank_fusion_by_what_is_written_down(samples) -> None:
    """The recipe that is copied most: a document's ``dumps`` is its key, and ``loads`` gives it back."""
    retriever = MMRagRetriever(qa=samples, k=3)
    fused: dict[str, float] = {}
    for query in QUERIES:
        for rank, document in enumerate(retriever.invoke(query)):
            fused[dumps(document)] = fused.get(dumps(document), 0.0) + 1 / (rank + 60)
    is_asked = "allowed_objects" in inspect.signature(loads).parameters  # by newer hosts
    again = [loads(text, **({"allowed_objects": "core"} if is_asked else {})) for text in fused]
    assert len(again) == len({document.id for document in again})
    assert all(type(document) is Document for document in again)


def test_pages_without_text_stay_apart(colours, tmp_path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"scan-{number}.png")
        Image.new("RGB", (40, 30), (255, number, 0)).save(paths[-1])
    with MMRagVectorStore(colours()) as store:
        store.add_images(paths, ids=["0", "1", "2"])
        parts = [MMRagRetriever(qa=store, k=3), store.as_retriever()]
        found = classic.EnsembleRetriever(retrievers=parts).invoke("red")
        assert sorted(ids(found)) == ["0", "1", "2"]
        assert len({document.page_content for document in found}) == 3


def test_scores_go_along_and_are_no_part_of_a_document(samples) -> None:
    (first, *_), (again, *_) = (MMRagRetriever(qa=samples, k=3).invoke(q) for q in (QUERIES[0],) * 2)
    plain = Document(first.page_content, id=first.id, metadata=first.metadata)
    assert first == plain and dumps(first) == dumps(plain) and document_scores(plain) == {}
    expected = document_scores(first)
    assert set(expected) == {"relevance_score", "retrieval_score"} and first == again
    for other in (
        copy.copy(first),
        copy.deepcopy(first),
        pickle.loads(pickle.dumps(first)),
        first.model_copy(),
    ):
        assert document_scores(other) == expected
    with_scores = MMRagRetriever(qa=samples, k=3, scores=True).invoke(QUERIES[0])[0]
    assert {name: with_scores.metadata[name] for name in expected} == expected


def test_a_reranker_behind_the_retriever_sees_the_scores(samples) -> None:
    documents = MMRagRetriever(qa=samples, k=4, rerank=False).invoke(QUERIES[0])
    before = {document.id: document_scores(document)["relevance_score"] for document in documents}
    best = MMRagThinkRerank().compress_documents(documents, QUERIES[0])
    assert {one.id: one.metadata["retrieval_score"] for one in best} == before
