"""Searches of a collection: what the engine finds, ranked as every home ranks.

The engine's scores are of vectors in half precision, or of more rows than the budget allows, or of weights of
terms that are a little old. Each is off by no more than a bound that is known, so a search asks for some
more than `k`, computes the scores of what comes back from the stored rows or counts, and asks again for more
only while something that did not come back could still be among the best. What is found is exact; what is
saved is a look at everything. `exact=False` bounds the vectors' candidates by the cascade instead.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrag.index.filters import Filter
from mmrag.index.qdrant.collection import Collection, Stage, StoredPoint, all_of, value_is
from mmrag.index.qdrant.conditions import Translation, passes
from mmrag.index.qdrant.lengths import Lengths
from mmrag.index.qdrant.points import ALL_ROWS, SIZES, TERMS, metadata_of, rows_of
from mmrag.index.qdrant.words import LexicalQuery, Tokenizer, inverse_frequency, query_numbers
from mmrag.index.ranking import final_scores
from mmrag.index.row_search import SURVIVORS, SURVIVORS_A_HIT
from mmrag.index.rows import RowCodec
from mmrag.types import Hit

LIVE = value_is("live", 1)
"""Condition of records whose call of `add` has ended."""

_SPARE = 16
"""How many more than `k` are asked for at first, at least."""

_GROWTH = 4
_HALF_ROUNDING = 2.0**-10
"""Relative error of a product in half precision, of both its sides; float32's is well below it."""

_CASCADE = ((4, "b4"), (2, "b16"))
"""Shares of the first stage's results that the stages between hand on: a half, a quarter."""


def stage_name(rows: int | None) -> str:
    """Return the name of the vector with at least so many rows of a record; None: all."""
    for name, size in SIZES.items():
        if rows is not None and rows <= size:
            return name
    return ALL_ROWS


def cascade(query: NDArray[np.float32], name: str, limit: int, most: int, *, exact: bool) -> Stage:
    """Return the stages of a search, for one request.

    Row 0 of every record against row 0 of the query and against the sum of its rows (which for single
    vectors is the whole score), by the graph; then more rows of fewer records.

    Args:
        query: ``(Tq, dim)``, cut to the budget.
        name: of the vector that ranks in the end.
        limit: hits of the last stage.
        most: of the first.
        exact: the last stage looks at every point.
    """
    rows: Any = query.tolist()
    total = query.sum(0).tolist()
    if name == "b1":
        return Stage("b1", total, limit, is_exact=exact)
    if exact:
        return Stage(name, rows, limit, is_exact=True)
    stages: tuple[Stage, ...] = (Stage("b1", query[0].tolist(), most),)
    if len(query) > 1:
        stages += (Stage("b1", total, most),)
    for share, between in _CASCADE:
        if between == name:
            break
        narrower = max(limit, most * share // 8)
        stages = (Stage(between, rows, narrower, stages),)
    return Stage(name, rows, limit, stages)


class VectorSearch:
    """Search of the rows of a collection.

    Args:
        collection: of the pages.
        rows: decodes the rows that are stored.
        survivors: records that the first stage hands on, at least.
    """

    def __init__(self, collection: Collection, rows: RowCodec, survivors: int = SURVIVORS) -> None:
        self._collection = collection
        self._rows = rows
        self._survivors = survivors

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        document_rows: int | None,
        filter: Filter | None,
        translation: Translation,
        *,
        exact: bool,
    ) -> list[Hit]:
        """Search the best `k` records, best first, ties by id.

        Args:
            query: ``(Tq, dim)``, cut to the budget.
            k: at least 1.
            document_rows: rows of a record that count; None: all.
            filter: records that do not pass are left out.
            translation: of the filter.
            exact: look at every record, and hand out the best there are.
        """
        name = stage_name(document_rows)
        most = max(self._survivors, SURVIVORS_A_HIT * k)
        condition = all_of(LIVE, translation.condition)
        fields = ["id", "rows"] if translation.is_exact else ["id", "rows", "metadata"]
        length = float(np.linalg.norm(query, axis=1).sum())
        limit = k + max(_SPARE, k // 4)
        while True:
            stage = cascade(query, name, limit, max(most, limit), exact=exact)
            points = self._collection.query(stage, condition, fields)
            kept_points = [
                point
                for point in points
                if translation.is_exact or passes(filter, translation, metadata_of(point))
            ]
            matrices = [rows_of(point, self._rows, document_rows) for point in kept_points]
            scores = final_scores(query, matrices)
            hits = _best([str(point.payload["id"]) for point in kept_points], scores, k)
            if len(points) < limit:
                return hits
            longest = max((float(np.linalg.norm(rows, axis=1).max()) for rows in matrices), default=0.0)
            if len(hits) == k and hits[-1].score > points[-1].score + _HALF_ROUNDING * length * longest:
                return hits
            limit *= _GROWTH

    def score(
        self, query: NDArray[np.float32], points: Sequence[StoredPoint], most: int | None
    ) -> list[float]:
        """Score points exactly."""
        return final_scores(query, [rows_of(point, self._rows, most) for point in points])


class TextSearch:
    """Search of the texts of a collection.

    Args:
        collection: of the pages.
        tokenizer: of the questions.
        pivot: of the weights that are stored.
        lengths: gives the average length of the texts.
    """

    def __init__(self, collection: Collection, tokenizer: Tokenizer, pivot: float, lengths: Lengths) -> None:
        self._collection = collection
        self._lengths = lengths
        self._tokenizer = tokenizer
        self._pivot = pivot

    def prepare(self, text: str, without: AnyCollection[str] = ()) -> LexicalQuery | None:
        """Read the statistics that a question needs; None where nothing can match."""
        terms = [number for _, numbers in query_numbers(self._tokenizer, text, without) for number in numbers]
        if not terms:
            return None
        unique = list(dict.fromkeys(terms))
        have_term = [all_of(LIVE, value_is("terms", number)) for number in unique]
        records, *counts = self._collection.counts([LIVE, *have_term])
        records = max(records, *counts)  # another writer may add between two counts
        weights = {
            number: inverse_frequency(records, holders)
            for number, holders in zip(unique, counts, strict=True)
            if holders
        }
        if not weights:
            return None
        return LexicalQuery(
            tuple((number, weights[number]) for number in terms if number in weights),
            self._lengths.average(records) or 1.0,
        )

    def search(
        self, query: LexicalQuery, k: int, filter: Filter | None, translation: Translation
    ) -> list[Hit]:
        """Search the best `k` records by BM25, best first, ties by id."""
        condition = all_of(LIVE, translation.condition)
        fields = ["id", "terms", "counts", "length"] + ([] if translation.is_exact else ["metadata"])
        ratio = query.score_ratio(self._pivot)
        limit = k + max(_SPARE, k // 4)
        while True:
            points = self._collection.query(Stage(TERMS, query.vector, limit), condition, fields)
            kept_points = [
                point
                for point in points
                if translation.is_exact or passes(filter, translation, metadata_of(point))
            ]
            scores = [_text_score(query, point) for point in kept_points]
            hits = _best([str(point.payload["id"]) for point in kept_points], scores, k)
            if len(points) < limit or (len(hits) == k and hits[-1].score > points[-1].score * ratio):
                return hits
            limit *= _GROWTH


def _text_score(query: LexicalQuery, point: StoredPoint) -> float:
    payload = point.payload
    return query.score(dict(zip(payload["terms"], payload["counts"], strict=True)), int(payload["length"]))


def _best(ids: Sequence[str], scores: Sequence[float], k: int) -> list[Hit]:
    hits = [Hit(id, score) for id, score in zip(ids, scores, strict=True)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]


def fused_hits(
    collection: Collection,
    texts: TextSearch,
    vector_stage: Stage,
    text: str,
    k: int,
    filter: Filter | None,
    translation: Translation,
) -> list[Hit]:
    """Search both channels in one request, fused by the server.

    Args:
        collection: of the pages.
        texts: prepares the question's terms.
        vector_stage: the other channel's search.
        text: the question.
        k: at least 1.
        filter: records that do not pass are left out.
        translation: of the filter.
    """
    query = texts.prepare(text)
    stages = [vector_stage]
    if query is not None:
        stages.append(Stage(TERMS, query.vector, vector_stage.limit))
    condition = all_of(LIVE, translation.condition)
    points = collection.fuse(stages, condition, vector_stage.limit, ["id", "metadata"])
    kept_points = [point for point in points if passes(filter, translation, metadata_of(point))]
    return _best(
        [str(point.payload["id"]) for point in kept_points], [point.score for point in kept_points], k
    )
