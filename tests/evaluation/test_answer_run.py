"""A whole run: who is asked what, what is asked again, and how lines become a report."""

import json

import numpy as np
import pytest

from mmrag.evaluation import AnswerFile, ask_all, load_pack, read_answers, report_answers, select_questions
from mmrag.evaluation.answer_report import AnswerReport
from mmrag.types import Answer, Citation, Page, Query, Ranking, Source, Usage

COUNT = 12


@pytest.fixture
def pack(tmp_path):
    """Twelve answerable questions on pages 0 to 11, answered "n0", half of them "ours"; six unanswerable."""
    folder = tmp_path / "tiny"
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / "a.pdf").write_bytes(b"")
    lines = []
    for n in range(COUNT):
        box = {"page": n, "page_size": [100, 200], "bbox": [10, 20, 90, 100]}
        lines.append(
            {
                "id": f"q{n}",
                "question": f"{n}",
                "doc": "a.pdf",
                "answerable": True,
                "evidence_pages": [n],
                "answers": [f"{n}0"],
                "answer_format": "Int",
                "source": "ours" if n % 2 else "theirs",
                "evidence_boxes": [box],
            }
        )
    for n in range(6):
        fields = {"question": f"no {n}", "doc": "a.pdf", "answerable": False, "evidence_pages": []}
        lines.append({"id": f"u{n}", **fields, "source": "theirs"})
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return load_pack(folder)


def answer(question, files):
    """Right for even n, sure of itself by n; of an unanswerable question it quotes something, less surely."""
    number = int(question.split()[-1])
    known = not question.startswith("no")
    source = Source("ab" * 32, "pdf", "a.pdf")
    page = Page(source.page_id(number), source.document_id, number, "x", "words " * 40, (), (1, 1), source)
    quote = f"{number}0" if known and number % 2 == 0 else "nothing"
    citation = Citation(1, page.id, quote, ((0.1, 0.1, 0.9, 0.5),), page, area=(0.1, 0.1, 0.9, 0.5))
    confidence = (number + 1) / 20 + (0.3 if known else 0)
    usage = Usage({"answer": 0.1}, 100 + number, 10)
    text = f"{quote} [1]"
    return Answer(text, (citation,), Ranking(Query(text=question)), usage=usage, confidence=confidence)


def test_everything_is_asked_twice_and_never_again(pack, tmp_path):
    asked = []

    def ask(question, files):
        asked.append((question, files))
        if len(asked) == 20:
            raise KeyboardInterrupt
        return answer(question, files)

    path = tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        ask_all(pack, ask, file=AnswerFile(path, {}))
    lines = ask_all(pack, ask, file=AnswerFile(path, {}))
    assert len(asked) == 2 * len(pack.questions) + 1  # the one that was broken off
    assert asked[:2] == [("0", None), ("1", None)]
    assert asked[-1] == ("no 5", ("a.pdf",))
    assert {k: v.text for k, v in read_answers(path)[1].items()} == {k: v.text for k, v in lines.items()}


def test_figures_by_hand(pack):
    """Even n are right: 6 of 12. Threshold 0.5 silences n + 1 < 4, and all six unanswerable ones."""
    report = report_answers(pack, ask_all(pack, answer, threshold=0.5), samples=200)
    for scope in ("pack", "document"):
        figures = report.scopes[scope]["all"]
        means = {name: (figure.count, figure.mean) for name, figure in figures.items()}
        assert means["first_quote"] == (12, 0.5)
        assert means["first_page"] == (12, 1)
        assert means["answered"] == (12, 0.75)
        assert means["silent"] == (6, 1)
        assert means["right_silenced"] == (6, pytest.approx(2 / 6))  # 0 and 2
        assert means["false_answer"] == (12, pytest.approx(5 / 12))  # 3, 5, 7, 9, 11
        assert means["words_recall@0.5"] == means["area_recall@0.5"] == (12, 1)
        assert means["joint_area"] == (12, 0.5)
        ours = report.scopes[scope]["source: ours"]
        assert (ours["first_quote"].mean, "silent" in ours) == (0, False)
        assert report.scopes[scope]["answer: Int"]["first_quote"].count == 12
        for figure in figures.values():
            assert figure.low <= figure.mean <= figure.high
    assert report.costs["pack"].prompt_tokens == pytest.approx(100 + (sum(range(12)) + sum(range(6))) / 18)


def test_the_threshold_is_judged_by_the_same_run(pack):
    """Confidences .35, .40, ... .90 against .05 ... .30: told apart without a fault."""
    report = report_answers(pack, ask_all(pack, answer, threshold=0.5), samples=200)
    abstention = report.abstention["pack"]["all"]
    assert (abstention.answerable, abstention.unanswerable, abstention.auc.mean) == (12, 6, 1)
    default = abstention.default
    assert (default.threshold, default.answered, default.silent) == (0.5, 0.75, 1)
    assert (abstention.best.answered, abstention.best.silent) == (1, 1)
    assert set(report.abstention["pack"]) == {"all", "source: theirs"}
    right, others = [0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11, *[-10] * 6]
    assert abstention.right_auc.mean == pytest.approx(np.mean([a > b for a in right for b in others]))


def test_an_answerer_without_confidence_has_no_curve(pack):
    def silent(question, files):
        return Answer("No.", (), Ranking(Query(text=question)), abstained=question.startswith("no"))

    report = report_answers(pack, ask_all(pack, silent, scopes=["document"]), samples=50)
    assert report.abstention == {"document": {}}
    assert report.questions == {"document": 18}
    assert report.scopes["document"]["all"]["silent"].mean == 1
    assert isinstance(report, AnswerReport)
    assert "whole pack" not in str(report)


def test_a_scope_counts_when_it_is_whole(pack):
    lines = ask_all(pack, answer)
    del lines["q3", "document"]
    assert set(report_answers(pack, lines, samples=50).scopes) == {"pack"}
    del lines["q4", "pack"]
    with pytest.raises(ValueError, match="answers must be of every question of"):
        report_answers(pack, lines)
    some = select_questions(pack, ["q3", "q0", "u1"])
    assert [question.id for question in some.questions] == ["q0", "q3", "u1"]
    assert set(report_answers(some, lines, samples=50).scopes) == {"pack"}


def test_the_report_is_text_and_plain_data(pack, tmp_path):
    report = report_answers(pack, ask_all(pack, answer, threshold=0.5), settings={"k": 5}, samples=50)
    report.save_json(tmp_path / "answers.json")
    data = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    assert data["scopes"]["pack"]["all"]["first_quote"]["mean"] == 0.5
    assert data["abstention"]["pack"]["all"]["default"]["silent"] == 1
    assert data["settings"] == {"k": 5, "samples": 50, "seed": 0}
    assert len(data["per_question"]) == 36
    text = str(report)
    for words in (
        "first quote holds an accepted string",
        "as shipped",
        "area, right pages",
        "source: ours",
        "AUC 1.000 [1.000, 1.000] of 12 answerable and 6 unanswerable",
        "best balance",
        "tokens a question 104 read, 10 written",
    ):
        assert words in text
    assert max(map(len, text.split("\n"))) <= 110


def test_the_seed_decides_intervals_and_spans(pack):
    one, two = (report_answers(pack, ask_all(pack, answer), samples=100).scopes for _ in range(2))
    assert one == two
