"""vLLM's configuration of a served checkpoint: where it lies, what it was started with, and its meta tokens.

A meta token is an id beyond the vocabulary. vLLM refuses such ids, so its configuration is told of a larger
vocabulary, and the model gives the language model the true one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm.model_executor.models.config import VerifyAndUpdateConfig

from mmrag.models.checkpoint import settings_of, tables_in
from mmrag.models.device import resolve_folder
from mmrag.models.served.checkpoint import SETTINGS, read_overrides

VOCABULARY = "mmrag_vocabulary"
"""Field of the text configuration with the number of true tokens."""


class MetaTokenConfig(VerifyAndUpdateConfig):  # type: ignore[misc]  # vLLM is not there for mypy
    """The change of vLLM's configuration before a server starts."""

    @staticmethod
    def verify_and_update_model_config(model_config: Any) -> None:  # noqa: ANN401  vLLM's ModelConfig
        """Add the meta tokens to the vocabulary, once.

        Raises:
            ValueError: the checkpoint cannot be served; see `ServedCheckpoint`.
        """
        text_config = model_config.hf_text_config
        if hasattr(text_config, VOCABULARY):
            return
        folder = folder_of(model_config)
        family, config, _ = settings_of(folder, read_overrides(settings_in(model_config)))
        tables = tables_in(folder, family) if config.pooling == "meta" else {}
        rows = sum(len(table) for name, table in tables.items() if name.startswith("meta."))
        setattr(text_config, VOCABULARY, text_config.vocab_size)
        text_config.vocab_size += rows
        model_config.model_arch_config = model_config.get_model_arch_config()


def folder_of(model_config: Any) -> Path:  # noqa: ANN401
    """Return the folder of the model that a server was started with, fetched if it is a hub name."""
    return resolve_folder(str(model_config.model), revision=model_config.revision)


def settings_in(model_config: Any) -> Mapping[str, Any] | None:  # noqa: ANN401
    """Return the settings that a server was started with; None for the checkpoint's own."""
    settings: Mapping[str, Any] | None = getattr(model_config.hf_config, SETTINGS, None)
    return settings
