"""What every index does. A new home is one more entry of `HOMES`."""

import asyncio
import os
import threading
import uuid
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mmrag.blocks import Block, Cell, Table
from mmrag.errors import IndexReadOnlyError
from mmrag.index.addresses import open_index
from mmrag.index.base import DocumentEntry, Index
from mmrag.index.chroma import ChromaIndex
from mmrag.index.filters import matches
from mmrag.index.memory import MemoryIndex
from mmrag.index.qdrant import CollectionSettings, QdrantIndex, ServerSettings
from mmrag.index.qdrant.connecting import connect
from mmrag.index.rows import RowCodec
from mmrag.types import Budget, Hit, Record, Word

from .conftest import make_page, make_records, unit

BOX_STEP = 1 / 65535


@dataclass
class Home:
    """An index to write to, and the one that reads what was written (often the same)."""

    index: Index
    reader: Index


def memory(tmp_path, identity):
    index = MemoryIndex.for_embedder(identity)
    return Home(index, index)


def chroma(tmp_path, identity):
    index = ChromaIndex.open(tmp_path / "index", identity)
    return Home(index, index)


def chroma_read_only(tmp_path, identity):
    index = ChromaIndex.open(tmp_path / "index", identity)
    return Home(index, ChromaIndex.open(tmp_path / "index", identity, read_only=True))


def qdrant_local(tmp_path, identity):
    index = QdrantIndex.open(identity)
    return Home(index, index)


def qdrant_edge(tmp_path, identity):
    index = QdrantIndex.open(identity, path=tmp_path / "index")
    return Home(index, index)


def postgres(url, identity):
    index = open_index(url, identity)
    return Home(index, index)


def postgres_read_only(url, identity):
    return Home(open_index(url, identity), open_index(url, identity, read_only=True))


def qdrant_rest(tmp_path, identity):
    """The client's requests over REST, answered by a server that is none; two shards: adding is staged."""
    from .fake_qdrant import FakeQdrant

    options = {"transport": FakeQdrant()}
    url = "http://localhost:6333"
    settings = CollectionSettings(shards=2)
    index = QdrantIndex.open(identity, url=url, settings=settings, client_options=options)
    return Home(index, QdrantIndex.open(identity, url=url, read_only=True, client_options=options))


def qdrant_cluster(tmp_path, identity):
    """Two collections of a real server or cluster, with two replicas where it has the nodes."""
    url, name = os.environ["MMRAG_QDRANT_URL"], f"mmrag-test-{uuid.uuid4()}"
    replicas = int(os.environ.get("MMRAG_QDRANT_REPLICAS", "1"))
    settings = CollectionSettings(shards=2 * replicas, replicas=replicas, write_consistency=replicas)
    index = QdrantIndex.open(identity, url=url, collection=name, settings=settings)
    return Home(index, QdrantIndex.open(identity, url=url, collection=name, read_only=True))


def drop_collections(index):
    """Delete what a test made on a server, also where the test closed the index."""
    name = index.address.rpartition("/")[2].partition("?")[0]
    server = connect(os.environ["MMRAG_QDRANT_URL"], None, ServerSettings())
    for collection in (name, f"{name}-files"):
        server.client.delete_collection(collection)
    server.close()


HOMES = {
    "memory": memory,
    "chroma": chroma,
    "chroma-read-only": chroma_read_only,
    "qdrant-local": qdrant_local,
    "qdrant-edge": qdrant_edge,
    "qdrant-rest": qdrant_rest,
    "qdrant-cluster": qdrant_cluster,
    "postgres": postgres,
    "postgres-read-only": postgres_read_only,
}


HOME_PARAMETERS = [
    pytest.param(item, id=item[0], marks=[pytest.mark.cluster] if item[0] == "qdrant-cluster" else [])
    for item in HOMES.items()
]


@pytest.fixture(params=HOME_PARAMETERS)
def home(request, tmp_path, identity):
    name, make = request.param
    if name.startswith("qdrant"):
        pytest.importorskip("qdrant_edge" if name == "qdrant-edge" else "qdrant_client")
    if name == "qdrant-cluster" and not os.environ.get("MMRAG_QDRANT_URL"):
        pytest.skip("needs a Qdrant server: MMRAG_QDRANT_URL")
    home = make(request.getfixturevalue("schema_url") if name.startswith("postgres") else tmp_path, identity)
    yield home
    if name == "qdrant-cluster":
        drop_collections(home.index)
    home.reader.close()
    home.index.close()


def basis(*rows, dim=8):
    """Unit vectors along the given axes."""
    return np.eye(dim, dtype=np.float32)[list(rows)]


def contents(index):
    """All that can be read, to see that a refused write changed nothing."""
    return (
        index.get(index.ids()),
        index.documents(),
        index.search_text("report net sales zinc", k=100),
        index.search_vectors(np.ones((1, 8)), k=100, exact=True),
    )


# -- adding and getting ---------------------------------------------------------------------


def test_both_are_indexes(home):
    assert isinstance(home.index, Index) and isinstance(home.reader, Index)
    assert home.index.manifest == home.reader.manifest
    assert home.index.manifest.dim == 8 and home.index.manifest.embedder == "tiny"


def test_page_comes_back_as_it_was(home):
    page = make_page(3, text="net sales 1,234 é 漢字")
    record = Record(
        page.id,
        basis(0, 1),
        page.text,
        {"file": "a.pdf", "names": ("a", "b"), "n": 1, "x": 0.5, "ok": True},
        page,
    )
    home.index.add([record])
    (found,) = home.reader.get([page.id], matrices=True)
    np.testing.assert_array_equal(found.matrix, basis(0, 1))
    assert found.metadata == record.metadata
    assert type(found.metadata["ok"]) is bool and type(found.metadata["n"]) is int
    assert replace(found.page, words=()) == replace(page, words=())
    assert [word.text for word in found.page.words] == [word.text for word in page.words]
    for got, given in zip(found.page.words, page.words, strict=True):
        assert got.box == pytest.approx(given.box, abs=BOX_STEP)


ROWS = "\tsales é\tsales é\n\t12\t13"
TABLE = Table(
    2,
    3,
    (
        Cell(0, 0, "", None, row_span=2),
        Cell(0, 1, "sales é", (0.25, 0.5, 0.75, 0.625), column_span=2, is_header=True, words=(1, 2)),
        Cell(1, 1, "12", (0.25, 0.625, 0.5, 0.75), words=(3,)),
        Cell(1, 2, "13", (0.5, 0.625, 0.75, 0.75), words=(4,)),
    ),
    header_rows=1,
    header_columns=1,
    continues=True,
)
BLOCKS = (
    Block("heading", "漢字", ((0.125, 0.0, 1.0, 0.25),), level=2, words=(0,)),
    Block(
        "table", "\tsales é\tsales é\n\t12\t13", ((0.25, 0.5, 0.75, 0.75),), words=(1, 2, 3, 4), table=TABLE
    ),
    Block("picture", ""),
)


def test_blocks_of_a_page_come_back_as_they_were(home):
    page = replace(make_page(0), blocks=BLOCKS)
    home.index.add([Record(page.id, basis(0), page.text, {}, page)])
    (found,) = home.reader.get([page.id])
    assert found.page.blocks == BLOCKS


def test_blocks_may_come_later_and_go_with_the_record(home):
    page, other = make_page(0), make_page(1)
    home.index.add([Record(p.id, basis(0), p.text, {}, p) for p in (page, other)])
    assert [record.page.blocks for record in home.reader.get([page.id, other.id])] == [None, None]
    home.index.put_blocks(page.id, BLOCKS[:1])
    home.index.put_blocks(page.id, BLOCKS)
    home.index.put_blocks(other.id, ())
    assert [record.page.blocks for record in home.reader.get([page.id, other.id])] == [BLOCKS, ()]
    home.index.add([Record(page.id, basis(0), page.text, {}, page)])  # another reading: what it says holds
    assert home.reader.get([page.id])[0].page.blocks is None
    home.index.put_blocks(page.id, BLOCKS)
    home.index.delete([page.id])
    home.index.add([Record(page.id, basis(0), page.text, {}, page)])
    assert home.reader.get([page.id])[0].page.blocks is None


def test_blocks_of_what_is_no_page_are_passed_over(home):
    home.index.add([Record("note", basis(0), "a text")])
    home.index.put_blocks("note", BLOCKS)
    home.index.put_blocks("not there", BLOCKS)
    (found,) = home.reader.get(["note", "not there"])
    assert (found.text, found.page) == ("a text", None)


def test_record_without_page_has_its_own_id_and_text(home):
    home.index.add([Record("note:1", basis(0), "zinc prices", {"Schlüssel mit Leerzeichen": "ja"})])
    (found,) = home.reader.get(["note:1"])
    assert (found.id, found.text, found.page, found.matrix) == ("note:1", "zinc prices", None, None)
    assert home.reader.ids({"Schlüssel mit Leerzeichen": "ja"}) == ["note:1"]


def test_page_may_differ_from_its_record(home):
    """A host may store a page under its own id, with other text to search."""
    page = make_page(0, text="what stands there")
    home.index.add([Record("mine", basis(0), "what is searched", {}, page)])
    (found,) = home.reader.get(["mine"])
    assert (found.text, found.page.text, found.page.id) == ("what is searched", "what stands there", page.id)


def test_get_keeps_the_order_asked_and_leaves_missing_ids_out(home):
    home.index.add(make_records(5))
    assert [r.id for r in home.reader.get(["r3", "nobody", "r0", "r3"])] == ["r3", "r0", "r3"]
    assert home.reader.get([]) == []


def test_ids_stand_in_the_order_of_first_adding(home):
    home.index.add(make_records(3))
    home.index.add([replace(make_records(1)[0], text="changed"), *make_records(1, prefix="a")])
    assert home.reader.ids() == ["r0", "r1", "r2", "a0"]
    assert home.reader.count() == 4


def test_adding_again_replaces_everything(home):
    page = make_page(0)
    home.index.add([Record("a", basis(0, 1), "old words", {"old": 1}, page), Record("b", basis(5), "other")])
    home.index.add([Record("a", basis(2), "new words", {"new": 2})])
    (found,) = home.reader.get(["a"], matrices=True)
    np.testing.assert_array_equal(found.matrix, basis(2))
    assert (found.text, dict(found.metadata), found.page) == ("new words", {"new": 2}, None)
    assert home.reader.search_text("old", k=5) == []
    assert [hit.id for hit in home.reader.search_text("new", k=5)] == ["a"]
    assert home.reader.ids({"old": 1}) == [] and home.reader.ids({"new": 2}) == ["a"]
    for exact in (True, False):
        assert home.reader.search_vectors(basis(2), k=1, budget=Budget(1, 1), exact=exact) == [Hit("a", 1.0)]


def test_unicode_ids(home):
    ids = ["页#p1", "é", "e\u0301", "a b/c?d", "🙂" * 50, "x" * 2000, "'; DROP TABLE records; --"]
    home.index.add([Record(id, basis(n), f"text {n}") for n, id in enumerate(ids)])
    assert home.reader.ids() == ids
    for n, id in enumerate(ids):
        assert home.reader.search_vectors(basis(n), k=1, budget=Budget(1, 1))[0].id == id


def test_what_is_handed_out_is_a_copy(home):
    home.index.add(make_records(1))
    (found,) = home.reader.get(["r0"], matrices=True)
    found.metadata["n"] = 99
    found.matrix[:] = 0
    (again,) = home.reader.get(["r0"], matrices=True)
    assert again.metadata["n"] == 0 and again.matrix.any()


def test_add_nothing_is_nothing(home):
    home.index.add([])
    assert home.reader.count() == 0


# -- refusals, with nothing written -----------------------------------------------------------

FLAT = "must be a string, a number or a boolean"
NOWHERE = replace(make_page(), words=(Word("w", (0.0, 0.0, float("nan"), 1.0)),))
NO_TEXT = replace(make_page(), words=(Word("\udc80", (0.0, 0.0, 1.0, 1.0)),))
REFUSED = {
    "word without a place": (Record("x", np.ones((1, 8)), "t", {}, NOWHERE), "boxes of words must be finite"),
    "surrogate in a word": (Record("x", np.ones((1, 8)), "t", {}, NO_TEXT), "words must be text"),
    "missing matrix": (Record("x", None, "t"), "record 'x' has no matrix. Encode it"),
    "one-dimensional": (Record("x", np.ones(8), "t"), r"must be \(rows, 8\) with 1 to 4096 rows, got \(8,\)"),
    "other dim": (Record("x", np.ones((2, 9)), "t"), r"must be \(rows, 8\) .* got \(2, 9\)"),
    "no rows": (Record("x", np.ones((0, 8)), "t"), r"got \(0, 8\)"),
    "4097 rows": (Record("x", np.ones((4097, 8)), "t"), r"got \(4097, 8\)"),
    "NaN": (Record("x", np.full((1, 8), np.nan), "t"), "must be finite"),
    "infinite": (Record("x", np.full((1, 8), np.inf), "t"), "must be finite"),
    "beyond float16": (Record("x", np.full((1, 8), 70000.0), "t"), r"within float16 \(±65504\)"),
    "strings": (Record("x", np.full((1, 8), "a"), "t"), "must be of numbers"),
    "empty id": (Record("", np.ones((1, 8)), "t"), "id must be non-empty text"),
    "surrogate in the id": (Record("\udc80", np.ones((1, 8)), "t"), "id must be non-empty text"),
    "surrogate in the text": (Record("x", np.ones((1, 8)), "\udc80"), "text that UTF-8 can write"),
    "nested metadata": (Record("x", np.ones((1, 8)), "t", {"a": {"b": 1}}), FLAT),
    "list in a list": (Record("x", np.ones((1, 8)), "t", {"a": [[1]]}), FLAT),
    "set in metadata": (Record("x", np.ones((1, 8)), "t", {"a": {1}}), FLAT),
    "None in a tuple": (Record("x", np.ones((1, 8)), "t", {"a": (1, None)}), FLAT),
    "NaN in metadata": (Record("x", np.ones((1, 8)), "t", {"a": float("nan")}), "must be a finite number"),
    "too large a number": (Record("x", np.ones((1, 8)), "t", {"a": 2**63}), "must fit in 64 bits"),
    "key with $": (Record("x", np.ones((1, 8)), "t", {"$a": 1}), r"does not start with '\$', got '\$a'"),
    "empty key": (Record("x", np.ones((1, 8)), "t", {"": 1}), "metadata key of record 'x' must be non-empty"),
}


def test_bad_record_is_refused_and_nothing_of_the_call_is_written(home):
    home.index.add(make_records(2))
    before = contents(home.reader)
    for bad, words in REFUSED.values():
        with pytest.raises(ValueError, match=words):
            home.index.add([*make_records(2, prefix="new"), bad])
    assert contents(home.reader) == before


def test_id_twice_in_a_call_is_refused(home):
    with pytest.raises(ValueError, match="'r0' twice"):
        home.index.add([*make_records(2), *make_records(1)])
    assert home.reader.count() == 0


def test_bad_questions_are_refused(home):
    home.index.add(make_records(2))
    for k in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
            home.reader.search_vectors(basis(0), k=k)
        with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
            home.reader.search_text("report", k=k)
    for query in (np.ones(8), np.ones((1, 9)), np.ones((0, 8))):
        with pytest.raises(ValueError, match=r"a query must be \(rows, 8\)"):
            home.reader.search_vectors(query, k=1)
        with pytest.raises(ValueError, match=r"a query must be \(rows, 8\)"):
            home.reader.score(query, ["r0"])
    with pytest.raises(ValueError, match="must be finite"):
        home.reader.search_vectors(np.full((1, 8), np.nan), k=1)
    for call in (
        lambda filter: home.reader.ids(filter),
        lambda filter: home.reader.count(filter),
        lambda filter: home.reader.search_vectors(basis(0), k=1, filter=filter),
        lambda filter: home.reader.search_vectors(basis(0), k=1, filter=filter, exact=True),
        lambda filter: home.reader.search_text("report", k=1, filter=filter),
    ):
        with pytest.raises(ValueError, match="unknown filter operator"):
            call({"n": {"$bigger": 1}})


# -- deleting and changing --------------------------------------------------------------------


def test_deleted_records_are_gone_from_everywhere(home):
    home.index.add(make_records(4, text="zinc {n}"))
    assert home.index.delete(["r1", "nobody", "r1", "r3"]) == 2
    assert home.index.delete(["r1"]) == 0 and home.index.delete([]) == 0
    assert home.reader.ids() == ["r0", "r2"] and home.reader.count() == 2
    assert home.reader.values("n") == [0, 2]
    assert {hit.id for hit in home.reader.search_text("zinc", k=9)} == {"r0", "r2"}
    for exact in (True, False):
        for budget in (None, Budget(1, 1)):
            hits = home.reader.search_vectors(np.ones((1, 8)), k=9, budget=budget, exact=exact)
            assert {hit.id for hit in hits} == {"r0", "r2"}


def test_deleted_and_replaced_texts_leave_no_trace_in_bm25(home, identity):
    """Scores are those of an index that never had them."""
    home.index.add(make_records(6, text="zinc {n}"))
    home.index.add([Record("r0", basis(0), "copper"), Record("r5", basis(5), "zinc zinc ore")])
    home.index.delete(["r1", "r2"])
    fresh = MemoryIndex.for_embedder(identity)
    fresh.add(home.reader.get(home.reader.ids(), matrices=True))
    assert home.reader.search_text("zinc ore copper", k=9) == fresh.search_text("zinc ore copper", k=9)


def test_deleted_id_can_be_added_again(home):
    home.index.add(make_records(3))
    home.index.delete(["r0"])
    home.index.add([Record("r0", basis(7), "zinc")])
    assert home.reader.ids() == ["r1", "r2", "r0"]
    assert home.reader.search_vectors(basis(7), k=1, budget=Budget(1, 1)) == [Hit("r0", 1.0)]


def test_update_metadata_sets_keys_and_keeps_the_others(home):
    home.index.add(make_records(3, metadata=lambda n: {"n": n, "kept": "yes", "names": ("a", "b")}))
    home.index.update_metadata(["r0", "nobody", "r2"], {"n": 7, "names": ("c",)})
    found = home.reader.get(["r0", "r1", "r2"])
    assert [dict(record.metadata) for record in found] == [
        {"n": 7, "kept": "yes", "names": ("c",)},
        {"n": 1, "kept": "yes", "names": ("a", "b")},
        {"n": 7, "kept": "yes", "names": ("c",)},
    ]
    assert home.reader.ids({"n": 7}) == ["r0", "r2"] and home.reader.ids({"names": "a"}) == ["r1"]
    with pytest.raises(ValueError, match=FLAT):
        home.index.update_metadata(["r0"], {"n": [[1]]})


def test_lists_are_several_values_and_none_is_no_value(home):
    """As hosts' loaders write metadata; what is stored is flat."""
    values = {"tags": ["a", "b"], "author": None, "n": 1}
    home.index.add([Record("r", basis(0), "t", values)])
    assert home.reader.get(["r"])[0].metadata == {"tags": ("a", "b"), "n": 1}
    assert (home.reader.values("tags"), home.reader.values("author")) == (["a", "b"], [])
    home.index.update_metadata(["r"], {"tags": ["c"], "n": None, "author": "Kim"})
    assert home.reader.get(["r"])[0].metadata == {"tags": ("c",), "author": "Kim"}
    assert (home.reader.ids({"n": 1}), home.reader.ids({"n": None})) == ([], ["r"])


def test_values_are_sorted_and_different(home):
    kinds = [2, "b", True, 1, "a", False, 1.5, ("a", "c", 2), True]
    home.index.add([Record(f"r{n}", basis(0), "", {"k": kind}) for n, kind in enumerate(kinds)])
    values = home.reader.values("k")
    assert values == [False, True, 1, 1.5, 2, "a", "b", "c"]
    assert [type(value) for value in values[:2]] == [bool, bool]
    assert home.reader.values("nothing") == []


# -- filters ------------------------------------------------------------------------------------

FILTERS = [
    {},
    {"kind": "pdf"},
    {"n": {"$gte": 3, "$lt": 10}},
    {"names": "shared"},
    {"names": {"$ne": "shared"}},
    {"kind": {"$in": ["pdf", "web"]}, "scanned": True},
    {"$or": [{"n": 1}, {"$not": {"kind": "pdf"}}]},
    {"missing": {"$nin": [1]}},
    {"scanned": 1},
    {"n": 10_000},
]


def test_filter_means_the_same_everywhere(home):
    def metadata(n):
        names = (f"f{n}", "shared") if n % 4 else f"f{n}"
        values = {"n": n, "kind": ["pdf", "image", "web"][n % 3], "names": names}
        return {**values, "scanned": n % 2 == 0} if n % 5 else values

    records = make_records(30, metadata=metadata)
    home.index.add(records)
    for filter in FILTERS:
        expected = [record.id for record in records if matches(filter, record.metadata)]
        assert home.reader.ids(filter) == expected
        assert home.reader.count(filter) == len(expected)
        assert {hit.id for hit in home.reader.search_text("report", k=99, filter=filter)} == set(expected)
        for exact in (True, False):
            for budget in (None, Budget(1, 1), Budget(2, 2)):
                arguments = {"k": 99, "budget": budget, "filter": filter, "exact": exact}
                hits = home.reader.search_vectors(np.ones((2, 8)), **arguments)
                assert {hit.id for hit in hits} == set(expected)


def test_filter_does_not_change_scores(home):
    """The statistics of BM25 are those of the whole index, whoever asks for a part of it."""
    home.index.add(make_records(20, text="zinc page {n} of the report"))
    whole_text = {hit.id: hit.score for hit in home.reader.search_text("zinc 3 7", k=99)}
    whole_vectors = {hit.id: hit.score for hit in home.reader.search_vectors(np.ones((2, 8)), k=99)}
    for hit in home.reader.search_text("zinc 3 7", k=99, filter={"n": {"$lt": 5}}):
        assert hit.score == pytest.approx(whole_text[hit.id])
    for hit in home.reader.search_vectors(np.ones((2, 8)), k=99, filter={"n": {"$lt": 5}}):
        assert hit.score == whole_vectors[hit.id]


# -- vectors --------------------------------------------------------------------------------------


def test_score_by_hand(home):
    """Query along axes 0 and 1: the first document has both, the second one of them."""
    home.index.add([Record("one", basis(1, 5)), Record("both", basis(0, 1))])
    assert home.reader.search_vectors(basis(0, 1), k=2) == [Hit("both", 2.0), Hit("one", 1.0)]
    assert home.reader.score(basis(0, 1), ["one", "nobody", "both", "one"]) == [
        Hit("one", 1.0),
        Hit("both", 2.0),
        Hit("one", 1.0),
    ]
    assert home.reader.score(basis(0, 1), []) == []


def test_negative_scores_are_scores(home):
    home.index.add([Record("against", -basis(0)), Record("more against", -2 * basis(0))])
    for exact in (True, False):
        for budget in (None, Budget(1, 1)):
            hits = home.reader.search_vectors(basis(0), k=5, budget=budget, exact=exact)
            assert hits == [Hit("against", -1.0), Hit("more against", -2.0)]


def test_budget_uses_prefixes_on_both_sides(home):
    home.index.add([Record("late", basis(7, 7, 0)), Record("early", basis(1, 7, 7))])
    # axis 0 is row 2 of "late", and row 1 of the query
    query = basis(1, 0)
    assert home.reader.search_vectors(query, k=2) == [Hit("early", 1.0), Hit("late", 1.0)]
    assert home.reader.search_vectors(query, k=2, budget=Budget(1, 3)) == [
        Hit("early", 1.0),
        Hit("late", 0.0),
    ]
    assert home.reader.search_vectors(query, k=2, budget=Budget(2, 2)) == [
        Hit("early", 1.0),
        Hit("late", 0.0),
    ]
    assert home.reader.score(query, ["late", "early"], budget=Budget(1, 1)) == [
        Hit("late", 0.0),
        Hit("early", 1.0),
    ]


def test_budget_beyond_the_rows_uses_what_there_is(home):
    home.index.add(make_records(20))
    query = make_records(1, seed=5, rows=3)[0].matrix
    assert home.reader.search_vectors(query, k=20, budget=Budget(64, 64)) == home.reader.search_vectors(
        query, k=20
    )


def test_ties_are_broken_by_id(home):
    same = unit(np.random.default_rng(3).standard_normal((4, 8)))
    query = unit(np.random.default_rng(4).standard_normal((3, 8)))
    ids = [f"r{n:03d}" for n in range(40)]
    shuffled = [ids[n] for n in np.random.default_rng(5).permutation(40)]
    home.index.add([Record(id, same, "the same text") for id in shuffled])
    for exact in (True, False):
        for budget in (None, Budget(1, 1), Budget(2, 3)):
            hits = home.reader.search_vectors(query, k=10, budget=budget, exact=exact)
            assert [hit.id for hit in hits] == ids[:10]
            assert len({hit.score for hit in hits}) == 1
    assert [hit.id for hit in home.reader.search_text("same", k=10)] == ids[:10]


def test_shortcut_equals_exact_at_small_size(home):
    home.index.add(make_records(200))
    for seed in range(3):
        query = make_records(1, seed=100 + seed, rows=3)[0].matrix
        for budget in (None, Budget(1, 1), Budget(2, 1), Budget(1, 2), Budget(2, 3), Budget(16, 64)):
            for filter in (None, {"n": {"$lt": 90}}):
                arguments = {"k": 10, "budget": budget, "filter": filter}
                exact = home.reader.search_vectors(query, exact=True, **arguments)
                assert home.reader.search_vectors(query, **arguments) == exact
                assert len(exact) == 10


def test_search_agrees_with_score_and_with_loops(home):
    records = make_records(50)
    home.index.add(records)
    query = make_records(1, seed=9, rows=3)[0].matrix.astype(np.float32)
    hits = home.reader.search_vectors(query, k=50)
    assert home.reader.score(query, [hit.id for hit in hits]) == hits
    codec = RowCodec.of(home.index.manifest)
    by_id = {r.id: codec.decode(codec.encode(r.matrix)).astype(np.float64) for r in records}
    for hit in hits:
        expected = sum(max(float(q @ row) for row in by_id[hit.id]) for q in query.astype(np.float64))
        assert hit.score == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_homes_agree_to_the_last_digit(home, identity):
    """Scores do not depend on the home, so rankings fused later do not either."""
    reference = MemoryIndex.for_embedder(identity)
    records = make_records(60, text="page {n} of the report on zinc")
    for index in (home.index, reference):
        index.add(records)
    query = make_records(1, seed=9, rows=3)[0].matrix
    for budget in (None, Budget(1, 1), Budget(2, 3)):
        assert home.reader.search_vectors(query, k=60, budget=budget) == reference.search_vectors(
            query, k=60, budget=budget
        )
    assert home.reader.search_text("zinc 7 8", k=60) == reference.search_text("zinc 7 8", k=60)


def test_more_asked_than_there_is(home):
    home.index.add(make_records(3))
    for budget in (None, Budget(1, 1)):
        assert len(home.reader.search_vectors(basis(0), k=1000, budget=budget)) == 3
    assert len(home.reader.search_text("report", k=1000)) == 3


def test_empty_index_answers_with_nothing(home):
    assert home.reader.search_vectors(basis(0), k=3) == []
    assert home.reader.search_vectors(basis(0), k=3, budget=Budget(1, 1), exact=True) == []
    assert home.reader.search_vectors(basis(0), k=3, filter={"a": 1}) == []
    assert home.reader.search_text("zinc", k=3) == []
    assert (home.reader.ids(), home.reader.count(), home.reader.documents()) == ([], 0, [])
    assert home.reader.score(basis(0), ["a"]) == [] and home.reader.get(["a"]) == []


# -- text -----------------------------------------------------------------------------------------


def test_text_finds_only_records_that_share_a_term(home):
    home.index.add(
        [Record("a", basis(0), "zinc prices"), Record("b", basis(1), "copper prices"), Record("c", basis(2))]
    )
    assert [hit.id for hit in home.reader.search_text("What is the price of zinc?", k=5)] == ["a", "b"]
    assert all(hit.score > 0 for hit in home.reader.search_text("zinc", k=5))
    assert home.reader.search_text("", k=5) == [] and home.reader.search_text("?!", k=5) == []


# -- documents and bytes --------------------------------------------------------------------------


def entry(**changes):
    values = {
        "id": "ab" * 8,
        "sha256": "ab" * 32,
        "kind": "pdf",
        "names": ("/x/a.pdf",),
        "total_pages": 2,
        "settings": "s1",
    }
    return DocumentEntry(**{**values, **changes})


def test_document_entries_come_back_in_order(home):
    first = entry(names=("/x/a.pdf", "/y/b.pdf"), skipped=((1, "broken"), (4, "too large")), complete=True)
    second = entry(id="cd" * 8, sha256="cd" * 32)
    home.index.put_document(entry())
    home.index.put_document(second)
    home.index.put_document(first)
    assert home.reader.documents() == [first, second]


def test_removing_a_document_takes_its_pages_its_entry_and_its_bytes(home):
    pages = [make_page(n) for n in range(3)]
    other = make_page(0, sha256="cd" * 32)
    home.index.add([Record(page.id, basis(n), page.text, {}, page) for n, page in enumerate([*pages, other])])
    home.index.add([Record("ab" * 8, basis(5), "a note whose id is the document's")])
    home.index.put_document(entry())
    home.index.put_document(entry(id="cd" * 8, sha256="cd" * 32))
    home.index.put_blob("ab" * 32, b"bytes")
    home.index.put_blob("cd" * 32, b"others")
    assert home.index.remove_document("ab" * 8) == 3
    assert home.index.remove_document("ab" * 8) == 0 and home.index.remove_document("") == 0
    assert home.reader.ids() == [other.id, "ab" * 8]
    assert [known.id for known in home.reader.documents()] == ["cd" * 8]
    assert (home.reader.get_blob("ab" * 32), home.reader.get_blob("cd" * 32)) == (None, b"others")
    assert len(home.reader.search_vectors(np.ones((1, 8)), k=9, budget=Budget(1, 1))) == 2


def test_bytes_come_back(home):
    home.index.put_blob("ef" * 32, b"\x00\xff" * 1000)
    assert home.reader.get_blob("ef" * 32) == b"\x00\xff" * 1000
    assert home.reader.get_blob("00" * 32) is None


def test_bytes_under_a_record_id_go_with_the_record(home):
    home.index.add([Record("picture", basis(0), "")])
    home.index.put_blob("picture", b"bytes")
    home.index.remove_document("picture")
    assert home.reader.get_blob("picture") == b"bytes"
    home.index.delete(["picture"])
    assert home.reader.get_blob("picture") is None


# -- life -------------------------------------------------------------------------------------------


def test_closing_twice_is_fine(home):
    home.reader.close()
    home.reader.close()
    home.index.close()
    home.index.close()


def test_searches_run_while_another_thread_adds(home):
    """Every search sees whole batches: a record is found by both channels or by neither."""
    errors: list[BaseException] = []
    done = threading.Event()

    def add():
        try:
            for batch in range(8):
                home.index.add(make_records(25, seed=batch, prefix=f"b{batch}-", text="zinc"))
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            errors.append(error)
        finally:
            done.set()

    def search():
        try:
            while not done.is_set():
                count = home.reader.count()
                assert count % 25 == 0
                assert len(home.reader.search_text("zinc", k=1000)) >= count
                hits = home.reader.search_vectors(np.ones((1, 8)), k=1000)
                assert len(hits) >= count and len(hits) % 25 == 0
                assert len(home.reader.get([hit.id for hit in hits])) == len(hits)
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=add), *(threading.Thread(target=search) for _ in range(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert home.reader.count() == 200


async def test_searches_run_in_asyncio_while_adding(home):
    home.index.add(make_records(50))
    results = await asyncio.gather(
        asyncio.to_thread(home.index.add, make_records(50, seed=1, prefix="s")),
        *(asyncio.to_thread(home.reader.search_vectors, basis(n % 8), k=5) for n in range(16)),
        *(asyncio.to_thread(home.reader.search_text, "report", k=5) for _ in range(16)),
    )
    assert all(len(hits) == 5 for hits in results[1:])
    assert home.reader.count() == 100


def test_more_records_in_one_call_than_chroma_takes_at_once(home):
    """Chroma takes 5,461; a caller need not know."""
    count = 5_600
    matrices = unit(np.random.default_rng(0).standard_normal((count, 2, 8)))
    home.index.add([Record(f"r{n}", matrices[n], f"page {n}") for n in range(count)])
    assert home.reader.count() == count
    for n in (0, 5460, 5461, count - 1):
        query = matrices[n, :1].astype(np.float16)
        exact = home.reader.search_vectors(query, k=3, budget=Budget(1, 1), exact=True)
        assert exact[0].id == f"r{n}"
        assert home.reader.search_vectors(query, k=3, budget=Budget(1, 1)) == exact
    assert home.index.delete([f"r{n}" for n in range(5_500)]) == 5_500
    assert len(home.reader.search_vectors(matrices[0, :1], k=2_000, budget=Budget(1, 1))) == 100


def test_a_reader_does_not_write(home):
    if not home.reader.read_only:
        pytest.skip("this home has no separate reader")
    home.index.add(make_records(1))
    for write in (
        lambda: home.reader.add(make_records(1)),
        lambda: home.reader.delete(["r0"]),
        lambda: home.reader.update_metadata(["r0"], {"a": 1}),
        lambda: home.reader.put_document(entry()),
        lambda: home.reader.remove_document("ab" * 8),
        lambda: home.reader.put_blob("ab" * 32, b""),
        lambda: home.reader.put_blocks("anything", ()),
    ):
        with pytest.raises(IndexReadOnlyError, match="was opened with read_only=True"):
            write()
    assert home.reader.count() == 1
