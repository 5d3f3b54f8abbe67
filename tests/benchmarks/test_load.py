"""The benchmark of load, small: nothing fails while threads search, ask and write at once."""

from __future__ import annotations

from load import Counts, run

from mmrag.pipeline import DocumentQA


def test_no_call_fails_under_load(embedder, make_pdf, tmp_path, capsys) -> None:
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=None) as qa:
        qa.add(make_pdf(tmp_path / "tea.pdf", ["Green tea is steeped at 80 degrees."]))
        assert run(qa, ["How hot should green tea be?"], 2, 2, 0.2) == []
    output = capsys.readouterr().out
    assert "errors    0" in output
    assert {line.split()[0] for line in output.splitlines()} >= {"search", "ask", "write", "resident"}


def test_the_line_has_number_median_and_tail() -> None:
    assert Counts([float(n) for n in range(1, 101)]).line("ask").split() == [
        "ask", "100", "calls,", "p50", "50.500", "s,", "p95", "95.950", "s",
    ]  # fmt: skip
