"""One request for what several generators ask at the same time; nothing refused is kept."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mmrag.errors import ServerAnswerError, ServerStatusError
from mmrag.serving.client import Json, ServerClient
from mmrag.serving.requests import ReplyCache, Request, Requests, Runner

from ..patience import PATIENCE


def run(runner: Runner, steps: list[Requests[object]], how: str) -> list[object]:
    pairs = runner.run(steps) if how == "sync" else asyncio.run(runner.arun(steps))
    return [result for result, _ in pairs]


def both(body: Json, own: Json, **how: object) -> Requests[tuple[Json, Json]]:
    first = yield Request("chat/completions", body, shared=True, **how)
    second = yield Request("chat/completions", own)
    return first, second


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("slots", [1, 4])
def test_what_several_ask_is_asked_once_and_paid_once(fake_server, how: str, slots: int) -> None:
    for number in range(4):
        fake_server.reply(200, {"n": number, "usage": {"prompt_tokens": 1}}, delay=0.05)
    runner = Runner(ServerClient(fake_server.url, model="m", max_concurrency=slots, max_retries=0))
    steps = [both({"same": 1}, {"own": number}) for number in range(3)]
    pairs = runner.run(steps) if how == "sync" else asyncio.run(runner.arun(steps))
    bodies = [request.json for request in fake_server.requests]
    assert sorted(str(body) for body in bodies) == sorted(
        str({"model": "m", **body}) for body in ({"same": 1}, {"own": 0}, {"own": 1}, {"own": 2})
    )
    assert len({str(result[0]) for result, _ in pairs}) == 1
    assert sum(usage.requests for _, usage in pairs) == 4
    assert sum(usage.prompt_tokens for _, usage in pairs) == 4


@pytest.mark.parametrize("how", ["sync", "async"])
def test_all_who_wait_for_a_reply_hear_that_it_failed(fake_server, how: str) -> None:
    fake_server.reply(400, {"error": "no"}, delay=0.05)
    runner = Runner(ServerClient(fake_server.url, model="m", max_retries=0))
    results = run(runner, [both({"same": 1}, {"own": number}) for number in range(3)], how)
    assert all(isinstance(result, ServerStatusError) for result in results)
    assert len(fake_server.requests) == 1


@pytest.mark.parametrize("how", ["sync", "async"])
def test_an_ask_may_name_another_server(fake_server, how: str) -> None:
    fake_server.reply(200, {"from": "other"})
    elsewhere = ServerClient("http://127.0.0.1:9", model="unused", max_retries=0)

    def one() -> Requests[Json]:
        return (
            yield Request("chat/completions", {"q": 1}, client=ServerClient(fake_server.url, model="its"))
        )

    assert run(Runner(elsewhere), [one()], how) == [{"from": "other"}]
    assert fake_server.requests[0].json["model"] == "its"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_reply_that_was_refused_is_not_kept(fake_server, tmp_path, how: str) -> None:
    """Kept, it would be refused from disk on every later run, too."""
    fake_server.reply(200, {"bad": True}).reply(200, {"good": True})
    runner = Runner(ServerClient(fake_server.url, model="m"), ReplyCache(tmp_path))

    def one() -> Requests[Json]:
        reply = yield Request("chat/completions", {"q": 1})
        if "bad" in reply:
            raise ServerAnswerError("not what was asked for", str(reply))
        return reply

    (first,) = run(runner, [one()], how)
    assert isinstance(first, ServerAnswerError)
    assert run(runner, [one()], how) == [{"good": True}]
    assert run(runner, [one()], how) == [{"good": True}]  # from disk: nothing is queued any more
    assert len(fake_server.requests) == 2


def test_sharing_threads_do_not_wait_for_each_other_for_ever(fake_server) -> None:
    for _ in range(9):
        fake_server.reply(200, {"ok": 1})
    runner = Runner(ServerClient(fake_server.url, model="m", max_concurrency=2))
    done: list[object] = []
    worker = threading.Thread(
        target=lambda: done.extend(runner.run([both({"same": 1}, {"own": n}) for n in range(8)])), daemon=True
    )
    worker.start()
    worker.join(PATIENCE)
    assert len(done) == 8
