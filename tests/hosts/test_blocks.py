"""Laws of blocks for hosts: where each is, and under which headings."""

from __future__ import annotations

import json

from mmrag.blocks import Block, Cell, Table
from mmrag.hosts.blocks import BlockItems, structure_settings
from mmrag.types import Page, Source

BOX = (0.1, 0.2, 0.3, 0.4)


def page_of(*blocks, number=0, digest="ab", section=()):
    source = Source(digest * 32, "pdf", "a.pdf", "/files/a.pdf")
    return Page(
        source.page_id(number), source.document_id, number, "iv", "all of it", (), (595.0, 842.0), source,
        section=section, blocks=blocks if blocks != (None,) else None,
    )  # fmt: skip


def sections(items):
    return [(item.text, item.metadata["section"]) for item in items]


def test_headings_are_followed_from_page_to_page_and_not_to_another_document():
    items = BlockItems()
    first = page_of(
        Block("text", "before"),
        Block("title", "Report", level=1),
        Block("heading", "Costs", level=2),
        Block("text", "much"),
        section=("Outline",),
    )
    second = page_of(Block("text", "more"), Block("heading", "Crew", level=2), Block("text", "six"), number=1)
    assert sections(items.of_page(first)) == [
        ("before", "Outline"), ("Report", ""), ("Costs", "Report"), ("much", "Report > Costs"),
    ]  # fmt: skip
    assert sections(items.of_page(second)) == [
        ("more", "Report > Costs"), ("Crew", "Report"), ("six", "Report > Crew"),
    ]  # fmt: skip
    assert sections(items.of_page(page_of(Block("text", "other"), digest="cd"))) == [("other", "")]


def test_a_table_is_markdown_and_what_is_no_text_is_left_out():
    table = Table(2, 2, tuple(Cell(r, c, f"{r}{c}") for r in range(2) for c in range(2)), header_rows=1)
    page = page_of(
        Block("header", "Report"),
        Block("picture", ""),
        Block("table", "00\t01\n10\t11", (BOX,), table=table),
        Block("heading", "Costs", (BOX,), level=3),
        Block("footer", "iv"),
    )
    block, heading = BlockItems().of_page(page, "/pictures/a.png")
    assert block.text == "| 00 | 01 |\n| --- | --- |\n| 10 | 11 |"
    assert (block.id, heading.id) == (f"{page.id}-b2", f"{page.id}-b3")
    assert block.metadata["kind"] == "table" and json.loads(block.metadata["bbox"]) == [list(BOX)]
    assert (block.metadata["page_label"], block.metadata["image_path"]) == ("iv", "/pictures/a.png")
    assert heading.metadata["level"] == 3 and "level" not in block.metadata


def test_a_page_without_structure_is_one_block():
    (item,) = BlockItems().of_page(page_of(None))
    assert (item.text, item.metadata["kind"]) == ("all of it", "page")


def test_settings_are_kept():
    assert structure_settings(None).structure == "full"
    assert structure_settings(structure_settings(None)).structure == "full"
