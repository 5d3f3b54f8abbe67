"""Laws of structure without PyMuPDF: tables by their lines, everything else as paragraphs, and said so."""

from __future__ import annotations

import sys

import pymupdf
import pytest

from mmrag.documents import DocumentReader, ReaderSettings, discover
from mmrag.documents.structure.plain import NOTE, PlainStructure

from .structure_pages import draw_paragraph, draw_table, new_page, saved

ROWS = [["Lake", "Depth", "Area"], ["Alder", "12", "380"], ["Birk", "30", "1,204"]]


def drawn_page(rotation=0):
    document = pymupdf.open()
    page = new_page(document)
    _, bottom = draw_paragraph(page, 80)
    draw_table(page, bottom + 20, ROWS)
    page.set_rotation(rotation)
    return saved(document)


def read(data):
    pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    (document,) = discover(("drawn.pdf", data))
    with DocumentReader(ReaderSettings(renderer="pdfium", ocr="off", workers=1)) as reader:
        (page,) = reader.pages(document)
        return reader.structure(page, data=data)


@pytest.mark.parametrize("rotation", [0, 90])
def test_ruled_tables_are_tables_and_the_rest_is_text(rotation):
    pytest.importorskip("pdfplumber", reason="the extra 'pdfium' is not installed")
    page = read(drawn_page(rotation))
    assert sorted(position for block in page.blocks for position in block.words) == list(
        range(len(page.words))
    )
    assert {block.kind for block in page.blocks} == {"text", "table"}
    (table,) = [block.table for block in page.blocks if block.table]
    assert table.grid() == ROWS and (table.header_rows, table.header_columns) == (1, 1)
    assert page.notes[-1] == NOTE


def test_no_word_is_lost_without_pdfplumber():
    page = read(drawn_page())
    assert sorted(position for block in page.blocks for position in block.words) == list(
        range(len(page.words))
    )
    assert any(note.startswith(NOTE) for note in page.notes)


def test_without_pdfplumber_the_page_says_what_to_install(monkeypatch):
    class Opened:
        source = b"%PDF"

    from mmrag.types import Word

    monkeypatch.setitem(sys.modules, "pdfplumber", None)
    layout = PlainStructure().read(Opened(), 0, [Word("a", (0.1, 0.1, 0.2, 0.2))], is_exact=True)
    assert layout.regions == () and "pip install 'mmrag[pdfium]'" in layout.notes[0]
