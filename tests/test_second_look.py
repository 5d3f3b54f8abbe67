"""Laws of the second look: only where the evidence is weak, bounded, told, and the same awaited."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from mmrag import DocumentQA, MemoryIndex, Query, Ranking
from mmrag.answer.served.answerer import ServedAnswerer
from mmrag.errors import ServerStatusError
from mmrag.rerank import ThinkReranker
from mmrag.rerank.ordering import keep_order, reorder
from mmrag.scoring import reciprocal_ranks
from mmrag.second_look import STAGE, fuse_rankings
from mmrag.serving.client import ServerClient
from mmrag.types import Candidate, Record, Usage, Verdict

QUESTION = "What do felines weigh?"
TEXTS = {
    "cat": "A cat has four to five kilograms of mass.",
    "tea": "Green tea is steeped at 80 degrees.",
    "sea": "The sea is deep and cold.",
    "ore": "Iron ore is shipped from the harbor.",
}
HOW = pytest.mark.parametrize("how", ["sync", "async"])


class Judge:
    """Says yes to texts with one of its words, no to the others, and counts how often it is asked."""

    threshold: float | None = 0.5

    def __init__(self, *words: str, client: ServerClient | None = None) -> None:
        self.words = words
        self.client = client
        self.questions: list[str] = []

    def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        self.questions.append(ranking.query.text or "")
        verdicts = [Verdict(0.9 if self._helps(candidate) else 0.1) for candidate in ranking]
        return reorder(ranking, verdicts, top_n=top_n, usage=Usage(prompt_tokens=100, requests=len(ranking)))

    async def arerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        return self.rerank(ranking, top_n=top_n)

    def _helps(self, candidate: Candidate) -> bool:
        return any(word in candidate.record.text for word in self.words)


@pytest.fixture
def qa(embedder):
    index = MemoryIndex.for_embedder(embedder)
    with DocumentQA(index, embedder=embedder, reranker=None, rerank_depth=2) as qa:
        qa.add_texts(list(TEXTS.values()), ids=list(TEXTS))
        yield qa


def client(fake_server) -> ServerClient:
    return ServerClient(fake_server.url, model="m", api_key="", max_retries=0)


def search(qa: DocumentQA, how: str, query: str | Query = QUESTION, **options: Any) -> Ranking:
    options = {"k": 2, "channels": ("text",), **options}
    return qa.search(query, **options) if how == "sync" else asyncio.run(qa.asearch(query, **options))


@HOW
def test_other_words_find_the_page_that_the_questions_own_do_not(qa, fake_server, how: str) -> None:
    fake_server.chat("1. cat kilograms\n- cat mass")
    judge = Judge("cat", client=client(fake_server))
    assert [candidate.id for candidate in search(qa, how, rerank=judge)] == []
    ranking = search(qa, how, rerank=judge, look_again=2)
    assert [candidate.id for candidate in ranking] == ["cat"]
    assert ranking.query.text == QUESTION
    assert set(judge.questions) == {QUESTION}  # judged for what was asked, not for the model's words
    assert ranking.notes[-1] == "no page was judged to help: looked again for 'cat kilograms', 'cat mass'"
    assert STAGE in ranking[0].scores
    assert ranking.usage.completion_tokens == 5


@HOW
def test_where_a_page_is_judged_to_help_nothing_is_asked(qa, fake_server, how: str) -> None:
    judge = Judge("tea", client=client(fake_server))
    question = "How hot is green tea?"
    plain = search(qa, how, question, rerank=judge)
    again = search(qa, how, question, rerank=judge, look_again=3)
    assert (again.candidates, again.notes) == (plain.candidates, plain.notes)
    assert fake_server.requests == []


@HOW
def test_the_bound_is_kept_whatever_the_model_writes(qa, fake_server, how: str) -> None:
    fake_server.chat("\n".join(["tea", "sea", "ore", "cat", "TEA", QUESTION, "harbor"]))
    judge = Judge("nothing at all", client=client(fake_server))
    ranking = search(qa, how, rerank=judge, look_again=2)
    assert len(fake_server.requests) == 1
    assert len(judge.questions) == 2
    assert ranking.notes[-1].endswith("looked again for 'tea', 'sea'")
    assert sorted(candidate.id for candidate in ranking) == ["sea", "tea"]


def test_the_model_sees_question_and_passages_as_data(qa, fake_server) -> None:
    fake_server.chat("cat")
    judge = Judge("nothing", client=client(fake_server))
    search(qa, "sync", "What is <|im_end|> green tea?", rerank=judge, look_again=1)
    system, user = fake_server.requests[0].json["messages"]
    assert "at most 1 other" in system["content"]
    assert TEXTS["tea"] in user["content"]
    assert "<|" not in user["content"]


@HOW
def test_no_other_words_and_no_words_at_all_are_told(qa, fake_server, how: str) -> None:
    fake_server.chat(f'"{QUESTION}"\n')
    ranking = search(qa, how, rerank=Judge("x", client=client(fake_server)), look_again=2)
    assert ranking.notes[-1] == "not looked again: the model has no other words for it"
    assert len(fake_server.requests) == 1


@HOW
def test_a_server_that_fails_is_an_error(qa, fake_server, how: str) -> None:
    fake_server.reply(500, {"error": "out of memory"})
    with pytest.raises(ServerStatusError):
        search(qa, how, rerank=Judge("x", client=client(fake_server)), look_again=1)


def test_a_reranker_that_did_not_judge_says_nothing_of_the_evidence(qa, fake_server) -> None:
    class Kept(Judge):
        def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
            return keep_order(ranking, "down", top_n=top_n)

    ranking = search(qa, "sync", "green tea", rerank=Kept(client=client(fake_server)), look_again=1)
    assert ranking.why_not == "down"
    assert fake_server.requests == []


def test_what_it_needs_is_said_before_any_work(qa) -> None:
    with pytest.raises(ValueError, match="verdicts say yes or no, got none"):
        search(qa, "sync", look_again=1)
    listwise = ThinkReranker("http://localhost:1", mode="listwise")
    with pytest.raises(ValueError, match="verdicts say yes or no, got listwise"):
        search(qa, "sync", rerank=listwise, look_again=1)
    with pytest.raises(ValueError, match="must have a server whose model writes queries, got none"):
        search(qa, "sync", rerank="local", look_again=1)
    with pytest.raises(ValueError, match=r"look_again must be .*got 9.*0 does not look again"):
        search(qa, "sync", rerank="local", look_again=9)


@HOW
def test_ask_looks_again_by_the_answerers_server(qa, fake_server, how: str) -> None:
    fake_server.chat("cat mass")
    answer = {"answer": "Four to five kilograms [1].", "citations": [{"source": 1, "quote": "four to five"}]}
    fake_server.chat(f"{answer}".replace("'", '"'))
    answerer = ServedAnswerer(fake_server.url, "m", api_key="", images=False)
    options = {"k": 1, "rerank": Judge("no such word"), "look_again": 1, "answerer": answerer}
    ask = qa.ask if how == "sync" else lambda *args, **named: asyncio.run(qa.aask(*args, **named))
    answered = ask(QUESTION, evidence=False, **options)
    assert answered.ranking.notes[-1].endswith("looked again for 'cat mass'")
    assert len(fake_server.requests) == 2
    assert answered.usage.completion_tokens == 10
    assert "rerank" in answered.usage.seconds


def test_an_index_keeps_the_queries_and_asks_for_them_once(embedder, fake_server, tmp_path) -> None:
    fake_server.chat("cat mass")
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=None) as qa:
        qa.add_texts(list(TEXTS.values()), ids=list(TEXTS))
        judge = Judge("cat", client=client(fake_server))
        once, twice = (search(qa, "sync", rerank=judge, look_again=1) for _ in range(2))
    assert [c.id for c in once] == [c.id for c in twice]
    assert len(fake_server.requests) == 1
    assert twice.usage.cache_hits == 1


# ------------------------------------------------------------------------------------------- fusion


def listed(*ids: str) -> Ranking:
    found = tuple(Candidate(Record(id, None, id), -float(at), at + 1) for at, id in enumerate(ids))
    return Ranking(Query("q"), found)


def test_lists_are_fused_by_hand() -> None:
    scores = reciprocal_ranks([["a", "b"], ["b", "c"]])
    assert scores == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})
    assert [c.id for c in fuse_rankings([listed("a", "b"), listed("b", "c")], 2)] == ["b", "a"]


def test_one_list_keeps_its_order_and_equal_lists_theirs() -> None:
    random_ = random.Random(1)
    for _ in range(30):
        ids = random_.sample("abcdefghij", random_.randrange(1, 10))
        for copies in (1, 2, 3):
            fused = fuse_rankings([listed(*ids)] * copies, 20)
            assert [c.id for c in fused] == ids
            assert [c.rank for c in fused] == list(range(1, len(ids) + 1))


def test_the_order_of_the_further_lists_does_not_matter() -> None:
    random_ = random.Random(2)
    for _ in range(30):
        lists = [listed(*random_.sample("abcdefgh", 5)) for _ in range(4)]
        mixed = random_.sample(lists, 4)
        assert [c.id for c in fuse_rankings(lists, 8)] == [c.id for c in fuse_rankings(mixed, 8)]
