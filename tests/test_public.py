"""The public paths: what a user may import by name, and where it is documented to be."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

import mmrag

NAMES = """
    Answer Answerer Box Budget Candidate ChromaIndex Citation Content DocumentQA DocumentReader Embedder
    ExtractiveAnswerer LocalReranker MLLMEmbedder MMRagError Manifest MemoryIndex MiniEmbedder Page Query
    Ranking ReaderSettings Record Reranker Retriever ServedAnswerer ServedEmbedder Source TextEmbedder
    ThinkReranker Verdict Word load_embedder reembed
"""

MODULES = {
    "mmrag.answer.evidence": ["draw_evidence"],
    "mmrag.documents": ["DocumentReader", "InputDocument", "ReaderSettings", "Skipped", "discover"],
    "mmrag.errors": ["DocumentError", "IndexMismatchError", "MMRagError", "UnsupportedInputError"],
    "mmrag.evaluation": ["evaluate", "save_plot"],
    "mmrag.index": ["ChromaIndex", "Filter", "Index", "Manifest", "MemoryIndex"],
    "mmrag.models.batch": ["TokenRow", "collate"],
    "mmrag.models.compression": ["Compression"],
    "mmrag.models.meta_tokens": ["MetaTokens"],
    "mmrag.models.model": ["RetrievalModel"],
    "mmrag.models.tiny": ["make_tiny"],
    "mmrag.samples": ["sample_documents"],
    "mmrag.scoring": ["maxsim"],
    "mmrag.types": ["Budget", "Page", "Query", "Ranking", "Record"],
}
"""Modules that README, docs and notebooks name, and what they use of each."""


def test_the_front_door_offers_these_names() -> None:
    assert sorted(mmrag.__all__) == sorted(NAMES.split())


def test_functions_of_the_front_door_are_no_modules() -> None:
    """A submodule of the same name would replace the function as soon as it is imported."""
    for name in mmrag.__all__:
        assert not inspect.ismodule(getattr(mmrag, name)), name


@pytest.mark.parametrize("path", MODULES)
def test_documented_modules_hold_what_is_documented(path: str) -> None:
    module = import_module(path)
    assert [name for name in MODULES[path] if not hasattr(module, name)] == []
