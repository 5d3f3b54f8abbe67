"""The reader over real worker processes: pages in order, OCR where needed, passwords, sources."""

from __future__ import annotations

import io
import os
import threading

import pymupdf
import pytest
from made_documents import find, make_pdf, make_picture, make_scan

from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, Skipped, discover
from mmrag.errors import DocumentError, PageError, PasswordRequiredError, SourceChangedError, WorkerError


def encrypted(password="open"):
    document = pymupdf.open(stream=make_pdf("top secret"))
    return document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw=password, owner_pw="own")


def test_pages_come_in_order_with_text_words_label_and_size(reader):
    texts = [f"This is page {n}" for n in range(25)]
    data = make_pdf(*texts, labels=[{"startpage": 0, "prefix": "S-", "style": "D", "firstpagenum": 1}])
    found = find(data)
    pages = list(reader.pages(found))
    assert [page.text for page in pages] == texts
    assert [page.number for page in pages] == list(range(25))
    page = pages[7]
    assert page.id == f"{found.source.sha256[:16]}#p7"
    assert (page.label, page.size, page.total_pages) == ("S-8", (400.0, 300.0), 25)
    assert (page.text_source, page.notes, page.image) == ("layer", (), None)
    assert page.text.split() == [word.text for word in page.words]
    assert all(
        0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in (word.box for word in page.words)
    )


def test_pages_without_labels_are_counted_from_one(reader):
    assert [page.label for page in reader.pages(find(make_pdf("a", "b")))] == ["1", "2"]


def test_chosen_pages_and_pictures(reader):
    pages = list(reader.pages(find(make_pdf("a", "b", "c")), numbers=[2, 0], image_pixels=5_000))
    assert [page.text for page in pages] == ["c", "a"]
    assert all(4_000 < page.image.width * page.image.height <= 5_000 for page in pages)


def half_read():
    """A PDF of four pages: text, a scan, text beside a picture of text, nothing."""
    document = pymupdf.open(stream=make_pdf("A line of text", "", "Above a picture", ""))
    picture = io.BytesIO()
    make_picture("THE CHART SAYS").save(picture, "png")
    document[1].insert_image((20, 20, 380, 140), stream=picture.getvalue())
    document[2].insert_image((20, 120, 380, 240), stream=picture.getvalue())
    return find(document.tobytes())


def test_only_pages_of_which_something_is_unread_are_drawn():
    # One worker: MuPDF before 2 draws a picture a little differently where it has decoded it already.
    with DocumentReader(ReaderSettings(ocr="off", page_seconds=120, workers=1)) as reader:
        pages = list(reader.pages(half_read(), image_pixels=5_000, images="unread"))
        drawn = list(reader.pages(half_read(), image_pixels=5_000))
    assert [page.image is not None for page in pages] == [False, True, True, True]
    assert [page.image.tobytes() for page in pages[1:]] == [page.image.tobytes() for page in drawn[1:]]
    assert [page.text for page in pages] == [page.text for page in drawn]


def test_what_ocr_has_read_is_not_drawn(ocr_reader):
    pages = list(ocr_reader.pages(half_read(), image_pixels=5_000, images="unread"))
    assert [page.text_source for page in pages] == ["layer", "ocr", "both", "none"]
    assert [page.image is not None for page in pages] == [False, False, False, True]


def test_pictures_are_wanted_in_one_of_two_ways(reader):
    with pytest.raises(ValueError, match="images must be 'all' or 'unread', got 'some'"):
        next(iter(reader.pages(find(make_pdf("a")), image_pixels=5_000, images="some")))


def test_a_page_that_does_not_exist_is_named(reader):
    (skipped,) = reader.pages(find(make_pdf("a")), numbers=[5])
    assert skipped == Skipped("document.pdf", "there is no such page; the file has 1", 5, skipped.document_id)


def test_info(reader):
    document = pymupdf.open(stream=make_pdf("a", "b"))
    document.set_metadata({"title": "Annual report"})
    info = reader.info(find(document.tobytes()))
    assert (info.total_pages, info.title) == (2, "Annual report")


def test_looking_at_the_first_page_of_a_long_document_does_not_read_the_rest(reader):
    pages = reader.pages(find(make_pdf(*(["text"] * 300))))
    assert next(pages).number == 0
    pages.close()


def test_threads_may_share_a_reader(reader):
    documents = [find(make_pdf(*(f"document {d} page {n}" for n in range(6))), f"{d}.pdf") for d in range(4)]
    read: dict[int, list[str]] = {}

    def run(index):
        read[index] = [page.text for page in reader.pages(documents[index])]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == {d: [f"document {d} page {n}" for n in range(6)] for d in range(4)}


# ---- pictures again from the source ----


def test_render_reads_the_source_again(reader, tmp_path):
    (tmp_path / "a.pdf").write_bytes(make_pdf("first"))
    (found,) = discover(tmp_path / "a.pdf")
    (page,) = reader.pages(found)
    picture = reader.render(page, max_pixels=10_000)
    assert picture.width * picture.height <= 10_000
    os.utime(tmp_path / "a.pdf", (1, 1))
    assert reader.render(page, max_pixels=10_000).size == picture.size, "a touched file is the same file"


def test_a_changed_or_missing_source_is_an_error_at_that_page(reader, tmp_path):
    (tmp_path / "a.pdf").write_bytes(make_pdf("first", "second"))
    (found,) = discover(tmp_path)
    page = list(reader.pages(found))[1]
    (tmp_path / "a.pdf").write_bytes(make_pdf("other", "pages"))
    with pytest.raises(SourceChangedError, match=r"a\.pdf, page 2: the file at .* has changed"):
        reader.render(page)
    with pytest.raises(SourceChangedError, match="has changed"):
        list(reader.pages(found))
    (tmp_path / "a.pdf").unlink()
    with pytest.raises(
        SourceChangedError, match=r"a\.pdf, page 2: .* cannot be read any more \(No such file"
    ):
        reader.render(page)


def test_a_file_that_changes_while_it_is_read_is_noticed(reader, tmp_path):
    (tmp_path / "a.pdf").write_bytes(make_pdf(*"abcdefghij"))
    (found,) = discover(tmp_path)
    pages = reader.pages(found)
    next(pages)
    (tmp_path / "a.pdf").write_bytes(make_pdf("other"))
    with pytest.raises(SourceChangedError, match="has changed"):
        list(pages)


def test_bytes_are_given_again_for_a_picture(reader):
    found = find(make_pdf("bytes"))
    (page,) = reader.pages(found)
    assert reader.render(page, data=found.data).mode == "RGB"
    with pytest.raises(SourceChangedError, match="given as bytes"):
        reader.render(page)


def test_render_names_the_page_that_fails(reader):
    found = find(make_pdf("a"))
    (page,) = reader.pages(found)
    missing = type(page)(**{**{f: getattr(page, f) for f in page.__dataclass_fields__}, "number": 4})
    with pytest.raises(PageError, match=r"document\.pdf, page 5: there is no such page"):
        reader.render(missing, data=found.data)


# ---- passwords ----


def test_without_a_password_an_encrypted_file_says_so(reader):
    with pytest.raises(PasswordRequiredError, match=r"document\.pdf: encrypted.*MMRAG_PDF_PASSWORD"):
        list(reader.pages(find(encrypted())))


@pytest.mark.parametrize(
    "password", ["open", ["wrong", "open"], lambda name: {"document.pdf": "open"}.get(name)]
)
def test_password_by_argument_list_or_callback(password):
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=120), password=password) as reader:
        found = find(encrypted())
        (page,) = reader.pages(found)
        assert page.text == "top secret"
        assert reader.render(page, data=found.data, max_pixels=1_000).width > 10


def test_password_by_environment(monkeypatch):
    monkeypatch.setenv("MMRAG_PDF_PASSWORD", "open")
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=120)) as reader:
        (page,) = reader.pages(find(encrypted()))
        assert page.text == "top secret"


# ---- OCR ----


def test_a_scan_is_read_by_ocr_and_its_words_stand_on_their_ink(ocr_reader):
    found = find(make_scan("Invoice total 4711"))
    (page,) = ocr_reader.pages(found)
    assert page.text.lower().split() == ["invoice", "total", "4711"]
    assert page.text_source == "ocr"
    assert page.notes == ("no text layer, OCR used",)
    picture = ocr_reader.render(page, data=found.data, max_pixels=600_000).convert("L")
    for word in page.words:
        x0, y0, x1, y1 = word.box
        width, height = picture.size
        box = (x0 * width, y0 * height, x1 * width, y1 * height)
        assert picture.crop(tuple(map(round, box))).getextrema()[0] < 100, word
    lefts = [word.box[0] for word in page.words]
    assert lefts == sorted(lefts)
    assert page.words[0].box[2] < page.words[1].box[0] + 0.02


def test_a_page_number_over_a_scan_is_no_text_layer(ocr_reader):
    (page,) = ocr_reader.pages(find(make_scan("Minutes of the meeting", footer="17")))
    assert "meeting" in page.text.lower()
    assert page.notes == ("nearly no text over a picture, OCR used",)


def test_a_blank_page_is_not_given_to_ocr(ocr_reader):
    (page,) = ocr_reader.pages(find(make_pdf("")))
    assert (page.text, page.text_source, page.words, page.notes) == ("", "none", (), ())


def test_a_photo_without_text_is_a_page_without_text(ocr_reader):
    from PIL import Image

    photo = Image.radial_gradient("L").convert("RGB")
    (found,) = discover(photo)
    (page,) = ocr_reader.pages(found)
    assert (page.text, page.text_source) == ("", "none")
    assert page.notes == ("no text layer; OCR found no text",)


def test_short_pages_with_real_text_are_not_given_to_ocr(ocr_reader):
    (page,) = ocr_reader.pages(find(make_pdf("A title and nothing else")))
    assert (page.text_source, page.notes) == ("layer", ())


def test_pil_images_are_documents(ocr_reader):
    (found,) = discover(make_picture("Total 99", size=(500, 200)))
    (page,) = ocr_reader.pages(found)
    assert "99" in page.text
    assert page.total_pages == 1


def test_force_reads_a_text_layer_by_ocr():
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    settings = ReaderSettings(ocr="force", workers=1, page_seconds=120, ocr_seconds=600)
    with DocumentReader(settings) as reader:
        (page,) = reader.pages(find(make_pdf("Printed words")))
    assert page.text_source == "ocr"
    assert page.text.lower() == "printed words"


def test_without_the_extra_a_scan_is_a_page_that_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("mmrag.documents.ocr.text_choice.ocr_is_installed", lambda: False)
    with DocumentReader(ReaderSettings(workers=1, page_seconds=120)) as reader:
        (page,) = reader.pages(find(make_scan("unread")))
    assert (page.text, page.text_source) == ("", "unread")
    assert page.notes == ("no usable text layer, and OCR is not installed: pip install 'mmrag[ocr]'",)


def test_ocr_that_takes_too_long_costs_the_text_not_the_page():
    pytest.importorskip("rapidocr", reason="the extra 'ocr' is not installed")
    settings = ReaderSettings(workers=1, page_seconds=60, ocr_seconds=0.05)
    with DocumentReader(settings) as reader:
        (page,) = reader.pages(find(make_scan("too late")))
    assert (page.text, page.text_source) == ("", "unread")
    assert "no text layer, and OCR took more than 0.05 s" in page.notes[0]


def test_both_renderers_read_the_same_words():
    pytest.importorskip("pypdfium2", reason="the extra 'pdfium' is not installed")
    data = make_pdf("One two three", "Four five six")
    texts = []
    for renderer in ("pymupdf", "pdfium"):
        with DocumentReader(
            ReaderSettings(renderer=renderer, ocr="off", workers=1, page_seconds=120)
        ) as reader:
            texts.append([page.text for page in reader.pages(find(data))])
    assert texts[0] == texts[1] == ["One two three", "Four five six"]


# ---- settings ----


def test_fingerprint_names_what_changes_the_text_and_nothing_else():
    base = ReaderSettings()
    assert (
        base.fingerprint()
        == ReaderSettings(workers=1, page_seconds=3, memory_mb=0, max_pixels=10**6).fingerprint()
    )
    others = [ReaderSettings(renderer="pdfium"), ReaderSettings(ocr="off"), ReaderSettings(ocr="force")]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 4
    assert (
        ReaderSettings(ocr="off", ocr_max_side=900).fingerprint() == ReaderSettings(ocr="off").fingerprint()
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"renderer": "mupdf"}, "renderer must be one of 'pymupdf', 'pdfium', got 'mupdf'"),
        ({"ocr": "yes"}, "ocr must be one of"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"page_seconds": -1}, "page_seconds must be at least"),
    ],
)
def test_settings_that_no_reader_can_keep_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ReaderSettings(**values)


def test_a_closed_reader_says_so():
    reader = DocumentReader(ReaderSettings(workers=1))
    reader.close()
    reader.close()
    with pytest.raises(WorkerError, match="The reader is closed"):
        reader.info(find(make_pdf("a")))


def test_found_is_what_pages_takes(reader):
    with pytest.raises(DocumentError, match=r"broken\.pdf: pdf"):
        reader.info(find(b"%PDF-1.4 nothing else", "broken.pdf"))
    assert isinstance(find(b"%PDF-1.4 nothing else"), InputDocument)
