"""Both hosts' rerankers against a real vLLM: text and pictures, thinking or not, in their own chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mmrag import DocumentQA
from mmrag.errors import ServerStatusError
from mmrag.hosts.items import HostItem
from mmrag.hosts.ranking import ranking_of
from mmrag.index import MemoryIndex
from mmrag.rerank import ThinkReranker
from mmrag.types import Query

pytest.importorskip("langchain_mmrag", reason="the development environment has both integrations")
pytest.importorskip("llama_index.postprocessor.mmrag", reason="the development environment has both")

Scores = list[tuple[str, float]]
"""Ids and scores, best first."""

QUESTION = "Who is the harbor master of Bremen?"
TEXTS = {
    "bread": "Bread dough rises faster in a warm kitchen.",
    "tide": "The tide comes in twice a day.",
    "master": "The harbor master of Bremen is called Ada Lovelace.",
    "wind": "Offshore wind parks grew by a tenth.",
}


def by_langchain(items: Sequence[HostItem], question: str, **settings: object) -> Scores:
    from langchain_core.documents import Document
    from langchain_mmrag import MMRagThinkRerank

    documents = [
        Document(
            item.text, id=item.id, metadata={} if item.image is None else {"image_path": str(item.image)}
        )
        for item in items
    ]
    found = MMRagThinkRerank(**settings).compress_documents(documents, question)
    return [(one.id, one.metadata["relevance_score"]) for one in found]


def by_llama_index(items: Sequence[HostItem], question: str, **settings: object) -> Scores:
    from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
    from llama_index.postprocessor.mmrag import MMRagThinkRerank

    nodes = [
        TextNode(id_=item.id, text=item.text)
        if item.image is None
        else ImageNode(id_=item.id, text=item.text, image_path=str(item.image))
        for item in items
    ]
    found = MMRagThinkRerank(**settings).postprocess_nodes(
        [NodeWithScore(node=node) for node in nodes], query_str=question
    )
    return [(one.node_id, one.score) for one in found]


HOSTS = pytest.mark.parametrize("host", [by_langchain, by_llama_index])


@pytest.fixture
def texts() -> list[HostItem]:
    return [HostItem(text, id=name) for name, text in TEXTS.items()]


@pytest.fixture
def pictures(tmp_path: Path) -> list[HostItem]:
    """Two that are the same, and one that is not; one has text, too."""
    items = []
    for name, words in (("one", "Ada Lovelace"), ("same", "Ada Lovelace"), ("other", "4180 GWh")):
        path = tmp_path / f"{name}.png"
        picture = Image.new("RGB", (224, 224), "white")
        ImageDraw.Draw(picture).text((20, 90), words, fill="black")
        picture.save(path)
        items.append(HostItem("", image=path, id=name))
    return [*items, HostItem("Ada Lovelace is the harbor master.", image=path, id="both")]


def expected(items: Sequence[HostItem], question: str, reranker: ThinkReranker) -> Scores:
    """What the core itself says of the same items."""
    judged = reranker.rerank(ranking_of(Query(text=question), items))
    return [(one.id, one.score) for one in judged]


def close(scores: Scores) -> dict[str, object]:
    """A score depends on what else is in the server's batch.

    The logits of yes and no are bfloat16: near 16 a step is .125, and a step of each moves the score by up to
    .0625.
    """
    return {name: pytest.approx(score, abs=0.07) for name, score in scores}


# ---- SmolLM2: real words


@HOSTS
def test_likelihood_finds_the_text_that_answers(host: Callable[..., Scores], smol_server, texts) -> None:
    found = host(texts, QUESTION, base_url=smol_server.url, mode="likelihood", top_n=2)
    assert found[0][0] == "master"
    assert len(found) == 2


@HOSTS
@pytest.mark.parametrize("tokens", [0, 8])
def test_pointwise_says_what_the_core_says(host, smol_server, texts, tokens) -> None:
    settings = {"model": smol_server.model, "think_tokens": tokens, "images": False}
    texts = texts[1:3] if tokens else texts  # a thought is slow on a CPU
    core = ThinkReranker(smol_server.url, **settings)
    found = host(texts, QUESTION, base_url=smol_server.url, **settings)
    assert dict(found) == close(expected(texts, QUESTION, core))
    assert all(0.0 < score < 1.0 for _, score in found)


@HOSTS
def test_another_model_name_is_a_typed_error(host, smol_server, texts) -> None:
    with pytest.raises(ServerStatusError, match=r"404.*no-such-model"):
        host(texts, QUESTION, base_url=smol_server.url, model="no-such-model", images=False)


async def test_a_chain_of_each_host_async(smol_server, embedder) -> None:
    """Retrieve, rerank behind the server, without blocking, with the hosts' own parts around it."""
    from langchain_mmrag import MMRagRetriever as LangChainRetriever
    from langchain_mmrag import MMRagThinkRerank as LangChainRerank
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.postprocessor.mmrag import MMRagThinkRerank as LlamaIndexRerank
    from llama_index.retrievers.mmrag import MMRagRetriever as LlamaIndexRetriever

    settings = {"base_url": smol_server.url, "mode": "likelihood", "images": False, "top_n": 1}
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        qa.add_texts(list(TEXTS.values()), ids=list(TEXTS))
        chain = LangChainRerank(**settings).after(LangChainRetriever(qa=qa, k=4))
        (document,) = await chain.ainvoke(QUESTION)
        engine = RetrieverQueryEngine.from_args(
            LlamaIndexRetriever(qa, similarity_top_k=4),
            llm=MockLLM(is_chat_model=True),
            node_postprocessors=[LlamaIndexRerank(**settings)],
            multimodal=True,
        )
        (node,) = (await engine.aquery(QUESTION)).source_nodes
    assert document.id == node.node_id == "master"
    assert {"relevance_score", "retrieval_score"} <= set(document.metadata)


# ---- a Qwen3-VL of random weights: it sees


@HOSTS
@pytest.mark.parametrize("tokens", [0, 8])
def test_pictures_are_seen(host: Callable[..., Scores], tiny_vl_server, pictures, tokens) -> None:
    scores = dict(host(pictures, "Ada?", base_url=tiny_vl_server.url, think_tokens=tokens))
    assert set(scores) == {"one", "same", "other", "both"}
    assert scores["one"] == pytest.approx(scores["same"], abs=1e-4)
    if not tokens:  # one thought of noise may lead to any score
        assert abs(scores["one"] - scores["other"]) > 1e-4
        assert abs(scores["other"] - scores["both"]) > 1e-4


@HOSTS
def test_pages_of_a_file_are_drawn_and_seen(host, tiny_vl_server, make_pdf, tmp_path, embedder) -> None:
    pdf = make_pdf(tmp_path / "report.pdf", ["Ada Lovelace is the harbor master.", "Wind parks grew."])
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        qa.add(pdf)
        found = qa.search(QUESTION, k=2)
        items = [HostItem(one.record.text, qa.picture_path(one.page), id=one.id) for one in found]
        scores = host(items, QUESTION, base_url=tiny_vl_server.url, image_pixels=100_000)
    assert {name for name, _ in scores} == {one.id for one in found}
    assert all(0.0 < score < 1.0 for _, score in scores)


# ---- the same weights served as a reranker


@HOSTS
def test_a_served_reranker_scores_text_and_pictures(host, tiny_pooling_server, texts, pictures) -> None:
    core = ThinkReranker(tiny_pooling_server.url, mode="served", probe=False)  # random weights tell nothing
    items = [*texts, *pictures]
    found = host(items, QUESTION, reranker=core)
    assert len(found) == 8
    assert dict(found)["one"] == pytest.approx(dict(found)["same"], abs=1e-3)
