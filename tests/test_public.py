"""The public paths: what a user may import by name, and where it is documented to be."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import mmrag

NAMES = """
    Answer Answerer Box Budget Candidate ChromaIndex Citation Content DocumentQA DocumentReader Embedder
    ExtractiveAnswerer LocalReranker MLLMEmbedder MMRagError Manifest MemoryIndex MiniEmbedder Page
    ParsedDocument Query Ranking ReaderSettings Record Reranker Retriever ServedAnswerer ServedEmbedder
    ServedMLLMEmbedder Source TextEmbedder ThinkReranker Verdict Word copy_index explain load_embedder read
    reembed
"""

MODULES = {
    "mmrag.answer.evidence": ["draw_evidence"],
    "mmrag.documents": ["DocumentReader", "InputDocument", "ReaderSettings", "Skipped", "discover"],
    "mmrag.errors": [
        "DocumentError",
        "IndexDamagedError",
        "IndexMismatchError",
        "MMRagError",
        "UnsupportedInputError",
    ],
    "mmrag.evaluation": ["evaluate", "save_plot"],
    "mmrag.evaluation.datasets": ["LAYOUTS", "make_pack"],
    "mmrag.index": [
        "CheckReport",
        "ChromaIndex",
        "Fault",
        "Filter",
        "Index",
        "Manifest",
        "MemoryIndex",
        "QdrantIndex",
    ],
    "mmrag.index.qdrant": ["CollectionSettings", "QdrantIndex", "ServerSettings"],
    "mmrag.ingest.cluster": ["RaySettings"],
    "mmrag.leaderboards.mmeb": ["evaluate_mmeb"],
    "mmrag.leaderboards.mteb": ["MTEBEmbedder", "MTEBReranker"],
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
    if path.startswith("mmrag.models."):
        pytest.importorskip("torch")
    module = import_module(path)
    assert [name for name in MODULES[path] if not hasattr(module, name)] == []


# ---- the integrations ----

INTEGRATIONS = Path(__file__).parents[1] / "integrations"
ADAPTERS = sorted(
    [
        *INTEGRATIONS.glob("langchain-mmrag/langchain_mmrag/**/*.py"),
        *INTEGRATIONS.glob("llama-index-mmrag/llama_index/**/*.py"),
    ]
)
ADAPTER_IMPORTS = {
    "mmrag",
    "mmrag.documents",
    "mmrag.errors",
    "mmrag.hosts",
    "mmrag.index",
    "mmrag.types",
}
"""What an adapter may import, and the files of `mmrag.hosts`, which is a folder for adapters alone."""
MOST_LINES = 150


def imports_of_mmrag(path: Path) -> Iterator[str]:
    """Modules of mmrag that a file imports from; lazy and typing-only imports count."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        yield from (name for name in names if name.split(".")[0] == "mmrag")


def test_there_are_adapters() -> None:
    assert len(ADAPTERS) > 20


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: str(path.relative_to(INTEGRATIONS)))
def test_adapters_import_the_public_paths_alone(path: Path) -> None:
    names = {"mmrag.hosts" if name.startswith("mmrag.hosts.") else name for name in imports_of_mmrag(path)}
    assert names - ADAPTER_IMPORTS == set()


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: str(path.relative_to(INTEGRATIONS)))
def test_adapters_are_short(path: Path) -> None:
    """Examples in docstrings do not count: they explain, and a law runs them."""
    text = re.sub(
        r"\s*\n *Example:\n.*?(?=\n *\"\"\")", "", path.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert len(text.splitlines()) <= MOST_LINES
