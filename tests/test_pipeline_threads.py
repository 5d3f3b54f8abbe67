"""One `DocumentQA` under several threads: what is made on first use is made once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmrag.answer import ExtractiveAnswerer
from mmrag.documents import DocumentReader
from mmrag.index import MemoryIndex
from mmrag.pipeline import DocumentQA
from mmrag.types import Matrix, Query, Ranking

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


def test_asks_are_at_work_together_in_every_stage(embedder, make_pdf, tmp_path: Path, monkeypatch) -> None:
    """Each stage waits until all threads are in it: a lock held over one of them would end the test."""
    barrier = threading.Barrier(THREADS)
    stages: list[str] = []

    def meet(stage: str) -> None:
        barrier.wait(60)
        stages.append(stage)

    class Meeting:
        def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
            meet("rerank")
            return ranking

        async def arerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
            return self.rerank(ranking)

    def score(question: str, passages: Sequence[str]) -> list[float]:
        meet("answer")
        return [1.0] * len(passages)

    encode_query = embedder.encode_query

    def encode(queries: Sequence[Query], **options: object) -> list[Matrix]:
        meet("embed")
        return encode_query(queries, **options)

    answerer = ExtractiveAnswerer(score, threshold=0.0)
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=Meeting(), answerer=answerer) as qa:
        qa.add(make_pdf(tmp_path / "tea.pdf", ["Green tea is steeped at 80 degrees."]))
        monkeypatch.setattr(embedder, "encode_query", encode)
        with ThreadPoolExecutor(THREADS) as threads:
            answers = list(threads.map(qa.ask, ["How hot should green tea be?"] * THREADS))
    assert set(stages) == {"embed", "rerank", "answer"}
    assert all("80 degrees" in answer.text for answer in answers)


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
