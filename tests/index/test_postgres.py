"""What an index in PostgreSQL does besides the contract: equal results, hostile names, refusals."""

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="needs the extra 'postgres'")

from mmrag.errors import (
    IndexFormatError,
    IndexMismatchError,
    ServerAccessError,
    ServerFullError,
    ServerTimeoutError,
    ServerUnfitError,
    ServerUnreachableError,
)
from mmrag.index.addresses import open_index
from mmrag.index.filters import matches
from mmrag.index.memory import MemoryIndex
from mmrag.index.postgres import PostgresIndex, hnsw, schema, values, vectors, writing
from mmrag.index.postgres.addresses import parse_address
from mmrag.types import Budget, Record

from ..forks import in_child, needs_fork
from .conftest import make_page, make_records
from .postgres_server import execute, fresh_schema, with_schema


@pytest.fixture
def index(schema_url, identity):
    index = open_index(schema_url, identity)
    yield index
    index.close()


def basis(*rows, dim=8):
    return np.eye(dim, dtype=np.float32)[list(rows)]


# -- results equal to those of the other homes --------------------------------------------------

HOSTILE = [
    "'; DROP TABLE records; --",
    '"; DROP SCHEMA public CASCADE; --',
    "%s %(x)s %% {records} {}",
    "a\\'b\\",
    "$1 $v @ ? \"quoted\" 'quoted'",
    "null\0byte",
    "\x01\x02\x01\x01",
    "Schlüssel mit Leerzeichen 漢字 🙂",
    "$[*] ? (@ > 1)",
    "x" * 5000,
]


def test_hostile_names_are_names(index, identity):
    """As ids, keys, values, texts, document ids and keys of bytes, in filters and searches."""
    memory = MemoryIndex.for_embedder(identity)
    for home in (index, memory):
        home.add(
            [
                Record(name, basis(n % 8), f"{name} zinc", {f"key {name}": name, "n": n, "all": (name, "x")})
                for n, name in enumerate(HOSTILE)
            ]
        )
    assert index.ids() == memory.ids() == HOSTILE
    assert index.get(HOSTILE) == memory.get(HOSTILE)
    for name in HOSTILE:
        key = f"key {name}"
        filters = [{key: name}, {key: {"$gte": name}}, {"all": {"$in": [name]}}, {key: None}]
        filters += [{"all": {"$in": [*HOSTILE, *map(str, range(60))]}}, {"$not": {key: name}}]
        for filter in filters:
            assert index.ids(filter) == memory.ids(filter)
        assert index.values(key) == [name]
        assert index.search_text(name, k=20) == memory.search_text(name, k=20)
        index.update_metadata([name], {key: f"{name}!"})
        assert index.ids({key: f"{name}!"}) == [name]
    for name in HOSTILE:
        index.put_blob(name, name.encode())
        assert index.get_blob(name) == name.encode()
        index.remove_document(name)
        assert index.delete([name]) == 1
    assert index.count() == 0 and index.get_blob(HOSTILE[0]) is None


def drawn_metadata(rng):
    pools = {
        "n": [0, 1, 2, 1.5, -1, 2**62, float(2**62), 9.1e18, 0.1, -0.0],
        "s": ["", "a", "A", "b", "é", "\U0001f642", "\uffee", "1", "true"],
        "b": [True, False],
        "mixed": [1, 1.0, True, "1", 0, False],
    }
    metadata = {}
    for key, pool in pools.items():
        count = rng.integers(0, 3)
        chosen = tuple(pool[i] for i in rng.integers(0, len(pool), count))
        if count:
            metadata[key] = chosen[0] if count == 1 and rng.random() < 0.5 else chosen
    return metadata, pools


def drawn_filter(rng, pools, depth=0):
    if depth < 2 and rng.random() < 0.4:
        kind = ["$and", "$or", "$not"][rng.integers(3)]
        parts = [drawn_filter(rng, pools, depth + 1) for _ in range(rng.integers(1, 3))]
        return {kind: parts[0] if kind == "$not" else parts}
    key = [*pools, "missing"][rng.integers(len(pools) + 1)]
    pool = pools.get(key, [1, "a"])
    value = pool[rng.integers(len(pool))]
    kind = ["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", None][rng.integers(9)]
    if kind in ("$in", "$nin"):
        more = [*range(100, 160)] if rng.random() < 0.3 else []
        return {key: {kind: [pool[i] for i in rng.integers(0, len(pool), rng.integers(0, 4))] + more}}
    if kind is None:
        return {key: None if rng.random() < 0.5 else {"$ne": None}}
    if isinstance(value, bool) and kind not in ("$eq", "$ne"):
        kind = "$eq"
    return {key: {kind: value}}


def test_filters_mean_what_they_mean_in_python(index):
    rng = np.random.default_rng(7)
    drawn = [drawn_metadata(rng) for _ in range(120)]
    records = [Record(f"r{n:03}", basis(n % 8), "", metadata) for n, (metadata, _) in enumerate(drawn)]
    index.add(records)
    for _ in range(250):
        filter = drawn_filter(rng, drawn[0][1])
        expected = [record.id for record in records if matches(filter, record.metadata)]
        assert index.ids(filter) == expected, filter


WORDS = [
    *("net", "sales", "zinc", "copper", "price", "prices", "report", "2024-08-03", "Q3", "1,234.5", "e-mail"),
    *("U.S.", "company's", "東京都", "京", "한국어", "ไทย", "é", "e\u0301", "\u0301"),
]
QUESTIONS = [
    *("price of zinc", "京", "東京", "sales on 3 August 2024", "prices price", "한", "what is the"),
    "zinc zinc zinc",
]


def test_words_score_as_in_memory_to_the_last_digit(index, identity):
    rng = np.random.default_rng(3)
    memory = MemoryIndex.for_embedder(identity)
    records = []
    for n in range(300):
        text = " ".join(rng.choice(WORDS, rng.integers(1, 60)))
        page = make_page(n % 5, sha256=f"{n // 5:04x}".ljust(64, "0"), text=text)
        name = f"{['Annual', 'Quarterly'][n % 2]} report {2000 + n // 5} v1.{n % 3}"
        records.append(Record(page.id, basis(n % 8), page.text, {"n": n}, page, name))
    for home in (index, memory):
        home.add(records)
        home.delete([record.id for record in records[::17]])
        home.add([replace(record, text="copper only", page=None) for record in records[1::23]])
    for question in [*QUESTIONS, *(" ".join(rng.choice(WORDS, 3)) for _ in range(20))]:
        for arguments in ({}, {"filter": {"n": {"$lt": 100}}}, {"without": {"zinc", "price"}}):
            assert index.search_text(question, k=9, **arguments) == memory.search_text(
                question, k=9, **arguments
            )
        names, expected = index.name_documents(question), memory.name_documents(question)
        assert dict(names.scores) == pytest.approx(dict(expected.scores))
        assert names.family_terms == expected.family_terms
    latest = "latest annual report 2005"
    assert dict(index.name_documents(latest).scores) == pytest.approx(
        dict(memory.name_documents(latest).scores)
    )
    assert index.document_ids([r.id for r in records]) == memory.document_ids([r.id for r in records])


@pytest.mark.parametrize("row_type", ["int8", "float16"])
def test_vectors_score_as_in_memory(schema_url, identity, row_type):
    memory = MemoryIndex.for_embedder(identity, row_type=row_type, rows=6)
    index = open_index(schema_url, identity, row_type=row_type, rows=6)
    rng = np.random.default_rng(5)
    records = [
        Record(f"r{n}", rng.standard_normal((rng.integers(1, 9), 8)), "", {"n": n}) for n in range(500)
    ]
    for home in (index, memory):
        home.add(records)
    for budget in (None, Budget(1, 1), Budget(2, 3), Budget(16, 64)):
        for filter in (None, {"n": {"$lt": 90}}):
            arguments = {"k": 12, "budget": budget, "filter": filter}
            query = rng.standard_normal((3, 8))
            expected = memory.search_vectors(query, **arguments)
            assert index.search_vectors(query, **arguments) == expected
            assert index.search_vectors(query, exact=True, **arguments) == expected
            ids = [hit.id for hit in expected]
            assert index.score(query, ids, budget=budget) == expected
    index.close()


def test_the_first_stage_finds_most_with_an_index_and_without(index, monkeypatch, schema_url, postgres):
    """Of 4,000 records, 100 survivors: at least 9 of the best 10, under filters, too."""
    monkeypatch.setattr(vectors, "MOST_PASSING", 300)
    few = PostgresIndex.open(schema_url, None, survivors=100)
    index.add(make_records(4000, rows=4, metadata=lambda n: {"n": n, "half": n % 2}))
    queries = [make_records(1, seed=100 + seed, rows=3)[0].matrix for seed in range(8)]

    def recall():
        shares = []
        for filter in (None, {"n": {"$lt": 200}}, {"half": 1}):
            for query in queries:
                exact = {hit.id for hit in few.search_vectors(query, k=10, filter=filter, exact=True)}
                hits = few.search_vectors(query, k=10, filter=filter)
                assert len(hits) == 10
                shares.append(len(exact & {hit.id for hit in hits}) / 10)
        return np.mean(shares)

    assert recall() >= 0.9
    monkeypatch.setattr(hnsw, "HNSW_FROM", 1000)
    assert hnsw.build_where_worth(index._primary, index._tables, index.manifest)
    assert not hnsw.build_where_worth(index._primary, index._tables, index.manifest)
    execute(postgres, f'ANALYZE "{index._tables.schema}".records')
    assert "first stage: HNSW index" in few.store_facts().details
    assert recall() >= 0.9
    index.delete([f"r{n}" for n in range(0, 4000, 2)])
    assert len(few.search_vectors(queries[0], k=10, filter={"half": 1})) == 10
    few.close()


def test_the_writer_that_crosses_the_number_makes_the_index(index, monkeypatch, postgres):
    monkeypatch.setattr(hnsw, "HNSW_FROM", 1000)
    index.add(make_records(900))
    assert index.store_facts().details[-1] == "first stage: exact, all records"
    index.add(make_records(200, prefix="more"))
    assert index.store_facts().details[-1] == "first stage: HNSW index"
    # a process that is killed while it makes the index leaves one that is not valid
    name = index._tables.schema
    execute(
        postgres, f"UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = '{name}.{hnsw.NAME}'::regclass"
    )
    assert [fault.key for fault in index.check().faults] == [hnsw.NAME]
    assert hnsw.build_where_worth(index._primary, index._tables, index.manifest)
    assert index.check().is_sound


# -- one round trip ----------------------------------------------------------------------------


def test_round_trips_are_few(index, tmp_path):
    """Counted by libpq's own trace: a message Query or Sync of the client is one."""
    index.add(make_records(50))
    record = make_records(1, prefix="x")[0]
    page = make_page(0)
    trips = {
        "search_vectors": lambda: index.search_vectors(basis(0, 1), k=5),
        "search_vectors, filter": lambda: index.search_vectors(basis(0), k=5, filter={"n": 1}),
        "search_text": lambda: index.search_text("report", k=5, filter={"n": {"$gt": 3}}),
        "get": lambda: index.get(["r1", "r2"], matrices=True),
        "score": lambda: index.score(basis(0), ["r1", "r2"]),
        "count": index.count,
        "name_documents": lambda: index.name_documents("annual report"),
        "add": lambda: index.add([record]),
        "add a page": lambda: index.add([Record(page.id, basis(0), page.text, {}, page)]),
    }
    counts = {}
    for name, call in trips.items():
        (connection,) = index._primary._free_connections
        with (tmp_path / "trace").open("w+b") as file:
            connection.pgconn.trace(file.fileno())
            call()
            connection.pgconn.untrace()
            file.seek(0)
            lines = file.read().decode("utf-8", "replace").splitlines()
        counts[name] = sum(line.split("\t")[1:2] == ["B"] and "ReadyForQuery" in line for line in lines)
    most = {"name_documents": 2, "add": 8, "add a page": 9}
    assert all(count <= most.get(name, 1) for name, count in counts.items()), counts
    assert min(counts.values()) >= 1


# -- refusals ----------------------------------------------------------------------------------


def test_another_embedder_is_refused(index, schema_url, make_identity):
    for other in (make_identity(fingerprint="f" * 64), make_identity(dim=16, fingerprint="f" * 64)):
        with pytest.raises(IndexMismatchError, match="was built with 8-dim vectors from 'tiny'"):
            open_index(schema_url, other)
    with pytest.raises(ValueError, match="row_type must be that of the index, 'int8', got 'float16'"):
        open_index(schema_url, make_identity(), row_type="float16")
    with pytest.raises(ValueError, match="rows must be that of the index, None, got 4"):
        open_index(schema_url, make_identity(), rows=4)


def test_nothing_is_made_to_read(schema_url, identity, postgres):
    for embedder, read_only in ((identity, True), (None, False)):
        with pytest.raises(IndexFormatError, match="must be an index"):
            open_index(schema_url, embedder, read_only=read_only)
    name = schema_url.rpartition("=")[2]
    assert execute(postgres, "SELECT 1 FROM pg_namespace WHERE nspname = %s", name) == []


def test_a_schema_of_something_else_is_refused(schema_url, identity, postgres):
    name = schema_url.rpartition("=")[2]
    execute(postgres, f"CREATE SCHEMA {name}")
    execute(postgres, f"CREATE TABLE {name}.records (mine int)")
    with pytest.raises(IndexFormatError, match="must be an index, empty or absent, got the tables records"):
        open_index(schema_url, identity)
    assert execute(postgres, f"SELECT count(*) FROM {name}.records") == [(0,)]


def test_tables_of_another_shape_are_refused(index, schema_url, identity, postgres):
    execute(postgres, f"ALTER TABLE {index._tables.schema}.contents RENAME words TO verbs")
    with pytest.raises(IndexFormatError, match=r"'contents' .* must have the columns seq, text, metadata"):
        open_index(schema_url, identity)
    index.add([])
    with pytest.raises(IndexFormatError, match="must hold tables as this package makes them"):
        index.add(make_records(1))
    assert index.count() == 0


def test_a_newer_index_is_refused(index, schema_url, identity, postgres):
    execute(postgres, f"UPDATE {index._tables.schema}.state SET value = '99' WHERE key = 'tables'")
    with pytest.raises(IndexFormatError, match=r"tables of version 1 at most, got 99. Upgrade the package"):
        open_index(schema_url, identity)


def test_an_older_index_is_brought_up_to_date_once(index, schema_url, identity, postgres, monkeypatch):
    index.add(make_records(3))
    steps = []

    def add_column(connection, tables):
        steps.append(1)
        connection.execute(tables.sql("ALTER TABLE {documents} ADD COLUMN remark text"))

    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    monkeypatch.setattr("mmrag.index.postgres.opening.SCHEMA_VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 1, add_column)
    open_index(schema_url, identity, read_only=True).close()
    assert steps == []
    for _ in range(2):
        open_index(schema_url, identity).close()
    assert steps == [1]
    assert ("remark",) in execute(
        postgres,
        "SELECT column_name::text FROM information_schema.columns WHERE table_schema = %s",
        index._tables.schema,
    )


def test_terms_of_earlier_code_are_made_anew(index, schema_url, identity, postgres):
    index.add(make_records(5, text="zinc {n}"))
    before = index.search_text("zinc 3", k=9)
    name = index._tables.schema
    execute(postgres, f"UPDATE {name}.state SET value = '1' WHERE key = 'lexical'")
    execute(postgres, f"UPDATE {name}.lexical SET terms = '{{\"old\": 1}}', length = 1")
    open_index(schema_url, identity).close()
    assert index.search_text("zinc 3", k=9) == before and index.check().is_sound


def test_where_there_is_no_server(identity, tmp_path):
    with pytest.raises(ServerUnreachableError, match=r"no PostgreSQL server at postgresql://ann:\*\*\*@"):
        PostgresIndex.open("postgresql://ann:open-sesame@127.0.0.1:9/db", identity, retry_seconds=0)
    with pytest.raises(ServerUnreachableError) as caught:
        open_index(f"postgresql://ann:open-sesame@/db?host={tmp_path}", identity)
    assert "sesame" not in str(caught.value) + repr(caught.value.__cause__)


def test_a_database_that_is_not_there(postgres, identity):
    base, mark, rest = postgres.partition("?")
    with pytest.raises(ServerAccessError, match=r'database "nowhere" does not exist.*Check user, password'):
        open_index(f"{base.rpartition('/')[0]}/nowhere{mark}{rest}", identity)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:se%zzsame-pass@host/db",
        "postgresql://ann:sesame-pass@host:port/db",
        "postgresql://ann:sesame-pass@host/db?nothing=1",
        "postgresql://ann:sesame-pass@host/db?statement_seconds=soon",
    ],
)
def test_an_address_that_is_none(url, identity):
    with pytest.raises((ValueError, ServerUnreachableError)) as caught:
        open_index(url, identity)
    assert "sesame-pass" not in str(caught.value) and "zzsame" not in str(caught.value)


def test_what_is_ours_is_taken_out_of_an_address():
    address = parse_address(
        "postgresql://ann@host/db?schema=s&sslmode=require&statement_seconds=2.5"
        "&read_url=postgresql%3A%2F%2Fann%3Aopen-sesame%40two%2Fdb"
    )
    assert (address.schema, address.statement_seconds) == ("s", 2.5)
    assert address.read_url == "postgresql://ann:open-sesame@two/db"
    assert address.settings == {"user": "ann", "host": "host", "dbname": "db", "sslmode": "require"}
    assert "sesame" not in repr(address)


def test_a_database_of_another_encoding_is_refused(postgres, identity):
    name = fresh_schema()
    execute(postgres, f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(ServerUnfitError, match="must be a database in UTF8, got one in LATIN1"):
            open_index(postgres.replace("/postgres?", f"/{name}?"), identity)
    finally:
        execute(postgres, f"DROP DATABASE {name}")


def test_no_room_for_a_connection(postgres, schema_url, identity):
    role = fresh_schema()
    execute(postgres, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
    with pytest.raises(ServerFullError, match=r"takes no more connections.*max_connections"):
        open_index(schema_url.replace("postgres:@", f"{role}@"), identity)
    execute(postgres, f"DROP ROLE {role}")


def test_a_server_without_pgvector(postgres, schema_url, identity):
    """Where it may be added it is; where not, the error says what the administrator has to run."""
    database = fresh_schema()
    role = f"{database}_user"
    execute(postgres, f"CREATE DATABASE {database}")
    execute(postgres, f"CREATE ROLE {role} LOGIN")
    execute(postgres, f"GRANT CREATE ON DATABASE {database} TO {role}")
    base, mark, rest = postgres.partition("?")
    head, _, _ = base.rpartition("/")
    admin = f"{head}/{database}{mark}{rest}"
    user = admin.replace("postgres:", f"{role}:", 1).replace("postgres@", f"{role}@", 1)
    try:
        with pytest.raises(ServerUnfitError, match="must have the extension pgvector"):
            PostgresIndex.open(user, identity)
        assert execute(admin, "SELECT 1 FROM pg_namespace WHERE nspname = 'mmrag'") == []
        execute(admin, "CREATE SCHEMA tools")
        execute(admin, f"GRANT USAGE ON SCHEMA tools TO {role}")
        execute(admin, "CREATE EXTENSION vector SCHEMA tools")
        index = PostgresIndex.open(user, identity)  # pgvector may be in any schema
        index.add(make_records(3))
        assert len(index.search_vectors(basis(0), k=9)) == 3
        index.close()
    finally:
        execute(postgres, f"DROP DATABASE {database} WITH (FORCE)")
        execute(postgres, f"DROP ROLE {role}")


def test_an_old_server_is_refused(schema_url, identity, monkeypatch):
    monkeypatch.setattr(schema, "LEAST_SERVER", 990000)
    with pytest.raises(ServerUnfitError, match="must be PostgreSQL 99 or later, got 18"):
        open_index(schema_url, identity)
    monkeypatch.undo()
    monkeypatch.setattr(schema, "LEAST_PGVECTOR", (9, 0))
    with pytest.raises(ServerUnfitError, match=r"must have pgvector 9.0 or later, got 0.*ALTER EXTENSION"):
        open_index(schema_url, identity)


def test_a_statement_that_takes_too_long(index, schema_url):
    index.add(make_records(30))
    slow = PostgresIndex.open(schema_url, None, statement_seconds=0.2)
    with (
        pytest.raises(ServerTimeoutError, match=r"took longer than a statement may.*statement_seconds"),
        index._primary.session("a test") as connection,
        connection.transaction(),
    ):
        connection.execute(f'LOCK TABLE "{index._tables.schema}".records IN ACCESS EXCLUSIVE MODE')
        slow.search_vectors(basis(0), k=3)
    assert len(slow.search_vectors(basis(0), k=3)) == 3
    slow.close()


def test_a_blob_beyond_a_value_of_postgresql_is_refused(index, monkeypatch):
    monkeypatch.setattr(writing, "MOST_BLOB", 10)
    with pytest.raises(ValueError, match="must be at most 10, got 11"):
        index.put_blob("x", b"01234567890")


def test_stored_texts_keep_their_order():
    texts = ["", "\0", "\0\0", "\x01", "\x01\0", "\x01\x02", "\x02", "a", "a\0", "a\x01", "b"]
    stored = [values.stored_text(text) for text in texts]
    assert [values.loaded_text(text) for text in stored] == texts
    assert sorted(stored) == [values.stored_text(text) for text in sorted(texts)]
    assert len(set(stored)) == len(texts) and not any("\0" in text for text in stored)


# -- many at once ------------------------------------------------------------------------------


def test_writers_of_the_same_records_do_not_double_them(index, schema_url, identity, postgres):
    others = [open_index(schema_url, identity) for _ in range(3)]
    errors = []

    def work(number, home):
        try:
            for turn in range(6):
                records = make_records(40, seed=turn, text=f"zinc {number} {turn}")
                order = np.random.default_rng(number * 10 + turn).permutation(40)
                home.add([records[n] for n in order])
                home.delete([f"r{n}" for n in order[:7]])
                home.update_metadata([f"r{n}" for n in order], {"by": number})
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate([index, *others])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    index.add(make_records(40))
    assert index.count() == len(index.ids()) == len(set(index.ids())) == 40
    assert index.check().is_sound
    for home in others:
        home.close()


def test_two_processes_may_make_the_index_at_the_same_time(schema_url, identity):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(open_index(schema_url, identity))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 4
    for index in made:
        index.add(make_records(2))
        assert index.count() == 2
    for index in made:
        index.close()


def test_totals_are_added_up(index, monkeypatch, postgres):
    monkeypatch.setattr(writing, "FOLD_FROM", 10)
    for n in range(70):
        index.add(make_records(1, prefix=f"a{n}-", text="zinc ore"))
    assert execute(postgres, f"SELECT count(*) FROM {index._tables.schema}.totals")[0][0] < 20
    assert index.count() == 70 and index.check().is_sound


@needs_fork
def test_a_fork_goes_on_with_connections_of_its_own(index):
    index.add(make_records(5))

    def work():
        index.add(make_records(5, prefix="child"))
        return index.count(), [hit.id for hit in index.search_text("report", k=1)]

    assert in_child(work)[0] == 10
    assert index.count() == 10 and len(index.search_vectors(basis(0), k=20)) == 10


def test_no_password_is_shown(postgres, identity, caplog):
    caplog.set_level(logging.DEBUG)
    role = fresh_schema()
    execute(postgres, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'open-sesame'")
    base, _, rest = postgres.partition("://")
    _, _, place = rest.partition("@")
    url = with_schema(f"{base}://{role}:open-sesame@{place}", role)
    index = open_index(url, identity)
    index.add(make_records(1))
    shown = [repr(index), index.address, str(index.store_facts()), str(vars(index._primary)), caplog.text]
    index.close()
    with pytest.raises(ServerAccessError) as caught:
        open_index(url.replace("/postgres?", "/nowhere?"), identity)
    error = caught.value
    while error is not None:
        shown.append(f"{error!r} {vars(error)}")
        error = error.__cause__ or error.__context__
    execute(postgres, f"DROP SCHEMA {role} CASCADE")
    execute(postgres, f"DROP ROLE {role}")
    assert not [text for text in shown if "sesame" in text]
    assert "***@" in index.address
