"""Put the parts of mmrag-mini together: the folder that ships, and what is loaded from it.

    python scripts/mini/build.py --encoder BGE.onnx --tokenizer tokenizer.json --reader RUN/checkpoint.pt \
        --projection projection.npy TO

The encoder's int8 weights are those of the ONNX file, number for number.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from mmrag.models.mini_model import MiniShape, write_config

sys.path.insert(0, str(Path(__file__).parent))
from graph import encoder
from reader_graph import load_reader, reader, reader_weights

LEVELS = {"query": 16, "document": 64}
WORDS = "embeddings.word_embeddings.weight"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--reader", type=Path, required=True)
    parser.add_argument(
        "--projection", type=Path, help="of projection.py; without it rows are as wide as states"
    )
    parser.add_argument("to", type=Path)
    options = parser.parse_args()
    source = onnx.load(options.encoder)
    weights = encoder_weights(source)
    cls = json.loads(options.tokenizer.read_text())["model"]["vocab"]["[CLS]"]
    start = weights["embeddings.word"][cls].astype(np.float32) - weights["embeddings.word_zero"].astype(
        np.float32
    )
    start = start * weights["embeddings.word_scale"]
    for side, rows in LEVELS.items():
        weights[f"meta.{side}"] = np.repeat(start[None], rows, axis=0)
    width = weights["embeddings.word"].shape[1]
    weights["projection"] = np.eye(width, dtype=np.float32)
    if options.projection:
        weights["projection"] = np.load(options.projection).astype(np.float32)
    options.to.mkdir(parents=True, exist_ok=True)
    file = options.to / "model.safetensors"
    tower, head = load_reader(options.reader)
    weights |= reader_weights(tower, head)
    save_file({name: np.ascontiguousarray(values) for name, values in weights.items()}, file)
    encoder(file, options.to / "encoder.onnx")
    reader(tower, file, options.to / "reader.onnx")
    write_config(options.to, MiniShape(), "int8")
    shutil.copyfile(options.tokenizer, options.to / "tokenizer.json")
    total = sum(values.size for name, values in weights.items() if not name.endswith(("_scale", "_zero")))
    print(
        f"{total / 1e6:.1f} M parameters, {file.stat().st_size / 1e6:.1f} MB; the files' table of README.md:"
    )
    sums = []
    for one in sorted(options.to.iterdir()):
        if one.suffix in (".json", ".onnx", ".safetensors"):
            one.chmod(0o644)
            digest = hashlib.sha256(one.read_bytes()).hexdigest()
            print(f"| `{one.name}` | {one.stat().st_size:,} | `{digest}` |")
            sums.append(f"{digest}  {one.name}\n")
    (options.to / "SHA256SUMS").write_text("".join(sums))  # compared when the weights load


def product_names(source: onnx.ModelProto) -> dict[str, str]:
    """Initializer of a quantised matrix: the layer's name in the original model."""
    return {
        node.input[1]: re.sub(r"\.MatMul.*$", "", node.name.strip("/").replace("/", "."))
        for node in source.graph.node
        if node.op_type == "MatMulInteger"
    }


def encoder_weights(source: onnx.ModelProto) -> dict[str, np.ndarray]:
    found = {one.name: numpy_helper.to_array(one) for one in source.graph.initializer}
    made: dict[str, np.ndarray] = {}
    for name, layer in product_names(source).items():
        base = name.removesuffix("_quantized")
        made[f"{layer}.weight"] = found[name]
        made[f"{layer}.weight_scale"] = found[f"{base}_scale"]
        made[f"{layer}.weight_zero"] = found[f"{base}_zero_point"]
    for name, values in found.items():
        if name.startswith(("encoder.", "embeddings.LayerNorm")):
            made[name] = values

    def wide(name: str) -> np.ndarray:
        whole, zero = (
            found[f"{name}_quantized"].astype(np.float32),
            found[f"{name}_zero_point"].astype(np.float32),
        )
        return (whole - zero) * found[f"{name}_scale"]

    made["embeddings.position"] = wide("embeddings.position_embeddings.weight")
    made["embeddings.position"] += wide("embeddings.token_type_embeddings.weight")[0]
    made["embeddings.word"] = found[f"{WORDS}_quantized"]
    made["embeddings.word_scale"] = found[f"{WORDS}_scale"].reshape(1).astype(np.float32)
    made["embeddings.word_zero"] = found[f"{WORDS}_zero_point"].reshape(1)
    return made


if __name__ == "__main__":
    main()
