"""Laws of the client: what it sends, what it tries again, what it refuses, and in which words."""

import asyncio
import json
import logging
import pickle
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import mmrag.serving.connection
import mmrag.serving.transport
from mmrag.errors import ServerAnswerError, ServerError, ServerStatusError, ServerUnreachableError
from mmrag.serving.client import ServerClient

from ..patience import PATIENCE, end_in_time, wait_until

KEY = "sk-very-secret-1234"
EVENT = '{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
LAST = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = '{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}'


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("MMRAG_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(mmrag.serving.connection, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(mmrag.serving.connection, "_announced_hosts", set())


@pytest.fixture(params=["sync", "async"])
def call(request):
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


def sse(*events: str, done: bool = True) -> bytes:
    return "".join(f"data: {event}\n\n" for event in (*events, *(["[DONE]"] if done else []))).encode()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ------------------------------------------------------------------------------------ what is sent


def test_post_sends_the_body_and_returns_the_object(fake_server, call):
    fake_server.reply(200, {"score": 1.5})
    assert call(ServerClient(fake_server.url), "post", "/rerank", {"query": "äß", "documents": []}) == {
        "score": 1.5
    }
    (request,) = fake_server.requests
    assert (request.method, request.path, request.json) == (
        "POST",
        "/rerank",
        {"query": "äß", "documents": []},
    )
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_base_url_with_and_without_version_is_the_same_server(fake_server, call, tail):
    fake_server.reply(200, {"choices": []}).reply(200, {"results": []})
    client = ServerClient(fake_server.url + tail, model="m")
    call(client, "chat", {"messages": []})
    call(client, "post", "/rerank", {})
    assert [request.path for request in fake_server.requests] == ["/v1/chat/completions", "/rerank"]


def test_chat_asks_for_the_only_model_once(fake_server, call):
    fake_server.reply(200, {"data": [{"id": "only"}]}).reply(200, {"choices": []}).reply(200, {"choices": []})
    client = ServerClient(fake_server.url)
    call(client, "chat", {"messages": []})
    call(client, "chat", {"messages": []})
    assert [request.path for request in fake_server.requests] == ["/v1/models"] + 2 * ["/v1/chat/completions"]
    assert fake_server.requests[1].json == {"messages": [], "model": "only"}


def test_several_models_and_no_name_is_an_error_that_lists_them(fake_server, call):
    fake_server.reply(200, {"data": [{"id": "a"}, {"id": "b"}]})
    with pytest.raises(ServerAnswerError, match=r"must serve just one model.*got 2 \(a, b\)\. Pass model="):
        call(ServerClient(fake_server.url), "chat", {"messages": []})


def test_body_with_stream_is_refused(fake_server, call):
    with pytest.raises(ValueError, match=r"body must not set 'stream'\. Call chat or chat_stream"):
        call(ServerClient(fake_server.url, model="m"), "chat", {"messages": [], "stream": True})
    assert fake_server.requests == []


# -------------------------------------------------------------------------------------------- keys


def test_key_is_sent_and_shown_nowhere(fake_server, call, caplog):
    fake_server.reply(401, {"error": {"message": f"bad key {KEY}"}})
    client = ServerClient(fake_server.url, api_key=KEY)
    with caplog.at_level(logging.DEBUG), pytest.raises(ServerStatusError) as caught:
        call(client, "post", "rerank", {})
    assert fake_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "Pass api_key=... or set MMRAG_API_KEY" in str(caught.value)
    shown = repr(client) + str(caught.value) + caught.value.body + caplog.text
    assert KEY not in shown and KEY.encode() not in pickle.dumps(client)
    assert "api_key=set" in repr(client)


@pytest.mark.parametrize(
    "reply",
    [
        lambda: httpx.Response(401, text=f"<title>{KEY}</title>"),
        lambda: httpx.Response(500, extensions={"reason_phrase": f"no {KEY}".encode()}),
        lambda: httpx.Response(307, headers={"location": f"http://x.example/?k={KEY}"}),
        lambda: httpx.Response(200, text=f"{KEY} is no JSON"),
        lambda: httpx.Response(200, json={"error": f"bad {KEY}"}),
        lambda: httpx.Response(200, text='{"error": "' + KEY.replace("-", "\\u002d") + '"}'),
        lambda: httpx.Response(200, headers={"content-encoding": "gzip"}, content=KEY.encode()),
    ],
)
def test_a_key_that_a_server_repeats_is_in_no_error(call, reply):
    transport = httpx.MockTransport(lambda request: reply())
    client = ServerClient("https://h.example", api_key=KEY, max_retries=0, transport=transport)
    with pytest.raises(ServerError) as caught:
        call(client, "post", "x", {})
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert KEY not in shown


def test_a_key_in_a_bad_header_is_in_no_traceback(call):
    def answer(request):
        raise httpx.RemoteProtocolError(f"illegal header line: {KEY}")

    client = ServerClient(
        "https://h.example", api_key=KEY, max_retries=0, transport=httpx.MockTransport(answer)
    )
    with pytest.raises(ServerError) as caught:
        call(client, "post", "x", {})
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://gpu.example:8000", False),
        ("http://93.184.216.34", False),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://gpu-box:8000", True),
        ("http://10.1.2.3:8000", True),
        ("http://vllm.models.svc.cluster.local", True),
        ("https://gpu.example", True),
    ],
)
def test_a_key_goes_in_the_clear_to_no_other_network(url, allowed, monkeypatch):
    ServerClient(url, api_key="")
    ServerClient(url, api_key=KEY, key_over_http=True)
    if allowed:
        ServerClient(url, api_key=KEY)
        return
    with pytest.raises(ValueError, match="must not go over plain http to another network") as caught:
        ServerClient(url, api_key=KEY)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("MMRAG_API_KEY", KEY)
    with pytest.raises(ValueError, match="plain http"):
        ServerClient(url)
    monkeypatch.setenv("MMRAG_KEY_OVER_HTTP", "1")
    ServerClient(url)


def test_a_key_in_the_clear_on_a_private_network_is_announced_once(caplog):
    client = ServerClient("http://10.255.255.1:9", api_key=KEY)
    for _ in range(2):
        client._announce_host("GET")  # as every attempt does; no test connects to another machine
    warnings = [record.message for record in caplog.records]
    assert warnings == [
        "The API key goes to 10.255.255.1:9 over plain http: every machine between can read it."
    ]


def test_unpickled_client_works_and_has_the_key_of_its_own_environment(fake_server, monkeypatch):
    fake_server.reply(200, {}).reply(200, {})
    client = pickle.loads(pickle.dumps(ServerClient(fake_server.url, api_key=KEY, timeout=7)))
    client.post("x", {})
    monkeypatch.setenv("MMRAG_API_KEY", "other")
    pickle.loads(pickle.dumps(client)).post("x", {})
    assert [r.headers.get("authorization") for r in fake_server.requests] == [None, "Bearer other"]
    assert client.timeout == 7


@pytest.mark.parametrize(
    ("url", "environment", "argument", "expected"),
    [
        ("http://gpu.example:8000", {"OPENAI_API_KEY": "o"}, None, None),
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": "o"}, None, "Bearer o"),
        ("https://eu.api.openai.com/v1", {"OPENAI_API_KEY": "o"}, None, "Bearer o"),
        ("http://api.openai.com/v1", {"OPENAI_API_KEY": "o"}, None, None),  # not in the clear
        ("https://api.openai.com.evil.example", {"OPENAI_API_KEY": "o"}, None, None),
        ("https://notapi.openai.com", {"OPENAI_API_KEY": "o"}, None, None),
        ("https://api.openai.com", {"OPENAI_API_KEY": "o", "MMRAG_API_KEY": "m"}, None, "Bearer m"),
        ("http://gpu.example:8000", {"OPENAI_API_KEY": "o", "MMRAG_API_KEY": "m"}, None, "Bearer m"),
        ("http://gpu.example:8000", {"MMRAG_API_KEY": "m"}, "a", "Bearer a"),
        ("http://gpu.example:8000", {"MMRAG_API_KEY": "m"}, "", None),
    ],
)
def test_a_key_goes_only_where_it_was_meant_to(monkeypatch, call, url, environment, argument, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen = []

    def answer(request):
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={})

    call(ServerClient(url, api_key=argument, transport=httpx.MockTransport(answer)), "post", "x", {})
    assert seen == [expected]


@pytest.mark.parametrize("key", ["a\nb", "clé", "two words"])
def test_a_key_that_fits_no_header_is_refused_without_showing_it(monkeypatch, key):
    """The HTTP library would quote it, escaped, so that striking it out would miss it."""
    with pytest.raises(ValueError, match="api_key must be printable ASCII") as caught:
        ServerClient("http://localhost:8000", api_key=key)
    assert key not in str(caught.value)
    monkeypatch.setenv("MMRAG_API_KEY", key)
    with pytest.raises(ValueError, match="MMRAG_API_KEY must be printable ASCII"):
        ServerClient("http://localhost:8000")


def test_redirect_is_an_error_and_is_not_followed(fake_server, call):
    fake_server.reply(307, b"", headers={"Location": "http://elsewhere.example/v1"})
    with pytest.raises(
        ServerStatusError, match=r"answered 307.*Give the new URL: http://elsewhere\.example/v1"
    ):
        call(ServerClient(fake_server.url, api_key=KEY), "post", "x", {})
    assert len(fake_server.requests) == 1


def test_base_url_with_a_password_is_refused_without_showing_it():
    with pytest.raises(ValueError, match="must not carry a user name or a password") as caught:
        ServerClient("http://me:hunter2@host:8000/v1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "", "http://", "host"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="base_url must be an http or https URL, got "):
        ServerClient(url)


# ----------------------------------------------------------------------------------------- retries


@pytest.fixture
def waits(monkeypatch):
    """Seconds that the client means to wait between attempts; none of them passes."""
    seconds = []

    async def asleep(delay):
        seconds.append(delay)

    monkeypatch.setattr(time, "sleep", seconds.append)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    return seconds


def test_429_with_retry_after_is_tried_again_after_that_time(fake_server, call, waits):
    fake_server.reply(429, {"error": {"message": "slow down"}}, headers={"Retry-After": "20"}).reply(
        200, {"ok": 1}
    )
    assert call(ServerClient(fake_server.url), "post", "x", {}) == {"ok": 1}
    assert waits == [20]
    assert len(fake_server.requests) == 2


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_a_passing_trouble_is_tried_max_retries_times_and_then_quoted(fake_server, call, status):
    for _ in range(3):
        fake_server.reply(status, {"error": {"message": "engine is dead"}})
    with pytest.raises(ServerStatusError, match=rf"answered {status} .*: 'engine is dead'\.") as caught:
        call(ServerClient(fake_server.url, max_retries=2), "post", "x", {})
    assert len(fake_server.requests) == 3
    assert caught.value.status == status and "engine is dead" in caught.value.body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_our_own_fault_is_not_tried_again(fake_server, call, status):
    fake_server.reply(status, {"detail": "no"})
    with pytest.raises(ServerStatusError, match=rf"answered {status}"):
        call(ServerClient(fake_server.url), "post", "x", {})
    assert len(fake_server.requests) == 1


def test_retry_after_beyond_the_time_left_ends_at_once(fake_server, call, waits):
    fake_server.reply(503, b"", headers={"Retry-After": "20"})
    with pytest.raises(ServerStatusError, match="answered 503"):
        call(ServerClient(fake_server.url, timeout=15), "post", "x", {})
    assert waits == []
    assert len(fake_server.requests) == 1


def test_the_wait_is_capped_whatever_the_server_asks(monkeypatch):
    client = ServerClient("http://127.0.0.1:1", timeout=1e6)
    failure = mmrag.serving.connection.AttemptError(ServerUnreachableError("x"), retry_after=86_400)
    assert (
        client._retry_delay(failure, 0, time.monotonic() + 1e6)
        == mmrag.serving.connection.LONGEST_RETRY_AFTER
    )
    monkeypatch.setattr(mmrag.serving.connection, "FIRST_WAIT", 0.5)
    waits = [
        client._retry_delay(mmrag.serving.connection.AttemptError(ServerUnreachableError("x")), 1, 1e9)
        for _ in range(50)
    ]
    assert 0.5 <= min(waits) < max(waits) <= 1.0  # twice the first, with jitter


# ----------------------------------------------------------------------------------- no connection


def test_connection_refused_names_the_url_and_the_remedy(call):
    port = closed_port()
    message = rf"No server at http://127\.0\.0\.1:{port}/v1/x \(.*\)\. Start one: mmrag serve MODEL"
    with pytest.raises(ServerUnreachableError, match=message):
        call(ServerClient(f"http://127.0.0.1:{port}", max_retries=1), "post", "x", {})


def test_a_connection_that_comes_up_late_is_used(call):
    """A server that is being restarted: the first attempt finds nobody."""
    attempts = []

    def answer(request):
        attempts.append(request)
        if len(attempts) < 3:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json={"ok": 1})

    client = ServerClient("http://127.0.0.1:1", max_retries=2, transport=httpx.MockTransport(answer))
    assert call(client, "post", "x", {}) == {"ok": 1}
    assert len(attempts) == 3


def test_a_slow_server_is_a_time_out_and_is_asked_once(fake_server, call):
    given_up = threading.Event()
    fake_server.reply(200, {}, until=given_up.is_set)
    end_in_time(lambda seconds: call(ServerClient(fake_server.url, timeout=seconds), "post", "x", {}))
    given_up.set()
    wait_until(lambda: fake_server.requests)  # a busy server reads it after the client has gone
    assert len(fake_server.requests) == 1


def test_an_answer_that_drips_is_bounded_in_all(fake_server, call):
    """A read time-out alone starts anew with every byte."""
    fake_server.reply(200, [b" "] * 1_000_000, pause=0.05)  # half a day
    end_in_time(lambda seconds: call(ServerClient(fake_server.url, timeout=seconds), "post", "x", {}))


def test_a_connection_that_breaks_is_an_error_and_is_not_tried_again(fake_server, call):
    fake_server.reply(200, b'{"a": 1', cut=True)
    with pytest.raises(ServerUnreachableError, match="closed the connection in the middle of its answer"):
        call(ServerClient(fake_server.url), "post", "x", {})
    assert len(fake_server.requests) == 1


# --------------------------------------------------------------------------------- not what was asked


def test_an_html_page_is_not_json(fake_server, call):
    fake_server.reply(200, b"<!DOCTYPE html><title>Welcome</title>", headers={"Content-Type": "text/html"})
    with pytest.raises(
        ServerAnswerError, match=r"something that is not JSON .*'<!DOCTYPE html><title>Welcome"
    ) as e:
        call(ServerClient(fake_server.url), "post", "x", {})
    assert e.value.raw_text == "<!DOCTYPE html><title>Welcome</title>"


def test_an_html_error_page_is_quoted_by_its_title(fake_server, call):
    page = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
    fake_server.reply(502, page)
    with pytest.raises(ServerStatusError, match="answered 502 Bad Gateway: 'an HTML page, 502 Bad Gateway'"):
        call(ServerClient(fake_server.url, max_retries=0), "post", "x", {})


@pytest.mark.parametrize(
    "body", [b'{"a": [1, 2', b"", b"[1, 2]", b'"text"', b"null", b"\xff\xfe", b"[" * 10_000]
)
def test_a_200_that_is_no_json_object_is_an_error(fake_server, call, body):
    fake_server.reply(200, body)
    with pytest.raises(ServerAnswerError, match="JSON"):
        call(ServerClient(fake_server.url), "post", "x", {})


def test_an_error_under_200_is_an_error(fake_server, call):
    fake_server.reply(200, {"error": {"message": "out of credit"}})
    with pytest.raises(ServerAnswerError, match="answered 200 with an error: 'out of credit'"):
        call(ServerClient(fake_server.url), "post", "x", {})


@pytest.mark.parametrize("payload", [{}, {"data": None}, {"data": [{"name": "a"}]}, {"data": ["a"]}])
def test_a_list_of_models_that_is_none_is_an_error(fake_server, call, payload):
    fake_server.reply(200, payload)
    with pytest.raises(ServerAnswerError, match=r"must list models as data\[\]\.id"):
        call(ServerClient(fake_server.url), "models")


# --------------------------------------------------------------------------------------- streaming


def stream(fake_server, call, **settings):
    return call(ServerClient(fake_server.url, model="m", **settings), "chat_stream", {"messages": []})


def test_a_stream_gives_its_pieces_and_the_usage(fake_server, call):
    fake_server.events(sse(EVENT % "Net ", EVENT % "sales", LAST, USAGE))
    deltas = stream(fake_server, call)
    assert "".join(delta.content for delta in deltas) == "Net sales"
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["stop"]
    assert deltas[-1].usage["completion_tokens"] == 2
    assert fake_server.requests[0].json["stream_options"] == {"include_usage": True}


def test_thought_is_kept_apart_under_both_of_its_names(fake_server, call):
    old = '{"choices":[{"delta":{"reasoning_content":"hm "}}]}'
    new = '{"choices":[{"delta":{"reasoning":"so"}}]}'
    fake_server.events(sse(old, new, EVENT % "yes"))
    deltas = stream(fake_server, call)
    assert "".join(d.thought for d in deltas) == "hm so"
    assert "".join(d.content for d in deltas) == "yes"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_do_not_depend_on_newlines_and_cuts(fake_server, call, newline, size):
    """U+2028 and U+0085 stand raw in the JSON: `str.splitlines` would cut there."""
    text = "a\u2028b\u0085c é"
    body = (b": ping\n\nevent: message\nid: 1\n" + sse(EVENT % text)).replace(b"\n", newline)
    fake_server.events([body[i : i + size] for i in range(0, len(body), size)])
    assert "".join(delta.content for delta in stream(fake_server, call)) == text


@pytest.mark.parametrize("size", [1, 1000])
def test_an_event_of_several_data_lines_is_one(fake_server, call, size):
    """A CRLF cut in two must not count as an empty line, which would end the event."""
    body = b'data: {"choices":\r\ndata:[{"delta":{"content":"x"}}]}\r\n\r\ndata: [DONE]\r\n\r\n'
    fake_server.events([body[i : i + size] for i in range(0, len(body), size)])
    assert [delta.content for delta in stream(fake_server, call)] == ["x"]


def test_a_stream_without_done_is_an_error(fake_server, call):
    fake_server.events(sse(EVENT % "half", done=False))
    with pytest.raises(ServerAnswerError, match=r"ended its stream without \[DONE\]"):
        stream(fake_server, call)


def test_the_blank_line_after_done_may_be_missing(fake_server, call):
    fake_server.events(sse(EVENT % "x").rstrip(b"\n"))
    assert [delta.content for delta in stream(fake_server, call)] == ["x"]


def test_a_broken_event_is_an_error_that_quotes_it(fake_server, call):
    fake_server.events(sse(EVENT % "x", '{"choices": [{"del'))
    with pytest.raises(
        ServerAnswerError, match=r"""streamed an event that is not JSON .*'\{"choices": \[\{"del'"""
    ):
        stream(fake_server, call)


def test_an_error_event_in_mid_stream_is_an_error(fake_server, call):
    fake_server.events(sse(EVENT % "x", '{"error": {"message": "engine died", "code": 500}}'))
    with pytest.raises(ServerAnswerError, match="the server broke off its answer: 'engine died'"):
        stream(fake_server, call)


def test_a_stream_that_is_cut_is_an_error_and_is_not_tried_again(fake_server, call):
    fake_server.events(sse(EVENT % "x", done=False), cut=True)
    with pytest.raises(ServerUnreachableError, match="closed the connection in the middle of its answer"):
        stream(fake_server, call)
    assert len(fake_server.requests) == 1


def test_a_stream_is_tried_again_before_it_begins(fake_server, call):
    fake_server.reply(503, b"starting").events(sse(EVENT % "x"))
    assert [delta.content for delta in stream(fake_server, call)] == ["x"]


def test_json_where_a_stream_was_asked_for_is_an_error(fake_server, call):
    fake_server.reply(200, {"choices": [{"message": {"content": "x"}}]})
    with pytest.raises(
        ServerAnswerError, match=r"must stream events \(text/event-stream\), got application/json"
    ):
        stream(fake_server, call)


def test_pieces_arrive_before_the_answer_is_complete(fake_server):
    first_seen = threading.Event()
    fake_server.events([sse(EVENT % "first", done=False), sse(EVENT % "last")], rest_until=first_seen.is_set)
    pieces = ServerClient(fake_server.url, model="m").chat_stream({"messages": []})
    assert next(pieces).content == "first"
    first_seen.set()
    assert [piece.content for piece in pieces] == ["last"]


def test_a_stream_left_early_frees_its_slot(fake_server):
    fake_server.events([sse(EVENT % "x", done=False)] * 5, pause=0.01).reply(200, {"ok": 1})
    client = ServerClient(fake_server.url, model="m", max_concurrency=1)
    pieces = client.chat_stream({"messages": []})
    next(pieces)
    pieces.close()
    assert client.post("x", {}) == {"ok": 1}


# ------------------------------------------------------------------------------------- concurrency


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_no_more_requests_in_flight_than_allowed(fake_server, kind):
    for _ in range(6):
        fake_server.reply(200, {}, delay=0.05, until=lambda: fake_server.most_in_flight >= 2)
    client = ServerClient(fake_server.url, max_concurrency=2)
    if kind == "threads":
        threads = [threading.Thread(target=client.post, args=("x", {})) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:

        async def all_of_them():
            async with client:
                await asyncio.gather(*(client.apost("x", {}) for _ in range(6)))

        asyncio.run(all_of_them())
    assert len(fake_server.requests) == 6
    assert fake_server.most_in_flight == 2


def test_async_calls_do_not_block_the_loop(fake_server):
    loop_ran = threading.Event()
    fake_server.reply(200, {"ok": 1}, until=loop_ran.is_set)

    async def run():
        task = asyncio.create_task(ServerClient(fake_server.url).apost("x", {}))
        while not fake_server.requests:
            await asyncio.sleep(0.01)
        assert not task.done()
        loop_ran.set()
        return await task

    assert asyncio.run(run()) == {"ok": 1}


# ------------------------------------------------------------------- what leaves this machine is said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://gpu.example:8000", "they are sent to gpu.example:8000."),
        ("http://192.168.1.5:8000", "they are sent to 192.168.1.5:8000."),
        ("http://localhost:8000", None),
        ("http://127.0.0.53:8000", None),
        ("http://[::1]:8000", None),
        ("http://model.localhost:8000", None),
        ("http://localhost.example:8000", "they are sent to localhost.example:8000."),
    ],
)
def test_pages_that_leave_this_machine_are_said_once(caplog, url, said):
    with caplog.at_level(logging.WARNING, logger="mmrag.serving.connection"):
        for _ in range(2):
            ServerClient(url)._announce_host("GET")
        assert caplog.records == []
        for _ in range(2):
            ServerClient(url)._announce_host("POST")
    assert [record.getMessage().endswith(said) for record in caplog.records] == ([True] if said else [])


def test_this_machine_is_not_reached_through_a_proxy(fake_server, call, monkeypatch):
    """With HTTP_PROXY set, pages for a local server would pass through another machine."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    fake_server.reply(200, {"ok": 1})
    assert call(ServerClient(fake_server.url), "post", "x", {}) == {"ok": 1}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0}, "timeout must be more than 0 seconds, got 0"),
        ({"max_retries": -1}, "max_retries must be a whole number of at least 0, got -1"),
        ({"max_concurrency": 0}, "max_concurrency must be a whole number of at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ServerClient("http://localhost:8000", **settings)


def test_one_client_serves_several_event_loops(fake_server):
    client = ServerClient(fake_server.url)
    for _ in range(2):
        fake_server.reply(200, {"ok": 1})

        async def once():
            async with client:
                return await client.apost("x", {})

        assert asyncio.run(once()) == {"ok": 1}


def test_recorded_bodies_are_json(fake_server):
    fake_server.reply(200, {})
    ServerClient(fake_server.url).post("x", {"a": "é"})
    assert json.loads(fake_server.requests[0].body) == {"a": "é"}


# -------------------------------------------------------------------------------------------- threads


def test_a_thread_that_looks_too_late_closes_nobody_elses_connection(fake_server, monkeypatch) -> None:
    """httpcore asks "is it idle, and readable?" in two steps; other threads go on between them.

    Here the second step is always late: a connection that is at work looks as if it had expired. With one
    pool for all threads the first of these two calls never got its answer.
    """
    from httpcore._sync.http11 import HTTP11Connection, HTTPConnectionState

    monkeypatch.setattr(
        HTTP11Connection, "has_expired", lambda self: self._state is HTTPConnectionState.ACTIVE
    )
    second_answered = threading.Event()
    fake_server.reply(200, {"n": 1}, until=second_answered.is_set).reply(200, {"n": 2})
    with ServerClient(fake_server.url) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/x", {})
        wait_until(lambda: fake_server.requests)
        assert client.post("/x", {}) == {"n": 2}
        second_answered.set()
        assert first.result() == {"n": 1}


def test_calls_one_after_another_use_one_connection_and_a_closed_client_opens_anew(
    fake_server, monkeypatch
) -> None:
    monkeypatch.setattr(mmrag.serving.transport, "KEEPALIVE", PATIENCE)  # between the calls of a busy machine
    ports = []
    for number in range(4):
        fake_server.reply(200, {"n": number})
    client = ServerClient(fake_server.url)
    for number in range(4):
        if number == 2:
            client.close()
        assert client.post("/x", {}) == {"n": number}
        ports.append(fake_server.requests[-1].port)
    client.close()
    assert ports[0] == ports[1] != ports[2] == ports[3]


def test_a_client_closed_in_the_middle_of_a_call_still_answers_it(fake_server) -> None:
    closed = threading.Event()
    fake_server.reply(200, {"n": 1}, until=closed.is_set)
    client = ServerClient(fake_server.url)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/x", {})
        wait_until(lambda: fake_server.requests)
        client.close()
        closed.set()
        assert first.result() == {"n": 1}
    assert client._pool._idle == []
