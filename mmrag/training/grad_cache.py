"""Gradient caching (Gao et al. 2021, arXiv 2101.06983): a contrastive batch larger than memory.

A contrastive loss needs the vectors of the whole batch, but the graph of only one part at a time::

    1. vectors of every part, without a graph
    2. the loss of all vectors, and its gradient with respect to them
    3. each part again, with a graph, and backward from its share of that gradient

The result is the gradient of the big batch, exactly, for one more forward pass. Dropout must be the same
in 1 and 3, so the random state of each part is kept and set again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")


class RandomState:
    """The random state of the CPU and of the devices that some tensors are on, to be set again."""

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._device = device

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers inside; outside goes on as if nothing had been drawn."""
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
    """Accumulate the gradient of ``loss([encode(part) for each part])`` and return the loss, detached.

    Args:
        encode: ``(n, ...)`` vectors of a part, with a graph where gradients are on.
        parts: each small enough for memory.
        loss: of the vectors of all parts, in order; parts of different shapes need no common one.
        device: where `encode` draws random numbers.
        backward: what runs a backward pass, for example ``accelerator.backward``. It is called once a part
            with a scalar, and must not scale what it is given other than linearly.
        no_sync: entered around all backward passes but the last, so that processes exchange gradients once.
    """
    leaves, states = [], []
    with torch.no_grad():
        for part in parts:
            states.append(RandomState(device))
            leaves.append(encode(part).detach())
    for leaf in leaves:
        leaf.requires_grad_()
    value = loss(leaves)
    shares = torch.autograd.grad(value, leaves)
    for number, (part, state, share) in enumerate(zip(parts, states, shares, strict=True)):
        last = number == len(parts) - 1
        with nullcontext() if last else no_sync(), state.again():
            backward((encode(part) * share).sum())
    return value.detach()
