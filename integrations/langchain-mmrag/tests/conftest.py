"""Small real stores: the sample documents, the shipped embedder, both homes of an index."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mmrag.samples import sample_documents

from langchain_mmrag import MMRagEmbeddings, MMRagVectorStore

REPORT = "harbor-annual-report-2024.pdf"
DECK = "product-launch-deck.pdf"


@pytest.fixture(scope="session")
def report() -> Path:
    """A sample with a text layer: an annual report with tables."""
    return sample_documents() / REPORT


@pytest.fixture(scope="session")
def embeddings() -> MMRagEmbeddings:
    """The shipped embedder, loaded once."""
    return MMRagEmbeddings()


@pytest.fixture(scope="session")
def samples(embeddings: MMRagEmbeddings) -> Iterator[MMRagVectorStore]:
    """A store of two sample documents; read by tests, changed by none."""
    with MMRagVectorStore(embeddings) as store:
        store.add_pdf([sample_documents() / REPORT, sample_documents() / DECK])
        yield store


@pytest.fixture(params=["memory", "chroma"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    """Where a store lives: arguments of `MMRagVectorStore`."""
    return {} if request.param == "memory" else {"persist_directory": tmp_path / "index"}


@pytest.fixture
def longest_pause() -> Callable[..., object]:
    """Measure the longest time for which a block kept the event loop from running another task."""

    @asynccontextmanager
    async def measure():
        pauses = [0.0]

        async def tick() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.005)
                pauses.append(time.perf_counter() - before - 0.005)

        task = asyncio.create_task(tick())
        await asyncio.sleep(0.02)
        try:
            yield pauses
        finally:
            await asyncio.sleep(0.01)
            task.cancel()

    return measure
