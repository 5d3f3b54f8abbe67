"""The loop: what a line holds, and that an interrupted run resumes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from mmrag.errors import MMRagError, ServerAnswerError, ServerUnreachableError
from mmrag.index.memory import MemoryIndex
from mmrag.pipeline import DocumentQA
from mmrag.rerank.local import LocalReranker
from mmrag.rerank.ordering import keep_order, reorder
from mmrag.training.mining import Miner, MiningQuestion, MiningReport, Rules, read_mined, save_plot
from mmrag.types import Ranking, Usage, Verdict

LONG = "The harbour office keeps this form for every ship that has come in since the spring of the year. "
PAGES = {
    "gold": "The Sandhill bridge opened in 1932. gold=0.95",
    "hard": "The Sandhill bridge was painted in 1990. hard=0.60",
    "harder": "The Sandhill ferry opened in 1930. harder=0.70",
    "unlabelled": "In 1932 the Sandhill bridge was opened. unlabelled=0.93",
    "near": "Sandhill got its bridge in the thirties. near=0.88",
    "far": "Cooking rice takes twenty minutes. far=0.01",
}


class ScriptedJudge:
    """Reads the score that a text carries; counts what it was asked, and fails from a given query on."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at

    def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
        assert [one.rank for one in ranking] == list(range(1, len(ranking) + 1))
        if self.fail_at is not None and len(self.asked) >= self.fail_at:
            raise ServerUnreachableError("nobody there")
        self.asked.append(ranking.query.text)
        verdicts = [Verdict(float(one.record.text.rsplit("=", 1)[1])) for one in ranking]
        return reorder(ranking, verdicts, usage=Usage(prompt_tokens=10, requests=len(verdicts)))


@pytest.fixture(scope="module")
def qa(embedder) -> DocumentQA:
    qa = DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder)
    qa.add_texts(list(PAGES.values()), ids=list(PAGES))
    yield qa
    qa.close()


def question(id: str = "q1", positives: tuple[str, ...] = ("gold",), text: str = "When did Sandhill open?"):
    return MiningQuestion(id, text, positives)


def ids(items: list[dict]) -> list[str]:
    return [item["id"] for item in items]


def test_a_line_by_hand(qa, tmp_path) -> None:
    report = Miner(qa, ScriptedJudge()).mine([question()], tmp_path / "out.jsonl")
    (line,) = read_mined(tmp_path / "out.jsonl")
    assert line["query"] == {
        "id": "q1",
        "text": "When did Sandhill open?",
        "image": None,
        "labelled": ["gold"],
    }
    assert ids(line["positives"]) == ["gold"]
    assert ids(line["negatives"]) == ["harder", "hard", "far"]
    assert [(one["id"], one["reason"]) for one in line["removed"]] == [
        ("unlabelled", "judged relevant"),
        ("near", "too close to the positive"),
    ]
    assert (line["doubtful"], line["skipped"], line["format"]) == ([], "", 1)
    gold = line["positives"][0]
    assert (gold["kind"], gold["text"], gold["score"], gold["file"]) == ("text", PAGES["gold"], 0.95, None)
    assert set(gold["scores"]) == {"vectors", "text", "document"}
    found = qa.search("When did Sandhill open?", k=10, rerank=False)
    for item in [*line["positives"], *line["negatives"], *line["removed"]]:
        assert found[item["rank"] - 1].id == item["id"]
        assert found[item["rank"] - 1].score == pytest.approx(item["retrieval"])
    assert (report.queries, report.positives, report.negatives, report.retrieved_positives) == (1, 1, 3, 1)
    assert dict(report.removed) == {"judged relevant": 1, "too close to the positive": 1}
    assert (report.usage.requests, report.usage.prompt_tokens) == (6, 10)
    made = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert made["recipe"] == line["recipe"]
    assert made["made"]["rules"]["ranks"] == [1, 20]


def test_a_positive_beyond_the_ranks_is_judged_all_the_same(qa, tmp_path) -> None:
    """The retrieval misses it: that is what it is to be trained for."""
    rules = Rules(ranks=(1, 2))
    miner = Miner(qa, ScriptedJudge(), rules=rules, filter={"id": "nothing has this"})
    line, _ = miner.record(question())
    assert (line["positives"][0]["rank"], line["positives"][0]["retrieval"]) == (None, None)
    assert line["positives"][0]["score"] == 0.95
    assert line["skipped"] == "no candidate is clearly below the positive"
    line, _ = Miner(qa, ScriptedJudge(), rules=rules).record(question(positives=("far",)))
    assert line["skipped"] == "no positive scores 0.5 or more"
    assert ids(line["doubtful"]) == ["far"]
    assert line["doubtful"][0]["rank"] > 2


def test_what_is_known_to_answer_is_removed_unjudged(qa) -> None:
    """Within the ranks or beyond: a trainer that reads the line must not take it for a negative."""
    asked = MiningQuestion("q1", "When did Sandhill open?", ("gold",), known_ids=("harder", "far"))
    line, usage = Miner(qa, ScriptedJudge()).record(asked)
    assert ids(line["negatives"]) == ["hard"]
    assert ids(line["removed"]) == ["unlabelled", "near", "harder", "far"]
    assert {one["reason"] for one in line["removed"][2:]} == {"the data says that it answers"}
    assert usage.requests == 4


def test_pages_carry_where_they_stand(embedder, make_pdf, tmp_path) -> None:
    file = make_pdf(tmp_path / "bridge.pdf", ["Sandhill opened in 1932.\n=0.9", "It was painted.\n=0.1"])
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        qa.add(file)
        (entry,) = qa.index.documents()
        miner = Miner(qa, ScriptedJudge(), pictures=True, texts=False)
        line, _ = miner.record(question(positives=(f"{entry.id}#p0",)))
        (gold,), (other,) = line["positives"], line["negatives"]
        assert (gold["kind"], gold["file"], gold["path"], gold["sha256"], gold["page"], gold["label"]) == (
            "page",
            "bridge.pdf",
            str(file),
            entry.sha256,
            0,
            "1",
        )
        assert (other["page"], other["text"]) == (1, None)
        assert Path(gold["image"]).read_bytes().startswith(b"\x89PNG")


def test_a_copy_of_the_positive_is_no_negative(embedder, tmp_path) -> None:
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        texts = [LONG + " opened =0.9", LONG.upper() + "\n opened =0.9", LONG + " painted =0.1"]
        qa.add_texts(texts, ids=["gold", "copy", "other"])
        judge = ScriptedJudge()
        rules = Rules(margin=None, false_negative=None, least_positive=None)
        line, _ = Miner(qa, judge, rules=rules).record(question())
        assert ids(line["negatives"]) == ["other"]
        assert [(one["id"], one["reason"]) for one in line["removed"]] == [
            ("copy", "same text as a positive")
        ]


def test_without_a_judge_only_ranks_decide_and_scores_are_null(qa) -> None:
    rules = Rules((1, 4), 2, None, None, None, None, "random")
    line, usage = Miner(qa, None, rules=rules).record(question())
    assert len(line["negatives"]) == 2
    assert all(one["score"] is None for one in [*line["positives"], *line["negatives"]])
    assert all(1 <= one["rank"] <= 4 for one in line["negatives"])
    assert usage == Usage()
    with pytest.raises(ValueError, match="need a judge, got none and margin, false_negative, least_positive"):
        Miner(qa, None)


# ---- resuming ---------------------------------------------------------------------------------------

QUESTIONS = [question(f"q{n}", text=f"When did Sandhill open, the {n}th time?") for n in range(5)]


@pytest.fixture(scope="module")
def whole(qa, tmp_path_factory) -> bytes:
    """What an undisturbed run writes."""
    target = tmp_path_factory.mktemp("whole") / "out.jsonl"
    Miner(qa, ScriptedJudge(), judge_data={"mode": "scripted"}).mine(QUESTIONS, target)
    return target.read_bytes()


def mine(qa, target: Path, judge: ScriptedJudge, **settings: object) -> MiningReport:
    return Miner(qa, judge, judge_data={"mode": "scripted"}, **settings).mine(QUESTIONS, target)


@pytest.mark.parametrize("done", range(6))
def test_a_failed_run_resumes_and_ends_the_same(qa, tmp_path, whole, done: int) -> None:
    target = tmp_path / "out.jsonl"
    first, second = ScriptedJudge(fail_at=done), ScriptedJudge()
    if done < 5:
        with pytest.raises(ServerUnreachableError):
            mine(qa, target, first)
    else:
        mine(qa, target, first)
    report = mine(qa, target, second)
    assert target.read_bytes() == whole
    assert first.asked + second.asked == [one.text for one in QUESTIONS]
    assert (report.queries, report.new) == (5, 5 - done)


def test_a_line_torn_anywhere_is_written_again(qa, tmp_path, whole) -> None:
    lines = whole.splitlines(keepends=True)
    for torn in (10, len(lines[2]) // 2, len(lines[2]) - 1):
        target = tmp_path / f"{torn}.jsonl"
        mine(qa, target, ScriptedJudge())  # for the file beside it
        target.write_bytes(b"".join(lines[:2]) + lines[2][:torn])
        judge = ScriptedJudge()
        mine(qa, target, judge)
        assert target.read_bytes() == whole
        assert judge.asked == [one.text for one in QUESTIONS[2:]]


def test_a_file_made_in_another_way_is_not_resumed(qa, tmp_path, whole) -> None:
    target = tmp_path / "out.jsonl"
    mine(qa, target, ScriptedJudge())
    with pytest.raises(ValueError, match=r"made in another way.*rules was .* is .*Choose another output"):
        mine(qa, target, ScriptedJudge(), rules=Rules(negatives=3))
    with pytest.raises(ValueError, match=r"judge was \{'mode': 'scripted'\}, is \{'mode': 'other'}"):
        Miner(qa, ScriptedJudge(), judge_data={"mode": "other"}).mine(QUESTIONS, target)
    for change, words in (
        ({"text": "Where?"}, r"has question 'q0' with another text: .*now 'Where\?'"),
        ({"positives": ("near",)}, r"with another labelled: \['gold'\], now \['near'\]"),
    ):
        changed = [dataclasses.replace(QUESTIONS[0], **change), *QUESTIONS[1:]]
        with pytest.raises(ValueError, match=words):
            Miner(qa, ScriptedJudge(), judge_data={"mode": "scripted"}).mine(changed, target)
    assert target.read_bytes() == whole


@pytest.mark.parametrize("foreign", ["my notes\n", "my notes", '{"id": 1}\n'])
def test_a_file_that_no_miner_wrote_is_left_alone(qa, tmp_path, foreign: str) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text(foreign)
    with pytest.raises(ValueError, match=r"must have its settings in out\.jsonl\.meta\.json"):
        mine(qa, target, ScriptedJudge())
    (tmp_path / "out.jsonl.meta.json").write_text("{}")
    with pytest.raises(ValueError, match=r"made in another way|must be|got"):
        mine(qa, target, ScriptedJudge())
    assert target.read_text() == foreign


def test_two_processes_do_not_write_one_file(qa, tmp_path) -> None:
    with FileLock(str(tmp_path / "out.jsonl.lock")), pytest.raises(BlockingIOError, match="one process at"):
        mine(qa, tmp_path / "out.jsonl", ScriptedJudge())


def test_a_judge_that_did_not_judge_stops_the_run(qa, tmp_path) -> None:
    class Keeps(ScriptedJudge):
        def rerank(self, ranking: Ranking, *, top_n: int | None = None) -> Ranking:
            return keep_order(ranking, "the server is down")

    with pytest.raises(ServerAnswerError, match=r"got the prior order \(the server is down\)"):
        mine(qa, tmp_path / "out.jsonl", Keeps())
    with pytest.raises(ValueError, match="must judge every candidate, got verdicts on 2 of 6"):
        mine(qa, tmp_path / "out.jsonl", LocalReranker(depth=2))


def test_what_the_local_judge_cannot_read_is_neither_negative_nor_positive(embedder, tmp_path) -> None:
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder) as qa:
        qa.add_texts(
            ["The bridge opened in 1932.", " ", "Rice cooks in 20 minutes."], ids=["a", "blank", "c"]
        )
        rules = Rules(margin=0.4, false_negative=None, least_positive=None)
        judge = LocalReranker(depth=100)
        line, _ = Miner(qa, judge, rules=rules).record(
            question(text="When did the bridge open?", positives=("a",))
        )
        assert ids(line["negatives"]) == ["c"]
        assert line["removed"] == []
        line, _ = Miner(qa, judge, rules=rules).record(question(text="When?", positives=("blank",)))
        assert line["skipped"] == "the judge cannot read any positive"


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from test_miner import *
from mmrag.embedders.text import TextEmbedder

class Stuck(ScriptedJudge):
    def rerank(self, ranking, *, top_n=None):
        if Path({target!r}).exists() and Path({target!r}).stat().st_size:
            time.sleep(3600)
        return super().rerank(ranking)

embedder = TextEmbedder({encoder!r})
qa = DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder)
qa.add_texts(list(PAGES.values()), ids=list(PAGES))
print("ready", flush=True)
Miner(qa, Stuck(), judge_data={{"mode": "scripted"}}).mine(QUESTIONS, {target!r})
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_killed_process_resumes(qa, tmp_path, whole, text_encoder) -> None:
    target = tmp_path / "out.jsonl"
    code = KILLED.format(tests=str(Path(__file__).parent), target=str(target), encoder=str(text_encoder))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        limit = time.monotonic() + 60
        while (not target.exists() or not target.stat().st_size) and time.monotonic() < limit:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    before = len(list(target.read_bytes().splitlines()))
    assert 1 <= before < 5
    judge = ScriptedJudge()
    mine(qa, target, judge)
    assert target.read_bytes() == whole
    assert len(judge.asked) <= 5 - before + 1  # the one it was killed in may have been written in part


# ---- what is shown ---------------------------------------------------------------------------------


def test_the_table_counts_the_whole_file(qa, tmp_path) -> None:
    report = mine(qa, tmp_path / "out.jsonl", ScriptedJudge())
    assert report == dataclasses.replace(
        MiningReport.from_records(read_mined(tmp_path / "out.jsonl")),
        new=5,
        seconds=report.seconds,
        usage=report.usage,
    )
    table = report.table()
    assert "queries               5   5 of them now" in table
    assert "hard negatives       15   for 5 queries, 3.0 a query" in table
    assert "  removed             5   judged relevant" in table
    assert "positives 0.950, negatives 0.437, removed 0.905" in table
    assert "30 requests, 50 prompt and 0 completion tokens" in table
    assert json.loads(json.dumps(report.to_dict()))["removed"]["judged relevant"] == 5


def test_the_plot_is_drawn_from_the_lines(qa, tmp_path) -> None:
    mine(qa, tmp_path / "out.jsonl", ScriptedJudge())
    lines = list(read_mined(tmp_path / "out.jsonl"))
    save_plot(lines, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    for line in lines:
        for item in [*line["positives"], *line["negatives"], *line["removed"]]:
            item["score"] = None
    with pytest.raises(ValueError, match="needs a judge that gave some"):
        save_plot(lines, tmp_path / "none.png")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "got bad JSON"),
        ('{"format": 2}', "'format' must be 1, got 2"),
        ('{"format": 1, "query": 3}', "'query' must be an object with an 'id'"),
        ('{"format": 1, "query": {"id": "a"}, "positives": [1]}', "'positives' must be a list of items"),
    ],
)
def test_reading_a_broken_file_names_the_line(tmp_path, line: str, words: str) -> None:
    (tmp_path / "x.jsonl").write_text("\n" + line + "\n")
    with pytest.raises(ValueError, match=rf"x\.jsonl, line 2: .*{words}"):
        list(read_mined(tmp_path / "x.jsonl"))


def test_errors_of_the_judge_are_errors_of_the_package() -> None:
    assert issubclass(ServerAnswerError, MMRagError)
