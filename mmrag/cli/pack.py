"""``mmrag pack``: a published benchmark's local copy as a pack to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mmrag.cli.command import EXIT_OK, UsageError
from mmrag.cli.common import OutputOptions


def pack(
    output: OutputOptions,
    layout: Annotated[
        str | None, Argument(metavar="LAYOUT", help="Of the benchmark; without one, all are listed.")
    ] = None,
    source: Annotated[Path | None, Argument(metavar="FROM", help="Folder of the local copy.")] = None,
    target: Annotated[Path | None, Argument(metavar="TO", help="New folder of the pack.")] = None,
    split: Annotated[
        str, Option("--split", metavar="NAME", help="Part of the benchmark (the one measured on).")
    ] = "",
) -> int:
    """Make a pack of a published benchmark."""
    from mmrag.evaluation.datasets import LAYOUTS, make_pack

    if layout is None:
        text = "\n".join(f"{name:<14} {form.title}: {form.hub}" for name, form in LAYOUTS.items())
        output.write({name: [form.title, form.hub, *form.files] for name, form in LAYOUTS.items()}, text)
        return EXIT_OK
    if layout not in LAYOUTS:
        raise UsageError(f"LAYOUT must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    if source is None or target is None:
        form = LAYOUTS[layout]
        file_list = "; ".join(form.files)
        raise UsageError(
            f"mmrag pack {layout} must have FROM and TO. FROM holds {file_list}, fetched from {form.hub}."
        )
    summary = make_pack(layout, source, target, split=split)
    data = {"path": str(summary.path), "documents": summary.documents, "questions": summary.questions}
    output.write({**data, "skipped": dict(summary.skipped)}, str(summary))
    return EXIT_OK
