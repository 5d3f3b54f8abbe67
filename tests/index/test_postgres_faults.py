"""Faults of a PostgreSQL server: killed, cut off, full, followed by a standby. Nothing is lost or doubled."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="needs the extra 'postgres'")

from mmrag.errors import ServerAccessError, ServerError, ServerFullError, ServerUnreachableError
from mmrag.index.addresses import open_index
from mmrag.index.postgres import PostgresIndex
from mmrag.index.postgres.faults import CommitUnknownError

from ..patience import PATIENCE, wait_until
from .conftest import make_records
from .postgres_server import Cluster, execute, server_folder, with_schema
from .tcp_proxy import Proxy


def basis(*rows, dim=8):
    return np.eye(dim, dtype=np.float32)[list(rows)]


def batch(number, size=10):
    return make_records(size, seed=number, prefix=f"b{number}-", text=f"zinc {number}")


def ids_of(numbers, size=10):
    return {f"b{number}-{n}" for number in numbers for n in range(size)}


@pytest.fixture
def cluster():
    """A server of this test's own, which it may kill."""
    for folder in server_folder():
        cluster = Cluster(folder)
        cluster.start()
        yield cluster
        cluster.kill()


# -- the connection ----------------------------------------------------------------------------


@pytest.fixture
def proxied(request, postgres, schema_url, identity):
    """An index behind a proxy, and the proxy; it tries for as many seconds as its mark says."""
    socket_folder = postgres.partition("host=")[2]
    proxy = Proxy(f"{socket_folder}/.s.PGSQL.5432")
    url = with_schema(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", schema_url.rpartition("=")[2])
    index = PostgresIndex.open(url, identity, retry_seconds=getattr(request, "param", PATIENCE))
    yield index, proxy
    index.close()
    proxy.close()


def test_a_cut_connection_is_made_again(proxied, schema_url, identity):
    """Wherever in an add or a search it happens: an add sends some kilobytes, a search some hundred bytes."""
    index, proxy = proxied
    index.add(batch(0))
    unknown = 0
    for number, count in enumerate((1, 400, 800, 1500, 2500, 3500, 4500, 5500), 1):
        proxy.cut_after(count, for_ever=False)
        try:
            index.add(batch(number))
        except CommitUnknownError:
            unknown += 1
            index.add(batch(number))
        assert set(index.ids()) == ids_of(range(number + 1)) and index.count() == 10 * (number + 1)
    for count in (1, 200, 400):
        proxy.cut_after(count, for_ever=False)
        assert len(index.search_vectors(basis(0), k=200)) == 90
        assert len(index.search_text("zinc", k=200)) == 90
    assert proxy.cuts >= 8
    assert index.check().is_sound


@pytest.mark.parametrize("proxied", [3], indirect=True)
def test_a_server_that_stays_away_is_told(proxied, schema_url, identity):
    index, proxy = proxied
    index.add(batch(0))
    proxy.cut_after(5000, for_ever=True)
    with pytest.raises(ServerUnreachableError, match=r"no PostgreSQL server at|was cut") as caught:
        index.add(batch(1, size=200))
    assert not isinstance(caught.value, CommitUnknownError)
    for call in (
        lambda: index.search_vectors(basis(0), k=1),
        lambda: index.search_text("zinc", k=1),
        index.ids,
    ):
        with pytest.raises(ServerUnreachableError, match="Check host and port"):
            call()
    direct = open_index(schema_url, identity)
    assert set(direct.ids()) == ids_of([0])  # nothing of the call
    direct.add(batch(1, size=200))
    assert direct.count() == 210
    direct.close()


# -- kill -9 -----------------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, {folder!r})
from tests.index.conftest import Identity, make_records
from mmrag.index.postgres import PostgresIndex
index = PostgresIndex.open(sys.argv[1], Identity())
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    index.add(make_records(10, seed=number, prefix=f"b{{number}}-", text=f"zinc {{number}}"))
    print(number, flush=True)
"""


def writer(url, start, stop):
    """Start a process that adds batches, and says each when it is reported as done."""
    code = WRITER.format(folder=str(Path(__file__).parents[2]))
    command = [sys.executable, "-c", textwrap.dedent(code), url, str(start), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_lines(process, count):
    lines = [process.stdout.readline() for _ in range(count)]
    assert all(lines), process.stderr.read()
    return [int(line) for line in lines]


def test_a_killed_client_leaves_whole_batches(postgres, schema_url, identity):
    index = open_index(schema_url, identity)
    start, rng = 0, np.random.default_rng(1)
    killed = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'killed'"
    for _ in range(4):
        process = writer(f"{schema_url}&application_name=killed", start, 10_000)
        done = wait_for_lines(process, int(rng.integers(3, 8)))
        time.sleep(float(rng.random()) * 0.02)
        process.send_signal(signal.SIGKILL)
        done += [int(line) for line in process.stdout.read().split()]
        process.wait()
        # A COMMIT that was sent before the kill is still carried out: the server ends its half by itself.
        wait_until(lambda: execute(postgres, killed)[0][0] == 0)
        ids = index.ids()
        assert len(ids) == len(set(ids)) and len(ids) % 10 == 0
        assert ids_of(range(done[-1] + 1)) <= set(ids)
        index.add(batch(done[-1]))  # the second run adds again what may be there
        assert len(index.ids()) == len(ids)
        start = done[-1] + 1
    assert index.check().is_sound
    index.close()


def test_a_killed_server_loses_nothing_that_was_reported(cluster, identity):
    """Three times in the middle of adds: the client waits, goes on, and every batch is there once."""
    index = PostgresIndex.open(cluster.url, identity, retry_seconds=60)
    reported, errors = [], []

    def add():
        try:
            for number in range(120):
                try:
                    index.add(batch(number))
                except CommitUnknownError:
                    index.add(batch(number))
                reported.append(number)
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            errors.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    for count in (15, 40, 70):
        while len(reported) < count and thread.is_alive():
            time.sleep(0.005)
        cluster.kill()
        before = list(reported)
        cluster.start()
        present = set(PostgresIndex.open(cluster.url, None, read_only=True).ids())
        assert ids_of(before) <= present
    thread.join()
    assert not errors and reported == list(range(120))
    assert set(index.ids()) == ids_of(range(120)) and index.count() == 1200
    assert index.check().is_sound
    index.close()


def test_a_wrong_password_is_told_without_it(cluster, identity):
    execute(cluster.url, "CREATE ROLE ann LOGIN SUPERUSER PASSWORD 'open-sesame'")
    rules = cluster.data / "pg_hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    execute(cluster.url, "SELECT pg_reload_conf()")
    wait_until(lambda: execute(cluster.url, "SELECT count(*) FROM pg_hba_file_rules")[0][0] == 2)
    url = cluster.url.replace("postgres:@", "ann:{}@")
    for password in ("wrong-sesame", ""):
        with pytest.raises(ServerAccessError, match=r"password.*Check user, password and database") as caught:
            open_index(url.format(password), identity)
        assert "wrong-sesame" not in f"{caught.value}{caught.value.__cause__!r}"
    index = open_index(url.format("open-sesame"), identity)
    index.add(batch(0))
    assert index.count() == 10 and "sesame" not in index.address
    index.close()


# -- a full disk -------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_nothing_is_half(cluster, identity):
    """A tablespace on a file system of 24 MB; the write-ahead log has room."""
    disk = Path(tempfile.mkdtemp(prefix="mmrag-full-"))  # where the server, another user, may go
    disk.chmod(0o755)
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", str(disk)],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        disk.rmdir()
        pytest.skip("needs mount")
    if mounted.returncode:
        disk.rmdir()
        pytest.skip(f"needs the right to mount a tmpfs ({mounted.stderr.strip()})")
    try:
        inner = disk / "space"
        inner.mkdir()
        shutil.chown(inner, cluster.user, cluster.user)
        execute(cluster.url, f"CREATE TABLESPACE small LOCATION '{inner}'")
        execute(cluster.url, "ALTER DATABASE postgres SET default_tablespace = small")
        index = PostgresIndex.open(cluster.url, identity)
        rng = np.random.default_rng(0)
        done = 0
        with pytest.raises(ServerFullError, match="has no room for adding 50 records"):
            while done < 1000:
                records = make_records(50, seed=done, prefix=f"b{done}-", rows=400, text="zinc {n} ")
                index.add(records)
                done += 1
        assert 0 < done < 1000
        assert index.count() == len(index.ids()) == 50 * done
        assert len(index.search_vectors(rng.standard_normal((1, 8)), k=5)) == 5
        index.delete([f"b0-{n}" for n in range(50)])  # there is room in the log to delete
        execute(cluster.url, "ALTER DATABASE postgres RESET default_tablespace")
        assert index.check().is_sound
        index.close()
        cluster.kill()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
        disk.rmdir()


# -- writers, readers, standby ------------------------------------------------------------------


@pytest.mark.slow
def test_two_writers_and_eight_readers(schema_url, identity):
    """For ten seconds, or as many as MMRAG_TEST_SECONDS says: no error, and no half batch is ever seen."""
    seconds = float(os.environ.get("MMRAG_TEST_SECONDS", "10"))
    writers = [open_index(schema_url, identity) for _ in range(2)]
    readers = [open_index(schema_url, identity, read_only=True) for _ in range(2)]
    end = time.monotonic() + seconds
    errors, counts = [], [0] * 10

    def guarded(number, work):
        try:
            while time.monotonic() < end:
                work()
                counts[number] += 1
        except BaseException as error:  # noqa: BLE001  shown by the assertion below
            errors.append(error)

    def write(number):
        own = counts[number]
        writers[number].add(make_records(20, seed=own, prefix=f"w{number}-{own}-", text=f"zinc {own}"))
        if own % 3 == 2:
            writers[number].delete([f"w{number}-{own - 1}-{n}" for n in range(20)])

    def read(number):
        index = readers[number % 2]
        for hits in (index.search_vectors(basis(0), k=5000), index.search_text("zinc", k=5000)):
            groups = {}
            for hit in hits:
                groups.setdefault(hit.id.rpartition("-")[0], set()).add(hit.id)
            assert all(len(group) == 20 for group in groups.values())

    threads = [threading.Thread(target=guarded, args=(n, lambda n=n: write(n))) for n in range(2)]
    threads += [threading.Thread(target=guarded, args=(n, lambda n=n: read(n))) for n in range(2, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
    assert not errors and all(counts), (errors[:1], counts)
    assert writers[0].check().is_sound
    for index in (*writers, *readers):
        index.close()


@pytest.mark.slow
def test_a_standby_is_read_and_takes_over(cluster, identity):
    """It streams and is read; the first is killed, the second promoted, and the client goes on."""
    index = PostgresIndex.open(cluster.url, identity)
    index.add(batch(0))
    index.close()
    for folder in server_folder():
        standby = cluster.standby(folder)
        standby.start()
        try:
            _check_standby(cluster, standby, identity)
        finally:
            standby.kill()


def _check_standby(cluster, standby, identity):
    hosts = f"{cluster.folder},{standby.folder}"
    both = f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"
    reads = f"postgresql://postgres@/postgres?host={standby.folder},{cluster.folder}&target_session_attrs=prefer-standby"
    index = PostgresIndex.open(both, identity, read_url=reads, retry_seconds=60)
    assert "searches: " in str(index.store_facts())
    index.add(batch(1))
    wait_until(lambda: len(index.search_text("zinc", k=99)) == 20)
    reader = PostgresIndex.open(reads, identity, read_only=True, retry_seconds=60)
    assert "standby" in reader.store_facts().kind
    assert len(reader.search_vectors(basis(0), k=99)) == 20 and set(reader.ids()) == ids_of([0, 1])
    with pytest.raises(
        ServerError, match=r"is a standby or read-only, and takes no writes.*target_session_attrs"
    ):
        PostgresIndex.open(standby.url, identity, retry_seconds=0.5).add(batch(2))
    wait_until(
        lambda: execute(standby.url, "SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()")[0][0]
    )
    cluster.kill()
    threading.Timer(0.5, standby.promote).start()
    try:
        index.add(batch(2))
    except CommitUnknownError:
        index.add(batch(2))
    assert set(index.ids()) == ids_of(range(3))
    assert len(index.search_vectors(basis(0), k=99)) == len(reader.search_text("zinc", k=99)) == 30
    assert index.check().is_sound
    index.close()
    reader.close()
