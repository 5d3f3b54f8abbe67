"""The blocks of a page are read once, however many ask, and kept where the index cannot keep them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mmrag import MemoryIndex
from mmrag.blocks import Block
from mmrag.ingest.structure import MOST_PAGES, PageStructure
from mmrag.types import Page, Record, Source

THREADS = 6


def page(number: int = 0, text: str = "tea") -> Page:
    source = Source("ab" * 32, "pdf", "a.pdf", "/a.pdf")
    return Page(source.page_id(number), source.document_id, number, "1", text, (), (612.0, 792.0), source)


class Reader:
    """Counts what is read; the first reading waits until all threads have asked."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.count = 0
        self._gate = gate

    def structure(self, page: Page, *, data: bytes | None = None) -> Page:
        self.count += 1
        if self._gate is not None:
            self._gate.wait(60)
        return replace(page, blocks=(Block("text", "tea", ((0.0, 0.0, 1.0, 1.0),)),))


class ReadOnly(MemoryIndex):
    read_only = True


def test_threads_that_ask_for_one_page_wait_for_one_reading(embedder) -> None:
    index, gate = MemoryIndex.for_embedder(embedder), threading.Event()
    index.add([Record(page().id, embedder.encode_document(["tea"])[0], "tea", page=page())])
    reader = Reader(gate)
    structure = PageStructure(index, lambda: reader)
    with ThreadPoolExecutor(THREADS) as threads:
        futures = [threads.submit(structure.blocks, page()) for _ in range(THREADS)]
        gate.set()
        results = [future.result() for future in futures]
    assert reader.count == 1
    assert all(blocks == results[0] for blocks in results)
    assert index.get([page().id])[0].page.blocks == results[0]


def test_what_an_index_cannot_keep_is_kept_for_the_pages_asked_for_last(embedder) -> None:
    reader = Reader()
    structure = PageStructure(ReadOnly.for_embedder(embedder), lambda: reader)
    for _ in range(3):
        structure.blocks(page())
    assert reader.count == 1
    structure.blocks(page(text="the page read again, with other words"))
    assert reader.count == 2
    for number in range(1, MOST_PAGES + 1):
        structure.blocks(page(number))
    structure.blocks(page())
    assert reader.count == 2 + MOST_PAGES + 1


def test_threads_that_ask_for_several_pages_read_them_at_the_same_time(embedder) -> None:
    barrier = threading.Barrier(THREADS)

    class Meeting(Reader):
        def structure(self, page: Page, *, data: bytes | None = None) -> Page:
            barrier.wait(30)
            return super().structure(page, data=data)

    reader = Meeting()
    structure = PageStructure(ReadOnly.for_embedder(embedder), lambda: reader)
    with ThreadPoolExecutor(THREADS) as threads:
        assert all(threads.map(structure.blocks, map(page, range(THREADS))))
