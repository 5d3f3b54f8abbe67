"""One `DocumentQA` under several threads: what is made on first use is made once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmrag.documents import DocumentReader
from mmrag.index import MemoryIndex
from mmrag.pipeline import DocumentQA

THREADS = 4


@pytest.fixture
def qa(embedder, make_pdf, tmp_path: Path):
    """Four pages in memory."""
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        qa.add(make_pdf(tmp_path / "a.pdf", [f"page {n}" for n in range(THREADS)]))
        yield qa


def test_pictures_asked_for_at_once_all_stay(qa: DocumentQA) -> None:
    """A second temporary folder made at the same moment took the first, with its pictures, away."""
    pages = [record.page for record in qa.index.get(qa.index.ids())]
    for pixels in range(10_000, 10_020):  # many first uses, each with pictures that are not there yet
        qa._pictures.close()
        barrier = threading.Barrier(THREADS)

        def picture(page, barrier=barrier, pixels=pixels):
            barrier.wait()
            return qa.picture_path(page, max_pixels=pixels)

        with ThreadPoolExecutor(THREADS) as threads:
            paths = list(threads.map(picture, pages))
        assert all(path.is_file() for path in paths)
        assert len({path.parent for path in paths}) == 1


def test_the_reader_is_started_once(qa: DocumentQA, monkeypatch) -> None:
    class SlowToStart(DocumentReader):
        def __init__(self, *args, **options) -> None:
            time.sleep(0.05)  # in which every thread has asked
            super().__init__(*args, **options)

    monkeypatch.setattr("mmrag.documents.DocumentReader", SlowToStart)
    qa.reader.close()
    qa._reader = None
    with ThreadPoolExecutor(THREADS) as threads:
        assert len({id(one) for one in threads.map(lambda _: qa.reader, range(THREADS))}) == 1
