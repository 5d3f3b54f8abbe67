"""A loaded model as rows in, matrices out: preparing, batching, memory, the lock. Needs torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from mmrag.models.batch import TokenRow, collate
from mmrag.models.inputs import Item, ready_image
from mmrag.models.model import RetrievalModel

if TYPE_CHECKING:
    from mmrag.models.prompt import Laid
    from mmrag.types import Matrix

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BATCH_COST = 16_384
"""Most padded tokens of a batch, visual ones counted before compression: about eleven pages."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An input on its way into a batch.

    Attributes:
        row: its tokens and pixels.
        cost: its length, visual tokens counted before compression, for batches of like cost.
        cut: whether its text was too long.
    """

    row: TokenRow
    cost: int
    cut: bool


class Lays(Protocol):
    """How inputs become tokens: `mmrag.models.prompt.Layout`, or another checkpoint's template."""

    @property
    def vocabulary(self) -> str:
        """The tokenizer as JSON, for fingerprints."""
        ...

    def lay(self, item: Item, side: str, placeholders: Sequence[str]) -> Laid:
        """Tokens of an input, given the text of each image's placeholders. Raises ValueError."""
        ...


class Encoder:
    """A model on its device; safe to share between threads, which take turns batch by batch.

    Args:
        model: in evaluation mode, on its device.
        layout: of its tokenizer.
        max_visual_tokens: of an image, after compression.
        batch_size: most inputs of a batch.

    Raises:
        ValueError: no image fits `max_visual_tokens`.
    """

    def __init__(
        self, model: RetrievalModel, layout: Lays, *, max_visual_tokens: int, batch_size: int
    ) -> None:
        self.model = model
        self.layout = layout
        self.max_visual_tokens = max_visual_tokens
        self._batcher = Batcher(batch_size, BATCH_COST)
        self._lock = threading.Lock()
        tokenizer = model.backbone.tokenizer
        self._pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)
        if not model.backbone.sees:
            return
        from PIL import Image

        model.backbone.preprocess(Image.new("RGB", (64, 64)), max_visual_tokens, model.compression)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    def prepare(self, item: Item, side: str) -> Prepared:
        """Decode, resize and lay out one input; may run in any thread.

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
        laid = self.layout.lay(item, side, [backbone.image_text(count) for count in counts])
        features = sum(height * width for image in images for height, width in image.grids)
        cost = len(laid.ids) - sum(counts) + features // backbone.merge**2
        return Prepared(TokenRow(laid.ids, images), cost, laid.cut)

    def encode(
        self, prepared: Sequence[Prepared], side: str, rows: int, batch_size: int
    ) -> Iterator[tuple[int, Matrix]]:
        """``(position, matrix)`` as they come: ``(rows, dim)`` float32 each.

        Raises:
            MemoryError: one input alone does not fit the device.
        """
        meta = self.model.meta_count(side, rows)
        costs = [one.cost + meta for one in prepared]

        def work(positions: Sequence[int]) -> list[Matrix]:
            return self._forward([prepared[position].row for position in positions], side, rows, meta)

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
    """What `work` gives, computed alone on a device and without gradients.

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
    """Whether a device ran out of memory; only CUDA has a class for it."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


logger = logging.getLogger(__name__)


class OutOfMemoryError(MemoryError):
    """A batch was too large for the device; told apart by `Batcher`'s caller, who knows the device."""


class Batcher:
    """Forms batches and remembers what did not fit. Not safe between threads.

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
        """``work(positions)`` over all positions in batches; yields ``(position, result)`` as they come.

        Largest first, so that memory runs out at the start or not at all. A batch that did not fit is
        halved, and so are later ones of its cost, in later calls, too.

        Args:
            costs: one an input.
            work: raises `OutOfMemoryError` where the batch was too large.
            most_items: of this call; no more than the batcher's own.

        Raises:
            OutOfMemoryError: a single input does not fit.
        """
        left = sorted(range(len(costs)), key=lambda position: (-costs[position], position))
        while left:
            batch = self._first(left, costs, min(most_items, self.most_items))
            results = _tried(work, batch)
            if results is None:
                half = len(batch) // 2
                self.most_cost = half * costs[batch[0]]
                logger.warning("out of memory at %d inputs; going on with %d at a time", len(batch), half)
                continue
            left = left[len(batch) :]
            yield from zip(batch, results, strict=True)

    def _first(self, left: Sequence[int], costs: Sequence[int], most_items: int) -> Sequence[int]:
        fitting = self.most_cost // max(1, costs[left[0]])
        return left[: max(1, min(most_items, fitting))]


def _tried(
    work: Callable[[Sequence[int]], Sequence[Result]], batch: Sequence[int]
) -> Sequence[Result] | None:
    """None where a batch of several did not fit; the error's traceback, and the memory it holds, is gone."""
    try:
        return work(batch)
    except OutOfMemoryError:
        if len(batch) == 1:
            raise
        return None
