"""What the distribution as a whole keeps: a namespace, light imports, a README that runs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parent.parent
LEAVES = ("embeddings", "postprocessor", "query_engine", "readers", "retrievers", "vector_stores")


def run(code: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_the_leaves_are_packages():
    """A stray ``__init__`` above a leaf would make ``import llama_index.core`` fail for the user."""
    installed = Path(importlib.import_module("llama_index.retrievers.mmrag").__file__).parents[2]
    above = [installed, *(installed / kind for kind in LEAVES)]
    assert [folder for folder in above if (folder / "__init__.py").exists()] == []
    assert all((installed / kind / "mmrag" / "__init__.py").is_file() for kind in LEAVES)


def test_import_pulls_neither_torch_nor_the_other_host():
    code = (
        "import sys, llama_index.core\n"
        + "".join(f"import llama_index.{kind}.mmrag\n" for kind in LEAVES)
        + "heavy = ('torch', 'langchain', 'langchain_core', 'chromadb', 'onnxruntime', 'pymupdf')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_the_examples_of_the_readme_run_word_for_word(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (HOME / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks[0].strip().splitlines()) <= 10
    out = run("\n".join(blocks), cwd=tmp_path)
    assert "287.9" in out
    assert "harbor-annual-report-2024.pdf 2 [[0." in out


def test_public_classes_and_no_secret_in_any_repr():
    from llama_index.embeddings.mmrag import MMRagEmbedding
    from llama_index.readers.mmrag import MMRagPDFReader
    from llama_index.vector_stores.mmrag import MMRagVectorStore

    assert "secret" not in repr(MMRagEmbedding(api_key="secret"))
    assert "secret" not in repr(MMRagPDFReader(password="secret"))
    assert "secret" not in repr(MMRagVectorStore(api_key="secret"))
