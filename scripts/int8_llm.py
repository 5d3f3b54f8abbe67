"""Make an int8 copy of a language model, which vLLM serves faster on a CPU: half the bytes to read a token.

    python scripts/int8_llm.py FOLDER TARGET            (what `make llm INT8=1` runs, in .venv-vllm)

Every linear layer of the blocks gets int8 weights with one float32 scale an output channel (symmetric,
rounded to the nearest), in the layout of the library compressed-tensors, which vLLM reads; activations are
quantised a token at a time while it runs ("W8A8, dynamic"). Embeddings, norms, biases and the output layer
stay as they are. Nothing is calibrated, so no text is needed. Whether its verdicts are those of the
original is measured, not assumed: ``benchmarks/llm_formats.py``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
LARGEST = 127  # -128 is not used, so that a weight and its negative are the same distance from 0
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of a block of Qwen2 and Llama."""

QUANTIZATION: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        }
    },
}
"""What stands in the copy's configuration."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the copy; 0 when it is there, 1 with a reason when the model is not one that this can copy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of a model in one safetensors file")
    parser.add_argument("target", type=Path, help="folder of the copy")
    options = parser.parse_args(arguments)
    if (options.target / "config.json").is_file():
        print(f"{options.target} is there.")
        return 0
    if not (options.folder / WEIGHTS).is_file():
        print(f"{options.folder} must hold {WEIGHTS}, got none. Name the folder that `make llm` made.")
        return 1
    count = quantise_folder(options.folder, options.target)
    print(f"{options.target} is ready: {count} layers in int8.")
    return 0


def quantise_folder(folder: Path, target: Path) -> int:
    """Write the int8 copy of a model's folder, whole or not at all; return how many layers were quantised.

    Raises:
        ValueError: no layer of the model is known.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    draft = target.with_name(target.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    tensors: dict[str, Any] = {}
    count = 0
    with safe_open(folder / WEIGHTS, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118  (the file is no dictionary)
            tensor = weights.get_tensor(name)
            if is_layer(name):
                tensors[name], tensors[f"{name}_scale"] = quantise(tensor)
                count += 1
            else:
                tensors[name] = tensor
    if not count:
        raise ValueError(f"{folder} must have layers named {', '.join(LAYERS)}, got none of them.")
    save_file(tensors, draft / WEIGHTS, metadata={"format": "pt"})
    for path in folder.iterdir():
        if (
            path.is_file()
            and path.suffix in {".json", ".jinja", ".md", ".txt"}
            and "safetensors" not in path.name
        ):
            shutil.copyfile(path, draft / path.name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = QUANTIZATION
    (draft / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    draft.replace(target)
    return count


def is_layer(name: str) -> bool:
    """Whether a tensor is the weight of a linear layer of a block."""
    parts = name.split(".")
    return len(parts) > 2 and parts[-1] == "weight" and parts[-2] in LAYERS


def quantise(weight: Any) -> tuple[Any, Any]:
    """Return int8 weights and one float32 scale a row; ``int8 * scale`` is the weight to half a step.

    Args:
        weight: ``(outputs, inputs)``, any float type. A row of zeros has scale 1.
    """
    import torch

    rows = weight.float()
    scale = rows.abs().amax(dim=1, keepdim=True) / LARGEST
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (rows / scale).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale


if __name__ == "__main__":
    sys.exit(main())
