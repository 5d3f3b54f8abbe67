"""Every line of docs/formats.md, on files of twelve formats; and files that mean harm."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings
from mmrag.documents import Conversion, ConvertedPage, DocumentReader, InputDocument, Skipped, discover
from mmrag.documents.conversion import libreoffice
from mmrag.documents.conversion.choice import converter_name
from mmrag.errors import DocumentError
from mmrag.types import Citation, Page

from . import office_files

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
LIBRARIES = {"pptx": "pptx", "xlsx": "openpyxl"}
MODES = [
    pytest.param(
        "auto", marks=pytest.mark.skipif(libreoffice.find() is None, reason="LibreOffice is not here")
    ),
    "off",
]
# the word of a part, where it is not the format's own name before it
WORDS = {
    ("xlsx", "shown number"): "1,234.50|3,703.50",
    ("xlsx", "shown date"): "01.01.2024",
    ("xlsx", "formula without value"): r"\b2345\b",
    ("ods", "shown number"): "6.80 m",
}


def table(columns: int) -> list[list[str]]:
    """Rows of the table of docs/formats.md that has so many columns."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in DOCS.open(encoding="utf-8")
        if line[0] == "|"
    ]
    return [row for row in rows if len(row) == columns and row[0] in office_files.FORMATS]


@pytest.fixture(scope="module")
def readings():
    """Pages of a format, read once in each mode."""
    readers = {
        mode: DocumentReader(ReaderSettings(office=mode, ocr="off", workers=1)) for mode in ("auto", "off")
    }
    cache: dict[tuple[str, str], list[Page]] = {}

    def read(kind: str, mode: str) -> list[Page]:
        if kind in LIBRARIES:
            pytest.importorskip(LIBRARIES[kind], reason="draws the file; extra office")
        if (kind, mode) not in cache:
            (document,) = discover((f"file.{kind}", office_files.draw(kind)))
            cache[kind, mode] = list(readers[mode].pages(document))
        return cache[kind, mode]

    yield read
    for reader in readers.values():
        reader.close()


def test_the_tables_name_every_format():
    assert [row[0] for row in table(5)] == list(office_files.FORMATS)
    assert {row[0] for row in table(4)} == set(office_files.FORMATS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", table(4), ids=lambda row: "-".join(row[:2]))
def test_a_part_of_a_file_is_read_or_lost_as_the_table_says(row, mode, readings):
    kind, part, *answers = row
    pages = readings(kind, mode)
    if part == "layout":
        found = converter_name(kind, ReaderSettings(office=mode)) == "libreoffice" and kind != "xlsx"
    else:
        word = WORDS.get((kind, part)) or f"{kind}{part.replace(' ', '')}"
        found = re.search(word, "\n".join(page.text for page in pages), re.I) is not None
    assert found == (answers[mode == "off"] == "yes")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", table(5), ids=lambda row: row[0])
def test_converter_label_and_location_are_those_of_the_table(row, mode, readings):
    kind, with_office, without, label, location = row
    pages = readings(kind, mode)
    assert converter_name(kind, ReaderSettings(office=mode)) == (without if mode == "off" else with_office)
    page = next(page for page in pages if page.label == label)
    words = {"docx": "docxparagraph", "xlsx": "Item48", "odt": "odtparagraph", "ods": "6.80", "txt": "Pumpe"}
    words |= {"html": "Htmlcell", "md": "Mdcell", "csv": "Bergen", "tsv": "Tsvcell"}
    word = next(word for word in page.words if word.text == words.get(kind, word.text))
    boxes = (word.box,)
    if kind == "xlsx":  # the price beside it
        boxes = (page.words[page.words.index(word) + 1].box,)
    assert Citation(1, page.id, word.text, boxes, page).location == location


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", office_files.FORMATS)
def test_every_word_of_every_format_has_a_box_on_its_page(kind, mode, readings):
    for page in readings(kind, mode):
        assert page.words and " ".join(word.text for word in page.words) == " ".join(page.text.split())
        for word in page.words:
            x0, y0, x1, y1 = word.box
            assert 0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1


def test_what_was_lost_is_said_on_the_first_page(readings):
    for kind in ("docx", "pptx", "odt", "odp", "xlsx"):
        if kind in LIBRARIES and importlib.util.find_spec(LIBRARIES[kind]) is None:
            continue
        assert any("read without LibreOffice" in note for note in readings(kind, "off")[0].notes), kind
    assert any("inv.txt" in note for note in readings("eml", "off")[0].notes)
    assert any("Windows-1252" in note for note in readings("txt", "off")[0].notes)
    assert readings("ods", "off")[0].notes == ("1 hidden sheet is left out", "1 hidden row is left out")


def test_letters_that_no_font_has_are_read_as_they_are_written():
    line = "Русский 中文字 العربية हिन्दी ไทย 😀 ≤"
    with DocumentReader(ReaderSettings(workers=1)) as reader:
        for name in ("a.txt", "a.md", "a.csv", "a.html"):
            (document,) = discover((name, line.encode()))
            (page,) = reader.pages(document)
            assert page.text.split() == line.split(), name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_text_is_decoded_by_its_mark_or_as_utf_8_or_as_windows(encoding):
    with DocumentReader(ReaderSettings(workers=1)) as reader:
        (document,) = discover(("a.txt", "Grüße aus Köln\nzweite Zeile\n".encode(encoding)))
        (page,) = reader.pages(document)
    assert page.text.split("\n") == ["Grüße aus Köln", "zweite Zeile"]
    assert bool(page.notes) == (encoding == "cp1252")


def test_a_long_text_is_cut_into_pages_whose_labels_are_its_lines():
    lines = [f"line number {number}" for number in range(1, 151)]
    with DocumentReader(ReaderSettings(workers=1)) as reader:
        (document,) = discover(("a.log", "\n".join(lines).encode()))
        pages = list(reader.pages(document))
    assert [page.label for page in pages] == ["lines 1-60", "lines 61-120", "lines 121-150"]
    assert "\n".join(page.text for page in pages).split() == " ".join(lines).split()
    word = next(word for word in pages[1].words if word.text == "77")
    assert Citation(1, "", "", (word.box,), pages[1]).location == "line 77"


# ---- names that lie, passwords, harm ----


def test_a_name_that_lies_is_read_as_what_it_is_and_a_locked_file_is_named(tmp_path):
    (tmp_path / "report.pdf").write_bytes(office_files.odt())
    (tmp_path / "table.xlsx").write_bytes(b"no workbook at all")
    (tmp_path / "locked.docx").write_bytes(office_files.locked())
    locked, report, text = discover(tmp_path)
    assert isinstance(report, InputDocument) and report.source.kind == "odt"
    assert isinstance(text, Skipped) and text.reason.startswith(
        "its name ends in .xlsx, but its content is plain text"
    )
    assert isinstance(locked, Skipped) and "an Office document with a password" in locked.reason


def bomb() -> bytes:
    """An archive of a few kilobytes that says it holds a gigabyte."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<w>")
        for number in range(3):
            with archive.open(f"word/media/{number}.bin", "w", force_zip64=True) as member:
                for _ in range(256):
                    member.write(bytes(1 << 20))
    return buffer.getvalue()


ENTITIES = '<!DOCTYPE a [<!ENTITY x "y">]>'
HARM = {
    "entities": office_files.zipped({"word/document.xml": f"<?xml version='1.0'?>{ENTITIES}<a>&x;</a>"}),
    "entities after a long comment": office_files.zipped(
        {"word/document.xml": f"<?xml version='1.0'?><!--{'x' * 9000}-->{ENTITIES}<a>&x;</a>"}
    ),
    "entities in UTF-16": office_files.zipped(
        {"word/document.xml": f"<?xml version='1.0' encoding='utf-16'?>{ENTITIES}<a>&x;</a>".encode("utf-16")}
    ),
    "external entity": office_files.zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        }
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", HARM)
def test_xml_with_entities_is_refused_before_any_program_opens_it(name, mode):
    (document,) = discover(("a.docx", HARM[name]))
    with (
        DocumentReader(ReaderSettings(office=mode, workers=1)) as reader,
        pytest.raises(DocumentError, match="entities"),
    ):
        list(reader.pages(document))


def test_an_archive_that_unpacks_to_too_much_is_refused():
    (document,) = discover(("a.docx", bomb()))
    with (
        DocumentReader(ReaderSettings(workers=1)) as reader,
        pytest.raises(DocumentError, match="unpack to at most 512"),
    ):
        list(reader.pages(document))


@pytest.mark.parametrize("kind", office_files.FORMATS)
def test_a_cut_file_is_an_error_of_this_file_or_is_read(kind):
    if kind in LIBRARIES:
        pytest.importorskip(LIBRARIES[kind])
    data = office_files.draw(kind)
    with DocumentReader(ReaderSettings(office="off", ocr="off", workers=1)) as reader:
        for part in (0.3, 0.7, 0.95):
            for item in discover((f"a.{kind}", data[: int(len(data) * part)])):
                if isinstance(item, InputDocument):
                    with contextlib.suppress(DocumentError):
                        list(reader.pages(item))


def test_a_workbook_needs_libreoffice_or_the_extra_and_the_reason_says_so(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openpyxl" else find_spec(name)
    )
    (document,) = discover(("a.xlsx", office_files.zipped({"xl/workbook.xml": "<a/>"})))
    with (
        DocumentReader(ReaderSettings(office="off", workers=1)) as reader,
        pytest.raises(DocumentError, match=r"a\.xlsx: an Excel workbook .* pip install 'mmrag\[office\]'\."),
    ):
        reader.info(document)


def test_a_conversion_that_takes_too_long_costs_this_file_alone():
    rows = b"city;people\n" + b"Oslo;709037\n" * 400_000
    with DocumentReader(ReaderSettings(workers=1, office_seconds=1.0)) as reader:
        (slow,) = discover(("slow.csv", rows))
        with pytest.raises(DocumentError, match=r"slow\.csv: converting it took more than"):
            reader.info(slow)
        (quick,) = discover(("quick.csv", b"city;people\nOslo;709037\n"))
        assert len(list(reader.pages(quick))) == 1


# ---- in an index ----


class Fixed:
    """A converter that makes the same PDF of every file."""

    kinds = ("docx",)

    def __init__(self, pdf: bytes, name: str = "fixed") -> None:
        self.pdf, self.name = pdf, name

    def convert(self, data: bytes, *, kind: str, name: str) -> Conversion:
        return Conversion(self.pdf, (ConvertedPage(label="cover"),), title="Fixed title")


def test_a_converter_of_the_caller_comes_first_and_another_reads_the_file_again(embedder, make_pdf, tmp_path):
    pdf = make_pdf(tmp_path / "a.pdf", ["The cover of the report.", "Page two."]).read_bytes()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.docx").write_bytes(office_files.docx())
    index = MemoryIndex.for_embedder(embedder)

    def add(*converters):
        settings = ReaderSettings(office="off", ocr="off", workers=1, converters=converters)
        qa = DocumentQA(index, embedder=embedder, reader=settings, reranker=None)
        report = qa.add(tmp_path / "docs")
        qa.reader.close()
        (entry,) = qa.status().documents
        return report, entry

    report, entry = add(Fixed(pdf))
    assert (len(report.added), entry.converter, entry.total_pages) == (1, "fixed", 2)
    page = index.get(index.ids())[0].page
    assert (page.label, page.text, page.source.kind) == ("cover", "The cover of the report.", "docx")
    assert len(add(Fixed(pdf))[0].unchanged) == 1
    report, entry = add()
    assert (len(report.reread), entry.converter, index.count()) == (1, "mupdf", 1)


@pytest.mark.parametrize("mode", MODES)
def test_pictures_crops_and_marks_need_neither_the_file_nor_libreoffice(
    mode, embedder, tmp_path, monkeypatch
):
    for kind in ("docx", "csv", "eml", "odt"):
        (tmp_path / f"file.{kind}").write_bytes(office_files.draw(kind))
    path = tmp_path / "index"
    settings = ReaderSettings(office=mode, ocr="off", workers=1)
    with DocumentQA.open(path, embedder=embedder, reader=settings, reranker=None) as qa:
        assert len(qa.add([tmp_path / f"file.{kind}" for kind in ("docx", "csv", "eml", "odt")]).added) == 4
    monkeypatch.setenv(libreoffice.VARIABLE, "")
    for file in tmp_path.glob("file.*"):
        file.unlink()
    with DocumentQA.open(path, embedder=embedder, read_only=True, reranker=None) as qa:
        answer = qa.ask("What does the docxparagraph of Lisbon cost?")
        citation = answer.citations[0]
        assert "48,210" in answer.text and citation.picture is not None
        assert citation.location == 'heading "Docxheading"'
        assert qa.crop(citation).width > 10
        marked_files = qa.highlight(answer, tmp_path / "marked.pdf")
        assert marked_files[0].read_bytes().startswith(b"%PDF-")
        for record in qa.index.get(qa.index.ids()):
            assert qa.render(record.page).width > 100
            assert qa.blocks(record.page)


def test_what_libreoffice_printed_stays_where_libreoffice_has_gone(embedder, tmp_path, monkeypatch):
    (tmp_path / "a.odt").write_bytes(office_files.odt())
    index = MemoryIndex.for_embedder(embedder)
    with DocumentQA(index, embedder=embedder, reader=ReaderSettings(office="off", workers=1)) as qa:
        qa.add(tmp_path)
        (entry,) = qa.status().documents
        qa.index.put_document(
            type(entry)(**{**_fields(entry), "settings": entry.settings.replace("mmrag", "libreoffice")})
        )
        monkeypatch.setenv(libreoffice.VARIABLE, "")
        auto = DocumentQA(index, embedder=embedder, reader=ReaderSettings(workers=1))
        assert len(auto.add(tmp_path).unchanged) == 1
        assert len(qa.add(tmp_path).reread) == 1  # who says "off" means it
        auto.reader.close()


def _fields(entry) -> dict:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}
