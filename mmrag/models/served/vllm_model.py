"""Qwen3-VL with compression and meta tokens as a pooling model of vLLM.

vLLM's own class does the work; four things differ:

* *Pictures.* The grid of each picture is resized before the connector and before each DeepStack connector, by
  the function that the local model uses, and the processor declares the placeholders that are left: vLLM
  counts both and refuses what does not agree.
* *Positions.* Rows and columns of a picture are those of its compressed grid.
* *Meta tokens.* Their ids lie beyond the vocabulary; their embeddings are the rows of the tables.
* *Pooling.* Only the states of the asked side's meta tokens leave the worker, projected and normalised; of a
  checkpoint of single vectors the last state does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence, Set
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler
from vllm.model_executor.layers.pooler.tokwise import AllPool
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.qwen3_vl import (
    Qwen3VLDummyInputsBuilder,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMultiModalProcessor,
    Qwen3VLProcessingInfo,
)
from vllm.model_executor.models.utils import AutoWeightsLoader, PPMissingLayer, WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageSize
from vllm.multimodal.processing import PromptReplacement

from mmrag.models.checkpoint import CheckpointConfig, settings_of, tables_in
from mmrag.models.compression import Compression, Grid, compress_blocks
from mmrag.models.mllm_embedder import VISUAL_TOKENS
from mmrag.models.served.checkpoint import read_overrides
from mmrag.models.served.configuration import VOCABULARY, folder_of, settings_in

_GRIDS: ContextVar[tuple[Sequence[Grid], Compression, int] | None] = ContextVar("grids", default=None)
"""Of the pictures that are encoded now: their grids, the compression, and the features a side of a block."""


def _config_of(model_config: Any) -> CheckpointConfig:  # noqa: ANN401  vLLM's ModelConfig
    _, config, _ = settings_of(folder_of(model_config), read_overrides(settings_in(model_config)))
    return config


class CompressedInfo(Qwen3VLProcessingInfo):  # type: ignore[misc]
    """The limits of pictures: those of the checkpoint, after compression; no videos."""

    @property
    def checkpoint(self) -> CheckpointConfig:
        """Return the settings of the checkpoint."""
        if not hasattr(self, "_checkpoint"):
            self._checkpoint = _config_of(self.ctx.model_config)
        return self._checkpoint

    @property
    def max_visual_tokens(self) -> int:
        """Return the most tokens of a picture, after compression."""
        return self.checkpoint.max_visual_tokens or VISUAL_TOKENS // self.checkpoint.compression.factor**2

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Return that any number of pictures is taken."""
        return {"image": None}

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """Return the options of text and pictures; vLLM's Qwen3-VL adds those of videos."""
        options: dict[str, set[str]] = super(Qwen3VLProcessingInfo, self).get_supported_mm_processor_kwargs()
        return options

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Return the most tokens of a picture."""
        return {"image": self.max_visual_tokens}

    def get_image_size_with_most_features(self, max_pixels: int | None = None) -> Any:  # noqa: ANN401
        """Return the size of a picture of the most tokens, or a few less, in about the shape of a square."""
        vision = self.get_hf_config().vision_config
        merge, factor = int(vision.spatial_merge_size), self.checkpoint.compression.factor
        block = int(vision.patch_size) * merge * factor
        columns = max(1, int(self.max_visual_tokens**0.5))
        return ImageSize(width=columns * block, height=self.max_visual_tokens // columns * block)


class CompressedInputs(Qwen3VLDummyInputsBuilder):  # type: ignore[misc]
    """Pictures to measure memory with."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Return the placeholders of so many pictures."""
        return "<|vision_start|><|image_pad|><|vision_end|>" * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self,
        seq_len: int,
        mm_counts: Mapping[str, int],
        mm_options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return so many pictures of the largest size."""
        size = self.info.get_image_size_with_most_features()
        return {
            "image": self._get_dummy_images(
                width=size.width,
                height=size.height,
                num_images=mm_counts.get("image", 0),
                overrides=mm_options.get("image"),
            )
        }


class CompressedProcessor(Qwen3VLMultiModalProcessor):  # type: ignore[misc]
    """Placeholders of the compressed grid."""

    def _get_prompt_updates(
        self,
        mm_items: Any,  # noqa: ANN401
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: Any,  # noqa: ANN401
    ) -> Sequence[Any]:
        config = self.info.get_hf_config()
        merge, compression = int(config.vision_config.spatial_merge_size), self.info.checkpoint.compression

        def placeholders(at: int) -> list[int]:
            _, height, width = out_mm_kwargs["image"][at]["image_grid_thw"].data.tolist()
            rows, columns = compression.grid((height, width), merge)
            return [config.image_token_id] * (rows * columns // merge**2)

        return [PromptReplacement(modality="image", target=[config.image_token_id], replacement=placeholders)]


class MetaRowPooler(Pooler):  # type: ignore[misc]
    """The rows of an input: projected, normalised states of its last meta tokens.

    Args:
        projection: of the states; None for none.
        vocabulary: ids from here on are meta tokens.
        queries: meta tokens of the query table, which come first; 0: the last state is the single vector.
        dim: width of a single vector.
    """

    def __init__(self, projection: nn.Linear | None, vocabulary: int, queries: int, dim: int) -> None:
        super().__init__()
        self.states = AllPool()
        self.projection = projection
        self.first_document = vocabulary + queries
        self.vocabulary = vocabulary
        self.dim = dim

    def get_supported_tasks(self) -> Set[str]:
        """Return that it gives vectors of tokens."""
        return {"token_embed"}

    def get_pooling_updates(self, task: str) -> Any:  # noqa: ANN401
        """Return that it reads the prompt's ids."""
        return PoolingParamsUpdate(requires_token_ids=True)

    def forward(self, hidden_states: Tensor, pooling_metadata: Any) -> list[Tensor | None]:  # noqa: ANN401
        """Return ``(rows, dim)`` float32 of each input, None for one that is not read to its end."""
        states = self.states(hidden_states, pooling_metadata)
        prompts = pooling_metadata.get_prompt_token_ids_cpu()
        return [
            None if state is None else self._rows(state[len(state) - self._count(ids) :])
            for state, ids in zip(states, prompts, strict=True)
        ]

    def _count(self, ids: Tensor) -> int:
        """Return the number of rows at the end of a prompt: its last run of one side's meta tokens."""
        start = self.first_document if int(ids[-1]) >= self.first_document else self.vocabulary
        return max(1, int((ids >= start).sum()))

    def _rows(self, states: Tensor) -> Tensor:
        if self.projection is not None:
            states = self.projection(states.to(self.projection.weight.dtype))
        return normalize(states[..., : self.dim].float(), dim=-1)


@default_pooling_type(tok_pooling_type="ALL")
@MULTIMODAL_REGISTRY.register_processor(
    CompressedProcessor, info=CompressedInfo, dummy_inputs=CompressedInputs
)
class MmragQwen3VLEmbedder(Qwen3VLForConditionalGeneration):  # type: ignore[misc]
    """A checkpoint of ours on a Qwen3-VL backbone."""

    is_pooling_model = True

    # transformers saves the backbone with and without its head: names begin with "model." or not
    hf_to_vllm_mapper = WeightsMapper(orig_to_new_prefix={"language_model.": "language_model.model."})

    def __init__(self, *, vllm_config: Any, prefix: str = "model") -> None:  # noqa: ANN401
        model_config = vllm_config.model_config
        _check_options(vllm_config)
        config = copy.deepcopy(model_config.hf_config)
        vocabulary = int(getattr(config.text_config, VOCABULARY))
        config.text_config.vocab_size = vocabulary
        super().__init__(vllm_config=vllm_config.with_hf_config(config), prefix=prefix)
        self.language_model.lm_head = PPMissingLayer()  # it never speaks
        self.vocabulary = vocabulary
        self.folder = folder_of(model_config)
        family, settings, _ = settings_of(self.folder, read_overrides(settings_in(model_config)))
        self.compression = settings.compression
        self.merge = int(config.vision_config.spatial_merge_size)
        self._table_values = tables_in(self.folder, family) if settings.pooling == "meta" else {}
        hidden = int(config.text_config.hidden_size)
        queries = self._table_values.get("meta.query", torch.empty(0, hidden))
        documents = self._table_values.get("meta.document", torch.empty(0, hidden))
        weight = self._table_values.get("projection.weight")
        self.meta_tokens = nn.Parameter(torch.empty(len(queries) + len(documents), hidden), False)
        # float32, as locally: vectors are rounded once, at their end
        self.projection = (
            None if weight is None else nn.Linear(hidden, len(weight), bias=False, dtype=torch.float32)
        )
        for merger in (self.visual.merger, *self.visual.deepstack_merger_list):
            merger.register_forward_pre_hook(_compress_input)
        self.pooler = MetaRowPooler(self.projection, self.vocabulary, len(queries), settings.dim or hidden)

    def _process_image_input(self, image_input: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Encode pictures; return the compressed tokens of each."""
        grids = [(height, width) for _, height, width in image_input["image_grid_thw"].tolist()]
        token = _GRIDS.set((grids, self.compression, self.merge))
        try:
            features = self.visual(
                image_input["pixel_values"].type(self.visual.dtype), grid_thw=image_input["image_grid_thw"]
            )
        finally:
            _GRIDS.reset(token)
        sizes = [np.prod(self.compression.grid(grid, self.merge)) // self.merge**2 for grid in grids]
        return tuple(features.split([int(size) for size in sizes]))

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[Tensor, int]:
        """Return the positions ``(3, T)`` of time, row and column, and how far the next one lags behind."""
        parts: list[np.ndarray[Any, Any]] = []
        first = start = 0  # of the text that comes next: its token, and its position

        def add_text(end: int) -> None:
            nonlocal start
            parts.append(np.broadcast_to(np.arange(end - first) + start, (3, end - first)))
            start += end - first

        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            _, height, width = feature.data["image_grid_thw"].data.tolist()
            rows, columns = (
                side // self.merge for side in self.compression.grid((height, width), self.merge)
            )
            offset = feature.mm_position.offset
            add_text(offset)
            parts.append(np.indices((1, rows, columns)).reshape(3, -1) + start)
            start += max(rows, columns)
            first = offset + rows * columns
        add_text(len(input_tokens))
        positions = np.concatenate(parts, axis=1)
        return torch.from_numpy(np.ascontiguousarray(positions)), int(positions.max()) + 1 - len(input_tokens)

    def embed_input_ids(
        self,
        input_ids: Tensor,
        multimodal_embeddings: Any = None,  # noqa: ANN401
        *,
        is_multimodal: Tensor | None = None,
    ) -> Tensor:
        """Look up embeddings ``(T, D)``; those of meta tokens are rows of the tables."""
        embeds: Tensor = super().embed_input_ids(
            input_ids.clamp(max=self.vocabulary - 1), multimodal_embeddings, is_multimodal=is_multimodal
        )
        if not len(self.meta_tokens):
            return embeds
        rows = self.meta_tokens[(input_ids - self.vocabulary).clamp(min=0)].to(embeds)
        return torch.where((input_ids >= self.vocabulary)[:, None], rows, embeds)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the backbone, which is all that vLLM gives, and the tables."""
        backbone = (
            (name.removeprefix("model."), weight)
            for name, weight in weights
            if not name.startswith("lm_head.") and name not in self._table_values
        )
        names: set[str] = AutoWeightsLoader(self).load_weights(backbone, mapper=self.hf_to_vllm_mapper)
        tables = self._table_values
        if tables:
            rows = torch.cat([tables["meta.query"].float(), tables["meta.document"].float()])
            self.meta_tokens.data.copy_(rows)
        if self.projection is not None:
            self.projection.weight.data.copy_(tables["projection.weight"].float())
            names |= {"projection.weight", "pooler.projection.weight"}
        return names | {"meta_tokens"}


def _compress_input(merger: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Resize what a connector is about to merge, ``(sum of H*W, 1, D)`` or ``(sum of H*W, D)``."""
    pictures = _GRIDS.get()
    if pictures is None:
        return inputs
    grids, compression, merge = pictures
    states, *rest = inputs
    flat = compress_blocks(states.reshape(len(states), -1), list(grids), compression, merge)
    return (flat.reshape(len(flat), *states.shape[1:]), *rest)


def _check_options(vllm_config: Any) -> None:  # noqa: ANN401
    """Refuse ways of running the vision encoder that know nothing of compression.

    Raises:
        ValueError: one of them is on.
    """
    compilation = vllm_config.compilation_config
    encoder = vllm_config.model_config.get_multimodal_config()
    modes = {
        "--mm-encoder-tp-mode data": encoder.mm_encoder_tp_mode == "data",
        "compile_mm_encoder": bool(getattr(compilation, "compile_mm_encoder", False)),
        "cudagraph_mm_encoder": bool(getattr(compilation, "cudagraph_mm_encoder", False)),
    }
    on = [name for name, is_on in modes.items() if is_on]
    if on:
        raise ValueError(f"the vision encoder must run by itself for compression, got {', '.join(on)}.")
