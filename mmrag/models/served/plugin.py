"""The two functions that vLLM calls by their entry points; importing this imports neither vLLM nor torch."""

from __future__ import annotations

_MODULES = {"MmragQwen3VLEmbedder": "vllm_qwen3_vl", "MmragInternVLEmbedder": "vllm_internvl"}
"""Classes that vLLM serves checkpoints with, and the files they are in."""


def register() -> None:
    """Register the served models with vLLM (``vllm.general_plugins``); called in each of its processes."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from mmrag.models.served.configuration import MetaTokenConfig

    for name, module in _MODULES.items():
        if name not in ModelRegistry.get_supported_archs():
            ModelRegistry.register_model(name, f"mmrag.models.served.{module}:{name}")
        MODELS_CONFIG_MAP[name] = MetaTokenConfig


def processor() -> str:
    """Return the class of the input and output processor (``vllm.io_processor_plugins``)."""
    return "mmrag.models.served.processor.RowsProcessor"
