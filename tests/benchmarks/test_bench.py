"""The benchmarks' document is made of their figures alone, and counts that no machine changes are kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import counts
import pytest

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
import bench  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_what_the_figures_give() -> None:
    assert report.DOCUMENT.read_text(encoding="utf-8") == report.text(), (
        "run: python benchmarks/bench.py report"
    )


def test_every_result_says_how_when_and_where_it_was_measured() -> None:
    for path in report.RESULTS.glob("*.json"):
        about = json.loads(path.read_text(encoding="utf-8"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date"]), path
        script = re.search(r"benchmarks/(\w+\.py)", about["command"])
        assert script and (ROOT / "benchmarks" / script[1]).is_file(), path
        assert about["machine"]["processor"] and about["machine"]["cores"] >= 1
        assert "/tmp/" not in path.read_text(encoding="utf-8"), path  # paths of one machine


def test_a_table_shows_rows_of_either_form(tmp_path) -> None:
    result = {"rows": {"tea": {"hot": 1234.5, "in": {"cups": 2}}}}
    about = {
        "command": "python benchmarks/tea.py",
        "date": "2026-01-02",
        "result": result,
        "load": [0.5, 1.0],
    }
    about["machine"] = {"processor": "P", "cores": 4}
    (tmp_path / "tea.json").write_text(json.dumps(about))
    plan = tmp_path / "plan.toml"
    section = '[[section]]\ntitle = "Tea"\n[[section.table]]\nresult = "tea"\n'
    plan.write_text(section + 'columns = [["", "{name}"], ["hot", "{hot:,.1f}"], ["cups", "{in[cups]}"]]\n')
    text = report.text(tmp_path, plan)
    assert "| tea | 1,234.5 | 2 |" in text
    assert "2026-01-02; P, 4 cores; load 0.5 to 1.0." in text
    plan.write_text(section + 'columns = [["", "{sweet}"]]\n')
    with pytest.raises(ValueError, match=r"result tea must have what '\{sweet\}' shows"):
        report.text(tmp_path, plan)
    (tmp_path / "milk.json").write_text("{}")
    with pytest.raises(ValueError, match="every result must be shown, got milk"):
        report.text(tmp_path, plan)


def test_plots_are_drawn_of_the_rows_of_their_tables(tmp_path) -> None:
    """A bar is as long as its figure, a line goes through its points."""
    pytest.importorskip("matplotlib", reason="needs mmrag[plot]")
    from matplotlib.figure import Figure

    rows = [{"name": "tea", "n": 10, "ms": {"p50": 2.5}}, {"name": "milk", "n": 1000, "ms": {"p50": 7.0}}]
    plan = {"image": "one.png", "caption": "Drinks", "bar": "{name}", "values": [["p50", "{ms[p50]}"]]}
    bars, lines = Figure().subplots(), Figure().subplots()
    plots.draw_bars(bars, plan, rows)
    assert [bar.get_width() for bar in bars.patches] == [2.5, 7.0]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["tea", "milk"]
    plots.draw_lines(lines, plan | {"x": "{n}", "x_label": "pages"}, rows)
    assert lines.lines[0].get_xydata().tolist() == [[10, 2.5], [1000, 7.0]]
    assert plots.draw(plan, rows, tmp_path).read_bytes().startswith(b"\x89PNG")


def test_every_plot_of_the_document_is_there() -> None:
    wanted = {plan["image"] for table in report.tables() if (plan := table.get("plot"))}
    assert wanted and all((ROOT / "docs" / image).is_file() for image in wanted)


def test_every_result_can_be_measured_again() -> None:
    carried = {"served-rows", "thinking", "llm-formats"}  # need a served model
    assert {path.stem for path in report.RESULTS.glob("*.json")} <= set(bench.BENCHMARKS) | carried
    assert all((ROOT / "benchmarks" / one.script).is_file() for one in bench.BENCHMARKS.values())
    plan = tomllib.loads((ROOT / "benchmarks" / "report.toml").read_text(encoding="utf-8"))
    titles = [section["title"] for section in plan["section"]]
    assert len(set(titles)) == len(titles)


def test_what_a_benchmark_needs_is_asked_for(capsys) -> None:
    with pytest.raises(SystemExit, match="side-by-side must be told pack, index: --pack PATH"):
        bench.run("side-by-side", {})
    with pytest.raises(SystemExit):
        bench.main(["small", "teapot"])
    assert "got teapot" in capsys.readouterr().err


def test_a_small_run_writes_figures(capsys) -> None:
    bench.small(["scoring"])
    assert re.match(r"scoring +\d+\.\d s", capsys.readouterr().out)


def test_a_command_is_kept_as_others_would_type_it() -> None:
    given = {"pack": "/somewhere/pack", "index": "/somewhere/index"}
    assert bench.given_name("/somewhere/pack", given) == "PACK"
    assert bench.given_name("--small", given) == "--small"


# ---- counts ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_counts_are_those_that_are_kept() -> None:
    pytest.importorskip("torch")
    kept = json.loads(counts.KEPT.read_text(encoding="utf-8"))
    assert counts.differences(counts.measure(), kept) == []


def test_a_count_that_changed_is_told() -> None:
    kept = {"calls": {"count": 10, "tolerance": 0}, "bytes": {"count": 100, "tolerance": 0.1}}
    assert counts.differences({"calls": 10, "bytes": 109}, kept) == []
    assert counts.differences({"calls": 11, "bytes": 111, "new": 3}, kept) == [
        "new: not kept yet, 3 now",
        "calls: must be 10 within 0%, got 11",
        "bytes: must be 100 within 10%, got 111",
    ]
    assert counts.differences({"bytes": 100}, kept) == ["calls: 10 kept, not counted any more"]
