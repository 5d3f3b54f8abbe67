"""`benchmarks/rerank.py`: what it counts, by eye."""

import pytest
from draw_questions import draw
from rerank import lines_around, named_questions, pair_order

from mmrag.evaluation.pack import Question

RIGHT, WRONG, OTHER = ("a.pdf", 1), ("a.pdf", 2), ("a.pdf", 3)


def question(name: str = "q1") -> Question:
    return Question(name, "Where?", ("a.pdf",), True, frozenset({RIGHT}))


def row(*scores: float) -> dict:
    return {
        "pages": [list(page) for page in (WRONG, RIGHT, OTHER)],
        "scores": list(scores),
        "prior": [3, 2, 1],
    }


@pytest.mark.parametrize(
    ("scores", "share"), [((0.1, 0.9, 0.2), 1.0), ((0.9, 0.5, 0.1), 0.5), ((0.5, 0.5, 0.9), 0.25)]
)
def test_pairs_in_order_are_counted_and_a_tie_is_half(scores, share):
    counted = pair_order([(row(*scores), question())])
    assert (counted["mean"], counted["pairs"], counted["questions"]) == (share, 2, 1)


def test_question_without_a_page_to_compare_has_no_pairs():
    assert pair_order([({**row(1.0), "pages": [list(RIGHT)]}, question())]) is None


def test_each_question_counts_once():
    good, bad = row(0.0, 1.0, 0.0), {**row(1.0, 0.0), "pages": [list(WRONG), list(RIGHT)]}
    assert pair_order([(good, question()), (bad, question())])["mean"] == 0.5


def test_lines_with_the_rare_word_are_kept():
    text = "\n".join(["alpha beta gamma"] * 8 + ["the lighthouse opened in May"] + ["alpha beta gamma"] * 8)
    kept = lines_around(frozenset({"lighthous", "alpha"}), text, 12)
    assert "lighthouse" in kept
    assert len(kept.split()) <= 12


def test_questions_are_named_by_a_file_and_a_stranger_is_refused(tmp_path):
    (tmp_path / "ids").write_text("# how they were drawn\nq2\n")
    assert named_questions([question("q1"), question("q2")], tmp_path / "ids") == [question("q2")]
    (tmp_path / "ids").write_text("q3\n")
    with pytest.raises(SystemExit, match="1 that are not in it"):
        named_questions([question("q1")], tmp_path / "ids")


def test_draw_wants_both_of_two_conditions():
    lines = [
        {"id": f"{number}", "core": number % 2 == 0, "answerable": number % 3 == 0} for number in range(12)
    ]
    assert draw(lines, ["core=true&answerable=true:2"], 0) == ["0", "6"]
