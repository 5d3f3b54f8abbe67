"""Laws of a plan: sums one checks by hand, what grows with what, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmrag.cli import main
from mmrag.planning.capacity import BACKBONES, CONSTANTS, GPUS, Task, page_operations, plan
from mmrag.types import Budget


def test_a_sum_by_hand() -> None:
    """A million pages of 64 rows of 128 int8 numbers, ten questions a second."""
    made = plan(Task(1e6, qps=10, scans=0.0))
    assert made.page_bytes == (64 * 132, 9_700)
    assert made.disk_gb == pytest.approx(1e6 * (8_448 + 9_700) / 1e9)
    assert made.memory_gb == pytest.approx(1e6 * 8 * 132 / 1e9)
    # 8 million rows at 20 ns and a million pages by words at 440: 600 ms of a core, so six shards
    assert (made.shards, made.search_ms[0]) == (6, pytest.approx(160 / 6))
    assert made.search_ms[1] == pytest.approx(20 + 440 / 6)
    assert made.search_cores == pytest.approx(10 * 6 * sum(made.search_ms) / 1000)
    assert made.read_core_hours == pytest.approx(1e6 * 0.053 / 3600)


def test_a_question_is_encoded_once_however_many_shards_there_are() -> None:
    task = Task(1e6, qps=1, model="mini")
    made = plan(task)
    assert made.shards == 6
    assert made.search_cores == pytest.approx((6 * sum(made.search_ms) + 11) / 1000)


def test_the_work_of_a_page_by_hand() -> None:
    """320 visual tokens after compression, 40 of text, 16 and 64 meta tokens; 5,120 patches."""
    weights = BACKBONES["2b"]
    operations = 2 * weights.language * (320 + 40 + 16 + 64) + 2 * weights.vision * 5_120
    assert page_operations(Task(1)) == pytest.approx(operations)
    made = plan(Task(1e9))
    seconds = 1e9 * operations / (989e12 * 0.35)
    assert made.embed_gpu_hours == pytest.approx(seconds / 3600)
    assert made.embed_machines == pytest.approx(seconds / (7 * 24 * 3600))


def test_more_is_never_cheaper() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        task = Task(
            pages=float(10 ** rng.uniform(3, 10)),
            qps=float(10 ** rng.uniform(-1, 3)),
            budget=Budget(int(rng.integers(1, 17)), int(rng.integers(1, 65))),
            compression=int(rng.integers(1, 5)),
            design=str(rng.choice(["scan", "graph"])),
            model=str(rng.choice(["mini", "2b", "8b"])),
            scans=float(rng.uniform()),
        )
        less, more = plan(task), plan(replace(task, pages=task.pages * 3, qps=task.qps * 2))
        for name in ("disk_gb", "memory_gb", "shards", "machines", "search_cores", "read_core_hours"):
            assert getattr(more, name) >= getattr(less, name)
        assert more.embed_gpu_hours + more.embed_core_hours > less.embed_gpu_hours + less.embed_core_hours
        assert less.shards >= 1 and less.machines >= less.shards
        assert (less.embed_gpu_hours > 0) != (less.embed_core_hours > 0)


def test_no_shard_is_over_its_time_or_memory() -> None:
    for pages in (1e3, 1e6, 1e9):
        for memory in (16, 512):
            task = Task(pages, memory_gb=memory)
            made = plan(task)
            words_ms = pages / made.shards * CONSTANTS["words_ns"].value / 1e6
            assert made.search_ms[0] + words_ms <= task.latency_ms * 1.000001
            assert made.memory_gb / made.shards <= memory * CONSTANTS["memory_share"].value * 1.000001


def test_the_reason_named_first_is_the_one_that_decides() -> None:
    assert plan(Task(1_000)).reasons == ("nothing: one does",)
    assert plan(Task(1e8, qps=0.1)).reasons[0].startswith("time of a shard")
    assert plan(Task(1e6, qps=1_000)).reasons[0].startswith("cores of searches")
    small = Task(1e8, qps=0.01, memory_gb=1, latency_ms=1e6)
    assert plan(small).reasons[0].startswith("memory")


def test_a_constant_of_ones_own_is_taken_and_told() -> None:
    made = plan(Task(1e6, constants={"rest_bytes": 100.0}))
    assert made.page_bytes[1] == 100
    with pytest.raises(ValueError, match=r"constants must be of rest_bytes, .* got colour"):
        Task(1, constants={"colour": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pages": 0}, "pages must be a number above 0, got 0"),
        ({"qps": float("nan")}, "qps must be a number above 0, got nan"),
        ({"scans": 1.5}, "scans must be a share"),
        ({"gpu": "abacus"}, "gpu must be one of h200"),
        ({"model": "9b"}, "model must be one of mini, 2b, 8b"),
        ({"compression": 5}, "compression must be one of"),
        ({"row_bytes": 4}, "row_bytes must be one of"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(**{"pages": 1.0, **change})


def test_every_constant_has_a_source_and_every_gpu_a_peak() -> None:
    assert all(constant.source and constant.unit and constant.value > 0 for constant in CONSTANTS.values())
    assert all(gpu.teraflops > 0 and gpu.memory_gb > 0 for gpu in GPUS.values())


def test_the_command_prints_lists_and_draws(capsys, tmp_path) -> None:
    picture = tmp_path / "plan.png"
    assert main(["plan", "--pages", "1B", "--qps", "200", "--budget", "16,64", "--plot", str(picture)]) == 0
    output = capsys.readouterr().out
    assert "1,000,000,000 pages, 200 questions a second" in output
    assert all(f"\n  {name} " in output for name in CONSTANTS)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["plan", "--pages", "5k", "--model", "mini", "--set", "mini_seconds=1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["embed_core_hours"] == pytest.approx(5_000 / 3600)
    assert data["constants"]["mini_seconds"] == {
        "value": 1.0, "unit": CONSTANTS["mini_seconds"].unit, "source": "yours (--set)",
    }  # fmt: skip


@pytest.mark.parametrize(
    "words", [["--pages", "many"], ["--pages", "-3"], ["--pages", "9", "--set", "a"], []]
)
def test_wrong_words_are_wrong_usage(words: list[str], capsys) -> None:
    assert main(["plan", *words]) == 2
