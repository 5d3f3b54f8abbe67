"""Laws of the configurations that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("yaml")

from mmrag.training.config import STAGES, load_config, ready

CONTRASTIVE = ("contrast", "finetune")
OWN = "mmrag-mini"  # reads words, is no chat model: it has the contrastive stages alone, and costs minutes


@pytest.mark.parametrize("name", ready())
def test_every_one_loads_and_names_its_own_model_and_folders(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(name)
    key, _, run = name.partition("/")
    assert config.stage == {"mined": "contrast"}.get(run, run)
    assert key.split("-")[0] in config.model.name.lower()
    assert Path(config.run.output).is_relative_to(tmp_path)
    assert all(Path(one.path).is_relative_to(tmp_path) for one in config.data)
    if config.stage in CONTRASTIVE:
        assert config.loss.groups[-1] == config.model.budget == (16, 64)
        assert (config.loss.temperature, config.model.compression) == (0.03, 2)
        assert config.validation is not None
    assert config.run.warmup < config.run.steps


def test_each_model_has_every_stage_and_stages_read_what_those_before_them_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for key in {name.partition("/")[0] for name in ready()} - {OWN}:
        runs = {run: load_config(f"{key}/{run}") for run in (*STAGES, "mined")}
        assert runs["mined"].model.name == f"runs/{key}/contrast/model"
        assert runs["curate"].model.name == runs["finetune"].model.name == f"runs/{key}/mined/model"
        assert Path(runs["finetune"].data[0].path).parent == Path(runs["curate"].run.output)
        assert runs["finetune"].loss.negatives == runs["curate"].judge.negatives


def test_our_own_model_is_trained_on_words_to_the_rows_that_ship() -> None:
    config = load_config(f"{OWN}/contrast")
    assert config.model.lora is None
    assert config.model.dim == 128
    assert config.validation is not None
    assert {one.documents for one in (*config.data, config.validation)} == {"text"}


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(FileNotFoundError, match=r"got 'qwen3-vl-2b/contrats'. Did you mean 'qwen3-vl-2b/c"):
        load_config("qwen3-vl-2b/contrats")


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3-vl-2b").mkdir()
    text = "stage: contrast\nmodel: {name: m}\ndata: [{path: p}]\nrun: {output: o}\n"
    (tmp_path / "qwen3-vl-2b" / "contrast").write_text(text)
    config = load_config("qwen3-vl-2b/contrast")
    assert config.model.name == "m"
    assert Path(config.run.output) == tmp_path / "qwen3-vl-2b" / "o"
