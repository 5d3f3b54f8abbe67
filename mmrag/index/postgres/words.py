"""The lexical channel in PostgreSQL: the terms of SQLite's FTS5, its BM25 in one statement.

Terms are those of `mmrag.index.lexical`, cut and stemmed by an FTS5 table in memory, so that a record has the
same terms here as in every other home. ``lexical.terms`` holds how often a record has each; a GIN index finds
the records that share one. Scores are FTS5's, operation by operation, and so equal to the last digit. Two
things differ: a term that FTS5 itself would cut again (none is known) counts as its parts, and the numbers of
records and terms are those that are committed. A role that row-level security lets see a part of the records
has the statistics of this part.

A query of one character of a script without spaces asks for terms that begin with it: these are counted under
``character*`` when a record is added.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from mmrag.index.filters import Filter
from mmrag.index.identity import DocumentNames, identity_of, is_first, score_names
from mmrag.index.lexical import (
    FTS_TOKENIZER,
    NO_CONTENT,
    is_unspaced,
    joined_terms,
    lexical_text,
    query_terms,
)
from mmrag.index.postgres.conditions import condition_of
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.schema import Tables
from mmrag.index.postgres.values import loaded_text
from mmrag.types import Hit, Record

_SEARCH = """
WITH query AS (SELECT term, n FROM unnest(%s::text[]) WITH ORDINALITY AS query(term, n)),
hits AS MATERIALIZED (
    SELECT holders.seq, holders.length, query.n, holders.count FROM query CROSS JOIN LATERAL (
        SELECT seq, length, (terms ->> query.term)::float8 AS count FROM {lexical}
        WHERE terms ? query.term OFFSET 0
    ) AS holders
),
size AS (
    SELECT sum(records)::float8 AS records, sum(terms)::float8 / sum(records)::float8 AS mean FROM (
        SELECT records, terms FROM {totals} WHERE NOT row_security_active({lexical_name})
        UNION ALL SELECT count(*), sum(length) FROM {lexical} WHERE row_security_active({lexical_name})
    ) AS parts
),
weights AS (
    SELECT n, CASE WHEN weight > 0 THEN weight ELSE 1e-6::float8 END AS weight FROM (
        SELECT n, ln((size.records - holders + 0.5::float8) / (holders + 0.5::float8)) AS weight
        FROM (SELECT n, count(*)::float8 AS holders FROM hits GROUP BY n) AS counts, size
    ) AS logarithms
),
scores AS (
    SELECT seq, sum(
        weight * ((count * 2.2::float8)
                  / (count + 1.2::float8 * (0.25::float8 + (0.75::float8 * length) / mean))) ORDER BY n
    ) AS score
    FROM hits JOIN weights USING (n), size GROUP BY seq
),
best AS (
    SELECT records.id, scores.score FROM scores JOIN {records} AS records USING (seq) WHERE {condition}
    ORDER BY scores.score DESC FETCH FIRST %s ROWS WITH TIES
)
SELECT id, score FROM best ORDER BY score DESC, id COLLATE "C" LIMIT %s
"""

_NAMES = """
WITH query AS (SELECT term, n FROM unnest(%s::text[]) WITH ORDINALITY AS query(term, n))
SELECT (SELECT count(*) FROM {identities}), holders.seqs, CASE WHEN holders.seqs IS NULL THEN 0 ELSE (
    SELECT count(document) FROM (
        SELECT document FROM {lexical} WHERE terms ? query.term GROUP BY document
    ) AS documents
) END
FROM query LEFT JOIN LATERAL (
    SELECT array_agg(seq) AS seqs FROM {identities} AS identities WHERE identities.terms ? query.term
) AS holders ON TRUE ORDER BY query.n
"""


class TermCounter:
    """Counts the terms of texts as FTS5 does; a table in memory, to be used by one thread and closed."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute(f"CREATE VIRTUAL TABLE terms USING fts5(text, {NO_CONTENT}{FTS_TOKENIZER})")
        self._connection.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(terms, instance)")

    def count(self, texts: Sequence[str]) -> list[Counter[str]]:
        """Count the terms of each text, which is terms of `mmrag.index.lexical` joined by spaces."""
        connection = self._connection
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO terms(rowid, text) VALUES (?, ?)", enumerate(texts, 1))
        counts: list[Counter[str]] = [Counter() for _ in texts]
        for number, term, count in connection.execute(
            "SELECT doc, term, count(*) FROM vocabulary GROUP BY 1, 2"
        ):
            counts[number - 1][term or ""] = count  # what has diacritics alone is an empty term
        connection.execute("ROLLBACK")
        return counts

    def close(self) -> None:
        """Drop the table."""
        self._connection.close()


def terms_json(counts: Counter[str]) -> str:
    """Write the terms of a record, with the beginnings that a query may ask for."""
    beginnings: Counter[str] = Counter()
    for term, count in counts.items():
        if is_unspaced(term):
            beginnings[term[0] + "*"] += count
    return json.dumps({**counts, **beginnings}, separators=(",", ":"), ensure_ascii=False)


class Words(NamedTuple):
    """What a record is found by.

    Attributes:
        terms: how often it has each term, as JSON.
        length: number of its terms.
        identity: of the first page of a document: terms as JSON, date and version; None of others.
    """

    terms: str
    length: int
    identity: tuple[str, str, str] | None


def words_of(records: Sequence[Record]) -> list[Words]:
    """Return what records are found by."""
    texts = [joined_terms(lexical_text(record.context, record.text)) for record in records]
    identities = {
        at: identity_of(record.context, record.text) for at, record in enumerate(records) if is_first(record)
    }
    counter = TermCounter()
    try:
        counts = counter.count(texts)
        names = counter.count([f"{name} {opening}" for name, opening, _, _ in identities.values()])
    finally:
        counter.close()
    identity_terms = dict(zip(identities, map(terms_json, names), strict=True))
    return [
        Words(
            terms_json(count),
            sum(count.values()),
            (identity_terms[at], *identities[at][2:]) if at in identities else None,
        )
        for at, count in enumerate(counts)
    ]


def query_keys(terms: Sequence[str]) -> list[list[str]]:
    """Return the keys of ``lexical.terms`` that each term of `query_terms` asks for."""
    counter = TermCounter()
    try:
        counts = counter.count([term.removesuffix("*") for term in terms])
    finally:
        counter.close()
    return [
        [key + "*" for key in keys] if term.endswith("*") else list(keys)
        for term, keys in zip(terms, counts, strict=True)
    ]


def search_text(
    connection: Connection, tables: Tables, text: str, k: int, filter: Filter | None, without: Collection[str]
) -> list[Hit]:
    """Search the best `k` by BM25 in one statement; the filter limits the hits, not the statistics."""
    keys = _text_keys(text, without)
    if not keys:
        return []
    condition, parameters = condition_of(filter)
    statement = tables.sql(_SEARCH.replace("{condition}", condition))
    rows = connection.execute(statement, [keys, *parameters, k, k], binary=True).fetchall()
    return [Hit(loaded_text(id), score) for id, score in rows]


def _text_keys(text: str, without: Collection[str]) -> list[str]:
    terms = query_terms(text)
    terms = [term for term in terms if term not in without] or terms
    return [key for keys in query_keys(terms) for key in keys]


def name_documents(connection: Connection, tables: Tables, text: str) -> DocumentNames:
    """Score the documents that a question names; see `Index.name_documents`."""
    terms = query_terms(text)
    keys = dict(zip(terms, query_keys(terms), strict=True))
    pairs = [(term, key) for term in terms for key in keys[term]]
    if not pairs:
        return DocumentNames({})
    rows = connection.execute(tables.sql(_NAMES), [[key for _, key in pairs]]).fetchall()
    held_seqs: dict[str, set[int]] = {term: set() for term in terms}
    spreads = dict.fromkeys(terms, 0)
    for (term, _), (_, seqs, spread_count) in zip(pairs, rows, strict=True):
        held_seqs[term].update(seqs or ())
        spreads[term] = max(spreads[term], spread_count)
    identities = _identities(connection, tables, sorted(set().union(*held_seqs.values())))
    scores, family_terms = score_names(
        text,
        rows[0][0],
        lambda term: held_seqs[term] & identities.keys(),
        lambda term: spreads[term],
        lambda rivals: {seq: identities[seq][1:] for seq in rivals},
    )
    return DocumentNames({identities[seq][0]: score for seq, score in scores.items()}, family_terms)


def _identities(
    connection: Connection, tables: Tables, seqs: Sequence[int]
) -> dict[int, tuple[str, str, str]]:
    """Return document, date and version of identities."""
    if not seqs:
        return {}
    statement = tables.sql("SELECT seq, document, date, version FROM {identities} WHERE seq = ANY (%s)")
    rows = connection.execute(statement, [seqs]).fetchall()
    return {seq: (loaded_text(document), date, version) for seq, document, date, version in rows}
