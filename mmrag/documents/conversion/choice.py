"""Which converter reads a file here and now."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING

from mmrag.documents.conversion import libreoffice
from mmrag.documents.conversion.base import CONVERSION_VERSION, CONVERTED_KINDS, Converter
from mmrag.errors import DocumentError

if TYPE_CHECKING:
    from mmrag.documents.settings import ReaderSettings

LIBREOFFICE = "libreoffice"
PACKAGE = "mmrag"
"""Name of the readers of this package, where they read a format alone."""

_LIBRARIES = {"pptx": ("python-pptx", "pptx"), "xlsx": ("openpyxl", "openpyxl")}
"""Library and module that read a kind where LibreOffice is not, of the extra ``office``."""

_NOUNS = {"pptx": "a PowerPoint presentation", "xlsx": "an Excel workbook"}


def own_converter(kind: str, settings: ReaderSettings) -> Converter | None:
    """Return the caller's converter of a kind; None without one."""
    return next((converter for converter in settings.converters if kind in converter.kinds), None)


def office_path(kind: str, settings: ReaderSettings) -> str | None:
    """Return the path of LibreOffice if it is to convert this kind and is installed."""
    if settings.office == "off" or kind not in libreoffice.FILTERS:
        return None
    return libreoffice.find()


def converter_name(kind: str, settings: ReaderSettings) -> str:
    """Return the name of the converter of a kind; ``""`` for a kind whose pages are read as they are.

    Raises:
        DocumentError: nothing that is installed converts it.
    """
    if kind not in CONVERTED_KINDS:
        return ""
    converter = own_converter(kind, settings)
    if converter is not None:
        return converter.name
    if office_path(kind, settings) is not None:
        return LIBREOFFICE
    if kind not in _LIBRARIES:
        return "mupdf" if kind == "docx" else PACKAGE
    library, module = _LIBRARIES[kind]
    if importlib.util.find_spec(module) is None:
        raise DocumentError(
            f"{_NOUNS[kind]} is read by LibreOffice or by {library}, and neither is installed. Install "
            "LibreOffice, or run: pip install 'mmrag[office]'"
        )
    return library


def fingerprint(kind: str, settings: ReaderSettings) -> str:
    """Return the fingerprint of reader settings, and for a converted kind the converter after a blank.

    Raises:
        DocumentError: see `converter_name`.
    """
    name = converter_name(kind, settings)
    return f"{settings.fingerprint()} {name}/{CONVERSION_VERSION}" if name else settings.fingerprint()


def fingerprints(kind: str, settings: ReaderSettings) -> set[str]:
    """Return the fingerprints of entries that need no reading again.

    What LibreOffice has printed stays where LibreOffice has gone: what is left would read less of it.
    """
    current_prints = set()
    with contextlib.suppress(DocumentError):  # nothing reads it anew; what has been read may stay
        current_prints.add(fingerprint(kind, settings))
    if kind in libreoffice.FILTERS and settings.office != "off" and own_converter(kind, settings) is None:
        current_prints.add(f"{settings.fingerprint()} {LIBREOFFICE}/{CONVERSION_VERSION}")
    return current_prints
