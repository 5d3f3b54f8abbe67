"""``mmrag status`` and ``mmrag remove``: the files in an index."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import EmbedderOptions, IndexOptions, OutputOptions, open_to_read
from mmrag.cli.data import status_data
from mmrag.cli.texts import print_status, say, say_json


def status(output: OutputOptions, index: IndexOptions, embedder: EmbedderOptions) -> int:
    """List the files in an index."""
    with open_to_read(index, embedder) as qa:
        result = qa.status()
    if output.json:
        say_json(status_data(result))
    else:
        print_status(result)
    return EXIT_OK


def remove(
    targets: Annotated[
        list[str], Argument(metavar="NAME", help="Path, file name, document id or record id.")
    ],
    output: OutputOptions,
    index: IndexOptions,
    embedder: EmbedderOptions,
) -> int:
    """Remove files or records from an index."""
    from mmrag.pipeline import DocumentQA

    index.check_index()
    with DocumentQA.open(**index.arguments(), embedder=embedder.load_embedder()) as qa:
        counts = {target: qa.remove(target) for target in targets}
    if output.json:
        say_json({"removed": counts})
    else:
        for target, count in counts.items():
            say(f"{target}: {count} pages or records removed")
    return EXIT_OK
