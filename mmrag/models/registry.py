"""Which class reads a checkpoint: embedders of other designs, and backbones of our own design.

Both tables name classes as ``module:Class``; a class is imported when a checkpoint is of its kind, so that
importing this file imports no torch.

Which checkpoints are of another design (the first rule that applies):

1. ``mmrag_config.json`` is there: a checkpoint of ours.
2. ``model_type`` of config.json is ``colpali``, ``colqwen2`` or ``colmodernvbert``: that design.
3. ``model_type`` is ``qwen3_vl``, and the folder's files for sentence-transformers name last-token pooling
   (``modules.json`` and ``1_Pooling/config.json``), or ``architectures`` names ``Qwen3VLForEmbedding``, or
   the name contains ``Qwen3-VL-Embedding`` (the repository's first revisions have nothing else that
   distinguishes them from a chat model): Qwen3-VL-Embedding.
4. ``model_type`` is ``qwen3_5``, and config.json has ``matryoshka_dimensions`` or names a class
   ``WeMMEmbedding``, or the name contains ``WeMM-Embedding``: WeMM-Embedding.
5. config_sentence_transformers.json says ``MultiVectorEncoder`` or PyLate's ``ColBERT``, or ``architectures``
   of config.json names ``HF_ColBERT`` or a class of ``transformers`` that ends in ``ForRetrieval``: what
   sentence-transformers loads as a `MultiVectorEncoder`.
6. Anything else is a backbone of ours.

A caller overrides the rules with ``family=``; ``family="mmrag"`` is a backbone of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrag.models.backbone import Backbone

EMBEDDERS: Mapping[str, str] = {
    "colpali": "mmrag.models.colpali:ColPaliEmbedder",
    "colqwen2": "mmrag.models.colqwen2:ColQwen2Embedder",
    "colmodernvbert": "mmrag.models.colmodernvbert:ColModernVBertEmbedder",
    "qwen3_vl_embedding": "mmrag.models.qwen3_vl_embedding:Qwen3VLEmbedding",
    "wemm_embedding": "mmrag.models.wemm_embedding:WeMMEmbedder",
    "multi_vector_encoder": "mmrag.models.multi_vector:MultiVectorEmbedder",
}
"""Family of a checkpoint of another design: class of its embedder."""

BACKBONES: Mapping[str, str] = {
    "qwen2_5_vl": "mmrag.models.qwen2_5_vl:Qwen2_5VLBackbone",
    "qwen3_vl": "mmrag.models.qwen3_vl:Qwen3VLBackbone",
    "qwen3_5": "mmrag.models.qwen3_5:Qwen3_5Backbone",
    "internvl": "mmrag.models.internvl3:InternVL3Backbone",
    "qwen2": "mmrag.models.text_only:TextBackbone",
    "qwen3": "mmrag.models.text_only:TextBackbone",
    "mmrag_mini": "mmrag.models.mini:MiniBackbone",
}
"""``model_type`` of a config.json: class of its backbone. qwen2, qwen3 and, in torch, mmrag_mini read text
only."""

HINTS = {"internvl_chat": "This is InternVL in its own format; take the checkpoint's twin that ends in -hf."}

OUR_FAMILY = "mmrag"
"""The family of our own checkpoints and of plain backbones."""


def embedder_for(
    folder: Path, config: Mapping[str, Any], *, name: str = "", family: str | None = None
) -> type[Any] | None:
    """Return the embedder class of a checkpoint of another design; None for a backbone of ours.

    Args:
        folder: of the checkpoint.
        config: its config.json.
        name: what the caller wrote; a hub name tells more than the folder of a cache.
        family: one of `EMBEDDERS`, or `OUR_FAMILY`; overrides the rules.

    Raises:
        ValueError: an unknown family, or a folder with an adapter instead of a model.
    """
    family = family_of(folder, config, name) if family is None else family
    if family in (None, OUR_FAMILY):
        return None
    if family not in EMBEDDERS:
        raise ValueError(f"family must be one of {(*EMBEDDERS, OUR_FAMILY)}, got {family!r}.")
    embedder: type[Any] = _load_class(EMBEDDERS[family])
    return embedder


def backbone_for(model_type: str) -> type[Backbone]:
    """Return the backbone class of a ``model_type``.

    Raises:
        ValueError: there is none for it.
    """
    if model_type not in BACKBONES:
        names = ", ".join(repr(name) for name in sorted(BACKBONES))
        hint = HINTS.get(model_type, "Take a checkpoint of one of these families.")
        raise ValueError(f"model_type must be one of {names}, got {model_type!r}. {hint}")
    backbone: type[Backbone] = _load_class(BACKBONES[model_type])
    return backbone


def _load_class(entry: str) -> Any:  # noqa: ANN401  a class
    """Import the class of an entry ``module:Class``."""
    module, name = entry.split(":")
    return getattr(import_module(module), name)


def family_of(folder: Path, config: Mapping[str, Any], name: str = "") -> str | None:
    """Return the family of a checkpoint of another design, by the rules above; None for one of ours.

    Raises:
        ValueError: the folder holds an adapter instead of a model.
    """
    if (folder / "mmrag_config.json").is_file():
        return None
    _check_not_adapter(folder)
    model_type = config.get("model_type")
    if model_type in EMBEDDERS:
        return str(model_type)
    if _is_multi_vector_encoder(folder, config):
        return "multi_vector_encoder"
    if model_type == "qwen3_5":
        return _qwen3_5_family(folder, config, name)
    if model_type != "qwen3_vl":
        return None
    has_name = any("qwen3-vl-embedding" in text.lower() for text in (name, folder.name))
    has_architecture = "Qwen3VLForEmbedding" in (config.get("architectures") or [])
    return "qwen3_vl_embedding" if has_name or has_architecture or pools_last_token(folder) else None


def _qwen3_5_family(folder: Path, config: Mapping[str, Any], name: str) -> str | None:
    """Return the family of a Qwen3.5 that is no `MultiVectorEncoder`.

    Raises:
        ValueError: a ColQwen3.5 (EVIE is one) without the files for sentence-transformers.
    """
    classes = [*(config.get("architectures") or []), *dict(config.get("auto_map") or {}).values()]
    if any(str(class_name).startswith("ColQwen3_5") for class_name in classes):
        raise ValueError(
            "a ColQwen3.5 checkpoint must hold the files for sentence-transformers (modules.json, "
            f"config_sentence_transformers.json), got {folder} without them. Take a revision of the "
            "repository that has them, as EVIE's main branch."
        )
    has_name = any("wemm-embedding" in text.lower() for text in (name, folder.name))
    has_class = any("WeMMEmbedding" in str(class_name) for class_name in classes)
    is_embedder = has_name or has_class or bool(config.get("matryoshka_dimensions"))
    return "wemm_embedding" if is_embedder else None


def _is_multi_vector_encoder(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether sentence-transformers loads this folder as a ``MultiVectorEncoder``."""
    path = folder / "config_sentence_transformers.json"
    if path.is_file():
        try:
            model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} must be a JSON object, got {error}. Download it again.") from error
        if model_type is not None:
            return model_type in ("MultiVectorEncoder", "ColBERT")
    names = [str(name) for name in config.get("architectures") or []]
    return any(name == "HF_ColBERT" or name.endswith("ForRetrieval") for name in names)


def _check_not_adapter(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file() and not any(folder.glob("model*.safetensors")):
        raise ValueError(
            f"a checkpoint must hold a whole model, got {folder} with a LoRA adapter alone. Take the "
            "repository's merged twin (its name often ends in -hf or -merged), or merge it with peft."
        )


def pools_last_token(folder: Path) -> bool:
    """Return whether the files for sentence-transformers name last-token pooling."""
    modules, pooling = folder / "modules.json", folder / "1_Pooling" / "config.json"
    if not (modules.is_file() and pooling.is_file()):
        return False
    try:
        config = json.loads(pooling.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{pooling} must be JSON, got {error}. Download it again.") from error
    # one name since sentence-transformers 5.4, one flag per kind before
    return config.get("pooling_mode") == "lasttoken" or config.get("pooling_mode_lasttoken") is True
