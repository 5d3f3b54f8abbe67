import json
import sys

import numpy as np
import pytest

from mmrag.errors import MissingExtraError
from mmrag.evaluation import evaluate, save_plot
from mmrag.evaluation.answers import answer_matches
from mmrag.evaluation.pack import Question
from mmrag.types import Answer, Citation, Page, Query, Ranking, Source

LINES = [
    {
        "id": "table",
        "question": "How much?",
        "doc": "a.pdf",
        "answerable": True,
        "evidence_pages": [1],
        "evidence_types": ["Table", "Chart"],
        "source": "ours",
        "written_by": "human annotators",
        "answers": ["1,204 %"],
        "answer_format": "Int",
    },
    {
        "id": "scan",
        "question": "Who?",
        "doc": "b.pdf",
        "answerable": True,
        "evidence_pages": [0, 3],
        "evidence_types": ["Figure"],
        "image_only_evidence": True,
        "source": "theirs",
        "written_by": "LLM",
        "answers": ["a long free answer"],
        "answer_format": "Free",
    },
    {"id": "none", "question": "Why?", "doc": "b.pdf", "answerable": False, "evidence_pages": []},
]


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "tiny"
    (folder / "documents").mkdir(parents=True)
    for name in ("a.pdf", "b.pdf"):
        (folder / "documents" / name).write_bytes(b"")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, LINES)), encoding="utf-8")
    return folder


def search(question, within):
    """Ranks every page of four, b.pdf before a.pdf, page 0 first."""
    names = within or ("b.pdf", "a.pdf")
    return [(name, page) for name in names for page in range(4)]


def test_figures_by_hand(pack):
    """'table' is at rank 6 of the pack and 2 of its file; 'scan' has ranks 1 and 4 in both."""
    report = evaluate(pack, search)
    assert (report.pack, report.questions, report.answerable) == ("tiny", 3, 2)
    log2 = np.log2
    scan = (1 + 1 / log2(5)) / (1 + 1 / log2(3))
    whole, within = report.scopes["pack"], report.scopes["document"]
    assert whole["all"].count == 2
    assert whole["all"].figures["ndcg@5"].mean == pytest.approx((0 + scan) / 2)
    assert whole["all"].figures["recall@10"].mean == 1
    assert whole["all"].figures["recall@5"].mean == pytest.approx((0 + 1) / 2)
    assert whole["all"].figures["recall@1"].mean == pytest.approx((0 + 0.5) / 2)
    assert within["all"].figures["ndcg@5"].mean == pytest.approx((1 / log2(3) + scan) / 2)
    assert within["human-written"].figures["ndcg@5"].mean == pytest.approx(1 / log2(3))
    assert whole["image-only evidence"].figures["ndcg@5"].mean == pytest.approx(scan)


def test_groups(pack):
    groups = {name: group.count for name, group in evaluate(pack, search).scopes["pack"].items()}
    assert groups == {
        "all": 2,
        "human-written": 1,
        "image-only evidence": 1,
        "text-layer evidence": 1,
        "source: ours": 1,
        "source: theirs": 1,
        "evidence: Chart": 1,
        "evidence: Figure": 1,
        "evidence: Table": 1,
    }


def test_the_search_is_told_where_to_look(pack):
    asked = []

    def spy(question, within):
        asked.append((question, within))
        return []

    report = evaluate(pack, spy)
    assert asked == [("How much?", None), ("How much?", ("a.pdf",)), ("Who?", None), ("Who?", ("b.pdf",))]
    assert report.scopes["pack"]["all"].figures["ndcg@5"].mean == 0


def test_the_interval_holds_the_mean_and_repeats(pack):
    figure = evaluate(pack, search, seed=1).scopes["document"]["all"].figures["ndcg@5"]
    assert figure.low <= figure.mean <= figure.high
    assert figure.low < figure.high
    assert figure == evaluate(pack, search, seed=1).scopes["document"]["all"].figures["ndcg@5"]


def test_a_page_twice_is_an_error_that_names_the_question(pack):
    with pytest.raises(ValueError, match=r"question 'table': a ranking must hold an item once"):
        evaluate(pack, lambda question, within: [("a.pdf", 1), ("a.pdf", 1)])


def test_a_pack_without_answerable_questions_is_refused(pack):
    (pack / "queries.jsonl").write_text(json.dumps(LINES[2]), encoding="utf-8")
    with pytest.raises(ValueError, match="must have an answerable question, got 1 without one"):
        evaluate(pack, search)


def reply(text, *places, abstained=False):
    citations = []
    for number, (name, page) in enumerate(places, 1):
        source = Source(sha256="ab" * 32, kind="pdf", name=name)
        shown = Page(source.page_id(page), source.document_id, page, "x", "", (), (1, 1), source)
        citations.append(Citation(number, shown.id, "quote", page=shown))
    return Answer(text, tuple(citations), Ranking(Query(text="q")), abstained=abstained)


def test_answers_by_hand(pack):
    replies = {
        "How much?": reply("It was 1204 [1].", ("a.pdf", 1)),
        "Who?": reply("Nobody [1].", ("b.pdf", 2)),
        "Why?": reply("The documents do not say.", abstained=True),
    }
    figures = evaluate(pack, search, answer=lambda question, files: replies[question]).answers
    whole = figures.scopes["pack"]["all"]
    names = ("answered", "text", "any_page", "silent")
    assert [(whole[name].count, whole[name].mean) for name in names] == [(2, 1), (1, 1), (2, 0.5), (1, 1)]


def test_abstaining_counts_as_a_miss(pack):
    answers = evaluate(pack, search, answer=lambda question, files: reply("1204", abstained=True)).answers
    for scope in ("pack", "document"):
        figures = answers.scopes[scope]["all"]
        assert [figures[name].mean for name in ("answered", "text", "any_page", "silent")] == [0, 0, 0, 1]
        assert "answered_page" not in figures


@pytest.mark.parametrize(
    ("text", "accepted", "matches"),
    [
        ("Sales fell 18.29 % [1].", "18.29%", True),
        ("Sales were $24.1 billion.", "4", False),
        ("Sales were 1,204,000.", "1204000", True),
        ("It was in 2019, 2020.", "2019 2020", True),
        ("See [4].", "4", False),
        ("The FLORIDA\nDepartment of Health", "Florida Department of Health.", True),
        ("Florida", "Florida Department of Health", False),
        ("anything", "", False),
    ],
)
def test_an_answer_matches_as_whole_words(text, accepted, matches):
    question = Question("q", "?", ("a.pdf",), True, frozenset({("a.pdf", 0)}), answers=(accepted,))
    assert answer_matches(text, question) is matches


def test_every_item_of_a_list_must_stand():
    question = Question(
        "q", "?", ("a.pdf",), True, answers=("[x, y]",), answer_items=("USB 2.0", "Headphone jack")
    )
    assert answer_matches("A headphone jack and a USB 2.0 port", question)
    assert not answer_matches("A headphone jack", question)


def test_json_holds_the_report(pack, tmp_path):
    report = evaluate(pack, search)
    report.save_json(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["scopes"]["pack"]["all"]["figures"]["ndcg@5"]["mean"] == pytest.approx(
        report.scopes["pack"]["all"].figures["ndcg@5"].mean
    )
    assert [line["id"] for line in data["per_question"]] == ["table", "scan"]
    assert data["per_question"][0]["pack"]["recall@10"] == 1.0
    assert data["per_question"][0]["rankings"]["document"] == [["a.pdf", page] for page in range(4)]
    assert data["answers"] is None


def test_the_table_shows_every_group_in_both_scopes(pack):
    report = evaluate(pack, search, answer=lambda question, files: reply("x"))
    text = f"{report}\n\n{report.answers}"
    for title in ("whole pack", "within document", "tiny: 3 questions, 2 answerable"):
        assert title in text
    assert text.count("source: theirs") == 4
    assert "answered, of the answerable                 2  1.000 [1.000, 1.000]" in text
    assert max(map(len, text.split("\n"))) <= 110


def test_a_plot_is_written(pack, tmp_path):
    pytest.importorskip("matplotlib")
    baselines = {"BM25": {"pack": {"all": 0.4, "source: ours": 0.2}, "document": {}}}
    save_plot(evaluate(pack, search), tmp_path / "plot.png", baselines=baselines)
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    save_plot(evaluate(pack, search), tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_a_plot_without_matplotlib_names_the_extra(pack, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmrag\[plot\]'"):
        save_plot(evaluate(pack, search), tmp_path / "plot.png")


def test_a_file_that_is_the_evidence_has_the_rank_of_its_first_page(pack):
    """b.pdf has four pages before a.pdf's first one, which makes a.pdf the second file."""
    line = {"id": "q", "question": "What?", "answerable": True, "evidence": [{"doc": "a.pdf"}]}
    (pack / "queries.jsonl").write_text(json.dumps(line), encoding="utf-8")
    figures = evaluate(pack, search).scopes["pack"]["all"].figures
    assert figures["ndcg@5"].mean == pytest.approx(1 / np.log2(3))
    assert figures["mrr@10"].mean == 1 / 2
