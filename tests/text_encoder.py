"""The encoder of mmrag-mini by itself, as the exported text encoder that a caller of `TextEmbedder` has."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from mmrag.embedders.mini.embedder import MODEL_DIR

_SCRIPT = Path(__file__).parents[1] / "scripts" / "mini" / "graph.py"


def export_text_encoder(folder: Path) -> Path:
    """Write ``model.onnx``, weights inside, and ``tokenizer.json`` into `folder`; return the folder.

    The graph takes one text at a time, which is how `OnnxBert` runs it.
    """
    spec = importlib.util.spec_from_file_location("mini_graph", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copy(MODEL_DIR / "tokenizer.json", folder)
    weights = Path(shutil.copy(MODEL_DIR / "model.safetensors", folder))
    _write_graph(module.Graph(weights), module.LAYERS, module.WIDTH, folder / "model.onnx")
    onnx.save(onnx.load(folder / "model.onnx"), folder / "model.onnx")  # takes the weights in
    weights.unlink()
    return folder


def _write_graph(graph, layers: int, width: int, path: Path) -> None:
    ids = graph.add("Squeeze", "input_ids", graph.constant([0]))  # (T,)
    rows = graph.add("Gather", graph.weight("embeddings.word"), ids)  # (T, D), uint8
    words = graph.add(
        "DequantizeLinear", rows, graph.weight("embeddings.word_scale"), graph.weight("embeddings.word_zero")
    )
    start, axis = graph.constant([0]), graph.constant([0])
    length = graph.add("Shape", ids)
    x = graph.add("Add", words, graph.add("Slice", graph.weight("embeddings.position"), start, length, axis))
    x = graph.norm(x, "embeddings.LayerNorm")  # (T, D)
    for number in range(layers):
        x = graph.layer(x, number, graph.constant(0.0, np.float32))
    graph.add("Unsqueeze", x, graph.constant([0]), name="states")  # (1, T, D)
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    graph.save(
        path,
        [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "length"]) for name in inputs],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [1, "length", width])],
    )
