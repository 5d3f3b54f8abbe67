"""What this package asks of a collection of points, whichever engine keeps it.

Two engines do: a Qdrant server or the client's local mode (`mmrag.index.qdrant.server`), and the shard that
runs in the process (`mmrag.index.qdrant.edge`). Conditions are written as Qdrant's REST API writes filters,
in plain dicts, so that one translation of filters serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

Condition: TypeAlias = dict[str, Any]
"""A filter or a condition of one, in the form of Qdrant's REST API."""

Sparse: TypeAlias = tuple[list[int], list[float]]
"""Indices and values of a sparse vector."""

Vector: TypeAlias = list[float] | list[list[float]] | Sparse

FieldKind: TypeAlias = Literal["keyword", "integer", "float"]

NO_INDEX = "No appropriate index for faceting"
"""What the engine says of a field that is not indexed."""

ALWAYS: Condition = {"must_not": [{"has_id": []}]}
NEVER: Condition = {"has_id": []}
"""Conditions that every point and no point meets."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point to write.

    Attributes:
        id: a UUID.
        payload: JSON values.
        vectors: by name.
    """

    id: str
    payload: Mapping[str, Any]
    vectors: Mapping[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as it was read: the fields that were asked for, and the score if it was searched."""

    id: str
    payload: dict[str, Any]
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a search: the best of what the steps before it found, or of all.

    Attributes:
        vector_name: name of the vector.
        query: one vector, several, or a sparse one.
        limit: how many it hands on.
        before: the steps whose results it ranks anew; none: it ranks all points that pass.
        is_exact: look at every point, not at a graph.
    """

    vector_name: str
    query: Vector
    limit: int
    before: tuple[Stage, ...] = ()
    is_exact: bool = False


class Collection(Protocol):
    """A collection of points. Every method may be called from any thread, and may be called again.

    Attributes:
        quantization_factor: how many times more is ranked anew than is handed on; None: nothing is quantized.
    """

    quantization_factor: float | None

    def upsert(self, points: Sequence[Point], *, only_new: bool = False) -> None:
        """Add or replace points in one operation; with `only_new`, leave those that are there."""
        ...

    def set_payload(self, changes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Set these fields on these points; others stay, and a point that is not there is passed over."""
        ...

    def set_payload_where(self, condition: Condition, payload: Mapping[str, Any]) -> None:
        """Set these fields on all points that meet a condition."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; those that are not there are passed over."""
        ...

    def delete_where(self, condition: Condition) -> None:
        """Delete the points that meet a condition."""
        ...

    def retrieve(self, ids: Sequence[str], fields: Sequence[str]) -> list[StoredPoint]:
        """Read these fields of these points, in no order; missing ones are left out."""
        ...

    def scroll(
        self, condition: Condition, fields: Sequence[str], limit: int, offset: str | None = None
    ) -> tuple[list[StoredPoint], str | None]:
        """Read up to `limit` points that meet a condition, from an id on; also the id to go on from."""
        ...

    def counts(self, conditions: Sequence[Condition]) -> list[int]:
        """Count the points that meet each condition, exactly."""
        ...

    def facet(self, key: str, condition: Condition, limit: int) -> list[tuple[str | int, int]] | None:
        """Count the points of each value of a field, at most `limit` values; None where it is not indexed."""
        ...

    def query(self, stage: Stage, condition: Condition, fields: Sequence[str]) -> list[StoredPoint]:
        """Run a search in one request; the condition holds in every step."""
        ...

    def fuse(
        self, stages: Sequence[Stage], condition: Condition, limit: int, fields: Sequence[str]
    ) -> list[StoredPoint]:
        """Run searches in one request and fuse them by reciprocal ranks."""
        ...

    def index_field(self, key: str, kind: FieldKind) -> None:
        """Index a field of the payload for conditions and facets; fine where it is indexed."""
        ...

    def close(self) -> None:
        """Release what is held; calling it twice is fine."""
        ...


def value_is(key: str, value: str | int) -> Condition:
    """Return the condition that a field has this value, or one of several does."""
    return {"key": key, "match": {"value": value}}


def value_among(key: str, values: Sequence[str] | Sequence[int]) -> Condition:
    """Return the condition that a field has one of these values."""
    return {"key": key, "match": {"any": list(values)}} if values else NEVER


def all_of(*conditions: Condition) -> Condition:
    """Return the condition that all of these hold."""
    return {"must": list(conditions)}


def scroll_all(
    collection: Collection, condition: Condition, fields: Sequence[str], limit: int = 1000
) -> list[StoredPoint]:
    """Read all points that meet a condition, a part at a time."""
    points: list[StoredPoint] = []
    offset: str | None = None
    while True:
        part, offset = collection.scroll(condition, fields, limit, offset)
        points += part
        if offset is None:
            return points
