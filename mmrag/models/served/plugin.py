"""The two functions that vLLM calls by their entry points; importing this imports neither vLLM nor torch."""

from __future__ import annotations

PROCESSOR = "mmrag"
"""Name of the input and output processor, for ``--io-processor-plugin``."""


def register() -> None:
    """Register the served models with vLLM (``vllm.general_plugins``); called in each of its processes."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from mmrag.models.served.configuration import MetaTokenConfig

    name = "MmragQwen3VLEmbedder"
    if name not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(name, f"mmrag.models.served.vllm_model:{name}")
    MODELS_CONFIG_MAP[name] = MetaTokenConfig


def processor() -> str:
    """Return the class of the input and output processor (``vllm.io_processor_plugins``)."""
    return "mmrag.models.served.processor.RowsProcessor"
