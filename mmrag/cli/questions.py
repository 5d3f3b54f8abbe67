"""``mmrag questions``: questions about one's own documents, by templates or a served model, as a pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mmrag.cli.command import EXIT_OK, EXIT_SKIPPED
from mmrag.cli.common import OutputOptions, ReaderOptions, check_inputs
from mmrag.cli.progress import Progress
from mmrag.cli.train import PairOptions, WriterOptions


def questions(
    inputs: Annotated[list[str], Argument(metavar="FOLDER", help="Folder, file or glob.")],
    output: OutputOptions,
    writer: WriterOptions,
    reader: ReaderOptions,
    target: Annotated[Path, Option("--to", metavar="PACK", help="Folder of the pack, new.")],
    most: Annotated[int, Option("--most", min=1, metavar="N", help="Largest number of questions.")] = 100,
    seed: Annotated[int, Option("--seed", metavar="N", help="Of all random choices.")] = 0,
) -> int:
    """Make questions about documents."""
    from mmrag.training.pairs import make_questions
    from mmrag.training.pairs.question_pack import WORK_FOLDER

    writer.check(PairOptions())
    check_inputs(inputs)
    with Progress() as progress:
        report = make_questions(
            inputs,
            target,
            most=most,
            per_page=max(4, writer.questions),
            seed=seed,
            reader=reader.reader_settings(),
            password=reader.password,
            prompts=writer.prompts,
            writer=writer.load(target / WORK_FOLDER / "pairs.jsonl"),
            progress=lambda count, total, name: progress.show(count, total, f"{count} of {total}  {name}"),
        )
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.to_dict()["kinds"].items())
    lines = [
        f"{report.path}: {len(report.questions)} questions ({kinds}) about {report.documents} documents",
        "",
        *(f"  {line}" for line in report.sample()),
        "",
        f"Made by {report.questions[0]['written_by']}, and marked so. "
        f"Measure with: mmrag evaluate {report.path}",
        *(f"Skipped: {where}: {reason}" for where, reason in report.pairs.skipped),
    ]
    output.write({**report.to_dict(), "sample": report.sample()}, "\n".join(lines))
    return EXIT_SKIPPED if report.pairs.skipped else EXIT_OK
