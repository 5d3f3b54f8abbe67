"""What docs/security.md, docs/reliability.md and docs/versions.md promise has a test, which is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGES = {"security": 30, "reliability": 30, "versions": 8}
"""Pages, and how many tests each names at least."""
LINK = re.compile(r"\[([^\]]+)\]\(\.\./((?:tests|integrations)/[\w/.-]+\.py)\)")


def text_of(page: str) -> str:
    return (PROJECT / "docs" / f"{page}.md").read_text(encoding="utf-8")


def test_names(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


test_names.__test__ = False


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page):
    links = LINK.findall(text_of(page))
    assert len(links) >= PAGES[page]
    for name, path in links:
        function = f"test_{name.replace(' ', '_')}"
        assert function in test_names(PROJECT / path), f"docs/{page}.md names {function} of {path}"


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_a_table_names_its_test(page):
    has_tests = False
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            has_tests = False
        elif line.endswith("| test |"):
            has_tests = True
        elif has_tests and not line.startswith("|---"):
            assert LINK.search(line), f"docs/{page}.md: no test in {line[:80]!r}"


def test_every_path_and_make_target_of_the_workflow_is_there():
    text = (PROJECT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    paths = re.findall(r"(?<![\w/])(?:tests|integrations)/[\w./-]+", text)
    assert len(paths) > 5 and [path for path in paths if not (PROJECT / path).exists()] == []
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = [word for line in re.findall(r"run: make (.+)", text) for word in line.split()]
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
