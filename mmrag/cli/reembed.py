"""``mmrag reembed``: an index for another embedder, without reading its documents again."""

from __future__ import annotations

import sys
from typing import Annotated

from typer import Argument

from mmrag.cli.command import EXIT_OK, EXIT_SKIPPED
from mmrag.cli.common import EmbedderOptions, OutputOptions, RenderOptions
from mmrag.cli.data import reembed_data
from mmrag.cli.locations import directory_of
from mmrag.cli.rows import RowOptions
from mmrag.cli.texts import reembed_text


def reembed(
    old: Annotated[str, Argument(metavar="OLD", help="Index directory or address, made by any embedder.")],
    new: Annotated[str, Argument(metavar="NEW", help="Directory that is empty or absent.")],
    output: OutputOptions,
    embedder: EmbedderOptions,
    rendering: RenderOptions,
    rows: RowOptions,
) -> int:
    """Copy an index, with the vectors of another embedder."""
    from mmrag.ingest.reembed import reembed as copy_index

    report = copy_index(
        old,
        directory_of(new, "reembed"),
        embedder=embedder.load_embedder(),
        reader=rendering.settings(),
        password=rendering.password,
        show_progress=sys.stderr.isatty(),
        **rows.settings(),
    )
    output.write(reembed_data(report), reembed_text(report))
    return EXIT_SKIPPED if report.without_picture or report.skipped else EXIT_OK
