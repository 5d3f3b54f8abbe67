"""The page about this room: its example runs, and every file that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = ("compressed-embedder.md", "models.md")


def test_the_example_without_weights_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / PAGES[0]).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [example] = [block for block in blocks if "make_tiny" in block]
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    shapes, *answer = capsys.readouterr().out.splitlines()  # an answer is a quote a line
    assert shapes == re.search(r"print\(page\.shape.*?# (.*)", example)[1]
    assert any("HB 5520 1946" in line for line in answer)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_the_pages_name_are_there(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    links = [ROOT / "docs" / link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    named = [ROOT / path for path in re.findall(r"(?:tests|mmrag|benchmarks)/[\w/]+\.py", text)]
    assert named
    assert [str(path) for path in links + named if not path.exists()] == []
