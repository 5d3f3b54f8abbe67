"""Examples in docstrings: every public class and function has one, and it runs.

An example finds itself in a folder with ``report.pdf`` (two pages); the names of `langchain_mmrag` and
`Document` are imported.
"""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pymupdf
import pytest
from langchain_core.documents import Document

import langchain_mmrag

PAGES = ("Net sales in Europe were 268.4 million dollars in 2024.", "Ingrid Thorne chairs the board.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with pymupdf.open() as document:
        for text in PAGES:
            document.new_page().insert_text((72, 90), text)
        document.save(tmp_path / "report.pdf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", langchain_mmrag.__all__)
def test_every_public_name_has_an_example_that_runs(name: str, folder: Path) -> None:
    text = inspect.cleandoc(getattr(langchain_mmrag, name).__doc__ or "")
    examples = doctest.DocTestParser().get_examples(text)
    assert examples, f"{name} has no example"
    assert not [example for example in examples if example.options]
    names = {name: getattr(langchain_mmrag, name) for name in langchain_mmrag.__all__}
    test = doctest.DocTest(examples, {**names, "Document": Document}, name, None, None, None)
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
