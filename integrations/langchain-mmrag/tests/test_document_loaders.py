from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from mmrag import read
from mmrag.errors import DocumentError, PasswordRequiredError
from PIL import Image

from langchain_mmrag import MMRagPDFLoader


def test_pages_are_documents_from_zero_with_printed_labels(report) -> None:
    pages = MMRagPDFLoader(report).load()
    assert [page.metadata["page"] for page in pages] == list(range(8))
    assert [page.metadata["page_label"] for page in pages][:3] == ["i", "ii", "1"]
    assert {page.metadata["total_pages"] for page in pages} == {8}
    assert pages[0].metadata["source"] == pages[0].metadata["file_path"] == str(report)
    assert pages[0].id == f"{pages[0].metadata['doc_id']}#p0"
    assert "Annual Report" in pages[0].page_content
    json.dumps(pages[0].metadata)


def test_loading_is_lazy(report) -> None:
    pages = MMRagPDFLoader(str(report)).lazy_load()
    assert next(pages).metadata["page"] == 0
    pages.close()


async def test_async_loading_is_the_same(report) -> None:
    loader = MMRagPDFLoader(report)
    assert [page async for page in loader.alazy_load()] == loader.load()


def test_pictures_are_written_where_asked(swatches, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (page,) = MMRagPDFLoader(swatches["red"], images_dir="pictures").load()
    assert Path(page.metadata["image_path"]).parent == tmp_path / "pictures"
    with Image.open(page.metadata["image_path"]) as picture:
        assert picture.getpixel((5, 5)) == (255, 0, 0)
    assert "image_path" not in MMRagPDFLoader(swatches["red"]).load()[0].metadata


def test_a_bad_file_alone_is_an_error_and_beside_others_a_warning(swatches, tmp_path, caplog) -> None:
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"no pdf at all")
    with pytest.raises(DocumentError, match=r"bad\.pdf"):
        MMRagPDFLoader(bad).load()
    with pytest.raises(DocumentError, match="no such file"):
        MMRagPDFLoader("/no/such.pdf").load()
    with caplog.at_level(logging.WARNING):
        pages = MMRagPDFLoader([bad, swatches["red"]]).load()
    assert len(pages) == 1 and "bad.pdf" in caplog.text


def test_passwords_open_and_are_not_shown(tmp_path) -> None:
    import pymupdf

    file = tmp_path / "secret.pdf"
    document = pymupdf.open()
    document.new_page().insert_text((72, 72), "The vault is behind the painting of the harbour.")
    document.save(file, encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="open-sesame", owner_pw="o")
    with pytest.raises(PasswordRequiredError):
        MMRagPDFLoader(file).load()
    loader = MMRagPDFLoader(file, password="open-sesame")
    assert "painting" in loader.load()[0].page_content
    assert "open-sesame" not in repr(loader)


def test_blocks_are_documents_with_kind_section_and_boxes(report) -> None:
    pages = MMRagPDFLoader(report).load()
    blocks = MMRagPDFLoader(report, blocks=True).load()
    assert len({block.id for block in blocks}) == len(blocks) > len(pages)
    assert {block.metadata["page"] for block in blocks} == set(range(8))
    for block in blocks:
        assert block.page_content and block.metadata["kind"] not in ("header", "footer")
        assert all(0 <= edge <= 1 for box in json.loads(block.metadata["bbox"]) for edge in box)
        json.dumps(block.metadata)
    assert MMRagPDFLoader(report, blocks=True).load() == blocks
    tables = [block for block in blocks if block.metadata["kind"] == "table"]
    assert all("| --- |" in table.page_content for table in tables)
    if any("plain rules" in note for page in read(report, pages=[3]).pages for note in page.notes):
        return  # an older PyMuPDF reads no headings and ruled tables alone; pages say so
    assert tables and any(block.metadata["section"] for block in blocks)


def test_files_without_printed_pages_have_labels_that_name_the_place(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("city;people\nOslo;709037\n")
    (tmp_path / "b.md").write_text("# Rain\n\nIt is wet.")
    (tmp_path / "c.html").write_text("<html><body><h1>Sun</h1><p>It is dry.</p></body></html>")
    pages = {
        page.metadata["file_name"]: page
        for page in MMRagPDFLoader(tmp_path, images_dir=tmp_path / "p").load()
    }
    assert [pages[name].metadata["page_label"] for name in sorted(pages)] == ["lines 1-2", "1", "1"]
    assert "709037" in pages["a.csv"].page_content and "wet" in pages["b.md"].page_content
    assert all(Path(page.metadata["image_path"]).is_file() for page in pages.values())
