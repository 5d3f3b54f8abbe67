"""The two plots of `side_by_side.py`: quality against bytes a page, and against milliseconds a question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

AXES = {
    "bytes": ("bytes_a_page", "bytes a page, without its text"),
    "milliseconds": ("processor_ms", "processor ms a question"),
}


def save_plots(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``quality-bytes.png`` and ``quality-milliseconds.png``; points are means, bars 95 % intervals."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    written = []
    for name, (key, label) in AXES.items():
        canvas = Figure(figsize=(7.5, 4.4), dpi=130, layout="constrained")
        axis = canvas.subplots()
        for system, row in result["systems"].items():
            is_ours = system.startswith("mmrag")
            if name == "bytes" and "alone" in system and is_ours and "words" not in system:
                colour, mark = "#9db8d6", "o"
            else:
                colour, mark = ("#1f5fa8", "o") if is_ours else ("#c8641e", "s")
            low, high = row["interval"]
            value = row["ndcg@5"]
            reach = [[value - low], [high - value]]
            axis.errorbar(
                row[key], value, yerr=reach, fmt=mark, color=colour, ms=6, elinewidth=0.7, alpha=0.9
            )
            axis.annotate(
                system.removeprefix("mmrag, "),
                (row[key], value),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )
        axis.set_xscale("log")
        axis.margins(x=0.12)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(label)
        axis.set_ylabel("nDCG@5, whole pack")
        axis.set_title(
            f"{result['pack']}: {result['pages']:,} pages, {result['questions']} questions; "
            "blue: mmrag, orange: others",
            fontsize=9,
        )
        axis.grid(color="#dddddd", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        path = folder / f"quality-{name}.png"
        canvas.savefig(path)
        written.append(path)
    return written
