"""The words of an index's file: BM25 and the documents that a question names, without asking twice.

A search asks for the same words twice, of all records and of the documents that the question names, and
questions share their words. So the last questions' matches and what single terms tell of documents are kept
until the file changes, and are what the file would say again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmrag.forks import new_lock
from mmrag.index import checksums
from mmrag.index.filters import Filter, to_sql, validate
from mmrag.index.identity import DocumentNames, identity_times, score_names
from mmrag.index.lexical import match_expression, query_terms, quoted_term
from mmrag.index.resident_names import ResidentNames
from mmrag.index.store import RecordStore
from mmrag.types import Hit

MOST_QUESTIONS = 4
"""Questions whose matches are kept."""

MOST_TERMS = 20_000
"""Terms of which is kept what they tell of documents."""

TERMS_A_STATEMENT = 100
"""SQLite takes 500 parts in one statement."""

_MATCHES = "SELECT rowid, -bm25(lexical) FROM lexical WHERE lexical MATCH ?"

_SEARCH_FILTERED = """
WITH hits AS MATERIALIZED (
    SELECT lexical.rowid AS seq, -bm25(lexical) AS score FROM lexical WHERE lexical MATCH ? AND {condition}
)
SELECT records.id, score FROM hits JOIN records ON records.seq = hits.seq
WHERE score >= ifnull((SELECT score FROM hits ORDER BY score DESC LIMIT 1 OFFSET ?), -9e999)
ORDER BY score DESC, records.id LIMIT ?
"""
"""Records, whose rows are long, are looked up only for what can be a hit, ties included."""

_COUNT_DOCUMENTS = (
    "SELECT ?, count(DISTINCT records.document_id) FROM lexical "
    "JOIN records ON records.seq = lexical.rowid WHERE lexical MATCH ?"
)


@dataclass(frozen=True, slots=True)
class Matches:
    """Every record that shares a term with a question.

    Attributes:
        seqs: ``(matches,)`` int64, numbers of the records.
        scores: ``(matches,)`` float64, BM25, larger is better.
    """

    seqs: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(slots=True)
class KeptWords:
    """What was read in one state of the file; guarded by the lock of `TextSearch`.

    Attributes:
        state: of the file.
        matches: by FTS5 expression, the newest last.
        holders: numbers of the identities that have a term.
        counts: of the documents that have a term on any page.
        documents: ids of the documents that have a name, by number of the identity; None before it was read.
    """

    state: tuple[tuple[str, str], ...] = ()
    matches: dict[str, Matches] = field(default_factory=dict)
    holders: dict[str, frozenset[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    documents: dict[int, str] | None = None


class TextSearch:
    """Search over the words of a store. Safe between threads.

    Args:
        store: the records.
        names: of its records.
    """

    def __init__(self, store: RecordStore, names: ResidentNames) -> None:
        self._store = store
        self._names = names
        self._lock = new_lock()
        self._words = KeptWords()

    def search(
        self,
        connection: sqlite3.Connection,
        text: str,
        k: int,
        filter: Filter | None,
        without: Collection[str] = (),
    ) -> list[Hit]:
        """Search the best `k` by BM25; the filter limits the hits, not the corpus statistics."""
        validate(filter)
        expression = match_expression(connection, text, without)
        if expression is None:
            return []
        words = self._current(connection)
        matches = words.matches.get(expression)
        if filter and matches is None:
            return _search_filtered(connection, expression, k, filter)
        if matches is None:
            rows = connection.execute(_MATCHES, (expression,)).fetchall()
            pairs = np.array(rows, np.float64).reshape(-1, 2)  # numbers of records are far below 2**53
            matches = Matches(pairs[:, 0].astype(np.int64), pairs[:, 1])
            self._keep(words, expression, matches)
        seqs, scores = matches.seqs, matches.scores
        if filter:
            passing_seqs = [int(row[0]) for row in self._store.select(connection, "seq", filter)]
            passes = np.isin(seqs, np.array(passing_seqs, np.int64))
            seqs, scores = seqs[passes], scores[passes]
        return self._best(connection, seqs, scores, k)

    def name_documents(self, connection: sqlite3.Connection, text: str) -> DocumentNames:
        """Score the documents that a question names; see `Index.name_documents`."""
        words = self._current(connection)
        if words.documents is None:
            words.documents = _named_documents(connection)
        if not words.documents:
            return DocumentNames({})
        documents = words.documents
        terms = query_terms(text)
        holders = self._holders(connection, words, terms)
        counts = self._counts(connection, words, [term for term in terms if holders[term]])
        scores, family_terms = score_names(
            text,
            len(documents),
            holders.__getitem__,
            counts.__getitem__,
            lambda rivals: identity_times(connection, rivals),
        )
        return DocumentNames({documents[seq]: score for seq, score in scores.items()}, family_terms)

    def _current(self, connection: sqlite3.Connection) -> KeptWords:
        """Return what is kept of the state of the file that this connection sees.

        ``changes_since`` is of it, too: earlier code's words are written anew without another generation.
        """
        rows = connection.execute(
            "SELECT key, value FROM state WHERE key IN ('generation', 'changes_since', 'lexical')"
        )
        state = tuple(sorted(rows.fetchall()))
        with self._lock:
            if self._words.state != state or len(self._words.holders) > MOST_TERMS:
                self._words = KeptWords(state)
            return self._words

    def _keep(self, words: KeptWords, expression: str, matches: Matches) -> None:
        with self._lock:
            words.matches[expression] = matches
            while len(words.matches) > MOST_QUESTIONS:
                del words.matches[next(iter(words.matches))]

    def _best(
        self, connection: sqlite3.Connection, seqs: NDArray[np.int64], scores: NDArray[np.float64], k: int
    ) -> list[Hit]:
        """Return the best `k` of these records, ties by id."""
        if len(scores) > k:
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            at = np.flatnonzero(scores >= least)
            seqs, scores = seqs[at], scores[at]
        numbers = seqs.tolist()
        ids = self._names.ids(connection, numbers)
        pairs = zip(numbers, scores.tolist(), strict=True)
        hits = [Hit(ids[seq], score) for seq, score in pairs if seq in ids]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def _holders(
        self, connection: sqlite3.Connection, words: KeptWords, terms: Sequence[str]
    ) -> dict[str, frozenset[int]]:
        """Return the numbers of the identities that have each term."""
        new_terms = [term for term in terms if term not in words.holders]
        term_seqs: dict[str, set[int]] = {term: set() for term in new_terms}
        statement = "SELECT ?, rowid FROM identities WHERE identities MATCH ?"
        for term, seq in _of_each_term(connection, statement, new_terms):
            term_seqs[term].add(seq)
        words.holders |= {term: frozenset(seqs) for term, seqs in term_seqs.items()}
        return {term: words.holders[term] for term in terms}

    def _counts(
        self, connection: sqlite3.Connection, words: KeptWords, terms: Sequence[str]
    ) -> dict[str, int]:
        """Count the documents that have each term on any page."""
        new_terms = [term for term in terms if term not in words.counts]
        names = self._names.current(connection) if new_terms else None
        if names is None or not names.is_complete:
            words.counts |= dict(_of_each_term(connection, _COUNT_DOCUMENTS, new_terms))
        else:
            term_documents: dict[str, set[str | None]] = {term: set() for term in new_terms}
            statement = "SELECT ?, rowid FROM lexical WHERE lexical MATCH ?"
            for term, seq in _of_each_term(connection, statement, new_terms):
                term_documents[term].add(names.documents.get(seq))
            words.counts |= {term: len(documents - {None}) for term, documents in term_documents.items()}
        return {term: words.counts[term] for term in terms}


def _of_each_term(
    connection: sqlite3.Connection, select: str, terms: Sequence[str]
) -> Iterable[tuple[str, int]]:
    """Yield the rows of a statement, which takes a term and its FTS5 expression, for many terms at once."""
    for start in range(0, len(terms), TERMS_A_STATEMENT):
        part = terms[start : start + TERMS_A_STATEMENT]
        parameters = [value for term in part for value in (term, quoted_term(term))]
        yield from connection.execute(" UNION ALL ".join([select] * len(part)), parameters)


def _search_filtered(connection: sqlite3.Connection, expression: str, k: int, filter: Filter) -> list[Hit]:
    """Search the best `k` of the records that pass, and look at the others' words only."""
    condition, parameters = to_sql(filter)
    # with the plus SQLite looks at each match once, and not for the matches of each record that passes
    condition = condition.replace("records.seq", "+lexical.rowid") or "1"
    rows = connection.execute(
        _SEARCH_FILTERED.format(condition=condition), [expression, *parameters, k - 1, k]
    )
    return [Hit(id, score) for id, score in rows]


def _named_documents(connection: sqlite3.Connection) -> dict[int, str]:
    """Read the ids of the documents that have a name; none in a file of earlier code."""
    if not checksums.has_table(connection, "identities"):
        return {}
    rows = connection.execute("SELECT rowid, document FROM identities")
    return {int(seq): str(document) for seq, document in rows}
