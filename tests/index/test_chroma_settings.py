"""Chroma takes its settings from us: not from the environment, nor from a file in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag

HOSTILE = {
    "CHROMA_API_IMPL": "chromadb.api.fastapi.FastAPI",
    "CHROMA_SERVER_HOST": "127.0.0.1",
    "CHROMA_SERVER_HTTP_PORT": "9",
    "CHROMA_SYSDB_IMPL": "planted.Database",
    "CHROMA_PRODUCT_TELEMETRY_IMPL": "planted.Telemetry",
    "CHROMA_CLIENT_AUTH_PROVIDER": "planted.Provider",
    "CHROMA_QUOTA_ENFORCER_IMPL": "planted.Quota",
    "CHROMA_OTEL_COLLECTION_ENDPOINT": "http://127.0.0.1:9",
    "CHROMA_OTEL_GRANULARITY": "all",
    "ANONYMIZED_TELEMETRY": "True",
    "ALLOW_RESET": "True",
    "IS_PERSISTENT": "False",
    "PERSIST_DIRECTORY": "./elsewhere",
    "CHROMA_SERVER_NOFILE": "16",
}
USE = """
import sys

def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("connects:", args[1:])

sys.addaudithook(watch)
import numpy as np
from mmrag.index.chroma import ChromaIndex
from mmrag.types import Record

class Identity:
    name, fingerprint, dim = "test", "00" * 32, 4

index = ChromaIndex.open(sys.argv[1], Identity())
index.add([Record(f"r{n}", np.eye(4, dtype=np.float32)[n : n + 1]) for n in range(4)])
print("chroma holds", index._vectors and index._vectors.count())
print("best", index.search_vectors(np.eye(4, dtype=np.float32)[2:3], k=1)[0].id)
index.close()
"""


def run(folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Use an index in a process whose working directory is `folder`, which is on its module path too."""
    paths = os.pathsep.join([str(folder), str(Path(mmrag.__file__).parents[1])])
    command = [sys.executable, "-c", USE, str(folder / "index")]
    environment = {**os.environ, "PYTHONPATH": paths, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("where", ["file", "environment"])
def test_hostile_settings_have_no_effect(tmp_path: Path, where: str) -> None:
    (tmp_path / "planted.py").write_text("print('imported:', __name__)")
    if where == "file":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in HOSTILE.items()))
    done = run(tmp_path, HOSTILE if where == "environment" else {})
    assert done.stdout.splitlines() == ["chroma holds 4", "best r2"], done.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_a_malformed_file_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"CHROMA_SERVER_HTTP_PORT=x\n\xff\xfe")
    done = run(tmp_path, {})
    assert done.stdout.splitlines() == ["chroma holds None", "best r2"]
    assert "Chroma failed" in done.stderr and "Traceback" not in done.stderr
