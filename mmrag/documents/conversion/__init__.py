"""Conversion: files that are not pages become a PDF whose pages have names of their own.

A `Converter` takes a file and returns a `Conversion`: a PDF, and for each of its pages a label and anchors.
LibreOffice (`libreoffice`) prints word processing and presentations where it is installed; everything else is
read in a worker process, with the limits of one, and drawn here (`drawing`). docs/formats.md tells what each
format gives and loses.
"""

from mmrag.documents.conversion.base import (
    CONVERTED_KINDS,
    Conversion,
    ConvertedPage,
    Converter,
)

__all__ = ["CONVERTED_KINDS", "Conversion", "ConvertedPage", "Converter"]
