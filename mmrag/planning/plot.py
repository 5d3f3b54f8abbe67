"""The picture of a plan: disk, memory, machines and hours over the number of pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mmrag.errors import MissingExtraError
from mmrag.planning.capacity import Task, plan

_BAR, _INK = "#3b6ea5", "#222222"
_POINTS = 41


def draw_costs(task: Task, path: Path) -> None:
    """Write the picture; the file name's ending (``.png``, ``.svg``, ``.pdf``) decides the format.

    Four curves from a hundredth of the task's pages to ten times as many, the task's own marked.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the ending is none that matplotlib writes.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise MissingExtraError("A plot of the plan", "plot") from error
    pages = task.pages * np.logspace(-2, 1, _POINTS)
    plans = [plan(replace(task, pages=float(count))) for count in pages]
    task_plan = plan(task)
    on_gpu = task.model != "mini"
    panels = (
        ("disk, GB a copy", [point.disk_gb for point in plans], task_plan.disk_gb),
        ("memory of the first stage, GB a copy", [point.memory_gb for point in plans], task_plan.memory_gb),
        ("machines", [point.machines for point in plans], task_plan.machines),
        (
            f"hours of {task.gpu}, to embed" if on_gpu else "hours of a core, to embed",
            [point.embed_gpu_hours if on_gpu else point.embed_core_hours for point in plans],
            task_plan.embed_gpu_hours if on_gpu else task_plan.embed_core_hours,
        ),
    )
    canvas = Canvas(figsize=(10, 6), dpi=150, layout="constrained")
    for axis, (title, values, mark) in zip(canvas.subplots(2, 2).flat, panels, strict=True):
        axis.loglog(pages, values, color=_BAR)
        axis.plot([task.pages], [mark], "o", color=_INK)
        axis.annotate(
            f"{mark:,.0f}" if mark >= 100 else f"{mark:.3g}",
            (task.pages, mark),
            (6, -12),
            textcoords="offset points",
            color=_INK,
        )
        axis.set_title(title, loc="left", fontsize=10, color=_INK)
        axis.set_xlabel("pages")
        axis.grid(color="#dddddd")
    canvas.suptitle(
        f"{task.pages:,.0f} pages, {task.qps:g} questions a second, {task.model}, budget "
        f"{task.budget.query},{task.budget.document}, first stage {task.design}",
        color=_INK,
    )
    canvas.savefig(str(path))
