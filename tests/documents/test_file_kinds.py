"""Files that are not read: the reason says what they are, whatever they are called, and what to do."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import pytest

from mmrag.documents import InputDocument, Skipped, discover


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
    "zip": (archive("a.pdf"), "a zip archive: unpack it and add what is in it"),
    "cut zip": (archive("word/document.xml")[:-30], "a damaged zip archive"),
    "doc": (compound("1Table", "WordDocument"), "an old Word document (DOC): save it as PDF"),
    "xls": (compound("Workbook"), "an old Excel workbook (XLS)"),
    "msg": (compound("__properties_version1.0"), "an Outlook message (MSG): print it to a PDF"),
    "locked": (compound("EncryptedPackage"), "an Office document with a password: remove the password"),
    "ole": (compound("x"), "an old Office document (OLE)"),
    "far ole": (compound(first=3)[:480] + b"\xff" * 32, "an old Office document (OLE)"),
    "rtf": (b"{\\rtf1\\ansi hello}", "a rich text document (RTF): save it as PDF"),
    "txt": (
        "Grüße aus Köln\n".encode(),
        "plain text: give it a name in .txt, .md or .csv, or add_texts takes its text",
    ),
    "latin": ("Grüße aus Köln, schön hier\n".encode("latin-1"), "plain text"),
    "utf-16": ("text".encode("utf-16"), "plain text"),
    "xml": (b"<?xml version='1.0'?><data/>", "XML"),
    "noise": (bytes([7, 200, 0, 3] * 30), "of unknown kind"),
    "ps": (b"%!PS-Adobe-3.0", "PostScript: convert it with ps2pdf"),
}


READ = {
    "docx": archive("[Content_Types].xml", "word/document.xml"),
    "xlsx": archive("xl/workbook.xml", "xl/vbaProject.bin"),
    "pptx": archive("ppt/presentation.xml"),
    "odt": archive("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
    "ods": archive("content.xml", mimetype="application/vnd.oasis.opendocument.spreadsheet-template"),
    "odp": archive("content.xml", mimetype="application/vnd.oasis.opendocument.presentation"),
    "html": b"\n<!-- saved -->\n<!DOCTYPE html><html><body>",
    "eml": b"Received: by x\r\nFrom: a@b\r\nTo: c@d\r\nSubject: hi\r\n\r\nFrom: no header",
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("name", ["scan.pdf", "notes.txt", "noname"])
def test_files_to_convert_are_known_by_their_content(kind, name):
    (document,) = discover((name, READ[kind]))
    assert isinstance(document, InputDocument)
    assert document.source.kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.TXT", "txt"),
        ("a.log", "txt"),
        ("a.markdown", "md"),
        ("a.csv", "csv"),
        ("a.tab", "tsv"),
        ("a.htm", "html"),
    ],
)
def test_a_text_is_of_the_kind_that_its_suffix_says(name, kind):
    (document,) = discover((name, b"words, and words\n"))
    assert document.source.kind == kind
    (skipped,) = discover((name, bytes([7, 200, 0, 3] * 30)))  # a suffix alone makes no text
    assert skipped.reason.startswith(
        f"its name ends in .{name.lower().split('.')[1]}, but its content is of unk"
    )


@pytest.mark.parametrize("kind", CASES)
def test_the_reason_says_what_it_is_and_what_to_do(kind):
    data, reason = CASES[kind]
    (skipped,) = discover(("file.bin", data))
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith(reason)
    assert skipped.reason.endswith("; PDF, XPS, EPUB, SVG, office, text and picture files are read")


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
