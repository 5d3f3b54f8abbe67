"""Checks of records, metadata and queries that every index makes before it writes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.errors import check_whole
from mmrag.index.base import Manifest
from mmrag.index.filters import is_unicode, scalar_problem
from mmrag.index.rows import RowCodec
from mmrag.types import Budget, Matrix, Metadata, Record, Scalar

MAX_ROWS = 4096
"""Vectors a record may have: 64 nested ones, or every token of a page for models without nesting."""

MOST_SHOWN = 200
"""Letters of a value in a message."""

FLOAT16_MAX = float(np.finfo(np.float16).max)


def checked_records(records: Sequence[Record], manifest: Manifest) -> list[tuple[Record, Matrix]]:
    """Check records; return each with the rows that every index of this manifest stores, as they come back.

    Raises:
        ValueError: a matrix is missing, not ``(rows, dim)`` with 1..4096 rows or not finite in float16,
            an id is empty or twice in the call, text is no text, or metadata is not flat.
    """
    codec = RowCodec.of(manifest)
    seen_ids: set[str] = set()
    pairs = []
    for record in records:
        _check_id(record.id)
        if record.id in seen_ids:
            raise ValueError(f"an id may occur once in a call, got {record.id!r} twice. Keep one.")
        seen_ids.add(record.id)
        if not isinstance(record.text, str) or not is_unicode(record.text):
            raise ValueError(
                f"the text of record {record.id!r} must be text that UTF-8 can write, "
                f"got {str(record.text)[:80]!r}. "
                "Replace lone surrogates: text.encode('utf-8', 'replace').decode()."
            )
        check_metadata(flat_metadata(record.metadata), record.id)
        matrix = _checked_matrix(record, manifest.dim)[: manifest.rows]
        pairs.append((record, codec.decode(codec.encode(matrix))))
    return pairs


def _check_id(id: object) -> None:
    if not isinstance(id, str) or not id or not is_unicode(id):
        raise ValueError(f"a record's id must be non-empty text, got {id!r}.")


def _checked_matrix(record: Record, dim: int) -> NDArray[Any]:
    if record.matrix is None:
        raise ValueError(f"record {record.id!r} has no matrix. Encode it: embedder.encode_document([...]).")
    matrix = np.asarray(record.matrix)
    if matrix.ndim != 2 or matrix.shape[1] != dim or not 1 <= matrix.shape[0] <= MAX_ROWS:
        raise ValueError(
            f"the matrix of record {record.id!r} must be (rows, {dim}) with 1 to {MAX_ROWS} rows, "
            f"got {matrix.shape}."
        )
    if matrix.dtype.kind not in "fiu":
        raise ValueError(f"the matrix of record {record.id!r} must be of numbers, got dtype {matrix.dtype}.")
    # written so that NaN fails too
    if not bool((np.abs(matrix.astype(np.float64)) <= FLOAT16_MAX).all()):
        raise ValueError(
            f"the matrix of record {record.id!r} must be finite and within float16 (±{FLOAT16_MAX:.0f}), "
            "got a value that is not. Check the embedder's output."
        )
    return matrix


SURE_NUMBER = 2.0**53
"""Below this a number needs no further look; larger ones may still be stored."""


def check_metadata(metadata: Metadata, id: str) -> None:
    """Check that metadata is flat: string keys to scalars or tuples of them.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(metadata, Mapping):
        raise ValueError(f"the metadata of record {id!r} must be a dict, got {_short(metadata)}.")
    if _is_plain(metadata):
        return
    for key, value in metadata.items():
        if not isinstance(key, str) or not key or key.startswith("$") or not is_unicode(key):
            raise ValueError(
                f"a metadata key of record {id!r} must be non-empty text that does not start with '$', "
                f"got {key!r}. Rename it."
            )
        for item in value if isinstance(value, tuple) else (value,):
            problem = scalar_problem(item)
            if problem:
                raise ValueError(
                    f"metadata {key!r} of record {id!r} {problem}, got {_short(item)}. "
                    "Metadata is flat: a key has one value or a list of several."
                )


def _is_plain(metadata: Metadata) -> bool:
    """Check all keys and values at once: a search reads hundreds of records, nearly all of them like this.

    Returns:
        True only if `check_metadata` has nothing to say. Text beyond ASCII, for one, is looked at there.
    """
    keys = list(metadata)
    values: list[Any] = []
    for value in metadata.values():
        values.extend(value) if type(value) is tuple else values.append(value)
    if not {*map(type, values)} <= {str, int, float, bool} or {*map(type, keys)} != {str}:
        return False
    numbers = [value for value in values if type(value) is not str]
    texts = [*keys, *(value for value in values if type(value) is str)]
    return (
        all(keys)
        and "".join(texts).isascii()
        and not any(key[0] == "$" for key in keys)
        and all(-SURE_NUMBER < number < SURE_NUMBER for number in numbers)  # NaN is not
    )


def flat_metadata(metadata: Any) -> Any:  # noqa: ANN401  what `check_metadata` looks at
    """Return a caller's metadata in the form that is stored: lists as tuples, keys without value left out.

    None is how many loaders write that a key has no value. What is no mapping is returned as it is.
    """
    if not isinstance(metadata, Mapping):
        return metadata
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in metadata.items()
        if value is not None
    }


def plain_metadata(metadata: Metadata) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Copy metadata to the form that is stored: plain Python values, no NumPy floats, no string enums."""
    return {
        key: tuple(map(_plain, value)) if isinstance(value, tuple) else _plain(value)
        for key, value in flat_metadata(metadata).items()
    }


def merged_metadata(metadata: Metadata, values: Metadata) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """Return metadata with other values; a key whose new value is None is taken away."""
    new_values = plain_metadata(values)
    kept_keys = (key for key in metadata if key in new_values or key not in values)
    return {**{key: metadata[key] for key in kept_keys}, **new_values}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _plain(value: Scalar) -> Scalar:
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str.__str__(value)


def checked_query(query: Matrix, dim: int) -> NDArray[np.float32]:
    """Check a query matrix and return it as float32.

    Raises:
        ValueError: it is not ``(rows, dim)`` with at least one row, or not finite.
    """
    matrix: NDArray[Any] = np.asarray(query)
    if matrix.ndim != 2 or matrix.shape[1] != dim or not len(matrix):
        raise ValueError(
            f"a query must be (rows, {dim}) with at least one row, got {matrix.shape}. "
            "Encode it with the embedder of the index: embedder.encode_query([...])[0]."
        )
    matrix = matrix.astype(np.float32)
    if not np.isfinite(matrix).all():
        raise ValueError("a query's vectors must be finite, got NaN or infinity. Check the embedder.")
    return matrix


def check_k(k: object) -> None:
    """Refuse a number of hits that is not a whole number of at least 1."""
    check_whole("k", k)


def budget_rows(budget: Budget | None) -> tuple[int | None, int | None]:
    """Return the rows used on the query and on the document side; None means all."""
    return (None, None) if budget is None else (budget.query, budget.document)
