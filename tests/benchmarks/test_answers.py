"""Files of answers side by side: paired gains by hand, and what fitting looks like."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answers import Cell, auc_cell, fitted, load_runs, main, paired_cell, table_lines
from draw_questions import draw

from mmrag.evaluation.answer_lines import AnswerFile, AnswerLine, CitedQuote


@pytest.fixture
def pack(tmp_path):
    """Eight answerable questions, answered "n", and four that are not."""
    folder = tmp_path / "tiny"
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / "a.pdf").write_bytes(b"")
    fields = {"question": "?", "doc": "a.pdf"}
    lines = [
        {"id": f"q{n}", **fields, "answerable": True, "evidence_pages": [n], "answers": [f"word{n}"]}
        for n in range(8)
    ]
    lines += [{"id": f"u{n}", **fields, "answerable": False, "evidence_pages": []} for n in range(4)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def run(path, right, *, confidence, ids=12):
    """A file of answers: the first `right` questions have the accepted string."""
    file = AnswerFile(path, {})
    names = [*(f"q{n}" for n in range(8)), *(f"u{n}" for n in range(4))][:ids]
    for position, name in enumerate(names):
        quote = CitedQuote(f"word{position}" if position < right else "else", "a.pdf", position)
        file.add(AnswerLine(name, "pack", "", False, confidence(position), 0.5, (quote,)))
    return path


def test_gains_are_paired(tmp_path, pack):
    before = run(tmp_path / "a.jsonl", 2, confidence=lambda n: 0.5)
    after = run(tmp_path / "b.jsonl", 6, confidence=lambda n: 1 - n / 20)
    runs = load_runs(f"mine={pack}", [before, after])
    text = "\n".join(table_lines([runs], ["old", "new"], "all", ["first_quote", "auc"]))
    assert "mine" in text
    first, second, *_ = (line for line in text.splitlines() if "old" in line or "new" in line)
    assert first.startswith("first_quote               old         0.250 [")
    assert "0.750 +0.500 [+0.125, +0.875]*" in second
    areas = [line for line in text.splitlines() if "auc" in line]
    assert areas[0].startswith("auc                       old         0.500 [0.500, 0.500] n 12")
    assert "1.000 +0.500 [+0.500, +0.500]*" in text
    assert "within document" not in text


def test_only_common_questions_are_compared(tmp_path, pack):
    files = [run(tmp_path / f"{n}.jsonl", 4, confidence=lambda n: 0.5, ids=n) for n in (12, 5)]
    runs = load_runs(str(pack), files)
    assert (runs.name, [question.id for question in runs.pack.questions]) == (
        "tiny",
        [f"q{n}" for n in range(5)],
    )
    main(["--pack", str(pack), *map(str, files), "--names", "a", "b", "--measures", "first_quote"])


def test_a_cell_by_hand():
    before = [{"m": 0.0}, {"m": 1.0}, {"m": None}, {"m": 0.0}]
    after = [{"m": 1.0}, {"m": 1.0}, {"m": 1.0}, {"m": None}]
    cell = paired_cell(before, after, "m")
    assert (cell.count, cell.mean, cell.gain) == (2, 1.0, 0.5)
    assert cell.low <= 0.5 <= cell.high
    own = paired_cell(before, before, "m")
    assert (own.count, own.gain) == (3, pytest.approx(1 / 3))
    assert paired_cell([{"m": None}], after[:1], "m") is None


def test_no_curve_without_both_kinds_and_a_confidence(pack):
    questions = load_runs_questions(pack)
    line = AnswerLine("q", "pack", "", False, 0.5)
    assert auc_cell(questions[:8], [line] * 8, [line] * 8) is None
    silent = AnswerLine("q", "pack", "", False, None)
    assert auc_cell(questions, [silent] * 12, [line] * 12) is None
    cell = auc_cell(questions, [line] * 12, [line] * 12)
    assert (cell.count, cell.mean) == (12, 0.5)
    assert np.isclose([cell.low, cell.high], 0).all()


def load_runs_questions(pack):
    from mmrag.evaluation import load_pack

    return load_pack(pack).questions


def cell(gain, low):
    return Cell(10, 0.5, gain, low, gain + 0.1)


@pytest.mark.parametrize(
    ("gains", "name"),
    [
        ({"samples": cell(0.2, 0.1), "dev": cell(-0.01, -0.1), "forms": cell(0.0, -0.1)}, "samples"),
        ({"samples": cell(0.2, 0.1), "dev": cell(0.02, -0.1)}, ""),  # it helps elsewhere, too
        ({"samples": cell(0.2, 0.1), "dev": cell(0.2, 0.1)}, ""),
        ({"samples": cell(0.2, -0.1), "dev": cell(0.0, -0.1)}, ""),  # nothing is certain
        ({"samples": cell(0.2, 0.1), "dev": None}, ""),  # nothing to compare with
    ],
)
def test_fitting_is_a_gain_on_one_pack_alone(gains, name):
    assert fitted(gains) == name


def test_questions_are_drawn_once_under_a_seed():
    lines = [{"id": f"q{n}", "core": n < 10, "source": "F" if n % 2 else "G"} for n in range(20)]
    takes = ["core=true:5", "source=F:6"]
    ids = draw(lines, takes, 17)
    assert ids == draw(lines, takes, 17) != draw(lines, takes, 18)
    assert len(set(ids)) == 11
    assert {int(name[1:]) < 10 for name in ids[:5]} == {True}
    assert {int(name[1:]) % 2 for name in ids[5:]} == {1}
    for wrong in ("core=true:11", "core=maybe:1", "core"):
        with pytest.raises(SystemExit, match="must be FIELD=VALUE:COUNT"):
            draw(lines, [wrong], 17)
