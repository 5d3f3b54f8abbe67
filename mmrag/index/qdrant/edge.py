"""Collections in this process: `qdrant-edge-py`, a shard of the real engine in a folder.

One process at a time opens a folder (the lock of `mmrag.index.lock` sees to that). Booleans are not found by
the engine's conditions (0.9.0: a match of True is read as 1), so that this package writes 0 and 1.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition as Signal
from typing import Any

try:
    import qdrant_edge as edge
except ImportError as error:
    from mmrag.errors import MissingExtraError

    raise MissingExtraError("A Qdrant index in a folder", "qdrant-edge") from error

from mmrag.errors import IndexFormatError, IndexLockedError
from mmrag.index.qdrant.collection import NO_INDEX, Condition, FieldKind, Point, Stage, StoredPoint, Vector
from mmrag.index.qdrant.points import ALL_ROWS, SIZES, TERMS
from mmrag.index.qdrant.settings import CollectionSettings

_KINDS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
}
_EF_CONSTRUCT = 128
_FULL_SCAN_KILOBYTES = 10_000
_MOST_IN_LOG = 2_000
_RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as everywhere in the package."""


class EdgeCollection:
    """A collection in a folder; see `Collection` for every method.

    Reads run beside each other, a write alone: what is read is before or after it, whole.
    """

    def __init__(self, path: Path, *, dim: int | None, settings: CollectionSettings) -> None:
        """Open the collection in a folder, or make it where there is none.

        Args:
            path: the folder.
            dim: width of the vectors of pages; None: a collection without vectors.
            settings: of a new one.

        Raises:
            IndexFormatError: the folder holds something else.
        """
        self.path = path
        self._lock = _SharedLock()
        self.quantization_factor: float | None = None
        is_new = not path.exists()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if is_new:
                self._shard = edge.EdgeShard.create(str(path), _config(dim, settings))
            else:
                self._shard = edge.EdgeShard.load(str(path))
        except Exception as error:
            raise IndexFormatError(
                f"{path} must be a collection of this package, got one that the engine cannot open "
                f"({error}). "
                "Restore it from a copy, or index the documents again into a new directory."
            ) from error
        self._indexed_fields: set[str] = set()
        self._is_closed = False
        self._points_in_log = 0

    def upsert(self, points: Sequence[Point], *, only_new: bool = False) -> None:
        """See `Collection.upsert`."""
        mode = edge.UpdateMode.InsertOnly if only_new else edge.UpdateMode.Upsert
        structs = [edge.Point(p.id, _vectors(p.vectors), dict(p.payload)) for p in points]
        self._update(edge.UpdateOperation.upsert_points(structs, update_mode=mode))
        self._points_in_log += len(points)
        if self._points_in_log >= _MOST_IN_LOG:
            self._flush()

    def _flush(self) -> None:
        """Write segments to the disk, which empties the log: 40 kB a page, read when opening."""
        with self._lock.alone():
            self._shard.flush()
            self._points_in_log = 0

    def set_payload(self, changes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """See `Collection.set_payload`."""
        with self._lock.alone():
            present = {
                str(r.id)
                for r in self._shard.retrieve(
                    [id for id, _ in changes], with_payload=False, with_vector=False
                )
            }
            for id, payload in changes:
                if id in present:
                    self._shard.update(edge.UpdateOperation.set_payload([id], dict(payload)))

    def set_payload_where(self, condition: Condition, payload: Mapping[str, Any]) -> None:
        """See `Collection.set_payload_where`."""
        self._update(edge.UpdateOperation.set_payload_by_filter(_filter(condition), dict(payload)))

    def delete(self, ids: Sequence[str]) -> None:
        """See `Collection.delete`."""
        self._update(edge.UpdateOperation.delete_points(list(ids)))

    def delete_where(self, condition: Condition) -> None:
        """See `Collection.delete_where`."""
        self._update(edge.UpdateOperation.delete_points_by_filter(_filter(condition)))

    def retrieve(self, ids: Sequence[str], fields: Sequence[str]) -> list[StoredPoint]:
        """See `Collection.retrieve`."""
        with self._lock.shared():
            records = self._shard.retrieve(list(ids), with_payload=list(fields), with_vector=False)
        return [StoredPoint(str(record.id), record.payload or {}) for record in records]

    def scroll(
        self, condition: Condition, fields: Sequence[str], limit: int, offset: str | None = None
    ) -> tuple[list[StoredPoint], str | None]:
        """See `Collection.scroll`."""
        request = edge.ScrollRequest(
            offset=offset, limit=limit, filter=_filter(condition), with_payload=list(fields)
        )
        with self._lock.shared():
            records, next_id = self._shard.scroll(request)
        points = [StoredPoint(str(record.id), record.payload or {}) for record in records]
        return points, None if next_id is None else str(next_id)

    def counts(self, conditions: Sequence[Condition]) -> list[int]:
        """See `Collection.counts`."""
        requests = [edge.CountRequest(exact=True, filter=_filter(condition)) for condition in conditions]
        with self._lock.shared():
            return [int(self._shard.count(request)) for request in requests]

    def facet(self, key: str, condition: Condition, limit: int) -> list[tuple[str | int, int]] | None:
        """See `Collection.facet`."""
        request = edge.FacetRequest(key, limit=limit, exact=True, filter=_filter(condition))
        with self._lock.shared():
            try:
                hits = self._shard.facet(request).hits
            except Exception as error:  # the engine has no class for it
                if NO_INDEX not in str(error):
                    raise
                return None
        return [(hit.value, int(hit.count)) for hit in hits]

    def query(self, stage: Stage, condition: Condition, fields: Sequence[str]) -> list[StoredPoint]:
        """See `Collection.query`."""
        filter = _filter(condition)
        request = edge.QueryRequest(
            limit=stage.limit,
            query=_query(stage),
            prefetches=[self._prefetch(before, filter) for before in stage.before],
            with_payload=list(fields),
            filter=filter,
            params=self._params(stage),
        )
        with self._lock.shared():
            return _stored_points(self._shard.query(request))

    def fuse(
        self, stages: Sequence[Stage], condition: Condition, limit: int, fields: Sequence[str]
    ) -> list[StoredPoint]:
        """See `Collection.fuse`."""
        filter = _filter(condition)
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Fusion.Rrf(k=_RANK_CONSTANT),  # type: ignore[arg-type]  # the stubs do not know
            prefetches=[self._prefetch(stage, filter) for stage in stages],
            with_payload=list(fields),
        )
        with self._lock.shared():
            return _stored_points(self._shard.query(request))

    def index_field(self, key: str, kind: FieldKind) -> None:
        """See `Collection.index_field`."""
        if key not in self._indexed_fields:
            self._update(edge.UpdateOperation.create_field_index(key, _KINDS[kind]))
            self._indexed_fields.add(key)

    def optimize(self) -> None:
        """Build the graph and the quantized vectors of what was added since; searches wait for it."""
        with self._lock.alone():
            self._shard.optimize()

    def close(self) -> None:
        """See `Collection.close`."""
        with self._lock.alone():
            if not self._is_closed:
                self._is_closed = True
                self._shard.flush()
                self._shard.close()

    def _update(self, operation: edge.UpdateOperation) -> None:
        with self._lock.alone():
            try:
                self._shard.update(operation)
            except Exception as error:  # the engine has no class for it
                if "No space left" not in str(error):
                    raise
                raise OSError(
                    errno.ENOSPC,
                    "the disk is full. Free it, then do the same again: what was written stays",
                    str(self.path),
                ) from error

    def _prefetch(self, stage: Stage, filter: edge.Filter) -> edge.Prefetch:
        return edge.Prefetch(
            limit=stage.limit,
            query=_query(stage),
            prefetches=[self._prefetch(before, filter) for before in stage.before],
            filter=filter,
            params=self._params(stage),
        )

    def _params(self, stage: Stage) -> edge.SearchParams:
        quantization = None
        if self.quantization_factor is not None:
            quantization = edge.QuantizationSearchParams(rescore=True, oversampling=self.quantization_factor)
        return edge.SearchParams(exact=stage.is_exact, quantization=quantization)


def _config(dim: int | None, settings: CollectionSettings) -> edge.EdgeConfig:
    if dim is None:
        return edge.EdgeConfig(sparse_vectors={TERMS: edge.EdgeSparseVectorParams()})
    datatype = {"float16": edge.VectorStorageDatatype.Float16, "float32": edge.VectorStorageDatatype.Float32}
    quantization = None
    if settings.quantization == "int8":
        quantization = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=edge.Memory.Pinned)
    several = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    vectors = {
        name: edge.EdgeVectorParams(
            dim,
            edge.Distance.Dot,
            multivector_config=None if name == "b1" else several,
            datatype=datatype[settings.vectors],
            quantization_config=quantization,
            hnsw_config=edge.HnswIndexConfig(
                m=settings.hnsw_m if name == "b1" else 0,
                ef_construct=_EF_CONSTRUCT,
                full_scan_threshold=_FULL_SCAN_KILOBYTES,
            ),
            memory=edge.Memory.Cold if settings.on_disk and name == ALL_ROWS else edge.Memory.Cached,
        )
        for name in (*SIZES, ALL_ROWS)
    }
    return edge.EdgeConfig(
        vectors=vectors,
        sparse_vectors={TERMS: edge.EdgeSparseVectorParams()},
        on_disk_payload=settings.on_disk,
    )


def _vectors(vectors: Mapping[str, Vector]) -> dict[str, Any]:
    return {
        name: edge.SparseVector(*vector) if isinstance(vector, tuple) else vector
        for name, vector in vectors.items()
    }


def _query(stage: Stage) -> edge.Query:
    query = edge.SparseVector(*stage.query) if isinstance(stage.query, tuple) else stage.query
    return edge.Query.Nearest(query, using=stage.vector_name)


def _stored_points(points: Sequence[edge.ScoredPoint]) -> list[StoredPoint]:
    return [StoredPoint(str(point.id), point.payload or {}, float(point.score)) for point in points]


def _filter(condition: Condition) -> edge.Filter:
    """Translate a condition of `mmrag.index.qdrant.collection` to the engine's classes."""
    if not condition.keys() & {"must", "should", "must_not"}:
        return edge.Filter(must=[_part(condition)])
    must, should, must_not = (
        [_part(part) for part in condition[name]] if name in condition else None
        for name in ("must", "should", "must_not")
    )
    return edge.Filter(must=must, should=should, must_not=must_not)


def _part(condition: Condition) -> Any:  # noqa: ANN401  one of the engine's many classes of conditions
    if "has_id" in condition:
        return edge.HasIdCondition(set(condition["has_id"]))
    if "is_empty" in condition:
        return edge.IsEmptyCondition(condition["is_empty"]["key"])
    if "match" in condition:
        match = condition["match"]
        values = edge.MatchAny(match["any"]) if "any" in match else edge.MatchValue(match["value"])
        return edge.FieldCondition(condition["key"], match=values)
    if "range" in condition:
        return edge.FieldCondition(condition["key"], range=edge.RangeFloat(**condition["range"]))
    return _filter(condition)


class _SharedLock:
    """Many readers or one writer; a writer that waits lets no new reader in."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._signal = Signal()
        self._readers = 0
        self._waiting_writers = 0
        self._is_written = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Read beside others."""
        self._check_process()
        with self._signal:
            self._signal.wait_for(lambda: not self._is_written and not self._waiting_writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._signal:
                self._readers -= 1
                self._signal.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Write, while nobody reads or writes."""
        self._check_process()
        with self._signal:
            self._waiting_writers += 1
            self._signal.wait_for(lambda: not self._is_written and not self._readers)
            self._waiting_writers -= 1
            self._is_written = True
        try:
            yield
        finally:
            with self._signal:
                self._is_written = False
                self._signal.notify_all()

    def _check_process(self) -> None:
        """Refuse a process that was forked: the engine's threads did not come along.

        Raises:
            IndexLockedError: it was.
        """
        if self._process != os.getpid():
            raise IndexLockedError(
                "Qdrant's engine in a folder must be used by the process that opened it, got one that was "
                "forked from it. Open the index after the fork, or use a server."
            )
