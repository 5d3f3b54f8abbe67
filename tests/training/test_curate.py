"""Judged negatives: the rule by hand, both files, and what is refused before hours are spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mmrag.cli import main
from mmrag.documents import ReaderSettings
from mmrag.errors import IndexMismatchError, ServerUnreachableError
from mmrag.rerank.ordering import reorder
from mmrag.training.config import load_config
from mmrag.training.curate import curate
from mmrag.training.data import read_examples
from mmrag.training.mining import read_mined
from mmrag.training.pairs import PairSettings, make_pairs
from mmrag.types import Ranking, Verdict

TEXTS = {
    "gold": "The Sandhill bridge opened in 1932. yes=0.70",
    "also": "In 1932 the Sandhill bridge was opened. yes=0.93",
    "half": "Sandhill got its bridge in the thirties. yes=0.50",
    "no1": "The Sandhill ferry opened in 1930. yes=0.49",
    "no2": "The Sandhill bridge was painted in 1990. yes=0.30",
    "no3": "Cooking rice takes twenty minutes. yes=0.01",
    "known": "Sandhill's bridge: since 1932. yes=0.40",
}


class YesNo:
    """Reads how sure it is from the text; counts the queries and breaks off at a given one."""

    def __init__(self, fail_at: int = 99) -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at

    def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        if len(self.asked) >= self.fail_at:
            raise ServerUnreachableError("nobody there")
        self.asked.append(ranking.query.text or "")
        return reorder(ranking, [Verdict(float(one.record.text.rsplit("=", 1)[1])) for one in ranking])

    async def arerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        return self.rerank(ranking, top_n=top_n)


def item(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "kind": "text", "text": TEXTS[id], **more}


def line(id: str, text: str, positive: str, others: str = "", known: str = "") -> dict[str, Any]:
    return {
        "format": 1,
        "query": {"id": id, "text": text, "image": None, "rule": "sentence", "boxes": [[0, 0, 1, 1]]},
        "positives": [item(positive, boxes=[[0, 0, 1, 0.5]])],
        "negatives": [item(one) for one in others.split()],
        "removed": [item(one, reason="told so") for one in known.split()],
        "doubtful": [],
        "skipped": "",
    }


LINES = [
    line("q1", "When was the Sandhill bridge opened?", "gold", "also half no1 no2 no3", "known"),
    line("q2", "How long does rice take?", "no3"),
]


def written(folder: Path, lines: list[dict[str, Any]], **judge: Any) -> Path:
    """A configuration over these lines; JSON is YAML."""
    (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    config = {
        "stage": "curate",
        "model": {"name": "mmrag-mini"},
        "data": [{"path": "pairs.jsonl"}],
        "run": {"output": "out"},
        "judge": {"mode": "local", **judge},
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    return folder / "c.yaml"


def served(folder: Path, lines: list[dict[str, Any]], **judge: Any):
    """The same, for a judge that gives probabilities."""
    return load_config(written(folder, lines, mode="pointwise", **judge), "curate")


def ids(items: list[Mapping[str, Any]]) -> list[str]:
    return [one["id"] for one in items]


def test_the_rule_by_hand(embedder, tmp_path) -> None:
    report = curate(served(tmp_path, LINES, negatives=2), judge=YesNo(), embedder=embedder)
    first, second = read_mined(tmp_path / "out" / "pairs.jsonl")
    assert ids(first["positives"]) == ["gold"]
    assert ids(first["negatives"]) == ["no1", "no2"]  # 0.49 and 0.30: "known" has 0.40, but answers
    assert [(one["id"], one["reason"]) for one in first["removed"]] == [
        ("also", "judged relevant"),
        ("half", "judged relevant"),
        ("known", "told so"),
    ]
    assert [one["score"] for one in first["negatives"]] == [0.49, 0.30]
    assert first["positives"][0]["boxes"] == [[0, 0, 1, 0.5]]
    assert (first["query"]["rule"], first["query"]["labelled"]) == ("sentence", ["gold"])
    # The judge denies this query's own positive (0.01): it stays, and what scores more is removed.
    assert (ids(second["positives"]), ids(second["negatives"])) == (["no3"], [])
    assert second["skipped"] == "no candidate is clearly below the positive"

    first, _ = read_mined(tmp_path / "out" / "pairs.rerank.jsonl")
    assert ids(first["positives"]) == ["gold", "also", "half"]
    assert ids(first["negatives"]) == ["no1", "no2"]
    assert ids(first["removed"]) == ["known"]
    part = report.parts[0]
    assert (part.queries, part.judgements, part.affirmations) == (2, 42, 5)
    assert "affirmed by the judge: 5" in report.table()


def test_both_files_train(embedder, tmp_path) -> None:
    curate(served(tmp_path, LINES), judge=YesNo(), embedder=embedder)
    (one,) = read_examples(tmp_path / "out" / "pairs.jsonl")
    assert one.judge_scores == (0.70, 0.49, 0.30, 0.01)
    assert len(one.relevant) == 4
    rerank = read_examples(tmp_path / "out" / "pairs.rerank.jsonl")
    assert [(example.name, example.judge_scores[0]) for example in rerank] == [
        ("q1", 0.70),
        ("q1", 0.93),
        ("q1", 0.50),
    ]
    assert all(len(example.negatives) == 3 for example in rerank)


def test_a_run_that_broke_goes_on_and_no_resume_begins_again(embedder, tmp_path) -> None:
    config = served(tmp_path, LINES)
    with pytest.raises(ServerUnreachableError):
        curate(config, judge=YesNo(fail_at=1), embedder=embedder)
    assert not (tmp_path / "out" / "pairs.jsonl").exists()
    judge = YesNo()
    curate(config, judge=judge, embedder=embedder)
    assert judge.asked == ["How long does rice take?"]
    assert len(list(read_mined(tmp_path / "out" / "pairs.jsonl"))) == 2
    judge = YesNo()
    curate(config, judge=judge, embedder=embedder, resume=False)
    assert len(judge.asked) == 2


def test_from_pdfs_by_the_local_judge_on_the_command_line(make_pdf, tmp_path, capsys) -> None:
    texts = [
        "The harbour office counted every ship that came in during the stormy spring of that year.",
        "Bakers in the old town sell rye bread with caraway seeds on market days in autumn.",
        "Engineers measured how far the wooden bridge sinks when a loaded waggon crosses it.",
    ]
    make_pdf(tmp_path / "docs" / "a.pdf", [f"\n\n\n{text[:45]}\n{text[45:]}" for text in texts])
    path = written(tmp_path, LINES)
    make_pairs(
        tmp_path / "docs",
        tmp_path / "pairs.jsonl",
        settings=PairSettings(rules=("sentence",), hold_out=0.0),
        reader=ReaderSettings(workers=1, ocr="off"),
    )
    assert main(["train", "curate", "--config", str(path), "--check"]) == 0
    assert capsys.readouterr().out == "pairs: 3 queries, 3 pages, at most 63 judgements\n"
    assert not (tmp_path / "out").exists()
    assert main(["train", "curate", "--config", str(path)]) == 0
    assert f"in {tmp_path / 'out' / 'pairs.jsonl'}" in capsys.readouterr().out
    lines = list(read_mined(tmp_path / "out" / "pairs.jsonl"))
    for one in lines:
        (positive,) = one["positives"]
        assert positive["boxes"] and positive["score"] is not None
        others = {(each["path"], each["page"]) for each in one["negatives"] + one["removed"]}
        assert others | {(positive["path"], positive["page"])} == {
            (str(tmp_path / "docs" / "a.pdf"), number) for number in range(3)
        }
        assert all(each["score"] < 0 for each in one["negatives"])


def test_what_is_refused_before_anything_is_judged(make_pdf, embedder, tmp_path) -> None:
    file = make_pdf(tmp_path / "a.pdf", ["one page"])

    def refused(error: type[Exception], words: str, lines: list[dict[str, Any]], **judge: Any) -> None:
        with pytest.raises(error, match=words):
            curate(served(tmp_path, lines, **judge), judge=YesNo(), embedder=embedder, check=True)

    page = {"id": "x#p5", "kind": "page", "path": str(file), "sha256": "0" * 64, "page": 5}
    refused(
        ValueError,
        r"page 5 \(from 0\) of .*a.pdf, which has 1, for the query 'q1'",
        [{**LINES[0], "negatives": [page]}],
    )
    gone = {**page, "path": str(tmp_path / "gone.pdf"), "page": 0}
    refused(FileNotFoundError, r"gone.pdf \(there is no such file", [{**LINES[0], "negatives": [gone]}])
    refused(
        FileNotFoundError,
        "picture must exist, got /nowhere.png",
        [{**LINES[0], "negatives": [{"id": "i", "image": "/nowhere.png"}]}],
    )
    refused(ValueError, "must have text, an image or a path", [{**LINES[0], "negatives": [{"id": "i"}]}])
    refused(
        ValueError,
        "an id must have one content, got two of 'gold'",
        [LINES[0], {**LINES[1], "negatives": [{"id": "gold", "text": "other"}]}],
    )
    refused(ValueError, "id must be used once, got 'q1' twice", [LINES[0], LINES[0]])
    refused(ValueError, "at least one query with a positive", [{**LINES[0], "positives": []}])
    with pytest.raises(ValueError, match="mode 'pointwise' needs reranker_url"):
        curate(served(tmp_path, LINES), embedder=embedder, check=True)
    with pytest.raises(ValueError, match="mode 'local' uses no server"):
        config = load_config(written(tmp_path, LINES, reranker_url="http://127.0.0.1:9"))
        curate(config, embedder=embedder, check=True)
    with pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:9"):
        curate(served(tmp_path, LINES, reranker_url="http://127.0.0.1:9"), check=True)
    assert not (tmp_path / "out" / "mined").exists()


def test_a_changed_file_and_a_foreign_index_are_refused(make_pdf, embedder, tmp_path) -> None:
    file = make_pdf(tmp_path / "a.pdf", ["one page"])
    page = {"id": "x#p0", "kind": "page", "path": str(file), "sha256": "0" * 64, "page": 0}
    with pytest.raises(ValueError, match="its file has changed"):
        curate(served(tmp_path, [{**LINES[0], "positives": [page]}]), judge=YesNo(), embedder=embedder)
    with pytest.raises(FileNotFoundError, match="index must be a folder"):
        curate(served(tmp_path, LINES, index="none"), judge=YesNo(), embedder=embedder)
    curate(served(tmp_path, LINES), judge=YesNo(), embedder=embedder)
    given = served(tmp_path, LINES, index="out/index-pairs")
    curate(given, judge=YesNo(), embedder=embedder)

    class Another(type(embedder)):
        fingerprint = "another"

    with pytest.raises(IndexMismatchError):
        curate(given, judge=YesNo(), embedder=Another(embedder.model_dir))
