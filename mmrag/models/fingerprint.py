"""The digest of all that changes a checkpoint's vectors, with the weights at hand or behind a URL.

A server knows weights, tables, tokenizer and limits (`server_settings`); its caller knows which parts of a
page are embedded, who writes thoughts, and how many rows are kept (`fingerprint`). Local and served embedders
of the same checkpoint have the same fingerprint, so an index made by one opens with the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrag.embedders.base import Reasoner
    from mmrag.models.checkpoint import CheckpointConfig

ALGORITHM = "mllm-1"
"""Raise it when the same settings give other vectors."""


def server_settings(
    config: CheckpointConfig,
    *,
    weights: str,
    tables: str,
    vocabulary: str,
    pixels: Mapping[str, Any],
    dim: int,
    max_visual_tokens: int,
    max_tokens: int,
) -> dict[str, Any]:
    """Return the part of the settings that whoever holds the weights knows, as plain JSON values.

    Args:
        config: of the checkpoint, as it is used.
        weights: `mmrag.models.digests.state_digest` of the backbone.
        tables: `mmrag.models.digests.exact_digest` of meta tokens and projection.
        vocabulary: the tokenizer as JSON.
        pixels: `mmrag.models.digests.processor_settings`.
        dim: width of a vector.
        max_visual_tokens: of an image, after compression.
        max_tokens: of an input without meta tokens.
    """
    settings: dict[str, Any] = {
        "algorithm": ALGORITHM,
        "family": config.model_type,
        "weights": weights,
        "tables": tables,
        "tokenizer": hashlib.sha256(vocabulary.encode()).hexdigest(),
        "pixels": dict(pixels),
        "compression": repr(config.compression),
        "pooling": config.pooling,
        "dim": dim,
        "prompts": repr(config.prompts),
        "max_visual_tokens": max_visual_tokens,
        "max_tokens": max_tokens,
    }
    if not config.query_first:  # absent by default: fingerprints of other models stay as they are
        settings["query_first"] = False
    return settings


def fingerprint(
    settings: Mapping[str, Any], *, rows: int, page_text: bool | str, thoughts: Reasoner | None
) -> str:
    """Compute the fingerprint of an embedder; 32 hexadecimal digits.

    Args:
        settings: of `server_settings`.
        rows: of a document.
        page_text: whether the text of a rendered page is embedded with its picture.
        thoughts: writes the thoughts of inputs without one.
    """
    whole = {
        **settings,
        "rows": rows,
        "page_text": page_text,
        "thoughts": None if thoughts is None else thoughts.fingerprint,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]
