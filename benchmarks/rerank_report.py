"""Report of `rerank.py`: a table for the terminal, and a plot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = {"alpha 0": "#3b6ea5", "alpha 0.5": "#e08214"}


def table(report: Mapping[str, Any]) -> str:
    """Format the figures of all settings, one line each."""
    lines = [
        f"{report['pack']}, {report['model']}: nDCG@5 after the first {report['top']} pages were reranked; "
        "tokens and seconds per question",
        f"{'setting':<15}{'n':>4} {'retrieval':>10}{'alpha 0':>9}{'   change':<26}{'alpha 0.5':>9}"
        f"{'   change':<26}{'perfect':>9}{'random':>8}{'read':>7}{'written':>8}{'s':>7}{'refused':>8}"
        f"{'pairs':>7}",
    ]
    for setting in report["settings"]:
        figures, changes = setting["ndcg@5"], setting["change"]
        cells = ""
        for column in ("alpha 0", "alpha 0.5"):
            change = changes[column]
            interval = f"[{change['low']:+.3f},{change['high']:+.3f}]"
            cells += f"{figures[column]['mean']:>9.3f}{change['mean']:>+9.3f} {interval}".ljust(35)
        cost = [setting["prompt_tokens"], setting["completion_tokens"], setting["seconds"]]
        texts = [
            "-" if value is None else f"{value:.{digits}f}"
            for value, digits in zip(cost, (0, 0, 1), strict=True)
        ]
        lines.append(
            f"{setting['setting']:<15}{setting['questions']:>4} {figures['retrieval']['mean']:>10.3f}{cells}"
            f"{setting['perfect order']:>9.3f}{setting['random order']:>8.3f}"
            f"{texts[0]:>7}{texts[1]:>8}{texts[2]:>7}{setting['refused']:>8}"
            + (f"{setting['pairs']['mean']:>7.3f}" if setting.get("pairs") else "")
        )
    return "\n".join(lines)


def plot(report: Mapping[str, Any], path: Path) -> Path:
    """Draw quality against think tokens, and the change of nDCG@5 by the other modes; return `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    # a third word is a share of thoughts, which is no point of the curve
    thinking = [entry for entry in report["settings"] if re.fullmatch(r"pointwise \d+", entry["setting"])]
    thinking.sort(key=lambda entry: int(entry["setting"].split()[1]))
    if thinking:
        plot_thinking(left, thinking)
        left.set_title(f"thinking: {thinking[0]['questions']} questions, seed {report['seed']}", fontsize=10)
        figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    left.set_ylabel("nDCG@5")
    plot_changes(right, [entry for entry in report["settings"] if entry not in thinking])
    for axis in (left, right):
        axis.grid(color="#dddddd", lw=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{report['pack']}, {report['model']}: first {report['top']} pages reranked, 95 % intervals"
    )
    figure.savefig(path)
    return path


def plot_thinking(axis: Any, settings: Sequence[Mapping[str, Any]]) -> None:
    positions = range(len(settings))
    for (column, colour), offset in zip(COLOURS.items(), (-0.06, 0.06), strict=True):
        points = [entry["ndcg@5"][column] for entry in settings]
        axis.errorbar(
            [position + offset for position in positions],
            [point["mean"] for point in points],
            [[p["mean"] - p["low"] for p in points], [p["high"] - p["mean"] for p in points]],
            marker="o",
            capsize=3,
            color=colour,
            label=f"pointwise, {column}",
        )
    prior = settings[0]["ndcg@5"]["retrieval"]["mean"]
    axis.axhline(prior, color="#222222", lw=1, label=f"retrieval {prior:.3f}")
    top = settings[0]["perfect order"]
    axis.axhline(top, color="#5aae61", lw=1, ls="--", label=f"perfect order {top:.3f}")
    chance = settings[0]["random order"]
    axis.axhline(chance, color="#999999", lw=1, ls=":", label=f"random order {chance:.3f}")
    names = [
        f"{entry['setting'].removeprefix('pointwise ')}\n{entry['completion_tokens'] or 0:.0f} written"
        for entry in settings
    ]
    axis.set_xticks(list(positions), names)
    axis.set_xlabel("think tokens allowed per page, and tokens written per question")


def plot_changes(axis: Any, settings: Sequence[Mapping[str, Any]]) -> None:
    if not settings:
        return
    for position, entry in enumerate(settings):
        for shift, (column, colour) in zip((-0.17, 0.17), COLOURS.items(), strict=True):
            change = entry["change"][column]
            interval = [[change["mean"] - change["low"]], [change["high"] - change["mean"]]]
            line = {"capsize": 3, "lw": 1}
            axis.barh(position + shift, change["mean"], 0.3, xerr=interval, color=colour, error_kw=line)
    axis.axvline(0, color="#222222", lw=1)
    axis.set_yticks(range(len(settings)), [setting_label(entry) for entry in settings])
    axis.invert_yaxis()
    axis.set_title("the other modes: change of nDCG@5 against retrieval", fontsize=10)


def setting_label(entry: Mapping[str, Any]) -> str:
    refusals = f", {entry['refused']} refused" if entry["refused"] else ""
    return f"{entry['setting']} ({entry['questions']}{refusals})"
