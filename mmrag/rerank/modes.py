"""Registry of the modes by name; each module is imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmrag.rerank.protocol import Mode, Settings

MODES = {
    "pointwise": ("mmrag.rerank.pointwise", "PointwiseMode"),
    "listwise": ("mmrag.rerank.listwise", "ListwiseMode"),
    "identifiers": ("mmrag.rerank.identifiers", "IdentifiersMode"),
    "likelihood": ("mmrag.rerank.likelihood", "LikelihoodMode"),
    "served": ("mmrag.rerank.served", "ServedMode"),
    "ecrr": ("mmrag.rerank.ecrr", "EcrrMode"),
    "qar": ("mmrag.rerank.ecrr", "QarMode"),
}
"""Name of a mode to the module and class that implement it."""


def load_mode(name: str, settings: Settings) -> Mode:
    """Import and build the mode called `name`.

    Raises:
        ValueError: no such mode, or settings that it cannot use.
    """
    if name not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {name!r}.")
    module, attribute = MODES[name]
    mode: Mode = getattr(import_module(module), attribute)(settings)
    return mode
