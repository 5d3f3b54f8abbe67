"""Read the structure of a page in a worker, and make it blocks of the page's words."""

from __future__ import annotations

from dataclasses import replace

from mmrag.blocks import Block
from mmrag.documents.page_reading import OpenDocument, PageReader
from mmrag.documents.pool import WorkerDiedError, WorkerPool
from mmrag.documents.structure.assembly import assemble, paragraph_numbers
from mmrag.documents.structure.page_kinds import known_kinds
from mmrag.documents.structure.regions import from_plain
from mmrag.errors import MissingExtraError, PageError
from mmrag.types import Page

EXACT_SOURCES = ("layer",)
"""Values of `Page.text_source` whose words are those of the file."""


def read_blocks(pages: PageReader, pool: WorkerPool, handle: OpenDocument, page: Page) -> Page:
    """Return the page with its blocks, and with a note where its structure is known less well.

    Raises:
        PageError: its structure cannot be read, or reading it takes too long.
        MissingExtraError: a library is not installed.
    """
    if not page.words and page.text_source == "unread":
        return replace(page, blocks=())
    name = f"{page.source.name}, page {page.number + 1}"
    kinds = known_kinds(page)
    has_watermark = "watermark" in kinds.values()
    words = [
        (word.text, word.box, word.tail, word.confidence)
        for position, word in enumerate(page.words)
        if kinds.get(position) != "watermark"
    ]
    # a text across the others hides them from the models: they are given the page without it
    is_exact = page.text_source in EXACT_SOURCES and not has_watermark
    with pool.worker() as worker:
        try:
            reply = pages.ask(worker, handle, "structure", page.number, words=words, is_exact=is_exact)
        except WorkerDiedError as death:
            raise PageError(f"{name}: reading its structure {death}.", page.number) from death
    if not reply["ok"]:
        if reply["error"] == "extra":
            raise MissingExtraError(reply["message"], reply["extra"])
        raise PageError(f"{name}: {reply['message']}.", page.number)
    layout = from_plain(reply)
    paragraphs = paragraph_numbers(page.text, len(page.words))
    blocks = assemble(layout.regions, page.words, paragraphs, kinds)
    return replace(page, blocks=blocks, notes=(*page.notes, *layout.notes))


def read_blocks_or_note(pages: PageReader, pool: WorkerPool, handle: OpenDocument, page: Page) -> Page:
    """Return the page with its blocks, or with a note why it has none."""
    try:
        return read_blocks(pages, pool, handle, page)
    except (PageError, MissingExtraError) as error:
        return replace(page, notes=(*page.notes, f"its structure is not read: {error}"))


def blocks_of(pages: PageReader, pool: WorkerPool, handle: OpenDocument, page: Page) -> tuple[Block, ...]:
    """Return the blocks of a page; see `read_blocks`."""
    return read_blocks(pages, pool, handle, page).blocks or ()
