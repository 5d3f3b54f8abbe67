"""Commands on an index in PostgreSQL, on the real server."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmrag.cli import main
from mmrag.pipeline import DocumentQA


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def documents(tmp_path, make_pdf):
    make_pdf(
        tmp_path / "docs" / "ship.pdf", ["The ferry Aurora carries 420 passengers.", "It was built in Turku."]
    )
    make_pdf(tmp_path / "docs" / "wind.pdf", ["Offshore wind generated 4180 gigawatt hours."])
    return tmp_path / "docs"


def test_the_commands_of_an_index(capsys, documents, schema_url, tmp_path):
    index = ("--index", schema_url)
    code, out, _ = call(capsys, "index", documents, *index, "--ocr", "off", "--metadata", "shelf=a")
    assert code == 0 and "2 added" in out and "3 pages and records" in out
    code, out, _ = call(capsys, "index", documents, *index, "--ocr", "off")
    assert code == 0 and "2 unchanged" in out
    code, out, _ = call(capsys, "search", "Where was it built?", *index, "--json", "--filter", "shelf=a")
    assert code == 0 and json.loads(out)["candidates"][0]["file"] == "ship.pdf"
    evidence = tmp_path / "evidence"
    question = "How many passengers does the ferry Aurora carry?"
    code, out, _ = call(capsys, "ask", question, *index, "--evidence-dir", evidence)
    assert code == 0 and "420" in out and (evidence / "1.png").is_file()
    code, out, _ = call(capsys, "status", *index)
    assert code == 0 and "3 pages and records, 2 files" in out
    assert "PostgreSQL" in out and "pgvector" in out and "first stage: exact" in out
    assert call(capsys, "check", *index)[:2] == (0, "3 records, no faults\n")
    assert call(capsys, "check", *index, "--repair")[0] == 0
    new = tmp_path / "folder"
    code, out, _ = call(capsys, "reembed", schema_url, new)
    assert code == 0 and "3 pages and records" in out
    with DocumentQA.open(new, read_only=True) as qa:
        assert [entry.total_pages for entry in qa.index.documents()] == [2, 1]
    assert call(capsys, "remove", "ship.pdf", *index)[1] == "ship.pdf: 2 pages or records removed\n"


def test_a_server_in_a_folder(capsys, documents, postgres, tmp_path, monkeypatch):
    """``postgres-dev`` starts it; the address by itself names a folder beside us."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        if parent.owner() != "root" or parent == Path("/tmp"):
            continue
        parent.chmod(0o755)  # as root the server is another user's
    code, out, _ = call(capsys, "index", documents, "--index", "postgres-dev?schema=mine", "--ocr", "off")
    assert code == 0 and "3 pages and records in postgres-dev?schema=mine" in out
    assert (tmp_path / "mmrag-postgres" / "PG_VERSION").is_file()
    code, out, _ = call(capsys, "status", "--index", f"postgres-dev://{tmp_path}/mmrag-postgres?schema=mine")
    assert code == 0 and out.splitlines()[0].endswith(
        "schema=mine: 3 pages and records, 2 files, by mmrag-mini"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="arguments can be overwritten on Linux alone")
def test_other_processes_see_no_password():
    code = (
        "import sys, time; from mmrag.cli.process_title import hide_secrets; hide_secrets(); "
        "print(sys.argv[2], flush=True); time.sleep(60)"
    )
    address = "postgresql://ann:open-sesame@host/db"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--index", address, "--api-key", "sk-sesame"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().strip() == address  # the process itself still has it
        for _ in range(100):
            seen = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
            if "sesame" not in seen:
                break
            time.sleep(0.01)
        assert "sesame" not in seen
        assert "postgresql://ann:***@host/db" in seen and "--api-key" in seen
    finally:
        process.kill()
        process.wait()
