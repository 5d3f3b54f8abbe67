"""Tiny random models of the true classes, made in a second: for tests, notebooks and trying things out.

Their vectors mean nothing; they show that the path works, and what a size costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from mmrag.models.registry import BACKBONES

WEIGHT_STD = 0.1
"""Standard deviation of the weights: wide enough that attention is not flat and positions matter."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
)


def make_tiny(folder: str | Path, family: str = "qwen3_vl", *, seed: int = 0) -> Path:
    """Write a tiny random checkpoint (model, tokenizer, image processor) and return its folder.

    Args:
        folder: created if missing.
        family: one of `mmrag.models.registry.BACKBONES`.
        seed: of the weights.

    Raises:
        ValueError: an unknown family.
    """
    if family not in BACKBONES:
        raise ValueError(f"family must be one of {tuple(BACKBONES)}, got {family!r}.")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if family == "mmrag_mini":
        return _mini(path, seed)
    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    model, image_processor = _MAKERS[family](tokenizer)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    image_processor.save_pretrained(path)
    return path


def byte_tokenizer() -> Any:  # noqa: ANN401  transformers'
    """Build a tokenizer with one token per byte and the special tokens of all families."""
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    base.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=base, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=8192
    )


def piece_tokenizer() -> Tokenizer:
    """Build a BERT tokenizer with one piece per letter."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [*special, *signs, *("##" + sign for sign in signs)]
    base = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    base.normalizer = normalizers.BertNormalizer()
    base.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    base.decoder = decoders.WordPiece()
    base.add_special_tokens([AddedToken(token, special=True) for token in special])
    around = [(token, special.index(token)) for token in ("[CLS]", "[SEP]")]
    base.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    return base


def _mini(path: Path, seed: int) -> Path:
    from mmrag.models.mini_model import TOKENIZER_FILE, MiniModel, MiniShape

    tokenizer = piece_tokenizer()
    torch.manual_seed(seed)
    model = MiniModel(MiniShape(tokenizer.get_vocab_size(), 48, 2, 4, 96, 64))
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=WEIGHT_STD)
    model.save_pretrained(path)
    tokenizer.save(str(path / TOKENIZER_FILE))
    return path


def _qwen3_vl(tokenizer: Any) -> tuple[Any, Any]:  # noqa: ANN401
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    config = Qwen3VLConfig(
        text_config={
            **_text(tokenizer),
            "head_dim": 16,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        },
        vision_config={
            **_qwen_vision(),
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],  # into the first two of three language layers
        },
        **_qwen_tokens(tokenizer),
    )
    model = Qwen3VLForConditionalGeneration(config)
    return model, Qwen2VLImageProcessorPil(patch_size=8, size=_QWEN_PIXELS)


def _qwen2_5_vl(tokenizer: Any) -> tuple[Any, Any]:  # noqa: ANN401
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    config = Qwen2_5_VLConfig(
        text_config={
            **_text(tokenizer),
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        },
        vision_config={
            **_qwen_vision(),
            "window_size": 48,  # 3 x 3 blocks of 16 pixels, so that pages have several, and smaller ones
            "fullatt_block_indexes": [1],
        },
        **_qwen_tokens(tokenizer),
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    return model, Qwen2VLImageProcessorPil(patch_size=8, size=_QWEN_PIXELS)


def _qwen3_5(tokenizer: Any) -> tuple[Any, Any]:  # noqa: ANN401
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    config = Qwen3_5Config(
        text_config={
            **_text(tokenizer),
            "head_dim": 16,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
                "partial_rotary_factor": 0.5,
            },
        },
        vision_config={**_qwen_vision(), "num_position_embeddings": 64},
        **_qwen_tokens(tokenizer),
    )
    model = Qwen3_5ForConditionalGeneration(config)
    return model, Qwen2VLImageProcessorPil(patch_size=8, size=_QWEN_PIXELS)


def _internvl_vision(side: int, patch: int) -> dict[str, Any]:
    """Return the vision config, for tiles of `side` pixels and square patches of `patch`."""
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "attention_bias": True,
        "image_size": [side, side],
        "patch_size": [patch, patch],
        "layer_scale_init_value": 1.0,
        "initializer_range": WEIGHT_STD,
    }


def _internvl(tokenizer: Any) -> tuple[Any, Any]:  # noqa: ANN401
    from transformers import InternVLConfig, InternVLForConditionalGeneration
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    side, patch = 64, 4  # a tile of 16 x 16 features: 64 tokens, 16 at s = 2, 9 at s = 3
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **_text(tokenizer)},
        vision_config=_internvl_vision(side, patch),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=(side // patch // 2) ** 2,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config)
    embeddings = model.model.vision_tower.embeddings  # tables that the class leaves at zero
    for table in (embeddings.cls_token, embeddings.position_embeddings):
        torch.nn.init.normal_(table, std=WEIGHT_STD)
    return model, GotOcr2ImageProcessorPil(size={"height": side, "width": side})


def _qwen2(tokenizer: Any) -> tuple[Any, Any]:  # noqa: ANN401
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from mmrag.models.text_only import NoPictures

    return Qwen2ForCausalLM(Qwen2Config(**_text(tokenizer))), NoPictures()


def _qwen3(tokenizer: Any) -> tuple[Any, Any]:  # noqa: ANN401
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from mmrag.models.text_only import NoPictures

    return Qwen3ForCausalLM(Qwen3Config(**_text(tokenizer), head_dim=16)), NoPictures()


_QWEN_PIXELS = {"shortest_edge": 4 * 16**2, "longest_edge": 4096 * 16**2}


def _qwen_vision() -> dict[str, Any]:
    return {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "out_hidden_size": 64,
        "initializer_range": WEIGHT_STD,
    }


def _text(tokenizer: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "initializer_range": WEIGHT_STD,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }


def _qwen_tokens(tokenizer: Any) -> dict[str, Any]:  # noqa: ANN401
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    return {**ids, "initializer_range": WEIGHT_STD, "tie_word_embeddings": False}


_MAKERS = {
    "qwen3_vl": _qwen3_vl,
    "qwen3_5": _qwen3_5,
    "qwen2_5_vl": _qwen2_5_vl,
    "internvl": _internvl,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}
