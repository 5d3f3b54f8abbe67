"""The multimodal families that tests run through."""

from mmrag.models.registry import BACKBONES

MULTIMODAL = [family for family in BACKBONES if family != "mmrag_mini"]
