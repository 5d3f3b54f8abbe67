"""The reader as an ONNX graph: batch norms folded into their convolutions, weights by name.

`reader_weights` gives the arrays that go into ``model.safetensors`` beside the encoder's; `reader` writes
``reader.onnx``, whose initializers point into that file. What the graph gives is ready for the runtime: the
likeliest class of every cell and its probability, the three bits, and the features for the connector.

    python scripts/mini/reader_graph.py CHECKPOINT FOLDER    # a folder with the reader alone, to try it
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from graph import Graph
from tower import LetterHead, Letters

from mmrag.embedders.mini.letters import CLASSES

BITS = 3


def reader_weights(tower: Letters, head: LetterHead) -> dict[str, np.ndarray]:
    """Weights of the graph by name, float32: about 0.54 million, 2.2 MB.

    Half precision would save 1.1 MB of a wheel of sixty; it is not taken, so that the graph says what the
    network says.
    """
    made: dict[str, np.ndarray] = {}
    for name, (convolution, norm) in _convolutions(tower):
        weight, bias = folded(convolution, norm)
        made[f"reader.{name}.weight"], made[f"reader.{name}.bias"] = weight, bias
    made["reader.head.weight"] = head.out.weight.detach().float().contiguous().numpy()
    made["reader.head.bias"] = head.out.bias.detach().float().numpy()
    return made


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the one convolution that does what both do, in evaluation."""
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = convolution.weight.double() * factor[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * factor
    return (part.detach().float().contiguous().numpy() for part in (weight, bias))


def _convolutions(tower: Letters) -> list[tuple[str, tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """Every convolution with its norm, by the name of its module, in the order in which they run."""
    modules = dict(tower.layers.named_modules())
    names = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    return [(name, (modules[name], modules[name.removesuffix("0") + "1"])) for name in names]


def reader(tower: Letters, weights: Path, to: Path) -> None:
    """``pixels (1, 1, H, W)``, sides multiples of 16 -> ``letters``, ``bits``, ``confidence``, ``features``.

    Args:
        tower: says how the convolutions step and pad; its weights are not used.
        weights: a safetensors file with the arrays of `reader_weights`.
        to: where to write the graph, beside `weights`.
    """
    graph = Graph(weights)
    convolutions = dict(_convolutions(tower))

    def convolve(x: str, name: str, *, relu: bool = True) -> str:
        layer = convolutions[name][0]
        top, left = layer.padding
        out = graph.add(
            "Conv", x, graph.weight(f"reader.{name}.weight"), graph.weight(f"reader.{name}.bias"),
            kernel_shape=list(layer.kernel_size), strides=list(layer.stride), pads=[top, left, top, left],
        )  # fmt: skip
        return graph.add("Relu", out) if relu else out

    x = graph.add("Sub", graph.constant(1.0, np.float32), "pixels")
    for number, layer in enumerate(tower.layers):
        if isinstance(layer, nn.PixelUnshuffle):
            x = graph.add("SpaceToDepth", x, blocksize=layer.downscale_factor)  # one channel: the same order
        elif f"{number}.0" in convolutions:
            x = convolve(x, f"{number}.0")
        else:
            inner = convolve(convolve(x, f"{number}.first.0"), f"{number}.second.0", relu=False)
            x = graph.add("Relu", graph.add("Add", x, inner))
    graph.add("Squeeze", x, graph.constant([0]), name="features")
    _head(graph, x)
    graph.save(
        to,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 1, "height", "width"])],
        [
            helper.make_tensor_value_info("letters", TensorProto.UINT8, ["rows", "columns"]),
            helper.make_tensor_value_info("bits", TensorProto.BOOL, [BITS, "rows", "columns"]),
            helper.make_tensor_value_info("confidence", TensorProto.FLOAT, ["rows", "columns"]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [tower.width, "rows", "places"]),
        ],
    )
    _say_classes(to)


def _head(graph: Graph, features: str) -> None:
    """Two cells share a place: ``(1, 2 * each, rows, places)`` -> ``(..., rows, 2 * places)``."""
    classes, each = len(CLASSES), len(CLASSES) + BITS
    both = graph.add("Conv", features, graph.weight("reader.head.weight"), graph.weight("reader.head.bias"))
    shape = graph.add("Shape", both)
    places = graph.add("Slice", shape, graph.constant([2]), graph.constant([4]))
    pair = graph.add("Reshape", both, graph.add("Concat", graph.constant([2, each]), places, axis=0))
    first, last = graph.constant([0]), graph.constant([1])
    logits = graph.add("Slice", pair, first, graph.constant([classes]), last)
    bits = graph.add("Slice", pair, graph.constant([classes]), graph.constant([each]), last)
    side_by_side = graph.constant([0, -1])  # rows stay, places and their two cells become columns

    def joined(x: str, name: str) -> None:
        graph.add("Reshape", graph.add("Transpose", x, perm=[1, 2, 0]), side_by_side, name=name)

    letters = graph.add("ArgMax", logits, axis=1, keepdims=0)
    joined(graph.add("Cast", letters, to=TensorProto.UINT8), "letters")
    peak = graph.add("ReduceMax", logits, axes=[1], keepdims=1)
    total = graph.add("ReduceSum", graph.add("Exp", graph.add("Sub", logits, peak)), last, keepdims=0)
    joined(graph.add("Reciprocal", total), "confidence")
    cells = graph.add("Reshape", graph.add("Transpose", bits, perm=[1, 2, 3, 0]), graph.constant([0, 0, -1]))
    graph.add("Greater", cells, graph.constant(0.0, np.float32), name="bits")


def _say_classes(path: Path) -> None:
    """The alphabet goes with the graph: a reader that does not know it refuses the graph."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    helper.set_model_props(model, {"classes": CLASSES})
    path.write_bytes(model.SerializeToString())


def load_reader(checkpoint: Path) -> tuple[Letters, LetterHead]:
    """The tower and its head from a checkpoint of ``read.py``."""
    model = nn.Sequential(Letters(), LetterHead(len(CLASSES)))
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model[0].eval(), model[1].eval()


def main() -> None:
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    tower, head = load_reader(options.checkpoint)
    options.folder.mkdir(parents=True, exist_ok=True)
    weights = options.folder / "model.safetensors"
    save_file(reader_weights(tower, head), weights)
    reader(tower, weights, options.folder / "reader.onnx")
    for path in (weights, options.folder / "reader.onnx"):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
