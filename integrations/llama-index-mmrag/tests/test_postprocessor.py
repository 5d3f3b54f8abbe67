"""`MMRagThinkRerank` as LlamaIndex uses it."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from PIL import Image

from llama_index.embeddings.mmrag import MMRagEmbedding
from llama_index.postprocessor.mmrag import MMRagThinkRerank
from llama_index.query_engine.mmrag import MMRagCitationQueryEngine
from llama_index.readers.mmrag.nodes import page_node
from llama_index.retrievers.mmrag import MMRagRetriever
from mmrag import LocalReranker
from mmrag.errors import ServerStatusError
from mmrag.rerank.ordering import reorder
from mmrag.types import Verdict

QUESTION = "Which animal hoots?"
ANIMALS = ("Cats purr.", "Dogs bark.", "Owls hoot at night.", "Wolves howl.")
MASTER = "Who is the harbor master?"


def animals(*scores: float | None) -> list[NodeWithScore]:
    given = scores or (0.4, 0.3, 0.2, 0.1)
    nodes = [TextNode(id_=f"a{n}", text=text, metadata={"n": n}) for n, text in enumerate(ANIMALS)]
    return [NodeWithScore(node=node, score=score) for node, score in zip(nodes, given, strict=True)]


def ids(nodes: list[NodeWithScore]) -> list[str]:
    return [one.node_id for one in nodes]


@pytest.fixture(scope="session")
def local() -> MMRagThinkRerank:
    return MMRagThinkRerank(alpha=0.0)


def pictured(pictures, tmp_path) -> list[NodeWithScore]:
    """The same red in every way that a node holds a picture, after a blue and a plain one."""
    red = pictures["red"]
    data = base64.b64encode(red.read_bytes()).decode()
    kinds = [
        TextNode(id_="plain", text="plain"),
        ImageNode(id_="blue", image_path=str(pictures["blue"])),
        ImageNode(id_="path", image_path=str(red), text="a swatch"),
        ImageNode(id_="base64", image=data),
        Node(id_="resource", image_resource=MediaResource(path=red)),
        Node(id_="bytes", image_resource=MediaResource(data=red.read_bytes())),
        ImageDocument(id_="document", image_path=str(red)),
        TextNode(id_="metadata", text="a swatch", metadata={"image_path": str(red)}),
        IndexNode(id_="index", text="a swatch", index_id="x", metadata={"image_path": str(red)}),
    ]
    return [NodeWithScore(node=node, score=0.5) for node in kinds]


# ---- by text, in this process


def test_it_is_a_postprocessor_of_the_host():
    assert BaseNodePostprocessor.__name__ in [base.__name__ for base in MMRagThinkRerank.__mro__]
    assert MMRagThinkRerank.class_name() == "MMRagThinkRerank"


def test_what_answers_comes_first_and_top_n_cuts(local):
    found = local.postprocess_nodes(animals(), query_str=QUESTION)
    assert found[0].node_id == "a2"
    assert sorted(ids(found)) == ["a0", "a1", "a2", "a3"]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    cut = MMRagThinkRerank(alpha=0.0, top_n=2)
    assert ids(cut.postprocess_nodes(animals(), QueryBundle(QUESTION))) == ids(found)[:2]
    cut.top_n = 1
    assert ids(cut.postprocess_nodes(animals(), QueryBundle(QUESTION))) == ["a2"]


@pytest.mark.parametrize("keep", [False, True])
def test_nothing_that_was_given_changes(local, keep):
    nodes = animals()
    before = copy.deepcopy(nodes)
    reranker = MMRagThinkRerank(alpha=0.0, keep_retrieval_score=keep)
    found = reranker.postprocess_nodes(nodes, query_str=QUESTION)
    assert nodes == before
    assert found[0].node.text == nodes[2].node.text
    found[0].node.metadata["n"] = 99
    found[0].score = -1
    assert nodes == before


def test_the_score_before_is_kept_where_asked_for_and_models_do_not_see_it():
    nodes = animals()
    plain = MMRagThinkRerank(alpha=0.0).postprocess_nodes(nodes, query_str=QUESTION)
    assert [one.metadata for one in plain] == [nodes[one.metadata["n"]].metadata for one in plain]
    kept = MMRagThinkRerank(alpha=0.0, keep_retrieval_score=True).postprocess_nodes(nodes, query_str=QUESTION)
    assert [one.metadata["retrieval_score"] for one in kept] == [
        nodes[one.metadata["n"]].score for one in kept
    ]
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert kept[0].get_content(mode) == nodes[2].get_content(mode)


def test_alpha_is_the_share_of_the_scores_before():
    prior = MMRagThinkRerank(alpha=1.0).postprocess_nodes(animals(0.2, 0.9, 0.1, 0.5), query_str=QUESTION)
    assert ids(prior) == ["a1", "a3", "a0", "a2"]
    unknown = MMRagThinkRerank(alpha=0.5).postprocess_nodes(animals(0.2, 0.9, None, 0.5), query_str=QUESTION)
    assert unknown[0].node_id == "a2"  # a score is missing, so none counts


def test_pages_of_an_index_come_in_the_order_of_the_core_with_both_scores(qa):
    nodes = MMRagRetriever(qa, similarity_top_k=5, rerank=False).retrieve(MASTER)
    found = MMRagThinkRerank(top_n=3).postprocess_nodes(nodes, query_str=MASTER)
    expected = LocalReranker().rerank(qa.search(MASTER, k=5, rerank=False), top_n=3)
    assert ids(found) == [one.id for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected])
    best = found[0].metadata
    assert best["relevance_score"] == found[0].score  # as everywhere in mmrag, and not that of before
    assert best["retrieval_score"] == pytest.approx(expected[0].scores["retrieval"])
    assert found[0].node.image_resource.path.is_file()
    assert found[0].text == found[0].get_content()


def test_a_page_without_text_does_not_count_as_text():
    """The placeholder that LlamaIndex needs says "page", and must not be read as a page's words."""
    empty = NodeWithScore(node=page_node("p", "", {"doc_id": "d"}, None), score=0.9)
    found = MMRagThinkRerank(alpha=0.0).postprocess_nodes([empty, *animals()], query_str=QUESTION)
    assert next(one for one in found if one.node_id == "p").metadata["rerank_note"].startswith("no text")


def test_nodes_with_one_id_stay_two(local):
    twice = [NodeWithScore(node=TextNode(id_="x", text=text), score=0.5) for text in ANIMALS]
    found = local.postprocess_nodes(twice, query_str=QUESTION)
    assert len(found) == 4
    assert found[0].text == "Owls hoot at night."


def test_no_nodes_are_none_and_no_question_is_an_error(local, events):
    assert local.postprocess_nodes([], query_str=QUESTION) == []
    with pytest.raises(ValueError, match="Missing query bundle in extra info: a reranker must know"):
        local.postprocess_nodes(animals())
    with pytest.raises(ValueError, match="a query must have text or an image"):
        local.postprocess_nodes(animals(), query_str="")
    assert [name for name in events if name == "ReRankEndEvent"] == []


# ---- by pictures, by a served model (real ones: tests/vllm)


def test_every_way_to_hold_a_picture_is_seen(judge, pictures, tmp_path):
    nodes = pictured(pictures, tmp_path)
    before = copy.deepcopy(nodes)
    found = MMRagThinkRerank(base_url=judge.url).postprocess_nodes(nodes, query_str="red?")
    scores = {one.node_id: one.score for one in found}
    assert scores.pop("plain") == scores.pop("blue") == pytest.approx(0.01)
    assert scores == {name: pytest.approx(0.99) for name in scores}
    assert len(scores) == 7
    assert nodes == before


def test_text_and_picture_of_a_node_are_both_sent(judge, pictures):
    node = NodeWithScore(node=ImageNode(image_path=str(pictures["red"]), text="a swatch of paint"), score=1.0)
    MMRagThinkRerank(base_url=judge.url).postprocess_nodes([node], query_str="red?")
    (asked,) = [body for body in judge.bodies if "logprob_token_ids" in body]
    kinds = [part["type"] for part in asked["messages"][1]["content"]]
    assert kinds.count("image_url") == 1
    assert "a swatch of paint" in json.dumps(asked["messages"])


def test_a_page_without_a_picture_is_drawn_from_its_file(judge, qa):
    nodes = MMRagRetriever(qa, similarity_top_k=1, with_images=False).retrieve(MASTER)
    assert nodes[0].node.image_resource is None
    found = MMRagThinkRerank(base_url=judge.url, image_pixels=40_000).postprocess_nodes(nodes, query_str="?")
    assert found[0].score == pytest.approx(0.33, abs=0.05)  # a third of white is red


def test_a_question_may_have_a_picture(judge, pictures):
    bundle = QueryBundle("like this?", image_path=str(pictures["blue"]))
    MMRagThinkRerank(base_url=judge.url).postprocess_nodes(animals(), bundle)
    asked = [body for body in judge.bodies if "logprob_token_ids" in body]
    assert len(asked) == 4
    assert all("image_url" in json.dumps(body["messages"]) for body in asked)
    only = QueryBundle("", image_path=str(pictures["blue"]))
    assert len(MMRagThinkRerank(base_url=judge.url).postprocess_nodes(animals(), only)) == 4
    with pytest.raises(FileNotFoundError, match="an image must be there to be read"):
        MMRagThinkRerank(base_url=judge.url).postprocess_nodes(
            animals(), QueryBundle("?", image_path="/no/such.png")
        )


def test_pictures_that_are_gone_or_elsewhere_are_named(judge, caplog):
    served = MMRagThinkRerank(base_url=judge.url)
    gone = NodeWithScore(node=ImageNode(id_="p", image_path="/no/such.png"), score=1.0)
    with pytest.raises(FileNotFoundError, match=r"the picture of 'p' must be a file, got '/no/such\.png'"):
        served.postprocess_nodes([gone], query_str="?")
    far = NodeWithScore(
        node=ImageNode(id_="p", image_url="https://example.org/a.png", text="a hoot at night")
    )
    with caplog.at_level(logging.WARNING):
        assert served.postprocess_nodes([far], query_str="?")[0].score == pytest.approx(0.99)
    assert "p is judged by its text" in caplog.text
    assert MMRagThinkRerank().postprocess_nodes([gone], query_str="?")  # reads text, opens no picture


async def test_it_thinks_where_asked_to(judge):
    served = MMRagThinkRerank(base_url=judge.url, think_tokens=32, keep_thought=True, api_key="sk-mine")
    found = await served.apostprocess_nodes(animals(), query_str=QUESTION)
    assert found[0].metadata["thought"] == "It is about owls."
    assert "thought" in found[0].node.excluded_llm_metadata_keys
    assert {body["max_tokens"] for body in judge.bodies if "stop" in body} == {32}
    assert {headers["authorization"] for headers in judge.headers} == {"Bearer sk-mine"}


def test_a_server_that_fails_is_an_error_or_keeps_the_order_and_says_so(judge):
    judge.status = 400
    with pytest.raises(ServerStatusError, match=r"127\.0\.0\.1.*400.*out of order"):
        MMRagThinkRerank(base_url=judge.url).postprocess_nodes(animals(), query_str=QUESTION)
    kept = MMRagThinkRerank(base_url=judge.url, on_error="keep", top_n=2)
    found = kept.postprocess_nodes(animals(), query_str=QUESTION)
    assert [(one.node_id, one.score) for one in found] == [("a0", 0.4), ("a1", 0.3)]
    assert found[0].metadata["reranked"] is False
    assert "out of order" in found[0].metadata["why_not"]


# ---- async


async def test_async_equals_sync_and_is_that_of_the_core(local):
    assert await local.apostprocess_nodes(animals(), query_str=QUESTION) == local.postprocess_nodes(
        animals(), query_str=QUESTION
    )

    class Awaited:
        def rerank(self, ranking, *, top_n=None):
            raise RuntimeError("the sync twin must not be called")

        async def arerank(self, ranking, *, top_n=None):
            await asyncio.sleep(0.2)
            return reorder(ranking, [Verdict(float(one.rank)) for one in ranking], top_n=top_n)

    found = await MMRagThinkRerank(reranker=Awaited()).apostprocess_nodes(animals(), query_str=QUESTION)
    assert ids(found) == ["a3", "a2", "a1", "a0"]
    assert await local.apostprocess_nodes([], query_str=QUESTION) == []
    with pytest.raises(ValueError, match="Missing query bundle"):
        await local.apostprocess_nodes(animals())


async def test_async_leaves_the_loop_free(pictures, stays_free, loop_gate, monkeypatch):
    """Opening pictures is work, too."""
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda *args, **how: loop_gate() or opened(*args, **how))

    class Ties:
        async def arerank(self, ranking, *, top_n=None):
            return reorder(ranking, [Verdict(0.0) for _ in ranking], top_n=top_n)

        def rerank(self, ranking, *, top_n=None):
            raise RuntimeError("the sync twin must not be called")

    data = base64.b64encode(pictures["red"].read_bytes()).decode()
    nodes = [NodeWithScore(node=ImageNode(image=data), score=1.0)] * 4
    reranker = MMRagThinkRerank(reranker=Ties())
    await stays_free(reranker.apostprocess_nodes(nodes, query_str="?"))


# ---- events


async def test_events_come_in_pairs(local, events):
    local.postprocess_nodes(animals(), query_str=QUESTION)
    assert [name for name in events if name.startswith("ReRank")] == ["ReRankStartEvent", "ReRankEndEvent"]
    await local.apostprocess_nodes(animals(), query_str=QUESTION)
    assert [name for name in events if name.startswith("ReRank")] == [
        "ReRankStartEvent",
        "ReRankEndEvent",
    ] * 2


def test_the_callback_manager_is_told():
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker = MMRagThinkRerank(alpha=0.0, top_n=2, callback_manager=CallbackManager([debug]))
    reranker.postprocess_nodes(animals(), query_str=QUESTION)
    ((start, end),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert start.payload[EventPayload.TOP_K] == 2
    assert start.payload[EventPayload.QUERY_STR] == QUESTION
    assert "minilm" in start.payload[EventPayload.MODEL_NAME].lower()
    assert ids(end.payload[EventPayload.NODES])[0] == "a2"


# ---- through the host


@pytest.mark.parametrize("multimodal", [False, True])
async def test_in_the_hosts_query_engine(qa, multimodal):
    engine = RetrieverQueryEngine.from_args(
        MMRagRetriever(qa, similarity_top_k=5),
        llm=MockLLM(is_chat_model=True),
        node_postprocessors=[MMRagThinkRerank(top_n=1)],
        multimodal=multimodal,
    )
    response = engine.query(MASTER)
    assert "Ada Lovelace" in str(response)  # the mock says what it was shown
    assert len(response.source_nodes) == 1
    assert ids((await engine.aquery(MASTER)).source_nodes) == ids(response.source_nodes)


def test_with_nodes_of_another_store(local):
    index = VectorStoreIndex([one.node for one in animals()], embed_model=MMRagEmbedding())
    engine = index.as_retriever(similarity_top_k=4)
    assert local.postprocess_nodes(engine.retrieve(QUESTION), query_str=QUESTION)[0].node_id == "a2"


def test_the_citation_engine_takes_it(qa):
    engine = MMRagCitationQueryEngine.from_args(
        qa, similarity_top_k=5, node_postprocessors=[MMRagThinkRerank(top_n=2)]
    )
    response = engine.query(MASTER)
    assert "Ada Lovelace" in str(response)
    assert len(response.source_nodes) == 2


# ---- written down


def test_no_key_is_written_anywhere():
    one = MMRagThinkRerank(base_url="http://127.0.0.1:9", api_key="sk-hidden", think_tokens=64)
    written = [
        repr(one),
        str(one),
        one.to_json(),
        json.dumps(one.to_dict()),
        str(one.model_dump()),
        repr(one.core),
    ]
    assert not [text for text in written if "sk-hidden" in text]
    assert b"sk-hidden" not in pickle.dumps(one)
    assert one.api_key.get_secret_value() == "sk-hidden"


def test_dict_json_and_pickle_give_the_same(tmp_path):
    one = MMRagThinkRerank(
        base_url="http://127.0.0.1:9", api_key="sk", think_tokens=64, top_n=2, cache=tmp_path
    )
    for again in (
        MMRagThinkRerank.from_dict(one.to_dict()),
        MMRagThinkRerank.from_json(one.to_json()),
        pickle.loads(pickle.dumps(one)),
    ):
        assert again.to_dict() == one.to_dict()
        assert repr(again.core) == repr(one.core)
    unpickled = pickle.loads(pickle.dumps(MMRagThinkRerank(alpha=0.0, top_n=1)))
    assert ids(unpickled.postprocess_nodes(animals(), query_str=QUESTION)) == ["a2"]


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
        ({"topn": 3}, "Extra inputs are not permitted"),
        ({"reranker": "local"}, "must have rerank and arerank, got str"),
        ({"reranker": LocalReranker(), "mode": "local"}, "a ready reranker takes no mode"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings, words):
    with pytest.raises(ValueError, match=words):
        MMRagThinkRerank(**settings)


def test_a_setting_that_would_have_no_effect_any_more_cannot_be_changed(local):
    with pytest.raises(ValueError, match="frozen"):
        local.think_tokens = 7
