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
from packaging.specifiers import SpecifierSet

import mmrag

ROOT = Path(mmrag.__file__).parent
PROJECT = ROOT.parent

# Rooms and loose files from the ground up: a file imports only from floors below its own.
FLOORS: list[set[str]] = [
    {"masking", "forks", "deprecation", "progress"},
    {"errors", "blocks"},
    {"anchors"},
    {"types", "files", "machine", "onnx_sessions", "samples"},
    {"scoring", "images", "tracing", "document_groups"},
    {"answer_form", "planning", "serving", "documents", "evaluation"},
    {"embedders"},
    {"index", "answer"},
    {"models", "rerank", "conversation"},
    {"search_request", "page_references"},
    {"retriever", "ingest"},
    {"second_look"},
    {"pipeline"},
    {"hosts", "explanation", "leaderboards"},
    {"training", "apps"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
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


def module_name(path: Path) -> str:
    parts = ("mmrag", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":  # the front door names what it loads on first use
        return
    names = {name.split(".")[1] for name in imported(path, typing_only=True) if name.startswith("mmrag.")}
    rooms = {name for name in names if (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()}
    assert here in FLOOR, f"say in FLOORS where {here} is"
    assert {other for other in rooms - {here} if FLOOR[other] >= FLOOR[here]} == set()


def import_graph() -> dict[str, set[str]]:
    """Modules of the package and the modules each imports; lazy and typing-only imports count."""
    names = {module_name(path): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        targets = imported(path, typing_only=True) & set(names) - {name}
        # `from room import module` names the module, not the room
        graph[name] = {t for t in targets if not any(other.startswith(f"{t}.") for other in targets)}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other (Tarjan's strongly connected components of two or more)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    components: list[set[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        path.append(name)
        for target in sorted(graph[name]):
            if target not in number:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in path:
                lowest[name] = min(lowest[name], number[target])
        if lowest[name] == number[name]:
            at = path.index(name)
            components.append(set(path[at:]))
            del path[at:]

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return [component for component in components if len(component) > 1]


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(import_graph()) == []


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
        "import mmrag.cli; mmrag.cli.main(['--help'])",
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
    extras = set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE))
    named: set[str] = set()
    for path in modules():
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"mmrag\[([\w-]+)\]", text))
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("MissingExtraError"):
                named |= {a.value for a in call.args[1:2] if isinstance(a, ast.Constant)}
    assert named, "no message names an extra: this test looks at the wrong place"
    assert named <= extras


def test_the_version_is_said_once() -> None:
    """In `mmrag/__init__.py`, where the build reads it; both integrations take it."""
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"^version *=", pyproject, re.MULTILINE) is None
    assert '[tool.hatch.version]\npath = "mmrag/__init__.py"' in pyproject
    for path in sorted((PROJECT / "integrations").glob("*/pyproject.toml")):
        text = path.read_text(encoding="utf-8")
        (versions,) = re.findall(r'"mmrag *([<>=~][^"]*)"', text)
        assert SpecifierSet(versions).contains(mmrag.__version__), path.parent.name


@pytest.mark.parametrize("folder", sorted((ROOT / "weights").iterdir()), ids=lambda p: p.name)
def test_shipped_weights_are_the_files_their_readme_names(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| `([\w.-]+)` \| ([\d,]+) \| `(\w{64})` \|", readme)
    assert {name for name, _, _ in rows} | {"README.md", "LICENSE", "SHA256SUMS"} == {
        p.name for p in folder.iterdir()
    }
    for name, size, digest in rows:
        data = (folder / name).read_bytes()
        assert len(data) == int(size.replace(",", ""))
        assert hashlib.sha256(data).hexdigest() == digest
    assert folder.name in (PROJECT / "NOTICE").read_text(encoding="utf-8")
