"""Small real documents for every test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_pdf() -> Callable[[Path, Sequence[str]], Path]:
    """Write a PDF with one page for each text; lines are kept."""
    import pymupdf

    def make(path: Path, pages: Sequence[str]) -> Path:
        document = pymupdf.open()
        for text in pages:
            page = document.new_page(width=612, height=792)
            for row, line in enumerate(text.split("\n")):
                page.insert_text((72, 90 + 18 * row), line, fontsize=11)
        path.parent.mkdir(parents=True, exist_ok=True)
        document.save(path)
        document.close()
        return path

    return make


@pytest.fixture(scope="session")
def embedder():
    """The default embedder, loaded once."""
    from mmrag.text_embedder import default_embedder

    return default_embedder()
