"""The picture of a report: nDCG@5 by source of questions, with intervals and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmrag.errors import MissingExtraError
from mmrag.evaluation.figures import SCOPES
from mmrag.evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Baselines: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""nDCG@5 as ``baselines[name]["pack" or "document"][group]``; groups named as in the report."""

_TITLES = {"pack": "whole pack", "document": "within document"}
_BAR, _INK = "#3b6ea5", "#222222"
_MARKS = (("D", "#e08214"), ("s", "#5aae61"), ("^", "#9970ab"), ("v", "#d6604d"), ("P", "#878787"))
"""Shape and colour of the baselines, in their order; a sixth starts again."""


def save_plot(report: Report, path: str | Path, *, baselines: Baselines | None = None) -> None:
    """Write the plot; the file name's ending (``.png``, ``.svg``, ``.pdf``) decides the format.

    Bars are nDCG@5 of all questions, the human-written ones and each source; lines are 95 % bootstrap
    intervals; marks are baselines.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the ending is none that matplotlib writes.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise MissingExtraError("A plot of the report", "plot") from error
    names = [name for name in report.scopes["pack"] if _is_plotted(name)]
    canvas = Canvas(figsize=(11, 1.6 + 0.5 * len(names)), dpi=150, layout="constrained")
    axes = canvas.subplots(1, len(SCOPES), sharey=True, sharex=True)
    for scope, axis in zip(SCOPES, axes, strict=True):
        _draw(axis, report, scope, names, baselines or {})
    axes[0].invert_yaxis()  # shared: the first group on top
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        canvas.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    canvas.suptitle(f"{report.pack}: nDCG@5, 95 % bootstrap intervals", color=_INK)
    canvas.savefig(str(path))


def _is_plotted(name: str) -> bool:
    return name in ("all", "human-written") or name.startswith("source: ")


def _draw(axis: Axes, report: Report, scope: str, names: Sequence[str], baselines: Baselines) -> None:
    groups = [report.scopes[scope][name] for name in names]
    figures = [group.figures["ndcg@5"] for group in groups]
    rows: Any = range(len(names))
    means = [figure.mean for figure in figures]
    reach: Any = [
        [max(0.0, figure.mean - figure.low) for figure in figures],
        [max(0.0, figure.high - figure.mean) for figure in figures],
    ]
    axis.barh(
        rows, means, height=0.62, color=_BAR, xerr=reach, error_kw={"ecolor": _INK, "capsize": 3, "lw": 1}
    )
    for row, figure in zip(rows, figures, strict=True):
        axis.text(0.012, row, f"{figure.mean:.3f}", va="center", color="white", fontsize=8)
    _draw_baselines(axis, scope, names, baselines)
    axis.set_yticks(
        rows, [f"{_short(name)} ({group.count})" for name, group in zip(names, groups, strict=True)]
    )
    axis.set_title(_TITLES[scope], fontsize=10)
    axis.set_xlim(0, 1)
    axis.grid(axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_baselines(axis: Axes, scope: str, names: Sequence[str], baselines: Baselines) -> None:
    for (label, figures_of), (mark, colour) in zip(baselines.items(), cycle(_MARKS), strict=False):
        marks = {name: figures_of.get(scope, {}).get(name) for name in names}
        points = {row: value for row, value in enumerate(marks.values()) if value is not None}
        values: Any = list(points.values())
        axis.scatter(
            values, list(points), marker=mark, s=36, color=colour, label=label, zorder=3, edgecolors="white"
        )


def _short(name: str) -> str:
    name = name.removeprefix("source: ")
    return name if len(name) <= 30 else name[:29] + "\u2026"
