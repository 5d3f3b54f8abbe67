"""Which files are converted: office files by what is in the archive, texts by content and suffix."""

from __future__ import annotations

from collections.abc import Collection

_PARTS = (("word/document.xml", "docx"), ("ppt/presentation.xml", "pptx"), ("xl/workbook.xml", "xlsx"))
_OPEN_DOCUMENTS = (
    (b"opendocument.text", "odt"),
    (b"opendocument.spreadsheet", "ods"),
    (b"opendocument.presentation", "odp"),
)
TEXT_SUFFIXES = {
    ".txt": "txt",
    ".text": "txt",
    ".log": "txt",
    ".rst": "txt",
    ".md": "md",
    ".markdown": "md",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".eml": "eml",
}
"""Kinds of text files by suffix; HTML and e-mails are known by their content, too."""

SUFFIXES = frozenset({".docx", ".pptx", ".xlsx", ".odt", ".ods", ".odp", *TEXT_SUFFIXES})


def office_kind(names: Collection[str], mimetype: bytes) -> str | None:
    """Return the kind of an office file; None for another archive.

    Args:
        names: of the members of the archive.
        mimetype: what its member of this name says; empty without.
    """
    for part, kind in _OPEN_DOCUMENTS:
        if part in mimetype:
            return kind
    return next((kind for part, kind in _PARTS if part in names), None)


def text_kind(content_kind: str, suffix: str) -> str | None:
    """Return the kind of a text file; None where nothing says what kind of text it is.

    Args:
        content_kind: ``"html"``, ``"eml"`` or ``"text"``, by its content.
        suffix: of its name, in small letters, with the dot.
    """
    if content_kind in ("html", "eml"):
        return content_kind
    return TEXT_SUFFIXES.get(suffix) if content_kind == "text" else None
