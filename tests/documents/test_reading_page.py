"""The page "what is read and what is not": each test that it names is there, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pymupdf

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reading.md").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    assert [link for link in links if "://" not in link and not (DOCS / link).exists()] == []


def test_lines_about_what_is_read_name_a_test():
    """A line without a test says what is not done."""
    tables = [table for table in PAGE.split("\n\n") if "| shown by |" in table]
    lines = [line for table in tables for line in table.splitlines()[2:]]
    bare = [line for line in lines if "tests/" not in line]
    assert lines
    assert [line for line in bare if " not " not in line and "mostly noise" not in line] == []


def test_its_first_python_runs(tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "reports").mkdir()
    document = pymupdf.open()
    document.new_page().insert_text((60, 60), "The weir was mended.")
    document.save(tmp_path / "reports" / "weir.pdf")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "reading.md", "exec"), {})
