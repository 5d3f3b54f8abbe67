"""The document channel: which documents a question names, by the words that documents are known by.

The identity of a document is the words of its name (`Record.context` of its first page) and the opening of
its first page: a report says there whose it is and of which quarter, a manual its product and version, a
receipt its shop. Pages of documents that look alike differ in little else.

A question names a document by words that few identities have, and that stand in the documents of those
identities and hardly anywhere else. Each term adds what it tells of documents, in nats::

    score(d) = sum over terms t of the question in identity(d) of
               log(1 + (N - n(t) + .5) / (n(t) + .5)) * n(t) / m(t)

N documents, n(t) of them with t in their identity, m(t) with t anywhere. The share n / m parts names from
words that a first page has by chance: "Norland" stands in Norland's reports alone, "revenue" on the first
page of one report and in the text of all. Scores are used as they are, never standardised: where a question
names no document, all are small and change nothing.

Terms that name a whole family (`FAMILY` documents or more, `FAMILY_SHARE` of those that have them at all) say
nothing of a page: "Norland's 10-Q" would draw the covers. The search for pages leaves them out.

A question for the latest ("latest", "newest", "most recent") prefers, of the documents that it names equally
well, those of a later date, which is read from the name or else the opening, or else of a higher version.

Figures: ``docs/lab-log.md``, "The document channel".
"""

from __future__ import annotations

import math
import re
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mmrag.index.dates import highest_version, period_end
from mmrag.index.lexical import FTS_TOKENIZER, lexical_terms, query_terms, quoted_term
from mmrag.types import Record

OPENING_LETTERS = 1500
"""Letters of a first page that count as its document's opening."""

FAMILY = 3
"""Documents that a term names from which it names a family of them."""

FAMILY_SHARE = 0.9
"""Least share of the documents with the term that it must name for that."""

LATEST_BONUS = 1.5
"""Nats for the newest of the documents that a question for the latest names equally well."""

EQUAL_SHARE = 0.8
"""Share of the best score from which documents count as named equally well."""

Key = TypeVar("Key")
"""What an identity is told by: a number, a point's id."""

_LATEST = re.compile(r"\b(?:latest|newest|most recent|most up[- ]to[- ]date)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DocumentNames:
    """The documents that a question names.

    Attributes:
        scores: by document id, in nats, above 0; documents that no word names are left out.
        family_terms: terms that name many documents and no page.
    """

    scores: Mapping[str, float]
    family_terms: frozenset[str] = frozenset()

    def best(self, most: int, share: float) -> list[str]:
        """Return at most `most` ids, best first, ties by id, of scores of at least `share` of the best."""
        ids = sorted(self.scores, key=lambda id: (-self.scores[id], id))[:most]
        return [id for id in ids if self.scores[id] >= share * self.scores[ids[0]]]


def is_first(record: Record) -> bool:
    """Return whether a record is of the first page of a document."""
    return record.page is not None and record.page.number == 0


def identity_of(name: str, text: str) -> tuple[str, str, str, str]:
    """Return what a document is known by: terms of its name, terms of its opening, date and version.

    Args:
        name: context of its first page.
        text: of its first page.
    """
    opening = text[:OPENING_LETTERS]
    end = period_end(name) or period_end(opening)
    return (
        " ".join(lexical_terms(name)),
        " ".join(lexical_terms(opening)),
        "" if end is None else end.isoformat(),
        highest_version(name) or highest_version(opening),
    )


class IdentityTable:
    """The FTS5 table ``identities`` of one SQLite file; rows are numbered as the records of first pages."""

    @staticmethod
    def create(connection: sqlite3.Connection) -> None:
        """Create the table where there is none."""
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS identities USING "
            f"fts5(name, opening, document UNINDEXED, date UNINDEXED, version UNINDEXED, {FTS_TOKENIZER})"
        )

    @staticmethod
    def put(connection: sqlite3.Connection, seq: int, document_id: str, name: str, text: str) -> None:
        """Add or replace the identity of a document.

        Args:
            connection: of the file.
            seq: number of the record of its first page.
            document_id: its id.
            name: context of its first page.
            text: of its first page.
        """
        IdentityTable.delete(connection, [seq])
        connection.execute(
            "INSERT INTO identities(rowid, document, name, opening, date, version) VALUES (?, ?, ?, ?, ?, ?)",
            (seq, document_id, *identity_of(name, text)),
        )

    @staticmethod
    def delete(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
        """Delete by number; numbers that are not there are passed over."""
        connection.executemany("DELETE FROM identities WHERE rowid = ?", ((seq,) for seq in seqs))

    @staticmethod
    def search(
        connection: sqlite3.Connection, text: str, count_documents: Callable[[str], int]
    ) -> DocumentNames:
        """Score the documents that a question names.

        Args:
            connection: of the file.
            text: the question.
            count_documents: counts the documents that have an FTS5 expression on any page.
        """
        count = int(connection.execute("SELECT count(*) FROM identities").fetchone()[0])
        scores, family_terms = score_names(
            text,
            count,
            lambda term: _holders(connection, term),
            lambda term: count_documents(quoted_term(term)),
            lambda rivals: identity_times(connection, rivals),
        )
        ids = dict(connection.execute("SELECT rowid, document FROM identities").fetchall()) if scores else {}
        return DocumentNames({str(ids[seq]): score for seq, score in scores.items()}, family_terms)


def score_names(
    text: str,
    count: int,
    find_holders: Callable[[str], Collection[Key]],
    count_documents: Callable[[str], int],
    find_times: Callable[[Collection[Key]], Mapping[Key, tuple[str, str]]],
) -> tuple[dict[Key, float], frozenset[str]]:
    """Score the identities that a question names, wherever they are kept.

    Args:
        text: the question.
        count: number of all identities.
        find_holders: finds the identities that have a term of `query_terms`.
        count_documents: counts the documents that have a term of `query_terms` on any page.
        find_times: reads date and version of identities; both may be empty.

    Returns:
        The scores, above 0, and the terms that name a whole family.
    """
    scores: dict[Key, float] = {}
    family_terms = set()
    for term in query_terms(text):
        holders = find_holders(term)
        if not holders:
            continue
        share = len(holders) / max(len(holders), count_documents(term))
        if len(holders) >= FAMILY and share >= FAMILY_SHARE:
            family_terms.add(term)
        information = share * term_information(count, len(holders))
        for key in holders:
            scores[key] = scores.get(key, 0.0) + information
    if scores and _LATEST.search(text):
        best = max(scores.values())
        rivals = {key for key, score in scores.items() if score >= EQUAL_SHARE * best}
        scores |= {key: best + bonus for key, bonus in _latest_bonus(find_times(rivals)).items()}
    return scores, frozenset(family_terms)


def term_information(documents: int, holders: int) -> float:
    """Compute what a term tells of documents, in nats, where `holders` of `documents` have it; above 0."""
    return math.log(1 + (documents - holders + 0.5) / (holders + 0.5))


def _latest_bonus(times: Mapping[Key, tuple[str, str]]) -> dict[Key, float]:
    """Return what documents that are named equally well get for their time: the oldest 0."""
    certain_times = {key: time for key, time in times.items() if any(time)}
    if len(certain_times) < 2:
        return {}
    order = sorted(certain_times.values())
    last = len(order) - 1
    return {key: LATEST_BONUS * bisect_left(order, time) / last for key, time in certain_times.items()}


def identity_times(connection: sqlite3.Connection, seqs: Collection[int]) -> dict[int, tuple[str, str]]:
    """Read date and version of identities."""
    rows = connection.execute("SELECT rowid, date, version FROM identities")
    return {int(seq): (date, version) for seq, date, version in rows if seq in seqs}


def _holders(connection: sqlite3.Connection, term: str) -> set[int]:
    """Return the numbers of the identities that have a term."""
    rows = connection.execute("SELECT rowid FROM identities WHERE identities MATCH ?", (quoted_term(term),))
    return {int(row[0]) for row in rows}
