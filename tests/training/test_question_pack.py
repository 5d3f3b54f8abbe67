"""Questions about documents as a pack: what is asked stands on the page, and is marked as made."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mmrag.cli import main
from mmrag.documents import ReaderSettings
from mmrag.evaluation import load_pack
from mmrag.training.pairs import QuestionWriter, make_questions
from mmrag.training.pairs.question_pack import choose_records

from .test_pairs import PROSE, harbour, prose

READER = ReaderSettings(workers=1, ocr="off")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The report on a folder with a table, and a file with nothing to ask for that must be told apart."""
    folder = tmp_path_factory.mktemp("questions")
    harbour(folder / "docs" / "harbour.pdf")
    prose(folder / "docs" / "silent.pdf", ["7", "8"])
    return make_questions(folder / "docs", folder / "pack", reader=READER, per_page=50)


def test_template_questions_are_a_pack(made) -> None:
    report, pack = made, load_pack(made.path)
    assert pack.documents == ("harbour.pdf", "silent.pdf")
    assert (report.documents, len(report.questions)) == (2, len(pack.questions)) == (2, 6)
    assert Counter(question.kind for question in pack.questions) == {"heading": 1, "caption": 1, "cell": 4}
    values = {question.answers[0] for question in pack.questions if question.kind == "cell"}
    assert values == {"14", "5200", "9", "3100"}
    for question in pack.questions:
        assert (question.is_made, question.human_written, question.written_by) == (True, False, "template")
        assert question.evidence == {("harbour.pdf", 0)}
        assert bool(question.value_boxes) == (question.kind == "cell")
    assert len(report.sample()) == 5
    assert "(harbour.pdf, page 1)" in report.sample()[0]


def test_the_same_run_gives_the_same_questions(made, tmp_path) -> None:
    again = make_questions(made.path.parent / "docs", tmp_path / "again", reader=READER, per_page=50)
    assert (again.path / "queries.jsonl").read_bytes() == (made.path / "queries.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match="must have no questions yet"):
        make_questions(made.path.parent / "docs", made.path, reader=READER)


def test_a_model_asks_and_is_named(tmp_path, fake_server) -> None:
    prose(tmp_path / "docs" / "canal.pdf", [PROSE[1]])
    said = "Q: Who saw the heron near the reeds?\nA: three children\nQ: What is it?\nA: a submarine"
    fake_server.chat(said)
    writer = QuestionWriter(fake_server.url, "superhuman-7b", images=False)
    make_questions(tmp_path / "docs", tmp_path / "pack", reader=READER, writer=writer)
    (question,) = load_pack(tmp_path / "pack").questions  # the other's answer is not on the page
    assert question.question == "Who saw the heron near the reeds?"
    assert (question.answers, question.kind) == (("three children",), "asked")
    assert (question.written_by, question.human_written) == ("model superhuman-7b", False)
    assert [box.page_key for box in question.value_boxes] == [("canal.pdf", 0)]


def test_files_of_one_name_are_kept_apart(tmp_path) -> None:
    for year, text in (("2023", PROSE[0]), ("2024", PROSE[3])):
        prose(tmp_path / "docs" / year / "report.pdf", [text])
    harbour(tmp_path / "docs" / "harbour.pdf")
    make_questions(tmp_path / "docs", tmp_path / "pack", reader=READER)
    assert load_pack(tmp_path / "pack").documents == ("2024 - report.pdf", "harbour.pdf", "report.pdf")


def test_documents_that_lie_in_the_pack_already_stay(tmp_path) -> None:
    file = harbour(tmp_path / "pack" / "documents" / "harbour.pdf")
    data = file.read_bytes()
    make_questions(file.parent, tmp_path / "pack", reader=READER)
    assert load_pack(tmp_path / "pack").documents == ("harbour.pdf",)
    assert file.read_bytes() == data


def test_documents_and_kinds_take_turns() -> None:
    records = [
        {"positives": [{"sha256": sha}], "query": {"kind": kind, "rule": "question"}}
        for sha, kinds in (("a", ["cell"] * 90 + ["heading"] * 10), ("b", ["field"] * 3))
        for kind in kinds
    ]
    chosen = choose_records(records, 9, seed=0)
    counts = Counter((record["positives"][0]["sha256"], record["query"]["kind"]) for record in chosen)
    assert counts == {("a", "cell"): 3, ("a", "heading"): 3, ("b", "field"): 3}
    assert len(choose_records(records, 1000, seed=0)) == 103
    assert choose_records(records, 9, seed=0) == chosen


@pytest.mark.slow
def test_by_one_command_and_measured_by_the_next(tmp_path, capsys) -> None:
    harbour(tmp_path / "docs" / "harbour.pdf")
    target = tmp_path / "pack"
    how = ["--workers", "1", "--ocr", "off"]
    assert main(["questions", str(tmp_path / "docs"), "--to", str(target), *how]) == 0
    out = capsys.readouterr().out
    assert "questions (" in out and "Made by template, and marked so." in out
    assert main(["evaluate", str(target), "--rerank", "none", "--json", *how]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["made_count"] == data["answerable"] == data["questions"] > 0
    assert "human-written" not in data["scopes"]["pack"]
    assert main(["questions", str(tmp_path / "docs"), "--to", str(target), *how]) == 1
    assert main(["questions", str(tmp_path / "docs"), "--to", str(tmp_path / "x"), "--model", "m"]) == 2
