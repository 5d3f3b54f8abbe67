"""The families of models that tests run through, those that see and those that read text alone."""

from mmrag.models.registry import BACKBONES

TEXT_ONLY = ["qwen2", "qwen3"]

MULTIMODAL = [family for family in BACKBONES if family not in ("mmrag_mini", *TEXT_ONLY)]
