"""``mmrag copy``: an index brought into another store."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

from typer import Argument, Option

from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import OutputOptions


def copy(
    old: Annotated[str, Argument(metavar="OLD", help="Index directory or address of a server.")],
    new: Annotated[str, Argument(metavar="NEW", help="Directory or address, empty, absent or begun.")],
    output: OutputOptions,
    batch: Annotated[int, Option("--batch", min=1, metavar="N", help="Records at once.")] = 64,
) -> int:
    """Copy an index into another store, and compare both."""
    from mmrag.index.copying import copy_index

    report = copy_index(old, new, batch=batch, show_progress=sys.stderr.isatty())
    before = f" ({report.resumed} of them there already)" if report.resumed else ""
    output.write(
        asdict(report),
        f"{report.records} pages and records{before}, {report.documents} files and the bytes of "
        f"{report.blobs}, from {report.old} in {report.new}, {report.seconds:.1f} s\n"
        f"read from both and equal: sha256 {report.digest[:16]}",
    )
    return EXIT_OK
