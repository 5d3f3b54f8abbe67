"""Sample documents that ship with the package, and the questions the demo asks of them."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any


def _folder() -> Path:
    """Return the folder of this package, a real folder in every wheel install."""
    return Path(str(files(__name__)))


def sample_pack() -> Path:
    """Return the folder of the example evaluation pack: ``documents/`` and ``queries.jsonl``."""
    return _folder() / "pack"


def sample_documents() -> Path:
    """Return the folder of the sample PDFs."""
    return sample_pack() / "documents"


def sample_questions() -> list[dict[str, Any]]:
    """Return the demo's questions in order.

    Returns:
        One dict a question: ``id``, ``kind`` ("table", "labelled value", "sentence", "scan", "computed" or
        "unanswerable"), ``question``, ``answers`` (strings that an answer contains), ``answerable``,
        ``evidence`` (a list of ``{"doc": file name, "page": 0-based number}``) and ``needs`` ("ocr" where
        that extra is needed, "server" where quotes do not answer it, else "").
    """
    lines = (_folder() / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]
