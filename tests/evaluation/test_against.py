"""A run against an earlier report: the same questions or none, and a sentence that one can believe."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmrag.evaluation import compare_reports, evaluate, load_pack, read_report
from mmrag.evaluation.against import check_same_questions
from mmrag.types import Answer, Query, Ranking

COUNT = 12


@pytest.fixture
def pack(tmp_path):
    """Twelve questions of one file, each with its own page, the last without an answer."""
    folder = tmp_path / "tiny"
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / "a.pdf").write_bytes(b"")
    lines = [
        {
            "id": f"q{n}",
            "question": str(n),
            "doc": "a.pdf",
            "answerable": n < COUNT - 1,
            "evidence_pages": [n] if n < COUNT - 1 else [],
            "answers": [f"word{n}"],
        }
        for n in range(COUNT)
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return load_pack(folder)


def perfect(question, within):
    return [("a.pdf", int(question))]


def blind(question, within):
    """Finds the even pages alone."""
    return [("a.pdf", int(question))] if int(question) % 2 == 0 else []


def says(words):
    def answer(question, files):
        return Answer(words.format(question), (), Ranking(Query(text="q")))

    return answer


def data_of(pack, search, answer=None):
    return json.loads(json.dumps(evaluate(pack, search, answer=answer).to_dict()))


def test_a_real_difference_is_said_in_a_sentence(pack) -> None:
    """Of eleven scored questions five are found only by the better one: p = 2 / 2 ** 5, not enough."""
    comparison = compare_reports(pack, data_of(pack, blind), data_of(pack, perfect), "blind.json")
    test = comparison.find("search", "pack", "all")["ndcg@5"]
    assert (test.p, test.better, test.worse, test.count) == (2 / 32, 5, 0, 11)
    assert not test.is_real
    nothing = compare_reports(pack, data_of(pack, lambda *_: []), data_of(pack, perfect), "nothing.json")
    assert nothing.conclusions()[0] == (
        "whole pack: this run finds more than nothing.json: nDCG@5 +1.000 [+1.000, +1.000], p < 0.001; "
        "on 11 questions (11 better, 0 worse)."
    )
    back = compare_reports(pack, data_of(pack, perfect), data_of(pack, lambda *_: []), "perfect.json")
    assert "this run finds less than perfect.json: nDCG@5 -1.000" in back.conclusions()[0]


def test_what_could_have_been_seen_is_said_where_nothing_was(pack) -> None:
    comparison = compare_reports(pack, data_of(pack, blind), data_of(pack, perfect), "blind.json")
    sentence = comparison.conclusions()[0]
    assert "no difference from blind.json that these 11 questions (5 better, 0 worse) could show" in sentence
    assert "would have been seen four times in five" in sentence
    same = compare_reports(pack, data_of(pack, blind), data_of(pack, blind), "b.json")
    assert same.conclusions()[0] == "whole pack: nDCG@5 is the same as in b.json on each of 11 questions."


def test_answers_are_compared_where_both_have_them(pack) -> None:
    wrong, right = (data_of(pack, perfect, says(words)) for words in ("none", "word{}"))
    comparison = compare_reports(pack, wrong, right, "wrong.json")
    assert comparison.find("answers", "pack", "all")["text"].after == 1
    assert "is right more often in words than wrong.json: answer's text right +1.000" in str(comparison)
    assert comparison.find("answers", "document", "all")["silent"].count == 1
    only_search = compare_reports(pack, data_of(pack, blind), right, "blind.json")
    assert only_search.groups("answers", "pack") == []
    with pytest.raises(ValueError, match="must have measured what this run did"):
        compare_reports(pack, data_of(pack, blind), {"answers": right["answers"]}, "blind.json")


def test_the_table_fits_and_says_how(pack) -> None:
    text = str(compare_reports(pack, data_of(pack, blind), data_of(pack, perfect), "blind.json"))
    rows = [line for line in text.split("\n") if line.startswith(("all", "text-layer"))]
    assert len(rows) >= 4
    assert max(map(len, rows)) <= 110
    assert "10000 random ones. Seed 0." in text


def test_other_questions_are_refused(pack, tmp_path) -> None:
    data = data_of(pack, blind)
    fewer = {**data, "per_question": data["per_question"][1:]}
    with pytest.raises(ValueError, match=r"o\.json must be of the same 11 questions .* lacks 1, 'q0'"):
        check_same_questions(pack, fewer, "o.json")
    more = {**data, "per_question": [*data["per_question"], {"id": "q99"}]}
    with pytest.raises(ValueError, match="has beside them 1, 'q99'"):
        check_same_questions(pack, more, "o.json")
    reworded = replace(pack, questions=(replace(pack.questions[0], question="0?"), *pack.questions[1:]))
    with pytest.raises(ValueError, match="'q0' has other words or other evidence there"):
        check_same_questions(reworded, data, "o.json")
    old = [{name: value for name, value in row.items() if name != "digest"} for row in data["per_question"]]
    check_same_questions(reworded, {**data, "per_question": old}, "o.json")  # older reports have ids alone


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"per_question": 3}', "\x00"])
def test_what_is_no_report_is_refused(tmp_path, content) -> None:
    (tmp_path / "o.json").write_text(content)
    with pytest.raises(ValueError, match="must be a report that `mmrag evaluate --to FILE` wrote"):
        read_report(tmp_path / "o.json")
