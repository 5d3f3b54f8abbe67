"""Weights in eight bits and back, as they stand in the weights file that ships. Needs numpy alone.

A matrix of the encoder is kept by column of ``(in, out)``, each with a step and a zero of its own::

    NAME.weight        int8     (in, out)
    NAME.weight_scale  float32  (out,)
    NAME.weight_zero   int8     (out,)         value = (NAME.weight - NAME.weight_zero) * NAME.weight_scale

The vocabulary has one step and one zero for all of it (``embeddings.word`` uint8, ``embeddings.word_scale``,
``embeddings.word_zero``), because rows are looked up, not multiplied. All else stays float32.

Zero is always kept exactly, and no value is off by more than half a step.
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
    """Whole numbers, steps and zeros of each column.

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
    """Values of whole numbers; steps and zeros are one a column, or one for all."""
    values: Floats = (whole.astype(np.float32) - zero.astype(np.float32)) * step.astype(np.float32)
    return values


def pack_weights(state: Mapping[str, Floats]) -> dict[str, Array]:
    """Float weights as they ship: the encoder's matrices and the vocabulary in eight bits, the rest as it is.

    Args:
        state: by the names of the weights file, float32; matrices ``(in, out)``.

    Raises:
        ValueError: a weight that is not finite.
    """
    made: dict[str, Array] = {}
    for name, values in state.items():
        if name == WORDS:
            whole, step, zero = quantise(values.reshape(-1, 1), np.uint8)
            made |= {name: whole.reshape(values.shape), f"{name}_scale": step, f"{name}_zero": zero}
        elif name.startswith("encoder.") and name.endswith(".weight") and values.ndim == 2:
            whole, step, zero = quantise(values, np.int8)
            made |= {name: whole, f"{name}_scale": step, f"{name}_zero": zero}
        else:
            made[name] = values
    return made


def unpack_weights(state: Mapping[str, Array]) -> dict[str, Array]:
    """`packed` undone: float32 everywhere that there is a step, and the rest as it is."""
    made: dict[str, Array] = {}
    for name, values in state.items():
        if name.endswith(("_scale", "_zero")) and name.rpartition("_")[0] in state:
            continue
        if f"{name}_scale" in state:
            made[name] = dequantise(values, state[f"{name}_scale"], state[f"{name}_zero"])
        else:
            made[name] = values
    return made
