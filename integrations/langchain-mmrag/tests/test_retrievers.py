from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage
from mmrag import Budget, DocumentQA, Query, ServedAnswerer
from mmrag.errors import IndexFormatError, UnsupportedInputError
from PIL import Image

from langchain_mmrag import MMRagRetriever, MMRagVectorStore, document_scores

QUESTION = "What were the net sales of Environmental Sensing in 2024?"


def test_documents_are_the_ranking_of_the_core(samples) -> None:
    retriever = MMRagRetriever(qa=samples, k=3, images=False)
    found, expected = retriever.invoke(QUESTION), samples.qa.search(QUESTION, k=3)
    assert [doc.id for doc in found] == [candidate.id for candidate in expected]
    assert [doc.page_content for doc in found] == [candidate.record.text for candidate in expected]
    scores = [document_scores(doc) for doc in found]
    assert [one["relevance_score"] for one in scores] == [candidate.score for candidate in expected]
    assert [one["retrieval_score"] for one in scores] == [c.scores["fused"] for c in expected]
    assert all(doc.metadata["page_id"] == doc.id and "bbox" not in doc.metadata for doc in found)


def test_evidence_puts_the_boxes_of_the_answer_on_its_page_only(samples) -> None:
    answer = samples.qa.ask(QUESTION, k=4, evidence=False)
    expected = {
        record: [list(box) for c in answer.citations if c.record_id == record for box in c.boxes]
        for record in {c.record_id for c in answer.citations if c.boxes}
    }
    assert expected  # the answer stands in a table of the report
    found = MMRagRetriever(qa=samples, evidence=True).invoke(QUESTION)
    boxes = {doc.id: json.loads(doc.metadata["bbox"]) for doc in found if "bbox" in doc.metadata}
    assert boxes == expected
    assert [doc.id for doc in found] == [candidate.id for candidate in answer.ranking]


def test_evidence_in_a_text_without_a_page_has_no_boxes(embeddings) -> None:
    store = MMRagVectorStore.from_texts(["The list price of the TideSense 3 is $7,800."], embeddings)
    question = "What is the list price of the TideSense 3?"
    assert store.qa.ask(question).citations
    (found,) = MMRagRetriever(qa=store, evidence=True).invoke(question)
    assert "bbox" not in found.metadata and "image_path" not in found.metadata


def test_settings_at_invoke_win_over_those_of_the_retriever(samples) -> None:
    retriever = MMRagRetriever(qa=samples.qa, k=1, budget=(1, 1), images=False)
    assert retriever.budget == Budget(1, 1)
    found = retriever.invoke(
        "price",
        k=2,
        budget=(1, 4),
        filter={"file_name": "product-launch-deck.pdf"},
        images=True,
        evidence=True,
    )
    expected = samples.qa.search(
        "price", k=2, budget=Budget(1, 4), filter={"file_name": "product-launch-deck.pdf"}
    )
    assert [doc.id for doc in found] == [candidate.id for candidate in expected]
    assert all("image_path" in doc.metadata for doc in found)


def test_a_filter_at_construction_holds(samples) -> None:
    retriever = MMRagRetriever(qa=samples, filter={"page": {"$lt": 2}}, images=False)
    assert {doc.metadata["page"] for doc in retriever.invoke(QUESTION)} <= {0, 1}


def test_pages_are_found_by_their_language(samples) -> None:
    english = MMRagRetriever(qa=samples, k=2, filter={"language": "en"}).invoke(QUESTION)
    assert [document.metadata["language"] for document in english] == ["en", "en"]
    assert samples.similarity_search(QUESTION, filter={"language": {"$in": ["de", "fr"]}}) == []


def test_a_question_may_be_written_in_every_form_of_the_host(colours, swatches) -> None:
    store = MMRagVectorStore(colours())
    store.add_texts(["red", "green", "blue"], ids=["r", "g", "b"])
    retriever = MMRagRetriever(qa=store, k=1)
    red = swatches["red"]
    data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
    uri = f"data:image/png;base64,{data}"
    text = {"type": "text", "text": "which colour?"}
    for question in (
        "red",
        Query("red"),
        {"text": "red"},
        {"image": red},
        {"text": "which colour?", "image": Image.open(red)},
        HumanMessage("red"),
        HumanMessage([text, {"type": "image", "base64": data, "mime_type": "image/png"}]),
        HumanMessage([text, {"type": "image", "url": uri}]),
        HumanMessage([text, {"type": "image_url", "image_url": {"url": uri}}]),
        [text, {"type": "image_url", "image_url": uri}],
        ["which colour?", {"type": "image", "base64": data, "mime_type": "image/png"}],
    ):
        assert [doc.id for doc in retriever.invoke(question)] == ["r"], question


def test_a_picture_that_a_message_carries_is_decoded_in_a_reading_process(colours, swatches, monkeypatch):
    """By every search: this process, which holds the keys, decodes nothing that a stranger sent."""
    data = base64.b64encode(swatches["red"].read_bytes()).decode()
    message = HumanMessage(["which?", {"type": "image", "base64": data, "mime_type": "image/png"}])
    store = MMRagVectorStore(colours(), images=False)
    store.add_texts(["red", "green", "blue"], ids=["r", "g", "b"])
    retriever = MMRagRetriever(qa=store, k=1, images=False)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened here"))
    found = [
        retriever.invoke(message),
        asyncio.run(retriever.ainvoke(message)),
        store.similarity_search(message, k=1),
        asyncio.run(store.asimilarity_search(message, k=1)),
        store.max_marginal_relevance_search(message, k=1),
    ]
    store.qa.close()
    assert [document.id for documents in found for document in documents] == ["r"] * 5


@pytest.mark.parametrize(
    ("question", "options", "error", "words"),
    [
        ("", {}, ValueError, "must have text or an image"),
        ("  ", {}, ValueError, "must have text or an image"),
        (HumanMessage(""), {}, ValueError, "must have text or an image"),
        ({}, {}, ValueError, "must have text or an image"),
        ({"question": "x"}, {}, ValueError, "keys 'text' and 'image', got 'question'"),
        ([{"type": "audio", "base64": "x"}], {}, ValueError, "must be text or image, got 'audio'"),
        ([{"type": "image", "file_id": "x"}], {}, ValueError, "must have 'url' or 'base64'"),
        ([{"type": "image", "url": "data:,"}] * 2, {}, ValueError, "may have one image, got 2"),
        ([{"type": "image", "url": "https://example.org/a.png"}], {}, ValueError, "must be a data URI"),
        (HumanMessage([{"type": "image", "url": "file:///a.png"}]), {}, ValueError, "must be a data URI"),
        (7, {}, TypeError, "a question must be text"),
        ({"image": "/no/such.png"}, {}, ValueError, "must be a data URI"),
        ({"image": Path("/no/such.png")}, {}, FileNotFoundError, "must be there to be read"),
        ("x", {"k": 0}, ValueError, "k must be a whole number of at least 1, got 0"),
        ("x", {"budget": 16}, ValueError, "pair of numbers, got 16"),
        ("x", {"filter": {"page": {"$near": 1}}}, ValueError, r"unknown filter operator '\$near'"),
        ("x", {"filters": {}}, TypeError, "unexpected keyword argument 'filters'"),
    ],
)
def test_bad_input_is_one_clear_error(samples, question, options, error, words) -> None:
    with pytest.raises(error, match=words):
        MMRagRetriever(qa=samples).invoke(question, **options)


def test_an_image_is_refused_where_the_model_sees_none(text_embeddings, swatches) -> None:
    store = MMRagVectorStore(text_embeddings)
    with pytest.raises(UnsupportedInputError, match="takes text only"):
        MMRagRetriever(qa=store).invoke({"text": "x", "image": swatches["red"]})


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"k": 0}, "greater than or equal to 1"), ({"budget": 3}, "pair of numbers"), ({"top_k": 3}, "top_k")],
)
def test_wrong_settings_are_refused_at_construction(samples, settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        MMRagRetriever(qa=samples, **settings)


def test_open_reads_while_another_writes(embeddings, tmp_path) -> None:
    with pytest.raises(IndexFormatError):
        MMRagRetriever.open(tmp_path / "none", embeddings)
    with MMRagVectorStore(embeddings, persist_directory=tmp_path / "index") as store:
        store.add_texts(["Dogs bark."])
        retriever = MMRagRetriever.open(tmp_path / "index", embeddings, k=1)
        assert retriever.qa.index.read_only
        assert retriever.invoke("barking")[0].page_content == "Dogs bark."
        retriever.qa.close()


def test_events_of_the_host_are_in_pairs_and_name_us(samples) -> None:
    seen: list[tuple[str, object]] = []

    class Handler(BaseCallbackHandler):
        def on_retriever_start(self, serialized, query, *, metadata=None, **kwargs):
            seen.append(("start", metadata["ls_retriever_name"]))

        def on_retriever_end(self, documents, **kwargs):
            seen.append(("end", len(documents)))

        def on_retriever_error(self, error, **kwargs):
            seen.append(("error", type(error).__name__))

    retriever = MMRagRetriever(qa=samples, k=2, images=False)
    retriever.invoke("price", {"callbacks": [Handler()]})
    with pytest.raises(ValueError, match="must have text"):
        retriever.invoke("", {"callbacks": [Handler()]})
    assert seen == [("start", "mmrag"), ("end", 2), ("start", "mmrag"), ("error", "ValueError")]


def test_what_is_written_out_holds_no_secret(embeddings) -> None:
    answerer = ServedAnswerer("http://127.0.0.1:9/v1", "m", api_key="sk-hidden")
    store = MMRagVectorStore(embeddings, answerer=answerer, password="open-sesame")
    retriever = MMRagRetriever(qa=store, k=2)
    written = [repr(retriever), str(retriever), dumps(retriever), retriever.model_dump_json(), repr(store)]
    assert not [text for text in written if "sk-hidden" in text or "open-sesame" in text]
    assert json.loads(retriever.model_dump_json())["k"] == 2


def test_a_core_object_or_a_store_is_taken_and_nothing_else(samples) -> None:
    assert isinstance(MMRagRetriever(qa=samples).qa, DocumentQA)
    with pytest.raises(ValueError, match="instance of DocumentQA"):
        MMRagRetriever(qa="my-index")
