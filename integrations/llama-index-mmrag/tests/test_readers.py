"""`MMRagPDFReader` as LlamaIndex uses it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import fsspec
import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import MetadataMode
from PIL import Image

from llama_index.readers.mmrag import MMRagPDFReader
from mmrag.documents import DocumentReader
from mmrag.errors import DocumentError

KEYS = {
    "source",
    "file_path",
    "file_name",
    "doc_id",
    "page",
    "page_label",
    "total_pages",
    "text_source",
    "image_path",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> MMRagPDFReader:
    return MMRagPDFReader(image_dir=tmp_path_factory.mktemp("pictures"))


def test_it_is_a_reader_of_the_host():
    assert BasePydanticReader.__name__ in [base.__name__ for base in MMRagPDFReader.__mro__]
    assert MMRagPDFReader.class_name() == "MMRagPDFReader"


def test_one_document_a_page_with_text_picture_and_keys(reader, pdfs, qa):
    documents = reader.load_data(pdfs / "harbor.pdf")
    assert [d.metadata["page"] for d in documents] == [0, 1, 2]
    assert [d.metadata["page_label"] for d in documents] == ["1", "2", "3"]
    page = documents[1]
    assert "24 million" in page.text
    assert set(page.metadata) - {"language"} == KEYS
    assert page.id_ in qa.index.ids()  # mmrag's own page id
    assert Path(page.metadata["image_path"]) == page.image_resource.path
    assert Image.open(page.image_resource.path).size[1] > 1000


def test_models_see_file_and_label_and_embedders_the_words_alone(reader, pdfs):
    page = reader.load_data(pdfs / "energy.pdf")[0]
    assert page.get_content(metadata_mode=MetadataMode.EMBED) == page.text
    shown = page.get_content(metadata_mode=MetadataMode.LLM)
    assert "file_name: energy.pdf" in shown
    assert "page_label: 1" in shown
    assert "image_path" not in shown


def test_no_bytes_in_what_is_written_down(reader, pdfs):
    page = reader.load_data(pdfs / "energy.pdf")[0]
    assert page.image_resource.data is None
    again = type(page).from_dict(json.loads(json.dumps(page.to_dict())))
    assert again.image_resource.path == page.image_resource.path
    assert again.text == page.text


def test_a_page_without_text_says_so(make_pdf, tmp_path):
    path = make_pdf(tmp_path / "blank.pdf", [""])
    assert MMRagPDFReader(ocr="off", with_images=False).load_data(path)[0].text == "[page without text]"


def test_lazily_and_async(reader, pdfs):
    lazy = reader.lazy_load_data(pdfs / "harbor.pdf")
    assert next(lazy).metadata["page"] == 0
    lazy.close()


async def test_async_leaves_the_loop_free(reader, pdfs, stays_free, loop_gate, monkeypatch):
    read = DocumentReader.pages
    monkeypatch.setattr(DocumentReader, "pages", lambda *args, **how: loop_gate() or read(*args, **how))
    assert len(await stays_free(reader.aload_data(pdfs / "energy.pdf"))) == 2


def test_the_directory_reader_of_the_host_takes_it(reader, pdfs):
    documents = SimpleDirectoryReader(input_dir=str(pdfs), file_extractor={".pdf": reader}).load_data()
    assert len(documents) == 5
    assert {d.metadata["file_name"] for d in documents} == {"harbor.pdf", "energy.pdf"}
    assert all(d.image_resource for d in documents)
    assert "creation_date" in documents[0].metadata  # the host's own keys stay


def test_a_folder_a_list_and_a_file_system(reader, pdfs):
    assert len(reader.load_data(pdfs)) == 5
    assert len(reader.load_data([pdfs / "harbor.pdf", str(pdfs / "energy.pdf")])) == 5
    assert len(reader.load_data(file_path=pdfs / "energy.pdf")) == 2
    assert len(reader.load_data(pdfs / "energy.pdf", fs=fsspec.filesystem("file"))) == 2


def test_the_cache_of_the_host_is_where_pictures_go(pdfs, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_INDEX_CACHE_DIR", str(tmp_path))
    page = MMRagPDFReader().load_data(pdfs / "energy.pdf")[0]
    assert page.image_resource.path.parent == tmp_path / "mmrag"


def test_dict_and_pickle_without_the_password():
    reader = MMRagPDFReader(ocr="off", password="open sesame")
    assert "sesame" not in json.dumps(reader.to_dict()) + repr(reader)
    again = pickle.loads(pickle.dumps(reader))
    assert b"sesame" not in pickle.dumps(reader)
    assert again.to_dict() == reader.to_dict() == MMRagPDFReader.from_dict(reader.to_dict()).to_dict()


def test_an_encrypted_file_needs_its_password(pdfs, tmp_path):
    import pymupdf

    path = tmp_path / "locked.pdf"
    with pymupdf.open(pdfs / "energy.pdf") as document:
        document.save(path, encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="sesame", owner_pw="o")
    with pytest.raises(DocumentError, match="password"):
        MMRagPDFReader(with_images=False).load_data(path)
    assert len(MMRagPDFReader(with_images=False, password="sesame").load_data(path)) == 2


def test_bad_input_is_refused(reader, tmp_path):
    with pytest.raises(DocumentError, match=r"a file must be one that can be read, got .*gone.pdf"):
        reader.load_data(tmp_path / "gone.pdf")
    (tmp_path / "text.pdf").write_text("no pdf")
    with pytest.raises(DocumentError, match=r"text\.pdf"):
        reader.load_data(tmp_path / "text.pdf")
    with pytest.raises(ValueError, match="takes a file, a folder or a list of them, got none"):
        reader.load_data()
    with pytest.raises(ValueError, match="ocr must be one of"):
        MMRagPDFReader(ocr="perhaps")
    with pytest.raises(TypeError, match=r"MMRagPDFReader takes .*, got dpi"):
        MMRagPDFReader(dpi=100)


def test_blocks_are_documents_with_kind_section_and_boxes(pdfs):
    reader = MMRagPDFReader(with_images=False, blocks=True)
    documents = reader.load_data(pdfs / "harbor.pdf")
    assert len({document.id_ for document in documents}) == len(documents) >= 3
    assert {document.metadata["page"] for document in documents} == {0, 1, 2}
    for document in documents:
        assert set(document.metadata) - {"level", "language"} == KEYS - {"image_path"} | {
            "kind",
            "bbox",
            "section",
        }
        assert document.get_content(metadata_mode=MetadataMode.EMBED) == document.text != ""
    assert any("24 million" in document.text for document in documents)


def test_files_without_printed_pages_have_labels_that_name_the_place(reader, tmp_path):
    (tmp_path / "a.csv").write_text("city;people\nOslo;709037\n")
    (tmp_path / "b.md").write_text("# Rain\n\nIt is wet.")
    (tmp_path / "c.eml").write_bytes(
        b"From: a@b.org\nTo: c@d.org\nSubject: Invoice 7\nDate: Tue, 3 Sep 2024 10:00:00 +0000\n\nPay."
    )
    pages = {page.metadata["file_name"]: page for page in reader.load_data(tmp_path)}
    labels = [pages[name].metadata["page_label"] for name in ("a.csv", "b.md", "c.eml")]
    assert labels == ["lines 1-2", "1", "Invoice 7, 2024-09-03"]
    assert "709037" in pages["a.csv"].text and Path(pages["b.md"].metadata["image_path"]).is_file()
