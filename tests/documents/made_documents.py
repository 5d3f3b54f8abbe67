"""Small real documents, made by code."""

from __future__ import annotations

import io

import pymupdf
from PIL import Image, ImageDraw, ImageFont

from mmrag.documents import InputDocument, discover


def make_pdf(*texts: str, size: tuple[float, float] = (400, 300), labels: list[dict] | None = None) -> bytes:
    """A PDF with one page a text."""
    document = pymupdf.open()
    for text in texts:
        page = document.new_page(width=size[0], height=size[1])
        page.insert_text((40, 60), text, fontsize=14)
    if labels:
        document.set_page_labels(labels)
    return document.tobytes()


def make_picture(text: str, size: tuple[int, int] = (900, 300), font_size: int = 40) -> Image.Image:
    """Black text on white as pixels."""
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text((40, 60), text, fill="black", font=ImageFont.load_default(font_size))
    return picture


def make_scan(text: str, footer: str = "") -> bytes:
    """A PDF page that is one picture, with an optional line of real text."""
    buffer = io.BytesIO()
    make_picture(text).save(buffer, "PNG")
    document = pymupdf.open()
    page = document.new_page(width=900, height=320)
    page.insert_image(pymupdf.Rect(0, 0, 900, 300), stream=buffer.getvalue())
    if footer:
        page.insert_text((440, 312), footer, fontsize=10)
    return document.tobytes()


def find(data: bytes, name: str = "document.pdf") -> InputDocument:
    """Bytes as a found document."""
    (found,) = discover((name, data))
    assert isinstance(found, InputDocument), found
    return found


def raw_pdf(*objects: str | bytes) -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    out = b"%PDF-1.7\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        body = content.encode("latin-1") if isinstance(content, str) else content
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table)
    return out + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)


def stream(data: str | bytes, entries: str = "") -> bytes:
    """A stream object of a PDF."""
    body = data.encode("latin-1") if isinstance(data, str) else data
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (entries.encode(), len(body), body)
