"""Attached files: named, read as documents of their own when asked for, only text and bytes."""

from __future__ import annotations

import pymupdf
import pytest
from made_documents import find, make_pdf

from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, Skipped
from mmrag.documents.pdf.attachments import DEEPEST, attached_note, plain_names
from mmrag.index import MemoryIndex
from mmrag.pipeline import DocumentQA
from mmrag.types import Page

HOW = "read with attachments=True or --attachments"
SETTINGS = ReaderSettings(ocr="off", workers=1, page_seconds=120)
READING = ReaderSettings(ocr="off", workers=1, page_seconds=120, attachments=True)


def portfolio(**files: bytes) -> bytes:
    document = pymupdf.open(stream=make_pdf("open this portfolio in a newer reader"))
    for name, data in files.items():
        document.embfile_add(name, data, filename=name.replace("_", "."))
    return document.tobytes()


def with_pinned_file(data: bytes, name: str) -> bytes:
    document = pymupdf.open(stream=make_pdf("first", "second"))
    document[1].add_file_annot((50, 50), data, name)
    return document.tobytes()


@pytest.fixture(scope="module")
def one_reader():
    with DocumentReader(SETTINGS) as reader:
        yield reader


def test_attached_files_are_named_on_the_page_that_carries_them(one_reader):
    (page,) = one_reader.pages(find(portfolio(a_pdf=make_pdf("minutes"), b_bin=b"1,2")))
    assert page.text == "open this portfolio in a newer reader", "the cover is a page"
    assert page.notes == (
        "2 files are attached: a.pdf, b.bin (are read with attachments=True or --attachments)",
    )
    first, second = one_reader.pages(find(with_pinned_file(b"x", "prices.csv")))
    assert first.notes == ()
    assert second.notes == (
        "1 file is attached: prices.csv (is read with attachments=True or --attachments)",
    )


def test_attached_files_are_documents(one_reader):
    data = portfolio(a_pdf=make_pdf("minutes of June"), b_bin=b"1,2")
    document, skipped = one_reader.attachments(find(data, "box.pdf"))
    assert isinstance(document, InputDocument)
    assert (document.source.name, document.name) == ("box.pdf/a.pdf", "box.pdf/a.pdf")
    (page,) = one_reader.pages(document)
    assert (page.text, page.source.path) == ("minutes of June", None)
    assert isinstance(skipped, Skipped) and skipped.name == "box.pdf/b.bin"
    (pinned,) = one_reader.attachments(find(with_pinned_file(make_pdf("pinned"), "p.pdf"), "c.pdf"))
    assert next(iter(one_reader.pages(pinned))).text == "pinned"
    assert list(one_reader.attachments(find(make_pdf("no files")))) == []


def test_files_in_attached_files_are_read_to_a_depth(one_reader):
    data = make_pdf("innermost")
    for _ in range(DEEPEST + 2):
        data = portfolio(inner_pdf=data)
    names = [item.name for item in one_reader.attachments(find(data, "o.pdf"))]
    assert names == ["o.pdf" + "/inner.pdf" * depth for depth in range(1, DEEPEST + 1)]


def test_all_files_together_have_a_limit(one_reader, monkeypatch):
    monkeypatch.setattr("mmrag.documents.reader.MOST_BYTES", 5_000)
    files = {f"f{number}_bin": bytes([number]) * 2_000 for number in range(4)}
    reasons = [item.reason for item in one_reader.attachments(find(portfolio(**files)))]
    assert [("bytes together" in reason) for reason in reasons] == [False, False, True, True]


@pytest.mark.parametrize(
    ("names", "plain"),
    [
        (["../../etc/passwd", "C:\\a\\b.pdf", "/root.pdf"], ("passwd", "b.pdf", "root.pdf")),
        (["a.pdf", "a.pdf", "x/a.pdf"], ("a.pdf", "a (2).pdf", "a (3).pdf")),
        (["", "..", "\x1b[31mred\n.pdf"], ("attachment 1", "attachment 2", "[31mred.pdf")),
        (["é" * 500 + ".pdf"], ("é" * 116 + ".pdf",)),
    ],
)
def test_names_are_only_text(names, plain):
    assert plain_names(names) == plain


def test_a_note_of_many_files_is_short():
    assert len(attached_note([f"file {number}" for number in range(400)])) < 400


@pytest.fixture
def qa(embedder):
    index = MemoryIndex.for_embedder(embedder)
    with DocumentQA(index, embedder=embedder, reader=READING) as qa:
        yield qa


def names(qa) -> list[str]:
    return sorted(name for entry in qa.status().documents for name in entry.names)


def test_an_index_holds_attached_files_as_long_as_what_carries_them(qa, tmp_path):
    path = tmp_path / "box.pdf"
    path.write_bytes(portfolio(a_pdf=make_pdf("grant of 850 pounds"), b_pdf=make_pdf("roof")))
    report = qa.add(path)
    assert report.added == [str(path), f"{path}/a.pdf", f"{path}/b.pdf"]
    (record,) = [record for record in qa.index.get(qa.index.ids()) if "850" in record.text]
    assert isinstance(record.page, Page)
    assert (record.page.source.name, record.metadata["file_name"]) == ("box.pdf/a.pdf", "a.pdf")
    assert qa.render(record.page).width > 100
    assert qa.add(path).added == []
    path.write_bytes(portfolio(c_pdf=make_pdf("other")))
    qa.add(path)
    assert names(qa) == [str(path), f"{path}/c.pdf"]
    qa.remove(str(path))
    assert qa.index.count() == 0 and names(qa) == []


def test_a_known_file_is_opened_again_for_its_attachments_only(qa, embedder, tmp_path):
    path = tmp_path / "box.pdf"
    path.write_bytes(portfolio(a_pdf=make_pdf("grant"), b_bin=b"1,2"))
    plain = DocumentQA(qa.index, embedder=embedder, reader=SETTINGS)
    report = plain.add(path)
    plain.reader.close()  # not the index, which both have
    assert (report.added, report.skipped) == ([str(path)], [])
    assert any("attached: a.pdf, b.bin" in note for note in report.notes)
    report = qa.add(path)
    assert (report.unchanged, report.added) == ([str(path)], [f"{path}/a.pdf"])
    assert [skipped.name for skipped in report.skipped] == [f"{path}/b.bin"]
