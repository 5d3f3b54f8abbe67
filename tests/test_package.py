"""Laws of the package as a whole: what importing costs, who may import whom, what messages promise."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag

ROOT = Path(mmrag.__file__).parent
PROJECT = ROOT.parent

# Who may import whom, by room. A room not named here fails the test: decide where it stands.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": {"errors", "types"},
    "types": set(),
    "errors": set(),
    "samples": set(),
    "scoring": {"types"},
    "wire": {"errors"},
    "connection": {"errors", "wire"},
    "client": {"errors", "wire", "connection"},
    "rgb": set(),
    "machine": set(),
    "documents": {"types", "errors", "rgb"},
    "embedder": {"types", "errors"},
    "onnx_bert": set(),
    "text_embedder": {"types", "errors", "scoring", "embedder", "onnx_bert"},
    "index": {"types", "errors", "scoring", "embedder"},
    "fusion": {"types"},
    "retriever": {"types", "errors", "scoring", "fusion", "embedder", "index"},
    "pictures": set(),
    "answer": {"types", "errors", "client", "pictures"},
    "rerank": {"types", "errors", "client", "wire", "pictures", "fusion", "onnx_bert"},
    "mini": {"types", "errors", "embedder", "onnx_bert", "rgb", "text_embedder"},
    "models": {"types", "errors", "scoring", "embedder", "rgb", "mini", "machine"},
    "training": {
        "types",
        "errors",
        "documents",
        "answer",
        "client",
        "embedder",
        "index",
        "load",
        "models",
        "mining",
        "pipeline",
        "rerank",
        "evaluation",
    },
    "mining": {"types", "errors", "rerank", "index", "retriever", "pipeline", "export", "commands"},
    "serve": {"errors", "client", "wire", "machine"},
    "evaluation": {"types", "errors"},
    "flat": {"types"},
    "host_ranking": {"types", "documents", "load", "rerank"},
    "embedding_wire": {"types", "errors", "wire", "embedder"},
    "served_embedder": {"types", "errors", "client", "wire", "embedding_wire", "embedder"},
    "load": {"errors", "embedder", "text_embedder", "served_embedder", "models", "mini"},
    "ingest": {"types", "errors", "documents", "embedder", "index"},
    "page_picture": {"types", "errors", "index"},
    "reembed": {
        "types",
        "errors",
        "documents",
        "embedder",
        "text_embedder",
        "index",
        "load",
        "ingest",
        "page_picture",
    },
    "pipeline": {
        "types",
        "errors",
        "documents",
        "embedder",
        "text_embedder",
        "index",
        "load",
        "retriever",
        "rerank",
        "ingest",
        "page_picture",
        "reembed",
        "answer",
    },
    "export": {"types", "ingest", "pipeline"},
    "commands": {
        "types",
        "errors",
        "load",
        "documents",
        "retriever",
        "rerank",
        "answer",
        "ingest",
        "pipeline",
        "export",
        "reembed",
        "demo",
        "measure",
        "measure_table",
        "mining",
        "serve",
        "train_commands",
    },
    "arguments": {"types"},
    "train_commands": {"errors", "arguments", "commands", "training"},
    "demo": {"commands", "export", "pipeline", "samples"},
    "measure": {"types", "errors", "commands", "evaluation", "export", "pipeline", "samples"},
    "measure_table": {
        "types",
        "errors",
        "commands",
        "embedder",
        "evaluation",
        "index",
        "load",
        "pipeline",
        "reembed",
        "rerank",
        "retriever",
        "samples",
    },
    "cli": {"__init__", "types", "errors", "arguments", "train_commands", "commands"},
}
HOSTS = {"llama_index", "langchain", "langchain_core"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imported(path: Path, *, typing_only: bool) -> set[str]:
    """Modules a file imports; those under `if TYPE_CHECKING:` only where asked for."""
    found: set[str] = set()

    def walk(node: ast.AST, guarded: bool) -> None:
        for child in ast.iter_child_nodes(node):
            is_guard = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if not guarded or typing_only:
                if isinstance(child, ast.Import):
                    found.update(alias.name for alias in child.names)
                elif isinstance(child, ast.ImportFrom) and child.module:
                    found.add(child.module)
                    found.update(f"{child.module}.{alias.name}" for alias in child.names)
            walk(child, guarded or is_guard)

    walk(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_in_one_direction(path: Path) -> None:
    here = room(path)
    assert here in MAY_IMPORT, f"say in MAY_IMPORT what {here} may import"
    rooms = {name.split(".")[1] for name in imported(path, typing_only=False) if name.startswith("mmrag.")}
    rooms = {name for name in rooms if name in MAY_IMPORT}
    assert rooms - MAY_IMPORT[here] - {here} == set()


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_imports_a_host(path: Path) -> None:
    assert {name.split(".")[0] for name in imported(path, typing_only=True)} & HOSTS == set()


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running this code."""
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


HEAVY = {
    "torch",
    "transformers",
    "chromadb",
    "onnxruntime",
    "pymupdf",
    "rapidocr",
    "httpx",
    "PIL",
    "numpy",
    "matplotlib",
} | HOSTS


@pytest.mark.parametrize(
    "code",
    [
        "import mmrag",
        "import mmrag.cli.main; mmrag.cli.main.build_parser().format_help()",
        "import mmrag.samples",
    ],
)
def test_import_pulls_nothing_heavy(code: str) -> None:
    assert loaded_after(code) & HEAVY == set()


def test_asking_pulls_no_torch() -> None:
    assert loaded_after("import mmrag; [getattr(mmrag, n) for n in mmrag.__all__]") & {"torch"} == set()


def test_public_names_are_there_and_no_others() -> None:
    for name in mmrag.__all__:
        assert getattr(mmrag, name) is not None
    assert dir(mmrag) == sorted(mmrag.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        mmrag.Nonsense  # noqa: B018


def test_every_extra_in_a_message_exists_in_pyproject() -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    section = pyproject.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    named: set[str] = set()
    for path in modules():
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"mmrag\[(\w+)\]", text))
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("MissingExtraError"):
                named |= {a.value for a in call.args[1:2] if isinstance(a, ast.Constant)}
    assert named, "no message names an extra: this test looks at the wrong place"
    assert named <= extras


def test_the_version_is_said_once() -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{mmrag.__version__}"' in pyproject


@pytest.mark.parametrize("folder", sorted((ROOT / "weights").iterdir()), ids=lambda p: p.name)
def test_shipped_weights_are_the_files_their_readme_names(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| `([\w.-]+)` \| ([\d,]+) \| `(\w{64})` \|", readme)
    assert {name for name, _, _ in rows} | {"README.md", "LICENSE"} == {p.name for p in folder.iterdir()}
    for name, size, digest in rows:
        data = (folder / name).read_bytes()
        assert len(data) == int(size.replace(",", ""))
        assert hashlib.sha256(data).hexdigest() == digest
    assert folder.name in (PROJECT / "NOTICE").read_text(encoding="utf-8")
