"""Files that are not read: the reason says what they are, whatever they are called, and what to do."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import pytest

from mmrag.documents import Skipped, discover


def archive(*names: str, mimetype: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        if mimetype:
            zipped.writestr("mimetype", mimetype)
        for name in names:
            zipped.writestr(name, "x")
    return buffer.getvalue()


def compound(*streams: str, first: int = 3) -> bytes:
    """An OLE file whose directory, in sector `first`, has these names."""
    head = bytearray(512)
    head[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<H", head, 30, 9)
    struct.pack_into("<I", head, 48, first)
    entries = b"".join(name.encode("utf-16-le").ljust(128, b"\0") for name in ("Root Entry", *streams))
    return bytes(head) + b"\0" * (512 * first) + entries.ljust(1024, b"\0")


CASES = {
    "heic": (b"\0\0\0\x28ftypheic\0\0\0\0mif1heic", "a HEIC photo (HEIF): save it as JPEG or PNG"),
    "heif": (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIC photo"),
    "mp4": (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
    "docx": (archive("[Content_Types].xml", "word/document.xml"), "a Word document (DOCX): save it as PDF"),
    "xlsx": (archive("xl/workbook.xml"), "an Excel workbook (XLSX): save it as PDF"),
    "pptx": (archive("ppt/presentation.xml"), "a PowerPoint presentation (PPTX): save it as PDF"),
    "odt": (
        archive("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
        "an OpenDocument text (ODT): save it as PDF",
    ),
    "zip": (archive("a.pdf"), "a zip archive: unpack it and add what is in it"),
    "cut zip": (archive("word/document.xml")[:-30], "a damaged zip archive"),
    "doc": (compound("1Table", "WordDocument"), "an old Word document (DOC): save it as PDF"),
    "xls": (compound("Workbook"), "an old Excel workbook (XLS)"),
    "msg": (compound("__properties_version1.0"), "an Outlook message (MSG): print it to a PDF"),
    "locked": (compound("EncryptedPackage"), "an Office document with a password: remove the password"),
    "ole": (compound("x"), "an old Office document (OLE)"),
    "far ole": (compound(first=3)[:480] + b"\xff" * 32, "an old Office document (OLE)"),
    "rtf": (b"{\\rtf1\\ansi hello}", "a rich text document (RTF): save it as PDF"),
    "html": (b"\n<!-- saved -->\n<!DOCTYPE html><html><body>", "a web page (HTML): print it to a PDF from a"),
    "xhtml": (b"<?xml version='1.0'?>\n<html xmlns='x'>", "a web page (HTML)"),
    "eml": (
        b"Received: by x\r\nFrom: a@b\r\nTo: c@d\r\nSubject: hi\r\n\r\nFrom: no header",
        "an e-mail (EML): print it to a PDF from a mail program",
    ),
    "txt": ("Grüße aus Köln\n".encode(), "plain text: add_texts takes its text, or print it to a PDF"),
    "latin": ("Grüße aus Köln, schön hier\n".encode("latin-1"), "plain text"),
    "utf-16": ("text".encode("utf-16"), "plain text"),
    "xml": (b"<?xml version='1.0'?><data/>", "XML"),
    "noise": (bytes([7, 200, 0, 3] * 30), "of unknown kind"),
    "ps": (b"%!PS-Adobe-3.0", "PostScript: convert it with ps2pdf"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_reason_says_what_it_is_and_what_to_do(kind):
    data, reason = CASES[kind]
    (skipped,) = discover(("file.bin", data))
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith(reason)
    assert skipped.reason.endswith("; PDF, XPS, EPUB, SVG and picture files are read")


@pytest.mark.parametrize("kind", CASES)
def test_a_wrong_suffix_is_named(kind):
    data, reason = CASES[kind]
    (skipped,) = discover(("scan.PDF", data))
    assert skipped.reason.startswith(f"its name ends in .pdf, but its content is {reason}")


def test_any_bytes_have_a_reason():
    rng = random.Random(3)
    for _ in range(500):
        data = rng.choice(list(CASES.values()))[0]
        cut = bytearray(data[: rng.randint(1, len(data))])
        for _ in range(rng.randint(0, 8)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        for item in discover(("x.bin", bytes(cut))):
            assert not isinstance(item, Skipped) or item.reason
