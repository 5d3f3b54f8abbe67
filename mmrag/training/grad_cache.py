"""Gradient caching (Gao et al. 2021, arXiv 2101.06983): a contrastive batch larger than memory.

A contrastive loss needs the vectors of the whole batch, but the graph of only one part at a time::

    1. vectors of every part, without a graph
    2. the loss of all vectors, and its gradient with respect to them
    3. each part again, with a graph, and backward from its share of that gradient

The result is the gradient of the big batch, exactly, for one more forward pass. Dropout must be the same
in 1 and 3, so the random state of each part is kept and restored.

Shapes: n inputs of a part; what follows n is up to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")


class RandomState:
    """The random state of the CPU and of one device, to be restored.

    Args:
        device: the CPU or a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._device = device

    @contextmanager
    def restore(self) -> Iterator[None]:
        """Draw the same numbers again inside the block; what is drawn after it is not affected."""
        devices = [self._device] if self._cuda is not None else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self._cpu)
            if self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield


def cached_backward(
    encode: Callable[[Part], Tensor],
    parts: Sequence[Part],
    loss: Callable[[Sequence[Tensor]], Tensor],
    *,
    device: torch.device,
    backward: Callable[[Tensor], Any] = torch.Tensor.backward,
    no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Tensor:
    """Accumulate the gradient of ``loss([encode(part) for part in parts])``.

    Args:
        encode: returns ``(n, ...)`` vectors of a part, with a graph if gradients are enabled.
        parts: each small enough for memory.
        loss: of the vectors of all parts, in order; their shapes may differ.
        device: where `encode` draws random numbers.
        backward: runs a backward pass, for example ``accelerator.backward``. It is called once per part
            with a scalar, which it may only scale linearly.
        no_sync: entered around all backward passes but the last, so that processes exchange gradients once.

    Returns:
        The loss, a scalar without a graph.
    """
    leaves, states = [], []
    with torch.no_grad():
        for part in parts:
            states.append(RandomState(device))
            leaves.append(encode(part).detach())  # (n, ...)
    for leaf in leaves:
        leaf.requires_grad_()
    value = loss(leaves)  # ()
    gradients = torch.autograd.grad(value, leaves)  # (n, ...) each
    for number, (part, state, gradient) in enumerate(zip(parts, states, gradients, strict=True)):
        last = number == len(parts) - 1
        with nullcontext() if last else no_sync(), state.restore():
            backward((encode(part) * gradient).sum())  # ()
    return value.detach()
