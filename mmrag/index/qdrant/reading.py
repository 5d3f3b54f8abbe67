"""The reading half of an index in Qdrant: what `mmrag.index.qdrant.index.QdrantIndex` answers."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import RLock

from mmrag.index.base import DocumentEntry, Manifest
from mmrag.index.filters import Filter, kind_of, matches, metadata_values, validate
from mmrag.index.identity import DocumentNames
from mmrag.index.qdrant.collection import Collection, StoredPoint, all_of, scroll_all
from mmrag.index.qdrant.conditions import Translation, translate, value_word, values_path, word_value
from mmrag.index.qdrant.files import FilePoints, Identity, OrderClock
from mmrag.index.qdrant.lengths import Lengths
from mmrag.index.qdrant.names import name_documents
from mmrag.index.qdrant.opening import Collections
from mmrag.index.qdrant.points import FULL_FIELDS, ROW_FIELDS, metadata_of, point_id, record_of, rows_of
from mmrag.index.qdrant.search import LIVE, TextSearch, VectorSearch, cascade, fused_hits, stage_name
from mmrag.index.qdrant.words import Tokenizer
from mmrag.index.ranking import final_scores
from mmrag.index.records import budget_rows, check_k, checked_query
from mmrag.index.row_search import SURVIVORS, SURVIVORS_A_HIT
from mmrag.index.rows import RowCodec
from mmrag.scoring import take_budget
from mmrag.types import Budget, Hit, Matrix, Record, Scalar

MOST_VALUES = 10_000
"""Values of a key that a range of texts is looked up among."""

MOST_DISTINCT = 1_000_000
"""Values of a key that `values` tells apart by the engine's index."""

_PART = 200  # records with their rows in one answer


class QdrantReader:
    """What an index in Qdrant answers; see `mmrag.index.base.Index` for every method."""

    def __init__(
        self, collections: Collections, identity: Identity, *, read_only: bool, batch_bytes: int
    ) -> None:
        self._collections = collections
        self._manifest = identity.manifest
        self._read_only = read_only
        self._batch_bytes = batch_bytes
        self._rows = RowCodec.of(identity.manifest)
        self._identity = identity
        self._clock = OrderClock()
        self._file_points = FilePoints(collections.files, self._clock)
        self._tokenizer = Tokenizer()
        self._lengths = Lengths(collections.pages, LIVE)
        self._write_lock = RLock()
        self._keys: set[str] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        """Return the address; no key."""
        return f"QdrantIndex({self._collections.address!r})"

    @property
    def manifest(self) -> Manifest:
        """What the index was made with."""
        return self._manifest

    @property
    def read_only(self) -> bool:
        """Whether the index was opened for reading only."""
        return self._read_only

    @property
    def address(self) -> str:
        """Where it is: a folder, or the address of a collection."""
        return self._collections.address

    @property
    def requests(self) -> int | None:
        """Requests to the server so far; None in a folder."""
        return None if self._collections.server is None else self._collections.server.requests

    def close(self) -> None:
        """See `Index.close`."""
        if not self._is_closed:
            self._is_closed = True
            self._collections.close()
            self._tokenizer.close()

    # -- reading ----------------------------------------------------------------------------

    @property
    def _pages(self) -> Collection:
        if self._is_closed:
            raise ValueError("the index is closed. Open it again.")
        return self._collections.pages

    @property
    def _files(self) -> FilePoints:
        if self._is_closed:
            raise ValueError("the index is closed. Open it again.")
        return self._file_points

    def _retrieve(self, ids: Sequence[str], fields: Sequence[str]) -> Iterator[list[StoredPoint]]:
        """Yield the live points of ids, a part at a time."""
        for start in range(0, len(ids), _PART):
            part = [point_id(id) for id in ids[start : start + _PART]]
            points = self._pages.retrieve(part, [*fields, "live"])
            yield [point for point in points if point.payload.get("live") == 1]

    def get(self, ids: Sequence[str], *, matrices: bool = False) -> list[Record]:
        """See `Index.get`."""
        fields = [field for field in FULL_FIELDS if matrices or field not in ROW_FIELDS]
        records = {}
        for points in self._retrieve(list(dict.fromkeys(ids)), fields):
            for point in points:
                record = record_of(point, self._rows, matrices=matrices)
                records[record.id] = record
        return [
            records[id] if position == 0 else _copy(records[id])
            for position, id in _occurrences(ids)
            if id in records
        ]

    def ids(self, filter: Filter | None = None) -> list[str]:
        """See `Index.ids`."""
        points = self._passing_points(filter, ["id", "order"])
        order = sorted(points, key=lambda point: (point.payload["order"], point.payload["id"]))
        return [str(point.payload["id"]) for point in order]

    def count(self, filter: Filter | None = None) -> int:
        """See `Index.count`."""
        translation = self._translate(filter)
        if translation.is_exact:
            return self._pages.counts([all_of(LIVE, translation.condition)])[0]
        return len(self._passing_points(filter, ["id"]))

    def _passing_points(self, filter: Filter | None, fields: Sequence[str]) -> list[StoredPoint]:
        """Read these fields of all records that pass a filter."""
        translation = self._translate(filter)
        names = list(fields) if translation.is_exact else [*fields, "metadata"]
        points = scroll_all(self._pages, all_of(LIVE, translation.condition), names)
        return [point for point in points if translation.is_exact or matches(filter, metadata_of(point))]

    def _translate(self, filter: Filter | None) -> Translation:
        validate(filter)
        return translate(filter, lambda key: self._distinct(key, MOST_VALUES))

    def _distinct(self, key: str, most: int) -> list[Scalar] | None:
        """Return the distinct values of a key, unordered; None with `most` or more of them or no index."""
        hits = self._pages.facet(values_path(key), LIVE, most)
        if hits is None or len(hits) >= most:
            return None
        return [word_value(str(word)) for word, _ in hits]

    def values(self, key: str) -> list[Scalar]:
        """See `Index.values`."""
        values = self._distinct(key, MOST_DISTINCT)
        if values is None:
            has_value = {"must_not": [{"is_empty": {"key": values_path(key)}}]}
            points = scroll_all(self._pages, all_of(LIVE, has_value), ["id", "metadata"])
            words = {value_word(v) for point in points for v in metadata_values(metadata_of(point), key)}
            values = [word_value(word) for word in words]
        return sorted(values, key=lambda value: (kind_of(value) or 0, value))

    def documents(self) -> list[DocumentEntry]:
        """See `Index.documents`."""
        return self._files.documents()

    def get_blob(self, key: str) -> bytes | None:
        """See `Index.get_blob`."""
        return self._files.get_blob(key)

    def document_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Index.document_ids`."""
        documents: dict[str, str] = {}
        for points in self._retrieve(list(dict.fromkeys(ids)), ["id", "document"]):
            fields = [point.payload for point in points if point.payload.get("document") is not None]
            documents |= {str(payload["id"]): str(payload["document"]) for payload in fields}
        return documents

    def name_documents(self, text: str) -> DocumentNames:
        """See `Index.name_documents`."""
        return name_documents(self._pages, self._tokenizer, text, LIVE)

    def search_text(
        self, text: str, *, k: int, filter: Filter | None = None, without: AnyCollection[str] = ()
    ) -> list[Hit]:
        """See `Index.search_text`; as exact as `mmrag.index.qdrant.words` says."""
        check_k(k)
        translation = self._translate(filter)
        texts = TextSearch(self._pages, self._tokenizer, self._identity.pivot, self._lengths)
        query = texts.prepare(text, without)
        return [] if query is None else texts.search(query, k, filter, translation)

    def score(self, query: Matrix, ids: Sequence[str], *, budget: Budget | None = None) -> list[Hit]:
        """See `Index.score`."""
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        scores: dict[str, float] = {}
        for points in self._retrieve(list(dict.fromkeys(ids)), ["id", "rows"]):
            matrices = [rows_of(point, self._rows, document_rows) for point in points]
            names = [str(point.payload["id"]) for point in points]
            scores |= dict(zip(names, final_scores(rows, matrices), strict=True))
        return [Hit(id, scores[id]) for id in ids if id in scores]

    def search_vectors(
        self,
        query: Matrix,
        *,
        k: int,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """See `Index.search_vectors` and the class."""
        check_k(k)
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        translation = self._translate(filter)
        search = VectorSearch(self._pages, self._rows)
        return search.search(rows, k, document_rows, filter, translation, exact=exact)

    def search_fused(
        self,
        query: Matrix,
        text: str,
        *,
        k: int,
        budget: Budget | None = None,
        filter: Filter | None = None,
    ) -> list[Hit]:
        """Search both channels and let the server fuse them by reciprocal ranks, in one request.

        For callers without a retriever, whose fusion knows more: its weights, and documents that are named.
        The score is that of the ranks. A filter that Qdrant cannot judge exactly is judged on what comes
        back, which may then be fewer than `k`.
        """
        check_k(k)
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        translation = self._translate(filter)
        stage = cascade(
            rows, stage_name(document_rows), 4 * k, max(SURVIVORS, SURVIVORS_A_HIT * k), exact=False
        )
        texts = TextSearch(self._pages, self._tokenizer, self._identity.pivot, self._lengths)
        return fused_hits(self._pages, texts, stage, text, k, filter, translation)


def _occurrences(ids: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield each id with how often it came before."""
    counts: dict[str, int] = {}
    for id in ids:
        yield counts.setdefault(id, 0), id
        counts[id] += 1


def _copy(record: Record) -> Record:
    matrix = None if record.matrix is None else record.matrix.copy()
    return replace(record, matrix=matrix, metadata=dict(record.metadata))
