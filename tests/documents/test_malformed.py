"""Malformed and odd files of our own making: each ends as pages or as one clear line."""

from __future__ import annotations

import io
import os
import zlib

import pymupdf
import pytest
from made_documents import make_pdf
from PIL import Image

from mmrag.documents import DocumentReader, InputDocument, ReaderSettings, Skipped, discover
from mmrag.errors import MMRagError


def picture(format, image=None, **options) -> bytes:
    buffer = io.BytesIO()
    (image or Image.new("RGB", (60, 40), "navy")).save(buffer, format, **options)
    return buffer.getvalue()


def broken_contents() -> bytes:
    document = pymupdf.open(stream=make_pdf("before", "middle", "after"))
    xref = document[1].get_contents()[0]
    document.update_stream(xref, b"BT /Nope 12 Tf (unclosed Tj ET Q Q Q [ << 1 0 cm \xff\xfe")
    return document.tobytes()


def zero_pages() -> bytes:
    data = make_pdf("x")
    return (
        data.replace(b"/Count 1", b"/Count 0").replace(b"/Kids[", b"/Nope[").replace(b"/Kids [", b"/Nope [")
    )


def huge_page() -> bytes:
    document = pymupdf.open(stream=make_pdf("on a huge page"))
    document.xref_set_key(document[0].xref, "MediaBox", "[0 0 1000000 1000000]")
    return document.tobytes()


def endless_page_tree() -> bytes:
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[2 0 R]/Count 1>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    )


def claims_many_pages() -> bytes:
    return make_pdf("only one").replace(b"/Count 1", b"/Count 999999999")


def bomb_png() -> bytes:
    return picture("PNG", Image.new("1", (30_000, 30_000)))


def deflate_bomb_pdf() -> bytes:
    """A content stream of 300 MB in 300 kB."""
    document = pymupdf.open(stream=make_pdf("bomb"))
    packed = zlib.compress(b" " * 300_000_000, 9)
    xref = document[0].get_contents()[0]
    document.update_stream(xref, packed, compress=False)
    document.xref_set_key(xref, "Filter", "/FlateDecode")
    return document.tobytes()


def many_frames() -> bytes:
    frames = [Image.new("RGB", (20, 20), (n % 256, n // 256 * 90, 50)) for n in range(300)]
    return picture("GIF", frames[0], save_all=True, append_images=frames[1:])


def nested_svg() -> bytes:
    return b"<svg xmlns='http://www.w3.org/2000/svg'>" + b"<g>" * 20_000 + b"</g>" * 20_000 + b"</svg>"


CASES = {
    "truncated.pdf": make_pdf(*["text"] * 5)[:700],
    "zero-pages.pdf": zero_pages(),
    "broken-contents.pdf": broken_contents(),
    "huge-page.pdf": huge_page(),
    "endless-tree.pdf": endless_page_tree(),
    "claims-many.pdf": claims_many_pages(),
    "deflate-bomb.pdf": deflate_bomb_pdf(),
    "header-only.pdf": b"%PDF-1.7\n",
    "bomb.png": bomb_png(),
    "truncated.png": picture("PNG", Image.effect_noise((200, 200), 90))[:900],
    "truncated.jpg": picture("JPEG", Image.effect_noise((200, 200), 90))[:900],
    "truncated.tif": picture("TIFF")[:60],
    "many-frames.gif": many_frames(),
    "nested.svg": nested_svg(),
    "broken.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><text>open",
    "not-an.epub": b"PK\x03\x04 nothing like a zip",
    "text.pdf": b"just text",
    "empty.pdf": b"",
    "noise.pdf": b"%PDF-1.5\n" + os.urandom(50_000),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """File name to the pages and lines that one reader made of it, all in one folder."""
    folder = tmp_path_factory.mktemp("malformed")
    for name, data in CASES.items():
        (folder / name).write_bytes(data)
    results: dict[str, list[object]] = {}
    settings = ReaderSettings(ocr="off", workers=2, page_seconds=60)
    with DocumentReader(settings) as reader:
        for item in discover(folder):
            if isinstance(item, Skipped):
                results[item.name.rsplit("/", 1)[1]] = [item]
                continue
            assert isinstance(item, InputDocument)
            lines: list[object] = results.setdefault(item.source.name, [])
            try:
                for number, page in enumerate(reader.pages(item, image_pixels=200_000)):
                    lines.append(page)
                    if number >= 40:
                        break
            except MMRagError as error:
                lines.append(error)
    return results


def line(outcome) -> str:
    return outcome.reason if isinstance(outcome, Skipped) else str(outcome)


def test_every_file_ends_as_pages_or_as_one_clear_line(outcomes):
    assert outcomes.keys() == CASES.keys()
    for name, lines in outcomes.items():
        assert lines, f"{name} vanished"
        for outcome in lines:
            if isinstance(outcome, (Skipped, MMRagError)):
                assert line(outcome) and "\n" not in line(outcome), name
                assert "Traceback" not in line(outcome) and "0x" not in line(outcome), name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zero-pages.pdf", "pdf has no pages"),
        ("endless-tree.pdf", "cycle in page tree"),
        ("header-only.pdf", "pdf"),
        ("bomb.png", "at most 90000000 pixels (max_pixels), got 30000 x 30000"),
        ("truncated.png", "image cannot be decoded"),
        ("truncated.jpg", "image cannot be decoded"),
        ("not-an.epub", "its name ends in .epub, but its content is a damaged zip archive"),
        ("text.pdf", "its name ends in .pdf, but its content is plain text"),
        ("empty.pdf", "empty file"),
    ],
)
def test_the_line_says_what_is_wrong(outcomes, name, words):
    (outcome,) = outcomes[name]
    assert words in line(outcome)


def test_a_broken_content_stream_costs_that_page_only(outcomes):
    texts = [getattr(page, "text", None) for page in outcomes["broken-contents.pdf"]]
    assert (texts[0], texts[2]) == ("before", "after")


def test_a_huge_page_is_rendered_small(outcomes):
    (page,) = outcomes["huge-page.pdf"]
    assert page.size == (1_000_000.0, 1_000_000.0)
    assert page.image.width * page.image.height <= 200_000


def test_many_frames_are_one_page(outcomes):
    (page,) = outcomes["many-frames.gif"]
    assert page.notes == ("300 frames in this GIF file; the first is the page",)


def test_a_picture_that_cannot_be_decoded_is_no_page_even_without_ocr():
    (found,) = discover(("cut.jpg", CASES["truncated.jpg"]))
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=60)) as reader:
        (outcome,) = reader.pages(found)
    assert isinstance(outcome, Skipped)
    assert outcome.reason.startswith("image cannot be decoded")


def test_a_hundred_failed_pages_in_a_row_are_enough():
    """A damaged file may claim a million pages; each would cost a line and a moment."""
    (found,) = discover(make_pdf("only one"))
    with DocumentReader(ReaderSettings(ocr="off", workers=1, page_seconds=60)) as reader:
        outcomes = list(reader.pages(found, numbers=range(500)))
    assert outcomes[0].text == "only one"
    assert len(outcomes) == 102
    assert outcomes[-1].reason == "100 pages in a row cannot be read; the other 399 of the file are left out"
    assert outcomes[-1].page == 101
