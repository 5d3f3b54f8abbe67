"""Laws of a run's file: what is wrong in it is said before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

from mmrag.training.config import LossConfig, TrainConfig, load_config  # noqa: E402

SMALLEST: dict[str, Any] = {
    "stage": "contrast",
    "model": {"name": "org/model"},
    "data": [{"path": "pairs.jsonl"}],
    "run": {"output": "out"},
}


def loaded(folder: Path, **changes: Any) -> TrainConfig:
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump({**SMALLEST, **changes}))
    return load_config(file, "contrast")


def test_the_smallest_file_has_the_papers_values(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert config.loss == LossConfig()
    assert config.loss.groups == ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))
    assert (config.loss.temperature, config.model.budget) == (0.03, (16, 64))
    assert config.model.lora is not None
    assert config.model.lora.rank == 32


def test_paths_start_from_the_files_own_folder_and_hub_names_stay(tmp_path: Path) -> None:
    config = loaded(tmp_path)
    assert config.data[0].path == str(tmp_path.resolve() / "pairs.jsonl")
    assert config.model.name == "org/model"
    (tmp_path / "tiny").mkdir()
    assert loaded(tmp_path, model={"name": "tiny"}).model.name == str(tmp_path.resolve() / "tiny")


def test_null_means_none_and_whole_numbers_pass_for_numbers(tmp_path: Path) -> None:
    config = loaded(tmp_path, model={"name": "m", "lora": None}, loss={"temperature": 1, "margin": None})
    assert config.model.lora is None
    assert config.loss.temperature == 1.0
    assert config.loss.margin is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"run": {"output": "o", "lerning_rate": 1.0}},
            r"run: unknown key 'lerning_rate'. Did you mean 'learning_rate'",
        ),
        (
            {"run": {"output": "o", "learning_rate": "1e-4"}},
            r"learning_rate must be a number, got '1e-4'.*1.0e-4",
        ),
        ({"run": {"output": "o", "steps": 2.5}}, r"run: steps must be a whole number, got 2.5"),
        ({"run": {"output": "o", "steps": True}}, r"run: steps must be a whole number, got True"),
        ({"run": {"output": "o", "batch": 1}}, r"run: batch must be 2 or more, got 1"),
        ({"run": {"steps": 5}}, r"run: 'output' is missing"),
        ({"model": {"name": "m", "compression": 5}}, r"compression must be 1 to 4, got 5"),
        ({"model": {"name": "m", "tables": "ones"}}, r"tables must be one of embeddings, noise, got 'ones'"),
        (
            {"model": {"name": "m", "budget": [4, 8]}},
            r"groups must be within model: budget \[4, 8\], got \[8, 16\]",
        ),
        ({"model": {"name": "m", "budget": [4]}}, r"budget must have 2 values, got \[4\]"),
        ({"model": {"name": "m", "lora": {"rank": 0}}}, r"lora: rank must be 1 or more, got 0"),
        ({"data": []}, r"data must name at least one sub-dataset"),
        ({"data": [{"path": "p", "weight": 0}]}, r"at least one sub-dataset must have a weight above 0"),
        ({"data": {"path": "p"}}, r"data must be a list"),
        ({"stage": "contrats"}, r"stage must be one of restore, .* got 'contrats'"),
        ({"stage": "restore"}, r"is for the stage 'restore', got a call of 'contrast'"),
        ({"run": None}, r"run must be a mapping of keys to values, got NoneType"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, **changes)


def test_what_is_no_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("a: [1")
    with pytest.raises(ValueError, match="must be YAML"):
        load_config(file)
