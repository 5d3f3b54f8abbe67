"""Small real documents in a real index, and a small embedder that sees colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrag import Content, DocumentQA, Embedder, MiniEmbedder, load_embedder
from mmrag.embedders.base import EmbedderBase
from mmrag.types import Budget, Page, Query

# Shared with the other integration; a source distribution has its own copy beside this file.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
from host_fakes import LoopGate, judge, loop_gate, postgres_server, postgres_url, span_tree  # noqa: E402

__all__ = ["LoopGate", "judge", "loop_gate", "postgres_server", "postgres_url", "span_tree"]

os.environ.setdefault("OMP_NUM_THREADS", "1")

HARBOR = (
    "Harbor report",
    "Net sales in Europe were 24 million dollars in 2024.",
    "The harbor master of Bremen is called Ada Lovelace.",
)
ENERGY = ("Offshore wind generated 4180 gigawatt hours in 2024.", "Gas plants were closed in the north.")


def write_pdf(path: Path, pages: Sequence[str]) -> Path:
    """A PDF with one page for each text."""
    import pymupdf

    document = pymupdf.open()
    for text in pages:
        page = document.new_page(width=612, height=792)
        page.insert_text((72, 90), text, fontsize=11)
    document.save(path)
    document.close()
    return path


class ColourEmbedder(EmbedderBase):
    """Texts by the colours they name, images by their mean colour: exact, so that ranks can be told."""

    name = "colours"
    fingerprint = "c01002" * 5
    dim = 3
    budget = Budget(1, 1)
    modalities = frozenset({"text", "image"})

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        asked = [query if isinstance(query, Query) else Query(text=query) for query in queries]
        return [self._matrix(query.text or "", query.image) for query in asked]

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        matrices = []
        for document in documents:
            if isinstance(document, (Content, Page)):
                matrices.append(self._matrix(document.text, document.image))
            else:
                matrices.append(self._matrix(document, None))
        return matrices

    def _matrix(self, text: str, image: Image.Image | None) -> np.ndarray:
        named = [float(word in text.lower()) for word in ("red", "green", "blue")]
        vector = np.array(named, dtype=np.float32)
        if image is not None:
            vector = vector + np.asarray(image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) / 255
        return (vector / max(float(np.linalg.norm(vector)), 1e-9))[None]


@pytest.fixture(scope="session")
def make_pdf():
    """Writes a PDF with one page for each text."""
    return write_pdf


@pytest.fixture(scope="session")
def embedder() -> MiniEmbedder:
    """The shipped embedder as one of text, loaded once; most laws here hold for any model."""
    return MiniEmbedder(inputs="text")


@pytest.fixture(scope="session")
def shipped() -> Embedder:
    """The embedder that is used when none is named, loaded once."""
    return load_embedder()


@pytest.fixture
def colours() -> ColourEmbedder:
    """An embedder that takes images."""
    return ColourEmbedder()


@pytest.fixture(scope="session")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two PDFs."""
    folder = tmp_path_factory.mktemp("pdfs")
    write_pdf(folder / "harbor.pdf", HARBOR)
    write_pdf(folder / "energy.pdf", ENERGY)
    return folder


@pytest.fixture(scope="session")
def qa(pdfs: Path, tmp_path_factory: pytest.TempPathFactory, embedder: MiniEmbedder) -> Iterator[DocumentQA]:
    """An index of the two PDFs, on disk; tests only read it."""
    with DocumentQA.open(tmp_path_factory.mktemp("qa") / "index", embedder=embedder) as opened:
        opened.add(pdfs)
        yield opened


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A red, a green and a blue PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = {}
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        paths[name] = folder / f"{name}.png"
        Image.new("RGB", (8, 8), colour).save(paths[name])
    return paths


@pytest.fixture
def events() -> Iterator[list[str]]:
    """Names of all instrumentation events, in the order they were sent."""
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.instrumentation.event_handlers import BaseEventHandler

    seen: list[str] = []

    class Recorder(BaseEventHandler):
        @classmethod
        def class_name(cls) -> str:
            return "Recorder"

        def handle(self, event, **kwargs) -> None:
            seen.append(event.class_name())

    root = get_dispatcher()
    recorder = Recorder()
    root.add_event_handler(recorder)
    yield seen
    root.event_handlers.remove(recorder)


@pytest.fixture
def stays_free(loop_gate):
    """Run a coroutine whose work passes `loop_gate`; fails where any of it ran on the loop."""

    async def run(coroutine):
        loop_gate.on_loop = loop_gate.beside = 0
        result = await coroutine
        assert loop_gate.beside and not loop_gate.on_loop
        return result

    return run


class GatedEmbedder(ColourEmbedder):
    """Passes a gate in every call."""

    def __init__(self, gate: LoopGate) -> None:
        self._gate = gate

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        self._gate()
        return super().encode_query(queries)

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        self._gate()
        return super().encode_document(documents)


@pytest.fixture
def gated(loop_gate) -> GatedEmbedder:
    """An embedder whose work passes `loop_gate`."""
    return GatedEmbedder(loop_gate)
