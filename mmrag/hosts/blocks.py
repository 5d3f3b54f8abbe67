"""Blocks of pages for hosts' loaders and readers: a document or node for each, with where it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mmrag.blocks import Block
from mmrag.documents import ReaderSettings
from mmrag.documents.markdown import table_markdown
from mmrag.hosts.metadata import boxes_json, file_page_metadata
from mmrag.types import Page, Scalar

SECTION_SEPARATOR = " > "


@dataclass(frozen=True, slots=True)
class BlockItem:
    """A block as hosts store it.

    Attributes:
        id: the page's id and the block's position on it.
        text: its words; of a table, Markdown.
        metadata: flat: that of the page, and ``kind``, ``bbox`` (JSON), ``section`` (headings over it) and,
            of a heading, ``level``.
    """

    id: str
    text: str
    metadata: dict[str, Scalar]


def structure_settings(settings: ReaderSettings | None) -> ReaderSettings:
    """Return settings of a reader whose pages have blocks."""
    return replace(settings or ReaderSettings(), structure="full")


@dataclass
class BlockItems:
    """Blocks of the pages of documents, in reading order; headings are followed from page to page."""

    _document_id: str = ""
    _headings: dict[int, str] = field(default_factory=dict)

    def of_page(self, page: Page, image_path: str | None = None) -> Iterator[BlockItem]:
        """Yield the blocks of a page; running heads and feet and pictures without words are left out.

        Args:
            page: with its blocks; one whose structure could not be read is one block of kind ``"page"``.
            image_path: of the page's picture.
        """
        if page.document_id != self._document_id:
            self._document_id, self._headings = page.document_id, {}
        shared = file_page_metadata(page, image_path=image_path)
        if page.blocks is None:
            yield BlockItem(page.id, page.text, {**shared, "kind": "page"})
            return
        for position, block in enumerate(page.blocks):
            if block.is_running or not block.text:
                continue
            section = self._section(page, block)
            yield BlockItem(
                f"{page.id}-b{position}",
                block.text if block.table is None else table_markdown(block.table),
                {**shared, **_block_metadata(block), "section": SECTION_SEPARATOR.join(section)},
            )

    def _section(self, page: Page, block: Block) -> tuple[str, ...]:
        """Return the headings over a block, outermost first; of the file's outline before the first."""
        if block.level:
            self._headings = {level: text for level, text in self._headings.items() if level < block.level}
            section = tuple(self._headings.values())
            self._headings[block.level] = block.text
            return section
        return tuple(self._headings.values()) or page.section


def _block_metadata(block: Block) -> dict[str, Scalar]:
    metadata: dict[str, Scalar] = {"kind": block.kind, "bbox": boxes_json(block.boxes)}
    return {**metadata, "level": block.level} if block.level else metadata
