"""Qdrant when something fails: typed errors that say what to do, and no page lost, doubled or half there.

A server that is none answers here (`FakeQdrant`), below the real client; a real one does not run on every
machine. What it cannot show (a node that is lost in the middle, a full disk of the server) is marked in
docs/scale.md.
"""

# ruff: noqa: E402  (skipped before what it tests is imported)

import logging
from contextlib import suppress

import httpx
import numpy as np
import pytest

models = pytest.importorskip("qdrant_client.models", reason="needs the extra 'qdrant'")
grpc = pytest.importorskip("grpc", reason="needs the extra 'qdrant'")

from mmrag.errors import (
    IndexDamagedError,
    IndexFormatError,
    IndexMismatchError,
    ServerAnswerError,
    ServerError,
    ServerStatusError,
    ServerUnreachableError,
)
from mmrag.index import MemoryIndex
from mmrag.index.base import DocumentEntry
from mmrag.index.qdrant import CollectionSettings, QdrantIndex, ServerSettings
from mmrag.index.qdrant.connecting import read_address, shown_place
from mmrag.index.qdrant.failures import failure_of
from mmrag.index.qdrant.points import point_id
from mmrag.types import Record

from .conftest import make_page, make_records
from .fake_qdrant import FakeQdrant, reply

URL = "http://localhost:6333"
KEY = "a-key-of-twenty-letters"


@pytest.fixture
def server():
    return FakeQdrant()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Pauses between attempts, which no test waits for."""
    seconds = []
    monkeypatch.setattr("mmrag.index.qdrant.server.time.sleep", seconds.append)
    return seconds


def opened(server, identity, *, shards=2, batch_bytes=1 << 16, retries=0, **options):
    return QdrantIndex.open(
        identity,
        url=URL,
        settings=CollectionSettings(shards=shards),
        server=ServerSettings(batch_bytes=batch_bytes, retries=retries, parallel=1),
        client_options={"transport": server},
        **options,
    )


def cut(number, method, path, request):
    raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)


def cut_from(first):
    """Every request from this number on is cut."""
    return lambda number, *rest: cut(number, *rest) if number >= first else None


def writes(server):
    """Requests that change points."""
    reads = ("/points/scroll", "/points/count", "/points/query", "/facet", "/exists", "/points")
    return [r for r in server.requests if r[0] == "PUT" or (not r[1].endswith(reads) and r[0] == "POST")]


# -- the connection is cut in the middle of adding --------------------------------------------------


def wide_records(count, text="zinc"):
    """Records of about 16 kB in a request, so that a call takes several."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, 40, 8))
    return [Record(f"r{n}", rows[n], text, {"n": n}) for n in range(count)]


def requests_of_an_add(identity, records):
    server = FakeQdrant()
    index = opened(server, identity)
    index.add(make_records(3, prefix="before"))
    server.requests.clear()
    index.add(records)
    return len(server.requests)


@pytest.mark.parametrize("is_carried_out", [False, True], ids=["lost on the way", "answer lost"])
def test_a_call_that_is_cut_is_not_there_and_a_second_one_completes_it(identity, is_carried_out):
    """At every request of the call in turn, from there on for good: nothing or all of it, and never twice."""
    records = wide_records(40)
    total = requests_of_an_add(identity, records)
    assert total >= 8
    for last in range(total):
        server = FakeQdrant()
        index = opened(server, identity)
        index.add(make_records(3, prefix="before"))
        start = len(server.requests)
        rules = server.answered_rules if is_carried_out else server.rules
        rules.append(cut_from(start + last))
        with pytest.raises(ServerUnreachableError, match="a connection that was cut"):
            index.add(records)
        rules.clear()
        count = index.count()
        # the last request but one makes all of it live, the last counts
        is_live = last == total - 1 or (is_carried_out and last == total - 2)
        assert count == (43 if is_live else 3)
        assert len(index.ids()) == len(index.search_text("zinc report", k=99)) == count
        assert len(index.search_vectors(np.ones((1, 8)), k=99)) == count
        index.add(records)
        assert index.ids() == [*(f"before{n}" for n in range(3)), *(f"r{n}" for n in range(40))]
        assert server.local.count("mmrag").count == 43


def test_replacing_that_is_cut_leaves_every_record_whole(identity):
    old, new = wide_records(30, "old words"), wide_records(30, "new words")
    total = requests_of_an_add(identity, old)
    for last in range(total):
        server = FakeQdrant()
        index = opened(server, identity)
        index.add(old)
        start = len(server.requests)
        server.answered_rules.append(cut_from(start + last))
        with suppress(ServerUnreachableError):
            index.add(new)
        server.answered_rules.clear()
        assert index.ids() == [f"r{n}" for n in range(30)]
        assert {record.text for record in index.get(index.ids())} <= {"old words", "new words"}
        assert index.check().is_sound
        index.add(new)
        assert {record.text for record in index.get(index.ids())} == {"new words"}
        assert len(index.search_text("new", k=99)) == 30 and index.search_text("old", k=99) == []


def test_a_record_that_never_arrived_is_missed(identity, server):
    """A server that says it wrote and did not: the count at the end sees it."""
    index = opened(server, identity)

    def swallow(number, method, path, request):
        return reply(result={"operation_id": 0, "status": "completed"}) if swallowed(method, path) else None

    calls = []

    def swallowed(method, path):
        if method == "PUT" and path.endswith("/points"):
            calls.append(path)
        return len(calls) == 2 and method == "PUT"

    server.rules.append(swallow)
    with pytest.raises(ServerAnswerError, match="40 records must be there after they were written, got"):
        index.add(wide_records(40))


def test_removing_that_is_cut_is_ended_by_a_second_call(identity):
    def fill(index):
        pages = [make_page(n) for n in range(5)]
        index.add([Record(page.id, np.eye(8)[:1], page.text, {}, page) for page in pages])
        index.put_document(DocumentEntry("ab" * 8, "ab" * 32, "pdf", ("a",), 5, "s"))
        index.put_blob("ab" * 32, b"bytes")

    for last in range(5):
        server = FakeQdrant()
        index = opened(server, identity)
        fill(index)
        start = len(server.requests)
        server.rules.append(cut_from(start + last))
        with pytest.raises(ServerUnreachableError):
            index.remove_document("ab" * 8)
        server.rules.clear()
        index.remove_document("ab" * 8)
        assert (index.ids(), index.documents(), index.get_blob("ab" * 32)) == ([], [], None)


def test_bytes_are_there_whole_or_not_at_all(identity, monkeypatch):
    monkeypatch.setattr("mmrag.index.qdrant.files.PART_BYTES", 10)
    first, second = bytes(range(35)), bytes(range(100, 135))
    for last in range(4):
        server = FakeQdrant()
        index = opened(server, identity)
        for data, earlier in ((first, None), (second, first)):
            start = len(server.requests)
            server.rules.append(cut_from(start + last))
            with pytest.raises(ServerUnreachableError):
                index.put_blob("picture", data)
            server.rules.clear()
            try:
                assert index.get_blob("picture") == earlier
            except IndexDamagedError:
                assert earlier is not None and last > 0  # parts of both: said, not handed out
            index.put_blob("picture", data)
            assert index.get_blob("picture") == data
        index.put_blob("picture", b"short")
        assert index.get_blob("picture") == b"short"
        assert index.check().is_sound


# -- a server that is busy ------------------------------------------------------------------------------


def test_a_burst_of_errors_is_waited_out(identity, server, pauses):
    index = opened(server, identity, retries=4)
    answers = [reply(503, error="overloaded"), reply(500, error="shard is not active"), reply(502)]
    server.rules.append(lambda *request: answers.pop(0) if answers else None)
    index.add(make_records(5))
    assert index.count() == 5 and len(pauses) == 3
    assert pauses[0] < pauses[1] * 2 and all(0 < seconds <= 20 for seconds in pauses)


def test_the_server_says_how_long_to_wait(identity, server, pauses):
    index = opened(server, identity, retries=2)
    answers = [reply(429, error="too many requests", headers={"Retry-After": "7"})]
    server.rules.append(lambda *request: answers.pop(0) if answers else None)
    index.add(make_records(5))
    assert pauses == [7.0]


def test_errors_that_stay_are_raised_with_what_to_do(identity, server, pauses):
    index = opened(server, identity, retries=3)
    index.add(make_records(5))
    server.rules.append(lambda *request: reply(500, error="No space left on device"))
    with pytest.raises(ServerStatusError, match=r"status 500: No space left.*log and its disk") as caught:
        index.add(make_records(5, prefix="more"))
    assert caught.value.status == 500 and len(pauses) == 3
    server.rules.clear()
    assert index.count() == 5


def test_a_slow_server_is_not_asked_again(identity, server, pauses):
    def sleep(number, method, path, request):
        raise httpx.ReadTimeout("timed out", request=request)

    index = opened(server, identity, retries=4)
    server.rules.append(sleep)
    with pytest.raises(ServerUnreachableError, match=r"gave no answer within 30 s\. Raise timeout"):
        index.search_vectors(np.ones((1, 8)), k=1)
    assert pauses == []


def test_a_search_that_is_cut_is_asked_again(identity, server):
    index = opened(server, identity, retries=1)
    index.add(make_records(5))
    expected = index.search_vectors(np.ones((1, 8)), k=5)
    cuts = [cut]
    server.answered_rules.append(lambda *request: cuts.pop()(*request) if cuts else None)
    assert index.search_vectors(np.ones((1, 8)), k=5) == expected and cuts == []
    server.answered_rules.append(cut)
    for search in (
        lambda: index.search_vectors(np.ones((1, 8)), k=5),
        lambda: index.search_text("report", k=5),
        lambda: index.get(["r0"]),
        lambda: index.name_documents("report"),
    ):
        with pytest.raises(ServerUnreachableError, match="Do the same again"):
            search()


# -- what is not the right server ----------------------------------------------------------------------


def test_no_server_at_the_url(identity):
    with pytest.raises(ServerUnreachableError, match=r"No Qdrant server at http://localhost:9"):
        QdrantIndex.open(identity, url="http://localhost:9", server=ServerSettings(retries=1, timeout=1))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(200, text="<html>hello</html>"), ServerAnswerError, "Is another service at this URL"),
        (httpx.Response(404, text="not found"), ServerStatusError, "status 404: not found.*Check the URL"),
        (httpx.Response(200, json={"title": "qdrant"}), ServerAnswerError, "Is another service at this URL"),
    ],
    ids=["html", "404", "other json"],
)
def test_another_service_at_the_url(identity, server, answer, error, words):
    server.rules.append(lambda *request: answer)
    with pytest.raises(error, match=words):
        opened(server, identity)


@pytest.mark.parametrize("version", ["1.16.3", "0.9.1", "dev"])
def test_a_server_that_is_too_old(identity, version):
    with pytest.raises(
        IndexFormatError, match=rf"must be of version 1\.17 or newer, got '{version}'. Upgrade it"
    ):
        opened(FakeQdrant(version=version), identity)


def test_nothing_to_read(identity, server):
    with pytest.raises(IndexFormatError, match="must be an index to read, got none"):
        opened(server, identity, read_only=True)
    with pytest.raises(IndexFormatError, match="must be an index to read, got none"):
        opened(server, None)
    assert writes(server) == []


def test_a_collection_of_another_shape(identity, server):
    plain = models.VectorParams(size=8, distance=models.Distance.COSINE)
    server.local.create_collection("mmrag", vectors_config=plain)
    with pytest.raises(IndexFormatError, match=r"a collection without 'mmrag-files'.*nothing was written"):
        opened(server, identity)
    server.local.create_collection("mmrag-files", vectors_config={})
    with pytest.raises(
        IndexFormatError, match=r"must have the vectors b1, b4, b16, all.*nothing was written"
    ):
        opened(server, identity)


def test_vectors_of_another_width(identity, server, make_identity):
    opened(server, identity)
    with pytest.raises(IndexFormatError, match=r"all \(16\) and words, got all \(8\), b1 \(8\)"):
        opened(server, make_identity(dim=16))
    with pytest.raises(IndexMismatchError, match="name another collection"):
        opened(server, make_identity(fingerprint="f" * 64))


def test_an_index_of_a_later_layout(identity, server):
    opened(server, identity)
    server.local.set_payload("mmrag-files", {"version": 2}, points=[point_id("manifest", "state")])
    with pytest.raises(IndexFormatError, match=r"must be of Qdrant layout 1, got 2\. Upgrade the package"):
        opened(server, identity)


def test_a_collection_that_goes_away(identity, server):
    index = opened(server, identity)
    server.local.delete_collection("mmrag")
    for call in (index.count, lambda: index.add(make_records(1)), lambda: index.search_text("zinc", k=1)):
        with pytest.raises(IndexFormatError, match="there must be a collection to read"):
            call()


# -- keys -------------------------------------------------------------------------------------------------


def test_a_key_goes_along_and_is_shown_nowhere(identity, caplog):
    caplog.set_level(logging.DEBUG)
    server = FakeQdrant(key=KEY)
    with pytest.raises(
        ServerStatusError, match=r"status 401.*Pass api_key=\.\.\. or set MMRAG_QDRANT_API_KEY"
    ):
        opened(server, identity, api_key="")
    index = opened(server, identity, api_key=KEY)
    server.rules.append(lambda *request: reply(403, error=f"the key {KEY} may only read"))
    with pytest.raises(ServerStatusError, match=r"\*\*\* may only read") as caught:
        index.add(make_records(1))
    texts = [
        repr(index),
        index.address,
        repr(index.__dict__),
        str(caught.value),
        caught.value.body,
        caplog.text,
    ]
    assert not [text for text in texts if KEY in text]


def test_a_key_comes_from_the_environment(identity, monkeypatch):
    monkeypatch.setenv("MMRAG_QDRANT_API_KEY", KEY)
    assert opened(FakeQdrant(key=KEY), identity).count() == 0


def test_a_key_does_not_go_over_plain_http_to_another_network(identity, server, monkeypatch):
    options = {"client_options": {"transport": server}}
    with pytest.raises(ValueError, match=r"must not go over plain http.*Use https") as caught:
        QdrantIndex.open(identity, url="http://qdrant.example:6333", api_key=KEY, **options)
    assert KEY not in str(caught.value) and server.requests == []
    QdrantIndex.open(identity, url="http://qdrant.example:6333", api_key="", **options)
    QdrantIndex.open(identity, url="http://10.0.0.7:6333", api_key=KEY, **options)
    QdrantIndex.open(identity, url="https://qdrant.example:6333", api_key=KEY, **options)
    monkeypatch.setenv("MMRAG_KEY_OVER_HTTP", "1")
    QdrantIndex.open(identity, url="http://qdrant.example:6333", api_key=KEY, **options)


# -- addresses and settings ----------------------------------------------------------------------------------


def test_addresses_by_hand():
    place = read_address("qdrant://db.example/reports-2024?tls=1&grpc=1&timeout=5")
    assert (place.url, place.collection) == ("https://db.example:6333", "reports-2024")
    assert (place.settings.grpc, place.settings.timeout) == (True, 5.0)
    made = read_address(
        "qdrant://host/a?shards=6&replicas=2&write_consistency=2&quantization=int8"
    ).new_collection
    assert (made.shards, made.replicas, made.write_consistency, made.quantization) == (6, 2, 2, "int8")
    assert read_address("qdrant://[::1]:7000/a").url == "http://[::1]:7000"
    assert shown_place("https://db.example:6333", "a") == "qdrant://db.example:6333/a?tls=1"
    for address, words in {
        "qdrant://host": "name of a collection must be letters",
        "qdrant://host/a/b": "name of a collection must be letters",
        "qdrant:///a": "must be qdrant://host:port/COLLECTION",
        "qdrant://host:port/a": "port of .* must be a number",
        "qdrant://:secret@host/a": "must not carry a key",
        "qdrant://host/a?shard=3": "must be one of tls, grpc, .*, on_disk, got shard=3",
        "qdrant://host/a?timeout=soon": "must be one of tls, grpc",
    }.items():
        with pytest.raises(ValueError, match=words):
            read_address(address)


def test_settings_are_checked_and_passed_through(identity, server):
    for wrong in (
        {"vectors": "uint8"},
        {"quantization": "binary"},
        {"oversampling": 0.5},
        {"replicas": 0},
        {"write_consistency": 2},
        {"shards": 0},
    ):
        with pytest.raises(ValueError, match="must be"):
            CollectionSettings(**wrong)
    for wrong in ({"timeout": 0}, {"retries": -1}, {"parallel": 0}, {"batch_bytes": 1}, {"grpc_port": 0}):
        with pytest.raises(ValueError, match="must be"):
            ServerSettings(**wrong)
    settings = CollectionSettings(
        shards=6, replicas=3, write_consistency=2, quantization="int8", on_disk=False
    )
    options = ServerSettings(write_ordering="strong", read_consistency="majority")
    index = QdrantIndex.open(
        identity, url=URL, settings=settings, server=options, client_options={"transport": server}
    )
    body = next(
        body for method, path, body in server.requests if (method, path) == ("PUT", "/collections/mmrag")
    )
    assert (body["shard_number"], body["replication_factor"], body["write_consistency_factor"]) == (6, 3, 2)
    assert body["on_disk_payload"] is False
    vectors = body["vectors"]
    assert [vectors[name]["hnsw_config"]["m"] for name in ("b1", "b4", "b16", "all")] == [16, 0, 0, 0]
    assert {vector["quantization_config"]["scalar"]["type"] for vector in vectors.values()} == {"int8"}
    assert {vector["datatype"] for vector in vectors.values()} == {"float16"}
    index.add(make_records(1))
    server.requests.clear()
    index.search_vectors(np.ones((1, 8)), k=1)
    assert server.requests[0][2]["params"]["quantization"]["rescore"] is True
    # an index that is there keeps what it has
    again = QdrantIndex.open(identity, url=URL, read_only=True, client_options={"transport": server})
    again.search_vectors(np.ones((1, 8)), k=1)
    assert server.requests[-1][2]["params"]["quantization"]["oversampling"] == 2.0
    assert "6 shards, 3 copies of each, 2 must have a write" in again.store_facts().details[0]


class Refused(grpc.RpcError):
    def __init__(self, status):
        self._status = status

    def code(self):
        return self._status

    def details(self):
        return "the server's words"


@pytest.mark.parametrize(
    ("status", "error", "may_pass"),
    [
        (grpc.StatusCode.UNAVAILABLE, ServerUnreachableError, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ServerUnreachableError, False),
        (grpc.StatusCode.UNAUTHENTICATED, ServerStatusError, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerStatusError, True),
        (grpc.StatusCode.INTERNAL, ServerStatusError, True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_errors_of_grpc_are_the_same(status, error, may_pass):
    failure = failure_of(Refused(status), URL, 30)
    assert isinstance(failure.error, error) and isinstance(failure.error, ServerError)
    assert failure.may_pass is may_pass


def test_a_bug_is_no_failure_of_the_server():
    assert failure_of(KeyError("x"), URL, 30) is None and failure_of(TypeError("x"), URL, 30) is None


# -- checks ------------------------------------------------------------------------------------------


def damage(server, id, **fields):
    server.local.set_payload("mmrag", fields, points=[point_id(id)])


def test_what_is_damaged_is_named_and_repaired(identity, server):
    index = opened(server, identity)
    pages = [make_page(n) for n in range(6)]
    records = [Record(p.id, np.eye(8)[n : n + 1], p.text, {"n": n}, p) for n, p in enumerate(pages)]
    index.add(records)
    index.put_document(DocumentEntry("ab" * 8, "ab" * 32, "pdf", ("a",), 6, "s", True))
    index.put_blob("ab" * 32, b"bytes")
    assert index.check().is_sound and index.check().records == 6
    damage(server, pages[0].id, text="other words")
    damage(server, pages[1].id, rows="AAAA")
    damage(server, pages[2].id, length=99)
    damage(server, pages[3].id, m={"k_n": {"v": ["n77"], "n": [77.0]}})
    index.put_blocks(pages[4].id, ())
    damage(server, pages[4].id, blocks_sum=1)
    server.local.upsert(
        "mmrag",
        [
            models.PointStruct(
                id=point_id("x"), vector={}, payload={"id": "x", "live": 0, "order": 1, "batch": "b"}
            )
        ],
    )
    with pytest.raises(IndexDamagedError, match="must be as it was written"):
        index.get([pages[0].id])
    report = index.check()
    assert not report.is_sound and report.records == 4 and not report.is_repaired
    assert {(fault.part, fault.key) for fault in report.faults} == {
        ("record", pages[0].id),
        ("matrix", pages[1].id),
        ("text", pages[2].id),
        ("metadata", pages[3].id),
        ("blocks", pages[4].id),
        ("orphan", "x"),
    }
    assert index.check(repair=True).is_repaired
    assert index.check().is_sound
    assert index.ids() == [page.id for page in pages[2:]]
    assert not index.documents()[0].complete
    memory = MemoryIndex.for_embedder(identity)
    memory.add(records[2:])
    assert index.search_text("net sales", k=9) == memory.search_text("net sales", k=9)
    assert index.ids({"n": 3}) == [pages[3].id]
    assert server.local.count("mmrag").count == 4


def test_what_is_being_added_elsewhere_is_left_alone(identity, server):
    index = opened(server, identity)

    def cut_commit(number, method, path, request):
        return cut(number, method, path, request) if path.endswith("/points/payload") else None

    server.rules.append(cut_commit)
    with pytest.raises(ServerUnreachableError):
        index.add(wide_records(40))
    server.rules.clear()
    assert index.check(repair=True).is_sound and server.local.count("mmrag").count == 40
    index.add(wide_records(40))
    assert index.count() == 40
