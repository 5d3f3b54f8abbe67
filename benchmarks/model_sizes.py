"""Parameters and weight memory of the published checkpoints, counted on models without memory.

    python benchmarks/model_sizes.py

Sizes are written down here from the published configurations; nothing is fetched. Where a count or a file's
size is published, the count here is compared with it: Qwen3-VL-Embedding-2B with its file (4 255 140 312
bytes in bfloat16), WeMM-Embedding-2B and the EVIE models to the parameter (`PUBLISHED`). The shape of
Qwen3.5-2B was not at hand: the one here gives WeMM-Embedding-2B's count.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import (
    CONFIG_MAPPING,
    ColModernVBertConfig,
    ColModernVBertForRetrieval,
    ColPaliConfig,
    ColPaliForRetrieval,
    ColQwen2Config,
    ColQwen2ForRetrieval,
    InternVLModel,
    Qwen2_5_VLModel,
    Qwen3_5Model,
    Qwen3VLModel,
)

QWEN3_ROPE = {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True}
QWEN2_ROPE = {"rope_type": "default", "mrope_section": [16, 24, 24]}


def qwen3_vl(hidden, layers, inner, heads, vision_hidden, depth, vision_inner, deep):
    text = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "rope_scaling": QWEN3_ROPE,
    }
    vision = {
        "hidden_size": vision_hidden,
        "depth": depth,
        "intermediate_size": vision_inner,
        "num_heads": 16,
        "patch_size": 16,
        "out_hidden_size": hidden,
        "deepstack_visual_indexes": deep,
    }
    return Qwen3VLModel(CONFIG_MAPPING["qwen3_vl"](text_config=text, vision_config=vision))


def qwen3_5(hidden, layers, inner, heads, keys, values, vocabulary, vision, dim=0):
    """A Qwen3.5, and the projection of a ColQwen3.5 to `dim` numbers; `vision` is hidden, depth, inner."""
    text = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "linear_num_value_heads": values,
        "vocab_size": vocabulary,
    }
    vision_hidden, depth, vision_inner = vision
    tower = {
        "hidden_size": vision_hidden,
        "depth": depth,
        "intermediate_size": vision_inner,
        "out_hidden_size": hidden,
    }
    model = Qwen3_5Model(CONFIG_MAPPING["qwen3_5"](text_config=text, vision_config=tower))
    if dim:
        model.custom_text_proj = torch.nn.Linear(hidden, dim)
    return model


SMALL, LARGE = (1024, 24, 4096), (1152, 27, 4304)
"""Vision encoders of Qwen3.5."""


def qwen2_5_vl_7b():
    text = {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "rope_scaling": QWEN2_ROPE,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584}
    return Qwen2_5_VLModel(CONFIG_MAPPING["qwen2_5_vl"](text_config=text, vision_config=vision))


def internvl3(hidden, layers, inner, heads, keys, vocabulary):
    text = {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": vocabulary,
    }
    return InternVLModel(CONFIG_MAPPING["internvl"](text_config=text))


def colpali():
    text = {
        "model_type": "gemma",
        "hidden_size": 2048,
        "num_hidden_layers": 18,
        "intermediate_size": 16384,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 257216,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "num_hidden_layers": 27,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 448,
    }
    vlm = {"model_type": "paligemma", "text_config": text, "vision_config": vision, "projection_dim": 2048}
    return ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm))


def colqwen2():
    text = {
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "rope_scaling": QWEN2_ROPE,
    }
    vision = {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "patch_size": 14}
    vlm = {"model_type": "qwen2_vl", "text_config": text, "vision_config": vision}
    return ColQwen2ForRetrieval(ColQwen2Config(vlm_config=vlm))


def colmodernvbert():
    text = {
        "model_type": "modernbert",
        "hidden_size": 768,
        "num_hidden_layers": 22,
        "intermediate_size": 1152,
        "num_attention_heads": 12,
        "vocab_size": 50408,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "patch_size": 16,
        "image_size": 512,
    }
    vlm = {"model_type": "modernvbert", "text_config": text, "vision_config": vision}
    return ColModernVBertForRetrieval(ColModernVBertConfig(vlm_config=vlm))


MODELS = {
    "Qwen3-VL-Embedding-2B": lambda: qwen3_vl(2048, 28, 6144, 16, 1024, 24, 4096, [5, 11, 17]),
    "Qwen3-VL-Embedding-8B": lambda: qwen3_vl(4096, 36, 12288, 32, 1152, 27, 4304, [8, 16, 24]),
    "WeMM-Embedding-2B": lambda: qwen3_5(2048, 24, 6144, 8, 2, 16, 248078, SMALL),
    "WeMM-Embedding-4B": lambda: qwen3_5(2560, 32, 9216, 16, 4, 32, 248078, SMALL),
    "WeMM-Embedding-9B": lambda: qwen3_5(4096, 32, 12288, 16, 4, 32, 248078, LARGE),
    "EVIE-4.5B": lambda: qwen3_5(2560, 32, 9216, 16, 4, 32, 248320, SMALL, 2048),
    "EVIE-8B": lambda: qwen3_5(4096, 32, 12288, 16, 4, 32, 248320, LARGE, 4096),
    "ColPali (PaliGemma-3B, 448)": colpali,
    "ColQwen2 (Qwen2-VL-2B)": colqwen2,
    "ColModernVBERT": colmodernvbert,
    "Qwen3-VL-2B": lambda: qwen3_vl(2048, 28, 6144, 16, 1024, 24, 4096, [5, 11, 17]),
    "Qwen3-VL-4B": lambda: qwen3_vl(2560, 36, 9728, 32, 1024, 24, 4096, [5, 11, 17]),
    "Qwen3-VL-8B": lambda: qwen3_vl(4096, 36, 12288, 32, 1152, 27, 4304, [8, 16, 24]),
    "Qwen2.5-VL-7B": qwen2_5_vl_7b,
    "InternVL3-2B": lambda: internvl3(1536, 28, 8960, 12, 2, 151674),
    "InternVL3-8B": lambda: internvl3(3584, 28, 18944, 28, 4, 151674),
}


PUBLISHED = {
    # WeMM: the checkpoint's count, less a head of 248 078 x 2048 that is not loaded; EVIE: mteb's tables
    "WeMM-Embedding-2B": 2_720_809_792 - 248_078 * 2048,
    "EVIE-4.5B": 4_544_510_464,
    "EVIE-8B": 8_409_476_336,
}


WIDTHS = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes of a weight."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    rows = {}
    print("| model | parameters | float32 | bfloat16 | int8 |")
    print("|---|---|---|---|---|")
    for name, make in MODELS.items():
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in make().parameters())
        sizes = " | ".join(f"{count * width / 2**30:.1f} GiB" for width in WIDTHS.values())
        print(f"| {name} | {count / 1e9:.2f} billion | {sizes} |")
        rows[name] = {"parameters": count, **{key: count * width for key, width in WIDTHS.items()}}
        assert count == PUBLISHED.get(name, count), (name, count)
        if name == "Qwen3-VL-Embedding-2B":
            assert abs(count * 2 / 4_255_140_312 - 1) < 1e-3, count
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
