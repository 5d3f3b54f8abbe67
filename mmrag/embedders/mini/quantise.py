"""Quantisation of weights to eight bits, as in the weights file that ships. Needs only numpy.

A matrix of the encoder is quantised by column of ``(in, out)``, each with its own step and zero::

    NAME.weight        int8     (in, out)
    NAME.weight_scale  float32  (out,)
    NAME.weight_zero   int8     (out,)         value = (NAME.weight - NAME.weight_zero) * NAME.weight_scale

The vocabulary has one step and one zero in all (``embeddings.word`` uint8, ``embeddings.word_scale``,
``embeddings.word_zero``), because rows are looked up, not multiplied. All else stays float32.

Zero is represented exactly, and no value is off by more than half a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[Any]

WORDS = "embeddings.word"
STEPS = 255  # between the smallest and the largest of 256 values


def quantise(values: Floats, kind: type[np.int8] | type[np.uint8]) -> tuple[Array, Floats, Array]:
    """Quantise each column to whole numbers, a step and a zero.

    Args:
        values: ``(rows, columns)``, finite.
        kind: `numpy.int8` or `numpy.uint8`.

    Returns:
        ``(rows, columns)`` and ``(columns,)`` of `kind`, steps between them.

    Raises:
        ValueError: values that are not finite, or not in two dimensions.
    """
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(
            f"weights must be finite and in two dimensions, got {values.shape} or NaN among them. "
            "Their training diverged."
        )
    lowest = np.iinfo(kind).min
    wide = values.astype(np.float64)
    low = np.minimum(wide.min(0), 0.0)
    step = ((np.maximum(wide.max(0), 0.0) - low) / STEPS).astype(np.float32)
    step[step == 0] = 1.0
    zero = np.clip(np.rint(lowest - low / step), lowest, lowest + STEPS)
    whole = np.clip(np.rint(wide / step) + zero, lowest, lowest + STEPS)
    return whole.astype(kind), step, zero.astype(kind)


def dequantise(whole: Array, step: Floats, zero: Array) -> Floats:
    """Return the values of whole numbers; steps and zeros are one per column, or one for all."""
    values: Floats = (whole.astype(np.float32) - zero.astype(np.float32)) * step.astype(np.float32)
    return values


def pack_weights(state: Mapping[str, Floats]) -> dict[str, Array]:
    """Quantise the encoder's matrices and the vocabulary; other weights stay as they are.

    Args:
        state: by the names of the weights file, float32; matrices ``(in, out)``.

    Raises:
        ValueError: a weight that is not finite.
    """
    small: dict[str, Array] = {}
    for name, values in state.items():
        if name == WORDS:
            whole, step, zero = quantise(values.reshape(-1, 1), np.uint8)
            small |= {name: whole.reshape(values.shape), f"{name}_scale": step, f"{name}_zero": zero}
        elif name.startswith("encoder.") and name.endswith(".weight") and values.ndim == 2:
            whole, step, zero = quantise(values, np.int8)
            small |= {name: whole, f"{name}_scale": step, f"{name}_zero": zero}
        else:
            small[name] = values
    return small


def unpack_weights(state: Mapping[str, Array]) -> dict[str, Array]:
    """Invert `pack_weights`: dequantise to float32 the weights that have a step."""
    weights: dict[str, Array] = {}
    for name, values in state.items():
        if name.endswith(("_scale", "_zero")) and name.rpartition("_")[0] in state:
            continue
        if f"{name}_scale" in state:
            weights[name] = dequantise(values, state[f"{name}_scale"], state[f"{name}_zero"])
        else:
            weights[name] = values
    return weights
