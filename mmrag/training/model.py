"""Models for training: load and freeze a checkpoint, add and merge LoRA, save the trained weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmrag.files import atomic_write
from mmrag.models import checkpoint, device
from mmrag.models.backbone import Backbone
from mmrag.models.model import RetrievalModel
from mmrag.training.config import Lora, ModelConfig
from mmrag.types import Budget

logger = logging.getLogger(__name__)

TRAINED_FILE = "trained.safetensors"

COMPRESSION_KEY = "mmrag_compression"
"""Key of config.json: the compression at which the stage `restore` trained a model."""


def load_model(config: ModelConfig) -> tuple[RetrievalModel, checkpoint.CheckpointConfig]:
    """Load the model of a run on the CPU, and freeze what is not trained.

    Fresh tables of meta tokens start as `ModelConfig.tables` says; those of a checkpoint are kept.

    Raises:
        FileNotFoundError, ValueError: as `mmrag.MLLMEmbedder.from_pretrained`.
    """
    folder = device.resolve_folder(config.name)
    saved_config = checkpoint.read_config(folder)
    warn_of_compression(folder, config.compression)
    settings = checkpoint.Overrides(
        config.compression,
        pooling="meta",
        budget=Budget(*config.budget),
        dim=config.dim,
        max_visual_tokens=config.max_visual_tokens,
        allow_untrained=True,
    )
    cpu = torch.device("cpu")
    model, loaded_config = checkpoint.load(folder, settings, device=cpu, dtype=getattr(torch, config.dtype))
    check_tokenizer(model.backbone)
    has_tables = saved_config is not None and saved_config.pooling == "meta"
    if model.meta is not None and not has_tables and config.tables == "embeddings":
        model.backbone.start_tables(model.meta)
    if config.attention is not None:
        model.backbone.model.set_attn_implementation(config.attention)
    freeze(model, config)
    return model, loaded_config


def warn_of_compression(folder: Path, compression: int) -> None:
    """Log a warning if the model was restored at another compression than it is to be trained at."""
    restored_at = checkpoint.read_json(folder / "config.json").get(COMPRESSION_KEY)
    if restored_at not in (None, compression):
        logger.warning(
            "%s was restored at compression %s and is trained at %s: it will see other visual tokens",
            folder, restored_at, compression,
        )  # fmt: skip


def check_tokenizer(backbone: Backbone) -> None:
    """Check that the model has an embedding for every id of the tokenizer.

    Raises:
        ValueError: it has not; the tokenizer is another model's.
    """
    rows, largest = len(backbone.model.get_input_embeddings().weight), len(backbone.tokenizer) - 1
    if largest >= rows:
        raise ValueError(
            f"the tokenizer must be the model's own, got one with ids up to {largest} for a model of {rows} "
            "tokens. Copy tokenizer.json from where the weights came from."
        )


def freeze(model: RetrievalModel, config: ModelConfig) -> None:
    """Freeze all weights except tables, projection, LoRA or language model, and what the settings add."""
    model.requires_grad_(False)
    inner, language_model = model.backbone.model, model.backbone.language_model
    if config.train_vision:
        inner.requires_grad_(True)
        language_model.requires_grad_(False)
    if config.lora is None:
        language_model.requires_grad_(config.train_language)
    else:
        add_lora(language_model, config.lora)
    for head in (model.meta, model.projection):
        if head is not None:
            head.requires_grad_(True)
            head.float()  # small and trained whole: their updates must not be lost in bfloat16
    if config.gradient_checkpointing:
        inner.gradient_checkpointing_enable({"use_reentrant": False})


def _check_targets(module: nn.Module, targets: Sequence[str]) -> None:
    """Check that a model has layers of all names.

    Raises:
        ValueError: it has not.
    """
    names = {name.rpartition(".")[2] for name, _ in module.named_modules()}
    absent = [target for target in targets if target not in names]
    if absent:
        linear = {name.rpartition(".")[2] for name, m in module.named_modules() if isinstance(m, nn.Linear)}
        raise ValueError(
            f"lora: targets must be layers of the language model, got {', '.join(absent)}. "
            f"It has {', '.join(sorted(linear))}."
        )


def add_lora(module: nn.Module, lora: Lora) -> None:
    """Replace the targeted linear layers by layers with low-rank adapters; only these have gradients.

    Adapters are float32 whatever the model is, and merged into its dtype (`merge_lora`).

    Raises:
        ValueError: no layer has the name of a target.
    """
    from peft import LoraConfig, inject_adapter_in_model

    _check_targets(module, lora.targets)
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
    for name, weight in module.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.float()  # an update is smaller than a step of bfloat16


def merge_lora(module: nn.Module) -> None:
    """Add every adapter to its layer's weights, and put the plain layer back in its place."""
    from peft.tuners.lora import LoraLayer

    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, LoraLayer)]
    for name, layer in layers:
        layer.merge()
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, layer.get_base_layer())


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights with gradients by name: all that a checkpoint within a run must hold."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_trained(model: nn.Module, folder: Path) -> None:
    """Write `trained_weights` into a folder; a full disk leaves the old file whole."""
    weights = {name: weight.detach().cpu().contiguous() for name, weight in trained_weights(model).items()}
    with atomic_write(folder / TRAINED_FILE, "wb") as file:
        save_file(weights, file.name)  # by name: as bytes they would be in memory twice


def load_trained(model: nn.Module, folder: Path) -> None:
    """Load the weights that `save_trained` wrote.

    Raises:
        ValueError: they belong to another model or to other settings.
    """
    saved_weights, weights = load_file(folder / TRAINED_FILE), trained_weights(model)
    shared_names = saved_weights.keys() & weights.keys()
    wrong = sorted(saved_weights.keys() ^ weights.keys())
    wrong += [name for name in shared_names if saved_weights[name].shape != weights[name].shape]
    if wrong:
        raise ValueError(
            f"{folder} must hold the weights of this run, got others ({wrong[0]}). "
            "Choose another output, or the settings that it was begun with."
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(saved_weights[name])


def write_checkpoint(model: RetrievalModel, config: checkpoint.CheckpointConfig, folder: Path) -> None:
    """Merge adapters, and write a directory that `mmrag.MLLMEmbedder.from_pretrained` loads."""
    merge_lora(model.backbone.language_model)
    checkpoint.save(folder, model, replace(config, trained=True))


def count_weights(weights: Iterable[Tensor]) -> int:
    """Return the number of values."""
    return sum(weight.numel() for weight in weights)
