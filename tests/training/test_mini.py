"""Laws of training mmrag-mini: on words, whole or tables alone; it learns, goes on, and its model loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
pytest.importorskip("accelerate")

from mmrag import MLLMEmbedder  # noqa: E402
from mmrag.models.tiny import make_tiny  # noqa: E402
from mmrag.training.config import load_config  # noqa: E402
from mmrag.training.data import read_examples  # noqa: E402
from mmrag.training.run import ContrastRun, run_stage  # noqa: E402

Write = Callable[..., Path]


def config_file(folder: Path, data: Path, *, steps: int, **model: Any) -> Path:
    base = make_tiny(folder / "base", "mmrag_mini")
    settings = {
        "stage": "contrast",
        "model": {"name": str(base), "budget": [2, 4], "dim": 16, "lora": None, "max_tokens": 64, **model},
        "data": [{"path": str(data), "documents": "text"}],
        "loss": {"groups": [[1, 1], [2, 4]], "negatives": 0},
        "run": {
            "output": str(folder / "out"),
            "steps": steps,
            "batch": 12,
            "micro_batch": 12,
            "learning_rate": 0.001,
            "warmup": 0,
            "save_every": 10,
            "evaluate_every": 0,
            "log_every": 1,
        },
    }
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def losses_of(output: Path) -> list[float]:
    return [line["loss"] for line in json.loads((output / "curve.json").read_text()) if "loss" in line]


def pages(pairs: Path) -> Path:
    """The same pairs as `make-pairs` writes them: documents are pages of files, here of none."""
    lines = [json.loads(text) for text in pairs.read_text().splitlines()]
    for line in lines:
        line["positives"][0] |= {"kind": "page", "path": "/gone.pdf", "page": 3}
    pairs.write_text("\n".join(map(json.dumps, lines)))
    return pairs


def test_it_learns_from_words_goes_on_and_the_model_loads(tmp_path: Path, toy_pairs: Write) -> None:
    file = config_file(tmp_path, pages(toy_pairs()), steps=40)
    folder = run_stage("contrast", file)
    assert folder is not None
    seen = losses_of(tmp_path / "out")
    assert sum(seen[-5:]) < 0.5 * sum(seen[:5])
    for name in ("checkpoint-40", "model"):
        for left in (tmp_path / "out" / name).iterdir():
            left.unlink()
    again = run_stage("contrast", file)  # from checkpoint-30
    assert again == folder
    assert losses_of(tmp_path / "out") == pytest.approx(seen, rel=1e-5)
    embedder = MLLMEmbedder.from_pretrained(folder, device="cpu")
    assert (embedder.dim, embedder.budget.query, embedder.budget.document) == (16, 2, 4)
    assert json.loads((folder / "config.json").read_text())["located"] is True
    words = ["amber", "fjord"]
    queries = embedder.encode_query(words)
    documents = embedder.encode_document([f"{word} {word[::-1]}" for word in words])
    scores = [[(q @ d.T).max(1).sum() for d in documents] for q in queries]
    assert scores[0][0] > scores[0][1] and scores[1][1] > scores[1][0]


def test_tables_and_projection_alone_are_trained_where_that_is_asked(
    tmp_path: Path, toy_pairs: Write
) -> None:
    whole = ContrastRun(load_config(config_file(tmp_path, toy_pairs(), steps=1)))
    alone = ContrastRun(load_config(config_file(tmp_path, toy_pairs(), steps=1, train_language=False)))
    trained = [
        {name for name, weight in made.model.named_parameters() if weight.requires_grad}
        for made in (whole, alone)
    ]
    assert trained[1] == {"meta.query", "meta.document", "projection.weight"}
    assert trained[0] == {name for name, _ in whole.model.named_parameters()}


def test_adapters_and_an_encoder_that_is_not_trained_are_refused_together(
    tmp_path: Path, toy_pairs: Write
) -> None:
    file = config_file(tmp_path, toy_pairs(), steps=1, train_language=False, lora={"rank": 4})
    with pytest.raises(ValueError, match="lora must be null where train_language is false"):
        load_config(file)


def test_documents_as_text_are_their_words_and_no_file_is_opened(toy_pairs: Write) -> None:
    file = pages(toy_pairs())
    shown, read = read_examples(file), read_examples(file, documents="text")
    assert all(one.positive.has_picture for one in shown)
    assert not any(one.positive.has_picture for one in read)
    assert [one.positive.text for one in read] == [one.positive.text for one in shown]
    assert [one.positive.key for one in read] == [one.positive.key for one in shown]


def test_a_document_without_words_is_named(toy_pairs: Write) -> None:
    file = pages(toy_pairs())
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    lines[2]["positives"][0]["text"] = " "
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(
        ValueError, match=r"documents: text every document must have text, got one of 'q-cedar'"
    ):
        read_examples(file, documents="text")
