"""``mmrag check``: what is damaged in an index, and its repair."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mmrag.cli.command import EXIT_FAILED, EXIT_OK
from mmrag.cli.common import IndexOptions, OutputOptions
from mmrag.cli.data import check_data

if TYPE_CHECKING:
    from mmrag.index.check_report import CheckReport


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
    index.check_index()
    report = _check_server(index.index, repair) if index.is_server else _check_folder(index.index, repair)
    output.write(check_data(report), str(report))
    return EXIT_OK if report.is_sound else EXIT_FAILED


def _check_folder(folder: str, repair: bool) -> CheckReport:
    from mmrag.index.chroma import ChromaIndex
    from mmrag.index.files_check import check_folder

    report = check_folder(Path(folder), repair=repair)
    if repair:
        ChromaIndex.open(folder, None).close()  # fills Chroma, and gives an old index its checksums
    return report


def _check_server(address: str, repair: bool) -> CheckReport:
    from mmrag.index.addresses import open_index

    with closing(open_index(address, None, read_only=not repair)) as index:
        return index.check(repair=repair)
