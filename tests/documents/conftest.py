"""Readers that the tests of this room share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmrag.documents import DocumentReader, ReaderSettings

# pytest's importlib mode does not put a test's folder on the path; `made_documents` is there
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    """Text layers only; generous limits, since the tests may share a busy machine."""
    with DocumentReader(ReaderSettings(ocr="off", page_seconds=120, workers=2)) as reader:
        yield reader


@pytest.fixture(scope="module")
def ocr_reader() -> Iterator[DocumentReader]:
    """One worker with OCR."""
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    with DocumentReader(ReaderSettings(workers=1, page_seconds=120, ocr_seconds=600)) as reader:
        yield reader
