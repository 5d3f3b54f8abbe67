"""Qwen3-VL-Embedding: one vector per input, the state of its last token; text, images and both.

The recipe, as its repository's script and its files for sentence-transformers have it::

    <|im_start|>system
    <instruction><|im_end|>
    <|im_start|>user
    <image><text><|im_end|>
    <|im_start|>assistant
    (what the tokenizer itself adds)

* The default instruction is ``Represent the user's input.``; an instruction that does not end in
  punctuation gets a full stop.
* The vector is the state of the last token that is attended to. Whether ``<|endoftext|>`` follows the
  generation prompt is left to the tokenizer's post-processor, as in both references.
* An empty input is the word ``NULL``.
* A vector may be cut to a prefix (Matryoshka, 64 and up) and is scaled to length one again.
* Images take at most 1800 tokens, as in the script; the files for sentence-transformers allow 16 384.

Compression before the connector is optional; the published weights were not trained with it.
Meta tokens do not apply.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from mmrag.models.qwen3_vl import Qwen3VLBackbone
from mmrag.models.single_vector import MAX_VISUAL_TOKENS, SingleVectorEmbedder, TurnTemplate

DEFAULT_INSTRUCTION = "Represent the user's input."

MIN_VISUAL_TOKENS = 4


class ConversationTemplate(TurnTemplate):
    """The conversation of the recipe."""

    empty = "NULL"

    def write(self, instruction: str, content: str) -> str:
        """See `TurnTemplate.write`; ``""`` for the default instruction."""
        return chat(with_full_stop(instruction) or DEFAULT_INSTRUCTION, content)


class Qwen3VLEmbedding(SingleVectorEmbedder):
    """A Qwen3-VL-Embedding checkpoint as an embedder; arguments as of `SingleVectorEmbedder`."""

    design = "Qwen3-VL-Embedding"
    algorithm = "qwen3-vl-embedding-1"
    backbone_class = Qwen3VLBackbone
    template_class = ConversationTemplate
    default_instruction = DEFAULT_INSTRUCTION

    @classmethod
    def as_instruction(cls, instruction: str) -> str:
        """See `with_full_stop`."""
        return with_full_stop(instruction)

    @classmethod
    def make_backbone(cls, folder: Path, **options: Any) -> Qwen3VLBackbone:  # noqa: ANN401
        """See `SingleVectorEmbedder.make_backbone`; images have the bounds of the repository's script."""
        backbone: Qwen3VLBackbone = super().make_backbone(folder, **options)
        block = backbone.image_processor.patch_size * backbone.merge
        backbone.image_processor.size = {  # the script's lower bound; the upper one is max_visual_tokens
            "shortest_edge": MIN_VISUAL_TOKENS * block**2,
            "longest_edge": max(backbone.image_processor.size["longest_edge"], MAX_VISUAL_TOKENS * block**2),
        }
        return backbone


def chat(instruction: str, content: str) -> str:
    """Write the conversation as text up to the answer, as the checkpoint's chat template does."""
    system = f"<|im_start|>system\n{instruction}<|im_end|>\n"
    return f"{system}<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def with_full_stop(instruction: str) -> str:
    """Add a full stop to an instruction that does not end in punctuation; ``""`` stays."""
    instruction = instruction.strip()
    if instruction and not unicodedata.category(instruction[-1]).startswith("P"):
        instruction += "."
    return instruction
