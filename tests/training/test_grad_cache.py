"""Laws of gradient caching: the big batch's gradient exactly, alone and over two processes.

Up to rounding: vectors are float64, the loss itself is taken in float32 and divided by a temperature of 0.1,
and another order of adding moves a gradient of about 1 by up to 5e-7 (measured). A part left out or counted
twice moves it by 1e-2 and more.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mmrag.training import losses, ranks  # noqa: E402
from mmrag.training.grad_cache import cached_backward  # noqa: E402

CPU = torch.device("cpu")


def model(dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(8, 8)
    ).double()


def drawn(count: int) -> torch.Tensor:
    """Inputs ``(count, 6)``, the same on every call."""
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def nested_loss(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """First half queries, second half their documents; two rows of width 4 each."""
    rows = torch.nn.functional.normalize(torch.cat(list(parts)).view(-1, 2, 4), dim=-1)
    queries, documents = rows.chunk(2)
    documents = ranks.gather(documents)
    first = ranks.world()[0] * len(queries)
    scores = losses.nested_scores(queries, documents, [(1, 1), (2, 2)])
    return losses.contrast(scores, torch.arange(first, first + len(queries)), None, temperature=0.1)


def gradients(net: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]


@pytest.mark.parametrize("sizes", [[12], [6, 6], [5, 4, 3], [1] * 12])
def test_cached_gradients_equal_the_big_batch(sizes: list[int]) -> None:
    inputs = drawn(12)
    whole = model()
    loss = nested_loss([whole(inputs)])
    loss.backward()
    cached = model()
    made = cached_backward(cached, list(inputs.split(sizes)), nested_loss, device=CPU)
    assert made.item() == pytest.approx(loss.item(), rel=1e-5)
    for left, right in zip(gradients(whole), gradients(cached), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_dropout_is_the_same_in_both_passes() -> None:
    inputs = drawn(4).repeat(2, 1)  # the same in both parts, so that only what is dropped tells them apart
    net, seen = model(dropout=0.5), []

    def encode(part: torch.Tensor) -> torch.Tensor:
        out = net(part)
        seen.append(out.detach().clone())
        return out

    torch.manual_seed(7)
    cached_backward(encode, list(inputs.split(4)), nested_loss, device=CPU)
    first, second = seen[:2], seen[2:]
    assert not torch.allclose(first[0], first[1])
    for one, again in zip(first, second, strict=True):
        torch.testing.assert_close(one, again)


def work(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    net = torch.nn.parallel.DistributedDataParallel(model())
    inputs = drawn(12)
    queries, documents = inputs.chunk(2)
    own = torch.cat([queries[3 * rank : 3 * rank + 3], documents[3 * rank : 3 * rank + 3]])
    loss = cached_backward(net, list(own.split(2)), nested_loss, device=CPU, no_sync=net.no_sync)
    torch.save({"loss": loss, "gradients": gradients(net.module)}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_give_the_single_process_loss_and_gradient(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(tmp_path)), nprocs=2)
    inputs = drawn(12)
    whole = model()
    loss = nested_loss([whole(inputs)])
    loss.backward()
    made = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert (made[0]["loss"] + made[1]["loss"]).item() / 2 == pytest.approx(loss.item(), rel=1e-5)
    for rank in made:  # DDP has averaged them: both hold the same
        for left, right in zip(gradients(whole), rank["gradients"], strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
