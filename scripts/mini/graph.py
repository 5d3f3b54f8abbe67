"""The encoder as an ONNX graph without weights: its initializers point into ``model.safetensors``.

One file holds the weights, and two runtimes read it: torch (training, GPUs) and onnxruntime (the default).
Products with a weight matrix are int8: activations are quantised per tensor and call, weights per column.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 17
HEADS, WIDTH, LAYERS = 12, 384, 12
DTYPES = {"F32": TensorProto.FLOAT, "I8": TensorProto.INT8, "U8": TensorProto.UINT8, "I64": TensorProto.INT64}


def places(weights: Path) -> dict[str, tuple[int, list[int], int, int]]:
    """Type, shape, first byte and length of every tensor of a safetensors file."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: (DTYPES[one["dtype"]], one["shape"], 8 + length + one["data_offsets"][0],
               one["data_offsets"][1] - one["data_offsets"][0])
        for name, one in header.items()
    }  # fmt: skip


class Graph:
    """Nodes being added, with the weights that they use."""

    def __init__(self, weights: Path) -> None:
        self.weights, self.places = weights, places(weights)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.count = 0

    def add(self, kind: str, *inputs: str, outputs: int = 1, name: str | None = None, **attributes: object):
        """Add a node; the name of its output, or of all of them."""
        self.count += 1
        made = (
            [name or f"{kind}_{self.count}"]
            if outputs == 1
            else [f"{kind}_{self.count}_{n}" for n in range(outputs)]
        )
        self.nodes.append(
            helper.make_node(kind, list(inputs), made, name=f"{kind}_{self.count}", **attributes)
        )
        return made[0] if outputs == 1 else made

    def weight(self, name: str) -> str:
        """A tensor of the weights file, by reference."""
        if name not in self.initializers:
            kind, shape, offset, length = self.places[name]
            tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
            for key, value in (("location", self.weights.name), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            self.initializers[name] = tensor
        return name

    def constant(self, value: object, dtype: type = np.int64) -> str:
        """A small constant of the graph itself."""
        array = np.asarray(value, dtype)
        name = f"c_{array.dtype}_{array.shape}_{array.tobytes().hex()[:64]}"
        if name not in self.initializers:
            self.initializers[name] = onnx.numpy_helper.from_array(array, name)
        return name

    def save(self, path: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> None:
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        path.write_bytes(model.SerializeToString())

    # ---- parts of an encoder ------------------------------------------------------------------

    def linear(self, x: str, name: str, quantised: tuple[str, str, str] | None = None) -> str:
        """``x @ weight + bias`` in int8; `quantised`: an input that was quantised already."""
        q, scale, zero = quantised or self.quantise(x)
        product = self.add(
            "MatMulInteger", q, self.weight(f"{name}.weight"), zero, self.weight(f"{name}.weight_zero")
        )
        wide = self.add("Cast", product, to=TensorProto.FLOAT)
        scales = self.add("Mul", scale, self.weight(f"{name}.weight_scale"))
        return self.add("Add", self.add("Mul", wide, scales), self.weight(f"{name}.bias"))

    def quantise(self, x: str) -> tuple[str, str, str]:
        q, scale, zero = self.add("DynamicQuantizeLinear", x, outputs=3)
        return q, scale, zero

    def norm(self, x: str, name: str) -> str:
        return self.add("LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"),
                        axis=-1, epsilon=1e-12)  # fmt: skip

    def heads(self, x: str, *, keys: bool = False) -> str:
        """``(T, width)`` as ``(heads, T, width / heads)``, or with the last two turned."""
        split = self.add("Reshape", x, self.constant([-1, HEADS, WIDTH // HEADS]))
        return self.add("Transpose", split, perm=[1, 2, 0] if keys else [1, 0, 2])

    def gelu(self, x: str) -> str:
        half = self.constant(0.5, np.float32)
        erf = self.add("Erf", self.add("Div", x, self.constant(np.sqrt(2.0), np.float32)))
        return self.add("Mul", self.add("Mul", x, self.add("Add", erf, self.constant(1.0, np.float32))), half)

    def layer(self, x: str, number: int, mask: str, first: str | None = None) -> str:
        """One layer; `first`: only states from this place on are wanted."""
        base = f"encoder.layer.{number}"
        quantised = self.quantise(x)
        kept, kept_quantised = x, quantised
        if first is not None:
            end = self.constant([2**31])
            kept = self.add("Slice", x, first, end, self.constant([0]))
            kept_quantised = (self.add("Slice", quantised[0], first, end, self.constant([0])), *quantised[1:])
            mask = self.add("Slice", mask, first, end, self.constant([0]))
        query = self.heads(self.linear(kept, f"{base}.attention.self.query", kept_quantised))
        key = self.heads(self.linear(x, f"{base}.attention.self.key", quantised), keys=True)
        value = self.heads(self.linear(x, f"{base}.attention.self.value", quantised))
        scale = self.constant(1 / np.sqrt(WIDTH / HEADS), np.float32)
        logits = self.add("Add", self.add("Mul", self.add("MatMul", query, key), scale), mask)
        seen = self.add("MatMul", self.add("Softmax", logits, axis=-1), value)
        joined = self.add("Reshape", self.add("Transpose", seen, perm=[1, 0, 2]), self.constant([-1, WIDTH]))
        attended = self.linear(joined, f"{base}.attention.output.dense")
        middle = self.norm(self.add("Add", attended, kept), f"{base}.attention.output.LayerNorm")
        wide = self.gelu(self.linear(middle, f"{base}.intermediate.dense"))
        return self.norm(
            self.add("Add", self.linear(wide, f"{base}.output.dense"), middle), f"{base}.output.LayerNorm"
        )


def encoder(weights: Path, to: Path) -> None:
    """``content (T, 384)``, ``meta (M, 384)``, ``mask (T + M, T + M)`` -> ``states (M, 384)`` of the meta."""
    graph = Graph(weights)
    size = graph.add("Slice", graph.add("Shape", "content"), graph.constant([0]), graph.constant([1]))
    places_ = graph.add(
        "Slice", graph.weight("embeddings.position"), graph.constant([0]), size, graph.constant([0])
    )
    x = graph.add("Concat", graph.add("Add", "content", places_), "meta", axis=0)
    x = graph.norm(x, "embeddings.LayerNorm")
    for number in range(LAYERS - 1):
        x = graph.layer(x, number, "mask")
    x = graph.layer(x, LAYERS - 1, "mask", first=size)
    graph.nodes[-1].output[0] = "states"
    graph.save(
        to,
        [
            helper.make_tensor_value_info("content", TensorProto.FLOAT, ["content", WIDTH]),
            helper.make_tensor_value_info("meta", TensorProto.FLOAT, ["meta", WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["all", "all"]),
        ],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["meta", WIDTH])],
    )
