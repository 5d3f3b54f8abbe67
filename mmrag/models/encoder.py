"""`Encoder`: a loaded model behind preprocessing, batching, recovery from full memory and a lock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from mmrag.forks import new_lock
from mmrag.models.batch import TokenRow, collate
from mmrag.models.inputs import Item, ready_image
from mmrag.models.model import RetrievalModel

if TYPE_CHECKING:
    from mmrag.models.prompt import TokenizedInput
    from mmrag.types import Matrix

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BATCH_COST = 16_384
"""Most padded tokens of a batch, visual ones counted before compression: about eleven pages."""


@dataclass(frozen=True, slots=True)
class PreparedInput:
    """An input as tokens and pixels, ready for a batch.

    Attributes:
        row: tokens and pixels.
        cost: length in tokens, visual ones counted before compression, for batches of like cost.
        cut: whether the text was longer than ``max_tokens``.
    """

    row: TokenRow
    cost: int
    cut: bool


class Template(Protocol):
    """The rule by which inputs become tokens: a `PromptTemplate`, or another design's template."""

    @property
    def vocabulary(self) -> str:
        """Return the tokenizer as JSON, for fingerprints."""
        ...

    def tokenize(self, item: Item, side: str, placeholders: Sequence[str]) -> TokenizedInput:
        """Return the tokens of an input; `placeholders` is the text of each image. May raise ValueError."""
        ...


class Encoder:
    """A model on its device; safe to share between threads, which take turns batch by batch.

    Args:
        model: in evaluation mode, on its device.
        template: of the model's tokenizer.
        max_visual_tokens: of an image, after compression.
        batch_size: most inputs of a batch.

    Raises:
        ValueError: no image fits `max_visual_tokens`.
    """

    def __init__(
        self, model: RetrievalModel, template: Template, *, max_visual_tokens: int, batch_size: int
    ) -> None:
        self.model = model
        self.template = template
        self.max_visual_tokens = max_visual_tokens
        self._batcher = Batcher(batch_size, BATCH_COST)
        self._lock = new_lock()
        tokenizer = model.backbone.tokenizer
        self._pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)
        if not model.backbone.sees:
            return
        from PIL import Image

        model.backbone.preprocess(Image.new("RGB", (64, 64)), max_visual_tokens, model.compression)

    @property
    def device(self) -> torch.device:
        """Return the device of the model."""
        return next(self.model.parameters()).device

    def prepare(self, item: Item, side: str) -> PreparedInput:
        """Decode, resize and tokenise one input; may run in any thread.

        Raises:
            ValueError: an image cannot be used, or too many tokens are needed.
        """
        backbone, compression = self.model.backbone, self.model.compression
        images = tuple(
            backbone.preprocess(ready_image(part), self.max_visual_tokens, compression)
            for part in item.parts
            if not isinstance(part, str)
        )
        counts = [backbone.token_count(image, compression) for image in images]
        tokens = self.template.tokenize(item, side, [backbone.image_text(count) for count in counts])
        features = sum(height * width for image in images for height, width in image.grids)
        cost = len(tokens.ids) - sum(counts) + features // backbone.merge**2
        return PreparedInput(TokenRow(tokens.ids, images), cost, tokens.cut)

    def encode(
        self, inputs: Sequence[PreparedInput], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix]]:
        """Yield ``(position, matrix)`` as batches are done; each matrix is ``(rows, dim)`` float32.

        Raises:
            MemoryError: one input alone does not fit the device.
        """
        meta = self.model.meta_count(side, rows)
        costs = [item.cost + meta for item in inputs]

        def work(positions: Sequence[int]) -> list[Matrix]:
            return self._forward([inputs[position].row for position in positions], side, rows, meta)

        try:
            yield from self._batcher.run(costs, work, batch_size)
        except OutOfMemoryError as error:
            raise MemoryError(
                f"one input of {max(costs)} tokens must fit {self.device}, and it does not ({error}). Lower "
                "max_visual_tokens or max_tokens, or use another dtype or device."
            ) from error

    def _forward(self, rows: list[TokenRow], side: str, count: int, meta: int) -> list[Matrix]:
        def work() -> list[Matrix]:
            batch = collate(rows, pad=self._pad, meta=meta).to(self.device)
            return [matrix.copy() for matrix in self.model(batch, side, count).cpu().numpy()]

        return in_turn(self._lock, self.device, work)


def in_turn(lock: threading.Lock, device: torch.device, work: Callable[[], Result]) -> Result:
    """Run `work` alone on a device and without gradients, and return its result.

    Raises:
        OutOfMemoryError: the device ran out of memory, which is free again.
    """
    with lock:
        try:
            with torch.inference_mode():
                return work()
        except RuntimeError as error:
            if not _is_memory(error):
                raise
            shortage = str(error).splitlines()[0][:200]
        # here the error is gone, and with its traceback the tensors of the batch
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()
    raise OutOfMemoryError(shortage)


def _is_memory(error: RuntimeError) -> bool:
    """Return whether a device ran out of memory; only CUDA has a class for it."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


logger = logging.getLogger(__name__)


class OutOfMemoryError(MemoryError):
    """A batch was too large for the device; the caller of `Batcher` names the device in its own error."""


class Batcher:
    """Batches of like cost, smaller once memory has run out. Not safe between threads.

    Args:
        most_items: most inputs of a batch.
        most_cost: most padded cost of a batch: its inputs times the cost of the largest. A single input
            may cost more.
    """

    def __init__(self, most_items: int, most_cost: int) -> None:
        self.most_items = most_items
        self.most_cost = most_cost

    def run(
        self, costs: Sequence[int], work: Callable[[Sequence[int]], Sequence[Result]], most_items: int
    ) -> Iterator[tuple[int, Result]]:
        """Run `work` over all positions in batches and yield ``(position, result)`` as batches are done.

        Largest first, so that memory runs out at the start or not at all. A batch that did not fit is
        halved, and so are later ones of its cost, in later calls, too.

        Args:
            costs: one per input.
            work: takes positions, returns a result for each; raises `OutOfMemoryError` if they are too many.
            most_items: of this call; at most the batcher's own.

        Raises:
            OutOfMemoryError: a single input does not fit.
        """
        left = sorted(range(len(costs)), key=lambda position: (-costs[position], position))
        while left:
            batch = self._first(left, costs, min(most_items, self.most_items))
            results = _run_or_none(work, batch)
            if results is None:
                half = len(batch) // 2
                self.most_cost = half * costs[batch[0]]
                logger.warning("out of memory at %d inputs; going on with %d at a time", len(batch), half)
                continue
            left = left[len(batch) :]
            yield from zip(batch, results, strict=True)

    def _first(self, left: Sequence[int], costs: Sequence[int], most_items: int) -> Sequence[int]:
        count = min(most_items, self.most_cost // max(1, costs[left[0]]))
        return left[: max(1, count)]


def _run_or_none(
    work: Callable[[Sequence[int]], Sequence[Result]], batch: Sequence[int]
) -> Sequence[Result] | None:
    """Run `work`, or return None if a batch of several does not fit.

    On return the error's traceback, and with it the memory of the batch, is gone.
    """
    try:
        return work(batch)
    except OutOfMemoryError:
        if len(batch) == 1:
            raise
        return None
