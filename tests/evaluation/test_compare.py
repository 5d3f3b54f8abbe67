import json

import pytest

from mmrag.evaluation import compare, evaluate, gain_table, load_pack


@pytest.fixture
def pack(tmp_path):
    """Four answerable questions of one file, the first two human-written, each with its own page."""
    folder = tmp_path / "tiny"
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / "a.pdf").write_bytes(b"")
    lines = [
        {
            "id": f"q{n}",
            "question": str(n),
            "doc": "a.pdf",
            "answerable": True,
            "evidence_pages": [n],
            "written_by": "human" if n < 2 else "LLM",
        }
        for n in range(4)
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return load_pack(folder)


def backwards(question, within):
    return [("a.pdf", page) for page in (3, 2, 1, 0)]


def perfect(question, within):
    return [("a.pdf", int(question))]


def test_gains_by_hand(pack):
    """Question n is at rank 4 - n of `backwards`: 1 / log2(5 - n) before, 1 after."""
    before, after = evaluate(pack, backwards), evaluate(pack, perfect)
    gains = {(one.scope, one.group): one for one in compare(pack, before, after)}
    human = gains["document", "human-written"]
    assert human.count == 2
    assert human.before == pytest.approx((0.430677 + 0.5) / 2, abs=1e-5)
    assert human.after == 1
    assert human.gain.mean == pytest.approx(1 - human.before)
    assert 0.5 <= human.gain.low <= human.gain.mean <= human.gain.high <= 0.56933
    assert gains["pack", "all"].before == pytest.approx((0.430677 + 0.5 + 0.63093 + 1) / 4, abs=1e-5)
    table = gain_table(list(gains.values()))
    assert "human-written" in table
    assert "+0.535 [+0.500, +0.569]" in table


def test_no_change_is_no_gain_without_doubt(pack):
    report = evaluate(pack, backwards)
    for one in compare(pack, report, report):
        assert (one.before, one.gain.low, one.gain.mean, one.gain.high) == (one.after, 0, 0, 0)


def test_reports_of_other_questions_are_refused(pack, tmp_path):
    report = evaluate(pack, backwards)
    first = json.loads((pack.path / "queries.jsonl").read_text().splitlines()[0])
    (pack.path / "queries.jsonl").write_text(json.dumps(first))
    with pytest.raises(ValueError, match="reports to compare must be of the questions of"):
        compare(load_pack(pack.path), report, report)
