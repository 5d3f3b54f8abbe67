"""Pictures of the tables in docs/benchmarks.md, drawn from the same figures by `report.py`.

A table of ``report.toml`` may have a ``plot``: its ``image`` (below ``docs``), a ``caption``, and ``values``,
pairs of a name and a format of a row, as in its columns. With ``x``, a format too, each value is a line over
it, whose axis is logarithmic; without, each row is a bar, named by ``bar`` (the first column by default).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#1f5fa8", "#c8641e", "#5a8f3c", "#7a5aa8")


def draw(plan: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], docs: Path) -> Path:
    """Draw a table's plot; returns the file.

    Args:
        plan: ``plot`` of a table.
        rows: of the table.
        docs: folder that ``image`` is below.
    """
    from matplotlib.figure import Figure

    height = 3.4 if "x" in plan else 0.9 + 0.26 * len(rows) * len(plan["values"])
    canvas = Figure(figsize=(7.5, height), dpi=130, layout="constrained")
    axis = canvas.subplots()
    if "x" in plan:
        draw_lines(axis, plan, rows)
    else:
        draw_bars(axis, plan, rows)
    axis.set_title(plan["caption"], fontsize=9)
    axis.grid(color="#dddddd", lw=0.6, axis="both" if "x" in plan else "x")
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    if len(plan["values"]) > 1:
        axis.legend(frameon=False, fontsize=8)
    path: Path = docs / plan["image"]
    canvas.savefig(path)
    return path


def draw_lines(axis: Any, plan: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw each value over ``x``."""
    places = [float(plan["x"].format(**row)) for row in rows]
    for (name, form), colour in zip(plan["values"], COLOURS, strict=False):
        values = [float(form.format(**row)) for row in rows]
        axis.plot(places, values, marker="o", color=colour, label=name)
        for at in zip(places, values, strict=True):
            text = plan.get("digits", "{:,.1f}").format(at[1])
            axis.annotate(text, at, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7)
    axis.set_xscale("log")
    axis.set_xticks(places, [f"{place:,.0f}" for place in places])
    axis.minorticks_off()
    axis.margins(x=0.06, y=0.12)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(plan["x_label"])


def draw_bars(axis: Any, plan: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw a group of bars for each row, the first on top."""
    count = len(plan["values"])
    for place, ((name, form), colour) in enumerate(zip(plan["values"], COLOURS, strict=False)):
        values = [float(form.format(**row)) for row in rows]
        middles = [number + 0.8 * (place + 0.5) / count - 0.4 for number in range(len(rows))]
        bars = axis.barh(middles, values, height=0.7 / count, color=colour, label=name)
        axis.bar_label(bars, fmt=plan.get("digits", "{:,.1f}"), fontsize=7, padding=2)
    axis.set_yticks(range(len(rows)), [plan["bar"].format(**row) for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.12)
