"""Laws of hostile servers: whatever comes, a call ends in time, in bounded memory, with one typed error."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrag.embedders.served_wire import parse_embeddings
from mmrag.errors import ServerAnswerError, ServerError, ServerStatusError, ServerUnreachableError
from mmrag.rerank import response
from mmrag.serving import connection, exchange, wire
from mmrag.serving.client import ServerClient
from mmrag.serving.decoding import BodyDecoder
from mmrag.serving.transport import Line, Watch
from mmrag.serving.wire import EventReader, error_text, parse_chat, parse_delta, parse_models, retry_after

from ..patience import LIMITS, PATIENCE, end_in_time

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(params=["sync", "async"])
def call(request) -> Callable[..., object]:
    """Call a method of the client, or its async twin in a fresh event loop."""

    def run(client, name, *args):
        if request.param == "sync":
            result = getattr(client, name)(*args)
            return list(result) if name.endswith("stream") else result

        async def twin():
            async with client:
                result = getattr(client, "a" + name)(*args)
                return [item async for item in result] if name.endswith("stream") else await result

        return asyncio.run(twin())

    return run


@contextmanager
def raw_server(*answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers one connection after another as told, in bytes; yields its URL."""

    def serve(listener: socket.socket) -> None:
        for answer in answers:
            peer, _ = listener.accept()
            with peer, suppress(OSError):
                answer(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):  # a client that gave up before it connected leaves the thread waiting
            socket.create_connection(listener.getsockname()).close()
        thread.join()


def drips(start: bytes, drip: bytes, ends: list[bool]) -> Callable[[socket.socket], None]:
    """An answer that goes on for a minute, a drip at a time; each resets the limit of a read."""

    def answer(peer: socket.socket) -> None:
        try:
            peer.sendall(start)
            for _ in range(1200):
                peer.sendall(drip)
                time.sleep(0.05)
            ends.append(True)
        finally:
            # with bytes of the request unread, closing would reset the connection instead
            peer.shutdown(socket.SHUT_RDWR)

    return answer


DRIPS = {
    "a head": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body without a length": (OK + b'Connection: close\r\n\r\n{"a": 1}', b" "),
    "a body": (OK + b'Content-Length: 9999\r\n\r\n{"a": 1}', b" "),
    "chunks": (OK + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"a": 1}\r\n', b"1\r\n \r\n"),
    "gzip that holds nothing": (
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10],
        b"\x00\x00\x00\xff\xff",
    ),
}


@pytest.mark.parametrize("name", DRIPS)
def test_a_call_ends_in_its_time_whatever_drips(call, name):
    """Only the whole call has a limit that holds. What was there at the end is no answer: it may be cut."""
    ends: list[bool] = []

    def ask(seconds: float) -> None:
        with raw_server(drips(*DRIPS[name], ends)) as url:
            call(ServerClient(url, timeout=seconds, max_retries=0), "post", "x", {})

    end_in_time(ask)
    assert not ends, "it would have gone on"


def test_an_error_whose_body_drips_is_still_that_error(call):
    """Given the time to see its head: a busy machine gets more."""
    start = b"HTTP/1.1 401 Unauthorized\r\n\r\nno such key"
    for seconds in LIMITS:
        with (
            raw_server(drips(start, b".", [])) as url,
            pytest.raises((ServerStatusError, ServerUnreachableError)) as caught,
        ):
            call(ServerClient(url, timeout=seconds, max_retries=0), "post", "x", {})
        if isinstance(caught.value, ServerStatusError):
            break
    assert re.search(r"answered 401 Unauthorized: 'no such key\.*'", str(caught.value))


def test_a_stream_that_drips_ends_in_its_time(call):
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

    def ask(seconds: float) -> None:
        with raw_server(drips(start, b": ping\n\n", [])) as url:
            client = ServerClient(url, model="m", timeout=seconds, max_retries=0)
            call(client, "chat_stream", {"messages": []})

    end_in_time(ask)


def test_a_line_that_was_cut_is_not_used_again():
    def whole(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(OK + b'Content-Length: 8\r\n\r\n{"a": 2}')

    with raw_server(drips(OK, b"X: y\r\n", []), whole) as url:
        client = ServerClient(url, max_retries=0)

        def ask(seconds: float) -> None:
            client.timeout = seconds
            client.post("x", {})

        end_in_time(ask)
        client.timeout = PATIENCE
        assert client.post("x", {}) == {"a": 2}


def test_a_watch_that_is_over_cuts_nobody(monkeypatch):
    """The timer may fire while its call ends and another takes the line."""
    cuts = []
    monkeypatch.setattr(Line, "cut", lambda line: cuts.append(line))
    with Line() as line:
        watch = Watch(line, time.monotonic() + 3600)
        watch.end()
        watch._cut()
        assert cuts == []
        watch = Watch(line, time.monotonic() + 3600)
        watch._cut()
        assert cuts == [line]
        watch.end()


def test_a_line_that_connects_when_its_time_is_over_is_cut_at_once():
    """Bug guarded: there was no socket to cut yet, and afterwards nobody cut it."""
    ours, theirs = socket.socketpair()
    stream = SimpleNamespace(get_extra_info=lambda _: ours)
    with ours, theirs, Line() as line:
        watch = Watch(line, time.monotonic() + 3600)
        watch._cut()
        theirs.settimeout(PATIENCE)
        line.trace("connection.connect_tcp.complete", {"return_value": stream})
        assert theirs.recv(1) == b"", "its other end"
        watch.end()
        Watch(line, time.monotonic() + 3600).end()
        again, other = socket.socketpair()
        with again, other:
            line.trace("", {"return_value": SimpleNamespace(get_extra_info=lambda _: again)})
            again.sendall(b"x")
            assert other.recv(1) == b"x", "the next call has its time"


# ------------------------------------------------------------------------------------------ bodies


def head(encoding: str | None) -> httpx.Response:
    return httpx.Response(200, headers={} if encoding is None else {"content-encoding": encoding})


def decoded(encoding: str | None, body: bytes, cuts: list[int], most: int) -> bytes:
    decoder, edges = BodyDecoder(head(encoding)), [0, *sorted(cuts), len(body)]
    pieces = [piece for a, b in itertools.pairwise(edges) for piece in decoder.pieces(body[a:b])]
    pieces.append(decoder.finish())
    assert all(0 < len(piece) <= most for piece in pieces[:-1])
    return b"".join(pieces)


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize("seed", range(20))
def test_a_body_is_what_was_compressed_however_it_is_cut(seed, monkeypatch):
    """Against the standard library, which decompresses whole."""
    monkeypatch.setattr("mmrag.serving.decoding.PIECE_BYTES", 64)
    rng = np.random.default_rng(seed)
    data = bytes(rng.integers(0, 3, size=int(rng.integers(0, 3000)), dtype=np.uint8)) + b"x" * 1000
    bodies = {
        None: data,
        "identity": data,
        "gzip": gzip.compress(data),
        "X-GZip": gzip.compress(data),
        "deflate": zlib.compress(data),
        "Deflate": raw_deflate(data),
    }
    for encoding, body in bodies.items():
        cuts = [int(cut) for cut in rng.integers(0, len(body) + 1, size=int(rng.integers(0, 9)))]
        assert decoded(encoding, body, cuts, most=64) == data


def test_a_small_body_that_holds_a_large_one_comes_in_small_pieces():
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000, "one read brings it whole"
    pieces = BodyDecoder(head("gzip")).pieces(bomb)
    assert len(next(pieces)) == 1 << 20


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "compress", "gzip, br", "x" * 5000])
def test_encodings_that_were_not_offered_are_not_decompressed(fake_server, call, encoding):
    fake_server.reply(200, b"\x00" * 50, headers={"Content-Encoding": encoding})
    with pytest.raises(ServerAnswerError, match=r"cannot be decoded .Content-Encoding must be one of gzip"):
        call(ServerClient(fake_server.url), "post", "x", {})
    assert fake_server.requests[0].headers["accept-encoding"] == "gzip, deflate"


DAMAGED = {"no end": gzip.compress(b'{"a": 1}')[:-9], "no gzip": b"no gzip", "a head alone": b"\x1f\x8b\x08"}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_body_is_an_error(fake_server, call, name):
    fake_server.reply(200, DAMAGED[name], headers={"Content-Encoding": "gzip"})
    with pytest.raises(ServerAnswerError, match="cannot be decoded"):
        call(ServerClient(fake_server.url), "post", "x", {})


def test_a_compressed_answer_is_read(fake_server, call):
    fake_server.reply(200, gzip.compress(b'{"a": 1}'), headers={"Content-Encoding": "gzip"})
    assert call(ServerClient(fake_server.url), "post", "x", {}) == {"a": 1}


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_body_has_a_limit_after_decompression(fake_server, call, monkeypatch, encoding):
    monkeypatch.setattr(exchange, "MOST_REPLY_BYTES", 100_000)
    body = b'{"a": "' + b"x" * 5_000_000 + b'"}'
    body = gzip.compress(body) if encoding == "gzip" else body
    fake_server.reply(200, body, headers={"Content-Encoding": encoding})
    with pytest.raises(ServerAnswerError, match="must answer within 100000 bytes, got more"):
        call(ServerClient(fake_server.url), "post", "x", {})


def test_a_stream_has_a_limit_too(fake_server, call, monkeypatch):
    monkeypatch.setattr(exchange, "MOST_REPLY_BYTES", 10_000)
    event = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
    fake_server.events([event * 100] * 10)
    with pytest.raises(ServerAnswerError, match="must answer within 10000 bytes, got more"):
        call(ServerClient(fake_server.url, model="m"), "chat_stream", {"messages": []})


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 50_000, b"x", b"data: x\n", b"data:\n"])
def test_an_event_that_never_ends_is_refused(chunk, monkeypatch):
    monkeypatch.setattr(wire, "MOST_EVENT_BYTES", 10_000)
    reader = EventReader("http://h")
    with pytest.raises(ServerAnswerError, match="must end an event within 10000 bytes"):
        for _ in range(20_000):
            reader.feed(chunk)


def test_many_small_events_are_no_long_one(monkeypatch):
    monkeypatch.setattr(wire, "MOST_EVENT_BYTES", 100)
    reader = EventReader("http://h")
    assert sum(len(reader.feed(b'data: {"n": 1}\n\n: comment\n')) for _ in range(1000)) == 1000


# ----------------------------------------------------------------------------- headers and numbers

RETRY_AFTERS = [
    "-1",
    "-9999999999999",
    "nan",
    "inf",
    "1e400",
    "0x10",
    "9" * 5000,
    "Fri, 31 Dec 99999 23:59:59 GMT",
    "Fri, 31 Dec 99999999999 23:59:59 GMT",
    "Fri, 31 Dec 2030 23:59:59 +99999999999999999999",
    "Mon, 1 Jan 1 0:0:0 +9999",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "(" * 5000,
    "Mon, " * 1000,
    "\u0663",
    "",
    "soon",
]


@given(st.one_of(st.sampled_from(RETRY_AFTERS), st.text(), st.from_regex(r"[-+0-9.eE:, GMTa-z]{0,30}")))
def test_any_retry_after_is_a_wait_or_none(value):
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("value", [value for value in RETRY_AFTERS if value.isascii()])
def test_any_retry_after_ends_in_waits_and_one_error(call, monkeypatch, value):
    waits = []

    async def asleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    transport = httpx.MockTransport(lambda request: httpx.Response(503, headers={"retry-after": value}))
    with pytest.raises(ServerStatusError, match="answered 503"):
        call(ServerClient("http://h", max_retries=2, transport=transport), "post", "x", {})
    assert len(waits) == 2 and all(0 <= wait <= connection.LONGEST_RETRY_AFTER for wait in waits)


LONG = "9" * 5000
CHOICE = '{"choices": [{"message": {"content": "x"}, "finish_reason": %s, "logprobs": %s}], "usage": %s}'
LOGPROBS = '{"content": [{"top_logprobs": [{"token": "token_id:1", "logprob": %s}]}]}'
READERS: dict[str, tuple[str, Callable[[dict], object]]] = {
    "usage": (CHOICE % ("null", "null", '{"prompt_tokens": %s}'), parse_chat),
    "finish_reason": (CHOICE % ("%s", "null", "null"), response.read_thought),
    "logprob": (
        CHOICE % ('"stop"', LOGPROBS, "null"),
        lambda reply: response.read_yes_no(reply, [1], [1]),
    ),
    "content": ('{"choices": [{"message": {"content": %s}}]}', parse_chat),
    "delta": ('{"choices": [{"delta": {"content": %s}}]}', parse_delta),
    "choices": ('{"choices": %s}', parse_chat),
    "models": ('{"data": [{"id": %s}]}', lambda reply: parse_models(reply, "http://h")),
    "max_model_len": ('{"data": [{"max_model_len": %s}]}', response.read_served_context),
    "context": ('{"max_model_len": %s}', response.read_context),
    "tokens": ('{"tokens": [%s]}', response.read_tokens),
    "relevance": (
        '{"results": [{"index": 0, "relevance_score": %s}]}',
        lambda reply: response.read_relevance(reply, 1),
    ),
    "index": (
        '{"results": [{"index": %s, "relevance_score": 1}]}',
        lambda reply: response.read_relevance(reply, 1),
    ),
    "score": ('{"data": [{"score": %s}]}', response.read_score),
    "likelihood": (
        '{"choices": [{"prompt_logprobs": [null, {"7": {"logprob": %s}}]}]}',
        lambda reply: response.read_likelihood(reply, [7]),
    ),
    "vector": ('{"data": [{"index": 0, "embedding": [%s]}]}', lambda reply: parse_embeddings(reply, 1)),
    "place": ('{"data": [{"index": %s, "embedding": [1]}]}', lambda reply: parse_embeddings(reply, 1)),
    "order": (
        '{"choices": [{"message": {"content": "[%s] > [%s]"}, "finish_reason": "stop"}]}',
        lambda reply: response.read_order(reply, 3),
    ),
}
NUMBERS = [
    LONG,
    f"-{LONG}",
    f"0.{LONG}",
    f"{LONG}e{LONG}",
    f"1e-{LONG}",
    "9" * 300,
    "NaN",
    "-Infinity",
    "1e999",
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[:8]}-{len(number)}")
@pytest.mark.parametrize("name", READERS)
def test_a_number_of_any_length_is_read_or_refused_with_one_typed_error(name, number):
    text, read = READERS[name]
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, text=text.replace("%s", number))  # JSON with percent signs
    )
    with suppress(ServerError):
        read(ServerClient("http://h", transport=transport).get("x"))


def test_a_number_of_thousands_of_digits_is_no_number_to_count_with(call):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=f'{{"n": -{LONG}}}'))
    assert call(ServerClient("http://h", transport=transport), "get", "x")["n"] == float("-inf")


def test_an_error_page_of_numbers_or_titles_is_quoted():
    assert error_text(f'{{"error": {LONG}}}').startswith('{"error": 999')
    assert error_text("<TITLE lang=x>\n 502\n</TITLE>") == "an HTML page, 502"
    assert error_text("<title>" * 3) == "<title>" * 3


def test_long_orders_of_a_model_name_no_page():
    content = f"[{LONG}] > [2] > [1]"
    reply = json.loads(json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}))
    assert response.read_order(reply, 2).positions == (1, 0)
