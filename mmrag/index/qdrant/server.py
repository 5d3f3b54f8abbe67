"""Collections of a Qdrant server, or of the client's local mode for tests.

A request that the server could not take is sent again: ids say where each writes, so that twice is once. The
calling thread waits for its requests, a few at once, and longer where the server says so: whoever adds
faster than the server takes is held up and nothing piles up on either side.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import RLock
from typing import Any, TypeVar

try:
    from qdrant_client import QdrantClient, models
except ImportError as error:
    from mmrag.errors import MissingExtraError

    raise MissingExtraError("A Qdrant index", "qdrant") from error

from mmrag.errors import IndexFormatError, ServerStatusError
from mmrag.index.qdrant.collection import NO_INDEX, Condition, FieldKind, Point, Stage, StoredPoint, Vector
from mmrag.index.qdrant.failures import Failure, failure_of
from mmrag.index.qdrant.points import ALL_ROWS, SIZES, TERMS
from mmrag.index.qdrant.settings import CollectionSettings, ServerSettings

Value = TypeVar("Value")

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 20.0
_RANK_CONSTANT = 60
_EF_CONSTRUCT = 128


class Server:
    """A server behind a client, and how it is talked to.

    Args:
        make_client: makes a client; again in a process that was forked, which must not share its connections.
        url: of the server, for messages; None: the client's local mode.
        settings: how it is talked to.
        pause: waits so many seconds. None: sleeps.
    """

    def __init__(
        self,
        make_client: Callable[[], QdrantClient],
        url: str | None,
        settings: ServerSettings,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._make_client = make_client
        self.client = make_client()
        self.url = url
        self.settings = settings
        self.requests = 0
        self._pause = pause or time.sleep
        # the local mode takes one call at a time; a server as many as there come
        self._lock = RLock() if url is None else None
        self._pool = self._new_pool()
        self._process = os.getpid()

    @classmethod
    def in_memory(cls, settings: ServerSettings) -> Server:
        """Return the client's local mode in memory."""
        client = QdrantClient(":memory:")
        return cls(lambda: client, None, settings)

    def _new_pool(self) -> ThreadPoolExecutor | None:
        return None if self.url is None else ThreadPoolExecutor(self.settings.parallel, "mmrag-qdrant")

    def _follow_fork(self) -> None:
        """Connect anew in a process that was forked: threads do not come along, connections must not."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.client = self._make_client()
            self._pool = self._new_pool()

    def call(self, operation: Callable[[], Value]) -> Value:
        """Run a request, again where the server could not take it.

        Raises:
            ServerError: it could not in the end, or refuses.
            IndexFormatError: what is asked for is not .
        """
        attempt = 0
        self._follow_fork()
        while True:
            self.requests += 1
            try:
                if self._lock is None:
                    return operation()
                with self._lock:
                    return operation()
            except Exception as error:
                failure = failure_of(error, self.url or "in memory", self.settings.timeout)
                if failure is None:
                    raise
                attempt += 1
                if not failure.may_pass or attempt > self.settings.retries:
                    raise failure.error from None
                self._pause(_seconds(failure, attempt))

    def map(self, operation: Callable[[Any], Value], values: Sequence[Any]) -> list[Value]:
        """Run a request for each value, a few at once."""
        return self._run_each(lambda value: self.call(lambda: operation(value)), values)

    def _run_each(self, operation: Callable[[Any], Value], values: Sequence[Any]) -> list[Value]:
        """Run an operation for each value; the first error is raised when all have ended."""
        self._follow_fork()
        if self._pool is None or len(values) < 2:
            return [operation(value) for value in values]
        futures = [self._pool.submit(operation, value) for value in values]
        wait(futures)
        return [future.result() for future in futures]

    def send(self, operation: Callable[[Any], None], values: Sequence[Any]) -> None:
        """Run an operation, which is made of calls, for each value, a few at once."""
        self._run_each(operation, values)

    def close(self) -> None:
        """Close the connection."""
        if self._pool is not None:
            self._pool.shutdown()
        self.client.close()


def _seconds(failure: Failure, attempt: int) -> float:
    """Return the pause before the next attempt: as the server says, else twice as long each time."""
    if failure.retry_after is not None:
        return min(failure.retry_after, _LONGEST_PAUSE)
    pause: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 1))
    return pause * random.uniform(0.5, 1.0)


class ServerCollection:
    """A collection of a server; see `Collection` for every method."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.quantization_factor: float | None = None
        self._indexed_fields: set[str] = set()

    @property
    def _client(self) -> QdrantClient:
        return self.server.client

    def exists(self) -> bool:
        """Return whether there is such a collection."""
        return self.server.call(lambda: self._client.collection_exists(self.name))

    def create(self, *, dim: int | None, settings: CollectionSettings) -> None:
        """Make the collection; fine where another writer was faster."""
        vectors = {} if dim is None else _vector_params(dim, settings)
        sparse = None if dim is None else {TERMS: models.SparseVectorParams()}
        try:
            self.server.call(
                lambda: self._client.create_collection(
                    self.name,
                    vectors_config=vectors,
                    sparse_vectors_config=sparse,
                    shard_number=settings.shards,
                    replication_factor=settings.replicas,
                    write_consistency_factor=settings.write_consistency,
                    on_disk_payload=settings.on_disk,
                )
            )
        except Exception:
            if not self.exists():  # else another process has made it in the meantime
                raise

    def shape(self) -> models.CollectionParams:
        """Return what the collection is made of, and note which fields are indexed."""
        info = self.server.call(lambda: self._client.get_collection(self.name))
        self._indexed_fields |= set(info.payload_schema)
        return info.config.params

    def upsert(self, points: Sequence[Point], *, only_new: bool = False) -> None:
        """See `Collection.upsert`."""
        mode = models.UpdateMode.INSERT_ONLY if only_new else None
        structs = [
            models.PointStruct(id=p.id, vector=_vectors(p.vectors), payload=dict(p.payload)) for p in points
        ]
        self.server.call(
            lambda: self._client.upsert(
                self.name, structs, wait=True, update_mode=mode, ordering=self._ordering
            )
        )

    def set_payload(self, changes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """See `Collection.set_payload`."""
        if not changes:
            return
        operations = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload=dict(payload), filter=models.Filter(must=[models.HasIdCondition(has_id=[id])])
                )
            )
            for id, payload in changes
        ]
        self.server.call(
            lambda: self._client.batch_update_points(
                self.name, operations, wait=True, ordering=self._ordering
            )
        )

    def set_payload_where(self, condition: Condition, payload: Mapping[str, Any]) -> None:
        """See `Collection.set_payload_where`."""
        filter = _filter(condition)
        self.server.call(
            lambda: self._client.set_payload(
                self.name, dict(payload), points=filter, wait=True, ordering=self._ordering
            )
        )

    def delete(self, ids: Sequence[str]) -> None:
        """See `Collection.delete`."""
        selector = models.PointIdsList(points=list(ids))
        self.server.call(lambda: self._client.delete(self.name, selector, wait=True, ordering=self._ordering))

    def delete_where(self, condition: Condition) -> None:
        """See `Collection.delete_where`."""
        selector = models.FilterSelector(filter=_filter(condition))
        self.server.call(lambda: self._client.delete(self.name, selector, wait=True, ordering=self._ordering))

    def retrieve(self, ids: Sequence[str], fields: Sequence[str]) -> list[StoredPoint]:
        """See `Collection.retrieve`."""
        records = self.server.call(
            lambda: self._client.retrieve(
                self.name, list(ids), with_payload=list(fields), consistency=self._consistency
            )
        )
        return [StoredPoint(str(record.id), record.payload or {}) for record in records]

    def scroll(
        self, condition: Condition, fields: Sequence[str], limit: int, offset: str | None = None
    ) -> tuple[list[StoredPoint], str | None]:
        """See `Collection.scroll`."""
        filter = _filter(condition)
        records, next_id = self.server.call(
            lambda: self._client.scroll(
                self.name,
                scroll_filter=filter,
                limit=limit,
                offset=offset,
                with_payload=list(fields),
                consistency=self._consistency,
            )
        )
        points = [StoredPoint(str(record.id), record.payload or {}) for record in records]
        return points, None if next_id is None else str(next_id)

    def counts(self, conditions: Sequence[Condition]) -> list[int]:
        """See `Collection.counts`."""
        return self.server.map(
            lambda condition: (
                self._client.count(self.name, count_filter=_filter(condition), exact=True).count
            ),
            conditions,
        )

    def facet(self, key: str, condition: Condition, limit: int) -> list[tuple[str | int, int]] | None:
        """See `Collection.facet`."""
        filter = _filter(condition)
        try:
            response = self.server.call(
                lambda: self._client.facet(
                    self.name,
                    key,
                    facet_filter=filter,
                    limit=limit,
                    exact=True,
                    consistency=self._consistency,
                )
            )
        except ServerStatusError as error:
            if NO_INDEX not in str(error):
                raise
            return None
        return [(hit.value, hit.count) for hit in response.hits]

    def query(self, stage: Stage, condition: Condition, fields: Sequence[str]) -> list[StoredPoint]:
        """See `Collection.query`."""
        filter = _filter(condition)
        response = self.server.call(
            lambda: self._client.query_points(
                self.name,
                query=_query(stage.query),
                using=stage.vector_name,
                prefetch=[self._prefetch(before, filter) for before in stage.before] or None,
                query_filter=filter,
                search_params=self._params(stage),
                limit=stage.limit,
                with_payload=list(fields),
                consistency=self._consistency,
            )
        )
        return _stored_points(response)

    def fuse(
        self, stages: Sequence[Stage], condition: Condition, limit: int, fields: Sequence[str]
    ) -> list[StoredPoint]:
        """See `Collection.fuse`."""
        filter = _filter(condition)
        response = self.server.call(
            lambda: self._client.query_points(
                self.name,
                query=models.RrfQuery(rrf=models.Rrf(k=_RANK_CONSTANT)),
                prefetch=[self._prefetch(stage, filter) for stage in stages],
                limit=limit,
                with_payload=list(fields),
                consistency=self._consistency,
            )
        )
        return _stored_points(response)

    def index_field(self, key: str, kind: FieldKind) -> None:
        """See `Collection.index_field`; the local mode needs no index."""
        if key not in self._indexed_fields:
            if self.server.url is not None:
                schema = models.PayloadSchemaType(kind)
                self.server.call(
                    lambda: self._client.create_payload_index(self.name, key, field_schema=schema, wait=True)
                )
            self._indexed_fields.add(key)

    def close(self) -> None:
        """See `Collection.close`; the server is closed by whoever opened it."""

    @property
    def _ordering(self) -> models.WriteOrdering | None:
        ordering = self.server.settings.write_ordering
        return None if ordering is None else models.WriteOrdering(ordering)

    @property
    def _consistency(self) -> models.ReadConsistency | None:
        consistency = self.server.settings.read_consistency
        if consistency is None or isinstance(consistency, int):
            return consistency
        return models.ReadConsistencyType(consistency)

    def _prefetch(self, stage: Stage, filter: models.Filter) -> models.Prefetch:
        return models.Prefetch(
            query=_query(stage.query),
            using=stage.vector_name,
            prefetch=[self._prefetch(before, filter) for before in stage.before] or None,
            filter=filter,
            limit=stage.limit,
            params=self._params(stage),
        )

    def _params(self, stage: Stage) -> models.SearchParams | None:
        if self.server.url is None:  # the local mode always looks at every point
            return None
        quantization = None
        if self.quantization_factor is not None and not isinstance(stage.query, tuple):
            quantization = models.QuantizationSearchParams(
                rescore=True, oversampling=self.quantization_factor
            )
        return models.SearchParams(exact=stage.is_exact, quantization=quantization)


def check_shape(collection: ServerCollection, params: models.CollectionParams, dim: int) -> None:
    """Refuse a collection that this package did not make, or not for vectors of this width.

    Raises:
        IndexFormatError: a vector is missing, or of another kind or width.
    """
    vectors = params.vectors if isinstance(params.vectors, dict) else {}
    right_shapes = {name: (dim, models.Distance.DOT, name != "b1") for name in (*SIZES, ALL_ROWS)}
    shapes = {
        name: (vector.size, vector.distance, vector.multivector_config is not None)
        for name, vector in vectors.items()
    }
    if any(shapes.get(name) != shape for name, shape in right_shapes.items()) or TERMS not in (
        params.sparse_vectors or {}
    ):
        names = (
            ", ".join(f"{name} ({size})" for name, (size, _, _) in sorted(shapes.items()))
            or "no named vectors"
        )
        raise IndexFormatError(
            f"collection {collection.name!r} must have the vectors b1, b4, b16, all ({dim}) and {TERMS}, "
            f"got {names}. Name another collection; nothing was written."
        )


def _vector_params(dim: int, settings: CollectionSettings) -> dict[str, models.VectorParams]:
    quantization = None
    if settings.quantization == "int8":
        quantization = models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        )
    several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return {
        name: models.VectorParams(
            size=dim,
            distance=models.Distance.DOT,
            multivector_config=None if name == "b1" else several,
            datatype=models.Datatype(settings.vectors),
            quantization_config=quantization,
            hnsw_config=models.HnswConfigDiff(
                m=settings.hnsw_m if name == "b1" else 0, ef_construct=_EF_CONSTRUCT
            ),
            on_disk=settings.on_disk and name != "b1",
        )
        for name in (*SIZES, ALL_ROWS)
    }


def _vectors(vectors: Mapping[str, Vector]) -> dict[str, Any]:
    return {name: _query(vector) for name, vector in vectors.items()}


def _query(vector: Vector) -> Any:  # noqa: ANN401  the client's type is a union of thirty
    if isinstance(vector, tuple):
        return models.SparseVector(indices=vector[0], values=vector[1])
    return vector


def _filter(condition: Condition) -> models.Filter:
    if not condition.keys() & {"must", "should", "must_not"}:
        condition = {"must": [condition]}
    return models.Filter.model_validate(condition)


def _stored_points(response: models.QueryResponse) -> list[StoredPoint]:
    return [StoredPoint(str(point.id), point.payload or {}, float(point.score)) for point in response.points]
