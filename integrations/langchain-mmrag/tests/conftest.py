"""Small real stores: the sample documents, the shipped embedder, both homes of an index."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mmrag.embedders.base import EmbedderBase
from mmrag.embedders.mini.embedder import MiniEmbedder
from mmrag.samples import sample_documents
from mmrag.types import Budget
from PIL import Image

from langchain_mmrag import MMRagEmbeddings, MMRagVectorStore

# Shared with the other integration; a source distribution has its own copy beside this file.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
from host_fakes import judge, loop_gate, postgres_server, postgres_url, span_tree  # noqa: E402

__all__ = ["judge", "loop_gate", "postgres_server", "postgres_url", "span_tree"]

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
def text_embeddings() -> MMRagEmbeddings:
    """The shipped embedder as one of text, which sees no images; loaded once."""
    return MMRagEmbeddings(model=MiniEmbedder(inputs="text"))


@pytest.fixture(scope="session")
def samples(embeddings: MMRagEmbeddings) -> Iterator[MMRagVectorStore]:
    """A store of two sample documents; read by tests, changed by none."""
    with MMRagVectorStore(embeddings) as store:
        store.add_pdf([sample_documents() / REPORT, sample_documents() / DECK])
        yield store


class ColourEmbedder(EmbedderBase):
    """Words and pictures in one space of three colours: small, exact, and it sees images.

    Every call passes `gate`, so that a test can tell where it runs.
    """

    name, dim, budget, modalities = "colours", 3, Budget(1, 1), frozenset({"text", "image"})

    def __init__(self, fingerprint: str = "colours-1") -> None:
        self.gate: Callable[[], None] = lambda: None
        self.fingerprint = fingerprint

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        return self._encode(queries)

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        return self._encode(documents)

    def _encode(self, items):
        self.gate()
        return [self._row(item) for item in items]

    def _row(self, item):
        text = item if isinstance(item, str) else item.text or ""
        row = np.array([text.lower().count(colour) for colour in ("red", "green", "blue")], dtype=np.float32)
        image = None if isinstance(item, str) else item.image
        if image is not None:
            row += np.asarray(image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) / 255
        return (row / (np.linalg.norm(row) or 1.0))[None]


@pytest.fixture
def colours() -> type[ColourEmbedder]:
    """The class of the small embedder that sees images."""
    return ColourEmbedder


@pytest.fixture
def swatches(tmp_path: Path) -> dict[str, Path]:
    """Three plain pictures."""
    paths = {}
    for name in ("red", "green", "blue"):
        paths[name] = tmp_path / f"{name}.png"
        Image.new("RGB", (40, 30), {"green": (0, 255, 0)}.get(name, name)).save(paths[name])
    return paths


@pytest.fixture(params=["memory", "chroma", "postgres", "qdrant-edge"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, object]:
    """Where a store lives: arguments of `MMRagVectorStore`."""
    if request.param == "postgres":
        return {"persist_directory": request.getfixturevalue("postgres_url")}
    if request.param == "qdrant-edge":
        pytest.importorskip("qdrant_edge", reason="needs the extra 'qdrant-edge' of mmrag")
        return {"persist_directory": f"qdrant-edge://{tmp_path / 'index'}"}
    return {} if request.param == "memory" else {"persist_directory": tmp_path / "index"}
