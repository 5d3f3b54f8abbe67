"""Report of `rerank.py`: a table for the terminal, and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def table(report: Mapping[str, Any]) -> str:
    lines = [
        f"{report['pack']}, {report['model']}: nDCG@5 after the first {report['top']} pages were judged; "
        "tokens and seconds are a question's",
        f"{'setting':<15}{'n':>4} {'retrieval':>10}{'alpha 0':>9}{'   change':<26}{'alpha 0.5':>9}"
        f"{'   change':<26}{'perfect':>9}{'random':>8}{'read':>7}{'written':>8}{'s':>7}{'refused':>8}",
    ]
    for one in report["settings"]:
        figures, changes = one["ndcg@5"], one["change"]
        cells = ""
        for column in ("alpha 0", "alpha 0.5"):
            change = changes[column]
            reach = f"[{change['low']:+.3f},{change['high']:+.3f}]"
            cells += f"{figures[column]['mean']:>9.3f}{change['mean']:>+9.3f} {reach}".ljust(35)
        cost = [one["prompt_tokens"], one["completion_tokens"], one["seconds"]]
        said = [
            "-" if value is None else f"{value:.{digits}f}"
            for value, digits in zip(cost, (0, 0, 1), strict=True)
        ]
        lines.append(
            f"{one['setting']:<15}{one['questions']:>4} {figures['retrieval']['mean']:>10.3f}{cells}"
            f"{one['perfect order']:>9.3f}{one['random order']:>8.3f}"
            f"{said[0]:>7}{said[1]:>8}{said[2]:>7}{one['refused']:>8}"
        )
    return "\n".join(lines)


def plot(report: Mapping[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    thinking = [one for one in report["settings"] if one["setting"].startswith("pointwise")]
    others = [one for one in report["settings"] if not one["setting"].startswith("pointwise")]
    figure = Figure(figsize=(12, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    colours = {"alpha 0": "#3b6ea5", "alpha 0.5": "#e08214"}
    if thinking:
        places = range(len(thinking))
        for column, colour in colours.items():
            points = [one["ndcg@5"][column] for one in thinking]
            offset = -0.06 if column == "alpha 0" else 0.06
            left.errorbar(
                [place + offset for place in places],
                [point["mean"] for point in points],
                [[p["mean"] - p["low"] for p in points], [p["high"] - p["mean"] for p in points]],
                marker="o",
                capsize=3,
                color=colour,
                label=f"pointwise, {column}",
            )
        prior = thinking[0]["ndcg@5"]["retrieval"]["mean"]
        left.axhline(prior, color="#222222", lw=1, label=f"retrieval {prior:.3f}")
        top = thinking[0]["perfect order"]
        left.axhline(top, color="#5aae61", lw=1, ls="--", label=f"perfect order {top:.3f}")
        chances = thinking[0]["random order"]
        left.axhline(chances, color="#999999", lw=1, ls=":", label=f"random order {chances:.3f}")
        names = [
            f"{one['setting'].split()[1]}\n{one['completion_tokens'] or 0:.0f} written" for one in thinking
        ]
        left.set_xticks(list(places), names)
        left.set_xlabel("think tokens allowed a page, and tokens written a question")
        left.set_title(f"thinking: {thinking[0]['questions']} questions, seed {report['seed']}", fontsize=10)
        figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    for at, one in enumerate(others):
        for shift, (column, colour) in zip((-0.17, 0.17), colours.items(), strict=True):
            change = one["change"][column]
            reach = [[change["mean"] - change["low"]], [change["high"] - change["mean"]]]
            right.barh(
                at + shift, change["mean"], 0.3, xerr=reach, color=colour, error_kw={"capsize": 3, "lw": 1}
            )
    if others:
        right.axvline(0, color="#222222", lw=1)
        right.set_yticks(
            range(len(others)),
            [
                f"{one['setting']} ({one['questions']}"
                + (f", {one['refused']} refused)" if one["refused"] else ")")
                for one in others
            ],
        )
        right.invert_yaxis()
        right.set_title("the other modes: change of nDCG@5 against retrieval", fontsize=10)
    for axis in (left, right):
        axis.grid(color="#dddddd", lw=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("nDCG@5")
    figure.suptitle(
        f"{report['pack']}, {report['model']}: first {report['top']} pages judged, 95 % intervals"
    )
    figure.savefig(path)
    return path
