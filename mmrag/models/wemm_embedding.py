"""WeMM-Embedding: a Qwen3.5 whose last token, ``<embedding>``, is the vector; text, images and both.

The recipe, as its card and scripts describe it::

    <|im_start|>user
    <image><text><|im_end|><embedding>

* The vector is the last layer's state at ``<embedding>``, scaled to length one. It may be cut to one of the
  widths in ``matryoshka_dimensions`` of config.json and is scaled again.
* There is no instruction by default. One stands before the words, behind the image, with a space between;
  queries and documents are written alike.
* Part of the prompt stands in the tokenizer: its normalizer takes away a line end at the end of a stretch of
  text between special tokens, as the one between ``user`` and an image. transformers (from 5.18) makes the
  tokenizer of this model type without that normalizer, so it is read from tokenizer.json here.
* Images keep the checkpoint's bounds; `max_visual_tokens` is 1800 unless set. The repository's scripts resize
  an image twice where it is outside their bounds, here it is done once.

The checkpoint brings Python of its own for loading, which is not run: the class is Qwen3.5's, and the pooling
is the one above.

Compression before the connector is optional; the published weights were not trained with it. Meta tokens do
not apply: ``family="mmrag"`` opens the checkpoint as a backbone to train them on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrag.models.inputs import Item
from mmrag.models.qwen3_5 import Qwen3_5Backbone
from mmrag.models.single_vector import SingleVectorEmbedder, TurnTemplate

EMBEDDING_TOKEN = "<embedding>"


class EmbeddingTemplate(TurnTemplate):
    """The conversation of the recipe.

    Raises:
        ValueError: the tokenizer does not end an input in ``<embedding>``.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, image_token_id: int) -> None:  # noqa: ANN401
        super().__init__(tokenizer, max_tokens, image_token_id)
        token_id = tokenizer.convert_tokens_to_ids(EMBEDDING_TOKEN)
        last = self._ids("", "")[-1]
        if token_id is None or token_id == tokenizer.unk_token_id or last != token_id:
            raise ValueError(
                f"a tokenizer of WeMM-Embedding must end an input in {EMBEDDING_TOKEN}, got "
                f"{tokenizer.convert_ids_to_tokens(last)!r}. Download the checkpoint's tokenizer.json again."
            )

    def write(self, instruction: str, content: str) -> str:
        """See `TurnTemplate.write`; `arrange` has put the instruction into the content."""
        del instruction
        return f"<|im_start|>user\n{content}<|im_end|>{EMBEDDING_TOKEN}"

    def arrange(self, item: Item, parts: list[str], instruction: str) -> str:
        """See `TurnTemplate.arrange`: the instruction stands before the first words."""
        instruction = instruction.strip()
        texts = [at for at, part in enumerate(item.parts) if isinstance(part, str)]
        if not instruction:
            return "".join(parts)
        if texts:
            first = texts[0]
            return "".join([*parts[:first], f"{instruction} {parts[first]}", *parts[first + 1 :]])
        end = len(item.parts)
        return "".join([*parts[:end], instruction, *parts[end:]])


class WeMMEmbedder(SingleVectorEmbedder):
    """A WeMM-Embedding checkpoint as an embedder; arguments as of `SingleVectorEmbedder`."""

    design = "WeMM-Embedding"
    algorithm = "wemm-embedding-1"
    backbone_class = Qwen3_5Backbone
    template_class = EmbeddingTemplate

    @classmethod
    def make_backbone(cls, folder: Path, **options: Any) -> Qwen3_5Backbone:  # noqa: ANN401
        """See `SingleVectorEmbedder.make_backbone`; the tokenizer gets its own normalizer back."""
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.is_file():
            raise FileNotFoundError(
                f"a WeMM-Embedding checkpoint must hold tokenizer.json, part of its prompt, got {folder} "
                "without it. Download it again."
            )
        backbone: Qwen3_5Backbone = super().make_backbone(folder, **options)
        backbone.tokenizer.backend_tokenizer.normalizer = Tokenizer.from_file(str(file)).normalizer
        return backbone

    @classmethod
    def check_dim(cls, dim: int | None, config: Mapping[str, Any]) -> None:
        """See `SingleVectorEmbedder.check_dim`: the widths stand in config.json."""
        widths = config.get("matryoshka_dimensions")
        if dim is not None and widths and dim not in widths:
            raise ValueError(
                f"dim must be one of {', '.join(map(str, widths))}, which this checkpoint was trained for, "
                f"got {dim}."
            )
