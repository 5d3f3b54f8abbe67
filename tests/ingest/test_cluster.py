"""Adding on a real Ray cluster of this machine: the same records and report as in one process, whatever ends.

The cluster has two processors and is started once. Embedders and converters are classes inside functions:
they go to its processes by value, and no process there imports this file.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings
from mmrag.cli.app import main
from mmrag.documents import DocumentInfo, InputDocument, Skipped
from mmrag.embedders.base import EmbedderBase
from mmrag.errors import MissingExtraError, ServerStatusError, ServerUnreachableError, WorkerError
from mmrag.index.base import DocumentEntry
from mmrag.ingest.cluster import RaySettings
from mmrag.ingest.cluster.actors import EmbeddingActor, ReadReply
from mmrag.ingest.cluster.plans import Chunk, DocumentPlan
from mmrag.ingest.cluster.pool import ActorPool
from mmrag.ingest.cluster.queue import PlanQueue
from mmrag.ingest.pages import PageBatch, WantedDocument
from mmrag.ingest.report import AddReport
from mmrag.types import Budget, Source

SETTINGS = ReaderSettings(ocr="off", workers=1, page_seconds=120)
ENGINE = RaySettings(readers=1, embedders=1, batch_pages=4, ahead=4)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two processors, connected to for all tests of this file."""
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


def letter_embedder(fault: Callable[[list[str]], None] | None = None) -> EmbedderBase:
    """Embedder of two rows: counts of letters. `fault` sees the texts of each call, where it is made."""

    class LetterEmbedder(EmbedderBase):
        name, fingerprint, dim = "letters", "1e77e25", 26
        budget, modalities = Budget(2, 2), frozenset({"text"})

        def encode_query(self, queries, *, batch_size=32, show_progress=False):
            return [rows(query.text if hasattr(query, "text") else query) for query in queries]

        def encode_document(self, documents, *, batch_size=32, show_progress=False):
            texts = [document.text for document in documents]
            if fault is not None:
                fault(texts)
            return [rows(text) for text in texts]

    def rows(text: str):
        counts = np.array([text.lower().count(chr(97 + letter)) for letter in range(26)], np.float32)
        both = np.stack([counts + 0.1, counts[::-1] + 0.1])
        return both / np.linalg.norm(both, axis=1, keepdims=True)

    return LetterEmbedder()


def fresh(embedder, settings: ReaderSettings = SETTINGS) -> DocumentQA:
    index = MemoryIndex.for_embedder(embedder, row_type="float16")
    return DocumentQA(index, embedder=embedder, reader=settings, reranker=None)


def outcome(report: AddReport) -> dict[str, Any]:
    """What a report says of files and pages, without times."""
    names = ("added", "replaced", "reread", "renamed", "unchanged", "skipped", "notes", "pages")
    return {name: getattr(report, name) for name in names}


def content(qa: DocumentQA) -> tuple[list[Any], list[DocumentEntry], list[np.ndarray]]:
    """Everything that an index holds, in its order."""
    records = qa.index.get(qa.index.ids(), matrices=True)
    plain = [(r.id, r.text, r.metadata, r.context, r.page, r.page and r.page.blocks) for r in records]
    return plain, list(qa.index.documents()), [np.asarray(record.matrix, np.float32) for record in records]


def check_same(one: DocumentQA, other: DocumentQA) -> None:
    """Check that two indexes hold the same records and documents, rows within rounding."""
    (plain, entries, matrices), (others, other_entries, other_matrices) = content(one), content(other)
    assert plain == others and entries == other_entries
    for matrix, other_matrix in zip(matrices, other_matrices, strict=True):
        np.testing.assert_allclose(matrix, other_matrix, atol=2e-3)


def texts_of(qa: DocumentQA) -> list[str]:
    return [record.text for record in qa.index.get(qa.index.ids())]


def write_files(folder: Path, make_pdf, rng: np.random.Generator) -> None:
    """Files of all fates: of 1 to 11 pages, one damaged, one under two names, a text, and a picture."""
    from PIL import Image

    for number in range(5):
        pages = [f"file {number} page {page} {rng.integers(1e9)}" for page in range(int(rng.integers(1, 12)))]
        make_pdf(folder / f"{number}.pdf", pages)
    shutil.copy(folder / "1.pdf", folder / "copy of 1.pdf")
    (folder / "damaged.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (folder / "note.txt").write_text("Green tea is steeped at 80 degrees.\n" * 9)
    Image.new("RGB", (40, 30), "red").save(folder / "red.png")


def test_records_and_report_are_those_of_one_process(cluster, embedder, make_pdf, tmp_path):
    """At first, after files have changed and gone, and where nothing has."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "files"
    write_files(folder, make_pdf, rng)
    with fresh(embedder) as one, fresh(embedder) as other:
        for is_changed in (False, True):
            if is_changed:
                make_pdf(folder / "2.pdf", [f"changed {number}" for number in range(7)])
                shutil.copy(folder / "3.pdf", folder / "4.pdf")
            arguments = {"metadata": {"shelf": "a"}, "context": ["shelf"]}
            report = one.add(folder, **arguments)
            assert outcome(other.add(folder, **arguments, engine=ENGINE)) == outcome(report)
            check_same(one, other)
        assert report.replaced and report.renamed and report.skipped
        again = other.add(folder, engine=ENGINE)
        assert again.pages == 0 and again.stages["read"].pages == again.stages["embed"].pages == 0


def test_killed_processes_cost_a_retry_and_no_page(cluster, make_pdf, tmp_path, monkeypatch):
    """A real SIGKILL to the reader and to the embedder, in the middle of a long document and of the files."""
    from mmrag.ingest.cluster import source

    pools: list[Any] = []
    start_actors = source._start_actors

    def keep(*arguments):
        queue, dispatcher = start_actors(*arguments)
        pools.extend([dispatcher._readers, dispatcher._embedders])
        return queue, dispatcher

    monkeypatch.setattr(source, "_start_actors", keep)
    make_pdf(tmp_path / "a.pdf", [f"a{number}" for number in range(30)])
    for number in range(8):
        make_pdf(tmp_path / f"b{number}.pdf", [f"b{number} one", f"b{number} two"])
    killed: list[list[int]] = [[], []]

    def kill(state) -> None:
        """Kill each pool's process at ten pages, and the one in its place, if it has come, from twenty on."""
        for pool, pids in zip(pools, killed if pools else [], strict=True):
            alive = [pid for pid in pool.pids if pid not in pids]
            if alive and len(pids) < 2 and state.pages_done >= 10 * (len(pids) + 1):
                os.kill(alive[0], signal.SIGKILL)
                pids.append(alive[0])

    embedder = letter_embedder()
    with fresh(embedder) as one, fresh(embedder) as other:
        one.add(tmp_path)
        report = other.add(tmp_path, engine=ENGINE, progress=kill)
        assert all(killed)  # how soon others stand in their place depends on the machine
        assert (report.pages, report.skipped) == (46, [])
        assert report.stages["embed"].retries >= 1  # most pages were still to be embedded
        assert "done again" in str(report)
        check_same(one, other)


def deadly_converter(flag: Path):
    """A converter that ends its process at texts that say so, while a file is there."""

    class Deadly:
        name, kinds = "deadly", ("txt",)

        def convert(self, data, *, kind, name):
            import pymupdf

            from mmrag.documents.conversion.base import Conversion

            if b"deadly" in data and flag.exists():
                os.kill(os.getpid(), signal.SIGKILL)
            document = pymupdf.open()
            document.new_page().insert_text((72, 90), data.decode())
            return Conversion(document.tobytes())

    return Deadly()


@pytest.mark.slow
def test_a_file_that_ends_its_reader_each_time_costs_one_line(cluster, make_pdf, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    folder = tmp_path / "files"
    make_pdf(folder / "a.pdf", ["alpha"])
    (folder / "b.txt").write_text("deadly")
    (folder / "c.txt").write_text("harmless")
    make_pdf(folder / "d.pdf", [f"delta {number}" for number in range(6)])
    settings = ReaderSettings(ocr="off", page_seconds=120, converters=(deadly_converter(flag),))
    with fresh(letter_embedder(), settings) as qa:
        report = qa.add(folder, engine=ENGINE)
        (skipped,) = report.skipped
        assert skipped.name == str(folder / "b.txt")
        assert skipped.reason == "opening it ended its process 2 times"
        assert texts_of(qa) == ["alpha", "harmless", *(f"delta {number}" for number in range(6))]
        flag.unlink()
        again = qa.add(folder, engine=ENGINE)
        assert (again.pages, again.added, again.skipped) == (1, [str(folder / "b.txt")], [])


def test_a_page_that_ends_its_embedder_or_does_not_fit_costs_one_line(cluster, make_pdf, tmp_path):
    """One page kills the process; one is too large for memory; and so are three pages of a kind together."""
    flag = tmp_path / "flag"
    flag.touch()

    def fault(texts: list[str]) -> None:
        if flag.exists() and any("deadly" in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        if flag.exists() and any("endless" in text for text in texts):
            raise MemoryError("no room for the page")
        if sum("large" in text for text in texts) > 2:
            raise RuntimeError("out of memory: tried to allocate 9 GiB")

    pages = [
        "one",
        "deadly two",
        "three",
        "four",
        "large 5",
        "large 6",
        "large 7",
        "large 8",
        "endless 9",
        "ten",
    ]
    path = make_pdf(tmp_path / "files" / "a.pdf", pages)
    with fresh(letter_embedder(fault)) as qa:
        report = qa.add(path, engine=ENGINE)
        assert [(item.name, item.page, item.reason) for item in report.skipped] == [
            ("a.pdf", 1, "embedding it ended its process 2 times"),
            ("a.pdf", 8, "embedding it failed (MemoryError: no room for the page)"),
        ]
        assert sorted(texts_of(qa)) == sorted(set(pages) - {"deadly two", "endless 9"})
        flag.unlink()
        again = qa.add(path, engine=ENGINE)
        assert (again.pages, again.reread, again.skipped) == (2, [str(path)], [])
        assert sorted(texts_of(qa)) == sorted(pages)


@pytest.mark.slow
def test_a_server_that_fails_ends_the_call_and_the_next_goes_on(cluster, make_pdf, tmp_path):
    """An embedder's own error is raised as in one process: no other page would fare better."""
    flag = tmp_path / "flag"
    flag.touch()

    def fault(texts: list[str]) -> None:
        from mmrag.errors import ServerStatusError

        if flag.exists() and any("page 9" in text for text in texts):
            raise ServerStatusError("the server answered 503", 503, "overloaded")

    path = make_pdf(tmp_path / "files" / "a.pdf", [f"page {number}" for number in range(12)])
    with fresh(letter_embedder(fault)) as qa:
        with pytest.raises(ServerStatusError, match="503"):
            qa.add(path, engine=ENGINE)
        held = texts_of(qa)
        assert len(held) % ENGINE.batch_pages == 0 and len(held) < 12
        flag.unlink()
        report = qa.add(path, engine=ENGINE)
        assert report.pages == 12 - len(held)
        assert sorted(texts_of(qa)) == sorted(f"page {number}" for number in range(12))


@pytest.mark.slow
async def test_the_async_twin_and_the_command_add_on_a_cluster(cluster, embedder, make_pdf, tmp_path, capsys):
    path = make_pdf(tmp_path / "a.pdf", ["green tea"])
    with fresh(embedder) as qa:
        report = await qa.aadd(path, engine=ENGINE)
        assert (report.pages, texts_of(qa)) == (1, ["green tea"])
    index = str(tmp_path / "index")
    assert (
        main(["index", str(path), "--index", index, "--ocr", "off", "--ray", "auto", "--ray-readers", "1"])
        == 0
    )
    assert "pages/s by stage" in capsys.readouterr().out


@pytest.mark.slow
def test_files_of_a_url_are_fetched_by_the_readers_and_kept_by_the_index(cluster, make_pdf, tmp_path):
    """The memory file system, which a process of the cluster has for itself: a converter brings the files."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra 'fsspec'")
    files = {f"/r/{n}.pdf": make_pdf(tmp_path / f"{n}.pdf", [f"tea {n}"]).read_bytes() for n in range(3)}

    class Carrier:
        name, kinds = "carrier", ()

        def __reduce__(self):
            return unpack, (files,)

    def unpack(carried_files):
        import fsspec

        fsspec.filesystem("memory").pipe(carried_files)
        return Carrier()

    fsspec.filesystem("memory").pipe(files)
    settings = ReaderSettings(ocr="off", page_seconds=120, converters=(Carrier(),))
    with fresh(letter_embedder(), settings) as one, fresh(letter_embedder(), settings) as other:
        report = one.add("memory://r")
        assert outcome(other.add("memory://r", engine=ENGINE)) == outcome(report)
        check_same(one, other)
        fsspec.filesystem("memory").rm("/r", recursive=True)
        page = other.index.get(other.index.ids())[0].page
        assert page is not None and other.render(page, max_pixels=90_000).size == (263, 341)


# ---- room ----


def play(rng: np.random.Generator, ahead: int, extra: int, sizes: list[int]) -> tuple[int, list[int]]:
    """Read documents in a queue as a dispatcher does, at random, without processes.

    Returns:
        The most chunks that took room at once, and the pages in the order in which they were written.
    """
    documents = [InputDocument(Source(f"{n:064}", "pdf", f"{n}.pdf", f"/{n}.pdf")) for n in range(len(sizes))]
    queue = PlanQueue(4, ahead, extra, lambda value: value)
    queue.expect(WantedDocument(document, frozenset()) for document in documents)
    work: list[Chunk] = []
    most, pages = 0, []

    def step() -> None:
        nonlocal most
        while (chunk := queue.next_chunk()) is not None:
            queue.note_sent(chunk)
            work.append(chunk)
        most = max(most, queue.open)
        if work:
            chunk = work.pop(int(rng.integers(len(work))))
            total = sizes[int(chunk.plan.document.source.sha256)]
            if chunk.numbers is None:
                numbers = tuple(range(min(4, total)))
                chunk.plan.note_opening(ReadReply(DocumentInfo(total), None, numbers), chunk)
            chunk.result = PageBatch([], [Skipped("", "", number) for number in chunk.numbers or ()], {}, {})

    for document in documents:
        plan = queue.turn_of(document)
        while plan.info is None:
            step()
        while plan.chunks:
            while not plan.chunks[0].is_done:
                step()
            pages += [failure.page for failure in plan.chunks[0].outcome().failures]
            queue.release([plan.chunks.popleft()])
        queue.drop(plan)
    assert queue.open == 0
    return most, pages


@pytest.mark.parametrize("seed", range(20))
def test_room_is_bounded_whatever_the_documents_and_no_page_is_left(seed):
    """Random sizes and orders: no more chunks than `ahead`, and what the first document may have besides."""
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(1, 60, size=40)]
    ahead, extra = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    most, pages = play(rng, ahead, extra, sizes)
    assert most <= ahead + extra
    assert pages == [number for size in sizes for number in range(size)]


def test_a_chunk_that_is_taken_apart_has_the_outcome_of_its_pages():
    plan = DocumentPlan(InputDocument(Source("0" * 64, "pdf", "a.pdf", "/a.pdf")), frozenset(), 4)
    chunk = Chunk(plan, (4, 5, 6))
    results = {
        4: PageBatch(["page 4"], [], {0: "rows 4"}, {}),
        5: PageBatch([], ["failure 5"], {}, {}),
        6: PageBatch(["page 6"], [], {}, {0: "reason 6"}),
    }
    for part in chunk.take_apart():
        assert part.is_suspect and not chunk.is_done
        (number,) = part.numbers or ()
        part.result = results[number]
    whole = chunk.outcome()
    assert (whole.pages, whole.failures) == (["page 4", "page 6"], ["failure 5"])
    assert (whole.matrices, whole.reasons) == ({0: "rows 4"}, {1: "reason 6"})


# ---- what is refused ----


def test_a_cluster_that_is_not_there_is_told_at_once(embedder, make_pdf, tmp_path):
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    path = make_pdf(tmp_path / "a.pdf", ["green tea"])
    start = time.monotonic()
    with fresh(embedder) as qa:
        with pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:1, got none .*`ray start --head`"):
            qa.add(path, engine=RaySettings(address="127.0.0.1:1"))
        with pytest.raises(ValueError, match="HOST:PORT"):
            qa.add(path, engine=RaySettings(address="somewhere"))
        assert qa.index.count() == 0
    assert time.monotonic() - start < 30  # Ray by itself waits for minutes


def test_a_cluster_without_room_is_told(cluster):
    pool = ActorPool(
        cluster, "embedding", EmbeddingActor, (b"",), 1, {"num_gpus": 1}, lambda fitness: None, 0.2
    )
    with pool, pytest.raises(WorkerError, match=r"one embedding process \(num_gpus=1\).* 0 graphics cards"):
        while True:
            pool.starting_actors()


def test_an_embedder_that_cannot_be_pickled_is_told_before_anything_starts(make_pdf, tmp_path, monkeypatch):
    import threading

    pytest.importorskip("ray", reason="needs the extra 'ray'")
    embedder = letter_embedder()
    embedder.lock = threading.Lock()  # type: ignore[attr-defined]
    path = make_pdf(tmp_path / "a.pdf", ["green tea"])
    monkeypatch.setattr("mmrag.ingest.cluster.source._start_actors", None)
    with fresh(embedder) as qa, pytest.raises(TypeError, match="embedder must be picklable"):
        qa.add(path, engine="ray")


def test_ray_that_is_not_installed_is_told_with_the_command(embedder, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with fresh(embedder) as qa, pytest.raises(MissingExtraError, match=r"pip install 'mmrag\[ray\]'"):
        qa.add(tmp_path, engine="ray")


def test_an_unknown_engine_is_refused(embedder, tmp_path):
    with fresh(embedder) as qa, pytest.raises(ValueError, match="got 'spark'"):
        qa.add(tmp_path, engine="spark")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [{"readers": 0}, {"ahead": 0}, {"batch_pages": 0}, {"embedder_gpus": -1}])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="must be"):
        RaySettings(**value)
