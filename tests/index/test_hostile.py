"""An index folder from anywhere: whatever stands in it, opening it ends soon, and in one typed error.

Each folder is opened for reading, checked, opened for writing and repaired, by ``open_hostile.py`` in a
process with limits of processor time and memory.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmrag.blocks import Block
from mmrag.documents.stamps import FileDigests
from mmrag.index import layout
from mmrag.index.chroma import ChromaIndex
from mmrag.index.directory import STORE_NAME
from mmrag.index.schema import create_tables
from mmrag.types import Record

from .conftest import Identity, make_page, make_records

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes, devices, fork and limits of Linux")

DEEP = "[" * 200_000
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
Break = Callable[[Path], object]


def bomb() -> bytes:
    """Compress 200 MB into 200 kB."""
    stream = zlib.compressobj(9)
    return b"".join(stream.compress(bytes(1 << 20)) for _ in range(200)) + stream.flush()


def sql(*statements: str) -> Break:
    """Run statements on the store, with the right to write its schema."""

    def run(path: Path) -> None:
        connection = sqlite3.connect(path / STORE_NAME)
        connection.create_function("bomb", 0, bomb)
        connection.execute("PRAGMA writable_schema = ON")
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return run


def page_json(change: str) -> Break:
    """Replace the page of the last record by what SQL makes of it, and take the checksums away."""
    return sql(f"UPDATE records SET page = {change} WHERE page IS NOT NULL", "DROP TABLE checksums")


def unsummed(statement: str) -> Break:
    """Run a statement and take the checksums away: who writes the file could write these too."""
    return sql(statement, "DROP TABLE checksums")


def file_of(name: str, make: Callable[[Path], object]) -> Break:
    """Put something else in the place of a file."""

    def run(path: Path) -> None:
        target = path / name
        target.unlink(missing_ok=True)
        make(target)

    return run


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has a hundred characters
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def with_bytes(change: Callable[[bytearray], object]) -> Break:
    def run(path: Path) -> None:
        data = bytearray((path / STORE_NAME).read_bytes())
        change(data)
        (path / STORE_NAME).write_bytes(data)

    return run


def root_page_in_itself(path: Path) -> None:
    """The tree of records begins with a page whose children are itself."""
    connection = sqlite3.connect(path / STORE_NAME)
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'")
    connection.close()
    data = bytearray((path / STORE_NAME).read_bytes())
    cell = page.to_bytes(4, "big") + b"\x01"
    content = b"\x05\0\0\0\x01" + (4096 - 5).to_bytes(2, "big") + b"\0" + page.to_bytes(4, "big")
    content += (4096 - 5).to_bytes(2, "big")
    data[4096 * (page - 1) : 4096 * page] = content + bytes(4096 - len(content) - 5) + cell
    (path / STORE_NAME).write_bytes(data)


def chroma_folder(path: Path) -> Path:
    return next(path.glob("chroma-*"))


def link_chroma(path: Path) -> None:
    folder = chroma_folder(path)
    folder.rename(path.parent / "elsewhere")
    folder.symlink_to(path.parent / "elsewhere")


MANIFEST = "UPDATE state SET value = {} WHERE key = 'manifest'"

KINDS: dict[str, Break] = {
    # ---- what is no file ----
    "store-is-a-pipe": file_of(STORE_NAME, os.mkfifo),
    "store-is-endless": file_of(STORE_NAME, lambda p: p.symlink_to("/dev/zero")),
    "store-is-a-folder": file_of(STORE_NAME, Path.mkdir),
    "store-is-a-socket": file_of(STORE_NAME, make_socket),
    "store-is-a-loop": file_of(STORE_NAME, lambda p: p.symlink_to(p)),
    "store-is-empty": file_of(STORE_NAME, Path.touch),
    "wal-is-a-pipe": file_of(STORE_NAME + "-wal", os.mkfifo),
    "shm-is-a-pipe": file_of(STORE_NAME + "-shm", os.mkfifo),
    "journal-is-a-pipe": file_of(STORE_NAME + "-journal", os.mkfifo),
    "draft-is-a-folder": file_of(STORE_NAME + ".new", Path.mkdir),
    "lock-is-a-pipe": file_of("writer.lock", os.mkfifo),
    "holder-is-a-pipe": file_of("writer.json", os.mkfifo),
    "holder-is-endless": file_of("writer.json", lambda p: p.symlink_to("/dev/zero")),
    # ---- what is no database ----
    "half-a-file": with_bytes(lambda data: data.__delitem__(slice(len(data) // 2, None))),
    "a-header-alone": with_bytes(lambda data: data.__delitem__(slice(100, None))),
    "another-page-size": with_bytes(lambda data: data.__setitem__(slice(16, 18), b"\x02\x00")),
    "noise-after-the-header": with_bytes(lambda data: data.__setitem__(slice(100, 8192), b"\xa5" * 8092)),
    "a-tree-in-itself": root_page_in_itself,
    "a-schema-that-is-no-text": sql(
        "UPDATE sqlite_master SET sql = CAST(x'ff2028' AS TEXT) WHERE name = 'blobs'"
    ),
    "a-schema-that-is-no-sql": sql(
        "UPDATE sqlite_master SET sql = 'CREATE TABLE blobs(' WHERE name = 'blobs'"
    ),
    # ---- tables that do something ----
    "an-endless-view": sql(f"CREATE VIEW more AS {ENDLESS}"),
    "an-endless-view-for-a-table": sql(
        "DROP TABLE first", f"CREATE VIEW first(seq, vector) AS {ENDLESS}, n AS m"
    ),
    "an-endless-view-for-state": sql("DROP TABLE state", f"CREATE VIEW state(key) AS {ENDLESS}"),
    "a-trigger": sql("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END"),
    "an-endless-trigger": sql(
        f"CREATE TRIGGER t AFTER INSERT ON first BEGIN INSERT INTO pending SELECT * FROM ({ENDLESS}); END"
    ),
    "a-computed-column": sql("ALTER TABLE blobs ADD COLUMN x AS (hex(zeroblob(100000000)))"),
    "a-checked-column": sql("ALTER TABLE blobs ADD COLUMN x CHECK (length(hex(zeroblob(100000000))) > 0)"),
    "an-index-that-computes": sql("CREATE INDEX x ON blobs(hex(key))"),
    "a-table-of-others": sql("CREATE TABLE theirs(x)"),
    "a-virtual-table": sql("CREATE VIRTUAL TABLE theirs USING fts5(x)"),
    "a-shadow-that-computes": sql(
        "UPDATE sqlite_master SET sql = 'CREATE TABLE lexical_config(k PRIMARY KEY, v AS (k)) WITHOUT ROWID' "
        "WHERE name = 'lexical_config'"
    ),
    "a-table-that-is-missing": sql("DROP TABLE metadata"),
    "full-text-that-is-missing": sql("DROP TABLE lexical"),
    # ---- the manifest ----
    "no-manifest": sql("DELETE FROM state"),
    "a-manifest-of-no-json": unsummed(MANIFEST.format("'{'")),
    "a-manifest-of-a-list": unsummed(MANIFEST.format("'[1]'")),
    "a-deep-manifest": unsummed(MANIFEST.format(f"'{DEEP}'")),
    "a-manifest-that-is-no-text": unsummed(MANIFEST.format("CAST(x'ff' AS TEXT)")),
    "a-newer-format": unsummed(MANIFEST.format("json_set(value, '$.format_version', 9)")),
    "a-width-of-text": unsummed(MANIFEST.format("json_set(value, '$.dim', 'eight')")),
    "a-width-of-nothing": unsummed(MANIFEST.format("json_set(value, '$.dim', 0)")),
    "a-width-below-nothing": unsummed(MANIFEST.format("json_set(value, '$.dim', -8)")),
    "a-huge-width": unsummed(MANIFEST.format("json_set(value, '$.dim', 1e30)")),
    "an-unknown-key": unsummed(MANIFEST.format("json_set(value, '$.more', 1)")),
    "a-generation-of-text": sql("UPDATE state SET value = 'many' WHERE key = 'generation'"),
    # ---- records ----
    "words-that-are-a-bomb": unsummed("UPDATE records SET words = bomb() WHERE page IS NOT NULL"),
    "blocks-that-are-a-bomb": unsummed("UPDATE blocks SET data = bomb()"),
    "words-that-are-noise": unsummed("UPDATE records SET words = x'0102030405' WHERE page IS NOT NULL"),
    "a-text-that-is-no-text": unsummed("UPDATE records SET text = CAST(x'ff' AS TEXT)"),
    "an-id-that-is-no-text": unsummed("UPDATE records SET id = CAST(x'ff' AS TEXT) WHERE seq = 3"),
    "a-deep-page": page_json(f"'{DEEP}'"),
    "a-page-of-a-list": page_json("'[]'"),
    "a-page-without-a-source": page_json("json_remove(page, '$.source')"),
    "a-page-number-of-text": page_json("json_set(page, '$.number', 'one')"),
    "a-page-number-of-5000-digits": page_json(f"replace(page, '\"number\":0', '\"number\":{'9' * 5000}')"),
    "a-page-size-of-nothing": page_json("json_set(page, '$.size', NULL)"),
    "a-page-size-of-NaN": page_json("replace(page, '595.0', 'NaN')"),
    "a-path-of-a-number": page_json("json_set(page, '$.source.path', 7)"),
    "a-digest-that-is-a-path": page_json("json_set(page, '$.source.sha256', '../../../../tmp/x')"),
    "notes-of-a-number": page_json("json_set(page, '$.notes', 7)"),
    "deep-metadata": unsummed(f"UPDATE records SET metadata = '{DEEP}'"),
    "metadata-of-a-list": unsummed("UPDATE records SET metadata = '[1]'"),
    "metadata-in-metadata": unsummed('UPDATE records SET metadata = \'{"a":{"b":1}}\''),
    "blocks-of-a-number": unsummed(f"UPDATE blocks SET data = x'{zlib.compress(b'7').hex()}'"),
    "deep-blocks": unsummed(f"UPDATE blocks SET data = x'{zlib.compress(DEEP.encode()).hex()}'"),
    "a-table-without-end": unsummed(
        "UPDATE blocks SET data = x'"
        + zlib.compress(b'[["table","",[],0,[],[1000000000,1000000000,0,0,0,[]]]]').hex()
        + "'"
    ),
    "a-matrix-of-odd-bytes": unsummed("UPDATE vectors SET matrix = x'010203'"),
    "a-matrix-of-nothing": unsummed("UPDATE vectors SET matrix = x''"),
    "a-matrix-of-text": unsummed("UPDATE vectors SET matrix = 'sixteen letters!'"),
    "an-entry-of-no-json": unsummed("UPDATE documents SET entry = '{'"),
    "an-entry-of-numbers": unsummed("UPDATE documents SET entry = json_set(entry, '$.names', json('[1]'))"),
    "an-entry-without-end": unsummed("UPDATE documents SET entry = json_set(entry, '$.total_pages', 1e15)"),
    "a-deep-entry": unsummed(f"UPDATE documents SET entry = '{DEEP}'"),
}
"""What is told, by some step at least."""

HEALED: dict[str, Break] = {
    "first-of-odd-bytes": unsummed("UPDATE first SET vector = x'010203'"),
    "first-of-text": unsummed("UPDATE first SET vector = 'sixteen letters!'"),
    "noise-for-a-wal": file_of(STORE_NAME + "-wal", lambda p: p.write_bytes(b"\xa5" * 5000)),
    "chroma-elsewhere": sql("INSERT OR REPLACE INTO state VALUES ('chroma', '../elsewhere')"),
    "chroma-is-a-link": link_chroma,
    "chroma-has-a-pipe": lambda path: file_of("chroma.sqlite3", os.mkfifo)(chroma_folder(path)),
    "chroma-is-noise": lambda path: (chroma_folder(path) / "chroma.sqlite3").write_bytes(b"\xa5" * 9000),
    "chroma-of-another": sql("UPDATE state SET value = 'x' WHERE key = 'uuid'"),
}
"""What is made again without a word of error, or told."""


@pytest.fixture(scope="session")
def ends(tmp_path_factory):
    """How each step ends for each kind."""
    root = tmp_path_factory.mktemp("hostile")
    sound = root / "sound" / "index"
    sound.parent.mkdir()
    fill(sound)
    paths = [sound]
    for kind, damage in {**KINDS, **HEALED}.items():
        path = root / kind / "index"
        path.parent.mkdir()
        shutil.copytree(sound, path)
        damage(path)
        paths.append(path)
    script = Path(__file__).parent / "open_hostile.py"
    run = subprocess.run(
        [sys.executable, str(script), *map(str, paths)], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(line) for line in run.stdout.splitlines())


def fill(path: Path) -> None:
    from mmrag.index.base import DocumentEntry

    page = make_page(path="/dev/zero")
    index = ChromaIndex.open(path, Identity())
    index.add([*make_records(3), Record(page.id, np.ones((2, 8)), page.text, {"kind": "report"}, page)])
    index.put_blocks(page.id, [Block("text", "net sales 5", words=(0, 1, 2))])
    index.put_document(DocumentEntry(page.document_id, page.source.sha256, "pdf", ("a.pdf",), 1, "s", True))
    index.close()


def test_a_sound_folder_is_opened(ends):
    assert ends["sound"] == {"read": "fine", "check": "fine", "write": "fine", "repair": "fine"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_folder_is_told(ends, kind):
    assert set(ends[kind]) == {"read", "check", "write", "repair"}, "a step took too long"
    assert set(ends[kind].values()) <= {"fine", "told"}
    assert "told" in (ends[kind]["read"], ends[kind]["write"])


@pytest.mark.parametrize("kind", HEALED)
def test_what_can_be_made_again_costs_no_more_than_an_error(ends, kind):
    assert set(ends[kind]) == {"read", "check", "write", "repair"}, "a step took too long"
    assert set(ends[kind].values()) <= {"fine", "told"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero")], ids=["pipe", "endless"])
def test_a_source_that_is_no_regular_file_is_not_read(tmp_path, make):
    make(tmp_path / "report.pdf")
    with pytest.raises(OSError, match="no regular file"):
        FileDigests().look(str(tmp_path / "report.pdf"))


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copy_chroma(path: Path) -> None:
    """The state names a folder outside, where a whole Chroma of this very index is."""
    shutil.copytree(chroma_folder(path), path.parent / "elsewhere")
    sql("UPDATE state SET value = '../elsewhere' WHERE key = 'chroma'")(path)


@pytest.mark.parametrize("lead_out", [copy_chroma, link_chroma])
def test_chroma_is_opened_in_the_index_alone(tmp_path, lead_out):
    """By a name or by a link: whoever follows it writes where the one who made the folder wants."""
    path = tmp_path / "index"
    fill(path)
    lead_out(path)
    before = bytes_below(tmp_path / "elsewhere")
    index = ChromaIndex.open(path, Identity())
    index.add(make_records(2, prefix="late"))
    index.close()
    assert bytes_below(tmp_path / "elsewhere") == before
    assert any(folder.is_dir() and not folder.is_symlink() for folder in path.glob("chroma-*"))


def test_no_connection_to_a_file_trusts_its_schema(tmp_path):
    """What an index runs; and what its code says, for connections that live for a moment."""
    index = ChromaIndex.open(tmp_path / "index", Identity())
    for block in (index._store.database.read, index._store.database.write):
        with block() as connection:
            assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
    index.close()
    found = set()
    for path in Path(layout.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            code = ast.get_source_segment(text, node) if isinstance(node, ast.FunctionDef) else None
            call = re.search(r"sqlite3\.connect\(\s*(\S+)", code or "")
            if call is None or call[1].startswith(('":memory:"', '""')) or "create_file" in call.string:
                continue  # in memory, or a file that this very function makes
            assert "trusted_schema = OFF" in call.string, f"{path.name}: {node.name}"
            found.add(node.name)
    assert len(found) >= 3


def test_a_shadow_of_full_text_is_a_plain_table():
    """Every form that SQLite makes, and none that is a table of another module, or computes."""
    forms = dict[tuple[str, str], str]()
    connection = sqlite3.connect(":memory:")
    create_tables(connection)
    ours = layout._layout()
    for kind, name, text in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if (kind, name) not in ours and not name.startswith("sqlite_"):
            forms[kind, name] = layout._plain(text)
    connection.close()
    assert len(forms) >= 4
    for (kind, name), form in forms.items():
        assert layout._is_of_sqlite(kind, name, form, ours)
        for other in (
            f"CREATE VIRTUAL TABLE {name} USING fts5(k, v)",
            f"CREATE VIRTUAL TABLE {name} USING csv(filename='/etc/passwd')",
            f"CREATE TEMP TABLE {name}(k, v)",
            f"CREATE TABLE {name}(k, v AS (hex(k)))",
            f"CREATE TABLE {name}(k, v CHECK (v > 0))",
            f"CREATE TABLE {name} AS SELECT 1",
        ):
            assert not layout._is_of_sqlite(kind, name, layout._plain(other), ours)
        assert not layout._is_of_sqlite("view", name, form, ours)
        assert not layout._is_of_sqlite(kind, "theirs_config", form, ours)
