"""Meta tokens and their rows in a pooling model of vLLM, whatever the backbone.

* *Meta tokens.* Their ids lie beyond the vocabulary; their embeddings are the rows of the tables.
* *Pooling.* Only the states of the asked side's meta tokens leave the worker, projected and normalised; of a
  checkpoint of single vectors the last state does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler
from vllm.model_executor.layers.pooler.tokwise import AllPool
from vllm.model_executor.models.utils import AutoWeightsLoader, PPMissingLayer

from mmrag.models.checkpoint import CheckpointConfig, settings_of, tables_in
from mmrag.models.mllm_embedder import VISUAL_TOKENS
from mmrag.models.served.checkpoint import read_overrides
from mmrag.models.served.configuration import VOCABULARY, folder_of, settings_in


def config_of(model_config: Any) -> CheckpointConfig:  # noqa: ANN401  vLLM's ModelConfig
    """Return the settings of the checkpoint that a server was started with."""
    _, config, _ = settings_of(folder_of(model_config), read_overrides(settings_in(model_config)))
    return config


class CheckpointLimits:
    """The part of vLLM's processing info that is the checkpoint's, for a class with vLLM's ``ctx``."""

    ctx: Any

    @property
    def checkpoint(self) -> CheckpointConfig:
        """Return the settings of the checkpoint."""
        if not hasattr(self, "_checkpoint"):
            self._checkpoint = config_of(self.ctx.model_config)
        return self._checkpoint

    @property
    def max_visual_tokens(self) -> int:
        """Return the most tokens of a picture, after compression."""
        return self.checkpoint.max_visual_tokens or VISUAL_TOKENS // self.checkpoint.compression.factor**2


class ImageInputs:
    """Pictures that vLLM measures its memory with, for a class of vLLM's that builds them; no videos.

    Attributes:
        placeholder: of one picture, as text.
    """

    placeholder: str
    info: Any
    _get_dummy_images: Any

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Return the placeholders of so many pictures."""
        return self.placeholder * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self,
        seq_len: int,
        mm_counts: Mapping[str, int],
        mm_options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return so many pictures of the size that the info names."""
        size = self.info.get_image_size_with_most_features()
        return {
            "image": self._get_dummy_images(
                width=size.width,
                height=size.height,
                num_images=mm_counts.get("image", 0),
                overrides=mm_options.get("image"),
            )
        }


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


class MetaRows:
    """The part of a served model that is the same for every backbone; its class comes before vLLM's own."""

    is_pooling_model = True

    visual: Any
    language_model: nn.Module

    def __init__(self, *, vllm_config: Any, prefix: str = "model") -> None:  # noqa: ANN401
        model_config = vllm_config.model_config
        check_options(vllm_config)
        config = copy.deepcopy(model_config.hf_config)
        vocabulary = int(getattr(config.text_config, VOCABULARY))
        config.text_config.vocab_size = vocabulary
        super().__init__(  # type: ignore[call-arg]  # of vLLM's class
            vllm_config=vllm_config.with_hf_config(config), prefix=prefix
        )
        self.language_model.lm_head = PPMissingLayer()  # it never speaks
        self.vocabulary = vocabulary
        folder = folder_of(model_config)
        family, settings, _ = settings_of(folder, read_overrides(settings_in(model_config)))
        self.compression = settings.compression
        tables = tables_in(folder, family) if settings.pooling == "meta" else {}
        hidden = int(config.text_config.hidden_size)
        queries = tables.get("meta.query", torch.empty(0, hidden))
        documents = tables.get("meta.document", torch.empty(0, hidden))
        weight = tables.get("projection.weight")
        self._table_values = tables
        self.meta_tokens = nn.Parameter(torch.empty(len(queries) + len(documents), hidden), False)
        # float32, as locally: vectors are rounded once, at their end
        self.projection = (
            None if weight is None else nn.Linear(hidden, len(weight), bias=False, dtype=torch.float32)
        )
        self.pooler = MetaRowPooler(self.projection, self.vocabulary, len(queries), settings.dim or hidden)

    def embed_input_ids(
        self,
        input_ids: Tensor,
        multimodal_embeddings: Any = None,  # noqa: ANN401
        *,
        is_multimodal: Tensor | None = None,
    ) -> Tensor:
        """Look up embeddings ``(T, D)``; those of meta tokens are rows of the tables."""
        embeds: Tensor = super().embed_input_ids(  # type: ignore[misc]  # of vLLM's class
            input_ids.clamp(max=self.vocabulary - 1), multimodal_embeddings, is_multimodal=is_multimodal
        )
        if not len(self.meta_tokens):
            return embeds
        rows = self.meta_tokens[(input_ids - self.vocabulary).clamp(min=0)].to(embeds)
        return torch.where((input_ids >= self.vocabulary)[:, None], rows, embeds)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the backbone, which is all that vLLM gives, and the tables."""
        backbone = (
            (weight_name(name), weight)
            for name, weight in weights
            if "lm_head." not in name and name not in self._table_values
        )
        names: set[str] = AutoWeightsLoader(self).load_weights(backbone)
        tables = self._table_values
        if tables:
            rows = torch.cat([tables["meta.query"].float(), tables["meta.document"].float()])
            self.meta_tokens.data.copy_(rows)
        if self.projection is not None:
            self.projection.weight.data.copy_(tables["projection.weight"].float())
            names |= {"projection.weight", "pooler.projection.weight"}
        return names | {"meta_tokens"}


def weight_name(name: str) -> str:
    """Return vLLM's name of a weight.

    transformers saves a backbone with and without its head, and some language models with a level of their
    own: ``model.language_model.``, ``language_model.`` and ``language_model.model.`` begin the same names.
    """
    name = name.removeprefix("model.")
    if not name.startswith("language_model."):
        return name
    return f"language_model.model.{name.removeprefix('language_model.').removeprefix('model.')}"


def check_options(vllm_config: Any) -> None:  # noqa: ANN401
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
