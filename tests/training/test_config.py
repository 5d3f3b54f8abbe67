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
        ({"run": {"output": "o", "batch": 1}}, r"run: batch must be at least 2, got 1"),
        ({"run": {"steps": 5}}, r"run: 'output' is missing"),
        ({"model": {"name": "m", "compression": 5}}, r"model: compression must be at most 4, got 5"),
        (
            {"model": {"name": "m", "tables": "ones"}},
            r"model: tables must be 'embeddings' or 'noise', got 'ones'",
        ),
        (
            {"model": {"name": "m", "budget": [4, 8]}},
            r"groups must be within model: budget \[4, 8\], got \[8, 16\]",
        ),
        ({"model": {"name": "m", "budget": [4]}}, r"model: budget must have more values, got \[4\]"),
        ({"model": {"name": "m", "lora": {"rank": 0}}}, r"model: lora: rank must be above 0, got 0"),
        ({"data": []}, r"data: at least one sub-dataset must have a weight above 0"),
        ({"data": [{"path": "p", "weight": 0}]}, r"at least one sub-dataset must have a weight above 0"),
        ({"data": {"path": "p"}}, r"data must be a list"),
        ({"stage": "contrats"}, r"stage must be 'restore', .* got 'contrats'"),
        ({"stage": "restore"}, r"is for the stage 'restore', got a call of 'contrast'"),
        ({"run": None}, r"run must be a mapping of keys to values, got None"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"name": "m", "budget": [4, 8, 2]}},
            r"budget must have at most 2 values, got \[4, 8, 2\]",
        ),
        ({"model": {"name": "m", "budget": [0, 8]}}, r"model: budget\[0\] must be above 0, got 0"),
        ({"model": {"name": "m", "train_language": False}}, r"model: lora must be null where train_language"),
        ({"model": {"name": "m", "lora": {"rnk": 4}}}, r"lora: unknown key 'rnk'. Did you mean 'rank'"),
        ({"data": [{"path": "p", "speed": 2}]}, r"data\[0\]: unknown key 'speed'. Known: path, name, weight"),
        ({"loss": {"cutoffs": [4, 2]}}, r"loss: cutoffs must ascend, at least one, got \[4, 2\]"),
        ({"loss": {"distil_by": "rank"}}, r"loss: distil_by must be 'scores' or 'ranks', got 'rank'"),
        (
            {"loss": {"distil": 1.0, "distil_by": "ranks", "negatives": 3, "cutoffs": [4, 8]}},
            r"loss: cutoffs must begin at negatives \(3\) or below, got \[4, 8\]",
        ),
        ({"loss": {"groups": []}}, r"loss: groups must have at least one budget, got \[\]"),
        ({"loss": {"margin": float("nan")}}, r"loss: margin must be a finite number, got nan"),
        ({"rerank": {"listwise": [5, 2]}}, r"rerank: listwise must be the least and the most, got \[5, 2\]"),
        ({"rerank": {"listwise": [2, 9]}}, r"rerank: listwise\[1\] must be at most 8, got 9"),
        ({"rerank": {"images": False, "text": False}}, r"rerank: images and text must not both be false"),
    ],
)
def test_a_wrong_value_in_a_list_or_a_section_is_named_with_its_path(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, **changes)


def test_every_error_of_a_file_is_named_at_once_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="learnin_rate") as error:
        loaded(tmp_path, run={"output": "o", "learnin_rate": 1.0, "steps": 0}, loss={"distil": "much"})
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{tmp_path / 'c.yaml'}: ") for line in lines)


def test_what_is_no_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("a: [1")
    with pytest.raises(ValueError, match="must be YAML"):
        load_config(file)
