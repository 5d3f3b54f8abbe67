"""What is trained: a checkpoint loaded for training, LoRA put in and taken out, its own weights saved."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmrag.models import checkpoint, device
from mmrag.models.backbone import Backbone
from mmrag.models.model import RetrievalModel
from mmrag.training.config import Lora, ModelConfig
from mmrag.types import Budget

logger = logging.getLogger(__name__)

TRAINED_FILE = "trained.safetensors"

COMPRESSION_KEY = "mmrag_compression"
"""Key of config.json that says at which compression a model without tables of ours was restored."""


def load_model(config: ModelConfig) -> tuple[RetrievalModel, checkpoint.CheckpointConfig]:
    """The model of a run with the right weights frozen, on the CPU.

    Fresh tables start as `ModelConfig.tables` says; those of a checkpoint go on from where they are.

    Raises:
        FileNotFoundError, ValueError: as `mmrag.MLLMEmbedder.from_pretrained`.
    """
    folder = device.resolve_folder(config.name)
    saved = checkpoint.read_config(folder)
    warn_of_compression(folder, config.compression)
    wanted = checkpoint.wanted(
        config.compression,
        pooling="meta",
        budget=Budget(*config.budget),
        dim=config.dim,
        max_visual_tokens=config.max_visual_tokens,
        allow_untrained=True,
    )
    cpu = torch.device("cpu")
    model, settled = checkpoint.load(folder, wanted, device=cpu, dtype=getattr(torch, config.dtype))
    check_tokenizer(model.backbone)
    if (
        config.tables == "embeddings"
        and (saved is None or saved.pooling != "meta")
        and model.meta is not None
    ):
        model.backbone.start_tables(model.meta)
    if config.attention is not None:
        model.backbone.model.set_attn_implementation(config.attention)
    freeze(model, config)
    return model, settled


def warn_of_compression(folder: Path, compression: int) -> None:
    """Say where a model that was restored at one compression is to be trained at another."""
    told = checkpoint.read_json(folder / "config.json").get(COMPRESSION_KEY)
    if told is not None and told != compression:
        logger.warning(
            "%s was restored at compression %s and is trained at %s: it will see other visual tokens",
            folder, told, compression,
        )  # fmt: skip


def check_tokenizer(backbone: Backbone) -> None:
    """Refuse a tokenizer whose ids the model has no embeddings for: it is another model's.

    Raises:
        ValueError: it gives such ids.
    """
    rows, largest = len(backbone.model.get_input_embeddings().weight), len(backbone.tokenizer) - 1
    if largest >= rows:
        raise ValueError(
            f"the tokenizer must be the model's own, got one with ids up to {largest} for a model of {rows} "
            "tokens. Copy tokenizer.json from where the weights came from."
        )


def freeze(model: RetrievalModel, config: ModelConfig) -> None:
    """Leave gradients on tables, projection, LoRA or the language model, and vision where it is asked for."""
    model.requires_grad_(False)
    inner = model.backbone.model
    if config.train_vision:
        inner.requires_grad_(True)
        inner.language_model.requires_grad_(False)
    if config.lora is None:
        inner.language_model.requires_grad_(config.train_language)
    else:
        add_lora(inner.language_model, config.lora)
    for own in (model.meta, model.projection):
        if own is not None:
            own.requires_grad_(True)
            own.float()  # small and trained whole: their updates must not be lost in bfloat16
    if config.gradient_checkpointing:
        inner.gradient_checkpointing_enable({"use_reentrant": False})


def add_lora(module: nn.Module, lora: Lora) -> None:
    """Put low-rank adapters in place of the targeted linear layers; only they have gradients.

    Raises:
        ValueError: no layer is called as a target.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = {name.rpartition(".")[2] for name, _ in module.named_modules()}
    absent = [target for target in lora.targets if target not in names]
    if absent:
        linear = {name.rpartition(".")[2] for name, m in module.named_modules() if isinstance(m, nn.Linear)}
        raise ValueError(
            f"lora: targets must be layers of the language model, got {', '.join(absent)}. "
            f"It has {', '.join(sorted(linear))}."
        )
    inject_adapter_in_model(
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.targets),
            init_lora_weights="gaussian",
        ),
        module,
    )


def merge_lora(module: nn.Module) -> int:
    """Add every adapter to its layer and put the plain layer back; how many there were."""
    from peft.tuners.lora import LoraLayer

    found = [(name, one) for name, one in module.named_modules() if isinstance(one, LoraLayer)]
    for name, layer in found:
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, layer.get_base_layer())
    return len(found)


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Everything that has gradients, and so everything that a checkpoint within a run must hold."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_trained(model: nn.Module, folder: Path) -> None:
    """Write `trained_weights` beside their place, then move: a full disk leaves the old file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (TRAINED_FILE + ".part")
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in trained_weights(model).items()}, part)
        part.replace(folder / TRAINED_FILE)
    finally:
        part.unlink(missing_ok=True)


def load_trained(model: nn.Module, folder: Path) -> None:
    """Read them back.

    Raises:
        ValueError: they are of another model or of other settings.
    """
    kept, own = load_file(folder / TRAINED_FILE), trained_weights(model)
    wrong = sorted(kept.keys() ^ own.keys())
    wrong += [name for name in kept.keys() & own.keys() if kept[name].shape != own[name].shape]
    if wrong:
        raise ValueError(
            f"{folder} must hold the weights of this run, got others ({wrong[0]}). "
            "Choose another output, or the settings that it was begun with."
        )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(kept[name])


def write_checkpoint(
    model: RetrievalModel,
    config: checkpoint.CheckpointConfig,
    folder: Path,
    **changes: Any,  # noqa: ANN401
) -> None:
    """The finished model: adapters merged, a directory that `mmrag.MLLMEmbedder.from_pretrained` loads."""
    from dataclasses import replace

    merge_lora(model.backbone.model.language_model)
    checkpoint.save(folder, model, replace(config, trained=True, **changes))


def count_weights(weights: Iterator[Tensor]) -> int:
    """Number of values."""
    return sum(weight.numel() for weight in weights)
