"""Laws of `ThinkReranker` against a server that misbehaves, and of what it hands back.

The fake server stands only for what a real one will not do on demand; ``tests/vllm`` has the real one.
"""

from __future__ import annotations

import asyncio
import math
import pickle
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fake_model import NO, YES, chat, picture, ranking, tokens, yes_no

from mmrag.errors import ServerAnswerError, ServerStatusError, ServerUnreachableError
from mmrag.rerank import Reranker, ThinkReranker
from mmrag.rerank.modes import load_mode
from mmrag.rerank.protocol import Settings
from mmrag.types import Page, Query, Ranking, Usage

HOW = pytest.mark.parametrize("how", ["sync", "async"])
PAGES = ("one", "two", "three")


def made(fake_server, **more) -> ThinkReranker:
    """One request at a time, so that replies meet the requests they were queued for."""
    given = {"model": "m", "max_concurrency": 1, "max_retries": 0, "images": False, **more}
    return ThinkReranker(fake_server.url, **given)


def prepared(fake_server) -> None:
    """Queue what `pointwise` asks before its first verdict."""
    for reply in (tokens(9), tokens(YES), tokens(NO)):
        fake_server.reply(200, reply)


def rerank(reranker: ThinkReranker, given: Ranking, how: str, **more) -> Ranking:
    if how == "sync":
        return reranker.rerank(given, **more)
    return asyncio.run(reranker.arerank(given, **more))


def paths(fake_server) -> list[str]:
    return [request.path for request in fake_server.requests]


@HOW
def test_verdicts_order_the_candidates_and_carry_their_own_cost(fake_server, how: str) -> None:
    prepared(fake_server)
    for probability in (0.2, 0.9, 0.5):
        fake_server.reply(200, yes_no(probability))
    before = ranking(*PAGES, images=False)
    after = rerank(made(fake_server), before, how)
    assert [c.id for c in after] == ["p1", "p2", "p0"]
    assert [c.score for c in after] == pytest.approx([0.9, 0.5, 0.2])
    assert [c.scores["retrieval"] for c in after] == [-1.0, -2.0, 0.0]
    assert after.reranked
    assert before == ranking(*PAGES, images=False)  # the caller's is not changed
    for candidate in after:
        usage = candidate.verdict.usage
        assert (usage.requests, usage.prompt_tokens, usage.completion_tokens) == (1, 11, 1)
        assert usage.seconds["server"] > 0
    assert (after.usage.requests, after.usage.prompt_tokens) == (6, 33)
    assert after.usage.seconds["rerank"] > 0
    fingerprint = load_mode("pointwise", Settings()).fingerprint
    assert after.notes == (f"reranked pointwise by m, prompts {fingerprint}",)


@HOW
def test_ties_keep_the_prior_order_and_top_n_cuts(fake_server, how: str) -> None:
    prepared(fake_server)
    for probability in (0.5, 0.25, 0.5):
        fake_server.reply(200, yes_no(probability))
    after = rerank(made(fake_server), ranking(*PAGES, images=False), how, top_n=2)
    assert [c.id for c in after] == ["p0", "p2"]


@HOW
def test_what_the_server_is_asked_once_is_not_asked_again(fake_server, how: str) -> None:
    reranker = made(fake_server)
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5)).reply(200, yes_no(0.5))
    rerank(reranker, ranking("one", images=False), how)
    rerank(reranker, ranking("two", images=False), how)
    assert paths(fake_server) == ["/tokenize"] * 3 + ["/v1/chat/completions"] * 2


@HOW
def test_an_empty_ranking_asks_nothing(fake_server, how: str) -> None:
    after = rerank(made(fake_server), Ranking(Query("q")), how)
    assert len(after) == 0
    assert fake_server.requests == []


def test_arguments_of_a_call_replace_those_of_the_reranker(fake_server) -> None:
    prepared(fake_server)
    fake_server.reply(200, chat("It is so.")).reply(200, yes_no(0.25))
    fake_server.reply(200, chat("It is not.")).reply(200, yes_no(0.75))
    reranker = made(fake_server, top_n=2)
    after = reranker.rerank(ranking("one", "two", images=False), think_tokens=32, alpha=1.0, top_n=1)
    assert [c.id for c in after] == ["p0"]  # the retrieval score alone
    assert after[0].verdict.thought == "It is so."
    assert fake_server.requests[3].json["max_tokens"] == 32
    prepared(fake_server)  # without a thought the template is asked about anew
    fake_server.reply(200, yes_no(0.25)).reply(200, yes_no(0.75))
    assert [c.id for c in reranker.rerank(ranking("one", "two", images=False))] == ["p1", "p0"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"mode": "pairwise"}, "mode must be one of"),
        ({"mode": "local"}, "LocalReranker needs no server"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'keep', got 'ignore'"),
        ({"think_tokens": -1}, "think_tokens must be a whole number of at least 0, got -1"),
        ({"think_tokens": True}, "think_tokens must be a whole number"),
        ({"alpha": 1.5}, "alpha is the weight of the retrieval score"),
        ({"top_n": 0}, "top_n must be a whole number of at least 1"),
        ({"image_pixels": 10}, "image_pixels must be a whole number of at least 1024"),
        ({"images": False, "text": False}, "nothing would be left to judge by"),
        ({"extra": {"max_tokens": 3}}, "extra must not set max_tokens"),
        ({"prompts": "/no/such/folder"}, "prompts must be a folder"),
        ({"timeout": 0}, "timeout must be more than 0"),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(more: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ThinkReranker(**{"base_url": "http://localhost:1", **more})


def test_a_page_without_a_picture_needs_a_render_function(fake_server) -> None:
    drawn: list[tuple[str, int]] = []

    def render(page: Page, pixels: int):
        drawn.append((page.id, pixels))
        return picture(page.id)

    prepared(fake_server)
    reranker = made(fake_server, images=True, image_pixels=2048)
    with pytest.raises(ValueError, match="render function, got neither"):
        reranker.rerank(ranking("one", images=False))
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5))
    twin = reranker.with_render(render)
    twin.rerank(ranking("one", images=False))
    assert drawn == [("p0", 2048)]
    assert twin.client is reranker.client
    assert reranker.settings.render is None
    parts = fake_server.requests[-1].json["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text"]


def test_the_key_is_in_no_repr_and_no_pickle(fake_server) -> None:
    reranker = made(fake_server, api_key="sk-secret-123")
    assert "secret" not in repr(reranker)
    assert b"secret" not in pickle.dumps(reranker)
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5))
    again = pickle.loads(pickle.dumps(reranker))
    assert again.rerank(ranking("one", images=False)).reranked


def test_it_is_a_reranker() -> None:
    assert isinstance(ThinkReranker("http://localhost:1"), Reranker)


def test_it_says_what_its_scores_depend_on() -> None:
    reranker = ThinkReranker("http://localhost:1", model="m", think_tokens=8, images=False)
    assert reranker.score_settings() == {
        "model": "m",
        "think_tokens": 8,
        "think_share": 1.0,
        "images": False,
        "text_chars": None,
        "passes": 1,
        "first": "query",
        "fingerprint": load_mode("pointwise", Settings()).fingerprint,
    }


# -------------------------------------------------------------------------- thoughts about some alone


@HOW
def test_the_most_uncertain_share_is_judged_again_with_a_thought(fake_server, how: str) -> None:
    prepared(fake_server)
    for probability in (0.02, 0.45, 0.98, 0.97):
        fake_server.reply(200, yes_no(probability))
    fake_server.reply(200, tokens(9))
    fake_server.reply(200, tokens(YES))
    fake_server.reply(200, tokens(NO))
    for probability in (0.9, 0.6):  # the one near one half, and the best two contend: 0.98 and 0.97
        fake_server.reply(200, chat("It is. So it", "length"))
        fake_server.reply(200, yes_no(probability))
    before = ranking(*PAGES, "four", images=False)
    after = rerank(made(fake_server, think_tokens=16, think_share=0.5), before, how)
    by_id = {candidate.id: candidate.verdict for candidate in after}
    assert {name: round(verdict.score, 2) for name, verdict in by_id.items()} == {
        "p0": 0.02,
        "p1": 0.9,
        "p2": 0.6,
        "p3": 0.97,
    }
    assert [name for name, verdict in sorted(by_id.items()) if verdict.thought] == ["p1", "p2"]
    assert by_id["p1"].note == "thought closed after 16 tokens; 0.45 before a thought"
    assert by_id["p1"].usage.completion_tokens == 1 + 5 + 1
    assert "thought about 2 of 4 candidates, the most uncertain" in after.notes
    assert after.usage.completion_tokens == sum(v.usage.completion_tokens for v in by_id.values())


def bodies_of(fake_server) -> list[dict]:
    return [request.json for request in fake_server.requests if request.path.endswith("/chat/completions")]


def test_a_share_of_one_makes_todays_requests_and_one_of_zero_those_without_a_thought(fake_server) -> None:
    def asked(**more) -> list[dict]:
        fake_server.requests.clear()
        prepared(fake_server)
        for probability in (0.3, 0.6, 0.5):
            if more["think_tokens"] and more.get("think_share") != 0:
                fake_server.reply(200, chat("It is.", "stop"))
            fake_server.reply(200, yes_no(probability))
        made(fake_server, **more).rerank(ranking(*PAGES, images=False))
        return bodies_of(fake_server)

    assert asked(think_tokens=16, think_share=1.0) == asked(think_tokens=16)
    assert asked(think_tokens=16, think_share=0.0) == asked(think_tokens=0)


@pytest.mark.parametrize("mode", ["listwise", "identifiers", "likelihood", "served"])
def test_a_share_is_refused_where_candidates_are_not_thought_about_alone(mode: str) -> None:
    with pytest.raises(ValueError, match=f"think_share must be 1 for mode='{mode}', got 0.5"):
        ThinkReranker("http://localhost:1", mode=mode, think_share=0.5)
    with pytest.raises(ValueError, match=r"think_share must be 0 to 1, got 1\.5"):
        ThinkReranker("http://localhost:1", think_share=1.5)


def test_a_failure_of_the_second_look_keeps_the_order(fake_server) -> None:
    prepared(fake_server)
    for probability in (0.3, 0.6, 0.5):
        fake_server.reply(200, yes_no(probability))
    fake_server.reply(500, {"error": "out of memory"})
    kept = made(fake_server, think_tokens=16, think_share=0.5, on_error="keep").rerank(
        ranking(*PAGES, images=False)
    )
    assert not kept.reranked
    assert kept.usage.completion_tokens == 3


# ------------------------------------------------------------------------------------------- pictures


def fingerprinted(reply: dict) -> dict:
    return {**reply, "system_fingerprint": "vllm-0.32.0-04998b6b"}


@HOW
def test_a_picture_is_uploaded_once_and_again_where_the_server_has_lost_it(fake_server, how: str) -> None:
    lost = {"error": {"message": "Cache miss for image at index 0 but data is not provided.", "code": 400}}
    reranker = made(fake_server, images=True)
    prepared(fake_server)
    fake_server.reply(200, fingerprinted(yes_no(0.5)))  # has it now
    fake_server.reply(200, fingerprinted(yes_no(0.5)))  # knows it still
    fake_server.reply(400, lost).reply(200, fingerprinted(yes_no(0.5)))  # has lost it, and gets it again
    fake_server.reply(200, fingerprinted(yes_no(0.5)))
    for query in ("a", "b", "c", "d"):
        assert rerank(reranker, ranking("one", query=query), how).reranked
    sent = [
        part["image_url"] is not None
        for request in fake_server.requests[3:]
        for part in request.json["messages"][1]["content"]
        if part["type"] == "image_url"
    ]
    assert sent == [True, False, False, True, False]


def test_a_server_that_is_no_vllm_gets_every_picture_every_time(fake_server) -> None:
    reranker = made(fake_server, images=True)
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5)).reply(200, yes_no(0.5))
    reranker.rerank(ranking("one"))
    reranker.rerank(ranking("one", query="another"))
    for request in fake_server.requests[3:]:
        (part,) = (part for part in request.json["messages"][1]["content"] if part["type"] == "image_url")
        assert part["image_url"]["url"].startswith("data:image/png;base64,")


# ---------------------------------------------------------------------------------------------- cache


@HOW
def test_cache_on_equals_cache_off_and_asks_nothing_twice(fake_server, how: str, tmp_path: Path) -> None:
    given = ranking(*PAGES)
    shown = []
    for cache in (None, tmp_path, tmp_path):
        prepared(fake_server)
        if len(shown) < 2:
            for probability in (0.2, 0.9, 0.5):
                fake_server.reply(200, yes_no(probability))
        shown.append(rerank(made(fake_server, cache=cache, images=True), given, how))
    off, on, again = ([(c.id, c.score) for c in one] for one in shown)
    assert off == on == again
    assert [one.usage.cache_hits for one in shown] == [0, 0, 3]
    assert shown[2].usage.completion_tokens == 0
    assert [c.verdict.usage.cache_hits for c in shown[2]] == [1, 1, 1]
    # Pictures are named in the cache, not kept there.
    assert all("base64" not in path.read_text() for path in tmp_path.rglob("*.json"))


@HOW
def test_what_was_cut_off_goes_on_where_it_stopped(fake_server, how: str, tmp_path: Path) -> None:
    given = ranking(*PAGES, images=False)
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.2)).reply(500, {"error": "gone"}).reply(200, yes_no(0.5))
    with pytest.raises(ServerStatusError):
        rerank(made(fake_server, cache=tmp_path), given, how)
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.9))  # only what is missing is asked for
    after = rerank(made(fake_server, cache=tmp_path), given, how)
    assert [c.id for c in after] == ["p1", "p2", "p0"]
    assert after.usage.cache_hits == 2


def test_another_model_or_another_prompt_is_another_reply(fake_server, tmp_path: Path) -> None:
    own = tmp_path / "prompts"
    own.mkdir()
    # The system prompt of a mode that thinks: it is part of no request here, and yet of the key.
    (own / "pointwise_think.txt").write_text("Think $words words.", encoding="utf-8")
    cache = tmp_path / "cache"
    for more in ({}, {"model": "other"}, {"prompts": own}):
        prepared(fake_server)
        fake_server.reply(200, yes_no(0.5))
        reranker = made(fake_server, **{"cache": cache, **more})
        assert reranker.rerank(ranking("one", images=False)).usage.cache_hits == 0


def test_a_model_that_only_the_server_names_is_part_of_the_key(fake_server, tmp_path: Path) -> None:
    for name in ("first", "second"):
        fake_server.reply(200, {"data": [{"id": name}]})
        prepared(fake_server)
        fake_server.reply(200, yes_no(0.5))
        after = made(fake_server, model=None, cache=tmp_path).rerank(ranking("one", images=False))
        assert after.usage.cache_hits == 0
        assert f"by {name}" in after.notes[0]


def test_a_refused_answer_is_not_kept(fake_server, tmp_path: Path) -> None:
    prepared(fake_server)
    fake_server.reply(200, {"choices": []})
    with pytest.raises(ServerAnswerError):
        made(fake_server, cache=tmp_path).rerank(ranking("one", images=False))
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5))
    assert made(fake_server, cache=tmp_path).rerank(ranking("one", images=False)).reranked


@HOW
def test_bad_replies_on_disk_are_dropped_and_requested_in_the_same_call(
    fake_server, how: str, tmp_path: Path
) -> None:
    given = ranking(*PAGES, images=False)
    prepared(fake_server)
    for probability in (0.2, 0.9, 0.5):
        fake_server.reply(200, yes_no(probability))
    first = rerank(made(fake_server, cache=tmp_path), given, how)
    for path in tmp_path.rglob("*.json"):
        path.write_text('{"choices": 5}')
    prepared(fake_server)
    for probability in (0.2, 0.9, 0.5):
        fake_server.reply(200, yes_no(probability))
    again = rerank(made(fake_server, cache=tmp_path), given, how)
    assert [(c.id, c.score) for c in again] == [(c.id, c.score) for c in first]
    assert again.notes == first.notes
    prepared(fake_server)
    assert rerank(made(fake_server, cache=tmp_path), given, how).usage.cache_hits == 3


@HOW
def test_a_full_disk_costs_no_reranking_and_is_noted(fake_server, how: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    prepared(fake_server)
    for probability in (0.2, 0.9, 0.5):
        fake_server.reply(200, yes_no(probability))
    folder = tmp_path / "file" / "replies"
    after = rerank(made(fake_server, cache=folder), ranking(*PAGES, images=False), how)
    assert [c.id for c in after] == ["p1", "p2", "p0"]
    assert after.notes[-1] == f"replies could not be stored in {folder} (Not a directory)"


# ------------------------------------------------------------------------------------------- failures

nan = yes_no(0.5)
nan["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] = math.nan

FAILURES = {
    "wrong model": (
        404,
        {"error": {"message": "The model `m` does not exist."}},
        {},
        ServerStatusError,
        "does not",
    ),
    "429": (429, {"error": {"message": "slow down"}}, {}, ServerStatusError, r"429 .*slow down"),
    "500": (500, {"error": {"message": "engine died"}}, {}, ServerStatusError, r"500 .*engine died"),
    "503": (503, b"", {}, ServerStatusError, r"503 .*\(empty body\)"),
    "html": (200, b"<!doctype html><title>Login</title>", {}, ServerAnswerError, "not JSON.*<title>Login"),
    "cut off": (
        200,
        [b'{"choices": [', b'{"mess'],
        {"cut": True},
        ServerUnreachableError,
        "broke off|closed",
    ),
    "no choices": (200, {"choices": []}, {}, ServerAnswerError, r"must have choices\[0\].*\"choices\": \[\]"),
    "no logprobs": (200, chat("yes"), {}, ServerAnswerError, "must carry log-probabilities.*yes"),
    "nan": (200, nan, {}, ServerAnswerError, "must be a number, got nan"),
    "no verdict": (200, chat("maybe", logprobs=None), {}, ServerAnswerError, "must carry log-prob"),
    "error in a 200": (200, {"error": {"message": "oops"}}, {}, ServerAnswerError, "200 with an error.*oops"),
}


@HOW
@pytest.mark.parametrize("name", FAILURES)
def test_a_bad_answer_is_a_typed_error_that_names_url_and_body(fake_server, how: str, name: str) -> None:
    status, body, more, kind, words = FAILURES[name]
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5)).reply(status, body, **more).reply(200, yes_no(0.5))
    with pytest.raises(kind, match=words) as caught:
        rerank(made(fake_server), ranking(*PAGES, images=False), how)
    assert f"{fake_server.url}/v1/chat/completions" in str(caught.value)


@HOW
@pytest.mark.parametrize("name", FAILURES)
def test_on_error_keep_gives_the_prior_order_and_says_why(fake_server, how: str, name: str) -> None:
    status, body, more, _, words = FAILURES[name]
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.1)).reply(status, body, **more).reply(200, yes_no(0.9))
    given = ranking(*PAGES, images=False)
    after = rerank(made(fake_server, on_error="keep"), given, how, top_n=2)
    assert [c.id for c in after] == ["p0", "p1"]
    assert all(c.verdict is None for c in after)
    assert not after.reranked
    assert re.search(words, after.why_not)
    assert fake_server.url in after.why_not
    assert replace(after, usage=Usage(), why_not=None) == replace(given, candidates=given.candidates[:2])
    assert after.usage.requests >= 4  # what was spent is said all the same


@HOW
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_recovers_is_asked_again(fake_server, how: str, status: int) -> None:
    prepared(fake_server)
    fake_server.reply(status, {"error": "busy"}, headers={"Retry-After": "0"}).reply(200, yes_no(0.5))
    after = rerank(made(fake_server, max_retries=1), ranking("one", images=False), how)
    assert after.reranked


@HOW
def test_a_slow_first_byte_ends_at_the_time_limit(fake_server, how: str) -> None:
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5))
    reranker = made(fake_server)
    assert rerank(reranker, ranking("one", images=False), how).reranked  # what it prepares has its time
    given_up = threading.Event()
    fake_server.reply(200, yes_no(0.5), until=given_up.is_set)
    reranker.client.timeout = 0.6
    with pytest.raises(ServerUnreachableError, match=r"/v1/chat/completions"):
        rerank(reranker, ranking("two", images=False), how)
    given_up.set()


@HOW
def test_a_failed_preparation_is_a_failure_and_is_tried_again_next_time(fake_server, how: str) -> None:
    reranker = made(fake_server, on_error="keep")
    fake_server.reply(404, {"detail": "Not Found"})
    first = rerank(reranker, ranking("one", images=False), how)
    assert not first.reranked
    assert "/tokenize answered 404" in first.why_not
    prepared(fake_server)
    fake_server.reply(200, yes_no(0.5))
    assert rerank(reranker, ranking("one", images=False), how).reranked


@HOW
@pytest.mark.parametrize("said", ["I like pages.", "", "[5] > [6]"])
def test_a_listwise_answer_that_is_no_ranking_is_never_one(fake_server, how: str, said: str) -> None:
    fake_server.reply(200, tokens(9)).reply(200, chat(said))
    with pytest.raises(ServerAnswerError, match=r"chat/completions answered 200, but a ranking must name"):
        rerank(made(fake_server, mode="listwise"), ranking(*PAGES, images=False), how)


def test_requests_in_flight_are_bounded_and_side_by_side(fake_server) -> None:
    for how in ("sync", "async"):
        fake_server.most_in_flight = 0
        prepared(fake_server)
        for _ in range(12):
            fake_server.reply(200, yes_no(0.5), delay=0.05, until=lambda: fake_server.most_in_flight >= 4)
        given = ranking(*(f"page {n}" for n in range(12)), images=False)
        assert rerank(made(fake_server, max_concurrency=4), given, how).reranked
        assert fake_server.most_in_flight == 4


def test_a_cancelled_rerank_asks_nothing_more(fake_server) -> None:
    prepared(fake_server)
    cancelled = threading.Event()
    for _ in range(8):
        fake_server.reply(200, yes_no(0.5), until=cancelled.is_set)

    async def cut_short() -> None:
        given = ranking(*(f"page {n}" for n in range(8)), images=False)
        task = asyncio.create_task(made(fake_server, max_concurrency=2).arerank(given))
        while len(fake_server.requests) < 3 + 2:  # prepared, and two held back
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()

    asyncio.run(cut_short())
    assert len(fake_server.requests) == 3 + 2
