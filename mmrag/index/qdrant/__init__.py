"""An index in Qdrant; see `mmrag.index.qdrant.index.QdrantIndex`.

Names are imported when first used, so that nothing of Qdrant is loaded before an index of it is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmrag.index.qdrant.index import QdrantIndex, open_address
    from mmrag.index.qdrant.settings import CollectionSettings, ServerSettings

__all__ = ["CollectionSettings", "QdrantIndex", "ServerSettings", "open_address"]

_HOMES = {
    "CollectionSettings": "settings",
    "QdrantIndex": "index",
    "ServerSettings": "settings",
    "open_address": "index",
}


def __getattr__(name: str) -> object:
    """Import a public name's module when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
