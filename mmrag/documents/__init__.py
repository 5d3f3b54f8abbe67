"""Documents: files, bytes and pictures in, a stream of `Page` out.

`discover` finds what can be read and names what cannot; `DocumentReader` reads pages in worker
processes with limits of time, memory and pixels. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrag.documents.conversion.base import Conversion, ConvertedPage, Converter
    from mmrag.documents.inputs import InputDocument, Skipped, discover
    from mmrag.documents.page_reading import DocumentInfo
    from mmrag.documents.reader import DocumentReader
    from mmrag.documents.renderer import PageText, Renderer
    from mmrag.documents.settings import ReaderSettings

__all__ = [
    "Conversion",
    "ConvertedPage",
    "Converter",
    "DocumentInfo",
    "DocumentReader",
    "InputDocument",
    "PageText",
    "ReaderSettings",
    "Renderer",
    "Skipped",
    "discover",
]

_HOMES = {
    "Conversion": "conversion.base",
    "ConvertedPage": "conversion.base",
    "Converter": "conversion.base",
    "DocumentInfo": "page_reading",
    "DocumentReader": "reader",
    "InputDocument": "inputs",
    "PageText": "renderer",
    "ReaderSettings": "settings",
    "Renderer": "renderer",
    "Skipped": "inputs",
    "discover": "inputs",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: any public noun)
    """Import a public noun on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
