"""`ServedCheckpoint`: a checkpoint without its weights, for the process that takes a server's requests.

It makes prompts and pictures as the local embedder does, by the same template, the same sizes and the same
limits, and knows the fingerprint. The model itself is in vLLM's worker (`mmrag.models.served.vllm_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoTokenizer

from mmrag.models import digests
from mmrag.models.checkpoint import TABLES_FILE, Overrides, settings_of, tables_in
from mmrag.models.fingerprint import server_settings
from mmrag.models.inputs import Item, ready_image
from mmrag.models.mllm_embedder import MAX_TOKENS, VISUAL_TOKENS
from mmrag.models.served.wire import PROTOCOL

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.models.compression import Grid

ARCHITECTURES: Mapping[str, str] = {
    "qwen3_vl": "MmragQwen3VLEmbedder",
    "internvl": "MmragInternVLEmbedder",
}
"""``model_type`` of a backbone: the name of the class that vLLM serves it with."""

SETTINGS = "mmrag"
"""Field of the configuration (``--hf-overrides``) with settings in place of the checkpoint's own."""

OVERRIDES = ("compression", "max_visual_tokens", "allow_untrained")
"""Settings that it may hold."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """An input as vLLM takes it.

    Attributes:
        ids: its tokens, one placeholder a picture, then the meta tokens as ids beyond the vocabulary.
        images: its pictures, as the engine's image processor takes them.
        options: of that processor, the same for all of them.
        cut: whether its text was longer than the limit.
    """

    ids: tuple[int, ...]
    images: tuple[Image, ...]
    options: Mapping[str, Any]
    cut: bool


class ServedCheckpoint:
    """A checkpoint's prompts, pictures and identity.

    Args:
        folder: of the checkpoint.
        name: for people.
        settings: `OVERRIDES` that are not the checkpoint's own.
        most_tokens: of a prompt, meta tokens included; None: no limit but the embedder's.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is no checkpoint of a served family, its tables are untrained, or its limit leaves no
            room for an input.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        settings: Mapping[str, Any] | None = None,
        most_tokens: int | None = None,
    ) -> None:
        family, config, _ = settings_of(folder, read_overrides(settings))
        if config.model_type not in ARCHITECTURES:
            raise ValueError(
                f"vLLM serves checkpoints of {', '.join(ARCHITECTURES)} with their meta tokens, got "
                f"{config.model_type!r} in {folder}. Load it with MLLMEmbedder.from_pretrained."
            )
        with torch.device("meta"):  # the shapes alone
            model = family.model_class(AutoConfig.from_pretrained(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.folder = folder
        self.name = name
        self.config = config
        self.backbone = family(model, tokenizer, family.image_processor_class.from_pretrained(folder))
        self.tables = tables_in(folder, family) if config.pooling == "meta" else {}
        visual = config.max_visual_tokens
        self.max_visual_tokens = VISUAL_TOKENS // config.compression.factor**2 if visual is None else visual
        self.max_tokens = _text_limit(most_tokens, sum(self._table_rows), folder)
        self.template = self.backbone.template(config.prompts, self.max_tokens)
        self.vocabulary = int(model.config.text_config.vocab_size)
        self._weights: str | None = None

    @property
    def _table_rows(self) -> tuple[int, int]:
        """Return the rows of the query and of the document table; none without meta tokens."""
        if not self.tables:
            return 0, 0
        return len(self.tables["meta.query"]), len(self.tables["meta.document"])

    @property
    def dim(self) -> int:
        """Return the width of a vector."""
        return self.config.dim or self.backbone.hidden_size

    def meta_ids(self, side: str, rows: int) -> tuple[int, ...]:
        """Return the ids of the meta tokens behind an input, the order of `MetaTokens.rows`.

        The tables stand behind the vocabulary, the query's first.

        Raises:
            ValueError: more rows than the table has.
        """
        if not self.tables:
            if rows != 1:
                raise ValueError(f"rows must be 1 for a checkpoint of single vectors, got {rows}.")
            return ()
        queries, documents = self._table_rows
        most = queries if side == "query" else documents
        if rows > most:
            raise ValueError(f"rows must be at most {most} for a {side} of this checkpoint, got {rows}.")
        start = self.vocabulary
        if side == "query":
            return tuple(range(start, start + rows))
        first = start if self.config.query_first else start + queries
        return (*range(first, start + queries), *range(start + queries, start + queries + rows))

    def prompt(self, item: Item, side: str, rows: int) -> Prompt:
        """Make the prompt of one input.

        Raises:
            ValueError: a picture cannot be used, too many tokens are needed, or too many rows are wanted.
        """
        meta = self.meta_ids(side, rows)
        backbone, compression = self.backbone, self.config.compression
        pictures = [
            backbone.engine_image(ready_image(part), self.max_visual_tokens, compression)
            for part in item.parts
            if not isinstance(part, str)
        ]
        counts = [self._visual_tokens(picture.grids) for picture in pictures]
        tokens = self.template.tokenize(item, side, [backbone.image_text(count) for count in counts])
        return Prompt(
            (*_one_of_each_run(tokens.ids, backbone.image_token_id), *meta),
            tuple(picture.image for picture in pictures),
            pictures[0].options if pictures else {},
            tokens.cut,
        )

    def _visual_tokens(self, grids: Sequence[Grid]) -> int:
        """Return the visual tokens of a picture with these grids, after compression."""
        merge = self.backbone.merge
        sizes = [self.config.compression.grid(grid, merge) for grid in grids]
        return sum(height * width for height, width in sizes) // merge**2

    def identity(self) -> dict[str, Any]:
        """Return what a caller must know of the checkpoint; the first call reads all weights."""
        if self._weights is None:
            files = [path for path in self.folder.glob("*.safetensors") if path.name != TABLES_FILE]
            self._weights = digests.files_digest(
                files, lambda name: "lm_head." in name or name in self.tables
            )
        config = self.config
        tables = {name: table.float() for name, table in self.tables.items()}
        settings = server_settings(
            config,
            weights=self._weights,
            tables=digests.exact_digest(tables),
            vocabulary=self.template.vocabulary,
            pixels=digests.processor_settings(self.backbone.image_processor),
            dim=self.dim,
            max_visual_tokens=self.max_visual_tokens,
            max_tokens=self.max_tokens,
        )
        queries, documents = self._table_rows
        return {
            "protocol": PROTOCOL,
            "name": f"{self.name} (compression {config.compression.factor})",
            "dim": self.dim,
            "query_rows": queries or 1,
            "document_rows": documents or 1,
            "query_instruction": config.prompts.query,
            "document_instruction": config.prompts.document,
            "image_pixels": self.backbone.pixels(self.max_visual_tokens, config.compression),
            "max_tokens": self.max_tokens,
            "trained": config.trained,
            "settings": settings,
        }


def read_overrides(settings: Mapping[str, Any] | None) -> Overrides:
    """Read the settings that a server was started with.

    Raises:
        ValueError: one that is none of `OVERRIDES`.
    """
    settings = dict(settings or {})
    unknown = sorted(settings.keys() - set(OVERRIDES))
    if unknown:
        raise ValueError(f"{SETTINGS} must hold {', '.join(OVERRIDES)} alone, got {', '.join(unknown)}.")
    return Overrides(**settings)


def _text_limit(most_tokens: int | None, meta: int, folder: Path) -> int:
    """Return the most tokens of an input without meta tokens."""
    if most_tokens is None:
        return MAX_TOKENS
    limit = min(MAX_TOKENS, most_tokens - meta - 1)  # vLLM keeps one for an answer that never comes
    if limit < 1:
        raise ValueError(
            f"--max-model-len must leave room for an input beside {meta} meta tokens of {folder.name}, got "
            f"{most_tokens}."
        )
    return limit


def _one_of_each_run(ids: tuple[int, ...], placeholder: int) -> list[int]:
    """Return the ids with one placeholder in place of each run of them; vLLM puts the others back."""
    return [
        token for at, token in enumerate(ids) if token != placeholder or at == 0 or ids[at - 1] != placeholder
    ]
