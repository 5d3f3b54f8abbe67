"""The arithmetic of what a training run costs, by hand, and for every model with configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("yaml")

from estimate import SHAPES, Shape, estimate

from mmrag.training.config import load_config, ready

MINI = "mmrag-mini"  # trains on a CPU in minutes: nothing to estimate


def test_every_model_with_configurations_has_a_shape() -> None:
    assert {name.partition("/")[0] for name in ready()} == {*SHAPES, MINI}


def test_the_cost_of_a_run_worked_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "stage: contrast\n"
        "model: {name: m, budget: [2, 8], max_visual_tokens: 12, dtype: bfloat16, lora: {rank: 4}}\n"
        "data: [{path: p}]\n"
        "loss: {groups: [[2, 8]], negatives: 2}\n"
        "run: {output: o, batch: 10, micro_batch: 3}\n"
    )
    shape = Shape(language=1000, embeddings=300, vision=200, hidden=16, layers=5, adapted=70)
    cost = estimate(load_config(file), shape)
    assert cost.trained == 10 * 16 + 4 * 5 * 70
    pages, page = 30, 30 + 12 + 10  # own words, picture, meta tokens of both sides
    assert cost.tokens == pages * page + 10 * (50 + 2)
    seen = 12 * 4 * 4  # s = 2: four visual tokens for one, four patches each
    language = 3 * 2 * 1000 * cost.tokens  # forward twice, backward to the inputs
    assert cost.flop == language + 2 * cost.trained * cost.tokens + 2 * 2 * 200 * pages * seen
    assert cost.memory == 2 * 1500 + 16 * cost.trained + 3 * page * 16 * 34 * 5
    assert cost.hours(3600, peak=cost.flop * 2, share=0.5) == pytest.approx(1.0)
