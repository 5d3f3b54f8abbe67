"""``mmrag search``: pages for a question."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from mmrag.cli.command import EXIT_OK, check_question
from mmrag.cli.common import (
    ChannelOptions,
    EmbedderOptions,
    GroupOptions,
    IndexOptions,
    OutputOptions,
    RerankOptions,
    SearchOptions,
    open_to_read,
)
from mmrag.cli.data import ranking_data
from mmrag.cli.loading import load_ahead
from mmrag.cli.texts import print_ranking, say_json


def search(
    query: Annotated[str, Argument(metavar="QUESTION", help="In words.", show_default=False)],
    output: OutputOptions,
    index: IndexOptions,
    embedder: EmbedderOptions,
    options: SearchOptions,
    channels: ChannelOptions,
    group: GroupOptions,
    rerank: RerankOptions,
) -> int:
    """Rank pages for a question."""
    check_question(query)
    if rerank.mode == "local":
        load_ahead(embedder=embedder == EmbedderOptions())
    with open_to_read(index, embedder, **rerank.arguments(index.folder)) as qa:
        ranking = qa.search(query, channels=channels.names(), group_by=group.group_by, **options.arguments())
    if output.json:
        say_json(ranking_data(ranking))
    else:
        print_ranking(ranking)
    return EXIT_OK
