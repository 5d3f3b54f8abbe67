"""A tiny true model and a toy task: a query is a word, its page the word's own colour and letters."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "inlet",
    "jetty",
    "knoll",
    "lagoon",
]


def item(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "kind": "text", "text": text, "image": None, "page": None, "path": None, **more}


def line(word: str, negatives: list[dict[str, Any]], score: float | None = None) -> dict[str, Any]:
    return {
        "format": 1,
        "recipe": "toy",
        "query": {"id": f"q-{word}", "text": word, "image": None},
        "positives": [item(f"d-{word}", f"{word} {word[::-1]}", score=score)],
        "negatives": negatives,
        "removed": [],
        "doubtful": [],
        "skipped": "",
    }


@pytest.fixture
def toy_pairs(tmp_path: Path) -> Callable[..., Path]:
    """Write the toy task: each word's page, with other words' pages as hard negatives."""

    def write(name: str = "pairs.jsonl", *, negatives: int = 0, scored: bool = False) -> Path:
        rng = random.Random(0)
        lines = []
        for word in WORDS:
            others = rng.sample([other for other in WORDS if other != word], negatives)
            hard = [
                item(f"d-{other}", f"{other} {other[::-1]}", score=0.1 * place if scored else None)
                for place, other in enumerate(others)
            ]
            lines.append(json.dumps(line(word, hard, 0.95 if scored else None)))
        file = tmp_path / name
        file.write_text("\n".join(lines) + "\n")
        return file

    return write


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen3-VL."""
    pytest.importorskip("transformers")
    from mmrag.models.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny") / "qwen3_vl", "qwen3_vl")
