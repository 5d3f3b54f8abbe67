"""``mmrag plan``: what an index of many pages costs, before anything is bought."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import BadParameter, Option

from mmrag.cli.arguments import budget
from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import OutputOptions
from mmrag.types import Budget

if TYPE_CHECKING:
    from mmrag.planning.capacity import Plan

_size_option = partial(Option, rich_help_panel="What is asked for")
_machine_option = partial(Option, rich_help_panel="Machines")


def number(text: str) -> float:
    """Read a number of pages: 2000, 1e9, 5M.

    Raises:
        BadParameter: it is none.
    """
    factors = {"k": 1e3, "m": 1e6, "b": 1e9}
    factor = factors.get(text[-1:].lower(), 1.0)
    try:
        value = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        value = math.nan
    if not value > 0 or math.isinf(value):
        raise BadParameter(f"a number like 2000, 1e9 or 5M is wanted, got {text!r}.")
    return value


def constant_pair(text: str) -> tuple[str, float]:
    """Read NAME=NUMBER.

    Raises:
        BadParameter: it is none.
    """
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise BadParameter(f"NAME=NUMBER is wanted, got {text!r}.") from None


@dataclass(frozen=True)
class TaskOptions:
    """What is asked for."""

    pages: Annotated[float, _size_option("--pages", parser=number, metavar="N", help="Like 2000, 1e9 or 5M.")]
    qps: Annotated[float, _size_option("--qps", metavar="N", help="Questions a second.")] = 10
    budget: Annotated[
        Budget | None,
        _size_option(
            "--budget", parser=budget, metavar="Q,D", help="Vectors of a question and of a page (16,64)."
        ),
    ] = None
    model: Annotated[
        Literal["mini", "2b", "8b"],
        _size_option("--model", help="mini: ours, on cores; 2b and 8b: Qwen3-VL with meta tokens."),
    ] = "2b"
    compression: Annotated[
        int, _size_option("--compression", min=1, max=4, help="Factor per axis of the visual tokens.")
    ] = 2
    scans: Annotated[
        float, _size_option("--scans", min=0, max=1, metavar="SHARE", help="Of pages that need OCR.")
    ] = 0.2
    row_type: Annotated[Literal["int8", "float16"], _size_option("--row-type", help="Of stored rows.")] = (
        "int8"
    )
    first_stage: Annotated[
        Literal["scan", "graph"],
        _size_option("--first-stage", help="scan: the folder index; graph: HNSW of PostgreSQL or Qdrant."),
    ] = "scan"
    latency: Annotated[
        float, _size_option("--latency", metavar="MS", help="That the search of a shard may take.")
    ] = 100
    days: Annotated[float, _size_option("--days", metavar="N", help="In which all pages are embedded.")] = 7


@dataclass(frozen=True)
class MachineOptions:
    """What it runs on, and what was measured there."""

    gpu: Annotated[
        Literal["h200", "h100", "a100", "l40s", "l4"], _machine_option("--gpu", help="That embeds.")
    ] = "h200"
    cores: Annotated[int, _machine_option("--cores", min=1, help="Of a machine that searches.")] = 32
    memory: Annotated[float, _machine_option("--memory", metavar="GB", help="Of such a machine.")] = 128
    copies: Annotated[int, _machine_option("--copies", min=1, help="Of every shard.")] = 1
    constants: Annotated[
        list[Any] | None,
        _machine_option(
            "--set",
            parser=constant_pair,
            metavar="NAME=NUMBER",
            help="A constant that you measured yourself; may be repeated. The plan lists their names.",
        ),
    ] = None


def plan(
    output: OutputOptions,
    size: TaskOptions,
    machine: MachineOptions,
    plot: Annotated[
        Path | None,
        Option("--plot", metavar="FILE", help="Draw the costs over the number of pages (PNG, SVG)."),
    ] = None,
) -> int:
    """Print shards, memory, disk, hours and what runs out first, with the constants it stands on."""
    from mmrag.planning.capacity import Task
    from mmrag.planning.capacity import plan as make_plan

    task = Task(
        pages=size.pages,
        qps=size.qps,
        budget=size.budget or Budget(16, 64),
        row_bytes=1 if size.row_type == "int8" else 2,
        model=size.model,
        gpu=machine.gpu,
        compression=size.compression,
        scans=size.scans,
        design=size.first_stage,
        latency_ms=size.latency,
        copies=machine.copies,
        cores=machine.cores,
        memory_gb=machine.memory,
        days=size.days,
        constants=dict(machine.constants or ()),
    )
    costs = make_plan(task)
    if plot is not None:
        from mmrag.planning.plot import draw_costs

        draw_costs(task, plot)
    output.write(plan_data(costs), plan_text(costs))
    return EXIT_OK


def plan_data(costs: Plan) -> dict[str, Any]:
    """Return a plan as JSON values, with every constant, its unit and its source."""
    from mmrag.planning.capacity import CONSTANTS

    data = asdict(costs)
    data["task"].pop("constants")
    data["constants"] = {
        name: {"value": costs.task.constant(name), "unit": constant.unit, "source": _source(costs, name)}
        for name, constant in CONSTANTS.items()
    }
    return data


def _source(costs: Plan, name: str) -> str:
    from mmrag.planning.capacity import CONSTANTS

    return "yours (--set)" if name in costs.task.constants else CONSTANTS[name].source


def _figure(value: float) -> str:
    """Write a number with two digits, or all before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def plan_text(costs: Plan) -> str:
    """Return a plan as lines for people."""
    from mmrag.planning.capacity import CONSTANTS

    task = costs.task
    rows, rest = costs.page_bytes
    first, beside = costs.search_ms
    on_gpu = task.model != "mini"
    hours = costs.embed_gpu_hours if on_gpu else costs.embed_core_hours
    embedding = (
        f"{_figure(hours)} hours of a {task.gpu if on_gpu else 'core'}: {_figure(costs.embed_machines)} "
        f"{'of them' if on_gpu else 'machines'} for {task.days:g} days"
    )
    lines = [
        f"{task.pages:,.0f} pages, {task.qps:g} questions a second, budget {task.budget.query},"
        f"{task.budget.document}, {task.model}, compression {task.compression}, first stage {task.design}",
        "",
        f"disk        {_figure(costs.disk_gb)} GB; a page: {rows:,.0f} bytes of rows, {rest:,.0f} more",
        f"memory      {_figure(costs.memory_gb)} GB a copy for the first stage",
        f"shards      {costs.shards:,}",
        f"machines    {costs.machines:,} of {task.cores} cores and {task.memory_gb:g} GB, {task.copies} "
        f"{'copy' if task.copies == 1 else 'copies'} of every shard",
        f"a question  {first:,.1f} ms of a core in a shard's first stage, {beside:,.1f} beside it; "
        f"{_figure(costs.search_cores)} cores busy in all",
        f"reading     {_figure(costs.read_core_hours)} hours of a core ({task.scans:.0%} of pages by OCR)",
        f"embedding   {embedding}",
    ]
    if on_gpu:
        lines.append(f"questions   {_figure(costs.query_gpus)} of a {task.gpu} to embed them")
    lines += ["", "What asks for machines:", *(f"  {reason}" for reason in costs.reasons), ""]
    lines.append("It stands on (--set NAME=NUMBER puts your own in place):")
    for name, constant in CONSTANTS.items():
        lines.append(f"  {name:<14} {task.constant(name):>8g}  {constant.unit} ({_source(costs, name)})")
    return "\n".join(lines)
