"""A client that is slow on purpose, or reads nothing, is ended; the others are served meanwhile."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import pytest
import uvicorn

from mmrag.apps import guards
from mmrag.apps.connections import TimedProtocol
from mmrag.apps.guards import Guard

from ..patience import PATIENCE

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"


async def application(scope, receive, send):
    """Read the body, then answer with as many bytes as the path says."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    size = int(scope["path"][1:] or 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    for start in range(0, size, 65_536):
        data = b"x" * min(65_536, size - start)
        await send({"type": "http.response.body", "body": data, "more_body": start + len(data) < size})


class PatientProtocol(TimedProtocol):
    """One that no busy machine is too slow for."""

    head_seconds = reading_seconds = PATIENCE


class HeadProtocol(PatientProtocol):
    head_seconds = 0.3


class SecondHeadProtocol(PatientProtocol):
    head_seconds = property(lambda self: PATIENCE if self.cycle is None else 0.3)


class ReadingProtocol(PatientProtocol):
    reading_seconds = 0.3
    ended: threading.Event

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.ended.set()


protocol_of = partial(pytest.mark.parametrize, "address", indirect=True)


@pytest.fixture
def address(request):
    """A server that waits for its clients as its mark says, and its address."""
    protocol = getattr(request, "param", PatientProtocol)
    config = uvicorn.Config(Guard(application, ["*"], 20_000), log_level="error", http=protocol, ws="none")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(PATIENCE)


def connect(address):
    return socket.create_connection(address, timeout=PATIENCE)


def read_all(connection):
    """Read until the server ends the connection, whether or not it had read all that was sent."""
    data = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            data += piece
    return data


@protocol_of([HeadProtocol])
@pytest.mark.parametrize("sent", [b"", b"GET", HEAD[:-2]], ids=["nothing", "a word", "all but the end"])
def test_a_head_that_does_not_come_ends_the_connection(address, sent):
    connection = connect(address)
    with suppress(ConnectionError):  # of a busy client, too, which sends only then
        connection.sendall(sent)
    assert read_all(connection) == b""


@protocol_of([SecondHeadProtocol])
def test_a_second_head_that_does_not_come_ends_the_connection(address):
    connection = connect(address)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /")
    assert read_all(connection).endswith(b"\r\n\r\nxx")


@protocol_of([HeadProtocol])
def test_many_that_send_nothing_are_gone_when_the_time_is_over(address, monkeypatch):
    connections = [connect(address) for _ in range(50)]
    assert [read_all(connection) for connection in connections] == [b""] * 50
    monkeypatch.setattr(HeadProtocol, "head_seconds", PATIENCE)
    client = http.client.HTTPConnection(*address, timeout=PATIENCE)
    client.request("GET", "/")
    assert client.getresponse().read() == b"xx"


@protocol_of([ReadingProtocol])
def test_an_answer_that_nobody_reads_is_given_up(address, monkeypatch):
    monkeypatch.setattr(ReadingProtocol, "ended", threading.Event(), raising=False)
    connection = connect(address)
    connection.sendall(b"GET /200000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ReadingProtocol.ended.wait(PATIENCE)
    assert len(read_all(connection)) < 200_000_000  # what the system had taken, and no more


def test_an_answer_that_is_read_slowly_but_steadily_arrives_whole(address):
    connection = connect(address)
    connection.sendall(b"GET /3000000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    data = b""
    while piece := connection.recv(100_000):
        data += piece
        threading.Event().wait(0.01)
    assert len(data.partition(b"\r\n\r\n")[2]) == 3_000_000


def test_a_body_that_drips_is_refused(address, monkeypatch):
    monkeypatch.setattr(guards, "BODY_SECONDS", 0.3)
    connection = connect(address)
    connection.sendall(HEAD + b"x")
    reply = read_all(connection)
    assert (
        reply.startswith(b"HTTP/1.1 408 ") and b'"SlowBodyError"' in reply and b"faster connection" in reply
    )


def test_a_large_body_has_more_time_the_more_of_it_has_come():
    """By hand: 30 s and a second for each 16 kB that has come."""
    limits = []

    async def receive():
        return {"type": "http.request", "body": b"x" * 8_000, "more_body": len(limits) < 4}

    async def wait_for(awaitable, seconds):
        limits.append(seconds)
        return await awaitable

    async def read():
        body = guards._CountedBody(receive, 10**9)
        while (await body.receive())["more_body"]:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guards.asyncio, "wait_for", wait_for)
        patch.setattr(guards.asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: 700.0))
        asyncio.run(read())
    assert limits == [30, 30.5, 31, 31.5]


def test_the_end_of_a_connection_is_waited_for_without_a_limit(monkeypatch):
    limits = []
    messages = [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def wait_for(awaitable, seconds):
        limits.append(seconds)
        return await awaitable

    async def read():
        body = guards._CountedBody(receive, 100)
        return [await body.receive(), await body.receive()]

    monkeypatch.setattr(guards.asyncio, "wait_for", wait_for)
    assert [message["type"] for message in asyncio.run(read())] == ["http.request", "http.disconnect"]
    assert len(limits) == 1, "only the body has its time"
