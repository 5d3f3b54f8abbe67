"""Names of the files that are not read, by their content, and what to do with them instead.

A name is worth a guess: it only words the reason why a file is left out.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from typing import IO

TO_PDF = "save it as PDF"
PRINT = "print it to a PDF"
AS_TEXT = "give it a name in .txt, .md or .csv, or add_texts takes its text"
UNPACK = "unpack it and add what is in it"
AS_PICTURE = "save it as JPEG or PNG"

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"{\\rtf", "a rich text document (RTF)", TO_PDF),
    (b"%!PS", "PostScript", "convert it with ps2pdf"),
    (b"AT&TFORM", "a DjVu document", "convert it with ddjvu -format=pdf"),
    (b"8BPS", "a Photoshop picture (PSD)", AS_PICTURE),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", AS_PICTURE),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
)

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_OFFICE_FOLDERS = (
    ("word/", "a Word document (DOCX)"),
    ("xl/", "an Excel workbook (XLSX)"),
    ("ppt/", "a PowerPoint presentation (PPTX)"),
    ("Index/Document.iwa", "an Apple Pages, Numbers or Keynote document"),
)
_OPEN_DOCUMENTS = (
    (b"opendocument.text", "an OpenDocument text (ODT)"),
    (b"opendocument.spreadsheet", "an OpenDocument spreadsheet (ODS)"),
    (b"opendocument.presentation", "an OpenDocument presentation (ODP)"),
)

_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("EncryptedPackage", "an Office document with a password", "remove the password and save it as PDF"),
    ("WordDocument", "an old Word document (DOC)", TO_PDF),
    ("Workbook", "an old Excel workbook (XLS)", TO_PDF),
    ("Book", "an old Excel workbook (XLS)", TO_PDF),
    ("PowerPoint Document", "an old PowerPoint presentation (PPT)", TO_PDF),
    ("__properties_version1.0", "an Outlook message (MSG)", PRINT),
)

_HTML = re.compile(rb"^(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_MAIL_HEADER = re.compile(
    rb"^(?:from|to|subject|date|received|return-path|message-id|mime-version|delivered-to):", re.I | re.M
)
_LEAST_HEADERS = 3


def describe(head: bytes, file: IO[bytes]) -> tuple[str, str]:
    """Describe a file that is not read.

    Args:
        head: its first bytes.
        file: all of it, seekable.

    Returns:
        What it is, like ``"a Word document (DOCX)"``, and what to do, ``""`` where nothing is known.
    """
    for magic, noun, advice in _MAGIC:
        if head.startswith(magic):
            return noun, advice
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIF_BRANDS:
            return "a HEIC photo (HEIF)", AS_PICTURE
        return "a video", ""
    if head.startswith(b"PK"):
        return _zip_kind(file)
    if head.startswith(_OLE_MAGIC):
        return _ole_kind(head, file)
    return _text_kind(head)


def _zip_kind(file: IO[bytes]) -> tuple[str, str]:
    """Describe a zip archive by the names in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            kind = b""
            if "mimetype" in names:
                with archive.open("mimetype") as member:
                    kind = member.read(100)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, KeyError, NotImplementedError, EOFError):
        return "a damaged zip archive", ""
    for part, noun in _OPEN_DOCUMENTS:
        if part in kind:
            return noun, TO_PDF
    for folder, noun in _OFFICE_FOLDERS:
        if any(name.startswith(folder) for name in names):
            return noun, TO_PDF
    return "a zip archive", UNPACK


def _ole_kind(head: bytes, file: IO[bytes]) -> tuple[str, str]:
    """Describe a compound file by the names in the first sector of its directory."""
    head = head.ljust(52, b"\0")  # a cut file has the names of none
    shift, first = struct.unpack_from("<H", head, 30)[0], struct.unpack_from("<I", head, 48)[0]
    size = 1 << min(shift, 12)
    try:
        file.seek((first + 1) * size)
        directory = file.read(8 * size)
    except (OSError, ValueError, OverflowError):
        directory = b""
    for name, noun, advice in _OLE_STREAMS:
        if name.encode("utf-16-le") + b"\x00\x00" in directory:
            return noun, advice
    return "an old Office document (OLE)", TO_PDF


def text_content(head: bytes) -> str:
    """Return ``"html"``, ``"eml"``, ``"xml"`` or ``"text"``, or ``""`` for a file that is no text.

    Args:
        head: its first bytes.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not _is_text(head):
        return ""
    if _HTML.match(start):
        return "html"
    if len(_MAIL_HEADER.findall(start.split(b"\n\n")[0].split(b"\r\n\r\n")[0])) >= _LEAST_HEADERS:
        return "eml"
    return "xml" if start.startswith(b"<?xml") else "text"


def _text_kind(head: bytes) -> tuple[str, str]:
    """Describe a file that may be text, and that is not read for want of a suffix that tells more."""
    nouns = {"": ("of unknown kind", ""), "xml": ("XML", "")}
    return nouns.get(text_content(head), ("plain text", AS_TEXT))


def _is_text(head: bytes) -> bool:
    """Check whether bytes are text: UTF-8 or UTF-16 with its mark, or one byte a letter, without controls."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    decoder = io.TextIOWrapper(io.BytesIO(head), encoding="utf-8", errors="replace")
    error_count = decoder.read().count("\N{REPLACEMENT CHARACTER}")
    return error_count <= 0.2 * len(head)  # Latin letters with accents are under a tenth of any prose
