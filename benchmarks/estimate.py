"""What a run costs by arithmetic: memory, work and hours. Nothing here is measured.

Work, a weight and token (or patch) counted as two operations a pass::

    language model   passes x 2 N T      one forward pass and one backward pass to the inputs; another
                                         forward pass where gradients are cached, and another where
                                         activations are computed again
    trained weights  2 W T               their gradients
    vision encoder   passes x 2 V P      forward alone where it is frozen; the language model's where not

with N weights of the language model's layers, T tokens of a step, W trained weights, V weights of encoder
and connector, P patches. Attention over so few tokens is left out: at 400 tokens its products are 1 % of
what the layers' weights do in an 8B model, and 3 % in a 2B one.

Memory of a device: all weights in their format; 16 bytes a trained weight (itself, gradient and two moments
in float32); activations of one micro-batch, which are 34 bytes a layer, token and channel (Korthikanti et
al. 2022, arXiv 2205.05198, without the attention matrix), or 2 where they are computed again, and 34 once.
That count is of a GPT's layers; wider feed-forward layers need more.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmrag.training.config import TrainConfig

VISUAL_TOKENS = 1280  # of a page before compression
PATCHES_A_TOKEN = 4
QUERY_TOKENS = 50
"""Of instruction, marks and a question; assumed."""
PAGE_TOKENS = 30
"""Of instruction and marks beside a page's picture; assumed."""
RESPONSE_TOKENS = 300
"""Of what a generative stage is to write; assumed."""
CONTRASTIVE = ("contrast", "finetune")


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of a backbone, in weights.

    Attributes:
        language: of the language model's layers.
        embeddings: of the vocabulary, read by look-up.
        vision: of encoder and connector.
        hidden: width of the language model.
        layers: their number.
        adapted: inputs and outputs of the linear layers that adapters go on, summed over one layer.
    """

    language: int
    embeddings: int
    vision: int
    hidden: int
    layers: int
    adapted: int


def _adapted(hidden: int, inner: int, queries: int, keys: int) -> int:
    attention = (hidden + queries) + 2 * (hidden + keys) + (queries + hidden)
    return attention + 3 * (hidden + inner)


SHAPES = {
    "qwen3-vl-2b": Shape(1_409_410_048, 311_164_928, 406_957_056, 2048, 28, _adapted(2048, 6144, 2048, 1024)),
    "qwen2.5-vl-7b": Shape(
        6_525_621_760, 544_997_376, 676_550_144, 3584, 28, _adapted(3584, 18944, 3584, 512)
    ),
    "internvl3-2b": Shape(1_310_340_608, 232_971_264, 312_600_576, 1536, 28, _adapted(1536, 8960, 1536, 256)),
    "internvl3-8b": Shape(
        6_525_621_760, 543_599_616, 331_479_040, 3584, 28, _adapted(3584, 18944, 3584, 512)
    ),
}
"""Counted on models without memory (`benchmarks/training_cost.py --count`)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process needs.

    Attributes:
        trained: weights with gradients.
        tokens: of a step.
        flop: operations of a step.
        memory: bytes.
    """

    trained: int
    tokens: int
    flop: float
    memory: float

    def hours(self, steps: int, *, peak: float, share: float) -> float:
        """Hours of one device for so many steps.

        Args:
            steps: of the optimizer.
            peak: operations a second that the device's maker names.
            share: of the peak that is reached, 0 to 1.
        """
        return self.flop * steps / (peak * share) / 3600


def estimate(config: TrainConfig, shape: Shape) -> Cost:
    """The cost of a run by the formulas of this module."""
    model, run = config.model, config.run
    width = 2 if model.dtype == "bfloat16" else 4
    visual = model.max_visual_tokens or VISUAL_TOKENS // model.compression**2
    patches = visual * model.compression**2 * PATCHES_A_TOKEN
    contrastive = config.stage in CONTRASTIVE
    pages = run.batch * (1 + config.loss.negatives) if contrastive else run.batch
    longest = PAGE_TOKENS + visual + (sum(model.budget) if contrastive else RESPONSE_TOKENS)
    tokens = pages * longest + (run.batch * (QUERY_TOKENS + model.budget[0]) if contrastive else 0)
    trained = _trained(config, shape, tables=contrastive)
    again = (1 if contrastive else 0) + (1 if model.gradient_checkpointing else 0)
    flop = (2 + again) * 2.0 * shape.language * tokens + 2.0 * trained * tokens
    if model.train_vision:
        flop += (3 + again) * 2.0 * shape.vision * pages * patches
    else:
        flop += (2 if contrastive else 1) * 2.0 * shape.vision * pages * patches
    layers = (2 * shape.layers + 34) if model.gradient_checkpointing else 34 * shape.layers
    micro = min(run.micro_batch, run.batch)
    memory = width * (shape.language + shape.embeddings + shape.vision) + (16 - width) * trained
    if model.lora is not None:  # adapters and tables stand beside the weights, not in their place
        memory += width * trained
    return Cost(trained, tokens, flop, memory + float(micro * longest * shape.hidden * layers))


def _trained(config: TrainConfig, shape: Shape, *, tables: bool) -> int:
    model = config.model
    own = sum(model.budget) * shape.hidden + (model.dim or 0) * shape.hidden if tables else 0
    if model.train_vision:
        own += shape.vision
    if not model.train_language:
        return own
    if model.lora is None:
        return own + shape.language + shape.embeddings
    return own + model.lora.rank * shape.layers * shape.adapted
