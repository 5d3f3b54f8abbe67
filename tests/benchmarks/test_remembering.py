"""A reranker with a memory ranks as one without."""

from __future__ import annotations

from dataclasses import replace

import pytest
from table import RememberingReranker

from mmrag.rerank.local import NO_TEXT, LocalReranker
from mmrag.types import Candidate, Query, Ranking, Record

TEXTS = (
    "The harbour bridge carries eight lanes of road.",
    "",
    "A grown blue whale weighs about 150 tonnes; it is the heaviest animal known.",
    "The whale watching season opens in May and tickets are sold at the pier.",
    "Green tea is steeped at eighty degrees for two minutes.",
)


@pytest.fixture(scope="module")
def plain() -> LocalReranker:
    return LocalReranker(threads=1, window=64, alpha=0.3)


def ranking(order: tuple[int, ...], question: str = "How heavy is a blue whale?") -> Ranking:
    """Pages of `TEXTS` in this order; a page's id is its place in `TEXTS`."""
    return Ranking(
        Query(text=question),
        tuple(
            Candidate(Record(str(page), None, text=TEXTS[page]), 9.0 - rank, rank, {"fused": 9.0 - rank})
            for rank, page in enumerate(order, 1)
        ),
    )


def scored(result: Ranking) -> list[tuple[str, float, float, str]]:
    """Of each candidate what decided its place."""
    return [
        (
            one.id,
            one.score,
            one.verdict.score if one.verdict else 0.0,
            one.verdict.note if one.verdict else "",
        )
        for one in result
    ]


def test_any_pool_after_any_other_is_ranked_as_without_a_memory_and_no_page_is_read_twice(plain):
    remembering = RememberingReranker(plain)
    pools = [(0, 2), (2, 0), (4, 1, 2), (0, 1, 2, 3, 4), (3, 1), (1, 4, 3, 2, 0)]
    for pool in pools:
        assert scored(remembering.rerank(ranking(pool))) == scored(plain.rerank(ranking(pool))), pool
    assert remembering.read == len(TEXTS)
    assert remembering.remembered == sum(map(len, pools)) - len(TEXTS)


def test_a_page_without_text_keeps_its_prior_place_from_memory_too(plain):
    remembering = RememberingReranker(plain)
    for _ in range(2):
        (_, page, _) = remembering.rerank(ranking((2, 1, 0)))
        assert (page.id, page.verdict.note) == ("1", NO_TEXT)


def test_another_question_and_another_text_under_the_same_id_are_read(plain):
    remembering = RememberingReranker(plain)
    whale = ranking((2,))
    remembering.rerank(whale)
    tea = ranking((2,), "How hot is green tea?")
    assert scored(remembering.rerank(tea)) == scored(plain.rerank(tea))
    changed = replace(whale, candidates=(replace(whale[0], record=Record("2", None, text=TEXTS[0])),))
    assert scored(remembering.rerank(changed)) == scored(plain.rerank(changed))
    assert (remembering.read, remembering.remembered) == (3, 0)


def test_settings_are_those_of_the_reranker_it_is_like(plain):
    remembering = RememberingReranker(plain)
    assert remembering.fingerprint == plain.fingerprint
    assert (remembering.alpha, remembering.depth, remembering.threads) == (0.3, 10, 1)
