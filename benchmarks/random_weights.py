"""Backbones of random weights in the true classes, of the published shapes and of smaller ones."""

from __future__ import annotations

from typing import Any

import torch

from mmrag.models.backbone import Backbone
from mmrag.models.registry import backbone_for
from mmrag.models.tiny import byte_tokenizer


def internvl_text(hidden: int, layers: int, heads: int, kv: int, inner: int) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
    }


def internvl_vision(hidden: int, layers: int, heads: int, inner: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "attention_bias": True,
        "image_size": [448, 448],
        "patch_size": [14, 14],
    }


def qwen_text(hidden: int, layers: int, heads: int, kv: int, inner: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
        "head_dim": 128,
        "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
    }


def qwen_vision(hidden: int, layers: int, heads: int, inner: int, out: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "depth": layers,
        "num_heads": heads,
        "intermediate_size": inner,
        "out_hidden_size": out,
        "deepstack_visual_indexes": [layers // 4, layers // 2, 3 * layers // 4],
    }


SHAPES = {
    ("internvl", "small"): (internvl_text(256, 2, 2, 1, 256), internvl_vision(64, 2, 2, 128)),
    ("qwen3_vl", "small"): (qwen_text(256, 3, 2, 1, 256), qwen_vision(64, 4, 2, 128, 256)),
    ("internvl", "mid"): (internvl_text(768, 6, 6, 2, 4096), internvl_vision(512, 4, 8, 2048)),
    ("internvl", "2b"): (internvl_text(1536, 28, 12, 2, 8960), internvl_vision(1024, 24, 16, 4096)),
    ("internvl", "8b"): (internvl_text(3584, 28, 28, 4, 18944), internvl_vision(1024, 24, 16, 4096)),
    ("qwen3_vl", "mid"): (qwen_text(768, 6, 6, 2, 4096), qwen_vision(512, 4, 8, 2048, 768)),
    ("qwen3_vl", "2b"): (qwen_text(2048, 28, 16, 8, 6144), qwen_vision(1024, 24, 16, 4096, 2048)),
    ("qwen3_vl", "8b"): (qwen_text(4096, 36, 32, 8, 12288), qwen_vision(1152, 27, 16, 4304, 4096)),
}


def random_backbone(family: str, shape: str, device: str, dtype: torch.dtype) -> Backbone:
    """A true class of true or middle size; only the vocabulary is small, and no head reads it."""
    from transformers import CONFIG_MAPPING

    tokenizer, adapter = byte_tokenizer(), backbone_for(family)
    text, vision = SHAPES[family, shape]
    mark = "<IMG_CONTEXT>" if family == "internvl" else "<|image_pad|>"
    config = CONFIG_MAPPING[family](
        text_config={**text, "vocab_size": len(tokenizer), "max_position_embeddings": 32768},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids(mark),
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = adapter.model_class(config)
    torch.set_default_dtype(torch.float32)
    if family == "internvl":
        processor = adapter.image_processor_class(size={"height": 448, "width": 448})
    else:
        bounds = {"shortest_edge": 65536, "longest_edge": 16777216}
        processor = adapter.image_processor_class(patch_size=16, size=bounds)
    return adapter(model, tokenizer, processor).to(device).eval()
