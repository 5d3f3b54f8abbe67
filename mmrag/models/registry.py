"""Checkpoints of other people that come in through the same door, and how they are told apart.

Looks at files only and imports no torch; the class it names is imported when a checkpoint is of its kind.

The rule, first match:

1. ``mmrag_config.json`` is there: a checkpoint of ours, not foreign.
2. ``model_type`` of config.json is ``colpali``, ``colqwen2`` or ``colmodernvbert``.
3. ``model_type`` is ``qwen3_vl``, and the folder is laid out for sentence-transformers with a pooling of the
   last token (``modules.json`` and ``1_Pooling/config.json``), or ``architectures`` names
   ``Qwen3VLForEmbedding``, or the name says ``Qwen3-VL-Embedding`` (the repository's first revisions have
   nothing else that tells them from a chat model).
4. Anything else is not foreign.

A caller overrides it with ``family=``; ``family="mmrag"`` is "not foreign".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrag.models.backbone import Backbone


EMBEDDERS: Mapping[str, tuple[str, str]] = {
    "colpali": ("mmrag.models.colpali", "ColPaliEmbedder"),
    "colqwen2": ("mmrag.models.colqwen2", "ColQwen2Embedder"),
    "colmodernvbert": ("mmrag.models.colmodernvbert", "ColModernVBertEmbedder"),
    "qwen3_vl_embedding": ("mmrag.models.qwen3_vl_embedding", "Qwen3VLEmbedding"),
}
"""Family to module and class of its embedder."""

OURS = "mmrag"
"""The family of checkpoints of ours and of plain backbones."""


def find(
    folder: Path, config: Mapping[str, Any], *, name: str = "", family: str | None = None
) -> type | None:
    """The embedder class for a checkpoint; None where it is not foreign.

    Args:
        folder: of the checkpoint.
        config: its config.json.
        name: what the caller asked for; a hub name tells more than the folder of a cache.
        family: one of `EMBEDDERS`, or `OURS`, where the caller knows better.

    Raises:
        ValueError: an unknown family, or a folder with an adapter instead of a model.
    """
    chosen = family_of(folder, config, name) if family is None else family
    if chosen in (None, OURS):
        return None
    if chosen not in EMBEDDERS:
        raise ValueError(f"family must be one of {(*EMBEDDERS, OURS)}, got {chosen!r}.")
    module, attribute = EMBEDDERS[chosen]
    found: type = getattr(import_module(module), attribute)
    return found


def family_of(folder: Path, config: Mapping[str, Any], name: str = "") -> str | None:
    """The family's name by the rule above.

    Raises:
        ValueError: the folder holds an adapter instead of a model.
    """
    if (folder / "mmrag_config.json").is_file():
        return None
    if (folder / "adapter_config.json").is_file() and not any(folder.glob("model*.safetensors")):
        raise ValueError(
            f"a checkpoint must hold a whole model, got {folder} with a LoRA adapter alone. Take the "
            "repository's merged twin (its name often ends in -hf or -merged), or merge it with peft."
        )
    model_type = config.get("model_type")
    if model_type in EMBEDDERS:
        return str(model_type)
    if model_type != "qwen3_vl":
        return None
    named = any("qwen3-vl-embedding" in text.lower() for text in (name, folder.name))
    built = "Qwen3VLForEmbedding" in (config.get("architectures") or [])
    return "qwen3_vl_embedding" if named or built or pools_last_token(folder) else None


def pools_last_token(folder: Path) -> bool:
    """Whether the files of sentence-transformers say that a vector is the state of the last token."""
    modules, pooling = folder / "modules.json", folder / "1_Pooling" / "config.json"
    if not (modules.is_file() and pooling.is_file()):
        return False
    try:
        config = json.loads(pooling.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{pooling} must be JSON, got {error}. Download it again.") from error
    # one name since sentence-transformers 5.4, one flag a kind before
    return config.get("pooling_mode") == "lasttoken" or config.get("pooling_mode_lasttoken") is True


BACKBONES = {
    "qwen2_5_vl": ("mmrag.models.qwen2_5_vl", "Qwen2_5VLBackbone"),
    "qwen3_vl": ("mmrag.models.qwen3_vl", "Qwen3VLBackbone"),
    "internvl": ("mmrag.models.internvl3", "InternVL3Backbone"),
}
"""``model_type`` of a config.json: module and class of its adapter."""


OWN_BACKBONES = {"mmrag_mini": ("mmrag.models.mini", "MiniBackbone")}
"""The same for the model that ships with this package; its adapter reads text alone."""


HINTS = {"internvl_chat": "This is InternVL in its own format; take the checkpoint's twin that ends in -hf."}


def backbone_for(model_type: str) -> type[Backbone]:
    """The adapter of a family.

    Raises:
        ValueError: no adapter knows this ``model_type``.
    """
    families = BACKBONES | OWN_BACKBONES
    if model_type not in families:
        known = ", ".join(repr(name) for name in sorted(families))
        hint = HINTS.get(model_type, "Take a checkpoint of one of these families.")
        raise ValueError(f"model_type must be one of {known}, got {model_type!r}. {hint}")
    module, name = families[model_type]
    backbone: type[Backbone] = getattr(import_module(module), name)
    return backbone
