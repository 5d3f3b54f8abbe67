from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires

import langchain_mmrag


def test_import_pulls_no_torch_no_other_host_and_no_heavy_library() -> None:
    code = "import sys, langchain_mmrag; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert "langchain_core" in loaded and "mmrag" in loaded
    heavy = {"torch", "llama_index", "langchain", "chromadb", "onnxruntime", "pymupdf", "fitz", "rapidocr"}
    assert not loaded & heavy


def test_public_names() -> None:
    assert langchain_mmrag.__all__ == [
        "MMRagEmbeddings",
        "MMRagPDFLoader",
        "MMRagRetriever",
        "MMRagThinkRerank",
        "MMRagVectorStore",
        "cite_documents",
        "document_scores",
        "documents_to_content_blocks",
        "message_citations",
    ]
    assert all(getattr(langchain_mmrag, name).__doc__ for name in langchain_mmrag.__all__)


def test_ranges_are_ranges() -> None:
    """The host moves: nothing is pinned to one release."""
    needed = [line for line in requires("langchain-mmrag") if "extra ==" not in line]
    assert {"langchain-core<2,>=1.0", "mmrag<0.2,>=0.1"} <= {line.replace(" ", "") for line in needed}
    assert not [line for line in needed if "==" in line]
