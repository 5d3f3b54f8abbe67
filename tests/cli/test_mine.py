"""``mmrag mine`` as a user types it, with the local judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmrag.cli import main
from mmrag.pipeline import DocumentQA
from mmrag.training.mining import read_mined, rules_for

PAGES = [
    "The Sandhill bridge was opened in 1932 by the mayor of the town.",
    "The Sandhill ferry sailed until 1930, then it was sold to the coast.",
    "Rice is cooked in salted water for twenty minutes.",
    "The mayor of Sandhill lives in the old town hall beside the river.",
]


@pytest.fixture(scope="module")
def index(embedder, make_pdf, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    make_pdf(folder / "town.pdf", PAGES)
    with DocumentQA.open(folder / "index", embedder=embedder) as qa:
        qa.add(folder / "town.pdf")
    line = {"id": "q1", "question": "When was the Sandhill bridge opened?"}
    line["positives"] = [{"file": "town.pdf", "page": 0}]
    (folder / "q.jsonl").write_text(json.dumps(line) + "\n")
    return folder / "index"


@pytest.fixture
def mine(index: Path, text_encoder: Path) -> Callable[..., int]:
    """Run the command on the index, with the embedder that made it."""
    command = ["mine", "--index", str(index), "--queries", str(index.parent / "q.jsonl")]
    return lambda *options: main([*command, "--embedder", str(text_encoder), *options])


def test_from_questions_to_lines_a_table_and_a_plot(mine, tmp_path, capsys) -> None:
    target = tmp_path / "out.jsonl"
    assert mine("--to", str(target), "--reranker", "local", "--plot", str(tmp_path / "p.png")) == 0
    table = capsys.readouterr().out
    assert "queries               1   1 of them now" in table
    assert "1 of 1 labelled pages were retrieved" in table
    (line,) = read_mined(target)
    assert [(one["file"], one["page"]) for one in line["positives"]] == [("town.pdf", 0)]
    assert {one["page"] for one in line["negatives"] + line["removed"]} == {1, 2, 3}
    best = line["positives"][0]["score"]
    assert all(one["score"] < best - 0.4 for one in line["negatives"])
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert mine("--to", str(target), "--reranker", "local", "--json") == 0
    assert json.loads(capsys.readouterr().out)["new"] == 0
    assert mine("--to", str(target), "--reranker", "local", "--margin", "off") == 1
    assert "made in another way" in capsys.readouterr().err


def test_without_a_judge_the_window_is_drawn_from(mine, tmp_path) -> None:
    target = tmp_path / "out.jsonl"
    assert mine("--to", str(target), "--rerank", "none", "--ranks", "2,4", "--no-text") == 0
    (line,) = read_mined(target)
    assert len(line["negatives"]) == 2
    assert all(one["score"] is None and one["text"] is None for one in line["negatives"])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "name the judge: --rerank local, --reranker-url URL, or --rerank none"),
        (["--rerank", "pointwise"], 2, "--rerank pointwise needs --reranker-url"),
        (["--rerank", "listwise", "--reranker-url", "http://127.0.0.1:9"], 1, "gives an order only"),
        (["--rerank", "none", "--margin", "0.1"], 1, "need a judge, got none and margin"),
        (["--rerank", "local", "--ratio", "2"], 1, "ratio must be above 0 and at most 1"),
        (["--reranker-url", "http://127.0.0.1:9"], 1, "127.0.0.1:9"),
    ],
)
def test_what_does_not_go_together_is_said_and_nothing_is_written(
    mine, tmp_path, capsys, options: list[str], code: int, words: str
) -> None:
    assert mine("--to", str(tmp_path / "out.jsonl"), *options) == code
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "words"),
    [(["--ranks", "5"], "a first and a last rank"), (["--margin", "x"], "a number or 'off'")],
)
def test_a_number_that_is_none_is_wrong_usage(mine, tmp_path, capsys, option: list[str], words: str) -> None:
    assert mine("--to", str(tmp_path / "out.jsonl"), "--rerank", "local", *option) == 2
    assert words in capsys.readouterr().err


def test_defaults_follow_the_judge_s_scale() -> None:
    paper = rules_for("pointwise")
    assert (paper.ranks, paper.negatives, paper.pick) == ((1, 20), 12, "best")
    window = rules_for("none")
    assert (window.ranks, window.negatives, window.pick, window.margin) == ((50, 100), 2, "random", None)
    assert rules_for("local").least_positive == 0.0
    assert rules_for("likelihood").false_negative is None
    assert rules_for("likelihood", false_negative=3.0).false_negative == 3.0
