"""After `os.fork` the child searches, and a write of it is done or refused: nothing waits for the parent."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings, onnx_sessions
from mmrag.embedders.cross_encoder import CrossEncoder
from mmrag.embedders.mini.embedder import MODEL_DIR
from mmrag.embedders.mini.encoder import MiniEncoder
from mmrag.embedders.mini.reader import LetterReader
from mmrag.errors import IndexLockedError, IndexReadOnlyError
from mmrag.forks import new_condition, new_lock, new_recursive_lock
from mmrag.onnx_sessions import Session, open_session
from mmrag.serving.client import ServerClient

from .forks import PATIENCE, in_child, needs_fork
from .patience import wait_until

pytestmark = [needs_fork, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]

TEXTS = [f"Tea number {n} is steeped." for n in range(300)]  # more than are scored without Chroma


@pytest.fixture
def qa(embedder, tmp_path: Path):
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=None) as qa:
        qa.add_texts(TEXTS, ids=[f"t{n}" for n in range(len(TEXTS))])
        yield qa


def ids_of(qa: DocumentQA, question: str) -> list[str]:
    return [candidate.id for candidate in qa.search(question, k=3)]


@pytest.mark.parametrize("make", [new_lock, new_recursive_lock, new_condition])
def test_a_lock_in_the_hands_of_another_thread_is_free_in_the_child(make) -> None:
    lock, is_held, may_end = make(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            may_end.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(60)
    assert in_child(lambda: lock.acquire(timeout=30)) is True
    may_end.set()
    thread.join()


def test_a_child_searches_and_its_write_is_refused_while_the_parent_has_the_lock(qa: DocumentQA) -> None:
    hits = ids_of(qa, "Tea number 7")

    def work() -> object:
        searched = ids_of(qa, "Tea number 7"), qa.index.count()
        for write in (lambda: qa.add_texts(["new"], ids=["new"]), lambda: qa.delete(["t1"])):
            with pytest.raises(IndexLockedError, match="from which this one was forked"):
                write()
        return searched, ids_of(qa, "Tea number 7")

    assert in_child(work) == ((hits, len(TEXTS)), hits)
    qa.add_texts(["of the parent"], ids=["parent"])
    assert ids_of(qa, "of the parent")[0] == "parent"
    assert qa.index.count() == len(TEXTS) + 1


def test_a_child_writes_once_the_parent_has_closed(qa: DocumentQA, embedder, tmp_path: Path) -> None:
    path = qa.path
    is_refused, is_closed = tmp_path / "refused", tmp_path / "closed"

    def work() -> object:
        with pytest.raises(IndexLockedError):
            qa.delete(["t1"])
        is_refused.touch()
        wait_for(is_closed)
        return qa.add_texts(["of the child"], ids=["child"]), ids_of(qa, "of the child")[0]

    def close() -> None:
        wait_for(is_refused)
        qa.close()
        is_closed.touch()

    thread = threading.Thread(target=close)
    thread.start()
    assert in_child(work) == (["child"], "child")
    thread.join()
    with DocumentQA.open(path, embedder=embedder, reranker=None) as again:
        assert ids_of(again, "of the child")[0] == "child"
        assert again.index._vectors.count() == len(TEXTS) + 1


def wait_for(path: Path) -> None:
    """Wait until another process or thread has made a file."""
    while not path.exists():
        time.sleep(0.01)


def test_a_child_opens_the_index_again_as_any_other_process(qa: DocumentQA, embedder) -> None:
    hits = ids_of(qa, "Tea number 7")

    def work() -> object:
        with pytest.raises(IndexLockedError):
            DocumentQA.open(qa.path, embedder=embedder)
        with DocumentQA.open(qa.path, embedder=embedder, read_only=True, reranker=None) as reader:
            with pytest.raises(IndexReadOnlyError):
                reader.delete(["t1"])
            return ids_of(reader, "Tea number 7")

    assert in_child(work) == hits


def test_forks_amid_the_work_of_other_threads_lose_nothing(qa: DocumentQA) -> None:
    """However many notes a fast machine writes meanwhile, none shares a word with the question."""
    hits, is_over, errors = ids_of(qa, "Tea number 7")[0], threading.Event(), []

    def work(write: bool) -> None:
        count = 0
        try:
            while not is_over.is_set():
                if write:
                    qa.add_texts(["Rain over the hills."], ids=[f"note{count}"])
                    count += 1
                else:
                    assert ids_of(qa, "Tea number 7")[0] == hits
        except Exception as error:  # noqa: BLE001  a thread's error is the test's
            errors.append(error)

    threads = [threading.Thread(target=work, args=(write,)) for write in (True, False)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            assert in_child(lambda: ids_of(qa, "Tea number 7")[0]) == hits
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_a_child_waits_for_no_bar_of_another_thread(qa: DocumentQA) -> None:
    """Bug guarded: a bar that is switched off, too, took tqdm's lock, and the child had it held for ever."""
    from tqdm import tqdm

    hits, is_held, may_end = ids_of(qa, "Tea number 7"), threading.Event(), threading.Event()

    def hold() -> None:
        with tqdm.get_lock():
            is_held.set()
            may_end.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_held.wait(PATIENCE)
        assert in_child(lambda: ids_of(qa, "Tea number 7")) == hits
    finally:
        may_end.set()
        thread.join()


def test_a_fork_waits_for_the_end_of_what_onnxruntime_runs(monkeypatch) -> None:
    """Bug guarded: a lock of the runtime's own that a run has for a moment stayed held in the child."""
    is_running, ended, session = threading.Event(), [], open_session(onnx_sessions._IDENTITY)
    runtime_run = session._session.run

    def run_until_a_fork(*arguments: object) -> object:
        is_running.set()
        wait_until(lambda: onnx_sessions._gate._is_forking)
        ended.append("run")
        return runtime_run(*arguments)

    monkeypatch.setattr(session, "_session", SimpleNamespace(run=run_until_a_fork))
    thread = threading.Thread(target=session.run, args=(None, {"x": np.ones(1, np.float32)}))
    thread.start()
    assert is_running.wait(PATIENCE)
    assert in_child(lambda: (ended, onnx_sessions._gate._runs)) == (["run"], 0)
    thread.join()


@pytest.mark.parametrize("make", [MiniEncoder, CrossEncoder, LetterReader])
def test_every_model_of_the_package_runs_by_such_a_session(make) -> None:
    model = make(*([MODEL_DIR] if make is MiniEncoder else []))
    owner = model.load() if make is CrossEncoder else model
    assert isinstance(owner._session, Session)


def test_an_index_in_memory_is_the_childs_own(embedder) -> None:
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reranker=None) as qa:
        qa.add_texts(["Red tea."], ids=["red"])
        assert in_child(lambda: (qa.add_texts(["Blue"], ids=["blue"]), ids_of(qa, "Blue")[0])) == (
            ["blue"],
            "blue",
        )
        assert qa.index.ids() == ["red"]


def test_a_child_draws_pages_by_processes_of_its_own(embedder, make_pdf, tmp_path: Path) -> None:
    index = MemoryIndex.for_embedder(embedder)
    with DocumentQA(index, embedder=embedder, reader=ReaderSettings(ocr="off", workers=1)) as qa:
        qa.add(make_pdf(tmp_path / "a.pdf", ["One page."]))
        (record,) = qa.index.get(qa.index.ids())
        path = qa.picture_path(record.page, max_pixels=9_000)

        def work() -> object:
            drawn = qa.picture_path(record.page, max_pixels=8_000)
            data = drawn.read_bytes()
            qa.close()
            return drawn.parent != path.parent, data[:4]

        assert in_child(work) == (True, b"\x89PNG")
        assert path.is_file()
        assert qa.render(record.page, max_pixels=9_000).width > 0


def test_a_child_talks_over_connections_of_its_own(fake_server) -> None:
    client = ServerClient(fake_server.url, model="m")
    for n in range(3):
        fake_server.reply(200, {"n": n})
    assert client.post("/v1/x", {}) == {"n": 0}
    assert in_child(lambda: client.post("/v1/x", {})) == {"n": 1}
    assert client.post("/v1/x", {}) == {"n": 2}
    parent, child, later = (request.port for request in fake_server.requests)
    assert child not in (parent, later)


SCRIPT = """
import os, sys
from mmrag import DocumentQA
from mmrag.embedders.text import TextEmbedder
embedder = TextEmbedder(sys.argv[1])
qa = DocumentQA.open(sys.argv[2], embedder=embedder, reranker=None)
qa.add_texts(["one", "two"], ids=["1", "2"])
child = os.fork()
if child == 0:
    print("child", qa.search("two", k=1)[0].id, flush=True)
    sys.exit(0)  # as a worker of a server ends, with all that an interpreter clears up
print("ended", os.waitpid(child, 0)[1], flush=True)
import subprocess
code = "import sys; from mmrag.index.chroma import ChromaIndex; ChromaIndex.open(sys.argv[1], None)"
other = subprocess.run([sys.executable, "-c", code, sys.argv[2]], capture_output=True, text=True)
print("IndexLockedError" in other.stderr, flush=True)
qa.close()
"""


def test_the_end_of_a_child_frees_nothing_of_its_parent(text_encoder: Path, tmp_path: Path) -> None:
    """The interpreter's end drops every object; the lock is one open file of both processes."""
    arguments = [sys.executable, "-c", SCRIPT, str(text_encoder), str(tmp_path / "index")]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE)
    assert run.stdout.split() == ["child", "2", "ended", "0", "True"], run.stderr
