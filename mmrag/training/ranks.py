"""Several processes as one batch: gather vectors with their gradients, and keys without.

Shapes: n vectors of this process, P processes.
"""

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
    """Return the rank of this process and the number of processes; ``(0, 1)`` without torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather(vectors: Tensor) -> Tensor:
    """Return the vectors of all processes, ``(P n, ...)`` in order of rank.

    A vector's gradient is the sum over all processes. With a loss that is a mean in each process and
    gradients averaged over processes, as DDP does, that is the gradient of the mean over the whole batch.

    Args:
        vectors: ``(n, ...)``, of the same shape in every process.
    """
    if world()[1] == 1:
        return vectors
    of_all_ranks: Tensor = _Gather.apply(vectors)  # type: ignore[no-untyped-call]  # (P n, ...)
    return of_all_ranks


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums over processes; torch's own of this kind is deprecated."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:  # noqa: ANN401  autograd's
        """Gather the vectors of all processes."""
        parts = [torch.empty_like(vectors) for _ in range(world()[1])]  # P of (n, ...)
        dist.all_gather(parts, vectors.contiguous())
        return torch.cat(parts)  # (P n, ...)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401  autograd's
        """Sum the gradients of all processes for this one's vectors."""
        total = gradient.clone()  # (P n, ...)
        dist.all_reduce(total)
        return total.chunk(world()[1])[world()[0]]  # (n, ...)


def gather_keys(keys: Sequence[str]) -> list[str]:
    """Return the keys of all processes, in the order of `gather`."""
    size = world()[1]
    if size == 1:
        return list(keys)
    parts: list[list[str] | None] = [None] * size
    dist.all_gather_object(parts, list(keys))
    return [key for part in parts for key in part or ()]


@contextmanager
def without_step(accelerator: Any, model: Any) -> Iterator[None]:  # noqa: ANN401  accelerate's, torch's
    """Suppress exchange of gradients and optimizer steps: for every backward pass of a step but the last.

    accelerate's wrapper of DeepSpeed steps at each backward pass unless ``sync_gradients`` is False, which
    `accelerate.Accelerator.no_sync` does not set.
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
    """Check DeepSpeed's configuration before anything is loaded.

    Args:
        path: its JSON file; None passes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or asks for ZeRO stage 3, in which no process has a whole table of meta
            tokens to read or to save.
    """
    if path is None:
        return
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"run: deepspeed must be an existing JSON file, got {path!r}.")
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
