"""Laws of stored replies: what cannot be stored is returned, what cannot be used is requested again."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import pickle
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag.errors import ServerAnswerError
from mmrag.serving.client import Json, ServerClient
from mmrag.serving.requests import ReplyCache, Request, Requests, Runner, StaleReplyError

HOW = pytest.mark.parametrize("how", ["sync", "async"])
KEY = "ab" + 62 * "0"


def run(runner: Runner, work: list[Requests[object]], how: str) -> list[object]:
    pairs = runner.run(work) if how == "sync" else asyncio.run(runner.arun(work))
    return [result for result, _ in pairs]


def number_of(body: Json, **how: bool) -> Requests[int]:
    """Return the number in a reply, which must have one."""
    reply = yield Request("chat/completions", body, **how)
    if not isinstance(reply.get("n"), int):
        raise ServerAnswerError("a reply must have a number", json.dumps(reply))
    return reply["n"]


def whole(body: Json) -> Requests[Json]:
    """Return a reply as it is."""
    return (yield Request("chat/completions", body))


def runner_of(fake_server, folder: Path) -> Runner:
    client = ServerClient(fake_server.url, model="m", max_concurrency=1, max_retries=0)
    return Runner(client, ReplyCache(folder))


def fail_writes(monkeypatch, code: int) -> None:
    """Let every fsync fail as on a disk that is full, over its quota or read-only."""

    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("mmrag.files.os.fsync", fsync)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@HOW
def test_a_reply_that_cannot_be_stored_is_returned_and_said_once(
    fake_server, tmp_path, monkeypatch, caplog, how, code
):
    for number in range(3):
        fake_server.reply(200, {"n": number})
    runner = runner_of(fake_server, tmp_path)
    fail_writes(monkeypatch, code)
    assert run(runner, [number_of({"q": number}) for number in range(3)], how) == [0, 1, 2]
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "mmrag.serving.reply_cache")
    assert os.strerror(code) in record.getMessage() and str(tmp_path) in record.getMessage()
    assert runner.cache is not None and os.strerror(code) in str(runner.cache.failure)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # no part of one either


@HOW
def test_a_folder_that_cannot_be_made_costs_no_reply(fake_server, tmp_path, how):
    (tmp_path / "file").write_text("in the way")
    fake_server.reply(200, {"n": 5})
    runner = runner_of(fake_server, tmp_path / "file" / "replies")
    assert run(runner, [number_of({"q": 1})], how) == [5]
    assert "Not a directory" in str(runner.cache.failure)


def test_a_disk_with_room_again_is_used_again(tmp_path):
    cache = ReplyCache(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        fail_writes(patch, errno.ENOSPC)
        cache.put(KEY, {"n": 1})
    assert cache.get(KEY) is None and cache.failure is not None
    cache.put(KEY, {"n": 2})
    assert (cache.get(KEY), cache.failure) == ({"n": 2}, None)
    assert pickle.loads(pickle.dumps(cache)).get(KEY) == {"n": 2}


BAD_FILES = {
    "empty": b"",
    "truncated": b'{"n": 1',
    "a list": b"[1, 2]",
    "a number": b"7",
    "no UTF-8": b'{"n": "\xff"}',
    "deep": b"[" * 100_000,
    "digits": b'{"n": ' + b"9" * 5000 + b"}",
    "another object": b"{}",
    "another type": b'{"n": "seven"}',
}


def stored_file(folder: Path) -> Path:
    (path,) = folder.rglob("*.json")
    return path


@pytest.mark.parametrize("name", BAD_FILES)
@HOW
def test_a_bad_reply_on_disk_is_dropped_and_requested_anew(fake_server, tmp_path, how, name):
    """At once where the file is no JSON object, else with the next run: a generator cannot start again."""
    fake_server.reply(200, {"n": 1}).reply(200, {"n": 2})
    assert run(runner_of(fake_server, tmp_path), [number_of({"q": 1})], how) == [1]
    stored_file(tmp_path).write_bytes(BAD_FILES[name])
    runner = runner_of(fake_server, tmp_path)
    results = run(runner, [number_of({"q": 1})], how)
    if isinstance(results[0], StaleReplyError):
        assert "a reply must have a number" in str(results[0])
        results = run(runner, [number_of({"q": 1})], how)
    assert results == [2]
    assert run(runner, [number_of({"q": 1})], how) == [2]  # and it is kept
    assert len(fake_server.requests) == 2


@HOW
def test_all_who_share_a_bad_reply_learn_that_it_was_stored(fake_server, tmp_path, how):
    fake_server.reply(200, {"n": 1}).reply(200, {"n": 2})
    runner = runner_of(fake_server, tmp_path)
    run(runner, [number_of({"q": 1}, shared=True)], how)
    stored_file(tmp_path).write_text("{}")
    results = run(runner, [number_of({"q": 1}, shared=True) for _ in range(3)], how)
    assert all(isinstance(result, StaleReplyError) for result in results)
    assert run(runner, [number_of({"q": 1}, shared=True) for _ in range(3)], how) == [2, 2, 2]


@HOW
def test_a_bad_reply_that_cannot_be_removed_is_passed_over(fake_server, tmp_path, monkeypatch, how):
    """A read-only disk: the file stays, and work goes on without it."""
    fake_server.reply(200, {"n": 1}).reply(200, {"n": 2})
    runner = runner_of(fake_server, tmp_path)
    run(runner, [number_of({"q": 1})], how)
    path = stored_file(tmp_path)
    path.write_text("{}")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    fail_writes(monkeypatch, errno.EROFS)
    (first,) = run(runner, [number_of({"q": 1})], how)
    assert isinstance(first, StaleReplyError)
    assert run(runner, [number_of({"q": 1})], how) == [2]
    assert path.read_text() == "{}"


def test_a_fresh_reply_that_is_refused_is_no_stale_one(fake_server, tmp_path):
    fake_server.reply(200, {})
    (error,) = run(runner_of(fake_server, tmp_path), [number_of({"q": 1})], "sync")
    assert isinstance(error, ServerAnswerError) and not isinstance(error, StaleReplyError)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_is_in_the_file_is_an_object_or_none(tmp_path_factory, data):
    cache = ReplyCache(tmp_path_factory.mktemp("replies"))
    cache.put(KEY, {"n": 1})
    stored_file(cache.folder).write_bytes(data)
    assert cache.get(KEY) is None or isinstance(cache.get(KEY), dict)


@pytest.mark.parametrize("key", ["sk-very/secret-1234", 'sk-"quoted"-and\\-1234'])
@HOW
def test_a_key_that_a_server_repeats_in_a_good_reply_is_kept_nowhere(tmp_path, how, key):
    """As text, and as JSON that escapes more than it must: a cache is read by whoever may read the index."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.dumps({"n": 1, "echo": request.headers["authorization"]})
        return httpx.Response(200, content=body.replace("/", "\\/"))

    client = ServerClient("https://h.example", api_key=key, model="m", transport=httpx.MockTransport(answer))
    (reply,) = run(Runner(client, ReplyCache(tmp_path)), [whole({"x": 1})], how)
    (stored,) = (json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.json"))
    assert reply == stored == {"n": 1, "echo": "Bearer ***"}
