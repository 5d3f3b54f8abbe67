"""``mmrag check``: what is damaged in an index, and its repair."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from mmrag.cli.command import EXIT_FAILED, EXIT_OK
from mmrag.cli.common import IndexOptions, OutputOptions
from mmrag.cli.data import check_data


def check(
    output: OutputOptions,
    index: IndexOptions,
    repair: Annotated[
        bool,
        Option(
            "--repair",
            help="Make again what can be made of the rest. Files whose pages are lost are marked incomplete; "
            "the next mmrag index of them reads these pages again.",
        ),
    ] = False,
) -> int:
    """Find what is damaged in an index; exit code 1 where there is anything, repaired or not."""
    from mmrag.index.chroma import ChromaIndex
    from mmrag.index.files_check import check_folder

    index.check_index()
    report = check_folder(index.index, repair=repair)
    if repair:
        ChromaIndex.open(index.index, None).close()  # fills Chroma, and gives an old index its checksums
    output.write(check_data(report), str(report))
    return EXIT_OK if report.is_sound else EXIT_FAILED
