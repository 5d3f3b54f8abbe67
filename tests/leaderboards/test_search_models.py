"""What mteb is given, without mteb: rows in, scores by id out."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmrag import LocalReranker, MiniEmbedder, ThinkReranker
from mmrag.errors import MissingExtraError
from mmrag.leaderboards.mteb import MTEBEmbedder, MTEBReranker, document_of, query_of
from mmrag.scoring import maxsim
from mmrag.types import Budget

CALL = {"task_metadata": SimpleNamespace(name="ours"), "hf_split": "test", "hf_subset": "default"}
CALL |= {"encode_kwargs": {"batch_size": 4}, "num_proc": None}


def searched(model, corpus, queries, **options):
    model.index(corpus, **CALL)
    return model.search(queries, top_k=options.pop("top_k", 100), **CALL, **options)


@pytest.mark.parametrize("budget", [None, Budget(1, 1), Budget(2, 4)])
def test_scores_are_those_of_late_interaction(table, texts, budget):
    corpus, queries, _ = texts
    embedder = MiniEmbedder(threads=1)
    results = searched(MTEBEmbedder(embedder, budget=budget), table(corpus), table(queries))
    rows = budget or embedder.budget
    for question in queries:
        (query,) = embedder.encode_query([question["text"]])
        for document in corpus:
            (matrix,) = embedder.encode_document([document["text"]])
            score = maxsim(query[None, : rows.query], matrix[None, : rows.document])[0, 0]
            assert results[question["id"]][document["id"]] == pytest.approx(score, abs=1e-4)


def test_pictures_are_embedded_once_for_all_languages(table, pages):
    corpus, queries, _ = pages
    embedder = MiniEmbedder(threads=1)
    model, calls = MTEBEmbedder(embedder), []
    encode = embedder.encode_document
    embedder.encode_document = lambda documents, **options: calls.append(1) or encode(documents, **options)
    first = searched(model, table(corpus), table(queries), top_k=3)
    assert all(len(scores) == 3 for scores in first.values())
    assert searched(model, table(corpus), table(queries[:1]), top_k=3)["q0"] == first["q0"]
    assert len(calls) == 1
    searched(model, table(corpus[:4]), table(queries))
    assert len(calls) == 2


def test_only_candidates_are_scored_where_a_first_stage_names_them(table, texts):
    corpus, queries, _ = texts
    model = MTEBEmbedder(MiniEmbedder(threads=1))
    whole = searched(model, table(corpus), table(queries))
    some = searched(model, table(corpus), table(queries), top_ranked={"q0": ["d5", "d2"]})
    assert some == {"q0": {one: whole["q0"][one] for one in ("d5", "d2")}, "q1": {}, "q2": {}, "q3": {}}


def test_a_reranker_orders_the_candidates_of_the_first_stage(table, texts):
    """The right text is last in the first stage; a query without candidates has no results."""
    corpus, queries, _ = texts
    first_stage = {"q0": ["d5", "d2", "d0"], "q1": ["d6", "d1"]}
    results = searched(MTEBReranker(LocalReranker()), table(corpus), table(queries), top_ranked=first_stage)
    assert max(results["q0"], key=results["q0"].get) == "d0"
    assert max(results["q1"], key=results["q1"].get) == "d1"
    assert sorted(results["q0"].values()) == [1, 2, 3]
    assert results["q2"] == {}


def test_a_reranker_is_shown_the_pictures(table, pages):
    corpus, queries, _ = pages
    seen = []

    class Reverse:
        def rerank(self, ranking, *, top_n=None):
            seen.append([np.asarray(candidate.page.image).mean() for candidate in ranking])
            return type(ranking)(ranking.query, tuple(reversed(ranking.candidates)), reranked=True)

    results = searched(
        MTEBReranker(Reverse()), table(corpus), table(queries[:1]), top_ranked={"q0": ["p1", "p2"]}
    )
    assert results["q0"] == {"p2": 2, "p1": 1}
    assert seen == [[np.asarray(corpus[n]["image"]).mean() for n in (1, 2)]]


def test_a_served_reranker_judges_the_same_first_stage(table, pages, length_reranker):
    """The server scores by length of text; every page goes to it as a picture with the words it has."""
    corpus, queries, _ = pages
    corpus = [row | {"text": "word " * number} for number, row in enumerate(corpus)]
    reranker = ThinkReranker(length_reranker.url, mode="served", model="m", image_pixels=10_000, probe=False)
    first_stage = {"q0": [f"p{number}" for number in range(1, 8)]}
    results = searched(MTEBReranker(reranker), table(corpus), table(queries), top_ranked=first_stage)
    assert results["q0"] == {f"p{number}": number for number in range(1, 8)}
    assert len(length_reranker.requests) == 7  # all of them, however many a reranker judges by itself
    for asked in length_reranker.requests:
        (document,) = asked["documents"]
        assert document["content"][0]["image_url"]["url"].startswith("data:image/")


def test_rows_become_documents_and_queries():
    assert document_of({"id": "1", "title": "Tides", "text": "The moon."}).text == "Tides The moon."
    assert query_of({"text": "Which?", "instruction": "Find reports."}, None).text == "Which? Find reports."
    turns = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Yes?"}]
    assert query_of({"text": turns}, "Find talks.").text == "user: Hi; system: Yes?"
    assert query_of({"text": turns}, "Find talks.").instruction == "Find talks."


def test_mistakes_are_told(table, texts, monkeypatch):
    corpus, queries, _ = texts
    with pytest.raises(ValueError, match="a corpus must be indexed before a search"):
        MTEBEmbedder(MiniEmbedder(threads=1)).search(table(queries), top_k=1, **CALL)
    with pytest.raises(ValueError, match="candidates of a first stage, got no candidates"):
        searched(MTEBReranker(LocalReranker()), table(corpus), table(queries))
    monkeypatch.setitem(__import__("sys").modules, "mteb.models", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmrag\[mteb\]'"):
        _ = MTEBReranker(LocalReranker()).mteb_model_meta
