"""Processes that die, hang or grow cost one page; scripts, parents and paths that are not ideal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from made_documents import find, make_pdf

import mmrag
from mmrag.documents import DocumentReader, ReaderSettings, Skipped, pipes
from mmrag.documents.pool import Worker, WorkerDiedError
from mmrag.errors import DocumentError, WorkerError
from mmrag.types import Page

from ..patience import PATIENCE, wait_until

ROOT = str(Path(mmrag.__file__).parents[1])
SETTINGS = ReaderSettings(ocr="off", workers=1, page_seconds=120)


def slow_page() -> str:
    """A content stream that takes MuPDF far longer than a test waits."""
    return "q 0 0 400 300 re W n " + "0 0 m 400 300 l 0 300 l 400 0 l h f* " * 60_000


def pdf_with_contents(*contents: str) -> bytes:
    import pymupdf

    document = pymupdf.open()
    for content in contents:
        page = document.new_page(width=400, height=300)
        page.insert_text((40, 60), "words")
        xref = page.get_contents()[0]
        document.update_stream(xref, document.xref_stream(xref) + content.encode())
    return document.tobytes(deflate=True)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return status != "Z"


def test_a_worker_that_is_killed_costs_one_page_and_a_new_one_goes_on():
    with DocumentReader(SETTINGS) as reader:
        found = find(make_pdf(*(f"page {n}" for n in range(8))))
        pages = reader.pages(found)
        first = next(pages)
        assert first.text == "page 0"
        (pid,) = reader._pool.pids()
        os.kill(pid, signal.SIGSTOP)  # whatever it does now, it cannot finish
        threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
        rest = list(reader.pages(found))
        lost = [page for page in rest if isinstance(page, Skipped)]
        assert len(lost) <= 1, "at most the page that was at work is lost"
        for skipped in lost:
            assert skipped.reason == "reading it its reading process ended (SIGKILL)"
        assert [page.text for page in rest if not isinstance(page, Skipped)] == [
            f"page {n}" for n in range(8) if n not in [skipped.page for skipped in lost]
        ]


def test_a_page_that_takes_too_long_is_named_and_the_others_are_read():
    data = pdf_with_contents("", slow_page(), "")
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=3.0)) as reader:
        found = find(data)
        pages = list(reader.pages(found, image_pixels=80_000_000))
    assert [page.number if hasattr(page, "number") else None for page in pages] == [0, None, 2]
    assert pages[1].reason == "reading it took more than 3 s"
    assert (pages[1].page, pages[1].document_id) == (1, found.source.document_id)


def test_memory_over_the_limit_costs_one_page():
    from PIL import Image

    from mmrag.documents import discover

    (small,) = discover(Image.new("RGB", (50, 50), "red"))
    (large,) = discover(Image.new("L", (9_000, 9_000), 0))
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=120, memory_mb=400)) as reader:
        (page,) = reader.pages(small, image_pixels=100)
        assert isinstance(page, Page)
        (skipped,) = reader.pages(large, image_pixels=80_000_000)
        assert isinstance(skipped, Skipped)
        assert "memory limit reached" in skipped.reason or "process ended" in skipped.reason
        (page,) = reader.pages(small, image_pixels=100)
        assert isinstance(page, Page)


def test_grown_workers_are_replaced(monkeypatch):
    monkeypatch.setattr("mmrag.documents.pool.RECYCLE_MB", 1.0)
    with DocumentReader(SETTINGS) as reader:
        pages = list(reader.pages(find(make_pdf("a", "b", "c"))))
        assert [page.text for page in pages] == ["a", "b", "c"]
        assert reader._pool.pids() == [], "each worker was over the limit after its job"


def test_close_ends_the_children():
    reader = DocumentReader(SETTINGS)
    list(reader.pages(find(make_pdf("a"))))
    (pid,) = reader._pool.pids()
    assert alive(pid)
    reader.close()
    wait_until(lambda: not alive(pid))


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from mmrag.documents import DocumentReader, ReaderSettings, discover
reader = DocumentReader(ReaderSettings(ocr="off", workers=2, page_seconds=120))
for found in discover({file!r}):
    for page in reader.pages(found):
        print(page.text, flush=True)
{end}
"""


def run_script(tmp_path, end: str, **options):
    (tmp_path / "a.pdf").write_bytes(make_pdf("one", "two"))
    script = tmp_path / "no_guard.py"
    script.write_text(SCRIPT.format(root=ROOT, file=str(tmp_path / "a.pdf"), end=textwrap.dedent(end)))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        **options,
    )


def test_a_script_without_a_main_guard_works_and_ends_by_itself(tmp_path):
    (tmp_path / "pipes.py").write_text("raise SystemExit('a file of the user must not be taken for ours')")
    out, err = run_script(tmp_path, "").communicate(timeout=PATIENCE)
    assert out.split() == ["one", "two"]
    assert err == ""


def test_children_end_when_their_parent_is_killed(tmp_path):
    script = run_script(tmp_path, "print(*reader._pool.pids(), flush=True)\nimport time; time.sleep(600)")
    lines = [script.stdout.readline().split() for _ in range(3)]
    pids = [int(pid) for pid in lines[2]]
    assert pids and all(map(alive, pids))
    script.kill()
    script.wait()
    wait_until(lambda: not any(map(alive, pids)))
    script.stdout.close()
    script.stderr.close()


def test_a_broken_python_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerError, match=r"could not be started with /nowhere/python: .*No such file"):
        DocumentReader(SETTINGS).info(find(make_pdf("a")))
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(WorkerError, match=r"sys\.executable is empty"):
        DocumentReader(SETTINGS).info(find(make_pdf("a")))


def test_a_path_without_the_package_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(
        sys, "path", [str(tmp_path), *(entry for entry in sys.path if entry != ROOT and entry)]
    )
    (tmp_path / "mmrag.py").write_text("raise ImportError('this is not the package')")
    with pytest.raises(
        WorkerError, match=r"ImportError: this is not the package\. Check that this Python can"
    ):
        DocumentReader(SETTINGS).info(find(make_pdf("a")))


def test_a_child_cannot_make_its_parent_build_objects():
    import io
    import pickle
    import struct

    payload = pickle.dumps(Path("x"))
    with pytest.raises(pickle.UnpicklingError, match="plain values only, got a reference to pathlib"):
        pipes.receive(io.BytesIO(struct.pack(">Q", len(payload)) + payload))


def test_a_message_that_ends_early_is_the_end():
    import io

    buffer = io.BytesIO()
    pipes.send(buffer, {"a": 1})
    assert pipes.receive(io.BytesIO(buffer.getvalue())) == {"a": 1}
    with pytest.raises(EOFError):
        pipes.receive(io.BytesIO(buffer.getvalue()[:-1]))


def test_opening_a_file_has_the_same_limit(monkeypatch):
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=0.01)) as reader:
        found = find(make_pdf("text"))
        with reader._pool.worker() as worker:
            os.kill(worker.pid, signal.SIGSTOP)  # on the quickest machine, too, it takes too long
        with pytest.raises(DocumentError, match=r"document\.pdf: opening it took more than 0\.01 s"):
            reader.info(found)


def test_a_worker_refuses_the_network():
    worker = Worker(SETTINGS)
    try:
        # the only job that takes a path: an address is not a file, and nothing asks the network for it
        job = {"op": "info", "key": "k", "kind": "pdf", "name": "n", "data": None, "passwords": ()}
        reply = worker.ask({**job, "path": "http://127.0.0.1:9/a.pdf"}, 60)
        assert not reply["ok"]
    finally:
        worker.kill()
    with pytest.raises(WorkerDiedError):
        worker.ask({"op": "info"}, 5)


def test_audit_hook_names_what_it_refuses():
    code = (
        "import sys, socket; from mmrag.documents.worker import _refuse_network\n"
        "sys.addaudithook(_refuse_network)\n"
        "try: socket.create_connection(('127.0.0.1', 9))\n"
        "except PermissionError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert run.stdout.startswith("a reading process may not use the network (socket."), run.stderr


def test_a_worker_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    monkeypatch.setenv("MMRAG_PDF_PASSWORD", "hunter2")
    worker = Worker(ReaderSettings())
    try:
        variables = Path(f"/proc/{worker.pid}/environ")
        if not variables.is_file():
            pytest.skip("needs /proc")
        assert b"hunter2" not in variables.read_bytes()
    finally:
        worker.kill()
