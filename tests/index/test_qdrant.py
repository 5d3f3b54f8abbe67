"""Qdrant beside the reference: equal hits on the same data, whatever the engine does to its vectors."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="needs the extra 'qdrant'")
pytest.importorskip("qdrant_edge", reason="needs the extra 'qdrant-edge'")

from mmrag.errors import IndexFormatError, IndexLockedError, IndexMismatchError
from mmrag.index import MemoryIndex
from mmrag.index.addresses import open_index
from mmrag.index.filters import matches
from mmrag.index.lexical import LexicalTable, lexical_text
from mmrag.index.qdrant import CollectionSettings, QdrantIndex
from mmrag.index.qdrant.collection import Stage
from mmrag.index.qdrant.conditions import filter_fields, translate, value_word, word_value
from mmrag.index.qdrant.lengths import Lengths
from mmrag.index.qdrant.search import LIVE, cascade, stage_name
from mmrag.index.qdrant.words import Tokenizer, query_numbers, text_terms
from mmrag.types import Budget, Record

from ..forks import in_child, needs_fork
from .conftest import make_page, unit
from .fake_qdrant import FakeQdrant

BUDGETS = (None, Budget(1, 1), Budget(2, 4), Budget(3, 10), Budget(5, 16), Budget(16, 64), Budget(16, 100))
WORDS = [
    "zinc",
    "copper",
    "ore",
    "price",
    "net",
    "sales",
    "2024",
    "report",
    "page",
    "漢字",
    "米国",
    "the",
    "of",
]
WORDS += ["growth", "U.S.", "e-mail", "1,234", "café", "\u0304", "x\u0304 y"]


def texts(count, rng, most=40):
    return [" ".join(rng.choice(WORDS, int(rng.integers(0, most)))) for _ in range(count)]


def random_records(count, seed, *, dim=24, most_rows=90):
    """Records of 1 to `most_rows` rows around their row 0, with texts, and metadata of every kind."""
    rng = np.random.default_rng(seed)
    records = []
    for n, text in enumerate(texts(count, rng)):
        centre = unit(rng.standard_normal((1, dim)))
        rows = int(rng.integers(1, most_rows))
        metadata = {
            "n": n,
            "kind": ["pdf", "web", "image"][n % 3],
            "day": f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}",
        }
        if n % 4:
            metadata |= {"tags": tuple(rng.choice(["a", "b", "c"], 2).tolist()), "share": float(rng.random())}
        if n % 5 == 0:
            metadata |= {"large": 2**60 + n, 'odd key.with "dots"': n % 2 == 0}
        matrix = unit(centre + 0.7 * unit(rng.standard_normal((rows, dim))))
        records.append(Record(f"r{n:03}", matrix, text, metadata))
    return records


FILTERS = [
    None,
    {"kind": "pdf"},
    {"n": {"$gte": 20, "$lt": 60}},
    {"day": {"$gte": "2024-03-01", "$lt": "2024-07"}},
    {"$not": {"day": {"$lte": "2024-06-15"}}},
    {"tags": {"$contains": "a"}, "kind": {"$nin": ["web"]}},
    {"tags": None},
    {"large": {"$gt": 2**60 + 30}},
    {"$not": {"large": {"$lte": 2**60 + 30}}},
    {"large": 2**60 + 35},
    {'odd key.with "dots"': True},
    {"$or": [{"share": {"$lt": 0.2}}, {"n": {"$in": [1, 2.0, True, "3"]}}]},
]


def edge(tmp_path, identity, **settings):
    return QdrantIndex.open(identity, path=tmp_path / "edge", settings=CollectionSettings(**settings))


def local(tmp_path, identity):
    return QdrantIndex.open(identity)


def rest(tmp_path, identity):
    return QdrantIndex.open(identity, url="http://localhost:6333", client_options={"transport": FakeQdrant()})


HOMES = {
    "local": local,
    "rest": rest,
    "edge": edge,
    "edge-float32": lambda tmp_path, identity: edge(tmp_path, identity, vectors="float32", hnsw_m=0),
    "edge-int8": lambda tmp_path, identity: edge(tmp_path, identity, quantization="int8"),
}


@pytest.fixture(params=HOMES.values(), ids=HOMES.keys())
def pair(request, tmp_path, make_identity):
    """The reference and an index in Qdrant, with the same records."""
    identity = make_identity(dim=24)
    memory = MemoryIndex.for_embedder(identity)
    index = request.param(tmp_path, identity)
    records = random_records(120, 0)
    for home in (memory, index):
        home.add(records)
        home.add([replace(record, text="zinc zinc ore") for record in records[:3]])
        home.delete(["r050", "r051"])
    yield memory, index
    index.close()


def test_vectors_find_what_the_reference_finds(pair):
    memory, index = pair
    for seed, budget in enumerate(BUDGETS):
        query = random_records(1, 100 + seed, most_rows=20)[0].matrix
        for filter in FILTERS[seed % 3 :: 3]:
            for k in (1, 10, 200):
                arguments = {"k": k, "budget": budget, "filter": filter, "exact": True}
                assert index.search_vectors(query, **arguments) == memory.search_vectors(query, **arguments)


def test_the_cascade_finds_what_the_reference_finds_while_it_is_small(pair):
    memory, index = pair
    for seed, budget in enumerate(BUDGETS):
        query = random_records(1, 200 + seed, most_rows=20)[0].matrix
        arguments = {"k": 12, "budget": budget, "filter": FILTERS[seed]}
        assert index.search_vectors(query, **arguments) == memory.search_vectors(query, **arguments)


def test_words_find_what_the_reference_finds(pair):
    memory, index = pair
    for seed, filter in enumerate(FILTERS):
        text = " ".join(np.random.default_rng(seed).choice([*WORDS, "字", "absent", "reports"], 5))
        for k in (1, 7, 200):
            expected = memory.search_text(text, k=k, filter=filter)
            assert index.search_text(text, k=k, filter=filter) == expected
            without = {"zinc", "net"}
            assert index.search_text(text, k=k, without=without) == memory.search_text(
                text, k=k, without=without
            )


def test_filters_let_the_same_pass(pair):
    memory, index = pair
    for filter in FILTERS:
        assert index.ids(filter) == memory.ids(filter)
        assert index.count(filter) == memory.count(filter)
    for key in ("n", "kind", "day", "tags", "share", "large", 'odd key.with "dots"', "nothing"):
        assert index.values(key) == memory.values(key)


def test_documents_are_named_as_the_reference_names_them(tmp_path, identity):
    memory, index = MemoryIndex.for_embedder(identity), local(tmp_path, identity)
    names = [
        "Norland 10-Q 2023-03-31",
        "Norland 10-Q 2024-03-31",
        "Norland 10-Q 2024-06-30",
        "Pump manual v1.2",
    ]
    records = []
    for n, name in enumerate(names):
        for number in range(3):
            page = make_page(
                number, sha256=f"{n:02x}" * 32, text=f"zinc {name if number else 'revenue'} {number}"
            )
            records.append(Record(page.id, np.eye(8)[n : n + 1], page.text, {}, page, name))
    for home in (memory, index):
        home.add(records)
        home.add([Record("note", np.eye(8)[:1], "Norland revenue")])
        home.delete([records[0].id])
    for question in (
        "latest Norland 10-Q",
        "pump manual",
        "revenue of Norland in 2024",
        "zinc",
        "nothing of it",
        "",
    ):
        assert index.name_documents(question) == memory.name_documents(question)


# -- the channels by themselves --------------------------------------------------------------------


def test_terms_are_those_of_fts5():
    """Counted by hand: `reports` and `report` have one stem, a pair of signs starts with its first."""
    tokenizer = Tokenizer()
    (terms,) = text_terms(tokenizer, ["report reports zinc 漢字"])
    assert terms.length == 5  # 漢字 gives the pair and its last sign
    numbers = dict(query_numbers(tokenizer, "reports 漢"))
    assert [terms.counts[number] for number in numbers["reports"]] == [2]
    assert [terms.counts[number] for number in numbers["漢*"]] == [1]


def test_scores_of_words_do_not_depend_on_how_long_texts_were_when_they_were_written(identity):
    """The stored weights assume 400 terms a text; these have 3 or 3,000. Equal to the bit."""
    memory, index = MemoryIndex.for_embedder(identity), QdrantIndex.open(identity)
    rng = np.random.default_rng(1)
    row = np.eye(8)[:1]
    for words in (3, 3000):
        records = [
            Record(
                f"{words}-{n}", row, " ".join(rng.choice(WORDS, words)) + " lead" * int(rng.integers(0, 5))
            )
            for n in range(30)
        ]
        for home in (memory, index):
            home.add(records)
        for question in ("zinc price", "lead", "lead café report"):
            for k in (1, 5, 50):
                assert index.search_text(question, k=k) == memory.search_text(question, k=k)


def test_a_search_is_one_request_with_its_stages_and_filter(identity):
    server = FakeQdrant()
    index = QdrantIndex.open(identity, url="http://localhost:6333", client_options={"transport": server})
    rng = np.random.default_rng(2)
    index.add([Record(f"r{n}", unit(rng.standard_normal((20, 8))), "zinc", {"n": n}) for n in range(60)])
    server.requests.clear()
    index.search_vectors(
        unit(rng.standard_normal((4, 8))), k=5, budget=Budget(4, 64), filter={"n": {"$lt": 50}}
    )
    ((_, path, body),) = server.requests
    assert path.endswith("/points/query") and body["using"] == "all"
    stages = []
    part = body
    while part is not None:
        stages.append(part["using"])
        assert {"key": "m.k_n.n", "range": {"lt": 50.0}} in flat(part["filter"])
        part = part["prefetch"][0] if part.get("prefetch") else None
    assert stages == ["all", "b16", "b4", "b1"]


def flat(condition):
    """All conditions in a filter, without the fields that are not set."""
    if isinstance(condition, list):
        return [part for item in condition for part in flat(item)]
    inner = [part for name in ("must", "should", "must_not") for part in flat(condition.get(name) or [])]
    own = {key: value for key, value in condition.items() if value is not None}
    if "range" in own:
        own["range"] = {key: value for key, value in own["range"].items() if value is not None}
    return [own, *inner]


def test_stages_by_hand():
    query = np.eye(2, dtype=np.float32)
    firsts = (Stage("b1", [1.0, 0.0], 800), Stage("b1", [1.0, 1.0], 800))
    rows = [[1.0, 0.0], [0.0, 1.0]]
    assert cascade(query, "b1", 10, 800, exact=False) == Stage("b1", [1.0, 1.0], 10)
    assert cascade(query, "b4", 10, 800, exact=False) == Stage("b4", rows, 10, firsts)
    middle = Stage("b4", rows, 400, firsts)
    assert cascade(query, "b16", 10, 800, exact=False) == Stage("b16", rows, 10, (middle,))
    assert cascade(query, "all", 10, 800, exact=True) == Stage("all", rows, 10, is_exact=True)
    assert [stage_name(rows) for rows in (1, 2, 4, 5, 16, 17, None)] == [
        "b1", "b4", "b4", "b16", "b16", "all", "all",
    ]  # fmt: skip


def test_the_server_may_fuse(pair):
    _, index = pair
    query = random_records(1, 7, most_rows=10)[0].matrix
    hits = index.search_fused(query, "zinc ore", k=5, filter={"n": {"$lt": 80}})
    assert len(hits) == 5 and all(int(hit.id[1:]) < 80 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    best = {index.search_vectors(query, k=1, filter={"n": {"$lt": 80}})[0].id}
    best |= {hit.id for hit in index.search_text("zinc ore", k=10, filter={"n": {"$lt": 80}})}
    assert best & {hit.id for hit in hits}


# -- filters ------------------------------------------------------------------------------------------


def test_values_are_words_that_tell_kinds_apart():
    values = [True, False, 1, 1.5, -(2**63), 2**63 - 1, "1", "", "b1", 1e300, -0.5]
    assert len({value_word(value) for value in values}) == len(values)
    assert value_word(1) == value_word(1.0) and value_word(0) == value_word(-0.0)
    for value in values:
        back = word_value(value_word(value))
        assert (back, isinstance(back, bool)) == (value, isinstance(value, bool))
    assert filter_fields({"a b": (1, "x"), "c": True}) == {
        "x_612062": {"v": ["n1", "sx"], "n": [1.0]},
        "k_c": {"v": ["b1"]},
    }


def test_a_range_of_texts_with_too_many_values_is_judged_after_the_search():
    translation = translate({"$not": {"day": {"$lt": "2024"}}}, lambda key: None)
    assert not translation.is_exact
    assert translate({"day": {"$lt": "2024"}}, lambda key: ["2023", "2025", 7]).is_exact
    assert translate({"n": {"$lt": 5}}, lambda key: None).is_exact


def test_too_many_values_change_nothing_but_the_time(monkeypatch, pair):
    monkeypatch.setattr("mmrag.index.qdrant.reading.MOST_VALUES", 3)
    memory, index = pair
    query = random_records(1, 9, most_rows=10)[0].matrix
    for filter in ({"day": {"$gte": "2024-03-01"}}, {"$not": {"day": {"$gte": "2024-03-01"}}}):
        assert index.ids(filter) == memory.ids(filter) and index.count(filter) == memory.count(filter)
        assert index.search_vectors(query, k=9, filter=filter) == memory.search_vectors(
            query, k=9, filter=filter
        )
        assert index.search_text("zinc", k=9, filter=filter) == memory.search_text("zinc", k=9, filter=filter)
        assert all(matches(filter, record.metadata) for record in index.get(index.ids(filter)))


# -- life -------------------------------------------------------------------------------------------------


def test_several_writers_and_readers_at_once(identity):
    server = FakeQdrant()
    options = {"url": "http://localhost:6333", "client_options": {"transport": server}}
    writers = [QdrantIndex.open(identity, **options) for _ in range(3)]
    reader = QdrantIndex.open(identity, read_only=True, **options)
    done = threading.Event()
    counts = []

    def write(number):
        for batch in range(4):
            rows = np.random.default_rng(batch).standard_normal((10, 2, 8))
            records = [Record(f"w{number}-{batch}-{n}", rows[n], "zinc") for n in range(10)]
            writers[number].add([*records, Record("of all", rows[0], "zinc")])

    def read():
        while not done.is_set():
            counts.append(reader.count())
            hits = reader.search_text("zinc", k=200)
            assert len({hit.id for hit in hits}) == len(hits)

    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        for future in [pool.submit(write, number) for number in range(3)]:
            future.result()
        done.set()
        reading.result()
    assert counts == sorted(counts)
    assert reader.count() == 121 == len(set(reader.ids()))
    assert writers[0].manifest == writers[2].manifest == reader.manifest


def test_two_writers_that_make_an_index_at_once_make_one(identity, make_identity):
    server = FakeQdrant()
    options = {"url": "http://localhost:6333", "client_options": {"transport": server}}

    def answer_late(number, method, path, request):
        """Another writer is faster by the whole making."""
        if method == "PUT" and path.endswith("/mmrag"):
            server.rules.clear()
            QdrantIndex.open(identity, **options)
        return

    server.rules.append(answer_late)
    with pytest.raises(IndexMismatchError, match="was built with 8-dim vectors from 'tiny'"):
        QdrantIndex.open(make_identity(name="other", fingerprint="f" * 64), **options)
    assert QdrantIndex.open(identity, **options).count() == 0


def test_an_index_of_another_embedder_is_refused(tmp_path, identity, make_identity):
    with closing(edge(tmp_path, identity)) as index:
        index.add([Record("a", np.eye(8)[:1], "zinc")])
    for other in (make_identity(fingerprint="f" * 64), make_identity(dim=16)):
        with pytest.raises(IndexMismatchError, match="was built with 8-dim vectors from 'tiny'"):
            QdrantIndex.open(other, path=tmp_path / "edge")
    with closing(QdrantIndex.open(None, path=tmp_path / "edge", read_only=True)) as index:
        assert index.manifest.embedder == "tiny"
    with pytest.raises(ValueError, match="row_type must be that of the index, 'int8', got 'float16'"):
        QdrantIndex.open(identity, path=tmp_path / "edge", row_type="float16")


def test_a_folder_of_something_else_is_refused(tmp_path, identity):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.pdf").write_bytes(b"x")
    with pytest.raises(IndexFormatError, match=r"with 'thesis\.pdf'.* nothing was written"):
        QdrantIndex.open(identity, path=tmp_path / "mine")
    with pytest.raises(IndexFormatError, match="must be an index to read, got none"):
        QdrantIndex.open(identity, path=tmp_path / "nothing", read_only=True)
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(ValueError, match="rows of record 'a' must hold at most 1048576 numbers"):
        QdrantIndex.open(replace(identity, dim=1024)).add([Record("a", np.ones((2000, 1024)))])


def test_a_folder_is_open_once(tmp_path, identity):
    with closing(edge(tmp_path, identity)), pytest.raises(IndexLockedError):
        edge(tmp_path, identity)
    edge(tmp_path, identity).close()


WRITER = """
import os, signal, sys
import numpy as np
from mmrag.index.qdrant import QdrantIndex
from mmrag.types import Record
from tests.index.conftest import Identity

index = QdrantIndex.open(Identity(), path=sys.argv[1])
for batch in range(6):
    index.add([Record(f"b{batch}-{n}", np.eye(8)[:2], "zinc", {"n": n}) for n in range(25)])
index.put_blob("ab" * 32, b"bytes")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_added_is_there_after_a_kill(tmp_path, identity, request):
    ended = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path / "edge")],
        cwd=request.config.rootpath,
        capture_output=True,
    )
    assert ended.returncode == -9, ended.stderr
    with closing(open_index(f"qdrant-edge://{tmp_path / 'edge'}", identity)) as index:
        assert index.count() == 150 == len(index.search_text("zinc", k=500)) == len(set(index.ids()))
        assert index.get_blob("ab" * 32) == b"bytes"
        assert index.check().is_sound


def test_lexical_reference_is_the_table_that_others_use(identity):
    """The law these tests stand on: the reference asks SQLite itself."""
    memory = MemoryIndex.for_embedder(identity)
    memory.add([Record("a", np.eye(8)[:1], "zinc ore"), Record("b", np.eye(8)[:1], "copper")])
    ((_, score),) = LexicalTable.search(memory._lexical, "zinc")
    assert memory.search_text("zinc", k=1)[0].score == score and lexical_text("", "zinc") == "\nzinc"


class Counts:
    """A collection that counts how often its lengths are read."""

    def __init__(self):
        self.reads = 0

    def facet(self, key, condition, limit):
        self.reads += 1
        return [(10, 3), (20, 1)]


def test_the_average_length_is_kept_while_it_cannot_have_changed():
    counts, now = Counts(), [0.0]
    lengths = Lengths(counts, LIVE, lambda: now[0])
    assert lengths.average(100) == lengths.average(100) == 12.5 and counts.reads == 2  # few: always read
    assert lengths.average(5_000) == lengths.average(5_000) and counts.reads == 3
    lengths.average(5_001)
    assert counts.reads == 4
    lengths.average(50_000)
    lengths.average(50_049)  # a thousandth
    assert counts.reads == 5
    lengths.average(50_100)
    lengths.forget()
    lengths.average(50_100)
    now[0] = 61.0
    lengths.average(50_100)
    assert counts.reads == 8


def test_many_pages_of_a_term_are_estimated_as_documents(identity, monkeypatch):
    """Three documents of two pages, all with the term: counted or estimated, they are three."""
    index = QdrantIndex.open(identity)
    pages = [make_page(n % 2, sha256=f"{n // 2:02x}" * 32, text="zinc") for n in range(6)]
    index.add([Record(p.id, np.eye(8)[:1], p.text, {}, p, f"Report {p.source.sha256[:2]}") for p in pages])
    counted = index.name_documents("zinc report")
    monkeypatch.setattr("mmrag.index.qdrant.names.MOST_PAGES", 2)
    assert index.name_documents("zinc report") == counted


@needs_fork
def test_a_fork_has_connections_of_its_own_and_no_engine(tmp_path, identity):
    server = rest(tmp_path, identity)
    folder = edge(tmp_path, identity)
    for index in (server, folder):
        index.add([Record(f"r{n}", np.eye(8)[:1], "zinc ore") for n in range(3)])
    client = server._collections.server.client

    def look():
        assert server.count() == len(server.search_text("zinc ore", k=9)) == 3
        assert server._collections.server.client is not client
        with pytest.raises(IndexLockedError, match="Open the index after the fork"):
            folder.count()

    assert in_child(look) is None
    assert server.count() == folder.count() == 3 and server._collections.server.client is client
    folder.close()
