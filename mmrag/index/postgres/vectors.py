"""Search of rows: a first stage in the server, all rows of what survives here; one round trip.

1. One vector of every record against one of the query: the mean of the record's rows at length 1 against the
   sum of the query's rows (of what one vector can do this finds most: ``docs/lab-log.md``). At a document
   budget of 1 it is row 0, and the stage is the whole score. Exact below `HNSW_FROM` records, by an HNSW
   index above; under a filter, exact among the records that pass if they are at most `PASSING`, else the
   index goes on until enough of what it meets passes.
2. The survivors' rows come in the same answer, cut to the budget by the server, and are scored here, where
   int8 rows take a tenth of the time that SQL takes for them.

Scores are those of the stored rows in float64, as in every home.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrag.index.filters import Filter
from mmrag.index.postgres import values
from mmrag.index.postgres.conditions import condition_of
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.schema import Tables
from mmrag.index.ranking import final_scores, shortlist
from mmrag.index.resident_rows import cut_block, int8_rows
from mmrag.index.rows import RowBlock, RowCodec
from mmrag.index.stored import damage_error
from mmrag.scoring import maxsim_int8, maxsim_ragged
from mmrag.types import Hit

SURVIVORS = 1000
SURVIVORS_A_HIT = 4
"""How many the first stage hands on: the larger of both, the second a hit that is asked for."""

HNSW_FROM = 50_000
"""Records from which an index of the first stage is worth its upkeep; below, all are looked at."""

HNSW_SURVIVORS = 1000
"""Most survivors that the index is asked for, pgvector's limit of ``hnsw.ef_search``; more are exact."""

MOST_PASSING = 50_000
"""Most records that pass a filter and are looked at one by one."""

SESSION = (
    f"-c hnsw.ef_search={HNSW_SURVIVORS} -c hnsw.iterative_scan=relaxed_order -c hnsw.max_scan_tuples=200000 "
    "-c plan_cache_mode=force_custom_plan -c jit=off"
)
"""Settings of a session: how the index of the first stage is asked, and plans for the values at hand.

A plan for any value would not know how many records pass a filter; compiling one takes longer than a search.
"""

SCAN = 2000
"""Records in memory at once when all are scored."""

_FIRST = "SELECT seq FROM {records} ORDER BY {column} {distance} %s::{halfvec} LIMIT %s"
_FIRST_EXACT = "SELECT seq FROM {records} ORDER BY ({column} {distance} %s::{halfvec}) + 0 LIMIT %s"

_FIRST_FILTERED = """
SELECT seq FROM (
    SELECT records.seq FROM {records} AS records WHERE (SELECT count(*) FROM passing) <= %s
        AND records.seq IN (SELECT seq FROM passing)
    ORDER BY (records.{column} {distance} %s::{halfvec}) + 0 LIMIT %s
) AS few
UNION ALL
SELECT seq FROM (
    SELECT seq FROM {records} WHERE (SELECT count(*) FROM passing) > %s AND {condition}
    ORDER BY {column} {distance} %s::{halfvec} LIMIT %s
) AS many
"""

_PASSING_QUERY = "passing AS MATERIALIZED (SELECT seq FROM {records} WHERE {condition} LIMIT %s), "

_SEARCH = """
WITH {passing_query} survivors AS MATERIALIZED ({first})
SELECT vectors.seq, records.id, {pieces} FROM survivors
JOIN {records} AS records USING (seq) JOIN {vectors} AS vectors USING (seq)
"""


class Question(NamedTuple):
    """A search of rows.

    Attributes:
        rows: ``(Tq, dim)`` float32, cut to the budget.
        k: at least 1.
        document_rows: rows of a record that count; None: all.
        filter: records that do not pass are left out.
    """

    rows: NDArray[np.float32]
    k: int
    document_rows: int | None
    filter: Filter | None


class RowSearch:
    """Searches over the rows of an index.

    Args:
        tables: of the index.
        codec: of its rows.
        survivors: least number that the first stage hands on.
    """

    def __init__(self, tables: Tables, codec: RowCodec, survivors: int = SURVIVORS) -> None:
        self._tables = tables
        self._codec = codec
        self._survivors = survivors

    def search(self, connection: Connection, question: Question) -> list[Hit]:
        """Search the best `k` records in two stages, best first, ties by id."""
        count = max(self._survivors, SURVIVORS_A_HIT * question.k)
        # against one vector the sum over the query's rows is one product, and the stage is the whole score
        column = "first" if question.document_rows == 1 else "middle"
        vector = values.vector_text(question.rows.sum(0))
        form = _FIRST if count <= HNSW_SURVIVORS and column == "middle" else _FIRST_EXACT
        parameters: list[Any] = [vector, count]
        passing_query = ""
        if question.filter:
            condition, own_parameters = condition_of(question.filter)
            form = _FIRST_FILTERED.replace("{condition}", condition)
            passing_query = _PASSING_QUERY.replace("{condition}", condition)
            parameters = [
                *own_parameters,
                MOST_PASSING + 1,
                MOST_PASSING,
                vector,
                count,
                MOST_PASSING,
                *own_parameters,
                vector,
                count,
            ]
        text = (
            _SEARCH.replace("{first}", form)
            .replace("{passing_query}", passing_query)
            .replace("{column}", column)
            .replace("{pieces}", self._pieces(question.document_rows))
        )
        rows = connection.execute(self._tables.sql(text), parameters, binary=True).fetchall()
        return self._best(question, [rows])

    def search_all(self, connection: Connection, question: Question) -> list[Hit]:
        """Score every record that passes, a part of them in memory at a time; in a transaction."""
        condition, parameters = condition_of(question.filter)
        statement = self._tables.sql(
            f"SELECT vectors.seq, records.id, {self._pieces(question.document_rows)} "
            "FROM {records} AS records JOIN {vectors} AS vectors USING (seq) "
            f"WHERE {condition} ORDER BY seq"
        )
        with connection.cursor(name="mmrag_rows", binary=True) as cursor:
            cursor.execute(statement, parameters)
            return self._best(question, iter(lambda: cursor.fetchmany(SCAN), []))

    def score(
        self,
        connection: Connection,
        query: NDArray[np.float32],
        ids: Sequence[str],
        document_rows: int | None,
    ) -> list[Hit]:
        """Score these records exactly, in the order given; missing ones are left out."""
        statement = self._tables.sql(
            f"SELECT vectors.seq, records.id, {self._pieces(document_rows)} "
            "FROM {records} AS records JOIN {vectors} AS vectors USING (seq) WHERE records.key = ANY (%s)"
        )
        keys = [values.key_of(id) for id in dict.fromkeys(ids)]
        rows = connection.execute(statement, [keys], binary=True).fetchall()
        block, names = self._block(rows, document_rows)
        scores = dict(zip(names, _finals(query, block), strict=True)) if rows else {}
        return [Hit(id, scores[id]) for id in ids if id in scores]

    def _pieces(self, document_rows: int | None) -> str:
        """Return two SQL expressions whose bytes, joined, are the rows that count."""
        if document_rows is None:
            return "vectors.rows, ''::bytea"
        size = self._codec.row_bytes
        if self._codec.row_type == "float16":
            return f"substring(vectors.rows FROM 1 FOR {size * document_rows}), ''::bytea"
        peaks = size - self._codec.dim
        count = f"(octet_length(vectors.rows) / {size})"
        return (
            f"substring(vectors.rows FROM 1 FOR {peaks} * least({document_rows}, {count})), "
            f"substring(vectors.rows FROM 1 + {peaks} * {count} FOR {self._codec.dim * document_rows})"
        )

    def _block(
        self, rows: Sequence[tuple[int, str, bytes, bytes]], document_rows: int | None
    ) -> tuple[RowBlock, list[str]]:
        """Put rows that were read one after the other, with the ids of their records.

        Raises:
            IndexDamagedError: the bytes of a record are no rows.
        """
        names = [values.loaded_text(id) for _, id, _, _ in rows]
        data = [bytes(peaks) + bytes(codes) for _, _, peaks, codes in rows]
        try:
            return self._codec.block([seq for seq, _, _, _ in rows], data, document_rows), names
        except ValueError:
            for name, part in zip(names, data, strict=True):
                try:
                    self._codec.decode(part)
                except ValueError as error:
                    raise damage_error("matrix", name, str(error)) from error
            raise

    def _best(
        self, question: Question, parts: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]
    ) -> list[Hit]:
        """Score parts of the records in float32, and those that can be among the best in float64."""
        hits: list[Hit] = []
        for rows in parts:
            if not rows:
                continue
            block, names = self._block(rows, question.document_rows)
            positions = shortlist(_scores(question.rows, block), question.k)
            best = cut_block(block, positions, None)
            finals = _finals(question.rows, best)
            hits += [Hit(names[at], score) for at, score in zip(positions.tolist(), finals, strict=True)]
            hits = sorted(hits, key=lambda hit: (-hit.score, hit.id))[: question.k]
        return hits


def _scores(query: NDArray[np.float32], block: RowBlock) -> NDArray[np.float32]:
    """Score a block in float32, with the query as it is: exact but for rounding."""
    if block.peaks is None:
        return maxsim_ragged(query, (block.numbers, block.starts))
    return maxsim_int8(query, int8_rows(block), block.starts, engine="numpy")


def _finals(query: NDArray[np.float32], block: RowBlock) -> list[float]:
    """Score the records of a block as every index reports scores."""
    rows = block.decode()
    return final_scores(query, [rows[start:end] for start, end in pairwise(block.starts.tolist())])
