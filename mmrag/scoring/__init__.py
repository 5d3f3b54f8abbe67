"""Scores: late interaction of rows, and the channels' scores added to one.

`late_interaction` scores padded arrays of NumPy or torch; `ragged` documents of different lengths; `int8` the
same for rows in a byte a number; `fusion` adds channels. Nothing here imports torch.
"""

from __future__ import annotations

from mmrag.scoring.fusion import (
    DEFAULT_WEIGHTS,
    check_weights,
    fuse,
    reciprocal_ranks,
    standardise,
    vector_share,
)
from mmrag.scoring.int8 import Int8Rows, PackedRows, int8_engine, maxsim_int8, quantisation_error
from mmrag.scoring.late_interaction import maxsim, pad_matrices, take_budget
from mmrag.scoring.ragged import maxsim_ragged

__all__ = [
    "DEFAULT_WEIGHTS",
    "Int8Rows",
    "PackedRows",
    "check_weights",
    "fuse",
    "int8_engine",
    "maxsim",
    "maxsim_int8",
    "maxsim_ragged",
    "pad_matrices",
    "quantisation_error",
    "reciprocal_ranks",
    "standardise",
    "take_budget",
    "vector_share",
]
