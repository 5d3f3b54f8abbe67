"""Which adapter reads which checkpoint. Importing this imports none of them."""

from __future__ import annotations

from importlib import import_module

from mmrag.models.backbone import Backbone

FAMILIES = {
    "qwen2_5_vl": ("mmrag.models.qwen2_5_vl", "Qwen2_5VLBackbone"),
    "qwen3_vl": ("mmrag.models.qwen3_vl", "Qwen3VLBackbone"),
    "internvl": ("mmrag.models.internvl3", "InternVL3Backbone"),
}
"""``model_type`` of a config.json: module and class of its adapter."""

OWN = {"mmrag_mini": ("mmrag.models.mini", "MiniBackbone")}
"""The same for the model that ships with this package; its adapter reads text alone."""

HINTS = {"internvl_chat": "This is InternVL in its own format; take the checkpoint's twin that ends in -hf."}


def backbone_for(model_type: str) -> type[Backbone]:
    """The adapter of a family.

    Raises:
        ValueError: no adapter knows this ``model_type``.
    """
    families = FAMILIES | OWN
    if model_type not in families:
        known = ", ".join(repr(name) for name in sorted(families))
        hint = HINTS.get(model_type, "Take a checkpoint of one of these families.")
        raise ValueError(f"model_type must be one of {known}, got {model_type!r}. {hint}")
    module, name = families[model_type]
    backbone: type[Backbone] = getattr(import_module(module), name)
    return backbone
