"""Several processes as one batch: gather vectors with their gradients, and keys without."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """The rank of this process and how many there are; ``(0, 1)`` where it is alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gathered(vectors: Tensor) -> Tensor:
    """``(n, ...)`` of every process joined in order of rank; every process must bring the same shape.

    Gradients flow back to the process that brought them: the sum of what all processes did with them. With
    a loss that is a mean in each process and gradients averaged over processes, as DDP does, that is the
    gradient of the mean over the whole batch.
    """
    if world()[1] == 1:
        return vectors
    joined: Tensor = _Gather.apply(vectors)  # type: ignore[no-untyped-call]
    return joined


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums over processes; torch's own of this kind is deprecated."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:  # noqa: ANN401  autograd's
        """Vectors of all processes."""
        parts = [torch.empty_like(vectors) for _ in range(world()[1])]
        dist.all_gather(parts, vectors.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401  autograd's
        """What all processes want of this one's vectors."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total.chunk(world()[1])[world()[0]]


def gathered_keys(keys: Sequence[str]) -> list[str]:
    """Words of every process, in the order of `gathered`."""
    size = world()[1]
    if size == 1:
        return list(keys)
    parts: list[list[str] | None] = [None] * size
    dist.all_gather_object(parts, list(keys))
    return [key for part in parts for key in part or ()]


@contextmanager
def accumulating(accelerator: Any, model: Any) -> Iterator[None]:  # noqa: ANN401  accelerate's, torch's
    """Around every backward pass of a step but the last: nothing is exchanged, nothing is stepped.

    The wrapper of DeepSpeed in accelerate steps at each backward pass unless the state says that more are
    to come; `accelerate.Accelerator.no_sync` does not say so.
    """
    state = accelerator.gradient_state
    before = state.sync_gradients
    deepspeed = str(accelerator.distributed_type).endswith("DEEPSPEED")
    with nullcontext() if deepspeed else accelerator.no_sync(model):
        state._set_sync_gradients(False)
        try:
            yield
        finally:
            state._set_sync_gradients(before)


def check_deepspeed(path: str | None) -> None:
    """Look into DeepSpeed's own file before anything is loaded.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is not JSON, or asks for ZeRO stage 3, which leaves no process a whole table of meta
            tokens to read or to save.
    """
    if path is None:
        return
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"run: deepspeed must be a JSON file that is there, got {path!r}.")
    try:
        stage = json.loads(file.read_text(encoding="utf-8"))["zero_optimization"]["stage"]
    except KeyError:
        return
    except (ValueError, TypeError) as error:
        raise ValueError(f"run: deepspeed must be DeepSpeed's JSON, got {path!r}: {error}.") from error
    if stage == 3:
        raise ValueError(
            f"run: deepspeed must be of ZeRO stage 0, 1 or 2, got stage 3 in {path!r}. Stage 2 shards "
            "gradients and moments; with adapters the weights themselves are most of what is left."
        )
