"""`scripts/int8_llm.py`: an int8 copy is the model to half a step, and all else in it is untouched."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
files = pytest.importorskip("safetensors.torch")
SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    return pytest.importorskip("int8_llm")


def test_row_by_eye(script):
    weights, scale = script.quantise(torch.tensor([[127.0, -63.6, 0.0], [0.0, 0.0, 0.0]]))
    assert weights.tolist() == [[127, -64, 0], [0, 0, 0]]
    assert scale.tolist() == [[1.0], [1.0]]


def test_every_weight_is_within_half_a_step(script):
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(24, 32, generator=generator) * torch.logspace(-4, 4, 24)[:, None]
    weights, scale = script.quantise(weight)
    assert weights.dtype == torch.int8
    assert weights.min() >= -127
    assert ((weights * scale - weight).abs() <= scale * 0.5001).all()
    assert script.quantise(weights * scale)[0].equal(weights)  # once more changes nothing


def model(folder: Path) -> dict[str, torch.Tensor]:
    """Write a model of one layer to quantise and three tensors to keep."""
    generator = torch.Generator().manual_seed(1)
    tensors = {
        name: torch.randn(shape, generator=generator).bfloat16()
        for name, shape in {
            "model.layers.0.self_attn.q_proj.weight": (8, 4),
            "model.layers.0.self_attn.q_proj.bias": (8,),
            "model.layers.0.input_layernorm.weight": (4,),
            "lm_head.weight": (16, 4),
        }.items()
    }
    folder.mkdir()
    files.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    (folder / "tokenizer.json").write_text("{}")
    return tensors


def test_copy_has_scales_a_configuration_and_all_other_files(script, tmp_path, capsys):
    tensors = model(tmp_path / "llm")
    assert script.main([str(tmp_path / "llm"), str(tmp_path / "int8")]) == 0
    copy = files.load_file(tmp_path / "int8" / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert copy.keys() == {*tensors, f"{name}_scale"}
    assert copy[name].dtype == torch.int8
    assert copy[f"{name}_scale"].shape == (8, 1)
    assert all(copy[other].equal(tensors[other]) for other in tensors if other != name)
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    assert config["model_type"] == "qwen2"
    assert config["quantization_config"]["ignore"] == ["lm_head"]
    assert (tmp_path / "int8" / "tokenizer.json").is_file()
    assert script.main([str(tmp_path / "llm"), str(tmp_path / "int8")]) == 0
    assert "is there" in capsys.readouterr().out


def test_folder_without_one_file_of_weights_is_named(script, tmp_path, capsys):
    assert script.main([str(tmp_path), str(tmp_path / "int8")]) == 1
    assert "must hold model.safetensors" in capsys.readouterr().out
