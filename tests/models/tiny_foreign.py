"""Tiny random checkpoints of other people's models, laid out as their repositories lay them out.

Each maker writes a folder with the stock processor of ``transformers`` (or, for Qwen3-VL-Embedding, the
files of its repository) and returns it. The classes are the true ones; only sizes are small.
"""

import json
import shutil

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from mmrag.models.tiny import make_tiny

DIM = 128


def tokenizer_of(special, *, template=None, **names):
    """One token a byte, the special tokens first, and a post-processor such as ``"[CLS] $A [SEP]"``."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    base.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if template:
        tokens = [(token, base.token_to_id(token)) for token in special if token in template]
        base.post_processor = processors.TemplateProcessing(single=template, special_tokens=tokens)
    return PreTrainedTokenizerFast(tokenizer_object=base, model_max_length=8192, **names)


def sharpen(model):
    """Larger weights, so that a wrong mask, position or prompt shows far above rounding."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1 and "norm" not in name:
                value.mul_(6)
    return model.eval()


def save(path, model, processor):
    path.mkdir(parents=True, exist_ok=True)
    sharpen(model).save_pretrained(path)
    processor.save_pretrained(path)
    return path


def make_colpali(path, seed=0):
    from transformers import ColPaliConfig, ColPaliForRetrieval, ColPaliProcessor

    tokenizer = tokenizer_of(
        ["<pad>", "<eos>", "<bos>"], bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    images = SiglipImageProcessorPil(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    processor = ColPaliProcessor(image_processor=images, tokenizer=tokenizer)
    torch.manual_seed(seed)
    config = ColPaliConfig(
        vlm_config={
            "model_type": "paligemma",
            "text_config": {
                "model_type": "gemma",
                "vocab_size": len(tokenizer),
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 1,
                "head_dim": 8,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": 56,
                "patch_size": 14,
                "projection_dim": 32,
            },
            "projection_dim": 32,
            "image_token_id": processor.image_token_id,
        },
        embedding_dim=DIM,
    )
    return save(path, ColPaliForRetrieval(config), processor)


def make_colqwen2(path, seed=0):
    from transformers import ColQwen2Config, ColQwen2ForRetrieval, ColQwen2Processor

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = tokenizer_of(
        [*special, "<|image_pad|>", "<|video_pad|>"],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 4 * 256, "longest_edge": 48 * 256}
    )
    processor = ColQwen2Processor(image_processor=images, tokenizer=tokenizer)
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    config = ColQwen2Config(
        vlm_config={
            "model_type": "qwen2_vl",
            "text_config": {
                "vocab_size": len(tokenizer),
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]},
                "pad_token_id": ids("<|endoftext|>"),
                "bos_token_id": ids("<|im_start|>"),
                "eos_token_id": ids("<|im_end|>"),
            },
            "vision_config": {
                "depth": 2,
                "embed_dim": 32,
                "hidden_size": 32,
                "num_heads": 2,
                "mlp_ratio": 2,
                "patch_size": 8,
                "spatial_merge_size": 2,
            },
            "image_token_id": ids("<|image_pad|>"),
            "video_token_id": ids("<|video_pad|>"),
            "vision_start_token_id": ids("<|vision_start|>"),
            "vision_end_token_id": ids("<|vision_end|>"),
        },
        embedding_dim=DIM,
    )
    return save(path, ColQwen2ForRetrieval(config), processor)


def make_colmodernvbert(path, seed=0):
    from transformers import ColModernVBertConfig, ColModernVBertForRetrieval, ColModernVBertProcessor

    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    marks = [
        "<fake_token_around_image>",
        "<image>",
        "<end_of_utterance>",
        "<global-img>",
        "<|begin_of_text|>",
    ]
    tokenizer = tokenizer_of(
        ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *marks, *tiles],
        template="[CLS] $A [SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        unk_token="[UNK]",
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 96}, max_image_size={"longest_edge": 32})
    processor = ColModernVBertProcessor(image_processor=images, tokenizer=tokenizer, image_seq_len=4)
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    config = ColModernVBertConfig(
        vlm_config={
            "model_type": "modernvbert",
            "text_config": {
                "model_type": "modernbert",
                "vocab_size": len(tokenizer),
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "global_attn_every_n_layers": 3,
                "local_attention": 16,
                "pad_token_id": ids("[PAD]"),
                "cls_token_id": ids("[CLS]"),
                "sep_token_id": ids("[SEP]"),
                "bos_token_id": ids("[CLS]"),
                "eos_token_id": ids("[SEP]"),
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": 32,
                "patch_size": 8,
            },
            "pixel_shuffle_factor": 2,
            "image_token_id": ids("<image>"),
        },
        embedding_dim=DIM,
    )
    return save(path, ColModernVBertForRetrieval(config), processor)


CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{- '<|im_start|>' + message.role + '\\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}{%- else -%}"
    "{%- for part in message.content -%}{%- if part.type == 'image' -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part.type == 'text' -%}{{- part.text -}}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""The part of Qwen3-VL's chat template that system and user turns go through."""


def make_qwen3_vl_embedding(path, seed=0, *, appends_end=True):
    """The layout of the repository: model, processor files and the four files of sentence-transformers.

    `appends_end`: the tokenizer itself adds ``<|endoftext|>`` behind everything, as Qwen3-Embedding's does.
    """
    from transformers import Qwen3VLModel

    make_tiny(path, "qwen3_vl", seed=seed)
    sharpen(Qwen3VLModel.from_pretrained(path)).save_pretrained(path)
    area = 16**2  # pixels of a token; the bounds of the repository's own script, in tokens
    Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 4 * area, "longest_edge": 1800 * area}
    ).save_pretrained(path)
    if appends_end:
        file = path / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|endoftext|>",
            special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))],
        )
        tokenizer.save(str(file))
    (path / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    (path / "1_Pooling").mkdir(exist_ok=True)
    kinds = {
        "": "base.modules.transformer.Transformer",
        "1_Pooling": "sentence_transformer.modules.pooling.Pooling",
    }
    kinds["2_Normalize"] = "base.modules.normalize.Normalize"
    modules = [
        {"idx": place, "name": str(place), "path": name, "type": f"sentence_transformers.{kind}"}
        for place, (name, kind) in enumerate(kinds.items())
    ]
    output = {"method": "forward", "method_output_name": "last_hidden_state"}
    files = {
        "modules.json": modules,
        "1_Pooling/config.json": {
            "embedding_dimension": 64,
            "pooling_mode": "lasttoken",
            "include_prompt": True,
        },
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": output,
                "image": output,
                "message": {**output, "format": "structured"},
            },
            "module_output_name": "token_embeddings",
            "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
        },
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    return path


def make_wemm_embedding(path, seed=0):
    """The layout of the repository: processor_config.json, a tokenizer with a normalizer, code to leave.

    The tokenizer's class is the one that ``transformers`` makes anew, as the published one's is.
    """
    from transformers import Qwen3_5Model

    make_tiny(path, "qwen3_5", seed=seed)
    model = sharpen(Qwen3_5Model.from_pretrained(path))
    base = Tokenizer.from_file(str(path / "tokenizer.json"))
    base.add_special_tokens([AddedToken("<embedding>", special=True)])
    base.normalizer = normalizers.Replace(Regex("\\n$"), "")
    base.save(str(path / "tokenizer.json"))
    model.resize_token_embeddings(base.get_vocab_size())
    model.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    config |= {
        "architectures": ["WeMMEmbedding"],
        "auto_map": {"AutoModel": "modeling_wemm_embedding.WeMMEmbedding"},
        "matryoshka_dimensions": [16, 32, 64],
    }
    (path / "config.json").write_text(json.dumps(config))
    (path / "modeling_wemm_embedding.py").write_text("raise SystemExit('code of a checkpoint was run')\n")
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "Qwen2Tokenizer"}))
    images = json.loads((path / "preprocessor_config.json").read_text())
    (path / "preprocessor_config.json").unlink()
    (path / "processor_config.json").write_text(json.dumps({"image_processor": images}))
    (path / "config_sentence_transformers.json").write_text('{"model_type": "SentenceTransformer"}')
    return path


MAKERS = {
    "colpali": make_colpali,
    "colqwen2": make_colqwen2,
    "colmodernvbert": make_colmodernvbert,
    "qwen3_vl_embedding": make_qwen3_vl_embedding,
    "wemm_embedding": make_wemm_embedding,
}


def copy_of(folder, path):
    shutil.copytree(folder, path)
    return path
