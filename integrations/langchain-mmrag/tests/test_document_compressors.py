from __future__ import annotations

import base64
import copy
import inspect
import json
import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.load import dumps, loads
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda, RunnablePassthrough
from mmrag import LocalReranker
from mmrag.errors import ServerStatusError
from mmrag.images import data_url
from mmrag.rerank.ordering import reorder
from mmrag.types import Query, Verdict
from PIL import Image

from langchain_mmrag import MMRagRetriever, MMRagThinkRerank

QUESTION = "Which animal hoots?"
ANIMALS = ["Cats purr.", "Dogs bark.", "Owls hoot at night.", "Wolves howl."]
NET_SALES = "What were the net sales of Environmental Sensing in 2024?"


@pytest.fixture(scope="session")
def local() -> MMRagThinkRerank:
    return MMRagThinkRerank()


@pytest.fixture
def animals() -> list[Document]:
    return [Document(text, id=f"a{n}", metadata={"n": n}) for n, text in enumerate(ANIMALS)]


class Reddest:
    """A reranker that looks: the share of red in the question's picture times that in a page's."""

    def __init__(self, render=None, images: bool = True) -> None:
        self.render = render
        self.settings = type("Settings", (), {"images": images})()
        self.seen = []

    def with_render(self, render):
        twin = copy.copy(self)
        twin.render = render
        return twin

    def rerank(self, ranking, *, top_n=None):
        self.seen.append(ranking)
        asked = 1.0 if ranking.query.image is None else red(ranking.query.image)
        verdicts = [
            Verdict(asked * self._score(candidate.page), thought="I looked.") for candidate in ranking
        ]
        return reorder(ranking, verdicts, top_n=top_n)

    async def arerank(self, ranking, *, top_n=None):
        return self.rerank(ranking, top_n=top_n)

    def _score(self, page) -> float:
        if page is None:
            return 0.0
        return red(page.image if page.image is not None else self.render(page, 10_000))


def red(image: Image.Image) -> float:
    means = np.asarray(image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1))
    return float(means[0] / max(means.sum(), 1.0))


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


# ---- by text, in this process


def test_it_is_a_compressor_and_a_step_of_a_chain(local) -> None:
    assert isinstance(local, BaseDocumentCompressor) and isinstance(local, Runnable)


def test_what_answers_comes_first_and_top_n_cuts(local, animals) -> None:
    found = local.compress_documents(animals, QUESTION)
    assert found[0].page_content == "Owls hoot at night." and sorted(texts(found)) == sorted(ANIMALS)
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    cut = MMRagThinkRerank(top_n=2)
    assert texts(cut.compress_documents(animals, QUESTION)) == texts(found)[:2]
    cut.top_n = 1
    assert texts(cut.compress_documents(animals, QUESTION)) == texts(found)[:1]


def test_documents_are_copies_and_the_givers_stay_as_they_were(local, animals) -> None:
    before = copy.deepcopy(animals)
    found = local.compress_documents(animals, QUESTION)
    assert animals == before
    best = found[0]
    assert (best.id, best.metadata["n"], best.type) == ("a2", 2, "Document")
    best.metadata["n"] = 99
    assert animals == before


def test_scores_before_are_kept_beside_the_new_ones() -> None:
    documents = [
        Document("Dogs bark.", metadata={"relevance_score": 0.9}),
        Document("Owls hoot at night.", metadata={"relevance_score": np.float32(0.25), "retrieval_score": 7}),
    ]
    owl, dog = MMRagThinkRerank(alpha=0.0).compress_documents(documents, QUESTION)
    assert (owl.metadata["retrieval_score"], dog.metadata["retrieval_score"]) == (7, 0.9)
    assert owl.metadata["relevance_score"] > dog.metadata["relevance_score"]
    assert type(owl.metadata["relevance_score"]) is float
    bare = MMRagThinkRerank().compress_documents([Document("Owls hoot at night.")], QUESTION)[0]
    assert set(bare.metadata) == {"relevance_score"}  # nothing is made up


def test_alpha_is_the_share_of_the_scores_before(animals) -> None:
    given = [0.2, 0.9, 0.1, 0.5]
    for document, score in zip(animals, given, strict=True):
        document.metadata["relevance_score"] = score
    prior = MMRagThinkRerank(alpha=1.0).compress_documents(animals, QUESTION)
    assert [document.metadata["n"] for document in prior] == [1, 3, 0, 2]
    alone = MMRagThinkRerank(alpha=0.0).compress_documents(animals, QUESTION)
    assert alone[0].metadata["n"] == 2


def test_where_a_score_is_missing_none_counts(local, animals) -> None:
    alone = texts(MMRagThinkRerank(alpha=0.0).compress_documents(animals, QUESTION))
    animals[3].metadata["relevance_score"] = 99.0
    assert texts(local.compress_documents(animals, QUESTION)) == alone


def test_pages_of_a_store_come_in_the_order_of_the_core(samples, local) -> None:
    found = MMRagRetriever(qa=samples, k=8, rerank=False).invoke(NET_SALES)
    judged = local.compress_documents(found, NET_SALES)
    expected = LocalReranker().rerank(samples.qa.search(NET_SALES, k=8, rerank=False))
    assert [document.id for document in judged] == [candidate.id for candidate in expected]
    for document, candidate in zip(judged, expected, strict=True):
        assert document.metadata["relevance_score"] == pytest.approx(candidate.score)
        assert document.metadata["retrieval_score"] == pytest.approx(candidate.scores["retrieval"])
    json.dumps(judged[0].metadata)


def test_documents_with_one_id_stay_two(local) -> None:
    twice = [Document("Dogs bark.", id="x"), Document("Owls hoot at night.", id="x")]
    assert texts(local.compress_documents(twice, QUESTION)) == ["Owls hoot at night.", "Dogs bark."]


def test_no_documents_are_none(local) -> None:
    assert local.compress_documents([], QUESTION) == []


def test_a_text_reader_opens_no_picture(local) -> None:
    gone = [Document("Owls hoot at night.", metadata={"image_path": "/no/such.png"}), Document("Dogs bark.")]
    assert local.compress_documents(gone, QUESTION)[0].metadata["image_path"] == "/no/such.png"


# ---- by pictures


def pictured(swatches) -> list[Document]:
    uri = "data:image/png;base64," + base64.b64encode(swatches["red"].read_bytes()).decode()
    return [
        Document("plain"),
        Document("blue", metadata={"image_path": str(swatches["blue"])}),
        Document("", metadata={"image": uri}),
        Document("green", metadata={"image": swatches["green"].as_uri()}),
    ]


def test_pictures_are_found_by_path_uri_and_data(swatches) -> None:
    documents = pictured(swatches)
    before = copy.deepcopy(documents)
    sees = MMRagThinkRerank(reranker=Reddest(), top_n=2)
    best, second = sees.compress_documents(documents, "red")
    assert best.metadata["image"].startswith("data:") and best.metadata["relevance_score"] == 1.0
    assert second.page_content == "plain"  # the tie of zeros keeps the prior order
    assert documents == before


def test_a_page_is_drawn_from_its_file_where_no_picture_is_named(samples) -> None:
    core = Reddest()
    sees = MMRagThinkRerank(reranker=core)
    page = MMRagRetriever(qa=samples, k=1, images=False).invoke(NET_SALES)
    assert "image_path" not in page[0].metadata
    judged = sees.compress_documents(page, NET_SALES)
    assert judged[0].metadata["relevance_score"] == pytest.approx(0.33, abs=0.05)  # mostly white
    (ranking,) = core.seen
    known = samples.qa.index.get([page[0].id])[0].page
    assert ranking[0].page.source == known.source and ranking[0].page.number == known.number


def test_the_page_of_a_picture_is_the_page_of_the_index(samples) -> None:
    """Traces are kept by a page's file and number; a picture of it must not be another page."""
    core = Reddest()
    page = MMRagRetriever(qa=samples, k=1).invoke(NET_SALES)
    MMRagThinkRerank(reranker=core).compress_documents(page, NET_SALES)
    known = samples.qa.index.get([page[0].id])[0].page
    seen = core.seen[0][0].page
    assert (seen.source, seen.number, seen.text) == (known.source, known.number, known.text)
    moved = replace(page[0].metadata["doc_id"] and known.source, sha256="0" * 64)
    page[0].metadata["doc_id"] = moved.document_id  # no longer the file that is there
    MMRagThinkRerank(reranker=core).compress_documents(page, NET_SALES)
    assert core.seen[1][0].page.source.kind == "image"


def test_pictures_that_are_gone_or_elsewhere_are_named(swatches, caplog) -> None:
    sees = MMRagThinkRerank(reranker=Reddest())
    with pytest.raises(FileNotFoundError, match=r"the picture of 'p' must be a file, got '/no/such\.png'"):
        sees.compress_documents([Document("x", id="p", metadata={"image_path": "/no/such.png"})], "red")
    with caplog.at_level(logging.WARNING):
        far = Document("x", id="p", metadata={"image": "https://example.org/a.png"})
        assert sees.compress_documents([far], "red")[0].metadata["relevance_score"] == 0.0
    assert "p is judged by its text" in caplog.text
    blind = MMRagThinkRerank(reranker=Reddest(images=False))
    blind.compress_documents([Document("x", metadata={"image_path": "/no/such.png"})], "red")


def test_a_question_may_have_a_picture(swatches) -> None:
    documents = [Document("red", metadata={"image_path": str(swatches["red"])})]
    sees = MMRagThinkRerank(reranker=Reddest())
    red = data_url(Image.open(swatches["red"]), 10_000)
    for question in (
        {"text": "like this", "image": swatches["red"]},
        Query(image=Image.open(swatches["red"])),
        HumanMessage([{"type": "text", "text": "?"}, {"type": "image", "url": red}]),
    ):
        assert sees.compress_documents(documents, question)[0].metadata["relevance_score"] == 1.0
    blue = {"text": "like this", "image": swatches["blue"]}
    assert sees.compress_documents(documents, blue)[0].metadata["relevance_score"] == 0.0


def test_a_thought_is_told_where_asked_for(swatches) -> None:
    documents = pictured(swatches)
    assert (
        "thought" not in MMRagThinkRerank(reranker=Reddest()).compress_documents(documents, "red")[0].metadata
    )
    told = MMRagThinkRerank(reranker=Reddest(), keep_thought=True).compress_documents(documents, "red")
    assert told[0].metadata["thought"] == "I looked."


# ---- by a served model (real ones: tests/vllm)


def test_a_served_model_judges_and_is_sent_the_key(judge, animals) -> None:
    served = MMRagThinkRerank(base_url=judge.url, api_key="sk-mine", top_n=2)
    found = served.compress_documents(animals, QUESTION)
    assert texts(found) == ["Owls hoot at night.", "Cats purr."]
    assert [one.metadata["relevance_score"] for one in found] == [pytest.approx(0.99), pytest.approx(0.01)]
    assert {headers["authorization"] for headers in judge.headers} == {"Bearer sk-mine"}
    assert {body["model"] for body in judge.bodies if "messages" in body} == {"judge"}


async def test_it_thinks_where_asked_to_and_async_is_the_same(judge, animals) -> None:
    served = MMRagThinkRerank(base_url=judge.url, model="judge", think_tokens=32, keep_thought=True)
    found = await served.acompress_documents(animals, QUESTION)
    assert found == served.compress_documents(animals, QUESTION)
    assert found[0].metadata["thought"] == "It is about owls."
    assert {body["max_tokens"] for body in judge.bodies if "stop" in body} == {32}


def test_a_served_model_is_shown_the_pictures(judge, swatches, samples) -> None:
    served = MMRagThinkRerank(base_url=judge.url, image_pixels=40_000)
    best, *rest = served.compress_documents(pictured(swatches), "red")
    assert best.metadata["image"].startswith("data:") and len(rest) == 3
    page = MMRagRetriever(qa=samples, k=1, images=False).invoke(NET_SALES)
    (judged,) = served.compress_documents(page, NET_SALES)
    assert judged.metadata["relevance_score"] == pytest.approx(0.33, abs=0.05)  # mostly white
    blind = MMRagThinkRerank(base_url=judge.url, images=False)
    assert blind.compress_documents(pictured(swatches), "red")[0].metadata["relevance_score"] < 0.02


def test_a_server_that_fails_is_an_error_or_keeps_the_order_and_says_so(judge, animals) -> None:
    judge.status = 400
    with pytest.raises(ServerStatusError, match=r"127\.0\.0\.1.*400.*out of order"):
        MMRagThinkRerank(base_url=judge.url).compress_documents(animals, QUESTION)
    animals[1].metadata["relevance_score"] = 0.5
    kept = MMRagThinkRerank(base_url=judge.url, on_error="keep", top_n=2)
    found = kept.compress_documents(animals, QUESTION)
    assert texts(found) == ANIMALS[:2]
    assert [one.metadata["reranked"] for one in found] == [False, False]
    assert "out of order" in found[0].metadata["why_not"] and "relevance_score" not in found[0].metadata
    assert found[1].metadata["relevance_score"] == 0.5


# ---- in chains


def test_behind_a_retriever_in_a_plain_pipe(samples) -> None:
    retriever = MMRagRetriever(qa=samples, k=8, rerank=False)
    chain = MMRagThinkRerank(top_n=3).after(retriever) | (lambda found: [one.id for one in found])
    expected = LocalReranker().rerank(samples.qa.search(NET_SALES, k=8, rerank=False), top_n=3)
    assert chain.invoke(NET_SALES) == [candidate.id for candidate in expected]
    assert chain.batch([NET_SALES, QUESTION])[0] == chain.invoke(NET_SALES)
    assert list(chain.stream(NET_SALES)) == [chain.invoke(NET_SALES)]


async def test_the_same_without_blocking(samples) -> None:
    chain = MMRagThinkRerank(top_n=3).after(MMRagRetriever(qa=samples, k=8))
    assert await chain.ainvoke(NET_SALES) == chain.invoke(NET_SALES)


@pytest.mark.parametrize("key", ["query", "question", "input"])
def test_a_state_with_documents_and_question_is_a_step(local, animals, key) -> None:
    step = {"documents": RunnableLambda(lambda _: animals), key: RunnablePassthrough()} | local
    assert step.invoke(QUESTION)[0].page_content == "Owls hoot at night."


def test_documents_are_replaced_in_a_state(local, animals) -> None:
    chain = RunnablePassthrough.assign(documents=local)
    state = chain.invoke({"documents": animals, "question": QUESTION, "user": "me"})
    assert state["documents"][0].id == "a2" and state["user"] == "me"


def test_top_n_may_be_chosen_by_the_call(animals) -> None:
    step = MMRagThinkRerank().configurable_fields(top_n=ConfigurableField("top_n"))
    state = {"documents": animals, "query": QUESTION}
    assert len(step.invoke(state)) == 4
    assert len(step.invoke(state, {"configurable": {"top_n": 1}})) == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([Document("a")], "got list. Behind a retriever write reranker.after"),
        ({"documents": []}, r"got the keys \['documents'\]"),
        ({"context": [], "query": "a"}, r"got the keys \['context', 'query'\]"),
        ("a", "got str"),
    ],
)
async def test_a_state_without_both_is_refused(local, state, words) -> None:
    with pytest.raises(TypeError, match=words):
        local.invoke(state)
    with pytest.raises(TypeError, match=words):
        await local.ainvoke(state)


async def test_in_the_hosts_own_compression_retriever(samples) -> None:
    retrievers = pytest.importorskip(
        "langchain_classic.retrievers", reason="langchain-classic is in the extra 'test'"
    )
    around = retrievers.ContextualCompressionRetriever(
        base_compressor=MMRagThinkRerank(top_n=3), base_retriever=MMRagRetriever(qa=samples, k=8)
    )
    expected = MMRagThinkRerank(top_n=3).after(MMRagRetriever(qa=samples, k=8)).invoke(NET_SALES)
    assert around.invoke(NET_SALES) == await around.ainvoke(NET_SALES) == expected


def test_in_the_hosts_own_pipeline_of_compressors(animals) -> None:
    compressors = pytest.importorskip(
        "langchain_classic.retrievers.document_compressors", reason="langchain-classic is in the extra 'test'"
    )
    pipeline = compressors.DocumentCompressorPipeline(
        transformers=[MMRagThinkRerank(top_n=3), MMRagThinkRerank(top_n=1)]
    )
    (best,) = pipeline.compress_documents(animals, QUESTION)
    assert best.id == "a2"


# ---- async


async def test_async_is_that_of_the_core(swatches) -> None:
    class Awaited(Reddest):
        def rerank(self, ranking, *, top_n=None):
            raise RuntimeError("the sync twin must not be called")

        async def arerank(self, ranking, *, top_n=None):
            return Reddest.rerank(self, ranking, top_n=top_n)

    sees = MMRagThinkRerank(reranker=Awaited())
    assert (await sees.acompress_documents(pictured(swatches), "red"))[0].metadata["relevance_score"] == 1.0
    assert await sees.acompress_documents([], "red") == []


# ---- written down


def test_no_key_is_written_anywhere(monkeypatch) -> None:
    monkeypatch.delenv("MMRAG_API_KEY", raising=False)
    one = MMRagThinkRerank(base_url="http://127.0.0.1:9", api_key="sk-hidden", think_tokens=64)
    written = [repr(one), str(one), dumps(one), one.model_dump_json(), str(one.model_dump()), repr(one.core)]
    assert not [text for text in written if "sk-hidden" in text]
    assert b"sk-hidden" not in pickle.dumps(one)
    assert one.api_key.get_secret_value() == "sk-hidden"


def test_it_is_made_again_from_what_was_written(monkeypatch) -> None:
    one = MMRagThinkRerank(base_url="http://127.0.0.1:9", api_key="sk-hidden", think_tokens=64, top_n=2)
    monkeypatch.setenv("MMRAG_API_KEY", "sk-mine")
    options = {"valid_namespaces": ["langchain_mmrag"], "secrets_map": {"MMRAG_API_KEY": "sk-mine"}}
    if "allowed_objects" in inspect.signature(loads).parameters:  # newer hosts ask for more
        options["allowed_objects"] = [MMRagThinkRerank]
    for again in (pickle.loads(pickle.dumps(one)), loads(dumps(one), **options)):
        assert (again.base_url, again.think_tokens, again.top_n) == ("http://127.0.0.1:9", 64, 2)
        assert again.api_key.get_secret_value() == "sk-mine"
        assert repr(again.core) == repr(one.core)


def test_an_unpickled_one_works(animals) -> None:
    again = pickle.loads(pickle.dumps(MMRagThinkRerank(top_n=1)))
    assert again.compress_documents(animals, QUESTION)[0].id == "a2"


def test_a_ready_reranker_is_not_pretended_to_be_written_down() -> None:
    assert json.loads(dumps(MMRagThinkRerank(reranker=LocalReranker())))["type"] == "not_implemented"


# ---- bad input


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"top_n": 0}, "greater than or equal to 1"),
        ({"mode": "pointwise"}, "must have the server's base_url"),
        ({"mode": "best", "base_url": "http://x"}, "mode must be one of"),
        ({"think_tokens": 64}, "takes no think_tokens, got think_tokens=64"),
        ({"mode": "local", "base_url": "http://x"}, "takes no base_url"),
        ({"alpha": 2.0}, "alpha is the weight of the retrieval score"),
        ({"on_error": "hide", "base_url": "http://x"}, "on_error must be 'raise' or 'keep'"),
        ({"think_tokens": -1, "base_url": "http://x"}, "think_tokens must be a whole number"),
        ({"topn": 3}, "Extra inputs are not permitted"),
        ({"reranker": "local"}, "must have rerank and arerank, got str"),
        ({"reranker": LocalReranker(), "mode": "local"}, "a ready reranker takes no mode"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        MMRagThinkRerank(**settings)


def test_a_setting_that_would_have_no_effect_any_more_cannot_be_changed(local) -> None:
    with pytest.raises(ValueError, match="frozen"):
        local.think_tokens = 7


@pytest.mark.parametrize("question", ["", "  ", {"text": ""}])
async def test_an_empty_question_is_refused(local, animals, question) -> None:
    with pytest.raises(ValueError, match="must have text or an image"):
        local.compress_documents(animals, question)
    with pytest.raises(ValueError, match="must have text or an image"):
        await local.acompress_documents(animals, question)
