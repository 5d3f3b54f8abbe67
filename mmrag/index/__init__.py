"""Where records live and how they are found: see `mmrag.index.base` for the protocol.

Names are imported when first used, so that the package starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmrag.index.addresses import open_index, shown_address
    from mmrag.index.base import DocumentEntry, Index, Manifest, ServerIndex
    from mmrag.index.check_report import CheckReport, Fault
    from mmrag.index.chroma import ChromaIndex
    from mmrag.index.filters import Filter
    from mmrag.index.memory import MemoryIndex
    from mmrag.index.postgres import PostgresIndex
    from mmrag.index.qdrant import QdrantIndex

__all__ = [
    "CheckReport",
    "ChromaIndex",
    "DocumentEntry",
    "Fault",
    "Filter",
    "Index",
    "Manifest",
    "MemoryIndex",
    "PostgresIndex",
    "QdrantIndex",
    "ServerIndex",
    "open_index",
    "shown_address",
]

_HOMES = {
    "CheckReport": "check_report",
    "ChromaIndex": "chroma",
    "DocumentEntry": "base",
    "Fault": "check_report",
    "Filter": "filters",
    "Index": "base",
    "Manifest": "base",
    "MemoryIndex": "memory",
    "PostgresIndex": "postgres",
    "QdrantIndex": "qdrant",
    "ServerIndex": "base",
    "open_index": "addresses",
    "shown_address": "addresses",
}


def __getattr__(name: str) -> object:
    """Import a public name's module when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
