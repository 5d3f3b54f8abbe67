"""A document with places marked: marks lie on the words as shown, however a page is turned or cut."""

from __future__ import annotations

import numpy as np
import pymupdf
import pytest
from PIL import Image, ImageDraw

from mmrag import Answer, Citation, DocumentQA, ReaderSettings
from mmrag.errors import DocumentError, SourceChangedError


@pytest.fixture
def open_qa(tmp_path, embedder):
    opened = []

    def make(**settings):
        reader = ReaderSettings(ocr="off", workers=1, **settings)
        qa = DocumentQA.open(
            tmp_path / f"index{len(opened)}", embedder=embedder, reader=reader, reranker=None
        )
        opened.append(qa)
        return qa

    yield make
    for qa in opened:
        qa.close()


def write_pdf(path, *, rotation=0, crop=None, password=None):
    document = pymupdf.open()
    for number in range(2):
        page = document.new_page(width=600, height=800)
        page.insert_text((150, 200), f"Pump {number} ran longest", fontsize=14)
        if crop is not None:
            page.set_cropbox(pymupdf.Rect(crop))
        page.set_rotation(rotation)
    options = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": password, "owner_pw": password}
    document.save(path, **(options if password else {}))
    document.close()
    return path


def page_of(qa, number=0):
    return next(record.page for record in qa.index.get(qa.index.ids()) if record.page.number == number)


def word_box(page, text):
    return next(word.box for word in page.words if word.text == text)


def yellow(image: Image.Image) -> np.ndarray:
    """Where a picture is the colour of a mark: ``(height, width)``."""
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(int), -1, 0)
    return (red > 200) & (green > 150) & (blue < 160)


def shares(pdf: bytes, number, box):
    """Share of yellow pixels inside a box, and in the rest of the page, as a reader shows it."""
    with pymupdf.open("pdf", pdf) as document:
        pixmap = document[number].get_pixmap(dpi=100)
    mask = yellow(Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples))
    height, width = mask.shape
    x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(box, (width, height) * 2, strict=True))
    inside = np.zeros_like(mask)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    near = np.zeros_like(mask)  # a highlight is round at its ends
    near[max(0, y0 - 9) : y1 + 10, max(0, x0 - 9) : x1 + 10] = True
    return mask[inside].mean(), mask[~near].mean()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (100, 150, 500, 600)], ids=["whole", "cut"])
def test_marks_lie_on_the_words_of_turned_and_cut_pages(open_qa, tmp_path, rotation, crop):
    qa = open_qa()
    qa.add(write_pdf(tmp_path / "a.pdf", rotation=rotation, crop=crop))
    page = page_of(qa, 1)
    box = word_box(page, "longest")
    [path] = qa.highlight([Citation(1, page.id, "longest", (box,), page)], tmp_path / "out.pdf")

    inside, outside = shares(path.read_bytes(), 1, box)
    assert inside > 0.5 and outside == 0
    assert shares(path.read_bytes(), 0, box)[0] == 0


def test_the_original_stays_beneath_and_the_quote_stands_in_the_note(open_qa, tmp_path):
    qa = open_qa()
    source = write_pdf(tmp_path / "a.pdf")
    before = source.read_bytes()
    qa.add(source)
    page = page_of(qa)
    box = word_box(page, "longest")
    citation = Citation(3, page.id, "Pump 0 ran longest", (box,), page, area=(0.2, 0.2, 0.8, 0.3))
    qa.highlight([citation], tmp_path / "out.pdf")

    assert source.read_bytes() == before
    with pymupdf.open(tmp_path / "out.pdf") as document:
        first = document[0]
        kinds = {mark.type[1]: mark.info["content"] for mark in first.annots()}
        assert set(kinds) == {"Highlight", "Polygon"} and set(kinds.values()) == {"[3] Pump 0 ran longest"}
        assert "Pump 0 ran longest" in first.get_text() and document.page_count == 2
    # a later reading of the same file sees no mark
    assert not yellow(qa.render(page, max_pixels=200_000)).any()


def test_a_scan_and_a_photograph_become_a_pdf(open_qa, tmp_path):
    picture = Image.new("RGB", (400, 600), "white")
    ImageDraw.Draw(picture).rectangle((100, 100, 180, 130), fill="black")
    picture.save(tmp_path / "scan.png")
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    turned.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    for name in ("scan.png", "photo.jpg"):
        qa = open_qa()
        qa.add(tmp_path / name)
        page = page_of(qa)
        box = (100 / 400, 100 / 600, 180 / 400, 130 / 600)
        [path] = qa.highlight(
            [Citation(1, page.id, "", ((0.5, 0.5, 0.7, 0.6), box), page)], tmp_path / "out.pdf"
        )
        with pymupdf.open(path) as document:
            width, height = document[0].rect.width, document[0].rect.height
            assert width / height == pytest.approx(400 / 600, rel=0.01)
        inside, _ = shares(path.read_bytes(), 0, (0.5, 0.5, 0.7, 0.6))
        assert inside > 0.5, name


def test_several_documents_stand_beside_each_other_in_the_order_cited(open_qa, tmp_path, make_pdf):
    qa = open_qa()
    qa.add(
        [
            make_pdf(tmp_path / "a.pdf", ["Alpha."]),
            ("b.pdf", make_pdf(tmp_path / "b.pdf", ["Beta."]).read_bytes()),
        ]
    )
    first, second = (record.page for record in qa.index.get(qa.index.ids()))
    citations = tuple(
        Citation(number, page.id, "", (page.words[0].box,), page)
        for number, page in enumerate((second, first), 1)
    )
    answer = Answer("", citations, qa.search("x"))
    paths = qa.highlight(answer, tmp_path / "out.pdf")

    assert [path.name for path in paths] == ["out.pdf", "out-2.pdf"]
    texts = []
    for path in paths:
        with pymupdf.open(path) as document:
            texts.append(document[0].get_text().strip())
    assert texts == ["Beta.", "Alpha."]


def test_an_encrypted_document_stays_encrypted(open_qa, tmp_path, monkeypatch):
    monkeypatch.setenv("MMRAG_PDF_PASSWORD", "open sesame")
    qa = open_qa()
    qa.add(write_pdf(tmp_path / "a.pdf", password="open sesame"))
    page = page_of(qa)
    [path] = qa.highlight(
        [Citation(1, page.id, "", (word_box(page, "longest"),), page)], tmp_path / "out.pdf"
    )
    with pymupdf.open(path) as document:
        assert document.needs_pass and document.authenticate("open sesame")
        first = document[0]
        assert len(list(first.annots())) == 1


def test_what_cannot_be_marked_is_told(open_qa, tmp_path):
    qa = open_qa()
    source = write_pdf(tmp_path / "a.pdf")
    qa.add(source)
    page = page_of(qa)
    with pytest.raises(ValueError, match="must cite a page"):
        qa.highlight([Citation(1, "note", "words")], tmp_path / "out.pdf")
    source.write_bytes(b"other")
    with pytest.raises(SourceChangedError):
        qa.highlight([Citation(1, page.id, "", ((0, 0, 1, 1),), page)], tmp_path / "out.pdf")
    assert not (tmp_path / "out.pdf").exists()

    write_pdf(source)
    other = open_qa(renderer="pdfium")
    other.add(source)
    page = page_of(other)
    with pytest.raises(DocumentError, match="renderer='pymupdf'"):
        other.highlight([Citation(1, page.id, "", ((0, 0, 1, 1),), page)], tmp_path / "out.pdf")
