"""The diffs that CONTRIBUTING shows are applied to a copy of the tree, and the tests they bring pass."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DIFFS = sorted((ROOT / ".github" / "diffs").glob("*.diff"))
MOST_LINES = 100
"""Of a diff: a page."""

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def test_each_row_of_the_page_has_its_diff() -> None:
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    assert re.findall(r"\]\(diffs/([\w-]+)\.diff\) \|", text) == [
        "embedder",
        "renderer",
        "index",
        "rerank-mode",
        "host-class",
    ]
    assert sorted(re.findall(r"\]\(diffs/([\w-]+\.diff)\)", text)) == [path.name for path in DIFFS]


@pytest.mark.parametrize("path", DIFFS, ids=lambda path: path.stem)
def test_a_diff_is_a_page_and_brings_a_test(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= MOST_LINES
    assert re.search(r"^\+\+\+ b/.*tests/.*test_\w+\.py$", text, re.M)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with all diffs, one after another."""
    folder = tmp_path_factory.mktemp("changed")
    heavy = shutil.ignore_patterns("weights", "samples", "__pycache__", "recorded")
    shutil.copytree(ROOT / "mmrag", folder / "mmrag", ignore=heavy)
    for name in ("weights", "samples"):
        (folder / "mmrag" / name).symlink_to(ROOT / "mmrag" / name)
    shutil.copytree(ROOT / "integrations", folder / "integrations", ignore=heavy)
    for room in ("embedders", "index", "rerank", "documents"):
        (folder / "tests" / room).mkdir(parents=True)
    for name in ("tests/conftest.py", "tests/text_encoder.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for path in DIFFS:
        made = subprocess.run(["git", "apply", str(path)], cwd=folder, capture_output=True, text=True)
        assert made.returncode == 0, f"{path.name}: {made.stderr}"
    return folder


@needs_git
@pytest.mark.parametrize("path", DIFFS, ids=lambda path: path.stem)
def test_a_diff_applies_and_its_test_passes(path: Path, changed: Path) -> None:
    host = path.stem == "host-class"
    if host and importlib.util.find_spec("langchain_core") is None:
        pytest.skip("needs langchain_core")
    (test,) = re.findall(r"^\+\+\+ b/(.*test_\w+\.py)$", path.read_text("utf-8"), re.M)
    rooms = [changed, changed / "integrations" / "langchain-mmrag"]
    made = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=changed,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, rooms)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, (made.stdout + made.stderr)[-3000:]
