from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index
from mmrag import Budget, MemoryIndex
from mmrag.errors import DocumentError, IndexMismatchError, UnsupportedInputError
from PIL import Image

from langchain_mmrag import MMRagEmbeddings, MMRagPDFLoader, MMRagVectorStore

ANIMALS = ["Cats purr.", "Dogs bark.", "Owls hoot at night.", "Wolves howl."]
QUESTION = "net sales by region"


@pytest.fixture
def store(embeddings, home):
    with MMRagVectorStore(embeddings, **home) as store:
        yield store


# ---- what a user of the host types


def test_from_texts_and_from_documents_search(embeddings) -> None:
    store = MMRagVectorStore.from_texts(ANIMALS, embeddings, [{"n": n} for n in range(4)])
    assert store.similarity_search("Which animal barks?", k=1)[0].metadata == {"n": 1}
    store = MMRagVectorStore.from_documents(
        [Document("Cats purr.", id="cat"), Document("Dogs bark.")], embeddings
    )
    assert store.similarity_search("purring", k=1)[0].id == "cat"
    assert store.embeddings is embeddings


def test_a_store_without_arguments_uses_the_shipped_model() -> None:
    store = MMRagVectorStore()
    assert isinstance(store.embeddings, MMRagEmbeddings)
    assert store.embeddings.embedder is store.qa.embedder
    assert store.similarity_search("anything") == []


def test_every_search_type_of_a_retriever_works(samples) -> None:
    plain = samples.as_retriever(search_kwargs={"k": 2}).invoke(QUESTION)
    diverse = samples.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 6}).invoke(QUESTION)
    above = samples.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.4, "k": 2}
    ).invoke(QUESTION)
    assert len(plain) == len(diverse) == len(above) == 2
    none = samples.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.999}
    )
    assert none.invoke(QUESTION) == []


def test_search_kwargs_reach_the_core(samples) -> None:
    retriever = samples.as_retriever(
        search_kwargs={"k": 3, "budget": (1, 1), "filter": {"file_name": "product-launch-deck.pdf"}}
    )
    found = retriever.invoke(QUESTION)
    assert {doc.metadata["file_name"] for doc in found} == {"product-launch-deck.pdf"}
    assert [doc.id for doc in retriever.invoke(QUESTION, k=1)] == [found[0].id]


def test_scores_are_those_of_the_core(samples) -> None:
    found = samples.similarity_search_with_score(QUESTION, k=3, budget=Budget(1, 2))
    expected = samples.qa.search(QUESTION, k=3, budget=Budget(1, 2), rerank=False)
    assert [(doc.id, score) for doc, score in found] == [(c.id, c.score) for c in expected]


def test_relevance_is_a_cosine(embeddings) -> None:
    """It guards a threshold: fused scores have no fixed range, these have."""
    store = MMRagVectorStore.from_texts(["Dogs bark.", "Stocks fell."], embeddings)
    (best, same), (_, other) = store.similarity_search_with_relevance_scores("Dogs bark.", k=2)
    query = embeddings.embed_query("Dogs bark.")
    vector = embeddings.embed_documents(["Dogs bark."])[0]
    assert best.page_content == "Dogs bark."
    assert same == pytest.approx(sum(a * b for a, b in zip(query, vector, strict=True)), abs=2e-3)  # float16
    assert 0 <= other < same <= 1


def test_by_vector_is_by_the_questions_vector(samples) -> None:
    vector = samples.embeddings.embed_query(QUESTION)
    found = samples.similarity_search_by_vector(vector, k=3)
    expected = samples.similarity_search(QUESTION, k=3, channels=("vectors",))
    assert [doc.id for doc in found] == [doc.id for doc in expected]


def test_mmr_prefers_what_differs(colours) -> None:
    store = MMRagVectorStore(colours())
    store.add_texts(["red red", "red red red", "red blue"], ids=["a", "b", "c"])
    plain = {doc.id for doc in store.similarity_search("red", k=2, channels=("vectors",))}
    diverse = store.max_marginal_relevance_search("red", k=2, lambda_mult=0.1)
    assert plain == {"a", "b"}
    assert "c" in {doc.id for doc in diverse} and len(diverse) == 2
    by_vector = store.max_marginal_relevance_search_by_vector([1.0, 0, 0], k=2, lambda_mult=0.1)
    assert "c" in {doc.id for doc in by_vector}
    assert MMRagVectorStore(colours()).max_marginal_relevance_search("red") == []


def test_images_are_stored_and_found_by_text_image_and_both(colours, swatches, home) -> None:
    with MMRagVectorStore(colours(), **home) as store:
        ids = store.add_images(
            [swatches["red"], str(swatches["green"])], [{"n": 1}, {"n": 2}], ids=["r", "g"]
        )
        store.add_images([Image.open(swatches["blue"])], ids=["b"])
        assert ids == ["r", "g"]
        assert store.similarity_search("green", k=1)[0].id == "g"
        found = store.similarity_search_by_image(str(swatches["red"]), k=1)[0]
        assert (found.id, found.metadata["n"]) == ("r", 1)
        assert store.similarity_search({"text": "blue", "image": swatches["blue"]}, k=1)[0].id == "b"
        assert Image.open(found.metadata["image_path"]).getpixel((5, 5)) == (255, 0, 0)


# ---- pages


def test_pages_carry_the_flat_keys_and_a_picture(samples, report) -> None:
    page = samples.similarity_search(QUESTION, k=1, filter={"file_name": report.name})[0]
    metadata = page.metadata
    assert metadata["source"] == metadata["file_path"] == str(report)
    assert page.id == f"{metadata['doc_id']}#p{metadata['page']}"
    assert metadata["total_pages"] == 8 and isinstance(metadata["page_label"], str)
    assert Path(metadata["image_path"]).is_absolute()
    with Image.open(metadata["image_path"]) as picture:
        assert min(picture.size) > 900
    assert all(isinstance(value, (str, int, float, bool)) for value in metadata.values())
    assert "image_path" not in samples.similarity_search(QUESTION, k=1, images=False)[0].metadata


def test_the_path_of_a_picture_is_whole_where_the_directory_was_not(
    embeddings, swatches, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with MMRagVectorStore(embeddings, persist_directory="here") as store:
        (id,) = store.add_images([swatches["red"]])
        assert Path(store.get_by_ids([id])[0].metadata["image_path"]).parent == tmp_path / "here" / "pictures"


def test_adding_a_file_again_gives_the_same_ids(samples, report) -> None:
    ids = samples.add_pdf(report)
    assert ids == samples.add_pdf(str(report)) and len(ids) == 8
    assert [doc.id for doc in samples.get_by_ids(ids[:2])] == ids[:2]


def test_a_deleted_page_comes_back_with_its_file(store, tmp_path, report) -> None:
    file = tmp_path / "two.pdf"
    _first_pages(report, file, 2)
    first, second = store.add_pdf(file, metadata={"kind": "report"})
    store.delete([first])
    assert store.qa.index.ids() == [second]
    assert set(store.add_pdf(file, metadata={"kind": "report"})) == {first, second}
    store.delete([first, second])
    assert not store.qa.status().documents
    assert len(store.add_pdf(file)) == 2
    store.delete()
    assert store.qa.index.count() == 0 and not store.qa.status().documents


def test_a_picture_of_a_moved_file_costs_no_other_document(store, tmp_path, report) -> None:
    file = tmp_path / "moved.pdf"
    _first_pages(report, file, 1)
    store.add_pdf(file)
    store.add_texts(["A text beside it."])
    file.unlink()
    found = store.similarity_search("harbor report", k=2)
    page = next(doc for doc in found if "page" in doc.metadata)
    assert len(found) == 2
    assert "image_path" not in page.metadata and "moved.pdf" in page.metadata["image_error"]


def test_loaded_pages_can_be_stored_but_do_not_replace_pages(store, tmp_path, report) -> None:
    """The guess of a new user: loader, then store. Pages that are there must keep their pictures."""
    file = tmp_path / "one.pdf"
    _first_pages(report, file, 1)
    loaded = MMRagPDFLoader(file).load()
    store.add_documents(loaded)
    assert store.similarity_search("harbor", k=1)[0].metadata == loaded[0].metadata
    store.add_pdf(file)
    assert "image_path" in store.similarity_search("harbor", k=1)[0].metadata
    with pytest.raises(ValueError, match="must not be that of a page in the store"):
        store.add_documents(loaded)


# ---- metadata and identity


def test_lists_in_metadata_come_back_as_lists(store) -> None:
    given = {"tags": ["a", "b"], "source": ["x", "y"], "n": 1, "ok": True}
    document = Document("Cats purr.", metadata=given)
    before = copy.deepcopy(document)
    ids = store.add_documents([document])
    assert store.get_by_ids(ids)[0].metadata == given
    assert store.similarity_search("cats", k=1, filter={"tags": "b"})[0].id == ids[0]
    assert document == before


def test_the_hosts_indexing_api_keeps_the_store_in_step(store) -> None:
    manager = InMemoryRecordManager("texts")
    manager.create_schema()
    documents = [Document(text, metadata={"source": text}) for text in ANIMALS]
    options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    assert index(documents, manager, store, **options)["num_added"] == 4
    assert index(documents, manager, store, **options)["num_skipped"] == 4
    assert index(documents[:1], manager, store, **options)["num_deleted"] == 3
    assert [doc.page_content for doc in store.similarity_search("animals", k=4)] == ANIMALS[:1]


def test_a_reopened_store_has_everything(embeddings, tmp_path) -> None:
    with MMRagVectorStore(embeddings, persist_directory=tmp_path) as store:
        ids = store.add_texts(ANIMALS, [{"n": [n]} for n in range(4)])
        before = store.similarity_search("Who barks?", k=4)
    with MMRagVectorStore(embeddings, persist_directory=str(tmp_path), read_only=True) as store:
        assert store.similarity_search("Who barks?", k=4) == before
        assert [doc.page_content for doc in store.get_by_ids(ids)] == ANIMALS


def test_a_store_of_another_model_is_refused_with_both_named(embeddings, tmp_path) -> None:
    MMRagVectorStore(embeddings, persist_directory=tmp_path).close()
    with pytest.raises(IndexMismatchError, match=r"mmrag-mini.*DeterministicFakeEmbedding\(6\)"):
        MMRagVectorStore(DeterministicFakeEmbedding(size=6), persist_directory=tmp_path)
    with pytest.raises(IndexMismatchError, match="mmrag-mini"):
        MMRagVectorStore(embeddings, index=MemoryIndex.for_embedder(_Other()))


class _Other:
    name, fingerprint, dim = "other", "f" * 32, 128


def test_a_cell_that_is_run_twice_opens_the_same_index(colours, tmp_path) -> None:
    first = MMRagVectorStore(colours(), persist_directory=tmp_path)
    first.add_texts(["red"], ids=["r"])
    with MMRagVectorStore(colours(), persist_directory=tmp_path) as second:
        second.add_texts(["green"], ids=["g"])
        assert {document.id for document in first.similarity_search("green")} == {"r", "g"}
    first.delete("r")  # the other one's close was its own
    assert first.qa.index.ids() == ["g"]
    first.close()


def test_a_store_that_could_not_be_made_of_texts_does_not_stay_locked(embeddings, tmp_path) -> None:
    with pytest.raises(ValueError, match="'1' twice") as caught:
        MMRagVectorStore.from_texts(["a", "b"], embeddings, ids=["1", "1"], persist_directory=tmp_path)
    MMRagVectorStore(embeddings, persist_directory=tmp_path).close()
    assert caught.tb  # keeps the failed store alive, as a notebook does


def test_budget_of_the_embeddings_is_the_stores(embeddings) -> None:
    model = MMRagEmbeddings(model=embeddings.embedder, budget=(1, 2))
    assert MMRagVectorStore(model).budget == Budget(1, 2)
    assert MMRagVectorStore(model, budget=Budget(1, 4)).budget == Budget(1, 4)


# ---- bad input


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.similarity_search(""), ValueError, "must have text or an image"),
        (
            lambda s: s.similarity_search("x", k=0),
            ValueError,
            "k must be a whole number",
        ),
        (lambda s: s.similarity_search("x", filter={"n": {"$gt3": 1}}), ValueError, "Did you mean '\\$gt'"),
        (lambda s: s.similarity_search("x", filters={"n": 1}), TypeError, "unexpected keyword argument"),
        (lambda s: s.similarity_search("x", budget="big"), ValueError, "pair of numbers, got 'big'"),
        (lambda s: s.similarity_search({"query": "x"}), ValueError, "keys 'text' and 'image', got 'query'"),
        (lambda s: s.similarity_search(3), TypeError, "a question must be text"),
        (lambda s: s.similarity_search_by_image("/no/such.png"), FileNotFoundError, "must be there"),
        (lambda s: s.max_marginal_relevance_search("x", k=0), ValueError, "k must be"),
        (lambda s: s.max_marginal_relevance_search_by_vector([0.0] * 128, k=0), ValueError, "k must be"),
        (lambda s: s.similarity_search_by_vector([0.0] * 3), ValueError, r"must be \(rows, 128\)"),
        (lambda s: s.add_pdf("/no/such.pdf"), DocumentError, "no such file"),
        (lambda s: s.add_pdf([]), DocumentError, "no document in"),
        (lambda s: s.add_images(["/no/such.png"]), DocumentError, "no such file"),
        (
            lambda s: s.add_texts(["a"], [{"x": {"y": 1}}]),
            ValueError,
            "must be a string, a number",
        ),
        (lambda s: s.add_texts("a"), TypeError, r"got the text 'a'\. Write \[text\]"),
        (lambda s: s.delete(filter={}), ValueError, "must have a condition"),
        (lambda s: s.delete(filter={"n": 1}, where={"n": 1}), ValueError, "one of filter, where and source"),
        (lambda s: s.delete(["a"], source="a.pdf"), ValueError, "ids with a filter alone"),
        (lambda s: s.delete(filters={"n": 1}), TypeError, "unexpected keyword argument"),
        (lambda s: s.add_texts(["a", "b"], [{}]), ValueError, "one per record, got"),
        (lambda s: s.add_texts(["a", "b"], ids=["1", "1"]), ValueError, "'1' twice"),
        (
            lambda s: MMRagVectorStore(s.qa.embedder, index=s.qa.index, persist_directory="x"),
            ValueError,
            "both",
        ),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_written(store, call, error, words) -> None:
    store.add_texts(["Cats purr."])
    with pytest.raises(error, match=words):
        call(store)
    assert store.qa.index.count() == 1


def test_an_image_is_refused_by_a_store_that_sees_none(text_embeddings, swatches) -> None:
    with pytest.raises(UnsupportedInputError, match="takes text only"):
        MMRagVectorStore(text_embeddings).similarity_search_by_image(str(swatches["red"]))


def _first_pages(source: Path, target: Path, count: int) -> None:
    import pymupdf

    with pymupdf.open(source) as document:
        document.select(range(count))
        document.save(target)


def test_metadata_of_a_page_is_json(samples) -> None:
    """Traces and stores of the host write it as JSON."""
    json.dumps(samples.similarity_search(QUESTION, k=1)[0].metadata)
