"""Late-interaction scores at a budget: pure functions on arrays.

Decisions taken here:

* Padding is masked, never scored: a zero vector has similarity 0, which would beat a real -0.5.
* Sums and products are float32 whatever the input dtype.
* Documents are scored in chunks, so that memory stays bounded; the size of a chunk changes results by
  rounding only (relative 1e-5).
* NumPy arrays or torch tensors. Torch is used when a tensor is passed and never imported from here.
  Both give the same numbers within 1e-5 for normalised vectors (tested).
"""

# ruff: noqa: ANN401  (one body for arrays of two libraries; the overloads carry the types)
from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mmrag.errors import check_whole

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", "NDArray[Any]", "torch.Tensor")

CHUNK_NUMBERS = 1 << 22
"""Similarities that `maxsim` holds at once: 16 MiB of float32."""


@overload
def maxsim(
    queries: NDArray[Any],
    documents: NDArray[Any],
    query_mask: NDArray[Any] | None = ...,
    document_mask: NDArray[Any] | None = ...,
) -> NDArray[np.float32]: ...
@overload
def maxsim(
    queries: torch.Tensor,
    documents: torch.Tensor,
    query_mask: torch.Tensor | None = ...,
    document_mask: torch.Tensor | None = ...,
) -> torch.Tensor: ...
def maxsim(
    queries: Any,
    documents: Any,
    query_mask: Any = None,
    document_mask: Any = None,
) -> Any:
    """Compute the late-interaction score of every query against every document.

    For each query vector take its best document vector, then sum over the query's vectors:
    ``score[q, n] = sum_i max_j <queries[q, i], documents[n, j]>``.

    Args:
        queries: ``(Q, Tq, D)``, L2-normalised if scores are to be cosines.
        documents: ``(N, Td, D)``, same ``D`` and, for tensors, same device.
        query_mask: ``(Q, Tq)``, True = counts in the sum. None: every vector counts.
        document_mask: ``(N, Td)``, True = may win the max. None: every vector may.

    Returns:
        ``(Q, N)`` float32, of the inputs' kind; range ``[-Tq, Tq]`` for normalised vectors. A
        document whose vectors are all masked scores ``-inf``.

    Raises:
        TypeError: arrays and tensors are mixed.
        ValueError: an input is not 3D, dims differ, or a mask does not fit.

    Source: Khattab & Zaharia 2020 (ColBERT), late interaction.
    """
    lib = _library(queries, documents, query_mask, document_mask)
    _check_3d("queries", "(queries, vectors, dim)", queries)
    _check_3d("documents", "(documents, vectors, dim)", documents)
    _check_dims(queries, documents)
    _check_mask("query_mask", query_mask, queries)
    _check_mask("document_mask", document_mask, documents)
    cells = queries.shape[0] * queries.shape[1] * documents.shape[1]
    step = max(1, CHUNK_NUMBERS // max(1, cells))
    queries = lib.float32(queries)  # (Q, Tq, D)
    blocks = []
    for start in range(0, documents.shape[0], step):
        block = lib.float32(documents[start : start + step])  # (n, Td, D)
        mask = None if document_mask is None else document_mask[start : start + step]  # (n, Td)
        blocks.append(_maxsim_block(lib, queries, block, query_mask, mask))  # (Q, n)
    if not blocks:
        return lib.empty_scores(queries.shape[0], queries)  # (Q, 0)
    return blocks[0] if len(blocks) == 1 else lib.concatenate(blocks)  # (Q, N)


def _maxsim_block(lib: Any, queries: Any, documents: Any, query_mask: Any, document_mask: Any) -> Any:
    """Score one chunk of documents, ``(n, Td, D)``, against all queries, ``(Q, Tq, D)``; both float32."""
    dim = queries.shape[-1]
    similarity = queries.reshape(-1, dim) @ documents.reshape(-1, dim).T  # (Q * Tq, n * Td)
    similarity = similarity.reshape(*queries.shape[:2], *documents.shape[:2])  # (Q, Tq, n, Td)
    if document_mask is not None:
        similarity = lib.where(document_mask[None, None], similarity, -float("inf"))  # (Q, Tq, n, Td)
    best = lib.best(similarity)  # (Q, Tq, n)
    if query_mask is not None:
        best = lib.where(query_mask[:, :, None], best, 0.0)  # (Q, Tq, n)
    return best.sum(1)  # (Q, n)


def take_budget(matrix: Array, rows: int | None) -> Array:
    """Return the first `rows` vectors as a view; nothing is copied.

    A matrix with fewer rows is returned whole, since an embedder may give fewer than the budget.

    Args:
        matrix: ``(..., T, D)``.
        rows: at least 1; None takes all.

    Raises:
        ValueError: `rows` is not a whole number of at least 1.
    """
    if rows is None:
        return matrix
    rows = check_whole("a budget", rows, hint="None takes all rows.")
    return matrix[..., :rows, :]  # (..., min(rows, T), D)


def pad_matrices(matrices: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Stack matrices of different lengths, with the mask that keeps padding out of every score.

    Args:
        matrices: ``(T_i, D)`` each.

    Returns:
        ``(N, max T, D)`` float32 padded with zeros, and ``(N, max T)``, True where a row is real. No
        matrices give ``(0, 0, 0)`` and ``(0, 0)``.

    Raises:
        ValueError: a matrix is not 2D, or dims differ.
    """
    longest, dim = 0, 0
    for position, matrix in enumerate(matrices):
        if matrix.ndim != 2:
            raise ValueError(f"matrix {position} must be 2D (vectors, dim), got {matrix.shape}.")
        dim = dim or matrix.shape[1]
        if matrix.shape[1] != dim:
            raise ValueError(
                f"matrices must have one dim, got {dim} first and {matrix.shape[1]} in matrix {position}."
            )
        longest = max(longest, matrix.shape[0])
    stack = np.zeros((len(matrices), longest, dim), np.float32)  # (N, T, D)
    mask = np.zeros((len(matrices), longest), np.bool_)  # (N, T)
    for position, matrix in enumerate(matrices):
        stack[position, : len(matrix)] = matrix
        mask[position, : len(matrix)] = True
    return stack, mask


def _check_3d(name: str, axes: str, array: Any) -> None:
    if array.ndim != 3:
        single = {"queries": "query", "documents": "document"}[name]
        raise ValueError(
            f"{name} must be 3D {axes}, got {tuple(array.shape)}. Wrap a single {single} in a list."
        )


def _check_dims(queries: Any, documents: Any) -> None:
    if queries.shape[-1] != documents.shape[-1]:
        raise ValueError(
            f"queries and documents must have one dim, got {queries.shape[-1]} and {documents.shape[-1]}. "
            "Encode both with the same embedder."
        )
    if documents.shape[0] and not documents.shape[1]:
        raise ValueError(f"documents must have at least one vector each, got {tuple(documents.shape)}.")


def _check_mask(name: str, mask: Any, array: Any) -> None:
    if mask is not None and tuple(mask.shape) != tuple(array.shape[:2]):
        raise ValueError(
            f"{name} must have shape {tuple(array.shape[:2])}, one value per vector, got {tuple(mask.shape)}."
        )


def _library(*arrays: Any) -> Any:
    """Return the few operations that NumPy and torch spell differently, for these arrays."""
    torch_module = sys.modules.get("torch")  # imported already if one of them is a tensor
    is_tensor = [
        torch_module is not None and isinstance(array, torch_module.Tensor)
        for array in arrays
        if array is not None
    ]
    if not any(is_tensor):
        return _NumpyLibrary
    if not all(is_tensor):
        raise TypeError("maxsim takes NumPy arrays or torch tensors, got both. Convert one side.")
    return _TorchLibrary(torch_module)


class _NumpyLibrary:
    """NumPy's spelling."""

    @staticmethod
    def float32(array: NDArray[Any]) -> NDArray[np.float32]:
        return array.astype(np.float32, copy=False)

    @staticmethod
    def where(mask: NDArray[Any], values: NDArray[Any], fill: float) -> NDArray[Any]:
        return np.where(mask.astype(np.bool_, copy=False), values, np.float32(fill))

    @staticmethod
    def best(similarity: NDArray[Any]) -> NDArray[Any]:
        return similarity.max(-1)  # type: ignore[no-any-return]

    @staticmethod
    def concatenate(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(parts, axis=-1)

    @staticmethod
    def empty_scores(queries: int, like: NDArray[Any]) -> NDArray[np.float32]:
        return np.empty((queries, 0), np.float32)


class _TorchLibrary:
    """Torch's spelling; gradients flow."""

    def __init__(self, torch_module: Any) -> None:
        self.torch = torch_module

    def float32(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.float()

    def where(self, mask: torch.Tensor, values: torch.Tensor, fill: float) -> torch.Tensor:
        return values.masked_fill(~mask.bool(), fill)

    def best(self, similarity: torch.Tensor) -> torch.Tensor:
        return similarity.amax(-1)

    def concatenate(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return self.torch.cat(parts, dim=-1)  # type: ignore[no-any-return]

    def empty_scores(self, queries: int, like: torch.Tensor) -> torch.Tensor:
        return like.new_empty((queries, 0), dtype=self.torch.float32)
