"""Blocks of README and docs are run as they stand: Python page by page, commands in one process.

A page finds itself in a folder with the samples under the path that the repository has, ``reports/``,
``report.pdf``, ``annual.pdf``, questions about them, and ``my-index``; where it opens none, this one is
open as ``qa``. What does not run stands in ``docs/code-blocks.md`` with the reason.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mmrag
from mmrag import DocumentQA
from mmrag.samples import sample_documents

from .code_blocks import PAGES, ROOT, blocks_of, is_listed

ELSEWHERE = {
    "docs/langchain-migration.md": "integrations/langchain-mmrag/tests/test_docs.py",
    "docs/llama-index.md": "integrations/llama-index-mmrag/tests/test_docs.py",
    "integrations/langchain-mmrag/README.md": "integrations/langchain-mmrag/tests/test_docs.py",
    "integrations/llama-index-mmrag/README.md": "integrations/llama-index-mmrag/tests/test_package.py",
    "docs/offline.md": "tests/test_no_network.py",
    "docs/training.md": "tests/training/test_docs.py",
}
"""Pages whose blocks a test of their own runs or reads, where it says what they do."""
NEEDS = {"MLLMEmbedder": "transformers", "make_tiny": "transformers", "mmrag train": "transformers"}
NEEDS |= {"to_pandas": "pandas", "save_plot": "matplotlib", "--plot": "matplotlib"}
NEEDS |= {"langchain_mmrag": "langchain_core", "llama_index": "llama_index", "qdrant-edge": "qdrant_edge"}
"""What a block says, and the package that it needs."""
COMMANDS = """
import json, os, sys, traceback
from mmrag.cli import main

for line in sys.stdin:
    page, folder, arguments = json.loads(line)
    os.chdir(folder)
    print(f"--- {page}: {arguments}", file=sys.stderr, flush=True)
    try:
        code = main(arguments)
    except BaseException:
        traceback.print_exc()
        code = -1
    with open(sys.argv[1], "a") as file:
        print(json.dumps([page, arguments, code]), file=file)
"""


def missing(text: str) -> list[str]:
    """Packages that a block needs and that are not installed."""
    needed = {package for word, package in NEEDS.items() if word in text}
    return sorted(package for package in needed if importlib.util.find_spec(package) is None)


def python_of(page: str) -> list[str]:
    found = [block.code for block in blocks_of(page) if block.language == "python"]
    return [code for code in found if not is_listed(page, code)]


def commands_of(page: str) -> list[str]:
    found = [command for block in blocks_of(page) for command in block.commands]
    return [command for command in found if not is_listed(page, command)]


WITH_PYTHON = [page for page in PAGES if page not in ELSEWHERE and python_of(page)]
WITH_COMMANDS = [page for page in PAGES if page not in ELSEWHERE and commands_of(page)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that each page gets a copy of."""
    folder = tmp_path_factory.mktemp("docs") / "world"
    (folder / "reports").mkdir(parents=True)
    (folder / "mmrag").symlink_to(ROOT / "mmrag")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    report = sample_documents() / "harbor-annual-report-2024.pdf"
    for name in ("report.pdf", f"reports/{report.name}"):
        shutil.copy(report, folder / name)
    shutil.copy(sample_documents() / "energy-outlook-charts.pdf", folder / "annual.pdf")
    with DocumentQA.open(folder / "my-index") as qa:
        qa.add([report, folder / "annual.pdf"])
    shutil.copytree(folder / "my-index", folder / "old-index")
    lines = (sample_documents().parent / "queries.jsonl").read_text("utf-8").splitlines()
    ours = [line for line in lines if json.loads(line)["doc"] == report.name][:2]
    for pack in ("my-pack", "PACK"):
        (folder / pack / "documents").mkdir(parents=True)
        shutil.copy(report, folder / pack / "documents")
        (folder / pack / "queries.jsonl").write_text("\n".join(ours), "utf-8")
    (folder / "questions.jsonl").write_text("\n".join(ours), "utf-8")
    question = json.loads(ours[0])
    positives = [{"file": report.name, "page": page} for page in question["evidence_pages"]]
    labelled = {"id": "1", "question": question["question"], "positives": positives}
    (folder / "labelled.jsonl").write_text(json.dumps(labelled), "utf-8")
    return folder


CHECKPOINTS = ("path/to/checkpoint", "path/or/hub-name")
"""Where a page says "yours": a tiny model of the true class lies there, which says that it was trained."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmrag.models.checkpoint import save
    from mmrag.models.tiny import make_tiny

    folder = tmp_path_factory.mktemp("checkpoint")
    tiny = make_tiny(folder / "tiny")
    made = mmrag.MLLMEmbedder.from_pretrained(tiny, compression=2, allow_untrained=True)
    save(folder / "trained", made.model, replace(made.config, trained=True))
    return folder / "trained"


def own_copy(world: Path, page: str) -> Path:
    folder = world.parent / re.sub(r"\W", "-", page)
    shutil.copytree(world, folder, symlinks=True)
    return folder


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_of_a_page_runs_as_it_stands(
    page: str, world: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    blocks = python_of(page)
    if packages := missing("\n".join(blocks)):
        pytest.skip(f"needs {', '.join(packages)}")
    monkeypatch.chdir(own_copy(world, page))
    for name in CHECKPOINTS:
        if any(name in code for code in blocks):
            Path(name).parent.mkdir(parents=True)
            Path(name).symlink_to(request.getfixturevalue("checkpoint"))
    names: dict[str, object] = {"__name__": "page"}
    try:
        for code in blocks:
            if unbound(code, "qa") and "qa" not in names:
                names["qa"] = DocumentQA.open("my-index")
            exec(compile(code, f"<{page}>", "exec"), names)
    finally:
        for value in names.values():
            if isinstance(value, DocumentQA):
                value.close()


def unbound(code: str, name: str) -> bool:
    """Whether a block uses a name that it does not bind."""
    uses = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and node.id == name]
    return bool(uses) and not any(isinstance(node.ctx, ast.Store) for node in uses)


@pytest.fixture(scope="module")
def codes(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list], str]:
    """Exit codes of all commands by page, and what they said on standard error."""
    lines = []
    for page in WITH_COMMANDS:
        folder = own_copy(world, f"{page}-commands")
        for command in commands_of(page):
            if not missing(command):
                lines.append(json.dumps([page, str(folder), words_of(command)]))
    results = tmp_path_factory.mktemp("results") / "codes.jsonl"
    results.touch()
    made = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(results)],
        input="\n".join(lines),
        env=os.environ | {"PYTHONPATH": str(Path(mmrag.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    by_page: dict[str, list] = {page: [] for page in WITH_COMMANDS}
    for line in results.read_text("utf-8").splitlines():
        page, arguments, code = json.loads(line)
        by_page[page].append((arguments, code))
    return by_page, made.stderr


def words_of(command: str) -> list[str]:
    head, *words = shlex.split(command)
    assert head == "mmrag", f"{command!r} is not run: docs/code-blocks.md needs a line that says why"
    return words


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_of_a_page_run_as_they_stand(page: str, codes: tuple[dict[str, list], str]) -> None:
    by_page, said = codes
    ran = [command for command in commands_of(page) if not missing(command)]
    assert [arguments for arguments, _ in by_page[page]] == [words_of(command) for command in ran]
    assert [arguments for arguments, code in by_page[page] if code not in (0, 3)] == [], said[-4000:]


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_with_a_test_of_its_own_is_named_there(page: str) -> None:
    text = (ROOT / ELSEWHERE[page]).read_text("utf-8")
    assert Path(page).name in text
