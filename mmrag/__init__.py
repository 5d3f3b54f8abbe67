"""Multimodal retrieval for document question answering.

PDFs and images in, question in; answer out, with the pages and boxes that prove it::

    from mmrag import DocumentQA

    with DocumentQA.open("my-index") as qa:
        qa.add("reports/")
        answer = qa.ask("How did net sales change in Europe?")

Importing this package imports neither torch nor chromadb nor a host: each public name is loaded when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mmrag.errors import MMRagError
from mmrag.types import (
    Answer,
    Box,
    Budget,
    Candidate,
    Citation,
    Page,
    Query,
    Ranking,
    Record,
    Source,
    Verdict,
    Word,
)

if TYPE_CHECKING:
    from mmrag.answer import Answerer, ExtractiveAnswerer, ServedAnswerer
    from mmrag.documents import DocumentReader, ReaderSettings
    from mmrag.documents.reading import ParsedDocument, read
    from mmrag.embedders.base import Content, Embedder
    from mmrag.embedders.mini.embedder import MiniEmbedder
    from mmrag.embedders.served import ServedEmbedder
    from mmrag.embedders.text import TextEmbedder
    from mmrag.index import ChromaIndex, Manifest, MemoryIndex
    from mmrag.index.copying import copy_index
    from mmrag.ingest.reembed import reembed
    from mmrag.models.load import load_embedder
    from mmrag.models.mllm_embedder import MLLMEmbedder
    from mmrag.models.served.embedder import ServedMLLMEmbedder
    from mmrag.pipeline import DocumentQA
    from mmrag.rerank import Reranker, ThinkReranker
    from mmrag.rerank.local import LocalReranker
    from mmrag.retriever import Retriever

__version__ = "0.1.0"

_MODULES = {
    "Answerer": "mmrag.answer",
    "ChromaIndex": "mmrag.index",
    "Content": "mmrag.embedders.base",
    "DocumentQA": "mmrag.pipeline",
    "DocumentReader": "mmrag.documents",
    "Embedder": "mmrag.embedders.base",
    "ExtractiveAnswerer": "mmrag.answer",
    "LocalReranker": "mmrag.rerank.local",
    "MLLMEmbedder": "mmrag.models.mllm_embedder",
    "Manifest": "mmrag.index",
    "MemoryIndex": "mmrag.index",
    "MiniEmbedder": "mmrag.embedders.mini.embedder",
    "ParsedDocument": "mmrag.documents.reading",
    "ReaderSettings": "mmrag.documents",
    "Reranker": "mmrag.rerank",
    "Retriever": "mmrag.retriever",
    "ServedAnswerer": "mmrag.answer",
    "ServedEmbedder": "mmrag.embedders.served",
    "ServedMLLMEmbedder": "mmrag.models.served.embedder",
    "TextEmbedder": "mmrag.embedders.text",
    "ThinkReranker": "mmrag.rerank",
    "copy_index": "mmrag.index.copying",
    "explain": "mmrag.explanation",
    "load_embedder": "mmrag.models.load",
    "read": "mmrag.documents.reading",
    "reembed": "mmrag.ingest.reembed",
}

__all__ = [
    "Answer",
    "Answerer",
    "Box",
    "Budget",
    "Candidate",
    "ChromaIndex",
    "Citation",
    "Content",
    "DocumentQA",
    "DocumentReader",
    "Embedder",
    "ExtractiveAnswerer",
    "LocalReranker",
    "MLLMEmbedder",
    "MMRagError",
    "Manifest",
    "MemoryIndex",
    "MiniEmbedder",
    "Page",
    "ParsedDocument",
    "Query",
    "Ranking",
    "ReaderSettings",
    "Record",
    "Reranker",
    "Retriever",
    "ServedAnswerer",
    "ServedEmbedder",
    "ServedMLLMEmbedder",
    "Source",
    "TextEmbedder",
    "ThinkReranker",
    "Verdict",
    "Word",
    "copy_index",
    "explain",
    "load_embedder",
    "read",
    "reembed",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'mmrag' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
