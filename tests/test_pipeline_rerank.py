"""Laws of reranking inside `DocumentQA`: who judges, how many, what it costs, what a server is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mmrag import Answer, DocumentQA, MemoryIndex, ReaderSettings
from mmrag.rerank import ThinkReranker
from mmrag.rerank.local import LocalReranker
from mmrag.rerank.ordering import keep_order, reorder
from mmrag.rerank.stage import DEFAULT_DEPTH
from mmrag.rerank.traces import TraceWriter
from mmrag.types import Usage, Verdict

TEXTS = [
    "Whale watching: the weight of a ticket queue. Whale tours, whale songs, blue boats.",
    "A grown blue whale weighs about 150 tonnes.",
    "Green tea is steeped at eighty degrees.",
    "The harbour bridge carries eight lanes.",
]
QUESTION = "What does a grown blue whale weigh?"


class Backwards:
    """Turns a ranking around, and remembers what it was asked."""

    think_tokens = 0

    def __init__(self) -> None:
        self.asked: list[dict] = []

    def rerank(self, ranking, *, top_n=None, think_tokens=0):
        self.asked.append({"ids": [c.id for c in ranking], "top_n": top_n, "think_tokens": think_tokens})
        verdicts = [Verdict(float(place)) for place in range(len(ranking))]
        cost = Usage({"rerank": 0.25}, prompt_tokens=30, completion_tokens=4, cache_hits=2, requests=1)
        return reorder(ranking, verdicts, top_n=top_n, usage=cost, notes=["turned around"])

    async def arerank(self, ranking, *, top_n=None, think_tokens=0):
        self.asked.append({"async": True})
        return self.rerank(ranking, top_n=top_n, think_tokens=think_tokens)


class Plain:
    """The same without thoughts and without a count of what it cost."""

    def rerank(self, ranking, *, top_n=None):
        return replace(Backwards().rerank(ranking, top_n=top_n), usage=Usage())

    async def arerank(self, ranking, *, top_n=None):
        return self.rerank(ranking, top_n=top_n)


def made(embedder, **options) -> DocumentQA:
    qa = DocumentQA(
        MemoryIndex.for_embedder(embedder),
        embedder=embedder,
        reader=ReaderSettings(ocr="off", workers=1),
        **options,
    )
    qa.add_texts(TEXTS, ids=["0", "1", "2", "3"])
    return qa


def ids(ranking) -> list[str]:
    return [candidate.id for candidate in ranking]


# --- which reranker


def test_an_index_opened_without_any_option_reranks(embedder):
    qa = made(embedder)
    ranking = qa.search(QUESTION)
    local = made(embedder, reranker="local").search(QUESTION)
    assert ranking.reranked
    assert [(c.id, c.score, c.scores) for c in ranking] == [(c.id, c.score, c.scores) for c in local]
    assert {"retrieval", "rerank", "reranked"} <= set(ranking[0].scores)
    assert ranking.usage.seconds["rerank"] > 0
    assert isinstance(qa.reranker, LocalReranker)


@pytest.mark.parametrize("opened", [{"reranker": None}, {}])
def test_false_turns_it_off(embedder, opened):
    qa = made(embedder, **opened)
    ranking = qa.search(QUESTION, rerank=False)
    assert not ranking.reranked
    assert ranking.usage == Usage()
    assert ranking.notes == ()
    assert "rerank" not in qa.ask(QUESTION, rerank=False).usage.seconds
    if opened:
        assert qa.search(QUESTION) == ranking


def test_local_puts_the_answer_first(embedder):
    qa = made(embedder, reranker="local")
    ranking = qa.search(QUESTION, k=2)
    assert ids(ranking)[0] == "1"
    assert ranking.reranked
    assert ranking.notes == ("the first 4 candidates were judged",)
    assert ranking[0].verdict.score > ranking[1].verdict.score
    assert qa.search(QUESTION, rerank=False).reranked is False
    answer = qa.ask(QUESTION)
    assert "150 tonnes" in answer.text
    assert answer.usage.seconds["rerank"] > 0
    assert answer.usage.seconds["search"] >= 0


def test_a_call_may_name_another_or_none(embedder):
    qa = made(embedder, reranker=Backwards())
    prior = ids(qa.search(QUESTION, rerank=False))
    assert ids(qa.search(QUESTION)) == ids(qa.search(QUESTION, rerank=True)) == prior[::-1]
    assert ids(qa.search(QUESTION, rerank=LocalReranker(alpha=1.0, threads=1))) == prior
    assert qa.search(QUESTION, rerank="local").reranked
    assert qa.reranking.load("local") is qa.reranking.load("local")  # loaded once


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("locale", ValueError, "a reranker must be an object, 'local' or the URL of a server, got 'locale'"),
        (7, TypeError, "a reranker must have rerank and arerank, got int"),
    ],
)
def test_what_is_no_reranker_is_refused(embedder, given, kind, message):
    with pytest.raises(kind, match=message):
        made(embedder, reranker=given)
    with pytest.raises(kind, match=message):
        made(embedder).search(QUESTION, rerank=given)


def test_true_without_a_reranker_is_refused(embedder):
    with pytest.raises(ValueError, match="rerank=True must have a reranker to use, got none"):
        made(embedder, reranker=None).ask(QUESTION, rerank=True)


# --- how many


def test_more_are_judged_than_come_back(embedder):
    judge = Backwards()
    qa = made(embedder, reranker=judge)
    prior = ids(qa.search(QUESTION, k=4, rerank=False))
    assert ids(qa.search(QUESTION, k=1)) == [prior[3]]
    assert judge.asked == [{"ids": prior, "top_n": 1, "think_tokens": 0}]
    assert DEFAULT_DEPTH == 10


def test_what_lies_behind_the_depth_is_not_judged_and_follows(embedder):
    judge = Backwards()
    qa = made(embedder, reranker=judge, rerank_depth=2)
    prior = ids(qa.search(QUESTION, rerank=False))
    ranking = qa.search(QUESTION, k=3)
    assert judge.asked[0]["ids"] == prior[:2]
    assert ids(ranking) == [prior[1], prior[0], prior[2]]
    assert [c.rank for c in ranking] == [1, 2, 3]
    assert [c.verdict is None for c in ranking] == [False, False, True]
    scores = [c.score for c in ranking]
    assert scores == sorted(scores, reverse=True)
    assert ids(qa.search(QUESTION, k=1)) == [prior[1]]


@pytest.mark.parametrize("k", [0, "3", True])
def test_a_wrong_k_is_refused_in_the_same_words(embedder, k):
    with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
        made(embedder, reranker=Backwards()).search(QUESTION, k=k)


def test_a_wrong_depth_is_refused(embedder):
    with pytest.raises(ValueError, match="rerank_depth must be a whole number of at least 1, got 0"):
        made(embedder, rerank_depth=0)


def test_an_order_that_was_kept_is_kept_whole(embedder):
    class Gone(Backwards):
        def rerank(self, ranking, *, top_n=None):
            return keep_order(ranking, "the server is gone", top_n=top_n)

    qa = made(embedder, reranker=Gone(), rerank_depth=2)
    ranking = qa.search(QUESTION, k=4)
    plain = qa.search(QUESTION, k=4, rerank=False)
    assert [(c.id, c.score, c.rank) for c in ranking] == [(c.id, c.score, c.rank) for c in plain]
    assert (ranking.reranked, ranking.why_not, ranking.notes) == (False, "the server is gone", ())


# --- thinking


def test_think_tokens_reach_the_reranker(embedder):
    judge = Backwards()
    qa = made(embedder, reranker=judge)
    qa.ask(QUESTION, think_tokens=256)
    qa.search(QUESTION, think_tokens=0)
    qa.search(QUESTION)
    assert [asked["think_tokens"] for asked in judge.asked] == [256, 0, 0]


@pytest.mark.parametrize("how", ["search", "ask", "stream", "aask"])
@pytest.mark.parametrize("reranker", [None, "local", Plain()], ids=["none", "local", "plain"])
def test_think_tokens_without_one_that_thinks_are_refused(embedder, reranker, how):
    qa = made(embedder, reranker=reranker)
    call = getattr(qa, how)
    with pytest.raises(ValueError, match="think_tokens must go with a reranker that can think, got 8 and"):
        if how == "aask":
            asyncio.run(call(QUESTION, think_tokens=8))
        else:
            list(call(QUESTION, think_tokens=8))
    assert not qa.ask(QUESTION, think_tokens=0).abstained  # no thought was asked for


@pytest.mark.parametrize("tokens", [-1, 1.5, True, "64"])
def test_think_tokens_must_be_a_count(embedder, tokens):
    with pytest.raises(ValueError, match="think_tokens must be a whole number of at least 0"):
        made(embedder, reranker=Backwards()).search(QUESTION, think_tokens=tokens)


# --- cost, and the other ways to ask


def test_the_cost_of_reranking_stands_in_the_answer(embedder):
    answer = made(embedder, reranker=Backwards()).ask(QUESTION)
    usage = answer.usage
    assert usage.seconds["rerank"] == 0.25
    assert set(usage.seconds) >= {"search", "rerank", "answer", "evidence"}
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cache_hits, usage.requests) == (30, 4, 2, 1)
    assert answer.ranking.notes == ("the first 4 candidates were judged", "turned around")


def test_seconds_are_there_even_where_a_reranker_counts_none(embedder):
    assert made(embedder, reranker=Plain()).search(QUESTION).usage.seconds["rerank"] > 0


def test_every_way_to_ask_reranks_alike(embedder):
    judge = Backwards()
    qa = made(embedder, reranker=judge)
    expected = qa.ask(QUESTION, k=2)

    async def the_others() -> list[Answer]:
        answers = [await qa.aask(QUESTION, k=2, think_tokens=3)]
        return answers + [a async for a in qa.astream(QUESTION, k=2, think_tokens=3) if isinstance(a, Answer)]

    answers = [*asyncio.run(the_others()), list(qa.stream(QUESTION, k=2))[-1]]
    assert {"async": True} in judge.asked  # `aask` waits for the reranker, it does not block on it
    for answer in answers:
        assert (ids(answer.ranking), answer.text) == (ids(expected.ranking), expected.text)
        assert answer.usage.prompt_tokens == 30
    assert ids(asyncio.run(qa.asearch(QUESTION, k=2))) == ids(expected.ranking)


# --- a served reranker


@pytest.fixture
def pages(tmp_path, make_pdf, embedder):
    make_pdf(tmp_path / "docs" / "a.pdf", ["A whale is large.", "A whale is a large animal of the sea."])
    with DocumentQA.open(
        tmp_path / "index", embedder=embedder, reader=ReaderSettings(ocr="off", workers=1)
    ) as qa:
        qa.add(tmp_path / "docs")
        yield qa


def test_a_served_reranker_sees_our_pages_and_its_replies_are_kept(pages, length_reranker):
    def fresh() -> ThinkReranker:
        return ThinkReranker(
            length_reranker.url,
            mode="served",
            model="m",
            image_pixels=10_000,
            cache=pages.replies_path,
            probe=False,
        )

    first = pages.ask("How large is a whale?", rerank=fresh())
    assert [c.page.number for c in first.ranking] == [1, 0]
    assert (first.usage.prompt_tokens, first.usage.cache_hits) == (14, 0)
    for asked in length_reranker.requests:
        (document,) = asked["documents"]
        assert document["content"][0]["image_url"]["url"].startswith("data:image/")
    assert any(pages.replies_path.rglob("*.json"))

    again = pages.ask("How large is a whale?", rerank=fresh())
    assert len(length_reranker.requests) == 2
    assert (again.usage.prompt_tokens, again.usage.cache_hits) == (0, 2)
    assert ids(again.ranking) == ids(first.ranking)


def test_replies_lie_beside_the_index_and_nowhere_in_memory(pages, embedder, monkeypatch):
    assert pages.replies_path == pages.path / "replies"
    assert made(embedder).replies_path is None
    monkeypatch.setattr("os.access", lambda *_: False)
    assert pages.replies_path is None


def test_a_url_is_a_server_that_judges_pointwise(pages):
    reranker = pages.reranking.load("http://localhost:1")
    assert (reranker.mode, reranker.client.base_url) == ("pointwise", "http://localhost:1/v1")
    assert reranker.render is not None


def test_a_server_is_asked_once_what_it_is(pages, length_reranker):
    reranker = ThinkReranker(length_reranker.url, mode="served", model="m", image_pixels=10_000)
    for _ in range(2):
        pages.search("How large is a whale?", rerank=reranker)
    probes = [asked for asked in length_reranker.requests if len(asked["documents"]) == 2]
    assert len(probes) == 1
    assert len(length_reranker.requests) == 1 + 2 * 2  # without a cache every page is judged again


# --- traces, written when pages are indexed


def test_traces_are_written_once_and_found_by_the_reranker(pages, fake_server, make_pdf, tmp_path):
    def writer() -> TraceWriter:
        return TraceWriter(fake_server.url, "m", cache=pages.traces_path, image_pixels=10_000)

    for _ in range(2):
        fake_server.chat("<think>A page about whales.</think>It tells how large a whale is.")
    assert pages.write_traces(writer()) == 2
    assert all("data:image/" in seen.body.decode() for seen in fake_server.requests)  # our pictures
    assert pages.write_traces(writer()) == 2
    assert len(fake_server.requests) == 2
    assert len(list(pages.traces_path.rglob("*.json"))) == 2

    make_pdf(tmp_path / "more.pdf", ["Tea."])
    pages.add(tmp_path / "more.pdf")
    fake_server.chat("<think>Tea.</think>Tea.")
    assert pages.write_traces(writer()) == 3
    assert len(fake_server.requests) == 3


def test_a_writer_that_keeps_nothing_is_refused(pages):
    with pytest.raises(ValueError, match="a writer of traces must keep them, got cache=None"):
        pages.write_traces(TraceWriter("http://localhost:1", "m"))
