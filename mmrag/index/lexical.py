"""The lexical channel: BM25 by SQLite's FTS5, with one normaliser for documents and queries.

FTS5 is chosen because it is in the Python that everybody has, is maintained with SQLite, and lives in
the same file and transaction as the records: a page is findable by words exactly when it is stored.
Its BM25 has fixed ``k1 = 1.2`` and ``b = 0.75``; the inverse document frequency counts the whole index,
also under a filter.

`lexical_terms` turns text into terms on both sides:

* Footnote marks (words of superscripts) out, words cut by a soft hyphen at a line's end joined.
* NFKC, soft hyphens and zero-width characters out, case folded; FTS5 then removes diacritics.
* A date, month, quarter or version is also one term of its own, whichever way it is written: "03/08/2017",
  "2017-08-03" and "Aug 3, 2017" share ``03.08.17``, "Q3 2024" and "third quarter of 2024" ``q3.24`` (see
  `mmrag.index.dates.period_terms`). Its digits alone would meet every other date of the year.
* "1,234" and "1234" are one term, "24.1" stays one term, "10-K" gives 10, k and 10k, "e-mail" gives
  e, mail and email, a word cut at a line's end is also joined, "U.S." is us, "company's" is company.
* Runs of Han, kana, Hangul, Thai, Lao, Khmer and Burmese have no spaces to go by and become
  overlapping pairs of characters.

Languages: FTS5's Porter stemmer knows English. Other languages in Latin letters go through the same
stemmer on both sides, so equal words still meet; other scripts are matched as they stand. Inflected forms
are found at the time of the question (`mmrag.index.languages`). English question words are left out of
queries (`STOP_WORDS`), never out of documents.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Collection, Iterable, Iterator

from mmrag.blocks import is_footnote_mark
from mmrag.index.dates import period_terms
from mmrag.index.languages import inflected_terms

LEXICAL_VERSION = 4
"""Of what `lexical_terms` gives and of the table; an index made by another version is filled anew."""

_STOP_WORDS = """
a about an and any are as at be been by can could did do does for from had has have how in into is it its
many much of on or shall should than that the their there these this those to was were what when where
which who whom whose why will with would
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Left out of a query, unless nothing else is in it: words that English questions are built with."""

FTS_TOKENIZER = "tokenize = \"porter unicode61 remove_diacritics 2 categories 'L* N* M* Co' tokenchars '.'\""
"""FTS5's half of the normaliser, of every table of terms."""

_UNSPACED_SCRIPTS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
    "\uac00-\ud7a3"  # Hangul
)
_MARKS = (  # combining marks are no word characters to `re`, but belong to the word
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
    "\u0f00-\u0fff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
_WORD = rf"(?:[^\W_{_UNSPACED_SCRIPTS}]|[{_MARKS}])+"
_TOKEN = re.compile(
    rf"(?P<run>[{_UNSPACED_SCRIPTS}]+)"
    r"|(?P<number>\d+(?:[.,]\d+)+)"
    r"|(?P<acronym>\b(?:[^\W\d_]\.){2,})"
    rf"|(?P<word>{_WORD}(?:-[^\S\n]*\n\s*{_WORD}|-{_WORD})*)"
)
_UNSPACED_LETTER = re.compile(f"[{_UNSPACED_SCRIPTS}]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_CUT = re.compile(r"(?<=[^\W\d_])\u00ad[ \t]*\r?\n\s*(?=[^\W\d_])")  # a soft hyphen at a line's end
_MARK = re.compile(r"(?<!\S)\S*[\u00b9\u00b2\u00b3\u2070-\u207f\u1d2c-\u1d6a\u02b0-\u02ff]\S*")
_HYPHENS = re.compile("[\u2010-\u2015\u2212]")
_HYPHEN = re.compile(r"-\s*")


def lexical_terms(text: str, *, query: bool = False) -> list[str]:
    """Split a text into terms, in order, with repetitions.

    Args:
        text: anything.
        query: a query's single unspaced character is marked with ``*`` (any pair that starts with
            it); a document's run ends with its last character alone, so that the mark finds it.

    Returns:
        Terms of letters, digits, marks and, inside numbers, dots; never an empty term.
    """
    text = _MARK.sub(_without_mark, _CUT.sub("", text))
    # NFKC would turn the non-breaking hyphen and friends into plain ones too, but not all of them
    text = _HYPHENS.sub("-", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))).casefold()
    terms: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match.lastgroup == "run":
            terms += _pairs(token, query=query)
        elif match.lastgroup == "number":
            terms += _number_terms(token)
        elif match.lastgroup == "acronym":
            terms.append(token.replace(".", ""))
        elif token != "s" or text[match.start() - 1 : match.start()] not in ("'", "\u2019"):
            terms += _word_terms(token)
    return terms + period_terms(text, query=query)


def _without_mark(match: re.Match[str]) -> str:
    """Leave a footnote mark out: it is a word of its own, and no figure."""
    return "" if is_footnote_mark(match.group()) else match.group()


def _pairs(run: str, *, query: bool) -> list[str]:
    """Split an unspaced run into overlapping pairs."""
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    if query:
        return pairs or [run + "*"]
    return [*pairs, run[-1]]


def _number_terms(number: str) -> list[str]:
    """Normalise a number with separators to one term: thousands out, decimal comma as dot, versions kept."""
    groups = re.split("[.,]", number)
    separators = set(re.findall("[.,]", number))
    thousands = all(len(group) == 3 for group in groups[1:]) and len(groups[0]) <= 3
    if len(separators) == 2:
        decimal = max(number.rfind("."), number.rfind(","))
        whole = re.sub("[.,]", "", number[:decimal])
        return [f"{whole}.{number[decimal + 1 :]}"]
    if separators == {","}:
        if thousands:
            return ["".join(groups)]
        return [".".join(groups)] if len(groups) == 2 else groups
    return ["".join(groups)] if thousands and len(groups) > 2 else [number]


def _word_terms(word: str) -> list[str]:
    """Return a word; for a hyphenated one its parts, and the whole if a part has a letter."""
    if "-" not in word:
        return [word]
    parts = _HYPHEN.split(word)
    has_letter = any(not part.isdigit() for part in parts)
    return [*parts, "".join(parts)] if has_letter else parts


def is_unspaced(term: str) -> bool:
    """Return whether a term is of a script without spaces, of which a query may ask for a beginning."""
    return bool(_UNSPACED_LETTER.match(term))


def query_terms(text: str) -> list[str]:
    """Return the distinct terms of a query in order, without `STOP_WORDS` unless it has nothing else."""
    terms = list(dict.fromkeys(lexical_terms(text, query=True)))
    return [term for term in terms if term not in STOP_WORDS] or terms


def quoted_term(term: str) -> str:
    """Write a term of `query_terms` as an FTS5 expression."""
    return f'"{term[:-1]}"*' if term.endswith("*") else f'"{term}"'


def match_expression(connection: sqlite3.Connection, text: str, without: Collection[str] = ()) -> str | None:
    """Translate a query to an FTS5 expression: its distinct terms, quoted, joined by OR, or None.

    Other forms of the words of a question in another language follow them (`mmrag.index.languages`).
    Terms in `without` are left out, unless there are no others.
    """
    terms = query_terms(text)
    terms = [term for term in terms if term not in without] or terms
    terms += inflected_terms(connection, text, terms)
    return " OR ".join(map(quoted_term, terms)) or None


def lexical_text(context: str, text: str) -> str:
    """Return the text by which a record is found."""
    return f"{context}\n{text}"


def joined_terms(text: str) -> str:
    """Write the terms of a text as FTS5 gets them."""
    return " ".join(lexical_terms(text))


NO_CONTENT = "content='', "
"""What makes an FTS5 table keep no texts."""


class LexicalTable:
    """The FTS5 table ``lexical`` of one SQLite file; rows are numbered as the records are.

    It keeps no texts (2.9 kB a page on our pages), so that whoever deletes a row must say what stood in it.
    """

    @staticmethod
    def create(connection: sqlite3.Connection) -> None:
        """Create the table.

        Raises:
            RuntimeError: this Python's SQLite has no FTS5.
        """
        try:
            connection.execute(f"CREATE VIRTUAL TABLE lexical USING fts5(terms, {NO_CONTENT}{FTS_TOKENIZER})")
        except sqlite3.OperationalError as error:
            if "fts5" not in str(error):
                raise
            raise RuntimeError(
                f"lexical search needs SQLite with FTS5, got SQLite {sqlite3.sqlite_version} without it. "
                "Use a Python from python.org, conda-forge, Debian or uv; all of these have it."
            ) from error

    @staticmethod
    def add(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]]) -> None:
        """Add ``(seq, text)`` of numbers that are not there."""
        connection.executemany(
            "INSERT INTO lexical(rowid, terms) VALUES (?, ?)",
            ((seq, joined_terms(text)) for seq, text in rows),
        )

    @staticmethod
    def delete(connection: sqlite3.Connection, rows: Iterable[tuple[int, str]]) -> None:
        """Delete ``(seq, text)``, with the texts that were added."""
        connection.executemany(
            "INSERT INTO lexical(lexical, rowid, terms) VALUES ('delete', ?, ?)",
            ((seq, joined_terms(text)) for seq, text in rows),
        )

    @staticmethod
    def rows(connection: sqlite3.Connection, expression: str) -> Iterator[int]:
        """Yield the numbers of the records that meet an FTS5 expression."""
        for row in connection.execute("SELECT rowid FROM lexical WHERE lexical MATCH ?", (expression,)):
            yield int(row[0])

    @staticmethod
    def search(
        connection: sqlite3.Connection, text: str, without: Collection[str] = ()
    ) -> Iterator[tuple[int, float]]:
        """Yield ``(seq, score)`` of every record that shares a term, in no order; larger is better."""
        expression = match_expression(connection, text, without)
        if expression is None:
            return
        yield from connection.execute(
            "SELECT rowid, -bm25(lexical) FROM lexical WHERE lexical MATCH ?", (expression,)
        )
