"""``mmrag mcp``: an index as tools for agents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from mmrag.cli.allocator import bound_heaps
from mmrag.cli.api import HttpOptions
from mmrag.cli.command import EXIT_OK
from mmrag.cli.common import AnswererOptions, EmbedderOptions, IndexOptions, ReaderOptions, RerankOptions

_tool_option = partial(Option, rich_help_panel="Tools")


@dataclass(frozen=True)
class ToolOptions:
    """How agents reach the tools, and what these may do."""

    http: Annotated[
        bool, _tool_option("--http", help="Listen on HOST:PORT/mcp instead of standard input and output.")
    ] = False
    allow_add: Annotated[
        Path | None, _tool_option("--allow-add", metavar="DIR", help="Folder whose files agents may add.")
    ] = None


def mcp(
    index: IndexOptions,
    embedder: EmbedderOptions,
    reader: ReaderOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    tools: ToolOptions,
    http: HttpOptions,
) -> int:
    """Offer search, ask, get_page and list_documents to agents until the client or a signal ends it."""
    bound_heaps()
    from mmrag.apps.tools import make_server
    from mmrag.pipeline import DocumentQA

    if tools.allow_add is None:
        index.check_index()
    with DocumentQA.open(
        **index.arguments(),
        embedder=embedder.load_embedder(),
        read_only=tools.allow_add is None,
        reader=reader.reader_settings(),
        password=reader.password,
        answerer=answerer.load_answerer(),
        **rerank.arguments(index.folder),
    ) as qa:
        server = make_server(qa, add_root=tools.allow_add)
        if tools.http:
            from mmrag.apps.tools_http import http_app
            from mmrag.cli.api import listen

            listen(http_app(server, http.access(), http.hosts()), http, "/mcp")
        else:
            server.run("stdio")
    return EXIT_OK
