"""Searches side by side: pages are ranked once each, what is kept is not measured again, plots are drawn."""

from __future__ import annotations

import json
from types import SimpleNamespace

import peers
import side_by_side
from side_by_side_plots import save_plots

PAGES = [("tea.pdf", 0), ("tea.pdf", 1), ("ink.pdf", 0)]


def test_pieces_of_a_page_overlap_and_leave_no_word_out() -> None:
    text = " ".join(map(str, range(1000)))
    pieces = peers.windows(text)
    assert {word for piece in pieces for word in piece.split()} == set(text.split())
    assert max(len(piece.split()) for piece in pieces) == peers.WINDOW
    assert pieces[1].split()[0] == str(peers.STRIDE)
    assert peers.windows("one two") == ["one two"] and peers.windows(" ") == []


def test_a_page_is_as_good_as_its_best_piece() -> None:
    assert peers.best_pages([PAGES[1], PAGES[0], PAGES[1], PAGES[2]]) == [PAGES[1], PAGES[0], PAGES[2]]
    assert len(peers.best_pages((f"{n}.pdf", 0) for n in range(99))) == peers.DEEPEST


def test_fusion_prefers_what_both_find() -> None:
    first = SimpleNamespace(name="a", bytes=10, search=lambda _: [PAGES[0], PAGES[2]])
    second = SimpleNamespace(name="b", bytes=5, search=lambda _: [PAGES[1], PAGES[2]])
    fused = peers.Fused(first, second)
    assert fused.search("?")[0] == PAGES[2]
    assert fused.bytes == 15


def test_what_is_kept_is_not_measured_again(tmp_path, capsys) -> None:
    asked = []

    def search(question: str) -> list[peers.Page]:
        asked.append(question)
        return PAGES

    questions = [SimpleNamespace(question="which tea?", evidence={PAGES[1]})]
    for _ in range(2):
        systems: dict = {}
        side_by_side.Work(tmp_path, systems, questions).add("all pages", lambda: ("as they lie", 6, search))
        assert systems["all pages"]["recall@10"] == 1.0
        assert round(systems["all pages"]["ndcg@5"], 3) == 0.631  # 1 / log2(3): it is the second
    assert len(asked) == 2  # once to warm up, once measured


def test_ours_is_measured_at_each_level_and_drawn(tmp_path, make_pdf) -> None:
    pack = tmp_path / "pack"
    make_pdf(pack / "documents" / "tea.pdf", ["Green tea is steeped at 80 degrees.", "It is drunk in Japan."])
    line = {"id": "q", "question": "How hot is tea steeped?", "doc": "tea.pdf", "answerable": True}
    (pack / "queries.jsonl").write_text(json.dumps(line | {"evidence_pages": [0]}) + "\n")
    target = tmp_path / "result.json"
    assert (
        side_by_side.main([str(pack), "--levels", "1", "64", "--json", str(target), "--plots", str(tmp_path)])
        == 0
    )
    systems = json.loads(target.read_text())["systems"]
    assert {name for name in systems if name.startswith("mmrag")} == {
        "mmrag, words alone",
        "mmrag, vectors alone, 1 rows",
        "mmrag, 1 rows",
        "mmrag, vectors alone, 64 rows",
        "mmrag, 64 rows",
        "mmrag, as shipped",
    }
    assert {row["ndcg@5"] for row in systems.values()} == {1.0}
    assert 0 < systems["mmrag, 1 rows"]["bytes_a_page"] <= systems["mmrag, 64 rows"]["bytes_a_page"]
    result = {"pack": "p", "pages": 2, "questions": 1, "systems": systems}
    assert [path.stat().st_size > 1000 for path in save_plots(result, tmp_path)] == [True, True]
