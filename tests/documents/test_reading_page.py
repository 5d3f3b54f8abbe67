"""The page "what is read and what is not": each test that it names is there, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pymupdf
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reading.md").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    assert [link for link in links if "://" not in link and not (DOCS / link).exists()] == []


def test_lines_about_what_is_read_name_a_test():
    """A line without a test says of something that it is not read."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and "shown by" not in line]
    bare = [line for line in lines if "tests/" not in line]
    assert lines
    assert [line for line in bare if "not read" not in line and "mostly noise" not in line] == []


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_its_python_runs(code, tmp_path, monkeypatch):
    (tmp_path / "reports").mkdir()
    document = pymupdf.open()
    document.new_page().insert_text((60, 60), "The weir was mended.")
    document.save(tmp_path / "reports" / "weir.pdf")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "reading.md", "exec"), {})
